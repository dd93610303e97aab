//! One outgoing RTP stream made of whatever sources come along: sequence numbers and timestamps
//! go on without a hole, and never back, when a source is exchanged, jumps or pauses.

use std::time::{Duration, Instant};

use super::rtcp::Sent;
use super::rtp::HEADER;

/// Sequence numbers may run ahead by this much within a source (RFC 3550 A.1, MAX_DROPOUT).
const MAX_AHEAD: i32 = 3000;

/// And lag by this much: as far as the window of numbers already sent remembers.
const MAX_BEHIND: i32 = 64;

/// A source's clock may differ from ours by this much from one packet to the next before it counts
/// as a jump. A stall this long has emptied every jitter buffer anyway.
const MAX_DRIFT: Duration = Duration::from_secs(1);

/// A late packet, or one of a long event, is at most this much before the newest: the longest event
/// that RFC 4733 2.3.5 can express in one piece.
const MAX_PAST: i32 = 0xFFFF;

/// What a time is in RTP units of a clock with that many of them a second.
pub fn units(time: Duration, clock: u32) -> u32 {
    // Modulo 2^32, as timestamps are.
    (time.as_micros() * u128::from(clock) / 1_000_000) as u32
}

/// A sequence number to begin with, below 2^15 (RFC 3711 3.3.1): the far end may have its keys a moment
/// after us, and a wrap that it did not see would leave it deaf for good.
pub fn first_sequence() -> u16 {
    rand::random::<u16>() & (FIRST_LIMIT - 1)
}

const FIRST_LIMIT: u16 = 1 << 15;

/// Where an outgoing packet stands in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
}

/// The place of an incoming packet in its own stream.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    /// Length in RTP units; 0 for telephone-event, whose packets share a timestamp.
    pub samples: u32,
    /// RTP units per second. A source that changes it is attached anew.
    pub clock: u32,
}

/// How a packet goes on from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Next,
    Late,
    /// An old number with a new time.
    Nonsense,
    /// Another source, or the same one after a jump.
    Broken,
}

struct Followed {
    ssrc: u32,
    sequence_offset: u16,
    timestamp_offset: u32,
    highest: u16,
    timestamp: u32,
    at: Instant,
    clock: u32,
    /// The last two packets that were swallowed, the later first: what is late and came before them had
    /// another offset.
    swallowed: [Option<u16>; 2],
}

impl Followed {
    /// What makes a late packet's number one of ours; `None` where that is no longer known.
    fn offset_before(&self, sequence: u16) -> Option<u16> {
        let is_after = |swallowed: &Option<u16>| {
            swallowed.is_some_and(|swallowed| {
                let recent = self.highest.wrapping_sub(swallowed) <= 2 * MAX_BEHIND as u16;
                recent && (sequence.wrapping_sub(swallowed) as i16) < 0
            })
        };
        match self.swallowed.iter().filter(|swallowed| is_after(swallowed)).count() {
            0 => Some(self.sequence_offset),
            1 => Some(self.sequence_offset.wrapping_add(1)),
            _ => None,
        }
    }
}

/// What was sent last.
struct Newest {
    timestamp: u32,
    at: Instant,
    samples: u32,
    clock: u32,
}

/// The writer of an outgoing stream.
pub struct Stream {
    ssrc: u32,
    /// The highest sequence number sent, and a bit for each of the 64 up to it: the same number
    /// must never be sent twice, since SRTP would use its key stream twice.
    highest: u16,
    window: u64,
    first_timestamp: u32,
    sent: Option<Newest>,
    /// A timestamp and when its time was, for [`Stream::lead`].
    agreed: Option<(Instant, u32)>,
    followed: Option<Followed>,
    /// The source that was attached last, be it detached since.
    last_source: Option<u32>,
    /// A new source is a new SSRC.
    fresh_ssrc: bool,
    counted: Counted,
}

