//! What a receiver knows of a stream: loss and jitter (RFC 3550 A.1, A.3, A.8).

use std::time::{Duration, Instant};

use super::stream::units;
use super::types::StreamStats;

/// Jumps further than this start the count anew (RFC 3550 A.1).
const MAX_DROPOUT: u16 = 3000;
const MAX_MISORDER: u16 = 100;

/// Counts one incoming stream, over changes of its SSRC.
#[derive(Debug, Default)]
pub struct Reception {
    packets: u64,
    bytes: u64,
    reordered: u64,
    duplicates: u64,
    /// Of sources that are over.
    lost_before: u64,
    source: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    ssrc: u32,
    base: u32,
    /// Highest sequence number with the number of its wraps above.
    highest: u32,
    received: u32,
    /// Bit n: the packet n before the highest has come.
    seen: u64,
    duplicates: u32,
    reported: (u32, u32),
    epoch: Instant,
    transit: Option<u32>,
    /// Sixteen times the jitter.
    jitter: u32,
    /// Of the transit and the jitter.
    clock: u32,
}

/// A reception report block (RFC 3550 6.4.1), without what the RTCP layer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    pub ssrc: u32,
    pub fraction_lost: u8,
    pub lost: i32,
    pub highest: u32,
    pub jitter: u32,
}

/// How a packet stands to those before it.
enum Order {
    Next,
    Late,
    Again,
}

impl Reception {
    /// `clock`: the RTP units per second of its timestamp; `None` for events, which share one and tell nothing
    /// about jitter.
    pub fn received(
        &mut self,
        now: Instant,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        bytes: usize,
        clock: Option<u32>,
    ) {
        self.packets += 1;
        self.bytes += bytes as u64;
        let goes_on = match &self.source {
            Some(source) if source.ssrc == ssrc => {
                let ahead = sequence.wrapping_sub(source.highest as u16);
                !(MAX_DROPOUT..=u16::MAX - MAX_MISORDER).contains(&ahead)
            }
            _ => false,
        };
        if !goes_on {
            self.lost_before += self.source.as_ref().map_or(0, Counted::lost_so_far);
            self.source = None;
        }
        let source = self.source.get_or_insert_with(|| Counted {
            ssrc,
            base: u32::from(sequence),
            highest: u32::from(sequence),
            received: 0,
            seen: 0,
            duplicates: 0,
            reported: (0, 0),
            epoch: now,
            transit: None,
            jitter: 0,
            clock: clock.unwrap_or(8000),
        });
        source.received = source.received.wrapping_add(1);
        match source.place(sequence) {
            Order::Next => {}
            Order::Late => self.reordered += 1,
            Order::Again => self.duplicates += 1,
        }
        if let Some(clock) = clock {
            source.time(now, timestamp, clock);
        }
    }

    pub fn stats(&self) -> StreamStats {
        let (lost, jitter) = self
            .source
            .as_ref()
            .map_or((0, Duration::ZERO), |s| (s.lost_so_far(), s.jitter_time()));
        StreamStats {
            packets: self.packets,
            bytes: self.bytes,
            lost: self.lost_before + lost,
            jitter,
            reordered: self.reordered,
            duplicates: self.duplicates,
            ..StreamStats::default()
        }
    }

    /// The next report; the fraction is of the time since the one before.
    pub fn report(&mut self) -> Option<Report> {
        let source = self.source.as_mut()?;
        let expected = source.expected();
        let (expected_before, received_before) =
            std::mem::replace(&mut source.reported, (expected, source.received));
        let expected_now = expected.wrapping_sub(expected_before);
        let received_now = source.received.wrapping_sub(received_before);
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now << 8).checked_div(expected_now).unwrap_or(0);
        let lost = i64::from(expected) - i64::from(source.received);
        Some(Report {
            ssrc: source.ssrc,
            fraction_lost: fraction.min(255) as u8,
            lost: lost.clamp(-0x80_0000, 0x7F_FFFF) as i32,
            highest: source.highest,
            jitter: source.jitter >> 4,
        })
    }

    /// When the last packet's source began; `None` before the first packet.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|s| s.ssrc)
    }
}

impl Counted {
    fn expected(&self) -> u32 {
        self.highest.wrapping_sub(self.base).wrapping_add(1)
    }

    fn jitter_time(&self) -> Duration {
        Duration::from_micros(u64::from(self.jitter >> 4) * 1_000_000 / u64::from(self.clock))
    }

    fn lost_so_far(&self) -> u64 {
        // What came twice makes up for nothing, other than in the reports (RFC 3550 A.3).
        let once = self.received.saturating_sub(self.duplicates);
        u64::from(self.expected().saturating_sub(once))
    }

    fn place(&mut self, sequence: u16) -> Order {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT {
            if ahead == 0 && self.seen != 0 {
                self.duplicates += 1;
                return Order::Again;
            }
            self.seen = self.seen.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            self.highest = self.highest.wrapping_add(u32::from(ahead));
            return Order::Next;
        }
        // Further back than the bits go it may be either; repetition is the rarer.
        let bit = 1u64.checked_shl(u32::from(ahead.wrapping_neg())).unwrap_or(0);
        if self.seen & bit != 0 {
            self.duplicates += 1;
            return Order::Again;
        }
        self.seen |= bit;
        Order::Late
    }

