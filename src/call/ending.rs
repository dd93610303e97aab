//! How a call of the line ends, who is told, and who gets the browser after it.

use super::leg::{Phase, Role};
use super::{Awaiting, CallEnd, CallEndedBy, Line, MediaCommand, Output};
use crate::agent::Dialect;
use crate::sip;
use crate::wire::ToBrowser;

impl Line {
    pub(super) fn end(&mut self, i: usize, by: CallEndedBy, code: u16, text: &str) {
        if self.legs[i].is_ended() {
            return;
        }
        let session = self.legs[i].sip.session;
        self.tell_sip(sip::Command::End { session, code, text: text.to_owned() });
        self.finish(i, by, code, text, None);
    }

    pub(super) fn finish(
        &mut self,
        i: usize,
        by: CallEndedBy,
        code: u16,
        text: &str,
        reason_header: Option<String>,
    ) {
        let session = self.legs[i].sip.session;
        self.refer_ended(i, code, text);
        let stood = self.legs[i].is_established();
        if matches!(by, CallEndedBy::Browser | CallEndedBy::Gateway) {
            // Whoever hangs up does not mean to be called on.
            self.end_successors(session, by, code, text);
        }
        self.legs[i].phase = Phase::Ended;
        self.tell_end(i, stood, by, code, text);
        let leg = &mut self.legs[i];
        leg.deadline = None;
        leg.keys = Default::default();
        let end = CallEnd {
            by,
            code,
            text: text.to_owned(),
            reason_header,
            answered_at: leg.answered_at,
            transfer: leg.transfer_code,
            digits: leg.digits,
            direction: leg.direction,
            codec: leg.sip.codec(),
        };
        self.outputs.push_back(Output::Ended(session, end));
    }

    /// What the browser hears of a call's end.
    fn tell_end(&mut self, i: usize, stood: bool, by: CallEndedBy, code: u16, text: &str) {
        let session = self.legs[i].sip.session;
        let reason = text.to_owned();
        let presented = self.active == Some(session);
        let others = self.legs.iter().any(|leg| {
            leg.role == Role::Own && (leg.is_established() || leg.phase == Phase::Calling)
        });
        let heir = self
            .legs
            .iter()
            .find(|leg| {
                !leg.is_ended() && matches!(leg.role, Role::Successor { of, .. } if of == session)
            })
            .map(|leg| leg.sip.session);
        if presented {
            self.active = heir;
        }
        let succeeds = match self.legs[i].role {
            Role::Own => false,
            Role::Replaced => true,
            // Not where the call that it was to follow has ended before it.
            Role::Successor { of, .. } => self.index(of).is_some(),
        };
        if heir.is_some() || succeeds {
            // The browser's call goes on with another SIP session.
        } else if others || !(presented || stood) {
            if by == CallEndedBy::Browser && presented && self.dialect == Dialect::Jsapi {
                // The client has closed its peer connection with it.
                self.renew_browser();
            } else {
                self.say(i, ToBrowser::Ended { code, reason });
            }
        } else if by != CallEndedBy::Browser {
            self.say(i, ToBrowser::Bye { code, reason });
        }
    }

    /// Drops the calls that are over, and sees to it that a waiting one gets the browser.
    pub(super) fn sweep(&mut self) {
        if self.legs.iter().all(|leg| leg.is_ended() || leg.role == Role::Replaced) {
            // Nobody waits for the peer's good-bye when the agent may want to call.
            for i in 0..self.legs.len() {
                self.end(i, CallEndedBy::Gateway, 200, "another call took its place");
            }
        }
        self.legs.retain(|leg| !leg.is_ended());
        self.update_flow();
        if self.reoffer_browser {
            // Whoever is heard again speaks another codec.
            self.reconcile();
        }
        let taken = self.active.is_some()
            || self.awaiting_local != Awaiting::Nothing
            || self.legs.iter().any(|leg| leg.is_established());
        if !taken && self.legs.iter().any(|leg| leg.is_ringing()) {
            self.renew_browser();
        }
    }

    /// The browser's peer connection is gone; the next description is of a new one.
    pub(super) fn renew_browser(&mut self) {
        self.browser.forget();
        self.reoffer_browser = false;
        self.echo_hold = None;
        self.awaiting_local = Awaiting::Fresh;
        self.tell_media(MediaCommand::RenewBrowser);
    }
}
