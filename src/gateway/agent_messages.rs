//! What an agent's browser says, and which of his calls it is about.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Instant, SystemTime};

use tracing::debug;

use crate::agent::{Dialect, MessageError, Session};
use crate::journal::{About, What};
use crate::sip::SessionId;
use crate::wire::{FromBrowser, RoapError, RoapIds, ToBrowser};

use super::agent_task::{AgentTask, notice};
use super::calls::CallInfo;
use super::taps::Said;

impl AgentTask {
    /// What the browser says, and into the journal with it.
    pub(super) fn handle_message(
        &mut self,
        to: Option<String>,
        message: FromBrowser,
    ) -> Result<(), MessageError> {
        let Some(Said { kind, body }) = Said::by_browser(&message) else {
            return self.take_message(to, message);
        };
        let at = SystemTime::now();
        let begins = matches!(message, FromBrowser::Call { .. })
            || matches!(message, FromBrowser::Offer { .. }) && self.begins_a_call();
        let named = self.named(to.as_deref()).ok().flatten();
        let before = self.line.as_ref().and_then(|line| {
            named.and_then(|session| line.info(session)).or_else(|| line.current())
        });
        let mut call = before.map(|call| call.id.clone());
        let result = self.take_message(to, message);
        if begins && let Some(new) = self.line.as_ref().and_then(|line| line.calls.last()) {
            call = Some(new.id.clone());
        }
        if let Some(call) = call {
            let fault = result.as_ref().err().map(MessageError::to_string);
            let what = What::Http { inbound: true, kind, waited: None, body, fault };
            self.shared.journal.note_at(at, About::call(self.user(), &call), what);
        }
        result
    }

    fn take_message(
        &mut self,
        to: Option<String>,
        message: FromBrowser,
    ) -> Result<(), MessageError> {
        let jsapi = self.session.dialect() == Dialect::Jsapi;
        let now = Instant::now();
        match message {
            FromBrowser::GetStats => {
                self.post_statistics(now);
                Ok(())
            }
            FromBrowser::Offer { ids, sdp, attached, .. } if self.begins_a_call() => {
                if self.is_repeated(ids, &sdp) {
                    // Its POST was retried, and the call it was about is over by now.
                    return Ok(());
                }
                if let Some(line) = &mut self.line {
                    // The agent dials while the telephone rings: the ringing call finds it busy. The
                    // client has one session only, and a BYE now would end the one it begins.
                    line.line.decline(486, "the agent is calling out");
                    self.drain();
                }
                self.jsapi_fault(ids, |task| task.call_out(to, ids, sdp, &attached, now))
            }
            FromBrowser::Offer { .. } if !jsapi => {
                Err(MessageError::WrongState("there is a call already".into()))
            }
            FromBrowser::Offer { ids, .. } if self.is_for_somebody_else(to.as_deref(), ids) => self
                .jsapi_fault(ids, |_| {
                    Err(MessageError::WrongState("there is a call already".into()))
                }),
            // A good-bye for a call that is over must not end the one that came after it.
            FromBrowser::Bye if jsapi && self.is_for_somebody_else(to.as_deref(), None) => Ok(()),
            message => {
                let ids = ids_of(&message);
                if self.line.is_none() {
                    return self.without_call(message, jsapi);
                }
                if let FromBrowser::Offer { ids, sdp, .. } = &message {
                    self.is_repeated(*ids, sdp);
                }
                // The JSAPI's client has one session, whatever it believes its peer to be.
                let on = if jsapi { None } else { self.named(to.as_deref())? };
                self.jsapi_fault(ids, |task| {
                    let result = match message {
                        FromBrowser::Transfer { to, replaces } => task.transfer(on, &to, replaces),
                        FromBrowser::Call { to } => task.consult(&to, now),
                        message => match &mut task.line {
                            Some(line) => line.line.handle_browser(on, message, now),
                            None => Ok(()),
                        },
                    };
                    task.drain();
                    result
                })
            }
        }
    }

    /// The call that a command of the raw-SDP dialect names by its id or its peer.
    fn named(&self, to: Option<&str>) -> Result<Option<SessionId>, MessageError> {
        let Some(name) = to else { return Ok(None) };
        let session = self.line.as_ref().and_then(|line| line.named(name));
        session.map(Some).ok_or_else(|| {
            MessageError::WrongState(
                "`to` names a number or call that there is no call with".into(),
            )
        })
    }

    fn transfer(
        &mut self,
        on: Option<SessionId>,
        to: &str,
        replaces: Option<String>,
    ) -> Result<(), MessageError> {
        let to = callable(Some(to), &self.session)?;
        let replaces = self.named(replaces.as_deref())?;
        match &mut self.line {
            Some(line) => line.line.transfer(on, &to, replaces),
            None => Ok(()),
        }
    }

