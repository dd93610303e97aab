//! What a tone is worth to a test: G.711, a generator, and a meter that tells frequency, level and
//! for how much of the time the tone was there.
//!
//! The meter looks at frames of 20 ms. A Hann window, padded to 512 points, is 15.6 Hz a bin; a
//! parabola through the logarithms of the three highest bins finds a clean tone within about 2 Hz.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::OnceLock;

use serde::Serialize;

/// Samples per second of everything in here.
pub const RATE: u32 = 8000;
/// Samples in a frame of 20 ms.
pub const FRAME: usize = 160;
/// Below this a frame is silence (dBFS): mu-law's idle noise is far lower, speech far higher.
const FLOOR_DBFS: f64 = -60.0;
/// The share of a frame's energy that must lie within the main lobe for it to be "a tone".
/// White noise has some 0.15 at its loudest spot, two equally loud tones have 0.5 each.
const TONALITY: f64 = 0.4;
const FFT: usize = 512;
const BIN_HZ: f64 = RATE as f64 / FFT as f64;
/// Half the main lobe of a Hann window over 20 ms is 100 Hz.
const LOBE_BINS: usize = 6;
/// Frames are sorted into buckets this wide; a tone is what lies within three of them either way.
const BUCKET_HZ: f64 = 5.0;
const CLUSTER: u16 = 3;

