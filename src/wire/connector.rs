//! The SIP endpoint connector of WWE 8.5.2 (rest-api.md section 2): its requests and replies.
//!
//! The names, the order of the members and what is a string or a number are WWE's.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::jsapi::{BadId, check_dn};
use super::rest;

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
    #[error("the body cannot be used: {0}")]
    Json(String),
    #[error("`value` is not a number of milliseconds")]
    NotMilliseconds,
    #[error("`users` is to name 1 to {MAX_USERS} DNs")]
    Users,
    #[error("`users`: {0}")]
    Dn(BadId),
    #[error("`destination` is empty")]
    Nobody,
    #[error("`digits`: {0}")]
    Digits(rest::BadBody),
}

/// `/SetOptions`
#[derive(Debug, Deserialize, ToSchema)]
pub struct SetOptions {
    /// WWE's options of a softphone. `ping-interval` (ms) is used.
    #[schema(value_type = Object, example = json!({"ping-interval": 2000}))]
    value: Map<String, Value>,
}

/// `/SetSIPEndpointParameters`
#[derive(Debug, Deserialize, ToSchema)]
pub struct SetParameters {
    /// `{Key, Value}` each. None is used.
    #[schema(value_type = Vec<Object>, example = json!([{"Key": "SipEndpointTransportProtocol", "Value": "UDP"}]))]
    #[allow(dead_code, reason = "read to see that it is there")]
    value: Vec<Value>,
}

/// `/RegisterDn`
#[derive(Debug, Deserialize, ToSchema)]
pub struct RegisterDn {
    /// SIP servers; those of the gateway's configuration are used.
    #[schema(value_type = Option<Vec<String>>, example = json!(["host:5060"]))]
    #[serde(default)]
    #[allow(dead_code, reason = "part of the message")]
    addresses: Value,
    /// DNs, with or without `sip:` before and `@host` behind.
    #[schema(min_items = 1, max_items = 16, example = json!(["5001"]))]
    users: Vec<String>,
}

/// `/SetPingPeriod`
#[derive(Debug, Deserialize, ToSchema)]
pub struct SetPingPeriod {
    /// Milliseconds, as a number or its text.
    #[schema(value_type = u64, example = 2000)]
    value: Value,
}

/// `/MakeCall`
#[derive(Debug, Deserialize, ToSchema)]
pub struct MakeCall {
    /// A number, or the user part of a SIP URI.
    #[schema(min_length = 1, example = "1003")]
    destination: String,
}

/// `/SendDTMF`
#[derive(Debug, Deserialize, ToSchema)]
pub struct SendDtmf {
    #[schema(pattern = "^[0-9*#A-Da-d ]+$", max_length = 64, example = "1#")]
    digits: String,
}

/// A byte order mark is nobody's fault.
fn read<T: DeserializeOwned>(body: &str) -> Result<T, BadRequest> {
    let body = body.trim_start_matches('\u{feff}');
    // An object: serde would take a list of the members' values too.
    let object: Result<Map<String, Value>, _> = serde_json::from_str(body);
    let read = object.and_then(|object| serde_json::from_value(Value::Object(object)));
    read.map_err(|error| BadRequest::Json(error.to_string()))
}

/// Of `/SetOptions`, what concerns us: the milliseconds between two pings, where they are given. The
/// other options are a softphone's own business (devices, codecs, SIP), which here the page and the
/// gateway's configuration have.
pub fn parse_options(body: &str) -> Result<Option<u64>, BadRequest> {
    let SetOptions { value } = read(body)?;
    Ok(value.get("ping-interval").and_then(milliseconds))
}

/// `/SetSIPEndpointParameters`: read and not needed.
pub fn parse_parameters(body: &str) -> Result<(), BadRequest> {
    read::<SetParameters>(body).map(|_| ())
}

/// `/SetPingPeriod`: milliseconds.
pub fn parse_ping_period(body: &str) -> Result<u64, BadRequest> {
    milliseconds(&read::<SetPingPeriod>(body)?.value).ok_or(BadRequest::NotMilliseconds)
}

