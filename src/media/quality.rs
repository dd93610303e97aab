//! How a stream sounds: the E-model of ITU-T G.107, fed with what is measured.
//!
//! It is computed once in five seconds for each stream; nothing here is done per packet. The model is the
//! narrow-band one with its default values (its clause 7.7), of which only delay, codec and loss are
//! ours to know. Assumed: telephones and browsers conceal loss, and buffer twice the jitter.

use std::time::Duration;

use crate::sdp::Codec;

use super::types::Mos;

/// What one frame takes before it can leave.
const FRAME: Duration = Duration::from_millis(20);

/// The least that a receiver buffers.
const LEAST_BUFFER: Duration = Duration::from_millis(40);

/// Fewer packets than a second of sound has tell nothing of an interval.
const LEAST_PACKETS: u64 = 50;

/// How a codec fares (ITU-T G.113 appendix I): its equipment impairment, and its robustness to loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impairment {
    pub ie: f64,
    pub bpl: f64,
}

impl Impairment {
    /// G.711 with concealment. The wide-band codecs have no values on the narrow-band scale, where they are
    /// no worse than that.
    pub fn of(_codec: Codec) -> Self {
        Impairment { ie: 0.0, bpl: 25.1 }
    }

    /// The effective equipment impairment of random loss in percent (G.107 7.5).
    fn with_loss(self, percent: f64) -> f64 {
        self.ie + (95.0 - self.ie) * percent / (percent + self.bpl)
    }
}

/// What a listener's end knows of the way to it.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub codec: Codec,
    pub rtt: Option<Duration>,
    pub jitter: Duration,
    /// 0 to 1.
    pub loss: f64,
}

impl Way {
    /// The mean opinion score, 1 to 4.5.
    pub fn mos(&self) -> f64 {
        let buffer = (2 * self.jitter + FRAME).max(LEAST_BUFFER);
        let delay = self.rtt.unwrap_or_default() / 2 + buffer + FRAME;
        let loss = Impairment::of(self.codec).with_loss(self.loss * 100.0);
        mos(rating(delay) - loss)
    }
}

/// From the rating R (G.107 annex B).
pub fn mos(r: f64) -> f64 {
    if r <= 0.0 {
        return 1.0;
    }
    if r >= 100.0 {
        return 4.5;
    }
    // Between 0 and 6.5 the formula dips below 1.
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0)
}

/// Default values of G.107 table 3, in dB where they have a unit: loudness ratings of sender and receiver,
/// sidetone, the receiver's listening sidetone, D-values, talker and weighted echo, noise of circuit,
/// floor and rooms, quantising distortion units.
const SLR: f64 = 8.0;
const RLR: f64 = 2.0;
const STMR: f64 = 15.0;
const LSTR: f64 = 18.0;
const DS: f64 = 3.0;
const TELR: f64 = 65.0;
const WEPL: f64 = 110.0;
const QDU: f64 = 1.0;
const NC: f64 = -70.0;
const NFOR: f64 = -64.0;
const PS: f64 = 35.0;
const PR: f64 = 35.0;

/// R of a connection without loss whose one-way delay is `delay` (G.107 7.1 to 7.4): 93.2 without any.
pub fn rating(delay: Duration) -> f64 {
    let delay = delay.as_secs_f64() * 1000.0;
    let olr = SLR + RLR;
    // 7.2: the basic signal-to-noise ratio.
    let power = |db: f64| 10f64.powf(db / 10.0);
    let nos = PS - SLR - DS - 100.0 + 0.004 * (PS - olr - DS - 14.0).powi(2);
    let pre = PR + 10.0 * (1.0 + power(10.0 - LSTR)).log10();
    let nor = RLR - 121.0 + pre + 0.008 * (pre - 35.0).powi(2);
    let nfo = NFOR + RLR;
    let no = 10.0 * (power(NC) + power(nos) + power(nor) + power(nfo)).log10();
    let ro = 15.0 - 1.5 * (SLR + no);
    // 7.3: what comes with the voice.
    let xolr = olr + 0.2 * (64.0 + no - RLR);
    let iolr = 20.0 * ((1.0 + (xolr / 8.0).powi(8)).powf(0.125) - xolr / 8.0);
    let stmro = -10.0 * (power(-STMR) + (-delay / 4.0).exp() * power(-TELR)).log10();
    let ist = 12.0 * (1.0 + ((stmro - 13.0) / 6.0).powi(8)).powf(0.125)
        - 28.0 * (1.0 + ((stmro + 1.0) / 19.4).powi(35)).powf(1.0 / 35.0)
        - 13.0 * (1.0 + ((stmro - 3.0) / 33.0).powi(13)).powf(1.0 / 13.0)
        + 29.0;
    let q = 37.0 - 15.0 * QDU.log10();
    let g = 1.07 + 0.258 * q + 0.0602 * q * q;
    let y = (ro - 100.0) / 15.0 + 46.0 / 8.4 - g / 9.0;
    let z = 46.0 / 30.0 - g / 40.0;
    let iq = 15.0 * (1.0 + 10f64.powf(y) + 10f64.powf(z)).log10();
    let is = iolr + ist + iq;
    // 7.4: talker echo, listener echo, and delay as such. The round trip of the 4-wire loop is both ways.
    let terv = TELR - 40.0 * ((1.0 + delay / 10.0) / (1.0 + delay / 150.0)).log10()
        + 6.0 * (-0.3 * delay * delay).exp();
    let re = 80.0 + 2.5 * (terv - 14.0);
    let roe = -1.5 * (no - RLR);
    let echo = (roe - re) / 2.0 + ((roe - re).powi(2) / 4.0 + 100.0).sqrt() - 1.0;
    let idte = echo * (1.0 - (-delay).exp());
    let rle = 10.5 * (WEPL + 7.0) * (2.0 * delay + 1.0).powf(-0.25);
    let idle = (ro - rle) / 2.0 + ((ro - rle).powi(2) / 4.0 + 169.0).sqrt();
    let idd = if delay <= 100.0 {
        0.0
    } else {
        let x = (delay / 100.0).log2();
        let sixth = |x: f64| (1.0 + x.powi(6)).powf(1.0 / 6.0);
        25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0)
    };
    ro - is - (idte + idle + idd)
}

