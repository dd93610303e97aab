//! The ports that a configuration asks for, and whether two of its keys want the same one.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::load::Loader;
use super::types::Config;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Udp,
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
        })
    }
}

/// Ports that one key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub key: &'static str,
    pub protocol: Protocol,
    /// `None`: not known before the start, which may be any.
    pub ip: Option<IpAddr>,
    /// 0 alone: any that is free.
    pub ports: RangeInclusive<u16>,
}

impl Wanted {
    /// The ports that both want.
    fn shared(&self, other: &Self) -> Option<RangeInclusive<u16>> {
        let first = *self.ports.start().max(other.ports.start());
        let last = *self.ports.end().min(other.ports.end());
        let same = self.protocol == other.protocol && meet(self.ip, other.ip);
        (same && first != 0 && first <= last).then_some(first..=last)
    }
}

/// Whether a socket at the one is in the way of a socket at the other: `[::]` is IPv4 as well, `0.0.0.0` is not
/// IPv6.
fn meet(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    let all = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let anywhere = one.is_unspecified() || other.is_unspecified();
    one == other || one == all || other == all || anywhere && one.is_ipv4() == other.is_ipv4()
}

/// All of them, in the order of the sections.
pub fn wanted(config: &Config) -> Vec<Wanted> {
    let mut all = Vec::new();
    let mut want = |key, protocol, at: Option<SocketAddr>, last: u16| {
        all.extend(at.map(|at| {
            let ports = at.port()..=last.max(at.port());
            Wanted { key, protocol, ip: Some(at.ip()), ports }
        }));
    };
    let Config { http, sip, media, turn, metrics, .. } = config;
    want("http.listen", Protocol::Tcp, Some(http.listen), 0);
    want("sip.listen", Protocol::Udp, Some(sip.listen), 0);
    want("sip.listen", Protocol::Tcp, Some(sip.listen), 0);
    want("sip.tls_listen", Protocol::Tcp, sip.tls_listen, 0);
    let more = u16::try_from(media.workers.saturating_sub(1)).unwrap_or(u16::MAX);
    let last = if media.listen.port() == 0 { 0 } else { media.listen.port().saturating_add(more) };
    want("media.listen", Protocol::Udp, Some(media.listen), last);
    want("media.tcp_listen", Protocol::Tcp, media.tcp_listen, 0);
    want("turn.listen", Protocol::Udp, turn.listen, 0);
    want("turn.listen", Protocol::Tcp, turn.listen, 0);
    want("turn.tls_listen", Protocol::Tcp, turn.tls_listen, 0);
    want("metrics.listen", Protocol::Tcp, metrics.listen, 0);
    let (ip, ports) = (media.rtp_address, media.rtp_ports.clone());
    all.push(Wanted { key: "media.rtp_ports", protocol: Protocol::Udp, ip, ports });
    all
}

impl Loader {
    pub(super) fn check_ports(&mut self, config: &Config) {
        let media = &config.media;
        let first = usize::from(media.listen.port());
        let last = first + media.workers.saturating_sub(1);
        if first != 0 && last > usize::from(u16::MAX) {
            self.clash(
                "media.listen",
                format!("{} workers take the ports from {first} to {last}", media.workers),
                "begin lower, or take fewer workers (media.workers)",
            );
        }
        let all = wanted(config);
        let mut told = Vec::new();
        for (at, one) in all.iter().enumerate() {
            for other in all.iter().skip(at + 1) {
                let Some(ports) = one.shared(other) else { continue };
                // UDP and TCP of one key are moved together.
                if told.contains(&(one.key, other.key)) {
                    continue;
                }
                told.push((one.key, other.key));
                // A default is nobody's mistake: the fault stands where somebody has written something.
                let (key, taken) = match self.is_given(other.key) || !self.is_given(one.key) {
                    true => (other.key, one),
                    false => (one.key, other),
                };
                self.clash(key, taken.has(&ports), remedy(one.key, other.key));
            }
        }
    }
}

impl Wanted {
    fn has(&self, shared: &RangeInclusive<u16>) -> String {
        let (key, protocol) = (self.key, self.protocol);
        let what = match (self.ports.start(), self.ports.end()) {
            (first, last) if first == last => format!("{protocol} port {first}"),
            (first, last) => format!("{protocol} ports {first} to {last}"),
        };
        let (first, last) = (shared.start(), shared.end());
        match (shared == &self.ports, first == last) {
            (true, _) => format!("{key} has {what} already"),
            (false, true) => format!("{key} has {what} already, {first} among them"),
            (false, false) => format!("{key} has {what} already, {first} to {last} among them"),
        }
    }
}

fn remedy(one: &str, other: &str) -> String {
    let more = match (one, other) {
        ("http.listen", "metrics.listen") => "; or set metrics.open and leave metrics.listen out",
        ("media.listen", _) | (_, "media.listen") => "; each of media.workers takes a port more",
        _ => "",
    };
    format!("move {one} or {other}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_addresses_meet() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for (one, other, meets) in [
            (ip("0.0.0.0"), ip("127.0.0.1"), true),
            (ip("192.0.2.1"), ip("192.0.2.1"), true),
            (ip("192.0.2.1"), ip("192.0.2.2"), false),
            (ip("::"), ip("192.0.2.1"), true),
            (ip("::"), ip("0.0.0.0"), true),
            (ip("0.0.0.0"), ip("2001:db8::1"), false),
            (ip("::1"), ip("127.0.0.1"), false),
            (None, ip("127.0.0.1"), true),
        ] {
            assert_eq!((meet(one, other), meet(other, one)), (meets, meets), "{one:?} {other:?}");
        }
    }
}
