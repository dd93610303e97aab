//! The agent calls (first-party): OFFER, INVITE, 200, ANSWER.

use std::time::Instant;

use crate::agent::{Dialect, MessageError};
use crate::sdp::{BrowserSdp, Direction};
use crate::sip::{self, HeaderPair, SessionId};
use crate::wire::{DataPair, RoapIds, ToBrowser};

use super::attached;
use super::descriptions::sdp_fault;
use super::ringback::Ringback;
use super::{CallConfig, CallDirection, CallEndedBy, Line, MediaLocal, Phase, Role, Seed};

/// A browser's first offer, checked before any resource is taken for it.
#[derive(Debug)]
pub struct FirstOffer {
    pub ids: Option<RoapIds>,
    text: String,
    sdp: BrowserSdp,
    headers: Vec<HeaderPair>,
}

impl FirstOffer {
    pub fn parse(
        ids: Option<RoapIds>,
        text: String,
        attached: &[DataPair],
        config: &CallConfig,
    ) -> Result<Self, MessageError> {
        let sdp = BrowserSdp::parse(&text, &config.codecs).map_err(sdp_fault)?;
        let headers = attached::headers(&config.attached_prefix, attached);
        Ok(Self { ids, text, sdp, headers })
    }

    /// Whether it asks for video that may be had.
    pub fn has_video(&self, config: &CallConfig) -> bool {
        !config.video.is_empty() && self.sdp.video.is_some()
    }
}

impl Line {
    /// A line with a call to `to`. The INVITE is the first output.
    pub fn outgoing(
        config: CallConfig,
        session: SessionId,
        to: &str,
        offer: FirstOffer,
        local: MediaLocal,
        seed: Seed,
        now: Instant,
    ) -> Self {
        let dialect = if offer.ids.is_some() { Dialect::Jsapi } else { Dialect::Rest };
        let mut line = Self::new(config, dialect, local, seed);
        line.browser.begin_theirs(offer.ids, &offer.text, offer.sdp);
        let codecs = line.sip_codecs();
        let i = line.add(session, CallDirection::Outgoing, Phase::Calling, now);
        line.active = Some(session);
        line.plan_sip(i);
        let sdp = Some(line.legs[i].sip.offer(&codecs, Direction::SendRecv));
        let headers = offer.headers;
        line.tell_sip(sip::Command::Invite { session, to: to.to_owned(), sdp, headers });
        line
    }

    /// A provisional answer. With an SDP it lets media through before the call is answered: the
    /// network's announcements and tones. Of several early dialogs the last SDP wins; the browser is
    /// answered for the first and not touched by the others.
    pub(super) fn progressed(
        &mut self,
        i: usize,
        code: u16,
        text: &str,
        sdp: Option<&str>,
        now: Instant,
    ) {
        if self.legs[i].phase != Phase::Calling || code <= 100 {
            return;
        }
        self.refer_progress(i, code, text);
        if matches!(self.legs[i].role, Role::Own) && !self.legs[i].rang {
            self.legs[i].rang = true;
            self.say(i, ToBrowser::Ringing);
        }
        if code == 180 && self.config.ringback {
            self.legs[i].ring_soon(now);
        }
        // What cannot be used is no reason to give up: the 200 may bring something better.
        let Some(Ok(answer)) = sdp.map(|text| self.parse_answer(i, text)) else { return };
        if !matches!(self.legs[i].role, Role::Own) {
            // The browser is with the call that is transferred.
            return;
        }
        self.legs[i].sip.settle(answer);
        self.legs[i].early = true;
        self.answer_browser();
        self.update_media(i);
        self.check_codecs();
        self.reconcile();
    }

    /// 2xx to our INVITE; the ACK has gone out.
    pub(super) fn sip_answered(&mut self, i: usize, sdp: Option<&str>, now: Instant) {
        if self.legs[i].phase != Phase::Calling {
            return;
        }
        match sdp.map(|text| self.parse_answer(i, text)) {
            Some(Ok(answer)) => self.legs[i].sip.settle(answer),
            Some(Err(error)) => {
                let text = format!("the far end's answer cannot be used: {error}");
                return self.end(i, CallEndedBy::Gateway, 488, &text);
            }
            // A reliable provisional answer has brought it (RFC 3262 5).
            None if self.legs[i].early => {}
            None => {
                let text = "the far end answered without an SDP";
                return self.end(i, CallEndedBy::Gateway, 488, text);
            }
        }
        let early = std::mem::take(&mut self.legs[i].early);
        let leg = &mut self.legs[i];
        leg.phase = Phase::Established;
        leg.ringback = Ringback::No;
        leg.confirmed = true;
        leg.answered_at = Some(now);
        leg.deadline = None;
        self.succeed(i, now);
        let session = self.legs[i].sip.session;
        match self.active {
            None => self.active = Some(session),
            // The agent has gone back to another call meanwhile.
            Some(active) if active != session => self.legs[i].held = true,
            Some(_) => {}
        }
        if self.active == Some(self.legs[i].sip.session) {
            let unanswered = matches!(self.browser.exchange, super::Exchange::Theirs { .. });
            self.answer_browser();
            if early || !unanswered {
                self.say(i, ToBrowser::Connected);
            }
        }
        self.update_media(i);
        self.check_codecs();
        self.reconcile();
    }
}