/// Scores the intervals of one stream.
#[derive(Debug, Default)]
pub struct Meter {
    expected: u64,
    lost: u64,
    mos: Mos,
}

impl Meter {
    pub fn mos(&self) -> Mos {
        self.mos
    }

    /// The stream begins to be counted here.
    pub fn start(&mut self, expected: u64, lost: u64) {
        (self.expected, self.lost) = (expected, lost);
    }

    /// An interval is over. `expected` and `lost` are packets from the stream's beginning; where they went
    /// back, it has begun anew.
    pub fn interval(&mut self, expected: u64, lost: u64, way: impl FnOnce(f64) -> Way) {
        let since = expected.checked_sub(std::mem::replace(&mut self.expected, expected));
        // A packet that came late was lost before, and is no gain now.
        let gone = lost.saturating_sub(std::mem::replace(&mut self.lost, lost));
        let Some(since) = since.filter(|since| *since >= LEAST_PACKETS) else { return };
        let score = way((gone as f64 / since as f64).min(1.0)).mos();
        self.mos.intervals = self.mos.intervals.saturating_add(1);
        self.mos.sum += score;
        self.mos.worst = Some(self.mos.worst.map_or(score, |worst| worst.min(score)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn way(rtt: u64, jitter: u64, loss: f64) -> Way {
        Way { codec: Codec::Pcmu, rtt: Some(ms(rtt)), jitter: ms(jitter), loss }
    }

    #[track_caller]
    fn near(value: f64, expected: f64, by: f64) {
        assert!((value - expected).abs() <= by, "{value}, not {expected}");
    }

    /// G.107 7.7: all default values give R = 93.2.
    #[test]
    fn the_default_values_rate_93_2() {
        near(rating(Duration::ZERO), 93.2, 0.05);
    }

    /// G.107 table B.1.
    #[test]
    fn scores_of_the_rating() {
        for (r, expected) in
            [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58), (93.2, 4.41)]
        {
            // The table rounds up here and there.
            near(mos(r), expected, 0.0065);
        }
        assert_eq!((mos(-3.0), mos(2.0), mos(100.0), mos(130.0)), (1.0, 1.0, 4.5, 4.5));
    }

    /// The straight lines of Cole and Rosenbluth (2001) are a fit to the same delay impairments.
    #[test]
    fn delay_costs_what_the_usual_approximation_says() {
        for delay in [50, 100, 150, 177, 250, 300] {
            let d = delay as f64;
            let fit = 0.024 * d + 0.11 * (d - 177.3).max(0.0);
            near(rating(Duration::ZERO) - rating(ms(delay)), fit, 3.0);
        }
        assert!(rating(ms(2000)) < rating(ms(400)) && rating(ms(2000)).is_finite());
    }

    /// G.107 7.5 with the values of G.113: (95 - Ie) Ppl / (Ppl + Bpl).
    #[test]
    fn loss_costs_by_the_codec() {
        let g711 = Impairment::of(Codec::Pcma);
        near(g711.with_loss(0.0), 0.0, 1e-9);
        near(g711.with_loss(1.0), 3.640, 0.001);
        near(g711.with_loss(5.0), 15.781, 0.001);
        // G.729A with VAD, of the same table.
        near(Impairment { ie: 11.0, bpl: 19.0 }.with_loss(2.0), 19.0, 0.001);
    }

    /// Half the round trip, a frame, and a buffer of twice the jitter beyond the frame in it: 40 ms at least.
    #[test]
    fn the_delay_is_made_of_the_way_and_the_buffers() {
        near(way(300, 50, 0.0).mos(), mos(rating(ms(150 + 120 + 20))), 1e-9);
        near(way(300, 0, 0.0).mos(), mos(rating(ms(150 + 40 + 20))), 1e-9);
        let unknown = Way { rtt: None, ..way(0, 0, 0.0) };
        near(unknown.mos(), mos(rating(ms(60))), 1e-9);
    }

    #[test]
    fn a_good_line_is_good_and_a_bad_one_bad() {
        assert!(way(20, 1, 0.0).mos() > 4.3);
        assert!((3.5..4.2).contains(&way(150, 20, 0.03).mos()), "{}", way(150, 20, 0.03).mos());
        assert!(way(600, 60, 0.15).mos() < 2.5);
    }

    #[test]
    fn intervals_are_scored_each_by_itself() {
        let mut meter = Meter::default();
        let mut interval = |expected, lost| {
            meter.interval(expected, lost, |loss| way(20, 1, loss));
            meter.mos()
        };
        assert_eq!(interval(30, 30).intervals, 0, "too short to tell");
        let good = interval(280, 30);
        let bad = interval(530, 80);
        assert_eq!(bad.intervals, 2);
        let worst = bad.worst.unwrap();
        assert!(good.worst.unwrap() > 4.3 && worst < 3.5, "{bad:?}");
        near(bad.average().unwrap(), (good.sum + worst) / 2.0, 1e-9);
        // On hold; then another source, which counts anew.
        assert_eq!(interval(530, 80), bad);
        assert_eq!(interval(100, 0), bad);
        assert!(interval(350, 0).intervals == 3);
    }
}
