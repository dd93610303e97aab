//! What is known of one server.

use std::time::{Duration, Instant};

use super::{
    COMPLAINTS, Change, FORGIVEN, GOOD_PINGS, HOLD_DOWN, MISSED_PINGS, MOST_GOOD_PINGS,
    NEXT_AFTER_MISS, News, Target,
};
use crate::sip::hop::Hop;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// Nothing has been heard of it, or not since it failed.
    Unknown,
    Up,
    Down,
}

/// One server, for dashboards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// As configured.
    pub name: String,
    pub hop: Hop,
    /// See [`Target::tier`].
    pub tier: u32,
    pub state: ServerState,
    /// In this state since then.
    pub since: Instant,
    /// All DNs are at this one.
    pub current: bool,
    /// Round trip of the last answered ping.
    pub rtt: Option<Duration>,
    /// Smoothed as TCP does it (RFC 6298: 1/8 of each new one).
    pub rtt_average: Option<Duration>,
    /// Why it was down last, even if it is up by now.
    pub reason: Option<String>,
    pub pings: u64,
    pub pings_missed: u64,
}

pub(super) struct Server {
    pub target: Target,
    pub state: ServerState,
    since: Instant,
    pub reason: Option<String>,
    /// What the transport says of it.
    pub fault: Option<String>,
    /// Has answered a ping, ever: its silence means something.
    pub answered: bool,
    /// Has answered something else, ever.
    heard: bool,
    misses: u32,
    goods: u32,
    /// Good pings in a row before it is gone back to.
    wanted: u32,
    /// Has been down after it was up.
    fallen: bool,
    complaints: u32,
    /// When a user agent failed at it last.
    pub failed: Option<Instant>,
    pub next_ping: Option<Instant>,
    /// The ping under way: when it counts as missed, and when the next one is due in any case.
    waiting: Option<(Instant, Instant)>,
    /// When it may be tried again though no ping has told.
    retry: Option<Instant>,
    rtt: Option<Duration>,
    rtt_average: Option<Duration>,
    pings: u64,
    pings_missed: u64,
    pub change: Option<Change>,
}

impl Server {
    pub fn new(target: Target, first_ping: Option<Instant>, now: Instant) -> Self {
        Self {
            target,
            state: ServerState::Unknown,
            since: now,
            reason: None,
            fault: None,
            answered: false,
            heard: false,
            misses: 0,
            goods: 0,
            wanted: GOOD_PINGS,
            fallen: false,
            complaints: 0,
            failed: None,
            next_ping: first_ping,
            waiting: None,
            retry: None,
            rtt: None,
            rtt_average: None,
            pings: 0,
            pings_missed: 0,
            change: None,
        }
    }

    /// The same server by another name, or at another place of the list.
    pub fn renamed(self, target: Target) -> Self {
        Self { target, ..self }
    }

    pub fn status(&self, current: bool) -> ServerStatus {
        ServerStatus {
            name: self.target.name.clone(),
            hop: self.target.hop,
            tier: self.target.tier,
            state: self.state,
            since: self.since,
            current,
            rtt: self.rtt,
            rtt_average: self.rtt_average,
            reason: self.reason.clone(),
            pings: self.pings,
            pings_missed: self.pings_missed,
        }
    }

    /// Worth a REGISTER.
    pub fn may_try(&self) -> bool {
        self.state != ServerState::Down || !(self.answered || self.heard)
    }

    /// Up for long enough to be gone back to.
    pub fn is_steady(&self) -> bool {
        self.state == ServerState::Up && self.goods >= self.wanted
    }

    pub fn measured(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
        self.rtt_average = Some(match self.rtt_average {
            Some(average) => (average * 7 + rtt) / 8,
            None => rtt,
        });
    }

    /// A ping goes out.
    pub fn pinged(&mut self, now: Instant, limit: Duration, pause: Duration) {
        self.pings += 1;
        self.waiting = Some((now + limit, now + pause.max(limit)));
        self.next_ping = None;
    }

    /// A ping was answered as it should.
    pub fn good(&mut self, now: Instant) {
        if let Some((_, next)) = self.waiting.take() {
            self.next_ping = Some(next);
        }
        self.answered = true;
        self.misses = 0;
        self.goods = self.goods.saturating_add(1);
        self.up(now);
    }

