//! The operations API over real calls.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use wrtc_gateway::agent::{Operated, OperatedBy, Operations};
use wrtc_gateway::config::{OperatorToken, Role};
use wrtc_gateway::sip::EndedBy;

use crate::support::browser::LIMIT;
use crate::support::far::{Far, tone};
use crate::support::gateway::{Demo, dialled};
use crate::support::jsapi::Jsapi;
use crate::support::secrecy;
use crate::support::sse::Events;
use crate::support::wire::Wire;

async fn ask(demo: &Demo, method: Method, path: &str) -> (u16, Value) {
    let request = Client::new().request(method, format!("{}{path}", demo.base));
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

async fn get(demo: &Demo, path: &str) -> Value {
    let (status, told) = ask(demo, Method::GET, path).await;
    assert_eq!(status, 200, "{path}: {told}");
    told
}

async fn events(demo: &Demo) -> (Events, Value) {
    let mut events = Events::open(&format!("{}/api/events", demo.base), None).await;
    let (name, snapshot) = events.next().await.expect("a snapshot");
    assert_eq!(name, "snapshot");
    (events, snapshot)
}

/// An established call with sound both ways.
async fn talk(demo: &Demo) -> (Jsapi, Far) {
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.browser.play(440.0).await;
    phone.call("7000").await;
    let far = dialled(&mut legs).await;
    far.leg.accept().await.expect("200");
    far.play(tone(1000.0));
    phone.answered().await;
    phone.browser.connected().await;
    phone.browser.hears(1000.0, 0.5).await;
    (phone, far)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_seen_and_its_forced_end_reaches_both_sides() {
    let demo = Demo::start().await;
    let (mut events, snapshot) = events(&demo).await;
    assert_eq!((&snapshot["agents"], &snapshot["calls"]), (&json!([]), &json!([])));
    let (mut phone, mut far) = talk(&demo).await;

    let told = get(&demo, "/api/calls/active").await;
    assert_eq!(told["count"], 1);
    let call = &told["calls"][0];
    for (name, value) in [
        ("agent_id", "5001"),
        ("dn", "5001"),
        ("remote", "7000"),
        ("direction", "outgoing"),
        ("state", "established"),
    ] {
        assert_eq!(call[name], value, "{name}: {call}");
    }
    assert!(call["answered"].as_u64() >= call["started"].as_u64(), "{call}");
    let id = call["call_id"].as_str().expect("an id").to_owned();
    let agents = get(&demo, "/api/agents").await;
    let agent = &agents["agents"][0];
    assert_eq!((&agent["state"], &agent["calls"]), (&json!("established"), &json!(1)));
    let seen = events
        .until("calls", |calls| calls[0]["call_id"] == id.as_str() && calls[0]["mos"].is_number())
        .await;
    let mos = seen[0]["mos"].as_f64().expect("a score");
    assert!((1.0..=4.5).contains(&mos), "{seen}");

    let (status, done) = ask(&demo, Method::POST, &format!("/api/calls/{id}/hangup")).await;
    assert_eq!((status, done), (200, json!({"success": true})));
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 200), "{end:?}");
    phone.expect("BYE").await;
    events.until("history", |item| item["kind"] == "operator" && item["call"] == id.as_str()).await;
    events.until("calls", |calls| calls == &json!([])).await;
    demo.idle().await;
    let (status, told) = ask(&demo, Method::POST, &format!("/api/calls/{id}/hangup")).await;
    assert_eq!((status, &told["code"]), (404, &json!("no_such_call")));
    let kinds: Vec<Value> = get(&demo, "/api/history").await["history"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["kind"].clone())
        .collect();
    assert!(kinds.contains(&json!("call_started")) && kinds.contains(&json!("call_ended")));
    let points = get(&demo, "/api/series").await;
    let points = points["points"].as_array().expect("a list");
    let sum = |name: &str| points.iter().filter_map(|point| point[name].as_u64()).sum::<u64>();
    assert_eq!((sum("calls_started"), sum("calls_ended"), sum("failed")), (1, 1, 0));
    assert!(points.iter().any(|point| point["setup_p50_ms"].is_u64()), "{points:?}");
    // The agent stays, and may call again.
    phone.fresh().await;
    phone.connect("601").await;
    // By all that GET knows it by.
    let (status, told) = ask(&demo, Method::POST, "/api/calls/nobody/hangup").await;
    assert_eq!((status, &told["code"]), (404, &json!("no_such_call")));
    let (status, done) = ask(&demo, Method::POST, "/api/calls/5001/hangup").await;
    assert_eq!((status, done), (200, json!({"success": true})));
    phone.expect("BYE").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dn_that_is_signed_out_is_unregistered_and_its_call_released() {
    let demo = Demo::start().await;
    let (phone, mut far) = talk(&demo).await;
    let told = get(&demo, "/api/registrations").await;
    assert_eq!(told["total_count"], 1);
    let one = &told["registrations"][0];
    assert_eq!((&one["endpoint"], &one["status"]), (&json!("5001"), &json!("registered")));
    assert_eq!((&one["transport"], &one["last_reason"]), (&json!("udp"), &json!("200 OK")));
    let contact = one["contact"].as_str().expect("a contact");
    let address = format!("{}:{}", one["ip_address"].as_str().expect("an address"), one["port"]);
    assert!(contact.contains(&address), "{one}");
    assert_eq!(address, demo.sip.to_string());
    assert!(one["expiry"].as_u64().is_some_and(|left| left > 0), "{one}");
    assert!(one["aor"].as_str().is_some_and(|aor| aor.starts_with("sip:5001@")), "{one}");

    let (status, done) = ask(&demo, Method::POST, "/api/agents/5001/sign_out").await;
    assert_eq!((status, done), (200, json!({"success": true})));
    far.ended().await;
    assert!(!demo.is_registered("5001"), "it answers when the SIP server has confirmed");
    demo.idle().await;
    let answer = phone.wire.wait(&phone.ssid).await;
    assert_eq!(answer.status, 404, "the page's session is over: {}", answer.body);
    assert_eq!(get(&demo, "/api/agents").await, json!({"agents": [], "count": 0}));
    let stats = get(&demo, "/api/stats").await;
    assert_eq!(
        [&stats["successful_registrations"], &stats["unregistrations"], &stats["unique_dns"]],
        [1, 1, 1].map(|n| json!(n)).each_ref()
    );
    let (status, _) = ask(&demo, Method::POST, "/api/agents/5001/sign_out").await;
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_falls_silent_is_an_alert_until_it_is_heard_again() {
    let demo = Demo::start().await;
    let (phone, far) = talk(&demo).await;
    let (mut events, _) = events(&demo).await;
    phone.browser.mute_packets(true).await;
    let alerts = events.until("alerts", |alerts| alerts[0]["kind"] == "no_rtp").await;
    let alert = &alerts[0];
    assert_eq!((&alert["dn"], alerts.as_array().map(Vec::len)), (&json!("5001"), Some(1)));
    assert!(alert["text"].as_str().is_some_and(|text| text.contains("from its browser")));
    assert_eq!(get(&demo, "/api/alerts").await["count"], 1);
    phone.browser.mute_packets(false).await;
    events.until("history", |item| item["kind"] == "alert_over").await;
    events.until("alerts", |alerts| alerts == &json!([])).await;
    // On hold nobody has to speak.
    far.hold().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(get(&demo, "/api/alerts").await["alerts"], json!([]));
    far.hang_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_sip_server_is_gone_says_so() {
    let demo = Demo::with_settings(&["sip.ping_seconds=1"]).await;
    let end = std::time::Instant::now() + LIMIT;
    while get(&demo, "/api/servers").await["servers"][0]["up"] != true {
        assert!(std::time::Instant::now() < end, "its pings are not answered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&demo, "/readyz").await, json!({"status": "ok", "reasons": []}));
    // Nobody is there: nothing answers at all.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let server = format!("sip.servers=sip:{}", nobody.local_addr().expect("bound"));
    let alone = Demo::with_servers(&[&server, "sip.ping_seconds=1"]).await;
    let (mut events, _) = events(&alone).await;
    let servers = events.until("servers", |servers| servers[0]["up"] == false).await;
    assert!(servers[0]["reason"].is_string(), "{servers}");
    let (status, told) = ask(&alone, Method::GET, "/readyz").await;
    assert_eq!((status, &told["reasons"][0]["code"]), (503, &json!("no_sip_server")), "{told}");
    events.until("alerts", |alerts| alerts[0]["kind"] == "sip_server").await;
    assert_eq!(get(&alone, "/livez").await["status"], "ok");
}

/// Asks until it is told what is wanted.
async fn until(demo: &Demo, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = std::time::Instant::now() + 3 * LIMIT;
    loop {
        let told = get(demo, path).await;
        if wanted(&told) {
            return told;
        }
        assert!(std::time::Instant::now() < end, "{path} has {told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_resolve_is_seen_by_who_looks() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("bound");
    let servers = format!("sip.servers=sip:{address},sip:nowhere.invalid");
    let demo = Demo::with_servers(&[&servers, "sip.ping_seconds=0"]).await;
    let told = until(&demo, "/api/servers", |told| told["count"] == 2).await;
    let (there, nowhere) = (&told["servers"][0], &told["servers"][1]);
    assert_eq!((&nowhere["name"], &nowhere["up"]), (&json!("sip:nowhere.invalid"), &json!(false)));
    assert_eq!(nowhere["address"], json!(null), "{told}");
    assert!(nowhere["reason"].is_string() && nowhere["reason"] == nowhere["name_fault"], "{told}");
    assert!(there["address"].is_string() && there["name_fault"].is_null(), "{told}");
    let (_, snapshot) = events(&demo).await;
    assert_eq!(snapshot["servers"][1], *nowhere);
    let told = until(&demo, "/api/alerts", |told| told["count"] == 1).await;
    let (kind, severity) = (&told["alerts"][0]["kind"], &told["alerts"][0]["severity"]);
    assert_eq!((kind, severity), (&json!("sip_server"), &json!("warning")), "{told}");
    let text = told["alerts"][0]["text"].as_str().unwrap_or_default();
    assert!(
        text.contains("the name sip:nowhere.invalid in sip.servers does not resolve"),
        "{text}"
    );
    let metrics = Wire::new(&demo.base).get("/metrics").await.body;
    for metric in ["wrtc_sip_server_up", "wrtc_sip_server_resolved"] {
        for (server, value) in [(format!("sip:{address}"), 1), ("sip:nowhere.invalid".into(), 0)] {
            let line = format!("{metric}{{server=\"{server}\"}} {value}");
            assert!(metrics.lines().any(|one| one == line), "{line} in\n{metrics}");
        }
    }

    // The only one: nobody can call, and who asks without a token does not learn its name.
    let alone = Demo::with_servers(&["sip.servers=sip:nowhere.invalid"]).await;
    until(&alone, "/api/alerts", |told| told["alerts"][0]["severity"] == "critical").await;
    let (status, told) = ask(&alone, Method::GET, "/readyz").await;
    assert_eq!((status, &told["reasons"][0]["code"]), (503, &json!("no_sip_server")), "{told}");
    assert!(!told.to_string().contains("nowhere"), "{told}");
}

/// With the name of the token, in the history that the dashboard shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_do_is_told_with_their_names() {
    let (token, line) = OperatorToken::make(Role::Act, Some("desk"));
    secrecy::forbid("an operator's token", token.expose());
    let demo = Demo::with_settings(&[&format!("http.operator_tokens={line}")]).await;
    let client = Client::new();
    let order = async |method, path: &str, body: &str| {
        let request = client.request(method, format!("{}{path}", demo.base));
        let request = request.bearer_auth(token.expose()).body(body.to_owned());
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(order(Method::PUT, "/api/trace/5001", r#"{"on":true}"#).await, 200);
    assert_eq!(order(Method::PUT, "/api/trace/5001", r#"{"on":false}"#).await, 200);
    assert_eq!(order(Method::POST, "/api/reload", "").await, 409, "a demo has no file");
    assert_eq!(order(Method::POST, "/api/drain", "").await, 202);
    let log = Operated::Log { level: "debug".into(), seconds: Some(60) };
    let by = OperatedBy { name: "desk".into(), remote: "127.0.0.1".parse().unwrap() };
    demo.gateway().operated(log, by);

    let told = Operations::history(demo.gateway(), 0, 1000);
    let told: Vec<_> = told.iter().filter(|item| item.kind == "operator").collect();
    let by_desk = |did: &str| format!("desk at 127.0.0.1 {did}");
    let texts: Vec<&str> = told.iter().map(|item| item.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            by_desk("switched the SIP trace on"),
            by_desk("switched the SIP trace off"),
            by_desk("asked for a reload"),
            by_desk("asked to drain"),
            by_desk("set the log level to debug for 60 s"),
        ]
    );
    let dns: Vec<Option<&str>> = told.iter().map(|item| item.dn.as_deref()).collect();
    assert_eq!(dns, [Some("5001"), Some("5001"), None, None, None]);
    let metrics = client.get(format!("{}/metrics", demo.base)).bearer_auth(token.expose());
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    for act in ["trace_on", "trace_off", "reload", "drain", "log"] {
        let line = format!("wrtc_operator_acts_total{{act=\"{act}\"}} 1");
        assert!(metrics.lines().any(|one| one == line), "{line} in\n{metrics}");
    }
}
