//! The Genesys JSAPI surface (grtc-wire.md): plain text over four paths.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::app::{App, Shared};
use super::body::{self, BodyError};
use super::conn::Conn;
use super::faults::text::{BodyFaults, OriginFault, SessionFaults, SignInFaults};
use super::reply;
use super::tokens::{Redeemed, Redemption, is_token};
use crate::agent::{Dialect, EndReason, Identity, Poll, Polled, Session, SignIn, SignInError};
use crate::config::{SignInBy, SignIns};
use crate::secret::Secret;
use crate::wire::jsapi::{self as wire, PublicId};
use crate::wire::{Envelope, ToBrowser};

/// A poll that the client does not end itself ends with an empty 200: proxies cut what is silent
/// for longer.
const LONGEST_HANG: Duration = Duration::from_secs(300);

/// The reply's first line is `NAME=SSID`; clients look at the second piece only.
const SSID_NAME: &str = "SSID";

/// Signs in without a password: the query is the bare id, as in `/sign_in?5001`.
///
/// An id of `anon` and 32 more characters is a guest.
#[utoipa::path(get, path = "/sign_in", tag = "jsapi", responses(
    (status = 200, description = "The first line is `SSID=<ssid>`.", body = String),
    SignInFaults,
))]
pub(super) async fn sign_in(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
) -> Response {
    enter(&app, &conn, wire::parse_sign_in_query(request.uri().query())).await
}

/// Signs in: the body is `dn:password`, raw, whatever its type; the first colon divides. A one-time token
/// may stand in the password's place.
#[utoipa::path(post, path = "/sign_in", operation_id = "sign_in_with_password", tag = "jsapi",
    request_body(content = String, content_type = "application/x-www-form-urlencoded", example = "5001:password"),
    responses(
        (status = 200, description = "The first line is `SSID=<ssid>`.", body = String),
        SignInFaults,
        BodyFaults,
    ))]
pub(super) async fn sign_in_with_password(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
) -> Response {
    match body::read_text(request.into_body()).await {
        Ok(body) => enter(&app, &conn, wire::parse_sign_in_body(&body)).await,
        Err(error) => bad_body(error),
    }
}

