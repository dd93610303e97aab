//! What crosses a BYE on its way leaves no call behind.

use std::time::Duration;

use crate::support::far::call_from;
use crate::support::gateway::{Demo, dialled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bye_right_behind_the_offer_leaves_no_call() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    for _ in 0..3 {
        phone.call("600").await;
        phone.hang_up().await;
        demo.idle().await;
        // An ANSWER that crossed the BYE is the client's to ignore; nothing may come later.
        while let Some(message) = phone.within(Duration::from_millis(300)).await {
            assert!(message.body.contains("ANSWER") || message.body == "BYE", "{}", message.body);
        }
        phone.fresh().await;
    }
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bye_that_crosses_the_answer_leaves_no_call() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    for _ in 0..5 {
        phone.call("7000").await;
        let mut far = dialled(&mut legs).await;
        far.leg.progress(180, false).await.expect("180");
        // CANCEL and 200 pass each other; the 200 then wants an ACK and a BYE.
        let (accepted, ()) = tokio::join!(far.leg.accept(), phone.hang_up());
        accepted.expect("200");
        far.ended().await;
        demo.idle().await;
        while phone.within(Duration::from_millis(100)).await.is_some() {}
        phone.fresh().await;
    }
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_may_hang_up_at_once() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    for _ in 0..5 {
        let mut far = demo.calls("5001", call_from("7123")).await;
        let offer = phone.expect_roap("OFFER").await;
        phone.accept(&offer).await;
        far.answered().await;
        tokio::join!(far.hang_up(), phone.hang_up());
        far.ended().await;
        demo.idle().await;
        while let Some(message) = phone.within(Duration::from_millis(100)).await {
            assert_eq!(message.body, "BYE");
        }
        phone.fresh().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_may_give_up_at_the_moment_of_the_answer() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    for _ in 0..5 {
        let mut far = demo.calls("5001", call_from("7123")).await;
        let offer = phone.expect_roap("OFFER").await;
        let sdp = offer.sdp.as_deref().expect("sdp");
        let local = phone.browser.answer(sdp, &offer.candidates).await;
        let body = phone.roap.answer(&offer, &local);
        let cancel = far.leg.hang_up(487, "Request Terminated");
        let (cancelled, answer) = tokio::join!(cancel, phone.post(&body));
        cancelled.expect("CANCEL");
        assert_eq!(answer.status, 200, "{}", answer.body);
        far.ended().await;
        demo.idle().await;
        // OK or ERROR, whichever was first, and in the end BYE once.
        let mut byes = 0;
        while let Some(message) = phone.within(Duration::from_millis(200)).await {
            byes += usize::from(message.body == "BYE");
        }
        assert_eq!(byes, 1);
        phone.fresh().await;
    }
}
