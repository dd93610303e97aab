//! The embedded TURN server turns clients away, because something that is bounded has run out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Condition;
use crate::turn::RanOut;
use crate::words::counted;

/// What counts as lately: calls that need a relay come now and then.
const LATELY: Duration = Duration::from_secs(300);

const KINDS: usize = 5;

#[derive(Default)]
pub(super) struct Watcher {
    seen: [u64; KINDS],
    /// At each look that found more, how many of each: one in a second at most.
    lately: VecDeque<(Instant, [u64; KINDS])>,
    since: Option<Instant>,
}

impl Watcher {
    pub fn look(&mut self, ran_out: &RanOut, now: Instant) -> Option<Condition> {
        let counts = ran_out.each().map(|(_, count)| count);
        let mut more = [0; KINDS];
        for ((more, count), seen) in more.iter_mut().zip(counts).zip(self.seen) {
            *more = count.saturating_sub(seen);
        }
        self.seen = counts;
        if more.iter().any(|count| *count > 0) {
            self.lately.push_back((now, more));
        }
        let is_old = |at: Instant| now.saturating_duration_since(at) >= LATELY;
        while self.lately.front().is_some_and(|(at, _)| is_old(*at)) {
            self.lately.pop_front();
        }
        if self.lately.is_empty() {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let mut why = Vec::new();
        for (kind, (word, _)) in ran_out.each().into_iter().enumerate() {
            let count: u64 = self.lately.iter().filter_map(|(_, counts)| counts.get(kind)).sum();
            if count > 0 {
                why.push(format!("{} {}", counted(count, "time"), because(word)));
            }
        }
        let text = format!(
            "the TURN server has turned clients away within five minutes: {}; agents whose network lets \
             nothing else out have no sound; the log has addresses",
            why.join(", ")
        );
        let lasting = now.saturating_duration_since(since);
        Some(Condition { lasting, ..Condition::new("turn", "", text) })
    }
}

fn because(word: &str) -> &'static str {
    match word {
        "user" => "one agent had as many relays as one may have",
        "address" => "one address had all of turn.max_allocations_per_address",
        "all" => "all of turn.max_allocations were taken",
        "sockets" => "this host gave no socket (LimitNOFILE)",
        _ => "as many TCP and TLS connections stood as there may be, of one address or in all",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::seconds;
    use super::*;

    #[test]
    fn what_ran_out_is_told_for_five_minutes() {
        let (mut watcher, start) = (Watcher::default(), Instant::now());
        assert_eq!(watcher.look(&RanOut::default(), start), None);
        let some = RanOut { address: 3, ..RanOut::default() };
        let told = watcher.look(&some, start + seconds(1)).unwrap();
        assert!(!told.critical && told.text.contains("3 times one address had all of"), "{told:?}");
        assert!(told.text.contains("turn.max_allocations_per_address;"), "{told:?}");
        let more = RanOut { address: 4, all: 1, ..some };
        let told = watcher.look(&more, start + seconds(200)).unwrap();
        assert!(told.text.contains("4 times one address"), "{told:?}");
        assert!(told.text.contains("1 time all of turn.max_allocations were taken"), "{told:?}");
        assert_eq!(told.lasting, seconds(199));
        let told = watcher.look(&more, start + seconds(301)).unwrap();
        assert!(told.text.contains("1 time one address"), "the first are long ago: {told:?}");
        assert_eq!(watcher.look(&more, start + seconds(500)), None);
    }
}
