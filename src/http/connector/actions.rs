//! What each of WWE's requests does.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;

use super::{Asker, bad, json};
use crate::agent::{LineCommand, Softphone};
use crate::http::faults::connector::AnyFault;
use crate::http::reply::rfc3339;
use crate::wire::connector::{self as wire, Action, Status};

/// The DN, once WWE has registered it here and the SIP server has it registered.
#[utoipa::path(get, path = "/connector/{token}/GetDnSIP", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::DnReply<'static>, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) async fn get_dn_sip(asker: Asker) -> Response {
    let dn = asker.registered_dn();
    let registered = match &dn {
        Some(dn) => asker.line(dn).await.is_some_and(|(_, line)| line.registered),
        None => false,
    };
    json(StatusCode::OK, wire::dn_reply(dn.as_deref().filter(|_| registered)))
}

/// Takes the options of a softphone.
#[utoipa::path(post, path = "/connector/{token}/SetOptions", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    request_body = wire::SetOptions,
    responses(
        (status = 200, description = "Done.", body = wire::Taken, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) fn set_options(asker: Asker, body: &str) -> Response {
    match wire::parse_options(body) {
        Ok(period) => {
            if let Some(ms) = period {
                asker.phone(|phone| phone.set_ping_period(Duration::from_millis(ms)));
            }
            json(StatusCode::OK, wire::taken())
        }
        Err(error) => bad(&error),
    }
}

/// Takes more of them.
#[utoipa::path(post, path = "/connector/{token}/SetSIPEndpointParameters", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    request_body = wire::SetParameters,
    responses(
        (status = 200, description = "Done.", body = wire::Taken, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) fn set_sip_endpoint_parameters(body: &str) -> Response {
    match wire::parse_parameters(body) {
        Ok(()) => json(StatusCode::OK, wire::taken()),
        Err(error) => bad(&error),
    }
}

/// Opens a session. The DN itself is registered by its page.
#[utoipa::path(post, path = "/connector/{token}/RegisterDn", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    request_body = wire::RegisterDn,
    responses(
        (status = 200, description = "Done.", body = wire::RegisterDnReply<'static>, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) fn register_dn(asker: Asker, body: &str) -> Response {
    let users = match wire::parse_users(body) {
        Ok(users) => users,
        Err(error) => return bad(&error),
    };
    let dn = match &asker.token_dn {
        Some(dn) if users.contains(dn) => Some(dn.clone()),
        Some(_) => None,
        None => users.into_iter().next(),
    };
    let Some(dn) = dn else {
        let why = "the token is for another DN";
        return json(StatusCode::FORBIDDEN, wire::result(Action::RegisterDn, Some(why)));
    };
    tracing::info!(user = dn, "WWE has registered the DN at the connector");
    asker.phone(|phone| phone.handle_register(dn));
    json(StatusCode::OK, wire::result(Action::RegisterDn, None))
}

/// Whether WWE has registered the DN here, the SIP server has it registered, and its page is there.
#[utoipa::path(get, path = "/connector/{token}/GetIsEndpointActive", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::ActiveReply, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) async fn get_is_endpoint_active(asker: Asker) -> Response {
    json(StatusCode::OK, wire::active_reply(asker.is_active().await))
}

/// The same in other words.
#[utoipa::path(get, path = "/connector/{token}/GetSIPEndpointParameters", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::ParametersReply, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) async fn get_sip_endpoint_parameters(asker: Asker) -> Response {
    json(StatusCode::OK, wire::parameters_reply(asker.is_active().await))
}

/// How often pings will come; 30 missed ones end the session.
#[utoipa::path(post, path = "/connector/{token}/SetPingPeriod", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    request_body = wire::SetPingPeriod,
    responses(
        (status = 200, description = "Done.", body = wire::Taken, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) fn set_ping_period(asker: Asker, body: &str) -> Response {
    match wire::parse_ping_period(body) {
        Ok(ms) => {
            let (period, now) = (Duration::from_millis(ms), asker.now);
            asker.phone(|phone| phone.handle_ping_period(period, now));
            json(StatusCode::OK, wire::taken())
        }
        Err(error) => bad(&error),
    }
}

/// Keeps the session.
#[utoipa::path(get, path = "/connector/{token}/Ping", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::PingReply, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) fn ping(asker: Asker) -> Response {
    let now = asker.now;
    asker.phone(|phone| phone.handle_ping(now));
    json(StatusCode::OK, wire::ping_reply())
}

/// Ends the session. The page stays signed in.
#[utoipa::path(post, path = "/connector/{token}/UnregisterDn", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::UnregisterDnReply<'static>, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) fn unregister_dn(asker: Asker) -> Response {
    if asker.phone(Softphone::handle_unregister) {
        let user = asker.dn().unwrap_or_default();
        tracing::info!(user, "WWE has unregistered the DN at the connector");
    }
    json(StatusCode::OK, wire::result(Action::UnregisterDn, None))
}

