//! Finished calls over HTTP: found, exported, as a capture file, and for operators only.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex};

use reqwest::StatusCode;
use serde_json::Value;
use wrtc_gateway::config::CallStore;
use wrtc_gateway::journal::store::Store;
use wrtc_gateway::journal::{
    CallRecord, Details, FinishedCall, History, HistoryError, Keeper, Kind, Timeline,
    TimelineEvent, Timelines, Way,
};

use crate::support::{Gateway, eventually, exchange, get};

fn call(id: usize) -> FinishedCall {
    let record = CallRecord {
        call: format!("c{id}"),
        sip_call_ids: vec![format!("sip/c{id}@192.0.2.1")],
        user: if id.is_multiple_of(2) { "5002" } else { "5001" }.to_owned(),
        peer: "600".to_owned(),
        peer_name: Some("=HYPERLINK(\"http://bad.example\",\"me\")".to_owned()),
        started: 1_790_000_000_000 + id as u64 * 1000,
        ended: u64::MAX / 4,
        ended_by: "peer".to_owned(),
        code: 200,
        ..CallRecord::default()
    };
    let event = TimelineEvent {
        at: record.started,
        kind: Kind::Sip,
        direction: Some(Way::Out),
        from: None,
        to: None,
        title: "INVITE".into(),
        detail: Details::default()
            .with("transport", "udp")
            .with("local", "192.0.2.1:5062")
            .with("peer", "192.0.2.9:5060"),
        body: Some("INVITE sip:600@example SIP/2.0\r\n\r\n".into()),
    };
    FinishedCall { record, timeline: Timeline { events: vec![event], ..Timeline::default() } }
}

async fn gateway(calls: usize, sets: &[&str]) -> Gateway {
    let gateway = Gateway::start(sets).await;
    let config = CallStore {
        file: None,
        keep: std::time::Duration::from_secs(86_400),
        max_bytes: 100_000_000,
        bodies: true,
    };
    let store = Arc::new(Store::open(&config).unwrap());
    for id in 0..calls {
        store.keep(Arc::new(call(id)));
    }
    eventually("they are kept", || store.stats().kept == calls as u64).await;
    assert!(gateway.backend.store.set(store).is_ok());
    gateway
}

async fn ask(gateway: &Gateway, path: &str) -> (StatusCode, String, String) {
    let response = reqwest::get(gateway.url(path)).await.unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status(), kind, response.text().await.unwrap())
}

async fn json(gateway: &Gateway, path: &str) -> Value {
    let (status, kind, body) = ask(gateway, path).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"), "{body}");
    serde_json::from_str(&body).unwrap()
}

