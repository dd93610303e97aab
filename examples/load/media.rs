//! The sound of all calls, browsers' and telephones', from one thread: a packet each way of each call
//! every 20 ms, spread evenly over them, with the time of sending inside.

use std::net::UdpSocket;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rtc_srtp::context::Context;
use tokio::sync::oneshot;

use crate::Fault;
use crate::net::{self, Inbox, Poll};
use crate::reception::Reception;
use crate::times::Times;

/// The name of the thread, by which its CPU time is found.
pub const THREAD: &str = "generator";

/// Slots of a frame: the thread wakes once a millisecond and serves a twentieth of the calls.
const SLOTS: u32 = 20;
const SLOT: Duration = Duration::from_millis(1);
/// Frames between two reports and checks of a call: 5 s.
const REPORTS: u32 = 250;
/// Later than this nothing comes any more.
const UNDER_WAY: Duration = Duration::from_millis(500);

const HEADER: usize = 12;
/// 20 ms of G.711 or G.722, and RTP units of it.
const FRAME: usize = 160;
/// A packet of ours at most: that of Opus is no longer than this at the rate that we have it made.
const ROOM: usize = HEADER + 500;
/// What our packets carry first; silence that the gateway makes does not.
const MAGIC: u32 = 0x4C4F_4144;
/// Magic, window, time of sending.
const STAMP: usize = 16;
/// What AES-GCM puts behind a packet: without keys we put as much, for the packets to be the same.
const TAG: usize = 16;

/// What an end says.
#[derive(Default)]
pub struct Sound {
    pub payload_type: u8,
    /// RTP units of a frame.
    pub step: u32,
    /// Said over and over. Empty: frames with a stamp, which have to come through as they are.
    pub frames: Vec<Vec<u8>>,
}

impl Sound {
    /// Of a codec with a byte for an eighth of a millisecond.
    pub fn stamped(payload_type: u8) -> Self {
        Self { payload_type, step: FRAME as u32, frames: Vec::new() }
    }
}

/// Which end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Browser = 0,
    Phone = 1,
}

/// How packets of a leg are protected.
pub enum Guard {
    Srtp {
        seal: Box<Context>,
        open: Box<Context>,
    },
    /// Nothing, but room for as much as SRTP adds where true.
    Plain {
        padded: bool,
    },
}

/// One end of one call.
pub struct Leg {
    /// Connected.
    pub socket: UdpSocket,
    /// For RTCP, where that has a port of its own.
    pub reports: Option<UdpSocket>,
    pub guard: Guard,
    /// An ICE check, repeated as consent.
    pub check: Option<Vec<u8>>,
    /// Told when the first of the other end's packets is here.
    pub heard: Option<oneshot::Sender<Instant>>,
}

/// What was measured in a window. Of two, the first is from the browsers to the telephones.
#[derive(Clone, Default)]
pub struct Figures {
    pub sent: [u64; 2],
    pub heard: [u64; 2],
    pub latency: [Times; 2],
    /// How long after its time a packet was sent.
    pub lateness: Times,
    /// SRTP that did not open.
    pub refused: u64,
    /// Ends that heard nothing at all.
    pub deaf: u64,
}

enum Order {
    Put(usize, End, Box<Leg>),
    Remove(usize),
    /// What is sent from now on counts, for true, or does not.
    Window(bool),
    Figures(oneshot::Sender<Figures>),
}

/// The thread's handle; it ends when this is dropped.
#[derive(Clone)]
pub struct Generator {
    orders: mpsc::Sender<Order>,
}

impl Generator {
    /// What browsers and what telephones say; either both are stamped or none.
    pub fn start(sounds: [Sound; 2]) -> Result<Self, Fault> {
        let (orders, inbox) = mpsc::channel();
        let poll = Poll::new()?;
        let run = move || Thread::new(sounds, poll).run(&inbox);
        std::thread::Builder::new().name(THREAD.to_owned()).spawn(run)?;
        Ok(Self { orders })
    }

    /// This end of that call speaks and hears from now on.
    pub fn put(&self, call: usize, end: End, leg: Leg) {
        let _ = self.orders.send(Order::Put(call, end, Box::new(leg)));
    }

    pub fn remove(&self, call: usize) {
        let _ = self.orders.send(Order::Remove(call));
    }

