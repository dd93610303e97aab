//! What the SIP tests share.

use std::time::{Duration, Instant};

use rsipstack::sip::{HasHeaders, Method, Request, Response};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::sip::port::{ClientTx, Incoming, ServerTx, Transmit, TxFailure};
use wrtc_gateway::sip::{Command, Credentials, Event, Hop, SessionId, UaConfig, UserAgent};

pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=offer\r\n";
/// Another one: the same once more would be a refresh.
pub const OFFER_2: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=another offer\r\n";
pub const ANSWER: &str = "v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=answer\r\n";
pub const PEER: &str = "192.0.2.9:5060";

/// By UDP.
pub fn addr(text: &str) -> Hop {
    Hop::udp(text.parse().unwrap())
}

pub fn config(user: &str, advertise: &str, server: &str) -> UaConfig {
    UaConfig {
        credentials: Some(Credentials { username: user.into(), password: Secret::new("secret") }),
        expires: Duration::from_secs(600),
        user_agent: "test".into(),
        ..UaConfig::new(user, "example.org", addr(server), addr(advertise).addr)
    }
}

pub fn header(message: &impl HasHeaders, name: &str) -> Option<String> {
    message
        .headers()
        .iter()
        .find(|h| h.name().eq_ignore_ascii_case(name))
        .map(|h| h.value().to_owned())
}

/// A user agent against a scripted peer, under virtual time.
pub struct Bench {
    pub ua: UserAgent,
    pub now: Instant,
    next_tx: u64,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(config("5001", "192.0.2.1:5070", PEER))
    }

    pub fn with(config: UaConfig) -> Self {
        Self { ua: UserAgent::new(config, 7), now: Instant::now(), next_tx: 1000 }
    }

    pub fn command(&mut self, command: Command) {
        self.ua.handle_command(command, self.now);
    }

    pub fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.ua.poll_transmit()).collect()
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.ua.poll_event()).collect()
    }

    /// The one event there is.
    pub fn event(&mut self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "one event: {events:?}");
        events.remove(0)
    }

    /// The one request sent.
    pub fn request(&mut self) -> (ClientTx, Request, Hop) {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "one request: {sent:?}");
        match sent.remove(0) {
            Transmit::Request { tx, request, to } => (tx, request, to),
            other => panic!("a request: {other:?}"),
        }
    }

    /// The one ACK sent.
    pub fn ack(&mut self) -> Request {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "one ACK: {sent:?}");
        match sent.remove(0) {
            Transmit::Ack { request, .. } => request,
            other => panic!("an ACK: {other:?}"),
        }
    }

    /// The responses sent, in order; nothing else may be among them.
    pub fn responses(&mut self) -> Vec<(ServerTx, Response)> {
        self.sent()
            .into_iter()
            .map(|transmit| match transmit {
                Transmit::Response { tx, response } => (tx, response),
                other => panic!("a response: {other:?}"),
            })
            .collect()
    }

    pub fn codes(&mut self) -> Vec<u16> {
        self.responses().iter().map(|(_, r)| r.status_code.code()).collect()
    }

    /// Answers a request of the user agent's. `extra` are header lines.
    pub fn answer(
        &mut self,
        tx: ClientTx,
        request: &Request,
        status: &str,
        extra: &str,
        body: &str,
    ) {
        let to_tag = if status.starts_with("100") { "" } else { ";tag=peer" };
        self.answer_as(tx, request, status, to_tag, extra, body);
    }

    pub fn answer_as(
        &mut self,
        tx: ClientTx,
        request: &Request,
        status: &str,
        to_tag: &str,
        extra: &str,
        body: &str,
    ) {
        let to = header(request, "To").unwrap();
        let to = if to.contains(";tag=") { to } else { format!("{to}{to_tag}") };
        let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             {extra}{content}Content-Length: {}\r\n\r\n{body}",
            header(request, "Via").unwrap(),
            header(request, "From").unwrap(),
            header(request, "Call-ID").unwrap(),
            header(request, "CSeq").unwrap(),
            body.len(),
        );
        let response = Response::try_from(text.as_str()).unwrap();
        self.ua.handle_incoming(Incoming::Response { tx, response, from: addr(PEER) }, self.now);
    }

    pub fn fail(&mut self, tx: ClientTx, why: TxFailure) {
        self.ua.handle_incoming(Incoming::Failed { tx, why }, self.now);
    }

    /// Hands in a request as text; the number of its server transaction comes back.
    pub fn receive(&mut self, text: &str) -> ServerTx {
        let tx = ServerTx(self.next_tx);
        self.next_tx += 1;
        let message = wrtc_gateway::sip::wire::parse(text.as_bytes()).expect("a message");
        let rsipstack::sip::SipMessage::Request(request) = message else { panic!("a request") };
        self.ua.handle_incoming(Incoming::Request { tx, request, from: addr(PEER) }, self.now);
        tx
    }

    pub fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.ua.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.ua.handle_timeout(self.now);
        }
        self.now = end;
    }

    // Common scenes.

    /// Calls out with an offer; answered. Leaves nothing unread.
    pub fn call_out(&mut self) -> (SessionId, Peer) {
        let session = SessionId(1);
        self.command(Command::Invite {
            session,
            to: "1003".into(),
            sdp: Some(OFFER.into()),
            headers: vec![],
        });
        let (tx, invite, _) = self.request();
        self.answer(tx, &invite, "200 OK", "Contact: <sip:peer@192.0.2.9>\r\n", ANSWER);
        self.ack();
        self.events();
        (session, Peer::callee(&invite))
    }

    /// A call in, with an offer, answered and ACKed. Leaves nothing unread.
    pub fn call_in(&mut self) -> (SessionId, Peer) {
        let (session, mut peer) = self.ring(OFFER);
        self.command(Command::Accept { session, sdp: ANSWER.into() });
        self.sent();
        self.receive(&peer.request(Method::Ack, "", ""));
        self.events();
        (session, peer)
    }

    /// A call in that rings.
    pub fn ring(&mut self, sdp: &str) -> (SessionId, Peer) {
        self.ring_with("", sdp)
    }

    /// The same with more header lines in the INVITE.
    pub fn ring_with(&mut self, extra: &str, sdp: &str) -> (SessionId, Peer) {
        let mut peer = Peer {
            call_id: "in-1".into(),
            our_tag: "theirs".into(),
            ua_tag: String::new(),
            number: 100,
        };
        self.receive(&peer.request(Method::Invite, extra, sdp));
        let Event::Invited { session, .. } = self.event() else { panic!("Invited") };
        self.command(Command::Progress { session, code: 180, sdp: None });
        let responses = self.responses();
        let (_, ringing) = responses.last().unwrap();
        assert_eq!(ringing.status_code.code(), 180);
        let to = header(ringing, "To").unwrap();
        peer.ua_tag = to.split("tag=").nth(1).unwrap().to_owned();
        (session, peer)
    }
}

