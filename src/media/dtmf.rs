//! Digits as RTP events (RFC 4733): heard, and sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::stream::units;

/// The clock of all durations here. What is sent at another is [scaled](Event::at).
pub const CLOCK: u32 = 8000;

/// How long a digit sounds, how long the pause after it is.
const TONE: Duration = Duration::from_millis(100);
const GAP: Duration = Duration::from_millis(50);
/// What a comma stands for among digits, as in a browser's `insertDTMF`.
const PAUSE: Duration = Duration::from_secs(2);
/// Between two packets of an event, and the times the last one is sent (RFC 4733 2.5.1.4).
const STEP: Duration = Duration::from_millis(20);
const LAST_SENT: u8 = 3;
/// -10 dBm0, within what RFC 4733 2.3.3 expects of a keypad.
const VOLUME: u8 = 10;
/// A packet of an event that began this long before the last one is late, in RTP units: 10 s at 48 kHz, a
/// minute at 8. What is further back is a clock that has jumped.
const MAX_LATE: u32 = 480_000;
/// Digits waiting to be sent: twice the longest account number anybody keys.
const QUEUE: usize = 64;

const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// The payload of an event packet (RFC 4733 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub code: u8,
    pub end: bool,
    pub volume: u8,
    /// In RTP units since the event began.
    pub duration: u16,
}

impl Event {
    pub fn parse(payload: &[u8]) -> Option<Event> {
        let [code, flags, d0, d1] = *payload.first_chunk::<4>()?;
        Some(Event {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3F,
            duration: u16::from_be_bytes([d0, d1]),
        })
    }

    pub fn payload(self) -> [u8; 4] {
        let [d0, d1] = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | self.volume & 0x3F, d0, d1]
    }

    /// The same with its duration in units of another clock; the longest that can be said where that is
    /// not enough.
    pub fn at(self, clock: u32, other: u32) -> Event {
        let scaled = u64::from(self.duration) * u64::from(other) / u64::from(clock.max(1));
        Event { duration: scaled.min(0xFFFF) as u16, ..self }
    }

    /// `None` for events that are no digits (flash, fax tones).
    pub fn digit(self) -> Option<char> {
        DIGITS.get(usize::from(self.code)).map(|byte| char::from(*byte))
    }
}

/// Hears each digit once, though its packets come many times, late or not to the end.
#[derive(Debug, Default)]
pub struct Listener {
    current: Option<Heard>,
}

/// The event that goes on, or was the last.
#[derive(Debug, Clone, Copy)]
struct Heard {
    ssrc: u32,
    since: u32,
    event: Event,
    reported: bool,
}

impl Listener {
    /// Takes a packet; returns a digit that is finished with it.
    pub fn hear(&mut self, ssrc: u32, timestamp: u32, event: Event) -> Option<(char, Duration)> {
        // Another source counts its time from anywhere: nothing of it is late.
        if let Some(last) = self.current.as_mut().filter(|last| last.ssrc == ssrc) {
            if last.since == timestamp {
                let reported = last.reported;
                last.reported |= event.end;
                let duration = last.event.duration.max(event.duration);
                last.event = Event { duration, ..event };
                return if event.end && !reported { finished(last.event) } else { None };
            }
            if last.reported && (1..MAX_LATE).contains(&last.since.wrapping_sub(timestamp)) {
                // A packet of an older event.
                return None;
            }
        }
        // The end of the one before was lost, all three times: it is told first, and this one with the
        // next of its packets.
        let unfinished = self.current.filter(|last| !last.reported);
        let reported = event.end && unfinished.is_none();
        self.current = Some(Heard { ssrc, since: timestamp, event, reported });
        match unfinished {
            Some(last) => finished(last.event),
            None if event.end => finished(event),
            None => None,
        }
    }
}

fn finished(event: Event) -> Option<(char, Duration)> {
    let duration = Duration::from_millis(u64::from(event.duration) * 1000 / u64::from(CLOCK));
    event.digit().map(|digit| (digit, duration))
}

/// A packet that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub event: Event,
    /// The first of its event: gets a new timestamp and the marker.
    pub first: bool,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Digit(u8),
    Pause,
}