    /// A second call on the first one's peer connection.
    fn consult(&mut self, to: &str, now: Instant) -> Result<(), MessageError> {
        let to = callable(Some(to), &self.session)?;
        self.check_room()?;
        let session = self.new_session();
        let Some(line) = &mut self.line else { return Ok(()) };
        line.line.dial(session, &to, now)?;
        self.note_call(CallInfo::outgoing(session, &to, now), "outgoing");
        Ok(())
    }

    fn post_statistics(&mut self, now: Instant) {
        let Some(line) = &mut self.line else { return };
        let Some(session) = line.current().map(|call| call.session) else { return };
        let stats = ToBrowser::Stats(Box::new(line.statistics(session, now)));
        if let Some(envelope) = line.envelope(session, stats) {
            self.post(envelope);
        }
    }

    /// Is this OFFER the last one once more? By its text too: a page that was loaded anew may choose the
    /// same numbers. The last one is remembered beyond its call.
    fn is_repeated(&mut self, ids: Option<RoapIds>, sdp: &str) -> bool {
        let Some(ids) = ids else { return false };
        let mut text = DefaultHasher::new();
        sdp.hash(&mut text);
        let this = Some((ids.offerer, ids.seq, text.finish()));
        std::mem::replace(&mut self.last_offer, this) == this
    }

    /// Does an OFFER start a call? With none there, or with one that merely rings with an offer of its
    /// own, which the client has ignored for the one it made itself.
    fn begins_a_call(&self) -> bool {
        let Some(line) = &self.line else { return true };
        self.session.dialect() == Dialect::Jsapi && line.line.rings_with_offer()
    }

    /// An OFFER to a number that no call is with, under numbers that no call has: a second call. (A
    /// renewed peer connection comes with new numbers too, but to the peer there is.)
    fn is_for_somebody_else(&self, to: Option<&str>, ids: Option<RoapIds>) -> bool {
        let Some(to) = to.filter(|to| *to != "0") else { return false };
        // The client knows the peer by the `Pragma` header, in which only visible ASCII stands.
        let is_peer = |peer: &String| {
            peer == to || peer.chars().filter(|c| matches!(c, '!'..='~')).eq(to.chars())
        };
        !self.line.as_ref().is_some_and(|line| {
            line.calls.iter().any(|call| is_peer(&call.peer))
                || line.known.iter().any(is_peer)
                || ids.is_some_and(|ids| line.line.knows(ids))
        })
    }

    fn without_call(&self, message: FromBrowser, jsapi: bool) -> Result<(), MessageError> {
        if !jsapi {
            return Err(MessageError::WrongState("there is no call".into()));
        }
        // The JSAPI sends BYE for sessions that never were; a refusal would make it send again.
        if let FromBrowser::Answer { ids, .. } = message {
            self.post_fault(ids, RoapError::NoMatch, "an ANSWER, but no call is there");
        }
        Ok(())
    }

    /// In the JSAPI dialect a refused POST comes again every 3 s, so a fault is told as an ERROR.
    fn jsapi_fault(
        &mut self,
        ids: Option<RoapIds>,
        action: impl FnOnce(&mut Self) -> Result<(), MessageError>,
    ) -> Result<(), MessageError> {
        let result = action(self);
        if self.session.dialect() != Dialect::Jsapi {
            return result;
        }
        if let Err(error) = result {
            debug!(user = self.user(), %error, "a message could not be used");
            let kind = match error {
                MessageError::WrongState(_) => RoapError::Conflict,
                MessageError::Unavailable(_) => RoapError::Refused,
                _ => RoapError::Failed,
            };
            self.post_fault(ids, kind, &error.to_string());
        }
        Ok(())
    }

    fn post_fault(&self, ids: Option<RoapIds>, error: RoapError, detail: &str) {
        self.post(notice(ToBrowser::Error { ids, error, detail: detail.to_owned() }));
    }
}

fn ids_of(message: &FromBrowser) -> Option<RoapIds> {
    match message {
        FromBrowser::Offer { ids, .. }
        | FromBrowser::Answer { ids, .. }
        | FromBrowser::Error { ids, .. } => *ids,
        FromBrowser::Ok { ids } => Some(*ids),
        _ => None,
    }
}

/// The number to call. The JSAPI writes `null`, `undefined` or its own SSID where it has none.
pub(super) fn callable(to: Option<&str>, session: &Session) -> Result<String, MessageError> {
    let to = to.map(str::trim).unwrap_or_default();
    let nobody = ["", "0", "null", "undefined"].contains(&to) || to == session.ssid().expose();
    if nobody {
        return Err(MessageError::BadRequest("`to` names nobody to call".into()));
    }
    let usable = |c: char| c.is_ascii_graphic() && !"<>\"\\^`{|}[]".contains(c);
    if to.len() > 256 || !to.chars().all(usable) {
        return Err(MessageError::BadRequest("`to` is neither a number nor a SIP URI".into()));
    }
    Ok(to.to_owned())
}
