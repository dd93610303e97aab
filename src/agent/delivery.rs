//! A message on its way, and what is known of its arrival.

use std::fmt;
use std::sync::Arc;

use super::Session;
use super::mailbox::Letter;
use crate::wire::Envelope;

/// What a connection knows of the message written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The client closed in good order after everything had been acknowledged, or went on.
    Arrived,
    /// All of it is acknowledged by the client's kernel and the connection stands. A client that
    /// throws it away unread will reset the connection.
    Acknowledged,
    /// Still to be written, or not acknowledged.
    Unsure,
    /// Reset, or closed before everything was written.
    Lost,
}

/// A connection that carries a message, as the mailbox sees it.
pub trait Evidence: Send + Sync {
    fn verdict(&self) -> Verdict;

    /// Tears the connection down so that nothing more of it arrives.
    fn abandon(&self);
}

/// A message that has been taken out of the mailbox for one connection. Unless it is told
/// otherwise, dropping it puts the message back to the front of the line.
pub struct Delivery {
    session: Arc<Session>,
    letter: Letter,
    settled: bool,
}

impl Delivery {
    pub(super) fn new(session: Arc<Session>, letter: Letter) -> Self {
        Delivery { session, letter, settled: false }
    }

    pub fn envelope(&self) -> &Envelope {
        &self.letter.envelope
    }

    /// Counts up by one from 1; a repeated message keeps its number.
    pub fn seq(&self) -> u64 {
        self.letter.seq
    }

    /// Names the connection to be asked should another poll come first.
    pub fn carried_by(&self, carrier: Arc<dyn Evidence>) {
        self.session.carried_by(self.letter.ticket, carrier);
    }

    /// It arrived (or waits for the client's own acknowledgement, where the client gives such).
    pub fn arrived(mut self) {
        self.settled = true;
        self.session.delivered(self.letter.ticket);
    }

    /// It did not arrive.
    pub fn lost(self) {
        drop(self);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            self.session.lost(self.letter.ticket);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("seq", &self.letter.seq).finish_non_exhaustive()
    }
}
