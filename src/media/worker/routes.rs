//! From a datagram to its call.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Which call a datagram belongs to.
#[derive(Default)]
pub struct Routes {
    pub by_ufrag: HashMap<String, usize>,
    pub by_address: HashMap<SocketAddr, usize>,
}
