//! Tones, and whether they arrived.

use std::sync::LazyLock;

pub const RATE: f64 = 8000.0;

/// G.711 mu-law: the byte whose sample is nearest; independent of the gateway's.
pub fn ulaw(sample: f64) -> u8 {
    static SORTED: LazyLock<Vec<(f64, u8)>> = LazyLock::new(|| {
        let mut all: Vec<(f64, u8)> = (0..=255).map(|byte| (expand(byte), byte)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    });
    let after = SORTED.partition_point(|(value, _)| *value < sample).min(255);
    let before = after.saturating_sub(1);
    let nearer = sample - SORTED[before].0 < SORTED[after].0 - sample;
    SORTED[if nearer { before } else { after }].1
}

pub fn expand(byte: u8) -> f64 {
    let bits = !byte;
    let magnitude = f64::from(((u32::from(bits & 15) << 1) + 33) << ((bits >> 4) & 7)) - 33.0;
    // From 14 bits to 16.
    if bits & 0x80 != 0 { -4.0 * magnitude } else { 4.0 * magnitude }
}

/// A-law to linear, by the definition of its segments.
pub fn expand_alaw(byte: u8) -> f64 {
    let bits = byte ^ 0x55;
    let (segment, step) = ((bits >> 4) & 7, f64::from(bits & 15));
    let magnitude = match segment {
        0 => 2.0 * step + 1.0,
        _ => (2.0 * step + 33.0) * f64::from(1u32 << (segment - 1)),
    };
    // From 13 bits to 16.
    if bits & 0x80 != 0 { 8.0 * magnitude } else { -8.0 * magnitude }
}

/// One second of a tone; the frequency has to be whole, then it repeats without a click.
pub struct Tone {
    bytes: Vec<u8>,
    at: usize,
}

impl Tone {
    pub fn new(frequency: u32) -> Tone {
        let angle = std::f64::consts::TAU * f64::from(frequency) / RATE;
        let bytes = (0..8000).map(|n| ulaw(8000.0 * (angle * f64::from(n)).sin())).collect();
        Tone { bytes, at: 0 }
    }

    pub fn frame(&mut self) -> Vec<u8> {
        let frame = self.bytes[self.at..self.at + 160].to_vec();
        self.at = (self.at + 160) % 8000;
        frame
    }
}

/// The part of the power that is at `frequency`: 1 for a pure tone.
pub fn purity(samples: &[f64], frequency: f64) -> f64 {
    let angle = std::f64::consts::TAU * frequency / RATE;
    let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        re += sample * (angle * n as f64).cos();
        im += sample * (angle * n as f64).sin();
        power += sample * sample;
    }
    if power == 0.0 { 0.0 } else { 2.0 * (re * re + im * im) / (power * samples.len() as f64) }
}