impl Key {
    fn of(byte: u8) -> Option<Key> {
        let code = DIGITS.iter().position(|d| *d == byte.to_ascii_uppercase());
        code.map(|code| Key::Digit(code as u8)).or((byte == b',').then_some(Key::Pause))
    }
}

/// Plays a queue of digits.
#[derive(Debug, Default)]
pub struct Keypad {
    queue: VecDeque<Key>,
    playing: Option<Playing>,
    /// The pause after the last digit, or a comma's, ends here.
    quiet_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Playing {
    code: u8,
    started: Instant,
    next: Instant,
    first: bool,
    ends_sent: u8,
}

impl Keypad {
    /// Queues what is a digit or a comma; the rest, and what exceeds the queue, is dropped. Returns how many
    /// were taken.
    pub fn press(&mut self, now: Instant, digits: &str) -> usize {
        let mut taken = 0;
        for digit in digits.bytes() {
            if let Some(key) = Key::of(digit)
                && self.queue.len() < QUEUE
            {
                self.queue.push_back(key);
                taken += 1;
            }
        }
        self.start(now);
        taken
    }

    /// Forgets the digit that sounds and those that wait.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.playing = None;
    }

    /// True from the first to the last packet of a digit: audio waits meanwhile.
    pub fn is_sounding(&self) -> bool {
        self.playing.is_some()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.playing {
            Some(playing) => Some(playing.next),
            None if self.queue.is_empty() => None,
            None => self.quiet_until,
        }
    }

