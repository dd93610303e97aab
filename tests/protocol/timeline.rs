//! One call as an operator sees it: both ladders, the media, and why it ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::far::{call_from, tone};
use crate::support::gateway::Demo;
use crate::support::wire::Wire;

const LIMIT: Duration = Duration::from_secs(30);

async fn get(demo: &Demo, path: &str) -> Option<Value> {
    let answer = Wire::new(&demo.base).get(path).await;
    match answer.status.as_u16() {
        200 => Some(serde_json::from_str(&answer.body).expect("JSON")),
        404 => None,
        other => panic!("{path}: {other} {}", answer.body),
    }
}

/// Asks until the call is as it should be.
async fn until(demo: &Demo, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let call = get(demo, path).await;
        if let Some(call) = call.as_ref().filter(|call| fits(call)) {
            return call.clone();
        }
        assert!(Instant::now() < end, "{path}: {call:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn events<'a>(call: &'a Value, kind: &'a str) -> Vec<&'a Value> {
    let all = call["timeline"].as_array().expect("a timeline");
    all.iter().filter(|event| event["kind"] == kind).collect()
}

fn has(call: &Value, kind: &str, direction: &str, title: &str) -> bool {
    events(call, kind).iter().any(|event| {
        (event["direction"] == direction || direction.is_empty() && event["direction"].is_null())
            && event["title"].as_str().is_some_and(|found| found.starts_with(title))
    })
}

fn records_file(name: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("wrtc-{name}-{}.jsonl", std::process::id()));
    let _ = std::fs::remove_file(&file);
    file
}

async fn records(file: &Path, count: usize) -> Vec<Value> {
    let end = Instant::now() + LIMIT;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < end, "{count} records are not written: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_calls_timeline_has_both_ladders_its_media_and_its_end() {
    let file = records_file("timeline");
    let demo = Demo::with_settings(&[&format!("journal.call_records={}", file.display())]).await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut call = call_from("7123");
    call.phone.telephone_event = Some(101);
    let mut far = demo.calls("5001", call).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    phone.browser.connected().await;
    far.play(tone(1000.0));
    phone.browser.hears(1000.0, 0.3).await;
    phone.browser.send_digits("1*9#").await;
    far.hears_digits("1*9#").await;
    // A digit is heard from its first packet on, and told of with its last.
    let pressed = |call: &Value| {
        let digits = events(call, "dtmf");
        digits.iter().filter_map(|e| e["detail"]["digits"].as_u64()).sum::<u64>() == 4
    };
    until(&demo, "/api/calls/5001", pressed).await;
    far.leg.hold(wrtc_gateway::lab::Hold::SendOnly).await.expect("a re-INVITE");
    let live =
        until(&demo, "/api/calls/5001", |call| has(call, "hold", "", "held by the far end")).await;
    assert_eq!(live["call"]["state"], "established");
    assert!(live["call"]["ended_by"].is_null(), "{}", live["call"]);
    far.leg.hold(wrtc_gateway::lab::Hold::No).await.expect("a re-INVITE");
    let heard = |call: &Value| {
        has(call, "rtp", "in", "RTP from the browser")
            && has(call, "rtp", "in", "RTP from the SIP side")
            && has(call, "hold", "", "taken off hold by the far end")
    };
    let live = until(&demo, "/api/calls/5001", heard).await;
    let id = live["call"]["call"].as_str().expect("an id").to_owned();
    far.hang_up().await;
    phone.expect("BYE").await;

    let path = format!("/api/calls/{id}?bodies=1");
    let over = |call: &Value| {
        call["call"]["state"] == "ended"
            && has(call, "sip", "out", "200 OK (BYE)")
            && events(call, "http")
                .iter()
                .any(|event| event["title"] == "BYE" && event["detail"]["waited_ms"].is_number())
    };
    let call = until(&demo, &path, over).await;
    for (kind, direction, title) in [
        ("sip", "in", "INVITE sip:5001@"),
        ("sip", "out", "180 "),
        ("sip", "out", "200 OK (INVITE)"),
        ("sip", "in", "ACK "),
        ("sip", "in", "BYE "),
        ("http", "out", "OFFER"),
        ("http", "in", "ANSWER"),
        ("http", "out", "BYE"),
        ("ice", "in", "ICE connected"),
        ("dtls", "in", "DTLS connected"),
        ("state", "", "incoming call from 7123"),
        ("state", "", "established"),
        ("end", "", "ended by peer: 200"),
    ] {
        assert!(has(&call, kind, direction, title), "{kind} {direction} {title}: {call:#}");
    }
    let all = call["timeline"].as_array().expect("a timeline");
    let place = |title: &str| {
        all.iter().position(|event| event["title"].as_str().is_some_and(|t| t.starts_with(title)))
    };
    assert!(place("INVITE sip:5001@") < place("OFFER"), "the ladder is in order");
    assert!(place("OFFER") < place("ANSWER") && place("ANSWER") < place("DTLS connected"));
    let digits: u64 =
        events(&call, "dtmf").iter().filter_map(|e| e["detail"]["digits"].as_u64()).sum();
    assert_eq!(digits, 4);
    let end = events(&call, "end")[0];
    assert_eq!((&end["detail"]["ended_by"], &end["detail"]["code"]), (&"peer".into(), &200.into()));
    assert!(call["agent"].as_array().is_some_and(|agent| {
        agent
            .iter()
            .any(|event| event["text"].as_str().is_some_and(|t| t.starts_with("registered at")))
    }));

    // Found by its SIP name as well, and without the bodies unless they are asked for.
    let leg = call["call"]["sip_call_ids"][0].as_str().expect("a Call-ID");
    let by_leg = get(&demo, &format!("/api/calls/{}", leg.replace('@', "%40"))).await.expect("it");
    assert_eq!(by_leg["call"]["call"], id.as_str());
    assert!(!by_leg.to_string().contains("v=0"));
    assert_eq!(get(&demo, "/api/calls/nobody").await, None);

    // Nothing that opens a door.
    let text = call.to_string();
    assert!(text.contains("a=fingerprint") && text.contains("a=ice-pwd: ..."), "{text}");
    for line in text.split("\\r\\n").filter(|line| line.contains("ice-pwd")) {
        assert!(line.ends_with("..."), "{line}");
    }
    for secret in [phone.ssid.as_str(), demo.password.as_str(), "1*9#", "response="] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }

    let record = records(&file, 1).await.remove(0);
    assert_eq!(record["call"], id.as_str());
    assert_eq!((&record["holds"], &record["ended_by"]), (&1.into(), &"peer".into()));
    assert!(record["talked_ms"].as_u64().is_some_and(|talked| talked > 300), "{record}");
    assert!(record["browser"]["rx"]["packets"].as_u64().is_some_and(|packets| packets > 10));
    let _ = std::fs::remove_file(&file);
}

