//! Order, depth and loss, packet by packet.

use super::*;

const FRAME: Duration = Duration::from_millis(20);

/// A source at 8 kHz whose packets hold their own number, and a player in step with it.
struct Line {
    jitter: Jitter,
    now: Instant,
}

/// What was played, packets by the number that is in them.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Played {
    Packet(u8),
    Lost(u32, Option<u8>),
    Quiet(u32),
    Late,
    Paused,
}

impl Line {
    fn new() -> Self {
        Line { jitter: Jitter::new(8000), now: Instant::now() }
    }

    fn insert_from(&mut self, ssrc: u32, number: u16, timestamp: u32) -> bool {
        let sequence = 65_533u16.wrapping_add(number);
        let timestamp = timestamp.wrapping_sub(200);
        let stamp = Stamp { ssrc, sequence, timestamp, samples: 160 };
        self.jitter.insert(self.now, stamp, &[number as u8; 160])
    }

    fn insert(&mut self, number: u16) -> bool {
        self.insert_from(1, number, u32::from(number) * 160)
    }

    fn play(&mut self, silent: bool) -> Played {
        let played = match self.jitter.poll(self.now, silent) {
            Next::Frame(payload) => Played::Packet(payload[0]),
            Next::Lost { samples, after } => Played::Lost(samples, after.map(|p| p[0])),
            Next::Quiet { samples } => Played::Quiet(samples),
            Next::Late => Played::Late,
            Next::Paused => Played::Paused,
        };
        if played == Played::Late {
            self.jitter.bridged(160);
        }
        played
    }

    /// Until the first packet may be played.
    fn fill(&mut self) {
        self.now = self.jitter.starts_at().expect("a first packet");
    }
}

#[test]
fn what_comes_twice_is_played_once() {
    let mut line = Line::new();
    assert!(line.insert(0) && line.insert(1));
    assert!(!line.insert(1), "it stands there already");
    line.fill();
    assert_eq!([line.play(false), line.play(false)], [0, 1].map(Played::Packet));
    assert!(!line.insert(0) && !line.insert(1), "played already");
    assert_eq!(line.play(false), Played::Late);
    assert_eq!(line.jitter.stats().discarded, 3);
    assert_eq!(line.jitter.stats().lost, 0);
}

#[test]
fn what_comes_in_disorder_is_played_in_order_over_the_wrap() {
    let mut line = Line::new();
    // The number wraps between the third and the fourth, the timestamp between the second and the third.
    for number in [1, 0, 4, 2, 3, 5] {
        assert!(line.insert(number), "{number}");
    }
    line.fill();
    for number in 0..6 {
        assert_eq!(line.play(false), Played::Packet(number));
    }
    assert_eq!(line.jitter.stats(), JitterStats::default());
}

#[test]
fn what_is_lost_is_told_with_what_follows_it() {
    let mut line = Line::new();
    for number in [0, 3] {
        line.insert(number);
    }
    line.fill();
    assert_eq!(line.play(false), Played::Packet(0));
    assert_eq!(line.play(false), Played::Lost(320, Some(3)));
    assert_eq!(line.play(false), Played::Packet(3));
    assert_eq!(line.jitter.stats().lost, 2);
}

/// Time went on and numbers did not (RFC 3551 4.1): nothing is lost.
#[test]
fn a_gap_of_discontinuous_transmission_is_quiet_and_no_loss() {
    let mut line = Line::new();
    line.insert(0);
    line.insert_from(1, 1, 160 + 800);
    line.fill();
    assert_eq!(line.play(false), Played::Packet(0));
    assert_eq!(line.play(false), Played::Quiet(800));
    assert_eq!(line.play(false), Played::Packet(1));
    assert_eq!(line.jitter.stats().lost, 0);
}

#[test]
fn a_source_that_says_nothing_pauses_and_starts_afresh() {
    let mut line = Line::new();
    line.insert(0);
    line.fill();
    assert_eq!(line.play(false), Played::Packet(0));
    line.now += FRAME;
    assert_eq!(line.play(false), Played::Late);
    line.now += PAUSE;
    assert_eq!(line.play(false), Played::Paused);
    line.insert(1);
    assert_eq!(line.play(false), Played::Paused, "held back again");
    line.fill();
    assert_eq!(line.play(false), Played::Packet(1));
}

#[test]
fn another_source_starts_afresh_and_the_old_one_is_forgotten() {
    let mut line = Line::new();
    for number in 0..3 {
        line.insert(number);
    }
    line.fill();
    assert_eq!(line.play(false), Played::Packet(0));
    assert!(line.insert_from(2, 30_000, 1_000_000));
    assert_eq!(line.play(false), Played::Paused, "held back for its own jitter");
    line.fill();
    assert_eq!(line.play(false), Played::Packet((30_000u16 & 0xFF) as u8));
    assert_eq!(line.jitter.stats().lost, 0);
}

