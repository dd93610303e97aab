//! Routes, and what is done for every request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Extension, Router};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::conn::{Asker, Conn};
use super::connector::{self, Connectors};
use super::cors::{self, Caller};
use super::metrics::Scrape;
use super::operators::Operators;
use super::policy::Policy;
use super::reply::{self, Problem};
use super::secrets::DnSecrets;
use super::table::{self, Table, Verb};
use super::throttle::Throttle;
use super::tokens::{self, Tokens};
use super::{assets, forwarded, ice, jsapi, lifecycle, logs, metrics, openapi, operations, rest};
use crate::agent::{Backend, MessageError, Session};
use crate::config::{self, SignIns};
use crate::wire::FromBrowser;
use crate::wire::connector::Action;

/// How much of a path is shown in the log.
const MAX_LOGGED_PATH: usize = 128;

/// When to try again for want of a place, in seconds.
const NO_PLACE_RETRY: u64 = 3;

/// What of the rest of the process is served besides; a server without one does without.
#[derive(Clone, Default)]
pub struct Surroundings {
    pub scrape: Option<Scrape>,
}

/// What the handlers share.
pub(super) struct App {
    pub backend: Arc<dyn Backend>,
    pub throttle: Throttle,
    /// Hanging polls end when it is cancelled.
    pub draining: CancellationToken,
    pub connectors: Connectors,
    pub tokens: Arc<Tokens>,
    pub events: Arc<operations::Hub>,
    pub operators: Operators,
    pub surroundings: Surroundings,
    /// By path: what an `Allow` header says.
    pub allowed: HashMap<&'static str, &'static str>,
    pub policy: ArcSwap<Policy>,
    pub secrets: DnSecrets,
    pub sign_ins: ArcSwap<SignIns>,
    pub base_path: String,
    started: Instant,
}

impl App {
    /// Hands on what a browser says. In a task of its own: neither a client that hangs up nor one that
    /// makes it stumble leaves it half done.
    pub(super) async fn message(
        &self,
        session: Arc<Session>,
        to: Option<String>,
        message: FromBrowser,
    ) -> Result<(), MessageError> {
        let backend = Arc::clone(&self.backend);
        tokio::spawn(async move { backend.message(&session, to, message).await })
            .await
            .unwrap_or_else(|_| Err(MessageError::Unavailable("the gateway stumbled".to_owned())))
    }
}

pub(super) type Shared = State<Arc<App>>;

/// What is served where there is a place, and where there is none.
pub(super) struct Routers {
    pub all: Router,
    pub crowded: Router,
}

pub(super) fn routers(
    config: &config::Http,
    backend: Arc<dyn Backend>,
    surroundings: Surroundings,
    draining: CancellationToken,
    policy: Policy,
) -> (Routers, Arc<App>) {
    let app = Arc::new(App {
        backend,
        throttle: Throttle::new(config.guard.limits),
        draining,
        connectors: Connectors::new(&config.connector, config.listen),
        events: Arc::default(),
        tokens: Arc::new(Tokens::new(&config.token_keys, (Instant::now(), SystemTime::now()))),
        operators: Operators::new(&config.operators),
        surroundings,
        allowed: table().allowed(),
        policy: ArcSwap::from_pointee(policy),
        secrets: DnSecrets::new(&config.secrets),
        sign_ins: ArcSwap::from_pointee(config.sign_ins),
        base_path: config.base_path.clone(),
        started: Instant::now(),
    });
    let mut routes = table()
        .into_router()
        .route("/connector/{*rest}", any(connector::by_token))
        .route("/api", any(no_such_api))
        .route("/api/", any(no_such_api))
        .route("/api/{*rest}", any(no_such_api))
        .fallback(file);
    for action in Action::ALL {
        for slash in ["", "/"] {
            routes = routes.route(&format!("/{}{slash}", action.name()), any(connector::bare));
        }
    }
    let (all, crowded) = if config.base_path.is_empty() {
        (routes, probes().fallback(no_place))
    } else {
        let nested = |routes| Router::new().nest(&config.base_path, routes);
        (nested(routes).fallback(outside_base_path), nested(probes()).fallback(no_place))
    };
    let finish = |routes: Router<Arc<App>>| {
        let every = middleware::from_fn_with_state(Arc::clone(&app), every);
        routes.layer(every).with_state(Arc::clone(&app))
    };
    (Routers { all: finish(all), crowded: finish(crowded) }, app)
}

/// What whoever starts and stops us asks.
pub(super) fn probes() -> Router<Arc<App>> {
    Router::new()
        .route("/livez", get(operations::probes::livez))
        .route("/readyz", get(operations::probes::readyz))
}

