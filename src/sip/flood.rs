//! A bound on what one dialog may tell the application.

use std::time::{Duration, Instant};

/// Messages at once: a long number by INFO, or an application's data in pieces.
const BURST: u32 = 50;
/// One more every 50 ms: twice as fast as digits can be pressed (RFC 4733: 40 ms on, 40 ms off).
const REFILL: Duration = Duration::from_millis(50);

/// What INFO and NOTIFY of one dialog may still bring.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u32,
    since: Option<Instant>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: BURST, since: None }
    }
}

impl Allowance {
    /// Takes one; false when there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let refills = now.saturating_duration_since(since).as_millis() / REFILL.as_millis();
        if refills > 0 {
            let refills = u32::try_from(refills).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(refills).min(BURST);
            self.since = Some(if self.left == BURST { now } else { since + REFILL * refills });
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_steady_rate() {
        let start = Instant::now();
        let mut allowance = Allowance::default();
        let taken = (0..1000).filter(|_| allowance.take(start)).count();
        assert_eq!(taken, BURST as usize);
        let later = |ms| start + Duration::from_millis(ms);
        let taken = (0..10_000).filter(|ms| allowance.take(later(*ms))).count();
        assert_eq!(taken, 199);
        assert!((0..50).all(|_| allowance.take(later(100_000))));
        assert!(!allowance.take(later(100_000)));
    }
}
