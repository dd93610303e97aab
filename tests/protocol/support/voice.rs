//! The microphone: 20 ms packets of a tone, of silence or of given payloads, and digits.

use std::collections::VecDeque;

use rtc::rtp;

use super::driver::Meaning;
use super::sdp;
use super::tone::{FRAME, Law, Sine};

/// 100 ms of digit, then a pause (units of 20 ms).
const DIGIT_FRAMES: u16 = 5;
const PAUSE_FRAMES: u16 = 3;
const VOLUME: u8 = 10;

pub(super) struct Voice {
    pub(super) payloads: Vec<Vec<u8>>,
    pub(super) stopped: bool,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    sine: Option<Sine>,
    next_payload: usize,
    /// Payload type to send, and what all of them mean.
    sound: Option<(u8, Option<Law>)>,
    laws: Vec<(u8, Law)>,
    event: Option<u8>,
    digits: VecDeque<u8>,
    digit: Option<Digit>,
    talking: bool,
}

struct Digit {
    code: u8,
    started: u32,
    frame: u16,
}

impl Voice {
    pub(super) fn new(ssrc: u32) -> Self {
        Self {
            payloads: Vec::new(),
            stopped: false,
            ssrc,
            sequence: rand::random(),
            timestamp: rand::random(),
            sine: None,
            next_payload: 0,
            sound: None,
            laws: Vec::new(),
            event: None,
            digits: VecDeque::new(),
            digit: None,
            talking: false,
        }
    }

    pub(super) fn play(&mut self, hertz: Option<f64>) {
        self.sine = hertz.map(Sine::new);
    }

    pub(super) fn dial(&mut self, digits: &str) {
        let codes = digits.bytes().filter_map(|digit| {
            b"0123456789*#ABCD".iter().position(|known| *known == digit).map(|code| code as u8)
        });
        self.digits.extend(codes);
    }

    pub(super) fn negotiated(&mut self, answer: &str) {
        let law = |name: &str| match name {
            "PCMU" => Some(Law::Mu),
            "PCMA" => Some(Law::A),
            _ => None,
        };
        let sound = sdp::sound_codecs(answer);
        self.sound = sound.first().map(|(number, name)| (*number, law(name)));
        self.laws = sound.iter().filter_map(|(n, name)| Some((*n, law(name)?))).collect();
        self.event = sdp::event_payload(answer);
    }

    pub(super) fn meaning(&self, payload_type: u8) -> Meaning {
        if self.event == Some(payload_type) {
            return Meaning::Event;
        }
        match self.laws.iter().find(|(number, _)| *number == payload_type) {
            Some((_, law)) => Meaning::Sound(*law),
            None => Meaning::Other,
        }
    }

    /// What goes out every 20 ms.
    pub(super) fn tick(&mut self) -> Vec<rtp::Packet> {
        let now = self.timestamp;
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        if self.stopped {
            self.talking = false;
            return Vec::new();
        }
        if self.digit.is_none() {
            self.digit = self.digits.pop_front().map(|code| Digit { code, started: now, frame: 0 });
        }
        if let Some(packets) = self.digit_packets() {
            return packets;
        }
        let Some((number, law)) = self.sound else { return Vec::new() };
        let payload = match (law, &mut self.sine) {
            (Some(law), Some(sine)) => sine.frame(law),
            (Some(law), None) => vec![law.encode(0); FRAME],
            (None, _) if self.payloads.is_empty() => return Vec::new(),
            (None, _) => {
                self.next_payload = (self.next_payload + 1) % self.payloads.len();
                self.payloads[self.next_payload].clone()
            }
        };
        let marker = !std::mem::replace(&mut self.talking, true);
        vec![self.packet(number, marker, now, payload)]
    }

    /// Updates every 20 ms, the end three times (RFC 4733 2.5.1.4).
    fn digit_packets(&mut self) -> Option<Vec<rtp::Packet>> {
        let number = self.event?;
        let digit = self.digit.as_mut()?;
        digit.frame += 1;
        let (code, started, frame) = (digit.code, digit.started, digit.frame);
        if frame == DIGIT_FRAMES + PAUSE_FRAMES {
            self.digit = None;
        }
        let end = frame == DIGIT_FRAMES;
        let count = match frame {
            _ if end => 3,
            f if f < DIGIT_FRAMES => 1,
            _ => return None,
        };
        let duration = (frame * FRAME as u16).to_be_bytes();
        let flags = VOLUME | if end { 0x80 } else { 0 };
        let payload = vec![code, flags, duration[0], duration[1]];
        self.talking = true;
        Some(
            (0..count).map(|_| self.packet(number, frame == 1, started, payload.clone())).collect(),
        )
    }

    fn packet(
        &mut self,
        payload_type: u8,
        marker: bool,
        timestamp: u32,
        payload: Vec<u8>,
    ) -> rtp::Packet {
        self.sequence = self.sequence.wrapping_add(1);
        rtp::Packet {
            header: rtp::Header {
                version: 2,
                marker,
                payload_type,
                sequence_number: self.sequence,
                timestamp,
                ssrc: self.ssrc,
                ..Default::default()
            },
            payload: payload.into(),
        }
    }
}
