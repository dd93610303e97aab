//! Keeps the names of `sip.servers` resolved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::{SipServer, SipTransport};
use crate::due::sleep_until;
use crate::sip::resolve::{Lookup, Ranked, ResolveError, Resolved, ServerUri, resolve};
use crate::sip::servers::Target;
use crate::sip::{Hop, Transport};

/// A name is not looked up more often than this, whatever its TTL.
const SHORTEST: Duration = Duration::from_secs(5);
/// Longest pause after a failure.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

struct Name {
    uri: ServerUri,
    hops: Vec<Ranked<Hop>>,
    /// When to look it up; None while that is under way, and for an address, which stays.
    due: Option<Instant>,
    asked: Option<Instant>,
    failures: u32,
    /// Why the last look-up failed, and since when they do.
    fault: Option<(ResolveError, Instant)>,
}

/// A name that does not resolve, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// As configured.
    pub name: String,
    /// As that of its addresses: see [`Target::tier`].
    pub tier: u32,
    pub reason: String,
    pub since: Instant,
    /// It stood for some before, and those are used.
    pub has_addresses: bool,
}

impl Name {
    fn new(uri: ServerUri, now: Instant) -> Self {
        let hops = Vec::new();
        Self { uri, hops, due: Some(now), asked: None, failures: 0, fault: None }
    }
}

/// The names with what they stand for.
pub(crate) struct Names {
    names: Vec<Name>,
    lookup: Arc<dyn Lookup>,
    /// Our socket cannot send to the other family.
    v4_only: bool,
    under_way: JoinSet<(usize, Result<Resolved, ResolveError>)>,
}

impl Names {
    /// `listen`: where our SIP socket is bound.
    pub fn new(servers: &[SipServer], lookup: Arc<dyn Lookup>, listen: SocketAddr) -> Self {
        let now = Instant::now();
        let names = servers.iter().map(|server| Name::new(uri_of(server), now)).collect();
        Self { names, lookup, v4_only: listen.is_ipv4(), under_way: JoinSet::new() }
    }

    /// Another list. Names that stay keep what is known of them.
    pub fn set(&mut self, servers: &[SipServer]) {
        let now = Instant::now();
        // Answers under way would be taken for those of other names.
        self.under_way = JoinSet::new();
        let mut old = std::mem::take(&mut self.names);
        for server in servers {
            let uri = uri_of(server);
            let known = old.iter().position(|name| name.uri == uri).map(|at| old.swap_remove(at));
            let mut name = known.unwrap_or_else(|| Name::new(uri, now));
            name.due = Some(name.due.unwrap_or(now));
            self.names.push(name);
        }
    }

    /// All servers in the order of the list.
    pub fn targets(&self) -> Vec<Target> {
        let of = |(index, name): (usize, &Name)| {
            let target = |hop: &Ranked<Hop>| Target {
                hop: hop.value,
                name: name.uri.to_string(),
                host: name.uri.host.clone(),
                tier: tier(index) | u32::from(hop.rank),
            };
            name.hops.iter().map(target).collect::<Vec<_>>()
        };
        self.names.iter().enumerate().flat_map(of).collect()
    }

    /// The names whose last look-up failed, in the order of the list.
    pub fn unresolved(&self) -> Vec<Unresolved> {
        let of = |(index, name): (usize, &Name)| {
            let (fault, since) = name.fault.as_ref()?;
            Some(Unresolved {
                name: name.uri.to_string(),
                tier: tier(index),
                reason: fault.reason(),
                since: *since,
                has_addresses: !name.hops.is_empty(),
            })
        };
        self.names.iter().enumerate().filter_map(of).collect()
    }

    /// Why there is nothing to be found, for a person.
    pub fn fault(&self) -> Option<String> {
        let faults = self.names.iter().filter_map(|name| name.fault.as_ref());
        let faults: Vec<String> = faults.map(|(fault, _)| fault.to_string()).collect();
        (!faults.is_empty()).then(|| format!("sip.servers: {}", faults.join("; ")))
    }

