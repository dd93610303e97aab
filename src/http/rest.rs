//! The raw-SDP surface (rest-api.md section 1).
//!
//! Deliveries: a client that sends `ack=<n>` (from its first poll on: `ack=0`) confirms messages
//! itself, and only so; what it did not confirm is sent again with the same `X-Wrtc-Seq`. For a
//! client that never sends `ack` the evidence is TCP's, as on the JSAPI surface.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use serde_json::Value;
use utoipa::ToSchema;

use super::app::{App, Shared};
use super::body;
use super::conn::Conn;
use super::faults::json::{BodyFaults, SessionFaults, SignInFaults};
use super::jsapi::throttled_sign_in;
use super::reply::{self, ErrorReply, Problem};
use super::tokens::is_token;
use crate::agent::{
    Delivery, Dialect, EndReason, Identity, Poll, Polled, Session, SignIn, SignInError,
};
use crate::secret::Secret;
use crate::wire::{ToBrowser, jsapi::check_dn, jsapi::percent_decode, rest as wire};

/// Seconds a poll hangs by default, and at most.
const DEFAULT_WAIT: u64 = 25;
const MAX_WAIT: u64 = 60;

/// Longest client id: longer than any UUID or user name with a host.
const MAX_CLIENT_ID: usize = 128;

const SIGN_IN_PARAMETERS: &[&str] = &["id", "dn", "password"];

/// What a sign-in is made of.
#[derive(ToSchema)]
#[allow(dead_code, reason = "for the document; what comes is read more tolerantly")]
pub(super) struct SignInRequest {
    /// The client's own id.
    #[schema(min_length = 1, max_length = 128, example = "agent123")]
    id: String,
    #[schema(min_length = 1, max_length = 64, example = "5001")]
    dn: String,
    /// This or `token`.
    #[schema(format = Password)]
    password: Option<String>,
    /// A one-time token of `POST /api/tokens`.
    #[schema(pattern = "^once-[A-Za-z0-9_-]{75,1462}$")]
    token: Option<String>,
}

/// Parameters of a query, a form or a JSON object.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// `plus_is_space` for forms and passwords: elsewhere `+` begins telephone numbers, and nothing
    /// that is asked for holds a space.
    fn parse_pairs(text: &str, plus_is_space: bool) -> Option<Self> {
        let decode = |part: &str| {
            if plus_is_space {
                percent_decode(&part.replace('+', " "))
            } else {
                percent_decode(part)
            }
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let plus_is_space = plus_is_space || key == "password";
            let value = if plus_is_space { value.replace('+', " ") } else { value.to_owned() };
            Some((decode(key)?, percent_decode(&value)?))
        });
        pairs.collect::<Option<Vec<_>>>().map(Parameters)
    }

    fn parse_json(text: &str) -> Option<Self> {
        let Value::Object(object) = serde_json::from_str(text).ok()? else { return None };
        let pairs = object.into_iter().filter_map(|(key, value)| match value {
            Value::String(text) => Some((key, text)),
            Value::Number(number) => Some((key, number.to_string())),
            _ => None,
        });
        Some(Parameters(pairs.collect()))
    }

    fn of_query(uri: &Uri) -> Result<Self, Problem> {
        let query = uri.query().unwrap_or_default();
        Self::parse_pairs(query, false)
            .ok_or_else(|| malformed("the query's percent-encoding is broken or not UTF-8"))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn require(&self, name: &str, required: &'static [&'static str]) -> Result<&str, Problem> {
        match self.get(name) {
            Some(value) if !value.is_empty() || name == "password" => Ok(value),
            _ => Err(Problem {
                parameters: Some((required, self.names())),
                ..Problem::new(
                    StatusCode::BAD_REQUEST,
                    "missing_parameter",
                    format!("the parameter `{name}` is missing"),
                )
            }),
        }
    }

    /// Those that were given, never their values.
    fn names(&self) -> Vec<String> {
        self.0.iter().take(16).map(|(key, _)| key.chars().take(32).collect()).collect()
    }
}

fn malformed(sentence: impl ToString) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_parameter", sentence)
}

fn not_signed_in() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_signed_in", "this id is not signed in")
}

fn answer(outcome: Result<Response, Problem>) -> Response {
    outcome.unwrap_or_else(Problem::into_response)
}

