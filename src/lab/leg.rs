//! A call with one of the lab's own telephones: what the SIP side tells, what the telephone makes
//! of it, and what is said back. Knows neither sockets nor the time.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::control::{Ack, AckSdp, Act, LegEvent};
use super::dialplan::Extension;
use super::phone::{Hold, Phone};
use crate::sip::{Command, Event, Invited, SessionId};

/// Who makes the decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Extension(Extension),
    /// The lab calls; the telephone just takes part.
    Calls,
    /// A test answers.
    Control,
}

#[derive(Debug)]
pub struct PhoneLeg {
    session: SessionId,
    phone: Arc<Phone>,
    script: Script,
    /// The offer of an INVITE that came in.
    offer: Option<String>,
    /// Our INVITE held an offer.
    offered: bool,
    /// For each of our re-INVITEs on its way: it held an offer.
    reinvites: VecDeque<bool>,
    answered: bool,
    withhold: bool,
    /// An offer in a 2xx whose ACK is withheld.
    unanswered: Option<String>,
    events: Option<mpsc::Sender<LegEvent>>,
}

impl PhoneLeg {
    pub fn incoming(session: SessionId, phone: Arc<Phone>, script: Script) -> Self {
        Self::new(session, phone, script)
    }

    /// The telephone calls; the command is the INVITE.
    pub fn outgoing(
        session: SessionId,
        phone: Arc<Phone>,
        to: String,
        offer: bool,
        ack: Ack,
        headers: Vec<(String, String)>,
    ) -> (Self, Command) {
        let sdp = offer.then(|| phone.offer());
        let mut leg = Self::new(session, phone, Script::Calls);
        leg.offered = offer;
        leg.withhold = ack == Ack::Withheld;
        (leg, Command::Invite { session, to, sdp, headers })
    }

    fn new(session: SessionId, phone: Arc<Phone>, script: Script) -> Self {
        Self {
            session,
            phone,
            script,
            offer: None,
            offered: false,
            reinvites: VecDeque::new(),
            answered: false,
            withhold: false,
            unanswered: None,
            events: None,
        }
    }

    pub fn phone(&self) -> &Arc<Phone> {
        &self.phone
    }

    pub fn session(&self) -> SessionId {
        self.session
    }

    pub fn script(&self) -> Script {
        self.script
    }

    pub fn answered(&self) -> bool {
        self.answered
    }

    /// ACKs that need no answer are to be kept back too.
    pub fn withholds_ack(&self) -> bool {
        self.withhold
    }

    /// The one who is told from now on.
    pub fn watch(&mut self, events: mpsc::Sender<LegEvent>) {
        self.events = Some(events);
    }

    fn tell(&self, event: LegEvent) {
        if let Some(events) = &self.events {
            // Nobody listens, or listens too slowly: the call goes on all the same.
            let _ = events.try_send(event);
        }
    }

    /// An INVITE came in.
    pub fn invited(&mut self, invite: &Invited, out: &mut Vec<Command>) {
        let session = self.session;
        self.offer.clone_from(&invite.sdp);
        let Script::Extension(extension) = self.script else { return };
        match extension {
            Extension::Busy => {
                out.push(Command::End { session, code: 486, text: "Busy Here".to_owned() });
            }
            Extension::RingsOnly | Extension::AnswersLate => {
                out.push(Command::Progress { session, code: 180, sdp: None });
            }
            Extension::Echo | Extension::Tone | Extension::CallsBack => {
                out.push(Command::Progress { session, code: 180, sdp: None });
                self.accept(out);
            }
        }
    }

    /// Answers the INVITE.
    pub fn accept(&mut self, out: &mut Vec<Command>) {
        let session = self.session;
        match self.describe() {
            Ok(sdp) => {
                self.answered = true;
                out.push(Command::Accept { session, sdp });
            }
            Err(text) => out.push(Command::End { session, code: 488, text }),
        }
    }

    /// The answer to the INVITE's offer, or an offer where it had none.
    fn describe(&self) -> Result<String, String> {
        match &self.offer {
            Some(offer) => self.phone.answer(offer).map_err(|why| why.to_string()),
            None => Ok(self.phone.offer()),
        }
    }

