//! What passes between the media plane and those above it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::sdp::{Fingerprint, IceCredentials, PayloadMap, RtpTarget, Setup};

/// One call's media. Unique as long as the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(pub u64);

#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// First browser-side port; worker `n` takes `listen.port() + n` (port 0: any free port each).
    pub listen: SocketAddr,
    /// Addresses for the ICE candidates; the port is the worker's own. Empty: `listen`'s address.
    pub advertise: Vec<IpAddr>,
    /// Where RTP sockets are bound and what the SDP toward SIP says.
    pub rtp_address: IpAddr,
    pub rtp_ports: std::ops::RangeInclusive<u16>,
    pub workers: usize,
    /// How long a released RTP port rests before it is used again.
    pub port_rest: Duration,
}

/// Our own parameters of a call's browser side, for the SDP.
#[derive(Debug, Clone)]
pub struct BrowserLocal {
    pub ice: IceCredentials,
    pub fingerprint: Fingerprint,
    /// One ICE-lite host candidate each, UDP, component 1.
    pub candidates: Vec<SocketAddr>,
    /// The one SSRC the browser sees, and its CNAME.
    pub ssrc: u32,
    pub cname: String,
}

/// The browser's parameters, from its SDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserRemote {
    /// `None` for an offer without ICE: it is signalled, no STUN check of it is ever answered.
    pub ice: Option<IceCredentials>,
    /// `None` for an offer without a fingerprint: no DTLS handshake is ever accepted.
    pub fingerprint: Option<Fingerprint>,
    /// Our own role: `Passive` nearly always.
    pub setup: Setup,
    pub payloads: PayloadMap,
}

/// The SIP side's parameters, from its SDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipRemote {
    pub target: RtpTarget,
    /// The codec in use is the preferred one.
    pub payloads: PayloadMap,
    /// `a=ptime`, 20 ms by default.
    pub ptime: Duration,
}

/// What is let through, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// Browser to SIP. Where false but `keep_alive` true, silence frames go out instead.
    pub to_sip: bool,
    /// SIP to browser.
    pub to_browser: bool,
    /// The SIP side is entitled to media from us (our direction there says send).
    pub keep_alive: bool,
}

/// Something a worker noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// The first valid ICE check of these credentials was nominated.
    IceConnected { remote: SocketAddr },
    /// No consent check for 30 s (RFC 7675); the browser is gone or has moved.
    IceLost,
    /// The handshake is done and the fingerprint is the one of the SDP.
    DtlsConnected { profile: &'static str },
    /// The handshake failed, or the certificate was another one than the SDP's.
    DtlsFailed { reason: DtlsFailure },
    /// First packet from the SIP side since `set_sip`.
    SipMedia { from: SocketAddr },
    /// A digit that the browser (or with `from_sip` the SIP side) finished; de-duplicated (RFC 4733).
    Digit { digit: char, duration: Duration, from_sip: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsFailure {
    Handshake,
    FingerprintMismatch,
    NoSrtpProfile,
    Timeout,
}

/// Counters of one direction of one leg.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StreamStats {
    pub packets: u64,
    pub bytes: u64,
    /// Packets that never came, by sequence number.
    pub lost: u64,
    /// Interarrival jitter in RTP units of 1/8000 s (RFC 3550 6.4.1).
    pub jitter: u32,
}

/// Counters of one call; all faults are counted here and end nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallStats {
    pub from_browser: StreamStats,
    pub to_browser: StreamStats,
    pub from_sip: StreamStats,
    pub to_sip: StreamStats,
    /// Last and largest round trip of the browser leg, from RTCP; `None` until one was measured.
    pub rtt: Option<Duration>,
    pub rtt_max: Option<Duration>,
    /// Mean of all round trips measured.
    pub rtt_average: Option<Duration>,
    /// Loss of our stream as the browser's receiver reports say, in packets.
    pub browser_reported_lost: u64,
    pub srtp_auth_failures: u64,
    pub srtp_replays: u64,
    pub stun_bad_integrity: u64,
    pub unknown_payload: u64,
    /// RTP from an address other than the learned one.
    pub foreign_source: u64,
    pub malformed: u64,
}

/// Whole-process counters of the media plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineStats {
    pub calls: u64,
    pub free_ports: u64,
    /// Datagrams on a browser-side port that belong to no call.
    pub unknown_datagrams: u64,
    pub stun_bad_integrity: u64,
    pub malformed: u64,
    /// Handshakes refused because of a wrong certificate.
    pub fingerprint_mismatches: u64,
    /// Work of handshakes that was put off because too much of it waited already.
    pub refused_handshakes: u64,
    /// ICMP reports that nobody takes RTP where a phone is said to be.
    pub sip_unreachable: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("no RTP port is free in media.rtp_ports")]
    NoPort,
    /// Descriptors or memory have run out, most likely.
    #[error("cannot open RTP sockets: {0}")]
    Sockets(std::io::ErrorKind),
    #[error("the media workers have stopped")]
    Stopped,
}

/// Why the media plane did not start; all of them are the configuration's or the host's.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("media.workers has to be between 1 and {max}, not {workers}")]
    Workers { workers: usize, max: usize },
    #[error("media.rtp_ports holds no even port with an odd one after it")]
    NoPorts,
    #[error(
        "media.advertise is empty and media.listen is the wildcard {0}: browsers need an address"
    )]
    NothingToAdvertise(SocketAddr),
    #[error("cannot bind the browser-side port {address}: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("cannot set up a media worker: {0}")]
    Worker(std::io::Error),
    #[error("cannot make the DTLS certificate: {0}")]
    Certificate(String),
}
