//! The SIP endpoint connector of WWE (rest-api.md section 2): the gateway in the place of a softphone.
//!
//! Two things are kept apart: the session that WWE has here ([`Softphone`]), and the agent's page,
//! which has signed in by itself and carries the sound. What is asked about the second is asked of the
//! agent's line at that moment.

pub(super) mod actions;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use sha2::{Digest, Sha256};

use super::app::{App, Shared};
use super::body;
use super::conn::Conn;
use super::faults::json::SessionFaults;
use super::operators::is_from_here;
use super::reply::{self, ErrorReply, Problem};
use crate::agent::{LineCommand, LineState, Session, Softphone};
use crate::config::{self, BarePaths};
use crate::secret::Secret;
use crate::wire::connector::{self as wire, Action, BadRequest, Verb};

/// Below it tokens of sessions that have ended are not looked for.
const FEW: usize = 64;

/// Tokens are compared by their hash, so that the time it takes tells nothing of them.
type Hash = [u8; 32];

/// Who drives which DN, and WWE's sessions.
pub(super) struct Connectors {
    configured: ArcSwap<Configured>,
    /// Asked for by sessions, and as long as they last.
    issued: Mutex<Issued>,
    on_loopback: bool,
    /// By DN. As many as there are tokens for, at most.
    phones: Mutex<HashMap<String, Softphone>>,
    /// That of the bare paths.
    bare: Mutex<Softphone>,
}

/// As the configuration has it now.
struct Configured {
    dns: HashMap<Hash, String>,
    bare_paths: BarePaths,
}

impl Configured {
    fn new(config: &config::Connector) -> Self {
        let dns = config.tokens.iter().map(|(token, dn)| (hash(token.expose()), dn.clone()));
        Self { dns: dns.collect(), bare_paths: config.bare_paths }
    }
}

#[derive(Default)]
struct Issued {
    sessions: HashMap<Hash, Weak<Session>>,
    /// At so many they are looked through.
    sweep_at: usize,
}

impl Connectors {
    pub(super) fn new(config: &config::Connector, listen: SocketAddr) -> Self {
        Self {
            configured: ArcSwap::from_pointee(Configured::new(config)),
            issued: Mutex::default(),
            on_loopback: listen.ip().to_canonical().is_loopback(),
            phones: Mutex::default(),
            bare: Mutex::default(),
        }
    }

    /// Other tokens of the configuration. Those that pages were given stay.
    pub(super) fn configure(&self, config: &config::Connector) {
        self.configured.store(Arc::new(Configured::new(config)));
    }

    fn issue(&self, session: &Arc<Session>) -> Secret {
        let token = session.connector_token();
        let mut issued = lock(&self.issued);
        if issued.sessions.len() >= issued.sweep_at.max(FEW) {
            issued.sessions.retain(|_, session| {
                session.upgrade().is_some_and(|session| !session.ended().is_cancelled())
            });
            issued.sweep_at = issued.sessions.len() * 2;
            let left = issued.sessions.values().filter_map(Weak::upgrade).map(|s| dn_of(&s));
            let left: HashSet<String> =
                left.chain(self.configured.load().dns.values().cloned()).collect();
            lock(&self.phones).retain(|dn, _| left.contains(dn));
        }
        issued.sessions.insert(hash(token.expose()), Arc::downgrade(session));
        token
    }

    fn dn_of_token(&self, token: &str) -> Option<String> {
        let hash = hash(token);
        if let Some(dn) = self.configured.load().dns.get(&hash) {
            return Some(dn.clone());
        }
        let session = lock(&self.issued).sessions.get(&hash)?.upgrade()?;
        (!session.ended().is_cancelled()).then(|| dn_of(&session))
    }

