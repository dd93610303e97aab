//! The configuration as the rest of the program sees it: parsed, checked, nothing left to doubt.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::guard::Guard;
use super::secrets::DnSecrets;
use super::security::Operators;
use super::sign_ins::SignIns;
use super::telemetry::{Log, Metrics, Tracing};
use super::token_keys::TokenKeys;
use crate::media::TonePlan;
use crate::sdp::{Codec, SrtpPolicy, VideoCodec};
use crate::secret::Secret;

/// All of it. Made by [`Config::load`]; every value has passed validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub http: Http,
    pub sip: Sip,
    pub media: Media,
    pub turn: Turn,
    pub agents: Agents,
    pub journal: Journal,
    pub operations: Operations,
    pub lifecycle: Lifecycle,
    pub log: Log,
    pub metrics: Metrics,
    pub tracing: Tracing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
    /// Empty, or `/something` without a trailing slash: what stands before every path.
    pub base_path: String,
    pub allowed_origins: Origins,
    /// Both `tls_cert` and `tls_key`, or plain HTTP unless [`Guard::self_signed`].
    pub tls: Option<TlsFiles>,
    pub operators: Operators,
    pub guard: Guard,
    /// What the gateway signs DNs in with where their pages do not.
    pub secrets: DnSecrets,
    pub sign_ins: SignIns,
    /// What one-time tokens are signed with.
    pub token_keys: TokenKeys,
    pub connector: Connector,
}

/// The WWE SIP endpoint connector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connector {
    /// Who has the token drives the DN's phone. No token twice.
    pub tokens: Vec<(Secret, String)>,
    pub bare_paths: BarePaths,
}

/// Whether the connector answers without a token, on `/RegisterDn` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BarePaths {
    /// Where HTTP is served on loopback, to a client there, and while one DN at most is signed in.
    #[default]
    Auto,
    /// Always, for any DN: whoever reaches the port drives the phones.
    On,
    Off,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Which pages of other origins may use the API. The gateway's own origin always may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// `*`: any page.
    Any,
    List(Vec<OriginRule>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginRule {
    /// One origin as browsers send it: `https://wwe.example`, or `null` for pages without one
    /// (files, sandboxed frames). Lower case.
    Exact(String),
    /// `loopback`: pages served by this very machine (`localhost`, `127.0.0.0/8`, `[::1]`), any
    /// scheme and port.
    Loopback,
}

impl Origins {
    /// Is a page of this origin (the value of the `Origin` header) on the list?
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Origins::Any => true,
            Origins::List(rules) => rules.iter().any(|rule| match rule {
                OriginRule::Exact(known) => known.eq_ignore_ascii_case(origin),
                OriginRule::Loopback => is_loopback_origin(origin),
            }),
        }
    }
}

fn is_loopback_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_scheme, authority)| is_loopback_authority(authority))
}

/// `localhost:8086`, `127.0.0.1`, `[::1]:8086`: this very machine.
pub fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sip {
    /// In order of preference, never empty.
    pub servers: Vec<SipServer>,
    /// Host part of the AOR.
    pub domain: String,
    /// Where the SIP sockets are bound, UDP and TCP; port 0 means any free one.
    pub listen: SocketAddr,
    /// Where TLS is listened on; `None`: connections to us come in over UDP and TCP only.
    pub tls_listen: Option<SocketAddr>,
    pub tls: SipTls,
    /// Networks that SIP is taken from besides the servers' own addresses.
    pub networks: Vec<Network>,
    /// Pause between OPTIONS pings of a server; `None`: no pings.
    pub ping: Option<Duration>,
    /// REGISTERs a second that the gateway sends at most, all DNs together.
    pub register_rate: u32,
    /// What Via and Contact say; `None`: the local address that reaches the server.
    pub advertise: Option<Advertise>,
    pub register_expires: Duration,
    pub user_agent: String,
    /// RFC 4028; `None`: no timers of our own asking.
    pub session_expires: Option<Duration>,
    pub min_session_expires: Duration,
    pub reliable: ReliableProvisional,
    /// Headers of the deployment's own, in every REGISTER and INVITE.
    pub headers: Vec<(String, String)>,
    /// What stands before a key of `attacheddata` to make a header's name of it.
    pub attached_prefix: String,
    pub dtmf: DtmfBy,
}

/// How the SIP side's certificates are checked, and what we show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SipTls {
    /// PEM file of the authorities that a server's certificate may come from; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// SHA-256 of certificates that are taken whoever signed them.
    pub pins: Vec<[u8; 32]>,
    /// Shown by `tls_listen`, and to a server that asks for a client certificate.
    pub own: Option<TlsFiles>,
}

/// RFC 3262: whether provisional answers of ours are sent reliably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReliableProvisional {
    Off,
    Required,
    Supported,
}

/// How a digit of the browser's reaches the SIP side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtmfBy {
    /// RFC 4733 where it was negotiated, else INFO.
    Auto,
    Rtp,
    Info,
}

/// An address block, as in `192.0.2.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    pub address: IpAddr,
    /// Leading bits that count: 0 to 32, or to 128.
    pub prefix: u8,
}

