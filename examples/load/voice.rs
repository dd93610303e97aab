//! Something like speech, for codecs whose work depends on what they hear: a buzz of changing pitch under
//! syllables, some noise, pauses. The same on every run.

use ropus::{Application, Bitrate, Channels, Encoder, InbandFec, Signal};

use crate::Fault;

/// How long it is, in frames of 20 ms.
const FRAMES: usize = 150;

fn samples(rate: u32) -> Vec<i16> {
    let (rate, mut phase, mut noise) = (f64::from(rate), 0.0f64, 1u32);
    let count = FRAMES * (rate as usize / 50);
    let sample = |n: usize| {
        let time = n as f64 / rate;
        phase += (120.0 + 40.0 * (time * 2.1).sin()) / rate;
        // Four syllables a second, and a pause after each second.
        let loud = (time * 8.0 * std::f64::consts::PI).sin().max(0.0);
        let loud = if time % 1.5 > 1.1 { 0.0 } else { loud };
        let buzz: f64 = (1..12)
            .map(|n| (phase * f64::from(n) * std::f64::consts::TAU).sin() / f64::from(n))
            .sum();
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hiss = f64::from(noise >> 16) / 65_536.0 - 0.5;
        (5000.0 * loud * buzz + 400.0 * hiss) as i16
    };
    (0..count).map(sample).collect()
}

/// As a browser sends it: 48 kHz, 32 kbit/s, with redundancy.
pub fn opus() -> Result<Vec<Vec<u8>>, Fault> {
    let mut encoder = Encoder::builder(48_000, Channels::Mono, Application::Voip)
        .bitrate(Bitrate::Bits(32_000))
        .signal(Signal::Voice)
        .inband_fec(InbandFec::Enabled)
        .packet_loss_perc(5)
        .build()
        .map_err(|error| format!("Opus: {error:?}"))?;
    let mut out = [0; 1275];
    let mut frames = Vec::new();
    for pcm in samples(48_000).chunks_exact(960) {
        let len = encoder.encode(pcm, &mut out).map_err(|error| format!("Opus: {error:?}"))?;
        frames.push(out[..len].to_vec());
    }
    Ok(frames)
}

pub fn pcmu() -> Vec<Vec<u8>> {
    samples(8000).chunks_exact(160).map(|pcm| pcm.iter().map(|s| ulaw(*s)).collect()).collect()
}

/// G.711 mu-law: sign, segment, step.
fn ulaw(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() + 132).min(32_767);
    let segment = magnitude.ilog2() - 7;
    let step = (magnitude >> (segment + 3)) & 15;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | step as u8)
}
