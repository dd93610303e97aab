//! Requests that are nobody's: answered here, or kept for an agent who comes back.

use std::time::Instant;

use rsipstack::sip::{HasHeaders as _, Method, Request};

use super::{Shared, State};
use crate::sip::hop::Hop;
use crate::sip::message::{self, ALLOW, ALLOW_EVENTS, EXTENSIONS, header, tag_of};
use crate::sip::port::{Incoming, ServerTx};
use crate::sip::returning::Held;
use crate::sip::routes::Claim;
use crate::sip::stats::count;
use crate::sip::transaction::{Arrival, Owner};
use crate::sip::uas::user_of;

/// When to try a DN again whose agent is not here: pages come back to a gateway that was restarted, or
/// go to another one, within seconds. To a 480 and not a 503, which would speak of the whole gateway and
/// so of the calls that go on in it (RFC 3261 21.5.4).
const AGENT_COMES_BACK: u64 = 10;

impl Shared {
    /// What nobody claims is answered here.
    pub(super) fn answer_unclaimed(
        &self,
        state: &mut State,
        tx: ServerTx,
        request: Request,
        from: Hop,
        now: Instant,
    ) {
        let in_dialog = tag_of(&request, "To").is_some();
        match request.method {
            Method::Invite if !in_dialog && state.returning.waits(now) => {
                self.answer(state, tx, &request, 100, now);
                let user = user_of(&request.uri);
                return state.returning.hold(Held { user, tx, request, from });
            }
            Method::Cancel => {
                if let Some(held) = state.returning.cancelled(&request) {
                    self.answer(state, tx, &request, 200, now);
                    return self.answer(state, held.tx, &held.request, 487, now);
                }
            }
            _ => {}
        }
        let request = &request;
        count(&self.counters.unclaimed);
        let code = match request.method {
            Method::Ack => return,
            Method::Options if !in_dialog => 200,
            // A DN whose agent has not come back, after a restart: it is registered still.
            Method::Invite if !in_dialog => 480,
            Method::Refer if !in_dialog => 404,
            Method::Register | Method::Publish | Method::Message => 405,
            Method::Subscribe => 489,
            _ => 481,
        };
        self.answer(state, tx, request, code, now);
    }

    /// Somebody has a DN now: calls that waited for it are his.
    pub(crate) fn claimed(&self, state: &mut State, claim: &Claim, owner: Owner) {
        let Claim::User(user) = claim else { return };
        for Held { tx, request, from, .. } in state.returning.take(user) {
            state.transactions.set_owner(tx, owner);
            self.deliver(state, owner, Incoming::Request { tx, request, from });
        }
    }

    /// Agents who were waited for have not come.
    pub(crate) fn give_up_waiting(&self, state: &mut State, now: Instant) {
        for held in state.returning.expired(now) {
            count(&self.counters.unclaimed);
            self.answer(state, held.tx, &held.request, 480, now);
        }
    }

    /// A method nobody knows (RFC 3261 8.2.1).
    pub(super) fn unknown(&self, state: &mut State, request: Request, from: Hop, now: Instant) {
        match state.transactions.arrived(request, from, now) {
            Arrival::New { tx, request, .. } => self.answer(state, tx, &request, 405, now),
            Arrival::Absorbed => {}
            Arrival::Unanswerable => count(&self.counters.malformed),
            Arrival::Overload => count(&self.counters.overload),
        }
    }

    fn answer(&self, state: &mut State, tx: ServerTx, request: &Request, code: u16, now: Instant) {
        let tag = format!("{:016x}", rand::random::<u64>());
        let mut response = message::respond(request, code, None, &tag);
        response.headers_mut().push(header("Server", self.user_agent.as_str()));
        if matches!(code, 200 | 405) {
            response.headers_mut().push(header("Allow", ALLOW));
        }
        if matches!(code, 200 | 405 | 489) {
            response.headers_mut().push(header("Allow-Events", ALLOW_EVENTS));
        }
        if code == 480 {
            response.headers_mut().push(header("Retry-After", AGENT_COMES_BACK.to_string()));
        }
        if code == 200 {
            response.headers_mut().push(header("Supported", EXTENSIONS.join(", ")));
            response.headers_mut().push(header("Accept", message::SDP_TYPE));
        }
        state.transactions.respond(tx, &response, now);
    }
}
