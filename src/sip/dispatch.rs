//! Between sockets, transactions and ports: what an endpoint does with a message. Here is what goes out.

mod connections;
mod incoming;
mod unclaimed;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use rsipstack::sip::{Method, Request};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast};

use super::endpoint::{AddressFilter, ConnectionEvent};
use super::hop::{Hop, Transport};
use super::message::{self, tag_of};
use super::port::Transmit;
use super::returning::Returning;
use super::routes::Routes;
use super::stats::{Counters, count};
use super::trace::{Direction, Trace, Traced, redact};
use super::transaction::{Output, Owner, Transactions};
use super::transport::Limits;
use super::transport::connection::{self, Dial, Security};
use super::transport::fault::ConnectionFault;
use super::transport::streams::{Enqueued, Streams};
use super::transport::tls::Tls;
use super::transport::via;

/// A request longer than this goes by TCP where the path's MTU is unknown (RFC 3261 18.1.1).
const MTU_SAFE: usize = 1300;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) transactions: Transactions,
    pub(crate) routes: Routes,
    pub(crate) streams: Streams,
    pub(crate) returning: Returning,
    /// When each of the peers was last heard within a dialog.
    pub(crate) in_dialog: HashMap<IpAddr, Instant>,
}

pub(crate) struct Shared {
    pub(crate) socket: UdpSocket,
    /// The same socket, for sending without waiting: tokio's own `try_send_to` says `WouldBlock`
    /// until its reactor has looked at the socket once, which would cost the first message 500 ms.
    pub(crate) sender: std::net::UdpSocket,
    pub(crate) local: SocketAddr,
    pub(crate) tls_local: Option<SocketAddr>,
    /// Port of `local` as the other side of a NAT sees it.
    pub(crate) advertise_port: u16,
    /// Whether large requests may go by TCP.
    pub(crate) tcp: bool,
    pub(crate) user_agent: String,
    pub(crate) limits: Limits,
    pub(crate) state: Mutex<State>,
    /// Rung when a timer may have been set that is due before the one slept for.
    pub(crate) timers: Notify,
    pub(crate) tls: ArcSwapOption<Tls>,
    pub(crate) peers: ArcSwapOption<HashSet<IpAddr>>,
    pub(crate) also_from: Option<AddressFilter>,
    pub(crate) trace: ArcSwapOption<Trace>,
    pub(crate) events: broadcast::Sender<ConnectionEvent>,
    pub(crate) counters: Counters,
    pub(crate) runtime: Handle,
    /// For the tasks of connections, which do not keep the endpoint open.
    pub(crate) me: Weak<Shared>,
}

impl Shared {
    /// Nothing in here leaves the state half done, so that a panic elsewhere does not end the SIP side.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether messages are taken from there.
    fn admits(&self, ip: IpAddr) -> bool {
        let peers = self.peers.load();
        let Some(peers) = peers.as_ref() else { return true };
        peers.contains(&ip) || self.also_from.as_ref().is_some_and(|filter| filter(ip))
    }

    /// To the trace hook, and to the log at level `trace`. Of what the hook does not take there is no
    /// copy.
    fn show(&self, direction: Direction, peer: Hop, message: impl FnOnce() -> Bytes) {
        let hook = self.trace.load();
        let logged = tracing::enabled!(tracing::Level::TRACE);
        if hook.is_none() && !logged {
            return;
        }
        let message = message();
        if logged {
            tracing::trace!(?direction, %peer, "\n{}", redact(&message));
        }
        if let Some(hook) = &*hook {
            let local = match (peer.transport, self.tls_local) {
                (Transport::Tls, Some(local)) => local,
                _ => self.local,
            };
            hook(Traced { at: SystemTime::now(), direction, local, peer, message });
        }
    }

    /// What a port wants sent.
    pub(crate) fn transmit(&self, owner: Owner, transmit: Transmit) {
        let now = Instant::now();
        let mut guard = self.lock();
        let state = &mut *guard;
        match transmit {
            Transmit::Request { tx, request, to } => {
                if request.method == Method::Invite {
                    let ids = (message::call_id(&request), tag_of(&request, "From"));
                    if let (Some(call_id), Some(tag)) = ids {
                        state.routes.learn(owner, call_id, tag);
                    }
                }
                self.start(state, owner, tx, request, to, now);
            }
            Transmit::Cancel { invite, request, to } => {
                state.transactions.cancel(owner, invite, request, to, now);
            }
            Transmit::Abandon { tx } => state.transactions.abandon(owner, tx),
            Transmit::Ack { mut request, to } => {
                let to = match self.is_over_mtu(state, &request, to, now) {
                    true => Hop::new(Transport::Tcp, to.addr),
                    false => to,
                };
                via::leave_by(&mut request, to.transport, self.port_of(to.transport));
                self.send(state, to, None, request.to_bytes().into());
            }
            Transmit::Response { tx, response } => {
                let invite = message::cseq(&response).is_some_and(|(_, method)| method == "INVITE");
                if invite && (101..300).contains(&response.status_code.code()) {
                    let ids = (message::call_id(&response), tag_of(&response, "To"));
                    if let (Some(call_id), Some(tag)) = ids {
                        state.routes.learn(owner, call_id, tag);
                    }
                }
                // Whoever answers has it from then on, its CANCEL too.
                state.transactions.set_owner(tx, owner);
                if !state.transactions.respond(tx, &response, now) {
                    count(&self.counters.late_responses);
                }
            }
        }
        self.flush(state);
        drop(guard);
        self.timers.notify_one();
    }

