//! The transferor: REFERs of ours, one at a time in a session.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request, Response, Uri};

use super::{event_id, sipfrag, without_subscription};
use crate::sip::core::{Core, Pending, Purpose};
use crate::sip::message::{self, get, header};
use crate::sip::port::{ClientTx, ServerTx, TxFailure};
use crate::sip::replaces::Replaces;
use crate::sip::session::{Phase, Session};
use crate::sip::timers::T1X64;
use crate::sip::types::{Event, SessionId};
use crate::sip::uac::target;

/// REFERs that wait for the one before to be done. An agent tries another target after one has
/// failed, and not four at once.
const MAX_WAITING: usize = 4;
/// From the 202 to the first NOTIFY, which is due at once (RFC 3515 2.4.4): as long as a request of the
/// peer's is repeated.
const FIRST_WORD: Duration = T1X64;
/// From one NOTIFY to the next: as long as a telephone rings (RFC 3261 16.7's timer C).
const NEXT_WORD: Duration = Duration::from_secs(180);

/// The REFERs of one session.
#[derive(Default)]
pub(crate) struct Sent {
    open: Option<Open>,
    /// Refer-To values.
    waiting: VecDeque<String>,
    /// One has been done: what still comes of it is answered 200 and told nobody.
    any_done: bool,
}

/// The one under way.
struct Open {
    tx: ClientTx,
    /// CSeq of its first try: below it, a NOTIFY speaks of an earlier REFER.
    number: u32,
    /// By a 2xx, or by a NOTIFY that overtook it.
    accepted: bool,
    last: Option<(u16, String)>,
    /// Runs once it is accepted; before, the transaction has its own limit.
    until: Option<Instant>,
}

impl Sent {
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.open.as_ref()?.until
    }

    /// What is still told of each REFER when the session ends, in order. The last word that was heard, so
    /// that a provisional code says: what came of it nobody knows.
    pub(crate) fn give_up(&mut self) -> Vec<(u16, String)> {
        let first = self.open.take().map(|open| match open.last {
            Some(word) => word,
            None if open.accepted => (100, "Trying".to_owned()),
            None => (487, "the call ended first".to_owned()),
        });
        self.any_done |= first.is_some();
        let rest = self.waiting.drain(..).map(|_| (487, "the call ended first".to_owned()));
        first.into_iter().chain(rest).collect()
    }
}

/// [`crate::sip::Command::Refer`].
pub(crate) fn send(
    core: &mut Core,
    sessions: &mut BTreeMap<SessionId, Box<Session>>,
    id: SessionId,
    to: &str,
    replaces: Option<SessionId>,
) {
    let refer_to = match replaces {
        None => target(to, &core.config.domain)
            .map(|uri| format!("<{}>", bare(uri)))
            .ok_or((484, "the number cannot be dialled")),
        Some(other) if other == id => Err((481, "a call cannot take its own place")),
        Some(other) => match sessions.get(&other) {
            Some(other) => attended(core, other, to),
            None => Err((481, "there is no such other call")),
        },
    };
    if let Some(session) = sessions.get_mut(&id) {
        session.refer(core, refer_to);
    }
}

/// Refer-To with the dialog of `other` embedded, as that dialog's peer sees it (RFC 5589 7.1).
fn attended(core: &Core, other: &Session, to: &str) -> Result<String, (u16, &'static str)> {
    let unanswered = (481, "the other call is not answered");
    let replaces = other.as_replaced().ok_or(unanswered)?;
    let dialog = other.dialog.as_ref().ok_or(unanswered)?;
    let uri = match to.trim() {
        "" => dialog.remote_party().and_then(|party| message::parse_uri(&party.uri)),
        to => target(to, &core.config.domain),
    };
    let uri = uri.ok_or((484, "the number cannot be dialled"))?;
    Ok(format!("<{}?Replaces={}>", bare(uri), replaces.escaped()))
}

/// What is embedded is ours to say.
fn bare(mut uri: Uri) -> Uri {
    uri.headers.clear();
    uri
}

impl Session {
    /// Names the dialog as its peer sees it. An early one could not be replaced at its callee (RFC 3891
    /// 3).
    pub(crate) fn as_replaced(&self) -> Option<Replaces> {
        let (Phase::Up, false, Some(dialog)) = (&self.phase, self.ended, &self.dialog) else {
            return None;
        };
        Some(Replaces {
            call_id: dialog.call_id.clone(),
            to_tag: dialog.remote_tag.clone().unwrap_or_else(|| "0".to_owned()),
            from_tag: dialog.local_tag.clone(),
            early_only: false,
        })
    }

