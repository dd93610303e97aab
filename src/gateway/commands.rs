//! What somebody other than the agent's page sees of its line, and wants it to do.

use std::time::{Instant, SystemTime};

use crate::agent::{CallState, LineCommand, LineState, MessageError};
use crate::sip::SessionId;
use crate::wire::{Envelope, FromBrowser, ToBrowser};

use super::agent_messages::callable;
use super::agent_task::{AgentTask, notice};

impl AgentTask {
    pub(super) fn line_state(&self) -> LineState {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let calls = self.line.iter().flat_map(|line| {
            line.calls.iter().map(|call| CallState {
                id: call.id.clone(),
                peer: call.peer.clone(),
                state: line.line.state(call.session),
                started: clock
                    .checked_sub(now.saturating_duration_since(call.started))
                    .unwrap_or(SystemTime::UNIX_EPOCH),
            })
        });
        LineState { registered: self.registered, calls: calls.collect() }
    }

    pub(super) fn handle_command(&mut self, command: LineCommand) -> Result<(), MessageError> {
        let now = Instant::now();
        let result = match command {
            LineCommand::Call { to } => return self.tell_to_dial(&to, now),
            LineCommand::Answer => {
                let ringing = self.in_state(&["ringing", "waiting"]);
                let ringing = ringing.ok_or_else(|| wrong_state("nothing is ringing"))?;
                self.on_line(|line| line.talk(ringing, now))
            }
            LineCommand::HangUp => {
                let current = self.current().ok_or_else(|| wrong_state("there is no call"))?;
                self.on_line(|line| {
                    line.hang_up(current, "hung up for the agent by a command");
                    Ok(())
                })
            }
            LineCommand::Hold => {
                let up = self.in_state(&["established"]);
                let up = up.ok_or_else(|| wrong_state("there is no established call"))?;
                self.on_line(|line| line.hold(up, now))
            }
            LineCommand::Retrieve => {
                let held = self.in_state(&["held"]);
                let held = held.ok_or_else(|| wrong_state("no call is on hold"))?;
                self.on_line(|line| line.talk(held, now))
            }
            LineCommand::Dtmf(digits) => {
                let up = self.in_state(&["established", "held"]);
                let up = up.ok_or_else(|| wrong_state("there is no established call"))?;
                self.on_line(|line| line.handle_browser(Some(up), FromBrowser::Dtmf(digits), now))
            }
        };
        self.drain();
        result
    }

    fn tell_to_dial(&mut self, to: &str, now: Instant) -> Result<(), MessageError> {
        let to = callable(Some(to), &self.session)?;
        if self.line.is_some() {
            return Err(wrong_state("there is a call already"));
        }
        self.check_room()?;
        if !self.session.is_present(now) {
            return Err(wrong_state("the agent's page is not there"));
        }
        if !self.session.dials() {
            return Err(wrong_state("the agent's page does not dial when it is told to"));
        }
        self.post(Envelope { peer: to.clone(), ..notice(ToBrowser::Dial { to }) });
        Ok(())
    }

    fn on_line(
        &mut self,
        act: impl FnOnce(&mut crate::call::Line) -> Result<(), MessageError>,
    ) -> Result<(), MessageError> {
        match &mut self.line {
            Some(line) => act(&mut line.line),
            None => Err(wrong_state("there is no call")),
        }
    }

    fn current(&self) -> Option<SessionId> {
        self.line.as_ref()?.current().map(|call| call.session)
    }

    /// The current call if it is in one of these states, else the first that is.
    fn in_state(&self, states: &[&str]) -> Option<SessionId> {
        let line = self.line.as_ref()?;
        let fits = |session: &SessionId| states.contains(&line.line.state(*session));
        let others = line.calls.iter().map(|call| call.session);
        self.current().into_iter().chain(others).find(fits)
    }
}

fn wrong_state(text: &str) -> MessageError {
    MessageError::WrongState(text.to_owned())
}
