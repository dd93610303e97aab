//! What is counted of a call, and the RTCP reports of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Call, Sink};
use crate::media::quality::{Meter, Way};
use crate::media::reception::Reception;
use crate::media::relay::PACKET;
use crate::media::rtcp::{self, Block, Last};
use crate::media::rtp::HEADER;
use crate::media::srtp::OVERHEAD;
use crate::media::types::{MAX_HELD, RoundTrips, SipRemote, StreamStats};
use crate::sdp::{Codec, RtcpTarget, RtpTarget};

/// Between our reports, each way (RFC 3550 6.2 has 5 s as the least for two parties), and between the
/// scores of a stream.
pub(super) const REPORTS: Duration = Duration::from_secs(5);

/// A stream that comes to us.
#[derive(Default)]
pub(super) struct Incoming {
    pub reception: Reception,
    codec: Option<Codec>,
    meter: Meter,
}

impl Incoming {
    pub fn set_codec(&mut self, codec: Codec) {
        self.codec = Some(codec);
    }

    pub fn stats(&self) -> StreamStats {
        StreamStats { mos: self.meter.mos(), ..self.reception.stats() }
    }

    fn interval(&mut self, rtt: Option<Duration>) {
        let Some(codec) = self.codec else { return };
        let stats = self.reception.stats();
        let expected = stats.packets.saturating_sub(stats.duplicates) + stats.lost;
        let jitter = stats.jitter;
        self.meter.interval(expected, stats.lost, |loss| Way { codec, rtt, jitter, loss });
    }
}

/// A stream that we send.
#[derive(Default)]
pub(super) struct Outgoing {
    pub packets: u64,
    bytes: u64,
    codec: Option<Codec>,
    /// What the receiver last said, of which SSRC of ours.
    heard: Option<(u32, Block)>,
    /// It has said something since the last interval.
    is_fresh: bool,
    /// Lost under SSRCs that are over, or held.
    lost_before: u64,
    /// Those of them that may be come back to, and what they lost: they go on counting where they were.
    before: Vec<(u32, u64)>,
    meter: Meter,
}

impl Outgoing {
    pub fn set_codec(&mut self, codec: Codec) {
        self.codec = Some(codec);
    }

    /// A packet of that length, header and all.
    pub fn count(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len.saturating_sub(HEADER) as u64;
    }

    /// A report block about a stream of ours.
    pub fn heard(&mut self, ssrc: u32, block: Block) {
        let before = self.heard.replace((ssrc, block));
        if before.is_none_or(|(old, _)| old != ssrc) {
            if let Some((old, block)) = before {
                self.lost_before += block.lost;
                self.before.truncate(MAX_HELD - 1);
                self.before.insert(0, (old, block.lost));
            }
            if let Some(at) = self.before.iter().position(|(known, _)| *known == ssrc) {
                self.lost_before -= self.before.remove(at).1;
            }
            self.meter.start(u64::from(block.highest), self.lost_before + block.lost);
        }
        self.is_fresh = true;
    }

    pub fn stats(&self) -> StreamStats {
        let block = self.heard.map(|(_, block)| block).unwrap_or_default();
        StreamStats {
            packets: self.packets,
            bytes: self.bytes,
            lost: self.lost_before + block.lost,
            jitter: self.codec.map_or(Duration::ZERO, |codec| {
                let micros = u64::from(block.jitter) * 1_000_000 / u64::from(codec.clock_rate());
                Duration::from_micros(micros)
            }),
            mos: self.meter.mos(),
            ..StreamStats::default()
        }
    }

    /// Where nothing has been reported, nothing is known.
    fn interval(&mut self, rtt: Option<Duration>) {
        if !std::mem::take(&mut self.is_fresh) {
            return;
        }
        let (Some((_, block)), Some(codec)) = (self.heard, self.codec) else { return };
        let StreamStats { lost, jitter, .. } = self.stats();
        let way = |loss| Way { codec, rtt, jitter, loss };
        self.meter.interval(u64::from(block.highest), lost, way);
    }
}

#[derive(Default)]
pub(super) struct Rtt {
    last: Option<Duration>,
    max: Option<Duration>,
    sum: Duration,
    count: u32,
}

