//! How many connections one address may have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::throttle::Source;
use crate::config::Guard;

/// Connections that stand, by address. As many entries as connections, at most.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_source: Mutex<HashMap<Source, usize>>,
}

/// One of them, as long as it stands.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    source: Option<Source>,
}

impl Connections {
    /// `None` when the address has as many as it may. This machine and trusted proxies, which come for many,
    /// have no limit of their own.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr, guard: &Guard) -> Option<Place> {
        let canonical = from.to_canonical();
        if canonical.is_loopback() || guard.trusts(canonical) {
            return Some(Place { connections: Arc::clone(self), source: None });
        }
        let source = Source::of(from);
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_source.entry(source).or_default();
        if *count >= guard.limits.connections_per_address {
            return None;
        }
        *count += 1;
        Some(Place { connections: Arc::clone(self), source: Some(source) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(source) = self.source else { return };
        let mut by_source =
            self.connections.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn so_many_and_one_more_when_one_has_gone() {
        let sets = [
            "sip.servers=a".to_owned(),
            "http.max_connections_per_address=16".to_owned(),
            "http.trusted_proxies=10.0.0.1".to_owned(),
        ];
        let guard = Config::load(None, [], &sets).unwrap().http.guard;
        let connections = Arc::new(Connections::default());
        let enter = |from: &str| connections.enter(from.parse().unwrap(), &guard);
        let mut places: Vec<_> = (0..16).map(|_| enter("192.0.2.1").unwrap()).collect();
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("::ffff:192.0.2.1").is_none(), "the same by another name");
        assert!(enter("192.0.2.2").is_some());
        places.pop();
        let last = enter("192.0.2.1");
        assert!(last.is_some());
        assert!(enter("192.0.2.1").is_none());
        for free in ["127.0.0.1", "::1", "10.0.0.1"] {
            let many: Vec<_> = (0..100).map_while(|_| enter(free)).collect();
            assert_eq!(many.len(), 100, "{free}");
        }
        drop((places, last));
        assert!(connections.by_source.lock().unwrap().is_empty());
    }
}
