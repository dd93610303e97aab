//! Opus as its receiver wishes (RFC 7587 6.1).

use super::voice;
use crate::media::codec::{Encoder, Stamp, Transcoder, samples};
use crate::sdp::{Codec, OpusWishes, Wishes};
use std::time::{Duration, Instant};

const RATE: u32 = 8000;

/// Five seconds of voice at a receiver that loses a fifth of it.
fn encoded(wishes: OpusWishes) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::wished(Codec::Opus, RATE, 5, wishes);
    encoder.reported(51);
    let frame = |pcm: &[i16]| {
        let mut out = [0; 1500];
        let len = encoder.encode(pcm, &mut out);
        out[..len].to_vec()
    };
    voice(RATE, 5 * RATE as usize).chunks_exact(160).map(frame).collect()
}

/// RFC 6716 4.2.3: behind the flag of activity, for a single frame, stands that of a copy of the one before.
fn has_redundancy(packet: &[u8]) -> bool {
    assert!(packet[0] >> 3 < 16 && packet[0] & 3 == 0, "SILK, one frame");
    packet[1] & 0x40 != 0
}

#[test]
fn redundancy_is_made_for_who_makes_use_of_it() {
    let with = |fec| encoded(OpusWishes { fec, ..OpusWishes::NONE });
    let redundant = |packets: &[Vec<u8>]| packets.iter().filter(|p| has_redundancy(p)).count();
    let (wanted, not) = (with(true), with(false));
    assert!(redundant(&wanted) > wanted.len() / 2, "{} of {}", redundant(&wanted), wanted.len());
    assert_eq!(redundant(&not), 0);
}

/// Reports come every five seconds: 15 s without loss end it, one lost packet of 256 brings it back for a minute.
#[test]
fn redundancy_is_made_while_something_is_lost() {
    let opus = OpusWishes { fec: true, ..OpusWishes::NONE };
    let mut encoder = Encoder::wished(Codec::Opus, RATE, 5, opus);
    let mut redundant_after = |reports: &[u8]| {
        reports.iter().for_each(|fraction| encoder.reported(*fraction));
        let voice = voice(RATE, RATE as usize);
        let redundant = voice.chunks_exact(160).filter(|pcm| {
            let mut out = [0; 1500];
            let len = encoder.encode(pcm, &mut out);
            has_redundancy(&out[..len])
        });
        redundant.count()
    };
    assert!(redundant_after(&[]) > 25, "before the first report some loss is supposed");
    assert!(redundant_after(&[0, 0]) > 25, "two of them say little");
    assert_eq!(redundant_after(&[0]), 0);
    assert!(redundant_after(&[1]) > 25);
    assert!(redundant_after(&[0; 11]) > 25, "it was not so for long the last time");
    assert_eq!(redundant_after(&[0]), 0);
}

#[test]
fn no_more_bits_are_made_than_are_taken() {
    let bits = |max_bits| {
        let packets = encoded(OpusWishes { max_bits, ..OpusWishes::NONE });
        packets.iter().map(Vec::len).sum::<usize>() * 8 / 5
    };
    let (free, bound) = (bits(None), bits(Some(10_000)));
    assert!(bound < 11_000 && free > 14_000, "{bound} and {free} bits a second");
    assert_eq!(bits(Some(300_000)), free, "no more than voice needs");
}

#[test]
fn a_constant_rate_is_one() {
    let packets = encoded(OpusWishes { cbr: true, ..OpusWishes::NONE });
    assert!(packets.iter().all(|packet| packet.len() == packets[0].len()));
}

/// RFC 6716 table 2: what the first packet of a wide band's source is in.
#[test]
fn what_cannot_be_played_is_not_sent() {
    let band = |max_rate| {
        let opus = OpusWishes { max_rate, ..OpusWishes::default() };
        let wishes = Wishes { opus, ..Wishes::default() };
        let mut coder = Transcoder::new(Codec::G722, Codec::Opus, wishes, 5);
        let mut source = Encoder::new(Codec::G722, 16_000);
        let mut now = Instant::now();
        let mut configurations = Vec::new();
        for (n, pcm) in (0..).zip(voice(16_000, 16_000).chunks_exact(320)) {
            let (mut payload, mut out) = ([0; 200], [0; 1500]);
            let len = source.encode(pcm, &mut payload);
            let samples = samples(Codec::G722, &payload[..len]);
            let stamp = Stamp { ssrc: 1, sequence: n as u16, timestamp: n * samples, samples };
            coder.insert(now, stamp, &payload[..len]);
            now += Duration::from_millis(20);
            while coder.poll(now, &mut out).is_some() {
                configurations.push(out[0] >> 3);
            }
        }
        assert!(configurations.len() > 40);
        configurations
    };
    assert!(band(Some(8_000)).iter().all(|configuration| *configuration < 4), "narrow band");
    assert!(band(None).iter().any(|configuration| *configuration >= 8), "wide band");
}
