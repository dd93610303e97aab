//! The relay under virtual time.

mod own;
mod transcode;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{PACKET, Relay};
use crate::media::dtmf::Event;
use crate::media::rtp::Packet;
use crate::media::stream::{Stream, units};
use crate::media::types::{Flow, MediaEvent};
use crate::sdp::{Codec, Format, PayloadMap};

const FRAME: Duration = Duration::from_millis(20);
const BOTH: Flow = Flow::BOTH;
const HELD: Flow = Flow { keep_alive: true, ..Flow::NONE };

#[derive(Debug, Clone, PartialEq, Eq)]
struct Out {
    payload_type: u8,
    marker: bool,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload: Vec<u8>,
}

fn out(data: &[u8]) -> Out {
    let p = Packet::parse(data).unwrap();
    Out {
        payload_type: p.payload_type,
        marker: p.marker,
        sequence: p.sequence,
        timestamp: p.timestamp,
        ssrc: p.ssrc,
        payload: p.payload.to_vec(),
    }
}

/// A source with its own numbers.
struct Speaker {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    payload_type: u8,
}

impl Speaker {
    fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Speaker { ssrc, sequence, timestamp, payload_type: 0 }
    }

    fn packet<'a>(&self, payload_type: u8, payload: &'a [u8]) -> Packet<'a> {
        Packet {
            payload_type,
            marker: false,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload,
        }
    }

    fn next<'a>(&mut self, payload: &'a [u8]) -> Packet<'a> {
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        self.packet(self.payload_type, payload)
    }
}

fn map(formats: &[(Codec, u8)], telephone_event: Option<u8>) -> PayloadMap {
    let formats = formats.iter().map(|&(codec, payload)| Format { codec, payload }).collect();
    PayloadMap { formats, telephone_event, ..PayloadMap::default() }
}

struct Bench {
    now: Instant,
    relay: Relay,
    to_browser: Vec<Out>,
    to_sip: Vec<Out>,
}

impl Bench {
    fn new() -> Self {
        Bench::with(
            map(&[(Codec::Pcmu, 0), (Codec::Pcma, 8), (Codec::G722, 9)], Some(126)),
            map(&[(Codec::Pcmu, 0), (Codec::Pcma, 8), (Codec::G722, 9)], Some(101)),
        )
    }

    fn with(browser: PayloadMap, sip: PayloadMap) -> Self {
        let now = Instant::now();
        let mut relay =
            Relay::new(Stream::fixed(7, 65_530, u32::MAX - 500), Stream::following(8, 10, 1000));
        relay.set_browser(browser);
        relay.set_sip(now, sip);
        relay.set_flow(now, BOTH);
        Bench { now, relay, to_browser: Vec::new(), to_sip: Vec::new() }
    }

    fn sip(&mut self, packet: Packet<'_>) {
        let mut buffer = [0; PACKET];
        if self.relay.is_filling() && self.relay.is_sound(packet.payload_type) {
            self.relay.make_way();
            while let Some(data) = self.relay.poll_browser(self.now, &mut buffer) {
                self.to_browser.push(out(data));
            }
        }
        if let Some(data) = self.relay.forward_to_browser(self.now, &packet, &mut buffer) {
            self.to_browser.push(out(data));
        }
    }

    fn browser(&mut self, packet: Packet<'_>) {
        let mut buffer = [0; PACKET];
        if let Some(data) = self.relay.forward_to_sip(self.now, &packet, &mut buffer) {
            self.to_sip.push(out(data));
        }
    }

    /// Lets time pass and what is due happen on time.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut buffer = [0; PACKET];
        loop {
            self.now = self.relay.poll_timeout().map_or(until, |at| at.clamp(self.now, until));
            while let Some(data) = self.relay.poll_sip(self.now, &mut buffer) {
                self.to_sip.push(out(data));
            }
            while let Some(data) = self.relay.poll_browser(self.now, &mut buffer) {
                self.to_browser.push(out(data));
            }
            if self.now == until {
                return;
            }
        }
    }

    fn sip_talks(&mut self, speaker: &mut Speaker, frames: usize) {
        for _ in 0..frames {
            self.sip(speaker.next(&[0x55; 160]));
            self.wait(FRAME);
        }
    }

    fn browser_talks(&mut self, speaker: &mut Speaker, frames: usize) {
        for _ in 0..frames {
            self.browser(speaker.next(&[0x55; 160]));
            self.wait(FRAME);
        }
    }
}

