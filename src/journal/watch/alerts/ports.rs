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
            0 => {
                let none = match all {
                    1 => "the only pair of RTP ports is taken".to_owned(),
                    _ => format!("none of {all} pairs of RTP ports is free"),
                };
                format!(
                    "{none}: new calls are refused with 480 until one ends; widen media.rtp_ports"
                )
            }
            _ => {
                let are = if free == 1 { "is" } else { "are" };
                format!(
                    "{free} of {all} pairs of RTP ports {are} free; when none is, new calls are refused; \
                     widen media.rtp_ports"
                )
            }
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
    fn a_call_takes_a_pair() {
        let told = |free, all| Watcher::default().look(free, all, Instant::now()).unwrap().text;
        for ((free, all), words) in [
            ((0, 1), "the only pair of RTP ports is taken: new calls"),
            ((0, 20), "none of 20 pairs of RTP ports is free: new calls"),
            ((1, 20), "1 of 20 pairs of RTP ports is free; when none is"),
            ((2, 40), "2 of 40 pairs of RTP ports are free; when none is"),
        ] {
            assert!(told(free, all).starts_with(words), "{}", told(free, all));
        }
    }

    #[test]
    fn a_gateway_without_ports_of_its_own_has_no_such_trouble() {
        assert_eq!(Watcher::default().look(0, 0, Instant::now()), None);
    }
}
