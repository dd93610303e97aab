//! Packets of one source put in order and held back just long enough. Only where they are decoded here: what
//! is passed on as it is has a buffer at its destination.
//!
//! The time of the source is its RTP timestamp. What is played next is asked for by [`Jitter::poll`] whenever
//! something is to be played, so the asker's clock sets the pace and the buffer's depth shows the difference
//! of the two clocks as well as the network's jitter: a packet that is not there in time makes the depth
//! grow, one that stands there needlessly long makes it shrink in a moment of silence.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::media::stream::units;

/// Packets kept at most. At 10 ms each that is more than [`MAX_DEPTH`].
const SLOTS: usize = 32;

/// The largest packet that is kept: 120 ms of G.711, or of Opus at any sensible rate.
const MAX_PAYLOAD: usize = 1275;

/// What the first packet waits for, until jitter has been measured.
const FIRST_DEPTH: Duration = Duration::from_millis(40);

/// Never less than a tick's inaccuracy, never so much that people talk over each other.
const MIN_DEPTH: Duration = Duration::from_millis(10);
const MAX_DEPTH: Duration = Duration::from_millis(200);

/// After so long without a packet the source pauses: nothing more is made up, and what comes next starts
/// afresh.
const PAUSE: Duration = Duration::from_millis(120);

/// The least spare time is looked at over so many packets before a frame is left out.
const WINDOW: u32 = 100;

/// A timestamp that jumps by more than this is another time altogether.
const JUMP: Duration = Duration::from_secs(2);

/// Where a packet stands in its source.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    /// Length in units of the clock.
    pub samples: u32,
}

/// What is to be played.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    Frame(&'a [u8]),
    /// So much, in units of the clock, is missing and will not come. `after`: the packet that follows right
    /// behind it, which may know something of it.
    Lost {
        samples: u32,
        after: Option<&'a [u8]>,
    },
    /// The source said nothing for so long, and did not mean to.
    Quiet {
        samples: u32,
    },
    /// Nothing is here, and something may still come, or packets are to wait longer: to be bridged for as long
    /// as the asker needs, and told by [`Jitter::bridged`].
    Late,
    /// The source pauses. Nothing is to be played until a packet comes.
    Paused,
}

#[derive(Debug, Default)]
struct Slot {
    taken: bool,
    sequence: u16,
    timestamp: u32,
    samples: u32,
    payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Paused,
    /// Holding the first packets back until then.
    Filling(Instant),
    Playing,
}

/// What has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JitterStats {
    /// Packets that never came in time.
    pub lost: u64,
    /// Packets that came after their turn, or twice.
    pub discarded: u64,
    /// Frames left out to catch up.
    pub skipped: u64,
    /// Times that something had to be bridged.
    pub late: u64,
}

pub struct Jitter {
    clock: u32,
    slots: Vec<Slot>,
    state: State,
    ssrc: Option<u32>,
    /// Timestamp and sequence number of what is played next.
    next: u32,
    next_sequence: u16,
    last_arrival: Option<Instant>,
    /// Of the last packet in order, for the jitter.
    transit: Option<u32>,
    /// Deviation of the transit times, in units, times 16 (RFC 3550 A.8).
    jitter: u32,
    /// Units that were bridged while nothing was there: they count as played if they turn out to be lost.
    bridged: u32,
    /// The first of the packets last given up, and how many.
    given_up: (u16, u16),
    /// One of them came all the same, so much too late: to be held back for as long.
    behind: u32,
    /// The least spare time of the packets of this window, in units, and their number.
    spare: u32,
    window: u32,
    /// So many units may be left out, when it does no harm.
    excess: u32,
    stats: JitterStats,
}

impl Jitter {
    /// `clock`: RTP units per second.
    pub fn new(clock: u32) -> Self {
        Jitter {
            clock,
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            state: State::Paused,
            ssrc: None,
            next: 0,
            next_sequence: 0,
            last_arrival: None,
            transit: None,
            jitter: 0,
            bridged: 0,
            given_up: (0, 0),
            behind: 0,
            spare: u32::MAX,
            window: 0,
            excess: 0,
            stats: JitterStats::default(),
        }
    }

    pub fn stats(&self) -> JitterStats {
        self.stats
    }

    /// How long a packet is to wait on the average, by the jitter measured: some four deviations.
    pub fn target(&self) -> Duration {
        let jitter = u64::from(self.jitter >> 4) * 1_000_000 / u64::from(self.clock);
        let wanted = Duration::from_micros(4 * jitter) + MIN_DEPTH;
        if self.transit.is_none() { FIRST_DEPTH } else { wanted.min(MAX_DEPTH) }
    }

