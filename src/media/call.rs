//! One call's media without its sockets: datagrams and instants in, datagrams and events out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sdp::IceCredentials;

use super::dtls::Identity;
use super::ice::{Check, Outcome};
use super::latch::{Latch, Verdict};
use super::peer::{Notice, Peer};
use super::reception::Reception;
use super::relay::{PACKET, Relay};
use super::rtcp::{self, Clock};
use super::rtp::{Class, HEADER, Packet};
use super::srtp::{OVERHEAD, Refused};
use super::stream::Stream;
use super::types::{BrowserRemote, CallStats, Flow, MediaEvent, SipRemote, StreamStats};

/// Between our reports, each way (RFC 3550 6.2 has 5 s as the least for two parties).
const REPORTS: Duration = Duration::from_secs(5);

/// Where a call's datagrams go.
pub trait Sink {
    /// From the worker's port to the browser.
    fn to_browser(&mut self, to: SocketAddr, data: &[u8]);
    /// From the call's RTP port.
    fn rtp(&mut self, to: SocketAddr, data: &[u8]);
    /// From the call's RTCP port.
    fn rtcp(&mut self, to: SocketAddr, data: &[u8]);
    fn event(&mut self, event: MediaEvent);
    /// An address whose datagrams are this call's from now on.
    fn learned(&mut self, address: SocketAddr);
    fn forgotten(&mut self, address: SocketAddr);
    /// A ufrag that leads here no more.
    fn void(&mut self, ufrag: &str);
}

/// What is told of a call from outside.
#[derive(Debug)]
pub enum Order {
    SetBrowser(Box<BrowserRemote>),
    /// Credentials for an ICE restart.
    RestartIce(IceCredentials),
    /// Credentials of a new peer connection.
    RenewBrowser(IceCredentials),
    SetSip(Box<SipRemote>),
    SetFlow(Flow),
    SendDigits(String),
}

#[derive(Default)]
struct Outgoing {
    packets: u64,
    bytes: u64,
    /// Packets of the last report.
    reported: u64,
}

impl Outgoing {
    /// A packet of that length, header and all.
    fn count(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len.saturating_sub(HEADER) as u64;
    }

    fn stats(&self) -> StreamStats {
        StreamStats { packets: self.packets, bytes: self.bytes, ..StreamStats::default() }
    }

    fn sent(&mut self, timestamp: Option<u32>) -> Option<rtcp::Sent> {
        let before = std::mem::replace(&mut self.reported, self.packets);
        (self.packets > before).then_some(rtcp::Sent {
            timestamp: timestamp?,
            packets: self.packets as u32,
            octets: self.bytes as u32,
        })
    }
}

#[derive(Default)]
struct Rtt {
    last: Option<Duration>,
    max: Option<Duration>,
    sum: Duration,
    count: u32,
}

impl Rtt {
    fn measured(&mut self, rtt: Duration) {
        self.last = Some(rtt);
        self.max = self.max.max(Some(rtt));
        self.sum += rtt;
        self.count += 1;
    }
}

pub struct Call {
    peer: Peer,
    /// A new peer connection that is to replace `peer` once it is connected.
    renewed: Option<Peer>,
    identity: Arc<Identity>,
    relay: Relay,
    latch: Latch,
    flow: Flow,
    cname: String,
    clock: Clock,
    from_browser: Reception,
    from_sip: Reception,
    to_browser: Outgoing,
    to_sip: Outgoing,
    browser_report: Option<(u32, Instant)>,
    sip_report: Option<(u32, Instant)>,
    report_at: Instant,
    rtt: Rtt,
    stats: CallStats,
}

impl Call {
    pub fn new(
        now: Instant,
        clock: Clock,
        identity: Arc<Identity>,
        local: IceCredentials,
        ssrc: u32,
        cname: String,
    ) -> Self {
        let to_browser = Stream::fixed(ssrc, rand::random(), rand::random());
        let to_sip = Stream::following(rand::random(), rand::random(), rand::random());
        Call {
            peer: Peer::new(local, identity.clone()),
            renewed: None,
            identity,
            relay: Relay::new(to_browser, to_sip),
            latch: Latch::new(now),
            flow: Flow::default(),
            cname,
            clock,
            from_browser: Reception::default(),
            from_sip: Reception::default(),
            to_browser: Outgoing::default(),
            to_sip: Outgoing::default(),
            browser_report: None,
            sip_report: None,
            report_at: now + REPORTS,
            rtt: Rtt::default(),
            stats: CallStats::default(),
        }
    }

