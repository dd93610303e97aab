//! What a lab telephone says, as RTP packets. Pure: a tick every 20 ms goes in.

use std::collections::VecDeque;

use super::rtp::{EventPacket, Packet};
use super::tone::{FRAME, Generator, alaw_encode, ulaw_encode};
use crate::sdp::{Codec, PayloadMap};

/// A digit sounds for 100 ms and is followed by 60 ms of pause, in ticks.
const DIGIT_TICKS: u16 = 5;
const DIGIT_PAUSE: u16 = 3;
/// The last packet of a digit goes out three times (RFC 4733 2.5.1.4).
const DIGIT_ENDS: u16 = 3;
/// Digits that wait; more than anybody asks for at once.
const MAX_DIGITS: usize = 256;

/// The tune of [`Sound::Melody`], in Hz; a note fades for 320 ms. None of its notes is near the tones
/// that tests listen for (440, 1000 Hz).
pub const MELODY: [f64; 12] =
    [523.25, 659.26, 783.99, 659.26, 587.33, 698.46, 880.0, 698.46, 493.88, 587.33, 783.99, 587.33];
const NOTE_TICKS: u32 = 16;

/// What a telephone plays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sound {
    /// Each audio packet that comes goes back as it is, under the telephone's own SSRC.
    Echo,
    /// In G.711; a call that settled on G.722 hears silence instead.
    Tone {
        hz: f64,
        /// Relative to a full-scale sine.
        dbfs: f64,
    },
    /// Two tones at once, equally loud: what a conference sounds like. In G.711.
    Chord { hz: [f64; 2], dbfs: f64 },
    /// A little tune, over and over: music on hold. In G.711.
    Melody,
    /// Packets of silence.
    Silence,
    /// No packets at all.
    Stopped,
}

#[derive(Debug)]
pub struct Voice {
    sound: Sound,
    generator: Generator,
    /// The upper note of a chord.
    second: Generator,
    /// Ticks of the melody so far.
    beat: u32,
    /// In the peer's numbers.
    payloads: PayloadMap,
    ssrc: u32,
    sequence: u16,
    /// The clock: 160 further with each tick, whether something is sent or not.
    clock: u32,
    /// Timestamp of the last audio packet, for the echo must not go back.
    last: Option<u32>,
    /// What turns the timestamps of the source that is echoed into ours.
    echo: Option<(u32, u32)>,
    marker: bool,
    digits: VecDeque<char>,
    /// Digit, its timestamp and its tick.
    digit: Option<(char, u32, u16)>,
    sent: u64,
}

impl Voice {
    pub fn new(sound: Sound) -> Self {
        let mut voice = Self {
            sound,
            generator: Generator::new(0.0, 0.0),
            second: Generator::new(0.0, 0.0),
            beat: 0,
            payloads: PayloadMap::default(),
            ssrc: rand::random(),
            sequence: rand::random(),
            clock: rand::random(),
            last: None,
            echo: None,
            marker: true,
            digits: VecDeque::new(),
            digit: None,
            sent: 0,
        };
        voice.play(sound);
        voice
    }

    pub fn play(&mut self, sound: Sound) {
        match sound {
            Sound::Tone { hz, dbfs } => self.generator = Generator::new(hz, dbfs),
            Sound::Chord { hz: [low, high], dbfs } => {
                // Two together must not clip.
                self.generator = Generator::new(low, dbfs - 6.0);
                self.second = Generator::new(high, dbfs - 6.0);
            }
            Sound::Melody => self.beat = 0,
            Sound::Echo | Sound::Silence | Sound::Stopped => {}
        }
        self.sound = sound;
    }

    /// Tunes in to the note of this tick.
    fn next_beat(&mut self) {
        let note = MELODY[(self.beat / NOTE_TICKS) as usize % MELODY.len()];
        self.generator.retune(note, -14.0 - 1.5 * f64::from(self.beat % NOTE_TICKS));
        self.beat = self.beat.wrapping_add(1);
    }

