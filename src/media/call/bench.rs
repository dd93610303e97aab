//! A door for `benches/` and nobody else: the packet path of a call without sockets, with fixed keys. It may change at any time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};

use super::{Call, Order, Sink};
use crate::media::dtls::Identity;
use crate::media::handshake::Job;
use crate::media::ice::Check;
use crate::media::path::Path;
use crate::media::relay::PACKET;
use crate::media::rtcp::Clock;
use crate::media::rtp::{Class, HEADER, Packet};
pub use crate::media::srtp::Profile;
use crate::media::srtp::{OVERHEAD, Srtp, SrtpKeys};
use crate::media::types::{BrowserRemote, Flow, MediaEvent, SipRemote};
use crate::sdp::{Codec, Fingerprint, Format, IceCredentials, PayloadMap, RtcpTarget, Setup};

/// Bytes of a packet of ours at most.
pub const ROOM: usize = PACKET + OVERHEAD;

const FRAME: usize = 160;
const MS20: Duration = Duration::from_millis(20);

/// What a call sends: counted, and gone.
#[derive(Default)]
struct Exit {
    bytes: usize,
}

impl Sink for Exit {
    fn to_browser(&mut self, _: Path, data: &[u8]) {
        self.bytes += data.len();
    }
    fn rtp(&mut self, _: SocketAddr, data: &[u8]) {
        self.bytes += data.len();
    }
    fn rtcp(&mut self, _: SocketAddr, data: &[u8]) {
        self.bytes += data.len();
    }
    fn event(&mut self, _: MediaEvent) {}
    fn handshake(&mut self, job: Job) -> Result<(), Job> {
        Err(job)
    }
    fn learned(&mut self, _: Path) {}
    fn forgotten(&mut self, _: Path) {}
    fn void(&mut self, _: &str) {}
}

/// Both ends of an association with keys that are always the same: the gateway's and the browser's.
pub(super) fn association(profile: Profile) -> Option<[Srtp; 2]> {
    let material: Vec<u8> = (0..profile.material_len()).map(|n| n as u8).collect();
    let end = |client| Srtp::new(profile, &SrtpKeys::split(profile, &material, client)?);
    Some([end(false)?, end(true)?])
}

/// The `number`th plain packet of a stream of PCMU.
pub fn packet(number: u16, ssrc: u32, buffer: &mut [u8; ROOM]) -> usize {
    let payload = [number as u8; FRAME];
    let timestamp = u32::from(number) * FRAME as u32;
    let packet = Packet {
        payload_type: 0,
        marker: false,
        sequence: number,
        timestamp,
        ssrc,
        payload: &payload,
    };
    packet.write(buffer).map_or(0, <[u8]>::len)
}

/// Which protocol a datagram belongs to.
pub fn demux(data: &[u8]) -> bool {
    Class::of(data) == Class::Rtp
}

/// One direction of an association.
pub struct Seals {
    seal: Srtp,
    open: Srtp,
}

impl Seals {
    pub fn new(profile: Profile) -> Option<Self> {
        let [open, seal] = association(profile)?;
        Some(Self { seal, open })
    }

    /// The length of the sealed packet.
    pub fn seal(&mut self, buffer: &mut [u8; ROOM], len: usize) -> usize {
        self.seal.seal_rtp(buffer, len).map_or(0, <[u8]>::len)
    }

    /// The length of what was inside.
    pub fn open(&mut self, packet: &mut [u8]) -> usize {
        self.open.open_rtp(packet).map_or(0, <[u8]>::len)
    }
}

/// A call that is up: PCMU both ways, ICE and keys in place.
pub struct Rig {
    call: Call,
    exit: Exit,
    now: Instant,
    browser: Path,
    phone: SocketAddr,
}

impl Rig {
    /// `None` when the call does not come about, which a benchmark has to complain of.
    pub fn new(profile: Profile) -> Option<Self> {
        let now = Instant::now();
        let (browser, phone) =
            (Path::Udp("192.0.2.1:5000".parse().ok()?), "192.0.2.2:6000".parse().ok()?);
        let identity = Arc::new(Identity::generate().ok()?);
        let ours = IceCredentials { ufrag: "ours".to_owned(), pwd: "p".repeat(24) };
        let theirs = IceCredentials { ufrag: "them".to_owned(), pwd: "q".repeat(24) };
        let clock = Clock::new(now, SystemTime::UNIX_EPOCH);
        let mut call = Call::new(now, clock, identity.clone(), ours.clone(), 7, "bench".to_owned());
        let mut exit = Exit::default();
        let payloads = PayloadMap {
            formats: smallvec::smallvec![Format { codec: Codec::Pcmu, payload: 0 }],
            ..PayloadMap::default()
        };
        let remote = BrowserRemote {
            ice: Some(theirs.clone()),
            fingerprint: Some(Fingerprint([1; 32])),
            setup: Setup::Passive,
            payloads: payloads.clone(),
        };
        let sip =
            SipRemote { target: Some(phone), payloads, rtcp: RtcpTarget::default(), srtp: None };
        let flow = Flow { to_sip: true, to_browser: true, keep_alive: true, ..Flow::default() };
        for order in [
            Order::SetBrowser(Box::new(remote)),
            Order::SetSip(Box::new(sip)),
            Order::SetFlow(flow),
        ] {
            call.handle_order(now, order, &mut exit);
        }
        let mut check = Message::new();
        check.write_header();
        BINDING_REQUEST.add_to(&mut check).ok()?;
        TransactionId::new().add_to(&mut check).ok()?;
        check.add(ATTR_USERNAME, format!("{}:{}", ours.ufrag, theirs.ufrag).as_bytes());
        check.add(ATTR_USE_CANDIDATE, &[]);
        let crypto = identity.provider().crypto();
        MessageIntegrity::new_raw_integrity_with_provider(ours.pwd.as_bytes(), crypto)
            .add_to(&mut check)
            .ok()?;
        FINGERPRINT.add_to(&mut check).ok()?;
        let mut check = Check::parse(&check.raw).ok()?;
        call.handle_check(now, browser, &mut check, &mut exit);
        let [gateway, _] = association(profile)?;
        call.peer.install(gateway);
        call.peer.ice.selected()?;
        Some(Self { call, exit: Exit::default(), now, browser, phone })
    }

    /// The call itself, for tests that want to see more of it.
    #[cfg(test)]
    pub(super) fn into_call(self) -> Call {
        self.call
    }

    /// An SRTP packet of the browser's; the bytes that went to SIP for it.
    pub fn from_browser(&mut self, data: &mut [u8]) -> usize {
        self.now += MS20;
        self.exit.bytes = 0;
        self.call.handle_browser(self.now, self.browser, data, &mut self.exit);
        self.exit.bytes
    }

    /// An RTP packet of the telephone's; the bytes that went to the browser for it.
    pub fn from_sip(&mut self, data: &mut [u8]) -> usize {
        self.now += MS20;
        self.exit.bytes = 0;
        self.call.handle_rtp(self.now, self.phone, data, &mut self.exit);
        self.exit.bytes
    }

    /// What is between opening and sending: payload types, sequence numbers, the new header.
    pub fn rewrite(&mut self, data: &[u8], buffer: &mut [u8; ROOM]) -> usize {
        self.now += MS20;
        let Some(packet) = Packet::parse(data) else { return 0 };
        self.call.relay.forward_to_sip(self.now, &packet, buffer).map_or(0, <[u8]>::len)
    }
}

/// Bytes of a plain packet.
pub const PLAIN: usize = HEADER + FRAME;
