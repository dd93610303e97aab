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

    /// Follows a system clock that was set; by how many milliseconds.
    pub fn correct(&self, now: Instant, wall: SystemTime) -> i64 {
        let wall = since_epoch(wall);
        let step = wall.cast_signed().saturating_sub(self.unix_ms(now).cast_signed());
        if step.unsigned_abs() <= STEP {
            return 0;
        }
        let since = millis(now.saturating_duration_since(self.start));
        self.base.store(wall.saturating_sub(since), Ordering::Relaxed);
        step
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
        assert_eq!(clock.correct(later, wall + Duration::from_millis(60_900)), 0);
        assert_eq!(clock.unix_ms(later), 1_000_060_000, "a drift");
        assert_eq!(clock.correct(later, wall + Duration::from_secs(3660)), 3_600_000);
        assert_eq!(clock.unix_ms(later), 1_003_660_000);
        assert_eq!(clock.correct(later, wall - Duration::from_secs(3600)), -7_260_000);
        assert_eq!(clock.unix_ms(start), 1_000_000_000 - 3_660_000);
    }
}
