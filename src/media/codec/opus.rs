//! Opus by ropus, or by libopus with the feature of that name. The rest of the gateway sees neither.

use crate::sdp::OpusWishes;

/// Bit rate of voice: with redundancy for lost packets, narrow band needs no more.
const BITS_8K: u32 = 24_000;
const BITS_16K: u32 = 32_000;

/// Redundancy costs bits; before the far end has told of its losses some are taken for granted.
const LOSS: u8 = 5;

/// What an encoder is made for.
struct Made {
    rate: u32,
    bits: u32,
    complexity: u8,
    fec: bool,
    vbr: bool,
}

#[cfg(not(feature = "libopus"))]
mod imp {
    use super::{LOSS, Made};
    use ropus::{Application, Bitrate, Channels, DecodeMode, Decoder, Encoder, InbandFec, Signal};

    pub struct Coder(Encoder);

    impl Coder {
        pub fn new(made: &Made) -> Option<Self> {
            let fec = if made.fec { InbandFec::Enabled } else { InbandFec::Disabled };
            let built = Encoder::builder(made.rate, Channels::Mono, Application::Voip)
                .bitrate(Bitrate::Bits(made.bits))
                .vbr(made.vbr)
                .complexity(made.complexity)
                .signal(Signal::Voice)
                .inband_fec(fec)
                .packet_loss_perc(LOSS)
                .build();
            built.ok().map(Coder)
        }

        pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Option<usize> {
            self.0.encode(pcm, out).ok()
        }

        pub fn set_loss(&mut self, percent: u8) {
            let _ = self.0.set_packet_loss_perc(percent);
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
    use super::{LOSS, Made};
    use opus::{Application, Bitrate, Channels, Decoder, Encoder, Signal};

    pub struct Coder(Encoder);

    impl Coder {
        pub fn new(made: &Made) -> Option<Self> {
            let mut encoder = Encoder::new(made.rate, Channels::Mono, Application::Voip).ok()?;
            encoder.set_bitrate(Bitrate::Bits(made.bits as i32)).ok()?;
            encoder.set_vbr(made.vbr).ok()?;
            encoder.set_complexity(i32::from(made.complexity)).ok()?;
            encoder.set_signal(Signal::Voice).ok()?;
            encoder.set_inband_fec(made.fec).ok()?;
            encoder.set_packet_loss_perc(i32::from(LOSS)).ok()?;
            Some(Coder(encoder))
        }

        pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Option<usize> {
            self.0.encode(pcm, out).ok()
        }

        pub fn set_loss(&mut self, percent: u8) {
            let _ = self.0.set_packet_loss_perc(i32::from(percent));
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
/// of it.
pub struct OpusEncoder {
    coder: Option<imp::Coder>,
    loss: u8,
}

impl OpusEncoder {
    /// `rate`: 8000 or 16000 Hz. `complexity`: 0 to 10.
    pub fn new(rate: u32, complexity: u8, wishes: OpusWishes) -> Self {
        let bits = if rate <= 8000 { BITS_8K } else { BITS_16K };
        let bits = wishes.max_bits.map_or(bits, |most| bits.min(most));
        let made = Made { rate, bits, complexity, fec: wishes.fec, vbr: !wishes.cbr };
        OpusEncoder { coder: imp::Coder::new(&made), loss: LOSS }
    }

    /// A frame of 10, 20, 40 or 60 ms; 0 where it cannot be encoded.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        self.coder.as_mut().and_then(|coder| coder.encode(pcm, out)).unwrap_or(0)
    }

    /// What the far end says that it loses, in per cent: so much more redundancy.
    pub fn set_loss(&mut self, percent: u8) {
        let percent = percent.clamp(LOSS, 30);
        if percent != self.loss
            && let Some(coder) = &mut self.coder
        {
            self.loss = percent;
            coder.set_loss(percent);
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
