//! `GET /api/events`: the event stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::MissedTickBehavior;

use super::hub::Hub;
use crate::http::app::{App, Shared};
use crate::http::conn::Conn;
use crate::http::faults::json::OperatorFaults;
use crate::http::operators::{self, Reader, Role};
use crate::http::reply::{self, ErrorReply, Problem};

/// A comment comes so often: most proxies give a connection up that is quiet for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Who takes nothing for so long is gone, or might as well be.
const STUCK: Duration = Duration::from_secs(30);

/// Events on their way into the connection. What comes meanwhile waits in the hub, which all share.
const AHEAD: usize = 2;

/// When to try again where there are too many streams.
const RETRY_SECONDS: u64 = 10;

/// What the asker may: `read` or `act`. Not in the events, which are the same for all.
const ROLE: HeaderName = HeaderName::from_static("operator-role");

/// Agents, calls, SIP servers, alerts and what happens, as it happens; see `events.md`.
#[utoipa::path(get, path = "/api/events", operation_id = "events", tag = "operation",
    security(("operator" = [])),
    responses(
        (status = 200, description = "Server-sent events, the first of them a snapshot. Does not end by itself.", body = Object, content_type = "text/event-stream"),
        (status = 503, description = "There are 64 streams already; `Retry-After` says when to come back.", body = ErrorReply),
        OperatorFaults,
    ))]
pub(in crate::http) async fn events(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    headers: HeaderMap,
    _: Reader,
) -> Response {
    let Some(place) = app.events.place() else {
        let sentence = "as many look on as the gateway has room for";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Problem::new(status, "too_many_streams", sentence);
        return Problem { retry_after: Some(RETRY_SECONDS), ..problem }.into_response();
    };
    let may_act = operators::check(&app, &conn, &headers, Role::Act).is_ok();
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(feed(app, conn, headers, sender, place));
    let body = Body::new(Stream(receiver));
    let mut response = reply::with_type(StatusCode::OK, "text/event-stream", body);
    let role = if may_act { "act" } else { "read" };
    response.headers_mut().insert(ROLE, HeaderValue::from_static(role));
    response
}

/// Fills one stream until either end of it is over.
async fn feed(
    app: Arc<App>,
    conn: Arc<Conn>,
    headers: HeaderMap,
    stream: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
) {
    let (mut events, mut next) = Hub::join(&app.events, &app.backend);
    let mut beat = tokio::time::interval(KEEP_ALIVE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.reset();
    loop {
        match tokio::time::timeout(STUCK, stream.send(next)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        next = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => {
                    let snapshot;
                    (events, snapshot) = Hub::join(&app.events, &app.backend);
                    snapshot
                }
                Err(RecvError::Closed) => return,
            },
            _ = beat.tick() => {
                // A token that was taken back does not look on.
                if operators::check(&app, &conn, &headers, Role::Read).is_err() {
                    return;
                }
                Bytes::from_static(b":\n\n")
            }
            () = app.draining.cancelled() => return,
            () = stream.closed() => return,
        };
    }
}

struct Stream(mpsc::Receiver<Bytes>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
