//! Reliable provisional answers and PRACK (RFC 3262), both roles.
//!
//! A caller that may be answered reliably has made its offer in the INVITE: we ask for no reliability
//! where the offer is left to the peer, and give no SDP in a reliable answer to an INVITE without one,
//! so that an offer and its answer never have to pass in a provisional answer and its PRACK. An offer
//! that comes in a PRACK (5) is turned down with 488; the PRACK counts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request, Response};

use super::core::{Core, Purpose};
use super::message::{self, RELIABLE, get, header, lists, number, sdp_of, set_sdp};
use super::port::{ServerTx, Transmit};
use super::session::{Phase, Session};
use super::timers::{T1, T1X64};
use super::types::{EndedBy, Reliable};

/// Provisional answers that wait for the PRACK of the one before. Ringing, queued, progress: more than
/// this is a loop.
const MAX_QUEUE: usize = 8;
/// How often a reliable provisional answer is followed by another, lest proxies give up (3).
const PROGRESS: Duration = Duration::from_secs(150);

/// Our reliable answers to one INVITE.
pub(crate) struct Reliably {
    /// RSeq of the next one (3): below 2^31, never 0.
    next: u32,
    unacked: Option<Unacked>,
    queue: VecDeque<(u16, Option<String>)>,
    /// The answer to the INVITE's offer has gone out in one of them.
    answered: Option<String>,
    /// [`super::Command::Accept`] that waits until that answer is acknowledged (3).
    held: Option<String>,
    /// The last code, and when it is said again.
    again: Option<(u16, Instant)>,
}

/// The one that waits for its PRACK.
struct Unacked {
    rseq: u32,
    invite: u32,
    tx: ServerTx,
    response: Response,
    holds_answer: bool,
    /// None once a final answer made repeating it pointless. Its PRACK may still come.
    repeat: Option<Repeat>,
}

struct Repeat {
    at: Instant,
    pause: Duration,
    deadline: Instant,
}

/// What there is to do at some time.
enum Due {
    Nothing,
    Say(u16),
    GiveUp,
}

impl Reliably {
    /// For an INVITE that came in, when its provisional answers are to be reliable.
    pub(crate) fn wanted(core: &mut Core, invite: &Request) -> Option<Self> {
        let required = lists(invite, "Require", RELIABLE);
        let wanted = match core.config.reliable {
            Reliable::Off => false,
            Reliable::WhenRequired => required,
            // An INVITE without an offer wants one in our first reliable answer, and we have none yet.
            Reliable::WhenSupported => {
                required || (lists(invite, "Supported", RELIABLE) && !invite.body.is_empty())
            }
        };
        wanted.then(|| Self {
            next: core.between(1, 1 << 30) as u32,
            unacked: None,
            queue: VecDeque::new(),
            answered: None,
            held: None,
            again: None,
        })
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        let repeat = self.unacked.as_ref().and_then(|unacked| unacked.repeat.as_ref());
        let again = self.again.map(|(_, at)| at);
        repeat.map(|repeat| repeat.at.min(repeat.deadline)).into_iter().chain(again).min()
    }

    /// A final answer goes out: nothing is repeated any more, and nothing new is sent.
    pub(crate) fn stop(&mut self) {
        self.queue.clear();
        self.again = None;
        self.held = None;
        if let Some(unacked) = &mut self.unacked {
            unacked.repeat = None;
        }
    }

    /// What an Accept sends now: the answer that was given already, if one was. None when it waits for a
    /// PRACK.
    pub(crate) fn accept(&mut self, sdp: &str) -> Option<String> {
        self.queue.clear();
        self.again = None;
        let waits =
            self.unacked.as_ref().is_some_and(|unacked| unacked.holds_answer && unacked.repeats());
        if waits {
            self.held.get_or_insert_with(|| sdp.to_owned());
            return None;
        }
        self.stop();
        Some(self.answered.clone().unwrap_or_else(|| sdp.to_owned()))
    }

    fn is_busy(&self) -> bool {
        self.unacked.as_ref().is_some_and(Unacked::repeats)
    }

    /// Takes the RAck of a PRACK (7.2), exactly.
    fn acknowledge(&mut self, rack: &str) -> Option<Unacked> {
        let mut words = rack.split_ascii_whitespace();
        let rseq: u32 = words.next()?.parse().ok()?;
        let cseq: u32 = words.next()?.parse().ok()?;
        let invite = words.next()?.eq_ignore_ascii_case("INVITE") && words.next().is_none();
        let hit = |unacked: &Unacked| invite && unacked.rseq == rseq && unacked.invite == cseq;
        if self.unacked.as_ref().is_some_and(hit) { self.unacked.take() } else { None }
    }

    fn due(&mut self, core: &mut Core, now: Instant) -> Due {
        if let Some(unacked) = &mut self.unacked
            && let Some(repeat) = &mut unacked.repeat
        {
            if repeat.deadline <= now {
                return Due::GiveUp;
            }
            if repeat.at <= now {
                // No T2 here: the pauses double to the end (3).
                repeat.pause *= 2;
                repeat.at = now + repeat.pause;
                let response = unacked.response.clone();
                core.transmits.push_back(Transmit::Response { tx: unacked.tx, response });
            }
        }
        match self.again.filter(|(_, at)| *at <= now) {
            Some((code, _)) => {
                self.again = Some((code, now + PROGRESS));
                Due::Say(code)
            }
            None => Due::Nothing,
        }
    }
}

