//! The user agent: who gets which message, command and timer.

use super::hop::Hop;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rsipstack::sip::{Method, Request, Response};

use super::core::{Core, Pending, Purpose};
use super::message;
use super::offers::{refuse_extensions, unsupported};
use super::pacer::Urgency;
use super::port::{ClientTx, Incoming, ServerTx, Transmit, TxFailure};
use super::registration::Registration;
use super::servers::News;
use super::session::{Phase, Session};
use super::timers::T1X64;
use super::types::{Command, Event, Faults, Place, RegistrationStatus, SessionId, UaConfig};
use super::{refer, replaces, uac, uas};

/// One SIP user agent: a registration and the sessions of one DN, sans-I/O.
///
/// Messages, commands and the time go in by `handle_*`; after each of them `poll_transmit` and
/// `poll_event` are to be drained, and `poll_timeout` tells when `handle_timeout` is due.
///
/// A session that has ended lingers for 64*T1 (32 s) to answer what comes late; see
/// [`UserAgent::is_idle`] before throwing a user agent away.
pub struct UserAgent {
    core: Core,
    registration: Registration,
    /// Boxed, for a node of the map has room for eleven and stays.
    sessions: BTreeMap<SessionId, Box<Session>>,
    next_incoming: u64,
}

impl UserAgent {
    /// Sessions at a time, both directions. A DN has two calls and a consultation; the rest is room
    /// for retries. One more INVITE is answered 486.
    pub const MAX_SESSIONS: usize = 8;
    /// Ended sessions that still linger; the oldest goes first.
    pub const MAX_LINGERING: usize = 64;

    /// `seed` chooses tags, Call-IDs, branches and jitter: random in earnest, fixed in tests.
    pub fn new(config: UaConfig, seed: u64) -> Self {
        let mut core = Core::new(config, seed);
        let registration = Registration::new(&mut core);
        Self { core, registration, sessions: BTreeMap::new(), next_incoming: 0 }
    }

    pub fn config(&self) -> &UaConfig {
        &self.core.config
    }

    /// Sessions whose [`Event::Ended`] has not been told.
    pub fn live_sessions(&self) -> usize {
        self.sessions.values().filter(|session| !session.ended).count()
    }

    /// Counted since it was made.
    pub fn faults(&self) -> Faults {
        self.core.faults
    }

    /// True when nothing waits to be sent or answered: no live session, no BYE, CANCEL or REGISTER
    /// under way. What lingers to answer late messages does not count.
    pub fn is_idle(&self) -> bool {
        self.registration.is_idle()
            && self.core.transmits.is_empty()
            && self.core.taken.is_idle()
            && self.core.pending.values().all(|pending| pending.done.is_some())
            && self.sessions.values().all(|session| session.is_over())
    }

    /// Another server from now on, or another address of ours toward it; a registration moves there at
    /// once. `advertise` is the address for that server's transport.
    pub fn set_server(&mut self, server: Hop, advertise: SocketAddr, now: Instant) {
        let config = &mut self.core.config;
        if (config.server, config.advertise) != (server, advertise) {
            (config.server, config.advertise) = (server, advertise);
            self.registration.server_changed(&mut self.core, now);
        }
        self.tidy(now);
    }

    /// Servers beside that one, the best first: a call goes there that it does not take. It stays there to
    /// its end; the registration does not move.
    pub fn set_others(&mut self, others: Arc<[Place]>) {
        self.core.others = others;
    }

    /// The server is down, for a reason, or back; at first it is taken to be there. While it is down no
    /// REGISTER goes out but at sign-out; once it is back each DN registers, for the server may have
    /// lost what it knew.
    pub fn set_reachable(&mut self, reachable: Result<(), &str>, now: Instant) {
        self.registration.set_reachable(&mut self.core, reachable, now);
        self.tidy(now);
    }

    /// The binding is refreshed before its time: the connection that it went by is lost.
    pub fn register_again(&mut self, now: Instant) {
        self.registration.register_again(&mut self.core, now);
        self.tidy(now);
    }

    // REGISTERs one after the other, for those who have many user agents at one server.

    /// From now on each REGISTER waits for [`UserAgent::take_turn`].
    pub fn set_paced(&mut self) {
        self.registration.set_paced();
    }