/// WWE writes numbers as numbers, and its options as text now and then.
fn milliseconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// `/RegisterDn`: the DNs, without what stands behind an `@`.
pub fn parse_users(body: &str) -> Result<Vec<String>, BadRequest> {
    let RegisterDn { users, .. } = read(body)?;
    if users.is_empty() || users.len() > MAX_USERS {
        return Err(BadRequest::Users);
    }
    let dn = |user: &String| {
        let user = user.trim();
        let user = user.strip_prefix("sip:").unwrap_or(user);
        let dn = user.split('@').next().unwrap_or_default();
        check_dn(dn).map_err(BadRequest::Dn)?;
        Ok(dn.to_owned())
    };
    users.iter().map(dn).collect()
}

/// `/MakeCall`: whom.
pub fn parse_destination(body: &str) -> Result<String, BadRequest> {
    let MakeCall { destination } = read(body)?;
    let to = destination.trim();
    if to.is_empty() { Err(BadRequest::Nobody) } else { Ok(to.to_owned()) }
}

/// `/SendDTMF`: digits as in the raw-SDP dialect's command.
pub fn parse_digits(body: &str) -> Result<String, BadRequest> {
    let SendDtmf { digits } = read(body)?;
    rest::digits(&digits).map_err(BadRequest::Digits)
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

/// Of `/GetCallStatus`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallStatusReply<'a> {
    /// At the SIP server.
    registered: bool,
    dn: &'a str,
    call_active: bool,
    has_incoming_call: bool,
    /// Who calls, or else who is talked to.
    #[schema(required)]
    caller_id: Option<&'a str>,
}

/// Of `/GetIncomingCall`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncomingCallReply<'a> {
    has_incoming_call: bool,
    #[schema(required)]
    caller_id: Option<&'a str>,
    /// Since when it rings (RFC 3339).
    #[schema(required)]
    timestamp: Option<&'a str>,
}

/// Of `/GetDnSIP`.
#[derive(Serialize, ToSchema)]
pub struct DnReply<'a> {
    /// Empty while no DN is registered.
    #[serde(rename = "get_DnSIPResult")]
    dn: &'a str,
}

/// Of `/GetIsEndpointActive`.
#[derive(Serialize, ToSchema)]
pub struct ActiveReply {
    #[serde(rename = "get_IsEndpointActiveResult")]
    active: bool,
}

/// Of `/Ping`.
#[derive(Serialize, ToSchema)]
pub struct PingReply {
    #[serde(rename = "PingResult")]
    #[schema(value_type = Vec<Object>)]
    result: [(); 0],
}

/// Of `/GetSIPEndpointParameters`.
#[derive(Serialize, ToSchema)]
pub struct ParametersReply {
    #[serde(rename = "get_SIPEndpointParametersResult")]
    result: Vec<Parameter>,
}

#[derive(Serialize, ToSchema)]
pub struct Parameter {
    #[serde(rename = "Key")]
    key: &'static str,
    /// A text or a truth value.
    #[serde(rename = "Value")]
    #[schema(value_type = Value)]
    value: Value,
}

/// Taken.
#[derive(Serialize, ToSchema)]
pub struct Taken {}

/// A fault of a request that has no result.
#[derive(Serialize, ToSchema)]
pub struct FaultReply<'a> {
    error: &'a str,
}

/// What `POST /api/connector/token` gives: where the connector is for this DN.
#[derive(Serialize, ToSchema)]
pub struct TokenReply<'a> {
    token: &'a str,
    path: String,
    dn: &'a str,
}

macro_rules! results {
    ($($action:ident: $reply:ident { $result:ident })*) => {
        $(
            #[derive(Serialize, ToSchema)]
            #[allow(non_snake_case)]
            pub struct $reply<'a> {
                $result: bool,
                /// Why not.
                #[serde(skip_serializing_if = "Option::is_none")]
                error: Option<&'a str>,
            }
        )*

        /// `{"MakeCallResult":true}`, or `{"MakeCallResult":false,"error":"..."}`.
        pub fn result(action: Action, error: Option<&str>) -> String {
            match action {
                $(Action::$action => json_of(&$reply { $result: error.is_none(), error }),)*
                _ => error.map_or_else(taken, fault),
            }
        }
    };
}

