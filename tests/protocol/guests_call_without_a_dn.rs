//! grtc-wire.md, "sign_in": anonymous guests.

use std::time::Duration;

use crate::support::browser::LIMIT;
use crate::support::gateway::{Demo, PASSWORD};
use crate::support::jsapi::Jsapi;
use crate::support::wire::{Wire, assert_failed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anonymous_guest_calls_and_is_not_registered() {
    let demo = Demo::start().await;
    let mut guest = Jsapi::anonymous(&demo.base).await;
    demo.until_agents(0).await;
    guest.browser.play(440.0).await;
    guest.connect("600").await;
    guest.browser.hears(440.0, 1.0).await.assert_one_unbroken_stream();
    guest.hang_up().await;
    demo.idle().await;
    guest.sign_out().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_36_characters_that_begin_with_anon_are_a_guest() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let short = format!("anon{:031x}", 7);
    let answer = wire.sign_in_get(&short).await;
    // A DN like any other then: the SIP server does not have it.
    assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_have_an_end_and_leave_room_for_agents() {
    let demo = Demo::with_settings(&["http.sign_ins_per_second=10000"]).await;
    let wire = Wire::new(&demo.base);
    let mut inside = Vec::new();
    let refused = loop {
        let answer = wire.sign_in_get(&format!("anon{:032}", inside.len())).await;
        if answer.status != 200 {
            break answer;
        }
        inside.push(answer.ssid());
        assert!(inside.len() < 10_000, "no end");
    };
    assert_failed(&refused, &[503]);
    assert_eq!(wire.sign_in_post("5001", PASSWORD).await.status, 200);
    // One who goes makes room.
    assert_eq!(wire.sign_out(&inside[0]).await.status, 200);
    let end = std::time::Instant::now() + LIMIT;
    while wire.sign_in_get(&format!("anon{:032}", 0)).await.status != 200 {
        assert!(std::time::Instant::now() < end, "no room");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
