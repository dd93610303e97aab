//! Figures by the minute, for charts. Pure.

use std::collections::VecDeque;

use super::quality::Share;
use crate::agent::SeriesPoint;

/// A day.
const MINUTES: usize = 1440;

const MINUTE: u64 = 60_000;

/// Set-up times of one minute that count; of more, those that came first. 17 answers a second.
const SETUPS: usize = 1024;

pub(super) struct Series {
    /// Those that are over, the oldest first and none left out.
    over: VecDeque<SeriesPoint>,
    now: Minute,
}

#[derive(Default)]
struct Minute {
    at: u64,
    started: u64,
    ended: u64,
    failed: u64,
    active: u64,
    setups: Vec<u64>,
    quality: Share,
}

impl Series {
    /// Times are Unix milliseconds.
    pub fn new(now: u64) -> Self {
        Series { over: VecDeque::new(), now: Minute::beginning(now) }
    }

    pub fn call_started(&mut self, now: u64) {
        self.advance(now);
        self.now.started += 1;
    }

    pub fn call_answered(&mut self, setup_ms: u64, now: u64) {
        self.advance(now);
        if self.now.setups.len() < SETUPS {
            self.now.setups.push(setup_ms);
        }
    }

    pub fn call_ended(&mut self, failed: bool, now: u64) {
        self.advance(now);
        self.now.ended += 1;
        self.now.failed += u64::from(failed);
    }

    pub fn look(&mut self, active: u64, quality: Share, now: u64) {
        self.advance(now);
        self.now.active = self.now.active.max(active);
        self.now.quality += quality;
    }

    /// The last so many minutes, the one that is not over among them.
    pub fn points(&mut self, minutes: usize, now: u64) -> Vec<SeriesPoint> {
        self.advance(now);
        let skipped = (self.over.len() + 1).saturating_sub(minutes);
        let over = self.over.iter().copied();
        over.chain([self.now.point()]).skip(skipped).collect()
    }

    /// By so many milliseconds: the minutes that are kept were so long ago, whatever the clock said then.
    pub fn clock_was_set(&mut self, by: i64) {
        let whole = by.div_euclid(MINUTE.cast_signed()) * MINUTE.cast_signed();
        for point in &mut self.over {
            point.at = point.at.saturating_add_signed(whole);
        }
        self.now.at = self.now.at.saturating_add_signed(whole);
    }

    /// A clock that was put back goes on with the minute there is, until it is over.
    fn advance(&mut self, now: u64) {
        let minute = now - now % MINUTE;
        if minute > self.now.at + MINUTE * MINUTES as u64 {
            // A day without a word: the clock was set. What is kept was then.
            self.over.clear();
            self.now = Minute::beginning(now);
        }
        while self.now.at < minute {
            let at = self.now.at + MINUTE;
            let over = std::mem::replace(&mut self.now, Minute { at, ..Minute::default() });
            if self.over.len() == MINUTES - 1 {
                self.over.pop_front();
            }
            self.over.push_back(over.point());
        }
    }
}

impl Minute {
    fn beginning(now: u64) -> Self {
        Minute { at: now - now % MINUTE, ..Minute::default() }
    }

    fn point(&self) -> SeriesPoint {
        let mut setups = self.setups.clone();
        setups.sort_unstable();
        let Share { intervals, mos_sum, expected, lost } = self.quality;
        let hundredths = |value: f64| (value * 100.0).round() / 100.0;
        SeriesPoint {
            at: self.at,
            calls_started: self.started,
            calls_ended: self.ended,
            failed: self.failed,
            active: self.active,
            setup_p50_ms: percentile(&setups, 50),
            setup_p95_ms: percentile(&setups, 95),
            mos: (intervals > 0).then(|| hundredths(mos_sum / intervals as f64)),
            loss_percent: (expected > 0).then(|| hundredths(lost as f64 / expected as f64 * 100.0)),
        }
    }
}

/// The nearest rank.
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_040_000;

    #[test]
    fn minutes_are_kept_apart_and_none_is_left_out() {
        let mut series = Series::new(START + 5);
        series.call_started(START + 10);
        series.call_answered(300, START + 400);
        series.look(2, Share { intervals: 2, mos_sum: 8.0, expected: 200, lost: 1 }, START + 1000);
        series.look(1, Share::default(), START + 2000);
        series.call_ended(false, START + MINUTE);
        series.call_ended(true, START + 4 * MINUTE);
        let points = series.points(60, START + 4 * MINUTE);
        let ats: Vec<u64> = points.iter().map(|point| (point.at - START) / MINUTE).collect();
        assert_eq!(ats, [0, 1, 2, 3, 4]);
        let first = SeriesPoint {
            at: START,
            calls_started: 1,
            active: 2,
            setup_p50_ms: Some(300),
            setup_p95_ms: Some(300),
            mos: Some(4.0),
            loss_percent: Some(0.5),
            ..SeriesPoint::default()
        };
        assert_eq!(points[0], first);
        assert_eq!((points[1].calls_ended, points[1].failed, points[1].mos), (1, 0, None));
        assert_eq!((points[4].calls_ended, points[4].failed), (1, 1));
        assert_eq!(series.points(2, START + 4 * MINUTE), points[3..]);
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 95)), (Some(50), Some(95)));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 95), percentile(&[], 95)), {
            (Some(7), Some(7), None)
        });
        assert_eq!(percentile(&[1, 2, 3], 95), Some(3));
    }

    #[test]
    fn a_day_is_kept_and_a_clock_that_jumps_does_no_harm() {
        let mut series = Series::new(START);
        for minute in 0..2000 {
            series.call_started(START + minute * MINUTE);
        }
        let now = START + 1999 * MINUTE;
        assert_eq!(series.points(usize::MAX, now).len(), MINUTES);
        series.call_started(now - 600 * MINUTE);
        assert_eq!(series.points(1, now)[0].calls_started, 2, "put back");
        series.call_started(now + 100_000 * MINUTE);
        assert_eq!(series.points(usize::MAX, now).len(), 1, "put forward by months");
    }

    #[test]
    fn minutes_move_with_a_clock_that_is_set() {
        const YEARS: u64 = 73 * 365 * 1440 * MINUTE;
        let mut series = Series::new(START);
        series.call_started(START);
        series.call_started(START + 2 * MINUTE);
        for (by, now) in [
            (3600, START + 2 * MINUTE + 3_600_000),
            (-3600, START + 2 * MINUTE),
            ((YEARS / 1000) as i64, START + 2 * MINUTE + YEARS),
            (-((YEARS / 1000) as i64), START + 2 * MINUTE),
            (-90, START + 2 * MINUTE - 90_000),
        ] {
            series.clock_was_set(by * 1000);
            let points = series.points(usize::MAX, now);
            let last = now - now % MINUTE;
            let ats: Vec<u64> = points.iter().map(|point| (last - point.at) / MINUTE).collect();
            assert_eq!(ats, [2, 1, 0], "{by}");
            assert_eq!(points.iter().map(|point| point.calls_started).sum::<u64>(), 2);
        }
        series.call_started(START + 2 * MINUTE - 90_000);
        assert_eq!(series.points(1, START)[0].calls_started, 2);
    }

    #[test]
    fn a_flood_of_answers_costs_no_memory() {
        let mut series = Series::new(START);
        for n in 0..10_000 {
            series.call_answered(n, START);
        }
        assert_eq!(series.now.setups.len(), SETUPS);
    }
}