    /// How urgent the REGISTER is that waits for its turn, if one does.
    pub fn awaits_turn(&self) -> Option<Urgency> {
        self.registration.awaits_turn()
    }

    /// Sends the REGISTER that waits.
    pub fn take_turn(&mut self, now: Instant) {
        self.registration.take_turn(&mut self.core, now);
    }

    /// A REGISTER waits for its answer: the turn is not over.
    pub fn is_registering(&self) -> bool {
        self.registration.is_under_way()
    }

    pub fn registration(&self) -> RegistrationStatus {
        self.registration.status(&self.core)
    }

    /// What was met at a server since the last time, for whoever chooses among them.
    pub fn poll_news(&mut self) -> Option<(Hop, News)> {
        self.core.news.take()
    }

    pub fn handle_command(&mut self, command: Command, now: Instant) {
        let core = &mut self.core;
        match command {
            Command::Register => self.registration.register(core, now),
            Command::Unregister => self.registration.unregister(core, now),
            Command::Invite { session, to, sdp, headers } => {
                self.invite(session, &to, sdp, &headers, now);
            }
            Command::Progress { session, code, sdp } => {
                self.with(session, |session, core| session.progress(core, code, sdp, now));
            }
            Command::Accept { session, sdp } => {
                self.with(session, |session, core| session.accept(core, &sdp, now));
            }
            Command::End { session, code, text } => {
                self.with(session, |session, core| session.end(core, code, &text, now));
            }
            Command::Reinvite { session, sdp } => {
                self.with(session, |session, core| session.offer(core, sdp, now));
            }
            Command::AcceptReinvite { session, sdp } => {
                self.with(session, |session, core| session.accept_offer(core, &sdp, now));
            }
            Command::RejectReinvite { session, code } => {
                self.with(session, |session, core| session.reject_offer(core, code));
            }
            Command::AnswerInAck { session, sdp } => {
                self.with(session, |session, core| session.send_due_ack(core, Some(&sdp), now));
            }
            Command::Info { session, content_type, body } => {
                self.with(session, |session, core| session.info(core, &content_type, body));
            }
            Command::Notify { session, event } => {
                self.with(session, |session, core| session.notify(core, event));
            }
            Command::Refer { session, to, replaces } => {
                refer::send(core, &mut self.sessions, session, &to, replaces);
            }
            Command::AcceptRefer { refer } => refer::accept(core, &mut self.sessions, refer, now),
            Command::RejectRefer { refer, code } => refer::reject(core, refer, code),
            Command::ReferProgress { refer, code, text } => {
                refer::progress(core, &mut self.sessions, refer, code, &text, now);
            }
        }
        self.tidy(now);
    }

    /// The Replaces header (RFC 3891) of an INVITE to this session's peer that is to take its place;
    /// `None` unless the session is up.
    pub fn replaces(&self, session: SessionId) -> Option<String> {
        Some(self.sessions.get(&session)?.as_replaced()?.to_string())
    }

    /// The Call-ID of a session, from its first message on.
    pub fn call_id(&self, session: SessionId) -> Option<&str> {
        self.sessions.get(&session)?.call_id()
    }

    fn with(&mut self, id: SessionId, act: impl FnOnce(&mut Session, &mut Core)) {
        if let Some(session) = self.sessions.get_mut(&id) {
            act(session, &mut self.core);
        }
    }

    fn invite(
        &mut self,
        id: SessionId,
        to: &str,
        sdp: Option<String>,
        headers: &[super::types::HeaderPair],
        now: Instant,
    ) {
        if self.sessions.contains_key(&id) || id.0 & SessionId::INCOMING != 0 {
            // The caller numbers sessions; the session that has the number keeps it.
            tracing::warn!(session = id.0, "INVITE for a session number that is taken");
            return;
        }
        if self.live_sessions() >= Self::MAX_SESSIONS {
            let end = super::types::End {
                by: super::types::EndedBy::Us,
                code: 486,
                text: "too many sessions of this user agent".to_owned(),
                reason_header: None,
            };
            self.core.events.push_back(Event::Ended { session: id, end });
            return;
        }
        if let Some(session) = uac::invite(&mut self.core, id, to, sdp, headers, now) {
            self.sessions.insert(id, Box::new(session));
        }
    }

