//! One INVITE session: what callers and callees share.

use super::hop::Hop;
use std::collections::VecDeque;
use std::time::Instant;

use rsipstack::sip::{Method, Request, Response};

use super::acks::{AwaitedAck, SentAck};
use super::core::{AuthState, Core, Pending, Purpose, renew};
use super::dialog::Dialog;
use super::flood::Allowance;
use super::message::{self, header, reason_header, reason_of};
use super::offers::{Offer, Ours, Theirs};
use super::port::{ClientTx, ServerTx, Transmit, TxFailure};
use super::refer::Sent;
use super::reliable::Reliably;
use super::session_timer::Timer;
use super::timers::{T1, T1X64};
use super::types::{End, EndedBy, Event, Party, SessionId};
use super::uac::Outgoing;
use super::uas::IncomingInvite;

/// Where a session stands.
pub(crate) enum Phase {
    /// Our INVITE is out.
    Calling(Box<Outgoing>),
    /// Their INVITE waits for our final answer.
    Ringing(Box<IncomingInvite>),
    /// A 2xx was sent or received.
    Up,
    /// Nothing more to say; kept to answer what comes late.
    Over,
}

pub(crate) struct Session {
    pub id: SessionId,
    pub phase: Phase,
    /// The confirmed dialog, or the one our answers to an INVITE open.
    pub dialog: Option<Dialog>,
    /// We chose the Call-ID: decides the pause after a glare.
    pub owns_call_id: bool,
    pub ended: bool,
    pub reap_at: Option<Instant>,
    pub awaited: Vec<AwaitedAck>,
    pub acks: Vec<SentAck>,
    pub ours: Ours,
    pub theirs: Option<Theirs>,
    /// They asked for an offer, and took that back before the application had one.
    pub withdrawn: bool,
    pub offers: VecDeque<Offer>,
    /// Tries of an offer that could not be sent, and until when they go on: the application is to say it again.
    pub unsent: Option<(u32, Instant)>,
    /// Via branch of the INVITE that came in: CANCEL has the same.
    pub invite_branch: Option<String>,
    /// Its number.
    pub invite_number: Option<u32>,
    /// The challenges this session's requests have answered: the next one answers them unasked, with
    /// the counts rising.
    pub auth: AuthState,
    pub timer: Timer,
    /// Our provisional answers, where they are to be acknowledged.
    pub reliably: Option<Reliably>,
    /// Early dialogs of a call out that another one was answered in.
    pub forks: Vec<Dialog>,
    /// Whom it is with, as far as the application knows.
    pub party: Option<Party>,
    /// Our REFERs.
    pub referred: Sent,
    /// The peer has sent one.
    pub was_referred: bool,
    /// For INFO and sipfrags.
    pub allowance: Allowance,
    bye_due: Option<ByeDue>,
    /// A BYE went out once more.
    pub bye_again: bool,
}

/// A BYE that waits for the ACK of our 2xx, as RFC 3261 15 wants.
struct ByeDue {
    code: u16,
    text: String,
    /// Not for longer than this where the 2xx held an offer: such an ACK is withheld on purpose until
    /// some far end answers (third-party call control), and an agent who hangs up meanwhile would
    /// leave that far end ringing. The RFC's reason, a BYE that overtakes the 2xx, is met by then.
    at: Option<Instant>,
}

impl Session {
    pub(crate) fn new(id: SessionId, phase: Phase, dialog: Option<Dialog>, owns: bool) -> Self {
        Self {
            id,
            phase,
            dialog,
            owns_call_id: owns,
            ended: false,
            reap_at: None,
            awaited: Vec::new(),
            acks: Vec::new(),
            ours: Ours::Idle,
            theirs: None,
            withdrawn: false,
            offers: VecDeque::new(),
            unsent: None,
            invite_branch: None,
            invite_number: None,
            auth: AuthState::default(),
            timer: Timer::default(),
            reliably: None,
            forks: Vec::new(),
            party: None,
            referred: Sent::default(),
            was_referred: false,
            allowance: Allowance::default(),
            bye_due: None,
            bye_again: false,
        }
    }

    pub(crate) fn emit(&self, core: &mut Core, event: Event) {
        if !self.ended {
            core.events.push_back(event);
        }
    }

    /// Tells the application, once.
    pub(crate) fn tell_end(
        &mut self,
        core: &mut Core,
        by: EndedBy,
        code: u16,
        text: impl Into<String>,
        reason_header: Option<String>,
    ) {
        if !self.ended {
            for (code, text) in self.referred.give_up() {
                self.transferring(core, code, text, true);
            }
            self.ended = true;
            let end = End { by, code, text: text.into(), reason_header };
            core.events.push_back(Event::Ended { session: self.id, end });
        }
    }

