//! What becomes of a packet between the two sides: payload types, codecs, digits, silence.
//! Works on plain RTP; knows neither sockets nor keys.

mod event;
mod filler;
mod forward;
mod idle;
mod own;
#[cfg(test)]
mod tests;
mod transcode;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::sdp::{Codec, PayloadMap};

use crate::media::codec::COMPLEXITY;
use crate::media::dtmf::{self, Event, Keypad, Listener};
use crate::media::rtcp::Sent;
use crate::media::rtp::{HEADER, Packet};
use crate::media::stream::{Place, Stream};
use crate::media::types::{Flow, MediaEvent, Sounds};

use filler::Filler;

pub use idle::{Idle, Outlet};

use event::Renamed;
use transcode::Coder;

/// Comfort noise (RFC 3389): swallowed, for it is never negotiated.
const COMFORT_NOISE: u8 = 13;

/// A browser that is expected to speak is covered for after this long: ten frames, so that no
/// jitter sets it off.
const COVER_AFTER: Duration = Duration::from_millis(200);

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
    flow: Flow,
    to_browser: Stream,
    to_sip: Stream,
    browser_ear: Listener,
    sip_ear: Listener,
    coder_to_sip: Coder,
    coder_to_browser: Coder,
    /// Of Opus, 0 to 10.
    complexity: u8,
    /// Events that go on under timestamps of ours.
    browser_event: Option<Renamed>,
    sip_event: Option<Renamed>,
    keypad: Keypad,
    keypad_timestamp: u32,
    /// The next frame of silence toward SIP; later again with each packet that is passed on.
    silence_at: Option<Instant>,
    /// When the far end was heard last.
    heard: Option<Instant>,
    /// What the browser hears while the far end says nothing.
    filler: Filler,
    browser_keypad: Keypad,
    browser_keypad_timestamp: u32,
    sounds: Sounds,
    /// How far the hold music has come.
    music_position: usize,
    unknown_payload: u64,
    events: VecDeque<MediaEvent>,
}

impl Relay {
    pub fn new(to_browser: Stream, to_sip: Stream) -> Self {
        Relay {
            browser: PayloadMap::default(),
            sip: PayloadMap::default(),
            flow: Flow::default(),
            to_browser,
            to_sip,
            browser_ear: Listener::default(),
            sip_ear: Listener::default(),
            coder_to_sip: Coder::default(),
            coder_to_browser: Coder::default(),
            complexity: COMPLEXITY,
            browser_event: None,
            sip_event: None,
            keypad: Keypad::default(),
            keypad_timestamp: 0,
            silence_at: None,
            heard: None,
            filler: Filler::Off,
            browser_keypad: Keypad::default(),
            browser_keypad_timestamp: 0,
            sounds: Sounds::default(),
            music_position: 0,
            unknown_payload: 0,
            events: VecDeque::new(),
        }
    }

    pub fn with_sounds(self, sounds: Sounds) -> Self {
        Relay { sounds, ..self }
    }

    /// Of Opus, 0 to 10.
    pub fn with_complexity(self, complexity: u8) -> Self {
        Relay { complexity, ..self }
    }

    pub fn to_browser(&self) -> &Stream {
        &self.to_browser
    }

    pub fn to_sip(&self) -> &Stream {
        &self.to_sip
    }

    /// See [`Stream::count`].
    pub fn count_to_browser(&mut self, len: usize) {
        self.to_browser.count(len);
    }

    pub fn count_to_sip(&mut self, len: usize) {
        self.to_sip.count(len);
    }

    /// The SSRC, and [`Stream::report`].
    pub fn report_to_browser(&mut self, now: Instant) -> (u32, Option<Sent>) {
        (self.to_browser.ssrc(), self.to_browser.report(now))
    }

    pub fn report_to_sip(&mut self, now: Instant) -> (u32, Option<Sent>) {
        (self.to_sip.ssrc(), self.to_sip.report(now))
    }

    /// See [`Stream::renew`].
    pub fn renew_to_sip(&mut self) {
        self.to_sip.renew();
    }

    /// Packets of a payload type nobody negotiated, or that cannot be said in the other side's.
    pub fn unknown_payload(&self) -> u64 {
        self.unknown_payload
    }

    pub fn set_browser(&mut self, payloads: PayloadMap) {
        self.browser = payloads;
        self.drop_coders();
        if !self.browser.has_events() {
            self.browser_keypad.clear();
        }
    }

    pub fn set_sip(&mut self, now: Instant, payloads: PayloadMap) {
        self.sip = payloads;
        self.drop_coders();
        if !self.sip.has_events() {
            self.keypad.clear();
        }
        self.arm_silence(now);
    }

    pub fn set_flow(&mut self, now: Instant, flow: Flow) {
        let before = std::mem::replace(&mut self.flow, flow);
        self.drop_coders();
        if !flow.to_browser {
            self.to_browser.detach();
            self.browser_keypad.clear();
            if matches!(self.filler, Filler::Silence { .. }) {
                self.filler = Filler::Off;
            }
        }
        if before.tone != flow.tone {
            self.set_tone(now, flow.tone);
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
        if !self.sip.has_events() {
            self.unknown_payload += 1;
            return;
        }
        if !self.may_send() {
            return;
        }
        self.keypad.press(now, digits);
    }

    /// True when packets of this payload type are something the SIP side negotiated.
    pub fn knows_sip_payload(&self, payload_type: u8) -> bool {
        self.sip.codec_of(payload_type).is_some()
            || self.sip.event_clock(payload_type).is_some()
            || payload_type == COMFORT_NOISE
    }

    /// True for the SIP side's packets that the browser is to hear, comfort noise not among them.
    pub fn is_sound(&self, payload_type: u8) -> bool {
        self.flow.to_browser
            && payload_type != COMFORT_NOISE
            && self.knows_sip_payload(payload_type)
    }

    /// The clock of audio with that payload type; `None` for events and what is not known.
    pub fn sip_clock_of(&self, payload_type: u8) -> Option<u32> {
        self.sip.codec_of(payload_type).map(Codec::clock_rate)
    }

    pub fn browser_clock_of(&self, payload_type: u8) -> Option<u32> {
        self.browser_codec(payload_type).map(Codec::clock_rate)
    }

    /// RTP units per second of audio toward the browser.
    fn browser_clock(&self) -> u32 {
        self.browser.preferred().map_or(8000, |format| format.codec.clock_rate())
    }

    /// RTP units per second of audio toward SIP.
    fn sip_clock(&self) -> u32 {
        self.sip.preferred().map_or(8000, |format| format.codec.clock_rate())
    }

    /// How events go out toward SIP: payload type and clock.
    fn keypad_event(&self) -> Option<(u8, u32)> {
        self.sip.event_beside(self.sip_clock())
    }

    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// `clock` is the event's.
    fn report(&mut self, packet: &Packet<'_>, event: Event, clock: u32, from_sip: bool) {
        let event = event.at(clock, dtmf::CLOCK);
        let ear = if from_sip { &mut self.sip_ear } else { &mut self.browser_ear };
        if let Some((digit, duration)) = ear.hear(packet.ssrc, packet.timestamp, event)
            && self.events.len() < MAX_EVENTS
        {
            self.events.push_back(MediaEvent::Digit { digit, duration, from_sip });
        }
    }
}

fn write<'b>(
    place: Place,
    payload_type: u8,
    payload: &[u8],
    table: Option<&[u8; 256]>,
    buffer: &'b mut [u8],
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
