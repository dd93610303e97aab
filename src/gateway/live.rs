//! The calls that go on, for those who look on from outside of their agents' tasks.

use std::time::Instant;

use dashmap::DashMap;
use tokio::sync::mpsc;

use crate::agent::Identity;
use crate::journal::watch::{BrowserPath, CallLook, Share, SideLook, Tracker};
use crate::media::{Counters, Flow};

use super::Request;
use super::agent_task::AgentTask;

/// By our id of the call.
pub(super) type LiveCalls = DashMap<String, LiveCall>;

pub(super) struct LiveCall {
    pub identity: Identity,
    /// The client's own, else the DN.
    pub agent_id: String,
    pub remote: String,
    pub remote_name: Option<String>,
    pub incoming: bool,
    pub state: &'static str,
    pub call_uuid: Option<String>,
    pub started: Instant,
    pub answered: Option<Instant>,
    pub tracker: Tracker,
    /// To its agent's task.
    pub agent: mpsc::Sender<Request>,
    /// Of the line, which the call shares with others of its agent.
    counters: Counters,
    /// The browser is with it.
    active: bool,
    flow: Flow,
    path: BrowserPath,
}

impl LiveCall {
    /// The browser is with it.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// How it looks now, and what came in since it was looked at last.
    pub fn look(&mut self, call: &str) -> (Option<CallLook>, Share) {
        if !self.active {
            return (None, Share::default());
        }
        let stats = self.counters.read();
        let share = self.tracker.handle(&stats);
        let up = self.state == "established";
        let look = up.then(|| CallLook {
            call: call.to_owned(),
            dn: self.identity.user().to_owned(),
            path: self.path,
            browser: SideLook { expected: self.flow.to_sip, packets: stats.from_browser.packets },
            sip: SideLook {
                expected: self.flow.to_browser && self.flow.tone.is_none(),
                packets: stats.from_sip.packets,
            },
        });
        (look, share)
    }
}

impl AgentTask {
    /// After whatever may have changed one of its calls. Those that are over are taken out where they
    /// end.
    pub(super) fn show_calls(&self) {
        let Some(line) = &self.line else { return };
        let active = line.line.active();
        for call in &line.calls {
            let mut live = match self.shared.live.get_mut(&call.id) {
                Some(live) => live,
                None => self.shared.live.entry(call.id.clone()).or_insert_with(|| LiveCall {
                    identity: self.session.identity().clone(),
                    agent_id: self.session.client_id().unwrap_or(self.user()).to_owned(),
                    remote: call.peer.clone(),
                    remote_name: call.peer_name.clone(),
                    incoming: call.incoming,
                    state: "",
                    call_uuid: call.call_uuid.clone(),
                    started: call.started,
                    answered: None,
                    tracker: Tracker::default(),
                    agent: self.sender.clone(),
                    counters: line.bridge.counters(),
                    active: false,
                    flow: Flow::NONE,
                    path: line.path,
                }),
            };
            if live.remote != call.peer || live.remote_name != call.peer_name {
                live.remote.clone_from(&call.peer);
                live.remote_name.clone_from(&call.peer_name);
            }
            live.state = line.line.state(call.session);
            live.active = active == Some(call.session);
            live.flow = line.flow;
            live.path = line.path;
            let answered = line.line.answered_at(call.session);
            if let (None, Some(at)) = (live.answered, answered) {
                self.shared.watch.call_answered(at.saturating_duration_since(call.started));
            }
            live.answered = answered.or(live.answered);
        }
    }

    /// False: there is no such call, or not any more.
    pub(super) fn hang_up(&mut self, call: &str) -> bool {
        let Some(line) = &mut self.line else { return false };
        let Some(session) = line.calls.iter().find(|known| known.id == call).map(|c| c.session)
        else {
            return false;
        };
        line.line.hang_up(session, "ended by an operator");
        self.drain();
        true
    }
}