/// Signs in. The password stands in the URL: POST is better.
#[utoipa::path(get, path = "/api/webrtc/sign_in", operation_id = "rest_sign_in_by_url", tag = "raw-sdp",
    params(
        ("id" = String, Query, description = "The client's own id.", max_length = 128, example = "agent123"),
        ("dn" = String, Query, max_length = 64, example = "5001"),
        ("password" = String, Query, format = Password),
    ),
    responses(
        (status = 200, description = "The SIP server has accepted the REGISTER.", body = String),
        SignInFaults,
    ))]
pub(super) async fn sign_in_by_url(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
) -> Response {
    match Parameters::of_query(request.uri()) {
        Ok(parameters) => answer(enter(&app, &conn, &parameters).await),
        Err(problem) => problem.into_response(),
    }
}

/// Signs in, by a form or by JSON.
#[utoipa::path(post, path = "/api/webrtc/sign_in", operation_id = "rest_sign_in", tag = "raw-sdp",
    request_body(content(
        (SignInRequest = "application/json"),
        (SignInRequest = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "The SIP server has accepted the REGISTER.", body = String),
        SignInFaults,
        BodyFaults,
    ))]
pub(super) async fn sign_in(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
) -> Response {
    match read_sign_in(request).await {
        Ok(parameters) => answer(enter(&app, &conn, &parameters).await),
        Err(problem) => problem.into_response(),
    }
}

async fn read_sign_in(request: Request) -> Result<Parameters, Problem> {
    let said_json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value.trim_start().to_ascii_lowercase().starts_with("application/json")
        });
    let body = body::read_text(request.into_body()).await?;
    if said_json || body.trim_start().starts_with('{') {
        Parameters::parse_json(&body).ok_or_else(|| malformed("the body is not a JSON object"))
    } else {
        Parameters::parse_pairs(body.trim_end(), true)
            .ok_or_else(|| malformed("the form's percent-encoding is broken or not UTF-8"))
    }
}

async fn enter(app: &Arc<App>, conn: &Conn, parameters: &Parameters) -> Result<Response, Problem> {
    let id = parameters.require("id", SIGN_IN_PARAMETERS)?;
    let dn = parameters.require("dn", SIGN_IN_PARAMETERS)?;
    let password = match parameters.get("token") {
        Some(token) if is_token(token) => token,
        Some(_) => return Err(malformed("`token` is not one that `POST /api/tokens` gives")),
        None if app.secrets.are_for(conn.asker()) => parameters.get("password").unwrap_or_default(),
        None => parameters.require("password", SIGN_IN_PARAMETERS)?,
    };
    if id.len() > MAX_CLIENT_ID || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(malformed(format!(
            "`id` is at most {MAX_CLIENT_ID} characters without spaces"
        )));
    }
    check_dn(dn).map_err(|error| malformed(format!("`dn`: {error}")))?;
    let sign_in = SignIn {
        dialect: Dialect::Rest,
        client_id: Some(id.to_owned()),
        identity: Identity::Dn(dn.to_owned()),
        password: Some(Secret::new(password)),
        remote: conn.client(),
    };
    match throttled_sign_in(app, conn, sign_in).await {
        Ok(_) => Ok(reply::ok()),
        Err(error) => {
            let (status, code) = reply::sign_in_status(&error);
            let retry_after = match error {
                SignInError::TooManyTries { retry_after_seconds }
                | SignInError::Draining { retry_after_seconds } => Some(retry_after_seconds),
                _ => None,
            };
            Err(Problem { retry_after, ..Problem::new(status, code, error) })
        }
    }
}

/// Signs out and releases the call.
#[utoipa::path(get, path = "/api/webrtc/sign_out", operation_id = "rest_sign_out", tag = "raw-sdp",
    params(("id" = String, Query, example = "agent123")),
    responses((status = 200, description = "Signed out.", body = String), SessionFaults))]
pub(super) async fn sign_out(State(app): Shared, request: Request) -> Response {
    leave(&app, request.uri()).await
}

/// The same, for `sendBeacon` of a page that is being closed.
#[utoipa::path(post, path = "/api/webrtc/sign_out", operation_id = "rest_sign_out_by_beacon", tag = "raw-sdp",
    params(("id" = String, Query, example = "agent123")),
    responses((status = 200, description = "Signed out.", body = String), SessionFaults))]
pub(super) async fn sign_out_by_beacon(State(app): Shared, request: Request) -> Response {
    leave(&app, request.uri()).await
}

