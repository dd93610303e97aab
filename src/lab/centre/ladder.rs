//! The messages of a call, one below the other, as a person reads them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::text::Text;
use crate::sip::trace::redact;

/// Rungs that are kept of each call; the oldest go first.
const RUNGS: usize = 100;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rung {
    /// Since the call began, in microseconds.
    pub at_us: u64,
    /// From the centre to the gateway.
    pub out: bool,
    /// `NOTIFY talk`, `200 OK (INVITE)`.
    pub title: String,
    /// Carries an SDP.
    pub sdp: bool,
    /// The network lost it, or would have.
    pub lost: bool,
    /// The message without credentials and keys.
    pub text: String,
}

#[derive(Debug)]
pub struct Ladder {
    start: Instant,
    rungs: VecDeque<Rung>,
    /// Rungs that fell off.
    gone: usize,
}

impl Ladder {
    pub fn new(start: Instant) -> Self {
        Self { start, rungs: VecDeque::new(), gone: 0 }
    }

    pub fn note(&mut self, text: &str, out: bool, lost: bool, now: Instant) {
        if self.rungs.len() == RUNGS {
            self.rungs.pop_front();
            self.gone += 1;
        }
        let at = now.saturating_duration_since(self.start);
        let (title, sdp) = match Text::parse(text.as_bytes()) {
            Some(message) => (title(&message), message.sdp().is_some()),
            None => ("not a message".to_owned(), false),
        };
        self.rungs.push_back(Rung {
            at_us: micros(at),
            out,
            title,
            sdp,
            lost,
            text: redact(text.as_bytes()),
        });
    }

    pub fn rungs(&self) -> impl Iterator<Item = &Rung> {
        self.rungs.iter()
    }

    /// How many rungs there were before the first that is kept.
    pub fn gone(&self) -> usize {
        self.gone
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn title(message: &Text) -> String {
    match (message.status(), message.method()) {
        (Some(code), _) => {
            let method = message.cseq().map_or("?", |(_, method)| method);
            format!("{code} {} ({method})", message.phrase())
        }
        (None, Some("NOTIFY")) => format!("NOTIFY {}", message.header("Event").unwrap_or("")),
        (None, Some("INVITE")) if message.tag("To").is_some() => "re-INVITE".to_owned(),
        (None, method) => method.unwrap_or_default().to_owned(),
    }
}
