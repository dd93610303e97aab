//! How a call sounds over time: a point in 5 s, and fewer when it lasts.

use std::time::Duration;

use crate::media::{CallStats, StreamStats};

use super::event::{LegQuality, QualityPoint, StreamQuality};

/// Points of a call: 20 minutes at 5 s each, then twice as long each, and so on. 21 KB.
pub const MAX_POINTS: usize = 240;

#[derive(Debug, Default)]
pub(super) struct Sound {
    points: Vec<QualityPoint>,
    /// Intervals in each point but the last.
    span: u32,
    /// Intervals in the last one.
    in_last: u32,
    last: Option<Box<CallStats>>,
}

impl Sound {
    /// `stats` are all counters of the call so far.
    pub fn push(&mut self, at: u64, stats: &CallStats) {
        let before = self.last.as_deref().copied().unwrap_or_default();
        let now = stats.since(&before);
        let leg = |rtt: Option<Duration>, rx, tx| LegQuality {
            rtt_ms: rtt.map(milliseconds),
            rx: stream(rx),
            tx: stream(tx),
        };
        let point = QualityPoint {
            at,
            browser: leg(now.browser_rtt.last, &now.from_browser, &now.to_browser),
            sip: leg(now.sip_rtt.last, &now.from_sip, &now.to_sip),
        };
        self.last = Some(Box::new(*stats));
        self.add(point);
    }

    fn add(&mut self, point: QualityPoint) {
        self.span = self.span.max(1);
        if self.in_last < self.span
            && let Some(last) = self.points.last_mut()
        {
            *last = merged(last, &point);
            self.in_last += 1;
            return;
        }
        if self.points.len() == MAX_POINTS {
            self.points = self.points.chunks(2).map(pair).collect();
            self.span *= 2;
        }
        self.points.push(point);
        self.in_last = 1;
    }

    pub fn last(&self) -> Option<&CallStats> {
        self.last.as_deref()
    }

    pub fn to_vec(&self) -> Vec<QualityPoint> {
        self.points.clone()
    }
}

fn pair(points: &[QualityPoint]) -> QualityPoint {
    match points {
        [one, two] => merged(one, two),
        [one, ..] => *one,
        [] => QualityPoint::default(),
    }
}

fn merged(one: &QualityPoint, two: &QualityPoint) -> QualityPoint {
    let leg = |one: &LegQuality, two: &LegQuality| LegQuality {
        rtt_ms: two.rtt_ms.or(one.rtt_ms),
        rx: both(&one.rx, &two.rx),
        tx: both(&one.tx, &two.tx),
    };
    QualityPoint {
        at: two.at,
        browser: leg(&one.browser, &two.browser),
        sip: leg(&one.sip, &two.sip),
    }
}

/// By packets; of jitter the worse.
fn both(one: &StreamQuality, two: &StreamQuality) -> StreamQuality {
    let packets = one.packets.saturating_add(two.packets);
    let weighted = |a: f32, b: f32| match packets {
        0 => 0.0,
        all => (a * one.packets as f32 + b * two.packets as f32) / all as f32,
    };
    StreamQuality {
        mos: match (one.mos, two.mos) {
            (Some(a), Some(b)) => Some((a + b) / 2.0),
            (a, b) => b.or(a),
        },
        loss_percent: weighted(one.loss_percent, two.loss_percent),
        jitter_ms: one.jitter_ms.max(two.jitter_ms),
        packets,
    }
}

fn stream(stream: &StreamStats) -> StreamQuality {
    StreamQuality {
        mos: stream.mos.average().map(|mos| hundredths(mos as f32)),
        loss_percent: hundredths(stream.loss() as f32 * 100.0),
        jitter_ms: milliseconds(stream.jitter),
        packets: u32::try_from(stream.packets).unwrap_or(u32::MAX),
    }
}

fn milliseconds(time: Duration) -> f32 {
    hundredths(time.as_secs_f32() * 1000.0)
}

fn hundredths(value: f32) -> f32 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(packets: u64, lost: u64) -> CallStats {
        let from_sip = StreamStats { packets, lost, ..StreamStats::default() };
        CallStats { from_sip, ..CallStats::default() }
    }

    #[test]
    fn a_point_tells_of_its_interval_only() {
        let mut sound = Sound::default();
        sound.push(5_000, &heard(250, 0));
        sound.push(10_000, &heard(475, 25));
        sound.push(15_000, &heard(725, 25));
        let rx: Vec<_> =
            sound.to_vec().iter().map(|p| (p.sip.rx.packets, p.sip.rx.loss_percent)).collect();
        assert_eq!(rx, [(250, 0.0), (225, 10.0), (250, 0.0)]);
    }

    #[test]
    fn a_long_call_has_coarser_points_and_loses_no_packet() {
        let mut sound = Sound::default();
        for n in 1..=7200 {
            sound.push(n * 5_000, &heard(n * 250, n));
        }
        let points = sound.to_vec();
        assert!(points.len() <= MAX_POINTS && points.len() > MAX_POINTS / 2, "{}", points.len());
        assert_eq!(
            points.iter().map(|point| u64::from(point.sip.rx.packets)).sum::<u64>(),
            7200 * 250
        );
        assert!(points.iter().all(|point| (point.sip.rx.loss_percent - 0.4).abs() < 0.01));
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert_eq!(points.last().unwrap().at, 7200 * 5_000);
    }
}
