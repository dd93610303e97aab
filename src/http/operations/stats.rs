//! Counters, SIP servers, alerts, charts, history.

use std::time::SystemTime;

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::json;
use crate::agent::{Alert, HistoryItem, SeriesPoint, SipServerStatus};
use crate::http::app::Shared;
use crate::http::faults::json::OperatorFaults;
use crate::http::operators::Reader;
use crate::http::reply::{ErrorReply, Problem, rfc3339};

/// Minutes of a chart: as many as are kept, a day.
const MAX_MINUTES: usize = 1440;

/// As many items as are kept.
const MAX_HISTORY: usize = 1000;

/// Sign-ins of DNs and what became of them, since the start.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct StatsReply {
    /// The three that follow together.
    total_requests: u64,
    /// DNs that came to be registered; a refresh does not count.
    successful_registrations: u64,
    /// DNs whose sessions ended, but for those that another one took over.
    unregistrations: u64,
    /// Sign-ins that were refused, and registrations that were lost.
    failed_attempts: u64,
    /// Different DNs that have been registered.
    unique_dns: u64,
    currently_registered: u64,
    /// RFC 3339.
    timestamp: String,
}

/// Sign-ins of DNs and what became of them, since the start.
#[utoipa::path(get, path = "/api/stats", operation_id = "stats", tag = "operation",
    security(("operator" = [])),
    responses((status = 200, description = "Counters.", body = StatsReply), OperatorFaults))]
pub(in crate::http) async fn stats(State(app): Shared, _: Reader) -> Response {
    let totals = app.backend.operations().registration_totals();
    let reply = StatsReply {
        total_requests: totals.successful + totals.unregistrations + totals.failed,
        successful_registrations: totals.successful,
        unregistrations: totals.unregistrations,
        failed_attempts: totals.failed,
        unique_dns: totals.unique_dns,
        currently_registered: totals.currently_registered,
        timestamp: rfc3339(SystemTime::now()),
    };
    json(StatusCode::OK, &reply)
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct ServersReply {
    servers: Vec<SipServerStatus>,
    count: usize,
}

/// The SIP servers in the order to be tried.
#[utoipa::path(get, path = "/api/servers", operation_id = "sip_servers", tag = "operation",
    security(("operator" = [])),
    responses((status = 200, description = "All of them.", body = ServersReply), OperatorFaults))]
pub(in crate::http) async fn servers(State(app): Shared, _: Reader) -> Response {
    let servers = app.backend.operations().servers();
    json(StatusCode::OK, &ServersReply { count: servers.len(), servers })
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AlertsReply {
    alerts: Vec<Alert>,
    count: usize,
}

/// What wants attention now.
#[utoipa::path(get, path = "/api/alerts", operation_id = "alerts", tag = "operation",
    security(("operator" = [])),
    responses((status = 200, description = "The oldest first.", body = AlertsReply), OperatorFaults))]
pub(in crate::http) async fn alerts(State(app): Shared, _: Reader) -> Response {
    let alerts = app.backend.operations().alerts();
    json(StatusCode::OK, &AlertsReply { count: alerts.len(), alerts })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesQuery {
    #[serde(default = "an_hour")]
    minutes: usize,
}

fn an_hour() -> usize {
    60
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SeriesReply {
    step_seconds: u64,
    points: Vec<SeriesPoint>,
}

/// Calls, set-up times, scores and loss by the minute, for charts.
#[utoipa::path(get, path = "/api/series", operation_id = "series", tag = "operation",
    security(("operator" = [])),
    params(("minutes" = Option<u16>, Query, description = "1 to 1440; 60 unless given.", minimum = 1, maximum = 1440)),
    responses(
        (status = 200, description = "The oldest point first; the last one is of the minute that is not over.", body = SeriesReply),
        (status = 400, description = "`minutes` is no number of 1 to 1440.", body = ErrorReply),
        OperatorFaults,
    ))]
pub(in crate::http) async fn series(State(app): Shared, uri: Uri, _: Reader) -> Response {
    match Query::<SeriesQuery>::try_from_uri(&uri) {
        Ok(Query(query)) if (1..=MAX_MINUTES).contains(&query.minutes) => {
            let points = app.backend.operations().series(query.minutes);
            json(StatusCode::OK, &SeriesReply { step_seconds: 60, points })
        }
        _ => malformed("`minutes` is a number of 1 to 1440"),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    #[serde(default)]
    after: u64,
    #[serde(default = "two_hundred")]
    limit: usize,
}

fn two_hundred() -> usize {
    200
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct HistoryReply {
    history: Vec<HistoryItem>,
}

/// What happened lately.
#[utoipa::path(get, path = "/api/history", operation_id = "history", tag = "operation",
    security(("operator" = [])),
    params(
        ("after" = Option<u64>, Query, description = "Only items with a higher id."),
        ("limit" = Option<u16>, Query, description = "The latest so many: 1 to 1000; 200 unless given.", minimum = 1, maximum = 1000),
    ),
    responses(
        (status = 200, description = "The oldest first.", body = HistoryReply),
        (status = 400, description = "A parameter is no number, or not in its range.", body = ErrorReply),
        OperatorFaults,
    ))]
pub(in crate::http) async fn history(State(app): Shared, uri: Uri, _: Reader) -> Response {
    match Query::<HistoryQuery>::try_from_uri(&uri) {
        Ok(Query(query)) if (1..=MAX_HISTORY).contains(&query.limit) => {
            let history = app.backend.operations().history(query.after, query.limit);
            json(StatusCode::OK, &HistoryReply { history })
        }
        _ => malformed("`after` is an item's id, `limit` a number of 1 to 1000"),
    }
}

fn malformed(sentence: &str) -> Response {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_parameter", sentence).into_response()
}
