//! Between sockets, transactions and ports: what an endpoint does with a message.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use rsipstack::sip::{HasHeaders as _, Method, Request, SipMessage};
use tokio::net::{TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, mpsc};

use super::endpoint::{AddressFilter, ConnectionEvent};
use super::hop::{Hop, Transport};
use super::message::{self, ALLOW, ALLOW_EVENTS, EXTENSIONS, header, tag_of};
use super::port::{Incoming, ServerTx, Transmit};
use super::returning::{Held, Returning};
use super::routes::{Claim, Routes};
use super::stats::{Counters, count};
use super::trace::{Direction, Trace, Traced, redact};
use super::transaction::{Arrival, Output, Owner, Transactions};
use super::transport::Limits;
use super::transport::connection::{self, Dial, Security};
use super::transport::fault::ConnectionFault;
use super::transport::streams::{Enqueued, Seat, Streams};
use super::transport::tls::Tls;
use super::transport::via;
use super::uas::user_of;
use super::wire::{self, Fault};

/// A request longer than this goes by TCP where the path's MTU is unknown (RFC 3261 18.1.1).
const MTU_SAFE: usize = 1300;

/// When to try a DN again whose agent is not here: pages come back to a gateway that was restarted, or
/// go to another one, within seconds. To a 480 and not a 503, which would speak of the whole gateway and
/// so of the calls that go on in it (RFC 3261 21.5.4).
const AGENT_COMES_BACK: u64 = 10;

