//! Our ICE candidates.

use std::fmt;
use std::net::SocketAddr;

/// How a candidate is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    /// The browser connects, we listen (`tcptype passive`, RFC 6544 4.5).
    TcpPassive,
}

impl Transport {
    /// RFC 8445 5.1.2.1. A host candidate over UDP has 126. One over TCP stands below every UDP pair
    /// but a relayed one, and so is what a browser takes when no datagram gets through.
    fn type_preference(self) -> u32 {
        match self {
            Transport::Udp => 126,
            Transport::TcpPassive => 90,
        }
    }

    /// The best local preference. RFC 6544 4.2 splits it for TCP: 3 bits of direction, of which passive
    /// is 4, above 13 of others.
    fn best_local_preference(self) -> u32 {
        match self {
            Transport::Udp => 65_535,
            Transport::TcpPassive => (4 << 13) + 8191,
        }
    }
}

/// One host candidate of component 1. An address that a NAT in front of us maps one to one is one too
/// (no `srflx`): a lite agent has only host candidates (RFC 8445 5.2), and what a browser does with it is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub transport: Transport,
    pub address: SocketAddr,
    /// RFC 8445 5.1.2.1; unlike any other of the list.
    pub priority: u32,
    /// One for each transport and address (RFC 8445 5.1.1.3), from 1.
    pub foundation: u32,
}

impl Candidate {
    /// Those of different addresses, the preferred first. The first one for UDP is the default, for `m=`
    /// and `c=` lines.
    pub fn hosts(udp: &[SocketAddr], tcp: &[SocketAddr]) -> Vec<Candidate> {
        let udp = (0..).zip(udp).map(|(index, address)| (Transport::Udp, index, *address));
        let tcp = (0..).zip(tcp).map(|(index, address)| (Transport::TcpPassive, index, *address));
        (1..)
            .zip(udp.chain(tcp))
            .map(|(foundation, (transport, index, address))| {
                let local = transport.best_local_preference().saturating_sub(index);
                let priority = (transport.type_preference() << 24) | (local << 8) | 255;
                Candidate { transport, address, priority, foundation }
            })
            .collect()
    }
}

/// The value of `a=candidate` (RFC 8839 5.1).
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, tail) = match self.transport {
            Transport::Udp => ("udp", ""),
            Transport::TcpPassive => ("tcp", " tcptype passive"),
        };
        let Candidate { address, priority, foundation, .. } = self;
        let (ip, port) = (address.ip(), address.port());
        write!(f, "{foundation} 1 {transport} {priority} {ip} {port} typ host{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_comes_after_udp_and_addresses_in_their_order() {
        let at = |text: &str| text.parse().unwrap();
        let udp = [at("192.0.2.1:30001"), at("[2001:db8::1]:30001")];
        let all = Candidate::hosts(&udp, &[at("192.0.2.1:443"), at("[2001:db8::1]:443")]);
        let lines: Vec<String> = all.iter().map(Candidate::to_string).collect();
        assert_eq!(
            lines,
            [
                "1 1 udp 2130706431 192.0.2.1 30001 typ host",
                "2 1 udp 2130706175 2001:db8::1 30001 typ host",
                "3 1 tcp 1520435199 192.0.2.1 443 typ host tcptype passive",
                "4 1 tcp 1520434943 2001:db8::1 443 typ host tcptype passive",
            ]
        );
        // A peer-reflexive pair over UDP (110) is better than any over TCP.
        assert!(all.iter().all(|c| c.transport == Transport::Udp || c.priority < 110 << 24));
        assert_eq!(Candidate::hosts(&udp, &[]).len(), 2);
    }
}