    /// Stops everything but the answering of late messages.
    pub(crate) fn over(&mut self, core: &mut Core, now: Instant) {
        self.answer_theirs(core, 487);
        if self.ack_due() {
            // A 2xx is ACKed come what may (13.2.2.4).
            self.send_due_ack(core, None, now);
        }
        self.phase = Phase::Over;
        self.awaited.clear();
        self.offers.clear();
        self.ours = Ours::Idle;
        self.bye_due = None;
        self.timer.stop();
        if let Some(reliably) = &mut self.reliably {
            reliably.stop();
        }
        self.reap_at.get_or_insert(now + T1X64);
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    pub(crate) fn is_calling_or_ringing(&self) -> bool {
        matches!(self.phase, Phase::Calling(_) | Phase::Ringing(_))
    }

    /// Whether an in-dialog request is for this session.
    pub(crate) fn holds(&self, request: &Request) -> bool {
        if let Phase::Calling(outgoing) = &self.phase
            && outgoing.early.iter().any(|dialog| dialog.holds(request))
        {
            return true;
        }
        self.dialog.as_ref().is_some_and(|dialog| dialog.holds(request))
    }

    pub(crate) fn dialog_for(&mut self, request: &Request) -> Option<&mut Dialog> {
        if let Phase::Calling(outgoing) = &mut self.phase {
            return outgoing.early.iter_mut().find(|dialog| dialog.holds(request));
        }
        self.dialog.as_mut()
    }

    pub(crate) fn call_id(&self) -> Option<&str> {
        let dialog = match (&self.dialog, &self.phase) {
            (None, Phase::Calling(outgoing)) => Some(&outgoing.template),
            (dialog, _) => dialog.as_ref(),
        };
        dialog.map(|dialog| dialog.call_id.as_str())
    }

    pub(crate) fn tag(&self) -> String {
        match (&self.dialog, &self.phase) {
            (Some(dialog), _) => dialog.local_tag.clone(),
            (None, Phase::Calling(outgoing)) => outgoing.template.local_tag.clone(),
            _ => String::new(),
        }
    }

    /// Sends a request of this session's in a transaction of its own, with the credentials that were
    /// asked for before (RFC 3261 22.3, RFC 7616 3.6).
    pub(crate) fn dispatch(
        &mut self,
        core: &mut Core,
        purpose: Purpose,
        request: Request,
        to: Hop,
    ) -> ClientTx {
        let auth = self.auth.carry_over();
        self.dispatch_with(core, purpose, request, to, auth)
    }

    /// The same with the answer to a challenge that has just come.
    pub(crate) fn dispatch_with(
        &mut self,
        core: &mut Core,
        purpose: Purpose,
        request: Request,
        to: Hop,
        auth: AuthState,
    ) -> ClientTx {
        let tx = core.send(purpose, request, to, auth);
        if let Some(sent) = core.as_sent(tx) {
            self.auth = sent.auth.clone();
        }
        tx
    }

    pub(crate) fn respond(&self, core: &mut Core, tx: ServerTx, request: &Request, code: u16) {
        let response = core.response(request, code, &self.tag());
        core.transmits.push_back(Transmit::Response { tx, response });
    }

    /// 200 to INVITE or UPDATE, with our Contact in this dialog.
    pub(crate) fn ok(&self, core: &Core, request: &Request) -> Response {
        let mut response = core.response(request, 200, &self.tag());
        let dialog = match &self.phase {
            Phase::Calling(outgoing) => Some(&outgoing.template),
            _ => self.dialog.as_ref(),
        };
        if let Some(dialog) = dialog {
            response.headers.retain(|h| h.name() != "Contact");
            response.headers.push(header("Contact", dialog.contact(core)));
        }
        response
    }

    // In-dialog requests.

    pub(crate) fn handle_request(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        request: Request,
        from: Hop,
        now: Instant,
    ) {
        if request.method == Method::PRack && (self.is_over() || self.in_order(&request)) {
            // For an answer sent before the final one, it comes when it comes (RFC 3262 3).
            return self.handle_prack(core, tx, &request, now);
        }
        if self.is_over() {
            // 15.1.2 for a BYE that crossed ours; nothing else makes sense any more.
            let late = request.method == Method::Bye || self.is_late_sipfrag(&request);
            let code = if late { 200 } else { 481 };
            return self.respond(core, tx, &request, code);
        }
        if !self.in_order(&request) {
            return self.respond(core, tx, &request, 500);
        }
        if let Some(dialog) = self.dialog_for(&request) {
            dialog.peer = from;
        }
        match request.method {
            Method::Bye => self.handle_bye(core, tx, &request, now),
            Method::Notify => self.handle_notify(core, tx, &request, now),
            Method::Info => self.handle_info(core, tx, &request, now),
            Method::Refer => self.handle_refer(core, tx, request, now),
            Method::Options => self.respond(core, tx, &request, 200),
            Method::Invite | Method::Update => {
                self.identify_request(core, &request);
                self.handle_offer(core, tx, request, now);
            }
            Method::Subscribe => self.respond(core, tx, &request, 489),
            _ => self.respond(core, tx, &request, 405),
        }
    }

    /// Takes the CSeq number; false for one older than the last (RFC 3261 12.2.2).
    fn in_order(&mut self, request: &Request) -> bool {
        let Some((number, _)) = message::cseq(request) else { return false };
        let Some(dialog) = self.dialog_for(request) else { return true };
        if dialog.remote_cseq.is_some_and(|last| number < last) {
            return false;
        }
        dialog.remote_cseq = Some(number);
        true
    }

    fn handle_bye(&mut self, core: &mut Core, tx: ServerTx, request: &Request, now: Instant) {
        self.respond(core, tx, request, 200);
        if let Phase::Calling(_) = &self.phase {
            // One early dialog hung up; the INVITE itself goes on to its final answer (15).
            return;
        }
        if let Phase::Ringing(invite) = &self.phase {
            let response = core.response(&invite.request, 487, &self.tag());
            core.transmits.push_back(Transmit::Response { tx: invite.tx, response });
        }
        self.tell_end(core, EndedBy::Peer, 200, "OK", reason_of(request));
        self.over(core, now);
    }

    // Hanging up.

    /// [`super::Command::End`].
    pub(crate) fn end(&mut self, core: &mut Core, code: u16, text: &str, now: Instant) {
        if self.ended {
            return;
        }
        let tag = self.tag();
        match &mut self.phase {
            Phase::Calling(outgoing) => {
                outgoing.cancel(core, code, text);
                self.tell_end(core, EndedBy::Us, 487, text, None);
            }
            Phase::Ringing(invite) => {
                let code = if (300..700).contains(&code) { code } else { 480 };
                let tx = invite.tx;
                let mut response = core.response(&invite.request, code, &tag);
                response.headers.extend(reason_header(code, text));
                core.transmits.push_back(Transmit::Response { tx, response });
                self.tell_end(core, EndedBy::Us, code, text, None);
                self.over(core, now);
            }
            Phase::Up => {
                self.hang_up(core, code, text, now);
                let text = if text.is_empty() { "OK" } else { text };
                self.tell_end(core, EndedBy::Us, 200, text, None);
            }
            Phase::Over => {}
        }
    }

    /// BYE as soon as the protocol lets us: at once, or after the ACK of our first 2xx.
    pub(crate) fn hang_up(&mut self, core: &mut Core, code: u16, text: &str, now: Instant) {
        if self.ack_due() {
            self.send_due_ack(core, None, now);
        }
        let first_sent = self.awaited.iter().map(|awaited| awaited.sent).max();
        let withheld = self.awaited.iter().all(|awaited| awaited.holds_offer);
        let at = first_sent.filter(|_| withheld).map(|sent| sent + T1);
        if first_sent.is_none() || at.is_some_and(|at| at <= now) {
            self.send_bye(core, code, text, now);
        } else {
            self.offers.clear();
            self.bye_due = Some(ByeDue { code, text: text.to_owned(), at });
        }
    }

    /// The BYE that waited, if one did.
    pub(crate) fn send_due_bye(&mut self, core: &mut Core, now: Instant) -> bool {
        let due = self.bye_due.take();
        if let Some(due) = &due {
            self.send_bye(core, due.code, &due.text, now);
        }
        due.is_some()
    }

    pub(crate) fn send_bye(&mut self, core: &mut Core, code: u16, text: &str, now: Instant) {
        if let Some(mut dialog) = self.dialog.take() {
            self.bye(core, &mut dialog, code, text);
            self.dialog = Some(dialog);
        }
        self.over(core, now);
    }

    /// BYE in a dialog of this session's.
    pub(crate) fn bye(&mut self, core: &mut Core, dialog: &mut Dialog, code: u16, text: &str) {
        let cseq = dialog.next_cseq();
        let (mut request, to) = dialog.request(core, Method::Bye, cseq);
        request.headers.extend(reason_header(code, text));
        self.dispatch(core, Purpose::Bye(self.id), request, to);
    }

    /// A request in the confirmed dialog, or in the early one heard of last; false when there is none.
    pub(crate) fn request_in_dialog(
        &mut self,
        core: &mut Core,
        purpose: Purpose,
        method: Method,
        fill: impl FnOnce(&mut Request),
    ) -> bool {
        let dialog = match &mut self.phase {
            Phase::Calling(outgoing) => outgoing.early.last_mut(),
            _ => self.dialog.as_mut(),
        };
        let (Some(dialog), false) = (dialog, self.ended) else { return false };
        let cseq = dialog.next_cseq();
        let (mut request, to) = dialog.request(core, method, cseq);
        fill(&mut request);
        self.dispatch(core, purpose, request, to);
        true
    }

    pub(crate) fn send_again(
        &mut self,
        core: &mut Core,
        pending: Pending,
        auth: AuthState,
    ) -> ClientTx {
        let mut request = pending.request;
        let (cseq, place) = match self.dialog_of_ours(&request) {
            Some(dialog) => (dialog.next_cseq(), dialog.place(core)),
            // Of a fork that is gone.
            None => (message::cseq(&request).map_or(1, |(number, _)| number + 1), core.place()),
        };
        renew(core, place, &mut request, cseq);
        self.dispatch_with(core, pending.purpose, request, pending.to, auth)
    }

    /// The dialog a request of ours belongs to.
    pub(crate) fn dialog_of_ours(&mut self, request: &Request) -> Option<&mut Dialog> {
        self.dialog_with(message::tag_of(request, "To"))
    }

    pub(crate) fn dialog_with(&mut self, remote_tag: Option<&str>) -> Option<&mut Dialog> {
        let is_it = |dialog: &&mut Dialog| dialog.remote_tag.as_deref() == remote_tag;
        match &mut self.phase {
            Phase::Calling(outgoing) => outgoing.early.iter_mut().find(is_it),
            _ => self.dialog.as_mut().filter(is_it),
        }
    }

    pub(crate) fn lost(&mut self, core: &mut Core, why: TxFailure, now: Instant) {
        let (code, text) = match why {
            TxFailure::Timeout => (408, "Request Timeout"),
            TxFailure::Transport => (503, "Service Unavailable"),
        };
        self.tell_end(core, EndedBy::Network, code, text, None);
        if matches!(self.phase, Phase::Up) {
            self.hang_up(core, code, text, now);
        } else {
            self.over(core, now);
        }
    }

    // Time.

    pub(crate) fn timeout(&self) -> Option<Instant> {
        let awaited = self.awaited.iter().map(AwaitedAck::timeout);
        let glare = match &self.ours {
            Ours::Waiting { until, .. } => Some(*until),
            _ => None,
        };
        let bye = self.bye_due.as_ref().and_then(|due| due.at);
        let ringing = match &self.phase {
            Phase::Ringing(invite) => invite.next_progress(),
            _ => None,
        };
        let reliable = self.reliably.as_ref().and_then(Reliably::timeout);
        let timer = self.timer.timeout().filter(|_| !self.ended && matches!(self.phase, Phase::Up));
        let guard = self.theirs.as_ref().map(Theirs::until);
        let ours = awaited.chain(glare).chain(bye).chain(ringing).chain(self.reap_at);
        ours.chain(reliable).chain(timer).chain(guard).chain(self.referred.timeout()).min()
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.awaited.iter().any(|awaited| awaited.is_overdue(now)) {
            self.tell_end(core, EndedBy::Network, 408, "no ACK", None);
            if !self.send_due_bye(core, now) {
                self.send_bye(core, 408, "no ACK", now);
            }
        }
        if self.bye_due.as_ref().is_some_and(|due| due.at.is_some_and(|at| at <= now)) {
            self.send_due_bye(core, now);
        }
        self.repeat_oks(core, now);
        self.check_refer(core, now);
        self.check_reliably(core, now);
        self.check_timer(core, now);
        self.give_theirs_up(core, now);
        self.end_pause(core, now);
        self.repeat_progress(core, now);
    }
}

/// The answer to a request too early to be dealt with: try again in a moment (RFC 3261 14.2).
pub(crate) fn retry_later(core: &mut Core, tx: ServerTx, request: &Request, tag: &str) {
    let mut response = core.response(request, 500, tag);
    let seconds = core.between(1, 3);
    response.headers.push(header("Retry-After", seconds.to_string()));
    core.transmits.push_back(Transmit::Response { tx, response });
}
