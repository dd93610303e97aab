//! What an orchestrator asks. For everybody: it says nothing of anybody.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::agent::NotReady;
use crate::http::app::Shared;
use crate::panics;

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ProbeReply {
    /// `ok`, or `not_ready`.
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
    /// Why it should get no new sign-ins.
    reasons: Vec<NotReady>,
}

/// Tells that the process answers and is whole. A restart would mend what keeps it from it.
#[utoipa::path(get, path = "/livez", operation_id = "livez", tag = "operation",
    responses(
        (status = 200, description = "It lives.", body = ProbeReply),
        (status = 503, description = "A part of it is gone for good: it should be started again.", body = ProbeReply),
    ))]
pub(in crate::http) async fn livez() -> Response {
    reply(lost().collect())
}

fn lost() -> impl Iterator<Item = NotReady> {
    panics::lost().into_iter().map(|part| NotReady {
        code: "part_lost",
        text: format!("{part} is gone for good: the process should be started again"),
    })
}

fn reply(reasons: Vec<NotReady>) -> Response {
    if reasons.is_empty() {
        return json(StatusCode::OK, &ProbeReply { status: "ok", reasons });
    }
    json(StatusCode::SERVICE_UNAVAILABLE, &ProbeReply { status: "not_ready", reasons })
}

/// Tells whether new sign-ins should come here: not while it drains, has no SIP server or has lost a part of itself.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "operation",
    responses(
        (status = 200, description = "They should.", body = ProbeReply),
        (status = 503, description = "They should not; those who are here stay.", body = ProbeReply),
    ))]
pub(in crate::http) async fn readyz(State(app): Shared) -> Response {
    let mut reasons = app.backend.operations().not_ready();
    if app.draining.is_cancelled() && !reasons.iter().any(|reason| reason.code == "draining") {
        reasons.push(NotReady { code: "draining", text: "the gateway is stopping".to_owned() });
    }
    reasons.extend(lost());
    reply(reasons)
}
