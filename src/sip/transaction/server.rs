//! Others' requests, and what we say to them (17.2).

use std::time::{Duration, Instant};

use bytes::Bytes;
use rsipstack::sip::{Method, Request, Response};

use super::key::{invite_key, server_key};
use super::{Arrival, Key, Owner, RINGING, Timer, Transactions, unless_reliable};
use crate::sip::hop::Hop;
use crate::sip::message;
use crate::sip::port::ServerTx;
use crate::sip::timers::{T1, T1X64, T2, T4};
use crate::sip::transport::via::fix_via;

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

pub(super) struct Server {
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

impl Transactions {
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

    pub(super) fn server_timer(&mut self, key: Key, at: Instant, now: Instant) {
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
