//! How busy a worker is, and what it makes of it.

use std::time::{Duration, Instant};

use crate::media::socket::thread_cpu;

/// From this many packets a second on, packets gather for a tick instead of waking us one by one:
/// some twenty calls. Below, little is gained and latency lost. Fifteen calls end it again, so that
/// one call more or less does not change it with every look.
const GATHER: u64 = 2000;
const WAKE: u64 = 1500;

/// How often the load is judged and counters are published.
const JUDGE: Duration = Duration::from_millis(100);

/// The share of the newest measurement in the figure: one second goes into it.
const NEWEST: u64 = 8;

/// What a call that passes G.711 on takes of a core: microseconds a second. As much is reserved for
/// each, be it silent now or opened a moment ago.
const CALL: u64 = 600;

/// What a worker with so many calls and so much measured [`Load::busy`] has to do: the next call goes
/// where it is the least. Calls that cost more than others, by transcoding, are in what was measured.
pub fn weight(calls: u64, busy: u64) -> u64 {
    if calls == 0 { 0 } else { busy.max(calls * CALL) }
}

/// What has been measured of a worker's own thread.
pub struct Load {
    pub judge_at: Instant,
    judged_at: Instant,
    packets: u64,
    cpu: Duration,
    /// Packets are to gather for a tick.
    pub gathers: bool,
    /// Microseconds of CPU a second.
    pub busy: u64,
}

impl Load {
    pub fn new(now: Instant) -> Self {
        let cpu = thread_cpu();
        Load { judge_at: now + JUDGE, judged_at: now, packets: 0, cpu, gathers: false, busy: 0 }
    }

    /// True when it was time to judge; `packets` are all that ever came.
    pub fn judge(&mut self, now: Instant, packets: u64) -> bool {
        if now < self.judge_at {
            return false;
        }
        let span = now.saturating_duration_since(self.judged_at).max(JUDGE);
        let came = packets - std::mem::replace(&mut self.packets, packets);
        self.gathers = gathers(self.gathers, per_second(came, span));
        let cpu = thread_cpu();
        let used = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        let newest = per_second(used.as_micros() as u64, span);
        self.busy = (self.busy * (NEWEST - 1) + newest) / NEWEST;
        self.judged_at = now;
        self.judge_at = now + JUDGE;
        true
    }
}

fn per_second(count: u64, span: Duration) -> u64 {
    count * 1000 / (span.as_millis() as u64).max(1)
}

fn gathers(before: bool, packets: u64) -> bool {
    packets >= if before { WAKE } else { GATHER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_calls_wake_us_one_by_one_and_a_hundred_gather() {
        for before in [false, true] {
            assert!(!gathers(before, 10 * 100));
            assert!(gathers(before, 100 * 100));
        }
    }

    #[test]
    fn between_the_thresholds_it_stays_as_it_was() {
        let between = (GATHER + WAKE) / 2;
        assert!(gathers(true, between) && !gathers(false, between));
    }

    #[test]
    fn a_worker_that_transcodes_weighs_more_than_one_with_as_many_calls() {
        assert!(weight(10, 30_000) > weight(10, 5000));
        assert!(weight(10, 30_000) > weight(49, 25_000));
        // Opened all at once, before anything was measured.
        assert!(weight(11, 0) > weight(10, 0));
        assert_eq!(weight(0, 30_000), 0, "it was busy a moment ago");
    }

    #[test]
    fn load_is_judged_by_the_packets_since_the_last_time() {
        let mut now = Instant::now();
        let mut load = Load::new(now);
        assert!(!load.judge(now, 1_000_000));
        for (packets, gathers) in [(300, true), (480, true), (600, false), (601, false)] {
            now += JUDGE;
            assert!(load.judge(now, packets));
            assert_eq!(load.gathers, gathers, "{packets}");
        }
        assert!(load.busy < 1_000_000);
    }
}