    pub fn stats(&self) -> CallStats {
        let renewed = self.renewed.as_ref().map_or(0, Peer::malformed);
        CallStats {
            from_browser: self.from_browser.stats(),
            to_browser: self.to_browser.stats(),
            from_sip: self.from_sip.stats(),
            to_sip: self.to_sip.stats(),
            rtt: self.rtt.last,
            rtt_max: self.rtt.max,
            rtt_average: self.rtt.sum.checked_div(self.rtt.count),
            unknown_payload: self.relay.unknown_payload() + self.stats.unknown_payload,
            malformed: self.stats.malformed + self.peer.malformed() + renewed,
            ..self.stats
        }
    }

    /// The ufrags and addresses that lead here, for the caller to forget at the end.
    pub fn routes(&self) -> (Vec<String>, Vec<SocketAddr>) {
        let peers = || std::iter::once(&self.peer).chain(&self.renewed);
        (
            peers().flat_map(|p| p.ice.ufrags().map(str::to_owned)).collect(),
            peers().flat_map(|p| p.ice.addresses()).collect(),
        )
    }

    /// True while the browser consents to packets at this address.
    pub fn is_reached_at(&self, address: SocketAddr) -> bool {
        std::iter::once(&self.peer)
            .chain(&self.renewed)
            .any(|peer| peer.ice.selected() == Some(address))
    }

    pub fn handle_order(&mut self, now: Instant, order: Order, sink: &mut dyn Sink) {
        match order {
            Order::SetBrowser(remote) => {
                self.relay.set_browser(remote.payloads.clone());
                let peer = self.renewed.as_mut().unwrap_or(&mut self.peer);
                let notice = peer.set_remote(now, &remote);
                self.notice(notice, self.renewed.is_some(), sink);
            }
            Order::RestartIce(credentials) => {
                let peer = self.renewed.as_mut().unwrap_or(&mut self.peer);
                if let Some(old) = peer.ice.offer(credentials) {
                    sink.void(&old.ufrag);
                }
            }
            Order::RenewBrowser(credentials) => {
                let peer = Peer::new(credentials, self.identity.clone());
                if let Some(old) = self.renewed.replace(peer) {
                    drop_routes(&old, sink);
                }
            }
            Order::SetSip(remote) => {
                self.latch.set_target(now, remote.target);
                self.relay.set_sip(now, remote.payloads, remote.ptime);
            }
            Order::SetFlow(flow) => {
                if flow.to_browser && !self.flow.to_browser {
                    self.latch.reopen(now);
                }
                self.flow = flow;
                self.relay.set_flow(now, flow);
            }
            Order::SendDigits(digits) => self.relay.press(now, &digits),
        }
        self.flush(now, sink);
    }

