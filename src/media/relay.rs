//! What becomes of a packet between the two sides: payload types, codecs, digits, silence.
//! Works on plain RTP; knows neither sockets nor keys.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sdp::{Codec, Format, PayloadMap};

use super::dtmf::{Event, Keypad, Listener};
use super::g711::transcoding;
use super::rtp::{HEADER, Packet};
use super::stream::{Place, Source, Stream, units};
use super::types::{Flow, MediaEvent};

/// Comfort noise (RFC 3389): swallowed, for it is never negotiated.
const COMFORT_NOISE: u8 = 13;

/// A browser that is expected to speak is covered for after this long: ten frames, so that no
/// jitter sets it off.
const COVER_AFTER: Duration = Duration::from_millis(200);

/// What a silence frame may span: what phones take, and what fits the buffer.
const PTIME: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_millis(100);

/// Late by more than this, silence goes on from now instead of catching up.
const MAX_LAG: Duration = Duration::from_millis(200);

/// Events that wait for the caller: digits, of which a call has few at a time.
const MAX_EVENTS: usize = 32;

/// Room for any packet we write.
pub const PACKET: usize = 1500;

/// The two outgoing streams of a call and the mapping between its sides.
pub struct Relay {
    browser: PayloadMap,
    sip: PayloadMap,
    ptime: Duration,
    flow: Flow,
    to_browser: Stream,
    to_sip: Stream,
    browser_ear: Listener,
    sip_ear: Listener,
    keypad: Keypad,
    keypad_timestamp: u32,
    /// The next frame of silence toward SIP; later again with each packet that is passed on.
    silence_at: Option<Instant>,
    unknown_payload: u64,
    events: VecDeque<MediaEvent>,
}

impl Relay {
    pub fn new(to_browser: Stream, to_sip: Stream) -> Self {
        Relay {
            browser: PayloadMap::default(),
            sip: PayloadMap::default(),
            ptime: Duration::from_millis(20),
            flow: Flow::default(),
            to_browser,
            to_sip,
            browser_ear: Listener::default(),
            sip_ear: Listener::default(),
            keypad: Keypad::default(),
            keypad_timestamp: 0,
            silence_at: None,
            unknown_payload: 0,
            events: VecDeque::new(),
        }
    }

    pub fn to_browser(&self) -> &Stream {
        &self.to_browser
    }

    pub fn to_sip(&self) -> &Stream {
        &self.to_sip
    }

    /// Packets of a payload type nobody negotiated, or that cannot be said in the other side's.
    pub fn unknown_payload(&self) -> u64 {
        self.unknown_payload
    }

    pub fn set_browser(&mut self, payloads: PayloadMap) {
        self.browser = payloads;
    }

    pub fn set_sip(&mut self, now: Instant, payloads: PayloadMap, ptime: Duration) {
        self.sip = payloads;
        if self.sip.telephone_event.is_none() {
            self.keypad.clear();
        }
        self.ptime = ptime.clamp(*PTIME.start(), *PTIME.end());
        self.arm_silence(now);
    }

    pub fn set_flow(&mut self, now: Instant, flow: Flow) {
        let before = std::mem::replace(&mut self.flow, flow);
        if !flow.to_browser {
            self.to_browser.detach();
        }
        if !flow.to_sip {
            self.to_sip.detach();
        }
        if !self.may_send() {
            self.keypad.clear();
        }
        if before.to_sip != flow.to_sip || before.keep_alive != flow.keep_alive {
            self.silence_at = None;
            self.arm_silence(now);
        }
    }

    pub fn press(&mut self, now: Instant, digits: &str) {
        if self.sip.telephone_event.is_none() {
            self.unknown_payload += 1;
            return;
        }
        if !self.may_send() {
            return;
        }
        self.keypad.press(now, digits);
    }