    fn refer(&mut self, core: &mut Core, refer_to: Result<String, (u16, &'static str)>) {
        if self.ended {
            return;
        }
        let refer_to = match refer_to {
            Ok(refer_to) => refer_to,
            Err((code, text)) => return self.transferring(core, code, text.to_owned(), true),
        };
        if !matches!(self.phase, Phase::Up) {
            let text = "the call is not answered".to_owned();
            return self.transferring(core, 481, text, true);
        }
        if self.referred.waiting.len() >= MAX_WAITING {
            let text = "too many transfers wait".to_owned();
            return self.transferring(core, 500, text, true);
        }
        self.referred.waiting.push_back(refer_to);
        self.next_refer(core);
    }

    fn next_refer(&mut self, core: &mut Core) {
        if self.referred.open.is_some() || self.ended {
            return;
        }
        let (Some(dialog), Some(refer_to)) = (&mut self.dialog, self.referred.waiting.pop_front())
        else {
            return;
        };
        let number = dialog.next_cseq();
        let (mut request, to) = dialog.request(core, Method::Refer, number);
        request.headers.push(header("Contact", dialog.contact(core)));
        request.headers.push(header("Supported", core.supported(&[])));
        request.headers.push(header("Refer-To", refer_to));
        request.headers.push(header("Referred-By", format!("<{}>", core.aor())));
        let tx = self.dispatch(core, Purpose::Refer(self.id), request, to);
        let open = Open { tx, number, accepted: false, last: None, until: None };
        self.referred.open = Some(open);
    }

    /// Tells how a REFER of ours goes.
    pub(crate) fn transferring(&self, core: &mut Core, code: u16, text: String, done: bool) {
        self.emit(core, Event::Transferring { session: self.id, code, text, done });
    }

    fn refer_done(&mut self, core: &mut Core, code: u16, text: String) {
        self.referred.open = None;
        self.referred.any_done = true;
        self.transferring(core, code, text, true);
        self.next_refer(core);
    }

    /// A final answer to our REFER. 481 does not end the session, as it may be meant for the call to be
    /// replaced; a dialog that is gone shows by what matters.
    pub(crate) fn handle_refer_response(
        &mut self,
        core: &mut Core,
        tx: ClientTx,
        pending: Pending,
        response: &Response,
        now: Instant,
    ) {
        let Some(open) = self.referred.open.as_mut().filter(|open| open.tx == tx) else { return };
        let code = response.status_code.code();
        let text = message::status_text(response);
        match code {
            200..300 if without_subscription(response) => self.refer_done(core, code, text),
            200..300 => {
                open.accepted = true;
                open.until.get_or_insert(now + FIRST_WORD);
            }
            401 | 407 => match core.answer_challenge(&pending.auth, response) {
                Some(auth) => {
                    let again = self.send_again(core, pending, auth);
                    if let Some(open) = &mut self.referred.open {
                        open.tx = again;
                    }
                }
                None => self.refer_done(core, code, text),
            },
            _ => self.refer_done(core, code, text),
        }
    }

    pub(crate) fn handle_refer_failure(&mut self, core: &mut Core, tx: ClientTx, why: TxFailure) {
        if self.referred.open.as_ref().is_some_and(|open| open.tx == tx) {
            let (code, text) = match why {
                TxFailure::Timeout => (408, "Request Timeout"),
                TxFailure::Transport => (503, "Service Unavailable"),
            };
            self.refer_done(core, code, text.to_owned());
        }
    }

    /// NOTIFY `Event: refer`: how the call we asked for goes.
    pub(crate) fn handle_sipfrag(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        notify: &Request,
        now: Instant,
    ) {
        let id = event_id(notify);
        let meant = |open: &&mut Open| id.is_none_or(|id| id >= u64::from(open.number));
        let Some(open) = self.referred.open.as_mut().filter(meant) else {
            // Of one that is done; or of none, and then there is no such subscription (RFC 6665 4.1.3).
            let code = if self.referred.any_done { 200 } else { 481 };
            return self.respond(core, tx, notify, code);
        };
        let terminated = get(notify, "Subscription-State")
            .and_then(|state| state.split(';').next())
            .is_some_and(|state| state.trim().eq_ignore_ascii_case("terminated"));
        open.accepted = true;
        let word = sipfrag(notify);
        let silent = word.is_none();
        let told = open.last.is_some() && word == open.last;
        match word {
            Some(word) => {
                open.last = Some(word);
                open.until = Some(now + NEXT_WORD);
            }
            None => {
                open.until.get_or_insert(now + FIRST_WORD);
            }
        }
        let last = open.last.clone();
        self.respond(core, tx, notify, 200);
        if silent {
            core.faults.bad_sipfrags += 1;
        }
        match last {
            Some((code, text)) if terminated || code >= 200 => self.refer_done(core, code, text),
            None if terminated => {
                self.refer_done(core, 408, "nothing was heard of the transfer".to_owned());
            }
            Some((code, text)) if !silent && !told => {
                if self.allowance.take(now) {
                    self.transferring(core, code, text, false);
                } else {
                    core.faults.floods += 1;
                }
            }
            _ => {}
        }
    }

    /// Whether a NOTIFY that comes after the end is one of a REFER's.
    pub(crate) fn is_late_sipfrag(&self, request: &Request) -> bool {
        self.referred.any_done
            && request.method == Method::Notify
            && message::package(request).is_some_and(|name| name.eq_ignore_ascii_case("refer"))
    }

    pub(crate) fn check_refer(&mut self, core: &mut Core, now: Instant) {
        if self.referred.timeout().is_some_and(|at| at <= now) {
            self.refer_done(core, 408, "nothing was heard of the transfer".to_owned());
        }
    }
}
