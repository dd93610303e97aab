//! Messages as an endpoint gets them, with a user agent behind it that has a registration and a call under way.
//! Nothing leaves: see `Shared::send`.

use std::cell::OnceCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::dispatch::State;
use super::endpoint::{Claim, Endpoint, Port};
use super::hop::{Hop, Transport};
use super::message::{branch, call_id, tag_of, top_via};
use super::port::{Incoming, Transmit};
use super::transport::frame::{Frame, Framer};
use super::{Command, Credentials, Event, Reliable, SessionId, UaConfig, UserAgent};
use crate::secret::Secret;

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)), 5060);
const OURS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5070);

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 0\r\n";

/// Between the messages of one input.
const BETWEEN: u8 = 0xFF;

/// Pieces looked at: more of them find nothing new.
const MAX_PIECES: usize = 16;

thread_local! {
    static OPEN: OnceCell<(Runtime, Endpoint)> = const { OnceCell::new() };
}

/// Pieces divided by 0xFF: messages, or `@` with a letter for what the agent does meanwhile. `<` in front:
/// a stream. `{b}`, `{c}`, `{t}` and `{u}` stand for the branch, Call-ID and From tag of our last request, and
/// for the To tag of our last answer.
pub fn sip(input: &[u8]) {
    OPEN.with(|open| {
        if open.get().is_none() {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            else {
                return;
            };
            let entered = runtime.enter();
            let Ok(endpoint) = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "fuzzed")
            else {
                return;
            };
            drop(entered);
            let _ = open.set((runtime, endpoint));
        }
        if let Some((_, endpoint)) = open.get() {
            *endpoint.shared().lock() = State::default();
            Bench::new(endpoint).run(input);
        }
    });
}

struct Bench<'a> {
    endpoint: &'a Endpoint,
    ua: UserAgent,
    port: Port,
    inbox: mpsc::Receiver<Box<Incoming>>,
    now: Instant,
    /// The session that something was heard of last.
    session: SessionId,
    /// Calls in are answered at once.
    answers: bool,
    names: [Option<String>; 4],
}

impl<'a> Bench<'a> {
    fn new(endpoint: &'a Endpoint) -> Self {
        let credentials = Credentials { username: "5001".into(), password: Secret::new("secret") };
        let config = UaConfig {
            credentials: Some(credentials),
            reliable: Reliable::WhenSupported,
            ..UaConfig::new("5001", "example.org", Hop::udp(PEER), OURS)
        };
        let (sender, inbox) = mpsc::channel(64);
        let mut bench = Bench {
            endpoint,
            ua: UserAgent::new(config, 7),
            port: endpoint.attach(Claim::User("5001".into()), sender),
            inbox,
            now: Instant::now(),
            session: SessionId(1),
            answers: true,
            names: Default::default(),
        };
        bench.command(Command::Register);
        bench.command(Command::Invite {
            session: SessionId(1),
            to: "1003".into(),
            sdp: Some(SDP.into()),
            headers: Vec::new(),
        });
        bench
    }

    fn run(&mut self, input: &[u8]) {
        if let Some((b'<', stream)) = input.split_first() {
            self.stream(stream);
        } else {
            for piece in input.split(|byte| *byte == BETWEEN).take(MAX_PIECES) {
                match piece {
                    [b'@', what] => self.act(*what),
                    _ => {
                        let message = self.filled(piece);
                        self.endpoint.shared().datagram(&message, PEER, self.now);
                    }
                }
                self.pump();
            }
        }
        assert!(self.ua.live_sessions() <= UserAgent::MAX_SESSIONS);
        for seconds in [1, 4, 27, 32, 300] {
            self.wait(seconds);
        }
    }

    fn stream(&mut self, stream: &[u8]) {
        let mut framer = Framer::default();
        for chunk in stream.chunks(1460) {
            framer.push(&self.filled(chunk));
            loop {
                match framer.next_frame() {
                    Ok(Some(Frame::Message(message))) => {
                        let from = Hop::new(Transport::Tcp, PEER);
                        let _ = self.endpoint.shared().stream_message(&message, from, self.now);
                        self.pump();
                    }
                    Ok(Some(Frame::Blank)) => {}
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    }

    fn act(&mut self, what: u8) {
        let session = self.session;
        let sdp = || SDP.to_owned();
        match what {
            b'n' => self.answers = false,
            b'p' => self.command(Command::Progress { session, code: 183, sdp: Some(sdp()) }),
            b'a' => self.command(Command::Accept { session, sdp: sdp() }),
            b'o' => self.command(Command::Reinvite { session, sdp: None }),
            b'r' => self.command(Command::Reinvite { session, sdp: Some(sdp()) }),
            b'k' => self.command(Command::AnswerInAck { session, sdp: sdp() }),
            b'x' => {
                self.command(Command::Refer { session, to: "1004".into(), replaces: None });
            }
            b'e' => self.command(Command::End { session, code: 486, text: "busy".into() }),
            b'u' => self.command(Command::Unregister),
            b's' => self.wait(1),
            b't' => self.wait(33),
            _ => {}
        }
    }

    fn command(&mut self, command: Command) {
        self.ua.handle_command(command, self.now);
        self.pump();
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.ua.handle_timeout(self.now);
        let shared = self.endpoint.shared();
        let mut state = shared.lock();
        state.transactions.handle_timeout(self.now);
        shared.give_up_waiting(&mut state, self.now);
        shared.flush(&mut state);
        drop(state);
        self.pump();
    }

    /// Moves what is to be moved, as `Driven` does.
    fn pump(&mut self) {
        loop {
            while let Some(transmit) = self.ua.poll_transmit() {
                self.learn(&transmit);
                self.port.transmit(transmit);
            }
            if let Some(event) = self.ua.poll_event() {
                self.handle(event);
            } else if let Ok(incoming) = self.inbox.try_recv() {
                self.ua.handle_incoming(*incoming, self.now);
            } else {
                return;
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let command = |ua: &mut UserAgent, command| ua.handle_command(command, self.now);
        if let Some(session) = event.session() {
            self.session = session;
        }
        match event {
            Event::Invited { session, .. } if self.answers => {
                command(&mut self.ua, Command::Progress { session, code: 180, sdp: None });
                command(&mut self.ua, Command::Accept { session, sdp: SDP.into() });
            }
            Event::Reinvited { session, .. } if self.answers => {
                command(&mut self.ua, Command::AcceptReinvite { session, sdp: SDP.into() });
            }
            Event::Referred { refer, .. } => command(&mut self.ua, Command::AcceptRefer { refer }),
            _ => {}
        }
    }

    fn learn(&mut self, transmit: &Transmit) {
        let own = |text: Option<&str>| text.map(str::to_owned);
        match transmit {
            Transmit::Request { request, .. } => {
                let [b, c, t, _] = &mut self.names;
                *b = own(top_via(request).and_then(branch));
                *c = own(call_id(request));
                *t = own(tag_of(request, "From"));
            }
            Transmit::Response { response, .. } => self.names[3] = own(tag_of(response, "To")),
            _ => {}
        }
    }

    fn filled(&self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        let mut rest = piece;
        while let Some((first, after)) = rest.split_first() {
            let name = match rest {
                [b'{', name, b'}', ..] => b"bctu".iter().position(|known| known == name),
                _ => None,
            };
            match name.and_then(|index| self.names.get(index)?.as_deref()) {
                Some(name) => {
                    out.extend_from_slice(name.as_bytes());
                    rest = rest.get(3..).unwrap_or_default();
                }
                None => {
                    out.push(*first);
                    rest = after;
                }
            }
        }
        out
    }
}
