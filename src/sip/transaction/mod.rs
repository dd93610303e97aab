//! Transactions (RFC 3261 17, with RFC 6026), sans-I/O: messages and the time in, datagrams and
//! deliveries out. On a reliable transport nothing is repeated and nothing lingers for repetitions
//! (timers A, E and G off, D, I, J and K zero); the rest is the same.
//!
//! Not rsipstack's, for these reasons, all of 0.7.14: a 2xx to INVITE is either ACKed inside (so
//! without the answer a delayed offer needs) or ends the transaction at once, and its repetitions
//! and those of other forks never reach the dialog; every message is logged whole at `info`,
//! Authorization included; sockets, transactions and users are joined by unbounded channels, and
//! each expired timer walks all dialogs that wait for an ACK.

mod client;
mod key;
mod server;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rsipstack::sip::Request;

use super::hop::Hop;
use super::port::{ClientTx, Incoming, ServerTx};

pub use key::Key;

use client::Client;
use server::Server;

/// Longest an INVITE rings without a word from its callee. Queues announce for many minutes; an
/// hour of silence is a lost call.
const RINGING: Duration = Duration::from_secs(3600);

/// Who owns a transaction: a port's number.
pub type Owner = u64;

/// What to do, in order.
#[derive(Debug)]
pub enum Output {
    /// `client` is whose request it is; `instead` is where an answer goes whose connection is gone
    /// (18.2.2).
    Send {
        to: Hop,
        datagram: Bytes,
        client: Option<Key>,
        instead: Option<Hop>,
    },
    Deliver {
        owner: Owner,
        incoming: Incoming,
    },
    /// An INVITE that went there by TCP for its size had no word until it went by UDP too.
    UnheardByTcp {
        to: SocketAddr,
    },
}

/// What became of a request that came in.
#[derive(Debug)]
// One exists at a time, and is taken apart at once: boxing the request would only cost.
#[allow(clippy::large_enum_variant)]
pub enum Arrival {
    /// A retransmission, or the ACK of a refusal: dealt with.
    Absorbed,
    /// For somebody. `owner` is known for a CANCEL: whoever has its INVITE.
    New { tx: ServerTx, request: Request, owner: Option<Owner> },
    /// No Via, Call-ID or CSeq to answer to.
    Unanswerable,
    /// Too many transactions stand already.
    Overload,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Client(Key),
    Server(Key),
}

/// All transactions of one socket.
#[derive(Default)]
pub struct Transactions {
    clients: HashMap<Key, Client>,
    client_keys: HashMap<(Owner, ClientTx), Key>,
    servers: HashMap<Key, Server>,
    server_keys: HashMap<ServerTx, Key>,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    next_server: u64,
    out: VecDeque<Output>,
}

impl Transactions {
    /// Transactions at a time, each way. They live for 32 s after their answer: enough for a
    /// thousand requests a second, at some 100 MB.
    pub const MAX: usize = 32_768;

    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub fn counts(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }

    fn send(&mut self, to: Hop, datagram: Bytes) {
        self.out.push_back(Output::Send { to, datagram, client: None, instead: None });
    }

    fn answer(&mut self, to: Hop, instead: Option<Hop>, datagram: Bytes) {
        self.out.push_back(Output::Send { to, datagram, client: None, instead });
    }

    fn deliver(&mut self, owner: Option<Owner>, incoming: Incoming) {
        if let Some(owner) = owner {
            self.out.push_back(Output::Deliver { owner, incoming });
        }
    }

    fn arm(&mut self, at: Instant, timer: Timer) {
        self.timers.push(Reverse((at, timer)));
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|at| at <= now) {
            let Some(Reverse((at, timer))) = self.timers.pop() else { return };
            match timer {
                Timer::Client(key) => self.client_timer(key, at, now),
                Timer::Server(key) => self.server_timer(key, at, now),
            }
        }
    }
}

/// How long repetitions may come: where nothing is repeated, not at all.
fn unless_reliable(hop: Hop, time: Duration) -> Duration {
    if hop.transport.is_reliable() { Duration::ZERO } else { time }
}

#[cfg(test)]
mod tests {
    use rsipstack::sip::Response;

    use super::*;

    /// What a peer repeats costs nothing beyond its answer.
    #[test]
    fn a_flood_of_provisional_answers_sets_no_timers() {
        let (mut it, now) = (Transactions::default(), Instant::now());
        let head = "Via: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";
        let invite =
            Request::try_from(format!("INVITE sip:a@h SIP/2.0\r\n{head}").as_str()).unwrap();
        let to = Hop::udp("192.0.2.1:5060".parse().unwrap());
        it.request(Some(1), ClientTx(1), invite, to, now);
        let text = format!("SIP/2.0 180 Ringing\r\n{head}");
        for second in 0..1000 {
            let ringing = Response::try_from(text.as_str()).unwrap();
            let now = now + Duration::from_secs(second);
            it.handle_timeout(now);
            assert!(it.response(ringing, to, now));
            assert!(it.timers.len() <= 2, "{}", it.timers.len());
        }
        // The hour still runs from the last of them.
        it.handle_timeout(now + Duration::from_secs(998) + RINGING);
        assert_eq!(it.counts().0, 1);
        it.handle_timeout(now + Duration::from_secs(999) + RINGING);
        assert_eq!(it.counts().0, 0);
    }
}