    /// What stands here, from what is played next to the end of the newest packet.
    pub fn depth(&self) -> Duration {
        let ahead = |slot: &Slot| slot.timestamp.wrapping_add(slot.samples).wrapping_sub(self.next);
        let taken = self.slots.iter().filter(|slot| slot.taken);
        let units = taken.map(|slot| ahead(slot) as i32).max().unwrap_or(0).max(0);
        Duration::from_micros(units as u64 * 1_000_000 / u64::from(self.clock))
    }

    /// When to start asking, if the source has paused and comes back.
    pub fn starts_at(&self) -> Option<Instant> {
        match self.state {
            State::Filling(at) => Some(at),
            _ => None,
        }
    }

    /// Takes a packet. False for one that is not kept: too late, here already, or too large.
    pub fn insert(&mut self, now: Instant, stamp: Stamp, payload: &[u8]) -> bool {
        if payload.len() > MAX_PAYLOAD || stamp.samples == 0 {
            self.stats.discarded += 1;
            return false;
        }
        let ahead = stamp.timestamp.wrapping_sub(self.next) as i32;
        let jumped = ahead.unsigned_abs() > units(JUMP, self.clock);
        if self.ssrc != Some(stamp.ssrc) || self.state == State::Paused || jumped {
            self.start(now, stamp);
        } else if (stamp.sequence.wrapping_sub(self.next_sequence) as i16) < 0 || ahead < 0 {
            if self.state == State::Playing {
                self.stats.discarded += 1;
                self.too_late(stamp);
                return false;
            }
            // Nothing of it has been played: this is the first one then.
            (self.next, self.next_sequence) = (stamp.timestamp, stamp.sequence);
        }
        self.measure(now, stamp);
        self.last_arrival = Some(now);
        let Some(slot) = self.slots.get_mut(usize::from(stamp.sequence) % SLOTS) else {
            return false;
        };
        if slot.taken && slot.sequence == stamp.sequence {
            self.stats.discarded += 1;
            return false;
        }
        if slot.taken {
            // 32 packets behind: what is left of them is of no use to anybody.
            let behind = Stamp { timestamp: slot.timestamp, sequence: slot.sequence, ..stamp };
            if (stamp.sequence.wrapping_sub(behind.sequence) as i16) < 0 {
                return false;
            }
            self.start(now, stamp);
        }
        if let Some(slot) = self.slots.get_mut(usize::from(stamp.sequence) % SLOTS) {
            slot.taken = true;
            slot.sequence = stamp.sequence;
            slot.timestamp = stamp.timestamp;
            slot.samples = stamp.samples;
            slot.payload.clear();
            slot.payload.extend_from_slice(payload);
        }
        true
    }

    /// A packet whose turn is over. Where it was taken for lost, all others wait a little longer from now on.
    fn too_late(&mut self, stamp: Stamp) {
        let (first, count) = self.given_up;
        if stamp.sequence.wrapping_sub(first) < count {
            self.stats.lost = self.stats.lost.saturating_sub(1);
            let late = self.next.wrapping_sub(stamp.timestamp).min(units(MAX_DEPTH, self.clock));
            self.behind = self.behind.max(late);
        }
    }

