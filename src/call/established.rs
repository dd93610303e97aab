//! In the call: renegotiation from either side, hold, data.

use std::time::Instant;

use crate::agent::{Dialect, MessageError};
use crate::sdp::negotiate;
use crate::sip::{self, dtmf_info};
use crate::wire::{RoapError, RoapIds, ToBrowser};

use super::leg::{Phase, Role};
use super::ringback::Ringback;
use super::video;
use super::{
    Awaiting, ECHO_LIMIT, Exchange, Line, MAX_INFO, MediaCommand, RETRIEVE_LIMIT, wrong_state,
};

impl Line {
    /// An OFFER of the browser's after the first message: acceptance of an offerless call, or a
    /// renegotiation (hold, resume, ICE restart, a whole new peer connection).
    pub(super) fn browser_offer(
        &mut self,
        i: usize,
        ids: Option<RoapIds>,
        text: &str,
        now: Instant,
    ) -> Result<(), MessageError> {
        if self.browser.is_repeated_offer(ids, text) {
            return Ok(());
        }
        match self.legs[i].phase {
            Phase::Calling if self.browser.remote.is_none() => {
                if ids.is_none() {
                    return Err(wrong_state("a call is being set up"));
                }
                self.no_match(i, ids, "an OFFER while another one is in progress");
                return Ok(());
            }
            Phase::Ringing { offered: true } if self.browser.remote.is_none() => {
                return Err(wrong_state("a call is ringing; answer or reject it first"));
            }
            _ => {}
        }
        if matches!(self.browser.exchange, Exchange::Theirs { .. }) {
            self.no_match(i, ids, "an OFFER while another one is in progress");
            return Ok(());
        }
        let sdp = match self.parse_browser(text) {
            Ok(sdp) => sdp,
            Err(error) => return self.unusable(i, ids, error),
        };
        let before = self
            .browser
            .remote
            .as_ref()
            .map(|old| (old.ice.clone(), old.fingerprint, old.direction.receives()));
        let receives = sdp.direction.receives();
        let (ice, fingerprint) = (sdp.ice.clone(), sdp.fingerprint);
        // Glare: the client ignores our OFFER while its own is out, so it displaces ours. Where ours is
        // still wanted afterwards, `check_codecs` says so.
        self.browser.begin_theirs(ids, text, sdp);
        let Some((old_ice, old_fingerprint, received)) = before else {
            if !receives {
                self.legs[i].held = true;
            }
            return self.first_offer_of_incoming(i, now);
        };
        // Only a change is the agent's word: an ICE restart of a held call resumes nothing. A call that
        // is being retrieved is held by itself where the browser was with another one meanwhile.
        let word = received != receives || (receives && self.legs[i].retrieving);
        if word && !self.is_echo(receives, now) {
            self.legs[i].held = !receives;
            if receives && self.legs[i].is_established() {
                self.activate(i);
            }
        }
        if old_fingerprint != fingerprint {
            self.awaiting_local = Awaiting::Answer;
            self.tell_media(MediaCommand::RenewBrowser);
        } else if old_ice != ice {
            self.awaiting_local = Awaiting::Answer;
            self.tell_media(MediaCommand::RestartIce);
        } else {
            self.answer_browser();
        }
        if self.legs[i].retrieving {
            self.answer_retrieve(i);
        }
        self.reconcile();
        Ok(())
    }

    /// An OFFER that holds, because EVENT-HOLD told the client so: the server has long had its hold,
    /// and may have gone on to a talk, in this call or another.
    fn is_echo(&mut self, receives: bool, now: Instant) -> bool {
        !receives && self.echo_hold.take().is_some_and(|until| now <= until)
    }

    /// The first OFFER of a call that came without one: it answers the call, or follows a talk that did.
    fn first_offer_of_incoming(&mut self, i: usize, now: Instant) -> Result<(), MessageError> {
        self.legs[i].deadline = None;
        if self.legs[i].is_ringing() {
            self.accept(i, now);
        } else if self.legs[i].phase == Phase::Established {
            // NOTIFY talk answered the SIP side, and its ACK is here already.
            self.answer_browser();
            self.reconcile();
        } else if self.legs[i].ringback == Ringback::Rings {
            // It has come late to what rings already.
            self.answer_browser();
            self.update_flow();
        }
        Ok(())
    }

    /// re-INVITE or UPDATE from the SIP side.
    pub(super) fn sip_reinvited(&mut self, i: usize, sdp: Option<&str>, now: Instant) {
        let session = self.legs[i].sip.session;
        let Some(text) = sdp else {
            if self.is_retrieve(i) {
                // The browser has to come along.
                self.activate(i);
                self.legs[i].retrieving = true;
                self.legs[i].deadline = Some(now + RETRIEVE_LIMIT);
                self.say(i, ToBrowser::Invite);
            } else {
                self.offer_in_200(i);
            }
            return;
        };
        let offer = match self.parse_sip(text) {
            Ok(offer) => offer,
            Err(_) => return self.tell_sip(sip::Command::RejectReinvite { session, code: 488 }),
        };
        let Some(codec) = self.answer_codec(&offer) else {
            return self.tell_sip(sip::Command::RejectReinvite { session, code: 488 });
        };
        let held = !offer.direction.receives();
        let wanted = self.wanted_direction(i);
        self.plan_sip(i);
        let sdp = self.legs[i].sip.answer(offer, codec, wanted);
        // Ready before the answer says so: what it allows may come the moment it is there.
        self.update_media(i);
        self.tell_sip(sip::Command::AcceptReinvite { session, sdp });
        if held != self.legs[i].peer_held && self.legs[i].role == Role::Own {
            self.legs[i].peer_held = held;
            self.say(i, if held { ToBrowser::PeerHold } else { ToBrowser::PeerResume });
        }
        self.check_codecs();
        self.reconcile();
    }

