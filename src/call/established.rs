//! In the call: renegotiation from either side, hold, data.

use std::time::Instant;

use crate::agent::{Dialect, MessageError};
use crate::sdp::negotiate;
use crate::sip;
use crate::wire::{RoapError, RoapIds, ToBrowser};

use super::{Call, Exchange, MediaCommand, Phase, RETRIEVE_LIMIT, wrong_state};

/// Digits in one command; more is no dialling.
const MAX_DIGITS: usize = 64;

/// User data in one INFO, in bytes: with SIP's headers it still fits a datagram.
const MAX_INFO: usize = 8 * 1024;

impl Call {
    /// An OFFER of the browser's after the first message: acceptance of an offerless call, or a
    /// renegotiation (hold, resume, ICE restart, a whole new peer connection).
    pub(super) fn browser_offer(
        &mut self,
        ids: Option<RoapIds>,
        text: &str,
        now: Instant,
    ) -> Result<(), MessageError> {
        if self.browser.is_repeated_offer(ids, text) {
            return Ok(());
        }
        match self.phase {
            Phase::Calling => {
                if ids.is_none() {
                    return Err(wrong_state("a call is being set up"));
                }
                self.no_match(ids, "an OFFER while another one is in progress");
                return Ok(());
            }
            Phase::Ringing { offered: true } => {
                return Err(wrong_state("a call is ringing; answer or reject it first"));
            }
            _ => {}
        }
        if matches!(self.browser.exchange, Exchange::Theirs { .. }) {
            self.no_match(ids, "an OFFER while another one is in progress");
            return Ok(());
        }
        let sdp = match self.parse_browser(text) {
            Ok(sdp) => sdp,
            Err(error) if ids.is_none() => return Err(error),
            Err(error) => {
                let detail = error.to_string();
                self.say(ToBrowser::Error { ids, error: RoapError::Failed, detail });
                return Ok(());
            }
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
                self.held = true;
            }
            return self.first_offer_of_incoming(now);
        };
        // Only a change is the agent's word: an ICE restart of a held call resumes nothing.
        if received != receives {
            self.held = !receives;
        }
        if old_fingerprint != fingerprint {
            self.awaiting_local = true;
            self.tell_media(MediaCommand::RenewBrowser);
        } else if old_ice != ice {
            self.awaiting_local = true;
            self.tell_media(MediaCommand::RestartIce);
        } else {
            self.answer_browser();
        }
        if self.retrieving {
            self.answer_retrieve();
        }
        self.reconcile();
        Ok(())
    }

    /// The first OFFER of a call that came without one: it answers the call, or follows a talk that did.
    fn first_offer_of_incoming(&mut self, now: Instant) -> Result<(), MessageError> {
        self.deadline = None;
        if self.is_ringing() {
            self.accept_with_offer(now);
        } else if self.phase == Phase::Established {
            // NOTIFY talk answered the SIP side, and its ACK is here already.
            self.answer_browser();
            self.reconcile();
        }
        Ok(())
    }

    /// re-INVITE or UPDATE from the SIP side.
    pub(super) fn sip_reinvited(&mut self, sdp: Option<&str>, now: Instant) {
        let session = self.sip.session;
        let Some(text) = sdp else {
            if self.held && self.dialect == Dialect::Jsapi && self.browser.remote.is_some() {
                // A retrieve by the SIP server: the browser has to come along.
                self.retrieving = true;
                self.deadline = Some(now + RETRIEVE_LIMIT);
                self.say(ToBrowser::Invite);
            } else {
                self.offer_in_200();
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
        let wanted = self.wanted_direction();
        let sdp = self.sip.answer(offer, codec, wanted);
        // Ready before the answer says so: what it allows may come the moment it is there.
        self.update_media();
        self.tell_sip(sip::Command::AcceptReinvite { session, sdp });
        if held != self.peer_held {
            self.peer_held = held;
            self.say(if held { ToBrowser::PeerHold } else { ToBrowser::PeerResume });
        }
        self.check_codecs();
        self.reconcile();
    }

    /// A full offer in the 200 to an offerless re-INVITE: what is in use first.
    fn offer_in_200(&mut self) {
        let mut codecs = self.browser.codecs(&self.config.codecs);
        if let Some(codec) = self.sip.codec() {
            codecs = negotiate::preferring(&codecs, codec);
        }
        let wanted = self.wanted_direction();
        let sdp = self.sip.offer(&codecs, wanted);
        let session = self.sip.session;
        self.tell_sip(sip::Command::AcceptReinvite { session, sdp });
    }

    pub(super) fn answer_retrieve(&mut self) {
        if std::mem::take(&mut self.retrieving) {
            self.deadline = None;
            self.offer_in_200();
        }
    }

    /// 2xx to a re-INVITE of ours.
    pub(super) fn reinvite_answered(&mut self, sdp: Option<&str>) {
        self.sip.reinviting = false;
        if let Some(Ok(answer)) = sdp.map(|text| self.parse_sip(text)) {
            self.sip.settle(answer);
            self.update_media();
            self.check_codecs();
        }
        self.reconcile();
    }

    pub(super) fn notified_hold(&mut self) {
        if self.is_established() {
            self.held = true;
            self.say(ToBrowser::Hold);
            self.reconcile();
        }
    }

    /// HOLD and RESUME of the raw-SDP dialect: the browser's own description stays as it is.
    pub(super) fn set_held(&mut self, held: bool) -> Result<(), MessageError> {
        if !self.is_established() {
            return Err(wrong_state("there is no established call"));
        }
        self.held = held;
        self.reconcile();
        Ok(())
    }

    pub(super) fn dtmf(&mut self, digits: String) -> Result<(), MessageError> {
        let digits = digits.trim().to_ascii_uppercase();
        let usable = |c: char| c.is_ascii_digit() || matches!(c, '*' | '#' | 'A'..='D' | ',');
        if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.chars().all(usable) {
            let text = "DTMF takes 1 to 64 of the signs 0-9 * # A-D and the comma for a pause";
            return Err(MessageError::BadRequest(text.into()));
        }
        if !self.is_established() {
            return Err(wrong_state("there is no established call"));
        }
        if !self.sip.takes_digits() {
            return Err(wrong_state("the far end takes no digits: it has no telephone-event"));
        }
        self.tell_media(MediaCommand::SendDigits(digits));
        Ok(())
    }

    pub(super) fn info(&mut self, content_type: &str, data: String) -> Result<(), MessageError> {
        if data.len() > MAX_INFO {
            return Err(MessageError::BadRequest("INFO takes at most 8 KiB of data".into()));
        }
        if !self.is_established() {
            return Err(wrong_state("there is no established call"));
        }
        self.tell_sip(sip::Command::Info {
            session: self.sip.session,
            content_type: content_type.to_owned(),
            body: data.into_bytes(),
        });
        Ok(())
    }

    /// User data from the far end. DTMF and whatever else comes as INFO is none of the browser's business.
    pub(super) fn informed(&mut self, content_type: &str, body: Vec<u8>) {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let user_data = ["application/x-www-form-urlencoded", "application/octet-stream"]
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known));
        if !user_data || body.len() > MAX_INFO {
            return;
        }
        if let Ok(text) = String::from_utf8(body) {
            let line: String = text.chars().filter(|c| !c.is_control()).collect();
            self.say(ToBrowser::InfoPeer(line));
        }
    }
}
