//! What passes between the media plane and those above it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::sdp::{
    Candidate, Feedback, Fingerprint, IceCredentials, PayloadMap, RtcpTarget, RtpTarget, Setup,
    SrtpPair,
};

use super::music::Music;
use super::tones::TonePlan;

/// One call's media. Unique as long as the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId(pub u64);

#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// First browser-side port; worker `n` takes `listen.port() + n` (port 0: any free port each).
    pub listen: SocketAddr,
    /// Where media over TCP is taken (RFC 6544, passive), one port for all workers; `None`: nowhere.
    pub tcp_listen: Option<SocketAddr>,
    /// Addresses for the ICE candidates; the port is the worker's own, or that of `tcp_listen`. Empty:
    /// `listen`'s address.
    pub advertise: Vec<IpAddr>,
    /// Where RTP sockets are bound and what the SDP toward SIP says.
    pub rtp_address: IpAddr,
    pub rtp_ports: std::ops::RangeInclusive<u16>,
    pub workers: usize,
    /// How long a released RTP port rests before it is used again.
    pub port_rest: Duration,
    /// What the gateway lets be heard itself.
    pub sounds: Sounds,
    /// No RTP for this long, where it is expected, is told by [`MediaEvent::Silent`]; `None`: never.
    pub silence_alarm: Option<Duration>,
    /// How hard the Opus encoder tries where it is needed at all: 0 to 10.
    pub opus_complexity: u8,
}

/// What calls that begin from now on are like.
#[derive(Debug, Clone)]
pub struct Tuning {
    pub sounds: Sounds,
    /// See [`MediaConfig::silence_alarm`].
    pub silence_alarm: Option<Duration>,
    /// See [`MediaConfig::opus_complexity`].
    pub opus_complexity: u8,
}

/// What the gateway lets be heard itself; shared by all calls.
#[derive(Debug, Clone, Default)]
pub struct Sounds {
    /// The tones of a country; `None`: the browser hears nothing while the far end rings.
    pub tones: Option<&'static TonePlan>,
    /// `None`: who is held hears silence.
    pub music: Option<Arc<Music>>,
}

/// Our own parameters of a call's browser side, for the SDP.
#[derive(Debug, Clone)]
pub struct BrowserLocal {
    pub ice: IceCredentials,
    pub fingerprint: Fingerprint,
    /// Never empty, the default one first.
    pub candidates: Vec<Candidate>,
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
    pub rtcp: RtcpTarget,
    /// `None` for plain RTP. The same pair again goes on where it was.
    pub srtp: Option<Box<SrtpPair>>,
    /// The codec in use is the preferred one.
    pub payloads: PayloadMap,
}

/// Calls of a line that are held beside the one that is not: `agents.max_calls` is 8 at most.
pub const MAX_HELD: usize = 8;

/// The SIP side of a call that another one of its line has put aside. The browser is not with it; its far
/// end gets a stream of its own all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLeg {
    pub remote: SipRemote,
    /// It is entitled to media from us (our direction there says send); else its packets are merely no
    /// stranger's.
    pub sends: bool,
    /// We hold it: it hears the hold music, where there is one, instead of silence.
    pub music: bool,
}

/// Our own parameters of a call's video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoLocal {
    /// For the SDP toward SIP; RTCP is on the next port.
    pub rtp: SocketAddr,
    /// The one SSRC the browser sees.
    pub ssrc: u32,
}

/// A call's video, as both sides have agreed to it: one codec under the number of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoRemote {
    pub browser_payload: u8,
    pub sip_payload: u8,
    pub target: RtpTarget,
    pub rtcp: RtcpTarget,
    /// What the SIP side may be asked for. A browser takes it all.
    pub feedback: Feedback,
    pub to_sip: bool,
    pub to_browser: bool,
}

/// What is let through, each way, and what the gateway makes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    /// Browser to SIP. Where false but `keep_alive` true, silence frames go out instead.
    pub to_sip: bool,
    /// SIP to browser.
    pub to_browser: bool,
    /// The SIP side is entitled to media from us (our direction there says send).
    pub keep_alive: bool,
    /// What the browser hears of the gateway's own, until something is heard from the far end.
    pub tone: Option<Signal>,
    /// We hold the SIP side: it hears the hold music, where there is one, instead of silence.
    pub music: bool,
}

impl Flow {
    pub const NONE: Flow =
        Flow { to_sip: false, to_browser: false, keep_alive: false, tone: None, music: false };
    /// A conversation.
    pub const BOTH: Flow = Flow { to_sip: true, to_browser: true, keep_alive: true, ..Flow::NONE };
}

/// A tone that tells how a call stands (ITU-T E.180).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The far end rings.
    Ringback,
    Busy,
    /// It could not be reached.
    Congestion,
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
    /// Nothing has come from a side for [`MediaConfig::silence_alarm`] though the flow lets it speak.
    /// For alarms: it ends nothing.
    Silent { from_sip: bool, time: Duration },
    /// The browser has to see a whole picture, and the SIP side cannot be asked for one by RTCP.
    PictureWanted,
    /// After [`MediaEvent::Silent`] that side is heard again.
    HeardAgain { from_sip: bool, after: Duration },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsFailure {
    Handshake,
    FingerprintMismatch,
    NoSrtpProfile,
    Timeout,
}

