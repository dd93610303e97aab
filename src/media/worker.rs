//! A worker: one thread, one browser-side port, and the RTP sockets of its calls.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::mpsc::Sender;

use super::call::{Call, Order, Sink};
use super::ice::{Check, NoCheck};
use super::ports::PortPool;
use super::rtp::Class;
use super::socket::{Epoll, RecvBatch, SendBatch, Waker};
use super::types::{CallStats, DtlsFailure, MediaEvent, MediaId};

/// Orders that fit the ring; more wait in a list. Calls have some ten in all.
const RING: usize = 1024;

/// From this many packets a second on, packets gather for a tick instead of waking us one by one:
/// some ten calls. Below, nothing is gained and latency lost.
const TICKING: u64 = 1000;

/// How long they gather.
const TICK: Duration = Duration::from_micros(1500);

/// How often the load is judged and counters are published.
const PUBLISH: Duration = Duration::from_millis(100);

/// Batches taken from one socket before the others have their turn.
const MAX_ROUNDS: usize = 8;

/// Events a call may report in each ten seconds; digits are some five a second at most.
const MAX_EVENTS: u32 = 200;
const EVENTS_PER: Duration = Duration::from_secs(10);

/// The least time to a deadline. A call that had one which nothing moves would cost us wake-ups,
/// and not the worker with all its calls.
const MIN_TIMER: Duration = Duration::from_millis(1);

const CONTROL: u64 = 0;
const BROWSER: u64 = 1;

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
    Close(MediaId),
    Stop,
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

/// Counters of one worker.
#[derive(Debug, Default)]
pub struct Counters {
    pub calls: AtomicU64,
    pub unknown_datagrams: AtomicU64,
    pub stun_bad_integrity: AtomicU64,
    pub malformed: AtomicU64,
    pub fingerprint_mismatches: AtomicU64,
}

impl Counters {
    fn add(counter: &AtomicU64, n: u64) {
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

    fn take_overflow(&self) -> Vec<Command> {
        if !self.overflowed.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut queue.overflow)
    }
}

/// A call and its sockets.
struct Seat {
    id: MediaId,
    call: Call,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    port: u16,
    events: Sender<(MediaId, MediaEvent)>,
    events_left: u32,
    events_since: Instant,
    published: Arc<Mutex<CallStats>>,
    dirty: bool,
    /// The deadline in the heap.
    armed: Option<Instant>,
    /// Faults counted so far: the worker's counters get the difference.
    counted: Faults,
}

#[derive(Clone, Copy, Default)]
struct Faults {
    bad_integrity: u64,
    malformed: u64,
}

impl Seat {
    /// Shows the counters to the handle's side, unless somebody reads there just now.
    fn publish(&mut self, counters: &Counters) -> bool {
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

pub struct Worker {
    socket: UdpSocket,
    epoll: Epoll,
    orders: Arc<Orders>,
    commands: Consumer<Command>,
    ports: Arc<Mutex<PortPool>>,
    seats: Vec<Option<Box<Seat>>>,
    vacant: Vec<usize>,
    by_id: HashMap<MediaId, usize>,
    routes: Routes,
    deadlines: BinaryHeap<Reverse<(Instant, usize, MediaId)>>,
    recv: RecvBatch,
    send: SendBatch,
    packets: u64,
    /// No deadline is armed before this.
    earliest: Instant,
}

/// Which call a datagram belongs to.
#[derive(Default)]
struct Routes {
    by_ufrag: HashMap<String, usize>,
    by_address: HashMap<SocketAddr, usize>,
}

/// A call's way out while it handles something.
struct Exit<'a> {
    seat: usize,
    id: MediaId,
    send: &'a mut SendBatch,
    routes: &'a mut Routes,
    rtp: &'a UdpSocket,
    rtcp: &'a UdpSocket,
    events: &'a Sender<(MediaId, MediaEvent)>,
    events_left: &'a mut u32,
    counters: &'a Counters,
}

impl Sink for Exit<'_> {
    fn to_browser(&mut self, to: SocketAddr, data: &[u8]) {
        self.send.push(to, data);
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

    fn learned(&mut self, address: SocketAddr) {
        self.routes.by_address.insert(address, self.seat);
    }

    fn forgotten(&mut self, address: SocketAddr) {
        if self.routes.by_address.get(&address) == Some(&self.seat) {
            self.routes.by_address.remove(&address);
        }
    }

    fn void(&mut self, ufrag: &str) {
        self.routes.by_ufrag.remove(ufrag);
    }
}

impl Worker {
    pub fn new(
        socket: UdpSocket,
        orders: Arc<Orders>,
        commands: Consumer<Command>,
        ports: Arc<Mutex<PortPool>>,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&orders.waker, CONTROL)?;
        epoll.add(&socket, BROWSER)?;
        Ok(Worker {
            socket,
            epoll,
            orders,
            commands,
            ports,
            seats: Vec::new(),
            vacant: Vec::new(),
            by_id: HashMap::new(),
            routes: Routes::default(),
            deadlines: BinaryHeap::new(),
            recv: RecvBatch::new(),
            send: SendBatch::default(),
            packets: 0,
            earliest: Instant::now(),
        })
    }

