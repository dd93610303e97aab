//! From 8 to 16 kHz and back: a half-band filter of 63 taps, of which every other is nought.

use std::f32::consts::PI;
use std::sync::LazyLock;

/// Taps on each side of the middle that are not nought.
const SIDE: usize = 16;

/// The longest block: 60 ms at 16 kHz.
pub const MAX_BLOCK: usize = 960;

/// sinc((k + 1/2)) under a Kaiser window: flat to 3.4 kHz, 60 dB down from 4.6 kHz.
static TAPS: LazyLock<[f32; SIDE]> = LazyLock::new(|| {
    let mut taps: [f32; SIDE] = std::array::from_fn(|k| {
        let x = k as f32 + 0.5;
        (PI * x).sin() / (PI * x) * kaiser(x / SIDE as f32)
    });
    // Both sides together are one at 0 Hz.
    let sum: f32 = 2.0 * taps.iter().sum::<f32>();
    taps.iter_mut().for_each(|tap| *tap /= sum);
    taps
});

/// The window for 60 dB, at 0 (the middle) to 1 (the end).
fn kaiser(x: f32) -> f32 {
    let bessel = |x: f32| {
        let (mut sum, mut term) = (1.0f32, 1.0f32);
        for k in 1..20 {
            term *= (x / 2.0 / k as f32).powi(2);
            sum += term;
        }
        sum
    };
    let beta = 5.65;
    bessel(beta * (1.0 - x * x).max(0.0).sqrt()) / bessel(beta)
}

fn saturate(sample: f32) -> i16 {
    // `as` stops at the ends.
    sample.round() as i16
}

/// 8 to 16 kHz.
pub struct Up {
    past: [f32; 2 * SIDE - 1],
}

impl Up {
    pub fn new() -> Self {
        Up { past: [0.0; 2 * SIDE - 1] }
    }

    /// Turns `pcm` into twice as many samples; returns how many. At most half of [`MAX_BLOCK`] go in.
    pub fn run(&mut self, pcm: &[i16], out: &mut [i16]) -> usize {
        let mut work = [0.0; 2 * SIDE - 1 + MAX_BLOCK / 2];
        let n = pcm.len().min(MAX_BLOCK / 2).min(out.len() / 2);
        let len = join(&mut work, &self.past, &pcm[..n]);
        for (window, pair) in work[..len].windows(2 * SIDE).zip(out.chunks_exact_mut(2)) {
            let between: f32 = TAPS
                .iter()
                .enumerate()
                .map(|(k, tap)| tap * (window[SIDE - 1 - k] + window[SIDE + k]))
                .sum();
            pair[0] = saturate(window[SIDE - 1]);
            pair[1] = saturate(between);
        }
        self.past.copy_from_slice(&work[n..n + 2 * SIDE - 1]);
        2 * n
    }
}

/// 16 to 8 kHz.
pub struct Down {
    past: [f32; 4 * SIDE - 3],
}

impl Down {
    pub fn new() -> Self {
        Down { past: [0.0; 4 * SIDE - 3] }
    }

    /// Turns `pcm` into half as many samples; returns how many. At most [`MAX_BLOCK`] go in.
    pub fn run(&mut self, pcm: &[i16], out: &mut [i16]) -> usize {
        let mut work = [0.0; 4 * SIDE - 3 + MAX_BLOCK];
        let n = (pcm.len().min(MAX_BLOCK) / 2).min(out.len());
        let len = join(&mut work, &self.past, &pcm[..2 * n]);
        // The neighbours of the middle by one, three, five count.
        let middle = 2 * SIDE - 1;
        let windows = work[..len].windows(4 * SIDE - 1).step_by(2);
        for (window, sample) in windows.zip(out.iter_mut().take(n)) {
            let sides: f32 = TAPS
                .iter()
                .enumerate()
                .map(|(k, tap)| tap * (window[middle - 1 - 2 * k] + window[middle + 1 + 2 * k]))
                .sum();
            *sample = saturate(0.5 * (window[middle] + sides));
        }
        self.past.copy_from_slice(&work[2 * n..2 * n + 4 * SIDE - 3]);
        n
    }
}

/// Writes what is past and what is new behind one another; returns the length.
fn join(work: &mut [f32], past: &[f32], pcm: &[i16]) -> usize {
    work[..past.len()].copy_from_slice(past);
    for (place, sample) in work[past.len()..].iter_mut().zip(pcm) {
        *place = f32::from(*sample);
    }
    past.len() + pcm.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f32, rate: f32, len: usize) -> Vec<i16> {
        (0..len).map(|n| (10_000.0 * (2.0 * PI * hz * n as f32 / rate).sin()) as i16).collect()
    }

    fn rms(pcm: &[i16]) -> f32 {
        (pcm.iter().map(|s| f32::from(*s).powi(2)).sum::<f32>() / pcm.len() as f32).sqrt()
    }

    /// In blocks, so that the joints are tried too. Without the start, where the filter fills.
    fn level(pcm: &[i16], mut run: impl FnMut(&[i16], &mut [i16]) -> usize) -> f32 {
        let mut all = Vec::new();
        for block in pcm.chunks(160) {
            let mut out = [0; 2 * MAX_BLOCK];
            let n = run(block, &mut out);
            all.extend_from_slice(&out[..n]);
        }
        20.0 * (rms(&all[200..]) / rms(&sine(1000.0, 8000.0, 800))).log10()
    }

    #[test]
    fn speech_keeps_its_level_and_nothing_is_mirrored() {
        for hz in [100.0, 1000.0, 2500.0, 3400.0] {
            let (mut up, mut down) = (Up::new(), Down::new());
            let raised = level(&sine(hz, 8000.0, 8000), |pcm, out| up.run(pcm, out));
            assert!(raised.abs() < 0.2, "{hz} up: {raised}");
            let lowered = level(&sine(hz, 16_000.0, 16_000), |pcm, out| down.run(pcm, out));
            assert!(lowered.abs() < 0.2, "{hz} down: {lowered}");
        }
        for hz in [4800.0, 6000.0, 7500.0] {
            let mut down = Down::new();
            let left = level(&sine(hz, 16_000.0, 16_000), |pcm, out| down.run(pcm, out));
            assert!(left < -50.0, "{hz} is left at {left} dB");
        }
    }

    #[test]
    fn up_and_down_again_is_the_same_but_later() {
        let (mut up, mut down) = (Up::new(), Down::new());
        let pcm = sine(700.0, 8000.0, 1600);
        let mut back = Vec::new();
        for block in pcm.chunks(160) {
            let (mut wide, mut narrow) = ([0; 320], [0; 160]);
            assert_eq!(up.run(block, &mut wide), 320);
            assert_eq!(down.run(&wide, &mut narrow), 160);
            back.extend_from_slice(&narrow);
        }
        let delay = (0..64)
            .min_by_key(|delay| {
                (100..1000).map(|n| i64::from(back[n + delay] - pcm[n]).pow(2)).sum::<i64>()
            })
            .unwrap();
        let worst =
            (100..1000).map(|n| (i32::from(back[n + delay]) - i32::from(pcm[n])).abs()).max();
        assert!(worst < Some(100), "{worst:?} at {delay}");
    }
}