    /// A binding request with one of this call's ufrags.
    pub fn handle_check(
        &mut self,
        now: Instant,
        from: SocketAddr,
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
            Outcome::Answer { response, connected, promoted, evicted } => {
                sink.to_browser(from, &response);
                if let Some(evicted) = evicted {
                    sink.forgotten(evicted);
                }
                sink.learned(from);
                if promoted {
                    let now_known: Vec<&str> = peer.ice.ufrags().collect();
                    for void in before.iter().filter(|u| !now_known.contains(&u.as_str())) {
                        sink.void(void);
                    }
                }
                if connected {
                    sink.event(MediaEvent::IceConnected { remote: from });
                }
            }
            Outcome::Refuse(response) => sink.to_browser(from, &response),
            Outcome::BadIntegrity => self.stats.stun_bad_integrity += 1,
            Outcome::Silent => {}
        }
        self.flush(now, sink);
    }

    /// Anything but STUN from an address that leads here.
    pub fn handle_browser(
        &mut self,
        now: Instant,
        from: SocketAddr,
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
                }
            }
            Class::Stun | Class::Unknown => self.stats.malformed += 1,
        }
    }

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
        let mut buffer = [0; PACKET + OVERHEAD];
        let out = buffer
            .first_chunk_mut()
            .and_then(|buffer| self.relay.forward_to_browser(now, &packet, buffer));
        if let Some(len) = out.map(<[u8]>::len)
            && let Some((to, sealed)) = self.peer.seal_rtp(&mut buffer, len)
        {
            self.to_browser.count(len);
            sink.to_browser(to, sealed);
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

    pub fn poll_timeout(&self) -> Option<Instant> {
        let peers = std::iter::once(&self.peer).chain(&self.renewed);
        peers
            .filter_map(Peer::poll_timeout)
            .chain(self.relay.poll_timeout())
            .chain([self.report_at])
            .min()
    }

    pub fn handle_timeout(&mut self, now: Instant, sink: &mut dyn Sink) {
        let notices = self.peer.handle_timeout(now);
        for notice in notices {
            self.notice(notice, false, sink);
        }
        if let Some(renewed) = &mut self.renewed {
            let notices = renewed.handle_timeout(now);
            for notice in notices {
                self.notice(notice, true, sink);
            }
        }
        if now >= self.report_at {
            self.report_at = now + REPORTS;
            self.report(now, sink);
        }
        self.flush(now, sink);
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
        let event = self.relay.is_browser_event(packet.payload_type);
        self.from_browser.received(
            now,
            packet.ssrc,
            packet.sequence,
            packet.timestamp,
            packet.payload.len(),
            event,
        );
        let mut buffer = [0; PACKET];
        if let Some(out) = self.relay.forward_to_sip(now, &packet, &mut buffer)
            && let Some(to) = self.latch.destination()
        {
            self.to_sip.count(out.len());
            sink.rtp(to, out);
        }
        self.digits(sink);
    }

    fn browser_rtcp(&mut self, now: Instant, plain: &[u8]) {
        let ours = self.relay.to_browser().ssrc();
        let Some(heard) = rtcp::read(self.clock.ntp(now), ours, plain) else {
            self.stats.malformed += 1;
            return;
        };
        if let Some(report) = heard.sender_report {
            self.browser_report = Some((report, now));
        }
        if let Some(lost) = heard.lost {
            self.stats.browser_reported_lost = lost;
        }
        if let Some(rtt) = heard.rtt {
            self.rtt.measured(rtt);
        }
    }

    fn report(&mut self, now: Instant, sink: &mut dyn Sink) {
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

    /// Sends what is due: handshake flights, digits, silence.
    fn flush(&mut self, now: Instant, sink: &mut dyn Sink) {
        for peer in std::iter::once(&mut self.peer).chain(&mut self.renewed) {
            while let Some((to, data)) = peer.poll_transmit() {
                sink.to_browser(to, &data);
            }
        }
        let mut buffer = [0; PACKET];
        while let Some(out) = self.relay.poll_sip(now, &mut buffer) {
            if let Some(to) = self.latch.destination() {
                self.to_sip.count(out.len());
                sink.rtp(to, out);
            }
        }
    }

    fn digits(&mut self, sink: &mut dyn Sink) {
        while let Some(event) = self.relay.poll_event() {
            sink.event(event);
        }
    }

    fn notice(&mut self, notice: Option<Notice>, from_renewed: bool, sink: &mut dyn Sink) {
        match notice {
            None => {}
            Some(Notice::Event(event)) => sink.event(event),
            Some(Notice::Connected(event)) => {
                if from_renewed && let Some(mut new) = self.renewed.take() {
                    // The last flight has to leave before the old connection is let go.
                    while let Some((to, data)) = new.poll_transmit() {
                        sink.to_browser(to, &data);
                    }
                    let old = std::mem::replace(&mut self.peer, new);
                    let kept: Vec<SocketAddr> = self.peer.ice.addresses().collect();
                    drop_routes(&old, sink);
                    for address in kept {
                        sink.learned(address);
                    }
                }
                sink.event(event);
            }
        }
    }
}

fn drop_routes(peer: &Peer, sink: &mut dyn Sink) {
    for ufrag in peer.ice.ufrags() {
        sink.void(ufrag);
    }
    for address in peer.ice.addresses() {
        sink.forgotten(address);
    }
}
