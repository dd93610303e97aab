//! The pool of RTP ports: even ones, each with the odd one after it for RTCP (RFC 3550 11).

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// Even ports in the order in which they become free. A port that was in use rests before it is
/// handed out again, so that late packets of the old call do not reach the new one.
pub struct PortPool {
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
    rest: Duration,
}

impl PortPool {
    pub fn new(range: &RangeInclusive<u16>, rest: Duration) -> Self {
        let last = *range.end();
        let free =
            range.clone().filter(|port| port % 2 == 0 && *port > 0 && *port < last).collect();
        PortPool { free, resting: VecDeque::new(), rest }
    }

    /// Begins elsewhere in the range, so that two processes that share one seldom meet.
    pub fn starting_at(mut self, any: usize) -> Self {
        if !self.free.is_empty() {
            let at = any % self.free.len();
            self.free.rotate_left(at);
        }
        self
    }

    /// The port that has been free the longest.
    pub fn take(&mut self, now: Instant) -> Option<u16> {
        self.wake(now);
        self.free.pop_front()
    }

    pub fn release(&mut self, now: Instant, port: u16) {
        self.resting.push_back((now + self.rest, port));
    }

    /// Ports that could be taken now.
    pub fn available(&mut self, now: Instant) -> usize {
        self.wake(now);
        self.free.len()
    }

    fn wake(&mut self, now: Instant) {
        while let Some((until, port)) = self.resting.front().copied() {
            if until > now {
                break;
            }
            self.resting.pop_front();
            self.free.push_back(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_even_ports_with_a_neighbour_in_the_range() {
        let now = Instant::now();
        let mut pool = PortPool::new(&(20001..=20006), Duration::ZERO);
        assert_eq!(pool.available(now), 2);
        assert_eq!(pool.take(now), Some(20002));
        assert_eq!(pool.take(now), Some(20004));
        assert_eq!(pool.take(now), None);
        assert_eq!(PortPool::new(&(65534..=65535), Duration::ZERO).take(now), Some(65534));
        assert_eq!(PortPool::new(&(7..=8), Duration::ZERO).take(now), None);
    }

    #[test]
    fn a_pool_may_begin_anywhere_and_has_all_its_ports() {
        let now = Instant::now();
        let mut pool = PortPool::new(&(20000..=20007), Duration::ZERO).starting_at(4 + 3);
        let taken: Vec<u16> = std::iter::from_fn(|| pool.take(now)).collect();
        assert_eq!(taken, [20006, 20000, 20002, 20004]);
        assert_eq!(PortPool::new(&(7..=8), Duration::ZERO).starting_at(5).available(now), 0);
    }

    #[test]
    fn a_released_port_rests() {
        let now = Instant::now();
        let rest = Duration::from_secs(30);
        let mut pool = PortPool::new(&(20000..=20003), rest);
        let port = pool.take(now).unwrap();
        pool.release(now, port);
        assert_eq!(pool.take(now), Some(20002));
        assert_eq!(pool.take(now + rest - Duration::from_millis(1)), None);
        assert_eq!(pool.take(now + rest), Some(20000));
    }
}