    /// In the peer's numbers, the preferred first.
    pub fn set_payloads(&mut self, payloads: PayloadMap) {
        self.payloads = payloads;
    }

    pub fn dial(&mut self, digits: &str) {
        let room = MAX_DIGITS.saturating_sub(self.digits.len());
        self.digits.extend(digits.chars().take(room));
    }

    /// Packets written.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    fn write(&mut self, payload_type: u8, timestamp: u32, payload: &[u8], out: &mut Vec<u8>) {
        let packet = Packet {
            marker: std::mem::take(&mut self.marker),
            payload_type,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            payload,
        };
        packet.write(out);
        self.sequence = self.sequence.wrapping_add(1);
        self.sent += 1;
    }

    /// A packet that came, as its echo goes back; false when none does.
    pub fn echo(&mut self, codec: Codec, packet: &Packet<'_>, out: &mut Vec<u8>) -> bool {
        if self.sound != Sound::Echo || self.digit.is_some() {
            return false;
        }
        let Some(payload_type) = self.payloads.payload_of(codec) else { return false };
        let offset = match self.echo {
            Some((ssrc, offset)) if ssrc == packet.ssrc => offset,
            _ => self.clock.wrapping_sub(packet.timestamp),
        };
        let mut timestamp = packet.timestamp.wrapping_add(offset);
        self.echo = Some((packet.ssrc, offset));
        if let Some(last) = self.last
            && timestamp.wrapping_sub(last).wrapping_sub(1) >= 1 << 31
        {
            // Late, or the source's clock was set back. Ours goes on.
            timestamp = last.wrapping_add(FRAME as u32);
            self.echo = Some((packet.ssrc, timestamp.wrapping_sub(packet.timestamp)));
        }
        self.last = Some(timestamp);
        self.write(payload_type, timestamp, packet.payload, out);
        true
    }

    /// 20 ms have passed. Each packet goes through `send`.
    pub fn tick(&mut self, may_send: bool, out: &mut Vec<u8>, mut send: impl FnMut(&[u8])) {
        self.clock = self.clock.wrapping_add(FRAME as u32);
        if !may_send {
            self.marker = true;
            return;
        }
        if self.digit.is_none() {
            self.digit = self.digits.pop_front().map(|digit| (digit, self.clock, 0));
        }
        if let Some((digit, timestamp, tick)) = self.digit.take() {
            if tick < DIGIT_TICKS + DIGIT_PAUSE {
                self.digit = Some((digit, timestamp, tick + 1));
            }
            if tick < DIGIT_TICKS {
                self.digit_packets(digit, timestamp, tick, out, &mut send);
                return;
            }
        }
        let Some(format) = self.payloads.preferred() else { return };
        let mut payload = [format.codec.silence_byte().unwrap_or_default(); FRAME];
        let encode = match format.codec {
            Codec::Pcmu => Some(ulaw_encode as fn(i16) -> u8),
            Codec::Pcma => Some(alaw_encode as fn(i16) -> u8),
            Codec::G722 | Codec::Opus => None,
        };
        match (self.sound, encode) {
            (Sound::Echo | Sound::Stopped, _) => {
                self.marker |= self.sound == Sound::Stopped;
                return;
            }
            (Sound::Tone { .. }, Some(encode)) => {
                payload.fill_with(|| encode(self.generator.sample()));
            }
            (Sound::Melody, Some(encode)) => {
                self.next_beat();
                payload.fill_with(|| encode(self.generator.sample()));
            }
            (Sound::Chord { .. }, Some(encode)) => {
                let (low, high) = (&mut self.generator, &mut self.second);
                payload.fill_with(|| encode(low.sample().saturating_add(high.sample())));
            }
            (_, _) => {}
        }
        // An echo may have run a little ahead of the clock.
        if let Some(last) = self.last
            && self.clock.wrapping_sub(last).wrapping_sub(1) >= 1 << 31
        {
            self.clock = last.wrapping_add(FRAME as u32);
        }
        self.last = Some(self.clock);
        self.write(format.payload, self.clock, &payload, out);
        send(out);
    }

    fn digit_packets(
        &mut self,
        digit: char,
        timestamp: u32,
        tick: u16,
        out: &mut Vec<u8>,
        send: &mut impl FnMut(&[u8]),
    ) {
        let Some(payload_type) = self.payloads.telephone_event else { return };
        let end = tick + 1 == DIGIT_TICKS;
        let event = EventPacket { digit, end, duration: (tick + 1) * FRAME as u16 };
        let Some(payload) = event.write() else { return };
        self.marker = tick == 0;
        for _ in 0..if end { DIGIT_ENDS } else { 1 } {
            self.write(payload_type, timestamp, &payload, out);
            send(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Format;

    fn voice(sound: Sound) -> Voice {
        let mut voice = Voice::new(sound);
        voice.set_payloads(PayloadMap {
            formats: smallvec::smallvec![Format { codec: Codec::Pcmu, payload: 0 }],
            telephone_event: Some(101),
            ..PayloadMap::default()
        });
        voice
    }

    fn ticks(voice: &mut Voice, ticks: usize) -> Vec<(u8, u16, u32, bool)> {
        let (mut out, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..ticks {
            voice.tick(true, &mut out, |bytes| {
                let p = Packet::parse(bytes).unwrap();
                sent.push((p.payload_type, p.sequence, p.timestamp, p.marker));
            });
        }
        sent
    }

    #[test]
    fn sequence_numbers_have_no_gap_and_time_goes_on() {
        let mut voice = voice(Sound::Silence);
        let mut all = ticks(&mut voice, 5);
        voice.dial("1");
        all.extend(ticks(&mut voice, 10));
        voice.play(Sound::Stopped);
        assert!(ticks(&mut voice, 50).is_empty());
        voice.play(Sound::Tone { hz: 440.0, dbfs: -12.0 });
        all.extend(ticks(&mut voice, 2));
        for pair in all.windows(2) {
            assert_eq!(pair[1].1, pair[0].1.wrapping_add(1), "{pair:?}");
            assert!(pair[1].2.wrapping_sub(pair[0].2) < 60 * 160, "{pair:?}");
        }
        let markers: Vec<_> = (0..all.len()).filter(|n| all[*n].3).collect();
        // The first, the digit's first, and the first after the pause.
        assert_eq!(markers, [0, 5, all.len() - 2]);
        assert_eq!(all.iter().filter(|packet| packet.0 == 101).count(), 7);
    }

    #[test]
    fn an_echo_keeps_its_clock_when_the_source_changes_its_own() {
        let mut voice = voice(Sound::Echo);
        let (mut out, mut last) = (Vec::new(), None);
        let source = |ssrc, timestamp| Packet {
            marker: false,
            payload_type: 0,
            sequence: 0,
            timestamp,
            ssrc,
            payload: &[0xFF; 160],
        };
        for (ssrc, timestamp, step) in
            [(1, 1000, None), (1, 1160, Some(160)), (1, 160, Some(160)), (2, 9_999_999, None)]
        {
            ticks(&mut voice, 1);
            assert!(voice.echo(Codec::Pcmu, &source(ssrc, timestamp), &mut out));
            let now = Packet::parse(&out).unwrap().timestamp;
            if let (Some(step), Some(last)) = (step, last) {
                assert_eq!(now.wrapping_sub(last), step);
            } else if let Some(last) = last {
                assert!(now.wrapping_sub(last) < 1 << 31 && now != last);
            }
            last = Some(now);
        }
        assert!(!voice.echo(Codec::Pcma, &source(2, 0), &mut out), "not negotiated");
    }
}
