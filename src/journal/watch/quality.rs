//! How a call sounds now, from its counters. Pure.

use crate::agent::LiveQuality;
use crate::journal::video_figures;
use crate::media::{CallStats, Mos, RoundTrips, StreamStats};

/// Fewer packets than a second of sound has say nothing of loss.
const LEAST_PACKETS: u64 = 50;

/// What came in between two looks at a call, for sums over many calls.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share {
    /// Scores of the streams' intervals that ended, and their sum.
    pub intervals: u64,
    pub mos_sum: f64,
    pub expected: u64,
    pub lost: u64,
}

impl std::ops::AddAssign for Share {
    fn add_assign(&mut self, other: Self) {
        self.intervals += other.intervals;
        self.mos_sum += other.mos_sum;
        self.expected += other.expected;
        self.lost += other.lost;
    }
}

/// Follows one call.
#[derive(Debug, Default)]
pub struct Tracker {
    /// From the browser, to it, from SIP, to it.
    streams: [Stream; 4],
    quality: LiveQuality,
}

#[derive(Debug, Default, Clone, Copy)]
struct Stream {
    mos: Mos,
    /// Counters when the loss was computed last.
    packets: u64,
    lost: u64,
    /// Of the last interval.
    score: Option<f64>,
    loss: Option<f64>,
    /// Counters at the last look.
    seen: (u64, u64),
}

impl Tracker {
    pub fn quality(&self) -> LiveQuality {
        self.quality
    }

    /// The call's counters now. Calls of one line share them, so that they are told about the one that
    /// the browser is with.
    pub fn handle(&mut self, stats: &CallStats) -> Share {
        let now = [stats.from_browser, stats.to_browser, stats.from_sip, stats.to_sip];
        let mut share = Share::default();
        for (stream, now) in self.streams.iter_mut().zip(&now) {
            share += stream.handle(now);
        }
        let [from_browser, to_browser, from_sip, to_sip] = &self.streams;
        let worst = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        let heard = |stats: &StreamStats| {
            (stats.packets > 0).then(|| tenths(stats.jitter.as_secs_f64() * 1000.0))
        };
        let rtt = |rtt: RoundTrips| rtt.last.map(|last| tenths(last.as_secs_f64() * 1000.0));
        let scores = self.streams.iter().filter_map(|stream| stream.score);
        self.quality = LiveQuality {
            mos: scores.reduce(f64::min).map(|score| (score * 100.0).round() / 100.0),
            browser_loss_percent: worst(from_browser.loss, to_browser.loss),
            sip_loss_percent: worst(from_sip.loss, to_sip.loss),
            browser_jitter_ms: heard(&stats.from_browser),
            sip_jitter_ms: heard(&stats.from_sip),
            browser_rtt_ms: rtt(stats.browser_rtt),
            sip_rtt_ms: rtt(stats.sip_rtt),
            video: stats.video.as_ref().map(video_figures),
        };
        share
    }
}

impl Stream {
    fn handle(&mut self, now: &StreamStats) -> Share {
        let counters = (now.packets, now.lost);
        let (packets, lost) = std::mem::replace(&mut self.seen, counters);
        // Less than before: another stream has begun.
        let mut share = match (now.packets.checked_sub(packets), now.lost.checked_sub(lost)) {
            (Some(packets), Some(lost)) => {
                Share { expected: packets + lost, lost, ..Share::default() }
            }
            _ => Share::default(),
        };
        if now.mos.intervals > self.mos.intervals {
            share.intervals = u64::from(now.mos.intervals - self.mos.intervals);
            share.mos_sum = now.mos.sum - self.mos.sum;
            self.score = Some(share.mos_sum / share.intervals as f64);
            self.take_loss(now);
        }
        self.mos = now.mos;
        share
    }

    /// Over the interval that has just been scored.
    fn take_loss(&mut self, now: &StreamStats) {
        let before = (self.packets, self.lost);
        (self.packets, self.lost) = (now.packets, now.lost);
        let packets = now.packets.saturating_sub(before.0);
        let lost = now.lost.saturating_sub(before.1);
        if packets + lost >= LEAST_PACKETS {
            self.loss = Some(tenths(lost as f64 / (packets + lost) as f64 * 100.0));
        }
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stream(packets: u64, lost: u64, intervals: u32, sum: f64) -> StreamStats {
        let mos = Mos { intervals, sum, worst: None };
        StreamStats {
            packets,
            lost,
            mos,
            jitter: Duration::from_micros(2340),
            ..StreamStats::default()
        }
    }

    #[test]
    fn tells_of_the_last_interval_and_not_of_the_whole_call() {
        let mut tracker = Tracker::default();
        let none = tracker.handle(&CallStats::default());
        assert_eq!((none, tracker.quality()), (Share::default(), LiveQuality::default()));

        let good = stream(250, 0, 1, 4.4);
        tracker.handle(&CallStats { from_browser: good, from_sip: good, ..CallStats::default() });
        let quality = tracker.quality();
        assert_eq!((quality.mos, quality.browser_loss_percent), (Some(4.4), Some(0.0)));
        assert_eq!((quality.browser_jitter_ms, quality.browser_rtt_ms), (Some(2.3), None));

        let bad = stream(475, 25, 2, 4.4 + 3.1);
        let still = stream(400, 0, 1, 4.4);
        let now = CallStats { from_browser: bad, from_sip: still, ..CallStats::default() };
        let share = tracker.handle(&now);
        assert_eq!((share.intervals, share.expected, share.lost), (1, 225 + 25 + 150, 25));
        assert!((share.mos_sum - 3.1).abs() < 1e-9);
        let quality = tracker.quality();
        assert_eq!((quality.mos, quality.browser_loss_percent), (Some(3.1), Some(10.0)));
        assert_eq!(quality.sip_loss_percent, Some(0.0));
    }

    #[test]
    fn counters_that_begin_anew_are_no_loss() {
        let mut tracker = Tracker::default();
        let call = |stream| CallStats { from_sip: stream, ..CallStats::default() };
        tracker.handle(&call(stream(1000, 100, 4, 16.0)));
        let share = tracker.handle(&call(stream(10, 0, 0, 0.0)));
        assert_eq!((share.expected, share.lost, share.intervals), (0, 0, 0));
    }
}
