//! The two reference flows of a Genesys SIP Server, byte for byte odd, and their odd endings: real
//! datagrams through the transactions into a user agent, under virtual time.

use std::time::{Duration, Instant};

use rsipstack::sip::{HasHeaders as _, Method, Request, Response, SipMessage};
use wrtc_gateway::sip::port::{Incoming, Transmit};
use wrtc_gateway::sip::transaction::{Arrival, Output, Transactions};
use wrtc_gateway::sip::{Command, EndedBy, Event, NotifyEvent, SessionId, UserAgent, wire};

use super::support::*;

/// Black hole: nobody's media.
const HOLE: &str = "v=0\r\no=- 9 9 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\n";

/// A user agent behind its transactions, and SIP Server as text.
struct Dn {
    ua: UserAgent,
    transactions: Transactions,
    now: Instant,
    /// To tag of the user agent's, once it has one.
    tag: String,
    number: u32,
    /// What the user agent has sent, oldest first.
    heard: Vec<SipMessage>,
}

impl Dn {
    fn new() -> Self {
        Self {
            ua: UserAgent::new(config("5001", "192.0.2.1:5070", PEER), 7),
            transactions: Transactions::default(),
            now: Instant::now(),
            tag: String::new(),
            number: 0,
            heard: vec![],
        }
    }

    /// As SIP Server writes it: Content-Length before Via, bare addr-specs in From and To, names in any
    /// case.
    fn text(&self, method: &str, number: u32, extra: &str, body: &str) -> String {
        let tag = if self.tag.is_empty() { String::new() } else { format!(";tag={}", self.tag) };
        let content = if body.is_empty() { "" } else { "content-type: Application/SDP\r\n" };
        format!(
            "{method} sip:5001@192.0.2.1:5070 SIP/2.0\r\nFROM: sip:7001@192.0.2.9:5060;tag=6F2A\r\n\
             to: sip:5001@192.0.2.1:5070{tag}\r\nCall-id: 0D-9@192.0.2.9\r\nCONTENT-LENGTH: {}\r\n\
             CSEQ: {number} {method}\r\nvia: SIP/2.0/UDP {PEER};branch=z9hG4bK{number}{method}\r\n\
             Contact: <sip:192.0.2.9:5060>\r\nMAX-FORWARDS: 70\r\n{extra}{content}\r\n{body}",
            body.len(),
        )
    }

    fn say(&mut self, method: &str, extra: &str, body: &str) {
        if method != "ACK" {
            self.number += 1;
        }
        let text = self.text(method, self.number, extra, body);
        self.receive(&text);
    }

