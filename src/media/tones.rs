//! Tones of the telephone network: which country has which (ITU-T E.180 and its supplement 2), and
//! their samples.

use std::f32::consts::TAU;
use std::time::Duration;

use super::types::Signal;

/// Ramp at each edge, so that nothing clicks.
const RAMP: Duration = Duration::from_millis(5);

/// Peak of a tone of one frequency on the 16-bit scale: -13 dBm0, in the middle of what E.180 4
/// asks for (a sine that fills the scale of G.711 is 3.17 dBm0).
const PEAK: f32 = 5080.0;

/// What a country lets its callers hear.
#[derive(Debug, PartialEq, Eq)]
pub struct TonePlan {
    /// ISO 3166-1 alpha-2, lower case.
    pub country: &'static str,
    ringback: Tone,
    busy: Tone,
    congestion: Tone,
}

/// Frequencies that sound together, and for how long.
#[derive(Debug, PartialEq, Eq)]
struct Tone {
    /// Hertz. A frequency that is modulated by a low one is two that lie as far apart.
    frequencies: &'static [u16],
    /// Milliseconds on, off, on, off; repeated.
    cadence: &'static [u16],
}

const fn tone(frequencies: &'static [u16], cadence: &'static [u16]) -> Tone {
    Tone { frequencies, cadence }
}

const fn plan(country: &'static str, ringback: Tone, busy: Tone, congestion: Tone) -> TonePlan {
    TonePlan { country, ringback, busy, congestion }
}

/// Two bursts, as in the countries that took the British plan.
const DOUBLE: &[u16] = &[400, 200, 400, 2000];

static PLANS: &[TonePlan] = &[
    plan(
        "ae",
        tone(&[400, 450], DOUBLE),
        tone(&[400], &[375, 375]),
        tone(&[400], &[400, 350, 225, 525]),
    ),
    plan("ar", tone(&[425], &[1000, 4500]), tone(&[425], &[300, 200]), tone(&[425], &[300, 400])),
    plan("at", tone(&[420], &[1000, 5000]), tone(&[420], &[400, 400]), tone(&[420], &[200, 200])),
    plan("au", tone(&[400, 450], DOUBLE), tone(&[425], &[375, 375]), tone(&[425], &[375, 375])),
    plan("be", tone(&[425], &[1000, 3000]), tone(&[425], &[500, 500]), tone(&[425], &[167, 167])),
    plan("br", tone(&[425], &[1000, 4000]), tone(&[425], &[250, 250]), tone(&[425], &[250, 250])),
    plan(
        "ca",
        tone(&[440, 480], &[2000, 4000]),
        tone(&[480, 620], &[500, 500]),
        tone(&[480, 620], &[250, 250]),
    ),
    plan("ch", tone(&[425], &[1000, 4000]), tone(&[425], &[500, 500]), tone(&[425], &[200, 200])),
    plan("cl", tone(&[400], &[1000, 3000]), tone(&[400], &[500, 500]), tone(&[400], &[200, 200])),
    plan("cn", tone(&[450], &[1000, 4000]), tone(&[450], &[350, 350]), tone(&[450], &[700, 700])),
    plan("cz", tone(&[425], &[1000, 4000]), tone(&[425], &[330, 330]), tone(&[425], &[165, 165])),
    plan("de", tone(&[425], &[1000, 4000]), tone(&[425], &[480, 480]), tone(&[425], &[240, 240])),
    plan("dk", tone(&[425], &[1000, 4000]), tone(&[425], &[250, 250]), tone(&[425], &[250, 250])),
    plan(
        "es",
        tone(&[425], &[1500, 3000]),
        tone(&[425], &[200, 200]),
        tone(&[425], &[200, 200, 200, 200, 200, 600]),
    ),
    plan("fi", tone(&[425], &[1000, 4000]), tone(&[425], &[300, 300]), tone(&[425], &[200, 200])),
    plan("fr", tone(&[440], &[1500, 3500]), tone(&[440], &[500, 500]), tone(&[440], &[250, 250])),
    plan(
        "gb",
        tone(&[400, 450], DOUBLE),
        tone(&[400], &[375, 375]),
        tone(&[400], &[400, 350, 225, 525]),
    ),
    plan("gr", tone(&[425], &[1000, 4000]), tone(&[425], &[300, 300]), tone(&[425], &[200, 200])),
    plan(
        "hk",
        tone(&[440, 480], &[400, 200, 400, 3000]),
        tone(&[480, 620], &[500, 500]),
        tone(&[480, 620], &[250, 250]),
    ),
    plan("hu", tone(&[425], &[1250, 3750]), tone(&[425], &[300, 300]), tone(&[425], &[300, 300])),
    plan("ie", tone(&[400, 450], DOUBLE), tone(&[425], &[500, 500]), tone(&[425], &[250, 250])),
    plan("il", tone(&[400], &[1000, 3000]), tone(&[400], &[500, 500]), tone(&[400], &[250, 250])),
    // 400 Hz, modulated by 25 Hz.
    plan("in", tone(&[388, 413], DOUBLE), tone(&[400], &[750, 750]), tone(&[400], &[250, 250])),
    plan("it", tone(&[425], &[1000, 4000]), tone(&[425], &[500, 500]), tone(&[425], &[200, 200])),
    // 400 Hz, modulated by 16 Hz.
    plan(
        "jp",
        tone(&[392, 408], &[1000, 2000]),
        tone(&[400], &[500, 500]),
        tone(&[400], &[500, 500]),
    ),
    plan(
        "kr",
        tone(&[440, 480], &[1000, 2000]),
        tone(&[480, 620], &[500, 500]),
        tone(&[480, 620], &[300, 200]),
    ),
    plan("lu", tone(&[425], &[1000, 4000]), tone(&[425], &[480, 480]), tone(&[425], &[240, 240])),
    plan("mx", tone(&[425], &[1000, 4000]), tone(&[425], &[250, 250]), tone(&[425], &[250, 250])),
    plan("my", tone(&[425], DOUBLE), tone(&[425], &[500, 500]), tone(&[425], &[500, 500])),
    plan("nl", tone(&[425], &[1000, 4000]), tone(&[425], &[500, 500]), tone(&[425], &[250, 250])),
    plan("no", tone(&[425], &[1000, 4000]), tone(&[425], &[500, 500]), tone(&[425], &[200, 200])),
    plan("nz", tone(&[400, 450], DOUBLE), tone(&[400], &[500, 500]), tone(&[400], &[250, 250])),
    plan("pl", tone(&[425], &[1000, 4000]), tone(&[425], &[500, 500]), tone(&[425], &[500, 500])),
    plan("pt", tone(&[425], &[1000, 5000]), tone(&[425], &[500, 500]), tone(&[425], &[200, 200])),
    plan("ru", tone(&[425], &[800, 3200]), tone(&[425], &[400, 400]), tone(&[425], &[200, 200])),
    plan("se", tone(&[425], &[1000, 5000]), tone(&[425], &[250, 250]), tone(&[425], &[250, 750])),
    // 425 Hz, modulated by 24 Hz.
    plan("sg", tone(&[413, 437], DOUBLE), tone(&[425], &[750, 750]), tone(&[425], &[250, 250])),
    plan("sk", tone(&[425], &[1000, 4000]), tone(&[425], &[330, 330]), tone(&[425], &[165, 165])),
    plan("th", tone(&[400], &[1000, 4000]), tone(&[400], &[500, 500]), tone(&[400], &[300, 300])),
    plan("tr", tone(&[450], &[2000, 4000]), tone(&[450], &[500, 500]), tone(&[450], &[200, 200])),
    plan(
        "tw",
        tone(&[440, 480], &[1000, 2000]),
        tone(&[480, 620], &[500, 500]),
        tone(&[480, 620], &[250, 250]),
    ),
    plan(
        "us",
        tone(&[440, 480], &[2000, 4000]),
        tone(&[480, 620], &[500, 500]),
        tone(&[480, 620], &[250, 250]),
    ),
    // 400 Hz, modulated by 33 Hz.
    plan("za", tone(&[383, 417], DOUBLE), tone(&[400], &[500, 500]), tone(&[400], &[250, 250])),
];