impl Unacked {
    fn repeats(&self) -> bool {
        self.repeat.is_some()
    }
}

impl Session {
    /// A provisional answer to their INVITE, reliably; or its place in the queue, as one at a time
    /// waits for its PRACK.
    pub(crate) fn progress_reliably(
        &mut self,
        core: &mut Core,
        code: u16,
        sdp: Option<String>,
        now: Instant,
    ) {
        let tag = self.tag();
        let Phase::Ringing(invite) = &self.phase else { return };
        let Some(reliably) = self.reliably.as_mut().filter(|r| r.held.is_none()) else { return };
        reliably.again = Some((code, now + PROGRESS));
        if reliably.is_busy() {
            if reliably.queue.len() < MAX_QUEUE {
                reliably.queue.push_back((code, sdp));
            }
            return;
        }
        // One offer, one answer (RFC 3261 13.2.1).
        let sdp = sdp.filter(|_| invite.offer.is_some() && reliably.answered.is_none());
        let Some((number, _)) = message::cseq(&invite.request) else { return };
        let mut response = core.response(&invite.request, code, &tag);
        response.headers.push(header("Require", RELIABLE));
        response.headers.push(header("RSeq", reliably.next.to_string()));
        set_sdp(&mut response.headers, &mut response.body, sdp.as_deref());
        core.transmits.push_back(Transmit::Response { tx: invite.tx, response: response.clone() });
        reliably.unacked = Some(Unacked {
            rseq: reliably.next,
            invite: number,
            tx: invite.tx,
            response,
            holds_answer: sdp.is_some(),
            repeat: Some(Repeat { at: now + T1, pause: T1, deadline: now + T1X64 }),
        });
        reliably.next += 1;
        if sdp.is_some() {
            reliably.answered = sdp;
        }
    }

    /// PRACK that came in (3).
    pub(crate) fn handle_prack(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        request: &Request,
        now: Instant,
    ) {
        let acked = get(request, "RAck")
            .and_then(|rack| self.reliably.as_mut().and_then(|r| r.acknowledge(rack)));
        let Some(acked) = acked else { return self.respond(core, tx, request, 481) };
        let offer = sdp_of(request, &request.body);
        let code = if matches!(offer, Ok(None)) { 200 } else { 488 };
        self.respond(core, tx, request, code);
        let Phase::Ringing(invite) = &self.phase else { return };
        let offered = invite.offer.clone();
        let Some(reliably) = &mut self.reliably else { return };
        if acked.holds_answer
            && let Some(dialog) = &mut self.dialog
        {
            dialog.agreed.settle(reliably.answered.clone(), offered);
        }
        if let Some(sdp) = reliably.held.take() {
            return self.accept(core, &sdp, now);
        }
        if let Some((code, sdp)) = reliably.queue.pop_front() {
            return self.progress_reliably(core, code, sdp, now);
        }
        self.try_next_offer(core);
    }

    pub(crate) fn check_reliably(&mut self, core: &mut Core, now: Instant) {
        let Some(reliably) = &mut self.reliably else { return };
        match reliably.due(core, now) {
            Due::Nothing => {}
            Due::Say(code) => {
                if !reliably.is_busy() {
                    self.progress_reliably(core, code, None, now);
                }
            }
            Due::GiveUp => {
                // 3: the caller hears nothing of us; a 5xx it may hear.
                if let Phase::Ringing(invite) = &self.phase {
                    let response = core.response(&invite.request, 504, &self.tag());
                    core.transmits.push_back(Transmit::Response { tx: invite.tx, response });
                }
                let text = "no PRACK for a reliable provisional answer";
                self.tell_end(core, EndedBy::Network, 504, text, None);
                self.over(core, now);
            }
        }
    }

    /// A provisional answer to our INVITE that wants a PRACK gets it (4), in the order of RSeq within
    /// its early dialog. False for one that came before, or too soon: it is not to be told.
    pub(crate) fn acknowledge_provisional(
        &mut self,
        core: &mut Core,
        response: &Response,
        sdp: Option<&str>,
    ) -> bool {
        let rseq = number(response, "RSeq").and_then(|rseq| u32::try_from(rseq).ok());
        let Some(rseq) = rseq.filter(|_| lists(response, "Require", RELIABLE)) else { return true };
        let tag = message::tag_of(response, "To").map(str::to_owned);
        let Phase::Calling(outgoing) = &mut self.phase else { return false };
        let invite = outgoing.cseq();
        let offer = outgoing.offer();
        let dialog = outgoing.early.iter_mut().find(|dialog| dialog.remote_tag == tag);
        // Without a tag, or beyond the forks we follow, it cannot be acknowledged.
        let Some(dialog) = dialog.filter(|dialog| dialog.remote_tag.is_some()) else { return true };
        if dialog.rseq.is_some_and(|last| Some(rseq) != last.checked_add(1)) {
            return false;
        }
        dialog.rseq = Some(rseq);
        if offer.is_some() && sdp.is_some() && !dialog.agreed.settled {
            dialog.agreed.settle(offer, sdp.map(str::to_owned));
        }
        let cseq = dialog.next_cseq();
        let (mut prack, to) = dialog.request(core, Method::PRack, cseq);
        prack.headers.push(header("RAck", format!("{rseq} {invite} INVITE")));
        self.dispatch(core, Purpose::Prack(self.id), prack, to);
        true
    }
}