    /// May this request do without a token? If not, a sentence why.
    fn check_bare(&self, app: &App, conn: &Conn, headers: &HeaderMap) -> Result<(), &'static str> {
        match self.configured.load().bare_paths {
            BarePaths::On => Ok(()),
            BarePaths::Off => Err("without a token it is switched off: connector.bare_paths"),
            BarePaths::Auto if !self.on_loopback => Err(
                "http.listen is not on loopback, so that a token is needed: /connector/{token}/...",
            ),
            // A proxy in front serves others than the agent of this machine.
            BarePaths::Auto
                if app.policy.load().guard.has_proxies()
                    || !is_from_here(conn.client(), headers) =>
            {
                Err("it was not asked for as localhost, so that a token is needed")
            }
            BarePaths::Auto if app.backend.signed_in(2).len() > 1 => {
                Err("several DNs are signed in, so that a token is needed to say which is meant")
            }
            BarePaths::Auto => Ok(()),
        }
    }

    /// A path that is not a file's but could be a connector's, had it that request.
    pub(super) fn could_be_meant(&self, path: &str) -> bool {
        let word = path.strip_prefix('/').map(|word| word.strip_suffix('/').unwrap_or(word));
        self.configured.load().bare_paths != BarePaths::Off
            && word.is_some_and(|word| {
                word.starts_with(|c: char| c.is_ascii_uppercase())
                    && word.chars().all(|c| c.is_ascii_alphanumeric())
            })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

fn dn_of(session: &Session) -> String {
    session.identity().user().to_owned()
}

/// Below `/connector/`, or one of the bare paths. `path` is what follows the base path.
pub(super) fn is_path(path: &str) -> bool {
    path.starts_with("/connector/") || path.strip_prefix('/').and_then(Action::parse).is_some()
}

/// What one of its paths takes, as an `Allow` header says it.
pub(super) fn allow(path: &str) -> Option<&'static str> {
    let action = match path.strip_prefix("/connector/") {
        Some(rest) => rest.split_once('/')?.1,
        None => path.strip_prefix('/')?,
    };
    Action::parse(action).map(|action| allow_of(action.verb()))
}

fn allow_of(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET, OPTIONS",
        Verb::Post => "POST, OPTIONS",
    }
}

/// The path without the token, for the log.
pub(super) fn without_token(path: &str) -> Option<String> {
    let (before, rest) = path.split_once("/connector/")?;
    let action = rest.split_once('/').map_or("", |(_, action)| action);
    Some(format!("{before}/connector/.../{action}"))
}

/// Who asks, about which phone.
pub(super) struct Asker {
    app: Arc<App>,
    /// `None` on the bare paths.
    token_dn: Option<String>,
    now: Instant,
}

impl Asker {
    fn phone<T>(&self, act: impl FnOnce(&mut Softphone) -> T) -> T {
        let connectors = &self.app.connectors;
        match &self.token_dn {
            Some(dn) => act(lock(&connectors.phones).entry(dn.clone()).or_default()),
            None => act(&mut lock(&connectors.bare)),
        }
    }

    /// What WWE has registered.
    fn registered_dn(&self) -> Option<String> {
        self.phone(|phone| phone.dn(self.now).map(str::to_owned))
    }

    /// Whose phone it is, whether WWE has registered it or not.
    fn dn(&self) -> Option<String> {
        self.token_dn.clone().or_else(|| self.registered_dn()).or_else(|| {
            match self.app.backend.signed_in(2).as_slice() {
                [only] => Some(dn_of(only)),
                _ => None,
            }
        })
    }

    async fn line(&self, dn: &str) -> Option<(Arc<Session>, LineState)> {
        let session = self.app.backend.by_dn(dn)?;
        let line = self.app.backend.line(&session).await?;
        Some((session, line))
    }

    /// Registered by WWE and at the SIP server, and the page would hear a call.
    async fn is_active(&self) -> bool {
        let Some(dn) = self.registered_dn() else { return false };
        let line = self.line(&dn).await;
        line.is_some_and(|(session, line)| line.registered && session.is_present(self.now))
    }

    async fn command(&self, action: Action, command: LineCommand) -> Response {
        let session = self.dn().and_then(|dn| self.app.backend.by_dn(&dn));
        let Some(session) = session else {
            let why = "the DN's page is not signed in";
            return json(StatusCode::CONFLICT, wire::result(action, Some(why)));
        };
        match self.app.backend.command(&session, command).await {
            Ok(()) => json(StatusCode::OK, wire::result(action, None)),
            Err(error) => {
                let status = reply::message_status(&error).0;
                json(status, wire::result(action, Some(&error.to_string())))
            }
        }
    }
}

fn json(status: StatusCode, body: String) -> Response {
    reply::with_type(status, wire::CONTENT_TYPE, body)
}

fn bad(error: &BadRequest) -> Response {
    json(StatusCode::BAD_REQUEST, wire::fault(&error.to_string()))
}

/// 400, as WWE's softphone has it.
pub(super) fn unknown_path() -> Response {
    json(StatusCode::BAD_REQUEST, wire::fault("the connector knows no such request"))
}

