//! Symmetric RTP: where the SIP side's packets come from, and so where ours go.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::sdp::RtpTarget;

/// How long after a new description, or after a direction was opened, a source other than the
/// SDP's may introduce itself. Strict afterwards, or anybody could take a call over.
const WINDOW: Duration = Duration::from_secs(5);

/// The far end of the RTP stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remote {
    /// What the SDP says; `None` for a black hole.
    FromSdp(RtpTarget),
    /// What packets came from, though the SDP said otherwise: a NAT is between us.
    Learned(SocketAddr),
}

#[derive(Debug)]
pub struct Latch {
    target: RtpTarget,
    remote: Remote,
    until: Instant,
    /// A packet came since the description.
    heard: bool,
}

/// What is to become of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the far end's; the first since the description when true.
    Accept {
        first: bool,
    },
    Foreign,
}

impl Latch {
    pub fn new(now: Instant) -> Self {
        Latch { target: None, remote: Remote::FromSdp(None), until: now, heard: false }
    }

    /// A new description. One that names the same target keeps what was learned, since the NAT is
    /// the same; the window opens in both cases.
    pub fn set_target(&mut self, now: Instant, target: RtpTarget) {
        if target != self.target {
            self.target = target;
            self.remote = Remote::FromSdp(target);
        }
        self.heard = false;
        self.until = now + WINDOW;
    }

    /// Media is expected anew: the far end may only now have begun to send.
    pub fn reopen(&mut self, now: Instant) {
        self.until = now + WINDOW;
    }

    /// Judges a packet that is plausible RTP of a negotiated payload type.
    pub fn judge(&mut self, now: Instant, from: SocketAddr) -> Verdict {
        let known = match self.remote {
            Remote::FromSdp(target) => target == Some(from),
            Remote::Learned(addr) => addr == from,
        };
        if known {
            return self.accept();
        }
        if now > self.until {
            return Verdict::Foreign;
        }
        if self.target == Some(from) {
            // The address that was announced speaks after all: it has the better claim.
            self.remote = Remote::FromSdp(self.target);
            return self.accept();
        }
        if !self.heard {
            self.remote = Remote::Learned(from);
            return self.accept();
        }
        Verdict::Foreign
    }

    /// Where RTP goes. A black hole stays one, whoever sends to us.
    pub fn destination(&self) -> Option<SocketAddr> {
        let target = self.target?;
        match self.remote {
            Remote::Learned(addr) => Some(addr),
            Remote::FromSdp(_) => Some(target),
        }
    }

    /// Where RTCP goes: the next port (RFC 3550 11).
    pub fn rtcp_destination(&self) -> Option<SocketAddr> {
        let mut addr = self.destination()?;
        addr.set_port(addr.port().checked_add(1)?);
        Some(addr)
    }

    fn accept(&mut self) -> Verdict {
        let first = !std::mem::replace(&mut self.heard, true);
        Verdict::Accept { first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    const FIRST: Verdict = Verdict::Accept { first: true };
    const NEXT: Verdict = Verdict::Accept { first: false };

    #[test]
    fn the_announced_address_is_taken_and_others_are_foreign() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        assert_eq!(latch.judge(now + WINDOW, addr(9)), Verdict::Foreign, "nothing announced yet");
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.destination(), Some(addr(4000)));
        assert_eq!(latch.rtcp_destination(), Some(addr(4001)));
        assert_eq!(latch.judge(now, addr(4000)), FIRST);
        assert_eq!(latch.judge(now, addr(4000)), NEXT);
        assert_eq!(latch.judge(now, addr(5000)), Verdict::Foreign);
        assert_eq!(latch.judge(now + WINDOW * 9, addr(4000)), NEXT);
    }

    #[test]
    fn a_phone_behind_a_nat_is_learned_once() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now + WINDOW, addr(5000)), FIRST);
        assert_eq!(latch.destination(), Some(addr(5000)));
        assert_eq!(latch.judge(now + WINDOW, addr(6000)), Verdict::Foreign);
        // A re-INVITE that repeats the description keeps the learned address in use.
        latch.set_target(now + WINDOW * 3, Some(addr(4000)));
        assert_eq!(latch.destination(), Some(addr(5000)));
        // One that names another target does not.
        latch.set_target(now + WINDOW * 3, Some(addr(7000)));
        assert_eq!(latch.destination(), Some(addr(7000)));
        assert_eq!(latch.judge(now + WINDOW * 3, addr(7000)), FIRST);
    }

    #[test]
    fn the_announced_address_wins_over_a_learned_one_within_the_window() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now, addr(5000)), FIRST);
        assert_eq!(latch.judge(now, addr(4000)), NEXT);
        assert_eq!(latch.judge(now, addr(5000)), Verdict::Foreign);
        assert_eq!(latch.destination(), Some(addr(4000)));
    }

    #[test]
    fn after_the_window_nobody_new_is_learned() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        latch.set_target(now, Some(addr(4000)));
        let late = now + WINDOW + Duration::from_millis(1);
        assert_eq!(latch.judge(late, addr(5000)), Verdict::Foreign);
        latch.reopen(late);
        assert_eq!(latch.judge(late, addr(5000)), FIRST);
    }

    #[test]
    fn a_black_hole_is_never_sent_to() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        latch.set_target(now, None);
        assert_eq!(latch.judge(now, addr(5000)), FIRST, "its early media may still come");
        assert_eq!(latch.destination(), None);
        assert_eq!(latch.rtcp_destination(), None);
    }
}
