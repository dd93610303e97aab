//! Transactions (RFC 3261 17, with RFC 6026), sans-I/O: messages and the time in, datagrams and
//! deliveries out. On a reliable transport nothing is repeated and nothing lingers for repetitions
//! (timers A, E and G off, D, I, J and K zero); the rest is the same.
//!
//! Not rsipstack's, for these reasons, all of 0.7.14: a 2xx to INVITE is either ACKed inside (so
//! without the answer a delayed offer needs) or ends the transaction at once, and its repetitions
//! and those of other forks never reach the dialog; every message is logged whole at `info`,
//! Authorization included; sockets, transactions and users are joined by unbounded channels, and
//! each expired timer walks all dialogs that wait for an ACK.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rsipstack::sip::{Method, Request, Response};

use super::hop::{Hop, Transport};
use super::message::{self, branch, get_all, get_list, header, tag_of, top_via};
use super::port::{ClientTx, Incoming, ServerTx, TxFailure};
use super::timers::{T1, T1X64, T2, T4};
use super::transport::via::{fix_via, sent_by};

/// Longest an INVITE rings without a word from its callee. Queues announce for many minutes; an
/// hour of silence is a lost call.
const RINGING: Duration = Duration::from_secs(3600);

/// What branches of RFC 3261 begin with. Nothing but this is none (RFC 4475 3.2.1).
const COOKIE: &str = "z9hG4bK";

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
}

/// Names a transaction: branch, sent-by where it is a server's, method (17.1.3, 17.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    /// Calling or Trying: nothing heard.
    Calling,
    Proceeding,
    /// INVITE answered with a 2xx (RFC 6026).
    Accepted,
    Completed,
}

struct Client {
    owner: Option<Owner>,
    tx: ClientTx,
    /// Its CANCEL and the ACK of its refusal are made from it. Of other requests none is kept: thousands
    /// of REGISTERs linger after a burst of sign-ins.
    invite: Option<Box<Request>>,
    datagram: Bytes,
    to: Hop,
    state: ClientState,
    resend: Option<Instant>,
    pause: Duration,
    deadline: Instant,
    /// The soonest timer that stands in the heap for it.
    armed: Option<Instant>,
    cancelled: bool,
    ack: Option<Bytes>,
    /// The request as it goes by UDP, where it goes by TCP only for its size (18.1.1).
    by_udp: Option<Box<Request>>,
}

impl Client {
    fn wake(&self) -> Instant {
        self.resend.map_or(self.deadline, |at| at.min(self.deadline))
    }

    fn is_invite(&self) -> bool {
        self.invite.is_some()
    }

