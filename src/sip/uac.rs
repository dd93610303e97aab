//! A call out (RFC 3261 9.1, 13.2).

use super::hop::{Hop, Transport};
use std::time::Instant;

use rsipstack::sip::{HasHeaders as _, Method, Request, Response, Uri};

use super::core::{AuthState, Core, Pending, Purpose, renew};
use super::dialog::Dialog;
use super::extra;
use super::message::{
    self, header, parse_uri, reason_header, reason_of, sdp_of, set_body, set_sdp,
};
use super::next_server::Servers;
use super::port::{ClientTx, Transmit, TxFailure};
use super::redirect::Targets;
use super::session::{Phase, Session};
use super::session_timer::Timer;
use super::types::{EndedBy, Event, HeaderPair, Party, SessionId};

/// Branches a forking proxy may show us. Hunt groups ring a dozen phones at once.
const MAX_EARLY: usize = 16;
/// Times one INVITE is changed to a peer's taste (420, 422). Two proxies on the way may each want theirs.
const MAX_TRIES: u8 = 4;

enum Cancel {
    No,
    /// Waits for a provisional answer (RFC 3261 9.1), or for the final one.
    Wanted,
    Sent,
}

/// Our INVITE before its final answer.
pub(crate) struct Outgoing {
    tx: ClientTx,
    invite: Request,
    pub servers: Servers,
    pub template: Dialog,
    pub early: Vec<Dialog>,
    /// Early dialogs of the tries before this one: their numbers are taken.
    early_before: u32,
    targets: Targets,
    /// Refusals of an extension or a timer that were met with less.
    tries: u8,
    pub provisional: bool,
    cancel: Cancel,
    /// Code and text for Reason of CANCEL, or of the BYE where a 2xx crosses it.
    why: (u16, String),
}

