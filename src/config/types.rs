//! The configuration as the rest of the program sees it: parsed, checked, nothing left to doubt.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::sdp::Codec;

/// All of it. Made by [`Config::load`]; every value has passed validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub http: Http,
    pub sip: Sip,
    pub media: Media,
    pub agents: Agents,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    pub listen: SocketAddr,
    /// Empty, or `/something` without a trailing slash: what stands before every path.
    pub base_path: String,
    pub allowed_origins: Origins,
    /// Both `tls_cert` and `tls_key`, or plain HTTP.
    pub tls: Option<TlsFiles>,
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
    let Some((_scheme, authority)) = origin.split_once("://") else { return false };
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
    /// Where the SIP socket is bound; port 0 means any free one.
    pub listen: SocketAddr,
    /// What Via and Contact say; `None`: the local address that reaches the server.
    pub advertise: Option<Advertise>,
    pub register_expires: Duration,
    pub user_agent: String,
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
    pub transport: SipTransport,
}

impl SipServer {
    /// The port given, else 5060, or 5061 for TLS (RFC 3261 19.1.2).
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(match self.transport {
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
            SipTransport::Udp => Ok(()),
            SipTransport::Tcp => f.write_str(";transport=tcp"),
            SipTransport::Tls => f.write_str(";transport=tls"),
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
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agents {
    /// A session whose client has not been heard of for this long ends.
    pub lease: Duration,
    /// Calls at a time per agent.
    pub max_calls: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a `tracing-subscriber` filter directive list.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}