    /// What the SIP side tells.
    pub fn handle(&mut self, event: Event, out: &mut Vec<Command>) {
        let session = self.session;
        match event {
            Event::Progressed { code, text, sdp, .. } => {
                if let (true, Some(sdp)) = (self.offered, &sdp) {
                    // Early media; the answer that counts may still be another.
                    let _ = self.phone.take_answer(sdp);
                }
                self.tell(LegEvent::Progressed { code, text, sdp });
            }
            Event::Answered { sdp, .. } => {
                self.answered = true;
                match &sdp {
                    Some(sdp) if self.offered => self.take_answer(sdp, out),
                    Some(sdp) => self.answer_in_ack(sdp, out),
                    None => {}
                }
                self.tell(LegEvent::Answered { sdp });
            }
            Event::Acked { sdp, .. } => {
                if let Some(sdp) = &sdp {
                    self.take_answer(sdp, out);
                }
                self.tell(LegEvent::Acked { sdp });
            }
            Event::Reinvited { sdp, .. } => {
                let answer = match &sdp {
                    Some(offer) => self.phone.answer(offer).ok(),
                    None => Some(self.phone.offer()),
                };
                out.push(match answer {
                    Some(sdp) => Command::AcceptReinvite { session, sdp },
                    None => Command::RejectReinvite { session, code: 488 },
                });
                self.tell(LegEvent::Reinvited { sdp });
            }
            Event::ReinviteAnswered { sdp, .. } => {
                let offered = self.reinvites.pop_front().unwrap_or(true);
                match &sdp {
                    Some(sdp) if offered => self.take_answer(sdp, out),
                    Some(sdp) => self.answer_in_ack(sdp, out),
                    None => {}
                }
                self.tell(LegEvent::ReinviteAnswered { sdp });
            }
            Event::ReinviteUnsent { .. } => {
                self.reinvites.pop_front();
                let text = "Service Unavailable".to_owned();
                self.tell(LegEvent::ReinviteRefused { code: 503, text });
            }
            Event::ReinviteRefused { code, text, .. } => {
                self.reinvites.pop_front();
                self.tell(LegEvent::ReinviteRefused { code, text });
            }
            Event::Notified { event, .. } => self.tell(LegEvent::Notified(event)),
            Event::Informed { content_type, body, .. } => {
                if let Some(digit) = info_digit(&content_type, &body) {
                    self.phone.note_digit(digit);
                }
                self.tell(LegEvent::Informed { content_type, body });
            }
            Event::Referred { refer, referred, .. } => match self.script {
                Script::Extension(_) => out.push(Command::RejectRefer { refer, code: 603 }),
                Script::Calls | Script::Control => {
                    self.tell(LegEvent::Referred { refer, referred });
                }
            },
            Event::Transferring { code, text, done, .. } => {
                self.tell(LegEvent::Transferring { code, text, done });
            }
            Event::Ended { end, .. } => self.tell(LegEvent::Ended(end)),
            Event::Registered { .. }
            | Event::Redirected { .. }
            | Event::Rerouted { .. }
            | Event::Identified { .. }
            | Event::RegistrationFailed { .. }
            | Event::Unregistered
            | Event::InfoRefused { .. }
            | Event::Invited { .. } => {}
        }
    }

    fn take_answer(&mut self, sdp: &str, out: &mut Vec<Command>) {
        if let Err(why) = self.phone.take_answer(sdp) {
            let session = self.session;
            out.push(Command::End { session, code: 488, text: why.to_string() });
        }
    }

    fn answer_in_ack(&mut self, offer: &str, out: &mut Vec<Command>) {
        if self.withhold {
            self.unanswered = Some(offer.to_owned());
            return;
        }
        let session = self.session;
        match self.phone.answer(offer) {
            Ok(sdp) => out.push(Command::AnswerInAck { session, sdp }),
            Err(why) => out.push(Command::End { session, code: 488, text: why.to_string() }),
        }
    }

    /// What a test wants.
    pub fn act(&mut self, act: Act, out: &mut Vec<Command>) {
        let session = self.session;
        match act {
            Act::Progress { code, sdp: false } => {
                out.push(Command::Progress { session, code, sdp: None });
            }
            Act::Progress { code, sdp: true } => match self.describe() {
                Ok(sdp) => out.push(Command::Progress { session, code, sdp: Some(sdp) }),
                Err(text) => out.push(Command::End { session, code: 488, text }),
            },
            Act::Accept => self.accept(out),
            Act::Reinvite => {
                self.reinvites.push_back(true);
                out.push(Command::Reinvite { session, sdp: Some(self.phone.offer()) });
            }
            Act::AskForOffer => {
                self.reinvites.push_back(false);
                out.push(Command::Reinvite { session, sdp: None });
            }
            Act::Notify(event) => out.push(Command::Notify { session, event }),
            Act::Info { content_type, body } => {
                out.push(Command::Info { session, content_type, body });
            }
            Act::WithholdAck => self.withhold = true,
            Act::ReleaseAck(sdp) => {
                self.withhold = false;
                let Some(offer) = self.unanswered.take() else { return };
                match sdp {
                    AckSdp::Answer => self.answer_in_ack(&offer, out),
                    AckSdp::OfferEchoed => out.push(Command::AnswerInAck { session, sdp: offer }),
                    AckSdp::BlackHole => {
                        self.phone.set_hold(Hold::BlackHole);
                        self.answer_in_ack(&offer, out);
                    }
                }
            }
            Act::Refer { to } => out.push(Command::Refer { session, to, replaces: None }),
            Act::AcceptRefer { refer } => out.push(Command::AcceptRefer { refer }),
            Act::RejectRefer { refer, code } => out.push(Command::RejectRefer { refer, code }),
            Act::ReferProgress { refer, code, text } => {
                out.push(Command::ReferProgress { refer, code, text });
            }
            Act::End { code, text } => out.push(Command::End { session, code, text }),
        }
    }
}

/// A digit in an INFO: `application/dtmf-relay` (`Signal=5`) or `application/dtmf` (`5`).
fn info_digit(content_type: &str, body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let kind = content_type.split(';').next()?.trim().to_ascii_lowercase();
    let signal = match kind.as_str() {
        "application/dtmf-relay" => text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then_some(value)
        })?,
        "application/dtmf" => text,
        _ => return None,
    };
    let mut characters = signal.trim().chars();
    let digit = characters.next()?.to_ascii_uppercase();
    ("0123456789*#ABCD".contains(digit) && characters.next().is_none()).then_some(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_in_info_are_read() {
        assert_eq!(
            info_digit("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"),
            Some('5')
        );
        assert_eq!(info_digit("Application/DTMF-Relay; x=y", b"signal= #"), Some('#'));
        assert_eq!(info_digit("application/dtmf", b"*\r\n"), Some('*'));
        assert_eq!(info_digit("application/dtmf", b"12"), None);
        assert_eq!(info_digit("text/plain", b"1"), None);
        assert_eq!(info_digit("application/dtmf", &[0xFF]), None);
    }
}