    /// Speaks for so long and counts; waits for what is still under way then.
    pub async fn measure(&self, time: Duration) -> Result<Figures, Fault> {
        let _ = self.orders.send(Order::Window(true));
        tokio::time::sleep(time).await;
        let _ = self.orders.send(Order::Window(false));
        tokio::time::sleep(UNDER_WAY).await;
        let (figures, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Figures(figures));
        Ok(answer.await?)
    }
}

struct Seat {
    leg: Box<Leg>,
    end: End,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    reception: Reception,
    heard_in_window: bool,
}

struct Thread {
    sounds: [Sound; 2],
    poll: Poll,
    inbox: Inbox,
    /// Twice the call's number, and one more for the telephone.
    seats: Vec<Option<Seat>>,
    window: u32,
    counting: bool,
    figures: Figures,
}

impl Thread {
    fn new(sounds: [Sound; 2], poll: Poll) -> Self {
        Self {
            sounds,
            poll,
            inbox: Inbox::new(),
            seats: Vec::new(),
            window: 0,
            counting: false,
            figures: Figures::default(),
        }
    }

    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        net::sleep_precisely();
        let start = Instant::now();
        let mut slot = 0u32;
        let mut ready = Vec::new();
        loop {
            let due = start + SLOT * slot;
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                net::sleep(wait);
            }
            loop {
                match orders.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            let mut at = (slot % SLOTS) as usize;
            let frame = slot / SLOTS;
            while at < self.seats.len() {
                self.speak(at, frame, due);
                at += SLOTS as usize;
            }
            loop {
                let more = self.poll.ready(Duration::ZERO, &mut ready);
                for at in &ready {
                    self.hear(*at);
                }
                if !more {
                    break;
                }
            }
            slot += 1;
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Put(call, end, leg) => {
                let at = 2 * call + end as usize;
                if self.seats.len() <= at {
                    self.seats.resize_with(at + 1, || None);
                }
                // What came before there was anybody to hear it is of no interest.
                while self.inbox.receive(&leg.socket, net::BATCH) > 0 {}
                let stamped = net::stamp_arrivals(&leg.socket);
                if let Err(error) = stamped.and_then(|()| self.poll.add(&leg.socket, at)) {
                    eprintln!("call {call}: {error}");
                }
                self.seats[at] = Some(Seat {
                    leg,
                    end,
                    sequence: 0,
                    timestamp: 0,
                    ssrc: 0xB000_0000 + at as u32,
                    reception: Reception::default(),
                    heard_in_window: false,
                });
            }
            Order::Remove(call) => {
                for seat in self.seats.iter_mut().skip(2 * call).take(2) {
                    *seat = None;
                }
            }
            Order::Window(counting) => {
                self.counting = counting;
                if counting {
                    self.window += 1;
                    self.figures = Figures::default();
                    for seat in self.seats.iter_mut().flatten() {
                        seat.heard_in_window = false;
                    }
                }
            }
            Order::Figures(answer) => {
                let seats = self.seats.iter().flatten();
                self.figures.deaf = seats.filter(|seat| !seat.heard_in_window).count() as u64;
                let _ = answer.send(self.figures.clone());
            }
        }
    }

    fn speak(&mut self, at: usize, frame: u32, due: Instant) {
        let Some(seat) = self.seats.get_mut(at).and_then(Option::as_mut) else { return };
        seat.sequence = seat.sequence.wrapping_add(1);
        let sound = &self.sounds[seat.end as usize];
        seat.timestamp = seat.timestamp.wrapping_add(sound.step);
        let mut packet = [0x55; ROOM];
        packet[0] = 0x80;
        packet[1] = sound.payload_type;
        packet[2..4].copy_from_slice(&seat.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&seat.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&seat.ssrc.to_be_bytes());
        let late = Instant::now().saturating_duration_since(due);
        // Each call is at another place of what is said.
        let place = (frame as usize + 7 * at) % sound.frames.len().max(1);
        let len = match sound.frames.get(place) {
            Some(said) => {
                packet[HEADER..HEADER + said.len()].copy_from_slice(said);
                HEADER + said.len()
            }
            None => {
                let window = if self.counting { self.window } else { 0 };
                packet[12..16].copy_from_slice(&MAGIC.to_be_bytes());
                packet[16..20].copy_from_slice(&window.to_be_bytes());
                packet[20..28].copy_from_slice(&net::clock().to_be_bytes());
                HEADER + FRAME
            }
        };
        let sent = match &mut seat.leg.guard {
            Guard::Plain { padded } => {
                seat.leg.socket.send(&packet[..if *padded { len + TAG } else { len }])
            }
            Guard::Srtp { seal, .. } => match seal.encrypt_rtp(&packet[..len]) {
                Ok(sealed) => seat.leg.socket.send(&sealed),
                Err(_) => return,
            },
        };
        // What we could not send, nobody lost.
        if sent.is_ok() && self.counting {
            self.figures.sent[seat.end as usize] += 1;
            self.figures.lateness.add(late.as_nanos() as u64);
        }
        if (frame + at as u32).is_multiple_of(REPORTS) {
            seat.report();
        }
    }

    fn hear(&mut self, at: usize) {
        // Hardly ever is there more than one; a slot comes every millisecond.
        const SOME: usize = 4;
        let Some(seat) = self.seats.get_mut(at).and_then(Option::as_mut) else { return };
        for n in 0..self.inbox.receive(&seat.leg.socket, SOME) {
            let arrived = self.inbox.get(n);
            let at = arrived.at;
            let opened;
            let packet: &[u8] = match &mut seat.leg.guard {
                _ if !is_rtp(arrived.data) => continue,
                Guard::Plain { .. } => arrived.data,
                Guard::Srtp { open, .. } => match open.decrypt_rtp(arrived.data) {
                    Ok(plain) => {
                        opened = plain;
                        &opened
                    }
                    Err(_) => {
                        self.figures.refused += 1;
                        continue;
                    }
                },
            };
            seat.reception.heard(packet);
            let is_stamped = self.sounds[0].frames.is_empty();
            let (window, sent_at) = match stamp(packet) {
                Some(stamp) if is_stamped => stamp,
                // Coded anew: all that can be said is that something came in time.
                None if !is_stamped => (if self.counting { self.window } else { 0 }, 0),
                _ => continue,
            };
            if let Some(told) = seat.leg.heard.take() {
                let _ = told.send(Instant::now());
            }
            if window == self.window && window > 0 {
                seat.heard_in_window = true;
                let way = 1 - seat.end as usize;
                self.figures.heard[way] += 1;
                if is_stamped {
                    self.figures.latency[way].add(at.saturating_sub(sent_at));
                }
            }
        }
    }
}

