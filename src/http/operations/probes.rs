//! What an orchestrator asks. For everybody: it says nothing of anybody.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;
use crate::agent::NotReady;
use crate::http::app::Shared;

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ProbeReply {
    /// `ok`, or `not_ready`.
    #[schema(value_type = String, example = "ok")]
    status: &'static str,
    /// Why it should get no new sign-ins.
    reasons: Vec<NotReady>,
}

/// Tells that the process answers. A restart would mend what keeps it from it.
#[utoipa::path(get, path = "/livez", operation_id = "livez", tag = "operation",
    responses((status = 200, description = "It lives.", body = ProbeReply)))]
pub(in crate::http) async fn livez() -> Response {
    json(StatusCode::OK, &ProbeReply { status: "ok", reasons: Vec::new() })
}

/// Tells whether new sign-ins should come here: not while it drains or has no SIP server.
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
    if reasons.is_empty() {
        return json(StatusCode::OK, &ProbeReply { status: "ok", reasons });
    }
    json(StatusCode::SERVICE_UNAVAILABLE, &ProbeReply { status: "not_ready", reasons })
}
