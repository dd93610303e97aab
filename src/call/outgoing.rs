//! The agent calls (first-party): OFFER, INVITE, 200, ANSWER.

use std::time::Instant;

use crate::agent::{Dialect, MessageError};
use crate::sdp::{BrowserSdp, Direction};
use crate::sip::{self, SessionId};
use crate::wire::RoapIds;

use super::{Call, CallConfig, CallDirection, CallEndedBy, MediaLocal, Phase, Seed, sdp_fault};

/// A browser's first offer, checked before any resource is taken for it.
#[derive(Debug)]
pub struct FirstOffer {
    pub ids: Option<RoapIds>,
    text: String,
    sdp: BrowserSdp,
}

impl FirstOffer {
    pub fn parse(
        ids: Option<RoapIds>,
        text: String,
        config: &CallConfig,
    ) -> Result<Self, MessageError> {
        let sdp = BrowserSdp::parse(&text, &config.codecs).map_err(sdp_fault)?;
        Ok(Self { ids, text, sdp })
    }
}

impl Call {
    /// Calls `to`. The INVITE is the first output.
    pub fn outgoing(
        config: CallConfig,
        session: SessionId,
        to: &str,
        offer: FirstOffer,
        local: MediaLocal,
        seed: Seed,
        now: Instant,
    ) -> Self {
        let direction = CallDirection::Outgoing;
        let dialect = if offer.ids.is_some() { Dialect::Jsapi } else { Dialect::Rest };
        let phase = Phase::Calling;
        let mut call = Self::new(config, direction, dialect, phase, session, local, seed, now);
        call.browser.begin_theirs(offer.ids, &offer.text, offer.sdp);
        let codecs = call.browser.codecs(&call.config.codecs);
        let sdp = Some(call.sip.offer(&codecs, Direction::SendRecv));
        call.tell_sip(sip::Command::Invite {
            session,
            to: to.to_owned(),
            sdp,
            headers: Vec::new(),
        });
        call
    }

    /// 2xx to our INVITE; the ACK has gone out.
    pub(super) fn sip_answered(&mut self, sdp: Option<&str>, now: Instant) {
        if self.phase != Phase::Calling {
            return;
        }
        let answer = match sdp.map(|text| self.parse_sip(text)) {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => {
                let text = format!("the far end's answer cannot be used: {error}");
                return self.end(CallEndedBy::Gateway, 488, &text, now);
            }
            None => {
                let text = "the far end answered without an SDP";
                return self.end(CallEndedBy::Gateway, 488, text, now);
            }
        };
        self.sip.settle(answer);
        self.phase = Phase::Established;
        self.answered_at = Some(now);
        self.deadline = None;
        self.answer_browser();
        self.update_media();
        self.reconcile();
    }
}
