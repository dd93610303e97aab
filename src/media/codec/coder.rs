//! Encoders and decoders, one enum each: to and from 16-bit samples of one channel.

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};

use super::conceal::Concealer;
use super::halfband::{Down, MAX_BLOCK, Up};
use super::opus::{OpusDecoder, OpusEncoder};
use crate::media::g711;
use crate::sdp::{Codec, OpusWishes};

/// Of Opus, where nothing else is asked for.
pub const COMPLEXITY: u8 = 5;

/// Makes payloads of samples.
pub struct Encoder(Encoding);

// One of them each is boxed with its transcoder; what differs in size is not worth another box.
#[allow(clippy::large_enum_variant)]
enum Encoding {
    Ulaw(Option<Down>),
    Alaw(Option<Down>),
    G722(Box<G722Encoder>, Option<Up>),
    Opus(OpusEncoder),
}

impl Encoder {
    /// `rate`: that of the samples, 8000 or 16000 Hz; any codec takes either.
    pub fn new(codec: Codec, rate: u32) -> Self {
        Encoder::with_complexity(codec, rate, COMPLEXITY)
    }

    /// `complexity` of Opus: 0 to 10.
    pub fn with_complexity(codec: Codec, rate: u32, complexity: u8) -> Self {
        Encoder::wished(codec, rate, complexity, OpusWishes::default())
    }

    /// Opus as its receiver wishes.
    pub fn wished(codec: Codec, rate: u32, complexity: u8, opus: OpusWishes) -> Self {
        let down = || (rate > 8000).then(Down::new);
        Encoder(match codec {
            Codec::Pcmu => Encoding::Ulaw(down()),
            Codec::Pcma => Encoding::Alaw(down()),
            Codec::G722 => {
                Encoding::G722(Box::new(G722Encoder::new()), (rate <= 8000).then(Up::new))
            }
            Codec::Opus => Encoding::Opus(OpusEncoder::new(rate, complexity, opus)),
        })
    }

    /// Encodes a frame of 10 to 60 ms (Opus: 10, 20, 40 or 60) and returns the bytes written: 0 where that
    /// does not go.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        let mut other = [0; MAX_BLOCK];
        match &mut self.0 {
            Encoding::Ulaw(down) => {
                companded(lowered(down, pcm, &mut other), out, g711::ulaw_from_linear)
            }
            Encoding::Alaw(down) => {
                companded(lowered(down, pcm, &mut other), out, g711::alaw_from_linear)
            }
            Encoding::G722(encoder, up) => {
                let pcm = match up {
                    Some(up) => {
                        let n = up.run(pcm, &mut other);
                        &other[..n]
                    }
                    None => pcm,
                };
                encoder.encode_into(pcm, out).unwrap_or(0)
            }
            Encoding::Opus(encoder) => encoder.encode(pcm, out),
        }
    }

    /// What a report of the far end says that it loses, in 1/256. Opus repeats itself accordingly.
    pub fn reported(&mut self, fraction: u8) {
        if let Encoding::Opus(encoder) = &mut self.0 {
            encoder.reported(fraction);
        }
    }
}

fn lowered<'a>(
    down: &mut Option<Down>,
    pcm: &'a [i16],
    other: &'a mut [i16; MAX_BLOCK],
) -> &'a [i16] {
    match down {
        Some(down) => {
            let n = down.run(pcm, other);
            &other[..n]
        }
        None => pcm,
    }
}

fn companded(pcm: &[i16], out: &mut [u8], law: impl Fn(i16) -> u8) -> usize {
    for (byte, sample) in out.iter_mut().zip(pcm) {
        *byte = law(*sample);
    }
    pcm.len().min(out.len())
}

/// Makes samples of payloads, and something to hear of those that never came.
pub struct Decoder(Decoding);

#[allow(clippy::large_enum_variant)]
enum Decoding {
    Ulaw(Concealer, Option<Up>),
    Alaw(Concealer, Option<Up>),
    G722(Box<G722Decoder>, Concealer, Option<Down>),
    /// Conceals by itself.
    Opus(OpusDecoder),
}

impl Decoder {
    /// `rate`: that of the samples, 8000 or 16000 Hz.
    pub fn new(codec: Codec, rate: u32) -> Self {
        let up = || (rate > 8000).then(Up::new);
        Decoder(match codec {
            Codec::Pcmu => Decoding::Ulaw(Concealer::new(rate), up()),
            Codec::Pcma => Decoding::Alaw(Concealer::new(rate), up()),
            Codec::G722 => Decoding::G722(
                Box::new(G722Decoder::new()),
                Concealer::new(rate),
                (rate <= 8000).then(Down::new),
            ),
            Codec::Opus => Decoding::Opus(OpusDecoder::new(rate)),
        })
    }

    /// Samples written; 0 for what is no payload of the codec.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        match &mut self.0 {
            Decoding::Ulaw(concealer, up) => {
                expanded(payload, out, up, concealer, g711::linear_from_ulaw)
            }
            Decoding::Alaw(concealer, up) => {
                expanded(payload, out, up, concealer, g711::linear_from_alaw)
            }
            Decoding::G722(decoder, concealer, down) => {
                let mut written = 0;
                for part in payload.chunks(MAX_BLOCK / 2) {
                    let Some(room) = out.get_mut(written..) else { break };
                    written += match down {
                        None => decoder.decode_into(part, room).unwrap_or(0),
                        Some(down) => {
                            let mut wide = [0; MAX_BLOCK];
                            let n = decoder.decode_into(part, &mut wide).unwrap_or(0);
                            down.run(&wide[..n], room)
                        }
                    };
                }
                concealer.heard(&mut out[..written]);
                written
            }
            Decoding::Opus(decoder) => decoder.decode(payload, out),
        }
    }

    /// Fills `out` with what may have been in packets that are lost.
    pub fn conceal(&mut self, out: &mut [i16]) {
        match &mut self.0 {
            Decoding::Ulaw(concealer, _)
            | Decoding::Alaw(concealer, _)
            | Decoding::G722(_, concealer, _) => concealer.conceal(out),
            Decoding::Opus(decoder) => {
                let written = decoder.conceal(out);
                out[written..].fill(0);
            }
        }
    }

    /// Fills `out` with the end of a loss, of which the packet after it may know something.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) {
        if let Decoding::Opus(decoder) = &mut self.0 {
            let written = decoder.recover(next, out);
            out[written..].fill(0);
        } else {
            self.conceal(out);
        }
    }
}

fn expanded(
    payload: &[u8],
    out: &mut [i16],
    up: &mut Option<Up>,
    concealer: &mut Concealer,
    law: impl Fn(u8) -> i16,
) -> usize {
    let mut written = 0;
    for part in payload.chunks(MAX_BLOCK / 2) {
        let Some(room) = out.get_mut(written..) else { break };
        written += match up {
            None => {
                for (sample, byte) in room.iter_mut().zip(part) {
                    *sample = law(*byte);
                }
                part.len().min(room.len())
            }
            Some(up) => {
                let mut narrow = [0; MAX_BLOCK / 2];
                for (sample, byte) in narrow.iter_mut().zip(part) {
                    *sample = law(*byte);
                }
                up.run(&narrow[..part.len()], room)
            }
        };
    }
    concealer.heard(&mut out[..written]);
    written
}