    /// Runs until [`Command::Stop`].
    pub fn run(mut self) {
        let mut ready = Vec::new();
        let mut publish_at = Instant::now() + PUBLISH;
        let mut packets_before = 0;
        let mut ticking = false;
        loop {
            let now = Instant::now();
            let mut timeout = self.deadlines.peek().map(|Reverse((at, ..))| *at);
            if !self.by_id.is_empty() {
                timeout = Some(timeout.map_or(publish_at, |at| at.min(publish_at)));
            }
            let timeout = timeout.map(|at| at.saturating_duration_since(now));
            ready.clear();
            let waited = if ticking {
                self.orders.waker.sleep(timeout.map_or(TICK, |t| t.min(TICK)));
                self.epoll.wait(Some(Duration::ZERO), &mut ready)
            } else {
                self.epoll.wait(timeout, &mut ready)
            };
            if let Err(error) = waited {
                tracing::error!(%error, "a media worker cannot wait for its sockets and stops");
                return;
            }
            let now = Instant::now();
            self.earliest = now + MIN_TIMER;
            // Quiet first, then look: an order that comes in between wakes us again.
            if ready.contains(&CONTROL) {
                self.orders.waker.clear();
            }
            // Before the sockets: what an order announces may be here already. A token of a call
            // that ends with it meets an empty seat, or a newer call that has nothing to read.
            if !self.obey(now) {
                return;
            }
            for token in &ready {
                match *token {
                    CONTROL => {}
                    BROWSER => self.drain_browser(now),
                    token => self.drain_sip(now, token),
                }
            }
            self.expire(now);
            self.send.flush(&self.socket);
            if now >= publish_at {
                let packets = self.packets - packets_before;
                packets_before = self.packets;
                let span = PUBLISH + (now - publish_at);
                ticking = packets * 1000 > TICKING * span.as_millis() as u64;
                publish_at = now + PUBLISH;
                self.publish(now);
            }
        }
    }

    fn obey(&mut self, now: Instant) -> bool {
        while let Ok(command) = self.commands.pop() {
            if !self.carry_out(now, command) {
                return false;
            }
        }
        for command in self.orders.take_overflow() {
            if !self.carry_out(now, command) {
                return false;
            }
        }
        true
    }

    fn carry_out(&mut self, now: Instant, command: Command) -> bool {
        match command {
            Command::Open { id, call } => self.open(now, id, *call),
            Command::Order { id, order, ufrag } => {
                if let Some(&seat) = self.by_id.get(&id) {
                    if let Some(ufrag) = ufrag {
                        self.routes.by_ufrag.insert(ufrag, seat);
                    }
                    self.with(seat, |call, exit| call.handle_order(now, order, exit));
                }
            }
            Command::Close(id) => self.close(now, id),
            Command::Stop => return false,
        }
        true
    }

