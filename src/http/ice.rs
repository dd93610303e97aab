//! `GET /api/ice?id=`: STUN and TURN servers for the peer connections of those who are signed in.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::Shared;
use super::faults::json::SessionFaults;
use super::reply;
use super::rest::session_of_any_dialect;
use crate::agent::{IceServer, IceServers};

/// An `RTCConfiguration` with a member more; browsers take it as it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IceReply<'a> {
    ice_servers: Vec<IceServerReply<'a>>,
    /// For how many seconds the credentials open relays; 0 where there are none.
    ttl: u64,
}

/// Name and password are TURN's; STUN needs none.
#[derive(Serialize, ToSchema)]
pub(super) struct IceServerReply<'a> {
    urls: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    /// Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

/// The STUN and TURN servers for the peer connections of a session.
#[utoipa::path(get, path = "/api/ice", operation_id = "ice_servers", tag = "operation",
    params(("id" = String, Query, description = "The SSID, or the id of the raw-SDP surface.", example = "agent123")),
    responses(
        (status = 200, description = "An `RTCConfiguration`.", body = IceReply<'static>),
        SessionFaults,
    ))]
pub(super) async fn servers(State(app): Shared, request: Request) -> Response {
    match session_of_any_dialect(&app, request.uri()) {
        Ok(session) => answer(&app.backend.ice_servers(session.identity())),
        Err(problem) => problem.into_response(),
    }
}

fn answer(found: &IceServers) -> Response {
    let ice_servers = found.servers.iter().map(|server: &IceServer| {
        let login = server.login.as_ref();
        IceServerReply {
            urls: &server.urls,
            username: login.map(|login| login.username.as_str()),
            credential: login.map(|login| login.credential.expose()),
            expires: login.map(|login| login.expires),
        }
    });
    let reply = IceReply { ice_servers: ice_servers.collect(), ttl: found.ttl.as_secs() };
    reply::json(StatusCode::OK, &reply)
}
