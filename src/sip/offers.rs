//! Offers in a dialog: re-INVITE and UPDATE, one at a time, glare settled (RFC 3261 14, RFC 3311).
//!
//! Once the call is up an offer of ours goes by re-INVITE, which may take its time at the other end.
//! Before that it goes by UPDATE, where the first offer has its answer already (in a reliable 1xx) and
//! the peer takes UPDATE; otherwise it waits for the call to be up.

use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request, Response};

use super::core::{AuthState, Core, Pending, Purpose};
use super::dialog::Dialog;
use super::message::{self, number, sdp_of, set_sdp, status_text};
use super::port::{ClientTx, ServerTx, Transmit, TxFailure};
use super::session::{Phase, Session, retry_later};
use super::session_timer::too_brief;
use super::timers::T1X64;
use super::types::{EndedBy, Event};

/// Offers that may wait in one dialog. Hold and resume make two; more than this is a loop.
const MAX_QUEUE: usize = 16;
/// Answers of ours to re-INVITEs that may want for their ACK. It is sent at once, and overtaken by the next
/// re-INVITE at most; who sends none at all is not to have us repeat hundreds of answers.
const MAX_UNACKED: usize = 4;
/// Times one offer is refused with 491 or 500 before the application hears of it.
const MAX_TRIES: u32 = 8;
/// How long an offer may want for a connection, from when it was first not sent: as long as a transaction
/// would wait for an answer to it.
const UNSENT: Duration = T1X64;
/// Longest Retry-After of a 500 that is waited for (RFC 3261 14.2 chooses from 0 to 10 s).
const LONGEST_RETRY_AFTER: u64 = 10;
/// How long the application may take over an offer of theirs: less than the 32 s after which the peer
/// gives an UPDATE up, more than a browser takes.
const GUARD: Duration = Duration::from_secs(25);

/// What an offer of ours is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Sdp(String),
    /// The peer is asked for its offer.
    Ask,
    /// Nothing new: the session timer wants it (RFC 4028 7.4).
    Refresh,
}

/// An offer, and how often it was put off.
pub(crate) struct Offer {
    what: What,
    tries: u32,
    /// It could not be sent, and is to be until then.
    unsent: Option<Instant>,
}

impl Offer {
    fn new(what: What) -> Self {
        Self { what, tries: 0, unsent: None }
    }
}

/// The offer of ours that is under way.
pub(crate) enum Ours {
    Idle,
    Flying {
        tx: ClientTx,
        offer: Offer,
    },
    /// Refused for now.
    Waiting {
        until: Instant,
        offer: Offer,
    },
}

/// Their re-INVITE or UPDATE, which waits for the application.
pub(crate) struct Theirs {
    tx: ServerTx,
    request: Request,
    offer: Option<String>,
    until: Instant,
}

impl Theirs {
    pub(crate) fn until(&self) -> Instant {
        self.until
    }
}

impl Session {
    /// [`super::Command::Reinvite`].
    pub(crate) fn offer(&mut self, core: &mut Core, sdp: Option<String>, now: Instant) {
        if self.ended {
            return;
        }
        if self.offers.len() >= MAX_QUEUE {
            let text = "too many offers wait".to_owned();
            self.emit(core, Event::ReinviteRefused { session: self.id, code: 500, text });
            return;
        }
        let what = sdp.map_or(What::Ask, What::Sdp);
        // Said again after it could not be sent, it has the rest of its time.
        let again = self.unsent.take().filter(|(_, until)| *until > now);
        let (tries, unsent) = again.map_or((0, None), |(tries, until)| (tries, Some(until)));
        self.offers.push_back(Offer { what, tries, unsent });
        self.try_next_offer(core);
    }

    /// Any offer of ours refreshes the session; only when there is none does it take one to say nothing.
    pub(crate) fn refresh(&mut self, core: &mut Core) {
        if matches!(self.ours, Ours::Idle) && self.offers.is_empty() {
            self.offers.push_back(Offer::new(What::Refresh));
            self.try_next_offer(core);
        }
    }

