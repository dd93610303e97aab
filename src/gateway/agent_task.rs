//! One signed-in agent: its user agent, its calls, its session.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use crate::agent::{Dialect, EndReason, MessageError, PostError, Session, SignInError};
use crate::call::{Call, FirstOffer, InviteOffer, MediaLocal, Output};
use crate::media::{MediaEvent, MediaId};
use crate::sip::{Claim, Command, Driven, Event, Invited, SessionId, UaConfig};
use crate::wire::{Envelope, FromBrowser, RoapError, RoapIds, ToBrowser};

use super::calls::{ActiveCall, new_call_id, new_seed};
use super::{AGENT_QUEUE, Registration, Request, SIGN_OUT_LIMIT, Shared};

/// Waits for the outcome of the first REGISTER.
type Outcome = oneshot::Sender<Result<(), SignInError>>;

pub(super) struct AgentTask {
    shared: Arc<Shared>,
    session: Arc<Session>,
    sender: mpsc::Sender<Request>,
    requests: mpsc::Receiver<Request>,
    sip: Driven,
    calls: Vec<ActiveCall>,
    next_session: u64,
    media_tx: mpsc::UnboundedSender<(MediaId, MediaEvent)>,
    media_rx: mpsc::UnboundedReceiver<(MediaId, MediaEvent)>,
    outcome: Option<Outcome>,
    registers: bool,
    registered: bool,
    /// The sign-in has succeeded: the session is in the tables.
    signed_in: bool,
    signed_out: Option<oneshot::Sender<()>>,
    /// The browser's last OFFER: its numbers and a hash of its SDP.
    last_offer: Option<(u64, u64, u64)>,
}

impl AgentTask {
    pub fn new(
        shared: Arc<Shared>,
        session: Arc<Session>,
        config: UaConfig,
        outcome: Outcome,
    ) -> Self {
        let registers = config.registers;
        let (sender, requests) = mpsc::channel(AGENT_QUEUE);
        let link = shared.link.clone();
        let sip = Driven::linked(&shared.endpoint, Claim::Nothing, config, link);
        let (media_tx, media_rx) = mpsc::unbounded_channel();
        Self {
            shared,
            session,
            sender,
            requests,
            sip,
            calls: Vec::new(),
            next_session: 1,
            media_tx,
            media_rx,
            outcome: Some(outcome),
            registers,
            registered: false,
            signed_in: false,
            signed_out: None,
            last_offer: None,
        }
    }

    pub async fn run(mut self) {
        if self.registers {
            self.sip.command(Command::Register);
        } else {
            self.enter();
        }
        let ended = self.session.ended().clone();
        let shutdown = self.shared.shutdown.clone();
        while self.signed_out.is_none() {
            let deadline = self.calls.iter().filter_map(|c| c.call.poll_timeout()).min();
            tokio::select! {
                () = ended.cancelled() => break,
                // A sign-in under way is in no table yet, so that nobody else would end it.
                () = shutdown.cancelled() => self.session.end(EndReason::Shutdown),
                Some(request) = self.requests.recv() => self.handle_request(request),
                event = self.sip.next_event() => {
                    if self.handle_sip(event).is_break() {
                        break;
                    }
                }
                Some((id, event)) = self.media_rx.recv() => self.handle_media(id, event),
                () = sleep_until(deadline) => self.handle_timeout(),
            }
        }
        self.finish().await;
    }

    fn handle_request(&mut self, request: Request) {
        match request {
            Request::Message { to, message, reply } => {
                let result = self.handle_message(to, message);
                let _ = reply.send(result);
            }
            Request::SignOut { done } => {
                self.session.end(EndReason::SignedOut);
                self.signed_out = Some(done);
            }
        }
    }