    /// A packet of the browser's, as it is to go to SIP.
    pub fn forward_to_sip<'b>(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        buffer: &'b mut [u8; PACKET],
    ) -> Option<&'b [u8]> {
        if packet.payload.is_empty() || !self.flow.to_sip {
            return None;
        }
        if self.browser.telephone_event == Some(packet.payload_type) {
            let event = Event::parse(packet.payload)?;
            self.report(packet.timestamp, event, false);
            let Some(payload_type) = self.sip.telephone_event else {
                self.unknown_payload += 1;
                self.to_sip.swallow(now, source(packet, 0));
                return None;
            };
            self.silence_at = self.silence_at.map(|_| now + COVER_AFTER);
            let place = self.to_sip.follow(now, source(packet, 0))?;
            return write(place, payload_type, packet.payload, None, buffer);
        }
        let Some(way) = way(&self.browser, &self.sip, packet.payload_type) else {
            self.unknown_payload += u64::from(packet.payload_type != COMFORT_NOISE);
            self.to_sip.swallow(now, source(packet, packet.payload.len()));
            return None;
        };
        self.silence_at = self.silence_at.map(|_| now + COVER_AFTER);
        if self.keypad.is_sounding() {
            return None;
        }
        let place = self.to_sip.follow(now, source(packet, packet.payload.len()))?;
        write(place, way.payload_type, packet.payload, way.table, buffer)
    }

    /// A packet of the SIP side's, as it is to go to the browser.
    pub fn forward_to_browser<'b>(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        buffer: &'b mut [u8; PACKET],
    ) -> Option<&'b [u8]> {
        if packet.payload.is_empty() || !self.flow.to_browser {
            return None;
        }
        if self.sip.telephone_event == Some(packet.payload_type) {
            let event = Event::parse(packet.payload)?;
            self.report(packet.timestamp, event, true);
            let Some(payload_type) = self.browser.telephone_event else {
                self.to_browser.swallow(now, source(packet, 0));
                return None;
            };
            let place = self.to_browser.follow(now, source(packet, 0))?;
            return write(place, payload_type, packet.payload, None, buffer);
        }
        let samples = packet.payload.len();
        let Some(way) = way(&self.sip, &self.browser, packet.payload_type) else {
            self.unknown_payload += u64::from(packet.payload_type != COMFORT_NOISE);
            self.to_browser.swallow(now, source(packet, samples));
            return None;
        };
        let place = self.to_browser.follow(now, source(packet, samples))?;
        write(place, way.payload_type, packet.payload, way.table, buffer)
    }

    /// True when packets of this payload type are something the SIP side negotiated.
    pub fn knows_sip_payload(&self, payload_type: u8) -> bool {
        self.sip.codec_of(payload_type).is_some()
            || self.sip.telephone_event == Some(payload_type)
            || payload_type == COMFORT_NOISE
    }

    pub fn is_sip_event(&self, payload_type: u8) -> bool {
        self.sip.telephone_event == Some(payload_type)
    }

    pub fn is_browser_event(&self, payload_type: u8) -> bool {
        self.browser.telephone_event == Some(payload_type)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let keypad = self.keypad.poll_timeout();
        let silence = self.silence_at.filter(|_| !self.keypad.is_sounding());
        keypad.into_iter().chain(silence).min()
    }

    /// A packet of our own for SIP that is due: a digit's, or silence. To be asked until `None`.
    pub fn poll_sip<'b>(&mut self, now: Instant, buffer: &'b mut [u8; PACKET]) -> Option<&'b [u8]> {
        if let Some(payload_type) = self.sip.telephone_event
            && let Some(due) = self.keypad.poll(now)
        {
            let place = if due.first {
                let place = self.to_sip.insert(now, 0);
                self.keypad_timestamp = place.timestamp;
                Place { marker: true, ..place }
            } else {
                self.to_sip.repeat(now, self.keypad_timestamp)
            };
            return write(place, payload_type, &due.event.payload(), None, buffer);
        }
        let at = self.silence_at.filter(|at| *at <= now && !self.keypad.is_sounding())?;
        let Format { codec, payload } = self.sip.preferred()?;
        let next = at + self.ptime;
        self.silence_at =
            Some(if now.saturating_duration_since(next) > MAX_LAG { now } else { next });
        let samples = units(self.ptime);
        let frame = [codec.silence_byte(); 1000];
        let place = self.to_sip.insert(at, samples);
        write(place, payload, frame.get(..samples as usize)?, None, buffer)
    }

    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// The SIP side takes something from us.
    fn may_send(&self) -> bool {
        self.flow.to_sip || self.flow.keep_alive
    }

    fn arm_silence(&mut self, now: Instant) {
        if !self.flow.keep_alive || self.sip.preferred().is_none() {
            self.silence_at = None;
        } else if self.silence_at.is_none() {
            let pause = if self.flow.to_sip { COVER_AFTER } else { Duration::ZERO };
            self.silence_at = Some(now + pause);
        }
    }

    fn report(&mut self, timestamp: u32, event: Event, from_sip: bool) {
        let ear = if from_sip { &mut self.sip_ear } else { &mut self.browser_ear };
        if let Some((digit, duration)) = ear.hear(timestamp, event)
            && self.events.len() < MAX_EVENTS
        {
            self.events.push_back(MediaEvent::Digit { digit, duration, from_sip });
        }
    }
}

/// How a payload type of one side is said on the other.
struct Way {
    payload_type: u8,
    table: Option<&'static [u8; 256]>,
}

/// As it is where the other side has the codec, from one G.711 law to the other where not.
fn way(from: &PayloadMap, to: &PayloadMap, payload_type: u8) -> Option<Way> {
    let codec = from.codec_of(payload_type)?;
    if let Some(payload_type) = to.payload_of(codec) {
        return Some(Way { payload_type, table: None });
    }
    let other = match codec {
        Codec::Pcmu => Codec::Pcma,
        Codec::Pcma => Codec::Pcmu,
        Codec::G722 => return None,
    };
    Some(Way { payload_type: to.payload_of(other)?, table: transcoding(codec, other) })
}

fn source(packet: &Packet<'_>, samples: usize) -> Source {
    Source {
        ssrc: packet.ssrc,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        samples: samples as u32,
    }
}

fn write<'b>(
    place: Place,
    payload_type: u8,
    payload: &[u8],
    table: Option<&[u8; 256]>,
    buffer: &'b mut [u8; PACKET],
) -> Option<&'b [u8]> {
    let Place { ssrc, sequence, timestamp, marker } = place;
    let packet = Packet { payload_type, marker, sequence, timestamp, ssrc, payload };
    let len = packet.write(buffer)?.len();
    if let Some(table) = table {
        for byte in buffer.get_mut(HEADER..len)? {
            *byte = table[usize::from(*byte)];
        }
    }
    buffer.get(..len)
}