/// G.711 mu-law (ITU-T G.711 table 2).
pub fn ulaw_encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (i32::from(sample).abs().min(32_635) + 0x84) as u32;
    let exponent = (24 - magnitude.leading_zeros()).min(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

pub fn ulaw_decode(code: u8) -> i16 {
    let code = !code;
    let exponent = (code >> 4) & 7;
    let magnitude = (((i32::from(code) & 0x0F) << 3) + 0x84) << exponent;
    let value = magnitude - 0x84;
    (if code & 0x80 != 0 { -value } else { value }) as i16
}

/// G.711 A-law (ITU-T G.711 table 1).
pub fn alaw_encode(sample: i16) -> u8 {
    // One's complement for negatives: A-law has no zero, -1 is the mirror image of 0.
    let (sign, magnitude) = if sample >= 0 { (0x80, sample as u16) } else { (0, !(sample as u16)) };
    let code = if magnitude < 256 {
        (magnitude >> 4) as u8
    } else {
        let exponent = (15 - magnitude.leading_zeros()) - 7;
        let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
        ((exponent as u8) << 4) | mantissa as u8
    };
    (code | sign) ^ 0x55
}

pub fn alaw_decode(code: u8) -> i16 {
    let code = code ^ 0x55;
    let exponent = (code >> 4) & 7;
    let mantissa = (i32::from(code) & 0x0F) << 4;
    let magnitude = if exponent == 0 { mantissa + 8 } else { (mantissa + 0x108) << (exponent - 1) };
    (if code & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

/// A sine that goes on without a click from one frame to the next.
#[derive(Debug, Clone)]
pub struct Generator {
    phase: f64,
    step: f64,
    amplitude: f64,
}

impl Generator {
    /// `dbfs` is relative to a full-scale sine: 0 is the loudest, -12 a comfortable level.
    pub fn new(hz: f64, dbfs: f64) -> Self {
        let amplitude = 32_124.0 * 10f64.powf(dbfs.min(0.0) / 20.0);
        Self { phase: 0.0, step: hz / f64::from(RATE), amplitude }
    }

    /// Another note, without a click.
    pub fn retune(&mut self, hz: f64, dbfs: f64) {
        *self = Self { phase: self.phase, ..Self::new(hz, dbfs) };
    }

    pub fn sample(&mut self) -> i16 {
        let value = (self.phase * TAU).sin() * self.amplitude;
        self.phase = (self.phase + self.step).fract();
        value.round() as i16
    }
}

/// What one frame of 20 ms holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Frame {
    Silence,
    /// Something is there, but no single frequency stands out.
    Noise,
    Tone {
        hz: f64,
        /// Relative to a full-scale sine.
        dbfs: f64,
    },
}

/// Looks at one frame.
pub fn analyse(samples: &[i16; FRAME]) -> Frame {
    let mean = samples.iter().map(|s| f64::from(*s)).sum::<f64>() / FRAME as f64;
    let mut re = [0.0; FFT];
    let mut im = [0.0; FFT];
    let mut energy = 0.0;
    for ((slot, sample), weight) in re.iter_mut().zip(samples).zip(hann()) {
        let value = f64::from(*sample) - mean;
        energy += value * value;
        *slot = value * weight;
    }
    // RMS of a full-scale sine is 32768 / sqrt(2).
    let rms_dbfs = decibel((2.0 * energy / FRAME as f64).sqrt() / 32_768.0);
    if rms_dbfs < FLOOR_DBFS {
        return Frame::Silence;
    }
    fft(&mut re, &mut im);
    let mut power = [0.0; FFT / 2];
    for (bin, slot) in power.iter_mut().enumerate() {
        *slot = re[bin] * re[bin] + im[bin] * im[bin];
    }
    let total: f64 = power.iter().sum();
    // The outermost bins have no neighbour to lay a parabola through.
    let Some((peak, _)) = power
        .iter()
        .enumerate()
        .take(FFT / 2 - 1)
        .skip(1)
        .max_by(|left, right| left.1.total_cmp(right.1))
    else {
        return Frame::Noise;
    };
    let lobe = &power[peak.saturating_sub(LOBE_BINS)..(peak + LOBE_BINS + 1).min(FFT / 2)];
    if lobe.iter().sum::<f64>() < TONALITY * total {
        return Frame::Noise;
    }
    let log = |bin: usize| power[bin].max(f64::MIN_POSITIVE).ln();
    let (left, middle, right) = (log(peak - 1), log(peak), log(peak + 1));
    let curve = left - 2.0 * middle + right;
    let shift = if curve < 0.0 { (0.5 * (left - right) / curve).clamp(-0.5, 0.5) } else { 0.0 };
    let top = middle - 0.25 * (left - right) * shift;
    // A Hann window's coefficients add up to half their number; a real sine has half its
    // amplitude at the positive frequency.
    let amplitude = (top / 2.0).exp() * 2.0 / (FRAME as f64 / 2.0);
    Frame::Tone { hz: (peak as f64 + shift) * BIN_HZ, dbfs: decibel(amplitude / 32_768.0) }
}

fn decibel(ratio: f64) -> f64 {
    20.0 * ratio.max(1e-9).log10()
}

fn hann() -> &'static [f64; FRAME] {
    static WINDOW: OnceLock<[f64; FRAME]> = OnceLock::new();
    WINDOW.get_or_init(|| {
        std::array::from_fn(|n| 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / FRAME as f64).cos())
    })
}

fn twiddles() -> &'static [(f64, f64); FFT / 2] {
    static TABLE: OnceLock<[(f64, f64); FFT / 2]> = OnceLock::new();
    TABLE.get_or_init(|| {
        std::array::from_fn(|n| {
            let (sin, cos) = (-TAU * n as f64 / FFT as f64).sin_cos();
            (cos, sin)
        })
    })
}

/// Radix 2, in place, decimation in time.
fn fft(re: &mut [f64; FFT], im: &mut [f64; FFT]) {
    let bits = FFT.trailing_zeros();
    for i in 0..FFT {
        let j = (i as u32).reverse_bits() as usize >> (32 - bits);
        if i < j {
            re.swap(i, j);
            im.swap(i, j);
        }
    }
    let twiddles = twiddles();
    let mut half = 1;
    while half < FFT {
        let stride = FFT / (2 * half);
        for start in (0..FFT).step_by(2 * half) {
            for k in 0..half {
                let (cos, sin) = twiddles[k * stride];
                let (low, high) = (start + k, start + k + half);
                let (x, y) = (re[high] * cos - im[high] * sin, re[high] * sin + im[high] * cos);
                (re[high], im[high]) = (re[low] - x, im[low] - y);
                (re[low], im[low]) = (re[low] + x, im[low] + y);
            }
        }
        half *= 2;
    }
}