    fn handle_message(
        &mut self,
        to: Option<String>,
        message: FromBrowser,
    ) -> Result<(), MessageError> {
        let jsapi = self.session.dialect() == Dialect::Jsapi;
        let now = Instant::now();
        let current = self.current(to.as_deref());
        match message {
            FromBrowser::GetStats => {
                if let Some(index) = current {
                    let call = &self.calls[index];
                    let stats = ToBrowser::Stats(call.statistics(now));
                    self.post(call.envelope(stats));
                }
                Ok(())
            }
            FromBrowser::Offer { ids, sdp, .. } if self.begins_a_call(current) => {
                if self.is_repeated(ids, &sdp) {
                    // Its POST was retried, and the call it was about is over by now.
                    return Ok(());
                }
                if let Some(index) = current {
                    // The agent dials while the telephone rings: the ringing call finds it busy. The
                    // client has one session only, and a BYE now would end the one it begins.
                    self.calls[index].call.decline(486, "the agent is calling out", now);
                    self.drain(index);
                }
                self.jsapi_fault(ids, |task| task.call_out(to, ids, sdp, now))
            }
            FromBrowser::Offer { .. } if !jsapi => {
                Err(MessageError::WrongState("there is a call already".into()))
            }
            FromBrowser::Offer { ids, .. } if self.is_for_somebody_else(to.as_deref(), ids) => self
                .jsapi_fault(ids, |_| {
                    Err(MessageError::WrongState("there is a call already".into()))
                }),
            // A good-bye for a call that is over must not end the one that came after it.
            FromBrowser::Bye if jsapi && self.is_for_somebody_else(to.as_deref(), None) => Ok(()),
            message => {
                let ids = ids_of(&message);
                let Some(index) = current else {
                    return self.without_call(message, jsapi);
                };
                if let FromBrowser::Offer { ids, sdp, .. } = &message {
                    self.is_repeated(*ids, sdp);
                }
                self.jsapi_fault(ids, |task| {
                    let result = task.calls[index].call.handle_browser(message, now);
                    task.drain(index);
                    result
                })
            }
        }
    }

    /// Is this OFFER the last one once more? By its text too: a page that was loaded anew may choose the
    /// same numbers. The last one is remembered beyond its call.
    fn is_repeated(&mut self, ids: Option<RoapIds>, sdp: &str) -> bool {
        let Some(ids) = ids else { return false };
        let mut text = DefaultHasher::new();
        sdp.hash(&mut text);
        let this = Some((ids.offerer, ids.seq, text.finish()));
        std::mem::replace(&mut self.last_offer, this) == this
    }

    /// Does an OFFER start a call? With none there, or with one that merely rings with an offer of its
    /// own, which the client has ignored for the one it made itself.
    fn begins_a_call(&self, current: Option<usize>) -> bool {
        let Some(call) = current.and_then(|index| self.calls.get(index)) else { return true };
        self.session.dialect() == Dialect::Jsapi && call.call.rings_with_offer()
    }

    /// An OFFER to a number that no call is with, under numbers that no call has: a second call. (A
    /// renewed peer connection comes with new numbers too, but to the peer there is.)
    fn is_for_somebody_else(&self, to: Option<&str>, ids: Option<RoapIds>) -> bool {
        let Some(to) = to.filter(|to| *to != "0") else { return false };
        // The client knows the peer by the `Pragma` header, in which only visible ASCII stands.
        let is_peer = |peer: &str| peer.chars().filter(|c| matches!(c, '!'..='~')).eq(to.chars());
        !self.calls.iter().any(|call| {
            call.peer == to || is_peer(&call.peer) || ids.is_some_and(|ids| call.call.knows(ids))
        })
    }

    fn without_call(&self, message: FromBrowser, jsapi: bool) -> Result<(), MessageError> {
        if !jsapi {
            return Err(MessageError::WrongState("there is no call".into()));
        }
        // The JSAPI sends BYE for sessions that never were; a refusal would make it send again.
        if let FromBrowser::Answer { ids, .. } = message {
            self.post_fault(ids, RoapError::NoMatch, "an ANSWER, but no call is there");
        }
        Ok(())
    }

    /// In the JSAPI dialect a refused POST comes again every 3 s, so a fault is told as an ERROR.
    fn jsapi_fault(
        &mut self,
        ids: Option<RoapIds>,
        action: impl FnOnce(&mut Self) -> Result<(), MessageError>,
    ) -> Result<(), MessageError> {
        let result = action(self);
        if self.session.dialect() != Dialect::Jsapi {
            return result;
        }
        if let Err(error) = result {
            debug!(user = self.user(), %error, "a message could not be used");
            let kind = match error {
                MessageError::WrongState(_) => RoapError::Conflict,
                MessageError::Unavailable(_) => RoapError::Refused,
                _ => RoapError::Failed,
            };
            self.post_fault(ids, kind, &error.to_string());
        }
        Ok(())
    }

