//! Which local address reaches whom.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

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
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let find = || {
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.local_addr()
    };
    find().map(|address| address.ip()).map_err(|source| NetworkError::Route { server, source })
}

/// Addresses for ICE candidates where none are configured and the socket is bound to all: the one of
/// the default route, the one toward the SIP server, and loopback when only that is there or the page
/// is served there.
pub fn candidate_addresses(server: Option<SocketAddr>, http: IpAddr) -> Vec<IpAddr> {
    // An address of TEST-NET-1 stands for "somewhere out there" (RFC 5737).
    let outside = SocketAddr::from(([192, 0, 2, 1], 9));
    let mut found: Vec<IpAddr> = Vec::new();
    let ways = [
        local_ip_toward(outside).ok(),
        server.and_then(|server| local_ip_toward(server).ok()),
        http.is_loopback().then_some(http),
    ];
    for address in ways.into_iter().flatten() {
        if !address.is_unspecified() && !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() {
        found.push(Ipv4Addr::LOCALHOST.into());
    }
    found
}
