//! One call with its timeline, and the SIP trace of one DN.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::history::reading;
use super::{json, note};
use crate::agent::{Backend, Operated, TracedDn};
use crate::http::app::Shared;
use crate::http::body;
use crate::http::faults::json::{BodyFaults, OperatorFaults};
use crate::http::operators::{Actor, Reader};
use crate::http::reply::{ErrorReply, Problem};
use crate::journal::{
    CallRecord, CallView, DnEvent, LONGEST_TRACE, QualityPoint, TimelineEvent, Timelines, Traces,
};
use crate::wire::jsapi::check_dn;

/// For how long a trace is on where nobody says it.
const DEFAULT_TRACE: u64 = 600;

/// One call.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CallReply {
    call: CallSummary,
    /// By time; what browser and SIP server said, and what the gateway noticed.
    timeline: Vec<TimelineEvent>,
    /// One point in 5 s, fewer in a long call.
    quality: Vec<QualityPoint>,
    /// Events that there was no room for.
    left_out: u32,
    /// What happened to the DN beside its calls: sign-ins, registrations.
    agent: Vec<DnEvent>,
}

/// A call as far as it is known. While it goes on, what belongs to its end is not there.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CallSummary {
    /// `calling`, `ringing`, `waiting`, `established`, `held` or `ended`.
    #[schema(value_type = String, example = "established")]
    state: &'static str,
    #[serde(flatten)]
    #[schema(value_type = Object)]
    record: serde_json::Map<String, serde_json::Value>,
}

/// What a live call does not have yet.
const OF_ITS_END: [&str; 11] = [
    "dialect",
    "ended",
    "talked_ms",
    "ended_by",
    "code",
    "reason",
    "sip_reason",
    "transfer",
    "digits",
    "codec",
    "concealed",
];

impl CallSummary {
    fn new(record: &CallRecord, state: &'static str) -> Self {
        // A struct of plain values is an object.
        let value = serde_json::to_value(record).unwrap_or_default();
        let mut record = match value {
            serde_json::Value::Object(record) => record,
            _ => serde_json::Map::new(),
        };
        if state != "ended" {
            record.retain(|name, _| !OF_ITS_END.contains(&name.as_str()));
        }
        Self { state, record }
    }
}

#[derive(Deserialize, IntoParams)]
pub(in crate::http) struct CallQuery {
    /// `1`: the messages' text too, keys and passwords left out.
    bodies: Option<String>,
}

/// One call with its timeline.
#[utoipa::path(get, path = "/api/calls/{id}", operation_id = "call", tag = "operation",
    security(("operator" = [])),
    params(
        ("id" = String, Path, description = "Our id of the call, a SIP Call-ID of it, or its CallUUID; a DN, or a client's own id, for its latest call.",
            example = "6561c2a0-17"),
        CallQuery,
    ),
    responses(
        (status = 200, description = "The call.", body = CallReply),
        (status = 404, description = "There is no such call, or not any more.", body = ErrorReply),
        (status = 503, description = "The store cannot be read.", body = ErrorReply),
        OperatorFaults,
    ))]
pub(in crate::http) async fn call(
    State(app): Shared,
    Path(id): Path<String>,
    Query(query): Query<CallQuery>,
    _: Reader,
) -> Response {
    let Some(timelines) = app.backend.timelines() else {
        return no_such_call().into_response();
    };
    match find(&timelines, id).await {
        Ok(CallView { record, state, mut timeline }) => {
            if !matches!(query.bodies.as_deref(), Some("1" | "true")) {
                timeline.events.iter_mut().for_each(|event| event.body = None);
            }
            let reply = CallReply {
                call: CallSummary::new(&record, state),
                timeline: timeline.events,
                quality: timeline.quality,
                left_out: timeline.left_out,
                agent: timelines.of_dn(&record.user),
            };
            json(StatusCode::OK, &reply)
        }
        Err(problem) => problem.into_response(),
    }
}

async fn find(timelines: &Arc<Timelines>, id: String) -> Result<CallView, Problem> {
    if let Some(call) = timelines.find(&id) {
        return Ok(call);
    }
    let timelines = Arc::clone(timelines);
    let kept = reading(move || timelines.find_kept(&id)).await?;
    let kept = kept.map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "store_unreadable", error)
    })?;
    kept.ok_or_else(no_such_call)
}

fn no_such_call() -> Problem {
    let sentence = "there is no such call, or not any more";
    Problem::new(StatusCode::NOT_FOUND, "no_such_call", sentence)
}

// Traces.

