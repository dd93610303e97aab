//! What comes from the browser.

use std::time::Instant;

use super::{Call, Sink, USUAL};
use crate::media::ice::{Check, Outcome};
use crate::media::path::Path;
use crate::media::relay::PACKET;
use crate::media::rtcp::{self, Ends};
use crate::media::rtp::{Class, HEADER, Packet};
use crate::media::srtp::{OVERHEAD, Refused};
use crate::media::types::MediaEvent;

impl Call {
    /// A binding request with one of this call's ufrags.
    pub fn handle_check(
        &mut self,
        now: Instant,
        from: Path,
        check: &mut Check,
        sink: &mut dyn Sink,
    ) {
        let is_renewed = self
            .renewed
            .as_ref()
            .is_some_and(|peer| peer.ice.ufrags().any(|ufrag| ufrag == check.ufrag()));
        let peer = match &mut self.renewed {
            Some(peer) if is_renewed => peer,
            _ => &mut self.peer,
        };
        let before: Vec<String> = peer.ice.ufrags().map(str::to_owned).collect();
        match peer.handle_check(now, from, check) {
            Outcome::Answer { response, connected, promoted } => {
                sink.to_browser(from, &response);
                sink.learned(from);
                if promoted {
                    let now_known: Vec<&str> = peer.ice.ufrags().collect();
                    for void in before.iter().filter(|u| !now_known.contains(&u.as_str())) {
                        sink.void(void);
                    }
                }
                if connected {
                    sink.event(MediaEvent::IceConnected { remote: from.peer() });
                }
            }
            Outcome::Refuse(response) => sink.to_browser(from, &response),
            Outcome::BadIntegrity(refusal) => {
                self.stats.stun_bad_integrity += 1;
                if let Some(refusal) = refusal {
                    sink.to_browser(from, &refusal);
                }
            }
            Outcome::Silent => {}
        }
        self.forget(sink);
        self.flush(now, sink);
    }

    /// Anything but STUN from an address that leads here.
    pub fn handle_browser(
        &mut self,
        now: Instant,
        from: Path,
        data: &mut [u8],
        sink: &mut dyn Sink,
    ) {
        let is_renewed = self.renewed.as_ref().is_some_and(|peer| peer.ice.is_valid(from));
        let peer = match &mut self.renewed {
            Some(peer) if is_renewed => peer,
            _ if self.peer.ice.is_valid(from) => &mut self.peer,
            _ => {
                self.stats.malformed += 1;
                return;
            }
        };
        match Class::of(data) {
            Class::Dtls => {
                let notice = peer.handle_handshake(now, from, data);
                self.notice(notice, is_renewed, sink);
                self.flush(now, sink);
            }
            Class::Rtp => {
                let opened = peer.open_rtp(data);
                if let Some(plain) = self.opened(opened) {
                    self.browser_rtp(now, plain, sink);
                }
            }
            Class::Rtcp => {
                let opened = peer.open_rtcp(data);
                if let Some(plain) = self.opened(opened) {
                    self.browser_rtcp(now, plain);
                    self.video_browser_rtcp(now, plain, sink);
                }
            }
            Class::Stun | Class::Unknown => self.stats.malformed += 1,
        }
    }

    fn opened<'a>(&mut self, opened: Option<Result<&'a [u8], Refused>>) -> Option<&'a [u8]> {
        match opened? {
            Ok(plain) => return Some(plain),
            Err(Refused::Authentication | Refused::TooManyStreams) => {
                self.stats.srtp_auth_failures += 1;
            }
            Err(Refused::Replay) => self.stats.srtp_replays += 1,
            Err(Refused::Malformed) => self.stats.malformed += 1,
        }
        None
    }

    fn browser_rtp(&mut self, now: Instant, plain: &[u8], sink: &mut dyn Sink) {
        let Some(packet) = Packet::parse(plain) else {
            self.stats.malformed += 1;
            return;
        };
        if self.video.as_ref().is_some_and(|video| video.has(packet.payload_type)) {
            return self.video_from_browser(now, &packet, sink);
        }
        let clock = self.relay.browser_clock_of(packet.payload_type);
        self.from_browser.reception.received(
            now,
            packet.ssrc,
            packet.sequence,
            packet.timestamp,
            packet.payload.len(),
            clock,
        );
        if packet.payload.len() <= USUAL {
            self.pass_to_sip(now, &packet, &mut [0; HEADER + USUAL + OVERHEAD], sink);
        } else {
            self.pass_to_sip(now, &packet, &mut [0; PACKET + OVERHEAD], sink);
        }
        self.digits(sink);
    }

    fn pass_to_sip<const ROOM: usize>(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        buffer: &mut [u8; ROOM],
        sink: &mut dyn Sink,
    ) {
        let plain = buffer.get_mut(..ROOM - OVERHEAD);
        let out = plain.and_then(|plain| self.relay.forward_to_sip(now, packet, plain));
        if let Some(len) = out.map(<[u8]>::len) {
            self.send_sip(buffer, len, sink);
        }
    }

    fn browser_rtcp(&mut self, now: Instant, plain: &[u8]) {
        let ours = self.relay.to_browser().ssrc();
        let ends = Ends { ours, theirs: self.from_browser.reception.ssrc() };
        let Some(heard) = rtcp::read(self.clock.ntp(now), ends, plain) else {
            self.stats.malformed += 1;
            return;
        };
        if let Some(report) = heard.sender_report {
            self.browser_report = Some((report, now));
        }
        if let Some(block) = heard.block {
            self.to_browser.heard(ours, block);
            self.relay.browser_loses(block.fraction_lost);
        }
        if let Some(rtt) = heard.rtt {
            self.browser_rtt.measured(rtt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::call::bench::{self, Profile, ROOM, Rig, Seals};

    /// Whoever has the keys, but no check that was right: RFC 8445 has validated nothing there.
    #[test]
    fn media_by_a_path_that_was_never_checked_is_not_taken() {
        struct Nothing;
        impl Sink for Nothing {
            fn to_browser(&mut self, _: Path, _: &[u8]) {}
            fn rtp(&mut self, _: std::net::SocketAddr, _: &[u8]) {}
            fn rtcp(&mut self, _: std::net::SocketAddr, _: &[u8]) {}
            fn event(&mut self, _: MediaEvent) {}
            fn learned(&mut self, _: Path) {}
            fn forgotten(&mut self, _: Path) {}
            fn void(&mut self, _: &str) {}
            fn handshake(
                &mut self,
                job: crate::media::handshake::Job,
            ) -> Result<(), crate::media::handshake::Job> {
                Err(job)
            }
        }
        let profile = Profile::AeadAes128Gcm;
        let mut call = Rig::new(profile).unwrap().into_call();
        let mut browser = Seals::new(profile).unwrap();
        let checked = Path::Udp("192.0.2.1:5000".parse().unwrap());
        let elsewhere = Path::Udp("192.0.2.1:5001".parse().unwrap());
        for (number, from, packets, malformed) in [(1, elsewhere, 0, 1), (2, checked, 1, 1)] {
            let mut buffer = [0; ROOM];
            let len = bench::packet(number, 5, &mut buffer);
            let len = browser.seal(&mut buffer, len);
            call.handle_browser(Instant::now(), from, &mut buffer[..len], &mut Nothing);
            let stats = call.stats();
            assert_eq!((stats.from_browser.packets, stats.malformed), (packets, malformed));
        }
    }
}
