//! Slows down whoever guesses passwords, and whatever floods the gateway with sign-ins.
//!
//! Refused credentials are counted three times over, each with its own patience:
//!
//! * per address *and* id. Behind one address there may be a whole site, and one agent who has forgotten
//!   a password must not keep the others out. A success wipes this slate, so that a page that signs in
//!   correctly never meets it;
//! * per address, for whoever tries one password with many ids;
//! * per id, for whoever tries from many addresses.
//!
//! The last two can be written on by strangers. So that these keep nobody out, who has signed in before
//! is known as a *regular*: an id from an address from which it came in within the last day. Regulars are
//! not asked about the slates that others can fill, and a part of the sign-ins a second is kept for them.
//! Nor is asked who brings a one-time token, which cannot be guessed.
//!
//! An address is an IPv4 address or an IPv6 /64, which is what one subscriber has.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Limits;

/// A slate that was not written on for this long is wiped.
const FORGET: Duration = Duration::from_secs(600);

/// Slates kept of each kind. Each is some 100 bytes; when all are taken the one that was written on the
/// longest ago goes, which is no shortcut for a guesser: each id of his takes one as well.
const CAPACITY: usize = 4096;

/// Regulars kept: more than the agents of any gateway, and some 150 bytes each.
const REGULARS: usize = 32_768;

/// How long one stays a regular.
const REGULAR: Duration = Duration::from_secs(86_400);

/// Free tries of an address with whatever ids, and of an id from wherever, in those of a pair. A shift of
/// some hundred agents behind one address mistypes so many passwords.
const ADDRESS_TIMES: u32 = 10;
const ID_TIMES: u32 = 4;

/// One of them is forgiven in so much time.
const ADDRESS_FORGIVES: Duration = Duration::from_secs(10);
const ID_FORGIVES: Duration = Duration::from_secs(30);

/// Sign-ins that may come at once, in seconds' worth: after a restart all agents come back together.
const BURST_SECONDS: f64 = 5.0;

/// The part of them that is kept for regulars.
const KEPT: f64 = 0.25;

/// Whom a try is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    pub(super) fn of(ip: IpAddr) -> Self {
        Source(match ip.to_canonical() {
            IpAddr::V6(v6) => {
                let prefix = v6.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(prefix))
            }
            v4 => v4,
        })
    }
}

#[derive(Debug)]
pub(super) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    pairs: HashMap<(Source, String), Slate>,
    addresses: HashMap<Source, Slate>,
    ids: HashMap<String, Slate>,
    regulars: HashMap<(Source, String), Instant>,
    bucket: Option<Bucket>,
}

/// A try whose outcome is not known yet.
#[derive(Debug)]
pub(super) struct Try {
    pair: (Source, String),
    vouched: bool,
    at: Instant,
    /// When the slates were written on last before.
    before: [Option<Instant>; 2],
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    places: f64,
    filled: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Slate {
    failures: u32,
    last: Instant,
}

impl Slate {
    fn new(now: Instant) -> Self {
        Self { failures: 0, last: now }
    }

    /// When the next try may come.
    fn reopens(&self, free: u32, longest: Duration) -> Instant {
        let Some(over) = self.failures.checked_sub(free) else { return self.last };
        let pause = Duration::from_secs(1u64.checked_shl(over).unwrap_or(u64::MAX));
        self.last + pause.min(longest)
    }