    /// Sends the next offer if the dialog is free: no offer under way either way.
    pub(crate) fn try_next_offer(&mut self, core: &mut Core) {
        if self.ended || self.theirs.is_some() || !matches!(self.ours, Ours::Idle) {
            return;
        }
        let up = matches!(self.phase, Phase::Up);
        if up && (!self.awaited.is_empty() || self.ack_due()) {
            return;
        }
        let Some(what) = self.offers.front().map(|offer| offer.what.clone()) else { return };
        let Some(dialog) = self.speaking_dialog() else { return };
        let update = dialog.allows_update;
        let method = match what {
            What::Refresh if update || dialog.agreed.local.is_none() => Method::Update,
            _ if up => Method::Invite,
            // RFC 3311 5.1; a request for an offer only a re-INVITE can be.
            What::Sdp(_) if update && dialog.agreed.settled => Method::Update,
            _ => return,
        };
        if let Some(offer) = self.offers.pop_front() {
            self.send_offer(core, offer, method);
        }
    }

    /// The confirmed dialog, or the early one heard of last.
    pub(crate) fn speaking_dialog(&mut self) -> Option<&mut Dialog> {
        match &mut self.phase {
            Phase::Calling(outgoing) => outgoing.early.last_mut(),
            _ => self.dialog.as_mut(),
        }
    }

    fn send_offer(&mut self, core: &mut Core, offer: Offer, method: Method) {
        let Some(dialog) = self.speaking_dialog() else { return };
        let sdp = match (&offer.what, method) {
            (What::Sdp(sdp), _) => Some(sdp.clone()),
            // The very same again, so that nothing changes and the version of `o=` stays.
            (What::Refresh, Method::Invite) => dialog.agreed.local.clone(),
            (What::Refresh | What::Ask, _) => None,
        };
        let cseq = dialog.next_cseq();
        let (mut request, to) = dialog.request(core, method, cseq);
        self.timer.ask(core.config.session_timer, false, &mut request.headers);
        set_sdp(&mut request.headers, &mut request.body, sdp.as_deref());
        let purpose = match method {
            Method::Update => Purpose::Update(self.id),
            _ => Purpose::Reinvite(self.id),
        };
        let tx = self.dispatch(core, purpose, request, to);
        self.ours = Ours::Flying { tx, offer };
    }

    /// The pause after a refusal is over: the offer is the next one again.
    pub(crate) fn end_pause(&mut self, core: &mut Core, now: Instant) {
        if !matches!(&self.ours, Ours::Waiting { until, .. } if *until <= now) {
            return;
        }
        if let Ours::Waiting { offer, .. } = std::mem::replace(&mut self.ours, Ours::Idle) {
            match (&offer.what, offer.unsent) {
                // What it says may be over: who has resumed meanwhile holds nobody.
                (What::Sdp(_), Some(until)) => {
                    self.unsent = Some((offer.tries, until));
                    self.emit(core, Event::ReinviteUnsent { session: self.id });
                }
                _ => self.offers.push_front(offer),
            }
            self.try_next_offer(core);
        }
    }

    /// The call goes on in the dialog with that tag: an UPDATE under way in another one came to nothing,
    /// and is the next offer again.
    pub(crate) fn keep_offer_for(&mut self, core: &Core, tag: Option<&str>) {
        let Ours::Flying { tx, .. } = &self.ours else { return };
        let here = core
            .as_sent(*tx)
            .is_some_and(|sent| tag.is_some() && message::tag_of(&sent.request, "To") == tag);
        if !here && let Ours::Flying { offer, .. } = std::mem::replace(&mut self.ours, Ours::Idle) {
            self.offers.push_front(offer);
        }
    }

    /// The offer that flies in that transaction, if it is still that one. It flies no more.
    fn landed(&mut self, tx: ClientTx) -> Option<Offer> {
        match std::mem::replace(&mut self.ours, Ours::Idle) {
            Ours::Flying { tx: flying, offer } if flying == tx => Some(offer),
            other => {
                self.ours = other;
                None
            }
        }
    }

