//! `GET /metrics`: for Prometheus, at the gateway's own address or at one with nothing else on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, Door};
use super::app::{self, App, Shared};
use super::conn::Conn;
use super::connector;
use super::control::Control;
use super::operators::{self, Role};
use super::reply::{self, Problem};
use super::seats::Seats;
use super::server::BindError;
use crate::telemetry::metrics::{Exporter, Format, Metrics};

/// At the address of its own: a few Prometheus servers, each with a connection that it keeps.
const MAX_CONNECTIONS: usize = 64;

/// What there is to scrape, and whether anybody may.
#[derive(Clone)]
pub struct Scrape {
    pub exporter: Arc<Exporter>,
    pub metrics: Metrics,
    /// `metrics.open`.
    pub open: bool,
}

/// Counters, histograms and what stands, in Prometheus' text format or OpenMetrics (by `Accept`). For
/// operators, unless `metrics.open` is set.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    security(("operator" = []), ()),
    responses(
        (status = 200, description = "See docs/metrics.md.", body = String, content_type = "text/plain"),
        (status = 401, description = "This wants an operator's token.", body = super::reply::ErrorReply),
        (status = 403, description = "There are no operators' tokens, and the request comes from another machine.",
            body = super::reply::ErrorReply),
        (status = 429, description = "Too many wrong tokens.", body = super::reply::ErrorReply),
    ))]
pub(super) async fn metrics(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    headers: HeaderMap,
) -> Response {
    let Some(scrape) = &app.surroundings.scrape else {
        let sentence = "this server was started without metrics";
        return Problem::new(StatusCode::NOT_FOUND, "no_metrics", sentence).into_response();
    };
    if !scrape.open
        && let Err(problem) = operators::check(&app, &conn, &headers, Role::Read)
    {
        return problem.into_response();
    }
    render(scrape, &headers).await
}

async fn render(scrape: &Scrape, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::wanted(accept);
    let exporter = Arc::clone(&scrape.exporter);
    match tokio::task::spawn_blocking(move || exporter.render(format)).await {
        Ok(text) => reply::with_type(StatusCode::OK, format.content_type(), text),
        Err(_stopping) => reply::text(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping"),
    }
}

/// The template that a request is counted under. Never its path, of which there are as many as a
/// stranger cares to make up.
pub(super) fn route(app: &App, request: &Request) -> Option<&'static str> {
    let matched = request.extensions().get::<MatchedPath>()?.as_str();
    let inside = matched.strip_prefix(&app.base_path)?;
    if let Some((template, _)) = app.allowed.get_key_value(inside) {
        return Some(template);
    }
    connector::is_path(inside).then_some("/connector")
}

/// One request more. What has no route is a file of the pages, or nothing.
pub(super) fn count(app: &App, route: Option<&'static str>, status: StatusCode) {
    let Some(scrape) = &app.surroundings.scrape else { return };
    let good = status.is_success() || status.is_redirection();
    let route = route.unwrap_or(if good { "file" } else { "other" });
    scrape.metrics.http_request(route, status.as_u16());
}

pub(super) fn count_connection_fault(app: &App, fault: &'static str) {
    if let Some(scrape) = &app.surroundings.scrape {
        scrape.metrics.http_connection_fault(fault);
    }
}

/// `metrics.listen`: plain HTTP with `/metrics`, `/livez`, `/readyz` and nothing else, for whoever reaches
/// it. What floods the agents' port does not come here.
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
    scrape: Scrape,
    router: Router,
}

impl MetricsServer {
    /// # Errors
    /// The port is taken or may not be opened.
    pub fn bind(address: SocketAddr, scrape: Scrape) -> Result<Self, BindError> {
        let fault = |source: io::Error| BindError::Metrics { address, source };
        let (listener, address) = accept::listen(address).map_err(fault)?;
        let scraped = async |State(scrape): State<Scrape>, headers: HeaderMap| {
            render(&scrape, &headers).await
        };
        let router = Router::new().route("/metrics", get(scraped)).with_state(scrape.clone());
        Ok(Self { listener, address, scrape, router })
    }

    /// Answers for this server's gateway, too.
    #[must_use]
    pub fn with_probes(self, control: &Control) -> Self {
        let probes = app::probes().with_state(control.app());
        Self { router: self.router.merge(probes), ..self }
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let nothing = async || {
            reply::text(StatusCode::NOT_FOUND, "only /metrics, /livez and /readyz are here")
        };
        let router = self.router.fallback(nothing);
        let door = Door {
            tls: None,
            // Who comes without a place here is answered all the same: it is one request.
            crowded: router.clone(),
            router,
            seats: Seats::new(MAX_CONNECTIONS, Some(self.scrape.metrics)),
            drain: shutdown.clone(),
        };
        let (tasks, never) = (TaskTracker::new(), CancellationToken::new());
        accept::serve(&self.listener, &door, |_| Some(()), &tasks, &never, &shutdown).await;
    }
}
