//! One way of a call from one codec to another: what comes is put in order, decoded, encoded again, and
//! leaves at an even pace.

use std::time::{Duration, Instant};

use super::coder::{Decoder, Encoder};
use super::jitter::{Jitter, Next, Stamp};
use crate::media::stream::units;
use crate::sdp::{Codec, OpusWishes, PTIME, Wishes};

/// The most that a packet may hold, 120 ms at 16 kHz.
const LONGEST: usize = 1920;

/// More than this is not made up for a loss: nobody is fooled, and time would run behind.
const MAX_CONCEALED: Duration = Duration::from_millis(120);

/// Later than this, the pace starts over instead of catching up.
const MAX_LAG: Duration = Duration::from_millis(100);

/// A frame with no sample beyond this is silence: 48 dB below full scale.
const SILENCE: u16 = 128;

/// A payload that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When it was to leave.
    pub at: Instant,
    pub len: usize,
    /// Its length in units of the clock of [`Transcoder::to`].
    pub samples: u32,
    /// The first after a pause.
    pub first: bool,
}

/// Decodes, encodes and paces one direction.
pub struct Transcoder {
    from: Codec,
    to: Codec,
    rate: u32,
    wishes: Wishes,
    frame: Duration,
    jitter: Jitter,
    decoder: Decoder,
    encoder: Encoder,
    /// Decoded and not yet encoded.
    pcm: Vec<i16>,
    next_at: Option<Instant>,
    first: bool,
    silent: bool,
}

impl Transcoder {
    /// `wishes` are the receiver's: packets as long as it asks for, or the next shorter that the codec has.
    /// `complexity` of Opus: 0 to 10.
    pub fn new(from: Codec, to: Codec, wishes: Wishes, complexity: u8) -> Self {
        let rate = common_rate(from, to, wishes.opus);
        Transcoder {
            from,
            to,
            rate,
            wishes,
            frame: to.frame_within(wishes.ptime),
            jitter: Jitter::new(from.clock_rate()),
            decoder: Decoder::new(from, rate),
            encoder: Encoder::wished(to, rate, complexity, wishes.opus),
            pcm: Vec::with_capacity(2 * LONGEST),
            next_at: None,
            first: true,
            silent: false,
        }
    }

    pub fn from(&self) -> Codec {
        self.from
    }

    pub fn to(&self) -> Codec {
        self.to
    }

    /// Of the receiver that it was made for.
    pub fn wishes(&self) -> Wishes {
        self.wishes
    }

    /// What stands in the buffer.
    #[cfg(test)]
    pub fn depth(&self) -> Duration {
        self.jitter.depth()
    }

    /// Frames that were made up.
    pub fn concealed(&self) -> u64 {
        let stats = self.jitter.stats();
        stats.lost + stats.late
    }

    /// What a report of the far end says that it loses, in 1/256.
    pub fn reported(&mut self, fraction: u8) {
        self.encoder.reported(fraction);
    }

    /// Takes a packet of the source.
    pub fn insert(&mut self, now: Instant, stamp: Stamp, payload: &[u8]) {
        self.jitter.insert(now, stamp, payload);
    }

    /// Says that the source does something else for a while: a digit.
    pub fn pause(&mut self) {
        self.jitter.clear();
        self.pcm.clear();
        self.next_at = None;
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_at.or_else(|| self.starts_at())
    }

    /// The buffer starts as it does for packets of 20 ms: what a longer one holds more has to come first.
    fn starts_at(&self) -> Option<Instant> {
        self.jitter.starts_at().map(|at| at + self.frame.saturating_sub(PTIME))
    }

    /// Writes the payload that is due into `out`. To be asked until there is none.
    pub fn poll(&mut self, now: Instant, out: &mut [u8]) -> Option<Due> {
        if self.next_at.is_none() {
            self.next_at = self.starts_at();
            self.first = true;
        }
        let mut at = self.next_at.filter(|at| *at <= now)?;
        if now.saturating_duration_since(at) > MAX_LAG {
            at = now;
        }
        let wanted = units(self.frame, self.rate) as usize;
        if !self.gather(now, wanted) {
            // Another source is being held back already: what is here of it stays.
            if self.jitter.starts_at().is_none() {
                self.jitter.clear();
            }
            self.pcm.clear();
            self.next_at = None;
            return None;
        }
        self.next_at = Some(at + self.frame);
        let pcm = self.pcm.get(..wanted)?;
        self.silent = pcm.iter().all(|sample| sample.unsigned_abs() < SILENCE);
        let len = self.encoder.encode(pcm, out);
        self.pcm.drain(..wanted);
        let samples = units(self.frame, self.to.clock_rate());
        Some(Due { at, len, samples, first: std::mem::take(&mut self.first) })
    }

