//! What is heard of a call over a network that loses, repeats and delays: a tone, its gaps, and what the
//! figures say of them.

use std::time::Duration;

use super::SECOND;
use super::world::{FRAME, Heard, Network, World};
use crate::media::codec::{Decoder, Encoder};
use crate::media::types::{Sounds, StreamStats};
use crate::sdp::Codec;

/// Three in a hundred are lost, ten are late by up to 60 ms.
const POOR: Network = Network { lost: 0.03, repeated: 0.01, late: 0.1, dead: false };

const TIME: Duration = Duration::from_secs(60);

/// A tone in a codec, packet by packet; `bend` is how much it rises, in Hz a second.
pub struct Voice {
    encoder: Encoder,
    hz: f64,
    bend: f64,
    turn: f64,
}

impl Voice {
    pub fn new(codec: Codec, hz: f64, bend: f64) -> Voice {
        Voice { encoder: Encoder::new(codec, 8000), hz, bend, turn: 0.0 }
    }

    pub fn packet(&mut self) -> Vec<u8> {
        let mut pcm = [0; 160];
        for sample in &mut pcm {
            *sample = (8000.0 * (std::f64::consts::TAU * self.turn).sin()).round() as i16;
            self.turn = (self.turn + self.hz / 8000.0).fract();
            self.hz += self.bend / 8000.0;
        }
        let mut out = [0; 400];
        let len = self.encoder.encode(&pcm, &mut out);
        out[..len].to_vec()
    }
}

/// A minute over a poor network both ways, between seconds over a good one. The statistics are those of its
/// end; what was heard before it is forgotten.
fn minute(world: &mut World) -> (StreamStats, StreamStats) {
    world.keeps = true;
    world.run(2 * SECOND);
    world.at_browser.clear();
    world.at_phone.clear();
    world.arrived.clear();
    world.browser.words.clear();
    world.phone.words.clear();
    (world.lost, world.lost_of_browser, world.late) = (0, 0, 0);
    let before = world.stats();
    (world.from_phone, world.to_gateway) = (POOR, POOR);
    world.run(TIME);
    let jitter = (world.stats().from_sip.jitter, jitter(world));
    let off = jitter.0.abs_diff(jitter.1);
    assert!(off < Duration::from_millis(1), "{jitter:?}: by RFC 3550 A.8 from what came in");
    assert!(jitter.0 > Duration::from_millis(3), "{jitter:?}");
    // Whatever is lost shows by what follows it.
    (world.from_phone, world.to_gateway) = (Network::default(), Network::default());
    world.run(SECOND);
    let after = world.stats();
    let from_sip = after.from_sip.since(&before.from_sip);
    let from_browser = after.from_browser.since(&before.from_browser);
    assert_loss(from_sip, world.lost, "of the phone");
    assert_loss(from_browser, world.lost_of_browser, "of the browser");
    // Of what comes encrypted a repetition is none that would be counted as one.
    assert!(from_sip.duplicates > 0 && from_browser.duplicates == 0);
    assert!(after.srtp_replays > before.srtp_replays);
    (from_sip, from_browser)
}

/// Of the phone's stream as it came in.
fn jitter(world: &World) -> Duration {
    let mut jitter = 0.0;
    for pair in world.arrived.windows(2) {
        let [(before, earlier), (after, later)] = pair else { unreachable!() };
        let passed = (*after - *before).as_secs_f64();
        let stamped = f64::from(later.wrapping_sub(*earlier) as i32) / 8000.0;
        jitter += ((passed - stamped).abs() - jitter) / 16.0;
    }
    Duration::from_secs_f64(jitter)
}

/// The loss that is counted is what the network took, to the packet.
fn assert_loss(stats: StreamStats, lost: u64, what: &str) {
    assert_eq!(stats.lost, lost, "{what}");
    assert!((0.02..0.04).contains(&stats.loss()), "{what}: {}", stats.loss());
    assert!(stats.reordered > 0, "{what}: {stats:?}");
}

/// In the order of their numbers, with the number counted from the first.
fn in_order(heard: &[Heard]) -> Vec<(i64, &Heard)> {
    let first = heard[0].sequence;
    let mut last = 0;
    let mut all: Vec<(i64, &Heard)> = Vec::new();
    for heard in heard {
        let ahead = heard.sequence.wrapping_sub(first.wrapping_add(last as u16)) as i16;
        last += i64::from(ahead);
        all.push((last, heard));
    }
    all.sort_by_key(|(number, _)| *number);
    all
}

