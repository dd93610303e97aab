//! Tokens that were used, each until it runs out: what makes one-time of them.

use std::collections::HashMap;
use std::time::Instant;

use super::signed::Nonce;

/// Some 50 bytes each. A site's whole day of sign-ins in one hour, the longest that a token lives; none is
/// forgotten early, for it could be used again.
const CAPACITY: usize = 100_000;

/// Fewer are not worth looking through.
const FEW: usize = 1024;

#[derive(Default)]
pub(super) struct Used {
    until: HashMap<Nonce, Instant>,
    /// With so many it is looked for those that have run out.
    look_at: usize,
}

pub(super) enum Taken {
    Now,
    Before,
    /// There is no room to remember it.
    Full,
}

impl Used {
    pub(super) fn take(&mut self, nonce: Nonce, until: Instant, now: Instant) -> Taken {
        if self.until.contains_key(&nonce) {
            return Taken::Before;
        }
        if self.until.len() >= self.look_at.max(FEW) {
            self.until.retain(|_, until| now < *until);
            // Twice as many as are left: each is looked at a few times in all.
            self.look_at = (2 * self.until.len()).min(CAPACITY);
        }
        if self.until.len() >= CAPACITY {
            return Taken::Full;
        }
        self.until.insert(nonce, until);
        Taken::Now
    }

    /// It was good for nothing yet.
    pub(super) fn give_back(&mut self, nonce: &Nonce) {
        self.until.remove(nonce);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn bounded_and_nothing_is_forgotten_before_its_time() {
        let mut used = Used::default();
        let now = Instant::now();
        let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(60));
        let nonce = |n: usize| (n as u128).to_be_bytes();
        for n in 0..CAPACITY {
            let until = if n == 0 { soon } else { later };
            assert!(matches!(used.take(nonce(n), until, now), Taken::Now), "{n}");
        }
        assert!(matches!(used.take(nonce(CAPACITY), later, now), Taken::Full));
        assert!(matches!(used.take(nonce(7), later, now), Taken::Before));
        assert!(matches!(used.take(nonce(CAPACITY), later, soon), Taken::Now), "one has run out");
        assert!(matches!(used.take(nonce(7), later, soon), Taken::Before));
        assert!(matches!(used.take(nonce(CAPACITY + 1), later, soon), Taken::Full));
        used.give_back(&nonce(7));
        assert!(matches!(used.take(nonce(7), later, soon), Taken::Now));
    }
}