impl Network {
    pub fn contains(&self, ip: IpAddr) -> bool {
        // A v4 peer of a v6 socket is the v4 address it is.
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// `host` or `host:port` of `sip.advertise`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertise {
    pub ip: IpAddr,
    /// `None`: the port of the bound socket.
    pub port: Option<u16>,
}

/// One entry of `sip.servers` (RFC 3261 19.1, only what names a server).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SipServer {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// `None`: the transport's default.
    pub port: Option<u16>,
    /// `None`: DNS says (NAPTR, then SRV; RFC 3263 4.1), else UDP.
    pub transport: Option<SipTransport>,
}

impl SipServer {
    /// The transport given, else UDP.
    pub fn transport_or_default(&self) -> SipTransport {
        self.transport.unwrap_or(SipTransport::Udp)
    }

    /// The port given, else 5060, or 5061 for TLS (RFC 3261 19.1.2).
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(match self.transport_or_default() {
            SipTransport::Udp | SipTransport::Tcp => 5060,
            SipTransport::Tls => 5061,
        })
    }
}

impl fmt::Display for SipServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "sip:[{}]", self.host)?;
        } else {
            write!(f, "sip:{}", self.host)?;
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            None => Ok(()),
            Some(SipTransport::Udp) => f.write_str(";transport=udp"),
            Some(SipTransport::Tcp) => f.write_str(";transport=tcp"),
            Some(SipTransport::Tls) => f.write_str(";transport=tls"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SipTransport {
    Udp,
    Tcp,
    Tls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// First browser-side UDP port; worker `n` takes `listen.port() + n`. Port 0: any free port each.
    pub listen: SocketAddr,
    /// Where media over TCP is taken, one port for all workers; `None`: nowhere.
    pub tcp_listen: Option<SocketAddr>,
    /// Addresses for ICE candidates; empty: `listen`'s, or the local ones where that is `0.0.0.0`.
    pub advertise: Vec<IpAddr>,
    /// `None`: the local address that reaches the SIP server.
    pub rtp_address: Option<IpAddr>,
    /// RTP sockets toward SIP; RTP takes even ports, RTCP the odd one above.
    pub rtp_ports: RangeInclusive<u16>,
    /// At least one; `0` in the file has been replaced by min(cores, 4).
    pub workers: usize,
    /// In order of preference, never empty, no doubles.
    pub codecs: Vec<Codec>,
    /// How hard the Opus encoder tries where a call is transcoded: 0 to 10.
    pub opus_complexity: u8,
    /// What is passed on; empty: video is refused.
    pub video: Vec<VideoCodec>,
    /// The country whose ringing tone the browser hears; `None`: none.
    pub tones: Option<&'static TonePlan>,
    /// WAV; `None`: who is held hears silence.
    pub hold_music: Option<PathBuf>,
    /// No RTP for this long, where it is expected, is worth a warning; `None`: never.
    pub silence_alarm: Option<Duration>,
    /// SRTP toward SIP.
    pub srtp: SrtpPolicy,
}

/// The embedded TURN server, and what browsers are told of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// UDP and TCP; port 0: any that is free for both. `None`: neither.
    pub listen: Option<SocketAddr>,
    /// `None`: no TLS.
    pub tls_listen: Option<SocketAddr>,
    /// Its own files, or those of [`Http::tls`].
    pub tls: Option<TlsFiles>,
    /// Names and addresses (IPv6 without brackets) that browsers are told; empty: the listening
    /// address, or that of the media's candidates.
    pub advertise: Vec<String>,
    pub realm: String,
    pub secret: TurnSecret,
    /// For how long the credentials of `GET /api/ice` open an allocation.
    pub credential_life: Duration,
    pub max_allocations: usize,
    /// A whole site may be behind one.
    pub max_allocations_per_address: usize,
    /// URIs of other servers (RFC 7064, 7065). Those for TURN take the same secret.
    pub external: Vec<String>,
}

/// What TURN credentials are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnSecret {
    /// A new one at each start: nobody else needs to know it.
    Random,
    Given(Secret),
    /// Its first line.
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agents {
    /// A session whose client has not been heard of for this long ends.
    pub lease: Duration,
    /// Calls at a time per agent.
    pub max_calls: usize,
}

/// What is kept of what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    pub store: CallStore,
    /// Where SIP is shown as it happens; `None`: nowhere.
    pub hep: Option<Hep>,
    /// Where each finished call's line of JSON goes; `None`: nowhere.
    pub call_records: Option<crate::journal::Target>,
}

/// Finished calls, and how long they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallStore {
    /// `None`: in memory, a few thousand, until the process ends.
    pub file: Option<PathBuf>,
    pub keep: Duration,
    /// The file may have so many; the oldest calls go before it has more.
    pub max_bytes: u64,
    /// Whether timelines keep the messages' bodies.
    pub bodies: bool,
}

/// A HEP v3 collector (Homer), UDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hep {
    /// A name or an address.
    pub host: String,
    pub port: u16,
    /// Tells this gateway from other capture agents.
    pub capture_id: u32,
    /// Its first line is the password that the collector asks for.
    pub password_file: Option<PathBuf>,
}

/// The operations API and the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operations {
    /// A side of an established call that may speak and has sent no RTP for so long is an alert.
    pub no_rtp: Duration,
}

/// Starting and stopping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// How long calls may go on after the gateway was told to stop.
    pub drain: Duration,
}
