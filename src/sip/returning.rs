//! INVITEs for agents who are on their way back.
//!
//! After a restart a DN is registered still, and its page has yet to sign in again: a JSAPI client asks
//! 3 s after its poll broke, and is here a moment later. A call that comes in between is told 100 and
//! kept until its agent is there. Which DNs there are is not known, so that every one is waited for; it
//! ends so soon after the start that a call for nobody is only refused a few seconds later.

use std::time::Instant;

use rsipstack::sip::Request;

use super::hop::Hop;
use super::message;
use super::port::ServerTx;

/// Calls that wait at a time: some seconds' worth for a few thousand agents.
const MOST: usize = 256;

pub(crate) struct Held {
    pub(crate) user: String,
    pub(crate) tx: ServerTx,
    pub(crate) request: Request,
    pub(crate) from: Hop,
}

#[derive(Default)]
pub(crate) struct Returning {
    /// Until when agents are waited for.
    until: Option<Instant>,
    held: Vec<Held>,
}

impl Returning {
    pub(crate) fn wait(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    /// Whether one more is kept.
    pub(crate) fn waits(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until) && self.held.len() < MOST
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.held.push(held);
    }

    /// The agent is there: his calls.
    pub(crate) fn take(&mut self, user: &str) -> Vec<Held> {
        self.held.extract_if(.., |held| held.user == user).collect()
    }

    /// The caller has hung up: the INVITE that this CANCEL is about (RFC 3261 9.2).
    pub(crate) fn cancelled(&mut self, cancel: &Request) -> Option<Held> {
        let about = |request: &Request| {
            let number = message::cseq(request).map(|(number, _)| number);
            let tag = message::tag_of(request, "From").map(str::to_owned);
            (message::call_id(request).map(str::to_owned), number, tag)
        };
        let wanted = about(cancel);
        let at = self.held.iter().position(|held| about(&held.request) == wanted)?;
        Some(self.held.swap_remove(at))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.until.filter(|_| !self.held.is_empty())
    }

    /// Those whose agents have not come.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<Held> {
        match self.until {
            Some(until) if now < until => Vec::new(),
            _ => std::mem::take(&mut self.held),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn held(user: &str, call_id: &str, number: u64) -> Held {
        let text = format!(
            "INVITE sip:{user}@h SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nCall-ID: {call_id}\r\n\
             CSeq: 7 INVITE\r\n\r\n"
        );
        let request = Request::try_from(text.as_str()).unwrap();
        let from = Hop::udp("192.0.2.1:5060".parse().unwrap());
        Held { user: user.to_owned(), tx: ServerTx(number), request, from }
    }

    #[test]
    fn calls_wait_for_their_agents_and_no_longer_than_was_said() {
        let start = Instant::now();
        let end = start + Duration::from_secs(8);
        let mut returning = Returning::default();
        assert!(!returning.waits(start), "only where it was asked for");
        returning.wait(Some(end));
        assert!(returning.waits(start) && !returning.waits(end));
        assert_eq!(returning.poll_timeout(), None);
        for (number, user) in [(1, "5001"), (2, "5002"), (3, "5001")] {
            returning.hold(held(user, &format!("c{number}"), number));
        }
        let taken: Vec<u64> = returning.take("5001").iter().map(|held| held.tx.0).collect();
        assert_eq!(taken, [1, 3]);
        assert!(returning.take("5001").is_empty());
        assert!(returning.expired(start).is_empty());
        assert_eq!(returning.poll_timeout(), Some(end));
        let left: Vec<u64> = returning.expired(end).iter().map(|held| held.tx.0).collect();
        assert_eq!(left, [2]);
        assert_eq!(returning.poll_timeout(), None);
    }

    #[test]
    fn a_caller_may_hang_up_meanwhile() {
        let mut returning = Returning::default();
        returning.wait(Some(Instant::now()));
        returning.hold(held("5001", "c1", 1));
        let cancel = |call_id: &str| {
            let text = format!(
                "CANCEL sip:5001@h SIP/2.0\r\nFrom: <sip:a@b>;tag=1\r\nCall-ID: {call_id}\r\n\
                 CSeq: 7 CANCEL\r\n\r\n"
            );
            Request::try_from(text.as_str()).unwrap()
        };
        assert!(returning.cancelled(&cancel("other")).is_none());
        assert_eq!(returning.cancelled(&cancel("c1")).map(|held| held.tx), Some(ServerTx(1)));
        assert!(returning.cancelled(&cancel("c1")).is_none());
    }

    #[test]
    fn bounded() {
        let now = Instant::now();
        let mut returning = Returning::default();
        returning.wait(Some(now + Duration::from_secs(1)));
        for number in 0..MOST as u64 {
            assert!(returning.waits(now));
            returning.hold(held("5001", "c", number));
        }
        assert!(!returning.waits(now));
    }
}
