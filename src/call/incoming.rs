//! The agent is called: with an offer, or without one (3pcc).

use std::time::Instant;

use crate::agent::{Dialect, MessageError};
use crate::sdp::{Codec, SdpError, SipSdp};
use crate::sip::{self, Invited, SessionId};
use crate::wire::{RoapError, RoapIds, ToBrowser};

use super::{
    BROWSER_LIMIT, Call, CallConfig, CallDirection, CallEndedBy, Exchange, MediaCommand,
    MediaLocal, Phase, Seed, wrong_state,
};

/// An INVITE's offer, checked before any resource is taken for it. The fault is a 488.
#[derive(Debug)]
pub struct InviteOffer(Option<SipSdp>);

impl InviteOffer {
    pub fn parse(invited: &Invited, config: &CallConfig) -> Result<Self, SdpError> {
        let offer = invited.sdp.as_deref().map(|text| SipSdp::parse(text, &config.codecs));
        Ok(Self(offer.transpose()?))
    }
}

impl Call {
    /// Takes an INVITE: 180 to the caller, OFFER or INVITE to the browser. The raw-SDP dialect knows no
    /// INVITE: it gets an OFFER of everything configured, and the 200 then carries what it answers with.
    pub fn incoming(
        config: CallConfig,
        dialect: Dialect,
        session: SessionId,
        offer: InviteOffer,
        local: MediaLocal,
        seed: Seed,
        now: Instant,
    ) -> Self {
        let direction = CallDirection::Incoming;
        let phase = Phase::Ringing { offered: offer.0.is_some() };
        let mut call = Self::new(config, direction, dialect, phase, session, local, seed, now);
        call.tell_sip(sip::Command::Progress { session, code: 180, sdp: None });
        match offer.0 {
            Some(sdp) => {
                // The caller's order, so that the browser sends what the caller likes best.
                let codecs: Vec<Codec> = sdp.payloads.formats.iter().map(|f| f.codec).collect();
                call.sip.remote = Some(sdp);
                call.offer_browser(&codecs);
            }
            None if dialect == Dialect::Jsapi => call.say(ToBrowser::Invite),
            None => {
                let codecs = call.config.codecs.clone();
                call.offer_browser(&codecs);
            }
        }
        call
    }

    /// An ANSWER of the browser's, to our first OFFER or a later one.
    pub(super) fn browser_answer(
        &mut self,
        ids: Option<RoapIds>,
        text: &str,
        now: Instant,
    ) -> Result<(), MessageError> {
        if !self.browser.awaits_answer(ids) {
            if !self.browser.is_repeated_answer(ids) {
                if ids.is_none() {
                    return Err(wrong_state("nothing waits for an answer"));
                }
                self.no_match(ids, "an ANSWER that fits no OFFER");
            }
            return Ok(());
        }
        let first = self.browser.remote.is_none();
        let sdp = match self.parse_browser(text) {
            Ok(sdp) => sdp,
            Err(error) if ids.is_none() => return Err(error),
            Err(error) => {
                let detail = error.to_string();
                self.say(ToBrowser::Error { ids, error: RoapError::Failed, detail });
                if first {
                    let text = "the browser's answer cannot be used";
                    self.end(CallEndedBy::Gateway, 488, text, now);
                }
                return Ok(());
            }
        };
        let Some(remote) = self.browser.settle(ids, sdp) else { return Ok(()) };
        self.tell_media(MediaCommand::SetBrowser(remote));
        if let Some(ids) = ids {
            self.say(ToBrowser::Ok { ids });
        }
        if self.is_ringing() {
            self.accept(now);
        } else {
            self.deadline = None;
            self.check_codecs();
            self.reconcile();
        }
        Ok(())
    }

    /// The browser could not use an OFFER of ours, or does not want it.
    pub(super) fn browser_refused(&mut self, now: Instant) {
        if self.browser.remote.is_none() {
            self.end(CallEndedBy::Browser, 488, "the browser refused the offer", now);
        } else if matches!(self.browser.exchange, Exchange::Ours { .. }) {
            self.browser.exchange = Exchange::Idle;
        }
    }