impl Rtt {
    pub fn measured(&mut self, rtt: Duration) {
        self.last = Some(rtt);
        self.max = self.max.max(Some(rtt));
        self.sum += rtt;
        self.count += 1;
    }

    pub fn stats(&self) -> RoundTrips {
        let average = self.sum.checked_div(self.count);
        RoundTrips { last: self.last, max: self.max, average }
    }
}

/// Where RTCP goes on the SIP side.
#[derive(Default)]
pub(super) struct RtcpRoute {
    target: RtcpTarget,
    /// What the description says of RTP.
    announced: RtpTarget,
    /// Where reports come from.
    learned: Option<SocketAddr>,
}

impl RtcpRoute {
    pub fn set(&mut self, remote: &SipRemote) {
        self.announce(remote.rtcp, remote.target);
    }

    pub fn announce(&mut self, target: RtcpTarget, announced: RtpTarget) {
        if (self.target, self.announced) != (target, announced) {
            *self = RtcpRoute { target, announced, learned: None };
        }
    }

    /// Reports go where RTP goes, and by the same port of ours.
    pub fn is_mux(&self) -> bool {
        self.target == RtcpTarget::Mux
    }

    /// May a report from there be the far end's, whose RTP goes to `rtp`?
    pub fn may_come(&self, from: SocketAddr, rtp: SocketAddr) -> bool {
        let announced = match self.target {
            RtcpTarget::At(addr) => Some(addr.ip()),
            RtcpTarget::NextPort | RtcpTarget::Mux => None,
        };
        from.ip() == rtp.ip() || announced == Some(from.ip())
    }

    /// Is that where the far end's reports are expected from, whose RTP goes to `rtp`?
    pub fn comes_from(&self, from: SocketAddr, rtp: RtpTarget) -> bool {
        rtp.and_then(|rtp| self.destination(rtp)) == Some(from)
    }

    /// Symmetric RTCP: a NAT gives the port any number.
    pub fn learn(&mut self, from: SocketAddr) {
        self.learned = Some(from);
    }

    /// Where ours goes. An announced port is that of the announced address: behind a NAT it is another.
    pub fn destination(&self, rtp: SocketAddr) -> Option<SocketAddr> {
        match (self.target, self.learned) {
            (RtcpTarget::Mux, _) => Some(rtp),
            (_, Some(learned)) => Some(learned),
            (RtcpTarget::At(addr), None) if self.announced == Some(rtp) => Some(addr),
            (RtcpTarget::At(_) | RtcpTarget::NextPort, None) => {
                Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?))
            }
        }
    }
}

impl Call {
    /// Five seconds are over.
    pub(super) fn interval(&mut self, now: Instant, sink: &mut dyn Sink) {
        let (browser, sip) = (self.browser_rtt.last, self.sip_rtt.last);
        self.from_browser.interval(browser);
        self.to_browser.interval(browser);
        self.from_sip.interval(sip);
        self.to_sip.interval(sip);
        self.peer.age();
        self.report(now, Last::No, sink);
        self.report_held(now, Last::No, sink);
    }

    /// The call is over: both sides hear it from RTCP too (RFC 3550 6.6).
    pub fn say_goodbye(&mut self, now: Instant, sink: &mut dyn Sink) {
        self.report(now, Last::Yes, sink);
        self.report_held(now, Last::Yes, sink);
        self.report_video(now, Last::Yes, sink);
    }