/// Counters of one direction of one leg. Of a stream that we send, loss and jitter are what the other
/// side reports.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StreamStats {
    pub packets: u64,
    pub bytes: u64,
    /// Packets that never came, by sequence number.
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 6.4.1).
    pub jitter: Duration,
    /// Packets that came after a later one, and those that came again.
    pub reordered: u64,
    pub duplicates: u64,
    /// Frames that were made up for ones that did not come in time.
    pub concealed: u64,
    pub mos: Mos,
}

impl StreamStats {
    /// The part of the packets that never came, 0 to 1.
    pub fn loss(&self) -> f64 {
        let all = self.packets + self.lost;
        if all == 0 { 0.0 } else { self.lost as f64 / all as f64 }
    }

    /// What was counted after `before`. The jitter is that of now.
    pub fn since(&self, before: &StreamStats) -> StreamStats {
        StreamStats {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            lost: self.lost.saturating_sub(before.lost),
            jitter: self.jitter,
            reordered: self.reordered.saturating_sub(before.reordered),
            duplicates: self.duplicates.saturating_sub(before.duplicates),
            concealed: self.concealed.saturating_sub(before.concealed),
            mos: self.mos.since(&before.mos),
        }
    }
}

/// Listening quality of the intervals of 5 s in which the stream was heard, as mean opinion scores of 1
/// to 4.5 by the E-model (ITU-T G.107).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mos {
    pub intervals: u32,
    pub sum: f64,
    pub worst: Option<f64>,
}

impl Mos {
    pub fn average(&self) -> Option<f64> {
        (self.intervals > 0).then(|| self.sum / f64::from(self.intervals))
    }

    /// What came after `before`. Which interval was the worst is known only from the beginning on.
    pub fn since(&self, before: &Mos) -> Mos {
        Mos {
            intervals: self.intervals.saturating_sub(before.intervals),
            sum: self.sum - before.sum,
            worst: self.worst.filter(|_| before.intervals == 0),
        }
    }
}

/// Round trips of one leg, from RTCP; `None` until one was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoundTrips {
    pub last: Option<Duration>,
    pub max: Option<Duration>,
    /// Mean of all.
    pub average: Option<Duration>,
}

/// Counters of one call; all faults are counted here and end nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CallStats {
    pub from_browser: StreamStats,
    pub to_browser: StreamStats,
    pub from_sip: StreamStats,
    pub to_sip: StreamStats,
    pub browser_rtt: RoundTrips,
    pub sip_rtt: RoundTrips,
    /// The SIP side speaks SRTP now.
    pub sip_encrypted: bool,
    pub srtp_auth_failures: u64,
    pub srtp_replays: u64,
    /// The same of the SIP side, where that speaks SRTP.
    pub sip_auth_failures: u64,
    pub sip_replays: u64,
    pub stun_bad_integrity: u64,
    pub unknown_payload: u64,
    /// RTP from an address other than the learned one.
    pub foreign_source: u64,
    pub malformed: u64,
    /// `None` for a call without video.
    pub video: Option<VideoStats>,
}

impl CallStats {
    /// The same with the sound and the video of after `before` only: of one of the calls that a line has had.
    pub fn since(&self, before: &CallStats) -> CallStats {
        CallStats {
            from_browser: self.from_browser.since(&before.from_browser),
            to_browser: self.to_browser.since(&before.to_browser),
            from_sip: self.from_sip.since(&before.from_sip),
            to_sip: self.to_sip.since(&before.to_sip),
            video: self.video.map(|video| video.since(&before.video.unwrap_or_default())),
            ..*self
        }
    }
}

/// Counters of a call's video; no score is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VideoStats {
    pub from_browser: StreamStats,
    pub to_browser: StreamStats,
    pub from_sip: StreamStats,
    pub to_sip: StreamStats,
    /// What the receiver of each stream has asked its sender for: we the browser and the SIP side, and they us.
    pub asked_browser: Asked,
    pub browser_asked: Asked,
    pub asked_sip: Asked,
    pub sip_asked: Asked,
}

impl VideoStats {
    /// What was counted after `before`.
    pub fn since(&self, before: &VideoStats) -> VideoStats {
        VideoStats {
            from_browser: self.from_browser.since(&before.from_browser),
            to_browser: self.to_browser.since(&before.to_browser),
            from_sip: self.from_sip.since(&before.from_sip),
            to_sip: self.to_sip.since(&before.to_sip),
            asked_browser: self.asked_browser.since(before.asked_browser),
            browser_asked: self.browser_asked.since(before.browser_asked),
            asked_sip: self.asked_sip.since(before.asked_sip),
            sip_asked: self.sip_asked.since(before.sip_asked),
        }
    }
}

/// What the receiver of a video asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Packets again (NACK).
    pub packets: u64,
    /// Whole pictures (PLI, FIR).
    pub pictures: u64,
}

impl std::ops::AddAssign for Asked {
    fn add_assign(&mut self, other: Asked) {
        self.packets += other.packets;
        self.pictures += other.pictures;
    }
}

impl Asked {
    fn since(self, before: Asked) -> Asked {
        Asked {
            packets: self.packets.saturating_sub(before.packets),
            pictures: self.pictures.saturating_sub(before.pictures),
        }
    }
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
    /// Connections that carry a call's media now.
    pub tcp_connections: u64,
    /// Connections that named no call of ours, or were not heard of in time.
    pub tcp_refused: u64,
    /// Datagrams that a connection had no room for.
    pub tcp_dropped: u64,
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
    #[error("cannot listen for media over TCP at {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot set up a media worker: {0}")]
    Worker(std::io::Error),
    #[error("cannot make the DTLS certificate: {0}")]
    Certificate(String),
}
