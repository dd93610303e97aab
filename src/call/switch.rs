//! Which call the browser is with, and bringing about what is wanted of each: directions, codecs, flow.

use std::time::Instant;

use crate::agent::MessageError;
use crate::media::{Flow, HeldLeg};
use crate::sdp::{Codec, Direction, negotiate};
use crate::sip;
use crate::wire::ToBrowser;

use super::leg::Leg;
use super::{BROWSER_LIMIT, Exchange, Line, MediaCommand, Phase, Role, wrong_state};

impl Line {
    /// Gives the browser to that call. The one that had it is held.
    pub(super) fn activate(&mut self, i: usize) {
        let session = self.legs[i].sip.session;
        if self.active == Some(session) {
            return;
        }
        if let Some(old) = self.active_index()
            && self.legs[old].is_established()
            && self.legs[old].role == Role::Own
        {
            self.legs[old].held = true;
        }
        self.active = Some(session);
        self.update_media(i);
        self.check_codecs();
        self.reconcile();
    }

    /// Offers the browser a call that rings.
    pub(super) fn present(&mut self, i: usize) {
        self.active = Some(self.legs[i].sip.session);
        let attached = std::mem::take(&mut self.legs[i].attached);
        match &self.legs[i].sip.remote {
            Some(offer) => {
                // The caller's order, so that the browser sends what the caller likes best; the others for a
                // browser that has none of them.
                let codecs: Vec<Codec> = offer.payloads.formats.iter().map(|f| f.codec).collect();
                let codecs = self.all_codecs(codecs);
                self.offer_browser(i, &codecs, attached);
            }
            None if self.dialect == crate::agent::Dialect::Jsapi => self.say(i, ToBrowser::Invite),
            None => {
                let codecs = self.config.codecs.clone();
                self.offer_browser(i, &codecs, attached);
            }
        }
    }

    /// The browser is free: the oldest call that waits gets it.
    pub(super) fn present_next(&mut self) {
        if self.active.is_none()
            && !self.legs.iter().any(|leg| leg.is_established())
            && let Some(i) = self.legs.iter().position(|leg| leg.is_ringing())
        {
            self.present(i);
        }
    }

    /// A call is retrieved for a browser that has closed its peer connection: it gets an OFFER to come
    /// back with.
    pub(super) fn call_browser_back(&mut self, i: usize, now: Instant) {
        if self.browser.remote.is_some() || !matches!(self.browser.exchange, Exchange::Idle) {
            return;
        }
        let codec = self.legs[i].sip.codec();
        let codecs = self.all_codecs(codec.into_iter().collect());
        self.offer_browser(i, &codecs, Vec::new());
        self.legs[i].deadline = Some(now + BROWSER_LIMIT);
    }

    /// ANSWER of the raw-SDP dialect: the waiting call, or the one named.
    pub(super) fn accept_waiting(
        &mut self,
        on: Option<sip::SessionId>,
        now: Instant,
    ) -> Result<(), MessageError> {
        let Some(i) = on.or_else(|| self.waiting()).and_then(|session| self.index(session)) else {
            return Err(wrong_state("no call is waiting"));
        };
        if !self.legs[i].is_ringing() {
            return Err(wrong_state("this call is not ringing"));
        }
        if self.browser.remote.is_none() {
            return Err(wrong_state("this call is answered with an SDP"));
        }
        self.accept(i, now);
        Ok(())
    }

    /// Opus is configured first: browsers on lossy networks get it, whatever the SIP side speaks.
    pub(super) fn prefers_opus(&self) -> bool {
        self.config.codecs.first() == Some(&Codec::Opus)
    }

    /// These, and behind them what else is configured.
    fn all_codecs(&self, mut first: Vec<Codec>) -> Vec<Codec> {
        if self.prefers_opus() {
            first = negotiate::preferring(&first, Codec::Opus);
        }
        let rest: Vec<Codec> =
            self.config.codecs.iter().copied().filter(|codec| !first.contains(codec)).collect();
        first.into_iter().chain(rest).collect()
    }

