//! What a test browser received, measured on the packets themselves.

use std::collections::BTreeMap;

use super::tone::{self, FRAME, Law, RATE};

/// A minute: no test listens longer, and the oldest goes first.
const KEEP_SAMPLES: usize = 60 * RATE as usize;
const KEEP_PAYLOADS: usize = 500;

/// The header of an RTP packet, which SRTP leaves readable (RFC 3550 5.1).
#[derive(Debug, Clone, Copy)]
pub struct RtpHeader {
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

impl RtpHeader {
    /// RTP only: DTLS, STUN and RTCP give nothing (RFC 7983, RFC 5761 4).
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let header: &[u8; 12] = datagram.first_chunk()?;
        if header[0] >> 6 != 2 || (64..=95).contains(&(header[1] & 0x7F)) {
            return None;
        }
        let word =
            |i: usize| u32::from_be_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        Some(Self {
            payload_type: header[1] & 0x7F,
            marker: header[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: word(4),
            ssrc: word(8),
        })
    }
}

/// One SSRC, as it came over the wire.
#[derive(Debug, Clone)]
pub struct Stream {
    pub ssrc: u32,
    pub received: u64,
    /// Neither late nor repeated packets count as new.
    pub repeated: u64,
    /// Timestamps that went backwards between successive sequence numbers.
    pub timestamps_back: u64,
    first: i64,
    highest: i64,
    last_timestamp: u32,
}

impl Stream {
    fn new(header: RtpHeader) -> Self {
        Self {
            ssrc: header.ssrc,
            received: 1,
            repeated: 0,
            timestamps_back: 0,
            first: i64::from(header.sequence),
            highest: i64::from(header.sequence),
            last_timestamp: header.timestamp,
        }
    }

    fn take(&mut self, header: RtpHeader) {
        let step = i64::from(header.sequence.wrapping_sub(self.highest as u16) as i16);
        if step == 0 {
            self.repeated += 1;
            return;
        }
        self.received += 1;
        if step > 0 {
            self.highest += step;
            if (header.timestamp.wrapping_sub(self.last_timestamp) as i32) < 0 {
                self.timestamps_back += 1;
            }
            self.last_timestamp = header.timestamp;
        }
    }

    pub fn lost(&self) -> u64 {
        let expected = (self.highest - self.first + 1) as u64;
        expected.saturating_sub(self.received)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// In the order in which they first appeared, since the connection was made.
    pub streams: Vec<Stream>,
    pub payload_types: BTreeMap<u8, u64>,
    /// Packets whose authentication held.
    pub decrypted: u64,
    /// Digits of telephone events, each once.
    pub digits: String,
    /// 8 kHz audio since the last [`Heard::forget`].
    pub samples: Vec<i16>,
    /// Payloads that are neither G.711 nor an event, since the last [`Heard::forget`].
    pub payloads: Vec<(u8, Vec<u8>)>,
    last_event: Option<u32>,
    /// Where numbers were left out: how many packets had come before, and how many did not.
    pub gaps: Vec<(u64, u16)>,
}

impl Heard {
    pub fn datagram(&mut self, header: RtpHeader) {
        if let Some(stream) = self.streams.iter().find(|s| s.ssrc == header.ssrc) {
            let ahead = header.sequence.wrapping_sub(stream.highest as u16);
            if (2..0x8000).contains(&ahead) {
                self.gaps.push((stream.received, ahead - 1));
            }
        }
        *self.payload_types.entry(header.payload_type).or_default() += 1;
        match self.streams.iter_mut().find(|s| s.ssrc == header.ssrc) {
            Some(stream) => stream.take(header),
            None => self.streams.push(Stream::new(header)),
        }
    }

    pub fn audio(&mut self, law: Law, payload: &[u8]) {
        self.decrypted += 1;
        self.samples.extend(payload.iter().map(|byte| law.decode(*byte)));
        let over = self.samples.len().saturating_sub(KEEP_SAMPLES);
        self.samples.drain(..over);
    }

    /// An event counts once, however often it is repeated (RFC 4733 2.5.1.4).
    pub fn event(&mut self, timestamp: u32, payload: &[u8]) {
        self.decrypted += 1;
        if payload.len() < 4 || self.last_event == Some(timestamp) {
            return;
        }
        self.last_event = Some(timestamp);
        if let Some(digit) = b"0123456789*#ABCD".get(usize::from(payload[0])) {
            self.digits.push(char::from(*digit));
        }
    }

    pub fn other(&mut self, payload_type: u8, payload: &[u8]) {
        self.decrypted += 1;
        if self.payloads.len() < KEEP_PAYLOADS {
            self.payloads.push((payload_type, payload.to_vec()));
        }
    }

    /// Forgets audio, not streams: one SSRC has to last as long as the connection.
    pub fn forget(&mut self) {
        self.samples.clear();
        self.payloads.clear();
        self.digits.clear();
    }

    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(RATE)
    }

    /// Seconds of audio that are this tone, frame by frame.
    pub fn tone_seconds(&self, hertz: f64) -> f64 {
        let frames = self.samples.chunks_exact(FRAME).filter(|f| tone::is_tone(f, hertz)).count();
        frames as f64 * 0.02
    }

    /// What the last half second mostly was.
    pub fn dominant(&self) -> Option<f64> {
        let start = self.samples.len().saturating_sub(RATE as usize / 2);
        tone::dominant(&self.samples[start..])
    }

    pub fn received(&self) -> u64 {
        self.streams.iter().map(|s| s.received).sum()
    }

    pub fn lost(&self) -> u64 {
        self.streams.iter().map(Stream::lost).sum()
    }

    /// Lost of expected packets, 0.0 to 1.0.
    pub fn loss(&self) -> f64 {
        let (lost, received) = (self.lost() as f64, self.received() as f64);
        if received == 0.0 { 1.0 } else { lost / (lost + received) }
    }

    /// A browser is to see one source, gapless and never running backwards.
    #[track_caller]
    pub fn assert_one_unbroken_stream(&self) {
        assert_eq!(self.streams.len(), 1, "the browser saw more than one SSRC: {:?}", self.streams);
        assert!(self.loss() < 0.01, "lost {} of {}: {:?}", self.lost(), self.received(), self.gaps);
        assert_eq!(self.streams[0].timestamps_back, 0, "timestamps went back: {:?}", self.streams);
    }
}
