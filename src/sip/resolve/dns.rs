//! [`Lookup`] by the DNS servers of this host, over UDP and TCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup as Found;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};

use super::{Answer, DnsError, Looked, Lookup, Naptr, Srv};

/// How long one DNS server has for one try, of which there are two.
const TRY: Duration = Duration::from_secs(2);

/// How long `/etc/resolv.conf` is believed: it changes where a network manager writes it.
const CONFIGURATION_LIFE: Duration = Duration::from_secs(60);

/// The DNS of this host.
pub struct SystemDns {
    /// A name server in place of the host's.
    server: Option<SocketAddr>,
    resolver: Mutex<Option<(Instant, TokioResolver)>>,
}

impl SystemDns {
    /// By `/etc/resolv.conf` and `/etc/hosts`.
    pub fn new() -> Self {
        Self { server: None, resolver: Mutex::new(None) }
    }

    /// By this name server, whatever the host is configured to use.
    pub fn at(server: SocketAddr) -> Self {
        Self { server: Some(server), resolver: Mutex::new(None) }
    }

    fn resolver(&self) -> Result<TokioResolver, DnsError> {
        let mut resolver = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, resolver)) = &*resolver
            && made.elapsed() < CONFIGURATION_LIFE
        {
            return Ok(resolver.clone());
        }
        let mut builder = self.builder().map_err(|error| DnsError(error.to_string()))?;
        let options = builder.options_mut();
        options.timeout = TRY;
        options.attempts = 1;
        // Those are asked by `local`, and what is kept is kept by whoever asks.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        let new = builder.build().map_err(|error| DnsError(error.to_string()))?;
        *resolver = Some((Instant::now(), new.clone()));
        Ok(new)
    }

    fn builder(&self) -> Result<ResolverBuilder<TokioRuntimeProvider>, NetError> {
        let Some(server) = self.server else { return TokioResolver::builder_tokio() };
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut way| {
            way.port = server.port();
            way
        });
        let name_server = NameServerConfig::new(server.ip(), true, connections.into());
        let config = ResolverConfig::from_name_servers(vec![name_server]);
        Ok(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, DnsError> {
        let found = self.resolver()?.lookup(name, kind).await;
        match found {
            Ok(found) => Ok(answer(&found, read)),
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(Answer::none()),
            Err(error) => Err(DnsError(error.to_string())),
        }
    }
}

impl Default for SystemDns {
    fn default() -> Self {
        Self::new()
    }
}

fn answer<T>(found: &Found, read: impl Fn(&RData) -> Option<T>) -> Answer<T> {
    let records: Vec<T> = found.answers().iter().filter_map(|record| read(&record.data)).collect();
    // With the TTLs of aliases on the way.
    let ttl = found.answers().iter().map(|record| record.ttl).min();
    let ttl = ttl.map_or(super::LONGEST_TTL, |ttl| Duration::from_secs(ttl.into()));
    Answer { records, ttl }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As text, and absolute: no search list is put after it.
fn absolute(name: &Name) -> String {
    let mut name = name.clone();
    name.set_fqdn(true);
    name.to_ascii()
}

impl Lookup for SystemDns {
    fn local(&self, name: &str) -> Vec<IpAddr> {
        let bare = name.trim_end_matches('.');
        if bare.eq_ignore_ascii_case("localhost")
            || bare.to_ascii_lowercase().ends_with(".localhost")
        {
            // RFC 6761 6.3.
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        let (Ok(hosts), Ok(name)) = (Hosts::from_system(), Name::from_utf8(name)) else {
            return Vec::new();
        };
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
            .flat_map(|found| answer(&found, RData::ip_addr).records)
            .collect()
    }

    fn naptr<'a>(&'a self, name: &'a str) -> Looked<'a, Naptr> {
        Box::pin(self.ask(name, RecordType::NAPTR, |data| {
            let RData::NAPTR(naptr) = data else { return None };
            Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                service: text(&naptr.services),
                replacement: absolute(&naptr.replacement),
            })
        }))
    }

    fn srv<'a>(&'a self, name: &'a str) -> Looked<'a, Srv> {
        Box::pin(self.ask(name, RecordType::SRV, |data| {
            let RData::SRV(srv) = data else { return None };
            Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: absolute(&srv.target),
            })
        }))
    }

    fn addresses<'a>(&'a self, name: &'a str) -> Looked<'a, IpAddr> {
        Box::pin(async move {
            let (v4, v6) = tokio::join!(
                self.ask(name, RecordType::A, RData::ip_addr),
                self.ask(name, RecordType::AAAA, RData::ip_addr)
            );
            match (v4, v6) {
                (Ok(mut v4), Ok(v6)) => {
                    if v4.records.is_empty() || !v6.records.is_empty() {
                        v4.ttl = v4.ttl.min(v6.ttl);
                    }
                    v4.records.extend(v6.records);
                    Ok(v4)
                }
                // One family is enough, where it has something.
                (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.records.is_empty() => Ok(one),
                (Err(fault), _) | (_, Err(fault)) => Err(fault),
            }
        })
    }
}
