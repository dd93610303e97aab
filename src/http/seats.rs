//! Who has a place at a listener, what he does with it, and who goes when there is none left.
//!
//! A connection that has been accepted costs a descriptor, whatever comes over it. So that a flood of
//! them keeps nobody out, none waits in the kernel's queue for a place: it takes that of another who does
//! nothing with his. A request that the gateway works on, and a poll that hangs is one, is never in
//! anybody's way. When all places are taken by such, a few spare ones are left for who asks how the
//! gateway is; others are told to come back there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::telemetry::metrics::Metrics;

/// Beyond those of the configuration: one for each who probes, and some that are just being closed.
const SPARE: usize = 32;

/// From the first byte of a request's head to its last. A head is one segment, or a few.
const HEAD_LIMIT: Duration = Duration::from_secs(20);

/// From the last of an answer given to its last byte taken by the kernel: an answer of a megabyte at
/// 200 kbit/s. Streams are not over and look after themselves.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// What a connection does with its place. In this order they make room for others: who may be a dawdler
/// first, who loses the least next, and of the same kind who has been at it the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doing {
    /// Has sent a part of a request's head.
    Heading,
    /// Has sent nothing yet, or is at its TLS handshake.
    Arriving,
    /// Between two requests: a client asks anew over another connection.
    Resting,
    /// Takes an answer.
    Taking,
    /// Sends a request's body.
    Sending,
    /// Its request is worked on, or waits for something to happen. Makes room for nobody.
    Served,
}

/// Why a place was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ousted {
    /// Somebody else needed it.
    Displaced,
    SlowHead,
    SlowReader,
}

impl Ousted {
    pub(super) fn name(self) -> &'static str {
        match self {
            Ousted::Displaced => "displaced",
            Ousted::SlowHead => "slow_head",
            Ousted::SlowReader => "slow_reader",
        }
    }
}

/// Since when, by a number that grows: two at the same instant are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    spare: bool,
    doing: Doing,
    number: u64,
}

struct Place {
    since: Instant,
    oust: oneshot::Sender<Ousted>,
}

pub(super) struct Seats {
    room: usize,
    metrics: Option<Metrics>,
    table: Mutex<Table>,
}

struct Table {
    places: BTreeMap<Key, Place>,
    /// Of those, spare ones.
    spare: usize,
    next: u64,
}

/// One place, until it is dropped or taken away.
pub(super) struct Seat {
    seats: Arc<Seats>,
    key: Mutex<Key>,
}

/// A place that was given.
pub(super) struct Entered {
    pub seat: Seat,
    /// It is a spare one: nobody is served there, only told how the gateway is.
    pub spare: bool,
    pub ousted: oneshot::Receiver<Ousted>,
}

impl Seats {
    pub(super) fn new(room: usize, metrics: Option<Metrics>) -> Arc<Self> {
        let table = Mutex::new(Table { places: BTreeMap::new(), spare: 0, next: 0 });
        Arc::new(Self { room: room.max(1), metrics, table })
    }

    /// A place for who has just connected. There always is one; it may be that of another.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Entered {
        let (oust, ousted) = oneshot::channel();
        let mut table = self.lock();
        let full = table.places.len() - table.spare >= self.room;
        let spare = full && !table.displace(false);
        if spare && table.spare >= SPARE {
            table.displace(true);
        }
        table.next += 1;
        let key = Key { spare, doing: Doing::Arriving, number: table.next };
        table.insert(key, Place { since: now, oust });
        drop(table);
        self.stand(1);
        let seat = Seat { seats: Arc::clone(self), key: Mutex::new(key) };
        Entered { seat, spare, ousted }
    }

    /// Somebody goes, if there is anybody who may: for want of something that all share.
    pub(super) fn make_room(&self) -> bool {
        self.lock().displace(false)
    }

    /// Takes the places of those away who are too slow.
    pub(super) fn handle_time(&self, now: Instant) {
        let mut table = self.lock();
        for (doing, limit, why) in [
            (Doing::Heading, HEAD_LIMIT, Ousted::SlowHead),
            (Doing::Taking, ANSWER_LIMIT, Ousted::SlowReader),
        ] {
            for spare in [false, true] {
                while let Some((key, since)) = table.oldest(spare, doing)
                    && now.saturating_duration_since(since) >= limit
                {
                    table.oust(key, why);
                }
            }
        }
    }

    pub(super) fn count(&self, fault: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.http_connection_fault(fault);
        }
    }

    fn stand(&self, more: i64) {
        if let Some(metrics) = &self.metrics {
            metrics.http_connections(more);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, key: Key, place: Place) {
        self.spare += usize::from(key.spare);
        self.places.insert(key, place);
    }

    fn remove(&mut self, key: Key) -> Option<Place> {
        let place = self.places.remove(&key)?;
        self.spare -= usize::from(key.spare);
        Some(place)
    }

    fn oldest(&self, spare: bool, doing: Doing) -> Option<(Key, Instant)> {
        let range = Key { spare, doing, number: 0 }..=Key { spare, doing, number: u64::MAX };
        self.places.range(range).next().map(|(key, place)| (*key, place.since))
    }

    /// The first that may go does. A spare place may be anybody's.
    fn displace(&mut self, spare: bool) -> bool {
        let from = Key { spare, doing: Doing::Heading, number: 0 };
        let first = self.places.range(from..).next().map(|(key, _)| *key);
        match first {
            Some(key) if key.spare == spare && (spare || key.doing != Doing::Served) => {
                self.oust(key, Ousted::Displaced);
                true
            }
            _ => false,
        }
    }

    fn oust(&mut self, key: Key, why: Ousted) {
        if let Some(place) = self.remove(key) {
            // Who has gone by himself meanwhile need not be told.
            let _ = place.oust.send(why);
        }
    }
}

