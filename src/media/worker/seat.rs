//! A call at its worker: its sockets, and its way out to them.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::mpsc::Sender;

use super::handshakes::Handshakes;
use super::orders::{Counters, Orders, VideoSockets};
use super::routes::{Route, Routes};
use super::tcp::Outbox;
use crate::media::call::{Call, Sink};
use crate::media::handshake::Job;
use crate::media::path::Path;
use crate::media::socket::{SendBatch, disconnect};
use crate::media::types::{CallStats, DtlsFailure, MediaEvent, MediaId};

/// A call and its sockets.
pub struct Seat {
    pub id: MediaId,
    pub call: Call,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    /// Whom the RTP socket is to be connected to, and whether it is.
    pub far_end: Option<SocketAddr>,
    pub is_connected: bool,
    pub port: u16,
    pub video: Option<Box<VideoSockets>>,
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
    /// Once the far end is certain the kernel may know it too: it looks up no route for each packet
    /// then, and keeps strangers away by itself, uncounted. Undone as soon as others may speak.
    pub fn settle(&mut self, now: Instant) {
        let far_end = self.call.settled(now);
        if far_end == self.far_end {
            return;
        }
        let done = match far_end {
            Some(far_end) => self.rtp.connect(far_end),
            None if self.is_connected => disconnect(&self.rtp),
            None => Ok(()),
        };
        if let Err(error) = &done {
            // No route just now, or another family: packets go on as before.
            tracing::debug!(%error, call = self.id.0, "an RTP socket cannot be connected");
        }
        if done.is_err() && self.is_connected {
            let _ = disconnect(&self.rtp);
        }
        self.far_end = far_end;
        self.is_connected = done.is_ok() && far_end.is_some();
    }

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
    pub tcp: &'a mut Outbox,
    pub routes: &'a mut Routes,
    pub rtp: &'a UdpSocket,
    pub rtcp: &'a UdpSocket,
    pub video: Option<&'a VideoSockets>,
    /// Whom the RTP socket is connected to.
    pub connected: Option<SocketAddr>,
    /// Who is being answered, and at which of our addresses: known at a wildcard socket only.
    pub answering: Option<(SocketAddr, IpAddr)>,
    pub events: &'a Sender<(MediaId, MediaEvent)>,
    pub events_left: &'a mut u32,
    pub orders: &'a Arc<Orders>,
    pub handshakes: &'a Handshakes,
}

impl Sink for Exit<'_> {
    fn to_browser(&mut self, to: Path, data: &[u8]) {
        let to = match to {
            Path::Udp(to) => to,
            Path::Tcp { connection, .. } => return self.tcp.push(connection, data),
        };
        let from = match self.answering {
            Some((asker, local)) if asker == to => Some(local),
            _ if self.routes.local_matters => self.routes.local_for(to),
            _ => None,
        };
        self.send.push(to, from, data);
    }

    // What the kernel refuses is lost, as on any network.
    fn rtp(&mut self, to: SocketAddr, data: &[u8]) {
        if self.connected != Some(to) {
            let _ = self.rtp.send_to(data, to);
        } else if let Err(error) = self.rtp.send(data)
            && error.kind() == ErrorKind::ConnectionRefused
        {
            // The kernel tells of an earlier packet that nobody took, and has not sent this one.
            Counters::add(&self.orders.counters.unreachable, 1);
            let _ = self.rtp.send(data);
        }
    }

    fn rtcp(&mut self, to: SocketAddr, data: &[u8]) {
        let _ = self.rtcp.send_to(data, to);
    }

    fn video_rtp(&mut self, to: SocketAddr, data: &[u8]) {
        if let Some(video) = self.video {
            let _ = video.rtp.send_to(data, to);
        }
    }

    fn video_rtcp(&mut self, to: SocketAddr, data: &[u8]) {
        if let Some(video) = self.video {
            let _ = video.rtcp.send_to(data, to);
        }
    }

    fn event(&mut self, event: MediaEvent) {
        if matches!(event, MediaEvent::DtlsFailed { reason: DtlsFailure::FingerprintMismatch }) {
            Counters::add(&self.orders.counters.fingerprint_mismatches, 1);
        }
        if *self.events_left > 0 {
            *self.events_left -= 1;
            let _ = self.events.try_send((self.id, event));
        }
    }

    fn learned(&mut self, path: Path) {
        let Path::Udp(address) = path else { return };
        let asked = self.answering.filter(|(asker, _)| *asker == address).map(|(_, local)| local);
        let known = self.routes.by_address.get(&address).filter(|route| route.seat == self.seat);
        let local = known.and_then(|route| route.local).or(asked);
        self.routes.by_address.insert(address, Route { seat: self.seat, local });
    }

    fn forgotten(&mut self, path: Path) {
        self.routes.forget(path, self.seat);
        self.tcp.close(path);
    }

    fn void(&mut self, ufrag: &str) {
        self.routes.by_ufrag.remove(ufrag);
    }

    fn handshake(&mut self, job: Job) -> Result<(), Job> {
        self.handshakes.send(self.id, job, self.orders).inspect_err(|_| {
            Counters::add(&self.orders.counters.refused_handshakes, 1);
        })
    }
}
