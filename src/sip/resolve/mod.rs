//! From the name of a SIP server to addresses, in the order in which they are to be tried (RFC 3263 4).
//!
//! What DNS says comes in through [`Lookup`], so that tests can script it; [`SystemDns`] asks the
//! servers of `/etc/resolv.conf`.

#[cfg(not(packets_only))]
mod dns;
mod order;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::hop::{Hop, Transport};

#[cfg(not(packets_only))]
pub use dns::SystemDns;
pub use order::{Ranked, ranked};

/// SRV records that are followed, and addresses of one name: more is no server farm but a mistake, or
/// somebody who wants us to send pings to the world.
const MAX_RECORDS: usize = 16;

/// What an answer without a TTL of its own is good for, and the longest that one is believed.
const LONGEST_TTL: Duration = Duration::from_secs(3600);

/// A SIP server as it is configured (RFC 3261 19.1, what names a server).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServerUri {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    pub port: Option<u16>,
    /// None: DNS says, else UDP.
    pub transport: Option<Transport>,
}

impl fmt::Display for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "sip:[{}]", self.host)?,
            false => write!(f, "sip:{}", self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            Some(transport) => write!(f, ";transport={}", transport.param()),
            None => Ok(()),
        }
    }
}

/// Records with the time they are good for. No records: there is no such name, or it has none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    pub records: Vec<T>,
    pub ttl: Duration,
}

impl<T> Answer<T> {
    pub fn none() -> Self {
        Self { records: Vec::new(), ttl: LONGEST_TTL }
    }
}

/// RFC 3403 4.1, what RFC 3263 uses of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    pub order: u16,
    pub preference: u16,
    /// `s` for a name with SRV records.
    pub flags: String,
    /// `SIP+D2U` and its kin.
    pub service: String,
    pub replacement: String,
}

/// RFC 2782.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

/// DNS did not answer, or answered with a failure; another try may fare better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DnsError(pub String);

pub type Looked<'a, T> = Pin<Box<dyn Future<Output = Result<Answer<T>, DnsError>> + Send + 'a>>;

/// Where names are looked up.
pub trait Lookup: Send + Sync + 'static {
    /// What this host says of the name itself (`/etc/hosts`, `localhost`): no DNS server is asked about
    /// a name that is found here.
    fn local(&self, name: &str) -> Vec<IpAddr>;
    fn naptr<'a>(&'a self, name: &'a str) -> Looked<'a, Naptr>;
    fn srv<'a>(&'a self, name: &'a str) -> Looked<'a, Srv>;
    /// A and AAAA, the A records first.
    fn addresses<'a>(&'a self, name: &'a str) -> Looked<'a, IpAddr>;
}

/// Why a server has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("{server}: DNS did not answer: {source}")]
    Dns { server: String, source: DnsError },
    #[error("{server}: DNS knows no such name")]
    NoSuchName { server: String },
    #[error("{server}: it has IPv6 addresses only, and sip.listen is an IPv4 one; listen on [::]")]
    NoUsableAddress { server: String },
}

impl ResolveError {
    /// Without the server.
    pub fn reason(&self) -> String {
        let (ResolveError::Dns { server, .. }
        | ResolveError::NoSuchName { server }
        | ResolveError::NoUsableAddress { server }) = self;
        let text = self.to_string();
        text.strip_prefix(server.as_str())
            .map_or(text.as_str(), |rest| rest.trim_start_matches(": "))
            .to_owned()
    }
}

/// What a server has been resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// In the order to be tried.
    pub hops: Vec<Ranked<Hop>>,
    /// How long that is true; None for ever, with an address in place of a name.
    pub ttl: Option<Duration>,
}

/// The addresses of a server. `seed` chooses among SRV records of one priority, by their weights.
///
/// # Errors
/// When there is no address at all. That NAPTR or SRV records cannot be had is none: there are DNS
/// forwarders that lose such queries, and the address alone is often enough.
pub async fn resolve(
    lookup: &dyn Lookup,
    server: &ServerUri,
    seed: u64,
) -> Result<Resolved, ResolveError> {
    if let Ok(ip) = server.host.parse::<IpAddr>() {
        let transport = server.transport.unwrap_or(Transport::Udp);
        let port = server.port.unwrap_or(transport.default_port());
        let hop = Hop::new(transport, (ip, port).into());
        return Ok(Resolved { hops: vec![Ranked { rank: 0, value: hop }], ttl: None });
    }
    let mut walk = Walk { lookup, ttl: LONGEST_TTL, fault: None, rng: StdRng::seed_from_u64(seed) };
    let hops = walk.hops(server).await;
    if hops.is_empty() {
        let server = server.to_string();
        return Err(match walk.fault {
            Some(source) => ResolveError::Dns { server, source },
            None => ResolveError::NoSuchName { server },
        });
    }
    Ok(Resolved { hops, ttl: Some(walk.ttl) })
}

