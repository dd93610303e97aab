//! Which connections there are. No sockets here: those are their tasks'.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Limits;
use crate::sip::hop::{Hop, Transport};

/// Messages that wait for one peer; the bytes have their own limit. An empty slot costs nothing.
const QUEUE_SLOTS: usize = 32_768;

/// Peers remembered for a fault of theirs, or for refusing TCP.
const REMEMBERED: usize = 1024;

/// The table's end of a connection. Dropping it lets the connection send what waits, and close.
struct Link {
    id: u64,
    incoming: bool,
    queue: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    kill: CancellationToken,
}

/// The task's end of a connection.
pub(crate) struct Seat {
    pub(crate) id: u64,
    pub(crate) hop: Hop,
    pub(crate) incoming: bool,
    pub(crate) queue: mpsc::Receiver<Bytes>,
    /// For keep-alives; weak, so that the task does not keep itself alive.
    pub(crate) own_queue: mpsc::WeakSender<Bytes>,
    /// Bytes in the queue.
    pub(crate) waiting: Arc<AtomicUsize>,
    pub(crate) kill: CancellationToken,
    /// Established; a connection that never was has a peer that cannot be reached.
    pub(crate) up: bool,
}

/// What became of a message handed to [`Streams::enqueue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enqueued {
    Taken,
    /// There is no connection; it goes into a new one.
    NoConnection,
    /// The peer takes nothing: its connection is given up.
    Stuck,
}

#[derive(Default)]
pub(crate) struct Streams {
    next: u64,
    /// Two at most where a peer opens connections from the port it listens on: one each way.
    links: HashMap<Hop, Vec<Link>>,
    incoming: HashMap<IpAddr, usize>,
    counts: (usize, usize),
    /// Configured servers, with the host of their URI.
    servers: HashMap<Hop, String>,
    faults: HashMap<Hop, String>,
    refuses_tcp: HashMap<SocketAddr, Instant>,
    has_ponged: HashMap<Hop, ()>,
}

impl Streams {
    /// The connection that messages to `hop` go over. Not over one that a TLS server opened to us: its
    /// certificate was not asked for, and a configured server is talked to only when it has shown it.
    fn chosen(&self, hop: Hop) -> Option<usize> {
        let verified = hop.transport == Transport::Tls && self.servers.contains_key(&hop);
        self.links.get(&hop)?.iter().position(|link| !(verified && link.incoming))
    }

    /// A message for the peer at `hop`.
    pub(crate) fn enqueue(&mut self, hop: Hop, bytes: Bytes, limits: &Limits) -> Enqueued {
        let link = self.chosen(hop).and_then(|at| self.links.get(&hop)?.get(at));
        let Some(link) = link else { return Enqueued::NoConnection };
        let length = bytes.len();
        let waiting = link.waiting.fetch_add(length, Ordering::Relaxed) + length;
        if waiting <= limits.queue && link.queue.try_send(bytes).is_ok() {
            return Enqueued::Taken;
        }
        link.waiting.fetch_sub(length, Ordering::Relaxed);
        Enqueued::Stuck
    }

    pub(crate) fn has(&self, hop: Hop) -> bool {
        self.chosen(hop).is_some()
    }

    /// Room for a connection of ours; None when there are too many.
    pub(crate) fn dial(&mut self, hop: Hop, limits: &Limits) -> Option<Seat> {
        (self.counts.1 < limits.outgoing).then(|| self.open(hop, false))
    }

    /// Room for a connection that came in; None when there are too many, in all or from there.
    pub(crate) fn accept(&mut self, hop: Hop, limits: &Limits) -> Option<Seat> {
        let from_there = self.incoming.get(&hop.addr.ip()).copied().unwrap_or(0);
        let room = self.counts.0 < limits.incoming && from_there < limits.incoming_per_address;
        room.then(|| self.open(hop, true))
    }

    fn open(&mut self, hop: Hop, incoming: bool) -> Seat {
        let (sender, queue) = mpsc::channel(QUEUE_SLOTS);
        let id = self.next;
        self.next += 1;
        match incoming {
            true => {
                self.counts.0 += 1;
                *self.incoming.entry(hop.addr.ip()).or_default() += 1;
            }
            false => self.counts.1 += 1,
        }
        let seat = Seat {
            id,
            hop,
            incoming,
            queue,
            own_queue: sender.downgrade(),
            waiting: Arc::default(),
            kill: CancellationToken::new(),
            up: false,
        };
        let (waiting, kill) = (Arc::clone(&seat.waiting), seat.kill.clone());
        let link = Link { id, incoming, queue: sender, waiting, kill };
        self.links.entry(hop).or_default().push(link);
        seat
    }

    /// Takes a connection off the table; None when it is off already. True when requests to `hop` went
    /// over it.
    pub(crate) fn close(&mut self, hop: Hop, id: u64) -> Option<bool> {
        let chosen = self.chosen(hop);
        let links = self.links.get_mut(&hop)?;
        let at = links.iter().position(|link| link.id == id)?;
        let link = links.remove(at);
        if links.is_empty() {
            self.links.remove(&hop);
        }
        self.forget(hop, &link);
        Some(chosen == Some(at))
    }

    /// Ends the connection that requests to `hop` go over, with all that waits in it.
    pub(crate) fn kill(&mut self, hop: Hop) {
        let Some(at) = self.chosen(hop) else { return };
        let Some(links) = self.links.get_mut(&hop) else { return };
        let link = links.remove(at);
        if links.is_empty() {
            self.links.remove(&hop);
        }
        link.kill.cancel();
        self.forget(hop, &link);
    }

