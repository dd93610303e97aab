//! The line of messages that wait for an agent's browser. Pure: no clock, no socket.
//!
//! A message leaves the line for exactly one connection at a time: it is *in flight* there until it
//! is confirmed, and only then the next one may go. What was in flight and did not arrive goes back
//! to the front. Order and "exactly once" follow from there being one message in flight.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::wire::Envelope;

/// How many messages wait at most. A call makes about ten; a client that leaves 256 lying about has
/// stopped polling, and 256 SDPs of some 8 KiB are 2 MiB.
pub const CAPACITY: usize = 256;

/// Names one poll of a session. Later polls have greater numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PollId(u64);

/// Names one attempt at delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// From here on passing messages are dropped, and of a call's holds and talks only the last is kept: a
/// flood of INFO or NOTIFY must not cost an agent the session, nor its calls the room they need.
const CROWDED: usize = CAPACITY / 2;

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There are [`CAPACITY`] messages already.
    Full,
    /// Half as many, and it is a passing one.
    Crowded,
}

/// A message handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    pub ticket: Ticket,
    /// Counts up by one over the messages handed out, from 1; a repeated one keeps its number.
    pub seq: u64,
    pub envelope: Arc<Envelope>,
    /// When it was put into the mailbox.
    pub posted: Instant,
}

/// What a poll gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Letter(Letter),
    /// Nothing to deliver.
    Empty,
    /// Another message's fate is not known yet.
    InFlight(Ticket),
    /// A newer poll has taken over.
    Superseded,
}

#[derive(Debug)]
struct Waiting {
    envelope: Arc<Envelope>,
    /// Set once it was handed out.
    seq: Option<u64>,
    posted: Instant,
}

