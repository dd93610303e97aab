//! The SIP endpoint connector of WWE 8.5.2 (rest-api.md section 2): its requests and replies.
//!
//! The names, the order of the members and what is a string or a number are WWE's.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::jsapi::{BadId, check_dn};
use super::rest::{self, Body};
use super::types::FromBrowser;

/// WWE sends it with every request, and gets it with every reply.
pub const CONTENT_TYPE: &str = "application/json; charset=UTF-8";

/// Lines in `/RegisterDn`: an agent has one or two.
const MAX_USERS: usize = 16;

/// What a request wants, by the last part of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    GetDnSip,
    SetOptions,
    SetSipEndpointParameters,
    RegisterDn,
    GetIsEndpointActive,
    GetSipEndpointParameters,
    SetPingPeriod,
    Ping,
    UnregisterDn,
    MakeCall,
    AnswerCall,
    HangUp,
    Hold,
    Retrieve,
    SendDtmf,
    GetIncomingCall,
    GetCallStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

impl Action {
    pub const ALL: [Action; 17] = [
        Action::GetDnSip,
        Action::SetOptions,
        Action::SetSipEndpointParameters,
        Action::RegisterDn,
        Action::GetIsEndpointActive,
        Action::GetSipEndpointParameters,
        Action::SetPingPeriod,
        Action::Ping,
        Action::UnregisterDn,
        Action::MakeCall,
        Action::AnswerCall,
        Action::HangUp,
        Action::Hold,
        Action::Retrieve,
        Action::SendDtmf,
        Action::GetIncomingCall,
        Action::GetCallStatus,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Action::GetDnSip => "GetDnSIP",
            Action::SetOptions => "SetOptions",
            Action::SetSipEndpointParameters => "SetSIPEndpointParameters",
            Action::RegisterDn => "RegisterDn",
            Action::GetIsEndpointActive => "GetIsEndpointActive",
            Action::GetSipEndpointParameters => "GetSIPEndpointParameters",
            Action::SetPingPeriod => "SetPingPeriod",
            Action::Ping => "Ping",
            Action::UnregisterDn => "UnregisterDn",
            Action::MakeCall => "MakeCall",
            Action::AnswerCall => "AnswerCall",
            Action::HangUp => "HangUp",
            Action::Hold => "Hold",
            Action::Retrieve => "Retrieve",
            Action::SendDtmf => "SendDTMF",
            Action::GetIncomingCall => "GetIncomingCall",
            Action::GetCallStatus => "GetCallStatus",
        }
    }

    pub fn verb(self) -> Verb {
        match self {
            Action::GetDnSip
            | Action::GetIsEndpointActive
            | Action::GetSipEndpointParameters
            | Action::Ping
            | Action::GetIncomingCall
            | Action::GetCallStatus => Verb::Get,
            _ => Verb::Post,
        }
    }

    /// By its name, with a slash behind it or without.
    pub fn parse(path: &str) -> Option<Action> {
        let name = path.strip_suffix('/').unwrap_or(path);
        Action::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// A body that cannot be used: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    #[error("the body is not a JSON object: {0}")]
    Json(String),
    #[error("`{0}` is missing or of another type than it should be")]
    Missing(&'static str),
    #[error("`users` is to name 1 to {MAX_USERS} DNs")]
    Users,
    #[error("`users`: {0}")]
    Dn(BadId),
    #[error("{0}")]
    Digits(rest::BadBody),
}

/// A body, empty or a JSON object. A byte order mark is nobody's fault.
fn object(body: &str) -> Result<Map<String, Value>, BadRequest> {
    let body = body.trim_start_matches('\u{feff}').trim();
    if body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(body).map_err(|error| BadRequest::Json(error.to_string()))
}

/// Of `/SetOptions`, what concerns us: the milliseconds between two pings, where they are given. The
/// other options are a softphone's own business (devices, codecs, SIP), which here the page and the
/// gateway's configuration have.
pub fn parse_options(body: &str) -> Result<Option<u64>, BadRequest> {
    let object = object(body)?;
    let options = object.get("value").and_then(Value::as_object);
    let options = options.ok_or(BadRequest::Missing("value"))?;
    Ok(options.get("ping-interval").and_then(milliseconds))
}

/// `/SetSIPEndpointParameters`: read and not needed.
pub fn parse_parameters(body: &str) -> Result<(), BadRequest> {
    let object = object(body)?;
    object.get("value").and_then(Value::as_array).ok_or(BadRequest::Missing("value")).map(|_| ())
}

/// `/SetPingPeriod`: milliseconds.
pub fn parse_ping_period(body: &str) -> Result<u64, BadRequest> {
    object(body)?.get("value").and_then(milliseconds).ok_or(BadRequest::Missing("value"))
}

/// WWE writes numbers as numbers, and its options as text now and then.
fn milliseconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// `/RegisterDn`: the DNs, without what stands behind an `@`.
pub fn parse_users(body: &str) -> Result<Vec<String>, BadRequest> {
    let object = object(body)?;
    let users = object.get("users").and_then(Value::as_array);
    let users = users.ok_or(BadRequest::Missing("users"))?;
    if users.is_empty() || users.len() > MAX_USERS {
        return Err(BadRequest::Users);
    }
    let dn = |user: &Value| {
        let user = user.as_str().ok_or(BadRequest::Users)?.trim();
        let user = user.strip_prefix("sip:").unwrap_or(user);
        let dn = user.split('@').next().unwrap_or_default();
        check_dn(dn).map_err(BadRequest::Dn)?;
        Ok(dn.to_owned())
    };
    users.iter().map(dn).collect()
}

/// `/MakeCall`: whom.
pub fn parse_destination(body: &str) -> Result<String, BadRequest> {
    let object = object(body)?;
    let to = object.get("destination").and_then(Value::as_str).map(str::trim);
    to.filter(|to| !to.is_empty()).map(str::to_owned).ok_or(BadRequest::Missing("destination"))
}

/// `/SendDTMF`: digits as in the raw-SDP dialect's command.
pub fn parse_digits(body: &str) -> Result<String, BadRequest> {
    let object = object(body)?;
    let digits = object.get("digits").and_then(Value::as_str);
    let digits = digits.ok_or(BadRequest::Missing("digits"))?;
    match rest::dtmf(digits) {
        Ok(Body::Command(FromBrowser::Dtmf(digits))) => Ok(digits),
        Ok(_) => Err(BadRequest::Missing("digits")),
        Err(error) => Err(BadRequest::Digits(error)),
    }
}

/// What a line of the gateway looks like from here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status<'a> {
    pub registered: bool,
    pub dn: &'a str,
    pub active: bool,
    /// Who calls, or else who is talked to.
    pub caller: Option<&'a str>,
    pub incoming: bool,
}

