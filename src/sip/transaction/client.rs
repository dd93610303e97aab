//! Our requests, and what is heard of them (17.1).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rsipstack::sip::{Method, Request, Response};

use super::key::client_key;
use super::{Key, Output, Owner, RINGING, Timer, Transactions, unless_reliable};
use crate::sip::hop::{Hop, Transport};
use crate::sip::message::{self, branch, get_all, get_list, header, top_via};
use crate::sip::port::{ClientTx, Incoming, TxFailure};
use crate::sip::timers::{T1, T1X64, T2, T4};

/// How long a request that goes by TCP for its size alone waits for a word before it goes by UDP as well.
/// There are middleboxes that take every connection and pass nothing on.
const NO_WORD_BY_TCP: Duration = T1.saturating_mul(4);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientState {
    /// Calling or Trying: nothing heard.
    Calling,
    Proceeding,
    /// INVITE answered with a 2xx (RFC 6026).
    Accepted,
    Completed,
}

pub(super) struct Client {
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
    /// The request as it goes by UDP, where it goes by TCP only for its size (18.1.1). While it is here,
    /// `resend` is when that is done.
    by_udp: Option<Box<Request>>,
    /// It had no word by TCP, and goes by UDP too.
    unheard_by_tcp: bool,
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

impl Transactions {
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

    /// Starts one that goes to `to` by TCP for its size alone; where no connection can be made, or nothing
    /// is heard by one for 2 s, it goes to the same address by UDP, as `by_udp` (18.1.1). Both have the
    /// same branch: to one that has read it, it is a repetition.
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
        let resend = match (&by_udp, to.transport.is_reliable()) {
            (Some(_), _) => Some(now + NO_WORD_BY_TCP),
            (None, true) => None,
            (None, false) => Some(now + T1),
        };
        let client = Client {
            owner,
            tx,
            invite: (request.method == Method::Invite).then(|| Box::new(request)),
            datagram,
            to,
            state: ClientState::Calling,
            resend,
            pause: T1,
            deadline: now + T1X64,
            armed: None,
            cancelled: false,
            ack: None,
            by_udp,
            unheard_by_tcp: false,
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

    /// Ends a transaction without a word to its owner.
    pub fn abandon(&mut self, owner: Owner, tx: ClientTx) {
        if let Some(key) = self.client_keys.get(&(owner, tx)).cloned() {
            self.drop_client(&key, None);
        }
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
        // A server that was only slow has it twice by now, and has answered by the connection. Other requests
        // have no 100 to tell.
        if std::mem::take(&mut client.unheard_by_tcp)
            && client.is_invite()
            && from.transport == Transport::Udp
        {
            self.out.push_back(Output::UnheardByTcp { to: to.addr });
        }
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

    pub(super) fn client_timer(&mut self, key: Key, at: Instant, now: Instant) {
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
        if client.by_udp.is_some() {
            client.resend = None;
            if client.state == ClientState::Calling {
                client.unheard_by_tcp = true;
                self.go_by_udp(&key, now);
            } else {
                self.arm_client(&key);
            }
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