    /// The packet due at `now`; to be asked until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<Due> {
        self.start(now);
        let playing = self.playing.as_mut().filter(|p| p.next <= now)?;
        let first = std::mem::take(&mut playing.first);
        let sounded = playing.next.saturating_duration_since(playing.started) + STEP;
        let end = sounded >= TONE;
        let due = Due {
            event: Event {
                code: playing.code,
                end,
                volume: VOLUME,
                duration: units(sounded.min(TONE), CLOCK) as u16,
            },
            first,
        };
        if end {
            // The last one is repeated at once: the other side has the digit all the earlier.
            playing.ends_sent += 1;
            if playing.ends_sent == LAST_SENT {
                self.quiet_until = Some(playing.started + TONE + GAP);
                self.playing = None;
            }
        } else {
            playing.next += STEP;
        }
        Some(due)
    }

    fn start(&mut self, now: Instant) {
        if self.playing.is_some() || self.quiet_until.is_some_and(|until| until > now) {
            return;
        }
        match self.queue.pop_front() {
            Some(Key::Digit(code)) => {
                self.playing =
                    Some(Playing { code, started: now, next: now, first: true, ends_sent: 0 });
            }
            Some(Key::Pause) => self.quiet_until = Some(now + PAUSE),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: u32 = 1;

    fn event(code: u8, end: bool, duration: u16) -> Event {
        Event { code, end, volume: 10, duration }
    }

    #[test]
    fn payload_as_in_rfc_4733() {
        // Digit 9, end, volume 7, 1600 units: as in the example of RFC 4733 2.5.2.
        let event = Event::parse(&[9, 0x87, 0x06, 0x40]).unwrap();
        assert_eq!(event, Event { code: 9, end: true, volume: 7, duration: 1600 });
        assert_eq!(event.payload(), [9, 0x87, 0x06, 0x40]);
        assert_eq!(event.digit(), Some('9'));
        assert_eq!(Event::parse(&[9, 0x87, 6]), None);
        assert_eq!(Event { code: 16, ..event }.digit(), None);
    }

    #[test]
    fn a_digit_is_heard_once() {
        let mut ear = Listener::default();
        assert_eq!(ear.hear(SSRC, 1000, event(5, false, 160)), None);
        assert_eq!(ear.hear(SSRC, 1000, event(5, false, 320)), None);
        assert_eq!(
            ear.hear(SSRC, 1000, event(5, true, 800)),
            Some(('5', Duration::from_millis(100)))
        );
        assert_eq!(ear.hear(SSRC, 1000, event(5, true, 800)), None);
        assert_eq!(ear.hear(SSRC, 1000, event(5, true, 800)), None);
        // The same key again.
        assert_eq!(
            ear.hear(SSRC, 3000, event(5, true, 400)),
            Some(('5', Duration::from_millis(50)))
        );
        assert_eq!(ear.hear(SSRC, 1000, event(5, true, 800)), None, "late");
    }

    #[test]
    fn a_digit_whose_end_is_lost_is_heard_with_the_next() {
        let mut ear = Listener::default();
        assert_eq!(ear.hear(SSRC, 1000, event(1, false, 640)), None);
        assert_eq!(
            ear.hear(SSRC, 3000, event(2, false, 160)),
            Some(('1', Duration::from_millis(80)))
        );
        assert_eq!(ear.hear(SSRC, 3000, event(2, true, 800)).map(|d| d.0), Some('2'));
    }

    #[test]
    fn a_digit_is_as_long_as_the_longest_of_its_packets() {
        let mut ear = Listener::default();
        for duration in [160, 640, 480] {
            assert_eq!(ear.hear(SSRC, 1000, event(1, false, duration)), None);
        }
        assert_eq!(
            ear.hear(SSRC, 3000, event(2, false, 160)),
            Some(('1', Duration::from_millis(80)))
        );
    }

    /// Three packets of the end are sent, and each of them may be the first that comes of its digit.
    #[test]
    fn a_digit_of_which_only_the_end_comes_is_heard_after_one_without_an_end() {
        let mut ear = Listener::default();
        assert_eq!(ear.hear(SSRC, 1000, event(1, false, 640)), None);
        let heard = [(); 3].map(|()| ear.hear(SSRC, 3000, event(2, true, 800)).map(|d| d.0));
        assert_eq!(heard, [Some('1'), Some('2'), None]);
    }

    /// The far end is exchanged, the page is loaded anew, a clock is set: what comes then is not late.
    #[test]
    fn digits_of_another_source_are_heard_wherever_its_time_begins() {
        let mut ear = Listener::default();
        let mut heard = String::new();
        for (ssrc, timestamp) in
            [(1, 0x8000_0000), (2, 0x7FFF_F000), (3, 0), (3, 0xC000_0000), (3, 0xC000_1000)]
        {
            for end in [false, true, true, true] {
                heard.extend(ear.hear(ssrc, timestamp, event(7, end, 800)).map(|digit| digit.0));
            }
        }
        assert_eq!(heard, "77777");
    }

    #[test]
    fn digits_are_played_in_time_and_heard_again() {
        let start = Instant::now();
        let mut now = start;
        let mut keypad = Keypad::default();
        assert_eq!(keypad.press(now, "1x#"), 2);
        let mut ear = Listener::default();
        let (mut timestamp, mut heard, mut sent) = (0, String::new(), 0);
        while let Some(at) = keypad.poll_timeout() {
            now = at;
            while let Some(due) = keypad.poll(now) {
                if due.first {
                    timestamp = units(now - start, CLOCK);
                }
                sent += 1;
                if let Some((digit, duration)) = ear.hear(SSRC, timestamp, due.event) {
                    assert_eq!(duration, TONE);
                    heard.push(digit);
                }
            }
        }
        assert_eq!(heard, "1#");
        assert_eq!(sent, 14, "four while it sounds and three ends, each");
        assert_eq!(now - start, TONE + GAP + TONE - STEP);
        assert!(!keypad.is_sounding());
    }

    #[test]
    fn a_comma_is_a_pause() {
        let start = Instant::now();
        let mut keypad = Keypad::default();
        assert_eq!(keypad.press(start, "1,2,"), 4);
        let mut began = Vec::new();
        while let Some(at) = keypad.poll_timeout() {
            while let Some(due) = keypad.poll(at) {
                if due.first {
                    began.push(at - start);
                }
            }
        }
        assert_eq!(began, [Duration::ZERO, TONE + GAP + PAUSE]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut keypad = Keypad::default();
        assert_eq!(keypad.press(Instant::now(), &"1".repeat(1000)), QUEUE);
    }
}