    fn receive(&mut self, text: &str) {
        let message = wire::parse(text.as_bytes()).expect("a message");
        let from = addr(PEER);
        match message {
            SipMessage::Request(request) => {
                if let Arrival::New { tx, request, .. } =
                    self.transactions.arrived(request, from, self.now)
                {
                    self.transactions.set_owner(tx, 0);
                    self.ua.handle_incoming(Incoming::Request { tx, request, from }, self.now);
                }
            }
            SipMessage::Response(response) => {
                self.transactions.response(response, from, self.now);
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let mut idle = true;
            while let Some(transmit) = self.ua.poll_transmit() {
                idle = false;
                match transmit {
                    Transmit::Request { tx, request, to } => {
                        self.transactions.request(Some(0), tx, request, to, self.now);
                    }
                    Transmit::Cancel { invite, request, to } => {
                        self.transactions.cancel(0, invite, request, to, self.now);
                    }
                    Transmit::Abandon { tx } => self.transactions.abandon(0, tx),
                    Transmit::Ack { request, .. } => self.heard.push(SipMessage::Request(request)),
                    Transmit::Response { tx, response } => {
                        self.transactions.respond(tx, &response, self.now);
                    }
                }
            }
            while let Some(output) = self.transactions.poll() {
                idle = false;
                match output {
                    Output::Send { datagram, .. } => {
                        self.heard.push(wire::parse(&datagram).expect("what we send"));
                    }
                    Output::UnheardByTcp { .. } => {}
                    Output::Deliver { incoming, .. } => self.ua.handle_incoming(incoming, self.now),
                }
            }
            if idle {
                break;
            }
        }
        let tag = self.heard.iter().find_map(|message| match message {
            SipMessage::Response(r) => header(r, "To")?.split("tag=").nth(1).map(str::to_owned),
            SipMessage::Request(_) => None,
        });
        self.tag = tag.unwrap_or(std::mem::take(&mut self.tag));
    }

    fn pass(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let next = [self.ua.poll_timeout(), self.transactions.poll_timeout()];
            let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            self.ua.handle_timeout(self.now);
            self.transactions.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    fn command(&mut self, command: Command) {
        self.ua.handle_command(command, self.now);
        self.settle();
    }

    fn event(&mut self) -> Event {
        let events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.into_iter().next().unwrap()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.ua.poll_event()).collect()
    }

    /// What has been sent: `180`, `200 NOTIFY`, `BYE`...
    fn lines(&mut self) -> Vec<String> {
        let line = |message: SipMessage| match message {
            SipMessage::Request(request) => request.method.to_string(),
            SipMessage::Response(response) => {
                let cseq = header(&response, "CSeq").unwrap();
                let method = cseq.split(' ').nth(1).unwrap().to_owned();
                format!("{} {method}", response.status_code.code())
            }
        };
        self.heard.drain(..).map(line).collect()
    }

    fn last_response(&self) -> Response {
        let found = self.heard.iter().rev().find_map(|message| match message {
            SipMessage::Response(response) => Some(response.clone()),
            SipMessage::Request(_) => None,
        });
        found.expect("a response")
    }

    fn last_request(&self) -> Request {
        let found = self.heard.iter().rev().find_map(|message| match message {
            SipMessage::Request(request) => Some(request.clone()),
            SipMessage::Response(_) => None,
        });
        found.expect("a request")
    }

    /// Rings, as far as 180.
    fn ringing(sdp: &str) -> (Self, SessionId) {
        let mut dn = Self::new();
        let extra = "Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n\
                     supported: uui,100rel,timer\r\nx-genesys-calluuid: 0PQ8\r\n";
        dn.say("INVITE", extra, sdp);
        let Event::Invited { session, invite } = dn.event() else { panic!("Invited") };
        assert_eq!((invite.from.as_str(), invite.to.as_str()), ("7001", "5001"));
        assert_eq!(invite.call_uuid.as_deref(), Some("0PQ8"));
        assert_eq!(invite.sdp.as_deref(), (!sdp.is_empty()).then_some(sdp));
        dn.command(Command::Progress { session, code: 180, sdp: None });
        assert_eq!(dn.lines_kept(), ["100 INVITE", "180 INVITE"]);
        let ringing = dn.last_response();
        assert_eq!(header(&ringing, "Allow-Events").as_deref(), Some("talk, hold"));
        assert!(header(&ringing, "Contact").unwrap().contains("5001@192.0.2.1:5070"));
        dn.lines();
        (dn, session)
    }

    fn lines_kept(&mut self) -> Vec<String> {
        let kept = self.heard.clone();
        let lines = self.lines();
        self.heard = kept;
        lines
    }

    fn talk(&mut self, session: SessionId) {
        self.say("NOTIFY", "EVENT: talk\r\n", "");
        assert_eq!(self.lines(), ["200 NOTIFY"]);
        assert_eq!(self.event(), Event::Notified { session, event: NotifyEvent::Talk });
    }
}

/// Call to the agent, answered in WWE: NOTIFY talk in the early dialog, 200, ACK, re-INVITE without SDP,
/// 200 with a full offer, ACK with the SDP answer.
#[test]
fn answered_by_notify_talk() {
    let (mut dn, session) = Dn::ringing(OFFER);
    dn.talk(session);
    dn.command(Command::Accept { session, sdp: ANSWER.into() });
    let ok = dn.last_response();
    assert_eq!(ok.body, ANSWER.as_bytes());
    assert_eq!(header(&ok, "Session-Expires").as_deref(), Some("1800;refresher=uac"));
    dn.receive(&dn.text("ACK", 1, "", ""));
    assert_eq!(dn.event(), Event::Acked { session, sdp: None });
    dn.pass(Duration::from_millis(12));
    let timer = "Session-Expires: 1800;refresher=uac\r\nSupported: timer\r\n";
    dn.say("INVITE", timer, "");
    assert_eq!(dn.event(), Event::Reinvited { session, sdp: None });
    dn.lines();
    dn.command(Command::AcceptReinvite { session, sdp: OFFER_2.into() });
    let offer = dn.last_response();
    assert_eq!((offer.status_code.code(), offer.body.as_slice()), (200, OFFER_2.as_bytes()));
    dn.say("ACK", "", ANSWER);
    assert_eq!(dn.event(), Event::Acked { session, sdp: Some(ANSWER.into()) });
    // Half an hour of nothing later, the good-bye with its reason.
    dn.pass(Duration::from_secs(1700));
    dn.lines();
    dn.say("BYE", "Reason: SIP;cause=200;text=\"done\"\r\n", "");
    assert_eq!(dn.lines(), ["200 BYE"]);
    let Event::Ended { end, .. } = dn.event() else { panic!("Ended") };
    assert_eq!((end.by, end.code), (EndedBy::Peer, 200));
    assert_eq!(end.reason_header.as_deref(), Some("SIP;cause=200;text=\"done\""));
}

/// Call from the agent, dialled in WWE: the ACK comes only when the far end has answered, up to 32 s
/// later; 200 is retransmitted meanwhile.
#[test]
fn a_withheld_ack_is_waited_for() {
    let (mut dn, session) = Dn::ringing("");
    dn.talk(session);
    dn.command(Command::Accept { session, sdp: OFFER.into() });
    dn.lines();
    dn.pass(Duration::from_millis(31_900));
    let again = dn.lines();
    assert!(again.len() >= 9 && again.iter().all(|line| line == "200 INVITE"), "{again:?}");
    assert!(dn.events().is_empty());
    dn.receive(&dn.text("ACK", 1, "", ANSWER));
    assert_eq!(dn.event(), Event::Acked { session, sdp: Some(ANSWER.into()) });
    dn.pass(Duration::from_secs(60));
    assert!(dn.lines().is_empty() && dn.events().is_empty());
}

/// After 32 s without it the call is over; an ACK that comes later still changes nothing.
#[test]
fn a_late_ack_is_too_late() {
    let (mut dn, session) = Dn::ringing("");
    dn.command(Command::Accept { session, sdp: OFFER.into() });
    dn.pass(Duration::from_secs(32));
    assert_eq!(dn.lines().last().map(String::as_str), Some("BYE"));
    assert!(matches!(dn.event(), Event::Ended { end, .. } if end.by == EndedBy::Network));
    dn.receive(&dn.text("ACK", 1, "", ANSWER));
    assert!(dn.lines().is_empty() && dn.events().is_empty());
    dn.say("BYE", "", "");
    assert_eq!(dn.lines(), ["200 BYE"], "the two cross");
}

/// A failed call: ACK with the gateway's own SDP echoed back or with a black hole, and BYE in the same
/// millisecond.
#[test]
fn a_failed_call_ends_as_it_is_told() {
    for sdp in [OFFER, HOLE] {
        let (mut dn, session) = Dn::ringing("");
        dn.talk(session);
        dn.command(Command::Accept { session, sdp: OFFER.into() });
        dn.lines();
        dn.pass(Duration::from_secs(3));
        dn.receive(&dn.text("ACK", 1, "", sdp));
        dn.say("BYE", "Reason: SIP;cause=403;text=\"Forbidden\"\r\n", "");
        let events = dn.events();
        let [Event::Acked { sdp: Some(acked), .. }, Event::Ended { end, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(acked, sdp);
        assert_eq!(end.reason_header.as_deref(), Some("SIP;cause=403;text=\"Forbidden\""));
        assert!(dn.lines().ends_with(&["200 BYE".to_owned()]));
    }
    // And without an ACK at all.
    let (mut dn, session) = Dn::ringing("");
    dn.command(Command::Accept { session, sdp: OFFER.into() });
    dn.lines();
    dn.say("BYE", "Reason: SIP;cause=403\r\n", "");
    assert_eq!(dn.lines(), ["200 BYE"]);
    dn.pass(Duration::from_secs(40));
    assert!(dn.lines().is_empty(), "the 200 is repeated no more");
    assert_eq!(dn.events().len(), 1);
}

/// Retransmitted NOTIFY: the same one is answered again and told once; one with a new number is another.
#[test]
fn a_retransmitted_notify_is_told_once() {
    let (mut dn, session) = Dn::ringing(OFFER);
    let notify = dn.text("NOTIFY", 2, "Event: talk\r\n", "");
    for _ in 0..3 {
        dn.receive(&notify);
    }
    assert_eq!(dn.lines(), ["200 NOTIFY", "200 NOTIFY", "200 NOTIFY"]);
    assert_eq!(dn.event(), Event::Notified { session, event: NotifyEvent::Talk });
    dn.number = 2;
    dn.talk(session);
    // One that was overtaken is out of order (RFC 3261 12.2.2).
    dn.receive(&notify.replace("z9hG4bK2", "z9hG4bKother"));
    assert_eq!(dn.lines(), ["500 NOTIFY"]);
}

/// CANCEL races: before the 200 it ends the call, after it has no effect, and the ACK of the 487 is
/// absorbed.
#[test]
fn cancel_races_with_talk() {
    let (mut dn, session) = Dn::ringing(OFFER);
    let invite_branch = "branch=z9hG4bK1INVITE";
    let cancel = {
        let tag = std::mem::take(&mut dn.tag);
        let text = dn.text("CANCEL", 1, "", "").replace("branch=z9hG4bK1CANCEL", invite_branch);
        dn.tag = tag;
        text
    };
    let mut other = Dn::ringing(OFFER).0;
    // The CANCEL first.
    dn.receive(&cancel);
    let mut lines = dn.lines();
    lines.sort();
    assert_eq!(lines, ["200 CANCEL", "487 INVITE"]);
    assert!(matches!(dn.event(), Event::Ended { end, .. } if end.code == 487));
    dn.command(Command::Accept { session, sdp: ANSWER.into() });
    assert!(dn.lines().is_empty());
    let ack = dn.text("ACK", 1, "", "").replace("branch=z9hG4bK1ACK", invite_branch);
    dn.receive(&ack);
    dn.pass(Duration::from_secs(10));
    assert!(dn.lines().is_empty(), "the 487 was ACKed");
    // The NOTIFY that crossed it finds no call.
    dn.say("NOTIFY", "Event: talk\r\n", "");
    assert_eq!(dn.lines(), ["481 NOTIFY"]);
    assert!(dn.events().is_empty());
    // The 200 first.
    other.command(Command::Accept { session, sdp: ANSWER.into() });
    other.lines();
    other.receive(&cancel);
    assert_eq!(other.lines(), ["200 CANCEL"]);
    assert!(other.events().is_empty());
    other.receive(&other.text("ACK", 1, "", ""));
    assert_eq!(other.event(), Event::Acked { session, sdp: None });
}

/// Hold from WWE: NOTIFY `Event: hold`, or a re-INVITE; retrieve: NOTIFY talk, or a re-INVITE without
/// SDP. Each is told as it comes, in any order.
#[test]
fn hold_and_retrieve_both_ways() {
    let (mut dn, session) = Dn::ringing(OFFER);
    dn.command(Command::Accept { session, sdp: ANSWER.into() });
    dn.receive(&dn.text("ACK", 1, "", ""));
    dn.events();
    dn.say("NOTIFY", "Event: hold\r\n", "");
    assert_eq!(dn.event(), Event::Notified { session, event: NotifyEvent::Hold });
    dn.command(Command::Reinvite { session, sdp: Some("hold".into()) });
    let hold = dn.last_request();
    assert_eq!((hold.method, hold.body.as_slice()), (Method::Invite, &b"hold"[..]));
    // The early dialog's target: what the INVITE's Contact said, tags and bare addr-specs as they came.
    assert_eq!(hold.uri.to_string(), "sip:192.0.2.9:5060");
    assert_eq!(header(&hold, "To").as_deref(), Some("sip:7001@192.0.2.9:5060;tag=6F2A"));
    assert!(hold.headers().iter().any(|h| h.name() == "Session-Expires"));
    dn.lines();
    dn.say("INVITE", "", HOLE);
    assert_eq!(dn.lines(), ["100 INVITE", "491 INVITE"], "ours is under way");
    assert!(dn.events().is_empty());
    let via = header(&hold, "Via").unwrap();
    let from = header(&hold, "From").unwrap();
    dn.receive(&format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {from}\r\nTo: sip:7001@192.0.2.9:5060;tag=6F2A\r\n\
         Call-ID: 0D-9@192.0.2.9\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    ));
    assert_eq!(dn.event(), Event::ReinviteAnswered { session, sdp: Some(ANSWER.into()) });
    dn.lines();
    dn.say("INVITE", "", HOLE);
    assert_eq!(dn.event(), Event::Reinvited { session, sdp: Some(HOLE.into()) });
}