fn calls(found: &Value) -> Vec<&str> {
    found["calls"].as_array().unwrap().iter().map(|call| call["call"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_of_what_was_asked_for() {
    let gateway = gateway(7, &[]).await;
    let first = json(&gateway, "/api/calls?dn=5002&limit=2").await;
    assert_eq!(calls(&first), ["c6", "c4"]);
    let next = first["next"].as_str().unwrap();
    let second = json(&gateway, &format!("/api/calls?dn=5002&limit=2&before={next}")).await;
    assert_eq!(calls(&second), ["c2", "c0"]);
    assert_eq!(second["next"], Value::Null);
    assert_eq!(second["calls"][0], serde_json::to_value(call(2).record).unwrap());
    // Empty fields of a form, a time in words.
    let found = json(&gateway, "/api/calls?q=&peer=&from=2026-09-21T14:13:25Z&to=").await;
    assert_eq!(calls(&found), ["c6", "c5"]);
    let none = json(&gateway, "/api/calls?q=nobody").await;
    assert_eq!(none.to_string(), r#"{"calls":[],"next":null}"#);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let gateway = gateway(1, &[]).await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "form=csv",
        "format=xml",
        "before=7",
        "from=yesterday",
        "min_mos=good",
        "max_mos=NaN",
        "q=%00",
        &format!("q={}", "x".repeat(257)),
    ] {
        let (status, _, body) = ask(&gateway, &format!("/api/calls?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["code"], "bad_parameter", "{query}");
    }
}

/// More than is read at a time, and more than a page may have.
#[tokio::test]
async fn an_export_has_everything() {
    let gateway = gateway(1203, &[]).await;
    let (status, kind, csv) = ask(&gateway, "/api/calls?format=csv").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(kind, "text/csv; charset=utf-8; header=present");
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 1204);
    assert!(lines[0].starts_with("call,started,answered,ended,user,peer,peer_name,"));
    let first = "c1202,2026-09-21T14:33:22.000Z,,";
    assert!(lines[1].starts_with(first), "{}", lines[1]);
    let name = ",600,\"'=HYPERLINK(\"\"http://bad.example\"\",\"\"me\"\")\",";
    assert!(lines[1].contains(name), "{}", lines[1]);
    assert!(lines[1203].starts_with("c0,"));

    let (_, kind, text) = ask(&gateway, "/api/calls?format=ndjson&dn=5001").await;
    assert_eq!(kind, "application/x-ndjson");
    let records: Vec<CallRecord> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 601);
    assert_eq!(records[600], call(1).record);

    let (_, _, text) = ask(&gateway, "/api/calls?format=ndjson&limit=3").await;
    assert_eq!(text.lines().count(), 3);
    let (_, _, csv) = ask(&gateway, "/api/calls?format=csv&q=nobody").await;
    assert_eq!(csv.lines().count(), 1, "the head alone");
}

#[tokio::test]
async fn a_capture_file_of_a_call() {
    let gateway = gateway(2, &[]).await;
    for id in ["c1", "sip%2Fc1%40192.0.2.1"] {
        let response = reqwest::get(gateway.url(&format!("/api/calls/{id}/pcap"))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/x-pcapng");
        let name = response.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert_eq!(name, "attachment; filename=\"call-c1.pcapng\"");
        let file = response.bytes().await.unwrap();
        assert_eq!(file[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
        let invite = b"INVITE sip:600@example";
        assert!(file.windows(invite.len()).any(|part| part == invite));
    }
    let (status, _, body) = ask(&gateway, "/api/calls/nobody/pcap").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("no_such_call"), "{body}");
}

#[tokio::test]
async fn operators_only() {
    let tokens = format!("http.operator_tokens={}", "a".repeat(64));
    let gateway = gateway(1, &[&tokens]).await;
    for path in ["/api/calls", "/api/calls?format=csv", "/api/calls/c0/pcap"] {
        let (status, _, body) = exchange(gateway.address, &get(path)).await.unwrap();
        assert_eq!(status, 401, "{path}: {body}");
        assert!(!body.contains("600"), "{body}");
    }
}

#[tokio::test]
async fn a_gateway_without_a_store_says_so() {
    let gateway = Gateway::start(&[]).await;
    let (status, _, body) = ask(&gateway, "/api/calls").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
}

/// A disk is one: however many ask, four read.
#[derive(Default)]
struct Slow {
    reading: AtomicUsize,
    most: AtomicUsize,
    /// Nobody gets an answer until then.
    open: Mutex<bool>,
    opened: Condvar,
}

impl History for Slow {
    fn find(&self, _call: &str) -> Result<Option<FinishedCall>, HistoryError> {
        let now = self.reading.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        drop(self.opened.wait_while(self.open.lock().unwrap(), |open| !*open));
        self.reading.fetch_sub(1, SeqCst);
        Ok(None)
    }
}

#[tokio::test]
async fn calls_that_are_asked_for_by_name_take_turns_at_the_store() {
    let gateway = Gateway::start(&[]).await;
    let slow = Arc::new(Slow::default());
    let timelines = Timelines::new(Vec::new(), Some(slow.clone()));
    assert!(gateway.backend.timelines.set(Arc::new(timelines)).is_ok());
    let url = gateway.url("/api/calls/c1");
    // The first four go away while they wait; their reading goes on, and so does their turn.
    let asked: Vec<_> = (0..12).map(|_| tokio::spawn(reqwest::get(url.clone()))).collect();
    eventually("four read", || slow.reading.load(SeqCst) == 4).await;
    for one in &asked[..4] {
        one.abort();
    }
    let last = tokio::spawn(reqwest::get(url));
    // Whoever is let in wrongly is there before an answer that is given without the store.
    for _ in 0..20 {
        assert_eq!(reqwest::get(gateway.url("/api/calls")).await.unwrap().status(), 503);
    }
    *slow.open.lock().unwrap() = true;
    slow.opened.notify_all();
    assert_eq!(last.await.unwrap().unwrap().status(), StatusCode::NOT_FOUND);
    for one in asked {
        assert!(one.await.is_err() || slow.reading.load(SeqCst) <= 4);
    }
    assert_eq!(slow.most.load(SeqCst), 4);
}
