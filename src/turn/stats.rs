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
    /// What of it ran out.
    pub ran_out: RanOut,
}

/// How often something that is bounded ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RanOut {
    /// Relays of one user.
    pub user: u64,
    /// `turn.max_allocations_per_address`.
    pub address: u64,
    /// `turn.max_allocations`.
    pub all: u64,
    /// Sockets or ports of this host.
    pub sockets: u64,
    /// TCP and TLS connections.
    pub connections: u64,
}

impl RanOut {
    /// By the words that metrics have for them.
    pub fn each(&self) -> [(&'static str, u64); 5] {
        [
            ("user", self.user),
            ("address", self.address),
            ("all", self.all),
            ("sockets", self.sockets),
            ("connections", self.connections),
        ]
    }
}

/// What is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    User,
    Address,
    All,
    Sockets,
    Connections,
}

impl Bound {
    /// For the log.
    pub fn remedy(self) -> &'static str {
        match self {
            Bound::User => "one agent has as many relays as one may have",
            Bound::Address => "see turn.max_allocations_per_address",
            Bound::All => "see turn.max_allocations",
            Bound::Sockets => "this host gives no more sockets; see LimitNOFILE",
            Bound::Connections => "as many TCP and TLS connections stand as there may be",
        }
    }
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
    pub out_of_user: AtomicU64,
    pub out_of_address: AtomicU64,
    pub out_of_all: AtomicU64,
    pub out_of_sockets: AtomicU64,
    pub out_of_connections: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub fn ran_out(&self, of: Bound) {
        count(match of {
            Bound::User => &self.out_of_user,
            Bound::Address => &self.out_of_address,
            Bound::All => &self.out_of_all,
            Bound::Sockets => &self.out_of_sockets,
            Bound::Connections => &self.out_of_connections,
        });
    }

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
            ran_out: RanOut {
                user: read(&self.out_of_user),
                address: read(&self.out_of_address),
                all: read(&self.out_of_all),
                sockets: read(&self.out_of_sockets),
                connections: read(&self.out_of_connections),
            },
        }
    }
}
