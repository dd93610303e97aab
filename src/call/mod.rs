//! An agent's line: one browser leg and the calls that share it, as a state machine. Pure: an hour of
//! call runs in a millisecond of test.
//!
//! The browser has one peer connection. It belongs to the line, not to a call: one call is *active*, in
//! touch with the browser, the others are held or ring. Switching between calls, a transfer, an INVITE
//! with Replaces change which SIP session is active, and the browser is not touched.
//!
//! The legs are negotiated apart from each other. What the browser says is answered at once wherever
//! that is possible, what a SIP side says likewise; what both agreed on decides the flow of media
//! between them. So a re-INVITE does not touch the browser, and a browser's hold does not wait for the
//! SIP side.
//!
//! A line knows the vocabulary of the SIP and media rooms (their plain types), nothing of how they work.

mod attached;
mod browser;
mod descriptions;
mod digits;
mod ending;
mod established;
mod incoming;
mod leg;
mod outgoing;
mod passage;
mod ringback;
mod sip_leg;
mod switch;
mod transfer;
mod types;
mod video;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::agent::{Dialect, MessageError};
use crate::media::{BrowserLocal, Flow, HeldLeg, Signal, VideoLocal, VideoRemote};
use crate::sdp::{Codec, KeySource};
use crate::sip::{self, EndedBy, Event, SessionId};
use crate::wire::{FromBrowser, RoapIds, ToBrowser};

use browser::{BrowserLeg, Exchange};
use leg::{Leg, Phase, Role};
use ringback::Ringback;

pub use incoming::InviteOffer;
pub use outgoing::FirstOffer;
pub use types::*;

/// How long a call may ring before the gateway gives it up. SIP servers cancel long before.
const RING_LIMIT: Duration = Duration::from_secs(300);

/// How long the browser may take to come up with its description once the SIP side has been answered
/// on its behalf (NOTIFY talk).
const BROWSER_LIMIT: Duration = Duration::from_secs(20);

/// How long an offerless re-INVITE waits for a held browser's OFFER before it is answered without.
const RETRIEVE_LIMIT: Duration = Duration::from_secs(2);

/// How long the peer of a call whose place was taken may go without a BYE; whoever asked for the
/// transfer sends it as soon as it hears of the success.
const REPLACED_LIMIT: Duration = Duration::from_secs(4);

/// How long after EVENT-HOLD an OFFER of the browser's that holds is the consequence of it.
const ECHO_LIMIT: Duration = Duration::from_secs(3);

/// User data in one INFO, in bytes: with SIP's headers it still fits a datagram.
const MAX_INFO: usize = 8 * 1024;

/// Outputs that may wait to be taken; they are taken after every input, so this is never met.
const MAX_OUTPUTS: usize = 128;

/// New parameters of the media plane are awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaiting {
    Nothing,
    /// For the answer to a renegotiation OFFER.
    Answer,
    /// For a browser that has closed its peer connection.
    Fresh,
}

/// An agent's browser leg and its calls.
#[derive(Debug)]
pub struct Line {
    config: CallConfig,
    dialect: Dialect,
    browser: BrowserLeg,
    rtp: SocketAddr,
    video: Option<VideoLocal>,
    /// As the media plane has it.
    video_remote: Option<VideoRemote>,
    legs: Vec<Leg>,
    /// The call that the browser is with, or is offered.
    active: Option<SessionId>,
    /// For the `o=` line of the next call.
    next_origin: u64,
    keys: KeySource,
    /// The browser sends a codec that the SIP side cannot be given: it gets an OFFER when it is free.
    reoffer_browser: bool,
    awaiting_local: Awaiting,
    /// An OFFER that holds is no word of the agent's until then, but follows from EVENT-HOLD.
    echo_hold: Option<Instant>,
    /// The tone of a second call that failed, and until when.
    failed: Option<(Signal, Instant)>,
    flow: Flow,
    /// Whose far end the media plane was told of last.
    heard: Option<SessionId>,
    /// What the media plane was told of the calls beside the active one.
    aside: Vec<HeldLeg>,
    outputs: VecDeque<Output>,
}