    fn write(&mut self, now: Instant, forgives: Option<Duration>) {
        let passed = now.saturating_duration_since(self.last);
        if passed >= FORGET {
            self.failures = 0;
        } else if let Some(each) = forgives {
            let forgiven = passed.as_secs() / each.as_secs().max(1);
            self.failures = self.failures.saturating_sub(forgiven.try_into().unwrap_or(u32::MAX));
        }
        self.failures = self.failures.saturating_add(1);
        self.last = now;
    }
}

impl Throttle {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                limits,
                pairs: HashMap::new(),
                addresses: HashMap::new(),
                ids: HashMap::new(),
                regulars: HashMap::new(),
                bucket: None,
            }),
        }
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        self.lock().limits = limits;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May this id be signed in from there? `vouched`: with what looks like a one-time token.
    ///
    /// # Errors
    /// The whole seconds, at least one, after which to try again.
    pub(super) fn check(
        &self,
        from: IpAddr,
        id: &str,
        vouched: bool,
        now: Instant,
    ) -> Result<(), u64> {
        let mut state = self.lock();
        let pair = (Source::of(from), id.to_owned());
        let Limits { free_tries: free, lockout, .. } = state.limits;
        let regular = state
            .regulars
            .get(&pair)
            .is_some_and(|since| now.saturating_duration_since(*since) < REGULAR);
        let mut opens = state.pairs.get(&pair).map(|slate| slate.reopens(free, lockout));
        if !regular {
            let address = state.addresses.get(&pair.0);
            opens = opens.max(address.map(|slate| slate.reopens(free * ADDRESS_TIMES, lockout)));
        }
        if !regular && !vouched {
            let by_id = state.ids.get(id);
            opens = opens.max(by_id.map(|slate| slate.reopens(free * ID_TIMES, lockout)));
        }
        let wait = opens.map_or(Duration::ZERO, |opens| opens.saturating_duration_since(now));
        if !wait.is_zero() {
            return Err(wait.as_secs() + 1);
        }
        // Last, so that who is kept out takes nobody's place.
        state.take_place(regular, now)
    }

    /// The same for who guesses operators' tokens: nobody else has to do with it.
    pub(super) fn check_guess(&self, from: IpAddr, id: &str, now: Instant) -> Result<(), u64> {
        let state = self.lock();
        let Some(slate) = state.pairs.get(&(Source::of(from), id.to_owned())) else {
            return Ok(());
        };
        let opens = slate.reopens(state.limits.free_tries, state.limits.lockout);
        let wait = opens.saturating_duration_since(now);
        if wait.is_zero() { Ok(()) } else { Err(wait.as_secs() + 1) }
    }

    pub(super) fn handle_guess(&self, from: IpAddr, id: &str, now: Instant) {
        let key = (Source::of(from), id.to_owned());
        slate(&mut self.lock().pairs, key, now).write(now, None);
    }

    /// Credentials were refused. A token that nobody gave says nothing about its DN.
    pub(super) fn handle_refused(&self, from: IpAddr, id: &str, vouched: bool, now: Instant) {
        let tried = self.handle_try(from, id, vouched, now);
        self.handle_wrong(&tried, now);
    }

    /// Counts a try as refused until [`Throttle::take_back`] says otherwise, so that those that are made
    /// at the same time count as well. Not for the address yet: after a restart a whole site signs in at
    /// the same time.
    pub(super) fn handle_try(&self, from: IpAddr, id: &str, vouched: bool, now: Instant) -> Try {
        let mut state = self.lock();
        let pair = (Source::of(from), id.to_owned());
        let before = [
            state.pairs.get(&pair).map(|slate| slate.last),
            state.ids.get(id).map(|slate| slate.last),
        ];
        slate(&mut state.pairs, pair.clone(), now).write(now, None);
        if !vouched {
            slate(&mut state.ids, pair.1.clone(), now).write(now, Some(ID_FORGIVES));
        }
        Try { pair, vouched, at: now, before }
    }

    /// The try was wrong indeed.
    pub(super) fn handle_wrong(&self, tried: &Try, now: Instant) {
        let mut state = self.lock();
        slate(&mut state.addresses, tried.pair.0, now).write(now, Some(ADDRESS_FORGIVES));
    }

    /// The try was none of a guesser's.
    pub(super) fn take_back(&self, tried: &Try) {
        let mut state = self.lock();
        let [pair, id] = tried.before;
        erase(&mut state.pairs, &tried.pair, tried.at, pair);
        if !tried.vouched {
            erase(&mut state.ids, &tried.pair.1, tried.at, id);
        }
    }

    pub(super) fn handle_accepted(&self, from: IpAddr, id: &str, now: Instant) {
        let mut state = self.lock();
        let pair = (Source::of(from), id.to_owned());
        state.pairs.remove(&pair);
        if state.regulars.len() >= REGULARS && !state.regulars.contains_key(&pair) {
            state.regulars.retain(|_, since| now.saturating_duration_since(*since) < REGULAR);
            remove_oldest(&mut state.regulars, REGULARS, |since| *since);
        }
        state.regulars.insert(pair, now);
    }
}