#[derive(Debug)]
struct Flying {
    ticket: Ticket,
    seq: u64,
    envelope: Arc<Envelope>,
    posted: Instant,
    /// Only [`Mailbox::handle_ack`] confirms it.
    wants_ack: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Mailbox {
    line: VecDeque<Waiting>,
    in_flight: Option<Flying>,
    current: Option<PollId>,
    polls: u64,
    tickets: u64,
    seqs: u64,
}

impl Mailbox {
    /// Messages not yet confirmed.
    pub fn len(&self) -> usize {
        self.line.len() + usize::from(self.in_flight.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does a poll hang?
    pub fn is_polled(&self) -> bool {
        self.current.is_some()
    }

    pub fn in_flight(&self) -> Option<Ticket> {
        self.in_flight.as_ref().map(|flying| flying.ticket)
    }

    /// Puts a message at the end of the line.
    pub fn handle_post(&mut self, envelope: Envelope, now: Instant) -> Result<(), Refused> {
        if self.len() >= CROWDED {
            if envelope.message.is_passing() {
                return Err(Refused::Crowded);
            }
            if envelope.message.is_hold_state() {
                // What has been handed out once keeps its place.
                self.line.retain(|waiting| {
                    let older = &waiting.envelope;
                    let same = older.message.is_hold_state() && older.call == envelope.call;
                    !same || waiting.seq.is_some()
                });
            }
        }
        if self.len() >= CAPACITY {
            return Err(Refused::Full);
        }
        self.line.push_back(Waiting { envelope: Arc::new(envelope), seq: None, posted: now });
        Ok(())
    }

    /// A poll came in; it takes over from the one that hangs.
    pub fn handle_poll(&mut self) -> PollId {
        self.polls += 1;
        let id = PollId(self.polls);
        self.current = Some(id);
        id
    }

    /// A poll is over, whatever became of it.
    pub fn handle_poll_end(&mut self, id: PollId) {
        if self.current == Some(id) {
            self.current = None;
        }
    }

    /// The client says that it has everything up to number `n`: that is forgotten, what is in flight
    /// above it goes back. A number never handed out (the client remembers an older session) counts
    /// as 0.
    pub fn handle_ack(&mut self, n: u64) {
        let n = if n > self.seqs { 0 } else { n };
        if let Some(flying) = self.in_flight.take()
            && flying.seq > n
        {
            self.put_back(flying);
        }
        while self.line.front().is_some_and(|first| first.seq.is_some_and(|seq| seq <= n)) {
            self.line.pop_front();
        }
    }

    /// What is there for this poll? Messages that `wants` declines at the head of the line are
    /// dropped. With `wants_ack` the message stays in flight until [`Mailbox::handle_ack`].
    pub fn poll_letter(
        &mut self,
        id: PollId,
        wants_ack: bool,
        wants: impl Fn(&Envelope) -> bool,
    ) -> Step {
        if self.current != Some(id) {
            return Step::Superseded;
        }
        match self.in_flight.take() {
            // This client acknowledges, and it asks again without having done so.
            Some(flying) if flying.wants_ack => self.put_back(flying),
            Some(flying) => {
                let ticket = flying.ticket;
                self.in_flight = Some(flying);
                return Step::InFlight(ticket);
            }
            None => {}
        }
        while let Some(Waiting { envelope, seq, posted }) = self.line.pop_front() {
            if !wants(&envelope) {
                continue;
            }
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            let seq = seq.unwrap_or_else(|| {
                self.seqs += 1;
                self.seqs
            });
            self.in_flight =
                Some(Flying { ticket, seq, envelope: Arc::clone(&envelope), posted, wants_ack });
            return Step::Letter(Letter { ticket, seq, envelope, posted });
        }
        Step::Empty
    }

    /// The connection says that the message arrived. No effect on one that wants an acknowledgement
    /// of the client's own, nor on an attempt that is no longer the current one.
    pub fn handle_delivered(&mut self, ticket: Ticket) -> bool {
        let ours = self.in_flight.as_ref().is_some_and(|f| f.ticket == ticket && !f.wants_ack);
        if ours {
            self.in_flight = None;
        }
        ours
    }

    /// The connection says that the message did not arrive: it is first in line again. No effect for
    /// an attempt that is no longer the current one.
    pub fn handle_lost(&mut self, ticket: Ticket) -> bool {
        match self.in_flight.take() {
            Some(flying) if flying.ticket == ticket => {
                self.put_back(flying);
                true
            }
            other => {
                self.in_flight = other;
                false
            }
        }
    }

    fn put_back(&mut self, flying: Flying) {
        let Flying { envelope, seq, posted, .. } = flying;
        self.line.push_front(Waiting { envelope, seq: Some(seq), posted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ToBrowser;
    use proptest::prelude::*;

    impl Mailbox {
        fn post(&mut self, envelope: Envelope) -> Result<(), Refused> {
            self.handle_post(envelope, Instant::now())
        }
    }

    fn letter(name: &str) -> Envelope {
        Envelope {
            peer: name.to_owned(),
            peer_name: None,
            call: String::new(),
            call_uuid: None,
            diverted_from: None,
            private: false,
            message: ToBrowser::Invite,
        }
    }

    fn saying(message: ToBrowser) -> Envelope {
        Envelope { message, ..letter("a") }
    }

    #[test]
    fn a_flood_of_passing_messages_and_holds_ends_nothing() {
        let mut mailbox = Mailbox::default();
        for n in 0..2000 {
            let posted = mailbox.post(saying(ToBrowser::InfoPeer(n.to_string())));
            assert_eq!(posted, if n < CROWDED { Ok(()) } else { Err(Refused::Crowded) });
        }
        for _ in 0..1000 {
            mailbox.post(saying(ToBrowser::Hold)).unwrap();
            mailbox.post(saying(ToBrowser::Talk)).unwrap();
        }
        assert_eq!(mailbox.len(), CROWDED + 1, "the last word on the hold is there");
        let bye = ToBrowser::Bye { code: 200, reason: String::new() };
        assert_eq!(mailbox.post(saying(bye)), Ok(()), "there is room for what counts");
    }

    fn take(mailbox: &mut Mailbox, id: PollId) -> Letter {
        match mailbox.poll_letter(id, false, |_| true) {
            Step::Letter(letter) => letter,
            other => panic!("no letter but {other:?}"),
        }
    }

    #[test]
    fn lost_message_comes_first_again_with_its_number() {
        let mut mailbox = Mailbox::default();
        mailbox.post(letter("a")).unwrap();
        mailbox.post(letter("b")).unwrap();
        let id = mailbox.handle_poll();
        let first = take(&mut mailbox, id);
        assert!(mailbox.handle_lost(first.ticket));
        let again = take(&mut mailbox, id);
        assert_eq!((again.seq, again.envelope.peer.as_str()), (1, "a"));
        // The first attempt has no say any more.
        assert!(!mailbox.handle_delivered(first.ticket));
        assert!(mailbox.handle_delivered(again.ticket));
        assert_eq!(take(&mut mailbox, id).envelope.peer, "b");
    }

    #[test]
    fn newer_poll_supersedes() {
        let mut mailbox = Mailbox::default();
        let old = mailbox.handle_poll();
        let new = mailbox.handle_poll();
        mailbox.post(letter("a")).unwrap();
        assert_eq!(mailbox.poll_letter(old, false, |_| true), Step::Superseded);
        mailbox.handle_poll_end(old);
        assert!(mailbox.is_polled());
        assert_eq!(take(&mut mailbox, new).envelope.peer, "a");
    }

    #[test]
    fn unacknowledged_is_sent_again_and_tcp_has_no_say() {
        let mut mailbox = Mailbox::default();
        mailbox.post(letter("a")).unwrap();
        let id = mailbox.handle_poll();
        let Step::Letter(first) = mailbox.poll_letter(id, true, |_| true) else { panic!() };
        assert!(!mailbox.handle_delivered(first.ticket));
        mailbox.handle_ack(0);
        let Step::Letter(second) = mailbox.poll_letter(id, true, |_| true) else { panic!() };
        assert_eq!(second.seq, 1);
        mailbox.handle_ack(1);
        assert_eq!(mailbox.poll_letter(id, true, |_| true), Step::Empty);
    }

    #[test]
    fn acknowledged_message_that_was_given_back_is_forgotten() {
        let mut mailbox = Mailbox::default();
        mailbox.post(letter("a")).unwrap();
        let id = mailbox.handle_poll();
        let first = take(&mut mailbox, id);
        mailbox.handle_lost(first.ticket);
        mailbox.handle_ack(1);
        assert_eq!(mailbox.poll_letter(id, true, |_| true), Step::Empty);
    }

    #[test]
    fn acknowledgement_of_an_older_session_confirms_nothing() {
        let mut mailbox = Mailbox::default();
        mailbox.post(letter("a")).unwrap();
        let id = mailbox.handle_poll();
        take(&mut mailbox, id);
        mailbox.handle_ack(57);
        assert_eq!(take(&mut mailbox, id).seq, 1);
    }

    #[test]
    fn declined_messages_take_no_number() {
        let mut mailbox = Mailbox::default();
        for name in ["x", "a", "x", "b"] {
            mailbox.post(letter(name)).unwrap();
        }
        let id = mailbox.handle_poll();
        for (seq, name) in [(1, "a"), (2, "b")] {
            let Step::Letter(got) = mailbox.poll_letter(id, false, |e| e.peer != "x") else {
                panic!()
            };
            assert_eq!((got.seq, got.envelope.peer.as_str()), (seq, name));
            mailbox.handle_delivered(got.ticket);
        }
    }

    #[test]
    fn bounded() {
        let mut mailbox = Mailbox::default();
        for _ in 0..CAPACITY {
            mailbox.post(letter("a")).unwrap();
        }
        assert_eq!(mailbox.post(letter("a")), Err(Refused::Full));
        // One in flight still counts.
        let id = mailbox.handle_poll();
        take(&mut mailbox, id);
        assert_eq!(mailbox.post(letter("a")), Err(Refused::Full));
    }

    proptest! {
        /// Whatever the connections do, what is confirmed is confirmed once and in order.
        #[test]
        fn exactly_once_in_order(steps in proptest::collection::vec((0u8..6, 0u64..40), 1..300)) {
            let mut mailbox = Mailbox::default();
            let (mut posted, mut confirmed) = (0u64, Vec::new());
            let mut polls = vec![];
            let mut letters: Vec<Letter> = vec![];
            for (action, pick) in steps {
                let letter_at = |letters: &[Letter]| {
                    letters.get(pick as usize % letters.len().max(1)).cloned()
                };
                let poll = polls.get(pick as usize % polls.len().max(1)).copied();
                match (action, poll, letter_at(&letters)) {
                    (0, ..) if mailbox.post(letter(&posted.to_string())).is_ok() => {
                        posted += 1;
                    }
                    (1, ..) => polls.push(mailbox.handle_poll()),
                    (2, Some(id), _) => {
                        if let Step::Letter(l) = mailbox.poll_letter(id, false, |_| true) {
                            prop_assert_eq!(Some(&id), polls.last());
                            letters.push(l);
                        }
                    }
                    (3, Some(id), _) => mailbox.handle_poll_end(id),
                    (4, _, Some(l)) if mailbox.handle_delivered(l.ticket) => {
                        confirmed.push(l.envelope.peer.parse::<u64>().unwrap());
                    }
                    (5, _, Some(l)) => {
                        mailbox.handle_lost(l.ticket);
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(&confirmed, &(0..confirmed.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(mailbox.len() as u64 + confirmed.len() as u64, posted);
        }
    }
}
