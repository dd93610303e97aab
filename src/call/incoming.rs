//! The agent is called: with an offer, or without one (3pcc).

use std::time::Instant;

use crate::agent::{Dialect, MessageError};
use crate::sdp::{Codec, SdpError, SipSdp, negotiate};
use crate::sip::{self, Invited, SessionId};
use crate::wire::{DataPair, RoapIds, ToBrowser};

use super::attached;
use super::leg::Role;
use super::ringback::Ringback;
use super::{
    Awaiting, BROWSER_LIMIT, CallConfig, CallDirection, CallEndedBy, Exchange, Line, MediaCommand,
    MediaLocal, Phase, Seed, wrong_state,
};

/// An INVITE's offer, checked before any resource is taken for it. The fault is a 488.
#[derive(Debug)]
pub struct InviteOffer {
    sdp: Option<SipSdp>,
    attached: Vec<DataPair>,
}

impl InviteOffer {
    pub fn parse(invited: &Invited, config: &CallConfig) -> Result<Self, SdpError> {
        let offer = invited
            .sdp
            .as_deref()
            .map(|text| SipSdp::parse_with(text, &config.codecs, config.srtp));
        let attached = attached::read(&config.attached_prefix, &invited.headers);
        Ok(Self { sdp: offer.transpose()?, attached })
    }

    /// Whether it asks for video, or leaves the offer to the browser.
    pub fn may_have_video(&self, config: &CallConfig) -> bool {
        let asks = |sdp: &SipSdp| sdp.video.is_some();
        !config.video.is_empty() && self.sdp.as_ref().is_none_or(asks)
    }
}

impl Line {
    /// A line with an INVITE, see [`Line::invited`].
    pub fn incoming(
        config: CallConfig,
        dialect: Dialect,
        session: SessionId,
        offer: InviteOffer,
        local: MediaLocal,
        seed: Seed,
        now: Instant,
    ) -> Self {
        let mut line = Self::new(config, dialect, local, seed);
        line.invited(session, offer, now);
        line
    }

    /// Takes an INVITE: 180 to the caller. A free browser gets OFFER or INVITE (the raw-SDP dialect knows
    /// no INVITE: it gets an OFFER of everything configured, and the 200 then carries what it answers
    /// with). A browser that is in a call is told that one waits, and negotiates nothing: it is
    /// answered by NOTIFY talk or on command, from what the browser has agreed to already.
    pub fn invited(&mut self, session: SessionId, offer: InviteOffer, now: Instant) {
        let i = self.ring(session, offer, now);
        self.tell_sip(sip::Command::Progress { session, code: 180, sdp: None });
        let busy = self.active.is_some()
            || self.awaiting_local != Awaiting::Nothing
            || self.legs.iter().any(|leg| leg.is_established());
        if busy {
            self.say(i, ToBrowser::Waiting);
        } else {
            self.present(i);
        }
    }

    pub(super) fn ring(&mut self, session: SessionId, offer: InviteOffer, now: Instant) -> usize {
        let phase = Phase::Ringing { offered: offer.sdp.is_some() };
        let i = self.add(session, CallDirection::Incoming, phase, now);
        self.legs[i].sip.remote = offer.sdp;
        self.legs[i].attached = offer.attached;
        i
    }

    /// An ANSWER of the browser's, to our first OFFER or a later one.
    pub(super) fn browser_answer(
        &mut self,
        ids: Option<RoapIds>,
        text: &str,
        attached: &[DataPair],
        now: Instant,
    ) -> Result<(), MessageError> {
        let Some(i) = self.chosen(None) else { return Ok(()) };
        if !self.browser.awaits_answer(ids) {
            if !self.browser.is_repeated_answer(ids) {
                if ids.is_none() {
                    return Err(wrong_state("nothing waits for an answer"));
                }
                self.no_match(i, ids, "an ANSWER that fits no OFFER");
            }
            return Ok(());
        }
        let first = self.browser.remote.is_none();
        let sdp = match self.parse_browser(text) {
            Ok(sdp) => sdp,
            Err(error) => {
                self.unusable(i, ids, error)?;
                if first {
                    let text = "the browser's answer cannot be used";
                    self.end(i, CallEndedBy::Gateway, 488, text);
                }
                return Ok(());
            }
        };
        let Some(remote) = self.browser.settle(ids, sdp) else { return Ok(()) };
        self.tell_media(MediaCommand::SetBrowser(remote));
        if let Some(ids) = ids {
            self.say(i, ToBrowser::Ok { ids });
        }
        self.attach(i, attached);
        if self.legs[i].is_ringing() {
            self.accept(i, now);
        } else {
            self.legs[i].deadline = None;
            self.check_codecs();
            self.reconcile();
        }
        Ok(())
    }

