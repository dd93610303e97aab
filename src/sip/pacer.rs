//! When each REGISTER may go, so that a SIP server is not flooded: sans-I/O.
//!
//! The rate is a ceiling on what the server sees in any one second, repetitions included. Those are no
//! secret: by UDP an unanswered request comes again after 0.5 s, 1.5 s, 3.5 s and then every 4 s (RFC 3261
//! 17.1.2.2), 32 s long. So each REGISTER that goes out books the moments of its repetitions too, and its
//! answer gives back what is left. While answers come, that costs next to nothing; from a server that is
//! silent, the new ones hold back by themselves.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::timers::{T1, T1X64, T2};

/// Grain of the calendar.
const GRAIN: Duration = Duration::from_millis(50);
/// Grains that a second may touch.
const SECOND: usize = 21;
/// The calendar: a second back, 32 s ahead, and a second after that, for sums that run over the end.
const GRAINS: usize = 2 * SECOND + 32 * 20 + 2;
/// People come first, but every so many turns one goes to the others, so that nobody waits for ever.
const PEOPLE_IN_A_ROW: u32 = 3;

/// How much a REGISTER matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for it: sign-in, sign-out.
    Person,
    /// A refresh, or a DN that returns; wanted by then, the soonest first.
    By(Instant),
}

/// One REGISTER that waits for its turn, or has had it and waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TurnId(u64);

#[derive(Debug, Clone, Copy)]
enum Place {
    Person,
    By(Instant),
    /// It has gone, at that time.
    Gone(Instant),
}

/// Hands out turns at no more than a given rate.
pub struct Pacer {
    rate: usize,
    calendar: Calendar,
    people: VecDeque<TurnId>,
    others: BTreeMap<(Instant, TurnId), ()>,
    turns: HashMap<TurnId, (Place, bool)>,
    next: u64,
    in_a_row: u32,
    /// Nobody goes before: what one may not, none may, and asking anew for each costs.
    closed_until: Option<Instant>,
}

impl Pacer {
    /// `rate`: REGISTERs a second at most, at least 1. A rate of 1 leaves no room for repetitions and
    /// is kept without them.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self {
            rate: usize::try_from(rate).unwrap_or(usize::MAX).clamp(1, usize::from(u16::MAX)),
            calendar: Calendar::new(now),
            people: VecDeque::new(),
            others: BTreeMap::new(),
            turns: HashMap::new(),
            next: 0,
            in_a_row: 0,
            closed_until: None,
        }
    }

    /// From the next turn on; see [`Pacer::new`].
    pub fn set_rate(&mut self, rate: u32) {
        self.rate = usize::try_from(rate).unwrap_or(usize::MAX).clamp(1, usize::from(u16::MAX));
        self.closed_until = None;
    }

    /// Waits for a turn. `reliable`: over a transport that repeats nothing.
    pub fn ask(&mut self, urgency: Urgency, reliable: bool) -> TurnId {
        let id = TurnId(self.next);
        self.next += 1;
        let place = match urgency {
            Urgency::Person => {
                self.people.push_back(id);
                Place::Person
            }
            Urgency::By(at) => {
                self.others.insert((at, id), ());
                Place::By(at)
            }
        };
        // One a second leaves no room for repetitions.
        self.turns.insert(id, (place, reliable || self.rate < 2));
        id
    }

    /// The REGISTER has been answered or given up, or its turn is no longer wanted.
    pub fn release(&mut self, id: TurnId, now: Instant) {
        let Some((place, reliable)) = self.turns.remove(&id) else { return };
        match place {
            Place::Person => self.people.retain(|waiting| *waiting != id),
            Place::By(at) => {
                self.others.remove(&(at, id));
            }
            Place::Gone(at) => self.calendar.give_back(at, reliable, now),
        }
    }

    /// Who goes now, if anybody may.
    pub fn poll_turn(&mut self, now: Instant) -> Option<TurnId> {
        if self.closed_until.is_some_and(|until| now < until) {
            return None;
        }
        self.calendar.advance(now);
        let person = self.people.front().copied();
        let other = self.others.keys().next().copied();
        let others_turn = self.in_a_row >= PEOPLE_IN_A_ROW || person.is_none();
        let id = match (person, other) {
            (Some(person), None) => person,
            (Some(person), Some(_)) if !others_turn => person,
            (_, Some((_, other))) => other,
            (None, None) => return None,
        };
        let (place, reliable) = self.turns.get_mut(&id)?;
        if !self.calendar.book(now, *reliable, self.rate) {
            self.closed_until = Some(self.calendar.next_grain(now));
            return None;
        }
        *place = Place::Gone(now);
        if Some(id) == person {
            self.people.pop_front();
            self.in_a_row = if other.is_some() { self.in_a_row + 1 } else { 0 };
        } else {
            self.others.pop_first();
            self.in_a_row = 0;
        }
        Some(id)
    }

    /// When to ask [`Pacer::poll_turn`] again, if it said nobody.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        (self.waiting() > 0).then(|| self.calendar.next_grain(now))
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.people.len() + self.others.len()
    }
}

