//! The operations API: what goes on, and what an operator may do about it. `api-spec/events.md` has the
//! event stream in prose.
//!
//! Every handler but the probes takes a [`super::operators::Reader`] or an [`super::operators::Actor`].

pub(super) mod agents;
pub(super) mod call;
pub(super) mod calls;
mod csv;
pub(super) mod events;
mod feed;
pub(super) mod history;
mod hub;
pub(super) mod probes;
pub(super) mod stats;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::operators::Operator;
use super::reply::{Problem, json};
use crate::agent::{Operated, OperationError};

pub(super) use hub::Hub;

/// Says in the log and in the history who did it.
pub(super) fn note(app: &App, operator: &Operator, did: Operated) {
    let whom = match &did {
        Operated::Trace { dn, .. } => dn,
        Operated::Log { level, .. } => level,
        Operated::Reload | Operated::Drain => "",
    };
    operator.record(did.word(), whom);
    app.backend.operations().operated(did, operator.by());
}

/// An order was carried out.
#[derive(Serialize, ToSchema)]
pub(super) struct DoneReply {
    success: bool,
}

fn done(result: Result<(), OperationError>) -> Response {
    match result {
        Ok(()) => json(StatusCode::OK, &DoneReply { success: true }),
        Err(error) => {
            let (status, code) = match error {
                OperationError::NoSuchCall => (StatusCode::NOT_FOUND, "no_such_call"),
                OperationError::SeveralCalls(_) => (StatusCode::CONFLICT, "several_calls"),
                OperationError::NoSuchDn => (StatusCode::NOT_FOUND, "not_signed_in"),
            };
            Problem::new(status, code, error).into_response()
        }
    }
}
