//! A browser and a phone that have no codec in common hear each other.

use std::time::{Duration, Instant};

use crate::support::phone::{Heard, assert_gapless};
use crate::support::sound::purity;
use crate::support::{Call, FLOW, map};
use wrtc_gateway::media::coders::{Decoder, Encoder};
use wrtc_gateway::sdp::{Codec, PayloadMap};

const FRAME: Duration = Duration::from_millis(20);
/// Of one's own speech, and of the decoders'.
const RATE: u32 = 8000;
const FRAME_LEN: usize = 160;
/// Three seconds; the first of it goes by until the sound has come and settled.
const FRAMES: usize = 150;
const SETTLED: usize = 50;

fn number(codec: Codec) -> u8 {
    codec.offered_payload()
}

fn only(codec: Codec) -> PayloadMap {
    map(&[(codec, number(codec))], Some(101))
}

/// A tone in a codec, packet by packet.
struct Voice {
    encoder: Encoder,
    hz: f64,
    at: usize,
}

impl Voice {
    fn new(codec: Codec, hz: f64) -> Voice {
        Voice { encoder: Encoder::new(codec, RATE), hz, at: 0 }
    }

    fn packet(&mut self) -> Vec<u8> {
        let turn = std::f64::consts::TAU * self.hz / f64::from(RATE);
        let samples = self.at..self.at + FRAME_LEN;
        let pcm: Vec<i16> =
            samples.map(|n| (8000.0 * (turn * n as f64).sin()).round() as i16).collect();
        self.at += FRAME_LEN;
        let mut out = [0; 1500];
        let len = self.encoder.encode(&pcm, &mut out);
        out[..len].to_vec()
    }
}

/// Timestamp units of 20 ms: G.722 counts half of its samples.
fn step(codec: Codec) -> u32 {
    codec.clock_rate() / 50
}

fn talk(call: &mut Call, browser: Codec, phone: Codec) {
    let (mut low, mut high) = (Voice::new(browser, 440.0), Voice::new(phone, 1000.0));
    let start = Instant::now();
    for n in 1..=FRAMES as u32 {
        let (said, answered) = (low.packet(), high.packet());
        call.browser.sequence = call.browser.sequence.wrapping_add(1);
        call.browser.timestamp = call.browser.timestamp.wrapping_add(step(browser));
        call.browser.send(number(browser), &said);
        call.phone.sequence = call.phone.sequence.wrapping_add(1);
        call.phone.timestamp = call.phone.timestamp.wrapping_add(step(phone));
        call.phone.send(number(phone), &answered);
        let until = start + FRAME * n;
        while let left @ 1.. = until.saturating_duration_since(Instant::now()).as_millis() {
            call.browser.serve(Duration::from_millis(left.min(5) as u64));
            call.phone.serve();
        }
    }
    call.phone.serve();
}

/// The last two seconds of what came in that codec are nearly all tone.
fn assert_tone(heard: &[Heard], codec: Codec, hz: f64, what: &str) {
    assert_gapless(heard, what);
    let mut decoder = Decoder::new(codec, RATE);
    let mut frames = Vec::new();
    for packet in heard.iter().filter(|packet| packet.payload_type == number(codec)) {
        let mut pcm = [0; 5760];
        let len = decoder.decode(&packet.payload, &mut pcm);
        assert_eq!(len, FRAME_LEN, "{what}: a packet that is no 20 ms of {codec}");
        frames.push(pcm[..len].iter().map(|sample| f64::from(*sample)).collect::<Vec<f64>>());
    }
    assert!(frames.len() > FRAMES - SETTLED, "{what}: {} packets", frames.len());
    let last = &frames[frames.len() - (FRAMES - SETTLED)..];
    let loud = |frame: &[f64]| frame.iter().map(|s| s * s).sum::<f64>() / frame.len() as f64;
    // Of 32 000 000; a busy machine may well make a test speak late, and is covered for then.
    let pure = last.iter().filter(|frame| purity(frame, hz) > 0.9 && loud(frame) > 1.6e7).count();
    assert!(pure * 10 >= last.len() * 9, "{what}: {pure} of {} frames are the tone", last.len());
}

fn call_between(browser: Codec, phone: Codec) -> Call {
    let mut call = Call::open();
    call.bridge.set_browser(call.browser.remote(only(browser)));
    call.bridge.set_sip(call.phone.remote(only(phone)));
    call.bridge.set_flow(FLOW);
    call.connect();
    call.phone.gateway = Some(call.bridge.rtp_local());
    talk(&mut call, browser, phone);
    call
}

fn assert_understood(browser: Codec, phone: Codec) {
    let call = call_between(browser, phone);
    assert_tone(&call.browser.heard, browser, 1000.0, &format!("{phone} at the {browser} browser"));
    // Silence of ours, before the browser is heard, is in the phone's codec too.
    assert_tone(&call.phone.heard, phone, 440.0, &format!("{browser} at the {phone} phone"));
    assert_eq!(call.bridge.stats().unknown_payload, 0);
}

#[test]
fn an_opus_browser_and_a_pcmu_phone_hear_each_other() {
    assert_understood(Codec::Opus, Codec::Pcmu);
}

#[test]
fn an_opus_browser_and_a_g722_phone_hear_each_other() {
    assert_understood(Codec::Opus, Codec::G722);
}

#[test]
fn a_pcmu_browser_and_an_opus_phone_hear_each_other() {
    assert_understood(Codec::Pcmu, Codec::Opus);
}