    /// Does an offerless re-INVITE retrieve a held call? Not while the agent talks in another one: it
    /// comes on every answered call too.
    fn is_retrieve(&self, i: usize) -> bool {
        let active = self.active_index();
        let free = active.is_none_or(|active| active == i || self.legs[active].held);
        let leg = &self.legs[i];
        leg.held
            && leg.role == Role::Own
            && free
            && self.dialect == Dialect::Jsapi
            && self.browser.remote.is_some()
    }

    /// A full offer in the 200 to an offerless re-INVITE: what is in use first.
    fn offer_in_200(&mut self, i: usize) {
        let mut codecs = self.sip_codecs();
        if let Some(codec) = self.legs[i].sip.codec() {
            codecs = negotiate::preferring(&codecs, codec);
        }
        let wanted = self.wanted_direction(i);
        self.plan_sip(i);
        let sdp = self.legs[i].sip.offer(&codecs, wanted);
        let session = self.legs[i].sip.session;
        self.tell_sip(sip::Command::AcceptReinvite { session, sdp });
    }

    pub(super) fn answer_retrieve(&mut self, i: usize) {
        if std::mem::take(&mut self.legs[i].retrieving) {
            self.legs[i].deadline = None;
            self.offer_in_200(i);
        }
    }

    /// 2xx to a re-INVITE of ours.
    pub(super) fn reinvite_answered(&mut self, i: usize, sdp: Option<&str>) {
        self.legs[i].sip.reinviting = false;
        if let Some(Ok(answer)) = sdp.map(|text| self.parse_answer(i, text)) {
            self.legs[i].sip.settle(answer);
            self.update_media(i);
            self.check_codecs();
        }
        self.reconcile();
    }

    pub(super) fn notified_hold(&mut self, i: usize, now: Instant) {
        if !self.legs[i].is_established() || self.legs[i].role != Role::Own {
            return;
        }
        let session = self.legs[i].sip.session;
        self.legs[i].held = true;
        if self.active == Some(session) {
            if self.dialect == Dialect::Jsapi && self.browser.direction.receives() {
                self.echo_hold = Some(now + ECHO_LIMIT);
            }
            self.say(i, ToBrowser::Hold);
        }
        self.reconcile();
    }

    /// HOLD and RESUME of the raw-SDP dialect: the browser's own description stays as it is.
    pub(super) fn set_held(&mut self, i: usize, held: bool) -> Result<(), MessageError> {
        if !self.legs[i].is_established() {
            return Err(wrong_state("there is no established call"));
        }
        self.legs[i].held = held;
        if !held {
            self.activate(i);
        }
        self.reconcile();
        Ok(())
    }

    pub(super) fn info(
        &mut self,
        i: usize,
        content_type: &str,
        data: String,
    ) -> Result<(), MessageError> {
        if data.len() > MAX_INFO {
            return Err(MessageError::BadRequest("INFO takes at most 8 KiB of data".into()));
        }
        if !self.legs[i].is_established() {
            return Err(wrong_state("there is no established call"));
        }
        self.tell_sip(sip::Command::Info {
            session: self.legs[i].sip.session,
            content_type: content_type.to_owned(),
            body: data.into_bytes(),
        });
        Ok(())
    }

    /// User data and digits from the far end. What else comes as INFO is none of the browser's business.
    pub(super) fn informed(&mut self, i: usize, content_type: &str, body: Vec<u8>) {
        if let Some(tone) = dtmf_info::parse(content_type, &body) {
            if self.active == Some(self.legs[i].sip.session) && self.legs[i].is_up() {
                self.tell_media(MediaCommand::PlayDigit(tone.digit));
            }
            return self.say(i, ToBrowser::Digit(tone.digit));
        }
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case(video::MEDIA_CONTROL) {
            return self.media_control(i, &body);
        }
        let user_data = ["application/x-www-form-urlencoded", "application/octet-stream"]
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known));
        if !user_data || body.len() > MAX_INFO {
            return;
        }
        if let Ok(text) = String::from_utf8(body) {
            let line: String = text.chars().filter(|c| !c.is_control()).collect();
            self.say(i, ToBrowser::InfoPeer(line));
        }
    }

    /// What an INFO brought did not arrive. The JSAPI's client would take an ERROR for its session's.
    pub(super) fn info_refused(&mut self, i: usize, code: u16) {
        // Digits that follow one that was refused would only be half a number.
        self.legs[i].keys = Default::default();
        if self.dialect == Dialect::Rest {
            let detail = format!("the far end refused an INFO: {code}");
            self.say(i, ToBrowser::Error { ids: None, error: RoapError::Refused, detail });
        }
    }
}