/// A tone that was heard, over a whole measurement.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tone {
    /// Mean frequency.
    pub hz: f64,
    /// Mean level relative to a full-scale sine.
    pub dbfs: f64,
    /// For how long it was the loudest thing there.
    pub seconds: f64,
    /// The same as a share of all frames, those lost on the way among them: 0 to 1.
    pub share: f64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    frames: u64,
    hz: f64,
    power: f64,
}

/// Frames added up.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Keyed by `hz / BUCKET_HZ`: 800 entries at most.
    buckets: BTreeMap<u16, Bucket>,
    silent: u64,
    noisy: u64,
    missing: u64,
}

impl Tally {
    pub fn add(&mut self, frame: Frame) {
        match frame {
            Frame::Silence => self.silent += 1,
            Frame::Noise => self.noisy += 1,
            Frame::Tone { hz, dbfs } => {
                let bucket = self.buckets.entry((hz / BUCKET_HZ) as u16).or_default();
                bucket.frames += 1;
                bucket.hz += hz;
                bucket.power += 10f64.powf(dbfs / 10.0);
            }
        }
    }

    /// Frames that were sent and did not come.
    pub fn miss(&mut self, frames: u64) {
        self.missing += frames;
    }

    /// One that was missed came after all.
    pub fn unmiss(&mut self, frame: Frame) {
        self.missing = self.missing.saturating_sub(1);
        self.add(frame);
    }

    /// All frames, the missing ones among them.
    pub fn frames(&self) -> u64 {
        self.silent
            + self.noisy
            + self.missing
            + self.buckets.values().map(|b| b.frames).sum::<u64>()
    }

    /// Share of the frames that held nothing: 0 to 1, and 1 when there were none at all.
    pub fn silent_share(&self) -> f64 {
        match self.frames() {
            0 => 1.0,
            all => self.silent as f64 / all as f64,
        }
    }

    /// The tones heard, the one with the most energy first: five at most.
    pub fn tones(&self) -> Vec<Tone> {
        let mut left = self.buckets.clone();
        let mut tones = Vec::new();
        while tones.len() < 5 {
            let Some((&top, _)) = left.iter().max_by(|a, b| a.1.power.total_cmp(&b.1.power)) else {
                break;
            };
            let near = top.saturating_sub(CLUSTER)..=top.saturating_add(CLUSTER);
            let mut sum = Bucket::default();
            for key in near {
                if let Some(bucket) = left.remove(&key) {
                    sum.frames += bucket.frames;
                    sum.hz += bucket.hz;
                    sum.power += bucket.power;
                }
            }
            tones.push(self.tone(sum));
        }
        tones
    }

    fn tone(&self, sum: Bucket) -> Tone {
        let frames = sum.frames.max(1) as f64;
        Tone {
            hz: round(sum.hz / frames, 10.0),
            dbfs: round(10.0 * (sum.power / frames).max(1e-12).log10(), 10.0),
            seconds: round(sum.frames as f64 * 0.02, 100.0),
            share: round(sum.frames as f64 / self.frames().max(1) as f64, 10_000.0),
        }
    }
}