#[derive(Serialize)]
struct CallStatus<'a> {
    registered: bool,
    dn: &'a str,
    #[serde(rename = "callActive")]
    call_active: bool,
    #[serde(rename = "hasIncomingCall")]
    has_incoming_call: bool,
    #[serde(rename = "callerId")]
    caller_id: Option<&'a str>,
}

#[derive(Serialize)]
struct IncomingCall<'a> {
    #[serde(rename = "hasIncomingCall")]
    has_incoming_call: bool,
    #[serde(rename = "callerId")]
    caller_id: Option<&'a str>,
    timestamp: Option<&'a str>,
}

fn json_of(value: &impl Serialize) -> String {
    // Texts, numbers and lists of them: nothing that JSON cannot say.
    serde_json::to_string(value).unwrap_or_default()
}

/// `{}`: taken.
pub fn taken() -> String {
    "{}".to_owned()
}

/// `{"get_DnSIPResult":"5001"}`; an empty text while no DN is registered.
pub fn dn_reply(dn: Option<&str>) -> String {
    json!({"get_DnSIPResult": dn.unwrap_or_default()}).to_string()
}

pub fn active_reply(active: bool) -> String {
    json!({"get_IsEndpointActiveResult": active}).to_string()
}

pub fn parameters_reply(active: bool) -> String {
    #[derive(Serialize)]
    struct Pair {
        #[serde(rename = "Key")]
        key: &'static str,
        #[serde(rename = "Value")]
        value: Value,
    }
    #[derive(Serialize)]
    struct Reply {
        #[serde(rename = "get_SIPEndpointParametersResult")]
        result: [Pair; 3],
    }
    let status = if active { "EndpointStatus_Ready" } else { "EndpointStatus_NotReady" };
    json_of(&Reply {
        result: [
            Pair { key: "EndpointStatus", value: json!(status) },
            Pair { key: "IsPingMandatory", value: json!(false) },
            Pair { key: "Status", value: json!("Initialized") },
        ],
    })
}

pub fn ping_reply() -> String {
    "{\"PingResult\":[]}".to_owned()
}

/// `{"MakeCallResult":true}`.
pub fn done(action: Action) -> String {
    format!("{{\"{}Result\":true}}", action.name())
}

/// `{"MakeCallResult":false,"error":"..."}`.
pub fn not_done(action: Action, why: &str) -> String {
    format!("{{\"{}Result\":false,\"error\":{}}}", action.name(), json!(why))
}

/// What `POST /api/connector/token` gives: where the connector is for this DN.
pub fn token_reply(token: &str, base_path: &str, dn: &str) -> String {
    #[derive(Serialize)]
    struct Reply<'a> {
        token: &'a str,
        path: String,
        dn: &'a str,
    }
    json_of(&Reply { token, path: format!("{base_path}/connector/{token}"), dn })
}