/// `/connector/{token}/...`
pub(super) async fn by_token(State(app): Shared, request: Request) -> Response {
    let path = request.uri().path().strip_prefix("/connector/").unwrap_or_default();
    let Some((token, rest)) = path.split_once('/') else { return unknown_path() };
    let Some(dn) = app.connectors.dn_of_token(token) else {
        return json(
            StatusCode::NOT_FOUND,
            wire::fault("this token is not known, or not any more"),
        );
    };
    let Some(action) = Action::parse(rest) else { return unknown_path() };
    let asker = Asker { app, token_dn: Some(dn), now: Instant::now() };
    answer(asker, action, request).await
}

/// `/RegisterDn` and the others.
pub(super) async fn bare(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
) -> Response {
    let action = request.uri().path().strip_prefix('/').and_then(Action::parse);
    let Some(action) = action else { return unknown_path() };
    if let Err(why) = app.connectors.check_bare(&app, &conn, request.headers()) {
        return json(StatusCode::FORBIDDEN, wire::fault(why));
    }
    answer(Asker { app, token_dn: None, now: Instant::now() }, action, request).await
}

async fn answer(asker: Asker, action: Action, request: Request) -> Response {
    let method = match action.verb() {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
    };
    if request.method() != method {
        let refusal = json(
            StatusCode::METHOD_NOT_ALLOWED,
            wire::fault(&format!("{} wants {method}", action.name())),
        );
        return reply::not_allowed(refusal, allow_of(action.verb()));
    }
    let body = match body::read_text(request.into_body()).await {
        Ok(body) => body,
        Err(error) => {
            return json(reply::body_status(error).0, wire::fault(&error.to_string()));
        }
    };
    match action {
        Action::GetDnSip => actions::get_dn_sip(asker).await,
        Action::SetOptions => actions::set_options(asker, &body),
        Action::SetSipEndpointParameters => actions::set_sip_endpoint_parameters(&body),
        Action::RegisterDn => actions::register_dn(asker, &body),
        Action::GetIsEndpointActive => actions::get_is_endpoint_active(asker).await,
        Action::GetSipEndpointParameters => actions::get_sip_endpoint_parameters(asker).await,
        Action::SetPingPeriod => actions::set_ping_period(asker, &body),
        Action::Ping => actions::ping(asker),
        Action::UnregisterDn => actions::unregister_dn(asker),
        Action::MakeCall => actions::make_call(asker, &body).await,
        Action::AnswerCall => actions::answer_call(asker).await,
        Action::HangUp => actions::hang_up(asker).await,
        Action::Hold => actions::hold(asker).await,
        Action::Retrieve => actions::retrieve(asker).await,
        Action::SendDtmf => actions::send_dtmf(asker, &body).await,
        Action::GetIncomingCall => actions::get_incoming_call(asker).await,
        Action::GetCallStatus => actions::get_call_status(asker).await,
    }
}

/// The connector's token of the session that asks, the same each time. It ends with the session.
#[utoipa::path(post, path = "/api/connector/token", operation_id = "connector_token", tag = "connector",
    params(("id" = String, Query, description = "The SSID, or the id of the raw-SDP surface.", example = "agent123")),
    responses(
        (status = 200, description = "Where the connector is for the session's DN.", body = wire::TokenReply<'static>),
        (status = 409, description = "A guest has no DN.", body = ErrorReply),
        SessionFaults,
    ))]
pub(super) async fn token(State(app): Shared, request: Request) -> Response {
    let session = match super::rest::session_of_any_dialect(&app, request.uri()) {
        Ok(session) => session,
        Err(problem) => return problem.into_response(),
    };
    if !matches!(session.identity(), crate::agent::Identity::Dn(_)) {
        let sentence = "a guest has no DN that could be driven";
        return Problem::new(StatusCode::CONFLICT, "wrong_state", sentence).into_response();
    }
    let token = app.connectors.issue(&session);
    let body = wire::token_reply(token.expose(), &app.base_path, session.identity().user());
    reply::with_type(StatusCode::OK, "application/json", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_out_of_the_log() {
        for (path, shown) in [
            ("/connector/s3cret/Ping", Some("/connector/.../Ping")),
            ("/gw/connector/s3cret/Ping/", Some("/gw/connector/.../Ping/")),
            ("/connector/s3cret", Some("/connector/.../")),
            ("/Ping", None),
        ] {
            assert_eq!(without_token(path).as_deref(), shown);
        }
    }
}
