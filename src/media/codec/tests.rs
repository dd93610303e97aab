//! Every coder with every rate, heard by its tone.

mod frames;
mod wishes;

use super::{Decoder, Encoder};
use crate::sdp::Codec;

const HZ: f32 = 600.0;

fn sine(rate: u32, len: usize) -> Vec<i16> {
    let step = 2.0 * std::f32::consts::PI * HZ / rate as f32;
    (0..len).map(|n| (8000.0 * (step * n as f32).sin()) as i16).collect()
}

/// A buzz at 150 Hz whose loudness rises and falls like syllables: the redundancy of Opus is for speech, and
/// a steady tone is noise to it.
fn voice(rate: u32, len: usize) -> Vec<i16> {
    let turn = 2.0 * std::f32::consts::PI / rate as f32;
    let sample = |n: usize| {
        let n = n as f32;
        let buzz: f32 = (1..=10).map(|h| (turn * 150.0 * h as f32 * n).sin() / h as f32).sum();
        4000.0 * buzz * (0.6 + 0.4 * (turn * 4.0 * n).sin())
    };
    (0..len).map(|n| sample(n) as i16).collect()
}

/// Of the tone and of all there is, in dB of full scale.
fn levels(pcm: &[i16], rate: u32) -> (f32, f32) {
    let step = 2.0 * std::f32::consts::PI * HZ / rate as f32;
    let (mut re, mut im, mut all) = (0.0, 0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let (x, phase) = (f32::from(*sample) / 32_768.0, step * n as f32);
        re += x * phase.cos();
        im += x * phase.sin();
        all += x * x;
    }
    let n = pcm.len() as f32;
    let tone = 2.0 * (re * re + im * im) / (n * n);
    (10.0 * tone.log10(), 10.0 * (all / n).log10())
}

/// Encodes and decodes in frames of that length; `lost` are not decoded but concealed, with
/// what the next one remembers of them.
fn through(
    codec: Codec,
    pcm: &[i16],
    rates: [u32; 2],
    millis: u32,
    lost: impl Fn(usize) -> bool,
) -> Vec<i16> {
    let (mut encoder, mut decoder) = (Encoder::new(codec, rates[0]), Decoder::new(codec, rates[1]));
    let frame = (rates[0] * millis / 1000) as usize;
    let packets: Vec<Vec<u8>> = pcm
        .chunks_exact(frame)
        .map(|pcm| {
            let mut out = [0; 1500];
            let n = encoder.encode(pcm, &mut out);
            assert!(n > 0, "{codec}: nothing encoded");
            out[..n].to_vec()
        })
        .collect();
    let mut all = Vec::new();
    for (n, packet) in packets.iter().enumerate() {
        let mut out = [0; 5760];
        let expected = (rates[1] * millis / 1000) as usize;
        match packets.get(n + 1).filter(|_| !lost(n + 1)) {
            _ if !lost(n) => assert_eq!(decoder.decode(packet, &mut out), expected, "{codec}"),
            Some(next) => decoder.recover(next, &mut out[..expected]),
            None => decoder.conceal(&mut out[..expected]),
        }
        all.extend_from_slice(&out[..expected]);
    }
    all
}

#[test]
fn a_tone_keeps_its_level_in_each_codec_at_each_rate() {
    let (original, _) = levels(&sine(8000, 8000), 8000);
    for codec in Codec::ALL {
        for rates in [[8000, 8000], [16_000, 16_000], [8000, 16_000], [16_000, 8000]] {
            for millis in [10, 20, 40, 60] {
                let pcm = sine(rates[0], rates[0] as usize);
                let pcm = through(codec, &pcm, rates, millis, |_| false);
                let (tone, all) = levels(&pcm[pcm.len() / 5..], rates[1]);
                let what = format!("{codec} {rates:?} {millis} ms: {tone} of {all}");
                assert!((tone - original).abs() < 1.0, "{what}");
                assert!(all - tone < 0.5, "noise in {what}");
            }
        }
    }
}

#[test]
fn a_lost_packet_in_twenty_leaves_no_hole() {
    for codec in Codec::ALL {
        for rate in [8000, 16_000] {
            let said = voice(rate, 4 * rate as usize);
            let pcm = through(codec, &said, [rate, rate], 20, |n| n > 10 && n % 20 == 13);
            let whole = through(codec, &said, [rate, rate], 20, |_| false);
            let frame = (rate / 50) as usize;
            for n in 10..200 {
                let at = n * frame..(n + 1) * frame;
                let (_, level) = levels(&pcm[at.clone()], rate);
                let (_, expected) = levels(&whole[at], rate);
                // In the valley between two syllables there is little to miss.
                if expected < -25.0 {
                    continue;
                }
                assert!(
                    expected - level < 6.0,
                    "{codec} {rate} Hz, frame {n}: {level}, {expected}"
                );
            }
        }
    }
}

/// Opus at the rates and in the modes of browsers is the decoder's business; noise is the network's.
#[test]
fn noise_is_no_end_of_a_decoder() {
    let mut seed = 1u32;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed
    };
    for codec in Codec::ALL {
        let mut decoder = Decoder::new(codec, 8000);
        for _ in 0..3000 {
            let len = (random() % 200) as usize;
            let packet: Vec<u8> = (0..len).map(|_| random() as u8).collect();
            let mut out = [0; 5760];
            if random() % 4 == 0 {
                decoder.recover(&packet, &mut out[..160]);
            } else {
                assert!(decoder.decode(&packet, &mut out) <= out.len());
            }
        }
        let mut encoder = Encoder::new(codec, 8000);
        let (mut out, mut pcm) = ([0; 1500], [0; 5760]);
        for frame in sine(8000, 8000).chunks_exact(160) {
            let n = encoder.encode(frame, &mut out);
            assert_eq!(decoder.decode(&out[..n], &mut pcm), 160);
        }
        assert!((levels(&pcm[..160], 8000).0 + 15.3).abs() < 2.0, "{codec}");
    }
}