    /// For an offer toward SIP: what the browser has too, which need not be transcoded, and then the rest.
    pub(super) fn sip_codecs(&self) -> Vec<Codec> {
        let shared = self.browser.codecs(&self.config.codecs);
        let rest = self.config.codecs.iter().filter(|codec| !shared.contains(codec));
        shared.iter().chain(rest).copied().collect()
    }

    /// What the browser should send beside that codec of the SIP side's.
    fn codec_beside(&self, sip: Codec) -> Option<Codec> {
        let can = self.browser.codecs(&self.config.codecs);
        if self.prefers_opus() && can.contains(&Codec::Opus) {
            return Some(Codec::Opus);
        }
        negotiate::nearest(can, sip)
    }

    /// What the browser sends, and what need not be transcoded if it sent something else, must change in the
    /// browser.
    pub(super) fn check_codecs(&mut self) {
        let (Some(sip), Some(browser)) = (self.codec(), self.browser.payloads.preferred()) else {
            return;
        };
        let wanted = self.codec_beside(sip);
        self.reoffer_browser = !negotiate::bridgeable(sip, browser.codec)
            && wanted.is_some_and(|wanted| negotiate::bridgeable(sip, wanted));
    }

    /// Brings about what is wanted and not yet agreed: one re-INVITE a call, one OFFER at a time.
    pub(super) fn reconcile(&mut self) {
        for i in 0..self.legs.len() {
            self.reconcile_leg(i);
        }
        let up = self.heard_index().filter(|i| self.legs[*i].is_up());
        if let Some(i) = up
            && (self.reoffer_browser || self.opens_video(i))
            && matches!(self.browser.exchange, Exchange::Idle)
        {
            self.reoffer_browser = false;
            let sip = self.legs[i].sip.codec();
            if let Some(codec) = sip.and_then(|sip| self.codec_beside(sip)) {
                self.offer_browser(i, &[codec], Vec::new());
            }
        }
        self.update_flow();
    }

    fn reconcile_leg(&mut self, i: usize) {
        let wanted = self.wanted_direction(i);
        let codecs = self.sip_codecs();
        let leg = &mut self.legs[i];
        let settled = leg.phase != Phase::Established
            || leg.role == Role::Replaced
            || leg.sip.reinviting
            || (leg.sip.wanted == wanted && !leg.sip.unsaid);
        if !settled {
            leg.sip.reinviting = true;
            let sdp = leg.sip.offer_direction(wanted, &codecs);
            let session = leg.sip.session;
            self.tell_sip(sip::Command::Reinvite { session, sdp: Some(sdp) });
        }
    }

    /// Held: we say that we go on sending, so that the peer keeps the way open, and hear nothing.
    pub(super) fn wanted_direction(&self, i: usize) -> Direction {
        if self.legs[i].held { Direction::SendOnly } else { Direction::SendRecv }
    }

    pub(super) fn offer_browser(
        &mut self,
        i: usize,
        codecs: &[Codec],
        attached: Vec<crate::wire::DataPair>,
    ) {
        self.plan_browser(i);
        let (ids, sdp) = self.browser.offer(codecs);
        let tiebreaker = self.browser.tiebreaker();
        self.say(i, ToBrowser::Offer { ids, tiebreaker, sdp, attached });
    }

    /// Answers the browser's offer in progress, for the codec in use toward SIP.
    pub(super) fn answer_browser(&mut self) {
        let Some(i) = self.active_index().or_else(|| self.chosen(None)) else { return };
        let first = self.browser.remote.is_none();
        self.plan_browser(i);
        // Before the far end has said its own (3pcc), what the browser sends already: anything else
        // would have to be changed by another OFFER.
        let first_offered = || self.browser.codecs(&self.config.codecs).first().copied();
        let sip = self.legs[i].sip.codec();
        let codec = sip
            .and_then(|sip| self.codec_beside(sip))
            .or_else(|| self.browser.sends())
            .or_else(first_offered);
        let Some((ids, sdp, remote)) = self.browser.answer(codec) else {
            return;
        };
        let early = self.legs[i].phase == Phase::Calling && first;
        self.tell_media(MediaCommand::SetBrowser(remote));
        self.say(i, ToBrowser::Answer { ids, sdp, early });
        self.check_codecs();
    }