/// Numbers without a hole, timestamps that follow the clock: `expected` is the pause in frames
/// before the packet of that index, 1 elsewhere.
fn assert_flow(packets: &[Out], pauses: &[(usize, u32)]) {
    for (i, pair) in packets.windows(2).enumerate() {
        assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1, "number {}", i + 1);
        let frames = pauses.iter().find(|(at, _)| *at == i + 1).map_or(1, |(_, frames)| *frames);
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert_eq!(step, frames * 160, "timestamp {}", i + 1);
    }
}

#[test]
fn the_browser_sees_one_stream_over_changes_of_source() {
    let mut bench = Bench::new();
    bench.sip_talks(&mut Speaker::new(1, 65_000, 5), 60);
    // A transfer: another SSRC, another clock, after 400 ms of silence.
    bench.wait(FRAME * 20);
    bench.sip_talks(&mut Speaker::new(2, 7, 0xFFFF_FFF0), 60);
    // The same SSRC starts over.
    bench.sip_talks(&mut Speaker::new(2, 50_000, 0x1234), 60);
    // Eleven minutes of hold, after which the source goes on where it was.
    let mut speaker = Speaker::new(3, 9, 9);
    bench.sip_talks(&mut speaker, 60);
    bench.wait(Duration::from_secs(660));
    bench.sip_talks(&mut speaker, 60);
    assert!(bench.to_browser.iter().all(|p| p.ssrc == 7));
    let (spoken, covered): (Vec<_>, Vec<_>) =
        bench.to_browser.iter().enumerate().partition(|(_, p)| p.payload == [0x55; 160]);
    assert_eq!(spoken.len(), 300);
    assert!(covered.iter().all(|(_, p)| p.payload == [0xFF; 160]), "and silence otherwise");
    assert_flow(&bench.to_browser, &[(60, 21), (240, 50)]);
    let marked: Vec<usize> = spoken.iter().filter(|(_, p)| p.marker).map(|(i, _)| *i).collect();
    assert_eq!(marked, [0, 60, 120, 180, 240 + covered.len()]);
    let ticks = bench.to_browser[240 + covered.len()].timestamp;
    assert_eq!(
        ticks.wrapping_sub(bench.to_browser[239].timestamp),
        33_002 * 160,
        "the last silence and the first word meet"
    );
}

#[test]
fn loss_shows_and_repeated_or_late_packets_are_not_sent_twice() {
    let mut bench = Bench::new();
    let mut speaker = Speaker::new(1, 100, 0);
    bench.sip_talks(&mut speaker, 3);
    let lost = speaker.next(&[1; 160]);
    bench.wait(FRAME);
    bench.sip_talks(&mut speaker, 1);
    let numbers = |bench: &Bench| -> Vec<u16> {
        bench.to_browser.iter().map(|p| p.sequence.wrapping_sub(65_531)).collect()
    };
    assert_eq!(numbers(&bench), [0, 1, 2, 4]);
    // It was only late; and then it comes again.
    bench.sip(lost);
    bench.sip(lost);
    assert_eq!(numbers(&bench), [0, 1, 2, 4, 3]);
    assert_eq!(bench.to_browser[4].payload, [1; 160]);
}

/// The network repeats a packet, and one in between is not passed on.
#[test]
fn a_repeated_packet_is_not_sent_again_under_a_number_that_was_skipped() {
    let mut bench = Bench::new();
    let mut speaker = Speaker::new(1, 100, 0);
    bench.sip_talks(&mut speaker, 3);
    let _lost = speaker.next(&[1; 160]);
    let repeated = speaker.next(&[2; 160]);
    bench.sip(repeated);
    speaker.payload_type = 18;
    bench.sip(speaker.next(&[3; 20]));
    bench.sip(repeated);
    speaker.payload_type = 0;
    bench.sip_talks(&mut speaker, 1);
    let numbers: Vec<u16> =
        bench.to_browser.iter().map(|p| p.sequence.wrapping_sub(65_531)).collect();
    assert_eq!(numbers, [0, 1, 2, 4, 5]);
}

