//! The tokio side: one socket, its transactions, and who gets which message.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use rsipstack::sip::{HasHeaders as _, Method, Request, SipMessage};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::hop::Hop;
use super::message::{self, ALLOW, ALLOW_EVENTS, header, tag_of};
use super::port::{Incoming, ServerTx, Transmit};
pub use super::routes::Claim;
use super::routes::Routes;
use super::trace::redact;
use super::transaction::{Arrival, Output, Owner, Transactions, answer_to};
use super::wire::{self, Fault};

/// Largest datagram there is.
const DATAGRAM: usize = 65_535;

/// Some four thousand messages.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Which way a traced message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// Sees every message, credentials and SDP keys taken out. Called on the way of the packet: be quick.
pub type Trace = Box<dyn Fn(Direction, Hop, &str) + Send + Sync>;

/// Counters since the endpoint was bound, and what stands now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointStats {
    pub received: u64,
    pub sent: u64,
    /// Datagrams that are no SIP message.
    pub malformed: u64,
    /// Datagrams of strangers (see [`Endpoint::set_peers`]).
    pub strangers: u64,
    /// Answers that belong to no request of ours.
    pub stray_responses: u64,
    /// Requests that nobody claims.
    pub unclaimed: u64,
    /// Messages that found the inbox of their owner full.
    pub inbox_full: u64,
    /// Requests beyond [`Transactions::MAX`].
    pub overload: u64,
    /// Datagrams the socket did not take.
    pub send_errors: u64,
    /// Answers of ours that came after their transaction was over.
    pub late_responses: u64,
    pub ports: usize,
    pub client_transactions: usize,
    pub server_transactions: usize,
}

#[derive(Default)]
struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    malformed: AtomicU64,
    strangers: AtomicU64,
    stray_responses: AtomicU64,
    unclaimed: AtomicU64,
    inbox_full: AtomicU64,
    overload: AtomicU64,
    send_errors: AtomicU64,
    late_responses: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Default)]
struct State {
    transactions: Transactions,
    routes: Routes,
}

struct Shared {
    socket: UdpSocket,
    /// The same socket, for sending without waiting: tokio's own `try_send_to` says `WouldBlock`
    /// until its reactor has looked at the socket once, which would cost the first message 500 ms.
    sender: std::net::UdpSocket,
    local: SocketAddr,
    user_agent: String,
    state: Mutex<State>,
    /// Rung when a timer may have been set that is due before the one slept for.
    timers: Notify,
    peers: ArcSwapOption<Vec<IpAddr>>,
    trace: ArcSwapOption<Trace>,
    counters: Counters,
}

/// A SIP endpoint on one UDP socket. A handle: clones share the socket, which closes with the last
/// handle and the last port.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
    _running: Arc<DropGuard>,
}

/// One user agent's way in and out. Dropping it detaches: its transactions run to their end, their
/// answers go nowhere.
pub struct Port {
    endpoint: Endpoint,
    owner: Owner,
}

