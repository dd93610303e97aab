//! INFO (RFC 6086, or bare as SIP servers use it) and NOTIFY in a session's dialog.

use std::time::Instant;

use rsipstack::sip::{Method, Request, Response};

use super::core::{Core, Pending, Purpose};
use super::message::{self, get, header, set_body};
use super::port::{ServerTx, Transmit, TxFailure};
use super::session::Session;
use super::types::{EndedBy, Event, NotifyEvent};

impl Session {
    pub(crate) fn handle_notify(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        request: &Request,
        now: Instant,
    ) {
        let event = match message::package(request) {
            Some(name) if name.eq_ignore_ascii_case("refer") => {
                return self.handle_sipfrag(core, tx, request, now);
            }
            Some(name) if name.eq_ignore_ascii_case("talk") => NotifyEvent::Talk,
            Some(name) if name.eq_ignore_ascii_case("hold") => NotifyEvent::Hold,
            _ => return self.respond(core, tx, request, 489),
        };
        self.respond(core, tx, request, 200);
        self.emit(core, Event::Notified { session: self.id, event });
    }

    pub(crate) fn handle_info(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        request: &Request,
        now: Instant,
    ) {
        if !self.allowance.take(now) {
            core.faults.floods += 1;
            let mut response = core.response(request, 503, &self.tag());
            response.headers.push(header("Retry-After", "1"));
            core.transmits.push_back(Transmit::Response { tx, response });
            return;
        }
        self.respond(core, tx, request, 200);
        if !request.body.is_empty() {
            let content_type = get(request, "Content-Type").unwrap_or_default().to_owned();
            let body = request.body.clone();
            self.emit(core, Event::Informed { session: self.id, content_type, body });
        }
    }

    /// [`super::Command::Info`]: in the confirmed dialog, or in the early one heard of last.
    pub(crate) fn info(&mut self, core: &mut Core, content_type: &str, body: Vec<u8>) {
        self.request_in_dialog(core, Purpose::Info(self.id), Method::Info, |request| {
            set_body(&mut request.headers, &mut request.body, Some((content_type, body)));
        });
    }

    /// [`super::Command::Notify`]: in the same dialog as INFO.
    pub(crate) fn notify(&mut self, core: &mut Core, event: NotifyEvent) {
        self.request_in_dialog(core, Purpose::Notify(self.id), Method::Notify, |request| {
            request.headers.push(rsipstack::sip::Header::Event(event.package().into()));
            set_body(&mut request.headers, &mut request.body, None);
        });
    }

    // Answers and failures of BYE and INFO.

    pub(crate) fn handle_other_response(
        &mut self,
        core: &mut Core,
        pending: Pending,
        response: &Response,
        now: Instant,
    ) {
        let code = response.status_code.code();
        if (code == 401 || code == 407)
            && let Some(auth) = core.answer_challenge(&pending.auth, response)
        {
            self.send_again(core, pending, auth);
            return;
        }
        let told = matches!(pending.purpose, Purpose::Info(_) | Purpose::Notify(_));
        if !told || code < 300 || self.is_over() {
            return;
        }
        if code == 481 {
            // 12.2.1.2: the peer knows of no such dialog.
            self.tell_end(core, EndedBy::Peer, 481, message::status_text(response), None);
            self.over(core, now);
        } else if matches!(pending.purpose, Purpose::Info(_)) {
            self.emit(core, Event::InfoRefused { session: self.id, code });
        }
    }

    /// No answer to anything but an INVITE or an offer.
    pub(crate) fn handle_other_failure(
        &mut self,
        core: &mut Core,
        pending: Pending,
        why: TxFailure,
    ) {
        let bye = matches!(pending.purpose, Purpose::Bye(_)) && why == TxFailure::Transport;
        if bye && !std::mem::replace(&mut self.bye_again, true) {
            // By another connection, or the far end would be left in a call with nobody.
            let auth = pending.auth.carry_over();
            self.send_again(core, pending, auth);
            return;
        }
        if matches!(pending.purpose, Purpose::Info(_)) {
            let code = match why {
                TxFailure::Timeout => 408,
                TxFailure::Transport => 503,
            };
            self.emit(core, Event::InfoRefused { session: self.id, code });
        }
    }
}