    fn forget(&mut self, hop: Hop, link: &Link) {
        if !link.incoming {
            self.counts.1 -= 1;
            return;
        }
        self.counts.0 -= 1;
        let ip = hop.addr.ip();
        if let Some(count) = self.incoming.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.incoming.remove(&ip);
            }
        }
    }

    /// Connections that came in, and of ours.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.counts
    }

    pub(crate) fn set_servers(&mut self, servers: HashMap<Hop, String>) {
        self.has_ponged.retain(|hop, ()| servers.contains_key(hop));
        self.servers = servers;
    }

    /// The name that the certificate at `hop` has to have: of its URI, else its address.
    pub(crate) fn name_of(&self, hop: Hop) -> String {
        self.servers.get(&hop).cloned().unwrap_or_else(|| hop.addr.ip().to_string())
    }

    /// A connection of ours to a configured server stays, however little is said. Its own to us it opens
    /// again when it needs one, and one that leaks them is not to run into its cap.
    pub(crate) fn stays(&self, hop: Hop, incoming: bool) -> bool {
        !incoming && self.servers.contains_key(&hop)
    }

    pub(crate) fn has_ponged(&self, hop: Hop) -> bool {
        self.has_ponged.contains_key(&hop)
    }

    pub(crate) fn set_ponged(&mut self, hop: Hop) {
        if self.servers.contains_key(&hop) {
            self.has_ponged.insert(hop, ());
        }
    }

    pub(crate) fn fault(&self, hop: Hop) -> Option<&str> {
        self.faults.get(&hop).map(String::as_str)
    }

    /// Notes why `hop` cannot be talked to; None: it can. True when that is news.
    pub(crate) fn set_fault(&mut self, hop: Hop, fault: Option<String>) -> bool {
        let Some(fault) = fault else { return self.faults.remove(&hop).is_some() };
        if self.faults.get(&hop) == Some(&fault) {
            return false;
        }
        if self.faults.len() >= REMEMBERED && !self.faults.contains_key(&hop) {
            self.faults.clear();
        }
        self.faults.insert(hop, fault);
        true
    }

    pub(crate) fn set_refuses_tcp(&mut self, addr: SocketAddr, until: Instant, now: Instant) {
        self.refuses_tcp.retain(|_, until| *until > now);
        if self.refuses_tcp.len() < REMEMBERED {
            self.refuses_tcp.insert(addr, until);
        }
    }

    pub(crate) fn refuses_tcp(&self, addr: SocketAddr, now: Instant) -> bool {
        self.refuses_tcp.get(&addr).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(text: &str) -> Hop {
        Hop::new(Transport::Tcp, text.parse().unwrap())
    }

    #[test]
    fn connections_are_capped_in_all_and_per_address() {
        let limits =
            Limits { incoming: 3, incoming_per_address: 2, outgoing: 1, ..Limits::default() };
        let mut streams = Streams::default();
        let first = streams.accept(hop("192.0.2.1:1"), &limits).unwrap();
        let _second = streams.accept(hop("192.0.2.1:2"), &limits).unwrap();
        assert!(streams.accept(hop("192.0.2.1:3"), &limits).is_none(), "two from there");
        let _third = streams.accept(hop("192.0.2.2:1"), &limits).unwrap();
        assert!(streams.accept(hop("192.0.2.3:1"), &limits).is_none(), "three in all");
        assert_eq!(streams.close(first.hop, first.id), Some(true));
        assert_eq!(streams.close(first.hop, first.id), None, "once only");
        assert!(streams.accept(hop("192.0.2.1:3"), &limits).is_some());
        assert!(streams.dial(hop("192.0.2.9:5060"), &limits).is_some());
        assert!(streams.dial(hop("192.0.2.8:5060"), &limits).is_none());
        assert_eq!(streams.counts(), (3, 1));
    }

    #[test]
    fn a_tls_server_is_talked_to_over_connections_of_ours_only() {
        let limits = Limits::default();
        let mut streams = Streams::default();
        let server = Hop::new(Transport::Tls, "192.0.2.9:5061".parse().unwrap());
        let incoming = streams.accept(server, &limits).unwrap();
        assert!(streams.has(server), "a peer's own end of its connection");
        streams.set_servers(HashMap::from([(server, "pbx.example".to_owned())]));
        assert!(!streams.has(server));
        let ours = streams.dial(server, &limits).unwrap();
        assert!(streams.has(server));
        assert_eq!(streams.close(server, incoming.id), Some(false));
        assert_eq!(streams.close(server, ours.id), Some(true));
    }

    #[test]
    fn a_queue_has_its_bound_and_a_killed_connection_is_gone() {
        let limits = Limits { queue: 10, ..Limits::default() };
        let mut streams = Streams::default();
        let peer = hop("192.0.2.9:5060");
        let bytes = Bytes::from_static(b"12345");
        assert_eq!(streams.enqueue(peer, bytes.clone(), &limits), Enqueued::NoConnection);
        let seat = streams.dial(peer, &limits).unwrap();
        for _ in 0..2 {
            assert_eq!(streams.enqueue(peer, bytes.clone(), &limits), Enqueued::Taken);
        }
        assert_eq!(streams.enqueue(peer, bytes, &limits), Enqueued::Stuck);
        streams.kill(peer);
        assert!(seat.kill.is_cancelled() && !streams.has(peer));
        assert_eq!(streams.counts(), (0, 0));
    }
}
