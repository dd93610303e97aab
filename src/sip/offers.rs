//! Offers in a dialog: re-INVITE and UPDATE, one at a time, glare settled (RFC 3261 14, RFC 3311).

use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request, Response};

use super::core::{AuthState, Core, Pending, Purpose};
use super::message::{self, number, sdp_of, set_body, status_text};
use super::port::{ClientTx, ServerTx, Transmit, TxFailure};
use super::session::{Phase, Session, retry_later};
use super::types::{EndedBy, Event};

/// Offers that may wait in one dialog. Hold and resume make two; more than this is a loop.
const MAX_QUEUE: usize = 16;
/// Times one offer is refused with 491 or 500 before the application hears of it.
const MAX_TRIES: u32 = 8;
/// Longest Retry-After of a 500 that is waited for (RFC 3261 14.2 chooses from 0 to 10 s).
const LONGEST_RETRY_AFTER: u64 = 10;

/// Our re-INVITE.
pub(crate) enum Ours {
    Idle,
    Flying {
        tx: ClientTx,
        sdp: Option<String>,
        tries: u32,
    },
    /// Refused for now.
    Waiting {
        until: Instant,
        sdp: Option<String>,
        tries: u32,
    },
}

/// An offer that waits for its turn.
pub(crate) struct Offer {
    sdp: Option<String>,
    tries: u32,
}

/// Their re-INVITE or UPDATE, which waits for the application.
pub(crate) struct Theirs {
    tx: ServerTx,
    request: Request,
    has_offer: bool,
}

impl Session {
    /// [`super::Command::Reinvite`].
    pub(crate) fn offer(&mut self, core: &mut Core, sdp: Option<String>) {
        if self.ended {
            return;
        }
        if self.offers.len() >= MAX_QUEUE {
            let text = "too many offers wait".to_owned();
            self.emit(core, Event::ReinviteRefused { session: self.id, code: 500, text });
            return;
        }
        self.offers.push_back(Offer { sdp, tries: 0 });
        self.try_next_offer(core);
    }

    /// Sends the next offer if the dialog is free: confirmed, and no INVITE under way either way.
    pub(crate) fn try_next_offer(&mut self, core: &mut Core) {
        let free = matches!(self.phase, Phase::Up)
            && !self.ended
            && self.awaited.is_empty()
            && self.theirs.is_none()
            && !self.ack_due();
        if !free {
            return;
        }
        if !matches!(self.ours, Ours::Idle) {
            return;
        }
        let Some(Offer { sdp, tries }) = self.offers.pop_front() else { return };
        let Some(dialog) = &mut self.dialog else { return };
        let cseq = dialog.next_cseq();
        let (mut request, to) = dialog.request(core, Method::Invite, cseq);
        if let Some(sdp) = &sdp {
            let content = (message::SDP_TYPE, sdp.as_bytes().to_vec());
            set_body(&mut request.headers, &mut request.body, Some(content));
        }
        let tx = self.dispatch(core, Purpose::Reinvite(self.id), request, to);
        self.ours = Ours::Flying { tx, sdp, tries };
    }

    /// The pause after a refusal is over: the offer is the next one again.
    pub(crate) fn end_pause(&mut self, core: &mut Core, now: Instant) {
        if !matches!(&self.ours, Ours::Waiting { until, .. } if *until <= now) {
            return;
        }
        if let Ours::Waiting { sdp, tries, .. } = std::mem::replace(&mut self.ours, Ours::Idle) {
            self.offers.push_front(Offer { sdp, tries });
            self.try_next_offer(core);
        }
    }

    /// A final answer to our re-INVITE.
    pub(crate) fn handle_reinvite_response(
        &mut self,
        core: &mut Core,
        tx: ClientTx,
        pending: Pending,
        response: &Response,
        now: Instant,
    ) {
        let code = response.status_code.code();
        if (200..300).contains(&code) {
            return self.reinvite_answered(core, tx, pending, response, now);
        }
        if self.is_over() {
            return;
        }
        let Ours::Flying { sdp, tries, .. } = &self.ours else { return };
        let (sdp, tries) = (sdp.clone(), *tries + 1);
        if (code == 401 || code == 407)
            && let Some(auth) = core.answer_challenge(&pending.auth, response)
        {
            self.reinvite_again(core, pending, auth, sdp, tries);
            return;
        }
        let text = status_text(response);
        match code {
            491 if tries < MAX_TRIES => {
                // 14.1, in steps of 10 ms.
                let steps = match self.owns_call_id {
                    true => core.between(210, 400),
                    false => core.between(0, 200),
                };
                let until = now + Duration::from_millis(steps * 10);
                self.ours = Ours::Waiting { until, sdp, tries };
            }
            500 if tries < MAX_TRIES && retry_after(response).is_some() => {
                let until = now + retry_after(response).unwrap_or_default();
                self.ours = Ours::Waiting { until, sdp, tries };
            }
            408 | 481 => {
                // 12.2.1.2: the dialog is gone.
                self.ours = Ours::Idle;
                self.tell_end(core, EndedBy::Peer, code, text.clone(), None);
                self.hang_up(core, code, &text, now);
            }
            _ => {
                self.ours = Ours::Idle;
                self.emit(core, Event::ReinviteRefused { session: self.id, code, text });
                self.try_next_offer(core);
            }
        }
    }

    fn reinvite_again(
        &mut self,
        core: &mut Core,
        pending: Pending,
        auth: AuthState,
        sdp: Option<String>,
        tries: u32,
    ) {
        let Some(dialog) = &mut self.dialog else { return };
        let mut request = pending.request;
        let cseq = dialog.next_cseq();
        super::core::renew(core, &mut request, cseq);
        let tx = self.dispatch_with(core, pending.purpose, request, pending.to, auth);
        self.ours = Ours::Flying { tx, sdp, tries };
    }

