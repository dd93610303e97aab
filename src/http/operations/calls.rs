//! The calls that go on, and their forced end.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::{DoneReply, done, json};
use crate::agent::CallStatus;
use crate::http::app::Shared;
use crate::http::faults::json::OperatorFaults;
use crate::http::operators::{Actor, Reader};
use crate::http::reply::ErrorReply;

/// The calls that go on.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ActiveCallsReply {
    calls: Vec<CallStatus>,
    count: usize,
}

/// The calls that go on, with how they sound now.
#[utoipa::path(get, path = "/api/calls/active", operation_id = "active_calls", tag = "operation",
    security(("operator" = [])),
    responses((status = 200, description = "The oldest first.", body = ActiveCallsReply), OperatorFaults))]
pub(in crate::http) async fn active(State(app): Shared, _: Reader) -> Response {
    let calls = app.backend.operations().calls();
    json(StatusCode::OK, &ActiveCallsReply { count: calls.len(), calls })
}

/// Ends a call; both sides are told.
#[utoipa::path(post, path = "/api/calls/{id}/hangup", operation_id = "hang_up_call", tag = "operation",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Our id of the call, a SIP Call-ID of it, or its CallUUID; a DN, or a client's own id, where it has one call only.",
        example = "6561c2a0-17")),
    responses(
        (status = 200, description = "It is over.", body = DoneReply),
        (status = 404, description = "There is no such call, or not any more.", body = ErrorReply),
        (status = 409, description = "Several calls that go on are called so.", body = ErrorReply),
        OperatorFaults,
    ))]
pub(in crate::http) async fn hang_up(
    State(app): Shared,
    Path(id): Path<String>,
    Actor(operator): Actor,
) -> Response {
    let result = app.backend.operations().hang_up(&id, operator.by()).await;
    if result.is_ok() {
        operator.record("hangup", &id);
    }
    done(result)
}