    fn report(&mut self, now: Instant, last: Last, sink: &mut dyn Sink) {
        let ntp = self.clock.ntp(now);
        let mut buffer = [0; PACKET + OVERHEAD];
        if self.peer.is_secure() {
            let (ssrc, sent) = self.relay.report_to_browser(now);
            let report = self.from_browser.reception.report();
            let report = rtcp::block(now, report, self.browser_report);
            let data = rtcp::write(ntp, ssrc, &self.cname, sent, report, last);
            if let Some(plain) = buffer.get_mut(..data.len()) {
                plain.copy_from_slice(&data);
                if let Some((to, sealed)) = self.peer.seal_rtcp(&mut buffer, data.len()) {
                    sink.to_browser(to, sealed);
                }
            }
        }
        let Some(rtp) = self.latch.destination() else { return };
        let Some(to) = self.rtcp.destination(rtp) else { return };
        let (ssrc, sent) = self.relay.report_to_sip(now);
        let report = rtcp::block(now, self.from_sip.reception.report(), self.sip_report);
        let data = rtcp::write(ntp, ssrc, &self.cname, sent, report, last);
        let Some(plain) = buffer.get_mut(..data.len()) else { return };
        plain.copy_from_slice(&data);
        let packet = match &mut self.secure {
            None => buffer.get(..data.len()),
            Some(secure) => secure.seal_rtcp(&mut buffer, data.len()),
        };
        match packet {
            Some(packet) if self.rtcp.is_mux() => sink.rtp(to, packet),
            Some(packet) => sink.rtcp(to, packet),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], port))
    }

    /// RFC 3605, RFC 5761 and what a NAT makes of them.
    #[test]
    fn reports_go_where_they_were_announced_or_come_from() {
        let (rtp, announced, learned) = (address(1, 4000), address(9, 7000), address(1, 60_123));
        let mut route = RtcpRoute::default();
        route.announce(RtcpTarget::At(announced), Some(rtp));
        assert_eq!(route.destination(rtp), Some(announced));
        assert_eq!(route.destination(address(2, 4000)), Some(address(2, 4001)), "behind a NAT");
        route.learn(learned);
        assert_eq!(route.destination(rtp), Some(learned));
        route.announce(RtcpTarget::At(announced), Some(rtp));
        assert_eq!(route.destination(rtp), Some(learned), "a session refresh changes nothing");
        route.announce(RtcpTarget::NextPort, Some(rtp));
        assert_eq!(route.destination(rtp), Some(address(1, 4001)));
        route.announce(RtcpTarget::Mux, Some(rtp));
        assert_eq!(route.destination(rtp), Some(rtp));
        assert_eq!(route.destination(address(2, 4000)), Some(address(2, 4000)));
        route.announce(RtcpTarget::NextPort, Some(rtp));
        assert_eq!(route.destination(address(1, 65_535)), None, "there is no next port");
    }

    #[test]
    fn losses_of_one_stream_stay_when_the_next_begins() {
        let mut sent = Outgoing::default();
        let block = |lost, highest| Block { lost, highest, ..Block::default() };
        sent.heard(1, block(2, 100));
        sent.heard(1, block(5, 300));
        assert_eq!(sent.stats().lost, 5);
        sent.heard(2, block(3, 9_000));
        assert_eq!(sent.stats().lost, 8);
    }

    /// Two far ends by turns, each with a stream that goes on: what one has lost is counted once.
    #[test]
    fn losses_of_a_stream_that_is_come_back_to_are_counted_once() {
        let mut sent = Outgoing::default();
        for (ssrc, lost, in_all) in [(1, 5, 5), (2, 3, 8), (1, 5, 8), (1, 6, 9), (2, 3, 9)] {
            sent.heard(ssrc, Block { lost, ..Block::default() });
            assert_eq!(sent.stats().lost, in_all);
        }
        for ssrc in 10..100 {
            sent.heard(ssrc, Block { lost: 1, ..Block::default() });
        }
        assert_eq!((sent.stats().lost, sent.before.len()), (99, MAX_HELD));
    }

    /// A switch that copies every packet hides no loss.
    #[test]
    fn repeated_packets_do_not_dilute_the_loss() {
        let mut incoming = Incoming::default();
        incoming.set_codec(Codec::Pcmu);
        let start = Instant::now();
        for n in (0..301u32).filter(|n| n % 3 != 1) {
            let now = start + Duration::from_millis(20) * n;
            for _ in 0..2 {
                incoming.reception.received(now, 1, n as u16, n * 160, 160, Some(8000));
            }
        }
        incoming.interval(None);
        let stats = incoming.stats();
        assert_eq!((stats.lost, stats.duplicates), (100, 201));
        let way = Way { codec: Codec::Pcmu, rtt: None, jitter: stats.jitter, loss: 100.0 / 301.0 };
        assert!((stats.mos.worst.unwrap() - way.mos()).abs() < 1e-9);
    }
}