impl State {
    fn take_place(&mut self, regular: bool, now: Instant) -> Result<(), u64> {
        let rate = f64::from(self.limits.sign_ins_per_second);
        let room = rate * BURST_SECONDS;
        let bucket = self.bucket.get_or_insert(Bucket { places: room, filled: now });
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.places = (bucket.places + passed * rate).min(room);
        bucket.filled = now;
        let kept = if regular { 0.0 } else { room * KEPT };
        if bucket.places < kept + 1.0 {
            return Err(1);
        }
        bucket.places -= 1.0;
        Ok(())
    }
}

/// One less on a slate; a clean one goes. Its time goes back too, unless somebody has written since.
fn erase<K: Hash + Eq>(
    slates: &mut HashMap<K, Slate>,
    key: &K,
    at: Instant,
    before: Option<Instant>,
) {
    let Some(slate) = slates.get_mut(key) else { return };
    slate.failures = slate.failures.saturating_sub(1);
    if slate.failures == 0 {
        slates.remove(key);
    } else if let Some(before) = before.filter(|_| slate.last == at) {
        slate.last = before;
    }
}

/// The slate of this key; a new one may take the place of the oldest.
fn slate<K: Hash + Eq + Clone>(slates: &mut HashMap<K, Slate>, key: K, now: Instant) -> &mut Slate {
    if slates.len() >= CAPACITY && !slates.contains_key(&key) {
        slates.retain(|_, slate| now.saturating_duration_since(slate.last) < FORGET);
        remove_oldest(slates, CAPACITY, |slate| slate.last);
    }
    slates.entry(key).or_insert(Slate::new(now))
}

