//! What the network brings, and whose inbox it goes into.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use rsipstack::sip::{HasHeaders as _, Method, Request, SipMessage};
use tokio::sync::mpsc;

use super::{Shared, State, canonical};
use crate::sip::hop::Hop;
use crate::sip::message::{self, header, tag_of};
use crate::sip::port::Incoming;
use crate::sip::stats::count;
use crate::sip::trace::Direction;
use crate::sip::transaction::{Arrival, Owner};
use crate::sip::transport::fault::ConnectionFault;
use crate::sip::transport::via;
use crate::sip::wire::{self, Fault};

/// This part of an inbox is kept for final answers, a quarter.
const RESERVED: usize = 4;

impl Shared {
    pub(crate) fn datagram(&self, datagram: &[u8], from: SocketAddr, now: Instant) {
        self.message(datagram, Hop::udp(canonical(from)), now);
    }

    /// One message of a stream. One that cannot be read is counted and ends nothing: where the next one
    /// begins is known, and the calls of all other DNs go over the same connection.
    pub(crate) fn stream_message(
        &self,
        message: &[u8],
        from: Hop,
        now: Instant,
    ) -> Result<(), ConnectionFault> {
        if !self.admits(from.addr.ip()) {
            count(&self.counters.strangers);
            return Err(ConnectionFault::Stranger);
        }
        self.message(message, from, now);
        self.timers.notify_one();
        Ok(())
    }

    fn message(&self, message: &[u8], from: Hop, now: Instant) {
        count(&self.counters.received);
        if !self.admits(from.addr.ip()) {
            return count(&self.counters.strangers);
        }
        self.show(Direction::In, from, || Bytes::copy_from_slice(message));
        let parsed = wire::parse(message);
        let mut guard = self.lock();
        let state = &mut *guard;
        match parsed {
            Ok(SipMessage::Request(request)) => {
                let ours = (message::call_id(&request), tag_of(&request, "To"));
                self.note_dialog(state, ours, from, now);
                self.request(state, request, from, now);
            }
            Ok(SipMessage::Response(response)) => {
                let ours = (message::call_id(&response), tag_of(&response, "From"));
                self.note_dialog(state, ours, from, now);
                if !state.transactions.response(response, from, now) {
                    count(&self.counters.stray_responses);
                }
            }
            Err(Fault::Refused(request, code)) => self.refuse(state, *request, code, from),
            Err(Fault::UnknownMethod(request)) => self.unknown(state, *request, from, now),
            Err(Fault::KeepAlive) => {}
            Err(Fault::Malformed | Fault::TooBig | Fault::CutShort) => {
                count(&self.counters.malformed);
            }
        }
        self.flush(state);
    }

    /// For whoever decides how long a peer is one. Those of the list only, so that it has their bound.
    fn note_dialog(
        &self,
        state: &mut State,
        (call_id, our_tag): (Option<&str>, Option<&str>),
        from: Hop,
        now: Instant,
    ) {
        let ip = from.addr.ip();
        if self.peers.load().as_ref().is_some_and(|peers| peers.contains(&ip))
            && state.routes.knows(call_id, our_tag)
        {
            state.in_dialog.insert(ip, now);
        }
    }

    /// A request with a fault gets its answer and leaves nothing behind (RFC 3261 8.2.7): the same answer
    /// again when it comes again, so its tag is made of what it holds.
    fn refuse(&self, state: &mut State, mut request: Request, code: u16, from: Hop) {
        count(&self.counters.malformed);
        let mut hasher = DefaultHasher::new();
        request.headers().to_string().hash(&mut hasher);
        let tag = format!("{:016x}", hasher.finish());
        let Some((to, instead)) = via::fix_via(&mut request, from) else { return };
        let mut response = message::respond(&request, code, None, &tag);
        response.headers_mut().push(header("Server", self.user_agent.as_str()));
        self.send(state, to, instead, response.to_bytes().into());
    }

    fn request(&self, state: &mut State, request: Request, from: Hop, now: Instant) {
        let (tx, request, owner) = match state.transactions.arrived(request, from, now) {
            Arrival::New { tx, request, owner } => (tx, request, owner),
            Arrival::Absorbed => return,
            Arrival::Unanswerable => return count(&self.counters.malformed),
            Arrival::Overload => return count(&self.counters.overload),
        };
        let owner = match request.method {
            Method::Cancel => owner,
            _ => state.routes.owner(&request),
        };
        let Some(owner) = owner else {
            return self.answer_unclaimed(state, tx, request, from, now);
        };
        state.transactions.set_owner(tx, owner);
        self.deliver(state, owner, Incoming::Request { tx, request, from });
    }

    pub(super) fn deliver(&self, state: &mut State, owner: Owner, incoming: Incoming) {
        let request = match &incoming {
            Incoming::Request { tx, .. } => Some(*tx),
            _ => None,
        };
        // Nothing repeats a final answer that was acknowledged already, and who waits for it for ever is
        // a DN that never registers again: a flood of anything else leaves room for it.
        let awaited = match &incoming {
            Incoming::Request { .. } => false,
            Incoming::Response { response, .. } => response.status_code.code() >= 200,
            Incoming::Failed { .. } => true,
        };
        let taken = match state.routes.inbox(owner) {
            Some(inbox) if !awaited && inbox.capacity() <= inbox.max_capacity() / RESERVED => {
                count(&self.counters.inbox_full);
                false
            }
            Some(inbox) => match inbox.try_send(Box::new(incoming)) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    count(&self.counters.inbox_full);
                    false
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            },
            None => false,
        };
        if let (Some(tx), false) = (request, taken) {
            state.transactions.forget(tx);
        }
    }
}
