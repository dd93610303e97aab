//! One call's media without its sockets: datagrams and instants in, datagrams and events out.

#[doc(hidden)]
pub mod bench;
mod browser_side;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod held;
mod report;
mod secure;
#[cfg(test)]
mod simulation;
mod sip_side;
mod video;
mod vigil;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sdp::IceCredentials;

use crate::media::dtls::Identity;
use crate::media::handshake::{Done, Job};
use crate::media::latch::Latch;
use crate::media::path::Path;
use crate::media::peer::{Notice, Peer};
use crate::media::relay::{PACKET, Relay};
use crate::media::rtcp::{self, Clock, SenderReport};
use crate::media::srtp::OVERHEAD;
use crate::media::stream::{Stream, first_sequence};
use crate::media::types::{
    BrowserRemote, CallStats, Flow, HeldLeg, MediaEvent, SipRemote, Sounds, StreamStats,
    VideoRemote,
};

use held::Held;
use report::{Incoming, Outgoing, REPORTS, RtcpRoute, Rtt};
use secure::Secure;
use video::Video;
use vigil::Vigil;

/// A payload that is usual: 20 ms of G.711 or G.722, of Opus at any rate that voice takes. A packet of
/// it gets a buffer of its own size: to clear a large one takes longer than to copy the packet.
const USUAL: usize = 240;

/// Where a call's datagrams go.
pub trait Sink {
    /// From the worker's port to the browser.
    fn to_browser(&mut self, to: Path, data: &[u8]);
    /// From the call's RTP port.
    fn rtp(&mut self, to: SocketAddr, data: &[u8]);
    /// From the call's RTCP port.
    fn rtcp(&mut self, to: SocketAddr, data: &[u8]);
    /// From the call's video port. Only a call that has one uses it, and the next.
    fn video_rtp(&mut self, _to: SocketAddr, _data: &[u8]) {}
    fn video_rtcp(&mut self, _to: SocketAddr, _data: &[u8]) {}
    fn event(&mut self, event: MediaEvent);
    /// What comes by it is this call's from now on.
    fn learned(&mut self, path: Path);
    fn forgotten(&mut self, path: Path);
    /// A ufrag that leads here no more.
    fn void(&mut self, ufrag: &str);
    /// Work of a handshake that would keep media waiting. It comes back by
    /// [`Call::handle_handshaken`], or at once when there is too much of it already.
    fn handshake(&mut self, job: Job) -> Result<(), Job>;
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
    /// The other calls of the line, all of them.
    SetHeld(Vec<HeldLeg>),
    SendDigits(String),
    /// A digit of the far end's that did not come by RTP.
    PlayDigit(char),
    SetVideo(Option<Box<VideoRemote>>),
    /// The SIP side wants a whole picture, and has said so by INFO.
    AskBrowser,
}