/// Tells the page to call.
#[utoipa::path(post, path = "/connector/{token}/MakeCall", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    request_body = wire::MakeCall,
    responses(
        (status = 200, description = "Done.", body = wire::MakeCallReply<'static>, content_type = "application/json"),
        (status = 409, description = "The line is not in a state for it, or the page is not signed in.", body = wire::MakeCallReply<'static>),
        (status = 503, description = "The SIP server is away, or no port is free.", body = wire::MakeCallReply<'static>),
        AnyFault,
    ))]
pub(in crate::http) async fn make_call(asker: Asker, body: &str) -> Response {
    match wire::parse_destination(body) {
        Ok(to) => asker.command(Action::MakeCall, LineCommand::Call { to }).await,
        Err(error) => bad(&error),
    }
}

/// Answers the call that rings.
#[utoipa::path(post, path = "/connector/{token}/AnswerCall", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::AnswerCallReply<'static>, content_type = "application/json"),
        (status = 409, description = "The line is not in a state for it, or the page is not signed in.", body = wire::AnswerCallReply<'static>),
        (status = 503, description = "The SIP server is away, or no port is free.", body = wire::AnswerCallReply<'static>),
        AnyFault,
    ))]
pub(in crate::http) async fn answer_call(asker: Asker) -> Response {
    asker.command(Action::AnswerCall, LineCommand::Answer).await
}

/// Hangs up, cancels or rejects.
#[utoipa::path(post, path = "/connector/{token}/HangUp", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::HangUpReply<'static>, content_type = "application/json"),
        (status = 409, description = "The line is not in a state for it, or the page is not signed in.", body = wire::HangUpReply<'static>),
        (status = 503, description = "The SIP server is away, or no port is free.", body = wire::HangUpReply<'static>),
        AnyFault,
    ))]
pub(in crate::http) async fn hang_up(asker: Asker) -> Response {
    asker.command(Action::HangUp, LineCommand::HangUp).await
}

/// Puts the call on hold.
#[utoipa::path(post, path = "/connector/{token}/Hold", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::HoldReply<'static>, content_type = "application/json"),
        (status = 409, description = "The line is not in a state for it, or the page is not signed in.", body = wire::HoldReply<'static>),
        (status = 503, description = "The SIP server is away, or no port is free.", body = wire::HoldReply<'static>),
        AnyFault,
    ))]
pub(in crate::http) async fn hold(asker: Asker) -> Response {
    asker.command(Action::Hold, LineCommand::Hold).await
}

/// Takes it off hold.
#[utoipa::path(post, path = "/connector/{token}/Retrieve", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::RetrieveReply<'static>, content_type = "application/json"),
        (status = 409, description = "The line is not in a state for it, or the page is not signed in.", body = wire::RetrieveReply<'static>),
        (status = 503, description = "The SIP server is away, or no port is free.", body = wire::RetrieveReply<'static>),
        AnyFault,
    ))]
pub(in crate::http) async fn retrieve(asker: Asker) -> Response {
    asker.command(Action::Retrieve, LineCommand::Retrieve).await
}

/// Sends digits.
#[utoipa::path(post, path = "/connector/{token}/SendDTMF", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    request_body = wire::SendDtmf,
    responses(
        (status = 200, description = "Done.", body = wire::SendDtmfReply<'static>, content_type = "application/json"),
        (status = 409, description = "The line is not in a state for it, or the page is not signed in.", body = wire::SendDtmfReply<'static>),
        (status = 503, description = "The SIP server is away, or no port is free.", body = wire::SendDtmfReply<'static>),
        AnyFault,
    ))]
pub(in crate::http) async fn send_dtmf(asker: Asker, body: &str) -> Response {
    match wire::parse_digits(body) {
        Ok(digits) => asker.command(Action::SendDtmf, LineCommand::Dtmf(digits)).await,
        Err(error) => bad(&error),
    }
}

/// Who calls.
#[utoipa::path(get, path = "/connector/{token}/GetIncomingCall", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::IncomingCallReply<'static>, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) async fn get_incoming_call(asker: Asker) -> Response {
    let line = match asker.dn() {
        Some(dn) => asker.line(&dn).await,
        None => None,
    };
    let since = line
        .as_ref()
        .and_then(|(_, line)| line.ringing())
        .map(|call| (call.peer.as_str(), rfc3339(call.started)));
    let call = since.as_ref().map(|(peer, since)| (*peer, since.as_str()));
    json(StatusCode::OK, wire::incoming_reply(call))
}

/// How the line stands.
#[utoipa::path(get, path = "/connector/{token}/GetCallStatus", tag = "connector",
    params(("token" = String, Path, description = "Configured, or given by `POST /api/connector/token`.")),
    responses(
        (status = 200, description = "Done.", body = wire::CallStatusReply<'static>, content_type = "application/json"),
        AnyFault,
    ))]
pub(in crate::http) async fn get_call_status(asker: Asker) -> Response {
    let dn = asker.dn().unwrap_or_default();
    let line = asker.line(&dn).await.map(|(_, line)| line).unwrap_or_default();
    let (ringing, active) = (line.ringing(), line.active());
    let status = Status {
        registered: line.registered,
        dn: &dn,
        active: active.is_some(),
        caller: ringing.or(active).map(|call| call.peer.as_str()),
        incoming: ringing.is_some(),
    };
    json(StatusCode::OK, wire::call_status_reply(&status))
}
