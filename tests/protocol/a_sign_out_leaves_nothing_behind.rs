//! grtc-wire.md, "sign_out", and the client that goes without one.

use std::time::Duration;

use crate::support::browser::LIMIT;
use crate::support::far::call_from;
use crate::support::gateway::{Demo, dialled};
use crate::support::wire::{Wire, read_answer};
use wrtc_gateway::sip::EndedBy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_releases_the_call_unregisters_and_ends_the_poll() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 0.3).await;
    phone.stop_polling().await;
    let mut poll = phone.wire.raw_wait(&phone.ssid).await;
    // So that the poll stands before it is ended.
    tokio::time::sleep(Duration::from_millis(200)).await;

    assert_eq!(phone.wire.sign_out(&phone.ssid).await.status, 200);
    let ended = tokio::time::timeout(LIMIT, read_answer(&mut poll)).await.expect("ended");
    let (status, _, body) = ended.expect("an answer");
    assert!(status == 200 || status == 404 || status == 410, "{status}");
    assert!(body.is_empty() || body == "BYE" || status != 200, "{body}");
    demo.idle().await;
    demo.until_unregistered("5001").await;
    demo.until_agents(0).await;
    assert_eq!(phone.wire.wait(&phone.ssid).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_answers_200_for_an_unknown_session_too() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    for ssid in ["nobody", "", "5001", &"x".repeat(5000)] {
        assert_eq!(wire.sign_out(ssid).await.status, 200, "{ssid:.20}");
    }
    assert_eq!(wire.get("/sign_out").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_takes_a_ringing_call_with_it() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.call("7000").await;
    let mut far = dialled(&mut legs).await;
    far.leg.progress(180, false).await.expect("180");
    phone.sign_out().await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 487), "{end:?}");

    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    phone.expect_roap("OFFER").await;
    phone.sign_out().await;
    let end = far.ended().await;
    assert!(end.by == EndedBy::Peer && end.code >= 400, "{end:?}");
    demo.until_unregistered("5001").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_vanished_leaves_no_call_and_no_registration() {
    let demo = Demo::with_settings(&["agents.lease_seconds=10"]).await;
    let mut stays = demo.phone("5002").await;
    let mut vanishes = demo.phone("5001").await;
    vanishes.connect("601").await;
    vanishes.stop_polling().await;
    demo.until_unregistered("5001").await;
    demo.idle().await;
    assert_eq!(vanishes.wire.wait(&vanishes.ssid).await.status, 404);
    // One that polls lives on.
    assert!(demo.is_registered("5002"));
    stays.connect("601").await;
    stays.browser.hears(1000.0, 0.3).await;
}