#[test]
fn comfort_noise_becomes_silence_and_unknown_payloads_are_counted() {
    let mut bench = Bench::new();
    let mut speaker = Speaker::new(1, 100, 0);
    bench.sip_talks(&mut speaker, 3);
    for payload_type in [18, 96] {
        speaker.payload_type = payload_type;
        bench.sip_talks(&mut speaker, 1);
    }
    assert_eq!(bench.to_browser.len(), 3, "they leave no hole in the numbers");
    for payload_type in [13, 13, 18] {
        speaker.payload_type = payload_type;
        bench.sip_talks(&mut speaker, 1);
    }
    speaker.payload_type = 0;
    bench.sip_talks(&mut speaker, 3);
    assert_eq!(bench.relay.unknown_payload(), 3);
    let spoken: Vec<bool> = bench.to_browser.iter().map(|p| p.payload == [0x55; 160]).collect();
    let (t, f) = (true, false);
    assert_eq!(spoken, [t, t, t, f, f, f, f, t, t, t]);
    assert!(bench.to_browser.iter().all(|p| p.payload_type == 0));
    assert_flow(&bench.to_browser, &[(3, 3)]);
}

#[test]
fn one_g711_law_becomes_the_other() {
    let mut bench = Bench::with(map(&[(Codec::Pcmu, 0)], None), map(&[(Codec::Pcma, 8)], None));
    let (mut phone, mut page) = (Speaker::new(1, 1, 1), Speaker::new(2, 2, 2));
    phone.payload_type = 8;
    bench.sip(phone.next(&[0xD5; 160]));
    bench.browser(page.next(&[0xFF; 160]));
    assert_eq!((bench.to_browser[0].payload_type, bench.to_sip[0].payload_type), (0, 8));
    assert_eq!(bench.to_sip[0].payload, [0xD5; 160]);
    // A-law has no zero: its silence is the smallest step of the other.
    assert!(bench.to_browser[0].payload.iter().all(|byte| *byte >= 0xFE));
}

#[test]
fn the_codec_may_change_in_mid_call() {
    let mut bench = Bench::new();
    let mut speaker = Speaker::new(1, 1, 1);
    bench.sip_talks(&mut speaker, 5);
    speaker.payload_type = 9;
    bench.sip_talks(&mut speaker, 5);
    assert_flow(&bench.to_browser, &[]);
    assert_eq!(bench.to_browser[9].payload_type, 9);
}

#[test]
fn events_change_their_number_and_are_reported_once() {
    let mut bench = Bench::new();
    let mut page = Speaker::new(2, 2, 2);
    bench.browser_talks(&mut page, 3);
    let started = page.timestamp.wrapping_add(160);
    for n in 1..=7u16 {
        page.sequence += 1;
        page.timestamp = started;
        let event = Event { code: 5, end: n > 4, volume: 10, duration: 160 * n.min(5) };
        bench.browser(page.packet(126, &event.payload()));
        bench.wait(FRAME);
    }
    page.timestamp = started.wrapping_add(160 * 6);
    bench.browser_talks(&mut page, 3);

    assert_eq!(bench.to_sip.len(), 13);
    let events = &bench.to_sip[3..10];
    assert!(events.iter().all(|p| p.payload_type == 101));
    assert!(events.iter().all(|p| p.timestamp == events[0].timestamp));
    assert_eq!(events[0].timestamp.wrapping_sub(bench.to_sip[2].timestamp), 160);
    assert_eq!(bench.to_sip[10].timestamp.wrapping_sub(events[0].timestamp), 7 * 160);
    let digit =
        MediaEvent::Digit { digit: '5', duration: Duration::from_millis(100), from_sip: false };
    assert_eq!(bench.relay.poll_event(), Some(digit));
    assert_eq!(bench.relay.poll_event(), None);

    // And from SIP.
    let phone = Speaker::new(1, 1, 1);
    let event = Event { code: 11, end: true, volume: 10, duration: 800 };
    bench.sip(phone.packet(101, &event.payload()));
    assert_eq!(bench.to_browser[0].payload_type, 126);
    assert!(matches!(
        bench.relay.poll_event(),
        Some(MediaEvent::Digit { digit: '#', from_sip: true, .. })
    ));
}