    /// A final answer to our re-INVITE or UPDATE.
    pub(crate) fn handle_offer_response(
        &mut self,
        core: &mut Core,
        tx: ClientTx,
        pending: Pending,
        response: &Response,
        now: Instant,
    ) {
        let code = response.status_code.code();
        if (200..300).contains(&code) {
            self.identify_answer(core, response);
            return match pending.request.method {
                Method::Update => self.update_answered(core, tx, &pending.request, response, now),
                _ => self.reinvite_answered(core, tx, pending, response, now),
            };
        }
        if self.is_over() {
            return;
        }
        let Some(mut offer) = self.landed(tx) else { return };
        offer.tries += 1;
        let update = pending.request.method == Method::Update;
        let again = offer.tries < MAX_TRIES;
        match code {
            401 | 407 => match core.answer_challenge(&pending.auth, response) {
                Some(auth) => return self.offer_again(core, pending, auth, offer),
                None => self.offer_refused(core, &offer, code, status_text(response)),
            },
            491 if again => {
                // 14.1, in steps of 10 ms.
                let steps = match self.owns_call_id {
                    true => core.between(210, 400),
                    false => core.between(0, 200),
                };
                let until = now + Duration::from_millis(steps * 10);
                self.ours = Ours::Waiting { until, offer };
            }
            500 if again && retry_after(response).is_some() => {
                let until = now + retry_after(response).unwrap_or_default();
                self.ours = Ours::Waiting { until, offer };
            }
            422 if again && self.timer.raise(response) => self.offers.push_front(offer),
            405 | 501 if again && update => {
                // So much for its Allow: by re-INVITE, then, as soon as the call is up.
                if let Some(dialog) = self.dialog_of_ours(&pending.request) {
                    dialog.allows_update = false;
                }
                self.offers.push_front(offer);
            }
            408 | 481 if matches!(self.phase, Phase::Up) => {
                // 12.2.1.2: the dialog is gone.
                let text = status_text(response);
                self.tell_end(core, EndedBy::Peer, code, text.clone(), None);
                return self.hang_up(core, code, &text, now);
            }
            _ => self.offer_refused(core, &offer, code, status_text(response)),
        }
        self.try_next_offer(core);
    }

    /// A refused refresh is no loss yet: the timer tries again until the session's time is over.
    fn offer_refused(&mut self, core: &mut Core, offer: &Offer, code: u16, text: String) {
        if offer.what != What::Refresh {
            self.emit(core, Event::ReinviteRefused { session: self.id, code, text });
        }
    }

    fn offer_again(&mut self, core: &mut Core, pending: Pending, auth: AuthState, offer: Offer) {
        let Some(dialog) = self.dialog_of_ours(&pending.request) else {
            return self.offers.push_front(offer);
        };
        let (cseq, place) = (dialog.next_cseq(), dialog.place(core));
        let mut request = pending.request;
        super::core::renew(core, place, &mut request, cseq);
        let tx = self.dispatch_with(core, pending.purpose, request, pending.to, auth);
        self.ours = Ours::Flying { tx, offer };
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
        let awaited = matches!(&self.ours, Ours::Flying { tx: flying, .. } if *flying == tx);
        if !awaited && message::tag_of(response, "To") != dialog.remote_tag.as_deref() {
            // It has been answered, and nobody else is in this dialog.
            return;
        }
        dialog.refresh_target(response);
        let dialog = dialog.clone();
        let ours = sdp_of(&pending.request, &pending.request.body).ok().flatten();
        let sdp = sdp_of(response, &response.body).ok().flatten();
        let offer = sdp.clone().filter(|_| ours.is_none() && !self.ended);
        self.acknowledge(core, &dialog, pending.request, offer, now);
        if let Some(offer) = self.landed(tx) {
            self.timer.accepted(response, now);
            self.offer_taken(core, &offer, dialog.remote_tag.as_deref(), ours, sdp);
        }
    }

    fn update_answered(
        &mut self,
        core: &mut Core,
        tx: ClientTx,
        update: &Request,
        response: &Response,
        now: Instant,
    ) {
        if self.is_over() {
            return;
        }
        if let Some(dialog) = self.dialog_of_ours(update) {
            dialog.refresh_target(response);
        }
        let ours = sdp_of(update, &update.body).ok().flatten();
        let sdp = sdp_of(response, &response.body).ok().flatten();
        if let Some(offer) = self.landed(tx) {
            if matches!(self.phase, Phase::Up) {
                self.timer.accepted(response, now);
            }
            self.offer_taken(core, &offer, message::tag_of(update, "To"), ours, sdp);
        }
    }

