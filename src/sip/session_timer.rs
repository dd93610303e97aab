//! Session timers (RFC 4028): who refreshes a session, how often, and when it is given up.
//!
//! Every INVITE and UPDATE of ours, and every 2xx to theirs, says again what holds, so that each of
//! them is a refresh and none switches the timer off by its silence (7.2, 9).

use std::time::{Duration, Instant};

use rsipstack::sip::{HasHeaders, Header, Headers, Request, Response};

use super::core::Core;
use super::message::{self, get, header, leading_number, lists, number, param};
use super::session::{Phase, Session};
use super::types::{EndedBy, SessionTimer};

/// The shortest interval there is (4); a peer that names a shorter one would have us refresh on end.
const FLOOR: Duration = Duration::from_secs(90);
/// The longest we arm a timer for. Who asks for more gets a refresh a day, which is no harm.
const CEILING: Duration = Duration::from_secs(86_400);
/// A 422 that wants more than this wants no timer.
const LARGEST_MIN: Duration = Duration::from_secs(7200);
/// Before a refresh that was refused, or kept waiting by other offers, is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long before its end a session that nobody refreshed gets its BYE (10), a third at most.
const BYE_BEFORE: Duration = Duration::from_secs(32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refresher {
    Us,
    Peer,
}

#[derive(Debug)]
struct Running {
    interval: Duration,
    refresher: Refresher,
    refresh_at: Instant,
    ends_at: Instant,
}

/// The timer of one session.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// The largest Min-SE a 422 asked for.
    min: Duration,
    running: Option<Running>,
    /// The peer refused the very extension.
    unwanted: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Refresh,
    Expired,
}

/// Session-Expires: the interval, and who is to refresh, `uac` or `uas`, if it says so.
fn session_expires(message: &impl HasHeaders) -> Option<(Duration, Option<bool>)> {
    let value = get(message, "Session-Expires")?;
    let interval = Duration::from_secs(leading_number(value)?).min(CEILING);
    let refresher = value.find(';').and_then(|at| param(&value[at..], "refresher"));
    let uac = match refresher {
        Some(who) if who.eq_ignore_ascii_case("uac") => Some(true),
        Some(who) if who.eq_ignore_ascii_case("uas") => Some(false),
        _ => None,
    };
    Some((interval, uac))
}

fn min_se(message: &impl HasHeaders) -> Duration {
    number(message, "Min-SE").map_or(FLOOR, Duration::from_secs)
}

fn knows_timers(request: &Request) -> bool {
    lists(request, "Supported", "timer") || lists(request, "Require", "timer")
}

/// Min-SE for a 422, when a request asks for less than we take (9). Only to those who know what a 422
/// is: where a proxy has put the interval in, the caller would be lost.
pub(crate) fn too_brief(request: &Request, config: SessionTimer) -> Option<Header> {
    let (interval, _) = session_expires(request)?;
    let least = config.min.max(FLOOR);
    (interval < least && knows_timers(request))
        .then(|| header("Min-SE", least.as_secs().to_string()))
}

impl Timer {
    /// Says in a request of ours what we want (7.1, 7.4). `initial` is the INVITE that opens the dialog;
    /// in later requests a timer is kept, never started.
    pub(crate) fn ask(&self, config: SessionTimer, initial: bool, headers: &mut Headers) {
        headers.retain(|h| !["Session-Expires", "Min-SE"].contains(&h.name()));
        let least = self.min.max(config.min).max(FLOOR);
        let (interval, refresher) = match &self.running {
            Some(running) => (running.interval.max(self.min), Some(running.refresher)),
            None => match config.expires {
                Some(expires) if initial && !self.unwanted => (expires.max(least), None),
                _ => return,
            },
        };
        let refresher = match refresher {
            Some(Refresher::Us) => ";refresher=uac",
            Some(Refresher::Peer) => ";refresher=uas",
            None => "",
        };
        headers.push(header("Session-Expires", format!("{}{refresher}", interval.as_secs())));
        headers.push(header("Min-SE", least.as_secs().to_string()));
    }

