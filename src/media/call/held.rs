//! The calls of the line that the browser is not with. All of them share its RTP port: each far end gets a
//! stream of its own, music or silence, and what it sends meanwhile is not listened to.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Instant;

use super::report::RtcpRoute;
use super::{Call, Sink};
use crate::media::latch::Latch;
use crate::media::relay::{Idle, Outlet, PACKET};
use crate::media::rtcp::{self, Last};
use crate::media::srtp::OVERHEAD;
use crate::media::types::{HeldLeg, MAX_HELD};
use crate::sdp::{RtcpTarget, RtpTarget, SrtpPair};

/// A far end that is held. It keeps what was learned of its address, and the stream that it hears: there
/// the SSRC, the numbers and the times go on, held or not.
struct Aside {
    told: HeldLeg,
    latch: Latch,
    rtcp: RtcpRoute,
    outlet: Outlet,
    /// `None` where nothing may be sent.
    idle: Option<Idle>,
}

impl Aside {
    fn new(
        now: Instant,
        told: HeldLeg,
        latch: Latch,
        mut rtcp: RtcpRoute,
        mut outlet: Outlet,
    ) -> Self {
        let remote = &told.remote;
        rtcp.set(remote);
        let idle = Idle::new(now, &remote.payloads, &mut outlet);
        let idle = idle.filter(|_| told.sends);
        Aside { told, latch, rtcp, outlet, idle }
    }

    fn target(&self) -> RtpTarget {
        self.told.remote.target
    }

    fn expects(&self, from: SocketAddr) -> bool {
        self.target() == Some(from) || self.latch.is_known(from)
    }