results! {
    RegisterDn: RegisterDnReply { RegisterDnResult }
    UnregisterDn: UnregisterDnReply { UnregisterDnResult }
    MakeCall: MakeCallReply { MakeCallResult }
    AnswerCall: AnswerCallReply { AnswerCallResult }
    HangUp: HangUpReply { HangUpResult }
    Hold: HoldReply { HoldResult }
    Retrieve: RetrieveReply { RetrieveResult }
    SendDtmf: SendDtmfReply { SendDTMFResult }
}

fn json_of(value: &impl Serialize) -> String {
    // Texts, numbers and lists of them: nothing that JSON cannot say.
    serde_json::to_string(value).unwrap_or_default()
}

/// `{}`
pub fn taken() -> String {
    json_of(&Taken {})
}

/// `{"get_DnSIPResult":"5001"}`
pub fn dn_reply(dn: Option<&str>) -> String {
    json_of(&DnReply { dn: dn.unwrap_or_default() })
}

pub fn active_reply(active: bool) -> String {
    json_of(&ActiveReply { active })
}

pub fn parameters_reply(active: bool) -> String {
    let status = if active { "EndpointStatus_Ready" } else { "EndpointStatus_NotReady" };
    json_of(&ParametersReply {
        result: vec![
            Parameter { key: "EndpointStatus", value: json!(status) },
            Parameter { key: "IsPingMandatory", value: json!(false) },
            Parameter { key: "Status", value: json!("Initialized") },
        ],
    })
}

/// `{"PingResult":[]}`
pub fn ping_reply() -> String {
    json_of(&PingReply { result: [] })
}

/// `{"error":"..."}`
pub fn fault(error: &str) -> String {
    json_of(&FaultReply { error })
}

pub fn token_reply(token: &str, base_path: &str, dn: &str) -> String {
    json_of(&TokenReply { token, path: format!("{base_path}/connector/{token}"), dn })
}

pub fn call_status_reply(status: &Status<'_>) -> String {
    json_of(&CallStatusReply {
        registered: status.registered,
        dn: status.dn,
        call_active: status.active,
        has_incoming_call: status.incoming,
        caller_id: status.caller,
    })
}

/// Who calls, and since when (RFC 3339); `None` while nobody does.
pub fn incoming_reply(call: Option<(&str, &str)>) -> String {
    json_of(&IncomingCallReply {
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
        assert_eq!(result(Action::RegisterDn, None), r#"{"RegisterDnResult":true}"#);
        assert_eq!(result(Action::SendDtmf, None), r#"{"SendDTMFResult":true}"#);
        let not = r#"{"HoldResult":false,"error":"no \"call\""}"#;
        assert_eq!(result(Action::Hold, Some("no \"call\"")), not);
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
        assert!(matches!(parse_users(r#"{"users":"5001"}"#), Err(BadRequest::Json(_))));
        assert!(matches!(parse_users(r#"{"users":["50 01"]}"#), Err(BadRequest::Dn(_))));
        assert!(matches!(parse_users("[1]"), Err(BadRequest::Json(_))));
        let options =
            r#"{"value":{"uri":"https://a","ping-interval":2000,"transport-protocol":"UDP"}}"#;
        assert_eq!(parse_options(options), Ok(Some(2000)));
        assert_eq!(parse_options(r#"{"value":{"ping-interval":"500"}}"#), Ok(Some(500)));
        assert_eq!(parse_options(r#"{"value":{}}"#), Ok(None));
        assert!(matches!(parse_options("{}"), Err(BadRequest::Json(_))));
        assert_eq!(parse_ping_period("\u{feff}{\"value\":2000}"), Ok(2000));
        assert_eq!(parse_ping_period(r#"{"value":-1}"#), Err(BadRequest::NotMilliseconds));
        assert_eq!(parse_destination(r#"{"destination":" 1003 "}"#), Ok("1003".to_owned()));
        assert_eq!(parse_destination(r#"{"destination":""}"#), Err(BadRequest::Nobody));
        assert_eq!(parse_digits(r#"{"digits":"1#a"}"#), Ok("1#A".to_owned()));
        assert!(matches!(parse_digits(r#"{"digits":"1x"}"#), Err(BadRequest::Digits(_))));
    }
}
