//! One signed-in agent: its user agent, its calls, its session.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use crate::agent::{Dialect, EndReason, PostError, Session, SignInError};
use crate::call::{CallDirection, CallEnd};
use crate::due::sleep_until;
use crate::journal::{About, What};
use crate::media::MediaEvent;
use crate::panics::{caught, spared};
use crate::sip::{Claim, Command, Driven, Event, UaConfig};
use crate::wire::jsapi::knows_and_dials;
use crate::wire::{Envelope, ToBrowser};

use super::calls::ActiveLine;
use super::taps::Said;
use super::{AGENT_QUEUE, Registration, Request, SIGN_OUT_LIMIT, Shared};

/// Waits for the outcome of the first REGISTER.
type Outcome = oneshot::Sender<Result<(), SignInError>>;

pub(super) struct AgentTask {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
    /// Where it was signed in from.
    remote: IpAddr,
    pub(super) sender: mpsc::Sender<Request>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) sip: Driven,
    /// While there is a call. Boxed: most agents are in none.
    pub(super) line: Option<Box<ActiveLine>>,
    pub(super) next_session: u64,
    pub(super) outcome: Option<Outcome>,
    pub(super) registers: bool,
    pub(super) registered: bool,
    /// The sign-in has succeeded: the session is in the tables.
    pub(super) signed_in: bool,
    pub(super) signed_out: Option<oneshot::Sender<()>>,
    /// The browser's last OFFER: its numbers and a hash of its SDP.
    pub(super) last_offer: Option<(u64, u64, u64)>,
    /// When what is being handled came in.
    pub(super) asked: Instant,
    #[cfg(test)]
    stumbles_again: bool,
}

impl AgentTask {
    pub fn new(
        shared: Arc<Shared>,
        session: Arc<Session>,
        remote: IpAddr,
        config: UaConfig,
        outcome: Outcome,
    ) -> Self {
        let registers = config.registers;
        let (sender, requests) = mpsc::channel(AGENT_QUEUE);
        let link = shared.link.clone();
        let sip = Driven::linked(&shared.endpoint, Claim::Nothing, config, link);
        Self {
            shared,
            session,
            remote,
            sender,
            requests,
            sip,
            line: None,
            next_session: 1,
            outcome: Some(outcome),
            registers,
            registered: false,
            signed_in: false,
            signed_out: None,
            last_offer: None,
            asked: Instant::now(),
            #[cfg(test)]
            stumbles_again: false,
        }
    }

    /// By reference, as are its parts: a future keeps room for each place that a task is moved to, and
    /// there are as many of these as agents. Whatever happens in it, nothing of the session stays behind.
    pub async fn run(&mut self) {
        if caught(pin!(self.work())).await.is_err() {
            self.session.end(EndReason::Stumbled);
        }
        if caught(pin!(self.finish())).await.is_err() {
            self.session.end(EndReason::Stumbled);
            self.abandon();
        }
    }

    async fn work(&mut self) {
        if self.registers {
            self.sip.command(Command::Register);
        } else {
            self.enter();
        }
        let ended = self.session.ended().clone();
        let shared = Arc::clone(&self.shared);
        while self.signed_out.is_none() {
            let deadline = self.line.as_ref().map(|line| {
                let sound = line.cadence.due();
                line.line.poll_timeout().map_or(sound, |at| at.min(sound))
            });
            tokio::select! {
                () = ended.cancelled() => break,
                // A sign-in under way is in no table yet, so that nobody else would end it.
                () = shared.shutdown.cancelled() => self.session.end(EndReason::Shutdown),
                // Nobody could call this agent here, and elsewhere somebody can.
                () = shared.drain.begun(), if self.line.is_none() => {
                    self.session.end(EndReason::Shutdown);
                }
                Some(request) = self.requests.recv() => self.handle_request(request),
                event = self.sip.next_event() => {
                    if self.handle_sip(event).is_break() {
                        break;
                    }
                }
                event = media_event(&mut self.line) => self.handle_media(event),
                () = sleep_until(deadline) => self.handle_timeout(),
            }
        }
    }

    fn handle_request(&mut self, request: Request) {
        match request {
            Request::Message { message, posted, reply } => {
                let (to, message) = *message;
                self.asked = posted;
                let result = self.handle_message(to, message);
                let _ = reply.send(result);
            }
            Request::Command { command, reply } => {
                self.asked = Instant::now();
                let _ = reply.send(self.handle_command(command));
            }
            Request::State { reply } => {
                let _ = reply.send(self.line_state());
            }
            Request::HangUp { call, reply } => {
                let _ = reply.send(self.hang_up(&call));
            }
            #[cfg(test)]
            Request::Stumble { again } => {
                self.stumbles_again = again;
                panic!("as the test has told it to");
            }
            Request::SignOut { done } => {
                self.session.end(EndReason::SignedOut);
                self.signed_out = Some(done);
            }
        }
    }