/// A refused call has its record, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_before_it_begins_tells_why() {
    let file = records_file("refused");
    let demo = Demo::with_settings(&[
        "agents.max_calls=1",
        &format!("journal.call_records={}", file.display()),
    ])
    .await;
    let mut phone = demo.phone("5001").await;
    phone.connect("601").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    assert_eq!(far.ended().await.code, 486);
    let record = records(&file, 1).await.remove(0);
    assert_eq!((&record["code"], &record["peer"]), (&486.into(), &"7123".into()));
    let path = format!("/api/calls/{}", record["call"].as_str().expect("an id"));
    let call = until(&demo, &path, |call| has(call, "sip", "in", "ACK ")).await;
    assert!(has(&call, "sip", "in", "INVITE ") && has(&call, "sip", "out", "486 "), "{call:#}");
    assert!(has(&call, "end", "", "ended by gateway: 486"), "{call:#}");
    let _ = std::fs::remove_file(&file);
}

/// REGISTER and OPTIONS too, without credentials, until it is switched off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dns_sip_is_traced_while_it_is_wanted() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let order = async |body: &str| {
        let answer =
            wire.request(reqwest::Method::PUT, "/api/trace/5001", Some(body.to_owned())).await;
        (answer.status.as_u16(), serde_json::from_str::<Value>(&answer.body).unwrap_or_default())
    };
    let (status, reply) = order(r#"{"on":true,"seconds":60}"#).await;
    assert_eq!((status, &reply["on"]), (200, &true.into()), "{reply}");
    let told: Value = serde_json::from_str(&wire.get("/api/trace").await.body).unwrap();
    assert_eq!((&told["count"], &told["traces"][0]["dn"]), (&1.into(), &"5001".into()), "{told}");
    assert!(told["traces"][0]["until"].as_u64() > Some(1_700_000_000_000), "{told}");
    let phone = demo.phone("5001").await;
    demo.phone("5002").await;
    phone.sign_out().await;
    let traced = |trace: &Value| {
        let messages = trace["messages"].as_array().expect("messages");
        messages.iter().filter(|m| m["title"] == "200 OK (REGISTER)").count() >= 2
    };
    let trace = until(&demo, "/api/trace/5001", traced).await.to_string();
    assert!(trace.contains("REGISTER sip:") && trace.contains("Authorization: ..."), "{trace}");
    assert!(!trace.contains("5002") && !trace.contains("response="), "{trace}");
    for wrong in ["", "{}", r#"{"on":true,"seconds":0}"#, r#"{"on":true,"seconds":99999999}"#] {
        assert_eq!(order(wrong).await.0, 400, "{wrong}");
    }
    let (status, reply) = order(r#"{"on":false}"#).await;
    assert_eq!((status, &reply["on"]), (200, &false.into()), "{reply}");
    let told = wire.get("/api/trace").await.body;
    assert_eq!(told, r#"{"traces":[],"count":0}"#);
}