/// What went out in the last second and what may go out in the next 33.
struct Calendar {
    /// Of `grains[0]`; a second before now.
    start: Instant,
    grains: Vec<u16>,
}

impl Calendar {
    fn new(now: Instant) -> Self {
        let past = GRAIN * SECOND as u32;
        Self { start: now.checked_sub(past).unwrap_or(now), grains: vec![0; GRAINS] }
    }

    fn at(&self, time: Instant) -> usize {
        let since = time.saturating_duration_since(self.start).as_millis() / GRAIN.as_millis();
        usize::try_from(since).unwrap_or(usize::MAX)
    }

    /// Keeps `now` in the grain after the first second.
    fn advance(&mut self, now: Instant) {
        let gone = self.at(now).saturating_sub(SECOND);
        let left = GRAINS.saturating_sub(gone);
        self.grains.copy_within(GRAINS - left.., 0);
        self.grains.iter_mut().skip(left).for_each(|grain| *grain = 0);
        self.start += GRAIN * u32::try_from(gone).unwrap_or(u32::MAX);
    }

    fn next_grain(&self, now: Instant) -> Instant {
        self.start + GRAIN * u32::try_from(self.at(now) + 1).unwrap_or(u32::MAX)
    }

    /// Books a request and its repetitions where no second would have more than `rate`.
    fn book(&mut self, now: Instant, reliable: bool, rate: usize) -> bool {
        // A small burst: a tenth of a second's worth in each twentieth of a second.
        let burst = (rate / 10).max(1);
        let here = self.grains.get(self.at(now)).copied().unwrap_or(u16::MAX);
        if usize::from(here) >= burst {
            return false;
        }
        let moments: Vec<usize> = moments(now, reliable).map(|moment| self.at(moment)).collect();
        for moment in &moments {
            if let Some(grain) = self.grains.get_mut(*moment) {
                *grain = grain.saturating_add(1);
            }
        }
        let fits = moments.iter().all(|moment| self.busiest_second(*moment) <= rate);
        if !fits {
            self.unbook(moments);
        }
        fits
    }

    fn give_back(&mut self, sent: Instant, reliable: bool, now: Instant) {
        self.advance(now);
        let left = moments(sent, reliable).skip(1).filter(|moment| *moment > now);
        let left: Vec<usize> = left.map(|moment| self.at(moment)).collect();
        self.unbook(left);
    }

    fn unbook(&mut self, moments: Vec<usize>) {
        for moment in moments {
            if let Some(grain) = self.grains.get_mut(moment) {
                *grain = grain.saturating_sub(1);
            }
        }
    }

    /// The most that any second has that the grain is part of.
    fn busiest_second(&self, grain: usize) -> usize {
        let first = grain.saturating_sub(SECOND - 1);
        let around = self.grains.get(first..(grain + SECOND).min(GRAINS)).unwrap_or_default();
        let (before, after) = around.split_at_checked(grain - first).unwrap_or_default();
        let mut sum: usize = before.iter().map(|n| usize::from(*n)).sum();
        let mut most = 0;
        // What leaves the second at its start as it moves on: nothing at first.
        let leaving = std::iter::once(&0).chain(around);
        for (enters, leaves) in after.iter().zip(leaving) {
            sum = (sum + usize::from(*enters)).saturating_sub(usize::from(*leaves));
            most = most.max(sum);
        }
        most
    }
}

