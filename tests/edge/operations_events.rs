//! `GET /api/events`: what api-spec/events.md says of it.

use std::time::Duration;

use serde_json::{Value, json};
use wrtc_gateway::agent::{Alert, TracedDn};

use crate::support::Gateway;
use crate::support::operations::{agent, call};
use crate::support::sse::{Events, ask};

async fn open(gateway: &Gateway) -> (Events, Value) {
    let mut events = Events::open(&gateway.url("/api/events"), None).await;
    let (name, snapshot) = events.next().await.unwrap();
    assert_eq!(name, "snapshot");
    (events, snapshot)
}

#[tokio::test]
async fn a_snapshot_comes_first_and_has_everything() {
    let gateway = Gateway::start(&[]).await;
    let operations = &gateway.backend.operations;
    operations.change(|shown| {
        shown.agents.push(agent("5001"));
        shown.calls.push(call("c1", "5001"));
        shown.totals.calls_started = 7;
        shown.traced.push(TracedDn { dn: "5002".into(), until: 1_700_000_600_000 });
    });
    operations.happens("sign_in", "signed in from 192.0.2.1");
    let (_events, snapshot) = open(&gateway).await;
    let agent = json!({
        "dn": "5001", "guest": false, "id": "5001", "dialect": "jsapi",
        "registered_at": 1_700_000_000_123u64, "state": "ready", "calls": 0,
        "registration": {
            "status": "registered", "last_reason": "200 OK", "server": "udp:192.0.2.9:5060",
        },
    });
    assert_eq!(snapshot["agents"], json!([agent]));
    let call = json!({
        "call_id": "c1", "agent_id": "5001", "dn": "5001", "remote": "1003", "remote_name": null,
        "direction": "outgoing", "state": "established", "call_uuid": null,
        "started": 1_700_000_000_000u64, "answered": 1_700_000_002_000u64, "mos": 4.38,
        "browser_loss_percent": null, "sip_loss_percent": 0.4, "browser_jitter_ms": null,
        "sip_jitter_ms": null, "browser_rtt_ms": null, "sip_rtt_ms": null, "video": null,
    });
    assert_eq!(snapshot["calls"], json!([call]));
    let item = json!({
        "id": 1, "at": 1001, "kind": "sign_in", "text": "signed in from 192.0.2.1", "dn": "5001",
    });
    assert_eq!(snapshot["history"], json!([item]));
    assert_eq!((&snapshot["servers"], &snapshot["alerts"]), (&json!([]), &json!([])));
    assert_eq!(snapshot["traces"], json!([{"dn": "5002", "until": 1_700_000_600_000u64}]));
    assert_eq!(snapshot["totals"]["calls_started"], 7);
    assert_eq!(snapshot["version"], env!("CARGO_PKG_VERSION"));
}

/// Whoever has switched it.
#[tokio::test]
async fn which_dns_are_traced_is_told() {
    let gateway = Gateway::start(&[]).await;
    let operations = &gateway.backend.operations;
    let (mut events, snapshot) = open(&gateway).await;
    assert_eq!(snapshot["traces"], json!([]));
    operations.change(|shown| shown.traced.push(TracedDn { dn: "5001".into(), until: 7000 }));
    let (name, traces) = events.next().await.unwrap();
    assert_eq!((name.as_str(), traces), ("traces", json!([{"dn": "5001", "until": 7000}])));
    let list = reqwest::get(gateway.url("/api/trace")).await.unwrap();
    let list: Value = list.json().await.unwrap();
    assert_eq!(list, json!({"traces": [{"dn": "5001", "until": 7000}], "count": 1}));
    operations.change(|shown| shown.traced.clear());
    let (name, traces) = events.next().await.unwrap();
    assert_eq!((name.as_str(), traces), ("traces", json!([])));
}

#[tokio::test]
async fn what_changes_is_told_and_nothing_else() {
    let gateway = Gateway::start(&[]).await;
    let operations = &gateway.backend.operations;
    operations.change(|shown| shown.agents.push(agent("5001")));
    let (mut events, _) = open(&gateway).await;

    operations.happens("call_started", "a call to 1003");
    let item = events.until("history", |_| true).await;
    assert_eq!((&item["id"], &item["text"]), (&json!(1), &json!("a call to 1003")));

    operations.change(|shown| shown.calls.push(call("c1", "5001")));
    // The very next: nothing else has changed.
    let (name, calls) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &calls[0]["call_id"]), ("calls", &json!("c1")));

    operations.change(|shown| {
        shown.alerts.push(Alert {
            kind: "ports",
            severity: "critical",
            text: "none is free".into(),
            since: 4,
            dn: None,
            call: None,
        });
    });
    let (name, alerts) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &alerts[0]["severity"]), ("alerts", &json!("critical")));

    operations.change(|shown| {
        shown.calls.clear();
        shown.totals.calls_ended = 1;
    });
    assert_eq!(events.next().await.unwrap(), ("calls".to_owned(), json!([])));
    let (name, totals) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &totals["calls_ended"]), ("totals", &json!(1)));
}

