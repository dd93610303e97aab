//! Which of the SIP servers is used, sans-I/O.
//!
//! The resolved servers, the outcome of OPTIONS pings and what the user agents meet go in; out come pings
//! to send and the current server. Assumptions:
//!
//! * One server serves all DNs at a time: registrations that are spread would be calls that do not find
//!   their DN, for the servers of a list seldom share their bindings.
//! * A ping tells up from down, once a server has answered one. Before that its silence makes another
//!   one preferred, and it may be tried nevertheless; there are servers that never answer OPTIONS.
//! * Silence toward one REGISTER says nothing of a server that answers pings: Genesys SIP Server is
//!   silent about some DNs.
//! * Fail-over is at once. Fail-back waits for several good pings in a row, twice as many after each
//!   relapse, and a random moment, so that several gateways do not come together.

mod health;
mod link;
mod pacing;
mod ping;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::hop::Hop;
use super::port::TxFailure;
use health::Server;

pub use health::{ServerState, ServerStatus};
pub use link::{Current, Link};
pub use pacing::{Pacing, Turn};
pub use ping::{Pinger, Pong};

/// Good pings in a row before a preferred server is gone back to.
pub const GOOD_PINGS: u32 = 3;
/// The same after several relapses.
const MOST_GOOD_PINGS: u32 = 60;
/// Pings in a row without an answer that make a server down.
pub const MISSED_PINGS: u32 = 3;
/// 503s in a row, or silences where no ping tells more, that make a server down.
pub const COMPLAINTS: u32 = 3;
/// How long a ping waits for its answer: three sendings by UDP. A later answer still counts.
const PONG_LIMIT: Duration = Duration::from_secs(3);
/// After an unanswered ping the next one comes soon, until it is decided.
const NEXT_AFTER_MISS: Duration = Duration::from_millis(500);
/// How long a server that no ping tells of is not tried.
pub const HOLD_DOWN: Duration = Duration::from_secs(30);
/// A server that has done well for so long has its relapses forgiven.
const FORGIVEN: Duration = Duration::from_secs(600);
/// Fail-back comes within this time after it has become possible.
const FAIL_BACK_SPREAD: Duration = Duration::from_secs(10);
/// Servers that are watched at most; a list of names resolves to a handful.
pub const MAX_SERVERS: usize = 32;

/// A server to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub hop: Hop,
    /// As configured, for people.
    pub name: String,
    /// The name or address that was configured: what a certificate has to say (RFC 5922 7.1).
    pub host: String,
    /// Servers of a lower tier are gone back to; those of the same are equally good.
    pub tier: u32,
}

/// What a user agent met at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A final answer other than 503 and 408.
    Answered,
    /// 503 without Retry-After to a REGISTER.
    Unavailable,
    /// No answer for 32 s.
    Silent,
    /// The message could not be sent.
    Unsent,
}

impl News {
    pub(crate) fn of(why: TxFailure) -> Self {
        match why {
            TxFailure::Timeout => News::Silent,
            TxFailure::Transport => News::Unsent,
        }
    }
}

/// What came of an OPTIONS ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered { code: u16, rtt: Duration },
    Unsent,
}

/// What has changed, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Up { name: String, hop: Hop },
    Down { name: String, hop: Hop, reason: String },
    Current { name: String, hop: Hop },
}

/// All servers and which of them is current.
pub struct Servers {
    servers: Vec<Server>,
    current: Option<Hop>,
    /// None: no pings.
    ping: Option<Duration>,
    fail_back: Option<(Hop, Instant)>,
    changes: VecDeque<Change>,
    rng: StdRng,
}

impl Servers {
    /// `ping`: the pause between OPTIONS pings of a server; None for no pings, so that only failures
    /// count and nothing but the failure of the current server leads back to a preferred one.
    pub fn new(ping: Option<Duration>, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let (servers, changes) = (Vec::new(), VecDeque::new());
        Self { servers, current: None, ping, fail_back: None, changes, rng }
    }

    /// The servers there are now, in the order to be tried; at most [`MAX_SERVERS`] count. What is
    /// known of those that stay is kept.
    pub fn set_targets(&mut self, targets: Vec<Target>, now: Instant) {
        let mut old = std::mem::take(&mut self.servers);
        for target in targets {
            let known = self.servers.iter().any(|server| server.target.hop == target.hop);
            if known || self.servers.len() >= MAX_SERVERS {
                continue;
            }
            let server = match old.iter().position(|server| server.target.hop == target.hop) {
                Some(at) => old.swap_remove(at).renamed(target),
                None => Server::new(target, self.ping.map(|_| now), now),
            };
            self.servers.push(server);
        }
        self.servers.sort_by_key(|server| server.target.tier);
        self.choose(now);
    }

    // Getters.

    /// The server to be used; None before any is known.
    pub fn current(&self) -> Option<Hop> {
        self.current
    }

    /// Whether the current server is worth a try, or why it is not.
    pub fn reachable(&self) -> Result<(), &str> {
        match self.find(self.current) {
            Some(server) if !server.may_try() => Err(server.reason.as_deref().unwrap_or("down")),
            _ => Ok(()),
        }
    }