    /// Waits until each name has been looked up once, `limit` at most.
    pub async fn settle(&mut self, limit: Duration) {
        let all = async {
            while self.names.iter().any(|name| name.hops.is_empty() && name.fault.is_none()) {
                self.next().await;
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// A server fails: the names are looked up again, if they were not just now.
    pub fn hurry(&mut self) {
        let now = Instant::now();
        for name in &mut self.names {
            if let (Some(due), Some(asked)) = (name.due, name.asked) {
                name.due = Some(due.min(asked + SHORTEST).max(now));
            }
        }
    }

    /// Waits until a name has been looked up anew. Cancel-safe.
    pub async fn next(&mut self) {
        loop {
            self.ask(Instant::now());
            let due = self.names.iter().filter_map(|name| name.due).min();
            tokio::select! {
                Some(done) = self.under_way.join_next() => {
                    if let Ok((index, resolved)) = done {
                        return self.resolved(index, resolved);
                    }
                }
                () = sleep_until(due) => {}
            }
        }
    }

    fn ask(&mut self, now: Instant) {
        for (index, name) in self.names.iter_mut().enumerate() {
            if name.due.is_none_or(|at| at > now) {
                continue;
            }
            name.due = None;
            name.asked = Some(now);
            let (lookup, uri) = (Arc::clone(&self.lookup), name.uri.clone());
            self.under_way.spawn(async move {
                (index, resolve(lookup.as_ref(), &uri, rand::random()).await)
            });
        }
    }

    fn resolved(&mut self, index: usize, resolved: Result<Resolved, ResolveError>) {
        let v4_only = self.v4_only;
        let Some(name) = self.names.get_mut(index) else { return };
        let now = Instant::now();
        let resolved = resolved.and_then(|mut resolved| {
            resolved.hops.retain(|hop| hop.value.addr.is_ipv4() || !v4_only);
            match resolved.hops.is_empty() {
                true => Err(ResolveError::NoUsableAddress { server: name.uri.to_string() }),
                false => Ok(resolved),
            }
        });
        match resolved {
            Ok(Resolved { hops, ttl }) => {
                if name.fault.take().is_some() {
                    info!(server = %name.uri, "the name resolves");
                }
                name.failures = 0;
                name.hops = hops;
                name.due = ttl.map(|ttl| now + ttl.max(SHORTEST));
            }
            Err(fault) => {
                // What was found before stays: an address seldom goes away when DNS does.
                if name.fault.is_none() {
                    warn!(%fault, "a name of sip.servers does not resolve");
                }
                let pause = SHORTEST.saturating_mul(1 << name.failures.min(6));
                name.failures = name.failures.saturating_add(1);
                let since = name.fault.take().map_or(now, |(_, since)| since);
                name.fault = Some((fault, since));
                name.due = Some(now + pause.min(LONGEST_RETRY));
            }
        }
    }
}

/// Of a name's first address; the others' follow.
fn tier(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX >> 16) << 16
}

pub(crate) fn uri_of(server: &SipServer) -> ServerUri {
    let transport = server.transport.map(|transport| match transport {
        SipTransport::Udp => Transport::Udp,
        SipTransport::Tcp => Transport::Tcp,
        SipTransport::Tls => Transport::Tls,
    });
    ServerUri { host: server.host.clone(), port: server.port, transport }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::sip::resolve::{Answer, DnsError, Looked, Naptr, Srv};

    /// A name whose address counts up with each look-up; from the third on DNS is silent.
    #[derive(Default)]
    struct Moving(AtomicU8);

    impl Lookup for Moving {
        fn local(&self, _: &str) -> Vec<IpAddr> {
            Vec::new()
        }

        fn naptr<'a>(&'a self, _: &'a str) -> Looked<'a, Naptr> {
            Box::pin(async { Ok(Answer::none()) })
        }

        fn srv<'a>(&'a self, _: &'a str) -> Looked<'a, Srv> {
            Box::pin(async { Ok(Answer::none()) })
        }

        fn addresses<'a>(&'a self, _: &'a str) -> Looked<'a, IpAddr> {
            Box::pin(async {
                let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
                let records = vec![[192, 0, 2, count].into(), "2001:db8::1".parse().unwrap()];
                match count {
                    // A TTL below the floor.
                    ..=2 => Ok(Answer { records, ttl: Duration::from_secs(1) }),
                    _ => Err(DnsError("silence".into())),
                }
            })
        }
    }

    fn names(servers: &[(&str, Option<u16>)]) -> Names {
        let server = |(host, port): &(&str, Option<u16>)| SipServer {
            host: (*host).to_owned(),
            port: *port,
            transport: None,
        };
        let servers: Vec<SipServer> = servers.iter().map(server).collect();
        let listen = "0.0.0.0:5060".parse().unwrap();
        Names::new(&servers, Arc::new(Moving::default()), listen)
    }

    fn addresses(names: &Names) -> Vec<String> {
        names.targets().iter().map(|target| target.hop.to_string()).collect()
    }

    #[tokio::test]
    async fn a_name_is_looked_up_again_when_its_time_is_over_and_kept_when_dns_is_silent() {
        let mut names = names(&[("sip.example", None), ("192.0.2.99", Some(5070))]);
        names.settle(Duration::from_secs(60)).await;
        // A socket for IPv4 has no use for the other address.
        assert_eq!(addresses(&names), ["udp:192.0.2.1:5060", "udp:192.0.2.99:5070"]);
        let (first, second) = (names.targets()[0].tier, names.targets()[1].tier);
        assert!(first < second, "in the order of the list");
        let started = Instant::now();
        names.next().await;
        assert!(started.elapsed() >= SHORTEST - Duration::from_millis(200), "no more often");
        assert_eq!(addresses(&names), ["udp:192.0.2.2:5060", "udp:192.0.2.99:5070"]);
        assert_eq!(names.fault(), None);
        // The server fails: again at once, as far as the floor allows.
        names.hurry();
        names.next().await;
        assert_eq!(addresses(&names), ["udp:192.0.2.2:5060", "udp:192.0.2.99:5070"]);
        let fault = names.fault().unwrap();
        assert_eq!(fault, "sip.servers: sip:sip.example: DNS did not answer: silence");
        let unresolved = names.unresolved();
        assert_eq!(unresolved.len(), 1, "the other is an address");
        let name = &unresolved[0];
        assert_eq!(
            (&*name.name, &*name.reason),
            ("sip:sip.example", "DNS did not answer: silence")
        );
        assert!(name.has_addresses && name.tier == first);
    }
}