    fn post_fault(&self, ids: Option<RoapIds>, error: RoapError, detail: &str) {
        self.post(notice(ToBrowser::Error { ids, error, detail: detail.to_owned() }));
    }

    fn call_out(
        &mut self,
        to: Option<String>,
        ids: Option<RoapIds>,
        sdp: String,
        now: Instant,
    ) -> Result<(), MessageError> {
        if to.is_none() && self.session.dialect() == Dialect::Rest {
            let text = "nothing is ringing; an offer of your own names whom to call in `to`";
            return Err(MessageError::WrongState(text.into()));
        }
        let to = callable(to.as_deref(), &self.session)?;
        if self.calls.len() >= self.shared.config.agents.max_calls {
            return Err(MessageError::WrongState("there is a call already".into()));
        }
        if self.registers && !self.registered {
            return Err(MessageError::Unavailable("the SIP server is not reachable now".into()));
        }
        if let Some(why) = self.sip.server_down() {
            return Err(MessageError::Unavailable(format!("the SIP server is unreachable: {why}")));
        }
        let config = self.shared.call_config.clone();
        let offer = FirstOffer::parse(ids, sdp, &config)?;
        let bridge = self.open_media().map_err(MessageError::Unavailable)?;
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let local = MediaLocal { browser: bridge.browser_local(), rtp: bridge.rtp_local() };
        let call = Call::outgoing(config, session, &to, offer, local, new_seed(), now);
        self.add(ActiveCall {
            id: new_call_id(),
            call,
            bridge,
            peer: to,
            peer_name: None,
            call_uuid: None,
            started: now,
        });
        Ok(())
    }

    fn call_in(&mut self, session: SessionId, invited: Invited, now: Instant) {
        let refuse = |task: &mut Self, code: u16, text: &str| {
            info!(user = task.user(), peer = %invited.from, code, text, "call refused");
            task.sip.command(Command::End { session, code, text: text.to_owned() });
        };
        if !self.session.is_present(now) {
            return refuse(self, 480, "the agent's browser is not there");
        }
        if self.calls.len() >= self.shared.config.agents.max_calls {
            return refuse(self, 486, "Busy Here");
        }
        let config = self.shared.call_config.clone();
        let offer = match InviteOffer::parse(&invited, &config) {
            Ok(offer) => offer,
            Err(error) => return refuse(self, 488, &error.to_string()),
        };
        let bridge = match self.open_media() {
            Ok(bridge) => bridge,
            Err(text) => return refuse(self, 503, &text),
        };
        let local = MediaLocal { browser: bridge.browser_local(), rtp: bridge.rtp_local() };
        let dialect = self.session.dialect();
        let call = Call::incoming(config, dialect, session, offer, local, new_seed(), now);
        self.add(ActiveCall {
            id: new_call_id(),
            call,
            bridge,
            peer: invited.from,
            peer_name: invited.display_name,
            call_uuid: invited.call_uuid,
            started: now,
        });
    }

    fn open_media(&self) -> Result<crate::media::Bridge, String> {
        self.shared.engine.open(self.media_tx.clone()).map_err(|error| {
            warn!(user = self.user(), %error, "no media for a call");
            error.to_string()
        })
    }

    fn add(&mut self, call: ActiveCall) {
        info!(
            call = %call.id,
            user = self.user(),
            peer = %call.peer,
            direction = ?call.call.direction(),
            "call started"
        );
        self.shared.active_calls.fetch_add(1, Ordering::Relaxed);
        self.calls.push(call);
        self.drain(self.calls.len() - 1);
    }

    /// The call that a message to `to` is about: that peer's, or the only one there is.
    fn current(&self, to: Option<&str>) -> Option<usize> {
        let named = self.calls.iter().position(|call| Some(call.peer.as_str()) == to);
        named.or_else(|| self.calls.len().checked_sub(1))
    }