/// What has left under the SSRC, for sender reports (RFC 3550 6.4.1): from zero when that changes.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    packets: u32,
    octets: u32,
    /// Packets of the last report.
    reported: u32,
}

impl Stream {
    /// One SSRC for ever, whatever the source.
    pub fn fixed(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Stream {
            ssrc,
            highest: sequence,
            window: 0,
            first_timestamp: timestamp,
            sent: None,
            agreed: None,
            followed: None,
            last_source: None,
            fresh_ssrc: false,
            counted: Counted::default(),
        }
    }

    /// A new SSRC when the source has a new one.
    pub fn following(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Stream { fresh_ssrc: true, ..Stream::fixed(ssrc, sequence, timestamp) }
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Begins another stream under a new SSRC, whose numbers stay clear of a rollover for ten minutes: the
    /// packets of the one before went, meanwhile, to somebody else.
    pub fn renew(&mut self) {
        self.change_ssrc();
        self.highest = first_sequence();
        self.window = 0;
        self.followed = None;
    }

    fn change_ssrc(&mut self) {
        self.ssrc = rand::random();
        self.counted = Counted::default();
    }

    /// A packet has left, header and all of that length.
    pub fn count(&mut self, len: usize) {
        self.counted.packets = self.counted.packets.wrapping_add(1);
        self.counted.octets = self.counted.octets.wrapping_add(len.saturating_sub(HEADER) as u32);
    }

    /// What a report of now says of the stream; `None` where it has not sent since the last one.
    pub fn report(&mut self, now: Instant) -> Option<Sent> {
        let Counted { packets, octets, .. } = self.counted;
        let before = std::mem::replace(&mut self.counted.reported, packets);
        let timestamp = self.timestamp_at(now)?;
        (packets != before).then_some(Sent { timestamp, packets, octets })
    }

    /// RTP units per second of what was sent last; `None` before the first packet.
    pub fn clock(&self) -> Option<u32> {
        self.sent.as_ref().map(|sent| sent.clock)
    }

    /// The timestamp that belongs to `now`; `None` before the first packet.
    pub fn timestamp_at(&self, now: Instant) -> Option<u32> {
        let sent = self.sent.as_ref()?;
        let since = units(now.saturating_duration_since(sent.at), sent.clock);
        Some(sent.timestamp.wrapping_add(since))
    }

    /// A source is attached, and nothing of our own has come after it.
    pub fn is_following(&self) -> bool {
        self.followed.is_some()
    }

    /// The SSRC of the source that is followed, and what makes its sequence numbers ours.
    pub fn source(&self) -> Option<(u32, u16)> {
        self.followed.as_ref().map(|followed| (followed.ssrc, followed.sequence_offset))
    }

    /// The source's own number of a packet of ours, as long as nothing of it was swallowed.
    pub fn unmap(&self, sequence: u16) -> Option<u16> {
        let followed = self.followed.as_ref()?;
        let theirs = sequence.wrapping_sub(followed.sequence_offset);
        let behind = i32::from(followed.highest.wrapping_sub(theirs) as i16);
        (0..=MAX_AHEAD).contains(&behind).then_some(theirs)
    }

    /// How far what was sent reaches beyond `now`, reckoned from where the two last agreed.
    pub fn lead(&mut self, now: Instant) -> Duration {
        let Some(sent) = &self.sent else { return Duration::ZERO };
        let (end, clock) = (sent.timestamp.wrapping_add(sent.samples), sent.clock);
        let (at, timestamp) = *self.agreed.get_or_insert((sent.at, sent.timestamp));
        let due = timestamp.wrapping_add(units(now.saturating_duration_since(at), clock));
        match u64::try_from(end.wrapping_sub(due) as i32) {
            Ok(lead) if lead < u64::from(units(MAX_DRIFT, clock)) => {
                Duration::from_micros(lead * 1_000_000 / u64::from(clock.max(1)))
            }
            // Late, or the source has run away, or time is counted otherwise.
            _ => {
                self.agreed = Some((now, end));
                Duration::ZERO
            }
        }
    }

    /// The place of a packet that is passed on; `None` for a repeated or too late one.
    pub fn follow(&mut self, now: Instant, packet: Source) -> Option<Place> {
        let step = self.advance(now, &packet);
        let followed = self.followed.as_ref();
        let offset = match step {
            Step::Broken => return Some(self.anchor(now, packet)),
            Step::Nonsense => return None,
            Step::Next => followed?.sequence_offset,
            Step::Late => followed?.offset_before(packet.sequence)?,
        };
        let followed = followed?;
        let sequence = packet.sequence.wrapping_add(offset);
        let timestamp = packet.timestamp.wrapping_add(followed.timestamp_offset);
        if !self.mark(sequence) {
            return None;
        }
        self.remember(now, timestamp, packet.samples, packet.clock);
        Some(Place { ssrc: self.ssrc, sequence, timestamp, marker: packet.marker })
    }

    /// A packet of the source that is not passed on, and is to leave no hole.
    pub fn swallow(&mut self, now: Instant, packet: Source) {
        if self.advance(now, &packet) == Step::Next
            && let Some(followed) = &mut self.followed
        {
            followed.sequence_offset = followed.sequence_offset.wrapping_sub(1);
            followed.swallowed = [Some(packet.sequence), followed.swallowed[0]];
        }
    }

    /// The place of a packet of our own making, right after what was sent before: `samples` long, in units
    /// of `clock`.
    pub fn insert(&mut self, now: Instant, samples: u32, clock: u32) -> Place {
        self.insert_after(now, Duration::ZERO, samples, clock)
    }

    /// The same for a packet that has waited for the clock to catch up with the stream.
    pub fn insert_after(
        &mut self,
        now: Instant,
        waited: Duration,
        samples: u32,
        clock: u32,
    ) -> Place {
        let started = self.followed.take().is_some() || self.sent.is_none();
        let timestamp = self.next_timestamp(now.checked_sub(waited).unwrap_or(now));
        self.place(now, timestamp, samples, clock, started)
    }

    /// Another packet of our own with a timestamp that was given before (RFC 4733 2.5.1.2).
    pub fn repeat(&mut self, now: Instant, timestamp: u32) -> Place {
        let clock = self.sent.as_ref().map_or(8000, |sent| sent.clock);
        self.place(now, timestamp, 0, clock, false)
    }

    /// Says that the source pauses: what comes next is attached anew.
    pub fn detach(&mut self) {
        self.followed = None;
    }

    fn place(
        &mut self,
        now: Instant,
        timestamp: u32,
        samples: u32,
        clock: u32,
        marker: bool,
    ) -> Place {
        let sequence = self.highest.wrapping_add(1);
        self.mark(sequence);
        self.remember(now, timestamp, samples, clock);
        Place { ssrc: self.ssrc, sequence, timestamp, marker }
    }

    /// How a packet goes on from what came before of its source.
    fn advance(&mut self, now: Instant, packet: &Source) -> Step {
        let Some(followed) = self.followed.as_mut().filter(|f| f.ssrc == packet.ssrc) else {
            return Step::Broken;
        };
        let ahead = i32::from(packet.sequence.wrapping_sub(followed.highest) as i16);
        if !(-MAX_BEHIND..=MAX_AHEAD).contains(&ahead) {
            return Step::Broken;
        }
        if packet.clock != followed.clock {
            // A late one of before the change has no place in the new time.
            return if ahead <= 0 { Step::Nonsense } else { Step::Broken };
        }
        let advanced = packet.timestamp.wrapping_sub(followed.timestamp) as i32;
        // The packets of one event share their first timestamp, and audio may overtake them.
        let of_the_past = (-MAX_PAST..=0).contains(&advanced);
        if ahead <= 0 {
            return if of_the_past { Step::Late } else { Step::Nonsense };
        }
        if packet.samples > 0 || !of_the_past {
            let elapsed = units(now.saturating_duration_since(followed.at), packet.clock);
            let drift = i64::from(units(MAX_DRIFT, packet.clock));
            if advanced < 0 || (i64::from(advanced) - i64::from(elapsed)).abs() > drift {
                return Step::Broken;
            }
            followed.timestamp = packet.timestamp;
            followed.at = now;
        }
        followed.highest = packet.sequence;
        Step::Next
    }

    /// Attaches a source to the end of what was sent.
    fn anchor(&mut self, now: Instant, packet: Source) -> Place {
        let changed = self.last_source.replace(packet.ssrc).is_some_and(|s| s != packet.ssrc);
        if self.fresh_ssrc && changed {
            self.change_ssrc();
            if self.highest >= FIRST_LIMIT {
                self.highest = first_sequence();
                self.window = 0;
            }
        } else if self.sent.is_some() {
            // What comes late of before has no number that is not older than what was sent meanwhile.
            self.window = u64::MAX;
        }
        let timestamp = self.next_timestamp(now);
        let place = self.place(now, timestamp, packet.samples, packet.clock, true);
        self.followed = Some(Followed {
            ssrc: packet.ssrc,
            sequence_offset: place.sequence.wrapping_sub(packet.sequence),
            timestamp_offset: timestamp.wrapping_sub(packet.timestamp),
            highest: packet.sequence,
            timestamp: packet.timestamp,
            at: now,
            clock: packet.clock,
            swallowed: [None; 2],
        });
        place
    }

    /// As much after the last packet as time has passed, and at least its own length; by its own clock,
    /// whatever that of the next one is (RFC 7160 4.2).
    fn next_timestamp(&self, now: Instant) -> u32 {
        match &self.sent {
            None => self.first_timestamp,
            Some(sent) => {
                let elapsed = units(now.saturating_duration_since(sent.at), sent.clock);
                sent.timestamp.wrapping_add(elapsed.max(sent.samples))
            }
        }
    }

    fn remember(&mut self, now: Instant, timestamp: u32, samples: u32, clock: u32) {
        let newer =
            self.sent.as_ref().is_none_or(|s| (timestamp.wrapping_sub(s.timestamp) as i32) > 0);
        if newer {
            self.sent = Some(Newest { timestamp, at: now, samples, clock });
        }
    }

    /// Takes a sequence number into the window; false when it was sent or is too old to tell.
    fn mark(&mut self, sequence: u16) -> bool {
        let ahead = i32::from(sequence.wrapping_sub(self.highest) as i16);
        if ahead > 0 {
            self.window = self.window.checked_shl(ahead as u32).unwrap_or(0) | 1;
            self.highest = sequence;
            return true;
        }
        let Ok(behind @ 0..64) = u32::try_from(-ahead) else { return false };
        let bit = 1u64 << behind;
        let fresh = self.window & bit == 0;
        self.window |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After a pause the network turns the first packets round: none of them gets a number below
    /// what was sent before the pause.
    #[test]
    fn what_comes_late_of_before_a_pause_is_over_has_no_place() {
        let start = Instant::now();
        let mut stream = Stream::fixed(7, 100, 0);
        stream.insert(start, 160, 8000);
        let packet = |sequence: u16| Source {
            ssrc: 9,
            sequence,
            timestamp: 5000 + u32::from(sequence) * 160,
            samples: 160,
            clock: 8000,
            marker: false,
        };
        let after = start + Duration::from_secs(3);
        let first = stream.follow(after, packet(12)).unwrap();
        for late in [11, 10, 9] {
            assert_eq!(stream.follow(after, packet(late)), None);
        }
        let next = stream.follow(after + Duration::from_millis(20), packet(14)).unwrap();
        assert_eq!(next.sequence, first.sequence + 2);
        let late = stream.follow(after + Duration::from_millis(21), packet(13)).unwrap();
        assert_eq!((late.sequence, late.timestamp), (first.sequence + 1, first.timestamp + 160));
    }
}
