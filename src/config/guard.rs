//! What keeps strangers, floods and accidents off HTTP: keys of `[http]`.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::load::Loader;
use super::parse::{self, Raw, Wrong, wrong};
use super::types::{Network, Origins};

/// Two years are what browsers' preload lists ask for at most.
const HSTS: RangeInclusive<u64> = 0..=63_072_000;

/// It holds for the whole host, other ports and other applications too: a month is mended in a month.
const DEFAULT_HSTS: u64 = 2_592_000;

const SIGN_INS: RangeInclusive<u64> = 1..=10_000;

/// As many descriptors as a process may be given without asking the kernel for more.
const CONNECTIONS: RangeInclusive<u64> = 16..=1_000_000;

const FREE_TRIES: RangeInclusive<u64> = 1..=100;

const LOCKOUT: RangeInclusive<u64> = 1..=3600;

/// See `Loader::guard`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// HTTPS with a certificate of our own making.
    pub self_signed: bool,
    /// `None`: browsers are not told to come by HTTPS only.
    pub hsts: Option<Duration>,
    /// Lower case, without ports. Empty: see [`Guard::allowed_hosts`]' default in `http`.
    pub allowed_hosts: Vec<String>,
    /// Who may put the pages into a frame; `None`: whoever may use the API.
    pub frame_ancestors: Option<Origins>,
    /// Whose word is taken for where a request comes from.
    pub trusted_proxies: Vec<Network>,
    pub forwarded_header: ForwardedHeader,
    pub limits: Limits,
}

/// Where a trusted proxy says who asks. One, because a proxy passes on what it does not write itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All together.
    pub sign_ins_per_second: u32,
    pub connections: usize,
    pub connections_per_address: usize,
    /// Refused sign-ins of a DN from one address that cost nothing.
    pub free_tries: u32,
    /// The longest pause asked for.
    pub lockout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sign_ins_per_second: 400,
            connections: 16_384,
            connections_per_address: 4096,
            free_tries: 5,
            lockout: Duration::from_secs(60),
        }
    }
}

impl Guard {
    /// A proxy is in front: who connects from loopback is not this machine's own.
    pub fn has_proxies(&self) -> bool {
        !self.trusted_proxies.is_empty()
    }

    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(ip))
    }
}

impl Loader {
    pub(super) fn guard(&mut self) -> Guard {
        let tls = [("files", false), ("self-signed", true)];
        let headers = [
            ("x-forwarded-for", ForwardedHeader::XForwardedFor),
            ("forwarded", ForwardedHeader::Forwarded),
        ];
        let hsts = self
            .take("http.hsts_seconds", |raw| parse::count(raw, HSTS, " seconds; 0 for none"))
            .unwrap_or(DEFAULT_HSTS);
        Guard {
            self_signed: self.take("http.tls", |raw| parse::word(raw, &tls)).unwrap_or_default(),
            hsts: (hsts > 0).then(|| Duration::from_secs(hsts)),
            allowed_hosts: self.take("http.allowed_hosts", hosts).unwrap_or_default(),
            frame_ancestors: self.take("http.frame_ancestors", parse::origins),
            trusted_proxies: self.take("http.trusted_proxies", parse::networks).unwrap_or_default(),
            forwarded_header: self
                .take("http.forwarded_header", |raw| parse::word(raw, &headers))
                .unwrap_or_default(),
            limits: self.limits(),
        }
    }

    fn limits(&mut self) -> Limits {
        let default = Limits::default();
        let mut number = |key, bounds: RangeInclusive<u64>, unit| {
            self.take(key, |raw| parse::count(raw, bounds, unit))
        };
        let sign_ins = number("http.sign_ins_per_second", SIGN_INS, " a second");
        let connections = number("http.max_connections", CONNECTIONS, "");
        let per_address = number("http.max_connections_per_address", CONNECTIONS, "");
        let free_tries = number("http.free_tries", FREE_TRIES, "");
        let lockout = number("http.lockout_seconds", LOCKOUT, " seconds");
        let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        let size = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        Limits {
            sign_ins_per_second: small(sign_ins).unwrap_or(default.sign_ins_per_second),
            connections: size(connections).unwrap_or(default.connections),
            connections_per_address: size(per_address).unwrap_or(default.connections_per_address),
            free_tries: small(free_tries).unwrap_or(default.free_tries),
            lockout: lockout.map_or(default.lockout, Duration::from_secs),
        }
    }
}

/// Names as a `Host` header has them, without the port.
fn hosts(raw: &Raw) -> Result<Vec<String>, Wrong> {
    raw.list()?
        .iter()
        .map(|entry| {
            let bare = entry.trim_start_matches('[').trim_end_matches(']');
            parse::host(bare).map(|host| host.trim_end_matches('.').to_owned()).ok_or_else(|| {
                wrong(
                    format!("`{entry}` is neither a host name nor an address"),
                    "write it as gateway.example, without scheme and port",
                )
            })
        })
        .collect()
}
