//! Which address is reached how: names resolved, local addresses found.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::config::{Advertise, SipServer};

/// Why no address could be found. Each names the key that helps.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("sip.servers: none of {servers} can be resolved: {source}")]
    Resolve { servers: String, source: io::Error },
    #[error("sip.servers is empty")]
    NoServer,
    #[error("no local address reaches {server}: {source}; set sip.advertise and media.rtp_address")]
    Route { server: SocketAddr, source: io::Error },
}

/// The first server of the list whose name resolves.
pub async fn resolve_first(servers: &[SipServer]) -> Result<SocketAddr, NetworkError> {
    let mut fault = None;
    for server in servers {
        let target = (server.host.as_str(), server.port_or_default());
        match tokio::net::lookup_host(target).await {
            Ok(found) => {
                let found: Vec<SocketAddr> = found.collect();
                let v4 = found.iter().find(|address| address.is_ipv4());
                if let Some(address) = v4.or(found.first()) {
                    return Ok(*address);
                }
            }
            Err(error) => fault = Some(error),
        }
    }
    match fault {
        Some(source) => {
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            Err(NetworkError::Resolve { servers: servers.join(", "), source })
        }
        None => Err(NetworkError::NoServer),
    }
}

/// Every address of every server of the list, as far as their names resolve now.
pub async fn resolve_all(servers: &[SipServer]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for server in servers {
        let target = (server.host.as_str(), server.port_or_default());
        if let Ok(found) = tokio::net::lookup_host(target).await {
            addresses.extend(found.map(|address| address.ip()));
        }
    }
    addresses
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
