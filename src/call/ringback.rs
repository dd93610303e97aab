//! The tones an agent hears while there is nothing else to hear: that the far end rings, or why a second
//! call came to nothing.

use std::time::{Duration, Instant};

use crate::agent::Dialect;
use crate::media::Signal;

use super::leg::{Leg, Phase, Role};
use super::{CallEndedBy, Line};

/// How long the far end has to say something of its own (early media), or to answer, before we ring for
/// it. An ACK that belongs to a person who picks up takes longer, any other one is here by then.
const RING_AFTER: Duration = Duration::from_millis(400);

/// How long the tone of a call that failed sounds, while the agent has another one to go back to.
const FAILED_FOR: Duration = Duration::from_secs(4);

/// Whether we ring in place of the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ringback {
    #[default]
    No,
    At(Instant),
    Rings,
}

impl Leg {
    /// The far end rings: told so (180), or because an answer waits for its ACK.
    pub(super) fn ring_soon(&mut self, now: Instant) {
        if self.role != Role::Replaced && self.ringback == Ringback::No {
            self.ringback = Ringback::At(now + RING_AFTER);
        }
    }

    pub(super) fn ringback_timeout(&self) -> Option<Instant> {
        match self.ringback {
            Ringback::At(at) => Some(at),
            Ringback::No | Ringback::Rings => None,
        }
    }
}

impl Line {
    /// The browser gets its ANSWER now, if it waits for one: without it there is nobody to hear. What the
    /// far end chooses later is bridged, or told by an OFFER. Not so where an ANSWER says that somebody has
    /// picked up, as it does to a JSAPI client that has dialled: such a page rings by itself.
    pub(super) fn ring_due(&mut self, i: usize, now: Instant) {
        if self.legs[i].ringback_timeout().is_none_or(|at| at > now) {
            return;
        }
        let rings = match self.legs[i].phase {
            Phase::Calling => self.dialect == Dialect::Rest || self.browser.remote.is_some(),
            Phase::AwaitingAck => true,
            _ => false,
        };
        self.legs[i].ringback = if rings { Ringback::Rings } else { Ringback::No };
        if rings && self.active == Some(self.legs[i].sip.session) {
            self.answer_browser();
        }
        self.update_flow();
    }

    pub(super) fn tone(&self) -> Option<Signal> {
        if !self.browser.direction.receives() {
            return None;
        }
        match self.active_index() {
            Some(i) => {
                let rings = |i: usize| self.legs[i].ringback == Ringback::Rings;
                let rings = rings(i) || self.successor(i).is_some_and(rings);
                (rings && !self.legs[i].held).then_some(Signal::Ringback)
            }
            None => self.failed.map(|(signal, _)| signal),
        }
    }

    /// A second call was not to be had: the agent hears why, until going back to another one.
    pub(super) fn failed(&mut self, by: CallEndedBy, code: u16, now: Instant) {
        let theirs = matches!(by, CallEndedBy::Peer | CallEndedBy::Network) && code >= 300;
        if !self.config.ringback || !theirs {
            return;
        }
        let signal = match code {
            486 | 600 => Signal::Busy,
            _ => Signal::Congestion,
        };
        self.failed = Some((signal, now + FAILED_FOR));
    }

    pub(super) fn failed_timeout(&self) -> Option<Instant> {
        self.failed.map(|(_, until)| until)
    }

    pub(super) fn failed_due(&mut self, now: Instant) {
        if self.failed_timeout().is_some_and(|until| until <= now) {
            self.failed = None;
            self.update_flow();
        }
    }
}
