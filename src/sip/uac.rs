//! A call out (RFC 3261 9.1, 13.2).

use super::hop::Hop;
use std::time::Instant;

use rsipstack::sip::{HasHeaders as _, Method, Request, Response, Uri};

use super::core::{AuthState, Core, Pending, Purpose, renew};
use super::dialog::Dialog;
use super::extra;
use super::message::{self, header, parse_uri, reason_header, reason_of, sdp_of, set_body};
use super::port::{ClientTx, Transmit, TxFailure};
use super::session::{Phase, Session};
use super::types::{EndedBy, Event, HeaderPair, SessionId};

/// Branches a forking proxy may show us. Hunt groups ring a dozen phones at once.
const MAX_EARLY: usize = 16;
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
    to: Hop,
    pub template: Dialog,
    pub early: Vec<Dialog>,
    provisional: bool,
    cancel: Cancel,
    /// Code and text for Reason of CANCEL, or of the BYE where a 2xx crosses it.
    why: (u16, String),
}

/// A request target: `1003`, `1003@host`, or a whole URI.
fn target(to: &str, domain: &str) -> Option<Uri> {
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
    let server = core.config.server;
    let call_id = core.new_call_id();
    let remote = format!("<{uri}>");
    let mut template = Dialog::caller(core, call_id, &remote, uri, server);
    let cseq = template.next_cseq();
    let (mut invite, _) = template.request(core, Method::Invite, cseq);
    extra::add(&mut invite, &core.config.headers);
    extra::add(&mut invite, headers);
    if let Some(sdp) = sdp {
        let content = (message::SDP_TYPE, sdp.into_bytes());
        set_body(&mut invite.headers, &mut invite.body, Some(content));
    }
    let tx = core.send(Purpose::Invite(id), invite.clone(), server, AuthState::default());
    let outgoing = Outgoing {
        tx,
        invite,
        to: server,
        template,
        early: Vec::new(),
        provisional: false,
        cancel: Cancel::No,
        why: (0, String::new()),
    };
    Some(Session::new(id, Phase::Calling(Box::new(outgoing)), None, true))
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
        let number = message::cseq(&self.invite).map_or(1, |(number, _)| number);
        request.headers.push(header("CSeq", format!("{number} CANCEL")));
        request.headers_mut().extend(reason_header(self.why.0, &self.why.1));
        set_body(&mut request.headers, &mut request.body, None);
        core.transmits.push_back(Transmit::Cancel { invite: self.tx, request, to: self.to });
        self.cancel = Cancel::Sent;
    }

    /// The early dialog of a provisional answer: 0 for answers without a tag, else from 1 on.
    fn early(&mut self, response: &Response, from: Hop) -> u32 {
        let Some(tag) = message::tag_of(response, "To") else { return 0 };
        let known = self.early.iter().position(|d| d.remote_tag.as_deref() == Some(tag));
        let at = match known {
            Some(at) => at,
            None if self.early.len() < MAX_EARLY => {
                self.early.push(self.template.established(response, from));
                self.early.len() - 1
            }
            None => return MAX_EARLY as u32 + 1,
        };
        at as u32 + 1
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
        let text = message::status_text(response);
        self.emit(core, Event::Progressed { session: self.id, code, text, sdp, early });
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
        let Phase::Calling(outgoing) = &mut self.phase else { return };
        if (code == 401 || code == 407)
            && !self.ended
            && let Some(auth) = core.answer_challenge(&pending.auth, response)
        {
            // Of the challenged attempt nothing remains (22.2, 13.2.2.3).
            let cseq = outgoing.template.next_cseq();
            let mut request = pending.request;
            renew(core, &mut request, cseq);
            outgoing.tx = core.send(pending.purpose, request, pending.to, auth);
            if let Some(sent) = core.as_sent(outgoing.tx) {
                // With the credentials of this attempt, for the ACK and CANCEL to be built from.
                outgoing.invite = sent.request.clone();
                self.auth = sent.auth.clone();
            }
            outgoing.early.clear();
            outgoing.provisional = false;
            return;
        }
        let text = message::status_text(response);
        self.tell_end(core, EndedBy::Peer, code, text, reason_of(response));
        self.over(core, now);
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
        let offered = !pending.request.body.is_empty();
        let sdp = sdp_of(response, &response.body).ok().flatten();
        match std::mem::replace(&mut self.phase, Phase::Up) {
            Phase::Calling(outgoing) => {
                let outgoing = *outgoing;
                let mut dialog = outgoing.template.established(response, from);
                // What was sent or came in the early dialog counts on.
                let early =
                    outgoing.early.into_iter().find(|early| early.remote_tag == dialog.remote_tag);
                if let Some(early) = early {
                    dialog.local_cseq = early.local_cseq;
                    dialog.remote_cseq = early.remote_cseq;
                }
                dialog.local_cseq = dialog.local_cseq.max(cseq);
                let wants_answer = !offered && sdp.is_some() && !self.ended;
                self.acknowledge(core, &dialog, pending.request, wants_answer, now);
                self.dialog = Some(dialog);
                if self.ended {
                    // Our CANCEL came too late (9.1).
                    let (code, text) = outgoing.why;
                    self.send_bye(core, code, &text, now);
                } else {
                    self.emit(core, Event::Answered { session: self.id, sdp });
                }
            }
            phase => {
                // Another branch of a forked call answered too: thanks, and goodbye (13.2.2.4).
                self.phase = phase;
                let Some(mut dialog) = self.dialog.as_ref().map(|d| d.established(response, from))
                else {
                    return;
                };
                dialog.local_cseq = cseq;
                self.acknowledge(core, &dialog, pending.request, false, now);
                self.bye(core, &mut dialog, 200, "");
            }
        }
    }

    /// Our INVITE got no final answer.
    pub(crate) fn handle_invite_failure(&mut self, core: &mut Core, why: TxFailure, now: Instant) {
        if matches!(self.phase, Phase::Calling(_)) {
            self.lost(core, why, now);
        }
    }
}
