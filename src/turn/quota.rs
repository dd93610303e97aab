//! Bounds: places that are counted by who takes them, and rates.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Places, of which each holder has at most so many.
#[derive(Debug)]
pub(super) struct Places<K> {
    all: usize,
    each: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    by: HashMap<K, usize>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// For this holder.
    Holder,
    Everybody,
}

/// A place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    holder: K,
}

impl<K: Clone + Eq + Hash> Places<K> {
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        let taken = Mutex::new(Taken { all: 0, by: HashMap::new() });
        Arc::new(Places { all, each, taken })
    }

    pub fn take(self: &Arc<Self>, holder: K) -> Result<Place<K>, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.all {
            return Err(Full::Everybody);
        }
        let own = taken.by.get(&holder).copied().unwrap_or(0);
        if own >= self.each {
            return Err(Full::Holder);
        }
        taken.by.insert(holder.clone(), own + 1);
        taken.all += 1;
        drop(taken);
        Ok(Place { places: Arc::clone(self), holder })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by.get_mut(&self.holder) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.holder);
            }
        }
    }
}

/// Who an address belongs to: an IPv6 host has a whole /64 to call from.
pub(super) fn holder(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    level: f64,
    at: Instant,
}

/// What a bucket gets a second, and how much it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub per_second: f64,
    pub burst: f64,
}

impl Bucket {
    pub fn full(rate: Rate, now: Instant) -> Self {
        Bucket { level: rate.burst, at: now }
    }

    pub fn take(&mut self, amount: f64, rate: Rate, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.level = (self.level + passed * rate.per_second).min(rate.burst);
        let enough = self.level >= amount;
        if enough {
            self.level -= amount;
        }
        enough
    }
}

/// Answers to those who have not proven who they are, so that a forged source address is not flooded
/// through us. Addresses share cells: what is kept does not grow, and whom one shares with is not to be
/// foretold.
#[derive(Debug)]
pub(super) struct Challenges {
    hasher: RandomState,
    cells: Mutex<Vec<Bucket>>,
}

const CELLS: usize = 4096;

/// A site's browsers behind one address ask some ten times a call; 100 answers are 10 KB a second.
const ANSWERS: Rate = Rate { per_second: 100.0, burst: 400.0 };

impl Challenges {
    pub fn new(now: Instant) -> Self {
        let cells = Mutex::new(vec![Bucket::full(ANSWERS, now); CELLS]);
        Challenges { hasher: RandomState::new(), cells }
    }

    pub fn may_answer(&self, to: IpAddr, now: Instant) -> bool {
        let cell = self.hasher.hash_one(holder(to)) as usize % CELLS;
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.get_mut(cell).is_some_and(|bucket| bucket.take(1.0, ANSWERS, now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn places_come_back() {
        let places = Places::new(3, 2);
        let a = places.take("a").unwrap();
        let _b = places.take("a").unwrap();
        assert_eq!(places.take("a").unwrap_err(), Full::Holder);
        let _c = places.take("b").unwrap();
        assert_eq!(places.take("c").unwrap_err(), Full::Everybody);
        drop(a);
        let _d = places.take("c").unwrap();
        assert_eq!(places.taken.lock().unwrap().by.len(), 3);
    }

    #[test]
    fn nobody_is_remembered_who_has_no_place() {
        let places = Places::new(9, 9);
        drop(places.take("a").unwrap());
        assert!(places.taken.lock().unwrap().by.is_empty());
    }

    #[test]
    fn an_address_is_answered_at_a_rate() {
        let start = Instant::now();
        let challenges = Challenges::new(start);
        let here = IpAddr::from([192, 0, 2, 1]);
        let answered = (0..1000).filter(|_| challenges.may_answer(here, start)).count();
        assert_eq!(answered, 400);
        let later = start + Duration::from_secs(1);
        let answered = (0..1000).filter(|_| challenges.may_answer(here, later)).count();
        assert_eq!(answered, 100);
    }

    #[test]
    fn a_host_of_ipv6_is_its_64() {
        let of = |text: &str| holder(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
