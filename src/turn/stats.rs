//! Counters.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the server has done since its start; `allocations` is what is open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TurnStats {
    pub allocations: u64,
    pub opened: u64,
    /// Allocations that were refused for want of a place or a port (486, 508).
    pub refused: u64,
    /// 401 and 438.
    pub challenged: u64,
    /// Requests with a wrong password or credentials that have run out.
    pub unauthenticated: u64,
    /// Peers that are none of the gateway's media (403).
    pub forbidden: u64,
    /// Packets that went through, either way.
    pub relayed: u64,
    /// Packets that did not: no permission or channel, too many bytes, a queue that was full.
    pub dropped: u64,
    /// What was neither STUN nor ChannelData.
    pub malformed: u64,
    pub connections: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub allocations: AtomicU64,
    pub opened: AtomicU64,
    pub refused: AtomicU64,
    pub challenged: AtomicU64,
    pub unauthenticated: AtomicU64,
    pub forbidden: AtomicU64,
    pub relayed: AtomicU64,
    pub dropped: AtomicU64,
    pub malformed: AtomicU64,
    pub connections: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub fn read(&self) -> TurnStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TurnStats {
            allocations: read(&self.allocations),
            opened: read(&self.opened),
            refused: read(&self.refused),
            challenged: read(&self.challenged),
            unauthenticated: read(&self.unauthenticated),
            forbidden: read(&self.forbidden),
            relayed: read(&self.relayed),
            dropped: read(&self.dropped),
            malformed: read(&self.malformed),
            connections: read(&self.connections),
        }
    }
}
