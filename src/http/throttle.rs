//! Slows down whoever guesses passwords.
//!
//! Counted per address *and* id: behind one address there may be a whole site, and one agent who
//! has forgotten a password must not keep the others out. Only refused credentials count, a success
//! wipes the slate, so that a page that signs in correctly never meets it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tries that cost nothing.
const FREE: u32 = 5;

/// The longest pause asked for. The pauses double from 1 s: an hour brings some 65 tries.
const LONGEST: Duration = Duration::from_secs(60);

/// A slate that was not written on for this long is wiped.
const FORGET: Duration = Duration::from_secs(600);

/// Slates kept. Each is some 100 bytes; when all are taken the one that was written on the longest
/// ago goes, which is no shortcut for a guesser: each id of his takes one as well.
const CAPACITY: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    slates: Mutex<HashMap<(IpAddr, String), Slate>>,
}

#[derive(Debug, Clone, Copy)]
struct Slate {
    failures: u32,
    last: Instant,
}

impl Slate {
    /// When the next try may come.
    fn reopens(&self) -> Instant {
        let Some(over) = self.failures.checked_sub(FREE) else { return self.last };
        let pause = Duration::from_secs(1u64.checked_shl(over).unwrap_or(u64::MAX));
        self.last + pause.min(LONGEST)
    }
}

impl Throttle {
    /// # Errors
    /// The whole seconds, at least one, after which to try again.
    pub(super) fn check(&self, from: IpAddr, id: &str, now: Instant) -> Result<(), u64> {
        let slates = self.slates.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slate) = slates.get(&(from, id.to_owned())) else { return Ok(()) };
        let wait = slate.reopens().saturating_duration_since(now);
        if wait.is_zero() { Ok(()) } else { Err(wait.as_secs() + 1) }
    }

    /// Credentials were refused.
    pub(super) fn handle_refused(&self, from: IpAddr, id: &str, now: Instant) {
        let mut slates = self.slates.lock().unwrap_or_else(PoisonError::into_inner);
        if slates.len() >= CAPACITY {
            slates.retain(|_, slate| now.saturating_duration_since(slate.last) < FORGET);
        }
        if slates.len() >= CAPACITY
            && let Some(oldest) =
                slates.iter().min_by_key(|(_, slate)| slate.last).map(|(key, _)| key.clone())
        {
            slates.remove(&oldest);
        }
        let slate = slates.entry((from, id.to_owned())).or_insert(Slate { failures: 0, last: now });
        if now.saturating_duration_since(slate.last) >= FORGET {
            slate.failures = 0;
        }
        slate.failures = slate.failures.saturating_add(1);
        slate.last = now;
    }

    pub(super) fn handle_accepted(&self, from: IpAddr, id: &str) {
        self.slates.lock().unwrap_or_else(PoisonError::into_inner).remove(&(from, id.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn pauses_double_and_pass() {
        let throttle = Throttle::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..13 {
            throttle.handle_refused(HERE, "5001", now);
            match throttle.check(HERE, "5001", now) {
                Ok(()) => waits.push(0),
                Err(seconds) => {
                    waits.push(seconds - 1);
                    now += Duration::from_secs(seconds);
                    assert_eq!(throttle.check(HERE, "5001", now), Ok(()));
                }
            }
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn others_at_the_same_address_are_not_hindered_and_success_forgives() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for _ in 0..50 {
            throttle.handle_refused(HERE, "5001", now);
        }
        assert!(throttle.check(HERE, "5001", now).is_err());
        assert!(throttle.check(HERE, "5002", now).is_ok());
        throttle.handle_accepted(HERE, "5001");
        assert!(throttle.check(HERE, "5001", now).is_ok());
    }

    #[test]
    fn bounded() {
        let throttle = Throttle::default();
        let now = Instant::now();
        for i in 0..CAPACITY as u64 + 100 {
            throttle.handle_refused(HERE, &i.to_string(), now + Duration::from_millis(i));
        }
        assert_eq!(throttle.slates.lock().unwrap().len(), CAPACITY);
    }
}
