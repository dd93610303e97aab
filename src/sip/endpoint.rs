//! The tokio side: socket, transactions, and who gets which message.
use super::port::{Incoming, Transmit};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::sync::mpsc;

/// What an attached port is handed, beyond the dialogs and transactions it takes part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Requests outside dialogs whose Request-URI has this user part.
    User(String),
    /// Requests with this Call-ID.
    CallId(String),
    /// What nobody else claims.
    Everything,
    Nothing,
}
/// Counters of an endpoint since it was bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointStats {}
/// A handle; clones share the socket.
#[derive(Clone)]
pub struct Endpoint {}
/// One user agent's way in and out. Dropping it detaches.
pub struct Port {}
impl Endpoint {
    pub async fn bind(_listen: SocketAddr, _user_agent: &str) -> io::Result<Endpoint> {
        unimplemented!()
    }
    pub fn local_addr(&self) -> SocketAddr {
        unimplemented!()
    }
    pub fn attach(&self, _claim: Claim, _inbox: mpsc::Sender<Incoming>) -> Port {
        unimplemented!()
    }
    pub fn set_peers(&self, _peers: Option<Vec<IpAddr>>) {
        unimplemented!()
    }
    pub fn stats(&self) -> EndpointStats {
        unimplemented!()
    }
}
impl Port {
    pub fn transmit(&self, _transmit: Transmit) {
        unimplemented!()
    }
}
