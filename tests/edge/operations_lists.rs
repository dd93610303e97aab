//! The lists and orders of the operations API: exact names, who may, what is refused.

use reqwest::{Client, Method};
use serde_json::{Value, json};
use wrtc_gateway::agent::{
    Alert, DnRegistration, HistoryItem, RegistrationTotals, SeriesPoint, SipServerStatus,
};

use crate::support::Gateway;
use crate::support::operations::{agent, call};

/// `printf %s TOKEN | sha256sum`
const TOKENS: &str = "http.operator_tokens=\
    read:wall:bea172dcbcf0719176c84e7dceb94617ff81daa1e49b3f9ebfe4bc54204ddaec,\
    act:desk:0969a26e38d3babd0585d3aab24b4d3dbeb4a48b247ce18c50c3000f382fd213";

async fn ask(gateway: &Gateway, method: Method, path: &str, token: &str) -> (u16, Value) {
    let mut request = Client::new().request(method, gateway.url(path));
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    let (status, told) = ask(gateway, Method::GET, path, "").await;
    assert_eq!(status, 200, "{told}");
    told
}

fn is_rfc3339(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z'))
}

#[tokio::test]
async fn registrations_have_the_names_that_collectors_know() {
    let gateway = Gateway::start(&[]).await;
    gateway.backend.operations.change(|shown| {
        shown.registrations.push(DnRegistration {
            dn: "5001".into(),
            aor: "sip:5001@example.com".into(),
            contact: "<sip:5001@192.0.2.1:5070>".into(),
            status: "registered",
            transport: "udp",
            expires_in: Some(240),
            user_agent: "wrtc".into(),
            registered_at: Some(1_700_000_000_123),
            address: Some("192.0.2.1:5070".parse().unwrap()),
            server: "udp:192.0.2.9:5060".into(),
            last_reason: Some("200 OK".into()),
        });
    });
    let told = get(&gateway, "/api/registrations").await;
    assert!(is_rfc3339(&told["timestamp"]), "{told}");
    let one = json!({
        "endpoint": "5001", "aor": "sip:5001@example.com", "contact": "<sip:5001@192.0.2.1:5070>",
        "status": "registered", "transport": "udp", "expiry": 240, "user_agent": "wrtc",
        "registered_at": "2023-11-14T22:13:20.123Z", "ip_address": "192.0.2.1", "port": 5070,
        "server": "udp:192.0.2.9:5060", "last_reason": "200 OK",
    });
    assert_eq!(told["registrations"], json!([one]));
    assert_eq!((&told["success"], &told["total_count"]), (&json!(true), &json!(1)));
}

#[tokio::test]
async fn agents_and_calls_and_counters() {
    let gateway = Gateway::start(&[]).await;
    gateway.backend.operations.change(|shown| {
        shown.agents.push(agent("5001"));
        shown.calls.push(call("c1", "5001"));
        shown.registration_totals = RegistrationTotals {
            successful: 5,
            unregistrations: 2,
            failed: 3,
            unique_dns: 4,
            currently_registered: 1,
        };
    });
    let told = get(&gateway, "/api/agents").await;
    assert_eq!(told["count"], 1);
    let one = &told["agents"][0];
    assert_eq!((&one["id"], &one["dn"]), (&json!("5001"), &json!("5001")));
    assert_eq!(one["registered_at"], "2023-11-14T22:13:20.123Z");
    assert_eq!(one["registration"]["last_reason"], "200 OK");

    let told = get(&gateway, "/api/calls/active").await;
    assert_eq!(told["count"], 1);
    let one = &told["calls"][0];
    for (name, value) in [
        ("call_id", "c1"),
        ("agent_id", "5001"),
        ("remote", "1003"),
        ("direction", "outgoing"),
        ("state", "established"),
    ] {
        assert_eq!(one[name], value, "{name}");
    }
    assert_eq!((&one["mos"], &one["browser_loss_percent"]), (&json!(4.38), &Value::Null));

    let mut told = get(&gateway, "/api/stats").await;
    assert!(is_rfc3339(&told["timestamp"].take()));
    let counters = json!({
        "total_requests": 10, "successful_registrations": 5, "unregistrations": 2,
        "failed_attempts": 3, "unique_dns": 4, "currently_registered": 1, "timestamp": null,
    });
    assert_eq!(told, counters);
}