async fn leave(app: &App, uri: &Uri) -> Response {
    let session = match session(app, uri, "id") {
        Ok((session, _)) => session,
        Err(problem) => return problem.into_response(),
    };
    let backend = Arc::clone(&app.backend);
    let _ = tokio::spawn(async move {
        backend.sign_out(&session).await;
        session.end(EndReason::SignedOut);
    })
    .await;
    reply::ok()
}

/// Waits for a message. A second poll of the same session takes over from the first.
///
/// With `Accept: application/json` events come too, and all as JSON.
#[utoipa::path(get, path = "/api/webrtc/message", operation_id = "rest_poll", tag = "raw-sdp",
    params(
        ("id" = String, Query, example = "agent123"),
        ("wait" = Option<u64>, Query, description = "Seconds; 25 by default, 60 at most.", minimum = 0, example = 0),
        ("events" = Option<String>, Query, description = "`1`: events too, and not only SDPs."),
        ("dial" = Option<String>, Query, description = "`1`: events, and the client calls when it gets `DIAL`."),
        ("ack" = Option<u64>, Query, description = "The last `X-Wrtc-Seq` received; 0 at first. Without it TCP confirms."),
    ),
    responses(
        (status = 200, description = "A message.", content(
            (String = "application/sdp"),
            (String = "text/plain"),
            (wire::Message<'static> = "application/json"),
        ), headers(
            ("X-Wrtc-Type" = String), ("X-Wrtc-Seq" = u64), ("X-Wrtc-Call" = String),
            ("X-Wrtc-Peer" = String), ("X-Wrtc-Peer-Name" = String),
            ("X-Wrtc-Diversion" = String), ("X-Wrtc-Private" = String),
            ("X-Wrtc-State" = String), ("X-Genesys-CallUUID" = String),
            ("Pragma" = String),
        )),
        (status = 204, description = "Nothing came."),
        SessionFaults,
    ))]
pub(super) async fn poll(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
) -> Response {
    let asked = wanted(&app, &request);
    // Its headers keep a buffer of hyper's, as long as the poll hangs.
    drop(request);
    match asked {
        Ok((session, poll, json)) => answer(hang(&app, &conn, session, poll, json).await),
        Err(problem) => problem.into_response(),
    }
}

/// Takes an SDP or a command: `BYE`, `HOLD`, `RESUME`, `ANSWER`, `CALL 1004`, `DTMF 123#`, `TRANSFER 1004`,
/// `TRANSFER 1004 REPLACES <call>`, `INFO a=b`.
#[utoipa::path(post, path = "/api/webrtc/message", operation_id = "rest_message", tag = "raw-sdp",
    params(
        ("from" = String, Query, example = "agent123"),
        ("to" = Option<String>, Query, description = "Whom to call, or which call is meant: its peer or `X-Wrtc-Call`."),
    ),
    request_body(content((String = "text/plain", example = "BYE"), (String = "application/sdp"))),
    responses(
        (status = 200, description = "Taken. What comes of it arrives through the poll.", body = String),
        (status = 409, description = "Not in this state.", body = ErrorReply),
        (status = 422, description = "An SDP without usable audio.", body = ErrorReply),
        (status = 503, description = "No port is free, or the SIP server is away.", body = ErrorReply),
        SessionFaults,
        BodyFaults,
    ))]
pub(super) async fn message(State(app): Shared, request: Request) -> Response {
    answer(post(&app, request).await)
}

fn session(
    app: &App,
    uri: &Uri,
    name: &'static str,
) -> Result<(Arc<Session>, Parameters), Problem> {
    let required: &'static [&'static str] = if name == "id" { &["id"] } else { &["from"] };
    let parameters = Parameters::of_query(uri)?;
    let id = parameters.require(name, required)?;
    let session = app.backend.by_client_id(id).ok_or_else(not_signed_in)?;
    if session.ended().is_cancelled() {
        return Err(not_signed_in());
    }
    session.touch(Instant::now());
    Ok((session, parameters))
}

/// Of `id`, an SSID or a client's own id.
pub(super) fn session_of_any_dialect(app: &App, uri: &Uri) -> Result<Arc<Session>, Problem> {
    let parameters = Parameters::of_query(uri)?;
    let id = parameters.require("id", &["id"])?;
    let found = app.backend.by_ssid(id).or_else(|| app.backend.by_client_id(id));
    let session = found.filter(|session| !session.ended().is_cancelled());
    let session = session.ok_or_else(not_signed_in)?;
    session.touch(Instant::now());
    Ok(session)
}

