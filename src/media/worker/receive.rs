//! What arrives at a worker's sockets, and which call takes it.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::Worker;
use super::orders::Counters;
use super::routes::Route;
use crate::media::ice::{Check, NoCheck};
use crate::media::path::Path;
use crate::media::rtp::Class;
use crate::media::socket::{BATCH, Received};

/// Batches taken from one socket before the others have their turn.
const MAX_ROUNDS: usize = 8;

impl Worker {
    pub(super) fn drain_browser(&mut self, now: Instant) {
        for _ in 0..MAX_ROUNDS {
            let count = match self.recv.recv(&self.socket) {
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(%error, "receive on a browser-side port");
                    return;
                }
            };
            // The buffers are lent out while calls are served.
            let mut batch = std::mem::take(&mut self.recv);
            for index in 0..count {
                if let Some(datagram) = batch.get(index) {
                    self.packets += 1;
                    if datagram.cut {
                        Counters::add(&self.orders.counters.malformed, 1);
                    } else {
                        let Received { from, local, data, .. } = datagram;
                        self.browser_datagram(now, from, local, data);
                    }
                }
            }
            self.recv = batch;
            if count < BATCH {
                return;
            }
        }
    }

    fn browser_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: Option<IpAddr>,
        data: &mut [u8],
    ) {
        let counters = &self.orders.counters;
        let answering = local.map(|local| (from, local));
        let class = Class::of(data);
        if class == Class::Stun {
            match Check::parse(data) {
                Ok(mut check) => match self.routes.by_ufrag.get(check.ufrag()) {
                    Some(&seat) if self.may_use(from, seat) => {
                        self.with(seat, answering, |call, exit| {
                            call.handle_check(now, Path::Udp(from), &mut check, exit);
                        });
                    }
                    _ => Counters::add(&counters.unknown_datagrams, 1),
                },
                Err(NoCheck::Malformed) => Counters::add(&counters.malformed, 1),
                Err(NoCheck::OtherMessage) => {}
            }
            return;
        }
        match self.routes.by_address.get(&from) {
            Some(&Route { seat, local: before }) => {
                let path = Path::Udp(from);
                if class == Class::Rtp {
                    self.with_media(seat, answering, |call, exit| {
                        call.handle_browser(now, path, data, exit);
                    });
                } else {
                    self.with(seat, answering, |call, exit| {
                        call.handle_browser(now, path, data, exit);
                    });
                }
                // Its media, and not its checks, which go to all our addresses, say which of them
                // it uses.
                if let Some(local) = local
                    && before != Some(local)
                {
                    self.routes.moved(from, local);
                }
            }
            None => Counters::add(&counters.unknown_datagrams, 1),
        }
    }

    /// An address that another call uses, with consent, is not taken from it: whoever can forge
    /// his source address could otherwise silence his neighbour.
    fn may_use(&self, from: SocketAddr, seat: usize) -> bool {
        match self.routes.by_address.get(&from) {
            Some(route) if route.seat != seat => !self
                .seats
                .get(route.seat)
                .and_then(Option::as_ref)
                .is_some_and(|owner| owner.call.is_reached_by(Path::Udp(from))),
            _ => true,
        }
    }

    /// Takes one datagram of video.
    pub(super) fn take_video(&mut self, now: Instant, index: usize, is_rtcp: bool) {
        let Some(video) =
            self.seats.get(index).and_then(Option::as_ref).and_then(|s| s.video.as_ref())
        else {
            return;
        };
        let socket = if is_rtcp { &video.rtcp } else { &video.rtp };
        // What nobody takes any more (ICMP) is no fault of video's alone: the audio counts it.
        if !matches!(self.recv.recv_one(socket), Ok(true)) {
            return;
        }
        self.packets += 1;
        let mut batch = std::mem::take(&mut self.recv);
        if let Some(Received { from, data, cut, .. }) = batch.get(0) {
            if cut {
                Counters::add(&self.orders.counters.malformed, 1);
            } else if is_rtcp {
                self.with(index, None, |call, exit| {
                    call.handle_video_rtcp(now, from, data, exit);
                });
            } else {
                self.with_media(index, None, |call, exit| call.handle_video(now, from, data, exit));
            }
        }
        self.recv = batch;
    }

    /// Takes one datagram: a phone sends one in 20 ms, and asking for another that is not there
    /// costs a third of taking it. Epoll tells of those that were left.
    pub(super) fn take_sip(&mut self, now: Instant, index: usize, is_rtcp: bool) {
        let Some(Some(seat)) = self.seats.get(index) else { return };
        let socket = if is_rtcp { &seat.rtcp } else { &seat.rtp };
        match self.recv.recv_one(socket) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                Counters::add(&self.orders.counters.unreachable, 1);
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "receive on an RTP port");
                return;
            }
        }
        self.packets += 1;
        let mut batch = std::mem::take(&mut self.recv);
        if let Some(Received { from, data, cut, .. }) = batch.get(0) {
            if cut {
                Counters::add(&self.orders.counters.malformed, 1);
            } else if is_rtcp {
                self.with(index, None, |call, _| call.handle_rtcp(now, from, data));
            } else {
                self.with_media(index, None, |call, exit| call.handle_rtp(now, from, data, exit));
            }
        }
        self.recv = batch;
    }
}