    fn reports_from(&self, from: SocketAddr) -> bool {
        let remote = self.latch.destination();
        match self.told.remote.rtcp {
            RtcpTarget::Mux => self.expects(from),
            RtcpTarget::At(at) if at == from => true,
            RtcpTarget::At(_) | RtcpTarget::NextPort if self.rtcp.comes_from(from, remote) => true,
            RtcpTarget::At(_) | RtcpTarget::NextPort => {
                let next = |rtp: SocketAddr| rtp.port().checked_add(1) == Some(from.port());
                remote.filter(|rtp| rtp.ip() == from.ip()).is_some_and(next)
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Held {
    legs: Vec<Aside>,
    /// Those that were held until a moment ago. The next description is one's of them, or they are over.
    leaving: Vec<Aside>,
}

impl Held {
    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.legs.iter().filter_map(|leg| leg.idle.as_ref()).map(Idle::poll_timeout).min()
    }

    pub fn keys(&self) -> impl Iterator<Item = &SrtpPair> {
        let legs = self.legs.iter().chain(&self.leaving);
        legs.filter_map(|leg| leg.told.remote.srtp.as_deref())
    }

    fn take(&mut self, target: SocketAddr) -> Option<Aside> {
        let of = |leg: &Aside| leg.target() == Some(target);
        if let Some(at) = self.leaving.iter().position(of) {
            return Some(self.leaving.swap_remove(at));
        }
        let at = self.legs.iter().position(of)?;
        Some(self.legs.swap_remove(at))
    }
}

impl Call {
    pub(super) fn set_held(&mut self, now: Instant, told: Vec<HeldLeg>) {
        if told.is_empty() && self.held.is_none() {
            return;
        }
        let mut before = self.held.take().map(|held| held.legs).unwrap_or_default();
        let mut legs = Vec::with_capacity(told.len().min(MAX_HELD));
        for told in told.into_iter().take(MAX_HELD) {
            let Some(target) = told.remote.target else { continue };
            if let Some(pair) = &told.remote.srtp {
                self.secure.get_or_insert_default().keep(&pair.local);
            }
            let at = before.iter().position(|leg| leg.target() == Some(target));
            legs.push(match at.map(|at| before.swap_remove(at)) {
                Some(leg) if leg.told == told => leg,
                Some(leg) => Aside::new(now, told, leg.latch, leg.rtcp, leg.outlet),
                None if self.latch.target() == Some(target) => {
                    let outlet = self.relay.exchange(Outlet::new());
                    // A packet that comes before the next description has nowhere to go.
                    let rtcp = std::mem::take(&mut self.rtcp);
                    Aside::new(now, told, self.latch.leave(now), rtcp, outlet)
                }
                None => {
                    let mut latch = Latch::new(now);
                    latch.set_target(now, Some(target));
                    Aside::new(now, told, latch, RtcpRoute::default(), Outlet::new())
                }
            });
        }
        if !(legs.is_empty() && before.is_empty()) {
            self.held = Some(Box::new(Held { legs, leaving: before }));
        }
    }

    /// A description of that target is for the active call now. True where it was held: its address is known
    /// from then, and it goes on hearing the same stream.
    pub(super) fn take_back(&mut self, target: RtpTarget) -> bool {
        let Some(held) = &mut self.held else { return false };
        let back = target.and_then(|target| held.take(target));
        held.leaving.clear();
        if held.legs.is_empty() {
            self.held = None;
        }
        let Some(Aside { latch, rtcp, outlet, .. }) = back else { return false };
        self.latch = latch;
        self.rtcp = rtcp;
        self.relay.exchange(outlet);
        true
    }

    /// Sends those that are held what is due to them.
    pub(super) fn flush_held(&mut self, now: Instant, sink: &mut dyn Sink) {
        let Some(held) = &mut self.held else { return };
        let mut buffer = [0; PACKET + OVERHEAD];
        for leg in &mut held.legs {
            let (Some(idle), Some(to)) = (&mut leg.idle, leg.latch.destination()) else { continue };
            let music = self.relay.music().filter(|_| leg.told.music);
            while let Some(plain) = buffer.first_chunk_mut()
                && let Some(len) = idle.poll(now, &mut leg.outlet, music, plain).map(<[u8]>::len)
            {
                let packet = match (&leg.told.remote.srtp, &mut self.secure) {
                    (None, _) => buffer.get(..len),
                    (Some(pair), Some(secure)) => secure.seal_aside(&pair.local, &mut buffer, len),
                    (Some(_), None) => None,
                };
                if let Some(packet) = packet {
                    leg.outlet.stream.count(len);
                    sink.rtp(to, packet);
                }
            }
        }
    }

    /// RTCP goes on while RTP does not (RFC 3264 8.4), and says of our stream what there is to say. What
    /// comes from there is not listened to, so that there is nothing to say of it.
    pub(super) fn report_held(&mut self, now: Instant, last: Last, sink: &mut dyn Sink) {
        let Some(held) = &mut self.held else { return };
        let ntp = self.clock.ntp(now);
        let mut buffer = [0; PACKET + OVERHEAD];
        for leg in &mut held.legs {
            let rtp = leg.latch.destination();
            let Some(to) = rtp.and_then(|rtp| leg.rtcp.destination(rtp)) else { continue };
            let stream = &mut leg.outlet.stream;
            let sent = stream.report(now);
            let data = rtcp::write(ntp, stream.ssrc(), &self.cname, sent, None, last);
            let Some(plain) = buffer.get_mut(..data.len()) else { continue };
            plain.copy_from_slice(&data);
            let packet = match (&leg.told.remote.srtp, &mut self.secure) {
                (None, _) => buffer.get(..data.len()),
                (Some(pair), Some(secure)) => {
                    secure.seal_rtcp_aside(&pair.local, &mut buffer, data.len())
                }
                (Some(_), None) => None,
            };
            match packet {
                Some(packet) if leg.rtcp.is_mux() => sink.rtp(to, packet),
                Some(packet) => sink.rtcp(to, packet),
                None => {}
            }
        }
    }

    /// RTP of a far end that is held: no stranger's, and nobody listens.
    pub(super) fn is_of_held(&self, from: SocketAddr) -> bool {
        let Some(held) = &self.held else { return false };
        let active = self.latch.is_known(from) || self.latch.target() == Some(from);
        !active && held.legs.iter().any(|leg| leg.expects(from))
    }

    /// The same of RTCP, whose port may be any behind a NAT. The active one's address is not doubted.
    pub(super) fn reports_of_held(&self, from: SocketAddr) -> bool {
        let Some(held) = &self.held else { return false };
        let active = self.latch.destination().is_some_and(|rtp| self.rtcp.may_come(from, rtp));
        let expected = self.rtcp.comes_from(from, self.latch.destination());
        let same_host = |leg: &Aside| leg.latch.destination().is_some_and(|a| a.ip() == from.ip());
        let is_held = |leg: &Aside| leg.reports_from(from) || !active && same_host(leg);
        !expected && held.legs.iter().any(is_held)
    }
}
