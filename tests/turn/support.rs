//! A client of the tests' own, in virtual time, on the session without sockets.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_stun::attributes::*;
use rtc_stun::crypto::default_provider;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::*;
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;
use wrtc_gateway::secret::Secret;
use wrtc_gateway::turn::{Authority, Core, Limits, Now, Output, Peers, Session, Transport};

pub const REALM: &str = "example.org";
pub const UNIX: u64 = 1_800_000_000;

/// The media socket as the SDP names it, and as this host does.
pub const MEDIA: &str = "203.0.113.5:30000";
pub const MEDIA_HERE: &str = "10.0.0.5:30000";

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn authority() -> Authority {
    Authority::new(Secret::new("a secret of the tests"), REALM)
}

/// A gateway behind a NAT that also has an address of its own in the SDP.
pub fn peers() -> Peers {
    let ours: IpAddr = [10, 0, 0, 5].into();
    let bound = [addr("0.0.0.0:30000"), addr("0.0.0.0:30001")];
    Peers::new(&bound, &[[203, 0, 113, 5].into(), ours], |ip| ip == ours)
}

pub fn core(max_allocations: usize) -> Arc<Core> {
    core_of(Limits { allocations: max_allocations, per_address: max_allocations })
}

pub fn core_of(limits: Limits) -> Arc<Core> {
    Core::new(authority(), peers(), limits, Instant::now()).unwrap()
}

pub struct Reply {
    pub message: Message,
}

impl Reply {
    /// The error code; 0 of a success.
    pub fn code(&self) -> u16 {
        if self.message.typ.class == CLASS_SUCCESS_RESPONSE {
            return 0;
        }
        assert_eq!(self.message.typ.class, CLASS_ERROR_RESPONSE);
        let mut code = ErrorCodeAttribute::default();
        code.get_from(&self.message).unwrap();
        code.code.0
    }

    pub fn text(&self, typ: AttrType) -> String {
        TextAttribute::get_from_as(&self.message, typ).unwrap().text
    }

    pub fn address(&self, typ: AttrType) -> SocketAddr {
        let mut found = XorMappedAddress::default();
        found.get_from_as(&self.message, typ).unwrap();
        SocketAddr::new(found.ip, found.port)
    }

    pub fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.message.get(ATTR_LIFETIME).unwrap().try_into().unwrap())
    }
}

/// An attribute to be added.
pub type Part = Box<dyn Fn(&mut Message)>;

pub fn raw(typ: AttrType, value: &[u8]) -> Part {
    let value = value.to_vec();
    Box::new(move |message| message.add(typ, &value))
}

pub fn udp() -> Part {
    raw(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

pub fn lifetime(seconds: u32) -> Part {
    raw(ATTR_LIFETIME, &seconds.to_be_bytes())
}

pub fn peer(at: &str) -> Part {
    let at = addr(at);
    Box::new(move |message| {
        XorMappedAddress { ip: at.ip(), port: at.port() }
            .add_to_as(message, ATTR_XOR_PEER_ADDRESS)
            .unwrap();
    })
}

pub fn channel(number: u16) -> Part {
    let [a, b] = number.to_be_bytes();
    raw(ATTR_CHANNEL_NUMBER, &[a, b, 0, 0])
}

/// A message that is not signed.
pub fn message(method: Method, class: MessageClass, parts: &[Part]) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, class);
    message.transaction_id = TransactionId::new();
    message.write_header();
    for part in parts {
        part(&mut message);
    }
    message
}

pub struct Bench {
    pub core: Arc<Core>,
    pub session: Session,
    start: Instant,
    passed: Duration,
    pub username: String,
    pub password: String,
    pub nonce: String,
    pub realm: String,
    /// What the next socket is bound to; `None`: there is no port.
    pub bind: Option<u16>,
    pub asked_even: bool,
    pub connected: Vec<(usize, SocketAddr)>,
    pub to_peer: Vec<(usize, Vec<u8>)>,
    pub to_client: VecDeque<Vec<u8>>,
    pub closed: usize,
}

impl Bench {
    pub fn new() -> Self {
        Self::of(core(100), Transport::Datagram, "192.0.2.77:5000", "5001")
    }

