//! What an agent's browser, its calls and their media say to one another: the half of the agent's task
//! that is about calls.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::time::Instant;

use tracing::{debug, info, warn};

use crate::agent::{Dialect, MessageError, Session};
use crate::call::{Call, FirstOffer, InviteOffer, MediaLocal, Output};
use crate::media::{MediaEvent, MediaId};
use crate::sip::{Command, Invited, SessionId};
use crate::wire::{FromBrowser, RoapError, RoapIds, ToBrowser};

use super::agent_task::{AgentTask, notice};
use super::calls::{ActiveCall, new_call_id, new_seed};

impl AgentTask {
    pub(super) fn handle_message(
        &mut self,
        to: Option<String>,
        message: FromBrowser,
    ) -> Result<(), MessageError> {
        let jsapi = self.session.dialect() == Dialect::Jsapi;
        let now = Instant::now();
        let current = self.current(to.as_deref());
        match message {
            FromBrowser::GetStats => {
                if let Some(index) = current {
                    let call = &self.calls[index];
                    let stats = ToBrowser::Stats(call.statistics(now));
                    self.post(call.envelope(stats));
                }
                Ok(())
            }
            FromBrowser::Offer { ids, sdp, .. } if self.begins_a_call(current) => {
                if self.is_repeated(ids, &sdp) {
                    // Its POST was retried, and the call it was about is over by now.
                    return Ok(());
                }
                if let Some(index) = current {
                    // The agent dials while the telephone rings: the ringing call finds it busy. The
                    // client has one session only, and a BYE now would end the one it begins.
                    self.calls[index].call.decline(486, "the agent is calling out", now);
                    self.drain(index);
                }
                self.jsapi_fault(ids, |task| task.call_out(to, ids, sdp, now))
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
                let Some(index) = current else {
                    return self.without_call(message, jsapi);
                };
                if let FromBrowser::Offer { ids, sdp, .. } = &message {
                    self.is_repeated(*ids, sdp);
                }
                self.jsapi_fault(ids, |task| {
                    let result = task.calls[index].call.handle_browser(message, now);
                    task.drain(index);
                    result
                })
            }
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
    fn begins_a_call(&self, current: Option<usize>) -> bool {
        let Some(call) = current.and_then(|index| self.calls.get(index)) else { return true };
        self.session.dialect() == Dialect::Jsapi && call.call.rings_with_offer()
    }

    /// An OFFER to a number that no call is with, under numbers that no call has: a second call. (A
    /// renewed peer connection comes with new numbers too, but to the peer there is.)
    fn is_for_somebody_else(&self, to: Option<&str>, ids: Option<RoapIds>) -> bool {
        let Some(to) = to.filter(|to| *to != "0") else { return false };
        // The client knows the peer by the `Pragma` header, in which only visible ASCII stands.
        let is_peer = |peer: &str| peer.chars().filter(|c| matches!(c, '!'..='~')).eq(to.chars());
        !self.calls.iter().any(|call| {
            call.peer == to || is_peer(&call.peer) || ids.is_some_and(|ids| call.call.knows(ids))
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

    fn call_out(
        &mut self,
        to: Option<String>,
        ids: Option<RoapIds>,
        sdp: String,
        now: Instant,
    ) -> Result<(), MessageError> {
        if to.is_none() && self.session.dialect() == Dialect::Rest {
            let text = "nothing is ringing; an offer of your own names whom to call in `to`";
            return Err(MessageError::WrongState(text.into()));
        }
        let to = callable(to.as_deref(), &self.session)?;
        if self.calls.len() >= self.shared.config.agents.max_calls {
            return Err(MessageError::WrongState("there is a call already".into()));
        }
        if self.registers && !self.registered {
            return Err(MessageError::Unavailable("the SIP server is not reachable now".into()));
        }
        if let Some(why) = self.sip.server_down() {
            return Err(MessageError::Unavailable(format!("the SIP server is unreachable: {why}")));
        }
        let config = self.shared.call_config.clone();
        let offer = FirstOffer::parse(ids, sdp, &config)?;
        let bridge = self.open_media().map_err(MessageError::Unavailable)?;
        let session = SessionId(self.next_session);
        self.next_session += 1;
        let local = MediaLocal { browser: bridge.browser_local(), rtp: bridge.rtp_local() };
        let call = Call::outgoing(config, session, &to, offer, local, new_seed(), now);
        self.add(ActiveCall {
            id: new_call_id(),
            call,
            bridge,
            peer: to,
            peer_name: None,
            call_uuid: None,
            started: now,
        });
        Ok(())
    }

    pub(super) fn call_in(&mut self, session: SessionId, invited: Invited, now: Instant) {
        let refuse = |task: &mut Self, code: u16, text: &str| {
            info!(user = task.user(), peer = %invited.from, code, text, "call refused");
            task.sip.command(Command::End { session, code, text: text.to_owned() });
        };
        if !self.session.is_present(now) {
            return refuse(self, 480, "the agent's browser is not there");
        }
        if self.calls.len() >= self.shared.config.agents.max_calls {
            return refuse(self, 486, "Busy Here");
        }
        let config = self.shared.call_config.clone();
        let offer = match InviteOffer::parse(&invited, &config) {
            Ok(offer) => offer,
            Err(error) => return refuse(self, 488, &error.to_string()),
        };
        let bridge = match self.open_media() {
            Ok(bridge) => bridge,
            Err(text) => return refuse(self, 503, &text),
        };
        let local = MediaLocal { browser: bridge.browser_local(), rtp: bridge.rtp_local() };
        let dialect = self.session.dialect();
        let call = Call::incoming(config, dialect, session, offer, local, new_seed(), now);
        self.add(ActiveCall {
            id: new_call_id(),
            call,
            bridge,
            peer: invited.from,
            peer_name: invited.display_name,
            call_uuid: invited.call_uuid,
            started: now,
        });
    }

    fn open_media(&self) -> Result<crate::media::Bridge, String> {
        self.shared.engine.open(self.media_tx.clone()).map_err(|error| {
            warn!(user = self.user(), %error, "no media for a call");
            error.to_string()
        })
    }

    fn add(&mut self, call: ActiveCall) {
        info!(
            call = %call.id,
            user = self.user(),
            peer = %call.peer,
            direction = ?call.call.direction(),
            "call started"
        );
        self.shared.active_calls.fetch_add(1, Ordering::Relaxed);
        self.calls.push(call);
        self.drain(self.calls.len() - 1);
    }

    /// The call that a message to `to` is about: that peer's, or the only one there is.
    fn current(&self, to: Option<&str>) -> Option<usize> {
        let named = self.calls.iter().position(|call| Some(call.peer.as_str()) == to);
        named.or_else(|| self.calls.len().checked_sub(1))
    }

    pub(super) fn handle_media(&mut self, id: MediaId, event: MediaEvent) {
        let Some(call) = self.calls.iter().find(|call| call.bridge.id() == id) else { return };
        match event {
            MediaEvent::DtlsFailed { reason } => {
                warn!(call = %call.id, user = self.user(), ?reason, "DTLS with the browser failed");
            }
            MediaEvent::IceLost => info!(call = %call.id, user = self.user(), "ICE lost"),
            event => debug!(call = %call.id, ?event, "media"),
        }
    }

    pub(super) fn handle_timeout(&mut self) {
        let now = Instant::now();
        for index in (0..self.calls.len()).rev() {
            self.calls[index].call.handle_timeout(now);
            self.drain(index);
        }
    }

    /// Carries out what a call wants. The last thing it wants is to be taken off the list.
    pub(super) fn drain(&mut self, index: usize) {
        while let Some(output) = self.calls.get_mut(index).and_then(|c| c.call.poll_output()) {
            let call = &mut self.calls[index];
            match output {
                Output::Browser(message) => {
                    let envelope = call.envelope(message);
                    self.post(envelope);
                }
                Output::Sip(command) => self.sip.command(command),
                Output::Media(command) => {
                    if let Some(local) = call.command_media(command) {
                        call.call.handle_media_local(local);
                    }
                }
                Output::Ended(end) => {
                    let call = self.calls.swap_remove(index);
                    call.record(self.user(), &end, Instant::now());
                    self.shared.active_calls.fetch_sub(1, Ordering::Relaxed);
                    break;
                }
            }
        }
        let waiting = self.calls.iter().find(|call| call.call.awaits_browser_answer());
        self.session.set_awaited_answer(waiting.map(|call| call.peer.clone()));
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
fn callable(to: Option<&str>, session: &Session) -> Result<String, MessageError> {
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