#[test]
fn silence_goes_out_while_the_browser_is_held_and_makes_way() {
    let mut bench = Bench::new();
    let mut page = Speaker::new(2, 2, 2);
    bench.browser_talks(&mut page, 50);
    let now = bench.now;
    bench.relay.set_flow(now, HELD);
    // The microphone runs on, unheard.
    for _ in 0..100 {
        bench.browser(page.next(&[0x55; 160]));
        bench.wait(FRAME);
    }
    let now = bench.now;
    bench.relay.set_flow(now, BOTH);
    bench.browser_talks(&mut page, 50);

    assert_flow(&bench.to_sip, &[]);
    let silent = |p: &&Out| p.payload == [0xFF; 160];
    let quiet = bench.to_sip.iter().filter(silent).count();
    assert!((100..=101).contains(&quiet), "{quiet}");
    assert!(bench.to_sip[..50].iter().all(|p| !silent(&p)));
    assert!(bench.to_sip.iter().rev().take(50).all(|p| !silent(&p)));
}

#[test]
fn a_browser_that_says_nothing_is_covered_for() {
    let mut bench = Bench::new();
    bench.wait(Duration::from_secs(1));
    let before = bench.to_sip.len();
    assert_eq!(before, 41, "after 200 ms, every 20 ms");
    assert_flow(&bench.to_sip, &[]);
    let mut page = Speaker::new(2, 2, 2);
    bench.browser_talks(&mut page, 10);
    assert_eq!(bench.to_sip.len(), before + 10);
    // 60 ms of jitter do not set it off.
    bench.wait(FRAME * 3);
    assert_eq!(bench.to_sip.len(), before + 10);
}

#[test]
fn nothing_is_sent_that_is_not_allowed() {
    let mut bench = Bench::new();
    let now = bench.now;
    bench.relay.set_flow(now, Flow::NONE);
    bench.wait(Duration::from_secs(5));
    bench.sip_talks(&mut Speaker::new(1, 1, 1), 10);
    bench.browser_talks(&mut Speaker::new(2, 2, 2), 10);
    assert!(bench.to_sip.is_empty() && bench.to_browser.is_empty());
    assert_eq!(bench.relay.poll_timeout(), None);
}

#[test]
fn a_new_source_toward_sip_has_a_new_ssrc_and_time_goes_on() {
    let mut bench = Bench::new();
    bench.browser_talks(&mut Speaker::new(2, 2, 2), 10);
    bench.browser_talks(&mut Speaker::new(3, 40_000, 77), 10);
    assert_flow(&bench.to_sip, &[]);
    assert_ne!(bench.to_sip[9].ssrc, bench.to_sip[10].ssrc);
    assert!(bench.to_sip[10].marker);
    assert_eq!(bench.to_sip[10].ssrc, bench.to_sip[19].ssrc);
}

/// Whoever opens SRTP reckons the rollovers of an SSRC from the first of its packets that arrives.
#[test]
fn a_new_ssrc_begins_far_from_a_rollover() {
    let mut bench = Bench::new();
    bench.relay.to_sip = Stream::following(8, 65_520, 1000);
    bench.browser_talks(&mut Speaker::new(2, 2, 2), 10);
    bench.browser_talks(&mut Speaker::new(3, 40_000, 77), 30);
    let (before, after) = bench.to_sip.split_at(10);
    assert_ne!(before[9].ssrc, after[0].ssrc);
    assert_eq!(after.len(), 30);
    assert!(after[0].sequence <= 1 << 15, "{}", after[0].sequence);
    assert_flow(after, &[]);
    assert!(after[0].timestamp.wrapping_sub(before[9].timestamp) < 2 * 160);
}

#[test]
fn digits_are_sent_in_place_of_audio() {
    let mut bench = Bench::new();
    let mut page = Speaker::new(2, 2, 2);
    bench.browser_talks(&mut page, 10);
    let now = bench.now;
    bench.relay.press(now, "12");
    bench.wait(Duration::ZERO);
    bench.browser_talks(&mut page, 30);
    for pair in bench.to_sip.windows(2) {
        assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1);
        assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) <= 8 * 160);
    }
    let events: Vec<&Out> = bench.to_sip.iter().filter(|p| p.payload_type == 101).collect();
    assert_eq!(events.len(), 14);
    assert_eq!(events.iter().filter(|p| p.marker).count(), 2);
    assert_eq!(events[6].payload, [1, 0x80 | 10, 3, 0x20]);
    assert_eq!(events[7].payload[0], 2);
    assert!(events[7].timestamp.wrapping_sub(events[0].timestamp) >= 150 * 8);
    assert_eq!(bench.to_sip.last().map(|p| p.payload_type), Some(0));
}