/// The other end of a dialog, as text.
pub struct Peer {
    pub call_id: String,
    pub our_tag: String,
    pub ua_tag: String,
    pub number: u32,
}

impl Peer {
    pub fn callee(invite: &Request) -> Self {
        Self {
            call_id: header(invite, "Call-ID").unwrap(),
            our_tag: "peer".into(),
            ua_tag: header(invite, "From").unwrap().split("tag=").nth(1).unwrap().to_owned(),
            number: 0,
        }
    }

    /// A request in the dialog, with the next number (ACK and CANCEL: the last one).
    pub fn request(&mut self, method: Method, extra: &str, body: &str) -> String {
        if !matches!(method, Method::Ack | Method::Cancel) {
            self.number += 1;
        }
        self.request_numbered(method, self.number, extra, body)
    }

    pub fn request_numbered(&self, method: Method, number: u32, extra: &str, body: &str) -> String {
        let to_tag = match (&method, self.ua_tag.as_str()) {
            (Method::Cancel, _) | (_, "") => String::new(),
            (_, tag) => format!(";tag={tag}"),
        };
        let branch = match method {
            // A CANCEL has its INVITE's.
            Method::Cancel => format!("z9hG4bK-{}-{number}-INVITE", self.call_id),
            _ => format!("z9hG4bK-{}-{number}-{method}", self.call_id),
        };
        let content = if body.is_empty() || extra.contains("Content-Type") {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:5001@192.0.2.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch={branch}\r\n\
             From: \"Peer\" <sip:1003@example.org>;tag={}\r\nTo: <sip:5001@example.org>{to_tag}\r\n\
             Call-ID: {}\r\nCSeq: {number} {method}\r\nContact: <sip:1003@192.0.2.9:5062>\r\n\
             Max-Forwards: 70\r\n{extra}{content}Content-Length: {}\r\n\r\n{body}",
            self.our_tag,
            self.call_id,
            body.len(),
        )
    }
}