    /// A 422 (7.3): true when it is worth another try with what it asks for.
    pub(crate) fn raise(&mut self, response: &Response) -> bool {
        let wanted = min_se(response);
        let news = wanted > self.min && wanted <= LARGEST_MIN;
        if news {
            self.min = wanted;
        }
        news
    }

    /// The peer wants no such extension (420).
    pub(crate) fn give_up(&mut self) {
        self.unwanted = true;
    }

    fn start(&mut self, interval: Duration, refresher: Refresher, now: Instant) {
        let interval = interval.max(FLOOR);
        self.running = Some(Running {
            interval,
            refresher,
            refresh_at: now + interval / 2,
            ends_at: now + interval - BYE_BEFORE.min(interval / 3),
        });
    }

    /// A 2xx to an INVITE or UPDATE of ours (7.2): what it says holds, and if it says nothing, there is
    /// no timer.
    pub(crate) fn accepted(&mut self, response: &Response, now: Instant) {
        match session_expires(response) {
            Some((interval, Some(false))) => self.start(interval, Refresher::Peer, now),
            Some((interval, _)) => self.start(interval, Refresher::Us, now),
            None => self.stop(),
        }
    }

    /// The headers of our 2xx to an INVITE or UPDATE of theirs (9): what they ask for, or less where we
    /// are set to less; whoever they name refreshes. Where they only could, we ask, and do it ourselves.
    pub(crate) fn grant(
        &mut self,
        request: &Request,
        config: SessionTimer,
        now: Instant,
    ) -> Vec<Header> {
        let able = knows_timers(request);
        let initial = message::tag_of(request, "To").is_none();
        let was = self.running.as_ref().map(|running| (running.interval, running.refresher));
        let (interval, refresher) = match (session_expires(request), was) {
            (Some((theirs, uac)), _) => {
                let least = min_se(request).max(config.min);
                let interval = config.expires.map_or(theirs, |ours| theirs.min(ours.max(least)));
                let refresher = match (uac, was) {
                    (Some(true), _) => Refresher::Peer,
                    (Some(false), _) => Refresher::Us,
                    (None, _) if !able => Refresher::Us,
                    (None, Some((_, refresher))) => refresher,
                    (None, None) => Refresher::Peer,
                };
                (interval.max(FLOOR), refresher)
            }
            (None, Some((interval, refresher))) if able => (interval, refresher),
            (None, None) if able && initial => match config.expires {
                Some(ours) => (ours.max(config.min).max(FLOOR), Refresher::Us),
                None => return Vec::new(),
            },
            _ => {
                self.stop();
                return Vec::new();
            }
        };
        self.start(interval, refresher, now);
        let seconds = interval.as_secs();
        match refresher {
            // The one case where the RFC has the answer require it (9).
            Refresher::Peer => vec![
                header("Require", "timer"),
                header("Session-Expires", format!("{seconds};refresher=uac")),
            ],
            Refresher::Us => vec![header("Session-Expires", format!("{seconds};refresher=uas"))],
        }
    }

    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| match running.refresher {
            Refresher::Us => running.refresh_at.min(running.ends_at),
            Refresher::Peer => running.ends_at,
        })
    }

    pub(crate) fn due(&mut self, now: Instant) -> Option<Due> {
        let running = self.running.as_mut()?;
        if running.ends_at <= now {
            self.running = None;
            return Some(Due::Expired);
        }
        if running.refresher == Refresher::Us && running.refresh_at <= now {
            running.refresh_at = now + AGAIN;
            return Some(Due::Refresh);
        }
        None
    }
}

impl Session {
    /// Refreshes the session when it is time, and ends it when nobody has.
    pub(crate) fn check_timer(&mut self, core: &mut Core, now: Instant) {
        if self.ended || !matches!(self.phase, Phase::Up) {
            return;
        }
        match self.timer.due(now) {
            Some(Due::Refresh) => self.refresh(core),
            Some(Due::Expired) => {
                let text = "session timer ran out: nobody refreshed the call";
                self.tell_end(core, EndedBy::Network, 408, text, None);
                self.hang_up(core, 408, "Session Timer Expired", now);
            }
            None => {}
        }
    }
}