#[tokio::test]
async fn of_a_long_list_only_the_difference_is_told() {
    let gateway = Gateway::start(&[]).await;
    let operations = &gateway.backend.operations;
    operations.change(|shown| shown.agents = (5000..5100).map(|n| agent(&n.to_string())).collect());
    let (mut events, snapshot) = open(&gateway).await;
    assert_eq!(snapshot["agents"].as_array().unwrap().len(), 100);
    operations.change(|shown| {
        shown.agents[3].state = "established";
        shown.agents.remove(7);
        shown.agents.push(agent("6000"));
    });
    let (name, difference) = events.next().await.unwrap();
    assert_eq!(name, "agent");
    let changed = difference["changed"].as_array().unwrap();
    let dns: Vec<_> = changed.iter().map(|agent| agent["dn"].as_str().unwrap()).collect();
    assert_eq!(dns, ["5003", "6000"]);
    assert_eq!(changed[0]["state"], "established");
    assert_eq!(difference["gone"], json!([{"dn": "5007", "guest": false}]));

    operations.change(|shown| shown.agents.truncate(40));
    let (name, whole) = events.next().await.unwrap();
    assert_eq!((name.as_str(), whole.as_array().unwrap().len()), ("agents", 40), "most of it");
}

#[tokio::test]
async fn who_joins_late_builds_on_the_same_ground() {
    let gateway = Gateway::start(&[]).await;
    let operations = &gateway.backend.operations;
    operations.change(|shown| shown.agents = (5000..5100).map(|n| agent(&n.to_string())).collect());
    let (mut early, _) = open(&gateway).await;
    // There and back again between two looks would be told to nobody.
    operations.change(|shown| shown.agents[3].state = "ringing");
    let (mut late, snapshot) = open(&gateway).await;
    operations.change(|shown| shown.agents[3].state = "ready");
    operations.change(|shown| shown.agents[4].state = "held");
    let mut state = snapshot["agents"][3]["state"].clone();
    for events in [&mut early, &mut late] {
        events
            .until("agent", |difference| {
                for agent in difference["changed"].as_array().unwrap() {
                    if agent["dn"] == "5003" {
                        state = agent["state"].clone();
                    }
                }
                difference["changed"].as_array().unwrap().iter().any(|agent| agent["dn"] == "5004")
            })
            .await;
    }
    assert_eq!(state, "ready");
}

#[tokio::test]
async fn a_slow_reader_gets_a_new_snapshot_and_holds_nobody_up() {
    let gateway = Gateway::start(&[]).await;
    let operations = &gateway.backend.operations;
    let (mut slow, _) = open(&gateway).await;
    let (mut quick, _) = open(&gateway).await;
    // More than its connection takes, 13 MB, and then more events than it may be behind. No more of
    // either: who takes nothing for half a minute is given up, and this is a slow build.
    let long = "x".repeat(100_000);
    for batch in 0..9 {
        for _ in 0..45 {
            operations.happens("sign_in", if batch < 3 { &long } else { "5001" });
        }
        let last = operations.change(|shown| shown.history.last().unwrap().id);
        quick.until("history", |item| item["id"] == last).await;
    }
    operations.change(|shown| {
        shown.history.drain(..400);
        shown.agents.push(agent("5001"));
    });
    quick.until("agents", |_| true).await;
    let snapshot = slow.until("snapshot", |_| true).await;
    assert_eq!(snapshot["history"].as_array().unwrap().last().unwrap()["id"], 405);
    operations.happens("sign_out", "signed out");
    slow.until("history", |item| item["id"] == 406).await;
}

#[tokio::test]
async fn streams_are_bounded_and_their_places_free_again() {
    let gateway = Gateway::start(&[]).await;
    let url = gateway.url("/api/events");
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(Events::open(&url, None).await);
    }
    let refused = ask(&url, None).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "10");
    let told: Value = refused.json().await.unwrap();
    assert_eq!(told["code"], "too_many_streams");
    streams.pop();
    while ask(&url, None).await.status() != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_quiet_stream_is_kept_alive_and_ends_with_the_gateway() {
    let gateway = Gateway::start(&[]).await;
    let (mut events, _) = open(&gateway).await;
    assert_eq!(events.next().await, Some((String::new(), Value::Null)), "a comment");
    gateway.stop().await;
    assert_eq!(events.next().await, None);
}

/// Their readers come again, as after any end. A stream that stands still looks like a quiet day.
#[tokio::test]
async fn after_a_panic_streams_end_and_new_ones_go_on() {
    let gateway = Gateway::start(&[]).await;
    let operations = &gateway.backend.operations;
    let (mut events, _) = open(&gateway).await;
    operations.change(|shown| shown.stumbles = true);
    let end = async { while events.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), end).await.expect("it stands still");
    let (mut events, _) = open(&gateway).await;
    operations.happens("sign_in", "signed in from 192.0.2.1");
    events.until("history", |item| item["text"] == "signed in from 192.0.2.1").await;
}