    fn handle_sip(&mut self, event: Event) -> std::ops::ControlFlow<()> {
        let now = Instant::now();
        self.asked = now;
        match event {
            Event::Registered { .. } => self.now_registered(),
            Event::RegistrationFailed { code, text, will_retry } => {
                return self.registration_failed(code, text, will_retry);
            }
            Event::Unregistered => {}
            Event::Invited { session, invite } => self.call_in(session, *invite, now),
            Event::Referred { refer, session, referred } => {
                self.referred(refer, session, &referred, now);
            }
            event => {
                if let Some(line) = &mut self.line {
                    if let Event::Identified { session, party } = &event
                        && let Some(call) = line.identified(*session, party)
                    {
                        let (number, name) = (call.peer.clone(), call.peer_name.clone());
                        let about = About::call(self.session.identity().user(), &call.id);
                        self.shared.journal.note(about, What::Peer { number, name });
                    }
                    if let Event::Rerouted { session, server } = &event
                        && let Some(call) = line.info(*session)
                    {
                        let user = self.session.identity().user();
                        info!(call = %call.id, user, %server, "the call goes by the next SIP server");
                        let (about, server) = (About::call(user, &call.id), server.to_string());
                        self.shared.journal.note(about, What::Rerouted { server });
                    }
                    line.line.handle_sip(event, now);
                    self.drain();
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
            let server = self.sip.ua().registration().server.to_string();
            self.note(What::Registered { server });
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
        self.note(What::SignedIn { dialect: self.session.dialect(), remote: self.remote });
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
        self.note(What::RegistrationFailed { code, text: text.clone(), will_retry });
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

    pub(super) fn post(&self, envelope: Envelope) {
        // What the dialect has no word for is not said, and nobody can fetch it.
        let said = self.session.dialect() != Dialect::Jsapi || knows_and_dials(&envelope.message);
        if !envelope.call.is_empty()
            && said
            && let Some(Said { kind, body }) = Said::to_browser(&envelope.message)
        {
            let about = About::call(self.user(), &envelope.call);
            let what = What::Http { inbound: false, kind, waited: None, body, fault: None };
            self.shared.journal.note(about, what);
        }
        match self.session.post(envelope) {
            Ok(()) => {}
            // The good-byes of a session that is over: its client was told by the end itself.
            Err(PostError::Ended) => debug!(user = self.user(), "a message after the end"),
            Err(PostError::Crowded) => debug!(user = self.user(), "a passing message was dropped"),
            Err(error @ PostError::MailboxFull) => {
                warn!(user = self.user(), %error, "a message for the browser was dropped");
            }
        }
    }

    /// Into the journal, about no call.
    pub(super) fn note(&self, what: What) {
        self.shared.journal.note(About::user(self.user()), what);
    }

    pub(super) fn user(&self) -> &str {
        self.session.identity().user()
    }

    /// The session is over: calls are released, and the DN is unregistered unless another session of
    /// it took over or the gateway is only restarted.
    async fn finish(&mut self) {
        let why = self.session.end_reason().unwrap_or(EndReason::RegistrationLost);
        #[cfg(test)]
        assert!(!self.stumbles_again, "as the test has told it to");
        if let Some(line) = &mut self.line {
            line.line.release(480, why.sentence());
            self.drain();
        }
        self.leave_tables();
        info!(user = self.user(), why = why.sentence(), "session ended");
        let was_signed_in = std::mem::take(&mut self.signed_in);
        if was_signed_in {
            self.note(What::SessionEnded { why });
        }
        // Whether the last refresh went well or not: the server may hold the binding.
        let unregister = was_signed_in
            && self.registers
            && matches!(
                why,
                EndReason::SignedOut
                    | EndReason::Dismissed
                    | EndReason::LeaseExpired
                    | EndReason::MailboxFull
                    | EndReason::Stumbled
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
    /// From now on it is nobody's. Again it does nothing.
    fn leave_tables(&mut self) {
        let shared = &self.shared;
        shared.agents.remove(self.session.ssid().expose());
        shared.registrations.remove(self.session.ssid().expose());
        shared.sessions.remove(&self.session);
        if std::mem::take(&mut self.registered) {
            shared.registered.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The session is over, and to end it properly was too much. Each step may be the one that panics: the
    /// others are taken all the same.
    fn abandon(&mut self) {
        let _ = spared(|| self.leave_tables());
        if let Some(outcome) = self.outcome.take() {
            let _ = outcome.send(Err(SignInError::Busy("it stumbled over this one")));
        }
        let (why, now) = (EndReason::Stumbled.sentence(), Instant::now());
        let line = self.line.take();
        for call in line.as_ref().map_or(&[][..], |line| &line.calls) {
            self.shared.active_calls.fetch_sub(1, Ordering::Relaxed);
            let _ = spared(|| self.shared.live.remove(&call.id));
            let text = why.to_owned();
            let command = Command::End { session: call.session, code: 500, text };
            let _ = spared(|| self.sip.command(command));
            let _ = spared(|| {
                let direction = match call.incoming {
                    true => CallDirection::Incoming,
                    false => CallDirection::Outgoing,
                };
                let end = CallEnd { direction, ..CallEnd::refused(500, why) };
                let stats = line.as_ref().map(|line| line.bridge.stats()).unwrap_or_default();
                let record = call.record(&self.session, &end, &stats, now);
                self.note_about(&call.id, What::CallEnded(Box::new(record)));
            });
        }
        let _ = spared(|| drop(line));
        if self.signed_in {
            let _ = spared(|| self.note(What::SessionEnded { why: EndReason::Stumbled }));
        }
        warn!(user = self.user(), why, "session abandoned");
    }
}

/// A message that is about no call.
pub(super) fn notice(message: ToBrowser) -> Envelope {
    Envelope {
        peer: String::new(),
        peer_name: None,
        call: String::new(),
        call_uuid: None,
        diverted_from: None,
        private: false,
        message,
    }
}

/// Pending without a call.
async fn media_event(line: &mut Option<Box<ActiveLine>>) -> MediaEvent {
    if let Some(line) = line
        && let Some((_, event)) = line.media.recv().await
    {
        return event;
    }
    std::future::pending().await
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
