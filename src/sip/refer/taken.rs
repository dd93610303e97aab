//! The transferee: REFERs that came in, in a session or outside of any.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request, Response};

use super::{SIPFRAG, phrase, read, without_subscription};
use crate::sip::core::{AuthState, Core, Pending, Purpose, renew};
use crate::sip::dialog::Dialog;
use crate::sip::hop::Hop;
use crate::sip::message::{self, header, parse_uri, set_body};
use crate::sip::offers::{refuse_extensions, unsupported};
use crate::sip::port::{ServerTx, Transmit};
use crate::sip::session::{Phase, Session, retry_later};
use crate::sip::types::{Event, ReferId, SessionId};
use crate::sip::uas::user_of;

/// REFERs of one user agent that are asked or told about: one for each session it may have.
const MAX_REFERS: usize = 8;
/// For the application to answer. Whoever sent it gives it up after 32 s.
const ANSWER_BY: Duration = Duration::from_secs(30);
/// How long what becomes of it is told. A call rings for three minutes at most (RFC 3261 16.7).
const SUBSCRIPTION: Duration = Duration::from_secs(300);

/// The REFERs that came in.
#[derive(Default)]
pub(crate) struct Taken {
    next: u64,
    refers: BTreeMap<ReferId, Refer>,
}

struct Refer {
    request: Request,
    /// In its dialog the NOTIFYs go, as long as there is one.
    session: Option<SessionId>,
    /// The dialog of its own, or what is left of a session's.
    dialog: Option<Dialog>,
    auth: AuthState,
    /// The id parameter of Event; none for the first of a dialog.
    event: String,
    /// `Refer-Sub: false` (RFC 4488).
    quiet: bool,
    state: State,
}

enum State {
    /// Waits for the application.
    Asked { tx: ServerTx, until: Instant },
    /// Accepted: one NOTIFY at a time, so that they arrive in order.
    /// `last` is the newest word, sent or not.
    Open { flying: bool, next: Option<Word>, last: Word, until: Instant },
}

/// What one NOTIFY says.
#[derive(Clone, PartialEq, Eq)]
struct Word {
    code: u16,
    text: String,
    /// Why the subscription ends with it, if it does.
    ends: Option<&'static str>,
}

impl Word {
    fn new(code: u16, text: &str) -> Self {
        Self { code, text: phrase(text), ends: (code >= 200).then_some("noresource") }
    }
}

impl Taken {
    /// Nothing waits for an answer of ours.
    pub(crate) fn is_idle(&self) -> bool {
        !self.refers.values().any(|refer| matches!(refer.state, State::Asked { .. }))
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.refers.values().filter_map(Refer::timeout).min()
    }

    /// A session goes: what its REFERs asked for is still told in what was its dialog (RFC 5057 5.1).
    pub(crate) fn keep_dialog(&mut self, id: SessionId, session: &mut Session) {
        for refer in self.refers.values_mut().filter(|refer| refer.session == Some(id)) {
            refer.session = None;
            refer.dialog = session.dialog.clone();
            refer.auth = session.auth.clone();
        }
    }
}

impl Refer {
    fn timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Asked { until, .. } => Some(*until),
            State::Open { last, .. } if last.ends.is_some() => None,
            State::Open { until, .. } => Some(*until),
        }
    }
}

/// Hands a REFER to the application, or refuses it.
fn take(
    core: &mut Core,
    session: Option<&mut Session>,
    dialog: Option<Dialog>,
    tx: ServerTx,
    request: Request,
    now: Instant,
) {
    let tag = match (&session, &dialog) {
        (Some(session), _) => session.tag(),
        (None, Some(dialog)) => dialog.local_tag.clone(),
        (None, None) => return,
    };
    let referred = match read(&request) {
        Ok(referred) => Box::new(referred),
        Err(code) => {
            core.faults.bad_refers += 1;
            return answer(core, tx, &request, code, &tag);
        }
    };
    if core.taken.refers.len() >= MAX_REFERS {
        core.faults.floods += 1;
        return retry_later(core, tx, &request, &tag);
    }
    // The first of a dialog may do without (RFC 3515 2.4.6), and old peers do not expect it.
    let later =
        session.map(|session| (session.id, std::mem::replace(&mut session.was_referred, true)));
    let event = match (later, message::cseq(&request)) {
        (Some((_, true)), Some((number, _))) => format!("refer;id={number}"),
        _ => "refer".to_owned(),
    };
    let refer = ReferId(core.taken.next);
    core.taken.next += 1;
    let session = later.map(|(id, _)| id);
    let quiet = without_subscription(&request);
    let auth = AuthState::default();
    let state = State::Asked { tx, until: now + ANSWER_BY };
    core.taken.refers.insert(refer, Refer { request, session, dialog, auth, event, quiet, state });
    core.events.push_back(Event::Referred { refer, session, referred });
}

