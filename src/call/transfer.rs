//! Transfers: REFER both ways (RFC 3515, RFC 5589), INVITE with Replaces (RFC 3891).

use std::time::Instant;

use crate::agent::MessageError;
use crate::sdp::Direction;
use crate::sip::{self, ReferId, Referred, SessionId};
use crate::wire::ToBrowser;

use super::leg::{Leg, Phase, Role};
use super::{CallDirection, CallEndedBy, Exchange, InviteOffer, Line, REPLACED_LIMIT, wrong_state};

impl Line {
    /// The agent transfers the call `on`, or the active one, to `to`; with `replaces` in place of that
    /// other call of the agent's. Then REFER goes out in the one that is not replaced.
    pub fn transfer(
        &mut self,
        on: Option<SessionId>,
        to: &str,
        replaces: Option<SessionId>,
    ) -> Result<(), MessageError> {
        let other = |leg: &&Leg| {
            leg.role == Role::Own && leg.is_established() && Some(leg.sip.session) != replaces
        };
        let i = match on {
            None if replaces == self.active && replaces.is_some() => {
                let session = self.legs.iter().find(other).map(|leg| leg.sip.session);
                session.and_then(|session| self.index(session))
            }
            on => self.chosen(on),
        };
        let Some(i) = i.filter(|i| self.legs[*i].is_established()) else {
            return Err(wrong_state("there is no established call to transfer"));
        };
        if self.legs[i].transferring.is_some() {
            return Err(wrong_state("this call is being transferred"));
        }
        let session = self.legs[i].sip.session;
        if let Some(replaced) = replaces {
            let known = self.index(replaced).is_some_and(|r| self.legs[r].is_established());
            if replaced == session || !known {
                return Err(wrong_state("REPLACES names no other established call of yours"));
            }
        }
        self.legs[i].transferring = Some(replaces);
        self.tell_sip(sip::Command::Refer { session, to: to.to_owned(), replaces });
        Ok(())
    }

    /// How our REFER goes. After success both our calls are over; after a failure the call stands as it
    /// did.
    pub(super) fn transferring(&mut self, i: usize, code: u16, text: &str, done: bool) {
        let Some(replaces) = self.legs[i].transferring else { return };
        self.legs[i].transfer_code = Some(code);
        self.say(i, ToBrowser::Transfer { code, text: text.to_owned() });
        if !done {
            return;
        }
        self.legs[i].transferring = None;
        if (200..300).contains(&code) {
            // The peer of the other call hangs up by itself as soon as it is replaced (RFC 3891 3).
            if let Some(r) = replaces.and_then(|session| self.index(session)) {
                self.end(r, CallEndedBy::Gateway, 200, "transferred");
            }
            self.end(i, CallEndedBy::Gateway, 200, "transferred");
        }
    }

    /// A REFER in one of our calls: we call the target ourselves, as a desk phone does. The browser
    /// stays with the old call until the new one is answered, and knows nothing of it.
    pub fn referred(
        &mut self,
        of: SessionId,
        refer: ReferId,
        referred: &Referred,
        new: SessionId,
        now: Instant,
    ) -> bool {
        let called = |leg: &Leg| matches!(leg.role, Role::Successor { .. });
        let known = self.index(of).is_some_and(|i| {
            self.legs[i].phase == Phase::Established && self.legs[i].role == Role::Own
        });
        // One at a time: whoever refers twice has not waited for what became of the first.
        if !known || self.legs.iter().any(called) {
            self.tell_sip(sip::Command::RejectRefer { refer, code: 603 });
            return false;
        }
        self.tell_sip(sip::Command::AcceptRefer { refer });
        self.tell_sip(sip::Command::ReferProgress { refer, code: 100, text: "Trying".into() });
        let i = self.add(new, CallDirection::Outgoing, Phase::Calling, now);
        self.legs[i].role = Role::Successor { of, refer };
        let mut headers = Vec::new();
        if let Some(replaces) = &referred.replaces {
            headers.push(("Replaces".to_owned(), replaces.clone()));
        }
        if let Some(by) = &referred.referred_by {
            headers.push(("Referred-By".to_owned(), by.clone()));
        }
        self.invite(i, &referred.to, headers);
        true
    }

