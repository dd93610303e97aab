//! What comes from the SIP side.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Call, Sink};
use crate::media::latch::Verdict;
use crate::media::relay::PACKET;
use crate::media::rtcp;
use crate::media::rtp::{Class, Packet};
use crate::media::srtp::OVERHEAD;
use crate::media::types::MediaEvent;

impl Call {
    /// A datagram on the call's RTP port.
    pub fn handle_rtp(&mut self, now: Instant, from: SocketAddr, data: &[u8], sink: &mut dyn Sink) {
        if Class::of(data) == Class::Rtcp {
            return self.handle_rtcp(now, from, data);
        }
        let Some(packet) = Packet::parse(data) else {
            self.stats.malformed += 1;
            return;
        };
        if !self.relay.knows_sip_payload(packet.payload_type) {
            self.stats.unknown_payload += 1;
            if self.latch.is_known(from) {
                self.relay.pass_over(now, &packet);
            }
            return;
        }
        match self.latch.judge(now, from) {
            Verdict::Foreign => {
                self.stats.foreign_source += 1;
                return;
            }
            Verdict::Accept { first: true } => sink.event(MediaEvent::SipMedia { from }),
            Verdict::Accept { first: false } => {}
        }
        let event = self.relay.is_sip_event(packet.payload_type);
        self.from_sip.received(
            now,
            packet.ssrc,
            packet.sequence,
            packet.timestamp,
            packet.payload.len(),
            event,
        );
        if self.relay.is_filling() && self.relay.is_sound(packet.payload_type) {
            self.relay.make_way();
            self.flush_browser(now, sink);
        }
        let mut buffer = [0; PACKET + OVERHEAD];
        let out = buffer
            .first_chunk_mut()
            .and_then(|buffer| self.relay.forward_to_browser(now, &packet, buffer));
        if let Some(len) = out.map(<[u8]>::len) {
            self.send_browser(&mut buffer, len, sink);
        }
        self.digits(sink);
    }

    /// A datagram on the call's RTCP port.
    pub fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        if self.latch.destination().is_none_or(|remote| remote.ip() != from.ip()) {
            self.stats.foreign_source += 1;
            return;
        }
        match rtcp::read(self.clock.ntp(now), self.relay.to_sip().ssrc(), data) {
            None => self.stats.malformed += 1,
            Some(heard) => {
                if let Some(report) = heard.sender_report {
                    self.sip_report = Some((report, now));
                }
            }
        }
    }
}