/// `{"error":"..."}`, for what has no result.
pub fn fault(why: &str) -> String {
    json!({"error": why}).to_string()
}

pub fn call_status_reply(status: &Status<'_>) -> String {
    json_of(&CallStatus {
        registered: status.registered,
        dn: status.dn,
        call_active: status.active,
        has_incoming_call: status.incoming,
        caller_id: status.caller,
    })
}

/// Who calls, and since when (RFC 3339); `None` while nobody does.
pub fn incoming_reply(call: Option<(&str, &str)>) -> String {
    json_of(&IncomingCall {
        has_incoming_call: call.is_some(),
        caller_id: call.map(|(caller, _)| caller),
        timestamp: call.map(|(_, since)| since),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_slash_and_without() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.name()), Some(action));
            assert_eq!(Action::parse(&format!("{}/", action.name())), Some(action));
        }
        for other in ["", "/", "registerdn", "RegisterDn//", "RegisterDn/x", "Register"] {
            assert_eq!(Action::parse(other), None, "{other}");
        }
    }

    /// To the byte what the WWE of the specification expects.
    #[test]
    fn replies() {
        assert_eq!(dn_reply(None), r#"{"get_DnSIPResult":""}"#);
        assert_eq!(dn_reply(Some("5001")), r#"{"get_DnSIPResult":"5001"}"#);
        assert_eq!(active_reply(true), r#"{"get_IsEndpointActiveResult":true}"#);
        let parameters = |status: &str| {
            format!(
                r#"{{"get_SIPEndpointParametersResult":[{{"Key":"EndpointStatus","Value":"{status}"}},{{"Key":"IsPingMandatory","Value":false}},{{"Key":"Status","Value":"Initialized"}}]}}"#
            )
        };
        assert_eq!(parameters_reply(true), parameters("EndpointStatus_Ready"));
        assert_eq!(parameters_reply(false), parameters("EndpointStatus_NotReady"));
        assert_eq!(ping_reply(), r#"{"PingResult":[]}"#);
        assert_eq!(done(Action::RegisterDn), r#"{"RegisterDnResult":true}"#);
        assert_eq!(done(Action::SendDtmf), r#"{"SendDTMFResult":true}"#);
        let not = r#"{"HoldResult":false,"error":"no \"call\""}"#;
        assert_eq!(not_done(Action::Hold, "no \"call\""), not);
        assert_eq!(
            incoming_reply(Some(("1003", "2026-11-21T09:30:00.000Z"))),
            r#"{"hasIncomingCall":true,"callerId":"1003","timestamp":"2026-11-21T09:30:00.000Z"}"#
        );
        assert_eq!(
            incoming_reply(None),
            r#"{"hasIncomingCall":false,"callerId":null,"timestamp":null}"#
        );
        let status = Status { registered: true, dn: "5001", ..Status::default() };
        assert_eq!(
            call_status_reply(&status),
            r#"{"registered":true,"dn":"5001","callActive":false,"hasIncomingCall":false,"callerId":null}"#
        );
    }

    #[test]
    fn bodies() {
        let users = r#"{"addresses":["sip.example:5060"],"users":["5001","sip:5002@sip.example"]}"#;
        assert_eq!(parse_users(users), Ok(vec!["5001".to_owned(), "5002".to_owned()]));
        assert_eq!(parse_users(r#"{"users":[]}"#), Err(BadRequest::Users));
        assert_eq!(parse_users(r#"{"users":"5001"}"#), Err(BadRequest::Missing("users")));
        assert!(matches!(parse_users(r#"{"users":["50 01"]}"#), Err(BadRequest::Dn(_))));
        assert!(matches!(parse_users("[1]"), Err(BadRequest::Json(_))));
        let options =
            r#"{"value":{"uri":"https://a","ping-interval":2000,"transport-protocol":"UDP"}}"#;
        assert_eq!(parse_options(options), Ok(Some(2000)));
        assert_eq!(parse_options(r#"{"value":{"ping-interval":"500"}}"#), Ok(Some(500)));
        assert_eq!(parse_options(r#"{"value":{}}"#), Ok(None));
        assert_eq!(parse_options("{}"), Err(BadRequest::Missing("value")));
        assert_eq!(parse_ping_period("\u{feff}{\"value\":2000}"), Ok(2000));
        assert_eq!(parse_ping_period(r#"{"value":-1}"#), Err(BadRequest::Missing("value")));
        assert_eq!(parse_destination(r#"{"destination":" 1003 "}"#), Ok("1003".to_owned()));
        assert_eq!(
            parse_destination(r#"{"destination":""}"#),
            Err(BadRequest::Missing("destination"))
        );
        assert_eq!(parse_digits(r#"{"digits":"1#a"}"#), Ok("1#A".to_owned()));
        assert!(matches!(parse_digits(r#"{"digits":"1x"}"#), Err(BadRequest::Digits(_))));
    }
}