impl Line {
    fn new(config: CallConfig, dialect: Dialect, local: MediaLocal, seed: Seed) -> Self {
        Self {
            config,
            dialect,
            browser: BrowserLeg::new(local.browser, seed.roap, seed.tiebreaker, seed.origins[0])
                .with_video(Self::video_port(local.video).0),
            rtp: local.rtp,
            video: local.video,
            video_remote: None,
            legs: Vec::new(),
            active: None,
            next_origin: seed.origins[1],
            keys: KeySource::new(seed.keys),
            reoffer_browser: false,
            awaiting_local: Awaiting::Nothing,
            echo_hold: None,
            failed: None,
            flow: Flow::default(),
            heard: None,
            aside: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    fn add(
        &mut self,
        session: SessionId,
        direction: CallDirection,
        phase: Phase,
        now: Instant,
    ) -> usize {
        let origin = self.next_origin;
        self.next_origin = origin.wrapping_add(1);
        let srtp = (self.config.srtp, self.keys.fork());
        let mut leg =
            Leg::new(session, direction, phase, self.rtp, origin, self.config.digits, srtp);
        leg.sip.video = Self::video_port(self.video).1;
        leg.deadline = Some(now + RING_LIMIT);
        self.legs.push(leg);
        self.legs.len() - 1
    }

    /// No call is left.
    pub fn is_over(&self) -> bool {
        self.legs.is_empty()
    }

    /// Calls by the agent's count, for the limit of them: those that a transfer makes or leaves behind are
    /// not among them, for either takes another's place.
    pub fn calls(&self) -> usize {
        self.legs.iter().filter(|leg| leg.role == Role::Own).count()
    }

    /// The call that the browser is with, or is offered.
    pub fn active(&self) -> Option<SessionId> {
        self.active
    }

    /// A call that rings without the browser having been offered it, the oldest.
    pub fn waiting(&self) -> Option<SessionId> {
        let waits = |leg: &&Leg| leg.is_ringing() && Some(leg.sip.session) != self.active;
        self.legs.iter().find(waits).map(|leg| leg.sip.session)
    }

    pub fn has(&self, session: SessionId) -> bool {
        self.index(session).is_some()
    }

    /// When the SIP side was connected.
    pub fn answered_at(&self, session: SessionId) -> Option<Instant> {
        self.legs.get(self.index(session)?)?.answered_at
    }

    /// The active call brought an offer, and waits for the agent.
    pub fn rings_with_offer(&self) -> bool {
        self.active_index().is_some_and(|i| self.legs[i].phase == Phase::Ringing { offered: true })
    }

    /// An OFFER of ours waits for the browser's ANSWER, be the call ringing or accepted for the agent
    /// (NOTIFY talk).
    pub fn awaits_browser_answer(&self) -> bool {
        !self.is_over() && matches!(self.browser.exchange, Exchange::Ours { .. })
    }

    /// A word for lists and dashboards.
    pub fn state(&self, session: SessionId) -> &'static str {
        let Some(leg) = self.index(session).and_then(|i| self.legs.get(i)) else { return "ended" };
        match leg.phase {
            Phase::Calling => "calling",
            Phase::Ringing { .. } if self.active != Some(session) => "waiting",
            Phase::Ringing { .. } => "ringing",
            Phase::Ended => "ended",
            _ if leg.held => "held",
            _ => "established",
        }
    }

    /// Whether the agent holds the call, and whether the far end does.
    pub fn holds(&self, session: SessionId) -> (bool, bool) {
        let leg = self.index(session).and_then(|i| self.legs.get(i));
        leg.map_or((false, false), |leg| (leg.held, leg.peer_held))
    }

    /// The codec spoken toward SIP in the call that the browser hears.
    pub fn codec(&self) -> Option<Codec> {
        self.legs.get(self.heard_index()?)?.sip.codec()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.legs.iter().filter_map(Leg::poll_timeout).chain(self.failed_timeout()).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.failed_due(now);
        for i in 0..self.legs.len() {
            self.press_due(i, now);
            self.ring_due(i, now);
            if self.legs[i].deadline.is_some_and(|deadline| deadline <= now) {
                self.legs[i].deadline = None;
                self.overdue(i);
            }
        }
        self.sweep();
    }

    fn overdue(&mut self, i: usize) {
        if self.legs[i].retrieving {
            return self.answer_retrieve(i);
        }
        match (self.legs[i].role, self.legs[i].phase) {
            (_, Phase::Ended) => {}
            (Role::Replaced, _) => {
                self.end(i, CallEndedBy::Gateway, 200, "another call took its place");
            }
            (_, Phase::Calling | Phase::Ringing { .. }) => {
                self.end(i, CallEndedBy::Gateway, 480, "nobody answered within 300 s");
            }
            (_, Phase::AwaitingAck | Phase::Established) => {
                if self.browser.remote.is_none() {
                    let text = "the browser did not take up the call within 20 s";
                    self.end(i, CallEndedBy::Gateway, 480, text);
                }
            }
        }
    }

    /// What the browser says, about the call `on` where it names one. The error is for an answer at
    /// once; faults that the browser hears of later come as outputs.
    pub fn handle_browser(
        &mut self,
        on: Option<SessionId>,
        message: FromBrowser,
        now: Instant,
    ) -> Result<(), MessageError> {
        let Some(i) = self.chosen(on) else { return Err(wrong_state("there is no such call")) };
        let result = match message {
            FromBrowser::Offer { ids, sdp, .. } => self.browser_offer(i, ids, &sdp, now),
            FromBrowser::Answer { ids, sdp, attached, .. } => {
                self.browser_answer(ids, &sdp, &attached, now)
            }
            FromBrowser::Ok { ids } => {
                let leg = &self.legs[i];
                if !leg.is_established() && !leg.early && leg.ringback != Ringback::Rings {
                    self.no_match(i, Some(ids), "an OK, but no ANSWER was sent");
                }
                Ok(())
            }
            FromBrowser::Error { .. } => {
                self.browser_refused();
                Ok(())
            }
            FromBrowser::Bye => {
                let code = if self.legs[i].is_ringing() { 603 } else { 200 };
                self.end(i, CallEndedBy::Browser, code, "hung up by the agent");
                Ok(())
            }
            FromBrowser::InfoMap(data) => self.info(i, "application/x-www-form-urlencoded", data),
            FromBrowser::InfoPeer(data) => self.info(i, "application/octet-stream", data),
            FromBrowser::Hold => self.set_held(i, true),
            FromBrowser::Resume => self.set_held(i, false),
            FromBrowser::Dtmf(digits) => self.dtmf(i, &digits, now),
            FromBrowser::Accept => self.accept_waiting(on, now),
            // They name calls and numbers, which are the business of whoever keeps those.
            FromBrowser::Transfer { .. } | FromBrowser::Call { .. } => Ok(()),
            FromBrowser::GetStats => Ok(()),
        };
        self.sweep();
        result
    }

    /// What the SIP side says.
    pub fn handle_sip(&mut self, event: Event, now: Instant) {
        let Some(i) = event.session().and_then(|session| self.index(session)) else { return };
        match event {
            Event::Progressed { code, text, sdp, .. } => {
                self.progressed(i, code, &text, sdp.as_deref(), now);
            }
            Event::Answered { sdp, .. } => self.sip_answered(i, sdp.as_deref(), now),
            Event::Acked { sdp, .. } => self.sip_acked(i, sdp.as_deref()),
            Event::Reinvited { sdp, .. } => self.sip_reinvited(i, sdp.as_deref(), now),
            Event::ReinviteAnswered { sdp, .. } => self.reinvite_answered(i, sdp.as_deref()),
            Event::ReinviteRefused { session, code, .. } => {
                // The session stands as it did (RFC 3261 14.1); what we hold, we hold by ourselves.
                self.legs[i].sip.reinviting = false;
                self.reconcile();
                // It did not get there: to be said with whatever comes next, and not at once, which would go on for ever.
                if code == 503
                    && let Some(i) = self.index(session)
                    && !self.legs[i].sip.reinviting
                {
                    self.legs[i].sip.unsaid = true;
                }
            }
            Event::ReinviteUnsent { .. } => {
                self.legs[i].sip.reinviting = false;
                self.legs[i].sip.unsaid = true;
                self.reconcile();
            }
            Event::Notified { event: sip::NotifyEvent::Talk, .. } => self.notified_talk(i, now),
            Event::Notified { event: sip::NotifyEvent::Hold, .. } => self.notified_hold(i, now),
            Event::Informed { content_type, body, .. } => self.informed(i, &content_type, body),
            Event::InfoRefused { code, .. } => self.info_refused(i, code),
            Event::Identified { session, .. } => {
                if self.active == Some(session) {
                    self.say(i, ToBrowser::Peer);
                }
            }
            Event::Transferring { code, text, done, .. } => {
                self.transferring(i, code, &text, done);
            }
            Event::Ended { end, .. } => {
                let by = match end.by {
                    EndedBy::Us => CallEndedBy::Gateway,
                    EndedBy::Peer => CallEndedBy::Peer,
                    EndedBy::Network => CallEndedBy::Network,
                };
                if self.legs[i].phase == Phase::Calling && self.legs[i].role == Role::Own {
                    self.failed(by, end.code, now);
                }
                self.finish(i, by, end.code, &end.text, end.reason_header);
            }
            // None of a call's business, or told by a method of its own.
            Event::Registered { .. }
            | Event::RegistrationFailed { .. }
            | Event::Unregistered
            | Event::Redirected { .. }
            | Event::Rerouted { .. }
            | Event::Referred { .. }
            | Event::Invited { .. } => {}
        }
        self.sweep();
    }

    /// New parameters of the media plane, after `RestartIce` or `RenewBrowser`.
    pub fn handle_media_local(&mut self, local: BrowserLocal) {
        self.browser.local = local;
        match std::mem::replace(&mut self.awaiting_local, Awaiting::Nothing) {
            Awaiting::Nothing => {}
            Awaiting::Answer => {
                self.answer_browser();
                self.reconcile();
            }
            Awaiting::Fresh => self.present_next(),
        }
    }

    /// As NOTIFY talk does it: answers the call that rings, or takes one off hold.
    ///
    /// # Errors
    /// `WrongState` without such a call.
    pub fn talk(&mut self, on: SessionId, now: Instant) -> Result<(), MessageError> {
        let i = self.index(on).ok_or_else(|| wrong_state("there is no such call"))?;
        self.notified_talk(i, now);
        self.sweep();
        Ok(())
    }

    /// As NOTIFY hold does it.
    ///
    /// # Errors
    /// `WrongState` where that call is not up.
    pub fn hold(&mut self, on: SessionId, now: Instant) -> Result<(), MessageError> {
        let i = self.index(on).filter(|i| self.legs[*i].is_established());
        let i = i.ok_or_else(|| wrong_state("there is no established call"))?;
        self.notified_hold(i, now);
        self.sweep();
        Ok(())
    }

    /// Ends one call from here, and tells the browser.
    pub fn hang_up(&mut self, on: SessionId, text: &str) {
        if let Some(i) = self.index(on) {
            let code = if self.legs[i].is_ringing() { 603 } else { 200 };
            self.end(i, CallEndedBy::Gateway, code, text);
        }
        self.sweep();
    }

    /// Ends all calls from here: sign-out, a lost browser, shutdown.
    pub fn release(&mut self, code: u16, text: &str) {
        // The active one last, for its good-bye is the browser's.
        for i in 0..self.legs.len() {
            if Some(self.legs[i].sip.session) != self.active {
                self.end(i, CallEndedBy::Gateway, code, text);
            }
        }
        if let Some(i) = self.active_index() {
            self.end(i, CallEndedBy::Gateway, code, text);
        }
        self.sweep();
    }

    /// The agent takes no ringing call, by what it does instead. The browser is told nothing.
    pub fn decline(&mut self, code: u16, text: &str) {
        for i in 0..self.legs.len() {
            if self.legs[i].is_ringing() {
                self.end(i, CallEndedBy::Browser, code, text);
            }
        }
        self.sweep();
    }

    /// Whether ROAP numbers belong to the session that the browser and we have.
    pub fn knows(&self, ids: RoapIds) -> bool {
        self.browser.knows(ids)
    }

    fn index(&self, session: SessionId) -> Option<usize> {
        self.legs.iter().position(|leg| leg.sip.session == session && !leg.is_ended())
    }

    fn active_index(&self) -> Option<usize> {
        self.index(self.active?)
    }

    /// The call that a message is about: the one it names, the active one, or the last there is.
    fn chosen(&self, on: Option<SessionId>) -> Option<usize> {
        if let Some(session) = on {
            return self.index(session);
        }
        let own = |leg: &Leg| leg.role == Role::Own && !leg.is_ended();
        self.active_index().or_else(|| self.legs.iter().rposition(own))
    }

    fn say(&mut self, i: usize, message: ToBrowser) {
        debug_assert!(self.outputs.len() < MAX_OUTPUTS, "outputs are taken after every input");
        let session = self.legs[i].sip.session;
        self.outputs.push_back(Output::Browser(session, message));
    }

    fn tell_sip(&mut self, command: sip::Command) {
        self.outputs.push_back(Output::Sip(command));
    }

    fn tell_media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }
}

fn wrong_state(text: &str) -> MessageError {
    MessageError::WrongState(text.to_owned())
}
