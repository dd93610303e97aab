//! The connector's requests over the wire: bytes, tokens, who may do without one.

use std::time::SystemTime;

use crate::support::{Gateway, exchange, get, header};
use serde_json::{Value, json};
use wrtc_gateway::agent::{CallState, LineCommand, LineState, MessageError};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const CONFIGURED: &str = "connector.tokens=0123456789abcdef0123456789abcdef=5000";
const JSON: &str = "application/json; charset=UTF-8";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

async fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost:8000\r\nContent-Type: {JSON}\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    );
    let (status, head, body) = exchange(gateway.address, &request).await.unwrap();
    Answer { status, head, body }
}

/// `POST` where there is a body, under the token or on the bare paths (`""`).
async fn wwe(gateway: &Gateway, base: &str, action: &str, body: Option<Value>) -> Answer {
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    ask(gateway, method, &format!("{base}/{action}"), "", &body).await
}

fn under_token() -> String {
    format!("/connector/{TOKEN}")
}

fn line(registered: bool, calls: &[(&str, &'static str)]) -> LineState {
    let calls = calls.iter().map(|(peer, state)| CallState {
        id: "c".into(),
        peer: (*peer).into(),
        state,
        started: SystemTime::UNIX_EPOCH,
    });
    LineState { registered, calls: calls.collect() }
}

async fn is_active(gateway: &Gateway, base: &str) -> bool {
    let answer = wwe(gateway, base, "GetIsEndpointActive", None).await;
    match answer.body.as_str() {
        r#"{"get_IsEndpointActiveResult":true}"# => true,
        r#"{"get_IsEndpointActiveResult":false}"# => false,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn active_means_registered_by_wwe_and_at_the_server_with_a_page_there() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let base = under_token();
    assert!(!is_active(&gateway, &base).await);
    let users = json!({"addresses": ["sip.example:5060"], "users": ["5000"]});
    let answer = wwe(&gateway, &base, "RegisterDn/", Some(users)).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"RegisterDnResult":true}"#));
    assert_eq!(header(&answer.head, "content-type"), Some(JSON));
    assert!(!is_active(&gateway, &base).await, "nobody is signed in");
    let (ssid, session) = sign_in(&gateway).await;
    assert!(!is_active(&gateway, &base).await, "the SIP server has not accepted it");
    *gateway.backend.line.lock().unwrap() = line(true, &[]);
    assert!(is_active(&gateway, &base).await);
    let answer = wwe(&gateway, &base, "GetDnSIP", None).await;
    assert_eq!(answer.body, r#"{"get_DnSIPResult":"5000"}"#);
    let answer = wwe(&gateway, &base, "GetSIPEndpointParameters", None).await;
    assert!(answer.body.contains("EndpointStatus_Ready"), "{}", answer.body);
    session.touch(std::time::Instant::now() - std::time::Duration::from_secs(60));
    assert!(!is_active(&gateway, &base).await, "the page is gone");
    let poll = tokio::spawn(exchange_owned(gateway.address, get(&format!("/wait?id={ssid}"))));
    crate::support::eventually("a poll", || crate::support::hangs(&session)).await;
    assert!(is_active(&gateway, &base).await);
    let answer = wwe(&gateway, &base, "UnregisterDn", Some(json!({}))).await;
    assert_eq!(answer.body, r#"{"UnregisterDnResult":true}"#);
    assert!(!is_active(&gateway, &base).await);
    assert!(session.end_reason().is_none(), "the page stays signed in");
    poll.abort();
}

async fn exchange_owned(to: std::net::SocketAddr, request: String) {
    let _ = exchange(to, &request).await;
}

/// 5000 has no password at the fake SIP server.
async fn sign_in(gateway: &Gateway) -> (String, std::sync::Arc<wrtc_gateway::agent::Session>) {
    let (status, _, body) = exchange(gateway.address, &get("/sign_in?5000")).await.unwrap();
    assert_eq!(status, 200, "{body}");
    let ssid = body.trim().split('=').nth(1).unwrap().to_owned();
    let session = gateway.backend.by_ssid_or_panic(&ssid);
    (ssid, session)
}

#[tokio::test]
async fn what_is_taken_is_answered_with_an_empty_object() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let options = json!({"value": {"uri": "https://127.0.0.1:8000", "ping-interval": 2000,
        "policy.session.auto_answer": "0", "headset-unplugged-set-not-ready": true}});
    let parameters = json!({"value": [{"Key": "SipEndpointTransportProtocol", "Value": "UDP"}]});
    for (action, body) in [
        ("SetOptions", options),
        ("SetSIPEndpointParameters", parameters),
        ("SetPingPeriod", json!({"value": 2000})),
    ] {
        let answer = wwe(&gateway, &under_token(), action, Some(body)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"), "{action}");
        let answer = wwe(&gateway, &under_token(), action, Some(json!([1]))).await;
        assert_eq!(answer.status, 400, "{action}: {}", answer.body);
    }
    let answer = wwe(&gateway, &under_token(), "Ping", None).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"PingResult":[]}"#));
}

#[tokio::test]
async fn preflights_are_answered_with_200() {
    let gateway = Gateway::start(&[CONFIGURED, "http.allowed_origins=https://wwe.example"]).await;
    let asked = "Origin: https://wwe.example\r\nAccess-Control-Request-Method: POST\r\n\
                 Access-Control-Request-Headers: content-type\r\n\
                 Access-Control-Request-Private-Network: true\r\n";
    for path in [format!("/connector/{TOKEN}/RegisterDn/"), "/Ping".into(), "/RegisterDn/".into()] {
        let answer = ask(&gateway, "OPTIONS", &path, asked, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
        for (name, value) in [
            ("access-control-allow-origin", "https://wwe.example"),
            ("access-control-allow-headers", "content-type"),
            ("access-control-allow-private-network", "true"),
        ] {
            assert_eq!(header(&answer.head, name), Some(value), "{path} {name}");
        }
    }
    let foreign = "Origin: https://evil.example\r\n";
    for path in [format!("/connector/{TOKEN}/HangUp"), "/HangUp".into()] {
        assert_eq!(ask(&gateway, "POST", &path, foreign, "{}").await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn tokens_say_whose_phone_it_is() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let answer = wwe(&gateway, "/connector/unknown", "Ping", None).await;
    assert_eq!(answer.status, 404);
    let users = json!({"users": ["5999"]});
    let answer = wwe(&gateway, &under_token(), "RegisterDn", Some(users)).await;
    assert_eq!(answer.status, 403);
    assert!(answer.body.starts_with(r#"{"RegisterDnResult":false,"#), "{}", answer.body);
    for (path, status) in [
        ("/Nonsense", 400),
        (&format!("/connector/{TOKEN}/Nonsense"), 400),
        (&format!("/connector/{TOKEN}/"), 400),
        (&format!("/connector/{TOKEN}"), 400),
        (&format!("/connector/{TOKEN}/RegisterDn"), 405),
        ("/nonsense", 404),
    ] {
        assert_eq!(ask(&gateway, "GET", path, "", "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_signed_in_page_gets_a_token_that_ends_with_its_session() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = sign_in(&gateway).await;
    let path = format!("/api/connector/token?id={ssid}");
    let answer = ask(&gateway, "POST", &path, "", "").await;
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let (token, base) = (told["token"].as_str().unwrap(), told["path"].as_str().unwrap());
    assert_eq!((told["dn"].as_str(), base), (Some("5000"), format!("/connector/{token}").as_str()));
    assert!(token.len() >= 32 && token != ssid);
    let again: Value =
        serde_json::from_str(&ask(&gateway, "POST", &path, "", "").await.body).unwrap();
    assert_eq!(again, told);
    assert_eq!(wwe(&gateway, base, "Ping", None).await.status, 200);
    session.end(wrtc_gateway::agent::EndReason::SignedOut);
    assert_eq!(wwe(&gateway, base, "Ping", None).await.status, 404);
    assert_eq!(ask(&gateway, "POST", &path, "", "").await.status, 404);
    assert_eq!(ask(&gateway, "GET", &path, "", "").await.status, 405);
    let guest = format!("anon{:032}", 7);
    let (_, _, body) = exchange(gateway.address, &get(&format!("/sign_in?{guest}"))).await.unwrap();
    let ssid = body.trim().split('=').nth(1).unwrap();
    let path = format!("/api/connector/token?id={ssid}");
    assert_eq!(ask(&gateway, "POST", &path, "", "").await.status, 409);
}

#[tokio::test]
async fn bare_paths_are_for_the_only_agent_of_this_machine() {
    let auto = Gateway::start(&[]).await;
    assert_eq!(wwe(&auto, "", "Ping", None).await.status, 200);
    // Through a proxy, or from a page whose name leads here.
    let request = "GET /Ping HTTP/1.1\r\nHost: gateway\r\n\r\n";
    assert_eq!(exchange(auto.address, request).await.unwrap().0, 403);
    auto.jsapi_sign_in("5001").await;
    let status = wwe(&auto, "", "GetCallStatus", None).await;
    assert!(status.body.contains(r#""dn":"5001""#), "{}", status.body);
    auto.jsapi_sign_in("5002").await;
    assert_eq!(wwe(&auto, "", "Ping", None).await.status, 403);

    let on = Gateway::start(&["connector.bare_paths=on"]).await;
    on.jsapi_sign_in("5001").await;
    on.jsapi_sign_in("5002").await;
    assert_eq!(exchange(on.address, request).await.unwrap().0, 200);
    let off = Gateway::start(&["connector.bare_paths=off"]).await;
    assert_eq!(wwe(&off, "", "Ping", None).await.status, 403);
    let everywhere = Gateway::start(&["http.listen=0.0.0.0:0"]).await;
    let here = std::net::SocketAddr::from(([127, 0, 0, 1], everywhere.address.port()));
    let request = "GET /Ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (status, _, body) = exchange(here, request).await.unwrap();
    assert!(status == 403 && body.contains("/connector/{token}/"), "{status} {body}");
}

#[tokio::test]
async fn commands_reach_the_line_and_faults_say_why() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let base = under_token();
    let nobody = wwe(&gateway, &base, "HangUp", Some(json!({}))).await;
    assert_eq!(nobody.status, 409);
    assert!(nobody.body.starts_with(r#"{"HangUpResult":false,"error":""#), "{}", nobody.body);
    let (_, _session) = sign_in(&gateway).await;
    for (action, body, command) in [
        ("MakeCall", json!({"destination": "1003"}), LineCommand::Call { to: "1003".into() }),
        ("AnswerCall", json!({}), LineCommand::Answer),
        ("HangUp/", json!({}), LineCommand::HangUp),
        ("Hold", json!({}), LineCommand::Hold),
        ("Retrieve", json!({}), LineCommand::Retrieve),
        ("SendDTMF", json!({"digits": "1#"}), LineCommand::Dtmf("1#".into())),
    ] {
        let answer = wwe(&gateway, &base, action, Some(body)).await;
        let done = format!("{{\"{}Result\":true}}", action.trim_end_matches('/'));
        assert_eq!((answer.status, answer.body), (200, done));
        assert_eq!(gateway.backend.commands.lock().unwrap().pop(), Some(command));
    }
    *gateway.backend.refuse.lock().unwrap() = Some(MessageError::Unavailable("down".into()));
    let answer = wwe(&gateway, &base, "MakeCall", Some(json!({"destination": "1"}))).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, r#"{"MakeCallResult":false,"error":"down"}"#);
    for body in [json!({}), json!({"destination": 7}), json!([])] {
        assert_eq!(wwe(&gateway, &base, "MakeCall", Some(body)).await.status, 400);
    }
}

#[tokio::test]
async fn calls_are_shown_as_they_are() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let base = under_token();
    let none = r#"{"hasIncomingCall":false,"callerId":null,"timestamp":null}"#;
    assert_eq!(wwe(&gateway, &base, "GetIncomingCall", None).await.body, none);
    let nobody = r#"{"registered":false,"dn":"5000","callActive":false,"hasIncomingCall":false,"callerId":null}"#;
    assert_eq!(wwe(&gateway, &base, "GetCallStatus", None).await.body, nobody);
    let (_, _session) = sign_in(&gateway).await;
    for (calls, incoming, status) in [
        (
            line(true, &[("1003", "ringing")]),
            r#"{"hasIncomingCall":true,"callerId":"1003","timestamp":"1970-01-01T00:00:00.000Z"}"#,
            r#"{"registered":true,"dn":"5000","callActive":false,"hasIncomingCall":true,"callerId":"1003"}"#,
        ),
        (
            line(true, &[("1003", "held"), ("1004", "waiting")]),
            r#"{"hasIncomingCall":true,"callerId":"1004","timestamp":"1970-01-01T00:00:00.000Z"}"#,
            r#"{"registered":true,"dn":"5000","callActive":true,"hasIncomingCall":true,"callerId":"1004"}"#,
        ),
        (
            line(true, &[("1003", "established")]),
            none,
            r#"{"registered":true,"dn":"5000","callActive":true,"hasIncomingCall":false,"callerId":"1003"}"#,
        ),
    ] {
        *gateway.backend.line.lock().unwrap() = calls;
        assert_eq!(wwe(&gateway, &base, "GetIncomingCall", None).await.body, incoming);
        assert_eq!(wwe(&gateway, &base, "GetCallStatus", None).await.body, status);
    }
}