/// When a request by UDP goes out and comes again, unanswered (RFC 3261 17.1.2.2, timers E and F).
fn moments(sent: Instant, reliable: bool) -> impl Iterator<Item = Instant> {
    let mut pause = T1;
    let mut at = sent;
    let again = std::iter::from_fn(move || {
        at += pause;
        pause = (pause * 2).min(T2);
        Some(at)
    });
    let again = again.take_while(move |at| !reliable && *at < sent + T1X64);
    std::iter::once(sent).chain(again)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn repetitions_are_those_of_timer_e() {
        let sent = Instant::now();
        let all: Vec<u64> = moments(sent, false)
            .map(|at| u64::try_from((at - sent).as_millis()).unwrap())
            .collect();
        let expected = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
        assert_eq!(all, expected);
        assert_eq!(moments(sent, true).count(), 1);
    }

    /// Everything that goes out, if each REGISTER is answered after `rtt`, or never.
    fn run(rate: u32, rtt: Option<Duration>, reliable: bool, seconds: u64) -> Vec<Instant> {
        let start = Instant::now();
        let mut pacer = Pacer::new(rate, start);
        for _ in 0..u64::from(rate) * seconds {
            pacer.ask(Urgency::By(start), reliable);
        }
        let mut sent = Vec::new();
        let mut open: VecDeque<(Instant, TurnId)> = VecDeque::new();
        let mut now = start;
        while now < start + Duration::from_secs(seconds) {
            while let Some((at, id)) =
                open.front().copied().filter(|(at, _)| rtt.is_some_and(|rtt| *at + rtt <= now))
            {
                pacer.release(id, at + rtt.unwrap_or_default());
                open.pop_front();
            }
            while let Some(id) = pacer.poll_turn(now) {
                open.push_back((now, id));
                let last = rtt.map(|rtt| now + rtt);
                sent.extend(moments(now, reliable).take_while(|m| last.is_none_or(|l| *m < l)));
            }
            now += millis(10);
        }
        sent.sort();
        sent
    }

    fn busiest(sent: &[Instant]) -> usize {
        let (mut from, mut most) = (0, 0);
        for (to, at) in sent.iter().enumerate() {
            while *at - sent[from] >= Duration::from_secs(1) {
                from += 1;
            }
            most = most.max(to - from + 1);
        }
        most
    }

    #[test]
    fn no_second_has_more_than_the_rate_repetitions_counted() {
        for rate in [2, 5, 50, 200] {
            for rtt in [Some(millis(30)), Some(millis(700)), Some(millis(3000)), None] {
                let sent = run(rate, rtt, false, 40);
                let most = busiest(&sent);
                assert!(most <= rate as usize, "rate {rate}, rtt {rtt:?}: {most}");
                assert!(!sent.is_empty());
            }
        }
    }

    #[test]
    fn nearly_the_whole_rate_is_used_while_the_server_answers() {
        for (reliable, rtt) in [(false, millis(30)), (true, millis(30)), (true, millis(3000))] {
            let sent = run(200, Some(rtt), reliable, 20);
            assert!(sent.len() > 200 * 20 * 85 / 100, "{}", sent.len());
            assert!(busiest(&sent) <= 200);
        }
    }

    #[test]
    fn a_burst_is_small() {
        let start = Instant::now();
        let mut pacer = Pacer::new(100, start);
        for _ in 0..100 {
            pacer.ask(Urgency::By(start), true);
        }
        let at_once = std::iter::from_fn(|| pacer.poll_turn(start)).count();
        assert_eq!(at_once, 10);
    }

    #[test]
    fn even_the_smallest_rate_lets_one_after_the_other_go() {
        let sent = run(1, Some(millis(20)), false, 30);
        assert!((20..=30).contains(&sent.len()), "{}", sent.len());
        assert_eq!(busiest(&sent), 1);
    }

    #[test]
    fn people_go_first_the_soonest_due_next_and_nobody_starves() {
        let now = Instant::now();
        let mut pacer = Pacer::new(10_000, now);
        let later = pacer.ask(Urgency::By(now + millis(9000)), true);
        let sooner = pacer.ask(Urgency::By(now + millis(1000)), true);
        let people: Vec<TurnId> = (0..5).map(|_| pacer.ask(Urgency::Person, true)).collect();
        let order: Vec<TurnId> = std::iter::from_fn(|| pacer.poll_turn(now)).collect();
        let expected = [people[0], people[1], people[2], sooner, people[3], people[4], later];
        assert_eq!(order, expected);
    }

    #[test]
    fn who_no_longer_wants_a_turn_does_not_get_one() {
        let now = Instant::now();
        let mut pacer = Pacer::new(10, now);
        let person = pacer.ask(Urgency::Person, false);
        let other = pacer.ask(Urgency::By(now), false);
        pacer.release(person, now);
        pacer.release(other, now);
        assert_eq!(pacer.poll_turn(now), None);
        assert_eq!(pacer.poll_timeout(now), None);
        assert!(pacer.turns.is_empty());
    }
}