    fn open(&mut self, now: Instant, id: MediaId, opening: Opening) {
        let Opening { call, ufrag, rtp, rtcp, port, events, published } = opening;
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        let token = (index as u64 + 1) << 1;
        let added = self.epoll.add(&rtp, token).and_then(|()| self.epoll.add(&rtcp, token | 1));
        if let Err(error) = added {
            tracing::error!(%error, call = id.0, "cannot watch the RTP sockets of a call");
        }
        self.seats[index] = Some(Box::new(Seat {
            id,
            call,
            rtp,
            rtcp,
            port,
            events,
            events_left: MAX_EVENTS,
            events_since: now,
            published,
            dirty: true,
            armed: None,
            counted: Faults::default(),
        }));
        self.by_id.insert(id, index);
        self.routes.by_ufrag.insert(ufrag, index);
        self.with(index, |_, _| ());
    }

    fn close(&mut self, now: Instant, id: MediaId) {
        let Some(index) = self.by_id.remove(&id) else { return };
        // What the call still wanted to say leaves first.
        self.send.flush(&self.socket);
        if let Some(mut seat) = self.seats[index].take() {
            let (ufrags, addresses) = seat.call.routes();
            for ufrag in ufrags {
                self.routes.by_ufrag.remove(&ufrag);
            }
            for address in addresses {
                if self.routes.by_address.get(&address) == Some(&index) {
                    self.routes.by_address.remove(&address);
                }
            }
            let port = seat.port;
            seat.publish(&self.orders.counters);
            drop(seat);
            self.ports.lock().unwrap_or_else(PoisonError::into_inner).release(now, port);
        }
        self.vacant.push(index);
        self.orders.counters.calls.fetch_sub(1, Ordering::Relaxed);
    }

    fn drain_browser(&mut self, now: Instant) {
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
            if count < super::socket::BATCH {
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
                            call.handle_check(now, from, &mut check, exit);
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
                self.with(seat, |call, exit| call.handle_browser(now, from, data, exit));
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
                .is_some_and(|owner| owner.call.is_reached_at(from)),
            _ => true,
        }
    }

    fn drain_sip(&mut self, now: Instant, token: u64) {
        let Some(index) = (token >> 1).checked_sub(1).map(|i| i as usize) else { return };
        let is_rtcp = token & 1 == 1;
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
            if count < super::socket::BATCH {
                return;
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(Reverse((at, index, id))) = self.deadlines.peek().copied() {
            if at > now {
                return;
            }
            self.deadlines.pop();
            if let Some(Some(seat)) = self.seats.get_mut(index)
                && seat.id == id
                && seat.armed == Some(at)
            {
                seat.armed = None;
                self.with(index, |call, exit| call.handle_timeout(now, exit));
            }
        }
    }

    /// Lets a call handle something, and arms its next deadline.
    fn with(&mut self, index: usize, handle: impl FnOnce(&mut Call, &mut Exit<'_>)) {
        let Some(Some(seat)) = self.seats.get_mut(index) else { return };
        seat.dirty = true;
        let mut exit = Exit {
            seat: index,
            id: seat.id,
            send: &mut self.send,
            routes: &mut self.routes,
            rtp: &seat.rtp,
            rtcp: &seat.rtcp,
            events: &seat.events,
            events_left: &mut seat.events_left,
            counters: &self.orders.counters,
        };
        // A call is judged by what strangers send, through libraries of others: if one of them
        // panics after all, that call ends and its neighbours on this thread do not.
        let outcome = catch_unwind(AssertUnwindSafe(|| handle(&mut seat.call, &mut exit)));
        if outcome.is_err() {
            let id = seat.id;
            tracing::error!(call = id.0, "a call's media panicked and is closed");
            let _ = seat.events.try_send((id, MediaEvent::IceLost));
            self.close(Instant::now(), id);
            return;
        }
        if let Some(at) = seat.call.poll_timeout().map(|at| at.max(self.earliest))
            && seat.armed.is_none_or(|armed| at < armed)
        {
            seat.armed = Some(at);
            self.deadlines.push(Reverse((at, index, seat.id)));
        }
    }

    fn publish(&mut self, now: Instant) {
        for seat in self.seats.iter_mut().flatten() {
            if now.saturating_duration_since(seat.events_since) > EVENTS_PER {
                seat.events_since = now;
                seat.events_left = MAX_EVENTS;
            }
            // A reader holds the lock for a copy; if it does just now, the next round is soon.
            if seat.dirty && seat.publish(&self.orders.counters) {
                seat.dirty = false;
            }
        }
    }
}
