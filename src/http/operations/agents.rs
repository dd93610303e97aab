//! Who is signed in, and how the DNs are registered.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::{DoneReply, done, json};
use crate::agent::{AgentStatus, DnRegistration, RegistrationBrief};
use crate::http::app::Shared;
use crate::http::faults::json::OperatorFaults;
use crate::http::operators::{Actor, Reader};
use crate::http::reply::{ErrorReply, rfc3339};

/// The DNs of this gateway, as the SIP server has them.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RegistrationsReply {
    success: bool,
    registrations: Vec<RegistrationReply>,
    total_count: usize,
    /// RFC 3339.
    timestamp: String,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RegistrationReply {
    /// The DN.
    endpoint: String,
    /// `sip:DN@domain`.
    aor: String,
    /// As it stands in the Contact header.
    contact: String,
    /// `registering`, `registered`, `failing` (it will be tried again), `refused` or `signed_out`.
    #[schema(value_type = String, example = "registered")]
    status: &'static str,
    /// `udp`, `tcp` or `tls`.
    #[schema(value_type = String, example = "udp")]
    transport: &'static str,
    /// Seconds until what was granted last runs out; null when nothing was.
    expiry: Option<u64>,
    user_agent: String,
    /// RFC 3339; null while it is not registered.
    registered_at: Option<String>,
    /// Where the contact leads: the gateway, as the SIP server sees it.
    ip_address: Option<String>,
    port: Option<u16>,
    /// As in `udp:192.0.2.1:5060`.
    server: String,
    /// The SIP server's last answer, as in `200 OK`.
    last_reason: Option<String>,
}

impl From<DnRegistration> for RegistrationReply {
    fn from(dn: DnRegistration) -> Self {
        RegistrationReply {
            endpoint: dn.dn,
            aor: dn.aor,
            contact: dn.contact,
            status: dn.status,
            transport: dn.transport,
            expiry: dn.expires_in,
            user_agent: dn.user_agent,
            registered_at: dn.registered_at.map(date),
            ip_address: dn.address.map(|address| address.ip().to_string()),
            port: dn.address.map(|address| address.port()),
            server: dn.server,
            last_reason: dn.last_reason,
        }
    }
}

/// Whoever is signed in.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AgentsReply {
    agents: Vec<AgentReply>,
    count: usize,
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AgentReply {
    /// The client's own id in the raw-SDP dialect, else the DN.
    id: String,
    /// The DN; a guest's id.
    dn: String,
    /// RFC 3339; null while it is not registered.
    registered_at: Option<String>,
    guest: bool,
    /// `jsapi` or `rest`.
    #[schema(value_type = String, example = "jsapi")]
    dialect: &'static str,
    /// The state of its call, else `ready`, `absent` or `unregistered`.
    #[schema(value_type = String, example = "ready")]
    state: &'static str,
    /// Null for a guest.
    registration: Option<RegistrationBrief>,
    /// Calls it is in.
    calls: usize,
}

impl From<AgentStatus> for AgentReply {
    fn from(agent: AgentStatus) -> Self {
        AgentReply {
            id: agent.id,
            dn: agent.dn,
            registered_at: agent.registered_at.map(date),
            guest: agent.guest,
            dialect: agent.dialect,
            state: agent.state,
            registration: agent.registration,
            calls: agent.calls,
        }
    }
}

fn date(unix_ms: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_millis(unix_ms))
}

/// How each DN is registered, by what the SIP server says.
#[utoipa::path(get, path = "/api/registrations", operation_id = "registrations", tag = "operation",
    security(("operator" = [])),
    responses((status = 200, description = "All DNs that are signed in.", body = RegistrationsReply), OperatorFaults))]
pub(in crate::http) async fn registrations(State(app): Shared, _: Reader) -> Response {
    let all = app.backend.operations().registrations();
    let registrations: Vec<_> = all.into_iter().map(RegistrationReply::from).collect();
    let reply = RegistrationsReply {
        success: true,
        total_count: registrations.len(),
        registrations,
        timestamp: rfc3339(SystemTime::now()),
    };
    json(StatusCode::OK, &reply)
}

/// The agents and guests who are signed in.
#[utoipa::path(get, path = "/api/agents", operation_id = "agents", tag = "operation",
    security(("operator" = [])),
    responses((status = 200, description = "All of them.", body = AgentsReply), OperatorFaults))]
pub(in crate::http) async fn agents(State(app): Shared, _: Reader) -> Response {
    let all = app.backend.operations().agents();
    let agents: Vec<_> = all.into_iter().map(AgentReply::from).collect();
    json(StatusCode::OK, &AgentsReply { count: agents.len(), agents })
}

/// Signs a DN out: its call is released, the DN unregistered, its page told that the session is over.
#[utoipa::path(post, path = "/api/agents/{dn}/sign_out", operation_id = "sign_out_dn", tag = "operation",
    security(("operator" = [])),
    params(("dn" = String, Path, description = "The DN.", example = "5001")),
    responses(
        (status = 200, description = "It is signed out.", body = DoneReply),
        (status = 404, description = "Nobody is signed in at this DN.", body = ErrorReply),
        OperatorFaults,
    ))]
pub(in crate::http) async fn sign_out(
    State(app): Shared,
    Path(dn): Path<String>,
    Actor(operator): Actor,
) -> Response {
    let result = app.backend.operations().sign_out_dn(&dn, operator.by()).await;
    if result.is_ok() {
        operator.record("sign_out", &dn);
    }
    done(result)
}
