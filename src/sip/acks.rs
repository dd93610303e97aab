//! ACKs of 2xx: those we wait for (RFC 3261 13.3.1.4) and those we owe (13.2.2.4).

use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request, Response};

use super::core::Core;
use super::dialog::Dialog;
use super::hop::Hop;
use super::message::{self, set_sdp};
use super::port::{ServerTx, Transmit};
use super::session::Session;
use super::timers::{T1, T1X64, T2};
use super::types::Event;

/// A 2xx of ours that waits for its ACK (RFC 3261 13.3.1.4).
pub(crate) struct AwaitedAck {
    pub cseq: u32,
    tx: ServerTx,
    response: Response,
    next: Instant,
    pause: Duration,
    pub sent: Instant,
    deadline: Instant,
    /// The 2xx held an offer: the ACK brings the answer.
    pub holds_offer: bool,
    /// To a refresh, which the application knows nothing of.
    pub quiet: bool,
}

/// The ACK of a 2xx we received, for when the 2xx comes again (RFC 3261 13.2.2.4).
pub(crate) struct SentAck {
    pub cseq: u32,
    pub remote_tag: Option<String>,
    /// None while the application has not given the answer.
    pub ack: Option<(Request, Hop)>,
    /// The INVITE, for its credentials.
    pub invite: Request,
    /// The offer in the 2xx that the ACK is to answer.
    pub offer: Option<String>,
    until: Instant,
}

impl AwaitedAck {
    pub(crate) fn timeout(&self) -> Instant {
        self.next.min(self.deadline)
    }

    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.deadline <= now
    }
}

impl Session {
    // Our 2xx and their ACK.

    /// Sends a 2xx and repeats it until its ACK arrives.
    pub(crate) fn send_ok(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        request: &Request,
        sdp: &str,
        holds_offer: bool,
        now: Instant,
    ) {
        let mut response = self.ok(core, request);
        response.headers.extend(self.timer.grant(request, core.config.session_timer, now));
        set_sdp(&mut response.headers, &mut response.body, Some(sdp));
        core.transmits.push_back(Transmit::Response { tx, response: response.clone() });
        let Some((cseq, _)) = message::cseq(request) else { return };
        if request.method == Method::Invite {
            self.awaited.push(AwaitedAck {
                cseq,
                tx,
                response,
                next: now + T1,
                pause: T1,
                sent: now,
                deadline: now + T1X64,
                holds_offer,
                quiet: false,
            });
        }
    }

    pub(crate) fn handle_ack(&mut self, core: &mut Core, request: &Request, now: Instant) {
        let Some((cseq, _)) = message::cseq(request) else { return };
        let Some(at) = self.awaited.iter().position(|awaited| awaited.cseq == cseq) else { return };
        let awaited = self.awaited.remove(at);
        // A body where no answer is due (Genesys echoes our own SDP) is nobody's business.
        let sdp = match awaited.holds_offer {
            true => message::sdp_of(request, &request.body).ok().flatten(),
            false => None,
        };
        if let (Some(dialog), Some(answer)) = (&mut self.dialog, &sdp) {
            let ours = String::from_utf8_lossy(&awaited.response.body).into_owned();
            dialog.agreed.settle(Some(ours), Some(answer.clone()));
        }
        if !awaited.quiet {
            self.emit(core, Event::Acked { session: self.id, sdp });
        }
        if !self.send_due_bye(core, now) {
            self.try_next_offer(core);
        }
    }

    // Their 2xx and our ACK.

    /// ACKs a 2xx, now or when the application has the answer, and remembers the ACK.
    pub(crate) fn acknowledge(
        &mut self,
        core: &mut Core,
        dialog: &Dialog,
        invite: Request,
        offer: Option<String>,
        now: Instant,
    ) {
        let Some((cseq, _)) = message::cseq(&invite) else { return };
        let ack = offer.is_none().then(|| dialog.ack(core, &invite, cseq, None));
        if let Some((request, to)) = &ack {
            core.transmits.push_back(Transmit::Ack { request: request.clone(), to: *to });
        }
        self.acks.retain(|sent| sent.until > now || sent.ack.is_none());
        self.acks.push(SentAck {
            cseq,
            remote_tag: dialog.remote_tag.clone(),
            ack,
            invite,
            offer,
            until: now + T1X64,
        });
    }

    /// True when the 2xx is one we know: its ACK goes out again, if there is one yet.
    pub(crate) fn repeated_ok(&self, core: &mut Core, response: &Response) -> bool {
        let cseq = message::cseq(response).map(|(number, _)| number);
        let tag = message::tag_of(response, "To");
        let known = self
            .acks
            .iter()
            .find(|sent| Some(sent.cseq) == cseq && sent.remote_tag.as_deref() == tag);
        if let Some(SentAck { ack: Some((request, to)), .. }) = known {
            core.transmits.push_back(Transmit::Ack { request: request.clone(), to: *to });
        }
        known.is_some()
    }

    pub(crate) fn ack_due(&self) -> bool {
        self.acks.iter().any(|sent| sent.ack.is_none())
    }

    /// [`super::Command::AnswerInAck`], or an ACK without an answer when there will be none.
    pub(crate) fn send_due_ack(&mut self, core: &mut Core, sdp: Option<&str>, now: Instant) {
        let Some(dialog) = &mut self.dialog else { return };
        let Some(due) = self.acks.iter_mut().find(|sent| sent.ack.is_none()) else { return };
        let (request, to) = dialog.ack(core, &due.invite, due.cseq, sdp);
        core.transmits.push_back(Transmit::Ack { request: request.clone(), to });
        due.ack = Some((request, to));
        due.until = now + T1X64;
        if let Some(sdp) = sdp {
            dialog.agreed.settle(Some(sdp.to_owned()), due.offer.take());
        }
        if !self.ended {
            self.try_next_offer(core);
        }
    }

    /// Each 2xx that still waits goes out again when it is time.
    pub(crate) fn repeat_oks(&mut self, core: &mut Core, now: Instant) {
        for awaited in self.awaited.iter_mut().filter(|awaited| awaited.next <= now) {
            let response = awaited.response.clone();
            core.transmits.push_back(Transmit::Response { tx: awaited.tx, response });
            awaited.pause = (awaited.pause * 2).min(T2);
            awaited.next = now + awaited.pause;
        }
    }
}