    fn handle_sip(&mut self, event: Event) -> std::ops::ControlFlow<()> {
        let now = Instant::now();
        match event {
            Event::Registered { .. } => self.now_registered(),
            Event::RegistrationFailed { code, text, will_retry } => {
                return self.registration_failed(code, text, will_retry);
            }
            Event::Unregistered => {}
            Event::Invited { session, invite } => self.call_in(session, *invite, now),
            event => {
                let Some(session) = event.session() else {
                    return std::ops::ControlFlow::Continue(());
                };
                if let Some(index) = self.calls.iter().position(|c| c.call.session() == session) {
                    self.calls[index].call.handle_sip(event, now);
                    self.drain(index);
                }
            }
        }
        std::ops::ControlFlow::Continue(())
    }

    /// For those who ask how the DN is registered.
    fn note_registration(&self) {
        let dn = self.user().to_owned();
        let registration = Registration { dn, status: self.sip.ua().registration() };
        let ssid = self.session.ssid().expose().to_owned();
        self.shared.registrations.insert(ssid, registration);
    }

    fn now_registered(&mut self) {
        self.note_registration();
        if !self.registered {
            self.registered = true;
            self.shared.registered.fetch_add(1, Ordering::Relaxed);
            info!(user = self.user(), "registered");
        }
        self.enter();
    }

    /// The sign-in has succeeded: from here on the DN is this session's. One that had it before ends,
    /// and hears no more calls.
    fn enter(&mut self) {
        let Some(outcome) = self.outcome.take() else { return };
        let replaced = {
            let _entering = self.shared.entering.lock().unwrap_or_else(PoisonError::into_inner);
            if self.session.ended().is_cancelled() {
                // Given up meanwhile: it must not cost another session its place.
                return;
            }
            // It may be called before the client has had time to ask for anything.
            self.session.touch(Instant::now());
            if self.registers {
                self.sip.claim(&self.shared.endpoint, Claim::User(self.user().to_owned()));
            }
            let ssid = self.session.ssid().expose().to_owned();
            self.shared.agents.insert(ssid, self.sender.clone());
            self.shared.sessions.insert(Arc::clone(&self.session))
        };
        self.signed_in = true;
        for older in replaced {
            // What is in the mailbox is still fetched by a hanging poll; later nothing is taken in.
            let told = older.post(notice(ToBrowser::Replaced));
            older.end(EndReason::Replaced);
            debug!(user = self.user(), ?told, "an older session was replaced");
        }
        let _ = outcome.send(Ok(()));
    }

