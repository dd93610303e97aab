//! The way between a worker and a browser.

use std::net::SocketAddr;

/// What a browser's datagrams come by, and ours go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// The worker's port, and this address of the browser's.
    Udp(SocketAddr),
    /// A connection that the browser opened. Its number is never given again by the same worker.
    Tcp { peer: SocketAddr, connection: u64 },
}

impl Path {
    /// The browser's address, an IPv4 one as such also on a socket of both families.
    pub fn peer(self) -> SocketAddr {
        let (Path::Udp(peer) | Path::Tcp { peer, .. }) = self;
        SocketAddr::new(peer.ip().to_canonical(), peer.port())
    }

    pub fn is_tcp(self) -> bool {
        matches!(self, Path::Tcp { .. })
    }
}
