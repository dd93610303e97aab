//! G.711 and tone measurement, written for the tests alone: the gateway's own codecs are not
//! trusted to judge the gateway.

use std::f64::consts::TAU;

/// Samples per second of every narrow-band codec here.
pub const RATE: u32 = 8000;
/// Samples of a 20 ms frame.
pub const FRAME: usize = 160;

/// mu-law or A-law (ITU-T G.711).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    Mu,
    A,
}

impl Law {
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => mu_encode(sample),
            Law::A => a_encode(sample),
        }
    }

    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Law::Mu => mu_decode(byte),
            Law::A => a_decode(byte),
        }
    }
}

fn mu_encode(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs()).min(32_635) + BIAS;
    let exponent = (magnitude >> 7).ilog2().min(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    !(sign | (exponent as u8) << 4 | mantissa as u8)
}

fn mu_decode(byte: u8) -> i16 {
    let byte = !byte;
    let exponent = (byte >> 4) & 7;
    let magnitude = ((i32::from(byte & 0x0F) << 3) + 0x84) << exponent;
    let value = magnitude - 0x84;
    (if byte & 0x80 != 0 { -value } else { value }) as i16
}

fn a_encode(sample: i16) -> u8 {
    let (sign, magnitude) =
        if sample >= 0 { (0x80, i32::from(sample)) } else { (0, -i32::from(sample) - 1) };
    let magnitude = magnitude >> 4;
    let code = if magnitude < 32 {
        magnitude
    } else {
        let exponent = magnitude.ilog2() as i32 - 3;
        exponent << 4 | ((magnitude >> (exponent - 1)) & 0x0F)
    };
    (sign | code as u8) ^ 0x55
}

fn a_decode(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let exponent = i32::from((byte >> 4) & 7);
    let mantissa = i32::from(byte & 0x0F);
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    (if byte & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

/// An endless sine, one frame after the other without a jump in phase.
#[derive(Debug, Clone)]
pub struct Sine {
    step: f64,
    phase: f64,
}

impl Sine {
    pub fn new(hertz: f64) -> Self {
        Self { step: TAU * hertz / f64::from(RATE), phase: 0.0 }
    }

    pub fn frame(&mut self, law: Law) -> Vec<u8> {
        (0..FRAME)
            .map(|_| {
                let sample = (self.phase.sin() * 9000.0) as i16;
                self.phase = (self.phase + self.step) % TAU;
                law.encode(sample)
            })
            .collect()
    }
}

/// The share of the frame's energy that lies at `hertz`: 1.0 for a pure tone, 0 for silence.
pub fn share_at(samples: &[i16], hertz: f64) -> f64 {
    let energy: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    let n = samples.len() as f64;
    // Below some 40 of 32767 it is the codecs' idle noise.
    if samples.is_empty() || energy / n < 40.0 * 40.0 {
        return 0.0;
    }
    let coefficient = 2.0 * (TAU * hertz / f64::from(RATE)).cos();
    let (mut s1, mut s2) = (0.0, 0.0);
    for sample in samples {
        let s0 = f64::from(*sample) + coefficient * s1 - s2;
        (s2, s1) = (s1, s0);
    }
    let power = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    2.0 * power / (n * energy)
}

/// Whether most of a frame is this tone.
pub fn is_tone(samples: &[i16], hertz: f64) -> bool {
    share_at(samples, hertz) > 0.7
}

/// The strongest of 300 to 3400 Hz in steps of 10, or none in silence.
pub fn dominant(samples: &[i16]) -> Option<f64> {
    (30..=340)
        .map(|tens| f64::from(tens) * 10.0)
        .map(|hertz| (hertz, share_at(samples, hertz)))
        .filter(|(_, share)| *share > 0.3)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(hertz, _)| hertz)
}

pub fn rms(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    (energy / samples.len().max(1) as f64).sqrt()
}
