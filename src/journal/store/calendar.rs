//! What time it is, for who deletes by age. Pure.
//!
//! A system's clock may be set by years, and is wrong now and then: after a start without a battery, by
//! somebody's hand, by a bad time server. What it says is believed when as much time has really passed, or
//! when it has said so for a day; until then the earlier of the two counts, so that a wrong clock deletes
//! nothing that a right one would have kept.

use std::fmt;
use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(86_400);

/// What clocks differ by without having been set.
const DRIFT: u64 = 10 * 60 * 1000;

/// A step that nothing has accounted for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Milliseconds; below zero where the clock went back.
    pub by: i64,
}

/// What a look has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The clock was set. Told once of each step.
    Doubted(Step),
    /// It is back, or has been so for a day.
    Believed,
}

#[derive(Debug)]
pub(super) struct Calendar {
    /// How long calls are kept.
    keep: Duration,
    /// Unix milliseconds of an instant.
    believed: Option<(Instant, u64)>,
    doubt: Option<(Instant, Step)>,
}

impl Calendar {
    pub fn new(keep: Duration) -> Self {
        Self { keep, believed: None, doubt: None }
    }

    /// Whether [`Calendar::begin`] is due.
    pub fn is_new(&self) -> bool {
        self.believed.is_none()
    }

    /// After a start. `known` is when somebody last knew the time: it may be long ago, and is not after
    /// now. A pause in which more than half of what is kept grew too old is not believed at once.
    pub fn begin(&mut self, known: Option<u64>, now: Instant, wall: u64) {
        let pause = millis(DAY.max(self.keep / 2));
        let known = known.filter(|known| wall < *known || wall - known > pause);
        self.believed = Some((now, known.unwrap_or(wall)));
    }

    /// The time by which calls may be judged, in Unix milliseconds; `wall` is what the clock says.
    pub fn look(&mut self, now: Instant, wall: u64) -> (u64, Option<Change>) {
        let (since, then) = *self.believed.get_or_insert((now, wall));
        let expected = then.saturating_add(millis(now.saturating_duration_since(since)));
        if expected.abs_diff(wall) <= DRIFT {
            self.believed = Some((now, wall));
            let change = self.doubt.take().map(|_| Change::Believed);
            return (wall, change);
        }
        let by = wall.cast_signed().saturating_sub(expected.cast_signed());
        match self.doubt {
            Some((since, step)) if step.by.abs_diff(by) <= DRIFT => {
                if now.saturating_duration_since(since) < DAY {
                    return (wall.min(expected), None);
                }
                self.believed = Some((now, wall));
                self.doubt = None;
                (wall, Some(Change::Believed))
            }
            _ => {
                self.doubt = Some((now, Step { by }));
                (wall.min(expected), Some(Change::Doubted(Step { by })))
            }
        }
    }

    /// What [`Calendar::begin`] is to know after the next start.
    pub fn known(&self, now: Instant) -> Option<u64> {
        let (since, then) = self.believed?;
        Some(then.saturating_add(millis(now.saturating_duration_since(since))))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.by.unsigned_abs() / 60_000;
        let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
        let way = if self.by < 0 { "back" } else { "forward" };
        match days {
            0 => write!(f, "{way} by {hours} h {minutes} min"),
            _ => write!(f, "{way} by {days} d {hours} h"),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;
    const DAY_MS: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY_MS;

    /// Looks so long after the beginning, the clock being off by so much.
    fn look(
        calendar: &mut Calendar,
        start: Instant,
        after: u64,
        off: i64,
    ) -> (i64, Option<Change>) {
        let wall = (NOW + after).saturating_add_signed(off);
        let (judged, change) = calendar.look(start + Duration::from_millis(after), wall);
        (judged.cast_signed() - (NOW + after).cast_signed(), change)
    }

    fn begun(known: Option<u64>) -> (Calendar, Instant) {
        let (mut calendar, start) = (Calendar::new(30 * DAY), Instant::now());
        calendar.begin(known, start, NOW);
        (calendar, start)
    }

    fn doubted(by: i64) -> Option<Change> {
        Some(Change::Doubted(Step { by }))
    }

    #[test]
    fn a_clock_that_drifts_is_followed() {
        let (mut calendar, start) = begun(None);
        for hour in 1..100 {
            let off = (hour * 1000) as i64;
            assert_eq!(look(&mut calendar, start, hour * HOUR, off), (off, None));
        }
    }

    #[test]
    fn a_step_forward_is_believed_after_a_day_and_not_before() {
        let (mut calendar, start) = begun(None);
        let off = (73 * YEAR).cast_signed();
        assert_eq!(look(&mut calendar, start, HOUR, off), (0, doubted(off)));
        assert_eq!(look(&mut calendar, start, DAY_MS, off), (0, None));
        assert_eq!(look(&mut calendar, start, HOUR + DAY_MS, off), (off, Some(Change::Believed)));
        assert_eq!(look(&mut calendar, start, 2 * DAY_MS, off), (off, None));
    }

    #[test]
    fn a_step_that_is_taken_back_changes_nothing() {
        let (mut calendar, start) = begun(None);
        for (after, off) in [(0, HOUR.cast_signed()), (DAY_MS, -HOUR.cast_signed())] {
            assert_eq!(look(&mut calendar, start, after, off), (off.min(0), doubted(off)));
            assert_eq!(look(&mut calendar, start, after + HOUR, 0), (0, Some(Change::Believed)));
        }
    }

    #[test]
    fn steps_after_each_other_begin_the_day_anew() {
        let (mut calendar, start) = begun(None);
        let (one, two) = (YEAR.cast_signed(), 2 * YEAR.cast_signed());
        assert_eq!(look(&mut calendar, start, 0, one), (0, doubted(one)));
        assert_eq!(look(&mut calendar, start, 20 * HOUR, two), (0, doubted(two)));
        assert_eq!(look(&mut calendar, start, 30 * HOUR, two), (0, None));
    }

    #[test]
    fn a_start_with_a_wrong_clock_is_noticed_by_what_was_known() {
        let long_ago = NOW - 16 * DAY_MS;
        let (mut calendar, start) = begun(Some(long_ago));
        let off = (16 * DAY_MS).cast_signed();
        assert_eq!(look(&mut calendar, start, 0, 0), (-off, doubted(off)));
        assert_eq!(calendar.known(start + DAY), Some(long_ago + DAY_MS), "restarts do not help it");
        let (mut calendar, start) = begun(Some(NOW - 14 * DAY_MS));
        assert_eq!(look(&mut calendar, start, 0, 0), (0, None), "a pause, as they are");
    }

    /// Without a battery it is 1970 until a time server has been asked.
    #[test]
    fn a_start_in_the_past_deletes_nothing_and_is_over_when_the_time_is_known() {
        let (mut calendar, start) = (Calendar::new(30 * DAY), Instant::now());
        calendar.begin(Some(NOW), start, 0);
        assert_eq!(calendar.look(start, 0), (0, doubted(-NOW.cast_signed())));
        let later = start + Duration::from_secs(60);
        assert_eq!(
            calendar.look(later, NOW + HOUR / 10),
            (NOW + HOUR / 10, Some(Change::Believed))
        );
    }

    #[test]
    fn says_how_far() {
        assert_eq!(Step { by: -3_660_000 }.to_string(), "back by 1 h 1 min");
        assert_eq!(
            Step { by: (31 * DAY_MS + HOUR).cast_signed() }.to_string(),
            "forward by 31 d 1 h"
        );
    }
}