    /// The browser could not use an OFFER of ours, or does not want it.
    pub(super) fn browser_refused(&mut self) {
        if self.browser.remote.is_none() {
            if let Some(i) = self.chosen(None) {
                self.end(i, CallEndedBy::Browser, 488, "the browser refused the offer");
            }
        } else if matches!(self.browser.exchange, Exchange::Ours { .. }) {
            self.browser.exchange = Exchange::Idle;
        }
    }

    /// NOTIFY talk: answers the waiting call, or retrieves a held one. The SIP side is answered at once
    /// from our own model; the browser follows.
    pub(super) fn notified_talk(&mut self, i: usize, now: Instant) {
        match self.legs[i].phase {
            Phase::Ringing { .. } => {
                self.say(i, ToBrowser::Talk);
                self.accept(i, now);
                if self.browser.remote.is_none() && !self.legs[i].is_ended() {
                    self.legs[i].deadline = Some(now + BROWSER_LIMIT);
                }
            }
            Phase::Established | Phase::AwaitingAck if self.legs[i].role == Role::Own => {
                self.legs[i].held = false;
                self.activate(i);
                self.call_browser_back(i, now);
                self.say(i, ToBrowser::Talk);
                self.reconcile();
            }
            _ => {}
        }
    }

    /// 200 to the INVITE of a call that gets the browser.
    pub(super) fn accept(&mut self, i: usize, now: Instant) {
        self.activate(i);
        self.take_up(i, now);
    }

    /// 200 to the INVITE.
    pub(super) fn take_up(&mut self, i: usize, now: Instant) {
        let session = self.legs[i].sip.session;
        let wanted = self.wanted_direction(i);
        self.plan_sip(i);
        self.legs[i].deadline = None;
        match self.legs[i].sip.remote.take() {
            Some(offer) => {
                let Some(codec) = self.answer_codec(&offer) else {
                    let text = "no codec is common to the caller and the browser";
                    return self.end(i, CallEndedBy::Gateway, 488, text);
                };
                let leg = &mut self.legs[i];
                let sdp = leg.sip.answer(offer, codec, wanted);
                leg.answered_at = Some(now);
                leg.phase = Phase::Established;
                // Ready before the answer says so.
                self.update_media(i);
                self.tell_sip(sip::Command::Accept { session, sdp });
                self.check_codecs();
                self.reconcile();
            }
            None => {
                let mut codecs = self.sip_codecs();
                // A second call shall need nothing of the browser.
                if let Some(sending) = self.browser.sends() {
                    codecs = negotiate::preferring(&codecs, sending);
                }
                let leg = &mut self.legs[i];
                let sdp = leg.sip.offer(&codecs, wanted);
                leg.answered_at = Some(now);
                leg.phase = Phase::AwaitingAck;
                if self.config.ringback {
                    leg.ring_soon(now);
                }
                self.update_flow();
                self.tell_sip(sip::Command::Accept { session, sdp });
            }
        }
    }

    /// The codec for an answer toward SIP: the first of the offer that needs nothing of the browser, or
    /// else the first that the browser knows at all, or else what is transcoded best.
    pub(super) fn answer_codec(&self, offer: &SipSdp) -> Option<Codec> {
        let offered = || offer.payloads.formats.iter().map(|format| format.codec);
        let sending = self.browser.sends();
        let can = self.browser.codecs(&self.config.codecs);
        match sending {
            Some(sending) => offered()
                .find(|codec| *codec == sending)
                .or_else(|| offered().find(|c| negotiate::bridgeable(*c, sending)))
                .or_else(|| {
                    // Another OFFER to the browser is less than transcoding a whole call.
                    offered().find(|codec| can.contains(codec) && !self.prefers_opus())
                })
                .or_else(|| negotiate::nearest(offered(), sending)),
            None => offered().find(|codec| can.contains(codec)),
        }
    }

    /// The ACK to a 200 of ours, with the answer when that held an offer.
    pub(super) fn sip_acked(&mut self, i: usize, sdp: Option<&str>) {
        let waits = self.legs[i].phase == Phase::AwaitingAck;
        let answer = match sdp.map(|text| self.parse_answer(i, text)) {
            Some(Ok(answer)) => Some(answer),
            Some(Err(error)) if waits => {
                let text = format!("the answer in the ACK cannot be used: {error}");
                return self.end(i, CallEndedBy::Gateway, 488, &text);
            }
            None if waits => {
                let text = "the ACK brought no answer to our offer";
                return self.end(i, CallEndedBy::Gateway, 488, text);
            }
            // A later exchange that went wrong leaves the session as it was.
            Some(Err(_)) | None => None,
        };
        self.legs[i].confirmed = true;
        self.flush_data(i);
        let Some(answer) = answer else { return };
        if waits {
            self.legs[i].phase = Phase::Established;
            self.legs[i].ringback = Ringback::No;
        }
        self.legs[i].sip.settle(answer);
        self.update_media(i);
        if self.active == Some(self.legs[i].sip.session) {
            self.answer_browser();
        }
        self.check_codecs();
        self.reconcile();
    }
}
