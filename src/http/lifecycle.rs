//! What an operator asks of the gateway as a process: to let go, to read its configuration again.

use std::time::SystemTime;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::Shared;
use super::faults::json::OperatorFaults;
use super::operations;
use super::operators::Actor;
use super::reply::{self, Problem, json};
use crate::agent::{Operated, ReloadError};

/// How a drain stands.
#[derive(Serialize, ToSchema)]
pub(super) struct DrainReply {
    /// Those that are waited for.
    calls: usize,
    /// Until it ends in any case.
    seconds_left: u64,
}

/// What came of reading the configuration again.
#[derive(Serialize, ToSchema)]
pub(super) struct ReloadReply {
    /// Keys with a new value that is in use.
    #[schema(value_type = Vec<String>, example = json!(["log.level"]))]
    changed: Vec<&'static str>,
    /// Keys with a new value that wants a restart.
    #[schema(value_type = Vec<String>, example = json!(["http.listen"]))]
    restart: Vec<&'static str>,
}

/// Why the old configuration stays in use.
#[derive(Serialize, ToSchema)]
pub(super) struct ReloadFaults {
    #[schema(value_type = String)]
    error: &'static str,
    #[schema(value_type = String, example = "bad_configuration")]
    code: &'static str,
    /// Each with its source, its key, and what to do.
    faults: Vec<String>,
    /// RFC 3339.
    timestamp: String,
}

/// Lets go of everybody, then ends.
///
/// As SIGTERM does it: `/readyz` says 503, sign-ins are refused with 503 and `Retry-After`, agents without a call leave
/// at once, the others with their last one, and after `gateway.drain_seconds` it ends in any case.
#[utoipa::path(post, path = "/api/drain", tag = "operation", security(("operator" = [])), responses(
    (status = 202, description = "It drains, or did so already.", body = DrainReply),
    OperatorFaults,
))]
pub(super) async fn drain(State(app): Shared, Actor(operator): Actor) -> Response {
    operations::note(&app, &operator, Operated::Drain);
    let draining = app.backend.drain();
    let reply = DrainReply { calls: draining.calls, seconds_left: draining.left.as_secs() };
    json(StatusCode::ACCEPTED, &reply)
}

/// Reads the configuration again, as SIGHUP does it.
///
/// The same file, environment and command line; all of it is checked before anything changes, and no call, poll or
/// registration is dropped.
#[utoipa::path(post, path = "/api/reload", tag = "operation", security(("operator" = [])), responses(
    (status = 200, description = "What has changed.", body = ReloadReply),
    (status = 409, description = "It was not started from sources that can be read again.", body = reply::ErrorReply),
    (status = 422, description = "Something is wrong with it; the old one stays in use.", body = ReloadFaults),
    OperatorFaults,
))]
pub(super) async fn reload(State(app): Shared, Actor(operator): Actor) -> Response {
    operations::note(&app, &operator, Operated::Reload);
    match app.backend.reload().await {
        Ok(done) => {
            let reply = ReloadReply { changed: done.changed, restart: done.restart };
            json(StatusCode::OK, &reply)
        }
        Err(error @ ReloadError::NoSources) => {
            Problem::new(StatusCode::CONFLICT, "no_sources", error).into_response()
        }
        Err(ReloadError::Faults(faults)) => {
            let error = "the configuration has faults; the one in use stays";
            let timestamp = reply::rfc3339(SystemTime::now());
            let reply = ReloadFaults { error, code: "bad_configuration", faults, timestamp };
            json(StatusCode::UNPROCESSABLE_ENTITY, &reply)
        }
    }
}
