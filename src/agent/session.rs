//! One signed-in agent.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::{Dialect, EndReason, Identity, PostError, SignIn};
use crate::secret::Secret;
use crate::wire::Envelope;

/// A signed-in agent: who it is, its secret, its mailbox. Shared between the HTTP surface, which
/// drains the mailbox, and the gateway, which fills it.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// A new session with a fresh SSID.
    pub fn new(_sign_in: &SignIn) -> Arc<Session> {
        todo!()
    }
    /// Bearer secret: 192 random bits, only characters that need no escaping in a URL.
    pub fn ssid(&self) -> &Secret {
        todo!()
    }
    pub fn identity(&self) -> &Identity {
        todo!()
    }
    pub fn dialect(&self) -> Dialect {
        todo!()
    }
    pub fn client_id(&self) -> Option<&str> {
        todo!()
    }
    pub fn created(&self) -> Instant {
        todo!()
    }
    /// The client's last request, or the end of its last poll.
    pub fn last_seen(&self) -> Instant {
        todo!()
    }
    /// A poll hangs, or the last one ended less than 5 s ago: the client would hear a message.
    pub fn is_present(&self, _now: Instant) -> bool {
        todo!()
    }
    /// Puts a message at the end of the line. An overflow ends the session.
    pub fn post(&self, _envelope: Envelope) -> Result<(), PostError> {
        todo!()
    }
    /// Ends the session; the first reason stands.
    pub fn end(&self, _why: EndReason) {
        todo!()
    }
    /// Cancelled by [`Session::end`].
    pub fn ended(&self) -> &CancellationToken {
        todo!()
    }
    pub fn end_reason(&self) -> Option<EndReason> {
        todo!()
    }
    /// Raw-SDP dialect: `Some(peer)` while a call of `peer` waits for this agent's SDP answer, so
    /// that a posted SDP is read as an answer and not as an offer.
    pub fn set_ringing(&self, _peer: Option<String>) {
        todo!()
    }
    pub fn ringing(&self) -> Option<String> {
        todo!()
    }
}
