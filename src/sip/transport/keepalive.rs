//! CRLF keep-alives of one connection (RFC 5626 4.4.1). Pure.

use std::time::{Duration, Instant};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Send CRLF CRLF.
    Ping,
    /// The pong did not come. Nothing follows from it with a peer that never sent one.
    Missed { dead: bool },
}

/// Pings what we opened; answers on either kind.
#[derive(Debug)]
pub struct KeepAlive {
    /// None: the other side opened the connection, and pings.
    next: Option<Instant>,
    awaited: Option<Instant>,
    has_ponged: bool,
    /// One blank line seen of the two that make a ping.
    half: bool,
}

impl KeepAlive {
    /// `first`: when the first ping is due, if we ping. `has_ponged`: this peer did on an earlier
    /// connection.
    pub fn new(first: Option<Instant>, has_ponged: bool) -> Self {
        Self { next: first, awaited: None, has_ponged, half: false }
    }

    /// Whether silence means death with this peer.
    pub fn has_ponged(&self) -> bool {
        self.has_ponged
    }

    /// A blank line between messages. True: it makes a ping, and wants a pong.
    pub fn handle_blank(&mut self) -> bool {
        self.half = !self.half;
        !self.half
    }

    /// All that has come is dealt with: a blank line on its own is the pong that is waited for. Two
    /// together are a ping, whatever is waited for: Asterisk pings and never pongs.
    pub fn handle_pause(&mut self) {
        if self.half && self.awaited.take().is_some() {
            self.half = false;
            self.has_ponged = true;
        }
    }

    /// A message: the peer lives, and what was a half ping is none.
    pub fn handle_message(&mut self) {
        self.awaited = None;
        self.half = false;
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.next, self.awaited].into_iter().flatten().min()
    }

    /// `interval` until the next ping and `patience` for a pong.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        interval: Duration,
        patience: Duration,
    ) -> Option<Due> {
        if self.awaited.is_some_and(|until| until <= now) {
            self.awaited = None;
            return Some(Due::Missed { dead: self.has_ponged });
        }
        if self.next.is_some_and(|at| at <= now) {
            self.next = Some(now + interval);
            // A blank line of before is no half of anything any more.
            self.half = false;
            self.awaited.get_or_insert(now + patience);
            return Some(Due::Ping);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(25);
    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn silence_is_death_only_where_a_pong_came_before() {
        let start = Instant::now();
        let mut it = KeepAlive::new(Some(start + EVERY), false);
        assert_eq!(it.handle_timeout(start, EVERY, PATIENCE), None);
        let due = |it: &mut KeepAlive| {
            let at = it.poll_timeout().unwrap();
            (at - start, it.handle_timeout(at, EVERY, PATIENCE).unwrap())
        };
        assert_eq!(due(&mut it), (EVERY, Due::Ping));
        assert_eq!(due(&mut it), (EVERY + PATIENCE, Due::Missed { dead: false }));
        assert_eq!(due(&mut it), (2 * EVERY, Due::Ping));
        assert!(!it.handle_blank(), "a pong wants no pong");
        it.handle_pause();
        assert_eq!(due(&mut it), (3 * EVERY, Due::Ping));
        assert_eq!(due(&mut it), (3 * EVERY + PATIENCE, Due::Missed { dead: true }));
    }

    /// "keep-alive": Asterisk sends pings of its own by TCP and answers none. Its connection stands.
    #[test]
    fn a_ping_of_the_peer_is_not_taken_for_its_pong() {
        let start = Instant::now();
        let mut it = KeepAlive::new(Some(start), false);
        assert_eq!(it.handle_timeout(start, EVERY, PATIENCE), Some(Due::Ping));
        assert!(!it.handle_blank());
        assert!(it.handle_blank(), "it wants a pong");
        it.handle_pause();
        assert!(!it.has_ponged());
        let missed = it.handle_timeout(start + PATIENCE, EVERY, PATIENCE);
        assert_eq!(missed, Some(Due::Missed { dead: false }));
        // A stray blank line between the pings does not hide the pong after it.
        assert!(!it.handle_blank());
        it.handle_pause();
        assert_eq!(it.handle_timeout(start + EVERY, EVERY, PATIENCE), Some(Due::Ping));
        assert!(!it.handle_blank());
        it.handle_pause();
        assert!(it.has_ponged());
    }

    #[test]
    fn two_blank_lines_make_a_ping() {
        let mut it = KeepAlive::new(None, false);
        assert_eq!(it.poll_timeout(), None);
        assert!(!it.handle_blank());
        assert!(it.handle_blank());
        assert!(!it.handle_blank());
        it.handle_message();
        assert!(!it.handle_blank(), "the half of before is forgotten");
    }
}
