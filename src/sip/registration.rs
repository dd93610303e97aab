//! REGISTER: kept up for as long as it is wanted (RFC 3261 10).

use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request, Response};

use super::core::{AuthState, Core, Pending, Purpose, renew};
use super::extra;
use super::message::{self, NameAddr, get_list, header, hop_of, number, parse_uri, status_text};
use super::pacer::Urgency;
use super::port::TxFailure;
use super::servers::News;
use super::types::{Event, RegistrationState, RegistrationStatus};

/// First pause after a failure, before jitter.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause: an agent should not wait longer than this once the server is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest Retry-After that is believed.
const LONGEST_RETRY_AFTER: u64 = 600;
/// When a binding is refreshed: between so many thousandths of the time that was granted.
const EARLIEST_REFRESH: u64 = 400;
const LATEST_REFRESH: u64 = 500;
/// A refresh is wanted this long before the binding runs out: time for an answer that is lost once or
/// twice, and for a challenge.
const MARGIN: Duration = Duration::from_secs(15);
/// What a person is told who signs in meanwhile.
const UNREACHABLE: &str = "the SIP server is unreachable";
/// Longest expiry asked for, whatever Min-Expires says: a week.
const LONGEST_EXPIRY: u64 = 7 * 24 * 3600;

enum State {
    /// Never registered, or signed out.
    Idle,
    /// Wants to go out: waits for its turn, and for a server that is there.
    Queued(Queued),
    /// REGISTER under way.
    InFlight,
    /// Bound; refresh at that time.
    Registered { refresh: Instant },
    /// Next try at that time, or as soon as the server is back where an outage was the reason.
    Pause { until: Instant, outage: bool },
    /// Refused for good: only a new command starts again.
    Refused,
}

struct Queued {
    purpose: Purpose,
    urgency: Urgency,
    /// A challenged request that goes out once more.
    again: Option<Box<(Request, AuthState)>>,
}

pub(crate) struct Registration {
    state: State,
    /// What was commanded last.
    wanted: bool,
    /// The server may hold a binding of ours: sign-out has something to undo.
    bound: bool,
    /// Registered once with these credentials: a refusal now is the server's trouble, not ours.
    proven: bool,
    /// REGISTERs wait for [`Registration::take_turn`].
    paced: bool,
    /// The server is known to be down: nothing is sent there.
    unreachable: bool,
    failures: u32,
    call_id: String,
    tag: String,
    cseq: u32,
    ask: u64,
    auth: AuthState,
    /// When the binding that was granted last runs out.
    expires_at: Option<Instant>,
    told: Told,
}

/// What [`RegistrationStatus`] says beyond the configuration.
struct Told {
    state: RegistrationState,
    since: Option<Instant>,
    /// Code and text of the last answer, or of what stands for one.
    last: Option<Box<(u16, String)>>,
}

impl Registration {
    pub(crate) fn new(core: &mut Core) -> Self {
        Self {
            state: State::Idle,
            wanted: false,
            bound: false,
            proven: false,
            paced: false,
            unreachable: false,
            failures: 0,
            call_id: core.new_call_id(),
            tag: core.token(),
            cseq: 0,
            ask: core.config.expires.as_secs().clamp(1, LONGEST_EXPIRY),
            auth: AuthState::default(),
            expires_at: None,
            told: Told { state: RegistrationState::SignedOut, since: None, last: None },
        }
    }

    pub(crate) fn status(&self, core: &Core) -> RegistrationStatus {
        RegistrationStatus {
            state: self.told.state,
            server: core.config.server,
            contact: core.contact(),
            expires_at: self.expires_at,
            last_code: self.told.last.as_ref().map(|last| last.0),
            last_reason: self.told.last.as_ref().map(|last| last.1.clone()),
            since: self.told.since,
        }
    }

    fn tell(&mut self, state: RegistrationState, now: Instant) {
        if self.told.state != state {
            self.told.state = state;
            self.told.since = Some(now);
        }
    }

    // Commands, and what the owner tells.

    pub(crate) fn set_paced(&mut self) {
        self.paced = true;
    }

    pub(crate) fn register(&mut self, core: &mut Core, now: Instant) {
        if !core.config.registers {
            return;
        }
        self.wanted = true;
        match &self.state {
            // One REGISTER at a time (10.2): what is under way decides when it is answered.
            State::InFlight => return,
            State::Queued(queued) if queued.purpose == Purpose::Register => return,
            _ => {}
        }
        self.tell(RegistrationState::Registering, now);
        self.want(core, Purpose::Register, self.urgency(now), now);
        if self.unreachable {
            self.tell_unreachable(core, UNREACHABLE, now);
        }
    }

