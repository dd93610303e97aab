//! As much of RTP (RFC 3550) and telephone events (RFC 4733) as a lab telephone needs, and the
//! bookkeeping of what arrived. Written apart from the gateway's media room, so that one checks
//! the other.

use std::time::{Duration, Instant};

use super::tone::round;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` for what is no RTP packet of version 2, or claims more than it holds.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = datagram.split_first_chunk::<12>()?;
        if header[0] >> 6 != 2 {
            return None;
        }
        // RTCP types 192 to 223 look like payload types 64 to 95 with a marker (RFC 5761 4).
        if (192..=223).contains(&header[1]) {
            return None;
        }
        rest = rest.get(usize::from(header[0] & 0x0F) * 4..)?;
        if header[0] & 0x10 != 0 {
            let (extension, after) = rest.split_first_chunk::<4>()?;
            let words = usize::from(u16::from_be_bytes([extension[2], extension[3]]));
            rest = after.get(words * 4..)?;
        }
        if header[0] & 0x20 != 0 {
            let padding = usize::from(*rest.last()?);
            if padding == 0 {
                return None;
            }
            rest = rest.get(..rest.len().checked_sub(padding)?)?;
        }
        Some(Packet {
            marker: header[1] & 0x80 != 0,
            payload_type: header[1] & 0x7F,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            payload: rest,
        })
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(0x80);
        out.push(self.payload_type & 0x7F | if self.marker { 0x80 } else { 0 });
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// One packet of a telephone event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    pub digit: char,
    pub end: bool,
    /// In units of the stream's clock, 1/8000 s.
    pub duration: u16,
}

const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

impl EventPacket {
    /// `None` for events that are no digits.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (event, _) = payload.split_first_chunk::<4>()?;
        Some(Self {
            digit: char::from(*DIGITS.get(usize::from(event[0]))?),
            end: event[1] & 0x80 != 0,
            duration: u16::from_be_bytes([event[2], event[3]]),
        })
    }

    /// `None` when the digit is none.
    pub fn write(&self) -> Option<[u8; 4]> {
        let code = DIGITS.iter().position(|d| char::from(*d) == self.digit.to_ascii_uppercase())?;
        let duration = self.duration.to_be_bytes();
        Some([code as u8, if self.end { 0x80 } else { 0 } | 10, duration[0], duration[1]])
    }
}

/// How a packet stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// The first of a source: sound starts anew.
    First,
    /// Newer than all before; so many are missing in between, for now.
    Next {
        missing: u64,
    },
    /// Late, but not seen before.
    Late,
    Duplicate,
}

/// One source, by its SSRC.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    first: u64,
    highest: u64,
    /// Bit n: `highest - n` has come.
    window: u64,
    received: u64,
    /// Arrival minus timestamp of the last packet, in 1/8000 s (RFC 3550 A.8).
    transit: Option<f64>,
}

/// Packet bookkeeping (RFC 3550 A.1, A.3, A.8), over all sources of a call.
#[derive(Debug, Default)]
pub struct Receiver {
    source: Option<Source>,
    past_expected: u64,
    past_received: u64,
    sources: u32,
    duplicates: u64,
    jitter: f64,
    largest_jitter: f64,
    started: Option<Instant>,
    last: Option<Instant>,
    largest_gap: Duration,
}

/// Packets that came, counted.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Received {
    pub packets: u64,
    /// Sequence numbers that never came.
    pub lost: u64,
    /// 0 to 1.
    pub loss: f64,
    pub duplicates: u64,
    /// How many SSRCs (or restarts of one) there were.
    pub sources: u32,
    /// Interarrival jitter at the end and at its worst, milliseconds.
    pub jitter_ms: f64,
    pub largest_jitter_ms: f64,
    /// Longest time between two packets while packets were expected, milliseconds.
    pub largest_gap_ms: f64,
}

/// A jump further than this is a restart of the sender, not a loss (RFC 3550 A.1 MAX_DROPOUT).
const MAX_DROPOUT: u64 = 3000;

impl Receiver {
    pub fn handle(&mut self, packet: &Packet<'_>, now: Instant, audio: bool) -> Arrival {
        if let Some(last) = self.last {
            self.largest_gap = self.largest_gap.max(now.saturating_duration_since(last));
        }
        self.last = Some(now);
        let started = *self.started.get_or_insert(now);
        let arrival = self.place(packet);
        // A telephone event keeps its timestamp through all its packets: no measure of jitter.
        if let (Some(source), true) = (&mut self.source, audio) {
            let clock = now.saturating_duration_since(started).as_secs_f64() * 8000.0;
            let transit = clock - f64::from(packet.timestamp);
            if let Some(before) = source.transit
                && matches!(arrival, Arrival::Next { .. })
            {
                // Timestamps wrap at 2^32.
                let delta = (transit - before).abs();
                let delta = delta.min((delta - 4_294_967_296.0).abs());
                self.jitter += (delta - self.jitter) / 16.0;
                self.largest_jitter = self.largest_jitter.max(self.jitter);
            }
            source.transit = Some(transit);
        }
        arrival
    }

    fn place(&mut self, packet: &Packet<'_>) -> Arrival {
        if let Some(source) = self.source.as_mut().filter(|s| s.ssrc == packet.ssrc) {
            let step = packet.sequence.wrapping_sub(source.highest as u16);
            let back = u64::from(step.wrapping_neg());
            if step != 0 && u64::from(step) <= MAX_DROPOUT {
                source.highest += u64::from(step);
                source.window = source.window.checked_shl(u32::from(step)).unwrap_or(0) | 1;
                source.received += 1;
                return Arrival::Next { missing: u64::from(step) - 1 };
            }
            if back < 64 {
                let bit = 1 << back;
                if source.window & bit != 0 {
                    self.duplicates += 1;
                    return Arrival::Duplicate;
                }
                source.window |= bit;
                // Older than the first: it moves the start back instead of being one too many.
                source.first = source.first.min(source.highest.saturating_sub(back));
                source.received += 1;
                return Arrival::Late;
            }
            if back <= MAX_DROPOUT {
                // Out of the window: it stays counted as lost.
                return Arrival::Duplicate;
            }
        }
        self.close();
        // Away from zero, so that a packet older than the first has a place.
        let first = u64::from(packet.sequence) + (1 << 16);
        self.sources += 1;
        self.source = Some(Source {
            ssrc: packet.ssrc,
            first,
            highest: first,
            window: 1,
            received: 1,
            transit: None,
        });
        Arrival::First
    }

    fn close(&mut self) {
        if let Some(source) = self.source.take() {
            self.past_expected += source.highest - source.first + 1;
            self.past_received += source.received;
        }
    }

    /// Nothing is expected for now (hold): the silence to come is no gap.
    pub fn pause(&mut self) {
        self.last = None;
    }

    pub fn received(&self) -> Received {
        let (mut expected, mut packets) = (self.past_expected, self.past_received);
        if let Some(source) = &self.source {
            expected += source.highest - source.first + 1;
            packets += source.received;
        }
        let lost = expected.saturating_sub(packets);
        Received {
            packets,
            lost,
            loss: round(lost as f64 / expected.max(1) as f64, 1e6),
            duplicates: self.duplicates,
            sources: self.sources,
            jitter_ms: round(self.jitter / 8.0, 100.0),
            largest_jitter_ms: round(self.largest_jitter / 8.0, 100.0),
            largest_gap_ms: round(self.largest_gap.as_secs_f64() * 1000.0, 10.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16) -> Packet<'static> {
        Packet {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc: 7,
            payload: &[0xFF; 160],
        }
    }

    #[test]
    fn a_packet_reads_as_it_was_written() {
        let mut bytes = Vec::new();
        let written = Packet { marker: true, ..packet(65_535) };
        written.write(&mut bytes);
        assert_eq!(Packet::parse(&bytes), Some(written));
    }

    #[test]
    fn csrc_extension_and_padding_are_skipped_and_lies_are_refused() {
        let mut bytes = vec![0x80 | 0x20 | 0x10 | 1, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        bytes.extend([9; 4]); // CSRC
        bytes.extend([0xBE, 0xDE, 0, 1, 1, 2, 3, 4]); // one word of extension
        bytes.extend([42, 43, 0, 2]); // two bytes of payload, two of padding
        assert_eq!(Packet::parse(&bytes).map(|p| p.payload), Some(&[42, 43][..]));
        for length in 0..bytes.len() {
            let _ = Packet::parse(&bytes[..length]);
        }
        *bytes.last_mut().unwrap() = 200;
        assert_eq!(Packet::parse(&bytes), None);
        assert_eq!(Packet::parse(&[0x80, 200, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]), None);
    }

    #[test]
    fn loss_lateness_and_repetition_are_told_apart() {
        let mut receiver = Receiver::default();
        let start = Instant::now();
        let mut arrivals = Vec::new();
        for (n, sequence) in [65_534u16, 65_535, 2, 1, 1, 3].into_iter().enumerate() {
            let now = start + Duration::from_millis(20) * n as u32;
            arrivals.push(receiver.handle(&packet(sequence), now, true));
        }
        assert_eq!(
            arrivals,
            [
                Arrival::First,
                Arrival::Next { missing: 0 },
                Arrival::Next { missing: 2 },
                Arrival::Late,
                Arrival::Duplicate,
                Arrival::Next { missing: 0 },
            ]
        );
        let got = receiver.received();
        assert_eq!((got.packets, got.lost, got.duplicates), (5, 1, 1));
        assert_eq!(got.largest_gap_ms, 20.0);
    }

    #[test]
    fn a_new_source_is_no_loss() {
        let mut receiver = Receiver::default();
        let now = Instant::now();
        for sequence in 0..10 {
            receiver.handle(&packet(sequence), now, true);
        }
        receiver.handle(&Packet { ssrc: 8, ..packet(30_000) }, now, true);
        receiver.handle(&Packet { ssrc: 8, ..packet(30_001) }, now, true);
        let got = receiver.received();
        assert_eq!((got.packets, got.lost, got.sources), (12, 0, 2));
    }

    #[test]
    fn steady_packets_have_no_jitter_and_uneven_ones_have() {
        let start = Instant::now();
        let run = |wobble: u64| {
            let mut receiver = Receiver::default();
            for n in 0..200u16 {
                let late = if n % 2 == 1 { wobble } else { 0 };
                let now = start + Duration::from_millis(u64::from(n) * 20 + late);
                receiver.handle(&packet(n), now, true);
            }
            receiver.received().jitter_ms
        };
        assert_eq!(run(0), 0.0);
        assert!((run(5) - 5.0).abs() < 0.5);
    }

    #[test]
    fn digits_read_as_they_were_written() {
        for digit in "0123456789*#ABCD".chars() {
            let event = EventPacket { digit, end: true, duration: 800 };
            assert_eq!(EventPacket::parse(&event.write().unwrap()), Some(event));
        }
        assert_eq!(EventPacket { digit: 'x', end: true, duration: 0 }.write(), None);
        assert_eq!(EventPacket::parse(&[16, 0, 0, 0]), None);
        assert_eq!(EventPacket::parse(&[1, 0, 0]), None);
    }
}
