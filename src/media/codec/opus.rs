//! Opus by ropus, or by libopus with the feature of that name. The rest of the gateway sees neither.

use crate::sdp::OpusWishes;

/// Bit rate of voice: with redundancy for lost packets, narrow band needs no more.
const BITS_8K: u32 = 24_000;
const BITS_16K: u32 = 32_000;

/// Before the far end has told of its losses some are taken for granted, in per cent.
const LOSS: u8 = 5;

/// Complexity in narrow band where there is no redundancy to be made, which this leaves out: voice and music come out
/// no worse than with redundancy at 5, for less than half of the work (docs/performance.md).
const LEAN: u8 = 1;

/// So many reports without loss until it is believed: at the start, and after a loss.
const BELIEVED: u8 = 3;
const BELIEVED_AGAIN: u8 = 12;

/// What an encoder is made for.
struct Made {
    rate: u32,
    bits: u32,
    vbr: bool,
}

/// How the frames to come are to be made.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Care {
    fec: bool,
    complexity: u8,
    /// What redundancy is to make up for, in per cent.
    loss: u8,
}

#[cfg(not(feature = "libopus"))]
mod imp {
    use super::{Care, Made};
    use ropus::{Application, Bitrate, Channels, DecodeMode, Decoder, Encoder, InbandFec, Signal};

    pub struct Coder(Encoder);

    impl Coder {
        pub fn new(made: &Made) -> Option<Self> {
            let built = Encoder::builder(made.rate, Channels::Mono, Application::Voip)
                .bitrate(Bitrate::Bits(made.bits))
                .vbr(made.vbr)
                .signal(Signal::Voice)
                .build();
            built.ok().map(Coder)
        }

        pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Option<usize> {
            self.0.encode(pcm, out).ok()
        }

        pub fn take(&mut self, care: Care) {
            let fec = if care.fec { InbandFec::Enabled } else { InbandFec::Disabled };
            let _ = self.0.set_inband_fec(fec);
            let _ = self.0.set_complexity(care.complexity);
            let _ = self.0.set_packet_loss_perc(care.loss);
        }
    }

    pub struct Decoding(Decoder);

    impl Decoding {
        pub fn new(rate: u32) -> Option<Self> {
            Decoder::new(rate, Channels::Mono).ok().map(Decoding)
        }

        pub fn decode(&mut self, packet: &[u8], out: &mut [i16], fec: bool) -> Option<usize> {
            let mode = if fec { DecodeMode::Fec } else { DecodeMode::Normal };
            self.0.decode(packet, out, mode).ok()
        }
    }
}

#[cfg(feature = "libopus")]
mod imp {
    use super::{Care, Made};
    use opus::{Application, Bitrate, Channels, Decoder, Encoder, Signal};

    pub struct Coder(Encoder);

    impl Coder {
        pub fn new(made: &Made) -> Option<Self> {
            let mut encoder = Encoder::new(made.rate, Channels::Mono, Application::Voip).ok()?;
            encoder.set_bitrate(Bitrate::Bits(made.bits as i32)).ok()?;
            encoder.set_vbr(made.vbr).ok()?;
            encoder.set_signal(Signal::Voice).ok()?;
            Some(Coder(encoder))
        }

        pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Option<usize> {
            self.0.encode(pcm, out).ok()
        }

        pub fn take(&mut self, care: Care) {
            let _ = self.0.set_inband_fec(care.fec);
            let _ = self.0.set_complexity(i32::from(care.complexity));
            let _ = self.0.set_packet_loss_perc(i32::from(care.loss));
        }
    }

    pub struct Decoding(Decoder);

    impl Decoding {
        pub fn new(rate: u32) -> Option<Self> {
            Decoder::new(rate, Channels::Mono).ok().map(Decoding)
        }

        pub fn decode(&mut self, packet: &[u8], out: &mut [i16], fec: bool) -> Option<usize> {
            self.0.decode(packet, out, fec).ok()
        }
    }
}

