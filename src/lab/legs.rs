//! The SIP side of all legs: each a user agent of its own, behind one port. Pure.
//!
//! A request finds its leg by Call-ID, an answer by its transaction, whose number is unique here
//! though each user agent counts its own.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rsipstack::sip::{Header, HeadersExt, Method, Reason, Request};

use super::control::LegId;
use crate::sip::port::{ClientTx, Incoming, Transmit};
use crate::sip::{Command, Event, SessionId, UaConfig, UserAgent};

/// A leg that has ended stays for answers that come again, 32 s at most (RFC 3261 17.1.2.2, timer
/// F); whatever it still waits for then does not come.
const GRACE: Duration = Duration::from_secs(65);

struct Leg {
    agent: UserAgent,
    call_id: Option<String>,
    withhold_ack: bool,
    ack: Option<Transmit>,
    /// For BYE and CANCEL: the other side's Reason header, word for word.
    reason: Option<String>,
    ended: Option<Instant>,
    /// Something may wait to be polled.
    dirty: bool,
}

/// What the legs have for the outside.
pub enum Output {
    Transmit(Transmit),
    Event(LegId, Event),
}

#[derive(Default)]
pub struct Legs {
    last: u64,
    last_tx: u64,
    legs: BTreeMap<LegId, Leg>,
    by_call_id: HashMap<String, LegId>,
    /// Ours to the user agent's; gone with the leg.
    transactions: HashMap<ClientTx, (LegId, ClientTx)>,
}

impl Legs {
    pub fn add(&mut self, config: UaConfig) -> LegId {
        self.last += 1;
        let id = LegId(self.last);
        let leg = Leg {
            agent: UserAgent::new(config, rand::random()),
            call_id: None,
            withhold_ack: false,
            ack: None,
            reason: None,
            ended: None,
            dirty: false,
        };
        self.legs.insert(id, leg);
        id
    }

    /// Legs that are over but for answers that may still come count too.
    pub fn len(&self) -> usize {
        self.legs.len()
    }

    /// None has anything to send or to wait for: a BYE may have to wait for the ACK before it.
    pub fn are_idle(&self) -> bool {
        self.legs.values().all(|leg| leg.agent.is_idle())
    }

    /// The leg a request belongs to.
    pub fn of(&self, request: &Request) -> Option<LegId> {
        self.by_call_id.get(request.call_id_header().ok()?.value()).copied()
    }

    pub fn call_id(&self, leg: LegId) -> Option<&str> {
        self.legs.get(&leg)?.call_id.as_deref()
    }

    /// The Replaces header that names this leg's call to its peer.
    pub fn replaces(&self, leg: LegId, session: SessionId) -> Option<String> {
        self.legs.get(&leg)?.agent.replaces(session)
    }

