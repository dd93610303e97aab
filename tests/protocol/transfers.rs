//! sip-behaviour.md, "REFER out and in; NOTIFY sipfrag to the end; INVITE with Replaces", over real dialogs
//! with sound.

use std::time::Duration;

use crate::support::browser::TestBrowser;
use crate::support::far::{Far, call_from, tone};
use crate::support::gateway::{Demo, dialled};
use crate::support::jsapi::Jsapi;
use crate::support::wire::Wire;
use wrtc_gateway::lab::LegEvent;
use wrtc_gateway::sip::{ReferId, Referred};

const QUIET: Duration = Duration::from_millis(400);

async fn talking(demo: &Demo) -> (Jsapi, Far) {
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    phone.browser.connected().await;
    hear_each_other(&phone.browser, &far, 1000.0).await;
    (phone, far)
}

async fn hear_each_other(browser: &TestBrowser, far: &Far, hz: f64) {
    browser.forget();
    let _ = tokio::join!(browser.hears(hz, 0.6), far.hears(440.0, 0.6));
}

async fn referred(far: &mut Far) -> (ReferId, Referred) {
    far.expect("REFER", |event| match event {
        LegEvent::Referred { refer, referred } => Some((*refer, (**referred).clone())),
        _ => None,
    })
    .await
}

/// The code that settles our REFER.
async fn transferred(far: &mut Far) -> u16 {
    far.expect("the last NOTIFY", |event| match event {
        LegEvent::Transferring { code, done: true, .. } => Some(*code),
        _ => None,
    })
    .await
}

struct Gadget {
    wire: Wire,
    browser: TestBrowser,
}

impl Gadget {
    async fn talking(demo: &Demo) -> (Self, Far) {
        let wire = Wire::new(&demo.base);
        let sign_in = format!("/api/webrtc/sign_in?id=g&dn=5001&password={}", demo.password);
        assert_eq!(wire.get(&sign_in).await.status, 200);
        let gadget = Self { wire, browser: TestBrowser::new().await };
        gadget.browser.play(440.0).await;
        let mut far = demo.calls("5001", call_from("7123")).await;
        far.play(tone(1000.0));
        let offer = gadget.next("offer").await;
        let answer = gadget.browser.answer(&offer, &[]).await;
        gadget.post(&answer.sdp).await;
        far.answered().await;
        hear_each_other(&gadget.browser, &far, 1000.0).await;
        (gadget, far)
    }

    async fn next(&self, kind: &str) -> String {
        loop {
            let event = self.wire.get("/api/webrtc/message?id=g&events=1").await;
            assert_eq!(event.status, 200, "no {kind} came");
            if event.header("x-wrtc-type") == Some(kind) {
                return event.body;
            }
        }
    }

