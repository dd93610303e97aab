//! From a datagram to its call, and back to the address it came to.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::media::path::Path;

/// Which call a datagram belongs to.
#[derive(Default)]
pub struct Routes {
    pub by_ufrag: HashMap<String, usize>,
    pub by_address: HashMap<SocketAddr, Route>,
    /// The browser-side socket is bound to a wildcard: of the host's addresses the kernel would
    /// choose one by the route, and a browser takes answers only from the one that it asked.
    pub local_matters: bool,
}

/// What leads from a browser's address to its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub seat: usize,
    /// The address of ours that the browser uses; `None` where there is only one.
    pub local: Option<IpAddr>,
}

impl Routes {
    pub fn local_for(&self, to: SocketAddr) -> Option<IpAddr> {
        self.by_address.get(&to)?.local
    }

    /// The browser at `from` has moved to another of our addresses.
    pub fn moved(&mut self, from: SocketAddr, local: IpAddr) {
        if let Some(route) = self.by_address.get_mut(&from) {
            route.local = Some(local);
        }
    }

    /// What comes by this path is no longer that seat's, if it was.
    pub fn forget(&mut self, path: Path, seat: usize) {
        if let Path::Udp(address) = path
            && self.by_address.get(&address).is_some_and(|route| route.seat == seat)
        {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two agents behind one NAT: an address that one has left may be the other's by now.
    #[test]
    fn an_address_that_is_somebody_elses_by_now_is_not_forgotten() {
        let mut routes = Routes::default();
        let address = SocketAddr::from(([192, 0, 2, 1], 4000));
        routes.by_address.insert(address, Route { seat: 2, local: None });
        routes.forget(Path::Udp(address), 1);
        assert_eq!(routes.by_address.len(), 1);
        routes.forget(Path::Udp(address), 2);
        assert!(routes.by_address.is_empty());
    }
}