    /// The call that is made to take the place of `i` (REFER), until it is answered.
    pub(super) fn successor(&self, i: usize) -> Option<usize> {
        let session = self.legs[i].sip.session;
        let follows = |leg: &Leg| {
            leg.phase == Phase::Calling
                && matches!(leg.role, Role::Successor { of, .. } if of == session)
        };
        self.legs.iter().position(follows)
    }

    /// The call whose far end the browser hears: the active one, or what is to take its place and has
    /// something to say before it is answered.
    pub(super) fn heard_index(&self) -> Option<usize> {
        let active = self.active_index()?;
        let early = |i: &usize| self.legs[*i].early && !self.legs[active].held;
        Some(self.successor(active).filter(early).unwrap_or(active))
    }

    /// The media plane follows the call that is heard.
    pub(super) fn update_media(&mut self, i: usize) {
        self.update_held();
        if self.heard_index() == Some(i) {
            self.connect(i);
        }
        self.update_flow();
    }

    fn connect(&mut self, i: usize) {
        if self.legs[i].is_up()
            && let Some(remote) = self.legs[i].sip.media()
        {
            self.heard = Some(self.legs[i].sip.session);
            self.tell_media(MediaCommand::SetSip(remote));
        }
    }

    /// Early media of a call that a REFER asked for begins, or comes to nothing.
    fn follow_heard(&mut self) {
        if let Some(i) = self.heard_index()
            && self.heard != Some(self.legs[i].sip.session)
        {
            self.connect(i);
            self.check_codecs();
        }
    }

    /// And keeps the way open to the far ends of the others.
    fn update_held(&mut self) {
        if self.legs.len() < 2 && self.active.is_some() && self.aside.is_empty() {
            return;
        }
        let heard = self.heard_index().map(|i| &self.legs[i]);
        let taken = heard.filter(|leg| leg.is_up()).and_then(|leg| leg.sip.remote.as_ref()?.target);
        let heard = heard.map(|leg| leg.sip.session);
        let aside = |leg: &&Leg| {
            Some(leg.sip.session) != heard
                && leg.phase == Phase::Established
                && leg.role == Role::Own
        };
        let held = |leg: &Leg| {
            let remote = leg.sip.media()?;
            // While a transfer is completed, both calls have one far end for a moment. It gets one stream.
            let single = remote.target.is_some() && remote.target != taken;
            single.then(|| HeldLeg { remote, sends: leg.sip.agreed.sends(), music: leg.held })
        };
        let legs: Vec<HeldLeg> = self.legs.iter().filter(aside).filter_map(held).collect();
        if legs != self.aside {
            self.aside.clone_from(&legs);
            self.tell_media(MediaCommand::SetHeld(legs));
        }
    }

    pub(super) fn update_flow(&mut self) {
        self.update_held();
        self.follow_heard();
        let heard = self.heard_index().filter(|i| self.legs[*i].is_up());
        let browser = self.browser.direction;
        let tone = self.tone();
        let silent = Flow { tone, ..Flow::NONE };
        // Whoever refers us has us on hold, as a rule: that its successor rings tells more than its music.
        let flow = heard.map(|i| &self.legs[i]).map_or(silent, |leg| Flow {
            to_sip: !leg.held && leg.sip.agreed.sends() && browser.sends(),
            to_browser: !leg.held
                && leg.sip.agreed.receives()
                && browser.receives()
                && !(leg.peer_held && tone.is_some()),
            keep_alive: leg.sip.agreed.sends(),
            tone,
            music: leg.held && leg.sip.agreed.sends(),
        });
        if flow != self.flow {
            self.flow = flow;
            self.tell_media(MediaCommand::SetFlow(flow));
        }
        self.update_video(flow);
    }
}