    pub(crate) fn unregister(&mut self, core: &mut Core, now: Instant) {
        self.wanted = false;
        match &self.state {
            State::InFlight => return,
            State::Queued(queued) if queued.purpose == Purpose::Unregister => return,
            _ => {}
        }
        if self.bound {
            self.want(core, Purpose::Unregister, Urgency::Person, now);
        } else {
            self.state = State::Idle;
            self.tell(RegistrationState::SignedOut, now);
            core.events.push_back(Event::Unregistered);
        }
    }

    /// The server is another one: it is told, and what the old one may still answer is of no interest.
    pub(crate) fn server_changed(&mut self, core: &mut Core, now: Instant) {
        if !self.wanted {
            return;
        }
        match &mut self.state {
            State::InFlight => {
                if core.abandon(Purpose::Register) {
                    self.want(core, Purpose::Register, self.urgency(now), now);
                }
            }
            State::Queued(queued) => queued.again = None,
            State::Registered { .. } | State::Pause { .. } => {
                self.want(core, Purpose::Register, self.urgency(now), now);
            }
            State::Idle | State::Refused => {}
        }
    }

    /// The way to us that the server knows is gone.
    pub(crate) fn register_again(&mut self, core: &mut Core, now: Instant) {
        if self.wanted && matches!(self.state, State::Registered { .. }) {
            self.want(core, Purpose::Register, Urgency::By(now), now);
        }
    }

    /// The server is down, for a reason, or back.
    pub(crate) fn set_reachable(
        &mut self,
        core: &mut Core,
        reachable: Result<(), &str>,
        now: Instant,
    ) {
        let unreachable = reachable.is_err();
        if std::mem::replace(&mut self.unreachable, unreachable) == unreachable || !self.wanted {
            return;
        }
        match (reachable, &self.state) {
            (Err(_), State::Idle | State::Refused) => {}
            (Err(why), _) => {
                self.tell_unreachable(core, &format!("{UNREACHABLE}: {why}"), now);
            }
            // It may have lost what it knew.
            (Ok(()), State::Registered { .. } | State::Pause { outage: true, .. }) => {
                self.want(core, Purpose::Register, self.urgency(now), now);
            }
            (Ok(()), _) => {}
        }
    }

    fn tell_unreachable(&mut self, core: &mut Core, text: &str, now: Instant) {
        self.tell(RegistrationState::Failing, now);
        self.told.last = Some(Box::new((503, text.to_owned())));
        let text = text.to_owned();
        core.events.push_back(Event::RegistrationFailed { code: 503, text, will_retry: true });
    }

    /// What waits for its turn, if something does that would go.
    pub(crate) fn awaits_turn(&self) -> Option<Urgency> {
        match &self.state {
            State::Queued(queued) if !self.unreachable || queued.purpose == Purpose::Unregister => {
                Some(queued.urgency)
            }
            _ => None,
        }
    }