impl TonePlan {
    /// The plan of a country by its two letters, in any case.
    pub fn of(country: &str) -> Option<&'static TonePlan> {
        PLANS.iter().find(|plan| plan.country.eq_ignore_ascii_case(country))
    }

    /// All there are, by country.
    pub fn all() -> &'static [TonePlan] {
        PLANS
    }

    fn tone(&self, signal: Signal) -> &Tone {
        match signal {
            Signal::Ringback => &self.ringback,
            Signal::Busy => &self.busy,
            Signal::Congestion => &self.congestion,
        }
    }
}

/// A tone being played.
#[derive(Debug, Clone)]
pub struct Player {
    tone: &'static Tone,
    rate: u32,
    /// Samples played.
    at: u64,
}

impl Player {
    /// Plays at `rate` samples a second.
    pub fn new(plan: &'static TonePlan, signal: Signal, rate: u32) -> Self {
        Player { tone: plan.tone(signal), rate, at: 0 }
    }

    /// The next samples.
    pub fn fill(&mut self, samples: &mut [i16]) {
        for sample in samples {
            *sample = self.next();
        }
    }

    /// The last samples: the tone fades within its ramp, the rest is silence. True when it sounded
    /// at all.
    pub fn finish(&mut self, samples: &mut [i16]) -> bool {
        let ramp = self.samples(RAMP.as_millis() as u64);
        let mut sounded = false;
        for (n, sample) in samples.iter_mut().enumerate() {
            let left = ramp.saturating_sub(n as u64) as f32 / ramp as f32;
            *sample = (f32::from(self.next()) * left) as i16;
            sounded |= *sample != 0;
        }
        sounded
    }

