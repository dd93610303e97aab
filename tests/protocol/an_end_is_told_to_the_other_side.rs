//! grtc-wire.md: who ends a call, refuses it or is not there, and what the other side hears of it.

use std::time::Duration;

use crate::support::far::call_from;
use crate::support::gateway::{Demo, dialled};
use crate::support::jsapi::Jsapi;
use wrtc_gateway::sip::EndedBy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_and_unknown_numbers_end_in_bye() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    for number in ["603", "999", "5020"] {
        phone.call(number).await;
        let bye = phone.expect("BYE").await;
        assert_eq!(bye.peer, number);
        demo.idle().await;
        phone.fresh().await;
    }
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_by_the_far_end_is_a_bye() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    for (code, text) in [(603, "Decline"), (480, "Temporarily Unavailable"), (500, "Server Error")]
    {
        phone.call("7000").await;
        let far = dialled(&mut legs).await;
        far.leg.progress(180, false).await.expect("180");
        far.leg.hang_up(code, text).await.expect("refusal");
        phone.expect("BYE").await;
        demo.idle().await;
        phone.fresh().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bye_while_it_rings_cancels() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.call("7000").await;
    let mut far = dialled(&mut legs).await;
    far.leg.progress(180, false).await.expect("180");
    phone.hang_up().await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 487), "{end:?}");
    demo.idle().await;

    // The lab's own number that rings for ever, and a call after it.
    phone.fresh().await;
    phone.call("602").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    phone.hang_up().await;
    demo.idle().await;
    phone.fresh().await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_is_hung_up_by_the_browser() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    phone.hang_up().await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 200), "{end:?}");
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bye_rejects_a_ringing_call() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    for _ in 0..2 {
        let mut far = demo.calls("5001", call_from("7123")).await;
        phone.expect_roap("OFFER").await;
        phone.hang_up().await;
        let end = far.ended().await;
        assert_eq!(end.by, EndedBy::Peer, "{end:?}");
        // Declined, busy or not available now; no fault of anybody's.
        assert!([480, 486, 600, 603].contains(&end.code), "{end:?}");
        demo.idle().await;
        phone.fresh().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gives_up_is_a_bye() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.rings().await;
    let offer = phone.expect_roap("OFFER").await;
    far.leg.hang_up(487, "Request Terminated").await.expect("CANCEL");
    phone.expect("BYE").await;
    far.ended().await;
    demo.idle().await;
    // An ANSWER that comes too late starts nothing.
    let sdp = offer.sdp.as_deref().expect("sdp");
    let local = phone.browser.answer(sdp, &offer.candidates).await;
    let late = phone.roap.answer(&offer, &local);
    let answer = phone.post(&late).await;
    assert!(answer.status == 200 || answer.status.is_client_error(), "{}", answer.status);
    assert_eq!(demo.health().await["active_calls"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_cannot_use_an_offer_says_error() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    let error = serde_json::json!({"messageType": "ERROR", "errorType": "FAILED",
        "offererSessionId": offer.offerer, "answererSessionId": 7, "seq": offer.seq});
    phone.posted(&format!("RSMP {error}")).await;
    let end = far.ended().await;
    assert!(end.by == EndedBy::Peer && end.code >= 400, "{end:?}");
    demo.idle().await;
    while phone.within(Duration::from_millis(200)).await.is_some() {}
    phone.fresh().await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_beyond_the_limit_is_busy_and_disturbs_nothing() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 0.4).await;
    let mut waiting = demo.calls("5001", call_from("7122")).await;
    waiting.rings().await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 486), "{end:?}");
    assert!(phone.within(Duration::from_millis(200)).await.is_none());
    phone.browser.forget();
    phone.browser.hears(440.0, 0.5).await.assert_one_unbroken_stream();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_is_not_there_is_480_at_once() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.stop_polling().await;
    // It may have gone to fetch its next poll, for a moment.
    demo.until_it_is("absent").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 480), "{end:?}");
    // And back.
    let (wire, ssid) = (phone.wire.clone(), phone.ssid.clone());
    let mut back = Jsapi::with_session(wire, ssid, Duration::from_secs(20)).await;
    demo.until_it_is("ready").await;
    let _far = demo.calls("5001", call_from("7123")).await;
    back.expect_roap("OFFER").await;
}
