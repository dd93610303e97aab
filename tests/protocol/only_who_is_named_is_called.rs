//! grtc-wire.md: whom a `to` names, and that an OFFER calls once.

use std::time::Duration;

use crate::support::far::call_from;
use crate::support::gateway::{Demo, dialled};
use wrtc_gateway::lab::CallOut;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plus_in_a_number_is_a_plus() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("+4930123").await;
    for written in ["+4930123", "%2B4930123"] {
        phone.call(written).await;
        let far = dialled(&mut legs).await;
        assert_eq!(far.leg.invite().expect("an INVITE").to, "+4930123");
        far.leg.hang_up(486, "Busy Here").await.expect("486");
        assert_eq!(phone.expect("BYE").await.peer, "+4930123");
        demo.idle().await;
        phone.fresh().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_null_undefined_and_self_are_no_peers() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    // A session that never had a peer is torn down.
    for to in ["null", "undefined", ""] {
        let answer = phone.wire.message(&phone.ssid, to, "BYE").await;
        assert_eq!(answer.status, 200, "to={to}: {}", answer.body);
    }
    let answer = phone.wire.message(&phone.ssid, &phone.ssid, "BYE").await;
    assert_eq!(answer.status, 200, "self: {}", answer.body);
    assert_eq!(demo.health().await["active_calls"], 0);
    // There is nobody of that name to call either.
    let local = phone.browser.offer().await;
    let offer = phone.roap.offer(&local);
    let answer = phone.wire.message(&phone.ssid, "null", &offer).await;
    assert!(answer.status == 200 || answer.status.is_client_error(), "{}", answer.status);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(demo.health().await["active_calls"], 0, "a call to `null`");
    while phone.within(Duration::from_millis(100)).await.is_some() {}

    // In a call, BYE to null or to oneself ends it: the client has no other.
    for to in ["null", "undefined", "self"] {
        phone.fresh().await;
        phone.connect("601").await;
        let to = if to == "self" { phone.ssid.clone() } else { to.to_owned() };
        assert_eq!(phone.wire.message(&phone.ssid, &to, "BYE").await.status, 200);
        demo.idle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_posted_again_after_its_call_is_over_calls_nobody() {
    let demo = Demo::start().await;
    let mut legs = demo.take("7777").await;
    let mut phone = demo.phone("5001").await;
    phone.peer = "7777".to_owned();
    let local = phone.browser.offer().await;
    let offer = phone.offer(&local).await;
    let far = dialled(&mut legs).await;
    far.leg.hang_up(486, "Busy Here").await.expect("refused");
    phone.expect("BYE").await;
    demo.idle().await;
    // 3 s later, as far as the client knows nobody has heard of it.
    phone.posted(&offer).await;
    let again = tokio::time::timeout(Duration::from_millis(500), legs.recv()).await;
    assert!(again.is_err(), "a second INVITE");
    assert_eq!(demo.health().await["active_calls"], 0);

    // The same with the OFFER that accepts a call without one.
    phone.fresh().await;
    let mut far = demo.calls("5001", CallOut { offer: false, ..call_from("7777") }).await;
    phone.expect("INVITE").await;
    let local = phone.browser.offer().await;
    let offer = phone.offer(&local).await;
    far.answered().await;
    far.hang_up().await;
    loop {
        if phone.next().await.body == "BYE" {
            break;
        }
    }
    demo.idle().await;
    phone.posted(&offer).await;
    let again = tokio::time::timeout(Duration::from_millis(500), legs.recv()).await;
    assert!(again.is_err(), "the caller is called back");
}
