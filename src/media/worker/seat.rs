//! A call at its worker: its sockets, and its way out to them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::mpsc::Sender;

use super::orders::Counters;
use super::routes::Routes;
use crate::media::call::{Call, Sink};
use crate::media::path::Path;
use crate::media::socket::SendBatch;
use crate::media::types::{CallStats, DtlsFailure, MediaEvent, MediaId};

/// A call and its sockets.
pub struct Seat {
    pub id: MediaId,
    pub call: Call,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub port: u16,
    pub events: Sender<(MediaId, MediaEvent)>,
    pub events_left: u32,
    pub events_since: Instant,
    pub published: Arc<Mutex<CallStats>>,
    pub dirty: bool,
    /// The deadline in the heap.
    pub armed: Option<Instant>,
    /// Faults counted so far: the worker's counters get the difference.
    pub counted: Faults,
}

#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub bad_integrity: u64,
    pub malformed: u64,
}

impl Seat {
    /// Shows the counters to the handle's side, unless somebody reads there just now.
    pub fn publish(&mut self, counters: &Counters) -> bool {
        let stats = self.call.stats();
        let before = self.counted;
        self.counted =
            Faults { bad_integrity: stats.stun_bad_integrity, malformed: stats.malformed };
        let bad_integrity = self.counted.bad_integrity - before.bad_integrity;
        Counters::add(&counters.stun_bad_integrity, bad_integrity);
        Counters::add(&counters.malformed, self.counted.malformed - before.malformed);
        match self.published.try_lock() {
            Ok(mut published) => {
                *published = stats;
                true
            }
            Err(_) => false,
        }
    }
}

/// A call's way out while it handles something.
pub struct Exit<'a> {
    pub seat: usize,
    pub id: MediaId,
    pub send: &'a mut SendBatch,
    pub routes: &'a mut Routes,
    pub rtp: &'a UdpSocket,
    pub rtcp: &'a UdpSocket,
    pub events: &'a Sender<(MediaId, MediaEvent)>,
    pub events_left: &'a mut u32,
    pub counters: &'a Counters,
}

impl Sink for Exit<'_> {
    fn to_browser(&mut self, to: Path, data: &[u8]) {
        match to {
            Path::Udp(to) => self.send.push(to, data),
            Path::Tcp { .. } => {}
        }
    }

    // What the kernel refuses is lost, as on any network.
    fn rtp(&mut self, to: SocketAddr, data: &[u8]) {
        let _ = self.rtp.send_to(data, to);
    }

    fn rtcp(&mut self, to: SocketAddr, data: &[u8]) {
        let _ = self.rtcp.send_to(data, to);
    }

    fn event(&mut self, event: MediaEvent) {
        if matches!(event, MediaEvent::DtlsFailed { reason: DtlsFailure::FingerprintMismatch }) {
            Counters::add(&self.counters.fingerprint_mismatches, 1);
        }
        if *self.events_left > 0 {
            *self.events_left -= 1;
            let _ = self.events.try_send((self.id, event));
        }
    }

    fn learned(&mut self, path: Path) {
        if let Path::Udp(address) = path {
            self.routes.by_address.insert(address, self.seat);
        }
    }

    fn forgotten(&mut self, path: Path) {
        self.routes.forget(path, self.seat);
    }

    fn void(&mut self, ufrag: &str) {
        self.routes.by_ufrag.remove(ufrag);
    }
}