    /// The agent accepts an offerless call with an OFFER.
    pub(super) fn accept_with_offer(&mut self, now: Instant) {
        if self.is_ringing() {
            self.accept(now);
        }
    }

    /// NOTIFY talk: answers the waiting call, or retrieves a held one. The SIP side is answered at once
    /// from our own model; the browser follows.
    pub(super) fn notified_talk(&mut self, now: Instant) {
        match self.phase {
            Phase::Ringing { .. } => {
                self.say(ToBrowser::Talk);
                self.accept(now);
                if self.browser.remote.is_none() && !self.is_ended() {
                    self.deadline = Some(now + BROWSER_LIMIT);
                }
            }
            Phase::Established | Phase::AwaitingAck => {
                self.held = false;
                self.say(ToBrowser::Talk);
                self.reconcile();
            }
            Phase::Calling | Phase::Ended => {}
        }
    }

    /// 200 to the INVITE.
    fn accept(&mut self, now: Instant) {
        let session = self.sip.session;
        let wanted = self.wanted_direction();
        self.deadline = None;
        match self.sip.remote.take() {
            Some(offer) => {
                let Some(codec) = self.answer_codec(&offer) else {
                    let text = "no codec is common to the caller and the browser";
                    return self.end(CallEndedBy::Gateway, 488, text, now);
                };
                let sdp = self.sip.answer(offer, codec, wanted);
                self.answered_at = Some(now);
                self.phase = Phase::Established;
                // Ready before the answer says so.
                self.update_media();
                self.tell_sip(sip::Command::Accept { session, sdp });
                self.reconcile();
            }
            None => {
                let codecs = self.browser.codecs(&self.config.codecs);
                let sdp = self.sip.offer(&codecs, wanted);
                self.answered_at = Some(now);
                self.phase = Phase::AwaitingAck;
                self.tell_sip(sip::Command::Accept { session, sdp });
            }
        }
    }

    /// The codec for an answer toward SIP: the first of the offer that needs nothing of the browser, or
    /// else the first that the browser knows at all.
    pub(super) fn answer_codec(&self, offer: &SipSdp) -> Option<Codec> {
        let offered = || offer.payloads.formats.iter().map(|format| format.codec);
        let sending = self.browser.payloads.preferred().map(|format| format.codec);
        let can = self.browser.codecs(&self.config.codecs);
        match sending {
            Some(sending) => offered()
                .find(|codec| *codec == sending)
                .or_else(|| offered().find(|c| crate::sdp::negotiate::bridgeable(*c, sending)))
                .or_else(|| offered().find(|codec| can.contains(codec))),
            None => offered().find(|codec| can.contains(codec)),
        }
    }

    /// The ACK to a 200 of ours, with the answer when that held an offer.
    pub(super) fn sip_acked(&mut self, sdp: Option<&str>, now: Instant) {
        let answer = match sdp.map(|text| self.parse_sip(text)) {
            Some(Ok(answer)) => Some(answer),
            Some(Err(error)) if self.phase == Phase::AwaitingAck => {
                let text = format!("the answer in the ACK cannot be used: {error}");
                return self.end(CallEndedBy::Gateway, 488, &text, now);
            }
            None if self.phase == Phase::AwaitingAck => {
                let text = "the ACK brought no answer to our offer";
                return self.end(CallEndedBy::Gateway, 488, text, now);
            }
            // A later exchange that went wrong leaves the session as it was.
            Some(Err(_)) | None => None,
        };
        let Some(answer) = answer else { return };
        if self.phase == Phase::AwaitingAck {
            self.phase = Phase::Established;
        }
        self.sip.settle(answer);
        self.update_media();
        self.answer_browser();
        self.check_codecs();
        self.reconcile();
    }
}