    /// Forgets what stands here; what comes next starts afresh.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.taken = false);
        self.state = State::Paused;
        (self.bridged, self.behind, self.given_up) = (0, 0, (0, 0));
    }

    fn start(&mut self, now: Instant, stamp: Stamp) {
        self.clear();
        if self.ssrc != Some(stamp.ssrc) {
            self.ssrc = Some(stamp.ssrc);
            self.transit = None;
        }
        (self.next, self.next_sequence) = (stamp.timestamp, stamp.sequence);
        self.state = State::Filling(now + self.target());
        (self.spare, self.window, self.excess) = (u32::MAX, 0, 0);
    }

    fn measure(&mut self, now: Instant, stamp: Stamp) {
        let arrival = match self.last_arrival {
            Some(last) => units(now.saturating_duration_since(last), self.clock),
            None => 0,
        };
        // Transit as RFC 3550 has it, carried from packet to packet.
        let transit = arrival.wrapping_sub(stamp.timestamp);
        if let Some(before) = self.transit {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            if difference < units(MAX_DEPTH * 2, self.clock) {
                self.jitter += difference;
                self.jitter -= (self.jitter - difference + 8) >> 4;
            }
        }
        // The next arrival is counted from this one.
        self.transit = Some(0u32.wrapping_sub(stamp.timestamp));
        if self.state == State::Playing {
            let spare = stamp.timestamp.wrapping_sub(self.next) as i32;
            self.spare = self.spare.min(spare.max(0) as u32);
            self.window += 1;
            if self.window == WINDOW {
                let wanted = units(MIN_DEPTH, self.clock) + (self.jitter >> 4);
                self.excess = self.spare.saturating_sub(wanted);
                (self.spare, self.window) = (u32::MAX, 0);
            }
        }
    }

    /// What is played next. `silent`: what was played last was next to silence, so that nobody misses some
    /// more of it.
    pub fn poll(&mut self, now: Instant, silent: bool) -> Next<'_> {
        match self.state {
            State::Paused => return Next::Paused,
            State::Filling(at) if now < at => return Next::Paused,
            State::Filling(_) => self.state = State::Playing,
            State::Playing => {}
        }
        if silent || self.depth() > MAX_DEPTH {
            self.skip();
        }
        if self.behind > 0 {
            if self.depth() < MAX_DEPTH {
                return Next::Late;
            }
            self.behind = 0;
        }
        let Some(first) = self.first() else { return self.none(now) };
        let Some(slot) = self.slots.get(first) else { return Next::Late };
        let gap = slot.timestamp.wrapping_sub(self.next);
        if gap == 0 || gap > i32::MAX as u32 {
            self.bridged = 0;
            return self.play(first);
        }
        // What was bridged is over, be it that it was lost.
        let missed = slot.sequence.wrapping_sub(self.next_sequence);
        if missed == 0 {
            // Nothing is missing between the two: the source was silent (RFC 3551 4.1).
            let samples = gap.saturating_sub(std::mem::take(&mut self.bridged));
            self.next = slot.timestamp;
            if samples == 0 {
                return self.play(first);
            }
            return Next::Quiet { samples };
        }
        self.stats.lost += u64::from(missed);
        self.given_up = (self.next_sequence, missed);
        let samples = gap.saturating_sub(std::mem::take(&mut self.bridged));
        self.next = slot.timestamp;
        self.next_sequence = slot.sequence;
        if samples == 0 {
            return self.play(first);
        }
        match self.slots.get(first) {
            Some(slot) => Next::Lost { samples, after: Some(&slot.payload) },
            None => Next::Late,
        }
    }

    fn none(&mut self, now: Instant) -> Next<'_> {
        if self.last_arrival.is_none_or(|at| now.saturating_duration_since(at) > PAUSE) {
            self.clear();
            return Next::Paused;
        }
        Next::Late
    }

    /// The asker has bridged so much, in units of the clock, since nothing was there.
    pub fn bridged(&mut self, samples: u32) {
        self.stats.late += u64::from(self.bridged == 0);
        if self.behind > 0 {
            self.behind = self.behind.saturating_sub(samples);
            return;
        }
        self.bridged = self.bridged.saturating_add(samples);
    }

    /// The packet that comes first by its sequence number.
    fn first(&self) -> Option<usize> {
        let ahead = |slot: &Slot| slot.sequence.wrapping_sub(self.next_sequence);
        let taken = self.slots.iter().enumerate().filter(|(_, slot)| slot.taken);
        taken.min_by_key(|(_, slot)| ahead(slot)).map(|(index, _)| index)
    }

    fn play(&mut self, index: usize) -> Next<'_> {
        let Some(slot) = self.slots.get_mut(index) else { return Next::Late };
        slot.taken = false;
        self.next = slot.timestamp.wrapping_add(slot.samples);
        self.next_sequence = slot.sequence.wrapping_add(1);
        Next::Frame(&slot.payload)
    }

    /// Leaves out the next packet, where packets have been standing here needlessly.
    fn skip(&mut self) {
        let over = self.depth() > MAX_DEPTH;
        if let Some(first) = self.first()
            && let Some(slot) = self.slots.get_mut(first)
            && slot.sequence == self.next_sequence
            && (over || slot.samples <= self.excess)
        {
            slot.taken = false;
            self.excess = self.excess.saturating_sub(slot.samples);
            self.next = slot.timestamp.wrapping_add(slot.samples);
            self.next_sequence = slot.sequence.wrapping_add(1);
            self.stats.skipped += 1;
        }
    }
}
