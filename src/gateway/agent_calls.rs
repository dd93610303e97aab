//! What an agent's calls and their media say to one another: the half of the agent's task that is about
//! calls. What his browser says of them is in `agent_messages`.

use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::agent::{Dialect, MessageError};
use crate::call::{CallDirection, CallEnd, FirstOffer, InviteOffer, Line, MediaLocal, Output};
use crate::journal::watch::BrowserPath;
use crate::journal::{About, What};
use crate::media::{Bridge, CallStats, Flow, MediaEvent, MediaId};
use crate::sip::{Command, Invited, ReferId, Referred, SessionId};
use crate::wire::{DataPair, RoapIds};

use super::agent_messages::callable;
use super::agent_task::AgentTask;
use super::cadence::Cadence;
use super::calls::{ActiveLine, CallInfo, MEDIA_EVENTS, new_seed};

impl AgentTask {
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

    pub(super) fn new_session(&mut self) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        session
    }

    pub(super) fn call_out(
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
    pub(super) fn note_call(&mut self, mut call: CallInfo, direction: &str) {
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