    fn registration_failed(
        &mut self,
        code: u16,
        text: String,
        will_retry: bool,
    ) -> std::ops::ControlFlow<()> {
        self.note_registration();
        match self.sip.server_down() {
            None => warn!(user = self.user(), code, text, will_retry, "registration failed"),
            // Told once, and not by every DN.
            Some(_) => debug!(user = self.user(), code, text, will_retry, "registration failed"),
        }
        if std::mem::take(&mut self.registered) {
            self.shared.registered.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(outcome) = self.outcome.take() {
            let _ = outcome.send(Err(refusal(code, text)));
            self.session.end(EndReason::RegistrationLost);
            return std::ops::ControlFlow::Break(());
        }
        if !will_retry {
            self.session.end(EndReason::RegistrationLost);
            return std::ops::ControlFlow::Break(());
        }
        std::ops::ControlFlow::Continue(())
    }

    fn handle_media(&mut self, id: MediaId, event: MediaEvent) {
        let Some(call) = self.calls.iter().find(|call| call.bridge.id() == id) else { return };
        match event {
            MediaEvent::DtlsFailed { reason } => {
                warn!(call = %call.id, user = self.user(), ?reason, "DTLS with the browser failed");
            }
            MediaEvent::IceLost => info!(call = %call.id, user = self.user(), "ICE lost"),
            event => debug!(call = %call.id, ?event, "media"),
        }
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        for index in (0..self.calls.len()).rev() {
            self.calls[index].call.handle_timeout(now);
            self.drain(index);
        }
    }

    /// Carries out what a call wants. The last thing it wants is to be taken off the list.
    fn drain(&mut self, index: usize) {
        while let Some(output) = self.calls.get_mut(index).and_then(|c| c.call.poll_output()) {
            let call = &mut self.calls[index];
            match output {
                Output::Browser(message) => {
                    let envelope = call.envelope(message);
                    self.post(envelope);
                }
                Output::Sip(command) => self.sip.command(command),
                Output::Media(command) => {
                    if let Some(local) = call.command_media(command) {
                        call.call.handle_media_local(local);
                    }
                }
                Output::Ended(end) => {
                    let call = self.calls.swap_remove(index);
                    call.record(self.user(), &end, Instant::now());
                    self.shared.active_calls.fetch_sub(1, Ordering::Relaxed);
                    break;
                }
            }
        }
        let waiting = self.calls.iter().find(|call| call.call.awaits_browser_answer());
        self.session.set_awaited_answer(waiting.map(|call| call.peer.clone()));
    }

    fn post(&self, envelope: Envelope) {
        match self.session.post(envelope) {
            Ok(()) => {}
            // The good-byes of a session that is over: its client was told by the end itself.
            Err(PostError::Ended) => debug!(user = self.user(), "a message after the end"),
            Err(error @ PostError::MailboxFull) => {
                warn!(user = self.user(), %error, "a message for the browser was dropped");
            }
        }
    }

    fn user(&self) -> &str {
        self.session.identity().user()
    }

    /// The session is over: calls are released, and the DN is unregistered unless another session of
    /// it took over or the gateway is only restarted.
    async fn finish(mut self) {
        let why = self.session.end_reason().unwrap_or(EndReason::RegistrationLost);
        let now = Instant::now();
        for index in (0..self.calls.len()).rev() {
            self.calls[index].call.release(480, why.sentence(), now);
            self.drain(index);
        }
        self.shared.agents.remove(self.session.ssid().expose());
        self.shared.registrations.remove(self.session.ssid().expose());
        self.shared.sessions.remove(&self.session);
        if self.registered {
            self.shared.registered.fetch_sub(1, Ordering::Relaxed);
        }
        info!(user = self.user(), why = why.sentence(), "session ended");
        // Whether the last refresh went well or not: the server may hold the binding.
        let unregister = self.signed_in
            && self.registers
            && matches!(
                why,
                EndReason::SignedOut | EndReason::LeaseExpired | EndReason::MailboxFull
            );
        // The binding is the DN's, not the session's: where another one has come, it stays.
        let identity = self.session.identity();
        let binding = if unregister { self.shared.bindings.unregister(identity) } else { None };
        if binding.is_some() && self.shared.sessions.by_identity(identity).is_none() {
            self.sip.command(Command::Unregister);
        }
        // BYEs and the REGISTER still want their answers.
        let _ = tokio::time::timeout(SIGN_OUT_LIMIT, self.sip.wind_down()).await;
        drop(binding);
        if let Some(done) = self.signed_out.take() {
            let _ = done.send(());
        }
    }
}

/// A message that is about no call.
fn notice(message: ToBrowser) -> Envelope {
    Envelope { peer: String::new(), peer_name: None, call: String::new(), call_uuid: None, message }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn ids_of(message: &FromBrowser) -> Option<RoapIds> {
    match message {
        FromBrowser::Offer { ids, .. }
        | FromBrowser::Answer { ids, .. }
        | FromBrowser::Error { ids, .. } => *ids,
        FromBrowser::Ok { ids } => Some(*ids),
        _ => None,
    }
}

/// The number to call. The JSAPI writes `null`, `undefined` or its own SSID where it has none.
fn callable(to: Option<&str>, session: &Session) -> Result<String, MessageError> {
    let to = to.map(str::trim).unwrap_or_default();
    let nobody = ["", "0", "null", "undefined"].contains(&to) || to == session.ssid().expose();
    if nobody {
        return Err(MessageError::BadRequest("`to` names nobody to call".into()));
    }
    let usable = |c: char| c.is_ascii_graphic() && !"<>\"\\^`{|}[]".contains(c);
    if to.len() > 256 || !to.chars().all(usable) {
        return Err(MessageError::BadRequest("`to` is neither a number nor a SIP URI".into()));
    }
    Ok(to.to_owned())
}

/// What a refused REGISTER means to the one who signs in.
fn refusal(code: u16, text: String) -> SignInError {
    let reason = format!("{code} {text}");
    match code {
        401 | 407 => SignInError::Refused(reason),
        403 => SignInError::Forbidden(reason),
        404 => SignInError::UnknownDn(reason),
        408 => SignInError::NoAnswer,
        _ => SignInError::Unavailable(reason),
    }
}
