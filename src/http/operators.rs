//! Who may look at the gateway and who may act on it.

use axum::http::{HeaderMap, StatusCode};

use super::app::App;
use super::conn::Conn;
use super::reply::Problem;

/// What an operator is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Read,
    Act,
}

/// Every route of the operations API begins with this. Without operators' tokens in the configuration the
/// loopback may do all, and nobody else anything.
///
/// # Errors
/// 401 for a token that is missing or unknown, 403 for one that may not, 429 for who guesses.
pub(super) fn check(
    app: &App,
    conn: &Conn,
    headers: &HeaderMap,
    _role: Role,
) -> Result<(), Problem> {
    let remote = conn.remote().ip();
    if app.tokens.has_operators() {
        return if app.tokens.is_operator(headers) {
            Ok(())
        } else {
            Err(super::tokens::refuse(app, remote))
        };
    }
    if remote.to_canonical().is_loopback() {
        return Ok(());
    }
    let sentence = "there are no operators' tokens, so that only this machine may ask; see http.operator_tokens";
    Err(Problem::new(StatusCode::FORBIDDEN, "loopback_only", sentence))
}
