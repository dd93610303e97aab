//! Descriptions that come in: read, and what is said of one that cannot be used.

use super::Line;
use crate::agent::MessageError;
use crate::sdp::{BrowserSdp, SdpError, SipSdp, SrtpPolicy};
use crate::wire::{RoapError, RoapIds, ToBrowser};

impl Line {
    pub(super) fn no_match(&mut self, i: usize, ids: Option<RoapIds>, detail: &str) {
        let detail = detail.to_owned();
        self.say(i, ToBrowser::Error { ids, error: RoapError::NoMatch, detail });
    }

    /// The browser's description cannot be used: in its own words where the dialect has some.
    ///
    /// # Errors
    /// The fault, where it is to be the answer to the request.
    pub(super) fn unusable(
        &mut self,
        i: usize,
        ids: Option<RoapIds>,
        error: MessageError,
    ) -> Result<(), MessageError> {
        if ids.is_none() {
            return Err(error);
        }
        let detail = error.to_string();
        self.say(i, ToBrowser::Error { ids, error: RoapError::Failed, detail });
        Ok(())
    }

    pub(super) fn parse_browser(&self, text: &str) -> Result<BrowserSdp, MessageError> {
        BrowserSdp::parse(text, &self.config.codecs).map_err(sdp_fault)
    }

    pub(super) fn parse_sip(&self, text: &str) -> Result<SipSdp, SdpError> {
        SipSdp::parse_with(text, &self.config.codecs, self.config.srtp)
    }

    /// The peer's answer to an offer of ours.
    pub(super) fn parse_answer(&self, i: usize, text: &str) -> Result<SipSdp, SdpError> {
        let answer = match self.parse_sip(text) {
            // Where nothing may be sent (a call that failed), no key is needed either.
            Err(SdpError::Unencrypted) => {
                SipSdp::parse_with(text, &self.config.codecs, SrtpPolicy::Off)
                    .ok()
                    .filter(SipSdp::is_black_hole)
                    .ok_or(SdpError::Unencrypted)
            }
            other => other,
        }?;
        self.legs[i].sip.check_answer(&answer)?;
        Ok(answer)
    }
}

/// A fault in a browser's SDP as the answer to its request.
pub(super) fn sdp_fault(error: SdpError) -> MessageError {
    match error {
        SdpError::NotSdp(_) | SdpError::TooLarge => MessageError::BadRequest(error.to_string()),
        _ => MessageError::UnusableSdp(error.to_string()),
    }
}