    async fn post(&self, body: &str) {
        let answer = self.wire.post("/api/webrtc/message?from=g", body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blind_transfer_is_followed_to_its_success_and_the_call_ends() {
    let demo = Demo::start().await;
    let (gadget, mut far) = Gadget::talking(&demo).await;
    gadget.post("TRANSFER 601").await;
    let (refer, asked) = referred(&mut far).await;
    assert!(asked.to.starts_with("sip:601@") && asked.replaces.is_none(), "{asked:?}");
    far.leg.accept_refer(refer).await.expect("202");
    far.leg.refer_progress(refer, 180, "Ringing").await.expect("NOTIFY");
    while gadget.next("transfer").await != "TRANSFER 180 Ringing" {}
    hear_each_other(&gadget.browser, &far, 1000.0).await;
    far.leg.refer_progress(refer, 200, "OK").await.expect("NOTIFY");
    assert_eq!(gadget.next("transfer").await, "TRANSFER 200 OK");
    far.ended().await;
    gadget.next("bye").await;
    demo.idle().await;
    demo.until_no_media().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_blind_transfer_that_failed_the_call_stands() {
    let demo = Demo::start().await;
    let (gadget, mut far) = Gadget::talking(&demo).await;
    gadget.post("TRANSFER 603").await;
    let (refer, _) = referred(&mut far).await;
    far.leg.reject_refer(refer, 603).await.expect("603");
    assert!(gadget.next("transfer").await.starts_with("TRANSFER 603"));
    hear_each_other(&gadget.browser, &far, 1000.0).await;
    // Another try is not barred by the first.
    gadget.post("TRANSFER 603").await;
    let (refer, _) = referred(&mut far).await;
    far.leg.accept_refer(refer).await.expect("202");
    far.leg.refer_progress(refer, 486, "Busy Here").await.expect("NOTIFY");
    while gadget.next("transfer").await != "TRANSFER 486 Busy Here" {}
    hear_each_other(&gadget.browser, &far, 1000.0).await;
    gadget.browser.heard().assert_one_unbroken_stream();
    gadget.post("BYE").await;
    far.ended().await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refer_from_the_peer_moves_the_sound_and_ends_the_old_dialog() {
    let demo = Demo::start().await;
    let mut legs = demo.take("7000").await;
    let (mut phone, mut far) = talking(&demo).await;
    far.leg.refer("7000").await.expect("REFER");
    let mut second = dialled(&mut legs).await;
    second.play(tone(700.0));
    // Until it is answered the old call is the one.
    hear_each_other(&phone.browser, &far, 1000.0).await;
    second.leg.accept().await.expect("200");
    assert_eq!(transferred(&mut far).await, 200);
    hear_each_other(&phone.browser, &second, 700.0).await;
    far.hang_up().await;
    far.ended().await;
    hear_each_other(&phone.browser, &second, 700.0).await;
    phone.browser.heard().assert_one_unbroken_stream();
    assert!(phone.within(QUIET).await.is_none(), "the browser is told nothing");
    second.hang_up().await;
    phone.expect("BYE").await;
    second.ended().await;
    demo.idle().await;
    demo.until_no_media().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refer_to_one_who_is_busy_leaves_the_call_as_it_was() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = talking(&demo).await;
    far.leg.refer("603").await.expect("REFER");
    assert_eq!(transferred(&mut far).await, 486);
    hear_each_other(&phone.browser, &far, 1000.0).await;
    assert!(phone.within(QUIET).await.is_none());
    far.hang_up().await;
    phone.expect("BYE").await;
    demo.idle().await;
}

/// And whoever looks on sees it, and can end it alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_target_of_a_refer_is_heard_and_seen_before_it_has_answered() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let mut legs = demo.take("7000").await;
    let (mut phone, mut far) = talking(&demo).await;
    far.leg.refer("7000").await.expect("REFER");
    let mut second = dialled(&mut legs).await;
    second.play(tone(700.0));
    second.leg.progress(183, true).await.expect("183");
    hear_each_other(&phone.browser, &second, 700.0).await;
    let told = wire.get("/api/calls/active").await.body;
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let calls = told["calls"].as_array().expect("a list");
    let new = calls.iter().find(|call| call["remote"] == "7000").expect("the new call");
    assert_eq!((calls.len(), &new["state"]), (2, &serde_json::json!("calling")), "{told}");
    let id = new["call_id"].as_str().expect("an id");
    let ended = wire.post(&format!("/api/calls/{id}/hangup"), "").await;
    assert_eq!(ended.status, 200, "{}", ended.body);
    second.ended().await;
    assert_eq!(transferred(&mut far).await, 487);
    hear_each_other(&phone.browser, &far, 1000.0).await;
    phone.browser.heard().assert_one_unbroken_stream();
    assert!(phone.within(QUIET).await.is_none(), "the browser is told nothing");
    far.hang_up().await;
    phone.expect("BYE").await;
    demo.idle().await;
    demo.until_no_media().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_with_replaces_takes_the_sound_and_not_the_browsers_time() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = talking(&demo).await;
    let mut call = call_from("7124");
    call.headers.push(("Replaces".to_owned(), far.leg.replaces().await.expect("a call")));
    let mut second = demo.calls("5001", call).await;
    second.play(tone(700.0));
    second.answered().await.expect("an answer");
    far.ended().await;
    hear_each_other(&phone.browser, &second, 700.0).await;
    phone.browser.heard().assert_one_unbroken_stream();
    assert!(phone.within(QUIET).await.is_none(), "no OFFER, no BYE");
    second.hang_up().await;
    phone.expect("BYE").await;
    demo.idle().await;
    demo.until_no_media().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_refers_and_hangs_up_at_once_leaves_no_call_behind_when_the_target_refuses() {
    let demo = Demo::start().await;
    let mut legs = demo.take("7000").await;
    let (mut phone, mut far) = talking(&demo).await;
    far.leg.refer("7000").await.expect("REFER");
    let second = dialled(&mut legs).await;
    far.hang_up().await;
    far.ended().await;
    assert!(phone.within(QUIET).await.is_none(), "the new call may still be answered");
    second.leg.hang_up(486, "Busy Here").await.expect("486");
    phone.expect("BYE").await;
    demo.idle().await;
    demo.until_no_media().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_may_hang_up_while_the_target_of_a_refer_rings_alone() {
    let demo = Demo::start().await;
    let mut legs = demo.take("7000").await;
    let (mut phone, mut far) = talking(&demo).await;
    far.leg.refer("7000").await.expect("REFER");
    let mut second = dialled(&mut legs).await;
    second.leg.progress(180, false).await.expect("180");
    far.hang_up().await;
    far.ended().await;
    phone.hang_up().await;
    second.ended().await;
    demo.idle().await;
    demo.until_no_media().await;
}