/// All places are taken, and none by one who does nothing with it.
async fn no_place(request: Request) -> Response {
    let sentence = "the gateway has as many connections as it may; see http.max_connections";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response = if request.uri().path().contains("/api/") {
        let problem = Problem::new(status, "no_place", sentence);
        Problem { retry_after: Some(NO_PLACE_RETRY), ..problem }.into_response()
    } else {
        reply::retry_after(reply::text(status, sentence), NO_PLACE_RETRY)
    };
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What the document of the API tells of, but for the connector's requests, which are told apart there.
pub(super) fn table() -> Table {
    Table::default()
        .on(Verb::Get, "/sign_in", jsapi::sign_in)
        .on(Verb::Post, "/sign_in", jsapi::sign_in_with_password)
        .on(Verb::Get, "/wait", jsapi::wait)
        .on(Verb::Post, "/message", jsapi::message)
        .on(Verb::Get, "/sign_out", jsapi::sign_out)
        .on(Verb::Post, "/sign_out", jsapi::sign_out_by_beacon)
        .on(Verb::Get, "/api/webrtc/sign_in", rest::sign_in_by_url)
        .on(Verb::Post, "/api/webrtc/sign_in", rest::sign_in)
        .on(Verb::Get, "/api/webrtc/message", rest::poll)
        .on(Verb::Post, "/api/webrtc/message", rest::message)
        .on(Verb::Get, "/api/webrtc/sign_out", rest::sign_out)
        .on(Verb::Post, "/api/webrtc/sign_out", rest::sign_out_by_beacon)
        .on(Verb::Post, "/api/connector/token", connector::token)
        .on(Verb::Post, "/api/tokens", tokens::create)
        .on(Verb::Get, "/api/ice", ice::servers)
        .on(Verb::Get, "/api/calls", operations::history::find)
        .on(Verb::Get, "/api/calls/{id}/pcap", operations::history::capture)
        .on(Verb::Post, "/api/drain", lifecycle::drain)
        .on(Verb::Post, "/api/reload", lifecycle::reload)
        .on(Verb::GetAndHead, "/api/health", health)
        .on(Verb::Get, "/metrics", metrics::metrics)
        .on(Verb::Get, "/api/log", logs::status)
        .on(Verb::Put, "/api/log", logs::set)
        .on(Verb::GetAndHead, "/api/openapi.json", openapi::document)
        .on(Verb::GetAndHead, "/livez", operations::probes::livez)
        .on(Verb::GetAndHead, "/readyz", operations::probes::readyz)
        .on(Verb::Get, "/api/registrations", operations::agents::registrations)
        .on(Verb::Get, "/api/agents", operations::agents::agents)
        .on(Verb::Post, "/api/agents/{dn}/sign_out", operations::agents::sign_out)
        .on(Verb::Get, "/api/calls/active", operations::calls::active)
        .on(Verb::Get, "/api/calls/{id}", operations::call::call)
        .on(Verb::Get, "/api/trace", operations::call::traces)
        .on(Verb::Put, "/api/trace/{dn}", operations::call::set_trace)
        .on(Verb::Get, "/api/trace/{dn}", operations::call::trace)
        .on(Verb::Post, "/api/calls/{id}/hangup", operations::calls::hang_up)
        .on(Verb::Get, "/api/stats", operations::stats::stats)
        .on(Verb::Get, "/api/servers", operations::stats::servers)
        .on(Verb::Get, "/api/alerts", operations::stats::alerts)
        .on(Verb::Get, "/api/series", operations::stats::series)
        .on(Verb::Get, "/api/history", operations::stats::history)
        .on(Verb::Get, "/api/events", operations::events::events)
}

/// Log line, cross-origin rules, safety headers.
async fn every(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = metrics::route(&app, &request);
    let policy = app.policy.load_full();
    let caller = cors::caller(request.headers(), &policy.origins);
    let client = forwarded::client(conn.remote().ip(), request.headers(), &policy.guard);
    let known_page = cors::is_known_page(&caller, request.headers());
    conn.set_asker(Asker { client, known_page });
    let guarded = is_guarded(&path, &app.base_path);

    let mut response = if method == Method::OPTIONS {
        let mut response = Response::new(Body::empty());
        // WWE wants a 200.
        let connector = path
            .strip_prefix(&app.base_path)
            .is_some_and(|path| connector::is_path(path) || app.connectors.could_be_meant(path));
        *response.status_mut() = if connector { StatusCode::OK } else { StatusCode::NO_CONTENT };
        cors::add_preflight_headers(&caller, request.headers(), response.headers_mut());
        let inside = path.strip_prefix(&app.base_path).unwrap_or_default();
        let allow = table::allow(&app.allowed, inside).or_else(|| connector::allow(inside));
        // Else a file, or nothing.
        let allow = HeaderValue::from_static(allow.unwrap_or("GET, HEAD, OPTIONS"));
        response.headers_mut().insert(header::ALLOW, allow);
        response
    } else if guarded && !policy.allows_host(request.headers()) {
        let sentence = "the gateway is not called so; see http.allowed_hosts";
        forbidden(&path, &app.base_path, "host_forbidden", sentence)
    } else if guarded && caller == Caller::Foreign {
        let sentence = "this page's origin is not in http.allowed_origins";
        forbidden(&path, &app.base_path, "origin_forbidden", sentence)
    } else if !app.base_path.is_empty() && path == app.base_path {
        // With the slash, or the page's relative addresses would miss the base path.
        to_base_path(&app)
    } else {
        next.run(request).await
    };

    metrics::count(&app, route, response.status());
    if response.status() == StatusCode::REQUEST_TIMEOUT {
        metrics::count_connection_fault(&app, "slow_body");
    }
    let headers = response.headers_mut();
    cors::add_headers(&caller, headers);
    policy.add_headers(headers);
    // Without the query and the connector's token: SSIDs and passwords live there.
    let path = connector::without_token(&path).unwrap_or(path);
    let path: String = path.chars().take(MAX_LOGGED_PATH).collect();
    tracing::debug!(
        %method,
        ?path,
        status = response.status().as_u16(),
        ms = start.elapsed().as_millis() as u64,
        remote = %client,
        "http"
    );
    response
}

fn forbidden(path: &str, base_path: &str, code: &'static str, sentence: &'static str) -> Response {
    if path.strip_prefix(base_path).is_some_and(|path| path.starts_with("/api/")) {
        Problem::new(StatusCode::FORBIDDEN, code, sentence).into_response()
    } else {
        reply::text(StatusCode::FORBIDDEN, sentence)
    }
}

/// Everything that says or does something about an agent. Files, health and the document are for
/// everybody.
fn is_guarded(path: &str, base_path: &str) -> bool {
    let path = path.strip_prefix(base_path).unwrap_or(path);
    match path {
        "/sign_in" | "/sign_out" | "/wait" | "/message" | "/metrics" => true,
        "/api/health" | "/api/openapi.json" => false,
        other => other.starts_with("/api/") || connector::is_path(other),
    }
}

/// How the gateway is.
#[derive(Serialize, ToSchema)]
pub(super) struct HealthReply {
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
    #[schema(value_type = String, example = "webrtc-gateway")]
    service: &'static str,
    #[schema(value_type = String)]
    version: &'static str,
    /// Seconds.
    uptime: u64,
    registered_agents: usize,
    active_calls: usize,
}

/// Tells how the gateway is. For everybody.
#[utoipa::path(get, path = "/api/health", tag = "operation",
    responses((status = 200, description = "It serves.", body = HealthReply)))]
