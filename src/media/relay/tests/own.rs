//! What the gateway lets be heard itself.

use std::sync::Arc;

use super::*;
use crate::media::dtmf::Listener;
use crate::media::g711::{linear_from_alaw, linear_from_ulaw};
use crate::media::music::Music;
use crate::media::tones::TonePlan;
use crate::media::types::{Signal, Sounds};

const RINGS: Flow = Flow { tone: Some(Signal::Ringback), ..Flow::NONE };
/// An SDP came before the answer: the far end may say something itself, or not.
const RINGS_EARLY: Flow = Flow { tone: Some(Signal::Ringback), ..BOTH };
const ON_HOLD: Flow = Flow { keep_alive: true, music: true, ..Flow::NONE };

fn with_sounds() -> Bench {
    let mut bench = Bench::new();
    let sounds = Sounds { tones: TonePlan::of("de"), music: Some(Arc::new(Music::of_a_tone(500))) };
    let now = bench.now;
    let (to_browser, to_sip) = (Stream::fixed(7, 1, 1), Stream::following(8, 10, 1000));
    bench.relay = Relay::new(to_browser, to_sip).with_sounds(sounds);
    bench.relay.set_browser(map(&[(Codec::Pcma, 8)], Some(126)));
    bench.relay.set_sip(now, map(&[(Codec::Pcmu, 0)], Some(101)));
    bench
}

fn page() -> Speaker {
    Speaker { payload_type: 8, ..Speaker::new(2, 2, 2) }
}

/// The smallest step of A-law, which is what a [`Speaker`] says, in the other law.
fn is_speech(packet: &Out) -> bool {
    packet.payload.iter().all(|byte| linear_from_ulaw(*byte).abs() < 16 && *byte != 0xFF)
}

fn flow(bench: &mut Bench, flow: Flow) {
    let now = bench.now;
    bench.relay.set_flow(now, flow);
    bench.wait(Duration::ZERO);
}

/// Whether the power is at a frequency.
fn is_tone(samples: &[i16], hertz: f32) -> bool {
    let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let (angle, sample) =
            (std::f32::consts::TAU * hertz * n as f32 / 8000.0, f32::from(*sample));
        re += sample * angle.cos();
        im += sample * angle.sin();
        power += sample * sample;
    }
    2.0 * (re * re + im * im) > 0.95 * power * samples.len() as f32
}

fn alaw(packets: &[Out]) -> Vec<i16> {
    packets.iter().flat_map(|p| p.payload.iter().map(|byte| linear_from_alaw(*byte))).collect()
}

fn ulaw(packets: &[Out]) -> Vec<i16> {
    packets.iter().flat_map(|p| p.payload.iter().map(|byte| linear_from_ulaw(*byte))).collect()
}

fn is_quiet(samples: &[i16]) -> bool {
    samples.iter().all(|sample| sample.abs() < 16)
}

/// Numbers and times without a hole, whatever the lengths.
fn assert_gapless(packets: &[Out]) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1);
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert_eq!(step as usize, pair[0].payload.len());
    }
}

#[test]
fn it_rings_until_the_far_end_is_heard() {
    let mut bench = with_sounds();
    flow(&mut bench, RINGS_EARLY);
    bench.wait(Duration::from_millis(5490));
    let heard = alaw(&bench.to_browser);
    assert!(is_tone(&heard[..8000], 425.0));
    assert!(is_quiet(&heard[8000..40_000]));
    assert!(is_tone(&heard[40_000..43_000], 425.0), "the second ring");
    assert!(bench.to_browser[0].marker);
    assert_gapless(&bench.to_browser);

    let mut phone = Speaker::new(1, 1, 1);
    let before = bench.to_browser.len();
    bench.sip_talks(&mut phone, 50);
    let after = &bench.to_browser[before..];
    assert_eq!(
        (after.len(), after[0].payload.len()),
        (51, 80),
        "it fades, then the far end is heard"
    );
    assert!(is_quiet(&alaw(&after[..1])[40..]));
    assert!(after[1..].iter().all(|p| p.payload.len() == 160) && after[1].marker);
    assert_gapless(&bench.to_browser);
    assert!(bench.to_browser.iter().all(|p| p.payload_type == 8 && p.ssrc == 7));
}

#[test]
fn an_answer_ends_it_before_a_word_is_said() {
    let mut bench = with_sounds();
    flow(&mut bench, RINGS);
    bench.wait(Duration::from_millis(300));
    let before = bench.to_browser.len();
    flow(&mut bench, BOTH);
    assert_eq!(bench.to_browser.len(), before + 1);
    bench.wait(Duration::from_secs(3));
    assert_eq!(bench.to_browser.len(), before + 1);
    assert_gapless(&bench.to_browser);
    // Between two rings nothing has to fade.
    flow(&mut bench, RINGS);
    bench.wait(Duration::from_secs(3));
    let before = bench.to_browser.len();
    flow(&mut bench, BOTH);
    assert_eq!(bench.to_browser.len(), before);
}

#[test]
fn an_announcement_of_the_network_goes_before_it() {
    let mut bench = with_sounds();
    flow(&mut bench, BOTH);
    let mut network = Speaker::new(1, 1, 1);
    bench.sip_talks(&mut network, 20);
    flow(&mut bench, RINGS_EARLY);
    bench.sip_talks(&mut network, 20);
    assert_eq!(bench.to_browser.len(), 40);
    assert_flow(&bench.to_browser, &[]);
}