fn is_rtp(data: &[u8]) -> bool {
    matches!(data, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

fn stamp(packet: &[u8]) -> Option<(u32, u64)> {
    let stamp: &[u8; STAMP] = packet.get(HEADER..)?.first_chunk()?;
    let (magic, rest) = stamp.split_first_chunk()?;
    let (window, time) = rest.split_first_chunk()?;
    (u32::from_be_bytes(*magic) == MAGIC)
        .then_some((u32::from_be_bytes(*window), u64::from_be_bytes(*time.first_chunk()?)))
}

impl Seat {
    /// A sender report with what was heard and a name (RFC 3550 6), and the browser's consent.
    fn report(&mut self) {
        let heard = self.reception.block();
        let blocks = u8::from(heard.is_some());
        let mut report = vec![0x80 | blocks, 200, 0, 6 + 6 * blocks];
        report.extend(self.ssrc.to_be_bytes());
        // NTP time: seconds since 1900, and a fraction of 2^32.
        let now = net::clock();
        let seconds = now / 1_000_000_000 + 2_208_988_800;
        let fraction = ((now % 1_000_000_000) << 32) / 1_000_000_000;
        report.extend((seconds as u32).to_be_bytes());
        report.extend((fraction as u32).to_be_bytes());
        report.extend(self.timestamp.to_be_bytes());
        report.extend(u32::from(self.sequence).to_be_bytes());
        report.extend((u32::from(self.sequence) * FRAME as u32).to_be_bytes());
        report.extend(heard.into_iter().flatten());
        report.extend([0x81, 202, 0, 3]);
        report.extend(self.ssrc.to_be_bytes());
        report.extend([1, 4, b'l', b'o', b'a', b'd', 0, 0]);
        match (&mut self.leg.guard, &self.leg.reports) {
            (Guard::Srtp { seal, .. }, _) => {
                if let Ok(sealed) = seal.encrypt_rtcp(&report) {
                    let _ = self.leg.socket.send(&sealed);
                }
            }
            (Guard::Plain { .. }, Some(socket)) => {
                let mut heard = [0; 512];
                while socket.recv(&mut heard).is_ok() {}
                let _ = socket.send(&report);
            }
            (Guard::Plain { .. }, None) => {}
        }
        if let Some(check) = &self.leg.check {
            let _ = self.leg.socket.send(check);
        }
    }
}
