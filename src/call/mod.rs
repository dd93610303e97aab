//! One call: browser leg, SIP leg and media leg as a state machine. Pure: an hour of call runs in a
//! millisecond of test.
//!
//! The two legs are negotiated apart from each other. What the browser says is answered at once
//! wherever that is possible, what the SIP side says likewise; what both agreed on decides the flow of
//! media between them. So a re-INVITE does not touch the browser, and a browser's hold does not wait
//! for the SIP side.
//!
//! A call knows the vocabulary of the SIP and media rooms (their plain types), nothing of how they work.

mod browser;
mod established;
mod incoming;
mod outgoing;
mod sip_leg;
mod types;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::agent::{Dialect, MessageError};
use crate::media::{BrowserLocal, Flow};
use crate::sdp::{BrowserSdp, Codec, Direction, SdpError, SipSdp, negotiate};
use crate::sip::{self, EndedBy, Event, SessionId};
use crate::wire::{FromBrowser, RoapError, RoapIds, ToBrowser};

use browser::{BrowserLeg, Exchange};
use sip_leg::SipLeg;

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

/// Outputs that may wait to be taken; they are taken after every input, so this is never met.
const MAX_OUTPUTS: usize = 64;

/// How far a call has come on the SIP side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Our INVITE is out.
    Calling,
    /// Their INVITE waits for an answer. `offered`: it brought an SDP.
    Ringing {
        offered: bool,
    },
    /// Our 200 held an offer; the answer comes with the ACK.
    AwaitingAck,
    Established,
    Ended,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    config: CallConfig,
    direction: CallDirection,
    dialect: Dialect,
    phase: Phase,
    browser: BrowserLeg,
    sip: SipLeg,
    /// The agent has put the call on hold, here or in WWE.
    held: bool,
    /// The peer has put us on hold, as last told to the browser.
    peer_held: bool,
    /// The browser sends a codec that the SIP side cannot be given: it gets an OFFER when it is free.
    reoffer_browser: bool,
    /// An offerless re-INVITE waits for the browser's OFFER.
    retrieving: bool,
    /// A renegotiation OFFER waits for new parameters of the media plane.
    awaiting_local: bool,
    rang: bool,
    answered_at: Option<Instant>,
    deadline: Option<Instant>,
    flow: Flow,
    outputs: VecDeque<Output>,
}

impl Call {
    #[expect(clippy::too_many_arguments, reason = "one place, behind two constructors")]
    fn new(
        config: CallConfig,
        direction: CallDirection,
        dialect: Dialect,
        phase: Phase,
        session: SessionId,
        local: MediaLocal,
        seed: Seed,
        now: Instant,
    ) -> Self {
        Self {
            config,
            direction,
            dialect,
            phase,
            browser: BrowserLeg::new(local.browser, seed.roap, seed.tiebreaker, seed.origins[0]),
            sip: SipLeg::new(session, local.rtp, seed.origins[1]),
            held: false,
            peer_held: false,
            reoffer_browser: false,
            retrieving: false,
            awaiting_local: false,
            rang: false,
            answered_at: None,
            deadline: Some(now + RING_LIMIT),
            flow: Flow::default(),
            outputs: VecDeque::new(),
        }
    }

    pub fn session(&self) -> SessionId {
        self.sip.session
    }

    pub fn direction(&self) -> CallDirection {
        self.direction
    }

    /// When the SIP side was connected.
    pub fn answered_at(&self) -> Option<Instant> {
        self.answered_at
    }

    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// An incoming call that waits for the agent.
    pub fn is_ringing(&self) -> bool {
        matches!(self.phase, Phase::Ringing { .. })
    }

    /// An incoming call that brought an offer, and waits for the agent.
    pub fn rings_with_offer(&self) -> bool {
        self.phase == Phase::Ringing { offered: true }
    }

    /// An OFFER of ours waits for the browser's ANSWER, be the call ringing or accepted for the agent
    /// (NOTIFY talk).
    pub fn awaits_browser_answer(&self) -> bool {
        !self.is_ended() && matches!(self.browser.exchange, Exchange::Ours { .. })
    }

    pub fn is_established(&self) -> bool {
        matches!(self.phase, Phase::Established | Phase::AwaitingAck)
    }

    /// The agent holds the call.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// The codec spoken toward SIP.
    pub fn codec(&self) -> Option<Codec> {
        self.sip.codec()
    }

    /// A word for lists and dashboards.
    pub fn state(&self) -> &'static str {
        match self.phase {
            Phase::Calling => "calling",
            Phase::Ringing { .. } => "ringing",
            Phase::Ended => "ended",
            _ if self.held => "held",
            _ => "established",
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        if self.retrieving {
            self.answer_retrieve();
            return;
        }
        match self.phase {
            Phase::Ended => {}
            Phase::Calling | Phase::Ringing { .. } => {
                self.end(CallEndedBy::Gateway, 480, "nobody answered within 300 s", now);
            }
            Phase::AwaitingAck | Phase::Established => {
                if self.browser.remote.is_none() {
                    let text = "the browser did not take up the call within 20 s";
                    self.end(CallEndedBy::Gateway, 480, text, now);
                }
            }
        }
    }

