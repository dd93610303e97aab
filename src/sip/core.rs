//! What registration and sessions of one user agent share: identity, numbers, queues, and the
//! requests under way with their digest.

use super::hop::{Hop, Transport};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rsipstack::sip::{Auth, HostWithPort, Method, Request, Response, Scheme, Uri, Version};

use super::digest::{Challenge, strongest};
use super::message::{self, ALLOW, ALLOW_EVENTS, EXTENSIONS, RELIABLE, get_all, header, quote};
use super::next_server::Resting;
use super::port::{ClientTx, Transmit};
use super::refer::Taken;
use super::servers::News;
use super::types::{Event, Faults, Place, ReferId, Reliable, SessionId, UaConfig};

/// Challenges answered for one request: one for the server, one for a proxy, each once more for a
/// stale nonce. Whoever asks more often than that asks for ever.
const MAX_AUTH_ROUNDS: u8 = 4;

/// Whose request it is, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Register,
    Unregister,
    Invite(SessionId),
    Reinvite(SessionId),
    Bye(SessionId),
    Info(SessionId),
    Notify(SessionId),
    Refer(SessionId),
    /// About a REFER that came in.
    ReferNotify(ReferId),
    Prack(SessionId),
    Update(SessionId),
}

impl Purpose {
    pub(crate) fn session(self) -> Option<SessionId> {
        match self {
            Purpose::Register | Purpose::Unregister | Purpose::ReferNotify(_) => None,
            Purpose::Invite(id)
            | Purpose::Reinvite(id)
            | Purpose::Bye(id)
            | Purpose::Info(id)
            | Purpose::Notify(id)
            | Purpose::Refer(id)
            | Purpose::Prack(id)
            | Purpose::Update(id) => Some(id),
        }
    }
}

/// A challenge with what is needed to answer it again.
#[derive(Debug, Clone)]
struct Answered {
    proxy: bool,
    challenge: Challenge,
    count: u32,
    cnonce: String,
    /// Came as the answer to this very request, so that a second one means: wrong password.
    fresh: bool,
}

/// The challenges a request answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthState {
    answered: Vec<Answered>,
    rounds: u8,
}

impl AuthState {
    /// For another request to the same server: nonces go on, with rising counts.
    pub(crate) fn carry_over(&self) -> AuthState {
        let answered =
            self.answered.iter().map(|a| Answered { fresh: false, ..a.clone() }).collect();
        AuthState { answered, rounds: 0 }
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub purpose: Purpose,
    pub request: Request,
    pub to: Hop,
    pub auth: AuthState,
    /// Once it had its final answer, how long repeated 2xx are still recognised.
    pub done: Option<Instant>,
}

pub(crate) struct Core {
    pub config: UaConfig,
    rng: StdRng,
    pub transmits: VecDeque<Transmit>,
    pub events: VecDeque<Event>,
    next_tx: u64,
    /// Boxed, for a node of the map has room for eleven and stays.
    pub pending: BTreeMap<ClientTx, Box<Pending>>,
    /// See [`super::UserAgent::set_others`].
    pub others: Arc<[Place]>,
    pub resting: Resting,
    /// What was met at a server last, until it is told.
    pub news: Option<(Hop, News)>,
    /// REFERs that came in.
    pub taken: Taken,
    pub faults: Faults,
}

impl Core {
    pub(crate) fn new(config: UaConfig, seed: u64) -> Self {
        Self {
            config,
            rng: StdRng::seed_from_u64(seed),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            next_tx: 0,
            pending: BTreeMap::new(),
            others: Arc::default(),
            resting: Resting::default(),
            news: None,
            taken: Taken::default(),
            faults: Faults::default(),
        }
    }

    /// For whoever chooses among servers. The last word counts.
    pub(crate) fn tell_news(&mut self, server: Hop, news: News) {
        self.news = Some((server, news));
    }

    /// 64 random bits, as RFC 3261 19.3 wants more than 32 for a tag.
    pub(crate) fn token(&mut self) -> String {
        format!("{:016x}", self.rng.next_u64())
    }