async fn enter(
    app: &Arc<App>,
    conn: &Conn,
    credentials: Result<wire::Credentials, wire::BadId>,
) -> Response {
    let credentials = match credentials {
        Ok(credentials) => credentials,
        Err(error) => return reply::text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let identity = match credentials.id {
        PublicId::Dn(dn) => Identity::Dn(dn),
        PublicId::Guest(id) => Identity::Anonymous(id),
    };
    let sign_in = SignIn {
        dialect: Dialect::Jsapi,
        client_id: None,
        identity,
        password: credentials.password,
        remote: conn.client(),
    };
    match throttled_sign_in(app, conn, sign_in).await {
        Ok(session) => {
            let body = format!("{SSID_NAME}={}\n", session.ssid().expose());
            reply::text(StatusCode::OK, body)
        }
        Err(error) => {
            let status = match &error {
                // The JSAPI's word for it (grtc-wire.md, "sign_in").
                SignInError::NoAnswer => StatusCode::SERVICE_UNAVAILABLE,
                other => reply::sign_in_status(other).0,
            };
            let response = reply::text(status, error.to_string());
            match error {
                SignInError::TooManyTries { retry_after_seconds }
                | SignInError::Draining { retry_after_seconds } => {
                    reply::retry_after(response, retry_after_seconds)
                }
                _ => response,
            }
        }
    }
}

/// The sign-in of both surfaces. It goes on when the client hangs up meanwhile: half a registration
/// would be worse than one that its lease ends.
pub(super) async fn throttled_sign_in(
    app: &Arc<App>,
    conn: &Conn,
    mut sign_in: SignIn,
) -> Result<Arc<Session>, SignInError> {
    let (remote, user) = (sign_in.remote, sign_in.identity.user().to_owned());
    let vouched = sign_in.password.as_ref().is_some_and(|given| is_token(given.expose()));
    app.throttle
        .check(remote, &user, vouched, Instant::now())
        .map_err(|retry_after_seconds| SignInError::TooManyTries { retry_after_seconds })
        .inspect_err(|error| app.backend.sign_in_refused(remote, &user, error))?;
    let sign_ins = **app.sign_ins.load();
    check_kind(sign_ins, &sign_in.identity, vouched)
        .inspect_err(|error| app.backend.sign_in_refused(remote, &user, error))?;
    // Whatever ends this before the SIP server has decided gives it back.
    let now = (Instant::now(), SystemTime::now());
    let redemption = match app.tokens.redeem(&user, sign_in.password.as_ref(), now) {
        Redeemed::NoToken => None,
        Redeemed::Granted(redemption) => {
            sign_in.password = redemption.password();
            Some(redemption)
        }
        Redeemed::Unknown(why) => {
            tracing::debug!(user, %remote, why, "one-time token refused");
            app.throttle.handle_refused(remote, &user, vouched, Instant::now());
            app.backend.sign_in_refused(remote, &user, &SignInError::Token);
            return Err(SignInError::Token);
        }
        Redeemed::Full => {
            let error = SignInError::Busy("as many one-time tokens were used as it can remember");
            app.backend.sign_in_refused(remote, &user, &error);
            return Err(error);
        }
    };
    if let Err(error) = add_secret(app, conn, redemption.is_some(), &mut sign_in).await {
        app.backend.sign_in_refused(remote, &user, &error);
        return Err(error);
    }
    // Written down before it is known to be wrong: many tries at once are many tries.
    let before = app.throttle.handle_try(remote, &user, vouched, Instant::now());
    if sign_ins.by == SignInBy::Secret && redemption.is_none() {
        match check_secret(app, &sign_in).await {
            Ok(()) => {}
            Err(error) => {
                match error {
                    SignInError::WrongPassword => {
                        app.throttle.handle_wrong(&before, Instant::now());
                    }
                    _ => app.throttle.take_back(&before),
                }
                app.backend.sign_in_refused(remote, &user, &error);
                return Err(error);
            }
        }
    }
    let app = Arc::clone(app);
    // The task keeps the account too: who hangs up before the answer has had his try.
    let outcome = tokio::spawn(async move {
        let outcome = app.backend.sign_in(sign_in).await;
        let spend = || redemption.map(Redemption::spend);
        match &outcome {
            Ok(_) => {
                spend();
                app.throttle.take_back(&before);
                app.throttle.handle_accepted(remote, &user, Instant::now());
            }
            Err(
                SignInError::Refused(_) | SignInError::Forbidden(_) | SignInError::UnknownDn(_),
            ) => {
                spend();
                app.throttle.handle_wrong(&before, Instant::now());
            }
            Err(_) => app.throttle.take_back(&before),
        }
        outcome
    });
    outcome.await.unwrap_or_else(|_| Err(SignInError::Busy("it stumbled over this one")))
}

/// Whether one may sign in so at all.
fn check_kind(sign_ins: SignIns, identity: &Identity, has_token: bool) -> Result<(), SignInError> {
    match identity {
        Identity::Anonymous(_) if !sign_ins.guests => Err(SignInError::NoGuests),
        Identity::Dn(_) if sign_ins.by == SignInBy::Token && !has_token => {
            Err(SignInError::TokenWanted)
        }
        Identity::Anonymous(_) | Identity::Dn(_) => Ok(()),
    }
}

/// Whether the password is the DN's, where the SIP server is not the one to judge. A DN whose secret the
/// gateway does not have has none that is right.
async fn check_secret(app: &App, sign_in: &SignIn) -> Result<(), SignInError> {
    let Identity::Dn(dn) = &sign_in.identity else { return Ok(()) };
    let given = sign_in.password.as_ref().filter(|given| !given.expose().is_empty());
    let given = given.ok_or(SignInError::WrongPassword)?;
    let known = look_up(app, dn).await?;
    let is_right = known.is_some_and(|known| known.matches(given));
    if is_right { Ok(()) } else { Err(SignInError::WrongPassword) }
}

async fn look_up(app: &App, dn: &str) -> Result<Option<Secret>, SignInError> {
    app.secrets.look_up(dn).await.map_err(|error| {
        tracing::warn!(%dn, "{error}");
        SignInError::Busy("the DN's secret could not be looked up")
    })
}

/// What the client has sent counts; the gateway's own secret of the DN stands in where it has sent none and
/// may do so.
async fn add_secret(
    app: &App,
    conn: &Conn,
    has_token: bool,
    sign_in: &mut SignIn,
) -> Result<(), SignInError> {
    let Identity::Dn(dn) = &sign_in.identity else { return Ok(()) };
    let given = sign_in.password.as_ref().is_some_and(|given| !given.expose().is_empty());
    if given || !(has_token || app.secrets.are_for(conn.asker())) {
        return Ok(());
    }
    if let Some(secret) = look_up(app, dn).await? {
        sign_in.password = Some(secret);
    }
    Ok(())
}

/// Waits for a message; hangs until there is one. A second one of the same session takes over.
#[utoipa::path(get, path = "/wait", tag = "jsapi",
    params(
        ("id" = String, Query, description = "The SSID."),
        ("dial" = Option<String>, Query, description = "`1`: the client calls when it gets `DIAL`."),
    ),
    responses(
        (status = 200, description = "One message, or nothing: ask again.", body = String, headers(
            ("Pragma" = String, description = "The other party."),
            ("X-Wrtc-Peer-Name" = String),
            ("X-Wrtc-Diversion" = String, description = "Whom the caller had called before."),
            ("X-Wrtc-Private" = String, description = "`1`: the caller does not want to be shown."),
            ("X-Wrtc-Reason" = String, description = "Beside a BYE: SIP's code and text."),
            ("X-Genesys-CallUUID" = String),
        )),
        SessionFaults,
    ))]
