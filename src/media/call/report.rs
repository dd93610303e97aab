//! What is counted of a call, and the RTCP reports of it.

use std::time::{Duration, Instant};

use super::{Call, Sink};
use crate::media::relay::PACKET;
use crate::media::rtcp;
use crate::media::rtp::HEADER;
use crate::media::srtp::OVERHEAD;
use crate::media::types::{RoundTrips, StreamStats};

/// Between our reports, each way (RFC 3550 6.2 has 5 s as the least for two parties).
pub(super) const REPORTS: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Outgoing {
    pub packets: u64,
    bytes: u64,
    /// Packets of the last report.
    reported: u64,
}

impl Outgoing {
    /// A packet of that length, header and all.
    pub fn count(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len.saturating_sub(HEADER) as u64;
    }

    pub fn stats(&self) -> StreamStats {
        StreamStats { packets: self.packets, bytes: self.bytes, ..StreamStats::default() }
    }

    pub fn sent(&mut self, timestamp: Option<u32>) -> Option<rtcp::Sent> {
        let before = std::mem::replace(&mut self.reported, self.packets);
        (self.packets > before).then_some(rtcp::Sent {
            timestamp: timestamp?,
            packets: self.packets as u32,
            octets: self.bytes as u32,
        })
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

impl Call {
    pub(super) fn report(&mut self, now: Instant, sink: &mut dyn Sink) {
        let ntp = self.clock.ntp(now);
        if self.peer.is_secure() {
            let stream = self.relay.to_browser();
            let sent = self.to_browser.sent(stream.timestamp_at(now));
            let echo = rtcp::echo(now, self.browser_report);
            let report = self.from_browser.report().map(|report| (report, echo));
            let data = rtcp::write(ntp, stream.ssrc(), &self.cname, sent, report);
            let mut buffer = [0; PACKET + OVERHEAD];
            if let Some(plain) = buffer.get_mut(..data.len()) {
                plain.copy_from_slice(&data);
                if let Some((to, sealed)) = self.peer.seal_rtcp(&mut buffer, data.len()) {
                    sink.to_browser(to, sealed);
                }
            }
        }
        let quiet = self.to_sip.packets == 0 && self.from_sip.ssrc().is_none();
        if let Some(to) = self.latch.rtcp_destination()
            && !quiet
        {
            let stream = self.relay.to_sip();
            let sent = self.to_sip.sent(stream.timestamp_at(now));
            let echo = rtcp::echo(now, self.sip_report);
            let report = self.from_sip.report().map(|report| (report, echo));
            sink.rtcp(to, &rtcp::write(ntp, stream.ssrc(), &self.cname, sent, report));
        }
    }
}