/// Ten packets too many, as a fast clock piles them up: while something is said they stay, in silence they go.
#[test]
fn what_piled_up_is_left_out_in_silence_only() {
    let (mut line, mut number) = (Line::new(), 0);
    let mut say = |line: &mut Line| {
        line.insert(number);
        number += 1;
    };
    (0..8).for_each(|_| say(&mut line));
    line.fill();
    for silent in [false, true] {
        for _ in 0..250 {
            say(&mut line);
            line.play(silent);
            line.now += FRAME;
        }
        let (depth, skipped) = (line.jitter.depth(), line.jitter.stats().skipped);
        if silent {
            assert!(depth <= FRAME * 2, "{depth:?} is left");
            assert!(skipped >= 6, "{skipped} left out");
        } else {
            assert!(depth >= FRAME * 7, "{depth:?} of what was said");
            assert_eq!(skipped, 0);
        }
    }
    assert_eq!(line.jitter.stats().lost, 0);
}

#[test]
fn what_is_too_large_or_says_nothing_is_not_kept() {
    let mut line = Line::new();
    let mut insert = |samples, len: usize| {
        let stamp = Stamp { ssrc: 1, sequence: 1, timestamp: 1, samples };
        line.jitter.insert(line.now, stamp, &vec![0; len])
    };
    assert!(!insert(160, MAX_PAYLOAD + 1) && !insert(0, 160));
    assert!(insert(160, MAX_PAYLOAD));
    assert_eq!(line.jitter.stats().discarded, 2);
}

/// A stall of half a second is none of the jitter that every packet has to wait for.
#[test]
fn one_that_comes_very_late_does_not_hold_all_others_back() {
    let mut line = Line::new();
    for number in 0..50 {
        line.insert(number);
        line.now += FRAME;
    }
    let before = line.jitter.target();
    line.now += Duration::from_millis(500);
    line.insert(50);
    assert_eq!(line.jitter.target(), before);
    line.now += FRAME * 3;
    line.insert(51);
    assert!(line.jitter.target() > before, "40 ms more than the 20 it had to take");
}

/// 10 ms either way are some 10 ms of deviation: four of them, and the least.
#[test]
fn what_is_waited_for_is_four_deviations() {
    let mut line = Line::new();
    let start = line.now;
    for number in 0..400 {
        let late = Duration::from_millis(10 * u64::from(number % 2));
        line.now = start + FRAME * u32::from(number) + late;
        line.insert(number);
    }
    assert!((46..=52).contains(&line.jitter.target().as_millis()), "{:?}", line.jitter.target());
}

#[test]
fn more_than_a_fifth_of_a_second_does_not_stand_here_though_somebody_speaks() {
    let (mut line, mut number) = (Line::new(), 0);
    for _ in 0..25 {
        line.insert(number);
        number += 1;
    }
    line.fill();
    for _ in 0..30 {
        line.insert(number);
        number += 1;
        line.play(false);
        line.now += FRAME;
    }
    assert!(line.jitter.depth() <= MAX_DEPTH, "{:?}", line.jitter.depth());
    assert_eq!(line.jitter.stats().lost, 0);
}

#[test]
fn a_steady_source_loses_nothing_to_silence() {
    let mut line = Line::new();
    line.insert(0);
    line.fill();
    for number in 1..400 {
        line.insert(number);
        line.play(true);
        line.now += FRAME;
    }
    assert_eq!(line.jitter.stats(), JitterStats::default());
}

/// Waiting for a packet that is lost after all has taken the time that it would have.
#[test]
fn what_was_bridged_is_not_made_up_for_again() {
    let mut line = Line::new();
    line.insert(0);
    line.fill();
    assert_eq!([line.play(false), line.play(false)], [Played::Packet(0), Played::Late]);
    line.insert(2);
    assert_eq!(line.play(false), Played::Packet(2), "160 were missing, and were bridged");
    assert_eq!(line.jitter.stats().lost, 1);
}

#[test]
fn a_repetition_of_what_was_played_holds_nothing_back() {
    let mut line = Line::new();
    (0..3).for_each(|number| assert!(line.insert(number)));
    line.fill();
    assert_eq!([line.play(false), line.play(false)], [0, 1].map(Played::Packet));
    assert!(!line.insert(0));
    assert_eq!(line.play(false), Played::Packet(2));
}

#[test]
fn a_jump_of_the_time_or_another_source_starts_afresh() {
    for (ssrc, timestamp) in [(1, 1_000_000), (2, 320)] {
        let mut line = Line::new();
        (0..2).for_each(|number| assert!(line.insert(number)));
        line.fill();
        assert_eq!([line.play(false), line.play(false)], [0, 1].map(Played::Packet));
        assert!(line.insert_from(ssrc, 2, timestamp));
        assert_eq!(line.play(false), Played::Paused, "{ssrc}, {timestamp}");
        line.fill();
        assert_eq!(line.play(false), Played::Packet(2));
        assert_eq!(line.jitter.stats().lost, 0);
    }
}