#[derive(Deserialize, ToSchema)]
pub(in crate::http) struct TraceOrder {
    on: bool,
    /// 1 to 86400; 600 unless given.
    seconds: Option<u64>,
}

/// How a DN's trace stands.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TraceReply {
    dn: String,
    on: bool,
    /// Until it ends by itself.
    seconds_left: u64,
    /// The last that happened to the DN beside its calls.
    agent: Vec<DnEvent>,
    /// What was traced, the newest last; as much of it as fits.
    messages: Vec<TimelineEvent>,
}

/// Switches the SIP trace of a DN: all it says and hears, REGISTER and OPTIONS too, into the log (level
/// info, target `sip_trace`) and into memory, until its time is over.
#[utoipa::path(put, path = "/api/trace/{dn}", operation_id = "set_trace", tag = "operation",
    security(("operator" = [])),
    params(("dn" = String, Path, description = "The DN.", example = "5001")),
    request_body = TraceOrder,
    responses(
        (status = 200, description = "How it stands now.", body = TraceReply),
        (status = 409, description = "Too many DNs are traced.", body = ErrorReply),
        OperatorFaults,
        BodyFaults,
    ))]
pub(in crate::http) async fn set_trace(
    State(app): Shared,
    Path(dn): Path<String>,
    Actor(operator): Actor,
    request: Request,
) -> Response {
    let order = match body::read_text(request.into_body()).await {
        Ok(text) => serde_json::from_str::<TraceOrder>(&text),
        Err(error) => return Problem::from(error).into_response(),
    };
    let longest = LONGEST_TRACE.as_secs();
    let order = order.ok().filter(|order| order.seconds.is_none_or(|s| (1..=longest).contains(&s)));
    let Some(order) = order.filter(|_| check_dn(&dn).is_ok()) else {
        let sentence = format!(
            "the body is {{\"on\":true,\"seconds\":1 to {longest}}}, the path ends in a DN"
        );
        return Problem::new(StatusCode::BAD_REQUEST, "bad_request", sentence).into_response();
    };
    let Some(traces) = app.backend.traces() else { return no_such_call().into_response() };
    if order.on {
        let time = Duration::from_secs(order.seconds.unwrap_or(DEFAULT_TRACE));
        if let Err(error) = traces.start(&dn, time, Instant::now()) {
            return Problem::new(StatusCode::CONFLICT, "too_many_traces", error).into_response();
        }
        tracing::info!(target: "sip_trace", dn, seconds = time.as_secs(), "the trace is on");
    } else if traces.stop(&dn) {
        tracing::info!(target: "sip_trace", dn, "the trace is off");
    }
    note(&app, &operator, Operated::Trace { dn: dn.clone(), on: order.on });
    json(StatusCode::OK, &trace_reply(&*app.backend, &traces, dn, false))
}

/// What was traced of a DN.
#[utoipa::path(get, path = "/api/trace/{dn}", operation_id = "trace", tag = "operation",
    security(("operator" = [])),
    params(("dn" = String, Path, description = "The DN.", example = "5001")),
    responses((status = 200, description = "As long as it is on, with what it has shown.", body = TraceReply), OperatorFaults))]
pub(in crate::http) async fn trace(
    State(app): Shared,
    Path(dn): Path<String>,
    _: Reader,
) -> Response {
    let Some(traces) = app.backend.traces() else { return no_such_call().into_response() };
    json(StatusCode::OK, &trace_reply(&*app.backend, &traces, dn, true))
}

#[derive(Serialize, ToSchema)]
pub(in crate::http) struct TracesReply {
    traces: Vec<TracedDn>,
    count: usize,
}

/// Which DNs are traced.
#[utoipa::path(get, path = "/api/trace", operation_id = "traces", tag = "operation",
    security(("operator" = [])),
    responses((status = 200, description = "All of them.", body = TracesReply), OperatorFaults))]
pub(in crate::http) async fn traces(State(app): Shared, _: Reader) -> Response {
    let traces = app.backend.operations().traced();
    json(StatusCode::OK, &TracesReply { count: traces.len(), traces })
}

fn trace_reply(backend: &dyn Backend, traces: &Traces, dn: String, messages: bool) -> TraceReply {
    let left = traces.left(&dn, Instant::now());
    TraceReply {
        on: left.is_some(),
        seconds_left: left.map_or(0, |left| left.as_secs()),
        agent: backend.timelines().map(|timelines| timelines.of_dn(&dn)).unwrap_or_default(),
        messages: if messages { traces.messages(&dn) } else { Vec::new() },
        dn,
    }
}
