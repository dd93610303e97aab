//! The lab's one task: takes what comes from the network, from the tests and from the clock, and
//! gives each call its share.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rsipstack::sip::{Allow, Contact, Header, HeadersExt, Method, Request};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::Registration;
use super::bridge::{Bridge, Side};
use super::call::{Alarm, Call, Kind};
use super::config::LabConfig;
use super::control::{self, Act, CallOut, ControlError, Leg, LegId};
use super::dialplan::{Destination, Extension, destination};
use super::gate::{Gate, Verdict};
use super::leg::{PhoneLeg, Script};
use super::legs::{Legs, Output};
use super::phone::{Phone, Sound};
use super::registrar::{Registrar, Wish, user_of};
use super::reply::{has_tag, reply};
use super::report::{CallReport, Party, Way};
use crate::due::sleep_until;
use crate::sip::port::{Incoming, ServerTx, Transmit};
use crate::sip::{Claim, Command, End, Endpoint, Event, Hop, Invited, Port, SessionId};

/// What has rung for so long rings for nobody (RFC 3261 16.6, timer C).
const PATIENCE: Duration = Duration::from_secs(180);
/// At the end of a lab its telephones have this long to take leave.
const LEAVE: Duration = Duration::from_secs(2);
/// SIP messages that wait; what comes on top of that comes again.
const INBOX: usize = 1024;
/// User agents for each call that may be up: two legs, and those of calls just ended.
const LEGS_PER_CALL: usize = 4;
const METHODS: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, NOTIFY, UPDATE";
/// The one session of a user agent that calls.
const OUTGOING: SessionId = SessionId(1);

/// Where an INVITE goes that is with its user agent.
enum To {
    Extension(Extension),
    Telephone(Registration),
    Test(mpsc::Sender<Leg>),
}

struct Arriving {
    number: String,
    caller: String,
    to: To,
}

/// Where a server tells what goes on.
pub struct Handles {
    pub reports: broadcast::Sender<CallReport>,
    pub registrations: watch::Sender<Vec<Registration>>,
    /// For the handles of legs.
    pub requests: mpsc::Sender<control::Request>,
}

pub struct Server {
    config: LabConfig,
    /// Keeps the socket open.
    _endpoint: Endpoint,
    /// As advertised.
    local: SocketAddr,
    port: Port,
    inbox: mpsc::Receiver<Box<Incoming>>,
    gate: Gate,
    registrar: Registrar,
    legs: Legs,
    calls: BTreeMap<u64, Call>,
    by_leg: HashMap<LegId, (u64, Side)>,
    arriving: HashMap<LegId, Arriving>,
    last_call: u64,
    /// Numbers that a test answers.
    taken: HashMap<String, mpsc::Sender<Leg>>,
    /// DNs that `604` calls back, and when.
    call_backs: Vec<(Instant, String)>,
    reports: broadcast::Sender<CallReport>,
    registrations: watch::Sender<Vec<Registration>>,
    requests: mpsc::Sender<control::Request>,
    leaving: Option<(Instant, oneshot::Sender<()>)>,
}

impl Server {
    /// A server behind an endpoint, with what its handles hear of.
    pub fn new(config: LabConfig, endpoint: Endpoint, local: SocketAddr, handles: Handles) -> Self {
        let (sender, inbox) = mpsc::channel(INBOX);
        let realm = config.realm.clone();
        Self {
            port: endpoint.attach(Claim::Everything, sender),
            _endpoint: endpoint,
            local,
            inbox,
            gate: Gate::new(realm, config.password.clone(), config.challenge, Instant::now()),
            registrar: Registrar::new(config.max_expires),
            config,
            legs: Legs::default(),
            calls: BTreeMap::new(),
            by_leg: HashMap::new(),
            arriving: HashMap::new(),
            last_call: 0,
            taken: HashMap::new(),
            call_backs: Vec::new(),
            reports: handles.reports,
            registrations: handles.registrations,
            requests: handles.requests,
            leaving: None,
        }
    }

