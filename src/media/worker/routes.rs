//! From a datagram to its call.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::media::path::Path;

/// Which call a datagram belongs to.
#[derive(Default)]
pub struct Routes {
    pub by_ufrag: HashMap<String, usize>,
    pub by_address: HashMap<SocketAddr, usize>,
}

impl Routes {
    /// What comes by this path is no longer that seat's, if it was.
    pub fn forget(&mut self, path: Path, seat: usize) {
        if let Path::Udp(address) = path
            && self.by_address.get(&address) == Some(&seat)
        {
            self.by_address.remove(&address);
        }
    }
}