    fn offer_taken(
        &mut self,
        core: &mut Core,
        offer: &Offer,
        remote_tag: Option<&str>,
        ours: Option<String>,
        theirs: Option<String>,
    ) {
        let mut changed = false;
        if ours.is_some()
            && theirs.is_some()
            && let Some(dialog) = self.dialog_with(remote_tag)
        {
            changed = dialog.agreed.remote != theirs;
            dialog.agreed.settle(ours, theirs.clone());
        }
        if offer.what != What::Refresh || changed {
            self.emit(core, Event::ReinviteAnswered { session: self.id, sdp: theirs });
        }
        self.try_next_offer(core);
    }

    /// Our re-INVITE or UPDATE got no answer.
    pub(crate) fn handle_offer_failure(
        &mut self,
        core: &mut Core,
        tx: ClientTx,
        why: TxFailure,
        now: Instant,
    ) {
        if self.is_over() {
            return;
        }
        let Some(mut offer) = self.landed(tx) else { return };
        match why {
            TxFailure::Timeout if matches!(self.phase, Phase::Up) => self.lost(core, why, now),
            TxFailure::Timeout => {
                self.offer_refused(core, &offer, 408, "Request Timeout".to_owned());
            }
            // The connection is gone: soon there is another, and nobody else would say again that the agent
            // holds or does so no more.
            TxFailure::Transport => {
                let until = now + Duration::from_secs(1 << offer.tries.min(3));
                if until > *offer.unsent.get_or_insert(now + UNSENT) {
                    self.offer_refused(core, &offer, 503, "Service Unavailable".to_owned());
                } else {
                    offer.tries += 1;
                    self.ours = Ours::Waiting { until, offer };
                }
            }
        }
        self.try_next_offer(core);
    }

    /// re-INVITE or UPDATE that came in.
    pub(crate) fn handle_offer(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        request: Request,
        now: Instant,
    ) {
        let update = request.method == Method::Update;
        if !update && self.theirs.is_none() {
            self.respond(core, tx, &request, 100);
        }
        if unsupported(core, &request).is_some() {
            return refuse_extensions(core, tx, &request, &self.tag());
        }
        let Ok(sdp) = sdp_of(&request, &request.body) else {
            return self.respond(core, tx, &request, 415);
        };
        if let Some(min) = too_brief(&request, core.config.session_timer) {
            let mut response = core.response(&request, 422, &self.tag());
            response.headers.push(min);
            core.transmits.push_back(Transmit::Response { tx, response });
            return;
        }
        if update && sdp.is_none() {
            return self.refreshed(core, tx, &request, now);
        }
        let settled = self.dialog_for(&request).is_some_and(|dialog| dialog.agreed.settled);
        let too_soon = matches!(self.phase, Phase::Ringing(_)) && !(update && settled);
        if self.theirs.is_some() || too_soon {
            // 14.2, and RFC 3311 5.2: theirs before is not answered yet.
            return retry_later(core, tx, &request, &self.tag());
        }
        // What it asks for or offers would be a second one beside ours, whose answer comes in the ACK (RFC
        // 3264 4): as pending as an INVITE of ours (14.2, RFC 5407 3.1.5).
        let our_offer_waits = self.awaited.iter().any(|awaited| awaited.holds_offer);
        let our_invite_flies = matches!(self.ours, Ours::Flying { .. })
            || self.ack_due()
            || (matches!(self.phase, Phase::Calling(_)) && !(update && settled));
        if our_invite_flies || our_offer_waits || self.ended {
            return self.respond(core, tx, &request, 491);
        }
        if !update && self.awaited.len() >= MAX_UNACKED {
            return retry_later(core, tx, &request, &self.tag());
        }
        if let Some(ours) = self.unchanged(&request, sdp.as_deref()) {
            return self.repeat_answer(core, tx, &request, &ours, now);
        }
        self.withdrawn = false;
        self.theirs = Some(Theirs { tx, offer: sdp.clone(), request, until: now + GUARD });
        self.emit(core, Event::Reinvited { session: self.id, sdp });
    }

    /// UPDATE without an offer: a new Contact, the session timer, and no more.
    fn refreshed(&mut self, core: &mut Core, tx: ServerTx, request: &Request, now: Instant) {
        if let Some(dialog) = self.dialog_for(request) {
            dialog.refresh_target(request);
        }
        let mut response = self.ok(core, request);
        if matches!(self.phase, Phase::Up) {
            response.headers.extend(self.timer.grant(request, core.config.session_timer, now));
        }
        core.transmits.push_back(Transmit::Response { tx, response });
    }