    fn reinvite_answered(
        &mut self,
        core: &mut Core,
        tx: ClientTx,
        pending: Pending,
        response: &Response,
        now: Instant,
    ) {
        if self.repeated_ok(core, response) {
            return;
        }
        let Some(dialog) = &mut self.dialog else { return };
        dialog.refresh_target(response);
        let dialog = dialog.clone();
        let offered = !pending.request.body.is_empty();
        let sdp = sdp_of(response, &response.body).ok().flatten();
        let wants_answer = !offered && sdp.is_some() && !self.ended;
        self.acknowledge(core, &dialog, pending.request, wants_answer, now);
        if matches!(&self.ours, Ours::Flying { tx: flying, .. } if *flying == tx) {
            self.ours = Ours::Idle;
            self.emit(core, Event::ReinviteAnswered { session: self.id, sdp });
            self.try_next_offer(core);
        }
    }

    /// Our re-INVITE got no answer.
    pub(crate) fn handle_reinvite_failure(
        &mut self,
        core: &mut Core,
        why: TxFailure,
        now: Instant,
    ) {
        if self.is_over() {
            return;
        }
        self.ours = Ours::Idle;
        match why {
            TxFailure::Timeout => self.lost(core, why, now),
            TxFailure::Transport => {
                let text = "Service Unavailable".to_owned();
                self.emit(core, Event::ReinviteRefused { session: self.id, code: 503, text });
                self.try_next_offer(core);
            }
        }
    }

    /// re-INVITE or UPDATE that came in.
    pub(crate) fn handle_offer(&mut self, core: &mut Core, tx: ServerTx, request: Request) {
        if request.method == Method::Invite && self.theirs.is_none() {
            self.respond(core, tx, &request, 100);
        }
        if unsupported(&request).is_some() {
            return refuse_extensions(core, tx, &request, &self.tag());
        }
        let Ok(sdp) = sdp_of(&request, &request.body) else {
            return self.respond(core, tx, &request, 415);
        };
        if request.method == Method::Update && sdp.is_none() {
            // A target refresh and no more.
            if let Some(dialog) = self.dialog_for(&request) {
                dialog.refresh_target(&request);
            }
            return self.respond(core, tx, &request, 200);
        }
        let our_offer_waits =
            self.awaited.iter().any(|awaited| awaited.holds_offer) && sdp.is_some();
        let our_invite_flies = matches!(self.ours, Ours::Flying { .. })
            || self.ack_due()
            || matches!(self.phase, Phase::Calling(_));
        if self.theirs.is_some() || matches!(self.phase, Phase::Ringing(_)) {
            // 14.2, and RFC 3311 5.2: theirs before is not answered yet.
            return retry_later(core, tx, &request, &self.tag());
        }
        if our_invite_flies || our_offer_waits || self.ended {
            return self.respond(core, tx, &request, 491);
        }
        self.theirs = Some(Theirs { tx, has_offer: sdp.is_some(), request });
        self.emit(core, Event::Reinvited { session: self.id, sdp });
    }

    /// [`super::Command::AcceptReinvite`].
    pub(crate) fn accept_offer(&mut self, core: &mut Core, sdp: &str, now: Instant) {
        let Some(theirs) = self.theirs.take() else { return };
        if let Some(dialog) = &mut self.dialog {
            dialog.refresh_target(&theirs.request);
        }
        self.send_ok(core, theirs.tx, &theirs.request, sdp, !theirs.has_offer, now);
        self.try_next_offer(core);
    }

    /// [`super::Command::RejectReinvite`].
    pub(crate) fn reject_offer(&mut self, core: &mut Core, code: u16) {
        self.answer_theirs(core, if (400..700).contains(&code) { code } else { 488 });
        self.try_next_offer(core);
    }

    /// CANCEL of a re-INVITE that waits: it alone is over.
    pub(crate) fn cancel_theirs(&mut self, core: &mut Core, cancel: &Request) -> bool {
        let branch = |request| message::top_via(request).and_then(message::branch);
        let hit = self.theirs.as_ref().is_some_and(|theirs| {
            theirs.request.method == Method::Invite && branch(&theirs.request) == branch(cancel)
        });
        if hit {
            self.answer_theirs(core, 487);
            self.try_next_offer(core);
        }
        hit
    }

    pub(crate) fn answer_theirs(&mut self, core: &mut Core, code: u16) {
        if let Some(theirs) = self.theirs.take() {
            self.respond(core, theirs.tx, &theirs.request, code);
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    number(response, "Retry-After")
        .filter(|seconds| *seconds <= LONGEST_RETRY_AFTER)
        .map(Duration::from_secs)
}

/// Option tags a request requires and we lack. We have none that can be required.
pub(crate) fn unsupported(request: &Request) -> Option<String> {
    let missing: Vec<&str> = message::get_list(request, "Require")
        .into_iter()
        .filter(|tag| !tag.eq_ignore_ascii_case(message::SUPPORTED))
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// 420 with the list (RFC 3261 8.2.2.3).
pub(crate) fn refuse_extensions(core: &mut Core, tx: ServerTx, request: &Request, tag: &str) {
    let mut response = core.response(request, 420, tag);
    let missing = unsupported(request).unwrap_or_default();
    response.headers.push(message::header("Unsupported", missing));
    core.transmits.push_back(Transmit::Response { tx, response });
}
