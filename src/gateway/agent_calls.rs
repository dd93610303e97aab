//! What an agent's browser, its calls and their media say to one another: the half of the agent's task
//! that is about calls.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::agent::{Dialect, MessageError, Session};
use crate::call::{CallDirection, CallEnd, FirstOffer, InviteOffer, Line, MediaLocal, Output};
use crate::journal::watch::BrowserPath;
use crate::journal::{About, What};
use crate::media::{Bridge, CallStats, Flow, MediaEvent, MediaId};
use crate::sip::{Command, Invited, ReferId, Referred, SessionId};
use crate::wire::{DataPair, FromBrowser, RoapError, RoapIds, ToBrowser};

use super::agent_task::{AgentTask, notice};
use super::cadence::Cadence;
use super::calls::{ActiveLine, CallInfo, MEDIA_EVENTS, new_seed};
use super::taps::Said;

impl AgentTask {
    /// What the browser says, and into the journal with it.
    pub(super) fn handle_message(
        &mut self,
        to: Option<String>,
        message: FromBrowser,
    ) -> Result<(), MessageError> {
        let Some(Said { kind, body }) = Said::by_browser(&message) else {
            return self.take_message(to, message);
        };
        let at = SystemTime::now();
        let begins = matches!(message, FromBrowser::Call { .. })
            || matches!(message, FromBrowser::Offer { .. }) && self.begins_a_call();
        let named = self.named(to.as_deref()).ok().flatten();
        let before = self.line.as_ref().and_then(|line| {
            named.and_then(|session| line.info(session)).or_else(|| line.current())
        });
        let mut call = before.map(|call| call.id.clone());
        let result = self.take_message(to, message);
        if begins && let Some(new) = self.line.as_ref().and_then(|line| line.calls.last()) {
            call = Some(new.id.clone());
        }
        if let Some(call) = call {
            let fault = result.as_ref().err().map(MessageError::to_string);
            let what = What::Http { inbound: true, kind, waited: None, body, fault };
            self.shared.journal.note_at(at, About::call(self.user(), &call), what);
        }
        result
    }

    fn take_message(
        &mut self,
        to: Option<String>,
        message: FromBrowser,
    ) -> Result<(), MessageError> {
        let jsapi = self.session.dialect() == Dialect::Jsapi;
        let now = Instant::now();
        match message {
            FromBrowser::GetStats => {
                self.post_statistics(now);
                Ok(())
            }
            FromBrowser::Offer { ids, sdp, attached, .. } if self.begins_a_call() => {
                if self.is_repeated(ids, &sdp) {
                    // Its POST was retried, and the call it was about is over by now.
                    return Ok(());
                }
                if let Some(line) = &mut self.line {
                    // The agent dials while the telephone rings: the ringing call finds it busy. The
                    // client has one session only, and a BYE now would end the one it begins.
                    line.line.decline(486, "the agent is calling out");
                    self.drain();
                }
                self.jsapi_fault(ids, |task| task.call_out(to, ids, sdp, &attached, now))
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
                if self.line.is_none() {
                    return self.without_call(message, jsapi);
                }
                if let FromBrowser::Offer { ids, sdp, .. } = &message {
                    self.is_repeated(*ids, sdp);
                }
                // The JSAPI's client has one session, whatever it believes its peer to be.
                let on = if jsapi { None } else { self.named(to.as_deref())? };
                self.jsapi_fault(ids, |task| {
                    let result = match message {
                        FromBrowser::Transfer { to, replaces } => task.transfer(on, &to, replaces),
                        FromBrowser::Call { to } => task.consult(&to, now),
                        message => match &mut task.line {
                            Some(line) => line.line.handle_browser(on, message, now),
                            None => Ok(()),
                        },
                    };
                    task.drain();
                    result
                })
            }
        }
    }

    /// The call that a command of the raw-SDP dialect names by its id or its peer.
    fn named(&self, to: Option<&str>) -> Result<Option<SessionId>, MessageError> {
        let Some(name) = to else { return Ok(None) };
        let session = self.line.as_ref().and_then(|line| line.named(name));
        session.map(Some).ok_or_else(|| {
            MessageError::WrongState(
                "`to` names a number or call that there is no call with".into(),
            )
        })
    }

