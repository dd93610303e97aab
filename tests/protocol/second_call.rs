//! sip-behaviour.md, "Call from the agent, dialled in WWE (3pcc)", while another call is held; "Several
//! calls per agent": one peer connection, two SIP calls, with sound.

use std::time::Duration;

use crate::support::browser::TestBrowser;
use crate::support::far::{Far, call_from, tone};
use crate::support::gateway::Demo;
use crate::support::jsapi::Jsapi;
use crate::support::sdp;
use crate::support::wire::Wire;
use wrtc_gateway::lab::CallOut;

const QUIET: Duration = Duration::from_millis(400);

async fn hear_each_other(phone: &Jsapi, far: &Far, hz: f64) {
    phone.browser.forget();
    let _ = tokio::join!(phone.browser.hears(hz, 0.6), far.hears(440.0, 0.6));
}

async fn follow(phone: &mut Jsapi, event: &'static str, direction: &'static str) {
    let told = phone.expect(event).await;
    phone.peer = told.peer;
    let local = phone.browser.offer_with_direction(direction).await;
    phone.offer(&local).await;
    phone.answered().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consultation_by_the_sip_server_and_back() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut first = demo.calls("5001", call_from("7123")).await;
    first.play(tone(1000.0));
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    first.answered().await;
    phone.browser.connected().await;
    hear_each_other(&phone, &first, 1000.0).await;

    first.hold().await;
    follow(&mut phone, "EVENT-HOLD", "inactive").await;
    first.reinvited().await;

    let consult = CallOut { offer: false, ..call_from("7124") };
    let mut second = demo.calls("5001", consult).await;
    second.play(tone(700.0));
    second.rings().await;
    assert!(phone.within(QUIET).await.is_none(), "one session is all the client has");
    second.talk().await;
    second.answered().await.expect("an offer of the gateway's own");
    follow(&mut phone, "EVENT-TALK", "sendrecv").await;
    assert_eq!(phone.peer, "7124");
    hear_each_other(&phone, &second, 700.0).await;
    phone.browser.heard().assert_one_unbroken_stream();
    assert_eq!(demo.health().await["active_calls"], 2);

    second.hang_up().await;
    second.ended().await;
    assert!(phone.within(QUIET).await.is_none(), "its session serves the first call");
    first.talk().await;
    let offer = first.reinvited().await.expect("sdp");
    assert_eq!(sdp::direction(&offer), "sendrecv");
    phone.expect("EVENT-TALK").await;
    hear_each_other(&phone, &first, 1000.0).await;
    phone.browser.heard().assert_one_unbroken_stream();
    first.hang_up().await;
    phone.expect("BYE").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gadget_is_told_who_waits_and_switches() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let sign_in = format!("/api/webrtc/sign_in?id=g&dn=5001&password={}", demo.password);
    assert_eq!(wire.get(&sign_in).await.status, 200);
    let browser = TestBrowser::new().await;
    browser.play(440.0).await;
    let next = async |kind: &str| loop {
        let event = wire.get("/api/webrtc/message?id=g&events=1").await;
        assert_eq!(event.status, 200, "no {kind} came");
        if event.header("x-wrtc-type") == Some(kind) {
            break event;
        }
    };
    let post = async |query: &str, body: &str| {
        wire.post(&format!("/api/webrtc/message?from=g{query}"), body).await.status.as_u16()
    };
    let mut first = demo.calls("5001", call_from("7123")).await;
    first.play(tone(1000.0));
    let offer = next("offer").await;
    let answer = browser.answer(&offer.body, &[]).await;
    assert_eq!(post("&to=7123", &answer.sdp).await, 200);
    first.answered().await;
    browser.hears(1000.0, 0.5).await;

    let mut second = demo.calls("5001", call_from("7124")).await;
    second.play(tone(700.0));
    let waiting = next("waiting").await;
    assert_eq!(
        (waiting.body.as_str(), waiting.header("x-wrtc-peer")),
        ("WAITING 7124", Some("7124"))
    );
    let call = waiting.header("x-wrtc-call").expect("a call").to_owned();
    // Commands go where `to` says, and nowhere else.
    assert_eq!(post("&to=7999", "BYE").await, 409);
    assert_eq!(post("&to=7124", "HOLD").await, 409);
    assert_eq!(post("", "ANSWER").await, 200);
    second.answered().await;
    browser.forget();
    let _ = tokio::join!(browser.hears(700.0, 0.5), second.hears(440.0, 0.5));
    assert_eq!(post("&to=7123", "RESUME").await, 200);
    browser.forget();
    let _ = tokio::join!(browser.hears(1000.0, 0.5), first.hears(440.0, 0.5));
    browser.heard().assert_one_unbroken_stream();
    assert_eq!(post(&format!("&to={call}"), "BYE").await, 200);
    second.ended().await;
    assert!(next("ended").await.body.starts_with("ENDED 200"));
    first.hang_up().await;
    assert_eq!(next("bye").await.header("x-wrtc-peer"), Some("7123"));
    demo.idle().await;
}