#[test]
fn other_frame_lengths_pass_as_they_are() {
    let mut bench = Bench::new();
    let mut phone = Speaker::new(1, 1, 1);
    for _ in 0..20 {
        phone.sequence += 1;
        phone.timestamp += 240;
        bench.sip(phone.packet(0, &[0x55; 240]));
        bench.wait(Duration::from_millis(30));
    }
    for pair in bench.to_browser.windows(2) {
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 240);
    }
}

proptest! {
    /// Whatever a source does: no number is used twice, and time does not run away from the clock.
    #[test]
    fn any_source_makes_one_sane_stream(
        packets in prop::collection::vec(
            (0..3u32, prop_oneof![Just(1u16), 0..5u16, any::<u16>()],
             prop_oneof![Just(160u32), any::<u32>()], 0..200u64,
             prop_oneof![4 => Just(0u8), 1 => Just(13), 1 => Just(101), 1 => 0..128u8]),
            1..200,
        ),
    ) {
        let mut bench = Bench::new();
        let start = bench.now;
        let (mut sequence, mut timestamp) = (0u16, 0u32);
        let mut used = std::collections::HashSet::new();
        for (ssrc, step, advance, pause, payload_type) in packets {
            bench.wait(Duration::from_millis(pause));
            sequence = sequence.wrapping_add(step);
            timestamp = timestamp.wrapping_add(advance);
            let payload = [5, 0, 0, 160];
            let before = bench.to_browser.len();
            bench.sip(Packet {
                payload_type, marker: false, sequence, timestamp, ssrc, payload: &payload,
            });
            if let Some(packet) = bench.to_browser.get(before) {
                prop_assert!(used.insert(packet.sequence), "a number was used twice");
                let first = bench.to_browser[0].timestamp;
                let ahead = i64::from(packet.timestamp.wrapping_sub(first) as i32);
                let clock = i64::from(units(bench.now - start, 8000));
                // A source may drift by up to a second with each packet, and late ones are old.
                prop_assert!(ahead - clock <= 8000 * (before as i64 + 1));
                prop_assert!(clock - ahead <= 8000 * (before as i64 + 1) + 0x1_0000);
            }
        }
    }
}

/// A transfer to an end without telephone-event in the middle of a digit: the worker would spin on
/// a deadline that nothing meets, and the audio would wait for ever.
#[test]
fn a_digit_ends_when_the_sip_side_loses_its_telephone_event() {
    let mut bench = Bench::new();
    bench.relay.press(bench.now, "12");
    bench.wait(FRAME);
    let now = bench.now;
    bench.relay.set_sip(now, map(&[(Codec::Pcmu, 0)], None));
    assert!(bench.relay.poll_timeout().is_none_or(|at| at > now), "a deadline without an end");
    let sent = bench.to_sip.len();
    let mut browser = Speaker::new(1, 1, 1);
    bench.browser(browser.next(&[0x55; 160]));
    assert_eq!(bench.to_sip.len(), sent + 1, "the audio goes on");
}

/// The SIP side holds us with `inactive` or wants to be the only one to speak.
#[test]
fn no_digit_goes_where_nothing_may_go() {
    let mut bench = Bench::new();
    bench.relay.press(bench.now, "1");
    bench.wait(FRAME);
    let (now, sent) = (bench.now, bench.to_sip.len());
    bench.relay.set_flow(now, Flow { to_browser: true, ..Flow::NONE });
    bench.relay.press(now, "2");
    bench.wait(FRAME * 50);
    assert_eq!(bench.to_sip.len(), sent);
    assert_eq!(bench.relay.poll_timeout(), None);
}

/// A worker that was kept from its work for ten seconds does not send them all at once.
#[test]
fn what_was_missed_for_long_is_not_made_up_for() {
    let mut bench = Bench::new();
    let now = bench.now;
    bench.relay.set_flow(now, HELD);
    bench.wait(FRAME * 10);
    let before = bench.to_sip.len();
    bench.now += Duration::from_secs(10);
    bench.wait(Duration::ZERO);
    let at_once = bench.to_sip.len() - before;
    assert!((1..=2).contains(&at_once), "{at_once}: the one that was due, and the next");
    bench.wait(FRAME * 50);
    assert_eq!(bench.to_sip.len(), before + at_once + 50);
}