/// Passed on as it is: what is there is what was said, bit by bit and in its place; what is not there is what
/// the network took, and nothing is made up for it.
fn assert_passed(heard: &[Heard], said: &std::collections::BTreeMap<u16, Vec<u8>>, lost: u64) {
    let heard = in_order(heard);
    // By its first word, which no other is like.
    let number = |word: &Vec<u8>| said.iter().find(|(_, said)| *said == word).map(|(n, _)| *n);
    let (first, offset) = heard
        .iter()
        .find_map(|(at, heard)| Some((*at, number(&heard.payload)?)))
        .expect("a word that was said");
    let mut there = 0;
    for (at, heard) in heard.iter().filter(|(at, _)| *at >= first) {
        let spoken = &said[&offset.wrapping_add((at - first) as u16)];
        assert_eq!(&heard.payload, spoken, "{at}");
        there += 1;
    }
    let (last, _) = heard[heard.len() - 1];
    let holes = (last - first + 1) - there;
    assert!(there > 2900, "{there} of a minute and a second");
    // A few of the first or the last may have been said within and be heard without.
    assert!(holes.abs_diff(lost as i64) <= 3, "{holes} holes, {lost} lost");
    let numbers: Vec<i64> = heard.iter().map(|(at, _)| *at).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "each once");
}

#[test]
fn what_is_passed_through_is_what_was_said_and_its_gaps_are_the_networks() {
    let pcmu = [(Codec::Pcmu, 0)];
    let mut world = World::between(&pcmu, &pcmu, 11, Sounds::default(), None);
    world.phone.voice = Some(Voice::new(Codec::Pcmu, 400.0, 21.0));
    world.browser.voice = Some(Voice::new(Codec::Pcmu, 1900.0, -17.0));
    let (from_sip, from_browser) = minute(&mut world);
    assert_eq!((from_sip.concealed, from_browser.concealed), (0, 0));
    assert_passed(&world.at_browser, &world.phone.words, world.lost);
    assert_passed(&world.at_phone, &world.browser.words, world.lost_of_browser);
}

/// What share of a frame's power is the tone's, and how loud the frame is beside the tone that was said.
fn tone(pcm: &[i16], hz: f64) -> (f64, f64) {
    let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let (angle, x) = (std::f64::consts::TAU * hz * n as f64 / 8000.0, f64::from(*sample));
        re += x * angle.cos();
        im += x * angle.sin();
        power += x * x;
    }
    let loud = (power / pcm.len() as f64).sqrt() / (8000.0 / 2f64.sqrt());
    let pure = 2.0 * (re * re + im * im) / (pcm.len() as f64 * power.max(1.0));
    (pure, loud)
}

/// Decoded here: the network's gaps are filled, so that the listener has a frame every 20 ms, with the tone in
/// nearly all of them, and none that is silent.
fn assert_filled(heard: &[Heard], codec: Codec, hz: f64) {
    let heard = in_order(heard);
    let what = format!("{codec}, {hz} Hz");
    for pair in heard.windows(2) {
        let [(a, before), (b, after)] = pair else { unreachable!() };
        assert_eq!(b - a, 1, "{what}: no number is left out");
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 160, "{what}, {b}");
        let pause = after.at.saturating_duration_since(before.at);
        assert!(pause <= FRAME + Duration::from_millis(1), "{what}, {b}: {pause:?}");
    }
    let frames = (TIME + SECOND).as_millis() as usize / 20;
    assert!(heard.len().abs_diff(frames) <= 2, "{what}: {} of {frames}", heard.len());
    let mut decoder = Decoder::new(codec, 8000);
    let frames: Vec<(f64, f64)> = heard
        .iter()
        .map(|(_, heard)| {
            let mut pcm = [0; 1920];
            let len = decoder.decode(&heard.payload, &mut pcm);
            assert_eq!(len, 160);
            tone(&pcm[..len], hz)
        })
        .skip(5)
        .collect();
    let pure = frames.iter().filter(|(pure, _)| *pure > 0.9).count() as f64 / frames.len() as f64;
    let faintest = frames.iter().map(|(_, loud)| *loud).fold(f64::MAX, f64::min);
    let loudest = frames.iter().map(|(_, loud)| *loud).fold(0.0, f64::max);
    assert!(pure > 0.97, "{what}: {pure} of the frames are the tone");
    assert!(faintest > 0.3, "{what}: a frame of {faintest}");
    assert!(loudest < 1.5, "{what}: a frame of {loudest}");
}

#[test]
fn what_is_transcoded_has_no_gaps_and_says_how_many_it_has_filled() {
    let mut world =
        World::between(&[(Codec::Pcmu, 0)], &[(Codec::G722, 9)], 12, Sounds::default(), None);
    // A whole number of periods in a frame.
    world.phone.voice = Some(Voice::new(Codec::G722, 600.0, 0.0));
    world.browser.voice = Some(Voice::new(Codec::Pcmu, 350.0, 0.0));
    let (from_sip, from_browser) = minute(&mut world);
    for stats in [from_sip, from_browser] {
        // What was lost, and what came too late or was waited for.
        let (least, most) = (stats.lost, stats.lost * 3 / 2);
        let concealed = stats.concealed;
        assert!((least..=most).contains(&concealed), "{concealed} of {least} to {most}");
    }
    assert_filled(&world.at_browser, Codec::Pcmu, 600.0);
    assert_filled(&world.at_phone, Codec::G722, 350.0);
}