    pub fn handle_incoming(&mut self, incoming: Incoming, now: Instant) {
        match incoming {
            Incoming::Request { tx, request, from } => self.handle_request(tx, request, from, now),
            Incoming::Response { tx, response, from } => {
                self.handle_response(tx, &response, from, now);
            }
            Incoming::Failed { tx, why } => self.handle_failed(tx, why, now),
        }
        self.tidy(now);
    }

    fn handle_request(&mut self, tx: ServerTx, request: Request, from: Hop, now: Instant) {
        let core = &mut self.core;
        match request.method {
            Method::Ack => {
                let session = self.sessions.values_mut().find(|session| session.holds(&request));
                if let Some(session) = session {
                    session.handle_ack(core, &request, now);
                }
                return;
            }
            Method::Cancel => {
                for session in self.sessions.values_mut() {
                    if session.handle_cancel(core, tx, &request, now) {
                        return;
                    }
                }
                return self.refuse(tx, &request, 481);
            }
            _ => {}
        }
        let whole = message::call_id(&request).is_some()
            && message::get(&request, "From").is_some()
            && message::get(&request, "To").is_some()
            && message::cseq(&request).is_some_and(|(_, method)| {
                method.eq_ignore_ascii_case(&request.method.to_string())
            });
        if !whole {
            return self.refuse(tx, &request, 400);
        }
        if message::tag_of(&request, "To").is_some() {
            match self.sessions.values_mut().find(|session| session.holds(&request)) {
                Some(session) => session.handle_request(core, tx, request, from, now),
                None => self.refuse(tx, &request, 481),
            }
            return;
        }
        if unsupported(core, &request).is_some() {
            let tag = core.token();
            return refuse_extensions(core, tx, &request, &tag);
        }
        match request.method {
            Method::Invite => self.handle_invite(tx, request, from),
            Method::Options => self.refuse(tx, &request, 200),
            Method::Refer => refer::take_outside(core, tx, request, from, now),
            // These live in dialogs, and this one is in none.
            Method::Bye | Method::Notify | Method::Info | Method::Update | Method::PRack => {
                self.refuse(tx, &request, 481);
            }
            // No event of ours can be subscribed to (RFC 6665 4.2.1.3): Allow-Events says what may come unasked.
            Method::Subscribe => self.refuse(tx, &request, 489),
            _ => self.refuse(tx, &request, 405),
        }
    }

    fn handle_invite(&mut self, tx: ServerTx, request: Request, from: Hop) {
        if self.sessions.values().any(|session| session.is_merged(&request)) {
            return self.refuse(tx, &request, 482);
        }
        let replaces = match replaces::replaced(&request, &self.sessions) {
            Ok(replaces) => replaces,
            Err(code) => return self.refuse(tx, &request, code),
        };
        // What takes another's place needs one more for a moment.
        let room = Self::MAX_SESSIONS + usize::from(replaces.is_some());
        if self.live_sessions() >= room {
            return self.refuse(tx, &request, 486);
        }
        let id = SessionId(SessionId::INCOMING | self.next_incoming);
        self.next_incoming += 1;
        if let Some(session) = uas::invited(&mut self.core, id, tx, request, from, replaces) {
            self.sessions.insert(id, Box::new(session));
        }
    }

    /// An answer outside of any session.
    fn refuse(&mut self, tx: ServerTx, request: &Request, code: u16) {
        let tag = self.core.token();
        let response = self.core.response(request, code, &tag);
        self.core.transmits.push_back(Transmit::Response { tx, response });
    }

    fn handle_response(&mut self, tx: ClientTx, response: &Response, from: Hop, now: Instant) {
        let code = response.status_code.code();
        if code < 200 {
            let purpose = self.core.pending.get(&tx).map(|pending| pending.purpose);
            if let Some(Purpose::Invite(id)) = purpose {
                self.with(id, |session, core| session.handle_provisional(core, response, from));
            }
            return;
        }
        let Some(pending) = self.finish(tx, code, now) else { return };
        if let Purpose::ReferNotify(id) = pending.purpose {
            refer::answered(&mut self.core, &mut self.sessions, id, pending, response, now);
            return;
        }
        if matches!(pending.purpose, Purpose::Invite(_)) && !matches!(code, 408 | 503) {
            self.core.tell_news(pending.to, News::Answered);
        }
        let Some(id) = pending.purpose.session() else {
            self.registration.handle_response(&mut self.core, pending, response, now);
            return;
        };
        self.with(id, |session, core| match pending.purpose {
            Purpose::Invite(_) => session.handle_final(core, pending, response, from, now),
            Purpose::Reinvite(_) | Purpose::Update(_) => {
                session.handle_offer_response(core, tx, pending, response, now);
            }
            Purpose::Refer(_) => session.handle_refer_response(core, tx, pending, response, now),
            _ => session.handle_other_response(core, pending, response, now),
        });
    }