    pub(crate) fn new_call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.next_u64(), self.rng.next_u64())
    }

    /// A whole number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high)
    }

    /// The server that is used, and our address toward it.
    pub(crate) fn place(&self) -> Place {
        Place { server: self.config.server, advertise: self.config.advertise }
    }

    /// A Via of ours with a branch of its own, for the way to a server. The endpoint changes transport
    /// and port where a request leaves by another one.
    fn via(&mut self, toward: Place) -> String {
        let branch = self.token();
        let Place { server, advertise } = toward;
        format!("SIP/2.0/{} {advertise};branch=z9hG4bK{branch};rport", server.transport.via())
    }

    /// Whether we know the option tag, so that a request may require it.
    pub(crate) fn supports(&self, tag: &str) -> bool {
        let reliable = self.config.reliable != Reliable::Off;
        let mut extensions = EXTENSIONS.iter();
        (reliable && tag.eq_ignore_ascii_case(RELIABLE))
            || extensions.any(|known| tag.eq_ignore_ascii_case(known))
    }

    /// The value of Supported; `without` are extensions a peer cannot stand.
    pub(crate) fn supported(&self, without: &[&str]) -> String {
        let all = [RELIABLE].into_iter().chain(EXTENSIONS.iter().copied());
        let kept: Vec<&str> =
            all.filter(|tag| self.supports(tag) && !without.contains(tag)).collect();
        kept.join(", ")
    }

    fn uri(&self, host: &str) -> String {
        let uri = Uri {
            scheme: Some(Scheme::Sip),
            auth: Some(Auth { user: self.config.user.clone(), password: None }),
            host_with_port: HostWithPort::try_from(host).unwrap_or_default(),
            ..Default::default()
        };
        uri.to_string()
    }

    /// `<sip:DN@host:port>`: the one Contact of REGISTER and of every dialog. Off UDP it says by which
    /// transport. TLS is `;transport=tls`, which RFC 3261 26.2.2 discourages and everybody
    /// understands; `sips` would ask every hop of a call for TLS, and one behind the server rarely has it.
    pub(crate) fn contact(&self) -> String {
        self.contact_toward(self.place())
    }

    /// The same for a dialog that goes by another server.
    pub(crate) fn contact_toward(&self, place: Place) -> String {
        format!("<{}>", self.contact_text(place))
    }

    fn contact_text(&self, place: Place) -> String {
        let uri = self.uri(&place.advertise.to_string());
        match place.server.transport {
            Transport::Udp => uri,
            transport => format!("{uri};transport={}", transport.param()),
        }
    }

    pub(crate) fn contact_uri(&self) -> Option<Uri> {
        message::parse_uri(&self.contact_text(self.place()))
    }

    /// The AOR.
    pub(crate) fn aor(&self) -> String {
        self.uri(&self.config.domain)
    }

    /// From of what we start, without a tag.
    pub(crate) fn own_party(&self) -> String {
        match &self.config.display_name {
            Some(name) => format!("{} <{}>", quote(name), self.aor()),
            None => format!("<{}>", self.aor()),
        }
    }

    /// A request with the headers all of them have.
    pub(crate) fn request(
        &mut self,
        toward: Place,
        method: Method,
        uri: Uri,
        (from, to): (&str, &str),
        call_id: &str,
        cseq: u32,
    ) -> Request {
        let mut headers = vec![
            header("Via", self.via(toward)),
            header("Max-Forwards", "70"),
            header("From", from),
            header("To", to),
            header("Call-ID", call_id),
            header("CSeq", format!("{cseq} {method}")),
        ];
        if matches!(method, Method::Invite | Method::Update) {
            headers.push(header("Contact", self.contact_toward(toward)));
            headers.push(header("Allow", ALLOW));
            headers.push(header("Allow-Events", ALLOW_EVENTS));
            headers.push(header("Supported", self.supported(&[])));
        }
        if method != Method::Ack {
            headers.push(header("User-Agent", self.config.user_agent.clone()));
        }
        headers.push(header("Content-Length", "0"));
        Request { method, uri, version: Version::V2, headers: headers.into(), body: Vec::new() }
    }

    /// A response with our tag and the headers ours have. 2xx and 18x to INVITE get a Contact and
    /// tell what we can do.
    pub(crate) fn response(&self, request: &Request, code: u16, tag: &str) -> Response {
        let mut response = message::respond(request, code, None, tag);
        if code > 100 {
            response.headers.push(header("Server", self.config.user_agent.clone()));
        }
        let opens = matches!(request.method, Method::Invite | Method::Update);
        if opens && code > 100 && code < 300 {
            response.headers.push(header("Contact", self.contact()));
        }
        let tells = opens || request.method == Method::Options;
        if (tells && code > 100 && code < 300) || code == 405 {
            response.headers.push(header("Allow", ALLOW));
        }
        if (tells && code > 100 && code < 300) || code == 489 {
            response.headers.push(header("Allow-Events", ALLOW_EVENTS));
        }
        if tells && code > 100 && code < 300 {
            response.headers.push(header("Supported", self.supported(&[])));
        }
        if (request.method == Method::Options && code == 200) || code == 415 {
            response.headers.push(header("Accept", message::SDP_TYPE));
        }
        response
    }

    /// Sends a request in a transaction of its own.
    pub(crate) fn send(
        &mut self,
        purpose: Purpose,
        mut request: Request,
        to: Hop,
        mut auth: AuthState,
    ) -> ClientTx {
        self.apply_auth(&mut request, &mut auth);
        let tx = ClientTx(self.next_tx);
        self.next_tx += 1;
        self.transmits.push_back(Transmit::Request { tx, request: request.clone(), to });
        let pending = Pending { purpose, request, to, auth, done: None };
        self.pending.insert(tx, Box::new(pending));
        tx
    }

    /// Gives up what is under way for that purpose; true if something was.
    pub(crate) fn abandon(&mut self, purpose: Purpose) -> bool {
        let meant = |pending: &Pending| pending.purpose == purpose && pending.done.is_none();
        let under_way = self.pending.iter().filter(|(_, pending)| meant(pending));
        let given_up: Vec<ClientTx> = under_way.map(|(tx, _)| *tx).collect();
        for tx in &given_up {
            self.pending.remove(tx);
            self.transmits.push_back(Transmit::Abandon { tx: *tx });
        }
        !given_up.is_empty()
    }

    /// A request as it went out, credentials and all.
    pub(crate) fn as_sent(&self, tx: ClientTx) -> Option<&Pending> {
        self.pending.get(&tx).map(AsRef::as_ref)
    }

    fn apply_auth(&mut self, request: &mut Request, auth: &mut AuthState) {
        request.headers.retain(|h| {
            !h.name().eq_ignore_ascii_case("Authorization")
                && !h.name().eq_ignore_ascii_case("Proxy-Authorization")
        });
        let Some(credentials) = &self.config.credentials else { return };
        let (method, uri) = (request.method.to_string(), request.uri.to_string());
        for answered in &mut auth.answered {
            answered.count = answered.count.saturating_add(1);
            let name = if answered.proxy { "Proxy-Authorization" } else { "Authorization" };
            let value = answered.challenge.answer(
                credentials,
                &method,
                &uri,
                answered.count,
                &answered.cnonce,
            );
            request.headers.push(header(name, value));
        }
    }

    /// After a 401 or 407: what the request may try next, or None when there is nothing more to say.
    pub(crate) fn answer_challenge(
        &mut self,
        auth: &AuthState,
        response: &Response,
    ) -> Option<AuthState> {
        self.config.credentials.as_ref()?;
        if auth.rounds >= MAX_AUTH_ROUNDS {
            return None;
        }
        let proxy = response.status_code.code() == 407;
        let name = if proxy { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let mut by_realm: BTreeMap<String, Vec<Challenge>> = BTreeMap::new();
        for challenge in get_all(response, name).flat_map(Challenge::parse_all) {
            by_realm.entry(challenge.realm.clone()).or_default().push(challenge);
        }
        let mut next = auth.clone();
        let mut news = false;
        for challenge in by_realm.into_values().filter_map(strongest) {
            let same = |a: &Answered| a.proxy == proxy && a.challenge.realm == challenge.realm;
            if next.answered.iter().any(|a| same(a) && a.fresh) && !challenge.stale {
                return None;
            }
            next.answered.retain(|a| !same(a));
            let cnonce = self.token();
            next.answered.push(Answered { proxy, challenge, count: 0, cnonce, fresh: true });
            news = true;
        }
        next.rounds += 1;
        news.then_some(next)
    }

    /// The credentials of an INVITE, for its ACK (RFC 3261 22.1).
    pub(crate) fn credentials_of(request: &Request) -> Vec<rsipstack::sip::Header> {
        request
            .headers
            .iter()
            .filter(|h| {
                h.name().eq_ignore_ascii_case("Authorization")
                    || h.name().eq_ignore_ascii_case("Proxy-Authorization")
            })
            .cloned()
            .collect()
    }

    /// Forgets answered requests whose repeated answers can no longer come.
    pub(crate) fn forget_old(&mut self, now: Instant) {
        self.pending.retain(|_, pending| pending.done.is_none_or(|until| until > now));
    }

    pub(crate) fn forget_session(&mut self, id: SessionId) {
        self.pending.retain(|_, pending| pending.purpose.session() != Some(id));
    }
}

/// Puts a new CSeq and a new branch into a request that is sent once more (RFC 3261 22.2).
pub(crate) fn renew(core: &mut Core, toward: Place, request: &mut Request, cseq: u32) {
    let (via, value) = (core.via(toward), format!("{cseq} {}", request.method));
    for h in request.headers.iter_mut() {
        if h.name() == "Via" {
            *h = header("Via", via.as_str());
        } else if h.name() == "CSeq" {
            *h = header("CSeq", value.as_str());
        }
    }
}
