//! A call in (RFC 3261 9.2, 13.3).

use super::hop::Hop;
use std::time::{Duration, Instant};

use rsipstack::sip::{Request, Response, Uri};

use super::core::Core;
use super::dialog::Dialog;
use super::identity::{display, identity, number, printable};
use super::message::{self, get, reason_of, sdp_of, set_sdp, unescape};
use super::port::{ServerTx, Transmit};
use super::reliable::Reliably;
use super::session::{Phase, Session};
use super::session_timer::too_brief;
use super::types::{EndedBy, Event, HeaderPair, Invited, Party, SessionId};

/// Application headers of one INVITE that are handed on.
const MAX_HEADERS: usize = 32;

/// A provisional answer comes again this often, or proxies take the callee for dead (13.3.1.1).
const PROGRESS: Duration = Duration::from_secs(60);

/// Their INVITE before our final answer.
pub(crate) struct IncomingInvite {
    pub tx: ServerTx,
    pub request: Request,
    pub offer: Option<String>,
    /// The last provisional answer, and when it is due again.
    progress: Option<(Response, Instant)>,
}

impl IncomingInvite {
    pub(crate) fn next_progress(&self) -> Option<Instant> {
        self.progress.as_ref().map(|(_, at)| *at)
    }
}

/// Takes an INVITE outside of any dialog: a session and its event, or an answer that refuses it.
pub(crate) fn invited(
    core: &mut Core,
    id: SessionId,
    tx: ServerTx,
    request: Request,
    from: Hop,
    replaces: Option<SessionId>,
) -> Option<Session> {
    let refuse = |core: &mut Core, code| {
        let tag = core.token();
        let response = core.response(&request, code, &tag);
        core.transmits.push_back(Transmit::Response { tx, response });
        None
    };
    if !message::accepts_sdp(&request) {
        return refuse(core, 406);
    }
    let Ok(sdp) = sdp_of(&request, &request.body) else { return refuse(core, 415) };
    if let Some(min) = too_brief(&request, core.config.session_timer) {
        let tag = core.token();
        let mut response = core.response(&request, 422, &tag);
        response.headers.push(min);
        core.transmits.push_back(Transmit::Response { tx, response });
        return None;
    }
    let Some(dialog) = Dialog::callee(core, &request, from) else { return refuse(core, 400) };
    let trying = core.response(&request, 100, &dialog.local_tag);
    core.transmits.push_back(Transmit::Response { tx, response: trying });
    let invite = Box::new(Invited { replaces, ..describe(&request, &dialog, sdp.clone()) });
    let known = invite.identity.asserted.clone();
    let party = known.or_else(|| dialog.remote_party().and_then(Party::of));
    let reliably = Reliably::wanted(core, &request);
    let incoming = IncomingInvite { tx, offer: sdp, request, progress: None };
    let branch = message::top_via(&incoming.request).and_then(message::branch).map(str::to_owned);
    let number = message::cseq(&incoming.request).map(|(number, _)| number);
    let mut session = Session::new(id, Phase::Ringing(Box::new(incoming)), Some(dialog), false);
    session.invite_branch = branch;
    session.invite_number = number;
    session.party = party;
    session.reliably = reliably;
    core.events.push_back(Event::Invited { session: id, invite });
    Some(session)
}

fn describe(request: &Request, dialog: &Dialog, sdp: Option<String>) -> Invited {
    let party = dialog.remote_party();
    let headers: Vec<HeaderPair> = request
        .headers
        .iter()
        .filter(|h| {
            let name = h.name().to_ascii_lowercase();
            name.starts_with("x-") || name == "user-to-user"
        })
        .take(MAX_HEADERS)
        .map(|h| (h.name().to_owned(), h.value().to_owned()))
        .collect();
    Invited {
        from: party.as_ref().map(|party| number(&party.uri)).unwrap_or_default(),
        display_name: party.and_then(|party| display(party.display)),
        to: user_of(&request.uri),
        sdp,
        call_id: dialog.call_id.clone(),
        call_uuid: get(request, "X-Genesys-CallUUID").map(str::to_owned),
        headers,
        identity: identity(request),
        replaces: None,
        referred_by: get(request, "Referred-By").map(printable),
    }
}

