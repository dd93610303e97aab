//! A timeline has what was said to the browser: what its dialect has no word for was not.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::browser::TestBrowser;
use crate::support::far::{Far, call_from};
use crate::support::gateway::Demo;
use crate::support::wire::Wire;

const LIMIT: Duration = Duration::from_secs(30);

/// The latest call of a DN, once the far end's hold is over in it.
async fn after_a_hold(demo: &Demo, far: &Far, dn: &str) -> Vec<(String, String)> {
    far.leg.hold(wrtc_gateway::lab::Hold::SendOnly).await.expect("a re-INVITE");
    until(demo, dn, "held by the far end").await;
    far.leg.hold(wrtc_gateway::lab::Hold::No).await.expect("a re-INVITE");
    until(demo, dn, "taken off hold by the far end").await
}

/// Kinds and titles of a call that has this one.
async fn until(demo: &Demo, dn: &str, title: &str) -> Vec<(String, String)> {
    let end = Instant::now() + LIMIT;
    loop {
        let answer = Wire::new(&demo.base).get(&format!("/api/calls/{dn}")).await;
        let call: Value = serde_json::from_str(&answer.body).expect("JSON");
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let events = call["timeline"].as_array().into_iter().flatten();
        let all: Vec<_> = events
            .map(|event| {
                let way = text(event, "direction");
                (format!("{} {way}", text(event, "kind")), text(event, "title"))
            })
            .collect();
        if all.iter().any(|(_, found)| found == title) {
            return all;
        }
        assert!(Instant::now() < end, "no {title} in {all:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn said(events: &[(String, String)]) -> Vec<&str> {
    events.iter().filter(|(kind, _)| kind == "http out").map(|(_, title)| title.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_the_jsapi_has_no_word_for_was_not_told() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    let events = after_a_hold(&demo, &far, "5001").await;
    assert_eq!(said(&events), ["OFFER", "OK"], "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_raw_sdp_dialect_has_words_for_it() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let path = format!("/api/webrtc/sign_in?id=agent123&dn=5002&password={}", demo.password);
    assert_eq!(wire.get(&path).await.status, 200);
    let mut far = demo.calls("5002", call_from("7123")).await;
    let offer = wire.get("/api/webrtc/message?id=agent123").await;
    let browser = TestBrowser::new().await;
    let answer = browser.answer(&offer.body, &[]).await.whole();
    assert_eq!(wire.post("/api/webrtc/message?from=agent123", answer).await.status, 200);
    far.answered().await;
    let events = after_a_hold(&demo, &far, "5002").await;
    let said = said(&events);
    assert!(said.contains(&"PEER-HOLD") && said.contains(&"PEER-RESUME"), "{events:?}");
}
