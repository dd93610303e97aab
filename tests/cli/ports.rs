//! Ports for programs that have to be told theirs.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Above those that Linux gives to who asks for any, and no gateway's RTP ports: nobody comes by one of these by
/// chance.
const PORTS: Range<u16> = 61_000..65_000;

/// A port for UDP and TCP on loopback, which no other test is given as long as this process lives, whether or not
/// anybody is bound to it meanwhile.
pub fn free_port() -> u16 {
    free_block(1)
}

/// So many in a row, from an even one on.
pub fn free_block(size: u16) -> u16 {
    loop {
        let first = rand::random_range(PORTS.start..PORTS.end - size) & !1;
        if (first..first + size).all(|port| reserve(port) && is_free(port)) {
            return first;
        }
    }
}

/// By a name of the kernel's: it is nobody's again when the process ends, however that ends.
fn reserve(port: u16) -> bool {
    let name = SocketAddr::from_abstract_name(format!("wrtc-gateway-test-port-{port}"));
    let name = name.expect("a short name");
    let reserved = UnixListener::bind_addr(&name);
    reserved.map(std::mem::forget).is_ok()
}

fn is_free(port: u16) -> bool {
    let at = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok()
}