/// The user part of a URI, `%xx` resolved; empty without one.
pub(crate) fn user_of(uri: &Uri) -> String {
    match (&uri.scheme, uri.user()) {
        (_, Some(user)) => unescape(user),
        // `tel:1234`: the number stands where a host would.
        (Some(rsipstack::sip::Scheme::Other(scheme)), None)
            if scheme.eq_ignore_ascii_case("tel") =>
        {
            uri.host_with_port.host.to_string()
        }
        _ => String::new(),
    }
}

impl Session {
    /// [`super::Command::Progress`].
    pub(crate) fn progress(
        &mut self,
        core: &mut Core,
        code: u16,
        sdp: Option<String>,
        now: Instant,
    ) {
        if !(101..200).contains(&code) {
            return;
        }
        if self.reliably.is_some() {
            return self.progress_reliably(core, code, sdp, now);
        }
        let tag = self.tag();
        let Phase::Ringing(invite) = &mut self.phase else { return };
        let mut response = core.response(&invite.request, code, &tag);
        set_sdp(&mut response.headers, &mut response.body, sdp.as_deref());
        invite.progress = Some((response.clone(), now + PROGRESS));
        core.transmits.push_back(Transmit::Response { tx: invite.tx, response });
    }

    pub(crate) fn repeat_progress(&mut self, core: &mut Core, now: Instant) {
        let Phase::Ringing(invite) = &mut self.phase else { return };
        let tx = invite.tx;
        if let Some((response, at)) = invite.progress.as_mut().filter(|(_, at)| *at <= now) {
            *at = now + PROGRESS;
            core.transmits.push_back(Transmit::Response { tx, response: response.clone() });
        }
    }

    /// [`super::Command::Accept`].
    pub(crate) fn accept(&mut self, core: &mut Core, sdp: &str, now: Instant) {
        if !matches!(self.phase, Phase::Ringing(_)) {
            return;
        }
        // After an answer in a reliable 1xx this one could only repeat it (RFC 3261 13.2.1).
        let sdp = match &mut self.reliably {
            Some(reliably) => match reliably.accept(sdp) {
                Some(sdp) => sdp,
                None => return,
            },
            None => sdp.to_owned(),
        };
        let Phase::Ringing(invite) = std::mem::replace(&mut self.phase, Phase::Up) else { return };
        let holds_offer = invite.offer.is_none();
        if let Some(dialog) = self.dialog.as_mut().filter(|dialog| !dialog.agreed.settled) {
            // An offer of ours is agreed on by the ACK only.
            dialog.agreed.local = Some(sdp.clone());
            if let Some(offer) = invite.offer {
                dialog.agreed.settle(Some(sdp.clone()), Some(offer));
            }
        }
        self.send_ok(core, invite.tx, &invite.request, &sdp, holds_offer, now);
    }

    /// CANCEL for an INVITE of this session (RFC 3261 9.2); false when it means none of them.
    pub(crate) fn handle_cancel(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        cancel: &Request,
        now: Instant,
    ) -> bool {
        let branch = message::top_via(cancel).and_then(message::branch);
        if self.opened_by(cancel) && self.invite_branch.as_deref() == branch {
            self.respond(core, tx, cancel, 200);
            // After a final answer it has no effect.
            if let Phase::Ringing(invite) = &self.phase {
                let response = core.response(&invite.request, 487, &self.tag());
                core.transmits.push_back(Transmit::Response { tx: invite.tx, response });
                let reason = reason_of(cancel);
                self.tell_end(core, EndedBy::Peer, 487, "Request Terminated", reason);
                self.over(core, now);
            }
            return true;
        }
        let hit = self.cancel_theirs(core, cancel);
        if hit {
            self.respond(core, tx, cancel, 200);
        }
        hit
    }

    /// The same INVITE by another way (RFC 3261 8.2.2.2). With another number it is another try, as after
    /// a refusal.
    pub(crate) fn is_merged(&self, invite: &Request) -> bool {
        let number = message::cseq(invite).map(|(number, _)| number);
        self.opened_by(invite) && number == self.invite_number
    }

    /// Of the Call-ID and the sender of the INVITE that opened this session.
    fn opened_by(&self, invite: &Request) -> bool {
        !self.owns_call_id
            && self.dialog.as_ref().is_some_and(|dialog| {
                message::call_id(invite) == Some(dialog.call_id.as_str())
                    && message::tag_of(invite, "From") == dialog.remote_tag.as_deref()
            })
    }
}
