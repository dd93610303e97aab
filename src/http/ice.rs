//! `GET /api/ice?id=`: STUN and TURN servers for the peer connections of those who are signed in.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::app::{App, Shared};
use super::reply::{self, Problem};
use super::rest::{Parameters, not_signed_in, wrong_method};
use crate::agent::{IceServer, IceServers};

pub(super) async fn servers(State(app): Shared, request: Request) -> Response {
    if request.method() != Method::GET {
        return wrong_method("GET, OPTIONS");
    }
    match find(&app, &request) {
        Ok(found) => {
            reply::with_type(StatusCode::OK, "application/json", render(&found).to_string())
        }
        Err(problem) => problem.into_response(),
    }
}

/// For sessions of both dialects, by what names them there: the client's id or the SSID.
fn find(app: &App, request: &Request) -> Result<IceServers, Problem> {
    let parameters = Parameters::of_query(request.uri())?;
    let id = parameters.require("id", &["id"])?;
    let session = app.backend.by_client_id(id).or_else(|| app.backend.by_ssid(id));
    let session =
        session.filter(|session| !session.ended().is_cancelled()).ok_or_else(not_signed_in)?;
    session.touch(Instant::now());
    Ok(app.backend.ice_servers(session.identity()))
}

/// An `RTCConfiguration` with a member more; browsers take it as it is.
fn render(found: &IceServers) -> Value {
    let server = |server: &IceServer| match &server.login {
        None => json!({ "urls": server.urls }),
        Some(login) => json!({
            "urls": server.urls,
            "username": login.username,
            "credential": login.credential.expose(),
            "expires": login.expires,
        }),
    };
    let servers: Vec<Value> = found.servers.iter().map(server).collect();
    json!({ "iceServers": servers, "ttl": found.ttl.as_secs() })
}