pub(super) async fn wait(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
) -> Response {
    let Some(session) = session(&app, &request, "id") else { return unknown_session() };
    let dials = parameter(&request, "dial").is_some_and(|value| value != "0");
    // Its headers keep a buffer of hyper's, for minutes.
    drop(request);
    session.set_dials(dials);
    let poll = Poll {
        ack: None,
        deadline: Instant::now() + LONGEST_HANG,
        wants: if dials {
            |envelope| wire::knows_and_dials(&envelope.message)
        } else {
            |envelope| wire::knows(&envelope.message)
        },
    };
    let polled = tokio::select! {
        polled = session.poll(poll) => polled,
        () = app.draining.cancelled() => Polled::Nothing,
    };
    match polled {
        Polled::Message(delivery) => {
            let Some(body) = wire::render(&delivery.envelope().message) else {
                // `wants` let through what cannot be said; an empty 200 is harmless.
                delivery.arrived();
                return empty();
            };
            let mut response = reply::text(StatusCode::OK, body);
            describe(&mut response, delivery.envelope());
            conn.carry(delivery);
            response
        }
        Polled::Nothing | Polled::TakenOver | Polled::Ended(EndReason::SignedOut) => empty(),
        // While the gateway drains: the client is to sign in elsewhere, and need not ask twice to know.
        Polled::Ended(why) => reply::text(StatusCode::NOT_FOUND, why.sentence()),
    }
}

/// `Pragma` names the peer. The others are ours, for pages that show a person who calls and why a call
/// ended; an unmodified client does not look at them.
fn describe(response: &mut Response, envelope: &Envelope) {
    let mut put = |name: HeaderName, value: &str, usable: fn(&char) -> bool| {
        let value: String = value.chars().filter(usable).collect();
        if let Ok(value) = HeaderValue::from_str(value.trim())
            && !value.is_empty()
        {
            response.headers_mut().insert(name, value);
        }
    };
    put(header::PRAGMA, &envelope.peer, |c| matches!(c, '!'..='~'));
    let printable: fn(&char) -> bool = |c| matches!(c, ' '..='~');
    if let Some(name) = &envelope.peer_name {
        put(HeaderName::from_static("x-wrtc-peer-name"), name, printable);
    }
    if let Some(diverted) = &envelope.diverted_from {
        put(HeaderName::from_static("x-wrtc-diversion"), diverted, printable);
    }
    if envelope.private {
        put(HeaderName::from_static("x-wrtc-private"), "1", printable);
    }
    if let Some(uuid) = &envelope.call_uuid {
        put(HeaderName::from_static("x-genesys-calluuid"), uuid, printable);
    }
    if let ToBrowser::Bye { code, reason } = &envelope.message {
        let text = format!("{code} {reason}");
        put(HeaderName::from_static("x-wrtc-reason"), &text, printable);
    }
}