    fn transfer(
        &mut self,
        on: Option<SessionId>,
        to: &str,
        replaces: Option<String>,
    ) -> Result<(), MessageError> {
        let to = callable(Some(to), &self.session)?;
        let replaces = self.named(replaces.as_deref())?;
        match &mut self.line {
            Some(line) => line.line.transfer(on, &to, replaces),
            None => Ok(()),
        }
    }

    /// A second call on the first one's peer connection.
    fn consult(&mut self, to: &str, now: Instant) -> Result<(), MessageError> {
        let to = callable(Some(to), &self.session)?;
        self.check_room()?;
        let session = self.new_session();
        let Some(line) = &mut self.line else { return Ok(()) };
        line.line.dial(session, &to, now)?;
        self.note_call(CallInfo::outgoing(session, &to, now), "outgoing");
        Ok(())
    }

    pub(super) fn check_room(&self) -> Result<(), MessageError> {
        let calls = self.line.as_ref().map_or(0, |line| line.line.calls());
        if calls >= self.shared.settings.load().config.agents.max_calls {
            return Err(MessageError::WrongState("there is a call already".into()));
        }
        if self.registers && !self.registered {
            return Err(MessageError::Unavailable("the SIP server is not reachable now".into()));
        }
        if let Some(why) = self.sip.server_down() {
            return Err(MessageError::Unavailable(format!("the SIP server is unreachable: {why}")));
        }
        Ok(())
    }

