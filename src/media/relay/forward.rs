//! Passing a packet of one side on to the other.

use std::time::Instant;

use super::{COMFORT_NOISE, COVER_AFTER, PACKET, Relay, write};
use crate::media::dtmf::Event;
use crate::media::g711::transcoding;
use crate::media::rtp::Packet;
use crate::media::stream::Source;
use crate::sdp::{Codec, PayloadMap};

impl Relay {
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
            self.heard = Some(now);
            let Some(payload_type) = self.browser.telephone_event else {
                self.to_browser.swallow(now, source(packet, 0));
                return None;
            };
            let place = self.to_browser.follow(now, source(packet, 0))?;
            return write(place, payload_type, packet.payload, None, buffer);
        }
        let samples = packet.payload.len();
        let Some(way) = way(&self.sip, &self.browser, packet.payload_type) else {
            if packet.payload_type == COMFORT_NOISE {
                self.cover(now);
            } else {
                self.unknown_payload += 1;
            }
            self.to_browser.swallow(now, source(packet, samples));
            return None;
        };
        self.heard = Some(now);
        if self.browser_keypad.is_sounding() {
            return None;
        }
        let place = self.to_browser.follow(now, source(packet, samples))?;
        write(place, way.payload_type, packet.payload, way.table, buffer)
    }
}

impl Relay {
    /// A packet of the SIP side's that nobody can use, and that is to leave no hole in the browser's
    /// numbers.
    pub fn pass_over(&mut self, now: Instant, packet: &Packet<'_>) {
        if self.flow.to_browser {
            self.to_browser.swallow(now, source(packet, 0));
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
