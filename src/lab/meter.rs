//! What a lab telephone heard.

use std::fmt;
use std::time::Instant;

use serde::Serialize;

use super::rtp::{Arrival, EventPacket, Packet, Received, Receiver};
use super::tone::{self, FRAME, Tally, Tone, round};
use crate::sdp::{Codec, PayloadMap};

/// More digits than anybody dials in a call; the rest is counted as packets only.
const MAX_DIGITS: usize = 256;

/// A measurement, as a report shows it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Heard {
    #[serde(flatten)]
    pub received: Received,
    /// From the first packet to the last.
    pub seconds: f64,
    /// The codec of the last audio packet.
    pub codec: Option<&'static str>,
    /// Frames of 20 ms looked at, the lost ones among them. G.722 is not looked into.
    pub frames: u64,
    /// Share of the frames that were silence: 0 to 1.
    pub silent: f64,
    /// The tones heard, the one with the most energy first.
    pub tones: Vec<Tone>,
    /// Telephone events, each once; digits that came by SIP INFO too.
    pub digits: String,
    /// Packets with a payload type that was not negotiated.
    pub unknown_payload: u64,
    /// Datagrams that are no RTP, or come from another host than the SDP named.
    pub strange: u64,
}

impl Heard {
    /// How much of one frequency was heard, `within` Hz either way; zero seconds when none.
    pub fn tone_near(&self, hz: f64, within: f64) -> Tone {
        let near = self.tones.iter().find(|tone| (tone.hz - hz).abs() <= within);
        near.copied().unwrap_or(Tone { hz, dbfs: f64::MIN, seconds: 0.0, share: 0.0 })
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = &self.received;
        write!(
            f,
            "heard {} packets, lost {} ({:.2} %), jitter {:.1} ms",
            got.packets,
            got.lost,
            got.loss * 100.0,
            got.jitter_ms
        )?;
        match self.tones.first() {
            Some(tone) => write!(
                f,
                ", loudest tone {:.0} Hz ({:.0} dBFS, {:.0} % of 20 ms frames)",
                tone.hz,
                tone.dbfs,
                tone.share * 100.0
            )?,
            None if self.frames > 0 => write!(f, ", no tone")?,
            None => {}
        }
        write!(f, ", largest gap {:.0} ms", got.largest_gap_ms)?;
        if !self.digits.is_empty() {
            write!(f, ", digits {}", self.digits)?;
        }
        if self.unknown_payload + self.strange > 0 {
            let (unknown, strange) = (self.unknown_payload, self.strange);
            write!(f, ", {unknown} of unknown payload type, {strange} strange")?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Measurement {
    receiver: Receiver,
    tally: Tally,
    first: Option<Instant>,
    last: Option<Instant>,
    codec: Option<Codec>,
    digits: String,
    unknown_payload: u64,
    strange: u64,
}

impl Measurement {
    fn heard(&self) -> Heard {
        let span = match (self.first, self.last) {
            (Some(first), Some(last)) => last.saturating_duration_since(first).as_secs_f64(),
            _ => 0.0,
        };
        Heard {
            received: self.receiver.received(),
            seconds: round(span, 100.0),
            codec: self.codec.map(Codec::name),
            frames: self.tally.frames(),
            silent: round(self.tally.silent_share(), 10_000.0),
            tones: self.tally.tones(),
            digits: self.digits.clone(),
            unknown_payload: self.unknown_payload,
            strange: self.strange,
        }
    }

    fn digit(&mut self, digit: char) {
        if self.digits.len() < MAX_DIGITS {
            self.digits.push(digit);
        }
    }
}

/// Measures a whole call, and besides the time since it was last asked to start afresh.
#[derive(Debug, Default)]
pub(super) struct Meter {
    whole: Measurement,
    recent: Measurement,
    /// Samples of a frame that is not full yet: packets of 10 or 30 ms are frames of 20 all the same.
    partial: Vec<i16>,
    /// SSRC and timestamp of the last telephone event: its packets all have the same.
    event: Option<(u32, u32)>,
}

impl Meter {
    pub(super) fn packet(&mut self, packet: &Packet<'_>, payloads: &PayloadMap, now: Instant) {
        let codec = payloads.codec_of(packet.payload_type);
        let event = payloads.telephone_event == Some(packet.payload_type);
        let mut arrival = Arrival::Duplicate;
        for measurement in [&mut self.recent, &mut self.whole] {
            arrival = measurement.receiver.handle(packet, now, codec.is_some());
            measurement.first.get_or_insert(now);
            measurement.last = Some(now);
            if codec.is_some() {
                measurement.codec = codec;
            } else if !event {
                measurement.unknown_payload += 1;
            }
        }
        if arrival == Arrival::Duplicate {
            return;
        }
        if event {
            self.event(packet);
        }
        if let Some(decode) = codec.and_then(decoder) {
            self.sound(packet, decode, arrival);
        }
    }

    fn event(&mut self, packet: &Packet<'_>) {
        let Some(event) = EventPacket::parse(packet.payload) else { return };
        let this = (packet.ssrc, packet.timestamp);
        // A late packet of the event before has an older timestamp: not a digit again.
        let newer = |last: u32| packet.timestamp.wrapping_sub(last).wrapping_sub(1) < 1 << 31;
        if self.event.is_none_or(|(ssrc, last)| ssrc != packet.ssrc || newer(last)) {
            self.event = Some(this);
            self.digit(event.digit);
        }
    }

    fn sound(&mut self, packet: &Packet<'_>, decode: fn(u8) -> i16, arrival: Arrival) {
        if arrival == Arrival::Late {
            // Out of order: a frame of its own, if it is a whole one.
            if let Ok(samples) = <&[u8; FRAME]>::try_from(packet.payload) {
                let frame = tone::analyse(&samples.map(decode));
                self.whole.tally.unmiss(frame);
                self.recent.tally.unmiss(frame);
            }
            return;
        }
        if let Arrival::Next { missing: 1.. } | Arrival::First = arrival {
            self.partial.clear();
        }
        if let Arrival::Next { missing } = arrival {
            let frames = missing * (packet.payload.len() as u64).div_ceil(FRAME as u64);
            self.whole.tally.miss(frames);
            self.recent.tally.miss(frames);
        }
        for byte in packet.payload {
            self.partial.push(decode(*byte));
            if let Ok(samples) = <&[i16; FRAME]>::try_from(self.partial.as_slice()) {
                let frame = tone::analyse(samples);
                self.whole.tally.add(frame);
                self.recent.tally.add(frame);
                self.partial.clear();
            }
        }
    }

    pub(super) fn digit(&mut self, digit: char) {
        self.whole.digit(digit);
        self.recent.digit(digit);
    }

    /// Something that is no RTP, or not from the peer.
    pub(super) fn strange(&mut self) {
        self.whole.strange += 1;
        self.recent.strange += 1;
    }

    /// Nothing is expected for now: silence is no gap.
    pub(super) fn pause(&mut self) {
        self.whole.receiver.pause();
        self.recent.receiver.pause();
    }

    pub(super) fn afresh(&mut self) {
        self.recent = Measurement::default();
    }

    pub(super) fn heard(&self) -> Heard {
        self.whole.heard()
    }

    pub(super) fn heard_afresh(&self) -> Heard {
        self.recent.heard()
    }
}

fn decoder(codec: Codec) -> Option<fn(u8) -> i16> {
    match codec {
        Codec::Pcmu => Some(tone::ulaw_decode),
        Codec::Pcma => Some(tone::alaw_decode),
        Codec::G722 | Codec::Opus => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lab::tone::{Generator, alaw_encode};
    use crate::sdp::Format;

    fn payloads() -> PayloadMap {
        PayloadMap {
            formats: smallvec::smallvec![Format { codec: Codec::Pcma, payload: 8 }],
            telephone_event: Some(101),
            ..PayloadMap::default()
        }
    }

    #[test]
    fn tone_loss_and_digits_of_a_call_are_told() {
        let (mut meter, mut generator) = (Meter::default(), Generator::new(440.0, -12.0));
        let start = Instant::now();
        for n in 0..500u16 {
            let payload: Vec<u8> = (0..FRAME).map(|_| alaw_encode(generator.sample())).collect();
            if n == 100 {
                continue;
            }
            let packet = Packet {
                marker: n == 0,
                payload_type: 8,
                sequence: n.wrapping_sub(5),
                timestamp: u32::from(n) * 160,
                ssrc: 1,
                payload: &payload,
            };
            meter.packet(&packet, &payloads(), start + Duration::from_millis(20) * u32::from(n));
        }
        let mut sequence = 495;
        for (timestamp, digit) in [(80_000u32, '1'), (81_000, '1'), (82_000, '#')] {
            for end in [false, false, true, true] {
                let event = EventPacket { digit, end, duration: 160 }.write().unwrap();
                let packet = Packet {
                    marker: false,
                    payload_type: 101,
                    sequence,
                    timestamp,
                    ssrc: 1,
                    payload: &event,
                };
                meter.packet(&packet, &payloads(), start + Duration::from_secs(10));
                sequence += 1;
            }
        }
        let heard = meter.heard();
        assert_eq!((heard.received.packets, heard.received.lost), (499 + 12, 1));
        assert_eq!(heard.digits, "11#");
        let tone = heard.tone_near(440.0, 5.0);
        assert!((tone.share - 0.998).abs() < 0.001 && (tone.dbfs + 12.0).abs() < 0.5, "{tone:?}");
        let line = heard.to_string();
        assert!(
            line.contains(
                "440 Hz (-12 dBFS, 100 % of 20 ms frames), largest gap 40 ms, digits 11#"
            ),
            "{line}"
        );
        meter.afresh();
        assert_eq!(meter.heard_afresh().received.packets, 0);
        assert_eq!(meter.heard(), heard);
    }
}