    /// What the browser says. The error is for an answer at once; faults that the browser hears of later
    /// come as outputs.
    pub fn handle_browser(
        &mut self,
        message: FromBrowser,
        now: Instant,
    ) -> Result<(), MessageError> {
        if self.is_ended() {
            return Err(wrong_state("the call has ended"));
        }
        match message {
            FromBrowser::Offer { ids, sdp, .. } => self.browser_offer(ids, &sdp, now),
            FromBrowser::Answer { ids, sdp, .. } => self.browser_answer(ids, &sdp, now),
            FromBrowser::Ok { ids } => {
                if !self.is_established() {
                    self.no_match(Some(ids), "an OK, but no ANSWER was sent");
                }
                Ok(())
            }
            FromBrowser::Error { .. } => {
                self.browser_refused(now);
                Ok(())
            }
            FromBrowser::Bye => {
                let code = if self.is_ringing() { 603 } else { 200 };
                self.end(CallEndedBy::Browser, code, "hung up by the agent", now);
                Ok(())
            }
            FromBrowser::InfoMap(data) => self.info("application/x-www-form-urlencoded", data),
            FromBrowser::InfoPeer(data) => self.info("application/octet-stream", data),
            FromBrowser::Hold => self.set_held(true),
            FromBrowser::Resume => self.set_held(false),
            FromBrowser::Dtmf(digits) => self.dtmf(digits),
            FromBrowser::Transfer { .. } => {
                Err(MessageError::Unavailable("this gateway does not transfer calls yet".into()))
            }
            FromBrowser::GetStats => Ok(()),
        }
    }

    /// What the SIP side says.
    pub fn handle_sip(&mut self, event: Event, now: Instant) {
        if self.is_ended() {
            return;
        }
        match event {
            Event::Progressed { code, .. } => {
                if code > 100 && !self.rang {
                    self.rang = true;
                    self.say(ToBrowser::Ringing);
                }
            }
            Event::Answered { sdp, .. } => self.sip_answered(sdp.as_deref(), now),
            Event::Acked { sdp, .. } => self.sip_acked(sdp.as_deref(), now),
            Event::Reinvited { sdp, .. } => self.sip_reinvited(sdp.as_deref(), now),
            Event::ReinviteAnswered { sdp, .. } => self.reinvite_answered(sdp.as_deref()),
            Event::ReinviteRefused { .. } => {
                // The session stands as it did (RFC 3261 14.1); what we hold, we hold by ourselves.
                self.sip.reinviting = false;
                self.reconcile();
            }
            Event::Notified { event: sip::NotifyEvent::Talk, .. } => self.notified_talk(now),
            Event::Notified { event: sip::NotifyEvent::Hold, .. } => self.notified_hold(),
            Event::Informed { content_type, body, .. } => self.informed(&content_type, body),
            Event::Ended { end, .. } => {
                let by = match end.by {
                    EndedBy::Us => CallEndedBy::Gateway,
                    EndedBy::Peer => CallEndedBy::Peer,
                    EndedBy::Network => CallEndedBy::Network,
                };
                self.say(ToBrowser::Bye { code: end.code, reason: end.text.clone() });
                self.finish(CallEnd {
                    by,
                    code: end.code,
                    text: end.text,
                    reason_header: end.reason_header,
                    answered_at: self.answered_at,
                });
            }
            // None of a call's business.
            Event::Registered { .. }
            | Event::RegistrationFailed { .. }
            | Event::Unregistered
            | Event::Redirected { .. }
            | Event::Identified { .. }
            | Event::Transferring { .. }
            | Event::Referred { .. }
            | Event::InfoRefused { .. }
            | Event::Invited { .. } => {}
        }
    }

    /// New parameters of the media plane, after `RestartIce` or `RenewBrowser`.
    pub fn handle_media_local(&mut self, local: BrowserLocal) {
        self.browser.local = local;
        if std::mem::take(&mut self.awaiting_local) {
            self.answer_browser();
            self.reconcile();
        }
    }

    /// Ends the call from here: sign-out, a lost browser, shutdown.
    pub fn release(&mut self, code: u16, text: &str, now: Instant) {
        if !self.is_ended() {
            self.end(CallEndedBy::Gateway, code, text, now);
        }
    }

    /// The agent does not take a ringing call, by what it does instead. The browser is told nothing.
    pub fn decline(&mut self, code: u16, text: &str, now: Instant) {
        if !self.is_ended() {
            self.end(CallEndedBy::Browser, code, text, now);
        }
    }

    /// Whether ROAP numbers belong to the session that the browser and we have.
    pub fn knows(&self, ids: RoapIds) -> bool {
        self.browser.knows(ids)
    }