pub struct Call {
    peer: Peer,
    /// A new peer connection that is to replace `peer` once it is connected.
    renewed: Option<Peer>,
    identity: Arc<Identity>,
    /// Peer connections so far.
    peers: u32,
    relay: Relay,
    latch: Latch,
    /// Where the SIP side speaks SRTP, or has.
    secure: Option<Box<Secure>>,
    rtcp: RtcpRoute,
    flow: Flow,
    cname: String,
    clock: Clock,
    from_browser: Incoming,
    from_sip: Incoming,
    to_browser: Outgoing,
    to_sip: Outgoing,
    browser_report: Option<(SenderReport, Instant)>,
    sip_report: Option<(SenderReport, Instant)>,
    report_at: Instant,
    browser_rtt: Rtt,
    sip_rtt: Rtt,
    stats: CallStats,
    vigil: Option<Vigil>,
    /// The calls that another one of the line has put aside.
    held: Option<Box<Held>>,
    video: Option<Box<Video>>,
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
        let to_browser = Stream::fixed(ssrc, first_sequence(), rand::random());
        let to_sip = Stream::following(rand::random(), first_sequence(), rand::random());
        Call {
            peer: Peer::new(0, local, identity.clone()),
            renewed: None,
            identity,
            peers: 1,
            relay: Relay::new(to_browser, to_sip),
            latch: Latch::new(now),
            secure: None,
            rtcp: RtcpRoute::default(),
            flow: Flow::default(),
            cname,
            clock,
            from_browser: Incoming::default(),
            from_sip: Incoming::default(),
            to_browser: Outgoing::default(),
            to_sip: Outgoing::default(),
            browser_report: None,
            sip_report: None,
            report_at: now + REPORTS,
            browser_rtt: Rtt::default(),
            sip_rtt: Rtt::default(),
            stats: CallStats::default(),
            vigil: None,
            held: None,
            video: None,
        }
    }

    /// With what the gateway lets be heard itself, and the time after which silence is told.
    pub fn with(mut self, sounds: Sounds, silence_alarm: Option<Duration>) -> Self {
        self.relay = self.relay.with_sounds(sounds);
        self.vigil = silence_alarm.map(Vigil::new);
        self
    }

    /// See [`crate::media::MediaConfig::opus_complexity`].
    pub fn with_opus_complexity(mut self, complexity: u8) -> Self {
        self.relay = self.relay.with_complexity(complexity);
        self
    }

    pub fn stats(&self) -> CallStats {
        let renewed = self.renewed.as_ref().map_or(0, Peer::malformed);
        CallStats {
            from_browser: StreamStats {
                concealed: self.relay.concealed_of_browser(),
                ..self.from_browser.stats()
            },
            to_browser: self.to_browser.stats(),
            from_sip: StreamStats {
                concealed: self.relay.concealed_of_sip(),
                ..self.from_sip.stats()
            },
            to_sip: self.to_sip.stats(),
            browser_rtt: self.browser_rtt.stats(),
            sip_rtt: self.sip_rtt.stats(),
            sip_encrypted: self.secure.as_ref().is_some_and(|secure| secure.is_active()),
            unknown_payload: self.relay.unknown_payload() + self.stats.unknown_payload,
            malformed: self.stats.malformed + self.peer.malformed() + renewed,
            video: self.video.as_ref().map(|video| video.stats()),
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

    /// True for a path by which a right check has come.
    pub fn is_valid(&self, path: Path) -> bool {
        std::iter::once(&self.peer).chain(&self.renewed).any(|peer| peer.ice.is_valid(path))
    }

    /// The connection has ended.
    pub fn handle_closed(&mut self, path: Path) {
        for peer in std::iter::once(&mut self.peer).chain(&mut self.renewed) {
            peer.ice.handle_closed(path);
        }
    }

    /// The only other end of the RTP port from now on, once that is certain.
    pub fn settled(&self, now: Instant) -> Option<SocketAddr> {
        // Several far ends are sent to otherwise, and heard of.
        self.latch.settled(now).filter(|_| self.held.as_ref().is_none_or(|held| held.is_empty()))
    }

    pub fn handle_order(&mut self, now: Instant, order: Order, sink: &mut dyn Sink) {
        match order {
            Order::SetBrowser(remote) => {
                if let Some(format) = remote.payloads.preferred() {
                    self.from_browser.set_codec(format.codec);
                    self.to_browser.set_codec(format.codec);
                }
                self.relay.set_browser(remote.payloads.clone());
                let peer = self.renewed.as_mut().unwrap_or(&mut self.peer);
                peer.set_remote(&remote);
            }
            Order::RestartIce(credentials) => {
                let peer = self.renewed.as_mut().unwrap_or(&mut self.peer);
                if let Some(old) = peer.ice.offer(credentials) {
                    sink.void(&old.ufrag);
                }
            }
            Order::RenewBrowser(credentials) => {
                let peer = Peer::new(self.peers, credentials, self.identity.clone());
                self.peers += 1;
                if let Some(old) = self.renewed.replace(peer) {
                    self.let_go(&old, sink);
                }
            }
            Order::SetSip(remote) => {
                let is_back = self.take_back(remote.target);
                self.set_keys(now, &remote, is_back);
                self.rtcp.set(&remote);
                if let Some(format) = remote.payloads.preferred() {
                    self.from_sip.set_codec(format.codec);
                    self.to_sip.set_codec(format.codec);
                }
                self.latch.set_target(now, remote.target);
                self.relay.set_sip(now, remote.payloads);
            }
            Order::SetFlow(flow) => {
                if flow.to_browser && !self.flow.to_browser {
                    self.latch.reopen(now);
                }
                self.flow = flow;
                self.relay.set_flow(now, flow);
            }
            Order::SetHeld(legs) => self.set_held(now, legs),
            Order::SendDigits(digits) => self.relay.press(now, &digits),
            Order::PlayDigit(digit) => self.relay.play_digit(now, digit),
            Order::SetVideo(remote) => self.set_video(now, remote.map(|remote| *remote), sink),
            Order::AskBrowser => self.ask_browser(now, sink),
        }
        self.flush(now, sink);
    }

    /// A handshake's work is done. It may be one of a peer connection that is gone by now.
    pub fn handle_handshaken(&mut self, now: Instant, done: Done, sink: &mut dyn Sink) {
        let is_renewed = self.renewed.as_ref().is_some_and(|peer| peer.number() == done.number);
        let peer = match &mut self.renewed {
            Some(peer) if is_renewed => peer,
            _ if self.peer.number() == done.number => &mut self.peer,
            _ => return,
        };
        for notice in peer.handle_done(done) {
            self.notice(Some(notice), is_renewed, sink);
        }
        self.flush(now, sink);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let peers = std::iter::once(&self.peer).chain(&self.renewed);
        peers
            .filter_map(Peer::poll_timeout)
            .chain(self.relay.poll_timeout())
            .chain(self.held.as_ref().and_then(|held| held.poll_timeout()))
            .chain([self.report_at])
            .chain(self.video.as_ref().map(|video| video.report_at()))
            .min()
    }

    /// The same after a packet of media, which brings none of the other deadlines forward.
    pub fn poll_media_timeout(&self) -> Option<Instant> {
        self.relay.poll_timeout()
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
            self.interval(now, sink);
            self.keep_vigil(now, sink);
        }
        if self.video.as_ref().is_some_and(|video| now >= video.report_at()) {
            self.report_video(now, rtcp::Last::No, sink);
        }
        self.flush(now, sink);
    }

    /// Lets go of paths that no peer connection has any more.
    fn forget(&mut self, sink: &mut dyn Sink) {
        loop {
            let peers = std::iter::once(&mut self.peer).chain(&mut self.renewed);
            let Some(path) = peers.into_iter().find_map(|peer| peer.ice.poll_forgotten()) else {
                return;
            };
            if !self.is_valid(path) {
                sink.forgotten(path);
            }
        }
    }

    /// Sends what is due: handshake flights, digits, tones, silence.
    fn flush(&mut self, now: Instant, sink: &mut dyn Sink) {
        for peer in std::iter::once(&mut self.peer).chain(&mut self.renewed) {
            while let Some((to, data)) = peer.poll_transmit() {
                sink.to_browser(to, &data);
            }
            if let Some(job) = peer.poll_job()
                && let Err(job) = sink.handshake(job)
            {
                peer.handle_refused(job);
            }
        }
        let mut buffer = [0; PACKET + OVERHEAD];
        while let Some(len) = buffer
            .first_chunk_mut()
            .and_then(|buffer| self.relay.poll_sip(now, buffer))
            .map(<[u8]>::len)
        {
            self.send_sip(&mut buffer, len, sink);
        }
        self.flush_held(now, sink);
        self.flush_browser(now, sink);
    }

    /// Sends what is due of our own to the browser.
    fn flush_browser(&mut self, now: Instant, sink: &mut dyn Sink) {
        let mut buffer = [0; PACKET + OVERHEAD];
        while let Some(plain) = buffer.first_chunk_mut()
            && let Some(len) = self.relay.poll_browser(now, plain).map(<[u8]>::len)
        {
            self.send_browser(&mut buffer, len, sink);
        }
    }

    /// The one way of RTP to SIP: the plain packet `buffer[..len]`, sealed in place where keys were agreed.
    fn send_sip(&mut self, buffer: &mut [u8], len: usize, sink: &mut dyn Sink) {
        let Some(to) = self.latch.destination() else { return };
        let packet = match &mut self.secure {
            None => buffer.get(..len),
            Some(secure) => secure.seal_rtp(buffer, len),
        };
        if let Some(packet) = packet {
            self.to_sip.count(len);
            self.relay.count_to_sip(len);
            sink.rtp(to, packet);
        }
    }

    /// Takes the keys of a description into use, or lets them rest where it has none. `is_back`: our stream
    /// is the one that went there all the while.
    fn set_keys(&mut self, now: Instant, remote: &SipRemote, is_back: bool) {
        if remote.srtp.is_some() && self.secure.is_none() {
            self.secure = Some(Box::default());
        }
        if let (Some(secure), Some(held)) = (&mut self.secure, &self.held) {
            held.keys().for_each(|pair| secure.freshen(pair));
        }
        if let Some(secure) = &mut self.secure
            && secure.set(now, remote.srtp.as_deref())
            && !is_back
        {
            self.relay.renew_to_sip();
        }
    }

    /// The one way of RTP to the browser: the plain packet `buffer[..len]`, sealed in place.
    fn send_browser(&mut self, buffer: &mut [u8], len: usize, sink: &mut dyn Sink) {
        if let Some((to, sealed)) = self.peer.seal_rtp(buffer, len) {
            self.to_browser.count(len);
            self.relay.count_to_browser(len);
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
                    self.let_go(&old, sink);
                }
                sink.event(event);
            }
        }
    }
    /// A peer connection is over. What it counted stays, and so do the paths that another one has too.
    fn let_go(&mut self, old: &Peer, sink: &mut dyn Sink) {
        self.stats.malformed += old.malformed();
        for ufrag in old.ice.ufrags() {
            sink.void(ufrag);
        }
        for path in old.ice.paths().filter(|path| !self.is_valid(*path)) {
            sink.forgotten(path);
        }
    }
}
