//! Unix time of an instant, the same whenever it is asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system's clock was set, and did not merely drift.
const STEP: u64 = 1000;

/// Lists that are compared must not differ by the milliseconds between two readings of two clocks.
pub struct Clock {
    start: Instant,
    /// Unix milliseconds of `start`.
    base: AtomicU64,
}

impl Clock {
    pub fn new(now: Instant, wall: SystemTime) -> Self {
        Clock { start: now, base: AtomicU64::new(since_epoch(wall)) }
    }

    /// Instants before the clock's own beginning are taken for it.
    pub fn unix_ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        self.base.load(Ordering::Relaxed).saturating_add(millis(since))
    }

    /// Follows a system clock that was set.
    pub fn correct(&self, now: Instant, wall: SystemTime) {
        let wall = since_epoch(wall);
        if self.unix_ms(now).abs_diff(wall) > STEP {
            let since = millis(now.saturating_duration_since(self.start));
            self.base.store(wall.saturating_sub(since), Ordering::Relaxed);
        }
    }
}

pub(super) fn since_epoch(wall: SystemTime) -> u64 {
    millis(wall.duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_steps_and_not_drift() {
        let (start, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_000_000));
        let clock = Clock::new(start, wall);
        let later = start + Duration::from_secs(60);
        assert_eq!(clock.unix_ms(later), 1_000_060_000);
        clock.correct(later, wall + Duration::from_millis(60_900));
        assert_eq!(clock.unix_ms(later), 1_000_060_000, "a drift");
        clock.correct(later, wall + Duration::from_secs(3660));
        assert_eq!(clock.unix_ms(later), 1_003_660_000);
        clock.correct(later, wall - Duration::from_secs(3600));
        assert_eq!(clock.unix_ms(start), 1_000_000_000 - 3_660_000);
    }
}