    fn new_session(&mut self) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        session
    }

    fn post_statistics(&mut self, now: Instant) {
        let Some(line) = &mut self.line else { return };
        let Some(session) = line.current().map(|call| call.session) else { return };
        let stats = ToBrowser::Stats(Box::new(line.statistics(session, now)));
        if let Some(envelope) = line.envelope(session, stats) {
            self.post(envelope);
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
    fn begins_a_call(&self) -> bool {
        let Some(line) = &self.line else { return true };
        self.session.dialect() == Dialect::Jsapi && line.line.rings_with_offer()
    }

    /// An OFFER to a number that no call is with, under numbers that no call has: a second call. (A
    /// renewed peer connection comes with new numbers too, but to the peer there is.)
    fn is_for_somebody_else(&self, to: Option<&str>, ids: Option<RoapIds>) -> bool {
        let Some(to) = to.filter(|to| *to != "0") else { return false };
        // The client knows the peer by the `Pragma` header, in which only visible ASCII stands.
        let is_peer = |peer: &String| {
            peer == to || peer.chars().filter(|c| matches!(c, '!'..='~')).eq(to.chars())
        };
        !self.line.as_ref().is_some_and(|line| {
            line.calls.iter().any(|call| is_peer(&call.peer))
                || line.known.iter().any(is_peer)
                || ids.is_some_and(|ids| line.line.knows(ids))
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
        attached: &[DataPair],
        now: Instant,
    ) -> Result<(), MessageError> {
        if to.is_none() && self.session.dialect() == Dialect::Rest {
            let text = "nothing is ringing; an offer of your own names whom to call in `to`";
            return Err(MessageError::WrongState(text.into()));
        }
        let to = callable(to.as_deref(), &self.session)?;
        let config = self.shared.settings.load().call.clone();
        let ready = self.check_room().and_then(|()| {
            let offer = FirstOffer::parse(ids, sdp, attached, &config)?;
            Ok((offer, self.open_media().map_err(MessageError::Unavailable)?))
        });
        let session = self.new_session();
        let (offer, (bridge, media)) = match ready {
            Ok(ready) => ready,
            Err(error) => {
                let mut end = CallEnd::refused(error.sip_code(), &error.to_string());
                end.direction = CallDirection::Outgoing;
                self.note_refused(&CallInfo::outgoing(session, &to, now), &end, now);
                return Err(error);
            }
        };
        let local = media_local(&bridge, offer.has_video(&config));
        let line = Line::outgoing(config, session, &to, offer, local, new_seed(), now);
        self.enter_call(line, bridge, media);
        self.note_call(CallInfo::outgoing(session, &to, now), "outgoing");
        self.drain();
        Ok(())
    }

    pub(super) fn call_in(&mut self, session: SessionId, invited: Invited, now: Instant) {
        let replaces = invited.replaces;
        if replaces.is_none() && !self.session.is_present(now) {
            return self.refuse(session, invited, 480, "the agent's browser is not there");
        }
        let calls = self.line.as_ref().map_or(0, |line| line.line.calls());
        if replaces.is_none() && calls >= self.shared.settings.load().config.agents.max_calls {
            return self.refuse(session, invited, 486, "Busy Here");
        }
        let config = self.shared.settings.load().call.clone();
        let offer = match InviteOffer::parse(&invited, &config) {
            Ok(offer) => offer,
            Err(error) => return self.refuse(session, invited, 488, &error.to_string()),
        };
        match (&mut self.line, replaces) {
            (Some(line), Some(old)) => {
                if !line.line.replaced(old, session, offer, now) {
                    return self.drain();
                }
                line.took_place(old, &invited.call_id);
            }
            (None, Some(_)) => {
                return self.refuse(session, invited, 481, "no such call to replace");
            }
            (Some(line), None) => line.line.invited(session, offer, now),
            (None, None) => {
                let (bridge, media) = match self.open_media() {
                    Ok(opened) => opened,
                    // Not 503, which says that the whole server is out of service (RFC 3261 21.5.4).
                    Err(text) => return self.refuse(session, invited, 480, &text),
                };
                let local = media_local(&bridge, offer.may_have_video(&config));
                let dialect = self.session.dialect();
                let seed = new_seed();
                let line = Line::incoming(config, dialect, session, offer, local, seed, now);
                self.enter_call(line, bridge, media);
            }
        }
        self.note_call(CallInfo::incoming(session, invited, now), "incoming");
        self.drain();
    }

    /// A call that does not come to be one: it has its record all the same.
    fn refuse(&mut self, session: SessionId, invited: Invited, code: u16, text: &str) {
        info!(user = self.user(), peer = %invited.from, code, text, "call refused");
        let now = Instant::now();
        let call = CallInfo::incoming(session, invited, now);
        self.sip.command(Command::End { session, code, text: text.to_owned() });
        self.note_refused(&call, &CallEnd::refused(code, text), now);
    }

    fn note_refused(&self, call: &CallInfo, end: &CallEnd, now: Instant) {
        self.note_started(call, end.direction == CallDirection::Incoming);
        let record = call.record(&self.session, end, &CallStats::default(), now);
        self.note_about(&call.id, What::CallEnded(Box::new(record)));
    }

    /// A REFER that came in. Out of any call of ours it would make the telephone dial by itself, with
    /// nobody who has asked for it.
    pub(super) fn referred(
        &mut self,
        refer: ReferId,
        of: Option<SessionId>,
        referred: &Referred,
        now: Instant,
    ) {
        let new = self.new_session();
        let (Some(of), Some(line)) = (of, &mut self.line) else {
            return self.sip.command(Command::RejectRefer { refer, code: 603 });
        };
        if line.line.referred(of, refer, referred, new, now) {
            let mut call = CallInfo::outgoing(new, user_part(&referred.to), now);
            call.peer_name.clone_from(&referred.display_name);
            call.call_uuid = line.info(of).and_then(|call| call.call_uuid.clone());
            self.note_call(call, "referred");
        }
        self.drain();
    }

    fn open_media(&self) -> Result<(Bridge, mpsc::Receiver<(MediaId, MediaEvent)>), String> {
        let (events, media) = mpsc::channel(MEDIA_EVENTS);
        let opened = self.shared.engine.open(events).map_err(|error| {
            warn!(user = self.user(), %error, "no media for a call");
            error.to_string()
        });
        Ok((opened?, media))
    }

    fn enter_call(
        &mut self,
        line: Line,
        bridge: Bridge,
        media: mpsc::Receiver<(MediaId, MediaEvent)>,
    ) {
        let line = ActiveLine {
            line,
            bridge,
            media,
            calls: Vec::new(),
            known: Vec::new(),
            cadence: Cadence::new(Instant::now()),
            flow: Flow::NONE,
            path: BrowserPath::default(),
        };
        self.line = Some(Box::new(line));
    }

    /// Before the line's outputs are taken: they are about calls that are known here.
    fn note_call(&mut self, mut call: CallInfo, direction: &str) {
        let user = self.session.identity().user();
        info!(call = %call.id, user, peer = %call.peer, direction, "call started");
        self.note_started(&call, direction == "incoming");
        if let Some(line) = &mut self.line {
            call.before = line.bridge.stats();
            line.calls.push(call);
            self.shared.active_calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn note_started(&self, call: &CallInfo, incoming: bool) {
        let (peer, call_uuid) = (call.peer.clone(), call.call_uuid.clone());
        let agent_id = self.session.client_id().map(str::to_owned);
        self.note_about(&call.id, What::CallStarted { agent_id, peer, incoming, call_uuid });
        for call_id in call.sip_call_ids.iter().cloned() {
            self.note_about(&call.id, What::SipLeg { call_id });
        }
    }

    /// Carries it out, and notes what a timeline wants to know of it.
    fn command_sip(&mut self, command: Command) {
        let (accepts, invites) = match &command {
            Command::Accept { session, .. } => (Some(*session), None),
            Command::Invite { session, .. } => (None, Some(*session)),
            _ => (None, None),
        };
        self.sip.command(command);
        if let Some(session) = invites {
            self.note_leg(session);
        }
        if let Some(session) = accepts
            && let Some(call) = self.line.as_ref().and_then(|line| line.info(session))
        {
            self.note_about(&call.id, What::Answered { took: self.asked.elapsed() });
        }
    }

    /// The user agent has chosen a Call-ID for a call out.
    fn note_leg(&mut self, session: SessionId) {
        let (Some(line), Some(call_id)) = (&mut self.line, self.sip.ua().call_id(session)) else {
            return;
        };
        let Some(call) = line.calls.iter_mut().find(|call| call.session == session) else { return };
        call.sip_call_ids.push(call_id.to_owned());
        let about = About::call(self.session.identity().user(), &call.id);
        self.shared.journal.note(about, What::SipLeg { call_id: call_id.to_owned() });
    }

    /// Into the journal, about a call.
    pub(super) fn note_about(&self, call: &str, what: What) {
        self.shared.journal.note(About::call(self.user(), call), what);
    }

    /// How each call stands, where that is news.
    fn note_states(&mut self) {
        let Some(ActiveLine { line, calls, .. }) = self.line.as_deref_mut() else { return };
        let (journal, user) = (&self.shared.journal, self.session.identity().user());
        for call in calls {
            let state = line.state(call.session);
            if state != "ended" && std::mem::replace(&mut call.state, state) != state {
                journal.note(About::call(user, &call.id), What::CallState(state));
            }
            let held = line.holds(call.session);
            let before = std::mem::replace(&mut call.held, held);
            for (by_browser, was, is) in [(true, before.0, held.0), (false, before.1, held.1)] {
                if was != is {
                    call.holds += u32::from(is);
                    let what = What::Hold { by_browser, held: is };
                    journal.note(About::call(user, &call.id), what);
                }
            }
        }
    }

    pub(super) fn handle_media(&mut self, event: MediaEvent) {
        let Some(line) = &mut self.line else { return };
        let user = self.session.identity().user();
        let call = line.current().map(|call| call.id.as_str()).unwrap_or_default();
        if !call.is_empty() {
            let about = About::call(user, call);
            self.shared.journal.note(about, What::Media(without_digit(event.clone())));
        }
        let path = line.path.after(&event);
        if std::mem::replace(&mut line.path, path) != path {
            self.show_calls();
        }
        let Some(line) = &mut self.line else { return };
        if let MediaEvent::Silent { from_sip, .. } = event {
            line.silent(if from_sip { "sip" } else { "browser" });
        }
        let call = line.current().map(|call| call.id.as_str()).unwrap_or_default();
        match event {
            // Not logged: digits are card numbers and PINs.
            MediaEvent::Digit { digit, duration, from_sip } => {
                line.line.handle_digit(digit, duration, from_sip, Instant::now());
                self.drain();
            }
            MediaEvent::PictureWanted => {
                line.line.handle_picture_wanted();
                self.drain();
            }
            MediaEvent::DtlsFailed { reason } => {
                warn!(call, user, ?reason, "DTLS with the browser failed");
            }
            MediaEvent::Silent { from_sip, time } => {
                let (from, silent_s) = (side(from_sip), time.as_secs());
                warn!(call, user, from, silent_s, "no RTP comes though it is expected");
            }
            MediaEvent::HeardAgain { from_sip, after } => {
                let (from, silent_s) = (side(from_sip), after.as_secs());
                info!(call, user, from, silent_s, "RTP comes again");
            }
            MediaEvent::IceLost => info!(call, user, "ICE lost"),
            event => debug!(call, ?event, "media"),
        }
    }

    pub(super) fn handle_timeout(&mut self) {
        let now = Instant::now();
        let Some(line) = &mut self.line else { return };
        if let Some((call, what)) = line.sound(now) {
            let about = About::call(self.session.identity().user(), &call.id);
            self.shared.journal.note(about, what);
        }
        if line.line.poll_timeout().is_some_and(|at| at <= now) {
            line.line.handle_timeout(now);
            self.drain();
        }
    }

    /// Carries out what the line wants. With its last call it is gone.
    pub(super) fn drain(&mut self) {
        while let Some(line) = &mut self.line
            && let Some(output) = line.line.poll_output()
        {
            match output {
                Output::Browser(session, message) => {
                    if let Some(envelope) = line.envelope(session, message) {
                        self.post(envelope);
                    }
                }
                Output::Sip(command) => self.command_sip(command),
                Output::Media(command) => {
                    if let Some(local) = line.command_media(command) {
                        line.line.handle_media_local(local);
                    }
                }
                Output::Ended(session, end) => {
                    let Some(at) = line.calls.iter().position(|call| call.session == session)
                    else {
                        continue;
                    };
                    let call = line.calls.remove(at);
                    self.shared.active_calls.fetch_sub(1, Ordering::Relaxed);
                    self.shared.live.remove(&call.id);
                    let stats = line.bridge.stats();
                    let record = call.record(&self.session, &end, &stats, Instant::now());
                    record.log();
                    self.note_about(&call.id, What::CallEnded(Box::new(record)));
                }
            }
        }
        self.note_states();
        self.line.take_if(|line| line.line.is_over());
        self.show_calls();
        let waiting = self.line.as_ref().filter(|line| line.line.awaits_browser_answer());
        let peer = waiting.and_then(|line| line.current()).map(|call| call.peer.clone());
        self.session.set_awaited_answer(peer);
    }
}

/// Without ports for its video a call goes on with audio alone.
fn media_local(bridge: &Bridge, wants_video: bool) -> MediaLocal {
    let video = wants_video.then(|| {
        bridge.open_video().inspect_err(|error| {
            warn!(%error, "no video for a call");
        })
    });
    let video = video.and_then(Result::ok);
    MediaLocal { browser: bridge.browser_local(), rtp: bridge.rtp_local(), video }
}

/// Which digit it was is nobody's business: they are card numbers and PINs.
fn without_digit(event: MediaEvent) -> MediaEvent {
    match event {
        MediaEvent::Digit { duration, from_sip, .. } => {
            MediaEvent::Digit { digit: '*', duration, from_sip }
        }
        event => event,
    }
}

fn side(from_sip: bool) -> &'static str {
    if from_sip { "the SIP side" } else { "the browser" }
}

/// Of a SIP URI; a whole one where there is none.
fn user_part(uri: &str) -> &str {
    let rest = uri.trim_start_matches('<').split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split_once('@').map_or(uri, |(user, _)| user)
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
pub(super) fn callable(to: Option<&str>, session: &Session) -> Result<String, MessageError> {
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
