//! Which local address reaches whom.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::config::Advertise;

/// Why no address could be found. It names the key that helps.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("no local address reaches {server}: {source}; set sip.advertise and media.rtp_address")]
    Route { server: SocketAddr, source: io::Error },
}

/// What Via and Contact say for a socket bound to `local`.
pub fn advertised(
    configured: Option<Advertise>,
    local: SocketAddr,
    server: SocketAddr,
) -> Result<SocketAddr, NetworkError> {
    if let Some(Advertise { ip, port }) = configured {
        return Ok(SocketAddr::new(ip, port.unwrap_or(local.port())));
    }
    if !local.ip().is_unspecified() {
        return Ok(local);
    }
    Ok(SocketAddr::new(local_ip_toward(server)?, local.port()))
}

/// The local address that packets to `server` leave from. A connected UDP socket knows; nothing is sent.
pub fn local_ip_toward(server: SocketAddr) -> Result<IpAddr, NetworkError> {
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let find = || {
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.local_addr()
    };
    find().map(|address| address.ip()).map_err(|source| NetworkError::Route { server, source })
}

/// Addresses for ICE candidates where none are configured and the socket is bound to `listen`, which is
/// all there are of IPv4, or of both families: those of the default routes, the one toward the SIP server, and
/// loopback when only that is there or the page is served there.
pub fn candidate_addresses(
    listen: IpAddr,
    server: Option<SocketAddr>,
    http: IpAddr,
) -> Vec<IpAddr> {
    // Addresses for documentation stand for "somewhere out there" (RFC 5737, RFC 3849).
    let outside = SocketAddr::from(([192, 0, 2, 1], 9));
    let outside6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9));
    let ways = [
        local_ip_toward(outside).ok(),
        server.and_then(|server| local_ip_toward(server).ok()),
        local_ip_toward(outside6).ok(),
        http.is_loopback().then_some(http),
    ];
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    choose(listen, ways.into_iter().flatten(), &table)
}

/// Those that a socket bound to `listen` is reached at, each once.
fn choose(listen: IpAddr, ways: impl Iterator<Item = IpAddr>, table: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in ways {
        let address = match address {
            // A browser cannot tell by which of its links such a one is reached.
            IpAddr::V6(ip) if listen.is_ipv4() || ip.is_unicast_link_local() => continue,
            IpAddr::V6(ip) => lasting(ip, table).into(),
            v4 => v4,
        };
        if !address.is_unspecified() && !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found
}

/// A temporary address (RFC 8981) is what a host's own connections leave from, and it is gone the next
/// day: the one of the same subnet that stays instead. `table` is Linux's `/proc/net/if_inet6`.
fn lasting(ip: Ipv6Addr, table: &str) -> Ipv6Addr {
    const TEMPORARY: u8 = 0x01;
    /// Deprecated, tentative, or a duplicate.
    const UNFIT: u8 = 0x20 | 0x40 | 0x08;
    let rows = || table.lines().filter_map(row);
    let subnet = |ip: Ipv6Addr| ip.to_bits() >> 64;
    if !rows().any(|(known, flags)| known == ip && flags & TEMPORARY != 0) {
        return ip;
    }
    rows()
        .find(|(other, flags)| flags & (TEMPORARY | UNFIT) == 0 && subnet(*other) == subnet(ip))
        .map_or(ip, |(other, _)| other)
}

/// Address and flags; between them stand the interface, the prefix and the scope.
fn row(line: &str) -> Option<(Ipv6Addr, u8)> {
    let mut fields = line.split_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    Some((address.into(), u8::from_str_radix(fields.nth(3)?, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
        00000000000000000000000000000001 01 80 10 80       lo\n\
        fe80000000000000a00000fffe000001 02 40 20 80     eth0\n\
        20010db8000000010000000000000bad 02 40 00 01     eth0\n\
        20010db80000000100000000000000dd 02 40 00 20     eth0\n\
        20010db8000000010000000000000005 02 40 00 80     eth0\n\
        20010db8000000020000000000000bad 03 40 00 01     eth1\n";

    fn chosen(listen: &str, ways: &[&str]) -> Vec<String> {
        let ways = ways.iter().map(|ip| ip.parse().unwrap());
        let found = choose(listen.parse().unwrap(), ways, TABLE);
        found.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn families_scopes_and_lifetimes_are_minded() {
        let ways = ["192.0.2.7", "10.0.0.7", "192.0.2.7", "2001:db8:0:1::bad", "fe80::1", "::1"];
        assert_eq!(chosen("0.0.0.0", &ways), ["192.0.2.7", "10.0.0.7"]);
        assert_eq!(chosen("::", &ways), ["192.0.2.7", "10.0.0.7", "2001:db8:0:1::5", "::1"]);
        // The only one of its subnet is better than none.
        assert_eq!(chosen("::", &["2001:db8:0:2::bad"]), ["2001:db8:0:2::bad"]);
        assert_eq!(chosen("::", &["fe80::1"]), ["127.0.0.1"]);
        assert_eq!(chosen("0.0.0.0", &[]), ["127.0.0.1"]);
    }

    #[test]
    fn whatever_this_host_has_a_candidate_is_found() {
        let http = IpAddr::from([0, 0, 0, 0]);
        for listen in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            let found = candidate_addresses(listen, None, http);
            assert!(found.iter().all(|ip| !ip.is_unspecified()) && !found.is_empty());
        }
    }
}