    fn next(&mut self) -> i16 {
        let gain = self.gain();
        let at = self.at;
        self.at += 1;
        if gain == 0.0 {
            return 0;
        }
        let count = self.tone.frequencies.len().max(1) as f32;
        let sum: f32 = self.tone.frequencies.iter().map(|hertz| self.sine(at, *hertz)).sum();
        // Together as loud as one alone.
        (sum * gain * PEAK / count.sqrt()) as i16
    }

    fn sine(&self, at: u64, hertz: u16) -> f32 {
        // Whole hertz: the phase repeats each second, and stays exact however long it rings.
        let phase = (at % u64::from(self.rate)) * u64::from(hertz) % u64::from(self.rate);
        (TAU * phase as f32 / self.rate as f32).sin()
    }

    /// 1 within a burst, 0 between, and a ramp at its edges.
    fn gain(&self) -> f32 {
        let cycle: u64 = self.tone.cadence.iter().map(|ms| u64::from(*ms)).sum();
        let mut into = self.at % self.samples(cycle).max(1);
        for (n, ms) in self.tone.cadence.iter().enumerate() {
            let length = self.samples(u64::from(*ms));
            if into >= length {
                into -= length;
                continue;
            }
            if n % 2 == 1 {
                return 0.0;
            }
            let edge = into.min(length - into) as f32;
            return (edge / self.samples(RAMP.as_millis() as u64) as f32).min(1.0);
        }
        0.0
    }

    fn samples(&self, ms: u64) -> u64 {
        ms * u64::from(self.rate) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 8000;

    /// Share of the power that is at a frequency.
    fn share(samples: &[i16], hertz: u16) -> f32 {
        let (mut re, mut im, mut power) = (0.0f32, 0.0f32, 0.0f32);
        for (n, sample) in samples.iter().enumerate() {
            let phase = (n * usize::from(hertz) % RATE) as f32 / RATE as f32;
            let sample = f32::from(*sample) / 32_768.0;
            re += sample * (TAU * phase).cos();
            im += sample * (TAU * phase).sin();
            power += sample * sample;
        }
        2.0 * (re * re + im * im) / (power * samples.len() as f32)
    }

    fn played(country: &str, signal: Signal, ms: usize) -> Vec<i16> {
        let mut samples = vec![0; ms * RATE / 1000];
        Player::new(TonePlan::of(country).unwrap(), signal, RATE as u32).fill(&mut samples);
        samples
    }

    fn sounds(samples: &[i16], from_ms: usize, to_ms: usize) -> bool {
        samples[from_ms * 8..to_ms * 8].iter().any(|sample| sample.abs() > 100)
    }

    #[test]
    fn every_plan_can_be_played() {
        assert!(PLANS.len() >= 25);
        assert!(PLANS.windows(2).all(|pair| pair[0].country < pair[1].country), "in order");
        for plan in PLANS {
            for tone in [&plan.ringback, &plan.busy, &plan.congestion] {
                assert!(!tone.frequencies.is_empty(), "{}", plan.country);
                assert!(tone.frequencies.iter().all(|hertz| (300..=700).contains(hertz)));
                assert!(tone.cadence.len() % 2 == 0 && tone.cadence.iter().all(|ms| *ms > 20));
            }
            let ring: u16 = plan.ringback.cadence.iter().sum();
            assert!((3000..=6000).contains(&ring), "{}: {ring} ms", plan.country);
        }
    }

    #[test]
    fn a_german_and_an_american_telephone_ring() {
        let german = played("DE", Signal::Ringback, 6000);
        assert!(share(&german[..RATE], 425) > 0.98);
        assert!(sounds(&german, 900, 1000) && !sounds(&german, 1000, 5000));
        assert!(sounds(&german, 5010, 5100), "the next ring");
        let american = played("us", Signal::Ringback, 2000);
        assert!((0.45..0.55).contains(&share(&american, 440)));
        assert!((0.45..0.55).contains(&share(&american, 480)));
        let british = played("gb", Signal::Ringback, 3000);
        assert!(sounds(&british, 0, 400) && !sounds(&british, 400, 600));
        assert!(sounds(&british, 610, 1000) && !sounds(&british, 1000, 3000));
        assert!(sounds(&played("de", Signal::Busy, 960), 0, 480));
    }

    #[test]
    fn nothing_clicks() {
        let mut samples = played("de", Signal::Ringback, 980);
        let mut player = Player::new(TonePlan::of("de").unwrap(), Signal::Ringback, RATE as u32);
        player.fill(&mut vec![0; samples.len()]);
        let mut last = vec![0; 80];
        assert!(player.finish(&mut last));
        assert!(last[40..].iter().all(|sample| *sample == 0));
        samples.extend(&last);
        // No step is greater than the steepest of the tone itself.
        let steepest = PEAK * TAU * 425.0 / RATE as f32 + 2.0;
        for pair in samples.windows(2) {
            assert!(f32::from((pair[1] - pair[0]).abs()) <= steepest, "{pair:?}");
        }
        let mut player = Player::new(TonePlan::of("de").unwrap(), Signal::Ringback, RATE as u32);
        player.fill(&mut vec![0; 2 * RATE]);
        assert!(!player.finish(&mut last), "between two rings there is nothing to fade");
    }
}