    /// A ping was not answered, or not as it should.
    pub fn missed(&mut self, reason: String, now: Instant) {
        self.pings_missed += 1;
        self.goods = 0;
        self.misses = self.misses.saturating_add(1);
        if let Some((_, next)) = self.waiting.take() {
            let decided = self.misses >= MISSED_PINGS;
            let soon = now + NEXT_AFTER_MISS;
            self.next_ping = Some(if decided { next.max(soon) } else { soon });
        }
        // One that answers REGISTER but never OPTIONS is not down for that.
        let deaf = self.heard && !self.answered;
        if self.misses >= MISSED_PINGS && !deaf {
            self.down(reason, now);
        }
    }

    pub fn handle_news(&mut self, news: News, now: Instant) {
        if news != News::Answered {
            self.failed = Some(now);
        }
        match news {
            News::Answered => {
                self.heard = true;
                self.complaints = 0;
                // A server that answers pings is up when it answers those.
                if self.state != ServerState::Down || !self.answered {
                    self.misses = 0;
                    self.up(now);
                }
            }
            // A connection that broke is made again; the ping tells whether that works.
            News::Unsent if self.is_worth_another_ping() => self.ping_now(now),
            News::Unsent => self.unsent(now),
            News::Unavailable => self.complaint("it answers REGISTER with 503", now),
            News::Silent if !self.answered => self.complaint("it does not answer", now),
            News::Silent => {}
        }
    }

    /// Nothing could be sent: a connection that is gone, or none to be had.
    fn is_worth_another_ping(&self) -> bool {
        self.answered && self.state == ServerState::Up && self.target.hop.transport.is_reliable()
    }

    fn ping_now(&mut self, now: Instant) {
        if self.waiting.is_none() {
            self.next_ping = Some(now);
        }
    }

    /// A ping that could not be sent, or went down with its connection; the second in a row decides.
    pub fn ping_unsent(&mut self, now: Instant) {
        if self.is_worth_another_ping() && self.misses == 0 {
            self.pings_missed += 1;
            self.misses = 1;
            self.goods = 0;
            self.waiting = None;
            self.ping_now(now);
        } else {
            self.unsent(now);
        }
    }

    pub fn unsent(&mut self, now: Instant) {
        let fault = self.fault.take();
        self.down(fault.unwrap_or_else(|| "nothing can be sent to it".to_owned()), now);
    }

    fn complaint(&mut self, reason: &str, now: Instant) {
        self.complaints = self.complaints.saturating_add(1);
        if self.complaints >= COMPLAINTS {
            self.down(reason.to_owned(), now);
        }
    }

    fn up(&mut self, now: Instant) {
        self.retry = None;
        if self.state == ServerState::Up {
            return;
        }
        self.state = ServerState::Up;
        self.since = now;
        self.complaints = 0;
        self.change = Some(Change::Up { name: self.target.name.clone(), hop: self.target.hop });
    }

    pub fn down(&mut self, reason: String, now: Instant) {
        self.goods = 0;
        self.complaints = 0;
        if let Some((_, next)) = self.waiting.take() {
            self.next_ping = Some(next);
        }
        if !self.answered {
            self.retry = Some(now + HOLD_DOWN);
        }
        if self.state != ServerState::Down {
            if self.state == ServerState::Up {
                let well = now.saturating_duration_since(self.since) >= FORGIVEN;
                let relapse = std::mem::replace(&mut self.fallen, true) && !well;
                self.wanted = match relapse {
                    true => (self.wanted * 2).min(MOST_GOOD_PINGS),
                    false => GOOD_PINGS,
                };
            }
            self.state = ServerState::Down;
            self.since = now;
            self.change = Some(Change::Down {
                name: self.target.name.clone(),
                hop: self.target.hop,
                reason: reason.clone(),
            });
        }
        self.reason = Some(reason);
    }

    pub fn timeout(&self) -> Option<Instant> {
        let missed = self.waiting.map(|(missed, _)| missed);
        [missed, self.next_ping, self.retry].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.waiting.is_some_and(|(missed, _)| missed <= now) {
            self.missed("it does not answer OPTIONS".to_owned(), now);
        }
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            self.misses = 0;
            self.state = ServerState::Unknown;
            self.since = now;
        }
    }
}
