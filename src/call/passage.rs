//! What one side wishes, for the other to be told: where packets are passed on as they are, whoever sends them
//! is who has to follow.

use super::Line;
use super::browser::Exchange;

impl Line {
    /// Before the SIP side gets a description: what the browser has to say to it.
    pub(super) fn plan_sip(&mut self, i: usize) {
        self.plan_sip_video(i);
        let described = match &self.browser.exchange {
            Exchange::Theirs { sdp, .. } => Some(&**sdp),
            _ => self.browser.remote.as_ref(),
        };
        let payloads = described.map(|sdp| sdp.payloads.clone());
        self.legs[i].sip.across = payloads.unwrap_or_default();
    }

    /// Before the browser gets a description in call `i`: what the SIP side has to say to it.
    pub(super) fn plan_browser(&mut self, i: usize) {
        self.plan_browser_video(i);
        let remote = self.legs[i].sip.remote.as_ref();
        self.browser.across = remote.map(|sdp| sdp.payloads.clone()).unwrap_or_default();
    }
}