    fn time(&mut self, now: Instant, timestamp: u32, clock: u32) {
        if clock != self.clock {
            // Another codec: a report is in the units of the one in use (RFC 7160 4.3).
            self.jitter =
                (u64::from(self.jitter) * u64::from(clock) / u64::from(self.clock)) as u32;
            self.clock = clock;
            self.transit = None;
        }
        let arrival = units(now.saturating_duration_since(self.epoch), clock);
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            // A jump of the source's clock is none of the network's.
            if difference < units(Duration::from_secs(1), clock) {
                self.jitter += difference;
                self.jitter -= (self.jitter - difference + 8) >> 4;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    fn feed(reception: &mut Reception, start: Instant, sequences: impl Iterator<Item = u32>) {
        for n in sequences {
            let now = start + FRAME * n;
            reception.received(now, 1, n as u16, n.wrapping_mul(160), 160, Some(8000));
        }
    }

    #[test]
    fn loss_is_counted_over_the_wrap() {
        let mut reception = Reception::default();
        feed(&mut reception, Instant::now(), (65_000..66_000).filter(|n| n % 10 != 0));
        let stats = reception.stats();
        assert_eq!((stats.packets, stats.lost, stats.jitter), (900, 99, Duration::ZERO));
        let report = reception.report().unwrap();
        assert_eq!((report.lost, report.fraction_lost), (99, 25));
        assert_eq!(report.highest, 65_999);
    }

    #[test]
    fn a_late_packet_is_not_lost_and_a_new_source_starts_anew() {
        let start = Instant::now();
        let mut reception = Reception::default();
        feed(&mut reception, start, [1, 2, 4, 3, 6].into_iter());
        assert_eq!(reception.stats().lost, 1);
        reception.received(start + FRAME * 7, 2, 40_000, 0, 160, Some(8000));
        reception.received(start + FRAME * 8, 2, 40_001, 160, 160, Some(8000));
        assert_eq!(reception.stats().lost, 1);
        assert_eq!(reception.report().unwrap().lost, 0);
    }

    #[test]
    fn jitter_follows_the_arrivals() {
        let start = Instant::now();
        let mut reception = Reception::default();
        for n in 0..1000u32 {
            let late = Duration::from_millis(u64::from(n % 2) * 10);
            reception.received(start + FRAME * n + late, 1, n as u16, n * 160, 160, Some(8000));
        }
        // 10 ms each way, 80 units: the estimate converges there.
        let jitter = reception.stats().jitter.as_micros() / 125;
        assert!((75..=80).contains(&jitter), "{jitter}");
    }

    #[test]
    fn repetition_and_disorder_are_told_apart_from_loss() {
        let mut reception = Reception::default();
        let order = [65_533, 65_534, 65_534, 65_536, 65_535, 65_535, 65_538, 65_539, 65_536];
        feed(&mut reception, Instant::now(), order.into_iter());
        let stats = reception.stats();
        assert_eq!((stats.packets, stats.duplicates, stats.reordered), (9, 3, 1));
        assert_eq!(stats.lost, 1, "65537 alone");
        assert_eq!(reception.report().unwrap().lost, -2, "as RFC 3550 has it");
    }

    #[test]
    fn fraction_is_of_the_last_interval() {
        let start = Instant::now();
        let mut reception = Reception::default();
        assert_eq!(reception.report(), None);
        feed(&mut reception, start, (0..100).filter(|n| n % 2 == 0));
        assert_eq!(reception.report().unwrap().fraction_lost, 126);
        feed(&mut reception, start, 100..200);
        assert_eq!(reception.report().unwrap().fraction_lost, 2);
        feed(&mut reception, start, 200..300);
        assert_eq!(reception.report().unwrap().fraction_lost, 0);
    }

    /// A source that was moved, or began anew under the same SSRC, has lost nothing.
    #[test]
    fn a_jump_of_the_numbers_is_no_loss() {
        let mut reception = Reception::default();
        feed(&mut reception, Instant::now(), (0..100).chain(20_000..20_100).chain(5_000..5_100));
        let stats = reception.stats();
        assert_eq!((stats.packets, stats.lost, stats.reordered), (300, 0, 0));
        assert_eq!(reception.report().unwrap().lost, 0);
    }

    #[test]
    fn a_jump_of_the_clock_and_another_codec_are_no_jitter() {
        let start = Instant::now();
        let mut reception = Reception::default();
        let mut feed = |range: std::ops::Range<u32>, clock: u32, jump: u32| {
            for n in range {
                let timestamp = (n * clock / 50).wrapping_add(jump);
                reception.received(start + FRAME * n, 1, n as u16, timestamp, 160, Some(clock));
            }
            reception.stats().jitter
        };
        assert_eq!(feed(0..50, 8000, 0), Duration::ZERO);
        assert_eq!(feed(50..100, 8000, 4_000_000), Duration::ZERO, "another time");
        assert_eq!(feed(100..150, 48_000, 4_003_000), Duration::ZERO, "another codec");
        assert_eq!(reception.report().unwrap().jitter, 0);
    }

    /// RFC 3550 6.4.1: 24 bits, and no negative number out of a great one.
    #[test]
    fn the_loss_of_a_report_stays_within_its_bits() {
        let mut reception = Reception::default();
        feed(&mut reception, Instant::now(), (0..3000).map(|n| n * 2999));
        assert_eq!(reception.report().unwrap().lost, 0x7F_FFFF);
        let mut reception = Reception::default();
        feed(&mut reception, Instant::now(), std::iter::repeat_n(7, 0x80_0000 + 10));
        assert_eq!(reception.report().unwrap().lost, -0x80_0000);
    }
}
