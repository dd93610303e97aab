//! Concealment for codecs that have none of their own: the last pitch period goes on and fades, much as in
//! Appendix I of ITU-T G.711.

/// How far back the voice is remembered: the longest pitch period, twice the window that finds it, and some.
const MEMORY_MS: usize = 50;
/// Pitch is looked for between these periods: 66 to 200 Hz. What is higher has several periods in one.
const SHORTEST_MS: usize = 5;
const LONGEST_MS: usize = 15;
/// The stretch that is compared.
const WINDOW_MS: usize = 20;
/// What goes on unfaded, and the fading after it until nothing is left.
const FULL_MS: usize = 20;
const FADE_MS: usize = 60;
/// The joint to what is heard again.
const JOINT_MS: usize = 4;

/// The longest joint and quarter period at 16 kHz.
const MAX_JOINT: usize = 64;

pub struct Concealer {
    /// Samples a millisecond.
    per_ms: usize,
    /// The last 50 ms, in order.
    memory: Vec<i16>,
    /// The period that goes on, with its end made to fit its beginning. Empty before a loss.
    cycle: Vec<i16>,
    /// Samples of this loss so far.
    lost: usize,
}

impl Concealer {
    /// `rate`: 8000 or 16000 Hz.
    pub fn new(rate: u32) -> Self {
        let per_ms = (rate / 1000) as usize;
        Concealer {
            per_ms,
            memory: vec![0; MEMORY_MS * per_ms],
            cycle: Vec::with_capacity(LONGEST_MS * per_ms),
            lost: 0,
        }
    }

    /// Takes note of what was decoded. After a loss its beginning is blended with what went on meanwhile.
    pub fn heard(&mut self, pcm: &mut [i16]) {
        if self.lost > 0 && !pcm.is_empty() {
            let joint = (JOINT_MS * self.per_ms).min(pcm.len()).min(MAX_JOINT);
            let mut went_on = [0; MAX_JOINT];
            self.go_on(&mut went_on[..joint]);
            for (n, (sample, old)) in pcm.iter_mut().zip(&went_on[..joint]).enumerate() {
                *sample = blend(*old, *sample, n, joint);
            }
            self.lost = 0;
        }
        self.remember(pcm);
    }

    /// Goes on from what was heard, fainter and fainter.
    pub fn conceal(&mut self, out: &mut [i16]) {
        if self.lost == 0 {
            self.find_cycle();
        }
        self.go_on(out);
        self.remember(out);
    }

    fn go_on(&mut self, out: &mut [i16]) {
        let (full, fade) = (FULL_MS * self.per_ms, FADE_MS * self.per_ms);
        for sample in out {
            let faded = self.lost.saturating_sub(full).min(fade);
            let gain = (fade - faded) as i64;
            let value = self.cycle.get(self.lost % self.cycle.len().max(1)).copied().unwrap_or(0);
            *sample = (i64::from(value) * gain / fade as i64) as i16;
            self.lost += 1;
        }
    }

    fn remember(&mut self, pcm: &[i16]) {
        let len = self.memory.len();
        let new = &pcm[pcm.len().saturating_sub(len)..];
        self.memory.copy_within(new.len().., 0);
        self.memory[len - new.len()..].copy_from_slice(new);
    }

    fn find_cycle(&mut self) {
        let end = self.memory.len();
        let period = self.period();
        self.cycle.clear();
        self.cycle.extend_from_slice(&self.memory[end - period..]);
        // Its last quarter turns into what came before its first sample, so that it closes.
        let quarter = (period / 4).min(MAX_JOINT);
        let before = &self.memory[end - period - quarter..end - period];
        let tail = self.cycle.iter_mut().skip(period - quarter);
        for (n, (sample, earlier)) in tail.zip(before).enumerate() {
            *sample = blend(*sample, *earlier, n, quarter);
        }
    }

    /// The lag at which the last 20 ms are most like themselves.
    fn period(&self) -> usize {
        let (end, window) = (self.memory.len(), WINDOW_MS * self.per_ms);
        // Every other sample at 8 kHz will do to find it, as will every fourth at 16.
        let step = self.per_ms / 4;
        let likeness = |lag: usize| {
            let recent = self.memory[end - window..].iter().step_by(step);
            let earlier = self.memory[end - window - lag..end - lag].iter().step_by(step);
            let (mut product, mut energy) = (0.0f32, 1.0f32);
            for (a, b) in recent.zip(earlier) {
                product += f32::from(*a) * f32::from(*b);
                energy += f32::from(*b) * f32::from(*b);
            }
            product / energy.sqrt()
        };
        let (shortest, longest) = (SHORTEST_MS * self.per_ms, LONGEST_MS * self.per_ms);
        let lags = (shortest..=longest).map(|lag| (likeness(lag), lag));
        lags.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(longest, |(_, lag)| lag)
    }
}

/// From `old` to `new` in `of` steps.
fn blend(old: i16, new: i16, n: usize, of: usize) -> i16 {
    let (n, of) = (n as i32 + 1, of as i32 + 1);
    ((i32::from(old) * (of - n) + i32::from(new) * n) / of) as i16
}

#[cfg(test)]
mod tests {
    use std::f32::consts::PI;

    use super::*;

    fn sine(hz: f32, rate: u32, from: usize, len: usize) -> Vec<i16> {
        (from..from + len)
            .map(|n| (10_000.0 * (2.0 * PI * hz * n as f32 / rate as f32).sin()) as i16)
            .collect()
    }

    fn rms(pcm: &[i16]) -> f32 {
        (pcm.iter().map(|s| f32::from(*s).powi(2)).sum::<f32>() / pcm.len() as f32).sqrt()
    }

    #[test]
    fn a_tone_goes_on_over_a_lost_packet() {
        for (rate, hz) in [(8000, 150.0), (8000, 440.0), (8000, 1000.0), (16_000, 600.0)] {
            let frame = (rate / 50) as usize;
            let mut concealer = Concealer::new(rate);
            for n in 0..10 {
                concealer.heard(&mut sine(hz, rate, n * frame, frame));
            }
            let mut out = vec![0; frame];
            concealer.conceal(&mut out);
            let expected = sine(hz, rate, 10 * frame, frame);
            let error: Vec<i16> = out.iter().zip(&expected).map(|(a, b)| a - b).collect();
            assert!(rms(&error) < 0.25 * rms(&expected), "{hz} Hz: {}", rms(&error));
            // And back without a click.
            let mut next = sine(hz, rate, 11 * frame, frame);
            concealer.heard(&mut next);
            let step = |pcm: &[i16]| pcm.windows(2).map(|w| (w[1] - w[0]).abs()).max();
            let whole = [sine(hz, rate, 9 * frame, frame), out, next].concat();
            assert!(step(&whole) < step(&expected).map(|s| s + 2500), "{hz} Hz");
        }
    }

    #[test]
    fn a_long_loss_fades_away() {
        let mut concealer = Concealer::new(8000);
        concealer.heard(&mut sine(300.0, 8000, 0, 800));
        let levels: Vec<f32> = (0..6)
            .map(|_| {
                let mut out = [0; 160];
                concealer.conceal(&mut out);
                rms(&out)
            })
            .collect();
        assert!(levels.windows(2).all(|pair| pair[0] >= pair[1]), "{levels:?}");
        assert!(levels[1] > 5000.0 && levels[5] == 0.0, "{levels:?}");
        // What is heard next starts over.
        concealer.heard(&mut sine(300.0, 8000, 0, 800));
        let mut out = [0; 160];
        concealer.conceal(&mut out);
        assert!(rms(&out) > 6000.0);
    }
}