    pub fn of(core: Arc<Core>, transport: Transport, client: &str, user: &str) -> Self {
        let issued = authority().issue(user, UNIX + 86_400);
        Bench {
            session: Session::new(Arc::clone(&core), transport, addr(client)),
            core,
            start: Instant::now(),
            passed: Duration::ZERO,
            username: issued.username,
            password: issued.credential.expose().to_owned(),
            nonce: String::new(),
            realm: REALM.to_owned(),
            bind: Some(40_000),
            asked_even: false,
            connected: Vec::new(),
            to_peer: Vec::new(),
            to_client: VecDeque::new(),
            closed: 0,
        }
    }

    pub fn now(&self) -> Now {
        Now { at: self.start + self.passed, unix: UNIX + self.passed.as_secs() }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.passed += Duration::from_secs(seconds);
        self.session.handle_timeout(self.now().at);
        self.carry_out();
    }

    pub fn carry_out(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::ToClient(bytes) => self.to_client.push_back(bytes),
                Output::Bind { ip, even } => {
                    self.asked_even = even;
                    let at = self.bind.map(|port| SocketAddr::new(ip, port));
                    self.session.handle_bound(at, self.now().at);
                }
                Output::Connect { leg, to } => self.connected.push((leg, to)),
                Output::ToPeer { leg, data } => self.to_peer.push((leg, data)),
                Output::Close => self.closed += 1,
            }
        }
    }

    pub fn send(&mut self, data: &[u8]) {
        self.session.handle_client(data, self.now());
        self.carry_out();
    }

    pub fn peer_sends(&mut self, leg: usize, data: &[u8]) {
        self.session.handle_peer(leg, data, self.now().at);
        self.carry_out();
    }

    pub fn reply(&mut self) -> Reply {
        let bytes = self.to_client.pop_front().expect("an answer");
        assert!(self.to_client.is_empty());
        let mut message = Message::new();
        message.unmarshal_binary(&bytes).unwrap();
        Reply { message }
    }

    pub fn key(&self) -> Vec<u8> {
        let provider = default_provider().unwrap();
        MessageIntegrity::long_term_integrity_key(
            self.username.clone(),
            self.realm.clone(),
            self.password.clone(),
            provider.crypto(),
        )
        .unwrap()
    }

    pub fn signed(&self, method: Method, parts: &[Part]) -> Message {
        let provider = default_provider().unwrap();
        let mut message = message(method, CLASS_REQUEST, parts);
        for (typ, text) in
            [(ATTR_USERNAME, &self.username), (ATTR_REALM, &self.realm), (ATTR_NONCE, &self.nonce)]
        {
            TextAttribute::new(typ, text.clone()).add_to(&mut message).unwrap();
        }
        MessageIntegrity::new_raw_integrity_with_provider(self.key(), provider.crypto())
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message
    }

    /// Asks, and where the answer is signed, verifies it.
    pub fn ask(&mut self, method: Method, parts: &[Part]) -> Reply {
        let request = self.signed(method, parts);
        self.send(&request.raw);
        let mut reply = self.reply();
        assert_eq!(reply.message.transaction_id, request.transaction_id);
        FINGERPRINT.check(&reply.message).unwrap();
        if !matches!(reply.code(), 401 | 438) {
            let provider = default_provider().unwrap();
            let key = self.key();
            MessageIntegrity::check(&mut reply.message, &key, provider.crypto()).unwrap();
        }
        reply
    }

    /// Fetches a nonce, as each client does.
    pub fn greet(&mut self) {
        let request = message(METHOD_ALLOCATE, CLASS_REQUEST, &[udp()]);
        self.send(&request.raw);
        let reply = self.reply();
        assert_eq!(reply.code(), 401);
        assert_eq!(reply.text(ATTR_REALM), REALM);
        self.nonce = reply.text(ATTR_NONCE);
    }

    pub fn allocate(&mut self) -> Reply {
        self.greet();
        self.ask(METHOD_ALLOCATE, &[udp()])
    }

    /// With an allocation, a permission and a channel to the media socket.
    pub fn open() -> Self {
        let mut bench = Self::new();
        assert_eq!(bench.allocate().code(), 0);
        assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &[channel(0x4000), peer(MEDIA)]).code(), 0);
        bench
    }

    pub fn send_indication(&mut self, to: &str, data: &[u8]) {
        let parts = [peer(to), raw(ATTR_DATA, data)];
        let indication = message(METHOD_SEND, CLASS_INDICATION, &parts);
        self.send(&indication.raw);
    }
}