/// One resolution under way.
struct Walk<'a> {
    lookup: &'a dyn Lookup,
    /// The shortest of all that was used.
    ttl: Duration,
    fault: Option<DnsError>,
    rng: StdRng,
}

impl Walk<'_> {
    async fn hops(&mut self, server: &ServerUri) -> Vec<Ranked<Hop>> {
        let host = server.host.as_str();
        let transport = server.transport.unwrap_or(Transport::Udp);
        // 4.2: a port says that no SRV record is wanted.
        if server.port.is_none() && self.lookup.local(host).is_empty() {
            let services = match server.transport {
                Some(transport) => vec![(transport, service_name(transport, host))],
                None => self.services(host).await,
            };
            for (transport, service) in services {
                let hops = self.service(transport, &service).await;
                if !hops.is_empty() {
                    return hops;
                }
            }
        }
        let port = server.port.unwrap_or(transport.default_port());
        let hop = |ip: IpAddr| Ranked { rank: 0, value: Hop::new(transport, (ip, port).into()) };
        self.addresses(host).await.into_iter().map(hop).collect()
    }

    /// The transports to be tried with their names for SRV records (4.1).
    async fn services(&mut self, host: &str) -> Vec<(Transport, String)> {
        let answer = self.lookup.naptr(host).await;
        let records = self.used(answer);
        let mut known: Vec<(u16, u16, Transport, String)> = records
            .into_iter()
            .filter(|record| record.flags.eq_ignore_ascii_case("s"))
            .filter_map(|record| {
                let transport = transport_of(&record.service)?;
                Some((record.order, record.preference, transport, record.replacement))
            })
            .collect();
        known.sort_by_key(|(order, preference, ..)| (*order, *preference));
        // RFC 3403 4.1: a record of a higher order is not looked at once one has matched.
        let lowest = known.first().map(|(order, ..)| *order);
        known.retain(|(order, ..)| Some(*order) == lowest);
        if known.is_empty() {
            return [Transport::Udp, Transport::Tcp, Transport::Tls]
                .map(|transport| (transport, service_name(transport, host)))
                .into();
        }
        known.into_iter().map(|(_, _, transport, name)| (transport, name)).collect()
    }

    async fn service(&mut self, transport: Transport, name: &str) -> Vec<Ranked<Hop>> {
        let answer = self.lookup.srv(name).await;
        // A single `.` says: this service is not to be had here (RFC 2782).
        let records = self
            .used(answer)
            .into_iter()
            .filter(|record| !record.target.trim_matches('.').is_empty());
        let records = ranked(records.collect(), &mut self.rng);
        let mut hops = Vec::new();
        for Ranked { rank, value: record } in records {
            for ip in self.addresses(&record.target).await {
                let value = Hop::new(transport, (ip, record.port).into());
                hops.push(Ranked { rank, value });
            }
        }
        hops
    }

    async fn addresses(&mut self, name: &str) -> Vec<IpAddr> {
        let local = self.lookup.local(name);
        if !local.is_empty() {
            return local;
        }
        let answer = self.lookup.addresses(name).await;
        self.used(answer)
    }

    fn used<T>(&mut self, answer: Result<Answer<T>, DnsError>) -> Vec<T> {
        match answer {
            Ok(mut answer) => {
                answer.records.truncate(MAX_RECORDS);
                if !answer.records.is_empty() {
                    self.ttl = self.ttl.min(answer.ttl);
                }
                answer.records
            }
            Err(fault) => {
                self.fault = Some(fault);
                Vec::new()
            }
        }
    }
}

fn service_name(transport: Transport, host: &str) -> String {
    match transport {
        Transport::Udp => format!("_sip._udp.{host}"),
        Transport::Tcp => format!("_sip._tcp.{host}"),
        Transport::Tls => format!("_sips._tcp.{host}"),
    }
}

/// RFC 3263 4.1, and the registry there.
fn transport_of(service: &str) -> Option<Transport> {
    let is = |name: &str| service.eq_ignore_ascii_case(name);
    match () {
        () if is("SIP+D2U") => Some(Transport::Udp),
        () if is("SIP+D2T") => Some(Transport::Tcp),
        () if is("SIPS+D2T") => Some(Transport::Tls),
        () => None,
    }
}