    fn end(&mut self, by: CallEndedBy, code: u16, text: &str, _now: Instant) {
        self.outputs.push_back(Output::Sip(sip::Command::End {
            session: self.sip.session,
            code,
            text: text.to_owned(),
        }));
        if by != CallEndedBy::Browser {
            self.say(ToBrowser::Bye { code, reason: text.to_owned() });
        }
        self.finish(CallEnd {
            by,
            code,
            text: text.to_owned(),
            reason_header: None,
            answered_at: self.answered_at,
        });
    }

    fn finish(&mut self, end: CallEnd) {
        self.phase = Phase::Ended;
        self.deadline = None;
        self.outputs.push_back(Output::Ended(end));
    }

    fn say(&mut self, message: ToBrowser) {
        debug_assert!(self.outputs.len() < MAX_OUTPUTS, "outputs are taken after every input");
        self.outputs.push_back(Output::Browser(message));
    }

    fn tell_sip(&mut self, command: sip::Command) {
        self.outputs.push_back(Output::Sip(command));
    }

    fn tell_media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }

    fn no_match(&mut self, ids: Option<RoapIds>, detail: &str) {
        let detail = detail.to_owned();
        self.say(ToBrowser::Error { ids, error: RoapError::NoMatch, detail });
    }

    /// What the browser sends and the SIP side cannot be given must change in the browser.
    fn check_codecs(&mut self) {
        let (Some(sip), Some(browser)) = (self.sip.codec(), self.browser.payloads.preferred())
        else {
            return;
        };
        self.reoffer_browser = !negotiate::bridgeable(sip, browser.codec)
            && self.browser.codecs(&self.config.codecs).contains(&sip);
    }

    /// Brings about what is wanted and not yet agreed: one re-INVITE, one OFFER at a time.
    fn reconcile(&mut self) {
        if self.phase != Phase::Established {
            self.update_flow();
            return;
        }
        let wanted = self.wanted_direction();
        if !self.sip.reinviting && self.sip.wanted != wanted {
            self.sip.reinviting = true;
            let codecs = self.browser.codecs(&self.config.codecs);
            let sdp = self.sip.offer_direction(wanted, &codecs);
            let session = self.sip.session;
            self.tell_sip(sip::Command::Reinvite { session, sdp: Some(sdp) });
        }
        if self.reoffer_browser && matches!(self.browser.exchange, Exchange::Idle) {
            self.reoffer_browser = false;
            if let Some(codec) = self.sip.codec() {
                self.offer_browser(&[codec]);
            }
        }
        self.update_flow();
    }

    /// Held: we go on sending (silence), so that address translation on the way stays open, and hear
    /// nothing.
    fn wanted_direction(&self) -> Direction {
        if self.held { Direction::SendOnly } else { Direction::SendRecv }
    }

    fn offer_browser(&mut self, codecs: &[Codec]) {
        let (ids, sdp) = self.browser.offer(codecs);
        let tiebreaker = self.browser.tiebreaker();
        self.say(ToBrowser::Offer { ids, tiebreaker, sdp, attached: Vec::new() });
    }

    /// Answers the browser's offer in progress, for the codec in use toward SIP.
    fn answer_browser(&mut self) {
        let Some((ids, sdp, remote)) = self.browser.answer(self.sip.codec()) else { return };
        self.tell_media(MediaCommand::SetBrowser(remote));
        self.say(ToBrowser::Answer { ids, sdp });
        self.check_codecs();
    }

    fn update_media(&mut self) {
        if let Some(remote) = self.sip.media() {
            self.tell_media(MediaCommand::SetSip(remote));
        }
        self.update_flow();
    }

    fn update_flow(&mut self) {
        let up = self.phase == Phase::Established;
        let browser = self.browser.direction;
        let flow = Flow {
            to_sip: up && !self.held && self.sip.agreed.sends() && browser.sends(),
            to_browser: up && !self.held && self.sip.agreed.receives() && browser.receives(),
            keep_alive: up && self.sip.agreed.sends(),
        };
        if flow != self.flow {
            self.flow = flow;
            self.tell_media(MediaCommand::SetFlow(flow));
        }
    }

    fn parse_browser(&self, text: &str) -> Result<BrowserSdp, MessageError> {
        BrowserSdp::parse(text, &self.config.codecs).map_err(sdp_fault)
    }

    fn parse_sip(&self, text: &str) -> Result<SipSdp, SdpError> {
        SipSdp::parse(text, &self.config.codecs)
    }
}

/// A fault in a browser's SDP as the answer to its request.
fn sdp_fault(error: SdpError) -> MessageError {
    match error {
        SdpError::NotSdp(_) | SdpError::TooLarge => MessageError::BadRequest(error.to_string()),
        SdpError::NoAudio | SdpError::NoCommonCodec | SdpError::Profile(_) => {
            MessageError::UnusableSdp(error.to_string())
        }
    }
}

fn wrong_state(text: &str) -> MessageError {
    MessageError::WrongState(text.to_owned())
}
