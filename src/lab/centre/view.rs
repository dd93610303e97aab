//! A call as a person looks at it.

use std::time::Instant;

use serde::Serialize;

use super::ladder::Rung;
use super::player::Stage;
use super::server::{CallNumber, Entry};
use crate::lab::phone::Hold;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallView {
    pub id: u64,
    pub dn: String,
    /// At the far end.
    pub number: String,
    pub name: Option<String>,
    /// `queued`, `dialled`, or a scenario's name.
    pub kind: String,
    /// `calling`, `ringing`, `answered`, `connected`, `held`, `ended`.
    pub state: &'static str,
    /// How it ended, or what it waits for, or what went wrong.
    pub note: String,
    pub failed: bool,
    /// In the middle of a script.
    pub busy: bool,
    pub far_holds: bool,
    /// INVITE to 180, NOTIFY talk to its 200, NOTIFY talk to the 200 of the INVITE.
    pub ring_ms: Option<f64>,
    pub talk_ms: Option<f64>,
    pub answer_ms: Option<f64>,
    /// 200s and their kin that came again.
    pub repeats: u32,
    pub uuid: String,
    /// What the far end hears.
    pub hears: String,
    pub rungs: Vec<Rung>,
    /// Messages that are older than the first rung.
    pub gone: usize,
}

fn ms(from: Option<Instant>, to: Option<Instant>) -> Option<f64> {
    let time = to?.checked_duration_since(from?)?;
    Some((time.as_secs_f64() * 1e5).round() / 100.0)
}

impl CallView {
    pub(super) fn of(id: CallNumber, entry: &Entry, messages: bool) -> Self {
        let player = &entry.player;
        let state = match player.stage() {
            Stage::New | Stage::Calling => "calling",
            Stage::Ringing => "ringing",
            Stage::Answered => "answered",
            Stage::Up if player.agent_holds() => "held",
            Stage::Up => "connected",
            Stage::Ended(_) => "ended",
        };
        let note = match (player.failure(), player.stage()) {
            (Some(failure), _) => failure.to_string(),
            (None, Stage::Ended(ended)) => {
                let by = if ended.by_agent { "the agent's side" } else { "the far end" };
                let reason = ended.reason.as_deref().map(|r| format!(", {r}")).unwrap_or_default();
                format!("by {by}, {}{reason}", ended.code)
            }
            (None, Stage::Answered) => "the far end has not answered: the ACK waits".to_owned(),
            _ => player.waits_for().map(|what| format!("waits for {what}")).unwrap_or_default(),
        };
        let times = player.times();
        let caller = player.caller();
        Self {
            id: id.0,
            dn: player.dn().to_owned(),
            number: entry.number.clone(),
            name: caller.display_name.clone(),
            kind: entry.kind.clone(),
            state,
            note,
            failed: player.failure().is_some(),
            busy: !player.is_done(),
            far_holds: entry.far_holds != Hold::No,
            ring_ms: ms(times.invited, times.rang),
            talk_ms: ms(times.talk, times.talk_ok),
            answer_ms: ms(times.talk, times.answered),
            repeats: player.repeats(),
            uuid: caller.uuid.clone(),
            hears: entry.phone.as_ref().map(|p| p.heard().to_string()).unwrap_or_default(),
            rungs: match messages {
                true => player.ladder().rungs().cloned().collect(),
                false => Vec::new(),
            },
            gone: player.ladder().gone(),
        }
    }
}