/// Takes a message: `RSMP {...}` (ROAP), `BYE`, `INFO-MAP a=b`, `INFO-PEER a=b` or `GET-STATS`.
#[utoipa::path(post, path = "/message", tag = "jsapi",
    params(
        ("from" = String, Query, description = "The SSID."),
        ("to" = Option<String>, Query, description = "The other party; the SSID, `null` or `undefined` where there is none."),
    ),
    request_body(content = String, content_type = "text/plain", example = "BYE"),
    responses(
        (status = 200, description = "Taken. What comes of it arrives through `/wait`.", body = String),
        (status = 409, description = "Not in this state.", body = String),
        (status = 422, description = "The SDP cannot be used.", body = String),
        (status = 503, description = "No port is free, or the SIP server is away.", body = String),
        SessionFaults,
        BodyFaults,
    ))]
pub(super) async fn message(State(app): Shared, request: Request) -> Response {
    let Some(session) = session(&app, &request, "from") else { return unknown_session() };
    let to = parameter(&request, "to");
    let to = wire::peer(to.as_deref(), session.ssid());
    let body = match body::read_text(request.into_body()).await {
        Ok(body) => body,
        Err(error) => return bad_body(error),
    };
    let message = match wire::parse_message(&body) {
        Ok(message) => message,
        Err(error) => return reply::text(StatusCode::BAD_REQUEST, error.to_string()),
    };
    match app.message(session, to, message).await {
        Ok(()) => reply::ok(),
        Err(error) => reply::text(reply::message_status(&error).0, error.to_string()),
    }
}

/// Signs out and releases the call. An unknown session is no fault.
#[utoipa::path(get, path = "/sign_out", tag = "jsapi",
    params(("id" = Option<String>, Query, description = "The SSID.")),
    responses((status = 200, description = "Signed out.", body = String), OriginFault))]
pub(super) async fn sign_out(State(app): Shared, request: Request) -> Response {
    let session = session(&app, &request, "id");
    leave(&app, session).await
}

/// The same, for `sendBeacon` of a page that is being closed.
#[utoipa::path(post, path = "/sign_out", operation_id = "sign_out_by_beacon", tag = "jsapi",
    params(("id" = Option<String>, Query, description = "The SSID.")),
    responses((status = 200, description = "Signed out.", body = String), OriginFault))]
pub(super) async fn sign_out_by_beacon(State(app): Shared, request: Request) -> Response {
    let session = session(&app, &request, "id");
    leave(&app, session).await
}

async fn leave(app: &App, session: Option<Arc<Session>>) -> Response {
    if let Some(session) = session {
        let backend = Arc::clone(&app.backend);
        let _ = tokio::spawn(async move {
            backend.sign_out(&session).await;
            session.end(EndReason::SignedOut);
        })
        .await;
    }
    reply::ok()
}

fn session(app: &App, request: &Request, name: &str) -> Option<Arc<Session>> {
    let ssid = parameter(request, name)?;
    let session = app.backend.by_ssid(&ssid)?;
    if session.ended().is_cancelled() || session.dialect() != Dialect::Jsapi {
        return None;
    }
    session.touch(Instant::now());
    Some(session)
}

/// A parameter of the query. `+` stands for itself: the client pastes numbers in as they are.
fn parameter(request: &Request, name: &str) -> Option<String> {
    request
        .uri()
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| wire::percent_decode(value))
}

/// Not 204: the client takes any 2xx but 200 for the peer's good-bye.
fn empty() -> Response {
    reply::text(StatusCode::OK, "")
}

fn unknown_session() -> Response {
    reply::text(StatusCode::NOT_FOUND, "no such session; sign in first")
}

fn bad_body(error: BodyError) -> Response {
    reply::text(reply::body_status(error).0, error.to_string())
}