    /// Starts a transaction by the transport of `to`, or by TCP when the request is too large for UDP.
    fn start(
        &self,
        state: &mut State,
        owner: Owner,
        tx: super::port::ClientTx,
        mut request: Request,
        to: Hop,
        now: Instant,
    ) {
        let over_mtu = self.is_over_mtu(state, &request, to, now);
        via::leave_by(&mut request, to.transport, self.port_of(to.transport));
        if !over_mtu {
            return state.transactions.request(Some(owner), tx, request, to, now);
        }
        count(&self.counters.over_mtu_tcp);
        let by_udp = request.clone();
        via::leave_by(&mut request, Transport::Tcp, self.port_of(Transport::Tcp));
        state.transactions.large_request(Some(owner), tx, request, by_udp, to.addr, now);
    }

    fn is_over_mtu(&self, state: &State, request: &Request, to: Hop, now: Instant) -> bool {
        if !self.tcp || to.transport != Transport::Udp || request.to_bytes().len() <= MTU_SAFE {
            return false;
        }
        let refused = state.streams.refuses_tcp(to.addr, now);
        if refused {
            count(&self.counters.over_mtu_udp);
        }
        !refused
    }

    /// What Via says: where answers would reach us that find no connection. Without a TLS port of ours
    /// there is no such place, and the other one is as good as any.
    fn port_of(&self, transport: Transport) -> u16 {
        match (transport, self.tls_local) {
            (Transport::Tls, Some(local)) => local.port(),
            _ => self.advertise_port,
        }
    }

    /// False when it cannot be sent, now or ever.
    fn send(&self, state: &mut State, to: Hop, instead: Option<Hop>, message: Bytes) -> bool {
        // A fuzzer's Via and Contact name anybody.
        if cfg!(fuzzing) {
            return true;
        }
        if to.transport == Transport::Udp {
            self.show(Direction::Out, to, || message.clone());
            return self.send_datagram(to.addr, &message);
        }
        let to = match instead {
            Some(other) if !state.streams.has(to) => other,
            _ => to,
        };
        self.show(Direction::Out, to, || message.clone());
        let taken = match state.streams.enqueue(to, message.clone(), &self.limits) {
            Enqueued::Taken => true,
            Enqueued::NoConnection => {
                self.dial(state, to)
                    && state.streams.enqueue(to, message, &self.limits) == Enqueued::Taken
            }
            Enqueued::Stuck => {
                count(&self.counters.stuck_peers);
                let fault = ConnectionFault::QueueFull;
                state.streams.kill(to);
                self.note_end(state, to, &fault);
                state.transactions.lost(to, Instant::now());
                false
            }
        };
        count(if taken { &self.counters.sent } else { &self.counters.send_errors });
        taken
    }

    fn send_datagram(&self, to: SocketAddr, datagram: &[u8]) -> bool {
        // A v6 socket reaches v4 peers by their mapped addresses.
        let to = match (self.local, to) {
            (SocketAddr::V6(_), SocketAddr::V4(v4)) => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            _ => to,
        };
        match self.sender.send_to(datagram, to) {
            Ok(_) => {
                count(&self.counters.sent);
                true
            }
            Err(error) => {
                count(&self.counters.send_errors);
                // A full buffer passes; the rest (no route, too big) does not.
                error.kind() == io::ErrorKind::WouldBlock
            }
        }
    }

    /// Starts a connection; what is sent to `hop` meanwhile waits for it.
    fn dial(&self, state: &mut State, hop: Hop) -> bool {
        let Some(seat) = state.streams.dial(hop, &self.limits) else {
            count(&self.counters.refused_connections);
            return false;
        };
        let own = match hop.transport {
            Transport::Tls => self.tls_local.unwrap_or(self.local),
            _ => self.local,
        };
        let dial = Dial {
            bind: Some(own.ip()).filter(|ip| !ip.is_unspecified()),
            name: state.streams.name_of(hop),
            security: match (hop.transport, &*self.tls.load()) {
                (Transport::Tls, Some(tls)) => Security::Tls(Arc::clone(&tls.client)),
                (Transport::Tls, None) => Security::Missing,
                _ => Security::Plain,
            },
        };
        let task = connection::dial(self.me.clone(), seat, dial, self.limits.clone());
        self.runtime.spawn(task);
        true
    }

    /// Carries out what the transactions want done.
    pub(crate) fn flush(&self, state: &mut State) {
        while let Some(output) = state.transactions.poll() {
            match output {
                Output::Send { to, datagram, client, instead } => {
                    if !self.send(state, to, instead, datagram)
                        && let Some(key) = client
                    {
                        state.transactions.send_failed(&key);
                    }
                }
                Output::Deliver { owner, incoming } => self.deliver(state, owner, incoming),
                Output::UnheardByTcp { to } => {
                    count(&self.counters.over_mtu_udp);
                    let now = Instant::now();
                    state.streams.set_refuses_tcp(to, now + self.limits.refusal, now);
                }
            }
        }
    }
}

/// A v4 peer of a v6 socket is the v4 address it is.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        IpAddr::V6(_) => addr,
    }
}
