//! REGISTER: kept up for as long as it is wanted (RFC 3261 10).

use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request, Response};

use super::core::{AuthState, Core, Pending, Purpose, renew};
use super::extra;
use super::message::{self, NameAddr, get_list, header, number, parse_uri, status_text};
use super::port::TxFailure;
use super::types::Event;

/// First pause after a failure, before jitter.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause: an agent should not wait longer than this once the server is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest Retry-After that is believed.
const LONGEST_RETRY_AFTER: u64 = 600;
/// Longest expiry asked for, whatever Min-Expires says: a week.
const LONGEST_EXPIRY: u64 = 7 * 24 * 3600;

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Never registered, or signed out.
    Idle,
    /// REGISTER under way.
    InFlight,
    /// Bound; refresh at that time.
    Registered { refresh: Instant },
    /// Next try at that time.
    Pause { until: Instant },
    /// Refused for good: only a new command starts again.
    Refused,
}

pub(crate) struct Registration {
    state: State,
    /// What was commanded last.
    wanted: bool,
    /// The server may hold a binding of ours: sign-out has something to undo.
    bound: bool,
    /// Registered once with these credentials: a refusal now is the server's trouble, not ours.
    proven: bool,
    failures: u32,
    call_id: String,
    tag: String,
    cseq: u32,
    ask: u64,
    auth: AuthState,
}

impl Registration {
    pub(crate) fn new(core: &mut Core) -> Self {
        Self {
            state: State::Idle,
            wanted: false,
            bound: false,
            proven: false,
            failures: 0,
            call_id: core.new_call_id(),
            tag: core.token(),
            cseq: 0,
            ask: core.config.expires.as_secs().clamp(1, LONGEST_EXPIRY),
            auth: AuthState::default(),
        }
    }

    pub(crate) fn register(&mut self, core: &mut Core) {
        if !core.config.registers {
            return;
        }
        self.wanted = true;
        // One REGISTER at a time (10.2): what is under way decides when it is answered.
        if self.state != State::InFlight {
            self.send(core, Purpose::Register);
        }
    }

    pub(crate) fn unregister(&mut self, core: &mut Core) {
        self.wanted = false;
        if self.state == State::InFlight {
            return;
        }
        if self.bound {
            self.send(core, Purpose::Unregister);
        } else {
            self.state = State::Idle;
            core.events.push_back(Event::Unregistered);
        }
    }

    /// The server moved: tell the new one at once.
    pub(crate) fn refresh_now(&mut self, core: &mut Core) {
        if self.wanted && self.state != State::InFlight {
            self.send(core, Purpose::Register);
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state != State::InFlight
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Registered { refresh } if self.wanted => Some(refresh),
            State::Pause { until } if self.wanted => Some(until),
            _ => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.timeout().is_some_and(|at| at <= now) {
            self.send(core, Purpose::Register);
        }
    }

    fn send(&mut self, core: &mut Core, purpose: Purpose) {
        let Some(uri) = parse_uri(&format!("sip:{}", core.config.domain)) else {
            // The configuration is checked before it gets here; a domain that is none cannot be asked.
            self.state = State::Refused;
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
        let mut request = core.request(Method::Register, uri, &from, &to, &self.call_id, self.cseq);
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

    pub(crate) fn handle_response(
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
            let mut request = pending.request;
            self.cseq += 1;
            renew(core, &mut request, self.cseq);
            self.transmit(core, pending.purpose, request, auth);
            return;
        }
        self.auth = pending.auth;
        if pending.purpose == Purpose::Unregister {
            self.unregistered(core);
            return;
        }
        match code {
            200..300 => self.granted(core, response, now),
            423 => {
                let asked = self.ask;
                self.ask = number(response, "Min-Expires").unwrap_or(0).min(LONGEST_EXPIRY);
                if self.ask > asked && self.wanted {
                    self.send(core, Purpose::Register);
                } else {
                    self.ask = asked;
                    self.failed(core, code, status_text(response), None, now);
                }
            }
            _ => {
                let retry_after = number(response, "Retry-After");
                self.failed(core, code, status_text(response), retry_after, now);
            }
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
            self.unregistered(core);
            return;
        }
        let (code, text) = match why {
            TxFailure::Timeout => (408, "no answer from the SIP server"),
            TxFailure::Transport => (503, "the SIP server is out of reach"),
        };
        self.failed(core, code, text.to_owned(), None, now);
    }

    fn granted(&mut self, core: &mut Core, response: &Response, now: Instant) {
        let expires = Duration::from_secs(granted(core, response).unwrap_or(self.ask));
        self.failures = 0;
        self.proven = true;
        // Not below a second, so that a server that grants nothing is not flooded.
        let refresh = now + (expires / 2).max(Duration::from_secs(1));
        self.state = State::Registered { refresh };
        core.events.push_back(Event::Registered { expires });
        if !self.wanted {
            self.send(core, Purpose::Unregister);
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
            self.unregister(core);
        } else if last {
            self.state = State::Refused;
        } else {
            let pause = self.pause(core, retry_after);
            self.state = State::Pause { until: now + pause };
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

    fn unregistered(&mut self, core: &mut Core) {
        self.bound = false;
        self.state = State::Idle;
        core.events.push_back(Event::Unregistered);
        if self.wanted {
            // Signed in again while the sign-out was under way.
            self.send(core, Purpose::Register);
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
    let contact = contacts.iter().find(same).or(match contacts.as_slice() {
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
