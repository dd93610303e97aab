//! Symmetric RTP: where the SIP side's packets come from, and so where ours go.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::sdp::RtpTarget;

/// How long after a new description, or after a direction was opened, a source other than the
/// SDP's may introduce itself. Strict afterwards, or anybody could take a call over.
const WINDOW: Duration = Duration::from_secs(5);

/// A source that was heard within this time is alive, and nobody takes its place.
const ALIVE: Duration = Duration::from_secs(1);

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
    /// The last packet of the remote in use.
    last: Option<Instant>,
    /// The far end before the last change of target, which goes on sending for a moment.
    former: Option<(SocketAddr, Instant)>,
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
        Latch {
            target: None,
            remote: Remote::FromSdp(None),
            until: now,
            heard: false,
            last: None,
            former: None,
        }
    }

    /// A new description. One that names the same target keeps what was learned, since the NAT is
    /// the same; the window opens in both cases, for whoever is not in the way of a living source.
    pub fn set_target(&mut self, now: Instant, target: RtpTarget) {
        if target != self.target {
            // Into a black hole and out of it again, it is the same far end, and may play music.
            let left = target.and(self.in_use()).map(|former| (former, now + ALIVE));
            self.former = left.or(self.former);
            self.last = None;
            self.target = target;
            self.remote = Remote::FromSdp(target);
        }
        self.heard = false;
        self.until = now + WINDOW;
    }

    /// Goes on without a far end until the next description, and gives away what was known of the one there
    /// was.
    pub fn leave(&mut self, now: Instant) -> Latch {
        let former = self.in_use().map(|former| (former, now + ALIVE));
        std::mem::replace(self, Latch { former, ..Latch::new(now) })
    }

    /// What the last description says.
    pub fn target(&self) -> RtpTarget {
        self.target
    }

    /// Media is expected anew: the far end may only now have begun to send.
    pub fn reopen(&mut self, now: Instant) {
        self.until = now + WINDOW;
    }

    /// Whether that is the far end, without making it so.
    pub fn is_known(&self, from: SocketAddr) -> bool {
        self.in_use() == Some(from)
    }

    /// Judges a packet that is plausible RTP of a negotiated payload type.
    pub fn judge(&mut self, now: Instant, from: SocketAddr) -> Verdict {
        let known = match self.remote {
            Remote::FromSdp(target) => target == Some(from),
            Remote::Learned(addr) => addr == from,
        };
        if known {
            return self.accept(now);
        }
        if now > self.until {
            return Verdict::Foreign;
        }
        if self.target == Some(from) {
            // The address that was announced speaks after all: it has the better claim.
            self.remote = Remote::FromSdp(self.target);
            return self.accept(now);
        }
        let alive = self.last.is_some_and(|at| now.saturating_duration_since(at) < ALIVE);
        let former = self.former.is_some_and(|(former, until)| former == from && now < until);
        if alive || former {
            return Verdict::Foreign;
        }
        self.remote = Remote::Learned(from);
        self.accept(now)
    }

    /// Where RTP goes. A black hole stays one, whoever sends to us.
    pub fn destination(&self) -> Option<SocketAddr> {
        let target = self.target?;
        match self.remote {
            Remote::Learned(addr) => Some(addr),
            Remote::FromSdp(_) => Some(target),
        }
    }

    /// The only one that [`Latch::judge`] accepts from now on, whatever comes; `None` as long as others
    /// may introduce themselves, and for a black hole.
    pub fn settled(&self, now: Instant) -> Option<SocketAddr> {
        self.in_use().filter(|_| now > self.until && self.target.is_some())
    }

    fn in_use(&self) -> Option<SocketAddr> {
        match self.remote {
            Remote::Learned(addr) => Some(addr),
            Remote::FromSdp(target) => target,
        }
    }

    fn accept(&mut self, now: Instant) -> Verdict {
        self.last = Some(now);
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

    /// Refreshes of the session come every few minutes: none of them may let a stranger in.
    #[test]
    fn the_same_description_again_gives_no_living_source_away() {
        let now = Instant::now();
        for source in [4000, 5000] {
            let mut latch = Latch::new(now);
            latch.set_target(now, Some(addr(4000)));
            assert_eq!(latch.judge(now, addr(source)), FIRST);
            latch.set_target(now, Some(addr(4000)));
            latch.reopen(now);
            assert_eq!(latch.judge(now, addr(6000)), Verdict::Foreign);
            assert_eq!(latch.judge(now, addr(source)), FIRST);
            assert_eq!(latch.destination(), Some(addr(source)));
        }
    }

    /// After minutes on hold the NAT has forgotten the phone and gives it another port.
    #[test]
    fn a_source_that_fell_silent_may_come_back_from_elsewhere() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now, addr(5000)), FIRST);
        let later = now + Duration::from_secs(660);
        latch.set_target(later, Some(addr(4000)));
        assert_eq!(latch.judge(later, addr(5002)), FIRST);
        assert_eq!(latch.destination(), Some(addr(5002)));
    }

    /// A transfer to an end that only listens: the old far end's last packets must not draw ours.
    #[test]
    fn the_former_far_end_is_not_taken_for_the_new_one() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now, addr(4000)), FIRST);
        latch.set_target(now, Some(addr(7000)));
        assert_eq!(latch.judge(now + Duration::from_millis(60), addr(4000)), Verdict::Foreign);
        assert_eq!(latch.destination(), Some(addr(7000)));
        // It may be the same phone all the same, whose NAT hides that it moved.
        assert_eq!(latch.judge(now + ALIVE, addr(4000)), FIRST);
    }

    #[test]
    fn one_that_is_left_is_not_taken_for_the_next_and_can_be_come_back_to() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now, addr(5000)), FIRST);
        let left = latch.leave(now);
        assert_eq!((latch.destination(), left.destination()), (None, Some(addr(5000))));
        latch.set_target(now, Some(addr(7000)));
        assert_eq!(latch.judge(now, addr(5000)), Verdict::Foreign);
        latch = left;
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now, addr(5000)), FIRST);
    }

    #[test]
    fn the_far_end_is_settled_outside_the_window_alone() {
        let now = Instant::now();
        let late = now + WINDOW + Duration::from_millis(1);
        let mut latch = Latch::new(now);
        assert_eq!(latch.settled(late), None, "nothing announced yet");
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now, addr(5000)), FIRST);
        assert_eq!(latch.settled(now + WINDOW), None);
        assert_eq!(latch.settled(late), Some(addr(5000)));
        latch.reopen(late);
        assert_eq!(latch.settled(late), None);
        latch.set_target(late, None);
        assert_eq!(latch.settled(late + WINDOW * 2), None, "a black hole");
        assert_eq!(latch.judge(late + ALIVE, addr(6000)), FIRST);
        assert_eq!(latch.settled(late + WINDOW * 2), None, "though its media were heard");
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
    }

    #[test]
    fn music_on_hold_is_heard_from_a_far_end_that_became_a_black_hole() {
        let now = Instant::now();
        let mut latch = Latch::new(now);
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now, addr(4000)), FIRST);
        latch.set_target(now, None);
        assert_eq!(latch.judge(now, addr(4000)), FIRST);
        assert_eq!(latch.destination(), None);
        latch.set_target(now, Some(addr(4000)));
        assert_eq!(latch.judge(now, addr(4000)), FIRST);
    }
}
