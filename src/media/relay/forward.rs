//! Passing a packet of one side on to the other.

use std::time::Instant;

use super::event::{Clocks, pass};
use super::{COMFORT_NOISE, COVER_AFTER, Relay, write};
use crate::media::codec::samples;
use crate::media::dtmf::Event;
use crate::media::g711::transcoding;
use crate::media::rtp::Packet;
use crate::media::stream::Source;
use crate::sdp::{Codec, PayloadMap};

impl Relay {
    /// A packet of the browser's, as it is to go to SIP. `buffer` has room for what came.
    pub fn forward_to_sip<'b>(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        if packet.payload.is_empty() || !self.flow.to_sip {
            return None;
        }
        if let Some(from) = self.browser.event_clock(packet.payload_type) {
            let event = Event::parse(packet.payload)?;
            self.report(packet, event, from, false);
            let audio = self.to_sip.clock().unwrap_or_else(|| self.sip_clock());
            let Some((payload_type, to)) = self.sip.event_beside(audio) else {
                self.unknown_payload += 1;
                self.to_sip.swallow(now, source(packet, 0, from));
                return None;
            };
            self.silence_at = self.silence_at.map(|_| now + COVER_AFTER);
            let clocks = Clocks { from, to, audio, transcoded: self.coder_to_sip.is_at_work() };
            if let Some(coder) = self.coder_to_sip.as_mut() {
                coder.pause();
            }
            let (place, event) =
                pass(&mut self.to_sip, &mut self.browser_event, now, packet, event, clocks)?;
            return write(place, payload_type, &event.payload(), None, buffer);
        }
        let Some(way) = way(self.browser_codec(packet.payload_type), &self.sip) else {
            self.unknown_payload += u64::from(packet.payload_type != COMFORT_NOISE);
            self.to_sip.swallow(now, self.unknown(packet, &self.browser));
            return None;
        };
        self.silence_at = self.silence_at.map(|_| now + COVER_AFTER);
        if self.keypad.is_sounding() {
            return None;
        }
        let way = match way {
            Way::Pass(way) => way,
            Way::Transcode(codec) => {
                self.transcode_to_sip(now, codec, packet);
                return None;
            }
        };
        self.coder_to_sip.let_go();
        let place = self.to_sip.follow(now, way.source(packet))?;
        write(place, way.payload_type, packet.payload, way.table, buffer)
    }

    /// A packet of the SIP side's, as it is to go to the browser. `buffer` has room for what came.
    pub fn forward_to_browser<'b>(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        if packet.payload.is_empty() || !self.flow.to_browser {
            return None;
        }
        if let Some(from) = self.sip.event_clock(packet.payload_type) {
            let event = Event::parse(packet.payload)?;
            self.report(packet, event, from, true);
            self.heard = Some(now);
            let audio = self.to_browser.clock().unwrap_or_else(|| self.browser_clock());
            let Some((payload_type, to)) = self.browser.event_beside(audio) else {
                self.to_browser.swallow(now, source(packet, 0, from));
                return None;
            };
            let clocks = Clocks { from, to, audio, transcoded: self.coder_to_browser.is_at_work() };
            if let Some(coder) = self.coder_to_browser.as_mut() {
                coder.pause();
            }
            let (place, event) =
                pass(&mut self.to_browser, &mut self.sip_event, now, packet, event, clocks)?;
            return write(place, payload_type, &event.payload(), None, buffer);
        }
        let Some(way) = way(self.sip.codec_of(packet.payload_type), &self.browser) else {
            if packet.payload_type == COMFORT_NOISE {
                self.cover(now);
            } else {
                self.unknown_payload += 1;
            }
            self.to_browser.swallow(now, self.unknown(packet, &self.sip));
            return None;
        };
        self.heard = Some(now);
        let way = match way {
            Way::Pass(way) => way,
            Way::Transcode(codec) => {
                self.transcode_to_browser(now, codec, packet);
                return None;
            }
        };
        self.coder_to_browser.let_go();
        if self.browser_keypad.is_sounding() {
            return None;
        }
        let place = self.to_browser.follow(now, way.source(packet))?;
        write(place, way.payload_type, packet.payload, way.table, buffer)
    }

    /// A browser may send what its answer left out: Chromium sends the first codec of an offer even where
    /// its page allows but another (setCodecPreferences). Static numbers say what that is.
    pub(super) fn browser_codec(&self, payload_type: u8) -> Option<Codec> {
        self.browser.codec_of(payload_type).or_else(|| Codec::of_static_payload(payload_type))
    }

    /// A packet of which nothing is known but its place: comfort noise, or what nobody negotiated. Its
    /// clock is taken for that of the audio.
    fn unknown(&self, packet: &Packet<'_>, from: &PayloadMap) -> Source {
        let clock = from.preferred().map_or(8000, |format| format.codec.clock_rate());
        source(packet, packet.payload.len() as u32, clock)
    }
}

impl Relay {
    /// A packet of the SIP side's that nobody can use, and that is to leave no hole in the browser's
    /// numbers.
    pub fn pass_over(&mut self, now: Instant, packet: &Packet<'_>) {
        if self.flow.to_browser {
            self.to_browser.swallow(now, source(packet, 0, self.browser_clock()));
        }
    }
}

/// How a payload type of one side is said on the other.
enum Way {
    Pass(Pass),
    /// Decoded and encoded again: the other side has nothing like this codec.
    Transcode(Codec),
}

struct Pass {
    codec: Codec,
    payload_type: u8,
    table: Option<&'static [u8; 256]>,
}

impl Pass {
    fn source(&self, packet: &Packet<'_>) -> Source {
        source(packet, samples(self.codec, packet.payload), self.codec.clock_rate())
    }
}

/// As it is where the other side has the codec, from one G.711 law to the other by table, else by way of
/// samples. `None` for what was not negotiated.
fn way(codec: Option<Codec>, to: &PayloadMap) -> Option<Way> {
    let codec = codec?;
    if let Some(payload_type) = to.payload_of(codec) {
        return Some(Way::Pass(Pass { codec, payload_type, table: None }));
    }
    let other = match codec {
        Codec::Pcmu => Codec::Pcma,
        Codec::Pcma => Codec::Pcmu,
        Codec::G722 | Codec::Opus => return to.preferred().map(|_| Way::Transcode(codec)),
    };
    match to.payload_of(other) {
        Some(payload_type) => {
            let table = transcoding(codec, other);
            Some(Way::Pass(Pass { codec, payload_type, table }))
        }
        None => to.preferred().map(|_| Way::Transcode(codec)),
    }
}

pub(super) fn source(packet: &Packet<'_>, samples: u32, clock: u32) -> Source {
    Source {
        ssrc: packet.ssrc,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        samples,
        clock,
    }
}
