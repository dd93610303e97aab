//! Video, passed through: one codec under two numbers, a stream of ours each way. What was lost stays lost
//! in the numbers, so that a receiver can ask for it, and what it asks for goes to the sender.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::report::{Incoming, Outgoing, RtcpRoute};
use super::{Call, Sink};
use crate::media::feedback::{self, MESSAGE, Missing};
use crate::media::latch::{Latch, Verdict};
use crate::media::relay::PACKET;
use crate::media::rtcp::{self, Ends, Last, SenderReport};
use crate::media::rtp::{Class, Packet};
use crate::media::srtp::OVERHEAD;
use crate::media::stream::{Source, Stream};
use crate::media::types::{MediaEvent, VideoRemote, VideoStats};
use crate::sdp::{RtcpTarget, VideoCodec};

/// Between our reports: senders of video reckon by them what the path can carry.
const REPORTS: Duration = Duration::from_secs(1);

/// Between two requests for a whole picture to the same side. Each costs it some ten packets' worth; who
/// asks repeats itself.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// The same by SIP INFO.
const TELL_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Video {
    remote: Option<VideoRemote>,
    latch: Latch,
    rtcp: RtcpRoute,
    to_browser: Stream,
    to_sip: Stream,
    from_browser: Incoming,
    from_sip: Incoming,
    sent_browser: Outgoing,
    sent_sip: Outgoing,
    browser_report: Option<(SenderReport, Instant)>,
    sip_report: Option<(SenderReport, Instant)>,
    report_at: Instant,
    asked_browser: Option<Instant>,
    asked_sip: Option<Instant>,
    told: Option<Instant>,
    firs: u8,
    stats: VideoStats,
}

impl Video {
    fn new(now: Instant, ssrc: u32) -> Self {
        let stream = |ssrc| Stream::fixed(ssrc, rand::random::<u16>() >> 1, rand::random());
        Video {
            remote: None,
            latch: Latch::new(now),
            rtcp: RtcpRoute::default(),
            to_browser: stream(ssrc),
            to_sip: stream(rand::random()),
            from_browser: Incoming::default(),
            from_sip: Incoming::default(),
            sent_browser: Outgoing::default(),
            sent_sip: Outgoing::default(),
            browser_report: None,
            sip_report: None,
            report_at: now + REPORTS,
            asked_browser: None,
            asked_sip: None,
            told: None,
            firs: 0,
            stats: VideoStats::default(),
        }
    }

    pub fn report_at(&self) -> Instant {
        self.report_at
    }

    /// Whether the browser's packets of that type are video.
    pub fn has(&self, payload_type: u8) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.browser_payload == payload_type)
    }

    pub fn stats(&self) -> VideoStats {
        VideoStats {
            from_browser: self.from_browser.stats(),
            to_browser: self.sent_browser.stats(),
            from_sip: self.from_sip.stats(),
            to_sip: self.sent_sip.stats(),
            ..self.stats
        }
    }
}

/// Writes a packet as the next of a stream of ours; its length, and whether its source is a new one.
fn follow(
    stream: &mut Stream,
    now: Instant,
    packet: &Packet<'_>,
    payload_type: u8,
    buffer: &mut [u8],
) -> Option<(usize, bool)> {
    let before = stream.source();
    let place = stream.follow(
        now,
        Source {
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            // Packets of a frame share their timestamp.
            samples: 0,
            clock: VideoCodec::CLOCK,
        },
    )?;
    let out = Packet {
        payload_type,
        // It says where a frame ends, a new source or not.
        marker: packet.marker,
        sequence: place.sequence,
        timestamp: place.timestamp,
        ssrc: place.ssrc,
        payload: packet.payload,
    };
    Some((out.write(buffer)?.len(), before != stream.source()))
}

impl Call {
    /// From now on it may have video, under that SSRC toward the browser.
    pub fn open_video(&mut self, now: Instant, ssrc: u32) {
        self.video = Some(Box::new(Video::new(now, ssrc)));
    }