    pub(crate) fn take_turn(&mut self, core: &mut Core, now: Instant) {
        if self.awaits_turn().is_some()
            && let State::Queued(queued) = std::mem::replace(&mut self.state, State::InFlight)
        {
            self.go(core, queued, now);
        }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.state, State::InFlight)
    }

    /// Nothing that a sign-out would have to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        match &self.state {
            State::InFlight => false,
            State::Queued(queued) => queued.purpose == Purpose::Register,
            _ => true,
        }
    }

    // Time.

    pub(crate) fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Registered { refresh } if self.wanted => Some(refresh),
            State::Pause { until, .. } if self.wanted => Some(until),
            _ => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.timeout().is_some_and(|at| at <= now) {
            self.want(core, Purpose::Register, self.urgency(now), now);
        }
    }

    /// A sign-in has somebody who waits; a binding is to be refreshed before it runs out; what has
    /// none is wanted now.
    fn urgency(&self, now: Instant) -> Urgency {
        if !self.proven {
            return Urgency::Person;
        }
        let bound = matches!(self.state, State::Registered { .. }) && !self.unreachable;
        let by = self.expires_at.filter(|_| bound).and_then(|at| at.checked_sub(MARGIN));
        Urgency::By(by.map_or(now, |by| by.max(now)))
    }

    // Requests.

    fn want(&mut self, core: &mut Core, purpose: Purpose, urgency: Urgency, now: Instant) {
        self.queue(core, Queued { purpose, urgency, again: None }, now);
    }

    fn queue(&mut self, core: &mut Core, queued: Queued, now: Instant) {
        if self.paced {
            self.state = State::Queued(queued);
        } else {
            self.go(core, queued, now);
        }
    }

    fn go(&mut self, core: &mut Core, queued: Queued, now: Instant) {
        match queued.again {
            Some(again) => {
                let (request, auth) = *again;
                self.transmit(core, queued.purpose, request, auth);
            }
            None => self.send(core, queued.purpose, now),
        }
    }

    fn send(&mut self, core: &mut Core, purpose: Purpose, now: Instant) {
        let Some(uri) = parse_uri(&format!("sip:{}", core.config.domain)) else {
            // The configuration is checked before it gets here; a domain that is none cannot be asked.
            self.state = State::Refused;
            self.tell(RegistrationState::Refused, now);
            core.events.push_back(Event::RegistrationFailed {
                code: 400,
                text: "the SIP domain is not usable".to_owned(),
                will_retry: false,
            });
            return;
        };
        self.cseq += 1;
        let aor = core.aor();
        let (from, to) = (format!("{};tag={}", core.own_party(), self.tag), format!("<{aor}>"));
        let (place, method) = (core.place(), Method::Register);
        let parties = (&*from, &*to);
        let mut request = core.request(place, method, uri, parties, &self.call_id, self.cseq);
        let expires = if purpose == Purpose::Unregister { 0 } else { self.ask };
        request.headers.push(header("Contact", format!("{};expires={expires}", core.contact())));
        request.headers.push(header("Expires", expires.to_string()));
        request.headers.push(header("Allow", message::ALLOW));
        extra::add(&mut request, &core.config.headers);
        self.transmit(core, purpose, request, self.auth.carry_over());
    }

    fn transmit(&mut self, core: &mut Core, purpose: Purpose, request: Request, auth: AuthState) {
        // From now on the server may have taken it, answer or no answer.
        self.bound |= purpose == Purpose::Register;
        self.state = State::InFlight;
        let to = core.config.server;
        core.send(purpose, request, to, auth);
    }

    // Answers.

    pub(crate) fn handle_response(
        &mut self,
        core: &mut Core,
        pending: Pending,
        response: &Response,
        now: Instant,
    ) {
        let code = response.status_code.code();
        let retry_after = number(response, "Retry-After");
        match code {
            503 if retry_after.is_none() && pending.purpose == Purpose::Register => {
                core.tell_news(pending.to, News::Unavailable);
            }
            408 | 503 => {}
            _ => core.tell_news(pending.to, News::Answered),
        }
        if (code == 401 || code == 407)
            && let Some(auth) = core.answer_challenge(&pending.auth, response)
        {
            let mut request = pending.request;
            self.cseq += 1;
            renew(core, core.place(), &mut request, self.cseq);
            let purpose = pending.purpose;
            let urgency = match purpose {
                Purpose::Unregister => Urgency::Person,
                _ => self.urgency(now),
            };
            let again = Some(Box::new((request, auth)));
            self.queue(core, Queued { purpose, urgency, again }, now);
            return;
        }
        self.auth = pending.auth;
        if pending.purpose == Purpose::Unregister {
            self.unregistered(core, now);
            return;
        }
        self.told.last = Some(Box::new((code, status_text(response))));
        match code {
            200..300 => self.granted(core, response, now),
            423 => {
                let asked = self.ask;
                self.ask = number(response, "Min-Expires").unwrap_or(0).min(LONGEST_EXPIRY);
                if self.ask > asked && self.wanted {
                    self.want(core, Purpose::Register, self.urgency(now), now);
                } else {
                    self.ask = asked;
                    self.failed(core, code, status_text(response), None, now);
                }
            }
            _ => self.failed(core, code, status_text(response), retry_after, now),
        }
    }

    pub(crate) fn handle_failure(
        &mut self,
        core: &mut Core,
        pending: Pending,
        why: TxFailure,
        now: Instant,
    ) {
        if pending.purpose == Purpose::Unregister {
            self.unregistered(core, now);
            return;
        }
        let (code, text) = match why {
            TxFailure::Timeout => (408, "no answer from the SIP server"),
            TxFailure::Transport => (503, "the SIP server is out of reach"),
        };
        core.tell_news(pending.to, News::of(why));
        self.told.last = Some(Box::new((code, text.to_owned())));
        self.failed(core, code, text.to_owned(), None, now);
    }

    fn granted(&mut self, core: &mut Core, response: &Response, now: Instant) {
        let expires = Duration::from_secs(granted(core, response).unwrap_or(self.ask));
        self.failures = 0;
        self.proven = true;
        // Half of it at the latest, and not all at the same: thousands that came back together after an
        // outage spread out again. Not below a second, so that a server that grants nothing is not
        // flooded.
        let part = core.between(EARLIEST_REFRESH, LATEST_REFRESH);
        let refresh = (expires * u32::try_from(part).unwrap_or(500)) / 1000;
        self.state = State::Registered { refresh: now + refresh.max(Duration::from_secs(1)) };
        self.expires_at = Some(now + expires);
        self.tell(RegistrationState::Registered, now);
        core.events.push_back(Event::Registered { expires });
        if !self.wanted {
            self.want(core, Purpose::Unregister, Urgency::Person, now);
        }
    }

    fn failed(
        &mut self,
        core: &mut Core,
        code: u16,
        text: String,
        retry_after: Option<u64>,
        now: Instant,
    ) {
        let refusal = matches!(code, 401 | 403 | 404 | 407);
        let last = (refusal && !self.proven) || !self.wanted;
        if refusal {
            // It answered, and holds no binding of ours.
            self.bound = self.proven;
        }
        core.events.push_back(Event::RegistrationFailed { code, text, will_retry: !last });
        if !self.wanted {
            // Signed out while this was under way.
            self.state = State::Idle;
            self.unregister(core, now);
        } else if last {
            self.state = State::Refused;
            self.tell(RegistrationState::Refused, now);
        } else {
            let pause = self.pause(core, retry_after);
            let outage = matches!(code, 408 | 503) && retry_after.is_none();
            self.state = State::Pause { until: now + pause, outage };
            self.tell(RegistrationState::Failing, now);
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Doubles up to the longest, of which between half and all is taken: a thousand DNs that lost
    /// their server together do not come back together.
    fn pause(&mut self, core: &mut Core, retry_after: Option<u64>) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10));
        let whole = doubled.min(LONGEST_PAUSE).as_millis() as u64;
        let jittered = core.between(whole / 2, whole);
        let asked = retry_after.unwrap_or(0).min(LONGEST_RETRY_AFTER) * 1000;
        Duration::from_millis(asked + jittered)
    }

    fn unregistered(&mut self, core: &mut Core, now: Instant) {
        self.bound = false;
        self.expires_at = None;
        self.state = State::Idle;
        self.tell(RegistrationState::SignedOut, now);
        core.events.push_back(Event::Unregistered);
        if self.wanted {
            // Signed in again while the sign-out was under way.
            self.tell(RegistrationState::Registering, now);
            self.want(core, Purpose::Register, Urgency::Person, now);
        }
    }
}

