//! The gateway lets go: who is in a call finishes it, everybody else goes elsewhere at once.

use std::time::Duration;

use reqwest::Method;
use wrtc_gateway::gateway::Life;

use crate::support::browser::LIMIT;
use crate::support::far::{call_from, tone};
use crate::support::gateway::{Demo, PASSWORD};
use crate::support::jsapi::Polled;
use crate::support::wire::Wire;

const TWO: [&str; 1] = ["agents.max_calls=2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_in_no_call_goes_at_once_and_stays_registered() {
    let demo = Demo::over_lab(&[]).await;
    let mut idle = demo.phone("5001").await;
    let gateway = demo.gateway().clone();
    assert_eq!(gateway.life(), Life::Serving);
    gateway.drain();
    match idle.next_polled().await {
        Some(Polled::Failed(status)) => assert_eq!(status, 404, "as for a session that is no more"),
        other => panic!("{other:?}"),
    }
    demo.drained().await;
    let refused = Wire::new(&demo.base).sign_in_post("5002", PASSWORD).await;
    assert_eq!(refused.status, 503, "the client's library goes on to its next gateway");
    assert_eq!(refused.header("Retry-After"), Some("5"));
    assert!(refused.body.contains("stopping"), "{}", refused.body);
    assert!(demo.is_registered("5001"), "the DN is the next gateway's, or ours again");
    // The SIP server may ring elsewhere, or here again, a little later.
    let mut far = demo.calls("5001", call_from("7001")).await;
    assert_eq!(far.ended().await.code, 480);
    let lab = demo.stop().await.expect("the SIP server");
    assert!(lab.registrations().borrow().iter().any(|known| known.dn == "5001"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_goes_on_and_so_does_what_belongs_to_it() {
    let demo = Demo::over_lab(&TWO).await;
    let mut agent = demo.phone("5001").await;
    agent.connect("601").await;
    let gateway = demo.gateway().clone();
    gateway.drain();
    assert!(matches!(gateway.life(), Life::Draining { calls: 1, .. }), "{:?}", gateway.life());
    agent.browser.hears(1000.0, 0.3).await;
    // A consultation that a contact centre begins is a call that comes in.
    let mut second = demo.calls("5001", call_from("7002")).await;
    second.rings().await;
    assert!(matches!(gateway.life(), Life::Draining { calls: 2, .. }), "{:?}", gateway.life());
    second.hang_up().await;
    agent.browser.hears(1000.0, 0.3).await;
    let waiting = tokio::time::timeout(Duration::from_millis(300), demo.drained());
    assert!(waiting.await.is_err(), "a call is left");
    agent.hang_up().await;
    tokio::time::timeout(LIMIT, demo.drained()).await.expect("no call is left");
    while let Some(polled) = agent.next_polled().await {
        match polled {
            Polled::Message(_) => {}
            Polled::Failed(status) => {
                assert_eq!(status, 404, "with the last call the agent is free to go");
                break;
            }
            Polled::Broken(why) => panic!("{why}"),
        }
    }
    assert!(demo.is_registered("5001"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_end_is_waited_for_no_longer_than_was_said() {
    let demo = Demo::over_lab(&["gateway.drain_seconds=1"]).await;
    let mut agent = demo.phone("5001").await;
    agent.connect("601").await;
    demo.gateway().drain();
    demo.drained().await;
    assert!(
        matches!(demo.gateway().life(), Life::Draining { calls: 1, .. }),
        "it was up to the end"
    );
    let mut far = demo.far("5001").await;
    demo.stop().await;
    // The far end is not left hanging.
    far.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_may_ask_for_it() {
    let demo = Demo::over_lab(&["gateway.drain_seconds=300"]).await;
    let mut agent = demo.phone("5001").await;
    agent.connect("601").await;
    let far = demo.far("5001").await;
    far.play(tone(600.0));
    let wire = Wire::new(&demo.base);
    for _ in 0..2 {
        let answer = wire.request(Method::POST, "/api/drain", None).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(told["calls"], 1);
        assert!(told["seconds_left"].as_u64().is_some_and(|left| (200..=300).contains(&left)));
    }
    agent.browser.hears(600.0, 0.3).await;
    agent.hang_up().await;
    tokio::time::timeout(LIMIT, demo.drained()).await.expect("no call is left");
}