#[tokio::test]
async fn servers_alerts_figures_and_history() {
    let gateway = Gateway::start(&[]).await;
    gateway.backend.operations.change(|shown| {
        shown.servers.push(SipServerStatus {
            name: "sip.example".into(),
            address: Some("udp:192.0.2.9:5060".into()),
            up: None,
            current: true,
            rtt_ms: Some(7),
            reason: None,
            name_fault: None,
            since: 5,
            pings: 3,
            pings_missed: 1,
        });
        shown.alerts.push(Alert {
            kind: "no_rtp",
            severity: "warning",
            text: "5001 hears nothing".into(),
            since: 9,
            dn: None,
            call: Some("c1".into()),
        });
        shown.series = (0..100).map(|at| SeriesPoint { at, ..SeriesPoint::default() }).collect();
        shown.history = (1..=300)
            .map(|id| HistoryItem {
                id,
                at: id,
                kind: "sign_in",
                text: "x".into(),
                dn: None,
                call: None,
            })
            .collect();
    });
    let told = get(&gateway, "/api/servers").await;
    let server = json!({
        "name": "sip.example", "address": "udp:192.0.2.9:5060", "up": null, "current": true,
        "rtt_ms": 7, "reason": null, "name_fault": null, "since": 5, "pings": 3, "pings_missed": 1,
    });
    assert_eq!(told, json!({"servers": [server], "count": 1}));
    let told = get(&gateway, "/api/alerts").await;
    let alert = json!({
        "kind": "no_rtp", "severity": "warning", "text": "5001 hears nothing", "since": 9, "call": "c1",
    });
    assert_eq!(told, json!({"alerts": [alert], "count": 1}));

    let told = get(&gateway, "/api/series").await;
    assert_eq!((&told["step_seconds"], &told["points"][0]["at"]), (&json!(60), &json!(40)));
    let point = json!({
        "at": 99, "calls_started": 0, "calls_ended": 0, "failed": 0, "active": 0,
        "setup_p50_ms": null, "setup_p95_ms": null, "mos": null, "loss_percent": null,
    });
    assert_eq!(get(&gateway, "/api/series?minutes=1").await["points"], json!([point]));

    let ids = |told: Value| -> Vec<u64> {
        let items = told["history"].as_array().unwrap().clone();
        items.iter().map(|item| item["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids(get(&gateway, "/api/history").await), (101..=300).collect::<Vec<_>>());
    assert_eq!(ids(get(&gateway, "/api/history?after=297&limit=2").await), [299, 300]);

    for path in [
        "/api/series?minutes=0",
        "/api/series?minutes=1441",
        "/api/series?minutes=x",
        "/api/series?hours=1",
        "/api/history?limit=0",
        "/api/history?limit=1001",
        "/api/history?after=-1",
    ] {
        let (status, told) = ask(&gateway, Method::GET, path, "").await;
        assert_eq!((status, &told["code"]), (400, &json!("malformed_parameter")), "{path}");
    }
}

#[tokio::test]
async fn orders_are_carried_out_once_and_told_with_the_tokens_name() {
    let gateway = Gateway::start(&[TOKENS]).await;
    let operations = &gateway.backend.operations;
    operations.change(|shown| {
        shown.agents.push(agent("5001"));
        shown.calls.push(call("c1", "5001"));
    });
    let order = async |path| ask(&gateway, Method::POST, path, "token of the operator").await;
    for (path, code) in
        [("/api/calls/c1/hangup", "no_such_call"), ("/api/agents/5001/sign_out", "not_signed_in")]
    {
        assert_eq!(order(path).await, (200, json!({"success": true})));
        let (status, told) = order(path).await;
        assert_eq!((status, &told["code"]), (404, &json!(code)), "{told}");
    }
    let orders = operations.change(|shown| shown.orders.clone());
    assert_eq!(orders[0], "hangup c1 desk");
    assert_eq!(orders[2], "sign_out 5001 desk");
    assert_eq!(ask(&gateway, Method::GET, "/api/calls/c1/hangup", "").await.0, 405);
    // An id is a segment of the path, whatever is in it.
    let (status, _) = order("/api/agents/..%2F5001/sign_out").await;
    assert_eq!(status, 404);
    assert_eq!(operations.change(|shown| shown.orders[4].clone()), "sign_out ../5001 desk");
}

#[tokio::test]
async fn everything_wants_a_token_where_there_is_one() {
    let gateway = Gateway::start(&[TOKENS]).await;
    gateway.backend.operations.change(|shown| shown.calls.push(call("c1", "5001")));
    let looks = [
        "/api/registrations",
        "/api/agents",
        "/api/calls/active",
        "/api/stats",
        "/api/servers",
        "/api/alerts",
        "/api/series",
        "/api/history",
        "/api/trace",
    ];
    for path in looks {
        assert_eq!(ask(&gateway, Method::GET, path, "token that looks").await.0, 200, "{path}");
    }
    for path in ["/api/calls/c1/hangup", "/api/agents/5001/sign_out"] {
        let (status, told) = ask(&gateway, Method::POST, path, "token that looks").await;
        assert_eq!((status, &told["code"]), (403, &json!("role_forbidden")), "{path}");
    }
    // The first few, then it is too many tries.
    for path in looks.iter().chain(&["/api/events"]).take(5) {
        let (status, told) = ask(&gateway, Method::GET, path, "").await;
        assert!(status == 401 && told["agents"].is_null(), "{path}: {status} {told}");
    }
    assert!(matches!(ask(&gateway, Method::GET, "/api/events", "").await.0, 401 | 429));
    let orders = gateway.backend.operations.change(|shown| shown.orders.clone());
    assert!(orders.is_empty(), "{orders:?}");
    for path in ["/api/health", "/livez", "/readyz"] {
        assert_eq!(ask(&gateway, Method::GET, path, "").await.0, 200, "{path}");
    }
}