    /// For a final answer.
    fn waits(&self) -> bool {
        matches!(self.state, ClientState::Calling | ClientState::Proceeding)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerState {
    /// Trying or Proceeding.
    Open,
    /// INVITE answered with a 2xx: repetitions are the dialog's (RFC 6026).
    Accepted,
    Completed,
    /// INVITE refused, and the ACK is here.
    Confirmed,
}

struct Server {
    tx: ServerTx,
    owner: Option<Owner>,
    invite: bool,
    answer_to: Hop,
    instead: Option<Hop>,
    last: Option<Bytes>,
    state: ServerState,
    resend: Option<Instant>,
    pause: Duration,
    deadline: Instant,
}

impl Server {
    fn wake(&self) -> Instant {
        self.resend.map_or(self.deadline, |at| at.min(self.deadline))
    }
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

    // Client side.

    /// Starts a client transaction. `owner` None swallows its answers.
    pub fn request(
        &mut self,
        owner: Option<Owner>,
        tx: ClientTx,
        request: Request,
        to: Hop,
        now: Instant,
    ) {
        self.start(owner, tx, request, None, to, now);
    }

    /// Starts one that goes to `to` by TCP for its size alone; where no connection can be made it goes
    /// to the same address by UDP, as `by_udp` (18.1.1). Both have the same branch.
    pub fn large_request(
        &mut self,
        owner: Option<Owner>,
        tx: ClientTx,
        request: Request,
        by_udp: Request,
        to: SocketAddr,
        now: Instant,
    ) {
        let to = Hop::new(Transport::Tcp, to);
        self.start(owner, tx, request, Some(Box::new(by_udp)), to, now);
    }

    fn start(
        &mut self,
        owner: Option<Owner>,
        tx: ClientTx,
        request: Request,
        by_udp: Option<Box<Request>>,
        to: Hop,
        now: Instant,
    ) {
        let key = top_via(&request).and_then(branch).map(|b| client_key(b, request.method));
        let Some(key) = key.filter(|_| self.clients.len() < Self::MAX) else {
            self.deliver(owner, Incoming::Failed { tx, why: TxFailure::Transport });
            return;
        };
        let datagram = Bytes::from(request.to_bytes());
        let client = Some(key.clone());
        self.out.push_back(Output::Send { to, datagram: datagram.clone(), client, instead: None });
        let client = Client {
            owner,
            tx,
            invite: (request.method == Method::Invite).then(|| Box::new(request)),
            datagram,
            to,
            state: ClientState::Calling,
            resend: (!to.transport.is_reliable()).then_some(now + T1),
            pause: T1,
            deadline: now + T1X64,
            armed: None,
            cancelled: false,
            ack: None,
            by_udp,
        };
        if let Some(owner) = owner {
            self.client_keys.insert((owner, tx), key.clone());
        }
        self.clients.insert(key.clone(), client);
        self.arm_client(&key);
    }

    /// CANCEL of an INVITE: a transaction whose answer nobody needs. It takes the INVITE's way, with its
    /// Via (9.1), wherever the INVITE really went. The INVITE gets 64*T1 more.
    pub fn cancel(
        &mut self,
        owner: Owner,
        invite: ClientTx,
        mut request: Request,
        mut to: Hop,
        now: Instant,
    ) {
        let Some(key) = self.client_keys.get(&(owner, invite)).cloned() else { return };
        if let Some(client) = self.clients.get_mut(&key) {
            to = client.to;
            let via = client
                .invite
                .as_ref()
                .and_then(|invite| invite.headers.iter().find(|h| h.name() == "Via"));
            let ours = request.headers.iter_mut().find(|h| h.name() == "Via");
            if let (Some(via), Some(ours)) = (via, ours) {
                *ours = via.clone();
            }
            if client.waits() {
                client.cancelled = true;
                client.deadline = now + T1X64;
                self.arm_client(&key);
            }
        }
        self.request(None, invite, request, to, now);
    }

    /// No connection to `hop` could be made. What goes by TCP for its size goes by UDP now; the rest of
    /// what waits there has failed.
    pub fn unreachable(&mut self, hop: Hop, now: Instant) {
        for key in self.waiting_at(hop) {
            if !self.go_by_udp(&key, now) {
                self.drop_client(&key, Some(TxFailure::Transport));
            }
        }
    }

    /// The connection to `hop` is gone, and with it what waited for an answer there. What went by TCP for
    /// its size and has not had a word goes by UDP now, for there are peers that take a connection and
    /// reset it (18.1.1); to one that has read it, it is a repetition.
    pub fn lost(&mut self, hop: Hop, now: Instant) {
        for key in self.waiting_at(hop) {
            let unheard =
                self.clients.get(&key).is_some_and(|client| client.state == ClientState::Calling);
            if !(unheard && self.go_by_udp(&key, now)) {
                self.drop_client(&key, Some(TxFailure::Transport));
            }
        }
    }

    /// False where it went by TCP for another reason than its size.
    fn go_by_udp(&mut self, key: &Key, now: Instant) -> bool {
        let Some(client) = self.clients.get_mut(key) else { return true };
        let Some(request) = client.by_udp.take() else { return false };
        client.datagram = Bytes::from(request.to_bytes());
        client.invite = (request.method == Method::Invite).then_some(request);
        client.to = Hop::udp(client.to.addr);
        client.pause = T1;
        client.resend = Some(now + T1);
        let (to, datagram) = (client.to, client.datagram.clone());
        self.arm_client(key);
        let client = Some(key.clone());
        self.out.push_back(Output::Send { to, datagram, client, instead: None });
        true
    }

    /// A walk through all of them: connections end rarely.
    fn waiting_at(&self, hop: Hop) -> Vec<Key> {
        let waiting = self.clients.iter().filter(|(_, client)| client.to == hop && client.waits());
        waiting.map(|(key, _)| key.clone()).collect()
    }

    /// A datagram of that transaction could not be sent.
    pub fn send_failed(&mut self, key: &Key) {
        let waiting = |client: &&mut Client| client.state == ClientState::Calling;
        if self.clients.get_mut(key).filter(waiting).is_some() {
            self.drop_client(key, Some(TxFailure::Transport));
        }
    }

    fn drop_client(&mut self, key: &Key, failure: Option<TxFailure>) {
        let Some(client) = self.clients.remove(key) else { return };
        if let Some(owner) = client.owner {
            self.client_keys.remove(&(owner, client.tx));
        }
        if let Some(why) = failure {
            self.deliver(client.owner, Incoming::Failed { tx: client.tx, why });
        }
    }

    /// An answer came in. False when it belongs to nothing.
    pub fn response(&mut self, response: Response, from: Hop, now: Instant) -> bool {
        // 8.1.3.3: with another Via below ours it is somebody else's, misled.
        if get_list(&response, "Via").len() != 1 {
            return false;
        }
        let key = top_via(&response).and_then(branch).and_then(|branch| {
            let (_, method) = message::cseq(&response)?;
            Some(client_key(branch, method.parse().ok()?))
        });
        let Some(key) = key else { return false };
        let Some(client) = self.clients.get_mut(&key) else { return false };
        let code = response.status_code.code();
        let (tx, owner, to) = (client.tx, client.owner, client.to);
        let mut deliver = false;
        let mut ack = None;
        match (client.state, code) {
            (ClientState::Calling | ClientState::Proceeding, ..200) => {
                deliver = true;
                client.state = ClientState::Proceeding;
                if client.is_invite() {
                    client.resend = None;
                    if !client.cancelled {
                        client.deadline = now + RINGING;
                    }
                } else {
                    client.pause = T2;
                }
            }
            (ClientState::Calling | ClientState::Proceeding, 200..300) if client.is_invite() => {
                deliver = true;
                client.state = ClientState::Accepted;
                client.resend = None;
                client.deadline = now + T1X64;
            }
            (ClientState::Accepted, 200..300) => deliver = true,
            (ClientState::Calling | ClientState::Proceeding, _) => {
                deliver = true;
                client.state = ClientState::Completed;
                client.resend = None;
                client.datagram = Bytes::new();
                client.by_udp = None;
                if let Some(invite) = &client.invite {
                    let datagram = Bytes::from(refusal_ack(invite, &response).to_bytes());
                    client.ack = Some(datagram.clone());
                    ack = Some(datagram);
                    client.deadline = now + unless_reliable(to, T1X64);
                } else {
                    client.deadline = now + unless_reliable(to, T4);
                }
            }
            (ClientState::Completed, 300..) => ack = client.ack.clone(),
            _ => {}
        }
        self.arm_client(&key);
        if let Some(datagram) = ack {
            self.send(to, datagram);
        }
        if deliver {
            self.deliver(owner, Incoming::Response { tx, response, from });
        }
        true
    }

    // Server side.

    /// A request came in.
    pub fn arrived(&mut self, mut request: Request, from: Hop, now: Instant) -> Arrival {
        let Some((answer_to, instead)) = fix_via(&mut request, from) else {
            return Arrival::Unanswerable;
        };
        let known = message::call_id(&request).is_some() && message::cseq(&request).is_some();
        let Some(key) = server_key(&request).filter(|_| known) else {
            return Arrival::Unanswerable;
        };
        let is_ack = request.method == Method::Ack;
        if let Some(server) = self.servers.get_mut(&key) {
            match (server.state, is_ack) {
                (ServerState::Completed, true) => {
                    server.state = ServerState::Confirmed;
                    server.resend = None;
                    server.deadline = now + unless_reliable(server.answer_to, T4);
                    let wake = server.wake();
                    self.arm(wake, Timer::Server(key));
                    return Arrival::Absorbed;
                }
                // The ACK of a 2xx with the branch of its INVITE: wrong, seen, harmless.
                (ServerState::Accepted, true) => {}
                (ServerState::Open | ServerState::Completed, false) => {
                    let (to, instead) = (server.answer_to, server.instead);
                    if let Some(last) = server.last.clone() {
                        self.answer(to, instead, last);
                    }
                    return Arrival::Absorbed;
                }
                _ => return Arrival::Absorbed,
            }
        }
        let tx = ServerTx(self.next_server);
        self.next_server += 1;
        if is_ack {
            return Arrival::New { tx, request, owner: None };
        }
        if self.servers.len() >= Self::MAX {
            return Arrival::Overload;
        }
        let owner = (request.method == Method::Cancel)
            .then(|| self.servers.get(&invite_key(&key))?.owner)
            .flatten();
        let invite = request.method == Method::Invite;
        let server = Server {
            tx,
            owner,
            invite,
            answer_to,
            instead,
            last: None,
            state: ServerState::Open,
            resend: None,
            pause: T1,
            // An owner who never answers does not hold it for ever.
            deadline: now + if invite { RINGING } else { T1X64 },
        };
        self.arm(server.wake(), Timer::Server(key.clone()));
        self.server_keys.insert(tx, key.clone());
        self.servers.insert(key, server);
        Arrival::New { tx, request, owner }
    }

    /// Who will answer: a CANCEL is theirs, too.
    pub fn set_owner(&mut self, tx: ServerTx, owner: Owner) {
        let key = self.server_keys.get(&tx);
        if let Some(server) = key.and_then(|key| self.servers.get_mut(key)) {
            server.owner = Some(owner);
        }
    }

    /// Nobody took it: forget it, so that its retransmission gets another chance.
    pub fn forget(&mut self, tx: ServerTx) {
        if let Some(key) = self.server_keys.remove(&tx) {
            self.servers.remove(&key);
        }
    }

    /// An answer goes out. False when its transaction is gone, or had another final answer.
    pub fn respond(&mut self, tx: ServerTx, response: &Response, now: Instant) -> bool {
        let Some(key) = self.server_keys.get(&tx).cloned() else { return false };
        let Some(server) = self.servers.get_mut(&key) else { return false };
        let code = response.status_code.code();
        let allowed = match server.state {
            ServerState::Open => true,
            ServerState::Accepted => (200..300).contains(&code),
            ServerState::Completed | ServerState::Confirmed => false,
        };
        if !allowed {
            return false;
        }
        let datagram = Bytes::from(response.to_bytes());
        let (to, instead) = (server.answer_to, server.instead);
        server.last = Some(datagram.clone());
        if code >= 200 && server.state == ServerState::Open {
            server.deadline = now + T1X64;
            if !server.invite {
                server.state = ServerState::Completed;
                server.deadline = now + unless_reliable(to, T1X64);
            } else if code < 300 {
                server.state = ServerState::Accepted;
            } else {
                server.state = ServerState::Completed;
                server.resend = (!to.transport.is_reliable()).then_some(now + T1);
            }
            let wake = server.wake();
            self.arm(wake, Timer::Server(key));
        }
        self.answer(to, instead, datagram);
        true
    }

    // Time.

    fn arm(&mut self, at: Instant, timer: Timer) {
        self.timers.push(Reverse((at, timer)));
    }

    /// Not where a sooner one stands already, which looks again when it is due: a peer that repeats its
    /// answers does not fill the heap.
    fn arm_client(&mut self, key: &Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let wake = client.wake();
        if client.armed.is_none_or(|at| wake < at) {
            client.armed = Some(wake);
            self.arm(wake, Timer::Client(key.clone()));
        }
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

    fn client_timer(&mut self, key: Key, at: Instant, now: Instant) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        // Timers are never taken off the heap; one that was moved finds another time here.
        if client.armed != Some(at) {
            return;
        }
        client.armed = None;
        if client.wake() > now {
            return self.arm_client(&key);
        }
        if client.deadline <= now {
            let failure = client.waits().then_some(TxFailure::Timeout);
            self.drop_client(&key, failure);
            return;
        }
        client.pause *= 2;
        if !client.is_invite() {
            client.pause = client.pause.min(T2);
        }
        client.resend = Some(now + client.pause);
        let (to, datagram) = (client.to, client.datagram.clone());
        self.arm_client(&key);
        self.send(to, datagram);
    }

    fn server_timer(&mut self, key: Key, at: Instant, now: Instant) {
        let Some(server) = self.servers.get_mut(&key) else { return };
        if server.wake() != at {
            return;
        }
        if server.deadline <= now {
            let tx = server.tx;
            self.servers.remove(&key);
            self.server_keys.remove(&tx);
            return;
        }
        server.pause = (server.pause * 2).min(T2);
        server.resend = Some(now + server.pause);
        let (to, last, wake) = (server.answer_to, server.last.clone(), server.wake());
        let instead = server.instead;
        self.arm(wake, Timer::Server(key));
        if let Some(last) = last {
            self.answer(to, instead, last);
        }
    }
}

/// How long repetitions may come: where nothing is repeated, not at all.
fn unless_reliable(hop: Hop, time: Duration) -> Duration {
    if hop.transport.is_reliable() { Duration::ZERO } else { time }
}

fn client_key(branch: &str, method: Method) -> Key {
    Key(format!("{branch} {method}"))
}

/// 17.2.3: branch, sent-by and method, an ACK counting as its INVITE; for peers from before RFC 3261,
/// what identified a request then.
fn server_key(request: &Request) -> Option<Key> {
    let via = top_via(request)?;
    let method = match request.method {
        Method::Ack => Method::Invite,
        method => method,
    };
    match branch(via).filter(|b| b.len() > COOKIE.len() && b.starts_with(COOKIE)) {
        Some(branch) => Some(Key(format!("{branch} {} {method}", sent_by(via)))),
        None => {
            let number = message::cseq(request)?.0;
            let from = tag_of(request, "From").unwrap_or_default();
            let call_id = message::call_id(request)?;
            Some(Key(format!("{call_id} {from} {number} {} {method}", sent_by(via))))
        }
    }
}

/// The key of the INVITE a CANCEL means.
fn invite_key(cancel: &Key) -> Key {
    let stem = cancel.0.strip_suffix("CANCEL").unwrap_or(&cancel.0);
    Key(format!("{stem}INVITE"))
}

/// ACK for a refusal (17.1.1.3): the transaction's own.
fn refusal_ack(invite: &Request, response: &Response) -> Request {
    let mut ack = invite.clone();
    ack.method = Method::Ack;
    ack.headers.retain(|h| ["Via", "Max-Forwards", "From", "Call-ID", "Route"].contains(&h.name()));
    if let Some(to) = get_all(response, "To").next() {
        ack.headers.push(header("To", to));
    }
    let number = message::cseq(invite).map_or(1, |(number, _)| number);
    ack.headers.push(header("CSeq", format!("{number} ACK")));
    message::set_body(&mut ack.headers, &mut ack.body, None);
    ack
}

#[cfg(test)]
mod tests {
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
