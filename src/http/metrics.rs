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
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept;
use super::app::{App, Shared};
use super::conn::Conn;
use super::connector;
use super::operators::{self, Role};
use super::reply::{self, Problem};
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

/// `metrics.listen`: plain HTTP with `/metrics` and nothing else, for whoever reaches it.
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
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
        let nothing = async || reply::text(StatusCode::NOT_FOUND, "only /metrics is here");
        let router = Router::new().route("/metrics", get(scraped)).fallback(nothing);
        Ok(Self { listener, address, router: router.with_state(scrape) })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let tasks = TaskTracker::new();
        loop {
            let (slot, stream, remote) = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = async {
                    let slot = Arc::clone(&slots).acquire_owned().await;
                    (slot, self.listener.accept().await)
                } => match accepted {
                    (Ok(slot), Ok((stream, remote))) => (slot, stream, remote),
                    (_, Err(error)) => {
                        tracing::warn!(%error, "accept failed at metrics.listen");
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        continue;
                    }
                    (Err(_closed), _) => break,
                },
            };
            let (router, drain) = (self.router.clone(), shutdown.clone());
            tasks.spawn(async move {
                let _slot = slot;
                accept::connection(stream, remote, None, router, drain).await;
            });
        }
    }
}
