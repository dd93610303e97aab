//! What arrives at a worker's sockets, and which call takes it.

use std::net::SocketAddr;
use std::time::Instant;

use super::Worker;
use super::orders::Counters;
use crate::media::ice::{Check, NoCheck};
use crate::media::path::Path;
use crate::media::rtp::Class;
use crate::media::socket::BATCH;

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
                        self.browser_datagram(now, datagram.from, datagram.data);
                    }
                }
            }
            self.recv = batch;
            if count < BATCH {
                return;
            }
        }
    }

    fn browser_datagram(&mut self, now: Instant, from: SocketAddr, data: &mut [u8]) {
        let counters = &self.orders.counters;
        if Class::of(data) == Class::Stun {
            match Check::parse(data) {
                Ok(mut check) => match self.routes.by_ufrag.get(check.ufrag()) {
                    Some(&seat) if self.may_use(from, seat) => {
                        self.with(seat, |call, exit| {
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
            Some(&seat) => {
                self.with(seat, |call, exit| call.handle_browser(now, Path::Udp(from), data, exit));
            }
            None => Counters::add(&counters.unknown_datagrams, 1),
        }
    }

    /// An address that another call uses, with consent, is not taken from it: whoever can forge
    /// his source address could otherwise silence his neighbour.
    fn may_use(&self, from: SocketAddr, seat: usize) -> bool {
        match self.routes.by_address.get(&from) {
            Some(&owner) if owner != seat => !self
                .seats
                .get(owner)
                .and_then(Option::as_ref)
                .is_some_and(|owner| owner.call.is_reached_by(Path::Udp(from))),
            _ => true,
        }
    }

    pub(super) fn drain_sip(&mut self, now: Instant, index: usize, is_rtcp: bool) {
        for _ in 0..MAX_ROUNDS {
            let Some(Some(seat)) = self.seats.get(index) else { return };
            let socket = if is_rtcp { &seat.rtcp } else { &seat.rtp };
            let count = match self.recv.recv(socket) {
                Ok(count) => count,
                Err(error) => {
                    tracing::debug!(%error, "receive on an RTP port");
                    return;
                }
            };
            self.packets += count as u64;
            let mut batch = std::mem::take(&mut self.recv);
            self.with(index, |call, exit| {
                for i in 0..count {
                    match batch.get(i) {
                        Some(datagram) if datagram.cut => {
                            Counters::add(&exit.counters.malformed, 1);
                        }
                        Some(datagram) if is_rtcp => {
                            call.handle_rtcp(now, datagram.from, datagram.data);
                        }
                        Some(datagram) => {
                            call.handle_rtp(now, datagram.from, datagram.data, exit);
                        }
                        None => {}
                    }
                }
            });
            self.recv = batch;
            if count < BATCH {
                return;
            }
        }
    }
}