/// Encodes one channel of 8 or 16 kHz as voice, with redundancy for lost packets where the receiver makes use
/// of it and does not say that it loses none.
pub struct OpusEncoder {
    coder: Option<imp::Coder>,
    rate: u32,
    complexity: u8,
    /// The receiver makes use of redundancy.
    fec: bool,
    care: Care,
    /// Reports without loss one after another, and how many of them it takes to be believed.
    clean: u8,
    believed: u8,
}

impl OpusEncoder {
    /// `rate`: 8000 or 16000 Hz. `complexity`: 0 to 10.
    pub fn new(rate: u32, complexity: u8, wishes: OpusWishes) -> Self {
        let bits = if rate <= 8000 { BITS_8K } else { BITS_16K };
        let bits = wishes.max_bits.map_or(bits, |most| bits.min(most));
        let mut coder = imp::Coder::new(&Made { rate, bits, vbr: !wishes.cbr });
        let care = Care { fec: wishes.fec, complexity, loss: LOSS };
        if let Some(coder) = &mut coder {
            coder.take(care);
        }
        let (fec, clean, believed) = (wishes.fec, 0, BELIEVED);
        OpusEncoder { coder, rate, complexity, fec, care, clean, believed }
    }

    /// A frame of 10, 20, 40 or 60 ms; 0 where it cannot be encoded.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        self.coder.as_mut().and_then(|coder| coder.encode(pcm, out)).unwrap_or(0)
    }

    /// What a report of the far end says that it loses, in 1/256 (RFC 3550 6.4.1): so much more redundancy, and
    /// none where nothing has been lost for a while.
    pub fn reported(&mut self, fraction: u8) {
        if fraction == 0 {
            self.clean = self.clean.saturating_add(1);
        } else {
            (self.clean, self.believed) = (0, BELIEVED_AGAIN);
        }
        let percent = (u16::from(fraction) * 100 / 256) as u8;
        let spared = self.clean >= self.believed;
        let care = Care {
            fec: self.fec && !spared,
            complexity: if spared && self.rate <= 8000 {
                self.complexity.min(LEAN)
            } else {
                self.complexity
            },
            loss: percent.clamp(LOSS, 30),
        };
        if care != self.care
            && let Some(coder) = &mut self.coder
        {
            self.care = care;
            coder.take(care);
        }
    }
}

/// Decodes to one channel of 8 or 16 kHz.
pub struct OpusDecoder {
    decoder: Option<imp::Decoding>,
    rate: u32,
}

impl OpusDecoder {
    pub fn new(rate: u32) -> Self {
        OpusDecoder { decoder: imp::Decoding::new(rate), rate }
    }

    /// Samples written; 0 for what is no Opus packet.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> usize {
        // An empty packet would be taken for a lost one.
        if packet.is_empty() { 0 } else { self.run(packet, out, false) }
    }

    /// What a lost packet said, as the one after it remembers; where it does not, concealment. `out` is as
    /// long as what is missing.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) -> usize {
        self.run(next, out, true)
    }

    /// Goes on from what was heard; `out` is as long as what is missing.
    pub fn conceal(&mut self, out: &mut [i16]) -> usize {
        self.run(&[], out, false)
    }

    /// The packet is the network's. A decoder that gives way to it must not take the calls of its worker
    /// along: it is exchanged for a new one.
    fn run(&mut self, packet: &[u8], out: &mut [i16], fec: bool) -> usize {
        let Some(decoder) = &mut self.decoder else { return 0 };
        let decode = std::panic::AssertUnwindSafe(|| decoder.decode(packet, out, fec));
        match std::panic::catch_unwind(decode) {
            Ok(samples) => samples.unwrap_or(0),
            Err(_) => {
                self.decoder = imp::Decoding::new(self.rate);
                0
            }
        }
    }
}