    /// Takes a request that has its final answer off the list; an INVITE stays for repeated 2xx.
    fn finish(&mut self, tx: ClientTx, code: u16, now: Instant) -> Option<Pending> {
        let pending = self.core.pending.get_mut(&tx)?;
        let invite = matches!(pending.purpose, Purpose::Invite(_) | Purpose::Reinvite(_));
        if invite && code < 300 {
            pending.done.get_or_insert(now + T1X64);
            let copy = Pending {
                purpose: pending.purpose,
                request: pending.request.clone(),
                to: pending.to,
                auth: pending.auth.clone(),
                done: pending.done,
            };
            return Some(copy);
        }
        self.core.pending.remove(&tx).map(|pending| *pending)
    }

    fn handle_failed(&mut self, tx: ClientTx, why: TxFailure, now: Instant) {
        let Some(pending) = self.core.pending.remove(&tx).map(|pending| *pending) else { return };
        if let Purpose::ReferNotify(id) = pending.purpose {
            return refer::failed(&mut self.core, id);
        }
        let Some(id) = pending.purpose.session() else {
            self.registration.handle_failure(&mut self.core, pending, why, now);
            return;
        };
        if pending.done.is_some() {
            return;
        }
        if matches!(pending.purpose, Purpose::Invite(_)) {
            self.core.tell_news(pending.to, News::of(why));
        }
        self.with(id, |session, core| match pending.purpose {
            Purpose::Invite(_) => session.handle_invite_failure(core, pending, why, now),
            Purpose::Reinvite(_) | Purpose::Update(_) => {
                session.handle_offer_failure(core, tx, why, now);
            }
            Purpose::Refer(_) => session.handle_refer_failure(core, tx, why),
            _ => session.handle_other_failure(core, pending, why),
        });
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.registration.handle_timeout(&mut self.core, now);
        for session in self.sessions.values_mut() {
            session.handle_timeout(&mut self.core, now);
        }
        self.tidy(now);
    }

    /// Lets go of what has lingered long enough.
    fn tidy(&mut self, now: Instant) {
        let core = &mut self.core;
        refer::check(core, &mut self.sessions, now);
        self.sessions.retain(|id, session| {
            let stays = session.reap_at.is_none_or(|at| at > now);
            if !stays {
                core.taken.keep_dialog(*id, session);
                core.forget_session(*id);
            }
            stays
        });
        while self.sessions.values().filter(|session| session.reap_at.is_some()).count()
            > Self::MAX_LINGERING
        {
            let oldest = self
                .sessions
                .iter()
                .filter_map(|(id, session)| Some((session.reap_at?, *id)))
                .min()
                .map(|(_, id)| id);
            let Some(id) = oldest else { break };
            if let Some(mut session) = self.sessions.remove(&id) {
                core.taken.keep_dialog(id, &mut session);
            }
            core.forget_session(id);
        }
        core.forget_old(now);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let sessions = self.sessions.values().filter_map(|session| session.timeout());
        sessions.chain(self.registration.timeout()).chain(self.core.taken.timeout()).min()
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        next_of(&mut self.core.transmits)
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        next_of(&mut self.core.events)
    }
}

/// The first of a queue, which keeps no room when it is empty: most user agents are idle.
fn next_of<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    first
}

impl std::fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let calling = self.sessions.values().filter(|s| s.is_calling_or_ringing()).count();
        let up = self.sessions.values().filter(|s| matches!(s.phase, Phase::Up)).count();
        f.debug_struct("UserAgent")
            .field("user", &self.core.config.user)
            .field("calling_or_ringing", &calling)
            .field("up", &up)
            .finish_non_exhaustive()
    }
}