    pub(super) fn set_video(
        &mut self,
        now: Instant,
        remote: Option<VideoRemote>,
        sink: &mut dyn Sink,
    ) {
        let Some(video) = self.video.as_deref_mut() else { return };
        let shows = |remote: &Option<VideoRemote>| {
            remote.as_ref().map_or((false, false), |remote| (remote.to_sip, remote.to_browser))
        };
        let (before, after) = (shows(&video.remote), shows(&remote));
        if let Some(remote) = &remote {
            video.latch.set_target(now, remote.target);
            video.rtcp.announce(remote.rtcp, remote.target);
        }
        video.remote = remote;
        // Whoever was not seen for a while begins with a whole picture.
        if after.0 && !before.0 {
            video.to_sip.detach();
            self.ask_browser(now, sink);
        }
        if after.1 && !before.1 {
            if let Some(video) = self.video.as_deref_mut() {
                video.to_browser.detach();
            }
            self.ask_sip(now, sink);
        }
    }

    pub(super) fn video_from_browser(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        sink: &mut dyn Sink,
    ) {
        let Some(video) = self.video.as_deref_mut() else { return };
        let Some(remote) = &video.remote else { return };
        let clock = Some(VideoCodec::CLOCK);
        let Packet { ssrc, sequence, timestamp, payload, .. } = *packet;
        video.from_browser.reception.received(now, ssrc, sequence, timestamp, payload.len(), clock);
        let Some(to) = video.latch.destination().filter(|_| remote.to_sip) else { return };
        let mut buffer = [0; PACKET];
        let out = follow(&mut video.to_sip, now, packet, remote.sip_payload, &mut buffer);
        let Some((len, is_new)) = out else { return };
        video.sent_sip.count(len);
        video.to_sip.count(len);
        if let Some(packet) = buffer.get(..len) {
            sink.video_rtp(to, packet);
        }
        if is_new {
            self.ask_browser(now, sink);
        }
    }

    /// A datagram on the call's video port.
    pub fn handle_video(
        &mut self,
        now: Instant,
        from: SocketAddr,
        data: &[u8],
        sink: &mut dyn Sink,
    ) {
        if Class::of(data) == Class::Rtcp {
            self.handle_video_rtcp(now, from, data, sink);
            return;
        }
        let Some(video) = self.video.as_deref_mut() else { return };
        let Some(packet) = Packet::parse(data) else {
            self.stats.malformed += 1;
            return;
        };
        let Some(remote) = video.remote.as_ref().filter(|r| r.sip_payload == packet.payload_type)
        else {
            self.stats.unknown_payload += 1;
            return;
        };
        let first = match video.latch.judge(now, from) {
            Verdict::Foreign => {
                self.stats.foreign_source += 1;
                return;
            }
            Verdict::Accept { first } => first,
        };
        let clock = Some(VideoCodec::CLOCK);
        let Packet { ssrc, sequence, timestamp, payload, .. } = packet;
        video.from_sip.reception.received(now, ssrc, sequence, timestamp, payload.len(), clock);
        let shown = remote.to_browser;
        let payload_type = remote.browser_payload;
        let mut is_new = false;
        if shown {
            let mut buffer = [0; PACKET + OVERHEAD];
            let out = buffer.get_mut(..PACKET).and_then(|buffer| {
                follow(&mut video.to_browser, now, &packet, payload_type, buffer)
            });
            let Some((len, new)) = out else { return };
            is_new = new;
            if let Some((to, sealed)) = self.peer.seal_rtp(&mut buffer, len) {
                video.sent_browser.count(len);
                video.to_browser.count(len);
                sink.to_browser(to, sealed);
            }
        }
        if first {
            // It may have come too late for the browser's first picture.
            self.ask_browser(now, sink);
        }
        if is_new {
            self.ask_sip(now, sink);
        }
    }