fn answer(core: &mut Core, tx: ServerTx, request: &Request, code: u16, tag: &str) {
    let response = core.response(request, code, tag);
    core.transmits.push_back(Transmit::Response { tx, response });
}

impl Session {
    pub(crate) fn handle_refer(
        &mut self,
        core: &mut Core,
        tx: ServerTx,
        request: Request,
        now: Instant,
    ) {
        if unsupported(core, &request).is_some() {
            return refuse_extensions(core, tx, &request, &self.tag());
        }
        if !matches!(self.phase, Phase::Up) || self.ended {
            return retry_later(core, tx, &request, &self.tag());
        }
        take(core, Some(self), None, tx, request, now);
    }
}

/// A REFER outside of any dialog: whoever sends it wants a call made by us (RFC 3515 2.2).
pub(crate) fn take_outside(
    core: &mut Core,
    tx: ServerTx,
    request: Request,
    from: Hop,
    now: Instant,
) {
    let tag = core.token();
    if !is_for_us(core, &request) {
        return answer(core, tx, &request, 404, &tag);
    }
    let merged = |refer: &Refer| {
        let same = |name| message::get(&refer.request, name) == message::get(&request, name);
        same("Call-ID") && same("CSeq") && same("From")
    };
    if core.taken.refers.values().any(merged) {
        // By another way (RFC 3261 8.2.2.2).
        return answer(core, tx, &request, 482, &tag);
    }
    // Its NOTIFYs go to the Contact, which RFC 3515 2.4.1 requires; From will not do here.
    let contact = message::get(&request, "Contact").is_some();
    match Dialog::callee(core, &request, from).filter(|_| contact) {
        Some(dialog) => take(core, None, Some(dialog), tx, request, now),
        None => answer(core, tx, &request, 400, &tag),
    }
}

/// Our AOR, or our Contact.
fn is_for_us(core: &Core, request: &Request) -> bool {
    let host = request.uri.host_with_port.host.to_string();
    let is_domain = parse_uri(&format!("sip:{}", core.config.domain))
        .is_some_and(|domain| domain.host_with_port.host.to_string().eq_ignore_ascii_case(&host));
    let is_contact =
        core.contact_uri().is_some_and(|contact| contact.host_with_port.host.to_string() == host);
    user_of(&request.uri) == core.config.user && (is_domain || is_contact)
}

type Sessions = BTreeMap<SessionId, Box<Session>>;

/// [`crate::sip::Command::AcceptRefer`]: 202, and a first NOTIFY at once (RFC 3515 2.4.4).
pub(crate) fn accept(core: &mut Core, sessions: &mut Sessions, id: ReferId, now: Instant) {
    let Some(mut refer) = core.taken.refers.remove(&id) else { return };
    let State::Asked { tx, .. } = refer.state else {
        core.taken.refers.insert(id, refer);
        return;
    };
    let tag = refer.dialog.as_ref().map(|dialog| dialog.local_tag.clone()).unwrap_or_default();
    let mut response = core.response(&refer.request, 202, &tag);
    response.headers.push(header("Contact", core.contact()));
    if refer.quiet {
        response.headers.push(header("Refer-Sub", "false"));
    }
    core.transmits.push_back(Transmit::Response { tx, response });
    if refer.quiet {
        return;
    }
    let trying = Word::new(100, "Trying");
    let until = now + SUBSCRIPTION;
    refer.state = State::Open { flying: false, next: Some(trying.clone()), last: trying, until };
    core.taken.refers.insert(id, refer);
    speak(core, sessions, id, now);
}

/// [`crate::sip::Command::RejectRefer`].
pub(crate) fn reject(core: &mut Core, id: ReferId, code: u16) {
    let Some(refer) = core.taken.refers.remove(&id) else { return };
    let State::Asked { tx, .. } = refer.state else {
        core.taken.refers.insert(id, refer);
        return;
    };
    let tag = refer.dialog.as_ref().map(|dialog| dialog.local_tag.clone()).unwrap_or_default();
    let code = if (300..700).contains(&code) { code } else { 603 };
    answer(core, tx, &refer.request, code, &tag);
}

/// [`crate::sip::Command::ReferProgress`].
pub(crate) fn progress(
    core: &mut Core,
    sessions: &mut Sessions,
    id: ReferId,
    code: u16,
    text: &str,
    now: Instant,
) {
    let Some(refer) = core.taken.refers.get_mut(&id) else { return };
    let State::Open { next, last, .. } = &mut refer.state else { return };
    let word = Word::new(code, text);
    // What has ended has its last word, and nothing is said twice.
    if last.ends.is_none() && word != *last && (100..700).contains(&code) {
        *last = word.clone();
        // One that nobody has seen yet is out of date.
        *next = Some(word);
        speak(core, sessions, id, now);
    }
}