fn remove_oldest<K: Hash + Eq + Clone, V>(
    map: &mut HashMap<K, V>,
    capacity: usize,
    when: impl Fn(&V) -> Instant,
) {
    if map.len() < capacity {
        return;
    }
    if let Some(oldest) =
        map.iter().min_by_key(|(_, value)| when(value)).map(|(key, _)| key.clone())
    {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn throttle() -> Throttle {
        Throttle::new(Limits::default())
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0A00_0000 + n))
    }

    fn refused(throttle: &Throttle, from: IpAddr, id: &str, now: Instant) {
        throttle.handle_refused(from, id, false, now);
    }

    #[test]
    fn pauses_double_and_pass() {
        let throttle = throttle();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..13 {
            refused(&throttle, HERE, "5001", now);
            match throttle.check(HERE, "5001", false, now) {
                Ok(()) => waits.push(0),
                Err(seconds) => {
                    waits.push(seconds - 1);
                    now += Duration::from_secs(seconds);
                    assert_eq!(throttle.check(HERE, "5001", false, now), Ok(()));
                }
            }
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn others_at_the_same_address_are_not_hindered_and_success_forgives() {
        let throttle = throttle();
        let now = Instant::now();
        for _ in 0..10 {
            refused(&throttle, HERE, "5001", now);
        }
        assert!(throttle.check(HERE, "5001", false, now).is_err());
        assert!(throttle.check(HERE, "5002", false, now).is_ok());
        throttle.handle_accepted(HERE, "5001", now);
        assert!(throttle.check(HERE, "5001", false, now).is_ok());
    }

    #[test]
    fn one_password_with_many_ids_is_slowed_down_and_who_works_there_is_not() {
        let throttle = throttle();
        let now = Instant::now();
        throttle.handle_accepted(HERE, "5001", now);
        for n in 0..60 {
            refused(&throttle, HERE, &format!("6{n:03}"), now);
        }
        assert!(throttle.check(HERE, "7000", false, now).is_err());
        assert!(throttle.check(HERE, "7000", true, now).is_err(), "nor by guessing tokens");
        assert!(throttle.check(HERE, "5001", false, now).is_ok(), "a regular");
        assert!(throttle.check(address(1), "7000", false, now).is_ok());
        let later = now + Duration::from_secs(601);
        assert!(throttle.check(HERE, "7000", false, later).is_ok());
    }

    #[test]
    fn a_mistyped_password_now_and_then_never_shuts_a_site_out() {
        let throttle = throttle();
        let mut now = Instant::now();
        for n in 0..2000 {
            refused(&throttle, HERE, &n.to_string(), now);
            now += Duration::from_secs(10);
            assert!(throttle.check(HERE, "5001", false, now).is_ok(), "after {n}");
        }
    }

    #[test]
    fn strangers_from_everywhere_do_not_keep_an_agent_out() {
        let throttle = throttle();
        let now = Instant::now();
        throttle.handle_accepted(HERE, "5001", now);
        for n in 0..30 {
            refused(&throttle, address(n), "5001", now);
        }
        assert!(throttle.check(address(99), "5001", false, now).is_err());
        assert!(throttle.check(HERE, "5001", false, now).is_ok(), "as ever");
        assert!(throttle.check(address(99), "5001", true, now).is_ok(), "with a one-time token");
        let later = now + Duration::from_secs(61);
        assert!(throttle.check(address(99), "5001", false, later).is_ok(), "and not for ever");
    }

    #[test]
    fn a_flood_leaves_room_for_who_has_been_here() {
        let throttle = Throttle::new(Limits { sign_ins_per_second: 10, ..Limits::default() });
        let now = Instant::now();
        throttle.handle_accepted(HERE, "5001", now);
        let taken =
            (0..1000).filter(|n| throttle.check(address(*n), &n.to_string(), false, now).is_ok());
        assert_eq!(taken.count(), 37, "three quarters of 50");
        for _ in 0..13 {
            assert_eq!(throttle.check(HERE, "5001", false, now), Ok(()));
        }
        assert_eq!(throttle.check(HERE, "5001", false, now), Err(1));
        let later = now + Duration::from_secs(2);
        assert_eq!(throttle.check(HERE, "5001", false, later), Ok(()));
    }

    #[test]
    fn tries_at_the_same_time_count_until_they_are_known_to_be_right() {
        let throttle = throttle();
        let now = Instant::now();
        let tries: Vec<_> = (0..8).map(|_| throttle.handle_try(HERE, "5001", false, now)).collect();
        assert!(throttle.check(HERE, "5001", false, now).is_err(), "eight under way");
        for tried in &tries {
            throttle.take_back(tried);
        }
        assert_eq!(throttle.check(HERE, "5001", false, now), Ok(()));
        assert!(throttle.lock().pairs.is_empty());
    }

    #[test]
    fn an_ipv6_subscriber_is_one_address() {
        let ip = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(ip("2001:db8:1:2::1"), ip("2001:db8:1:2:ffff::9"));
        assert_ne!(ip("2001:db8:1:2::1"), ip("2001:db8:1:3::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
    }

    #[test]
    fn bounded() {
        let throttle = throttle();
        let now = Instant::now();
        for i in 0..CAPACITY as u32 + 100 {
            let later = now + Duration::from_millis(i.into());
            refused(&throttle, address(i), &i.to_string(), later);
        }
        let state = throttle.lock();
        assert_eq!(
            (state.pairs.len(), state.addresses.len(), state.ids.len()),
            (CAPACITY, CAPACITY, CAPACITY)
        );
    }
}