    /// Another call of the agent's, on the browser's peer connection: the active one is held. For a
    /// consultation.
    pub fn dial(&mut self, new: SessionId, to: &str, now: Instant) -> Result<(), MessageError> {
        let up = self.legs.iter().any(|leg| leg.is_established() && leg.role == Role::Own);
        if !up || self.browser.remote.is_none() {
            return Err(wrong_state("without an established call a new one begins with an SDP"));
        }
        let unsettled = |leg: &Leg| leg.phase == Phase::Calling && leg.role == Role::Own;
        if self.legs.iter().any(unsettled) {
            return Err(wrong_state("a call is being set up"));
        }
        let i = self.add(new, CallDirection::Outgoing, Phase::Calling, now);
        self.activate(i);
        self.invite(i, to, Vec::new());
        Ok(())
    }

    fn invite(&mut self, i: usize, to: &str, headers: Vec<sip::HeaderPair>) {
        let codecs = self.browser.codecs(&self.config.codecs);
        self.plan_sip(i);
        let sdp = Some(self.legs[i].sip.offer(&codecs, Direction::SendRecv));
        let session = self.legs[i].sip.session;
        self.tell_sip(sip::Command::Invite { session, to: to.to_owned(), sdp, headers });
    }

    pub(super) fn refer_progress(&mut self, i: usize, code: u16, text: &str) {
        if let Role::Successor { refer, .. } = self.legs[i].role {
            let text = text.to_owned();
            self.tell_sip(sip::Command::ReferProgress { refer, code, text });
        }
    }

    /// The call that a REFER asked for has failed: so it is reported, and the old one goes on.
    pub(super) fn refer_ended(&mut self, i: usize, code: u16, text: &str) {
        let code = if code < 300 { 487 } else { code };
        self.refer_progress(i, code, text);
    }

    pub(super) fn end_successors(&mut self, of: SessionId, by: CallEndedBy, code: u16, text: &str) {
        for i in 0..self.legs.len() {
            if matches!(self.legs[i].role, Role::Successor { of: old, .. } if old == of) {
                self.end(i, by, code, text);
            }
        }
    }

    /// The call that a REFER asked for is answered: it gets what the old one had.
    pub(super) fn succeed(&mut self, i: usize, now: Instant) {
        let Role::Successor { of, .. } = self.legs[i].role else { return };
        self.refer_progress(i, 200, "OK");
        self.legs[i].role = Role::Own;
        let Some(old) = self.index(of) else { return };
        self.legs[old].role = Role::Replaced;
        self.legs[old].deadline = Some(now + REPLACED_LIMIT);
        self.inherit(i, old);
    }

    fn inherit(&mut self, new: usize, old: usize) {
        self.legs[new].held = self.legs[old].held;
        let (from, to) = (self.legs[old].sip.session, self.legs[new].sip.session);
        if self.active == Some(from) {
            self.active = Some(to);
        }
        if std::mem::take(&mut self.legs[old].peer_held) && self.active == Some(to) {
            self.say(new, ToBrowser::PeerResume);
        }
        self.say(new, ToBrowser::Peer);
    }

    /// An INVITE with Replaces: answered at once, and the call it names is over. False where it names
    /// none that can be replaced.
    pub fn replaced(
        &mut self,
        old: SessionId,
        new: SessionId,
        offer: InviteOffer,
        now: Instant,
    ) -> bool {
        let Some(o) = self.index(old).filter(|o| {
            // An early call only where we made it (RFC 3891 3).
            !self.legs[*o].is_ringing() && self.legs[*o].role == Role::Own
        }) else {
            self.tell_sip(sip::Command::End {
                session: new,
                code: 481,
                text: "no such call to replace".into(),
            });
            return false;
        };
        let i = self.ring(new, offer, now);
        let active = self.active;
        self.inherit(i, o);
        self.take_up(i, now);
        if self.legs[i].is_ended() {
            self.active = active;
            self.update_media(o);
        } else {
            self.legs[o].role = Role::Replaced;
            self.end(o, CallEndedBy::Gateway, 200, "another call took its place");
            if matches!(self.browser.exchange, Exchange::Theirs { .. })
                && self.legs[i].phase == Phase::Established
            {
                self.answer_browser();
            }
        }
        self.reconcile();
        self.sweep();
        true
    }
}