    /// Those that a call may go by which the current one does not take, in the order to be tried: as when
    /// that one is down, and none that is.
    pub fn others(&self) -> impl Iterator<Item = Hop> {
        let of = |state| {
            let servers = self.servers.iter().filter(move |server| server.state == state);
            servers.map(|server| server.target.hop)
        };
        let current = self.current;
        let others = of(ServerState::Up).chain(of(ServerState::Unknown));
        others.filter(move |hop| Some(*hop) != current)
    }

    /// Of every server, in the order to be tried.
    pub fn status(&self) -> Vec<ServerStatus> {
        self.servers.iter().map(|s| s.status(Some(s.target.hop) == self.current)).collect()
    }

    fn find(&self, hop: Option<Hop>) -> Option<&Server> {
        self.servers.iter().find(|server| Some(server.target.hop) == hop)
    }

    // Inputs.

    pub fn handle_ping(&mut self, hop: Hop, outcome: Outcome, now: Instant) {
        let Some(server) = self.servers.iter_mut().find(|server| server.target.hop == hop) else {
            return;
        };
        match outcome {
            Outcome::Answered { code: code @ (408 | 503), rtt } => {
                server.measured(rtt);
                server.answered = true;
                server.missed(format!("it answers OPTIONS with {code}"), now);
            }
            Outcome::Answered { rtt, .. } => {
                server.measured(rtt);
                server.good(now);
            }
            Outcome::Unsent => server.ping_unsent(now),
        }
        self.choose(now);
    }

    pub fn handle_news(&mut self, hop: Hop, news: News, now: Instant) {
        let Some(server) = self.servers.iter_mut().find(|server| server.target.hop == hop) else {
            return;
        };
        server.handle_news(news, now);
        self.choose(now);
    }

    /// Why nothing could be sent to a server, for what comes of it.
    pub fn explain(&mut self, hop: Hop, why: String) {
        if let Some(server) = self.servers.iter_mut().find(|server| server.target.hop == hop) {
            server.fault = Some(why);
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        for server in &mut self.servers {
            server.handle_timeout(now);
        }
        self.choose(now);
    }

    // Outputs.

    /// A server that wants an OPTIONS ping now.
    pub fn poll_ping(&mut self, now: Instant) -> Option<Hop> {
        let interval = self.ping?;
        let limit = PONG_LIMIT.min(interval);
        let due = |server: &&mut Server| server.next_ping.is_some_and(|at| at <= now);
        let server = self.servers.iter_mut().find(due)?;
        let pause = interval.mul_f64(self.rng.random_range(0.9..=1.1));
        server.pinged(now, limit, pause);
        Some(server.target.hop)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let fail_back = self.fail_back.map(|(_, at)| at);
        self.servers.iter().filter_map(Server::timeout).chain(fail_back).min()
    }

    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Chooses the current server anew, after anything that may matter.
    fn choose(&mut self, now: Instant) {
        for server in &mut self.servers {
            self.changes.extend(server.change.take());
        }
        let chosen = match self.find(self.current) {
            Some(current) if current.state != ServerState::Down => {
                self.preferred_over(current.target.tier, now).or(self.current)
            }
            current => self.next_best(current),
        };
        if chosen != self.current {
            self.current = chosen;
            self.fail_back = None;
            if let Some(server) = self.find(chosen) {
                let change =
                    Change::Current { name: server.target.name.clone(), hop: server.target.hop };
                self.changes.push_back(change);
            }
        }
    }

    /// The server to go back to, once its time has come.
    fn preferred_over(&mut self, tier: u32, now: Instant) -> Option<Hop> {
        let better = |server: &&Server| server.target.tier < tier && server.is_steady();
        let Some(hop) = self.servers.iter().find(better).map(|server| server.target.hop) else {
            self.fail_back = None;
            return None;
        };
        match self.fail_back {
            Some((to, at)) if to == hop => (at <= now).then_some(hop),
            _ => {
                let spread = FAIL_BACK_SPREAD.min(self.ping.unwrap_or(FAIL_BACK_SPREAD));
                let at = now + spread.mul_f64(self.rng.random_range(0.0..=1.0));
                self.fail_back = Some((hop, at));
                None
            }
        }
    }

    /// Where to go when the current server is down, or there is none.
    fn next_best(&self, current: Option<&Server>) -> Option<Hop> {
        let first = |state| self.servers.iter().find(|server| server.state == state);
        let alive = first(ServerState::Up).or_else(|| first(ServerState::Unknown));
        let chosen = alive.or_else(|| {
            // All are down. One that was never heard of may be deaf to pings only: each has its turn.
            let current = current.filter(|current| current.may_try())?;
            let failed = current.failed?;
            self.servers
                .iter()
                .filter(|server| server.may_try() && server.failed.is_none_or(|at| at < failed))
                .min_by_key(|server| server.failed)
        });
        let stay = current.map(|current| current.target.hop);
        let first = self.servers.first().map(|server| server.target.hop);
        chosen.map(|server| server.target.hop).or(stay).or(first)
    }
}

#[cfg(test)]
mod tests;