    /// Brings together a frame's samples; false when the source has paused.
    fn gather(&mut self, now: Instant, wanted: usize) -> bool {
        let clock = self.from.clock_rate();
        let to_pcm =
            |samples: u32| (u64::from(samples) * u64::from(self.rate) / u64::from(clock)) as usize;
        let mut room = [0; LONGEST];
        while self.pcm.len() < wanted {
            let made = match self.jitter.poll(now, self.silent) {
                Next::Frame(payload) => {
                    let made = self.decoder.decode(payload, &mut room);
                    if made == 0 {
                        // No payload of the codec: as good as lost.
                        let out = &mut room[..wanted.min(LONGEST)];
                        self.decoder.conceal(out);
                    }
                    if made == 0 { wanted.min(LONGEST) } else { made }
                }
                Next::Lost { samples, after } => {
                    let most = units(MAX_CONCEALED, self.rate) as usize;
                    let lost = to_pcm(samples).min(most).min(LONGEST);
                    // What the packet after it remembers is the last frame before that.
                    let frame =
                        after.map_or(0, |payload| to_pcm(super::samples(self.from, payload)));
                    let known = if frame <= lost { frame } else { 0 };
                    let (made_up, recalled) = room[..lost].split_at_mut(lost - known);
                    if !made_up.is_empty() {
                        self.decoder.conceal(made_up);
                    }
                    if let Some(after) = after.filter(|_| known > 0) {
                        self.decoder.recover(after, recalled);
                    }
                    lost
                }
                Next::Quiet { samples } => {
                    let quiet = to_pcm(samples).min(LONGEST);
                    room[..quiet].fill(0);
                    quiet
                }
                Next::Late => {
                    let missing = (wanted - self.pcm.len()).min(LONGEST);
                    // A whole number of what the decoder conceals in.
                    let grain = units(Duration::from_millis(10), self.rate) as usize;
                    let missing = missing.div_ceil(grain) * grain;
                    self.decoder.conceal(&mut room[..missing]);
                    let units = missing as u64 * u64::from(clock) / u64::from(self.rate);
                    self.jitter.bridged(units as u32);
                    missing
                }
                Next::Paused => return false,
            };
            self.pcm.extend_from_slice(&room[..made]);
        }
        true
    }
}

/// Where neither side is narrow band, 16 kHz. A receiver of Opus may play no more than narrow band.
fn common_rate(from: Codec, to: Codec, opus: OpusWishes) -> u32 {
    let narrow = |codec| matches!(codec, Codec::Pcmu | Codec::Pcma);
    let plays_narrow = to == Codec::Opus && opus.max_rate.is_some_and(|rate| rate < 12_000);
    if narrow(from) || narrow(to) || plays_narrow { 8000 } else { 16_000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that was kept from its work goes on from now.
    #[test]
    fn a_stall_is_not_caught_up_with() {
        let frame = Duration::from_millis(20);
        let mut coder = Transcoder::new(Codec::Pcmu, Codec::Pcma, Wishes::default(), 5);
        let (mut now, mut out) = (Instant::now(), [0; 200]);
        for n in 0..40u16 {
            let stamp = Stamp { ssrc: 1, sequence: n, timestamp: u32::from(n) * 160, samples: 160 };
            coder.insert(now, stamp, &[0xFF; 160]);
            now += frame;
            // From the tenth on nobody asks.
            while n < 10 && coder.poll(now, &mut out).is_some() {}
        }
        assert!(coder.poll(now, &mut out).is_some_and(|due| due.at == now));
        assert_eq!(coder.poll(now, &mut out), None, "the next is due a frame later");
    }

    /// Another source in mid-call is held back for its own jitter, and nothing of it is dropped meanwhile.
    #[test]
    fn the_first_packet_of_another_source_is_heard() {
        let frame = Duration::from_millis(20);
        let mut coder = Transcoder::new(Codec::Pcmu, Codec::Pcma, Wishes::default(), 5);
        let (mut now, mut loud) = (Instant::now(), 0);
        for n in 0..40u16 {
            let ssrc = 1 + u32::from(n >= 20);
            let timestamp = u32::from(n) * 160 + 70_000 * ssrc;
            let stamp = Stamp { ssrc, sequence: n, timestamp, samples: 160 };
            coder.insert(now, stamp, &[if n == 20 { 0 } else { 0xFF }; 160]);
            now += frame;
            let mut out = [0; 200];
            while let Some(due) = coder.poll(now, &mut out) {
                loud += out[..due.len].iter().filter(|byte| **byte == 0x2A).count();
            }
        }
        assert!(loud > 120, "{loud} of 160 samples");
    }
}
