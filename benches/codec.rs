//! CPU time of each encoder and decoder for a frame of 20 ms: `cargo bench --bench codec`. It is the thread's own time that
//! is taken, so that a busy machine does not show, and the least of several runs.
//!
//! `cargo bench --bench codec -- --through FROM TO COMPLEXITY REPORTED LOST` sends a file through Opus instead, for
//! benches/quality.sh: samples of 8 kHz, 16 bits, the low byte first. REPORTED is what three reports of the far end
//! say it loses, in 1/256, and LOST is what it loses, in per cent.

use std::hint::black_box;

use wrtc_gateway::media::coders::{Decoder, Encoder};
use wrtc_gateway::sdp::Codec;

/// Four seconds of speech, again and again for so long a time on the processor, which the kernel counts in ticks.
const FRAMES: usize = 200;
const ENOUGH_NS: u64 = 200_000_000;
const RUNS: usize = 3;

/// What a codec is asked to do at most: any payload of 20 ms and any samples of it.
const ROOM: usize = 1500;

fn main() {
    // `cargo test --benches` and the like only want to know whether it starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let words: Vec<String> = std::env::args().skip_while(|arg| arg != "--through").collect();
    if let [_, from, to, complexity, reported, lost, ..] = &words[..] {
        let count = |word: &str| word.parse().expect("a number");
        return through(from, to, count(complexity), count(reported), count(lost));
    }
    println!("| codec | 8 kHz: encode | decode | conceal | 16 kHz: encode | decode | conceal |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let others = [Codec::Pcmu, Codec::Pcma, Codec::G722].map(|codec| (codec, 0));
    let opus = [0, 1, 3, 5, 8, 10].map(|complexity| (Codec::Opus, complexity));
    for (codec, complexity) in others.into_iter().chain(opus) {
        let [narrow, wide] = [8000, 16_000].map(|rate| row(codec, rate, complexity));
        let name = match codec {
            Codec::Opus => format!("{codec}, complexity {complexity}"),
            _ => codec.to_string(),
        };
        println!("| {name} | {narrow} | {wide} |");
    }
}

fn row(codec: Codec, rate: u32, complexity: u8) -> String {
    let pcm = voice(rate);
    let frame = (rate / 50) as usize;
    let mut packets = Vec::with_capacity(FRAMES);
    let encode = least(|| {
        packets.clear();
        let mut encoder = Encoder::with_complexity(codec, rate, complexity);
        let mut out = [0; ROOM];
        for pcm in pcm.chunks_exact(frame) {
            let len = encoder.encode(black_box(pcm), &mut out);
            assert!(len > 0, "{codec}: nothing encoded");
            packets.push(out[..len].to_vec());
        }
    });
    let decode = least(|| {
        let (mut decoder, mut out) = (Decoder::new(codec, rate), [0; ROOM]);
        for packet in &packets {
            assert_eq!(decoder.decode(black_box(packet), &mut out), frame, "{codec}");
        }
    });
    // Every other packet is lost, and what is decoded is the price known already.
    let half = least(|| {
        let (mut decoder, mut out) = (Decoder::new(codec, rate), [0; ROOM]);
        for packet in packets.iter().step_by(2) {
            decoder.decode(black_box(packet), &mut out);
            decoder.conceal(&mut out[..frame]);
        }
    });
    let conceal = (2.0 * half - decode).max(0.0);
    format!("{encode:.1} | {decode:.1} | {conceal:.1}")
}

/// As a call has it: what is lost is recalled by the packet after it, or made up.
fn through(from: &str, to: &str, complexity: u8, reported: u8, lost: u8) {
    const RATE: u32 = 8000;
    const FRAME: usize = RATE as usize / 50;
    let bytes = std::fs::read(from).expect("the file to be coded");
    let pcm: Vec<i16> =
        bytes.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
    let mut encoder = Encoder::with_complexity(Codec::Opus, RATE, complexity);
    let mut decoder = Decoder::new(Codec::Opus, RATE);
    (0..3).for_each(|_| encoder.reported(reported));
    let (mut dice, mut missing, mut heard) = (1u32, 0, Vec::new());
    for frame in pcm.chunks_exact(FRAME) {
        let mut packet = [0; ROOM];
        let len = encoder.encode(frame, &mut packet);
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if (dice >> 16) % 100 < lost.into() {
            missing += 1;
            continue;
        }
        let mut out = [0; FRAME];
        for left in (0..std::mem::take(&mut missing)).rev() {
            if left == 0 {
                decoder.recover(&packet[..len], &mut out);
            } else {
                decoder.conceal(&mut out);
            }
            heard.extend(out.map(i16::to_le_bytes));
        }
        assert_eq!(decoder.decode(&packet[..len], &mut out), FRAME);
        heard.extend(out.map(i16::to_le_bytes));
    }
    std::fs::write(to, heard.concat()).expect("the file for what is heard");
}

/// Microseconds a frame.
fn least(mut run: impl FnMut()) -> f64 {
    let times = (0..RUNS).map(|_| {
        let (before, mut frames) = (on_cpu(), 0);
        loop {
            run();
            frames += FRAMES;
            let spent = on_cpu() - before;
            if spent > ENOUGH_NS {
                return spent as f64 / 1000.0 / frames as f64;
            }
        }
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Nanoseconds that this thread has had a processor.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("the time on the processor")
}

/// A buzz whose pitch and loudness rise and fall like those of speech, with breath: Opus takes what the sound
/// takes, and a steady tone takes little.
fn voice(rate: u32) -> Vec<i16> {
    let mut noise = 1u32;
    let mut phase = 0.0f32;
    let sample = |n: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let at = n as f32 / rate as f32;
        let turn = |hz: f32| (2.0 * std::f32::consts::PI * hz * at).sin();
        phase += (140.0 + 30.0 * turn(0.7)) / rate as f32;
        let harmonic =
            |h: u8| (2.0 * std::f32::consts::PI * phase * f32::from(h)).sin() / f32::from(h);
        let buzz: f32 = (1..=20).map(harmonic).sum();
        let breath = (noise >> 16) as f32 / 32_768.0 - 1.0;
        (3500.0 * (buzz + 0.2 * breath) * (0.55 + 0.45 * turn(4.0))) as i16
    };
    (0..FRAMES * rate as usize / 50).map(sample).collect()
}
