//! A call that its SIP server does not take goes by the next one (RFC 3261 21.5.4, RFC 3263 4.3).
//!
//! A server says so itself, with 503, or cannot be sent to. One that is silent is waited for: a telephone
//! may ring behind it, and would go on to after we have left. A connection that breaks before the first answer is a
//! server that could not be sent to: what it has read of us nobody knows.

use std::time::{Duration, Instant};

use rsipstack::sip::Response;

use super::core::{AuthState, Core, Pending};
use super::hop::Hop;
use super::message::{number, reason_of, status_text};
use super::port::TxFailure;
use super::servers::MAX_SERVERS;
use super::session::{Phase, Session};
use super::types::{End, EndedBy, Event, Place};

/// Longest Retry-After that is believed, in seconds: as much as for REGISTER.
const LONGEST_RETRY_AFTER: u64 = 600;

/// Servers that want no calls for a while (21.5.4), with what they said and when that is over. As many at
/// most as there are servers.
#[derive(Default)]
pub(crate) struct Resting(Vec<(Hop, Instant, End)>);

impl Resting {
    fn put(&mut self, server: Hop, until: Instant, said: End) {
        self.0.retain(|(other, ..)| *other != server);
        if self.0.len() < MAX_SERVERS {
            self.0.push((server, until, said));
        }
    }

    fn of(&self, server: Hop) -> Option<&End> {
        self.0.iter().find(|(resting, ..)| *resting == server).map(|(.., said)| said)
    }

    fn wake(&mut self, now: Instant) {
        self.0.retain(|(_, until, _)| *until > now);
    }
}

/// Which servers a call has been to.
pub(crate) struct Servers {
    pub at: Place,
    asked: Vec<Hop>,
    /// What the first of them said that was there for us and did not take the call.
    unavailable: Option<End>,
}

impl Servers {
    /// Where a new call goes: to the server that is used, or while that wants none, to one that does. Where
    /// none does, to the one that is used all the same.
    pub(crate) fn first(core: &mut Core, now: Instant) -> Self {
        core.resting.wake(now);
        let current = core.place();
        let at = core.next_place(&[]).unwrap_or(current);
        let unavailable =
            core.resting.of(current.server).filter(|_| at.server != current.server).cloned();
        Self { at, asked: vec![at.server], unavailable }
    }
}

impl Core {
    /// The best server but these that calls may go by.
    fn next_place(&self, asked: &[Hop]) -> Option<Place> {
        self.left(asked).find(|place| self.resting.of(place.server).is_none())
    }

    fn left(&self, asked: &[Hop]) -> impl Iterator<Item = Place> {
        let places = [self.place()].into_iter().chain(self.others.iter().copied());
        places.filter(|place| !asked.contains(&place.server))
    }
}

impl Session {
    /// 503 to our INVITE. It comes back where no other server is to be had.
    pub(crate) fn server_refused(
        &mut self,
        core: &mut Core,
        pending: Pending,
        response: &Response,
        now: Instant,
    ) -> Option<Pending> {
        let end = End {
            by: EndedBy::Peer,
            code: response.status_code.code(),
            text: status_text(response),
            reason_header: reason_of(response),
        };
        if let Some(seconds) = number(response, "Retry-After").filter(|seconds| *seconds > 0) {
            let until = now + Duration::from_secs(seconds.min(LONGEST_RETRY_AFTER));
            core.resting.put(pending.to, until, end.clone());
        }
        self.try_next_server(core, pending, end, now)
    }

    /// Our INVITE could not be sent, or had no answer.
    pub(crate) fn server_failed(
        &mut self,
        core: &mut Core,
        pending: Pending,
        why: TxFailure,
        now: Instant,
    ) -> Option<Pending> {
        let heard = matches!(&self.phase, Phase::Calling(outgoing) if outgoing.provisional);
        if heard || why == TxFailure::Timeout {
            self.deserted(core);
            return Some(pending);
        }
        let (code, text) = (503, "Service Unavailable".to_owned());
        let end = End { by: EndedBy::Network, code, text, reason_header: None };
        self.try_next_server(core, pending, end, now)
    }

    /// With the next number in the same call, and with nothing of what was said to another server: neither
    /// its nonces nor our address toward it.
    fn try_next_server(
        &mut self,
        core: &mut Core,
        pending: Pending,
        end: End,
        now: Instant,
    ) -> Option<Pending> {
        core.resting.wake(now);
        let Phase::Calling(outgoing) = &mut self.phase else { return Some(pending) };
        let servers = &mut outgoing.servers;
        if !outgoing.early.is_empty() || servers.asked.len() >= MAX_SERVERS {
            return Some(pending);
        }
        // One that wants no calls is better than none.
        let left = core.next_place(&servers.asked).or_else(|| core.left(&servers.asked).next());
        let Some(place) = left else { return Some(pending) };
        servers.asked.push(place.server);
        servers.unavailable.get_or_insert(end);
        servers.at = place;
        outgoing.template.go_by(place);
        self.emit(core, Event::Rerouted { session: self.id, server: place.server });
        self.attempt(core, pending.request, AuthState::default());
        None
    }

    /// A server that the DN is not registered at may refuse its calls for that. What the agent is to know is
    /// then that his own has not taken it; and who is left with none asks that one again, whatever it wanted.
    pub(crate) fn stranger_refused(&mut self, core: &mut Core, code: u16) -> Option<End> {
        let Phase::Calling(outgoing) = &mut self.phase else { return None };
        // Who has let a telephone ring knows us.
        let stranger = matches!(code, 401 | 403 | 404 | 407) && outgoing.early.is_empty();
        if !stranger {
            if (500..600).contains(&code) {
                self.deserted(core);
            }
            return None;
        }
        let end = outgoing.servers.unavailable.take()?;
        core.resting = Resting::default();
        Some(end)
    }

    /// The server that was to stand in for another has failed as well.
    fn deserted(&self, core: &mut Core) {
        if matches!(&self.phase, Phase::Calling(outgoing) if outgoing.servers.unavailable.is_some())
        {
            core.resting = Resting::default();
        }
    }
}
