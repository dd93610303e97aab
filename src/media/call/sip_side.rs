//! What comes from the SIP side.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Call, Sink, USUAL};
use crate::media::latch::Verdict;
use crate::media::relay::PACKET;
use crate::media::rtcp::{self, Ends};
use crate::media::rtp::{Class, HEADER, Packet};
use crate::media::srtp::{OVERHEAD, Refused};
use crate::media::types::MediaEvent;

impl Call {
    /// A datagram on the call's RTP port.
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        from: SocketAddr,
        data: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        if Class::of(data) == Class::Rtcp {
            self.handle_reports(now, from, data);
            return;
        }
        if self.is_of_held(from) {
            return;
        }
        // Before anything is believed: what is not authentic teaches no address.
        let plain = match &mut self.secure {
            None => &*data,
            Some(secure) => match secure.open_rtp(now, data) {
                Ok(plain) => plain,
                Err(refused) => return self.refused(refused),
            },
        };
        let Some(packet) = Packet::parse(plain) else {
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
        let clock = self.relay.sip_clock_of(packet.payload_type);
        self.from_sip.reception.received(
            now,
            packet.ssrc,
            packet.sequence,
            packet.timestamp,
            packet.payload.len(),
            clock,
        );
        if self.relay.is_filling() && self.relay.is_sound(packet.payload_type) {
            self.relay.make_way();
            self.flush_browser(now, sink);
        }
        if packet.payload.len() <= USUAL {
            self.pass_to_browser(now, &packet, &mut [0; HEADER + USUAL + OVERHEAD], sink);
        } else {
            self.pass_to_browser(now, &packet, &mut [0; PACKET + OVERHEAD], sink);
        }
        self.digits(sink);
    }

    fn pass_to_browser<const ROOM: usize>(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        buffer: &mut [u8; ROOM],
        sink: &mut dyn Sink,
    ) {
        let plain = buffer.get_mut(..ROOM - OVERHEAD);
        let out = plain.and_then(|plain| self.relay.forward_to_browser(now, packet, plain));
        if let Some(len) = out.map(<[u8]>::len) {
            self.send_browser(buffer, len, sink);
        }
    }

    /// A datagram on the call's RTCP port.
    pub fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, data: &mut [u8]) {
        if self.handle_reports(now, from, data) {
            self.rtcp.learn(from);
        }
    }

    /// True for reports that are the far end's.
    fn handle_reports(&mut self, now: Instant, from: SocketAddr, data: &mut [u8]) -> bool {
        if self.reports_of_held(from) {
            return false;
        }
        let remote = self.latch.destination();
        if !remote.is_some_and(|remote| self.rtcp.may_come(from, remote)) {
            self.stats.foreign_source += 1;
            return false;
        }
        let plain = match &mut self.secure {
            None => &*data,
            Some(secure) => match secure.open_rtcp(now, data) {
                Ok(plain) => plain,
                Err(refused) => {
                    self.refused(refused);
                    return false;
                }
            },
        };
        let ours = self.relay.to_sip().ssrc();
        let ends = Ends { ours, theirs: self.from_sip.reception.ssrc() };
        let Some(heard) = rtcp::read(self.clock.ntp(now), ends, plain) else {
            self.stats.malformed += 1;
            return false;
        };
        if let Some(report) = heard.sender_report {
            self.sip_report = Some((report, now));
        }
        if let Some(block) = heard.block {
            self.to_sip.heard(ours, block);
            self.relay.sip_loses(block.fraction_lost);
        }
        if let Some(rtt) = heard.rtt {
            self.sip_rtt.measured(rtt);
        }
        true
    }

    fn refused(&mut self, refused: Refused) {
        match refused {
            Refused::Authentication | Refused::TooManyStreams => self.stats.sip_auth_failures += 1,
            Refused::Replay => self.stats.sip_replays += 1,
            Refused::Malformed => self.stats.malformed += 1,
        }
    }
}