impl Endpoint {
    /// Opens the socket and starts the task that reads it. Wants a tokio runtime around it.
    /// `user_agent` is for the Server header of the endpoint's own answers.
    ///
    /// # Errors
    /// What the socket says: the address is in use, or is not of this host.
    pub fn bind(listen: SocketAddr, user_agent: &str) -> io::Result<Endpoint> {
        let socket = std::net::UdpSocket::bind(listen)?;
        socket.set_nonblocking(true)?;
        // A burst (every DN refreshes after an outage) is better kept than sent again. What the system
        // grants of it is enough.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        let sender = socket.try_clone()?;
        let socket = UdpSocket::from_std(socket)?;
        let shared = Arc::new(Shared {
            local: socket.local_addr()?,
            socket,
            sender,
            user_agent: user_agent.to_owned(),
            state: Mutex::default(),
            timers: Notify::new(),
            peers: ArcSwapOption::empty(),
            trace: ArcSwapOption::empty(),
            counters: Counters::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(run(shared.clone(), stop.clone()));
        Ok(Endpoint { shared, _running: Arc::new(stop.drop_guard()) })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// A port for one user agent. A claim that another port made before is taken over.
    /// Messages that find `inbox` full are dropped and counted; SIP sends them again.
    pub fn attach(&self, claim: Claim, inbox: mpsc::Sender<Incoming>) -> Port {
        let owner = self.shared.lock().routes.attach(claim, inbox);
        Port { endpoint: self.clone(), owner }
    }

    /// Takes messages from these addresses only; None from everybody.
    pub fn set_peers(&self, peers: Option<Vec<IpAddr>>) {
        self.shared.peers.store(peers.map(Arc::new));
    }

    /// Shows every message to `trace`; None for none, as at the start.
    pub fn set_trace(&self, trace: Option<Trace>) {
        self.shared.trace.store(trace.map(Arc::new));
    }

    pub fn stats(&self) -> EndpointStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        let state = self.shared.lock();
        let (client_transactions, server_transactions) = state.transactions.counts();
        EndpointStats {
            received: get(&counters.received),
            sent: get(&counters.sent),
            malformed: get(&counters.malformed),
            strangers: get(&counters.strangers),
            stray_responses: get(&counters.stray_responses),
            unclaimed: get(&counters.unclaimed),
            inbox_full: get(&counters.inbox_full),
            overload: get(&counters.overload),
            send_errors: get(&counters.send_errors),
            late_responses: get(&counters.late_responses),
            ports: state.routes.ports(),
            client_transactions,
            server_transactions,
        }
    }
}

impl Port {
    /// Sends, without waiting. What the socket does not take at once is lost like any datagram, and
    /// comes again by retransmission.
    pub fn transmit(&self, transmit: Transmit) {
        let shared = &self.endpoint.shared;
        let now = Instant::now();
        let mut state = shared.lock();
        let State { transactions, routes } = &mut *state;
        match transmit {
            Transmit::Request { tx, request, to } => {
                if request.method == Method::Invite {
                    let ids = (message::call_id(&request), tag_of(&request, "From"));
                    if let (Some(call_id), Some(tag)) = ids {
                        routes.learn(self.owner, call_id, tag);
                    }
                }
                transactions.request(Some(self.owner), tx, request, to, now);
            }
            Transmit::Cancel { invite, request, to } => {
                transactions.cancel(self.owner, invite, request, to, now);
            }
            Transmit::Ack { request, to } => {
                shared.send(to, &request.to_bytes());
            }
            Transmit::Response { tx, response } => {
                let invite = message::cseq(&response).is_some_and(|(_, method)| method == "INVITE");
                if invite && (101..300).contains(&response.status_code.code()) {
                    let ids = (message::call_id(&response), tag_of(&response, "To"));
                    if let (Some(call_id), Some(tag)) = ids {
                        routes.learn(self.owner, call_id, tag);
                    }
                }
                // Whoever answers has it from then on, its CANCEL too.
                transactions.set_owner(tx, self.owner);
                if !transactions.respond(tx, &response, now) {
                    count(&shared.counters.late_responses);
                }
            }
        }
        shared.flush(&mut state);
        drop(state);
        shared.timers.notify_one();
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.endpoint.shared.lock().routes.detach(self.owner);
    }
}

impl Shared {
    /// Nothing in here leaves the state half done, so that a panic elsewhere does not end the SIP side.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To the trace hook, and to the log at level `trace`.
    fn show(&self, direction: Direction, peer: Hop, datagram: &[u8]) {
        let hook = self.trace.load();
        let logged = tracing::enabled!(tracing::Level::TRACE);
        if hook.is_none() && !logged {
            return;
        }
        let text = redact(datagram);
        if logged {
            tracing::trace!(?direction, %peer, "\n{text}");
        }
        if let Some(hook) = &*hook {
            hook(direction, peer, &text);
        }
    }

    fn send(&self, to: Hop, datagram: &[u8]) -> bool {
        self.show(Direction::Out, to, datagram);
        match self.sender.send_to(datagram, to.addr) {
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

    /// Carries out what the transactions want done.
    fn flush(&self, state: &mut State) {
        while let Some(output) = state.transactions.poll() {
            match output {
                Output::Send { to, datagram, client } => {
                    if !self.send(to, &datagram)
                        && let Some(key) = client
                    {
                        state.transactions.send_failed(&key);
                    }
                }
                Output::Deliver { owner, incoming } => self.deliver(state, owner, incoming),
            }
        }
    }

    fn deliver(&self, state: &mut State, owner: Owner, incoming: Incoming) {
        let request = match &incoming {
            Incoming::Request { tx, .. } => Some(*tx),
            _ => None,
        };
        let taken = match state.routes.inbox(owner) {
            Some(inbox) => match inbox.try_send(incoming) {
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

    fn datagram(&self, datagram: &[u8], from: SocketAddr, now: Instant) {
        count(&self.counters.received);
        if self.peers.load().as_ref().is_some_and(|peers| !peers.contains(&from.ip())) {
            count(&self.counters.strangers);
            return;
        }
        let from = Hop::udp(from);
        self.show(Direction::In, from, datagram);
        let mut state = self.lock();
        match wire::parse(datagram) {
            Ok(SipMessage::Request(request)) => self.request(&mut state, request, from, now),
            Ok(SipMessage::Response(response)) => {
                if !state.transactions.response(response, from, now) {
                    count(&self.counters.stray_responses);
                }
            }
            Err(Fault::Refused(request, code)) => self.refuse(*request, code, from),
            Err(Fault::UnknownMethod(request)) => self.unknown(&mut state, *request, from, now),
            Err(Fault::KeepAlive) => {}
            Err(Fault::Malformed | Fault::CutShort) => count(&self.counters.malformed),
        }
        self.flush(&mut state);
    }

    /// A request with a fault gets its answer and leaves nothing behind (RFC 3261 8.2.7): the same answer again
    /// when it comes again, so its tag is made of what it holds.
    fn refuse(&self, mut request: Request, code: u16, from: Hop) {
        count(&self.counters.malformed);
        let mut hasher = DefaultHasher::new();
        request.headers().to_string().hash(&mut hasher);
        let tag = format!("{:016x}", hasher.finish());
        let Some(to) = answer_to(&mut request, from) else { return };
        let mut response = message::respond(&request, code, None, &tag);
        response.headers_mut().push(header("Server", self.user_agent.as_str()));
        self.send(to, &response.to_bytes());
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
            return self.answer_unclaimed(state, tx, &request, now);
        };
        state.transactions.set_owner(tx, owner);
        self.deliver(state, owner, Incoming::Request { tx, request, from });
    }

    /// What nobody claims is answered here.
    fn answer_unclaimed(&self, state: &mut State, tx: ServerTx, request: &Request, now: Instant) {
        count(&self.counters.unclaimed);
        let in_dialog = tag_of(request, "To").is_some();
        let code = match request.method {
            Method::Ack => return,
            Method::Options if !in_dialog => 200,
            Method::Invite if !in_dialog => 404,
            Method::Register
            | Method::Subscribe
            | Method::Publish
            | Method::Message
            | Method::Refer => 405,
            _ => 481,
        };
        self.answer(state, tx, request, code, now);
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
            response.headers_mut().push(header("Allow-Events", ALLOW_EVENTS));
        }
        state.transactions.respond(tx, &response, now);
    }
}

/// Reads the socket and runs the timers until the last handle is gone.
async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let due = shared.lock().transactions.poll_timeout();
        let sleep = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep => {
                let now = Instant::now();
                let mut state = shared.lock();
                state.transactions.handle_timeout(now);
                shared.flush(&mut state);
            }
            received = shared.socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    shared.datagram(datagram, from, Instant::now());
                }
                // An ICMP error of some earlier datagram: whose it was is not told here, and its
                // transaction runs into its timer.
                Err(error) => tracing::debug!(%error, "SIP socket"),
            },
            () = shared.timers.notified() => {}
        }
    }
}
