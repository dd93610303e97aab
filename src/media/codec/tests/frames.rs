//! Packets of any length turned into packets of any other.

use std::time::{Duration, Instant};

use super::{levels, sine};
use crate::media::codec::{Decoder, Encoder, Stamp, Transcoder, samples};
use crate::media::stream::units;
use crate::sdp::{Codec, Wishes};

const RATE: u32 = 8000;
const SECONDS: u32 = 2;

fn lengths(codec: Codec) -> &'static [u64] {
    // 30 ms is no Opus frame.
    if codec == Codec::Opus { &[10, 20, 40, 60] } else { &[10, 20, 30, 40, 60] }
}

/// A tone in packets of `[from]` ms, asked for in packets of `[to]` ms: nothing is made up, each packet is as
/// long as it was asked for and leaves when it is due, and the tone is as loud as it was.
fn heard([from, to]: [Codec; 2], [came, asked]: [u64; 2]) {
    let what = format!("{from} of {came} ms to {to} of {asked} ms");
    let (came, asked) = (Duration::from_millis(came), Duration::from_millis(asked));
    let mut source = Encoder::new(from, RATE);
    let mut coder = Transcoder::new(from, to, Wishes { ptime: asked, ..Wishes::default() }, 1);
    let mut sink = Decoder::new(to, RATE);
    let start = Instant::now();
    let (mut heard, mut left) = (Vec::new(), Vec::new());
    let pcm = sine(RATE, (RATE * SECONDS) as usize);
    let mut timestamp = 0u32;
    let packets = pcm.chunks_exact(units(came, RATE) as usize);
    let last = packets.len() as u32;
    for (n, pcm) in (1..).zip(packets) {
        let mut payload = [0; 1500];
        let len = source.encode(pcm, &mut payload);
        let payload = &payload[..len];
        let length = samples(from, payload);
        let stamp = Stamp { ssrc: 1, sequence: n as u16, timestamp, samples: length };
        timestamp = timestamp.wrapping_add(length);
        let now = start + came * n;
        coder.insert(now, stamp, payload);
        if n == last {
            break;
        }
        // Until the next one comes.
        while let Some(at) = coder.poll_timeout().filter(|at| *at < now + came) {
            let mut out = [0; 1500];
            let Some(due) = coder.poll(at.max(now), &mut out) else { break };
            assert_eq!(due.samples, units(asked, to.clock_rate()), "{what}");
            assert_eq!(samples(to, &out[..due.len]), due.samples, "{what}");
            left.push(due.at);
            let mut pcm = [0; 1000];
            let decoded = sink.decode(&out[..due.len], &mut pcm);
            heard.extend_from_slice(&pcm[..decoded]);
        }
    }
    assert_eq!(coder.concealed(), 0, "{what}");
    assert!(left.windows(2).all(|pair| pair[1] - pair[0] == asked), "{what}: {left:?}");
    assert!(heard.len() > pcm.len() * 4 / 5, "{what}: {} samples", heard.len());
    // Past what the coders begin with, in whole periods.
    let (tone, all) = levels(&heard[RATE as usize / 2..][..RATE as usize / 2], RATE);
    let (said, _) = levels(&pcm[..RATE as usize / 2], RATE);
    assert!((tone - said).abs() < 2.0, "{what}: {tone} dB of {said}");
    assert!(all - tone < 0.5, "{what}: {all} dB beside a tone of {tone}");
}

#[test]
fn packets_of_any_length_become_packets_of_the_length_asked_for() {
    for [from, to] in
        [[Codec::Pcmu, Codec::Opus], [Codec::Opus, Codec::Pcma], [Codec::G722, Codec::Pcmu]]
    {
        for came in lengths(from) {
            for asked in lengths(to) {
                heard([from, to], [*came, *asked]);
            }
        }
    }
}