#[test]
fn digits_that_nobody_asks_for_are_bounded() {
    let mut bench = Bench::new();
    let mut page = Speaker::new(2, 2, 2);
    page.payload_type = 126;
    for _ in 0..1000 {
        bench.browser(page.next(&[5, 0x8A, 3, 32]));
    }
    let events = std::iter::from_fn(|| bench.relay.poll_event());
    let five = |event: &MediaEvent| matches!(event, MediaEvent::Digit { digit: '5', .. });
    assert_eq!(events.filter(five).count(), super::MAX_EVENTS);
}

/// A browser in a quiet room may send comfort noise: nobody negotiated it, and it is no fault.
#[test]
fn comfort_noise_of_the_browser_is_left_out_and_not_counted() {
    let mut bench = Bench::new();
    let mut page = Speaker::new(2, 2, 2);
    bench.browser_talks(&mut page, 3);
    page.payload_type = 13;
    bench.browser_talks(&mut page, 3);
    page.payload_type = 0;
    bench.browser_talks(&mut page, 3);
    assert_eq!(bench.relay.unknown_payload(), 0);
    let numbers: Vec<u16> = bench.to_sip.iter().map(|p| p.sequence.wrapping_sub(11)).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
}

/// Music of a far end that is not to be heard: its packets leave no hole in the browser's numbers.
#[test]
fn what_was_not_passed_on_during_a_hold_leaves_no_hole() {
    let mut bench = Bench::new();
    let mut phone = Speaker::new(1, 100, 0);
    bench.sip_talks(&mut phone, 5);
    for flow in [HELD, BOTH] {
        let now = bench.now;
        bench.relay.set_flow(now, flow);
        bench.sip_talks(&mut phone, 20);
    }
    let numbers: Vec<u16> =
        bench.to_browser.iter().map(|p| p.sequence.wrapping_sub(65_531)).collect();
    assert_eq!(numbers, (0..25).collect::<Vec<u16>>());
    assert!(bench.to_browser[5].marker);
    let step = bench.to_browser[5].timestamp.wrapping_sub(bench.to_browser[4].timestamp);
    assert_eq!(step, 21 * 160, "time went on");
}

#[test]
fn a_digit_for_the_browser_ends_with_a_hold() {
    let mut bench = Bench::new();
    let mut phone = Speaker::new(1, 100, 0);
    bench.sip_talks(&mut phone, 5);
    let now = bench.now;
    bench.relay.play_digit(now, '5');
    bench.wait(FRAME);
    let before = bench.to_browser.len();
    for flow in [HELD, BOTH] {
        let now = bench.now;
        bench.relay.set_flow(now, flow);
        bench.wait(FRAME * 3);
    }
    bench.sip_talks(&mut phone, 3);
    assert!(bench.to_browser[before..].iter().all(|packet| packet.payload_type != 126));
    assert_eq!(bench.to_browser.len(), before + 3);
}

/// As a UI does that tells its state again and again.
#[test]
fn the_same_flow_again_puts_nothing_off() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        let now = bench.now;
        bench.relay.set_flow(now, BOTH);
        bench.wait(FRAME * 5);
    }
    assert_eq!(bench.to_sip.len(), 41, "after 200 ms, every 20 ms");
}

/// What was queued for one far end is none of the next one's business.
#[test]
fn digits_end_where_the_far_end_is_exchanged() {
    let mut bench = Bench::new();
    let now = bench.now;
    bench.relay.press(now, "1234");
    bench.wait(FRAME);
    bench.relay.exchange(super::Outlet::new());
    let before = bench.to_sip.len();
    bench.wait(Duration::from_secs(2));
    assert!(bench.to_sip[before..].iter().all(|packet| packet.payload_type == 0));
}

/// A source whose clock goes back a little while its numbers go on: ours never does.
#[test]
fn time_does_not_go_back_with_a_source() {
    let mut bench = Bench::new();
    let mut phone = Speaker::new(1, 100, 50_000);
    for _ in 0..5 {
        bench.sip_talks(&mut phone, 5);
        phone.timestamp = phone.timestamp.wrapping_sub(1600);
    }
    assert_flow(&bench.to_browser, &[]);
}
