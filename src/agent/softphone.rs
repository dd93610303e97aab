//! What WWE takes for a softphone: the session that it has with one over the connector. Pure.
//!
//! It registers nothing by itself: the DN is registered by its page, which signs in with the DN's
//! secret. What WWE registers here is its interest, and what it is told is how the DN stands. So the
//! end of the session, by `/UnregisterDn` or for want of pings, leaves the page signed in.

use std::time::{Duration, Instant};

/// Pings that may be missed.
pub const MAX_MISSED: u32 = 30;

/// WWE's own default.
const PING_PERIOD: Duration = Duration::from_secs(2);

/// What `/SetPingPeriod` may ask for: with less the network's hiccups would end sessions, with more
/// nobody would notice that WWE is gone.
const PING_PERIODS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(500)..=Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Softphone {
    ping_period: Duration,
    session: Option<Registered>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Registered {
    dn: String,
    /// The last ping, or when pings were first to be expected; `None` for a WWE that does not ping.
    heard: Option<Instant>,
}

impl Default for Softphone {
    fn default() -> Self {
        Self { ping_period: PING_PERIOD, session: None }
    }
}

impl Softphone {
    /// The DN that WWE has registered, until it unregisters it or misses its pings.
    pub fn dn(&self, now: Instant) -> Option<&str> {
        let session = self.session.as_ref()?;
        let patience = self.ping_period * MAX_MISSED;
        let late = session.heard.is_some_and(|at| now.saturating_duration_since(at) > patience);
        (!late).then_some(session.dn.as_str())
    }

    /// `/RegisterDn`.
    pub fn handle_register(&mut self, dn: String) {
        self.session = Some(Registered { dn, heard: None });
    }

    /// `/UnregisterDn`. False without a session.
    pub fn handle_unregister(&mut self) -> bool {
        self.session.take().is_some()
    }

    /// `/SetOptions`: how far apart pings will come, if any do. Out of bounds is at the bound.
    pub fn set_ping_period(&mut self, period: Duration) {
        self.ping_period = period.clamp(*PING_PERIODS.start(), *PING_PERIODS.end());
    }

    /// `/SetPingPeriod`: the same, and from now on they come.
    pub fn handle_ping_period(&mut self, period: Duration, now: Instant) {
        self.set_ping_period(period);
        self.handle_ping(now);
    }

    /// A ping. It does not bring a session back that has ended.
    pub fn handle_ping(&mut self, now: Instant) {
        if self.dn(now).is_none() {
            self.session = None;
        }
        if let Some(session) = &mut self.session {
            session.heard = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn thirty_missed_pings_end_it_and_a_late_one_does_not_bring_it_back() {
        let start = Instant::now();
        let mut phone = Softphone::default();
        phone.handle_register("5001".into());
        phone.handle_ping_period(Duration::from_secs(1), start);
        assert_eq!(phone.dn(start + 30_000 * MS), Some("5001"));
        assert_eq!(phone.dn(start + 30_001 * MS), None);
        phone.handle_ping(start + 30_000 * MS);
        assert_eq!(phone.dn(start + 60_000 * MS), Some("5001"), "each ping gives as much again");
        phone.handle_ping(start + 61_000 * MS);
        assert_eq!(phone.dn(start + 61_000 * MS), None);
        phone.handle_register("5001".into());
        assert_eq!(phone.dn(start + 61_000 * MS), Some("5001"));
    }

    #[test]
    fn who_never_pings_misses_none() {
        let start = Instant::now();
        let mut phone = Softphone::default();
        phone.handle_register("5001".into());
        phone.set_ping_period(Duration::from_millis(500));
        assert_eq!(phone.dn(start + Duration::from_secs(86_400)), Some("5001"));
        assert!(phone.handle_unregister() && !phone.handle_unregister());
        assert_eq!(phone.dn(start), None);
    }

    #[test]
    fn periods_have_bounds() {
        let start = Instant::now();
        let mut phone = Softphone::default();
        phone.handle_register("5001".into());
        phone.handle_ping_period(Duration::ZERO, start);
        assert!(phone.dn(start + 15_000 * MS).is_some() && phone.dn(start + 15_001 * MS).is_none());
        phone.handle_register("5001".into());
        phone.handle_ping_period(Duration::MAX, start);
        assert!(phone.dn(start + 1_800_000 * MS).is_some());
        assert!(phone.dn(start + 1_800_001 * MS).is_none());
    }
}
