//! RTP ports: without a free one, a call is refused.

use std::time::Instant;

use super::Condition;

/// Told below this part of all, in percent.
const FEW: u64 = 10;

/// Over when there are so many again.
const ENOUGH: u64 = 15;

#[derive(Default)]
pub(super) struct Watcher {
    since: Option<Instant>,
}

impl Watcher {
    pub fn look(&mut self, free: u64, all: u64, now: Instant) -> Option<Condition> {
        let limit = if self.since.is_some() { ENOUGH } else { FEW };
        if free.saturating_mul(100) >= all.saturating_mul(limit) {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let text = match free {
            0 => format!(
                "none of {all} RTP ports is free: new calls are refused with 480 until one ends; widen \
                 media.rtp_ports"
            ),
            _ => format!(
                "{free} of {all} RTP ports are free; when none is, new calls are refused; widen \
                 media.rtp_ports"
            ),
        };
        let lasting = now.saturating_duration_since(since);
        Some(Condition { critical: free == 0, lasting, ..Condition::new("ports", "", text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_told_until_there_are_enough() {
        let (mut watcher, now) = (Watcher::default(), Instant::now());
        let mut told = |free| watcher.look(free, 200, now).map(|condition| condition.critical);
        assert_eq!(
            [200, 20, 19, 21, 29, 0, 29, 30, 20].map(&mut told),
            [
                None,
                None,
                Some(false),
                Some(false),
                Some(false),
                Some(true),
                Some(false),
                None,
                None
            ]
        );
    }

    #[test]
    fn a_gateway_without_ports_of_its_own_has_no_such_trouble() {
        assert_eq!(Watcher::default().look(0, 0, Instant::now()), None);
    }
}
