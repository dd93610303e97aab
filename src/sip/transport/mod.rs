//! How messages travel: connections of TCP and TLS, their frames, keep-alives and limits.
//!
//! The parts that decide are pure ([`frame`], [`keepalive`], `streams`, `via`); `connection` and
//! `listener` are tokio's side of them. One connection a task; a connection is shared by all user agents
//! that talk to its far end, and no task waits for another's peer.

pub(crate) mod connection;
pub mod fault;
pub mod frame;
pub mod keepalive;
pub(crate) mod listener;
pub(crate) mod streams;
pub mod tls;
pub(crate) mod via;

use std::time::Duration;

/// What connections may cost. The defaults are for production; tests shorten them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections to us at a time. A SIP server opens a handful, a cluster of them some dozens; each
    /// costs some 40 KB.
    pub incoming: usize,
    /// Of these, from one address: one that leaks them leaves room for the others.
    pub incoming_per_address: usize,
    /// Connections of ours at a time: one a server, and one a peer that a Contact or a route named.
    pub outgoing: usize,
    /// Bytes that wait for one peer. 10 000 REGISTERs at once are some 8 MB; the SIP side's own pacing
    /// keeps it far below.
    pub queue: usize,
    /// For a connection to be made. Three SYNs.
    pub connect: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For one message, from its first byte to its last.
    pub message: Duration,
    /// A write that does not go on for so long means that the peer is gone or stuck.
    pub write: Duration,
    /// Longest pause between keep-alives of ours; each pause is 5/6 of it or more, at random. Under the
    /// 30 s after which routers forget a binding at the earliest.
    pub ping: Duration,
    /// For the answer to a keep-alive (RFC 5626 4.4.1).
    pub pong: Duration,
    /// A connection that is to no server of ours and without a message for so long is closed.
    pub idle: Duration,
    /// How long a peer that refused TCP gets its large requests by UDP (RFC 3261 18.1.1).
    pub refusal: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            incoming: 1024,
            incoming_per_address: 128,
            outgoing: 1024,
            queue: 16 << 20,
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            message: Duration::from_secs(32),
            write: Duration::from_secs(20),
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            refusal: Duration::from_secs(600),
        }
    }
}