pub(super) async fn health(State(app): Shared) -> Response {
    let health = app.backend.health();
    let reply = HealthReply {
        status: "ok",
        service: "webrtc-gateway",
        version: env!("CARGO_PKG_VERSION"),
        uptime: app.started.elapsed().as_secs(),
        registered_agents: health.registered_agents,
        active_calls: health.active_calls,
    };
    reply::json(StatusCode::OK, &reply)
}

async fn no_such_api() -> Response {
    let sentence = "there is nothing at this path of the API";
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", sentence).into_response()
}

async fn file(State(app): Shared, request: Request) -> Response {
    let path = request.uri().path();
    if app.connectors.could_be_meant(path) {
        return connector::unknown_path();
    }
    assets::serve(request.method(), path, request.headers(), &app.policy.load())
}

async fn outside_base_path(State(app): Shared, request: Request) -> Response {
    // The router does not take a base path with nothing but a slash behind it for one.
    if request.uri().path().strip_prefix(&app.base_path) == Some("/") {
        return assets::serve(request.method(), "/", request.headers(), &app.policy.load());
    }
    if request.uri().path() == "/" {
        return to_base_path(&app);
    }
    reply::text(StatusCode::NOT_FOUND, "there is nothing at this path; see http.base_path")
}

fn to_base_path(app: &App) -> Response {
    let mut response = reply::text(StatusCode::FOUND, "");
    if let Ok(target) = HeaderValue::from_str(&format!("{}/", app.base_path)) {
        response.headers_mut().insert(header::LOCATION, target);
    }
    response
}
