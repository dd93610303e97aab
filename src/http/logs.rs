//! `/api/log`: the log's level, changed while the gateway runs.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{App, Shared};
use super::body;
use super::operations;
use super::operators::{Actor, Operator, Reader};
use super::reply::{self, ErrorReply, Problem};
use crate::agent::Operated;
use crate::journal::unix_ms;
use crate::telemetry::logs::{self, LevelError, Logs, MAX_SECONDS};

/// The level that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogRequest {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter of targets.
    #[schema(max_length = 1024, example = "info,wrtc_gateway::sip=debug")]
    level: String,
    /// For so long; without it until the next change, a reload that changes `log.level`, or a restart.
    #[schema(minimum = 1, maximum = 86_400, example = 600)]
    seconds: Option<u64>,
}

/// How the log is.
#[derive(Serialize, ToSchema)]
pub(super) struct LogReply {
    #[schema(example = "info,wrtc_gateway::sip=debug")]
    level: String,
    /// `log.level`.
    #[schema(example = "info")]
    configured: String,
    /// When it goes back to that, Unix milliseconds.
    until: Option<u64>,
    /// Lines that there was no room for or that could not be written, since the start.
    dropped_lines: u64,
}

/// Tells the log's level. For operators.
#[utoipa::path(get, path = "/api/log", operation_id = "log", tag = "operation",
    security(("operator" = []), ()),
    responses(
        (status = 200, description = "The level.", body = LogReply),
        (status = 401, description = "This wants an operator's token.", body = ErrorReply),
        (status = 403, description = "There are no operators' tokens, and the request comes from another machine.",
            body = ErrorReply),
        (status = 429, description = "Too many wrong tokens.", body = ErrorReply),
        (status = 503, description = "There is no log.", body = ErrorReply),
    ))]
pub(super) async fn status(_: Reader) -> Response {
    log().map(show).unwrap_or_else(Problem::into_response)
}

/// Changes the log's level, for a time or until further notice. For operators.
#[utoipa::path(put, path = "/api/log", operation_id = "set_log", tag = "operation",
    request_body = LogRequest,
    security(("operator" = []), ()),
    responses(
        (status = 200, description = "The level that counts now.", body = LogReply),
        (status = 400, description = "It is no level, or the body is none.", body = ErrorReply),
        (status = 401, description = "This wants an operator's token.", body = ErrorReply),
        (status = 403, description = "The token may only read, or there is none and the request comes from another machine.",
            body = ErrorReply),
        (status = 408, description = "The body took too long.", body = ErrorReply),
        (status = 413, description = "The body is too large.", body = ErrorReply),
        (status = 429, description = "Too many wrong tokens.", body = ErrorReply),
        (status = 503, description = "There is no log.", body = ErrorReply),
    ))]
pub(super) async fn set(State(app): Shared, Actor(operator): Actor, request: Request) -> Response {
    change(&app, &operator, request).await.unwrap_or_else(Problem::into_response)
}

async fn change(app: &App, operator: &Operator, request: Request) -> Result<Response, Problem> {
    let body = body::read_text(request.into_body()).await?;
    let bad = |sentence: String| Problem::new(StatusCode::BAD_REQUEST, "bad_request", sentence);
    let wanted: LogRequest = serde_json::from_str(&body).map_err(|_| {
        bad("the body is to be {\"level\":\"info\",\"seconds\":600}; the last may be left out"
            .into())
    })?;
    if wanted.seconds.is_some_and(|seconds| !(1..=MAX_SECONDS).contains(&seconds)) {
        return Err(bad(format!("`seconds` is 1 to {MAX_SECONDS}")));
    }
    let logs = log()?;
    let time = wanted.seconds.map(Duration::from_secs);
    let change = logs.set(&wanted.level, time).map_err(|error| match error {
        LevelError::Bad(sentence) => bad(format!("`level`: {sentence}")),
        LevelError::Gone(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_log", error),
    })?;
    let did = Operated::Log { level: wanted.level, seconds: wanted.seconds };
    operations::note(app, operator, did);
    if let Some(time) = time {
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            logs.revert(change);
        });
    }
    Ok(show(logs))
}

fn log() -> Result<&'static Logs, Problem> {
    logs::logs().ok_or_else(|| {
        let sentence = "this process was started without a log";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_log", sentence)
    })
}

fn show(logs: &Logs) -> Response {
    let status = logs.status();
    let reply = LogReply {
        level: status.level,
        configured: status.configured,
        until: status.until.map(unix_ms),
        dropped_lines: status.dropped,
    };
    reply::json(StatusCode::OK, &reply)
}