    fn know(&mut self, id: LegId, request: &Request) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.call_id.is_none()) else { return };
        if let Ok(call_id) = request.call_id_header() {
            leg.call_id = Some(call_id.value().to_owned());
            self.by_call_id.insert(call_id.value().to_owned(), id);
        }
    }

    /// A request for a leg.
    pub fn handle_request(&mut self, id: LegId, incoming: Incoming, now: Instant) {
        if let Incoming::Request { request, .. } = &incoming {
            self.know(id, request);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.agent.handle_incoming(incoming, now);
            leg.dirty = true;
        }
    }

    /// An answer, or that there is none.
    pub fn handle_answer(&mut self, incoming: Incoming, now: Instant) {
        let ours = match &incoming {
            Incoming::Response { tx, .. } | Incoming::Failed { tx, .. } => *tx,
            Incoming::Request { .. } => return,
        };
        let Some(&(id, tx)) = self.transactions.get(&ours) else { return };
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let incoming = match incoming {
            Incoming::Response { response, from, .. } => Incoming::Response { tx, response, from },
            Incoming::Failed { why, .. } => Incoming::Failed { tx, why },
            request => request,
        };
        leg.agent.handle_incoming(incoming, now);
        leg.dirty = true;
    }

    pub fn command(&mut self, id: LegId, command: Command, now: Instant) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.agent.handle_command(command, now);
            leg.dirty = true;
        }
    }

    /// A leg that is over without an event to say so.
    pub fn close(&mut self, id: LegId, now: Instant) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.ended.get_or_insert(now);
        }
    }

    /// The Reason header for what ends this leg.
    pub fn set_reason(&mut self, id: LegId, reason: String) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.reason = Some(reason);
        }
    }

    pub fn withhold_ack(&mut self, id: LegId, withhold: bool) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.withhold_ack = withhold;
            leg.dirty = true;
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let agents = self.legs.values().filter_map(|leg| leg.agent.poll_timeout());
        let ends = self.legs.values().filter_map(|leg| Some(leg.ended? + GRACE));
        agents.chain(ends).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        for leg in self.legs.values_mut() {
            if leg.agent.poll_timeout().is_some_and(|at| at <= now) {
                leg.agent.handle_timeout(now);
                leg.dirty = true;
            }
        }
        self.purge(now, false);
    }

    /// Forgets legs that have ended a while ago, or (`idle`) all that wait for nothing any more.
    pub fn purge(&mut self, now: Instant, idle: bool) {
        let mut gone = Vec::new();
        self.legs.retain(|id, leg| {
            let over =
                leg.ended.is_some_and(|at| at + GRACE <= now || (idle && leg.agent.is_idle()));
            if over {
                gone.push((*id, leg.call_id.take()));
            }
            !over
        });
        for (id, call_id) in gone {
            self.transactions.retain(|_, (leg, _)| *leg != id);
            if let Some(call_id) = call_id {
                self.by_call_id.remove(&call_id);
            }
        }
    }

    /// What there is to send and to tell; the caller asks again when it has acted on it.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<Output>) {
        let dirty: Vec<_> = self.legs.iter().filter(|(_, l)| l.dirty).map(|(id, _)| *id).collect();
        for id in dirty {
            self.poll_leg(id, now, out);
        }
    }

    fn poll_leg(&mut self, id: LegId, now: Instant, out: &mut Vec<Output>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.dirty = false;
        let mut transmits = Vec::new();
        if !leg.withhold_ack {
            transmits.extend(leg.ack.take());
        }
        while let Some(transmit) = leg.agent.poll_transmit() {
            match transmit {
                Transmit::Ack { .. } if leg.withhold_ack => leg.ack = Some(transmit),
                _ => transmits.push(transmit),
            }
        }
        while let Some(event) = leg.agent.poll_event() {
            if matches!(event, Event::Ended { .. }) {
                leg.ended.get_or_insert(now);
            }
            out.push(Output::Event(id, event));
        }
        let reason = leg.reason.clone();
        for transmit in transmits {
            let transmit = self.translate(id, transmit, reason.as_deref());
            out.push(Output::Transmit(transmit));
        }
    }

    /// Gives transactions their number here.
    fn translate(&mut self, id: LegId, transmit: Transmit, reason: Option<&str>) -> Transmit {
        match transmit {
            Transmit::Request { tx, mut request, to } => {
                self.know(id, &request);
                set_reason(&mut request, reason);
                self.last_tx += 1;
                let ours = ClientTx(self.last_tx);
                self.transactions.insert(ours, (id, tx));
                Transmit::Request { tx: ours, request, to }
            }
            Transmit::Cancel { invite, mut request, to } => {
                set_reason(&mut request, reason);
                Transmit::Cancel { invite: self.number_of(id, invite), request, to }
            }
            Transmit::Abandon { tx } => {
                let tx = self.number_of(id, tx);
                self.transactions.remove(&tx);
                Transmit::Abandon { tx }
            }
            other => other,
        }
    }

    /// The number here of a transaction that a leg has begun.
    fn number_of(&self, id: LegId, tx: ClientTx) -> ClientTx {
        let ours = self.transactions.iter().find(|(_, known)| **known == (id, tx));
        ours.map_or(tx, |(ours, _)| *ours)
    }
}

fn set_reason(request: &mut Request, reason: Option<&str>) {
    if let (Method::Bye | Method::Cancel, Some(reason)) = (&request.method, reason) {
        request.headers.remove_all(|header| matches!(header, Header::Reason(_)));
        request.headers.push(Header::Reason(Reason::new(reason)));
    }
}