impl Seat {
    pub(super) fn doing(&self) -> Doing {
        self.key.lock().unwrap_or_else(PoisonError::into_inner).doing
    }

    /// `None` for whatever it was that nothing changes for.
    pub(super) fn change(&self, now: Instant, to: impl FnOnce(Doing) -> Option<Doing>) {
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(doing) = to(key.doing).filter(|doing| *doing != key.doing) else { return };
        let mut table = self.seats.lock();
        // Else it is taken away already.
        if let Some(place) = table.remove(*key) {
            table.next += 1;
            *key = Key { doing, number: table.next, ..*key };
            table.insert(*key, Place { since: now, ..place });
        } else {
            key.doing = doing;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let key = *self.key.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(self.seats.lock().remove(key));
        self.seats.stand(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hall {
        seats: Arc<Seats>,
        now: Instant,
    }

    impl Hall {
        fn new(room: usize) -> Self {
            Self { seats: Seats::new(room, None), now: Instant::now() }
        }

        fn enter(&self) -> Entered {
            self.seats.enter(self.now)
        }

        fn doing(&self, doing: Doing) -> Entered {
            let entered = self.enter();
            entered.seat.change(self.now, |_| Some(doing));
            entered
        }

        fn len(&self) -> usize {
            self.seats.lock().places.len()
        }
    }

    fn ousted(entered: &mut Entered) -> Option<Ousted> {
        entered.ousted.try_recv().ok()
    }

    #[test]
    fn who_does_the_least_makes_room_and_of_these_the_oldest() {
        use Doing::*;
        let hall = Hall::new(12);
        let kinds = [Served, Sending, Taking, Resting, Arriving, Heading];
        let mut all: Vec<_> = kinds.iter().chain(&kinds).map(|doing| hall.doing(*doing)).collect();
        let mut gone = Vec::new();
        for _ in 0..10 {
            let newcomer = hall.doing(Served);
            assert!(!newcomer.spare);
            let which = (0..12).find(|n| ousted(&mut all[*n]).is_some()).expect("somebody went");
            gone.push(which);
            all.push(newcomer);
        }
        assert_eq!(gone, [5, 11, 4, 10, 3, 9, 2, 8, 1, 7]);
        assert_eq!(hall.len(), 12);
    }

    #[test]
    fn polls_stay_and_who_asks_how_it_is_has_a_spare_place() {
        let hall = Hall::new(2);
        let mut polls = [hall.doing(Doing::Served), hall.doing(Doing::Served)];
        let mut spares: Vec<_> = (0..SPARE).map(|_| hall.doing(Doing::Served)).collect();
        assert!(spares.iter().all(|entered| entered.spare));
        let last = hall.enter();
        assert!(last.spare, "for want of an empty one it is another's");
        assert_eq!(ousted(&mut spares[0]), Some(Ousted::Displaced));
        assert!(polls.iter_mut().chain(&mut spares[1..]).all(|poll| ousted(poll).is_none()));
        assert_eq!(hall.len(), 2 + SPARE);
        let [one, other] = polls;
        drop(one);
        assert!(!hall.enter().spare, "a place is empty again");
        drop((other, spares, last));
        assert_eq!((hall.len(), hall.seats.lock().spare), (0, 0));
    }

    #[test]
    fn dawdlers_go_and_polls_and_idle_ones_do_not() {
        use Doing::*;
        let hall = Hall::new(10);
        let mut all =
            [Heading, Taking, Served, Resting, Sending, Arriving].map(|doing| hall.doing(doing));
        let mut seen = |after: Duration| {
            hall.seats.handle_time(hall.now + after);
            all.iter_mut().map(ousted).collect::<Vec<_>>()
        };
        let almost = Duration::from_millis(1);
        assert_eq!(seen(HEAD_LIMIT - almost), [None; 6]);
        assert_eq!(seen(HEAD_LIMIT)[0], Some(Ousted::SlowHead));
        assert_eq!(seen(ANSWER_LIMIT - almost), [None; 6]);
        assert_eq!(seen(ANSWER_LIMIT)[1], Some(Ousted::SlowReader));
        assert_eq!(seen(Duration::from_secs(86_400)), [None; 6]);
        assert_eq!(hall.len(), 4);
    }

    #[test]
    fn a_byte_now_and_then_wins_no_time() {
        let hall = Hall::new(1);
        let mut slow = hall.doing(Doing::Heading);
        slow.seat.change(hall.now + HEAD_LIMIT / 2, |_| Some(Doing::Heading));
        hall.seats.handle_time(hall.now + HEAD_LIMIT);
        assert_eq!(ousted(&mut slow), Some(Ousted::SlowHead));
    }

    #[test]
    fn who_was_displaced_takes_nothing_with_him() {
        let hall = Hall::new(1);
        let first = hall.enter();
        let mut second = hall.enter();
        first.seat.change(hall.now, |_| Some(Doing::Served));
        assert_eq!(hall.len(), 1, "he does not come back");
        drop(first);
        assert_eq!((hall.len(), ousted(&mut second)), (1, None));
    }
}