    /// A datagram on the port above.
    pub fn handle_video_rtcp(
        &mut self,
        now: Instant,
        from: SocketAddr,
        data: &[u8],
        sink: &mut dyn Sink,
    ) {
        let Some(video) = self.video.as_deref_mut() else { return };
        let remote = video.latch.destination();
        if !remote.is_some_and(|remote| video.rtcp.may_come(from, remote)) {
            self.stats.foreign_source += 1;
            return;
        }
        let ours = video.to_sip.ssrc();
        let ends = Ends { ours, theirs: video.from_sip.reception.ssrc() };
        let Some(heard) = rtcp::read(self.clock.ntp(now), ends, data) else {
            self.stats.malformed += 1;
            return;
        };
        video.rtcp.learn(from);
        if let Some(report) = heard.sender_report {
            video.sip_report = Some((report, now));
        }
        if let Some(block) = heard.block {
            video.sent_sip.heard(ours, block);
        }
        let asked = feedback::read(ours, data);
        video.stats.sip_asked += asked.counted();
        if asked.picture {
            self.ask_browser(now, sink);
        }
        self.pass_nack_to_browser(asked.missing(), sink);
    }

    /// What the browser says by RTCP, as far as it is about video.
    pub(super) fn video_browser_rtcp(&mut self, now: Instant, plain: &[u8], sink: &mut dyn Sink) {
        let Some(video) = self.video.as_deref_mut() else { return };
        let ours = video.to_browser.ssrc();
        let ends = Ends { ours, theirs: video.from_browser.reception.ssrc() };
        let Some(heard) = rtcp::read(self.clock.ntp(now), ends, plain) else { return };
        if let Some(report) = heard.sender_report {
            video.browser_report = Some((report, now));
        }
        if let Some(block) = heard.block {
            video.sent_browser.heard(ours, block);
        }
        let asked = feedback::read(ours, plain);
        video.stats.browser_asked += asked.counted();
        if asked.picture {
            self.ask_sip(now, sink);
        }
        self.pass_nack_to_sip(asked.missing(), sink);
    }

    /// Asks the browser for a whole picture.
    pub(super) fn ask_browser(&mut self, now: Instant, sink: &mut dyn Sink) {
        let Some(video) = self.video.as_deref_mut() else { return };
        let Some(source) = video.from_browser.reception.ssrc() else { return };
        if video.asked_browser.is_some_and(|at| now < at + ASK_AGAIN) {
            return;
        }
        video.asked_browser = Some(now);
        let mut buffer = [0; MESSAGE + OVERHEAD];
        let sender = video.to_browser.ssrc();
        if let Some(len) = feedback::write_pli(&mut buffer, sender, source)
            && let Some((to, sealed)) = self.peer.seal_rtcp(&mut buffer, len)
        {
            video.stats.asked_browser.pictures += 1;
            sink.to_browser(to, sealed);
        }
    }

    /// Asks the SIP side for one: by RTCP where that was agreed, else whoever is above us has to.
    fn ask_sip(&mut self, now: Instant, sink: &mut dyn Sink) {
        let Some(video) = self.video.as_deref_mut() else { return };
        let Some(remote) = &video.remote else { return };
        if !remote.feedback.pli && !remote.feedback.fir {
            if video.told.is_none_or(|at| now >= at + TELL_AGAIN) {
                video.told = Some(now);
                video.stats.asked_sip.pictures += 1;
                sink.event(MediaEvent::PictureWanted);
            }
            return;
        }
        let Some(source) = video.from_sip.reception.ssrc() else { return };
        let Some(to) = video.latch.destination().and_then(|rtp| video.rtcp.destination(rtp)) else {
            return;
        };
        if video.asked_sip.is_some_and(|at| now < at + ASK_AGAIN) {
            return;
        }
        video.asked_sip = Some(now);
        let mut buffer = [0; MESSAGE];
        let sender = video.to_sip.ssrc();
        let len = if remote.feedback.pli {
            feedback::write_pli(&mut buffer, sender, source)
        } else {
            video.firs = video.firs.wrapping_add(1);
            feedback::write_fir(&mut buffer, sender, source, video.firs)
        };
        if let Some(packet) = len.and_then(|len| buffer.get(..len)) {
            video.stats.asked_sip.pictures += 1;
            let is_mux = remote.rtcp == RtcpTarget::Mux;
            send_rtcp(is_mux, to, packet, sink);
        }
    }

