//! Whom packets may be relayed to: this gateway's browser-side media sockets, by any of their names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An allow-list, by address family. A peer is named as the SDP names it; behind a NAT that is an
/// address this host does not have, so that what is sent to it goes to the socket itself.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    v4: Option<Family>,
    v6: Option<Family>,
}

#[derive(Debug, Clone)]
struct Family {
    /// Address of the relay sockets and of the media sockets as they see them.
    local: IpAddr,
    names: Vec<IpAddr>,
    ports: Vec<u16>,
}

impl Peers {
    /// `bound` are the media sockets, `advertised` the addresses of their candidates; `is_ours` says
    /// whether a socket can be bound to an address.
    pub fn new(
        bound: &[SocketAddr],
        advertised: &[IpAddr],
        is_ours: impl Fn(IpAddr) -> bool,
    ) -> Peers {
        let family = |v6: bool| {
            // A socket on `::` has IPv4, too.
            let serves = |at: &&SocketAddr| at.is_ipv6() == v6 || at.ip() == Ipv6Addr::UNSPECIFIED;
            let sockets: Vec<SocketAddr> = bound.iter().filter(serves).copied().collect();
            let mut names: Vec<IpAddr> =
                advertised.iter().copied().filter(|name| name.is_ipv6() == v6).collect();
            let local = match sockets.first()?.ip() {
                ip if !ip.is_unspecified() => ip,
                _ => names.iter().copied().find(|name| is_ours(*name)).unwrap_or(match v6 {
                    true => Ipv6Addr::LOCALHOST.into(),
                    false => Ipv4Addr::LOCALHOST.into(),
                }),
            };
            if !names.contains(&local) {
                names.push(local);
            }
            let ports = sockets.iter().map(SocketAddr::port).collect();
            is_ours(local).then_some(Family { local, names, ports })
        };
        Peers { v4: family(false), v6: family(true) }
    }

    fn family(&self, v6: bool) -> Option<&Family> {
        if v6 { self.v6.as_ref() } else { self.v4.as_ref() }
    }

    /// The address that relay sockets are bound to; `None` where media has no such family.
    pub(super) fn relay_ip(&self, v6: bool) -> Option<IpAddr> {
        self.family(v6).map(|family| family.local)
    }

    /// Whether it is an address of ours, whatever the port.
    pub(super) fn knows(&self, ip: IpAddr) -> bool {
        self.family(ip.is_ipv6()).is_some_and(|family| family.names.contains(&ip))
    }

    /// The media socket that goes by this name.
    pub(super) fn resolve(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let family = self.family(peer.is_ipv6())?;
        (family.names.contains(&peer.ip()) && family.ports.contains(&peer.port()))
            .then(|| SocketAddr::new(family.local, peer.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn behind_a_nat_the_public_name_leads_to_the_socket() {
        let ours = ip("10.0.0.5");
        let bound = [at("0.0.0.0:30000"), at("0.0.0.0:30001")];
        let peers = Peers::new(&bound, &[ip("203.0.113.5"), ours], |ip| ip == ours);
        assert_eq!(peers.resolve(at("203.0.113.5:30001")), Some(at("10.0.0.5:30001")));
        assert_eq!(peers.resolve(at("10.0.0.5:30000")), Some(at("10.0.0.5:30000")));
        for foreign in ["203.0.113.5:30002", "203.0.113.5:22", "10.0.0.6:30000", "127.0.0.1:30000"]
        {
            assert_eq!(peers.resolve(at(foreign)), None, "{foreign}");
        }
        assert!(!peers.knows(ip("127.0.0.1")) && !peers.knows(ip("10.0.0.6")));
        assert_eq!((peers.relay_ip(false), peers.relay_ip(true)), (Some(ours), None));
    }

    #[test]
    fn where_no_advertised_address_is_ours_loopback_is() {
        let loopback = |ip: IpAddr| ip.is_loopback();
        let peers = Peers::new(&[at("0.0.0.0:7")], &[ip("203.0.113.5")], loopback);
        assert_eq!(peers.resolve(at("203.0.113.5:7")), Some(at("127.0.0.1:7")));
        let peers = Peers::new(&[at("[::]:7")], &[ip("203.0.113.5"), ip("2001:db8::5")], loopback);
        assert_eq!(peers.resolve(at("203.0.113.5:7")), Some(at("127.0.0.1:7")));
        assert_eq!(peers.resolve(at("[2001:db8::5]:7")), Some(at("[::1]:7")));
    }

    #[test]
    fn each_family_has_its_own_sockets() {
        let peers = Peers::new(&[at("127.0.0.1:7"), at("[::1]:8")], &[], |_| true);
        assert_eq!(peers.resolve(at("127.0.0.1:7")), Some(at("127.0.0.1:7")));
        assert_eq!(peers.resolve(at("[::1]:8")), Some(at("[::1]:8")));
        assert_eq!(peers.resolve(at("127.0.0.1:8")), None);
        assert_eq!(peers.resolve(at("[::1]:7")), None);
    }

    #[test]
    fn a_socket_on_one_address_has_one_family() {
        let peers = Peers::new(&[at("127.0.0.1:7")], &[], |_| true);
        assert_eq!(peers.resolve(at("127.0.0.1:7")), Some(at("127.0.0.1:7")));
        assert_eq!(peers.relay_ip(true), None);
        assert_eq!(Peers::new(&[], &[ip("127.0.0.1")], |_| true).resolve(at("127.0.0.1:7")), None);
    }
}
