//! How a worker is told what to do, and what it counts.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::mpsc::Sender;

use crate::media::call::{Call, Order};
use crate::media::handshake::Done;
use crate::media::socket::Waker;
use crate::media::tcp::Connection;
use crate::media::types::{CallStats, MediaEvent, MediaId};

/// Orders that fit the ring; more wait in a list. Calls have some ten in all.
const RING: usize = 1024;

/// What the handles say to a worker.
pub enum Command {
    Open {
        id: MediaId,
        call: Box<Opening>,
    },
    /// A call's order; the ufrag is one that leads to it from now on.
    Order {
        id: MediaId,
        order: Order,
        ufrag: Option<String>,
    },
    /// The work of a call's handshake is done.
    Handshaken {
        id: MediaId,
        done: Box<Done>,
    },
    /// Sockets for a call's video.
    Video {
        id: MediaId,
        video: Box<VideoSockets>,
    },
    Close(MediaId),
    /// A connection whose first frame is a check with one of this worker's ufrags.
    Adopt(Box<Connection>),
    Stop,
    #[cfg(test)]
    Stumble,
}

/// All a worker needs for a new call.
pub struct Opening {
    pub call: Call,
    pub ufrag: String,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub port: u16,
    pub events: Sender<(MediaId, MediaEvent)>,
    pub published: Arc<Mutex<CallStats>>,
}

/// A call's sockets for video, and the SSRC of it toward the browser.
pub struct VideoSockets {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
    pub port: u16,
    pub ssrc: u32,
}

/// Counters of one worker.
#[derive(Debug, Default)]
pub struct Counters {
    pub calls: AtomicU64,
    pub unknown_datagrams: AtomicU64,
    pub stun_bad_integrity: AtomicU64,
    pub malformed: AtomicU64,
    pub fingerprint_mismatches: AtomicU64,
    pub tcp_connections: AtomicU64,
    pub tcp_refused: AtomicU64,
    pub tcp_dropped: AtomicU64,
    pub unreachable: AtomicU64,
    pub refused_handshakes: AtomicU64,
    /// What the thread uses of a core: microseconds in a second, lately.
    pub busy: AtomicU64,
    /// The thread has ended, and nobody has told it to.
    pub lost: AtomicBool,
}

impl Counters {
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// The sending end of a worker's orders. Behind a lock of the callers' own: the worker never waits
/// for it.
pub struct Orders {
    queue: Mutex<Queue>,
    overflowed: AtomicBool,
    pub waker: Waker,
    pub counters: Counters,
}

struct Queue {
    ring: Producer<Command>,
    /// What did not fit; drained after the ring, in order.
    overflow: Vec<Command>,
}

impl Orders {
    pub fn new(waker: Waker) -> (Arc<Orders>, Consumer<Command>) {
        let (ring, consumer) = RingBuffer::new(RING);
        let queue = Mutex::new(Queue { ring, overflow: Vec::new() });
        let overflowed = AtomicBool::new(false);
        (Arc::new(Orders { queue, overflowed, waker, counters: Counters::default() }), consumer)
    }

    /// Never waits for the worker; false when it has stopped.
    pub fn send(&self, command: Command) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.ring.is_abandoned() {
            return false;
        }
        if queue.overflow.is_empty() {
            if let Err(rtrb::PushError::Full(command)) = queue.ring.push(command) {
                queue.overflow.push(command);
                self.overflowed.store(true, Ordering::Release);
            }
        } else {
            queue.overflow.push(command);
        }
        drop(queue);
        self.waker.wake();
        true
    }

    pub fn take_overflow(&self) -> Vec<Command> {
        if !self.overflowed.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut queue.overflow)
    }
}