/// Sends the next NOTIFY, if none is under way.
fn speak(core: &mut Core, sessions: &mut Sessions, id: ReferId, now: Instant) {
    let Some(mut refer) = core.taken.refers.remove(&id) else { return };
    if let State::Open { flying, next, until, .. } = &mut refer.state
        && !*flying
        && let Some(word) = next.take()
    {
        let mut session = refer.session.and_then(|id| sessions.get_mut(&id));
        let dialog = match &mut session {
            Some(session) => session.dialog.as_mut(),
            None => refer.dialog.as_mut(),
        };
        let Some(dialog) = dialog else { return };
        let cseq = dialog.next_cseq();
        let (mut notify, to) = dialog.request(core, Method::Notify, cseq);
        let state = match word.ends {
            Some(reason) => format!("terminated;reason={reason}"),
            None => {
                let left = until.saturating_duration_since(now).as_secs();
                format!("active;expires={left}")
            }
        };
        notify.headers.push(header("Contact", dialog.contact(core)));
        notify.headers.push(header("Event", refer.event.as_str()));
        notify.headers.push(header("Subscription-State", state));
        let body = format!("SIP/2.0 {} {}\r\n", word.code, word.text).into_bytes();
        set_body(&mut notify.headers, &mut notify.body, Some((SIPFRAG, body)));
        let purpose = Purpose::ReferNotify(id);
        match session {
            Some(session) => session.dispatch(core, purpose, notify, to),
            None => core.send(purpose, notify, to, refer.auth.carry_over()),
        };
        *flying = true;
    }
    core.taken.refers.insert(id, refer);
}

/// A final answer to a NOTIFY of ours.
pub(crate) fn answered(
    core: &mut Core,
    sessions: &mut Sessions,
    id: ReferId,
    pending: Pending,
    response: &Response,
    now: Instant,
) {
    let code = response.status_code.code();
    if matches!(code, 401 | 407)
        && let Some(auth) = core.answer_challenge(&pending.auth, response)
    {
        return again(core, sessions, id, pending, auth);
    }
    let Some(refer) = core.taken.refers.get(&id) else { return };
    let State::Open { last, next, .. } = &refer.state else { return };
    let was_last = last.ends.is_some() && next.is_none();
    // RFC 6665 4.2.2: there is no such subscription (any more). Anything else may pass.
    let gone = matches!(code, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604);
    if gone || was_last {
        core.taken.refers.remove(&id);
        return;
    }
    if let Some(Refer { state: State::Open { flying, .. }, .. }) = core.taken.refers.get_mut(&id) {
        *flying = false;
    }
    speak(core, sessions, id, now);
}

/// The NOTIFY with its credentials.
fn again(core: &mut Core, sessions: &mut Sessions, id: ReferId, pending: Pending, auth: AuthState) {
    let here = core.place();
    let Some(refer) = core.taken.refers.get_mut(&id) else { return };
    if let Some(session) = refer.session.and_then(|id| sessions.get_mut(&id)) {
        session.send_again(core, pending, auth);
        return;
    }
    let Some(dialog) = &mut refer.dialog else { return };
    let (mut request, cseq) = (pending.request, dialog.next_cseq());
    refer.auth = auth.clone();
    let place = dialog.place_or(here);
    renew(core, place, &mut request, cseq);
    core.send(pending.purpose, request, pending.to, auth);
}

/// No answer to a NOTIFY of ours: nobody listens (RFC 6665 4.2.2).
pub(crate) fn failed(core: &mut Core, id: ReferId) {
    core.taken.refers.remove(&id);
}

/// Refuses what the application does not answer or whose session has ended, and ends what has been told of
/// for long enough.
pub(crate) fn check(core: &mut Core, sessions: &mut Sessions, now: Instant) {
    let ids: Vec<ReferId> = core.taken.refers.keys().copied().collect();
    for id in ids {
        let Some(refer) = core.taken.refers.get_mut(&id) else { continue };
        let due = refer.timeout().is_some_and(|at| at <= now);
        match &mut refer.state {
            State::Asked { .. } => {
                let session = refer.session.and_then(|id| sessions.get(&id));
                if refer.session.is_some() && session.is_none_or(|session| session.ended) {
                    reject(core, id, 487);
                } else if due {
                    reject(core, id, 603);
                }
            }
            State::Open { next, last, .. } if due && last.ends.is_none() => {
                last.ends = Some("timeout");
                *next = Some(last.clone());
                speak(core, sessions, id, now);
            }
            State::Open { .. } => {}
        }
    }
}