async fn post(app: &App, request: Request) -> Result<Response, Problem> {
    let (session, parameters) = session(app, request.uri(), "from")?;
    let to = parameters.get("to").filter(|to| !to.is_empty()).map(str::to_owned);
    let body = body::read_text(request.into_body()).await?;
    let body = wire::parse_body(&body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad_message", error))?;
    let awaited = session.awaited_answer();
    if let (wire::Body::Sdp(_), Some(caller), Some(to)) = (&body, &awaited, &to)
        && caller != to
    {
        let sentence = format!("an answer for {caller} is awaited; `to` names another number");
        return Err(Problem::new(StatusCode::CONFLICT, "wrong_state", sentence));
    }
    let message = body.into_message(awaited.is_some());
    app.message(session, to, message).await.map_err(|error| {
        let (status, code) = reply::message_status(&error);
        Problem::new(status, code, error)
    })?;
    Ok(reply::ok())
}

/// Whose poll it is, what it wants, and whether as JSON.
fn wanted(app: &App, request: &Request) -> Result<(Arc<Session>, Poll, bool), Problem> {
    let json = accepts_json(request.headers());
    let (session, parameters) = session(app, request.uri(), "id")?;
    let wait = match parameters.get("wait") {
        None => DEFAULT_WAIT,
        Some(text) => text
            .parse::<u64>()
            .map_err(|_| malformed("`wait` is a number of seconds, 0 to 60"))?
            .min(MAX_WAIT),
    };
    let ack = match parameters.get("ack") {
        None => None,
        Some(text) => {
            Some(text.parse().map_err(|_| malformed("`ack` is the X-Wrtc-Seq last received"))?)
        }
    };
    let asked = |name| parameters.get(name).is_some_and(|value| value != "0");
    let dials = asked("dial");
    session.set_dials(dials);
    let events = json || dials || asked("events");
    let poll = Poll {
        ack,
        deadline: Instant::now() + Duration::from_secs(wait),
        wants: if dials {
            |envelope| wire::kind(&envelope.message).is_some()
        } else if events {
            |envelope| wire::is_event(&envelope.message)
        } else {
            |envelope| wire::is_sdp(&envelope.message)
        },
    };
    Ok((session, poll, json))
}

async fn hang(
    app: &App,
    conn: &Arc<Conn>,
    session: Arc<Session>,
    poll: Poll,
    json: bool,
) -> Result<Response, Problem> {
    let polled = tokio::select! {
        polled = session.poll(poll) => polled,
        () = app.draining.cancelled() => Polled::Nothing,
    };
    match polled {
        Polled::Message(delivery) => Ok(match render(&delivery, json) {
            Some(response) => {
                conn.carry(delivery);
                response
            }
            None => {
                // `wants` let through what cannot be said.
                delivery.arrived();
                no_content()
            }
        }),
        Polled::Nothing | Polled::TakenOver | Polled::Ended(EndReason::SignedOut) => {
            Ok(no_content())
        }
        Polled::Ended(why) => {
            Err(Problem::new(StatusCode::NOT_FOUND, "session_ended", why.sentence()))
        }
    }
}

fn accepts_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("application/json"))
}

fn no_content() -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn render(delivery: &Delivery, json: bool) -> Option<Response> {
    let envelope = delivery.envelope();
    let mut response = if json {
        let body = serde_json::to_string(&wire::render_json(envelope, delivery.seq())?).ok()?;
        reply::with_type(StatusCode::OK, "application/json", body)
    } else {
        let (content_type, body) = wire::render_text(envelope)?;
        reply::with_type(StatusCode::OK, content_type, body)
    };
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(&wire::header_text(value))
            && !value.is_empty()
        {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("x-wrtc-type", wire::kind(&envelope.message)?);
    put("x-wrtc-seq", &delivery.seq().to_string());
    put("x-wrtc-call", &envelope.call);
    put("x-wrtc-peer", &envelope.peer);
    put("pragma", &envelope.peer);
    put("x-wrtc-peer-name", envelope.peer_name.as_deref().unwrap_or_default());
    put("x-wrtc-diversion", envelope.diverted_from.as_deref().unwrap_or_default());
    if envelope.private {
        put("x-wrtc-private", "1");
    }
    if matches!(envelope.message, ToBrowser::Answer { early: true, .. }) {
        put("x-wrtc-state", "early");
    }
    put("x-genesys-calluuid", envelope.call_uuid.as_deref().unwrap_or_default());
    Some(response)
}