    fn pass_nack_to_browser(&mut self, missing: &[Missing], sink: &mut dyn Sink) {
        let Some(video) = self.video.as_deref_mut() else { return };
        let Some((source, _)) = video.to_sip.source() else { return };
        let stream = &video.to_sip;
        let theirs =
            missing.iter().filter_map(|(first, mask)| Some((stream.unmap(*first)?, *mask)));
        let packets = theirs.clone().map(|(_, mask)| feedback::packets(mask)).sum::<u64>();
        let mut buffer = [0; MESSAGE + OVERHEAD];
        if let Some(len) =
            feedback::write_nack(&mut buffer, video.to_browser.ssrc(), source, theirs)
            && let Some((to, sealed)) = self.peer.seal_rtcp(&mut buffer, len)
        {
            video.stats.asked_browser.packets += packets;
            sink.to_browser(to, sealed);
        }
    }

    fn pass_nack_to_sip(&mut self, missing: &[Missing], sink: &mut dyn Sink) {
        let Some(video) = self.video.as_deref_mut() else { return };
        let Some(remote) = video.remote.as_ref().filter(|remote| remote.feedback.nack) else {
            return;
        };
        let Some((source, _)) = video.to_browser.source() else { return };
        let Some(to) = video.latch.destination().and_then(|rtp| video.rtcp.destination(rtp)) else {
            return;
        };
        let stream = &video.to_browser;
        let theirs =
            missing.iter().filter_map(|(first, mask)| Some((stream.unmap(*first)?, *mask)));
        let packets = theirs.clone().map(|(_, mask)| feedback::packets(mask)).sum::<u64>();
        let mut buffer = [0; MESSAGE];
        let len = feedback::write_nack(&mut buffer, video.to_sip.ssrc(), source, theirs);
        if let Some(packet) = len.and_then(|len| buffer.get(..len)) {
            video.stats.asked_sip.packets += packets;
            send_rtcp(remote.rtcp == RtcpTarget::Mux, to, packet, sink);
        }
    }

    /// Reports of the streams of video. Both their times are those of the audio's: of when a packet passed.
    pub(super) fn report_video(&mut self, now: Instant, last: Last, sink: &mut dyn Sink) {
        let Some(video) = self.video.as_deref_mut() else { return };
        video.report_at = now + REPORTS;
        let Some(remote) = &video.remote else { return };
        let ntp = self.clock.ntp(now);
        let mut buffer = [0; PACKET + OVERHEAD];
        if self.peer.is_secure() {
            let sent = video.to_browser.report(now);
            let report = video.from_browser.reception.report();
            let report = rtcp::block(now, report, video.browser_report);
            let data = rtcp::write(ntp, video.to_browser.ssrc(), &self.cname, sent, report, last);
            if let Some(plain) = buffer.get_mut(..data.len()) {
                plain.copy_from_slice(&data);
                if let Some((to, sealed)) = self.peer.seal_rtcp(&mut buffer, data.len()) {
                    sink.to_browser(to, sealed);
                }
            }
        }
        let quiet = video.sent_sip.packets == 0 && video.from_sip.reception.ssrc().is_none();
        let rtp = video.latch.destination().filter(|_| !quiet);
        let Some(to) = rtp.and_then(|rtp| video.rtcp.destination(rtp)) else { return };
        let sent = video.to_sip.report(now);
        let report = rtcp::block(now, video.from_sip.reception.report(), video.sip_report);
        let data = rtcp::write(ntp, video.to_sip.ssrc(), &self.cname, sent, report, last);
        send_rtcp(remote.rtcp == RtcpTarget::Mux, to, &data, sink);
    }
}

fn send_rtcp(is_mux: bool, to: SocketAddr, packet: &[u8], sink: &mut dyn Sink) {
    if is_mux {
        sink.video_rtp(to, packet);
    } else {
        sink.video_rtcp(to, packet);
    }
}