/// What the server granted: the expires of our Contact, else the Expires header (RFC 3261 10.2.4).
fn granted(core: &Core, response: &Response) -> Option<u64> {
    let ours = core.contact_uri();
    let contacts: Vec<NameAddr> =
        get_list(response, "Contact").into_iter().filter_map(NameAddr::parse).collect();
    let same = |contact: &&NameAddr| {
        let (Some(theirs), Some(ours)) = (parse_uri(&contact.uri), &ours) else { return false };
        theirs.user() == ours.user() && theirs.host_with_port == ours.host_with_port
    };
    // By another transport it is another binding: one of before, that is about to run out.
    let way = |uri: &str| parse_uri(uri).as_ref().and_then(hop_of);
    let exact =
        |contact: &&NameAddr| same(contact) && way(&contact.uri) == ours.as_ref().and_then(hop_of);
    let contact = contacts.iter().find(exact).or_else(|| contacts.iter().find(same));
    let contact = contact.or(match contacts.as_slice() {
        // A registrar that rewrites the one contact it keeps.
        [only] => Some(only),
        _ => None,
    });
    contact
        .and_then(|contact| contact.param("expires"))
        .and_then(message::leading_number)
        .or_else(|| number(response, "Expires"))
        .map(|seconds| seconds.min(LONGEST_EXPIRY))
}