/// A request target: `1003`, `1003@host`, or a whole URI.
pub(crate) fn target(to: &str, domain: &str) -> Option<Uri> {
    let to = to.trim();
    let scheme = to.split_once(':').is_some_and(|(scheme, _)| {
        ["sip", "sips", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    });
    let text = if scheme {
        to.to_owned()
    } else if to.contains('@') {
        format!("sip:{to}")
    } else {
        format!("sip:{to}@{domain}")
    };
    let bad = to.is_empty()
        || text.chars().any(|c| c.is_control() || c.is_whitespace() || "<>\"".contains(c));
    if bad { None } else { parse_uri(&text) }
}

/// Starts a call: the session, or None (with its end told) when the number cannot be dialled.
pub(crate) fn invite(
    core: &mut Core,
    id: SessionId,
    to: &str,
    sdp: Option<String>,
    headers: &[HeaderPair],
    now: Instant,
) -> Option<Session> {
    let Some(uri) = target(to, &core.config.domain) else {
        let end = super::types::End {
            by: EndedBy::Us,
            code: 484,
            text: "the number cannot be dialled".to_owned(),
            reason_header: None,
        };
        core.events.push_back(Event::Ended { session: id, end });
        return None;
    };
    let servers = Servers::first(core, now);
    let server = servers.at.server;
    let call_id = core.new_call_id();
    let remote = format!("<{uri}>");
    let targets = Targets::new(&uri);
    let mut template = Dialog::caller(core, call_id, &remote, uri, server);
    if servers.at != core.place() {
        template.go_by(servers.at);
    }
    let cseq = template.next_cseq();
    let (mut invite, _) = template.request(core, Method::Invite, cseq);
    extra::add(&mut invite, &core.config.headers);
    extra::add(&mut invite, headers);
    if sdp.is_none() {
        // Else the peer's offer might come in a reliable 1xx, and want its answer in the PRACK.
        let supported = header("Supported", core.supported(&[message::RELIABLE]));
        invite.headers.retain(|h| h.name() != "Supported");
        invite.headers.push(supported);
    }
    let timer = Timer::default();
    timer.ask(core.config.session_timer, true, &mut invite.headers);
    set_sdp(&mut invite.headers, &mut invite.body, sdp.as_deref());
    let tx = core.send(Purpose::Invite(id), invite.clone(), server, AuthState::default());
    let outgoing = Outgoing {
        tx,
        invite,
        servers,
        template,
        early: Vec::new(),
        early_before: 0,
        targets,
        tries: 0,
        provisional: false,
        cancel: Cancel::No,
        why: (0, String::new()),
    };
    let mut session = Session::new(id, Phase::Calling(Box::new(outgoing)), None, true);
    session.party = Party::read(&remote);
    Some(session)
}

impl Outgoing {
    /// CANCEL now, or when the INVITE has had a provisional answer.
    pub(crate) fn cancel(&mut self, core: &mut Core, code: u16, text: &str) {
        self.why = (code, text.to_owned());
        self.cancel = Cancel::Wanted;
        if self.provisional {
            self.send_cancel(core);
        }
    }

    /// RFC 3261 9.1: everything but the method as in the INVITE.
    fn send_cancel(&mut self, core: &mut Core) {
        let mut request = self.invite.clone();
        request.method = Method::Cancel;
        let kept = ["Via", "Max-Forwards", "From", "To", "Call-ID", "Route", "User-Agent"];
        request.headers.retain(|h| kept.contains(&h.name()));
        request.headers.push(header("CSeq", format!("{} CANCEL", self.cseq())));
        request.headers_mut().extend(reason_header(self.why.0, &self.why.1));
        set_body(&mut request.headers, &mut request.body, None);
        core.transmits.push_back(Transmit::Cancel {
            invite: self.tx,
            request,
            to: self.servers.at.server,
        });
        self.cancel = Cancel::Sent;
    }

    /// The early dialog of a provisional answer: 0 for answers without a tag, else from 1 on, and on
    /// over all the tries of the call.
    fn early(&mut self, response: &Response, from: Hop) -> u32 {
        let Some(tag) = message::tag_of(response, "To") else { return 0 };
        let known = self.early.iter().position(|d| d.remote_tag.as_deref() == Some(tag));
        let at = match known {
            Some(at) => at,
            None if self.early.len() < MAX_EARLY => {
                self.early.push(self.template.established(response, from));
                self.early.len() - 1
            }
            None => MAX_EARLY,
        };
        self.early_before + at as u32 + 1
    }

    pub(crate) fn cseq(&self) -> u32 {
        message::cseq(&self.invite).map_or(1, |(number, _)| number)
    }

    /// Our SDP in the INVITE, if it had one.
    pub(crate) fn offer(&self) -> Option<String> {
        sdp_of(&self.invite, &self.invite.body).ok().flatten()
    }
}

impl Session {
    /// A 1xx to our INVITE.
    pub(crate) fn handle_provisional(&mut self, core: &mut Core, response: &Response, from: Hop) {
        let Phase::Calling(outgoing) = &mut self.phase else { return };
        outgoing.provisional = true;
        if matches!(outgoing.cancel, Cancel::Wanted) {
            outgoing.send_cancel(core);
        }
        let code = response.status_code.code();
        if code == 100 {
            return;
        }
        let early = outgoing.early(response, from);
        let sdp = sdp_of(response, &response.body).ok().flatten();
        if !self.acknowledge_provisional(core, response, sdp.as_deref()) {
            return;
        }
        if let (Phase::Calling(outgoing), Some(sdp)) = (&mut self.phase, &sdp) {
            let tag = message::tag_of(response, "To");
            let dialog = outgoing.early.iter_mut().find(|d| d.remote_tag.as_deref() == tag);
            if let Some(dialog) = dialog.filter(|dialog| !dialog.agreed.settled) {
                dialog.agreed.remote = Some(sdp.clone());
            }
        }
        let text = message::status_text(response);
        self.emit(core, Event::Progressed { session: self.id, code, text, sdp, early });
        self.identify_answer(core, response);
        self.try_next_offer(core);
    }

    /// A final answer to our INVITE.
    pub(crate) fn handle_final(
        &mut self,
        core: &mut Core,
        pending: Pending,
        response: &Response,
        from: Hop,
        now: Instant,
    ) {
        let code = response.status_code.code();
        if (200..300).contains(&code) {
            return self.handle_ok(core, pending, response, from, now);
        }
        if !matches!(self.phase, Phase::Calling(_)) {
            return;
        }
        let pending = match self.ended {
            true => Some(pending),
            false => self.try_otherwise(core, pending, response, now),
        };
        if pending.is_some() {
            match self.stranger_refused(core, code) {
                Some(end) => self.tell_end(core, end.by, end.code, end.text, end.reason_header),
                None => {
                    let text = message::status_text(response);
                    self.tell_end(core, EndedBy::Peer, code, text, reason_of(response));
                }
            }
            self.over(core, now);
        }
    }

    /// What a refused INVITE may still try: with credentials, with less, elsewhere. None when it does.
    fn try_otherwise(
        &mut self,
        core: &mut Core,
        pending: Pending,
        response: &Response,
        now: Instant,
    ) -> Option<Pending> {
        let Phase::Calling(outgoing) = &mut self.phase else { return Some(pending) };
        let code = response.status_code.code();
        match code {
            401 | 407 => {
                if let Some(auth) = core.answer_challenge(&pending.auth, response) {
                    // Of the challenged attempt nothing remains (22.2, 13.2.2.3).
                    self.attempt(core, pending.request, auth);
                    return None;
                }
            }
            // RFC 4028 7.3.
            422 if outgoing.tries < MAX_TRIES && self.timer.raise(response) => {
                outgoing.tries += 1;
                let mut request = pending.request;
                self.timer.ask(core.config.session_timer, true, &mut request.headers);
                self.attempt(core, request, pending.auth.carry_over());
                return None;
            }
            // 8.1.3.5: once more without what the peer does not know.
            420 if outgoing.tries < MAX_TRIES => {
                let refused = message::get_list(response, "Unsupported");
                let ours = message::get_list(&pending.request, "Supported");
                let knows = |tag: &&str| !refused.iter().any(|r| r.eq_ignore_ascii_case(tag));
                let kept: Vec<&str> = ours.iter().copied().filter(knows).collect();
                if kept.len() < ours.len() {
                    outgoing.tries += 1;
                    let supported = header("Supported", kept.join(", "));
                    let timer = kept.contains(&"timer");
                    let mut request = pending.request.clone();
                    request.headers.retain(|h| h.name() != "Supported");
                    request.headers.push(supported);
                    if !timer {
                        self.timer.give_up();
                        self.timer.ask(core.config.session_timer, true, &mut request.headers);
                    }
                    self.attempt(core, request, pending.auth.carry_over());
                    return None;
                }
            }
            503 => {
                let pending = self.server_refused(core, pending, response, now)?;
                return self.try_next_target(core, pending);
            }
            // 305 and 380 ask for more than another target.
            300..=304 | 306..=379 | 381..=399 => {
                let secure = outgoing.servers.at.server.transport == Transport::Tls;
                outgoing.targets.redirected(response, secure);
            }
            _ => {}
        }
        // 16.7 step 6: who declines for everybody is taken at his word.
        if code >= 600 { Some(pending) } else { self.try_next_target(core, pending) }
    }

    /// The next target that a 3xx named. The pending INVITE comes back when there is none.
    fn try_next_target(&mut self, core: &mut Core, pending: Pending) -> Option<Pending> {
        let Phase::Calling(outgoing) = &mut self.phase else { return Some(pending) };
        let Some(target) = outgoing.targets.next() else { return Some(pending) };
        outgoing.template.set_target(target.clone());
        let mut request = pending.request;
        request.uri = target.clone();
        self.emit(core, Event::Redirected { session: self.id, to: target.to_string() });
        self.attempt(core, request, pending.auth.carry_over());
        None
    }

    /// The INVITE once more: same Call-ID, From and To, the next number (8.1.3.4, 22.2).
    pub(crate) fn attempt(&mut self, core: &mut Core, mut request: Request, auth: AuthState) {
        let Phase::Calling(outgoing) = &mut self.phase else { return };
        let cseq = outgoing.template.next_cseq();
        let place = outgoing.template.place(core);
        renew(core, place, &mut request, cseq);
        request.headers.retain(|h| h.name() != "Contact");
        request.headers.push(header("Contact", core.contact_toward(place)));
        let to = outgoing.servers.at.server;
        let tx = self.dispatch_with(core, Purpose::Invite(self.id), request, to, auth);
        let Phase::Calling(outgoing) = &mut self.phase else { return };
        outgoing.tx = tx;
        if let Some(sent) = core.as_sent(tx) {
            // With the credentials of this attempt, for the ACK and CANCEL to be built from.
            outgoing.invite = sent.request.clone();
        }
        outgoing.early_before += outgoing.early.len() as u32;
        outgoing.early.clear();
        outgoing.provisional = false;
        self.keep_offer_for(core, None);
    }

    fn handle_ok(
        &mut self,
        core: &mut Core,
        pending: Pending,
        response: &Response,
        from: Hop,
        now: Instant,
    ) {
        if self.repeated_ok(core, response) {
            return;
        }
        let cseq = message::cseq(&pending.request).map_or(1, |(number, _)| number);
        let sdp = sdp_of(response, &response.body).ok().flatten();
        match std::mem::replace(&mut self.phase, Phase::Up) {
            Phase::Calling(outgoing) => {
                let ours = outgoing.offer();
                let mut outgoing = *outgoing;
                let mut dialog = outgoing.template.established(response, from);
                let early =
                    outgoing.early.iter().position(|early| early.remote_tag == dialog.remote_tag);
                if let Some(at) = early {
                    dialog.continue_from(outgoing.early.remove(at));
                }
                self.forks = outgoing.early;
                dialog.local_cseq = dialog.local_cseq.max(cseq);
                let offer = sdp.clone().filter(|_| ours.is_none() && !self.ended);
                let sdp = match ours {
                    None => sdp,
                    // Settled by a reliable 1xx, or an UPDATE since: this can only repeat it (13.2.1).
                    Some(_) if dialog.agreed.settled => dialog.agreed.remote.clone(),
                    // Gateways there are that leave out of the 2xx what they said in a 183.
                    Some(ours) => {
                        let answer = sdp.or(dialog.agreed.remote.take());
                        dialog.agreed.settle(Some(ours), answer.clone());
                        answer
                    }
                };
                self.acknowledge(core, &dialog, pending.request, offer, now);
                self.timer.accepted(response, now);
                self.keep_offer_for(core, dialog.remote_tag.as_deref());
                self.dialog = Some(dialog);
                if self.ended {
                    // Our CANCEL came too late (9.1).
                    let (code, text) = outgoing.why;
                    self.send_bye(core, code, &text, now);
                } else {
                    self.emit(core, Event::Answered { session: self.id, sdp });
                    self.identify_answer(core, response);
                    self.try_next_offer(core);
                }
            }
            phase => {
                // Another branch of a forked call answered too: thanks, and goodbye (13.2.2.4).
                self.phase = phase;
                if self.acks.len() > MAX_EARLY {
                    core.faults.floods += 1;
                    return;
                }
                let Some(mut dialog) = self.dialog.as_ref().map(|d| d.established(response, from))
                else {
                    return;
                };
                let early = self.forks.iter().position(|f| f.remote_tag == dialog.remote_tag);
                let early = early.map_or(0, |at| self.forks.remove(at).local_cseq);
                dialog.local_cseq = early.max(cseq);
                self.acknowledge(core, &dialog, pending.request, None, now);
                self.bye(core, &mut dialog, 200, "");
            }
        }
    }

    /// Our INVITE got no final answer.
    pub(crate) fn handle_invite_failure(
        &mut self,
        core: &mut Core,
        pending: Pending,
        why: TxFailure,
        now: Instant,
    ) {
        if !matches!(self.phase, Phase::Calling(_)) {
            return;
        }
        let pending = match self.ended {
            true => Some(pending),
            false => self
                .server_failed(core, pending, why, now)
                .and_then(|pending| self.try_next_target(core, pending)),
        };
        if pending.is_some() {
            self.lost(core, why, now);
        }
    }
}