#[test]
fn without_a_plan_nothing_rings() {
    let mut bench = Bench::new();
    flow(&mut bench, RINGS);
    bench.wait(Duration::from_secs(9));
    assert!(bench.to_browser.is_empty());
    assert_eq!(bench.relay.poll_timeout(), None);
}

#[test]
fn a_far_end_that_breaks_off_is_covered_for_with_silence() {
    let mut bench = Bench::new();
    let mut phone = Speaker::new(1, 1, 1);
    bench.sip_talks(&mut phone, 50);
    // It goes on, but nothing of it arrives.
    for _ in 0..250 {
        phone.next(&[]);
        bench.wait(FRAME);
    }
    bench.sip_talks(&mut phone, 50);
    let covered = bench.to_browser.iter().filter(|p| p.payload == [0xFF; 160]).count();
    assert!((200..=202).contains(&covered), "{covered}: all but the first second");
    assert_flow(&bench.to_browser, &[(50, 50)]);
}

/// A far end with silence suppression: each word and each pause ends in the middle of a frame.
#[test]
fn comfort_noise_all_day_does_not_run_away_from_the_clock() {
    let mut bench = Bench::new();
    let (start, mut phone) = (bench.now, Speaker::new(1, 1, 1));
    for word in 0..500u64 {
        phone.payload_type = 0;
        bench.sip_talks(&mut phone, 5);
        phone.payload_type = 13;
        bench.sip_talks(&mut phone, 1);
        bench.wait(Duration::from_millis(200 + word % 20));
    }
    phone.payload_type = 0;
    bench.sip_talks(&mut phone, 1);
    let (first, last) = (&bench.to_browser[0], bench.to_browser.last().unwrap());
    let sent = i64::from(last.timestamp.wrapping_sub(first.timestamp));
    let passed = i64::from(units(bench.now - FRAME - start, 8000));
    assert!((sent - passed).abs() <= 320, "{} ms ahead", (sent - passed) / 8);
    for pair in bench.to_browser.windows(2) {
        assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1);
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((160..=320).contains(&step), "{step}");
    }
}

#[test]
fn who_is_held_hears_music_and_the_next_time_how_it_goes_on() {
    let mut bench = with_sounds();
    flow(&mut bench, BOTH);
    let mut page = page();
    bench.browser_talks(&mut page, 20);
    let before = bench.to_sip.len();
    flow(&mut bench, ON_HOLD);
    bench.wait(FRAME * 50);
    let music = &bench.to_sip[before..];
    assert!(music.len() >= 50 && music.iter().all(|p| p.payload_type == 0));
    assert!(is_tone(&ulaw(music), 500.0));
    assert_flow(&bench.to_sip[before - 1..], &[]);
    let piece = Music::of_a_tone(500);
    let (mut position, mut frame) = (0, [0; 160]);
    for packet in music {
        piece.play(Codec::Pcmu, FRAME, &mut position, &mut frame);
        assert_eq!(packet.payload, frame);
    }

    flow(&mut bench, BOTH);
    bench.browser_talks(&mut page, 20);
    assert!(is_speech(bench.to_sip.last().unwrap()));
    let before = bench.to_sip.len();
    flow(&mut bench, ON_HOLD);
    bench.wait(FRAME);
    piece.play(Codec::Pcmu, FRAME, &mut position, &mut frame);
    assert_eq!(bench.to_sip[before].payload, frame, "where it stopped");
    // Muted is not held.
    let before = bench.to_sip.len();
    flow(&mut bench, HELD);
    bench.wait(FRAME * 10);
    assert!(is_quiet(&ulaw(&bench.to_sip[before + 1..])));
}

#[test]
fn a_digit_that_came_by_info_is_heard_as_an_event() {
    let mut bench = with_sounds();
    flow(&mut bench, BOTH);
    let mut phone = Speaker::new(1, 1, 1);
    bench.sip_talks(&mut phone, 10);
    let now = bench.now;
    bench.relay.play_digit(now, '5');
    bench.wait(Duration::ZERO);
    bench.sip_talks(&mut phone, 20);
    let (mut ear, mut digits) = (Listener::default(), String::new());
    for packet in bench.to_browser.iter().filter(|p| p.payload_type == 126) {
        let event = Event::parse(&packet.payload).unwrap();
        digits.extend(ear.hear(packet.ssrc, packet.timestamp, event).map(|(digit, _)| digit));
    }
    assert_eq!(digits, "5");
    assert_eq!(bench.to_browser.last().unwrap().payload_type, 8);
    let is_event = |packet: &Out| packet.payload_type == 126;
    let first = bench.to_browser.iter().position(is_event).unwrap();
    let last = bench.to_browser.iter().rposition(is_event).unwrap();
    assert!(bench.to_browser[first..=last].iter().all(is_event), "nobody speaks meanwhile");
    for pair in bench.to_browser.windows(2) {
        assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1);
    }
}

#[test]
fn a_plain_call_pays_for_none_of_it() {
    let mut bench = with_sounds();
    flow(&mut bench, BOTH);
    let (mut phone, mut page) = (Speaker::new(1, 1, 1), page());
    for _ in 0..100 {
        bench.sip(phone.next(&[0x55; 160]));
        bench.browser(page.next(&[0x55; 160]));
        assert_eq!(bench.relay.browser_timeout(), None);
        bench.wait(FRAME);
    }
    assert_eq!((bench.to_browser.len(), bench.to_sip.len()), (100, 100));
}