    /// Our SDP in force, when theirs is the one in force, letter by letter. By `o=` alone it could not
    /// be told: servers that stand between edit the media of a telephone's SDP and leave its `o=` be.
    fn unchanged(&mut self, request: &Request, theirs: Option<&str>) -> Option<String> {
        let dialog = self.dialog_for(request)?;
        let same = theirs.is_some() && dialog.agreed.remote.as_deref() == theirs;
        if same { dialog.agreed.local.clone() } else { None }
    }

    /// A refresh with an unchanged SDP changes nothing: the answer is what it was, and the application
    /// has no part in it.
    fn repeat_answer(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        request: &Request,
        ours: &str,
        now: Instant,
    ) {
        if let Some(dialog) = self.dialog_for(request) {
            dialog.refresh_target(request);
        }
        self.send_ok(core, tx, request, ours, false, now);
        if request.method == Method::Invite
            && let Some(awaited) = self.awaited.last_mut()
        {
            awaited.quiet = true;
        }
    }

    /// [`super::Command::AcceptReinvite`].
    pub(crate) fn accept_offer(&mut self, core: &mut Core, sdp: &str, now: Instant) {
        let Some(theirs) = self.theirs.take() else {
            // They have asked for an offer and taken that back; what it would have said, that the agent holds no
            // more, is news to them still.
            if std::mem::take(&mut self.withdrawn) {
                self.offer(core, Some(sdp.to_owned()), now);
            }
            return;
        };
        let holds_offer = theirs.offer.is_none();
        if let Some(dialog) = self.dialog_for(&theirs.request) {
            dialog.refresh_target(&theirs.request);
            if let Some(offer) = theirs.offer {
                dialog.agreed.settle(Some(sdp.to_owned()), Some(offer));
            }
        }
        self.send_ok(core, theirs.tx, &theirs.request, sdp, holds_offer, now);
        self.try_next_offer(core);
    }

    /// [`super::Command::RejectReinvite`].
    pub(crate) fn reject_offer(&mut self, core: &mut Core, code: u16) {
        self.answer_theirs(core, if (400..700).contains(&code) { code } else { 488 });
        self.try_next_offer(core);
    }

    /// The application never answered: the dialog is not to hang for that.
    pub(crate) fn give_theirs_up(&mut self, core: &mut Core, now: Instant) {
        if self.theirs.as_ref().is_some_and(|theirs| theirs.until <= now) {
            tracing::warn!(session = self.id.0, "an offer of the peer's was never answered: 500");
            self.withdraw_theirs(core, 500);
            self.try_next_offer(core);
        }
    }

    /// CANCEL of a re-INVITE that waits: it alone is over.
    pub(crate) fn cancel_theirs(&mut self, core: &mut Core, cancel: &Request) -> bool {
        let branch = |request| message::top_via(request).and_then(message::branch);
        let hit = self.theirs.as_ref().is_some_and(|theirs| {
            theirs.request.method == Method::Invite && branch(&theirs.request) == branch(cancel)
        });
        if hit {
            self.withdraw_theirs(core, 487);
            self.try_next_offer(core);
        }
        hit
    }

    fn withdraw_theirs(&mut self, core: &mut Core, code: u16) {
        self.withdrawn = self.theirs.as_ref().is_some_and(|theirs| theirs.offer.is_none());
        self.answer_theirs(core, code);
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

/// Option tags a request requires and we lack.
pub(crate) fn unsupported(core: &Core, request: &Request) -> Option<String> {
    let missing: Vec<&str> = message::get_list(request, "Require")
        .into_iter()
        .filter(|tag| !core.supports(tag))
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// 420 with the list (RFC 3261 8.2.2.3).
pub(crate) fn refuse_extensions(core: &mut Core, tx: ServerTx, request: &Request, tag: &str) {
    let mut response = core.response(request, 420, tag);
    let missing = unsupported(core, request).unwrap_or_default();
    response.headers.push(message::header("Unsupported", missing));
    core.transmits.push_back(Transmit::Response { tx, response });
}
