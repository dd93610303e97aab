//! One call's media without its sockets: datagrams and instants in, datagrams and events out.

#[doc(hidden)]
pub mod bench;
mod browser_side;
mod report;
mod sip_side;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::sdp::IceCredentials;

use crate::media::dtls::Identity;
use crate::media::latch::Latch;
use crate::media::path::Path;
use crate::media::peer::{Notice, Peer};
use crate::media::reception::Reception;
use crate::media::relay::{PACKET, Relay};
use crate::media::rtcp::Clock;
use crate::media::srtp::OVERHEAD;
use crate::media::stream::Stream;
use crate::media::types::{BrowserRemote, CallStats, Flow, MediaEvent, SipRemote, StreamStats};

use report::{Outgoing, REPORTS, Rtt};

/// Where a call's datagrams go.
pub trait Sink {
    /// From the worker's port to the browser.
    fn to_browser(&mut self, to: Path, data: &[u8]);
    /// From the call's RTP port.
    fn rtp(&mut self, to: SocketAddr, data: &[u8]);
    /// From the call's RTCP port.
    fn rtcp(&mut self, to: SocketAddr, data: &[u8]);
    fn event(&mut self, event: MediaEvent);
    /// What comes by it is this call's from now on.
    fn learned(&mut self, path: Path);
    fn forgotten(&mut self, path: Path);
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
            to_browser: StreamStats { lost: self.stats.to_browser.lost, ..self.to_browser.stats() },
            from_sip: self.from_sip.stats(),
            to_sip: self.to_sip.stats(),
            browser_rtt: self.rtt.stats(),
            unknown_payload: self.relay.unknown_payload() + self.stats.unknown_payload,
            malformed: self.stats.malformed + self.peer.malformed() + renewed,
            ..self.stats
        }
    }

    /// The ufrags and paths that lead here, for the caller to forget at the end.
    pub fn routes(&self) -> (Vec<String>, Vec<Path>) {
        let peers = || std::iter::once(&self.peer).chain(&self.renewed);
        (
            peers().flat_map(|p| p.ice.ufrags().map(str::to_owned)).collect(),
            peers().flat_map(|p| p.ice.paths()).collect(),
        )
    }

    /// True while the browser consents to packets this way.
    pub fn is_reached_by(&self, path: Path) -> bool {
        std::iter::once(&self.peer)
            .chain(&self.renewed)
            .any(|peer| peer.ice.selected() == Some(path))
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
        self.forget(sink);
        if now >= self.report_at {
            self.report_at = now + REPORTS;
            self.report(now, sink);
        }
        self.flush(now, sink);
    }

    /// Lets go of paths that no peer connection has any more.
    fn forget(&mut self, sink: &mut dyn Sink) {
        while let Some(path) =
            self.peer.ice.poll_forgotten().or_else(|| self.renewed.as_mut()?.ice.poll_forgotten())
        {
            let peers = std::iter::once(&self.peer).chain(&self.renewed);
            if !peers.into_iter().any(|peer| peer.ice.is_valid(path)) {
                sink.forgotten(path);
            }
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
        while let Some(len) = self.relay.poll_sip(now, &mut buffer).map(<[u8]>::len) {
            self.send_sip(&buffer, len, sink);
        }
        let mut buffer = [0; PACKET + OVERHEAD];
        while let Some(plain) = buffer.first_chunk_mut()
            && let Some(len) = self.relay.poll_coder_to_browser(now, plain).map(<[u8]>::len)
        {
            self.send_browser(&mut buffer, len, sink);
        }
    }

    /// The one way of RTP to SIP: the plain packet `buffer[..len]`.
    fn send_sip(&mut self, buffer: &[u8], len: usize, sink: &mut dyn Sink) {
        if let Some(to) = self.latch.destination()
            && let Some(packet) = buffer.get(..len)
        {
            self.to_sip.count(len);
            sink.rtp(to, packet);
        }
    }

    /// The one way of RTP to the browser: the plain packet `buffer[..len]`, sealed in place.
    fn send_browser(&mut self, buffer: &mut [u8], len: usize, sink: &mut dyn Sink) {
        if let Some((to, sealed)) = self.peer.seal_rtp(buffer, len) {
            self.to_browser.count(len);
            sink.to_browser(to, sealed);
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
                    let kept: Vec<Path> = self.peer.ice.paths().collect();
                    drop_routes(&old, sink);
                    for path in kept {
                        sink.learned(path);
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
    for path in peer.ice.paths() {
        sink.forgotten(path);
    }
}