    pub async fn run(mut self, mut requests: mpsc::Receiver<control::Request>) {
        loop {
            let until = self.poll_timeout();
            tokio::select! {
                incoming = self.inbox.recv() => match incoming {
                    Some(incoming) => self.handle_incoming(*incoming).await,
                    None => return,
                },
                request = requests.recv() => match request {
                    Some(request) => self.handle_control(request).await,
                    None => return,
                },
                () = sleep_until(until) => self.handle_timeout().await,
            }
            self.settle().await;
            if let Some((until, done)) = self.leaving.take() {
                if self.legs.are_idle() || Instant::now() >= until {
                    let _ = done.send(());
                    return;
                }
                self.leaving = Some((until, done));
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let alarms = self.calls.values().filter_map(|call| Some(call.alarm?.0));
        let call_backs = self.call_backs.iter().map(|(at, _)| *at);
        let leaving = self.leaving.as_ref().map(|(until, _)| *until);
        alarms
            .chain(call_backs)
            .chain(leaving)
            .chain(self.legs.poll_timeout())
            .chain(self.registrar.poll_timeout())
            .min()
    }

    async fn handle_timeout(&mut self) {
        let now = Instant::now();
        self.legs.handle_timeout(now);
        if self.registrar.handle_timeout(now) {
            self.registrations.send_replace(self.registrar.all());
        }
        let mut commands = Vec::new();
        for call in self.calls.values_mut() {
            let Some((_, alarm)) = call.alarm.take_if(|(at, _)| *at <= now) else { continue };
            let mut out = Vec::new();
            match (&mut call.kind, alarm) {
                (Kind::Phone(phone), Alarm::Answer) => phone.accept(&mut out),
                (Kind::Phone(phone), Alarm::GiveUp) => {
                    let end = Act::End { code: 480, text: "No answer".to_owned() };
                    phone.act(end, &mut out);
                }
                (Kind::Bridge(bridge), _) => {
                    let mut both = Vec::new();
                    bridge.close(480, "No answer", &mut both);
                    for (side, command) in both {
                        commands.extend(call.leg(side).map(|leg| (leg, command)));
                    }
                }
            }
            call.note_answer(now);
            commands.extend(out.into_iter().map(|command| (call.a, command)));
        }
        for (leg, command) in commands {
            self.legs.command(leg, command, now);
        }
        while let Some(at) = self.call_backs.iter().position(|(at, _)| *at <= now) {
            let (_, dn) = self.call_backs.swap_remove(at);
            let mut call = CallOut::new("604");
            call.phone = self.config.phone(self.local.ip(), Sound::Echo);
            if let Err(why) = self.call_out(&dn, call).await {
                tracing::info!(%dn, %why, "604 cannot call back");
            }
        }
    }

    async fn handle_incoming(&mut self, incoming: Incoming) {
        let now = Instant::now();
        let Incoming::Request { tx, request, from } = incoming else {
            return self.legs.handle_answer(incoming, now);
        };
        if let Some(leg) = self.legs.of(&request) {
            return self.legs.handle_request(leg, Incoming::Request { tx, request, from }, now);
        }
        let tagged = request.to_header().is_ok_and(|to| has_tag(to.value()));
        match request.method {
            Method::Ack => {}
            Method::Register => self.handle_register(tx, &request, from, now),
            Method::Invite if !tagged => self.handle_invite(tx, request, from).await,
            Method::Options if !tagged => {
                self.respond(tx, &request, 200, vec![Header::Allow(Allow::new(METHODS))]);
            }
            Method::Bye | Method::Cancel | Method::Invite => {
                self.respond(tx, &request, 481, Vec::new());
            }
            _ if tagged => self.respond(tx, &request, 481, Vec::new()),
            _ => self.respond(tx, &request, 405, vec![Header::Allow(Allow::new(METHODS))]),
        }
    }

    fn respond(&mut self, tx: ServerTx, request: &Request, code: u16, more: Vec<Header>) {
        let response = reply(request, code, more);
        self.port.transmit(Transmit::Response { tx, response });
    }

    fn handle_register(&mut self, tx: ServerTx, request: &Request, from: Hop, now: Instant) {
        let wish = match Wish::read(request) {
            Ok(wish) => wish,
            Err(why) => {
                tracing::info!(%from, %why, "a REGISTER cannot be read");
                return self.respond(tx, request, 400, Vec::new());
            }
        };
        if !self.config.is_dn(&wish.dn) {
            return self.respond(tx, request, 404, Vec::new());
        }
        match self.gate.check(request, &wish.dn, now) {
            Verdict::Pass => {}
            Verdict::Challenge(headers) => return self.respond(tx, request, 401, headers),
        }
        let dn = wish.dn.clone();
        let contact = self.registrar.handle_register(wish, from, now);
        let contact = contact.map(|value| Header::Contact(Contact::new(value)));
        self.registrations.send_if_modified(|all| self.registrar.show(&dn, all));
        self.respond(tx, request, 200, contact.into_iter().collect());
    }

    async fn handle_invite(&mut self, tx: ServerTx, request: Request, from: Hop) {
        let now = Instant::now();
        let caller = request.from_header().ok().and_then(|from| user_of(from.value()));
        let caller = caller.unwrap_or("anonymous").to_owned();
        if self.config.challenge_calls && self.config.is_dn(&caller) {
            match self.gate.check(&request, &caller, now) {
                Verdict::Pass => {}
                Verdict::Challenge(headers) => return self.respond(tx, &request, 407, headers),
            }
        }
        if self.is_full(now) {
            return self.respond(tx, &request, 503, Vec::new());
        }
        let number = request.uri.user().unwrap_or_default().to_owned();
        let taken = self.taken.get(&number).filter(|legs| !legs.is_closed()).cloned();
        let to = match (taken, destination(&self.config, &number)) {
            (Some(legs), _) => To::Test(legs),
            (None, Destination::Extension(extension)) => To::Extension(extension),
            (None, Destination::Dn) => match self.registrar.find(&number, now) {
                Some(registration) => To::Telephone(registration.clone()),
                None => return self.respond(tx, &request, 480, Vec::new()),
            },
            (None, Destination::Unknown) => return self.respond(tx, &request, 404, Vec::new()),
        };
        let leg = self.legs.add(self.config.user_agent(self.local, &number, from));
        self.arriving.insert(leg, Arriving { number, caller, to });
        self.legs.handle_request(leg, Incoming::Request { tx, request, from }, now);
        self.settle().await;
        if self.arriving.remove(&leg).is_some() {
            // The user agent has refused it by itself.
            self.legs.close(leg, now);
        }
    }

    fn is_full(&mut self, now: Instant) -> bool {
        let legs = self.config.max_calls.saturating_mul(LEGS_PER_CALL);
        if self.legs.len() >= legs {
            self.legs.purge(now, true);
        }
        self.calls.len() >= self.config.max_calls || self.legs.len() >= legs
    }

    /// Acts on what the legs have to say until they have said it all.
    async fn settle(&mut self) {
        loop {
            let now = Instant::now();
            let mut out = Vec::new();
            self.legs.poll(now, &mut out);
            if out.is_empty() {
                return;
            }
            for output in out {
                match output {
                    Output::Transmit(transmit) => self.port.transmit(transmit),
                    Output::Event(leg, Event::Invited { session, invite }) => {
                        if let Some(arriving) = self.arriving.remove(&leg) {
                            self.begin(leg, session, invite, arriving, now).await;
                        }
                    }
                    Output::Event(leg, event) => self.handle_event(leg, event, now),
                }
            }
        }
    }

    async fn begin(
        &mut self,
        leg: LegId,
        session: SessionId,
        invite: Box<Invited>,
        arriving: Arriving,
        now: Instant,
    ) {
        let Arriving { number, caller, to } = arriving;
        let mut out = Vec::new();
        let mut alarm = None;
        let mut b = None;
        let kind = match to {
            To::Telephone(target) => {
                let called = self.legs.add(self.config.user_agent(self.local, &caller, target.hop));
                let command = Command::Invite {
                    session: OUTGOING,
                    to: target.contact,
                    sdp: invite.sdp.clone(),
                    headers: invite.headers.clone(),
                };
                self.legs.command(called, command, now);
                b = Some(called);
                alarm = Some((now + PATIENCE, Alarm::GiveUp));
                Kind::Bridge(Bridge::new(session, OUTGOING, invite.sdp.is_none()))
            }
            To::Extension(extension) => {
                let sound = match extension {
                    Extension::Tone => Sound::Tone { hz: 1000.0, dbfs: -12.0 },
                    _ => Sound::Echo,
                };
                let Ok(phone) = Phone::open(self.config.phone(self.local.ip(), sound)).await else {
                    return self.no_socket(leg, session, now);
                };
                let script = Script::Extension(extension);
                let mut phone = PhoneLeg::incoming(session, Arc::new(phone), script);
                phone.invited(&invite, &mut out);
                alarm = match extension {
                    Extension::AnswersLate => Some((now + self.config.ring, Alarm::Answer)),
                    Extension::RingsOnly => Some((now + PATIENCE, Alarm::GiveUp)),
                    _ => None,
                };
                Kind::Phone(Box::new(phone))
            }
            To::Test(legs) => {
                let Ok(phone) =
                    Phone::open(self.config.phone(self.local.ip(), Sound::Silence)).await
                else {
                    return self.no_socket(leg, session, now);
                };
                let mut phone = PhoneLeg::incoming(session, Arc::new(phone), Script::Control);
                phone.invited(&invite, &mut out);
                let handle = self.handle_of(leg, &mut phone, &caller, Some(invite));
                if legs.try_send(handle).is_err() {
                    let text = "The test does not listen".to_owned();
                    out.push(Command::End { session, code: 480, text });
                }
                Kind::Phone(Box::new(phone))
            }
        };
        let call = self.add_call(Way::FromPhone, number, caller, kind, leg, b, now);
        if let Some(call) = self.calls.get_mut(&call) {
            call.alarm = alarm;
            call.note_answer(now);
        }
        for command in out {
            self.legs.command(leg, command, now);
        }
    }

    fn no_socket(&mut self, leg: LegId, session: SessionId, now: Instant) {
        let text = "No RTP port is free".to_owned();
        self.legs.command(leg, Command::End { session, code: 503, text }, now);
    }

    /// One who drives this leg from now on.
    fn handle_of(
        &self,
        id: LegId,
        phone: &mut PhoneLeg,
        dn: &str,
        invite: Option<Box<Invited>>,
    ) -> Leg {
        let (sender, events) = mpsc::channel(control::EVENTS);
        phone.watch(sender);
        Leg {
            id,
            phone: phone.phone().clone(),
            requests: self.requests.clone(),
            events,
            dn: dn.to_owned(),
            invite,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of what a call is made of, once")]
    fn add_call(
        &mut self,
        way: Way,
        number: String,
        caller: String,
        kind: Kind,
        a: LegId,
        b: Option<LegId>,
        now: Instant,
    ) -> u64 {
        self.last_call += 1;
        let id = self.last_call;
        self.by_leg.insert(a, (id, Side::A));
        if let Some(b) = b {
            self.by_leg.insert(b, (id, Side::B));
        }
        let call =
            Call { id, way, number, caller, kind, a, b, started: now, answered: None, alarm: None };
        self.calls.insert(id, call);
        id
    }

    fn handle_event(&mut self, leg: LegId, event: Event, now: Instant) {
        let Some(&(id, side)) = self.by_leg.get(&leg) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let end = match &event {
            Event::Ended { end, .. } => Some(end.clone()),
            _ => None,
        };
        let mut commands = Vec::new();
        match &mut call.kind {
            Kind::Phone(phone) => {
                let mut out = Vec::new();
                phone.handle(event, &mut out);
                commands.extend(out.into_iter().map(|command| (leg, command)));
            }
            Kind::Bridge(bridge) => {
                let mut out = Vec::new();
                bridge.handle(side, event, &mut out);
                for (side, command) in out {
                    commands.extend(call.leg(side).map(|leg| (leg, command)));
                }
            }
        }
        call.note_answer(now);
        let over = match (&call.kind, &end) {
            (Kind::Phone(_), Some(end)) => Some((side, end.clone())),
            (Kind::Bridge(bridge), _) if bridge.over() => bridge.end().cloned(),
            _ => None,
        };
        // What is no SIP cause (Q.850) goes on word for word too.
        if let (Kind::Bridge(_), Some(reason)) = (&call.kind, end.and_then(|e| e.reason_header))
            && let Some(other) = call.leg(side.other())
        {
            self.legs.set_reason(other, reason);
        }
        for (leg, command) in commands {
            self.legs.command(leg, command, now);
        }
        if let Some((side, end)) = over {
            self.finish(id, side, &end, now);
        }
    }

    fn finish(&mut self, id: u64, side: Side, end: &End, now: Instant) {
        let Some(call) = self.calls.remove(&id) else { return };
        self.by_leg.remove(&call.a);
        if let Some(b) = call.b {
            self.by_leg.remove(&b);
        }
        let call_id = self.legs.call_id(call.a).unwrap_or_default();
        if let Some(phone) = call.phone() {
            phone.phone().stop();
        }
        let report = call.report(side, end, call_id, now);
        tracing::info!("{report}");
        let calls_back = Script::Extension(Extension::CallsBack);
        if call.phone().is_some_and(|phone| phone.script() == calls_back)
            && call.answered.is_some()
            && report.end.by == Party::Caller
            && self.call_backs.len() < self.config.max_calls
        {
            self.call_backs.push((now + self.config.call_back_after, call.caller));
        }
        // Nobody may be listening.
        let _ = self.reports.send(report);
    }

    async fn handle_control(&mut self, request: control::Request) {
        let now = Instant::now();
        match request {
            control::Request::Call { dn, call, reply } => {
                let answer = self.call_out(&dn, call).await;
                let _ = reply.send(answer);
            }
            control::Request::Find { dn, reply } => {
                let _ = reply.send(self.find(&dn));
            }
            control::Request::Take { number, legs } => {
                self.taken.insert(number, legs);
            }
            control::Request::Act { leg, act } => self.act(leg, act, now),
            control::Request::Replaces { leg, reply } => {
                let session = self.session_of(leg);
                let _ = reply.send(session.and_then(|s| self.legs.replaces(leg, s)));
            }
            control::Request::Stop { reply } => {
                self.leaving = Some((now + LEAVE, reply));
                self.call_backs.clear();
                let legs: Vec<_> = self.by_leg.keys().copied().collect();
                for leg in legs {
                    let Some(session) = self.session_of(leg) else { continue };
                    let text = "The lab closes".to_owned();
                    self.legs.command(leg, Command::End { session, code: 480, text }, now);
                }
            }
        }
    }

    fn session_of(&self, leg: LegId) -> Option<SessionId> {
        let (id, side) = self.by_leg.get(&leg)?;
        match &self.calls.get(id)?.kind {
            Kind::Phone(phone) => Some(phone.session()),
            Kind::Bridge(bridge) => Some(bridge.session(*side)),
        }
    }

    fn find(&mut self, dn: &str) -> Result<Leg, ControlError> {
        let newest = self.calls.iter().rev();
        let mut found = newest.filter(|(_, call)| call.dn() == dn && call.phone().is_some());
        let id = *found.next().ok_or(ControlError::NoSuchCall)?.0;
        let mut call = self.calls.remove(&id).ok_or(ControlError::NoSuchCall)?;
        let leg = match &mut call.kind {
            Kind::Phone(phone) => Ok(self.handle_of(call.a, phone, dn, None)),
            Kind::Bridge(_) => Err(ControlError::NoSuchCall),
        };
        self.calls.insert(id, call);
        leg
    }

    fn act(&mut self, leg: LegId, act: Act, now: Instant) {
        let Some((id, _)) = self.by_leg.get(&leg) else { return };
        let Some(call) = self.calls.get_mut(id) else { return };
        let Kind::Phone(phone) = &mut call.kind else { return };
        let mut out = Vec::new();
        phone.act(act, &mut out);
        self.legs.withhold_ack(leg, phone.withholds_ack());
        call.note_answer(now);
        for command in out {
            self.legs.command(leg, command, now);
        }
    }

    async fn call_out(&mut self, dn: &str, call: CallOut) -> Result<Leg, ControlError> {
        let now = Instant::now();
        let target = self.registrar.find(dn, now).ok_or(ControlError::NotRegistered)?.clone();
        if self.is_full(now) {
            return Err(ControlError::Full);
        }
        let CallOut { from, offer, ack, phone, headers } = call;
        let phone = Phone::open(phone).await.map_err(|_| ControlError::NoSocket)?;
        let leg = self.legs.add(self.config.user_agent(self.local, &from, target.hop));
        let (mut phone, command) =
            PhoneLeg::outgoing(OUTGOING, Arc::new(phone), target.contact, offer, ack, headers);
        self.legs.withhold_ack(leg, phone.withholds_ack());
        self.legs.command(leg, command, now);
        let handle = self.handle_of(leg, &mut phone, dn, None);
        let kind = Kind::Phone(Box::new(phone));
        self.add_call(Way::FromLab, dn.to_owned(), from, kind, leg, None, now);
        Ok(handle)
    }
}