/// This part of an inbox is kept for final answers, a quarter.
const RESERVED: usize = 4;

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

    // Out.

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

    // Connections.

    /// A connection came in.
    pub(crate) fn accepted(&self, stream: TcpStream, transport: Transport, from: SocketAddr) {
        let hop = Hop::new(transport, canonical(from));
        if !self.admits(hop.addr.ip()) {
            return count(&self.counters.strangers);
        }
        let Some(seat) = self.lock().streams.accept(hop, &self.limits) else {
            return count(&self.counters.refused_connections);
        };
        count(&self.counters.accepted);
        let security = match (transport, &*self.tls.load()) {
            (Transport::Tls, Some(tls)) => match &tls.server {
                Some(server) => Security::Tls(Arc::clone(server)),
                None => Security::Missing,
            },
            (Transport::Tls, None) => Security::Missing,
            _ => Security::Plain,
        };
        let task = connection::serve(self.me.clone(), seat, stream, security, self.limits.clone());
        self.runtime.spawn(task);
    }

    /// A connection stands. Tells whether its peer is known to answer keep-alives.
    pub(crate) fn connection_up(&self, seat: &mut Seat) -> bool {
        let (hop, incoming) = (seat.hop, seat.incoming);
        seat.up = true;
        let mut state = self.lock();
        if !incoming {
            count(&self.counters.connected);
            if state.streams.set_fault(hop, None) {
                tracing::info!(%hop, "the SIP peer can be reached again");
            }
        }
        // Whether anybody listens does not matter.
        let _ = self.events.send(ConnectionEvent::Up { hop, incoming });
        state.streams.has_ponged(hop)
    }

    pub(crate) fn connection_ponged(&self, hop: Hop) {
        self.lock().streams.set_ponged(hop);
    }

    pub(crate) fn connection_stays(&self, hop: Hop, incoming: bool) -> bool {
        self.lock().streams.stays(hop, incoming)
    }

    pub(crate) fn ping_missed(&self) {
        count(&self.counters.pings_missed);
    }

    /// A connection is over, or never was.
    pub(crate) fn connection_ended(&self, seat: &Seat, fault: &ConnectionFault) {
        let Seat { hop, incoming, up, .. } = *seat;
        let now = Instant::now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if fault.is_framing() {
            count(&self.counters.stream_faults);
        }
        if matches!(fault, ConnectionFault::Stuck(_)) {
            count(&self.counters.stuck_peers);
        }
        if up {
            count(&self.counters.connections_lost);
            let reason = fault.to_string();
            let _ = self.events.send(ConnectionEvent::Down { hop, incoming, reason });
        }
        if fault.is_tls() {
            count(&self.counters.tls_failed);
        } else if !up && !incoming {
            count(&self.counters.connects_failed);
        }
        // None: it was given up before, and its transactions with it; another may stand by now.
        let closed = state.streams.close(hop, seat.id);
        if incoming || closed.is_none() {
            tracing::debug!(%hop, %fault, "SIP connection ended");
        } else {
            self.note_end(state, hop, fault);
        }
        let carried = closed == Some(true);
        if carried && up {
            state.transactions.lost(hop, now);
        } else if carried {
            if hop.transport == Transport::Tcp && !incoming {
                let until = now + self.limits.refusal;
                state.streams.set_refuses_tcp(hop.addr, until, now);
            }
            state.transactions.unreachable(hop, now);
        }
        self.flush(state);
        drop(guard);
        self.timers.notify_one();
    }

    /// Says once what has to be seen to.
    fn note_end(&self, state: &mut State, hop: Hop, fault: &ConnectionFault) {
        if !fault.is_trouble() {
            tracing::debug!(%hop, %fault, "SIP connection ended");
        } else if state.streams.set_fault(hop, Some(fault.to_string())) {
            tracing::warn!(%hop, "SIP: {fault}");
        }
    }

    // In.

    pub(crate) fn datagram(&self, datagram: &[u8], from: SocketAddr, now: Instant) {
        self.message(datagram, Hop::udp(canonical(from)), now);
    }

    /// One message of a stream. One that cannot be read is counted and ends nothing: where the next one
    /// begins is known, and the calls of all other DNs go over the same connection.
    pub(crate) fn stream_message(
        &self,
        message: &[u8],
        from: Hop,
        now: Instant,
    ) -> Result<(), ConnectionFault> {
        if !self.admits(from.addr.ip()) {
            count(&self.counters.strangers);
            return Err(ConnectionFault::Stranger);
        }
        self.message(message, from, now);
        self.timers.notify_one();
        Ok(())
    }

    fn message(&self, message: &[u8], from: Hop, now: Instant) {
        count(&self.counters.received);
        if !self.admits(from.addr.ip()) {
            return count(&self.counters.strangers);
        }
        self.show(Direction::In, from, || Bytes::copy_from_slice(message));
        let parsed = wire::parse(message);
        let mut guard = self.lock();
        let state = &mut *guard;
        match parsed {
            Ok(SipMessage::Request(request)) => {
                let ours = (message::call_id(&request), tag_of(&request, "To"));
                self.note_dialog(state, ours, from, now);
                self.request(state, request, from, now);
            }
            Ok(SipMessage::Response(response)) => {
                let ours = (message::call_id(&response), tag_of(&response, "From"));
                self.note_dialog(state, ours, from, now);
                if !state.transactions.response(response, from, now) {
                    count(&self.counters.stray_responses);
                }
            }
            Err(Fault::Refused(request, code)) => self.refuse(state, *request, code, from),
            Err(Fault::UnknownMethod(request)) => self.unknown(state, *request, from, now),
            Err(Fault::KeepAlive) => {}
            Err(Fault::Malformed | Fault::TooBig | Fault::CutShort) => {
                count(&self.counters.malformed);
            }
        }
        self.flush(state);
    }

    /// For whoever decides how long a peer is one. Those of the list only, so that it has their bound.
    fn note_dialog(
        &self,
        state: &mut State,
        (call_id, our_tag): (Option<&str>, Option<&str>),
        from: Hop,
        now: Instant,
    ) {
        let ip = from.addr.ip();
        if self.peers.load().as_ref().is_some_and(|peers| peers.contains(&ip))
            && state.routes.knows(call_id, our_tag)
        {
            state.in_dialog.insert(ip, now);
        }
    }

    /// A request with a fault gets its answer and leaves nothing behind (RFC 3261 8.2.7): the same answer
    /// again when it comes again, so its tag is made of what it holds.
    fn refuse(&self, state: &mut State, mut request: Request, code: u16, from: Hop) {
        count(&self.counters.malformed);
        let mut hasher = DefaultHasher::new();
        request.headers().to_string().hash(&mut hasher);
        let tag = format!("{:016x}", hasher.finish());
        let Some((to, instead)) = via::fix_via(&mut request, from) else { return };
        let mut response = message::respond(&request, code, None, &tag);
        response.headers_mut().push(header("Server", self.user_agent.as_str()));
        self.send(state, to, instead, response.to_bytes().into());
    }

    fn request(&self, state: &mut State, request: Request, from: Hop, now: Instant) {
        let (tx, request, owner) = match state.transactions.arrived(request, from, now) {
            Arrival::New { tx, request, owner } => (tx, request, owner),
            Arrival::Absorbed => return,
            Arrival::Unanswerable => return count(&self.counters.malformed),
            Arrival::Overload => return count(&self.counters.overload),
        };
        let owner = match request.method {
            Method::Cancel => owner,
            _ => state.routes.owner(&request),
        };
        let Some(owner) = owner else {
            return self.answer_unclaimed(state, tx, request, from, now);
        };
        state.transactions.set_owner(tx, owner);
        self.deliver(state, owner, Incoming::Request { tx, request, from });
    }

    fn deliver(&self, state: &mut State, owner: Owner, incoming: Incoming) {
        let request = match &incoming {
            Incoming::Request { tx, .. } => Some(*tx),
            _ => None,
        };
        // Nothing repeats a final answer that was acknowledged already, and who waits for it for ever is
        // a DN that never registers again: a flood of anything else leaves room for it.
        let awaited = match &incoming {
            Incoming::Request { .. } => false,
            Incoming::Response { response, .. } => response.status_code.code() >= 200,
            Incoming::Failed { .. } => true,
        };
        let taken = match state.routes.inbox(owner) {
            Some(inbox) if !awaited && inbox.capacity() <= inbox.max_capacity() / RESERVED => {
                count(&self.counters.inbox_full);
                false
            }
            Some(inbox) => match inbox.try_send(Box::new(incoming)) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    count(&self.counters.inbox_full);
                    false
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            },
            None => false,
        };
        if let (Some(tx), false) = (request, taken) {
            state.transactions.forget(tx);
        }
    }

    /// What nobody claims is answered here.
    fn answer_unclaimed(
        &self,
        state: &mut State,
        tx: ServerTx,
        request: Request,
        from: Hop,
        now: Instant,
    ) {
        let in_dialog = tag_of(&request, "To").is_some();
        match request.method {
            Method::Invite if !in_dialog && state.returning.waits(now) => {
                self.answer(state, tx, &request, 100, now);
                let user = user_of(&request.uri);
                return state.returning.hold(Held { user, tx, request, from });
            }
            Method::Cancel => {
                if let Some(held) = state.returning.cancelled(&request) {
                    self.answer(state, tx, &request, 200, now);
                    return self.answer(state, held.tx, &held.request, 487, now);
                }
            }
            _ => {}
        }
        let request = &request;
        count(&self.counters.unclaimed);
        let code = match request.method {
            Method::Ack => return,
            Method::Options if !in_dialog => 200,
            // A DN whose agent has not come back, after a restart: it is registered still.
            Method::Invite if !in_dialog => 480,
            Method::Refer if !in_dialog => 404,
            Method::Register | Method::Publish | Method::Message => 405,
            Method::Subscribe => 489,
            _ => 481,
        };
        self.answer(state, tx, request, code, now);
    }

    /// Somebody has a DN now: calls that waited for it are his.
    pub(crate) fn claimed(&self, state: &mut State, claim: &Claim, owner: Owner) {
        let Claim::User(user) = claim else { return };
        for Held { tx, request, from, .. } in state.returning.take(user) {
            state.transactions.set_owner(tx, owner);
            self.deliver(state, owner, Incoming::Request { tx, request, from });
        }
    }

    /// Agents who were waited for have not come.
    pub(crate) fn give_up_waiting(&self, state: &mut State, now: Instant) {
        for held in state.returning.expired(now) {
            count(&self.counters.unclaimed);
            self.answer(state, held.tx, &held.request, 480, now);
        }
    }

    /// A method nobody knows (RFC 3261 8.2.1).
    fn unknown(&self, state: &mut State, request: Request, from: Hop, now: Instant) {
        match state.transactions.arrived(request, from, now) {
            Arrival::New { tx, request, .. } => self.answer(state, tx, &request, 405, now),
            Arrival::Absorbed => {}
            Arrival::Unanswerable => count(&self.counters.malformed),
            Arrival::Overload => count(&self.counters.overload),
        }
    }

    fn answer(&self, state: &mut State, tx: ServerTx, request: &Request, code: u16, now: Instant) {
        let tag = format!("{:016x}", rand::random::<u64>());
        let mut response = message::respond(request, code, None, &tag);
        response.headers_mut().push(header("Server", self.user_agent.as_str()));
        if matches!(code, 200 | 405) {
            response.headers_mut().push(header("Allow", ALLOW));
        }
        if matches!(code, 200 | 405 | 489) {
            response.headers_mut().push(header("Allow-Events", ALLOW_EVENTS));
        }
        if code == 480 {
            response.headers_mut().push(header("Retry-After", AGENT_COMES_BACK.to_string()));
        }
        if code == 200 {
            response.headers_mut().push(header("Supported", EXTENSIONS.join(", ")));
            response.headers_mut().push(header("Accept", message::SDP_TYPE));
        }
        state.transactions.respond(tx, &response, now);
    }
}

/// A v4 peer of a v6 socket is the v4 address it is.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        IpAddr::V6(_) => addr,
    }
}
