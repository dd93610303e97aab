//! Whether those who may speak are heard. Nobody is hung up on for it: it is told, for alarms.

use std::time::{Duration, Instant};

use super::{Call, Sink};
use crate::media::types::MediaEvent;

/// Looks at both sides whenever reports are due, so that a packet costs nothing.
pub(super) struct Vigil {
    limit: Duration,
    browser: Side,
    sip: Side,
}

#[derive(Default)]
struct Side {
    /// Packets at the last look.
    packets: u64,
    /// Heard last, or expected from then on.
    since: Option<Instant>,
    told: bool,
}

/// What a look has shown.
enum Finding {
    Silent(Duration),
    HeardAgain(Duration),
}

impl Vigil {
    pub fn new(limit: Duration) -> Self {
        Vigil { limit, browser: Side::default(), sip: Side::default() }
    }
}

impl Side {
    fn look(
        &mut self,
        now: Instant,
        limit: Duration,
        expected: bool,
        packets: u64,
    ) -> Option<Finding> {
        let heard = std::mem::replace(&mut self.packets, packets) != packets;
        if !expected {
            *self = Side { packets, ..Side::default() };
            return None;
        }
        let quiet = now.saturating_duration_since(*self.since.get_or_insert(now));
        if heard {
            self.since = Some(now);
            return std::mem::take(&mut self.told).then_some(Finding::HeardAgain(quiet));
        }
        if self.told || quiet < limit {
            return None;
        }
        self.told = true;
        Some(Finding::Silent(quiet))
    }
}

impl Call {
    /// Held, muted by the other side, ringing: then nothing is expected.
    pub(super) fn keep_vigil(&mut self, now: Instant, sink: &mut dyn Sink) {
        let Some(vigil) = &mut self.vigil else { return };
        let limit = vigil.limit;
        let from_sip = self.flow.to_browser && self.flow.tone.is_none();
        let sip = vigil.sip.look(now, limit, from_sip, self.from_sip.stats().packets);
        let browser =
            vigil.browser.look(now, limit, self.flow.to_sip, self.from_browser.stats().packets);
        for (finding, from_sip) in [(sip, true), (browser, false)] {
            match finding {
                None => {}
                Some(Finding::Silent(time)) => sink.event(MediaEvent::Silent { from_sip, time }),
                Some(Finding::HeardAgain(after)) => {
                    sink.event(MediaEvent::HeardAgain { from_sip, after });
                }
            }
        }
    }
}