/// To so many parts of one: reports are read by people.
pub(super) fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(mut sample: impl FnMut() -> f64) -> [i16; FRAME] {
        std::array::from_fn(|_| sample().clamp(-32_768.0, 32_767.0) as i16)
    }

    /// Numbers that look like noise, the same each time.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / (1u64 << 31) as f64 * 2.0 - 1.0
        }
    }

    #[test]
    fn known_tones_are_found_within_two_hertz_and_half_a_decibel() {
        for hz in [200.0, 350.0, 440.0, 697.0, 1000.0, 1004.5, 1633.0, 2500.0, 3400.0] {
            for dbfs in [-3.0, -12.0, -30.0] {
                let mut generator = Generator::new(hz, dbfs);
                for _ in 0..5 {
                    let samples = std::array::from_fn(|_| generator.sample());
                    let Frame::Tone { hz: got, dbfs: level } = analyse(&samples) else {
                        panic!("{hz} Hz at {dbfs} dBFS is not a tone");
                    };
                    assert!((got - hz).abs() < 2.0, "{hz} Hz measured as {got}");
                    assert!((level - dbfs).abs() < 0.5, "{dbfs} dBFS measured as {level}");
                }
            }
        }
    }

    #[test]
    fn a_tone_survives_both_laws() {
        for (encode, decode) in [
            (ulaw_encode as fn(i16) -> u8, ulaw_decode as fn(u8) -> i16),
            (alaw_encode, alaw_decode),
        ] {
            let mut generator = Generator::new(440.0, -12.0);
            let samples = std::array::from_fn(|_| decode(encode(generator.sample())));
            let Frame::Tone { hz, dbfs } = analyse(&samples) else { panic!("no tone") };
            assert!((hz - 440.0).abs() < 2.0 && (dbfs + 12.0).abs() < 0.5, "{hz} Hz, {dbfs} dBFS");
        }
    }

    #[test]
    fn the_laws_round_to_the_step_they_say() {
        for sample in -32_768..=32_767i32 {
            let sample = sample as i16;
            let size = i32::from(sample).abs();
            for (name, back) in [
                ("mu-law", ulaw_decode(ulaw_encode(sample))),
                ("A-law", alaw_decode(alaw_encode(sample))),
            ] {
                let error = (i32::from(back) - i32::from(sample)).abs();
                // A step is at most 1/16 of the value, half a step the error; 644 at the clipping end.
                assert!(error <= 16 + size / 28, "{name}: {sample} came back as {back}");
            }
        }
        for code in 0..=255u8 {
            assert_eq!(alaw_encode(alaw_decode(code)), code);
            // 0x7F is mu-law's second zero.
            assert_eq!(ulaw_encode(ulaw_decode(code)), if code == 0x7F { 0xFF } else { code });
        }
        assert_eq!((ulaw_encode(0), alaw_encode(0)), (0xFF, 0xD5));
    }

    #[test]
    fn noise_is_no_tone_and_silence_is_silence() {
        let mut random = noise(7);
        for _ in 0..50 {
            assert_eq!(analyse(&frame(|| random() * 8000.0)), Frame::Noise);
        }
        assert_eq!(analyse(&[0; FRAME]), Frame::Silence);
        assert_eq!(analyse(&[ulaw_decode(0xFF); FRAME]), Frame::Silence);
        // A constant is an offset, not a sound.
        assert_eq!(analyse(&[9000; FRAME]), Frame::Silence);
    }

    #[test]
    fn of_a_mixture_the_louder_tone_is_told() {
        let (mut loud, mut soft, mut random) =
            (Generator::new(440.0, -12.0), Generator::new(1000.0, -20.0), noise(3));
        for _ in 0..20 {
            let samples =
                frame(|| f64::from(loud.sample()) + f64::from(soft.sample()) + random() * 500.0);
            let Frame::Tone { hz, .. } = analyse(&samples) else { panic!("no tone") };
            assert!((hz - 440.0).abs() < 8.0, "{hz}");
        }
    }

    #[test]
    fn a_tally_tells_how_long_each_tone_lasted() {
        let mut tally = Tally::default();
        for (hz, frames) in [(440.0, 300), (1000.0, 100)] {
            let mut generator = Generator::new(hz, -12.0);
            for _ in 0..frames {
                tally.add(analyse(&std::array::from_fn(|_| generator.sample())));
            }
        }
        for _ in 0..90 {
            tally.add(Frame::Silence);
        }
        tally.miss(10);
        let tones = tally.tones();
        assert_eq!(tones.len(), 2, "{tones:?}");
        assert!((tones[0].hz - 440.0).abs() < 2.0 && (tones[0].seconds - 6.0).abs() < 0.1);
        assert!((tones[0].share - 0.6).abs() < 0.01 && (tones[1].share - 0.2).abs() < 0.01);
        assert!((tones[1].seconds - 2.0).abs() < 0.1);
        assert_eq!(tally.frames(), 500);
    }
}
