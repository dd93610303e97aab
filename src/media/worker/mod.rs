//! A worker: one thread, one browser-side port, and the RTP sockets of its calls.

mod control;
mod handshakes;
mod load;
mod orders;
mod receive;
mod routes;
mod seat;
mod tcp;
mod token;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtrb::Consumer;

use super::call::Call;
use super::ports::PortPool;
use super::socket::{Epoll, RecvBatch, SendBatch, report_local};
use super::types::{MediaEvent, MediaId};

pub use handshakes::Handshakes;
use load::Load;
pub use load::weight;
pub use orders::{Command, Opening, Orders, VideoSockets};
use routes::Routes;
use seat::{Exit, Seat};
use tcp::Table;
use token::Token;

/// How long they gather.
const TICK: Duration = Duration::from_micros(1500);

/// Events a call may report in each ten seconds; digits are some five a second at most.
const MAX_EVENTS: u32 = 200;
const EVENTS_PER: Duration = Duration::from_secs(10);

/// The least time to a deadline. A call that had one which nothing moves would cost us wake-ups,
/// and not the worker with all its calls.
const MIN_TIMER: Duration = Duration::from_millis(1);

/// Looks at the sockets in one tick. Each takes one datagram of a phone's, so this many in a tick;
/// when there are more we do without the sleep.
const MAX_ROUNDS: usize = 8;

pub struct Worker {
    socket: UdpSocket,
    epoll: Epoll,
    orders: Arc<Orders>,
    commands: Consumer<Command>,
    ports: Arc<Mutex<PortPool>>,
    handshakes: Handshakes,
    seats: Vec<Option<Box<Seat>>>,
    vacant: Vec<usize>,
    by_id: HashMap<MediaId, usize>,
    routes: Routes,
    deadlines: BinaryHeap<Reverse<(Instant, usize, MediaId)>>,
    recv: RecvBatch,
    send: SendBatch,
    tcp: Table,
    packets: u64,
    /// No deadline is armed before this.
    earliest: Instant,
}

impl Worker {
    pub fn new(
        socket: UdpSocket,
        orders: Arc<Orders>,
        commands: Consumer<Command>,
        ports: Arc<Mutex<PortPool>>,
        handshakes: Handshakes,
    ) -> std::io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&orders.waker, Token::Control)?;
        epoll.add(&socket, Token::Browser)?;
        let local_matters = socket.local_addr()?.ip().is_unspecified();
        if local_matters {
            report_local(&socket)?;
        }
        Ok(Worker {
            socket,
            epoll,
            orders,
            commands,
            ports,
            handshakes,
            seats: Vec::new(),
            vacant: Vec::new(),
            by_id: HashMap::new(),
            routes: Routes { local_matters, ..Routes::default() },
            deadlines: BinaryHeap::new(),
            recv: RecvBatch::new(),
            send: SendBatch::default(),
            tcp: Table::default(),
            packets: 0,
            earliest: Instant::now(),
        })
    }

    /// Runs until [`Command::Stop`]; false when it could not go on until then.
    pub fn run(mut self) -> bool {
        let mut ready = Vec::new();
        let mut load = Load::new(Instant::now());
        let mut behind = false;
        loop {
            let now = Instant::now();
            let mut timeout = self.deadlines.peek().map(|Reverse((at, ..))| *at);
            if !self.by_id.is_empty() {
                timeout = Some(timeout.map_or(load.judge_at, |at| at.min(load.judge_at)));
            }
            let mut timeout = timeout.map(|at| at.saturating_duration_since(now));
            let mut rounds = 1;
            if load.gathers {
                if !behind {
                    self.orders.waker.sleep(timeout.map_or(TICK, |t| t.min(TICK)));
                }
                timeout = Some(Duration::ZERO);
                rounds = MAX_ROUNDS;
            }
            behind = true;
            for _ in 0..rounds {
                ready.clear();
                if let Err(error) = self.epoll.wait(timeout, &mut ready) {
                    tracing::error!(%error, "a media worker cannot wait for its sockets and stops");
                    return false;
                }
                if !self.serve(Instant::now(), &ready) {
                    return true;
                }
                if ready.is_empty() {
                    behind = false;
                    break;
                }
            }
            let now = Instant::now();
            self.expire(now);
            self.send.flush(&self.socket);
            self.flush_tcp();
            if load.judge(now, self.packets) {
                self.orders.counters.busy.store(load.busy, Ordering::Relaxed);
                self.publish(now);
            }
        }
    }

    /// Obeys, and takes what the sockets have; false when told to stop.
    fn serve(&mut self, now: Instant, ready: &[u64]) -> bool {
        self.earliest = now + MIN_TIMER;
        // Quiet first, then look: an order that comes in between wakes us again.
        if ready.contains(&Token::Control.into()) {
            self.orders.waker.clear();
        }
        // Before the sockets: what an order announces may be here already. A token of a call
        // that ends with it meets an empty seat, or a newer call that has nothing to read.
        if !self.obey(now) {
            return false;
        }
        for token in ready {
            match Token::of(*token) {
                Some(Token::Browser) => self.drain_browser(now),
                Some(Token::Tcp(place)) => self.drain_tcp(now, place),
                Some(Token::Rtp(seat)) => self.take_sip(now, seat, false),
                Some(Token::Rtcp(seat)) => self.take_sip(now, seat, true),
                Some(Token::Video(seat)) => self.take_video(now, seat, false),
                Some(Token::VideoRtcp(seat)) => self.take_video(now, seat, true),
                Some(Token::Control) | None => {}
            }
            if self.send.is_full() {
                self.send.flush(&self.socket);
            }
        }
        true
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
                self.with(index, None, |call, exit| call.handle_timeout(now, exit));
            }
        }
    }

    /// Lets a call handle something, and arms its next deadline.
    fn with(
        &mut self,
        index: usize,
        answering: Option<(SocketAddr, IpAddr)>,
        handle: impl FnOnce(&mut Call, &mut Exit<'_>),
    ) {
        self.enter(index, answering, Call::poll_timeout, handle);
    }

    /// The same for a packet of media.
    fn with_media(
        &mut self,
        index: usize,
        answering: Option<(SocketAddr, IpAddr)>,
        handle: impl FnOnce(&mut Call, &mut Exit<'_>),
    ) {
        self.enter(index, answering, Call::poll_media_timeout, handle);
    }

    fn enter(
        &mut self,
        index: usize,
        answering: Option<(SocketAddr, IpAddr)>,
        deadline: impl Fn(&Call) -> Option<Instant>,
        handle: impl FnOnce(&mut Call, &mut Exit<'_>),
    ) {
        let Some(Some(seat)) = self.seats.get_mut(index) else { return };
        seat.dirty = true;
        let mut exit = Exit {
            seat: index,
            id: seat.id,
            send: &mut self.send,
            tcp: &mut self.tcp.outbox,
            routes: &mut self.routes,
            rtp: &seat.rtp,
            rtcp: &seat.rtcp,
            video: seat.video.as_deref(),
            connected: seat.far_end.filter(|_| seat.is_connected),
            answering,
            events: &seat.events,
            events_left: &mut seat.events_left,
            orders: &self.orders,
            handshakes: &self.handshakes,
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
        if let Some(at) = deadline(&seat.call).map(|at| at.max(self.earliest))
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
            seat.settle(now);
            // A reader holds the lock for a copy; if it does just now, the next round is soon.
            if seat.dirty && seat.publish(&self.orders.counters) {
                seat.dirty = false;
            }
        }
    }
}
