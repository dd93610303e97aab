//! grtc-wire.md: calls out and calls in, and what is heard at both ends.

use std::time::Duration;

use crate::support::browser::{TestBrowser, chrome_g711};
use crate::support::far::{call_from, tone};
use crate::support::gateway::{Demo, dialled};
use crate::support::sdp;
use wrtc_gateway::sip::EndedBy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_out_has_sound_both_ways() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.browser.play(440.0).await;
    phone.call("7000").await;
    let mut far = dialled(&mut legs).await;
    let invite = far.leg.invite().expect("an INVITE").clone();
    assert_eq!((invite.from.as_str(), invite.to.as_str()), ("5001", "7000"));
    assert!(invite.sdp.is_some(), "the browser's offer goes into the INVITE");
    far.leg.progress(180, false).await.expect("180");
    // The browser hears of a call by its ANSWER; nothing comes before.
    assert!(phone.within(Duration::from_millis(300)).await.is_none());
    far.leg.accept().await.expect("200");
    far.play(tone(1000.0));

    let answer = phone.answered().await;
    let numbers = (answer.offerer, answer.seq);
    assert_eq!(numbers, (Some(phone.roap.own), Some(1)));
    phone.browser.connected().await;
    let (at_browser, at_far) =
        tokio::join!(phone.browser.hears(1000.0, 2.0), far.hears(440.0, 2.0));
    at_browser.assert_one_unbroken_stream();
    assert_eq!(at_far.unknown_payload, 0, "{at_far}");
    assert_eq!(demo.health().await["active_calls"], 1);

    phone.hang_up().await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 200), "{end:?}");
    demo.idle().await;
    assert!(phone.within(Duration::from_millis(300)).await.is_none(), "no BYE for one's own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_rings_and_has_sound_both_ways() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.rings().await;
    let message = phone.next().await;
    assert!(message.body.starts_with("SDP"), "{}", message.body);
    assert_eq!(message.peer, "7123");
    phone.unread(message);
    let offer = phone.expect_roap("OFFER").await;
    assert!(offer.offerer.is_some());
    assert_eq!(offer.seq, Some(1));
    assert!(offer.answerer.is_none(), "a first offer: {}", offer.json);
    let tiebreaker = offer.tiebreaker.expect("a tiebreaker");
    assert!(tiebreaker != 0 && tiebreaker < u64::from(u32::MAX), "{tiebreaker}");
    let sdp = offer.sdp.as_deref().expect("sdp");
    assert_eq!(sdp::attribute(sdp, "setup"), Some("actpass"));

    phone.accept(&offer).await;
    far.answered().await.expect("an SDP answer");
    far.play(tone(1000.0));
    phone.browser.connected().await;
    let (at_browser, _) = tokio::join!(phone.browser.hears(1000.0, 2.0), far.hears(440.0, 2.0));
    at_browser.assert_one_unbroken_stream();

    far.hang_up().await;
    assert_eq!(phone.expect("BYE").await.peer, "7123");
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_rings_a_while_is_answered() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.connect("1003").await;
    phone.browser.hears(440.0, 1.0).await.assert_one_unbroken_stream();
    phone.hang_up().await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_media_in_183_leaves_the_answer_to_the_200() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.browser.play(440.0).await;
    phone.call("7000").await;
    let far = dialled(&mut legs).await;
    far.leg.progress(183, true).await.expect("183");
    far.play(tone(1000.0));
    tokio::time::sleep(Duration::from_millis(300)).await;
    far.leg.accept().await.expect("200");
    phone.answered().await;
    phone.browser.connected().await;
    let (heard, _) = tokio::join!(phone.browser.hears(1000.0, 0.6), far.hears(440.0, 0.6));
    heard.assert_one_unbroken_stream();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dn_calls_another_through_the_sip_server() {
    let demo = Demo::start().await;
    let (mut caller, mut callee) = (demo.phone("5001").await, demo.phone("5002").await);
    caller.browser = TestBrowser::with_codecs(chrome_g711()).await;
    callee.browser = TestBrowser::with_codecs(chrome_g711()).await;
    caller.browser.play(440.0).await;
    callee.browser.play(1000.0).await;
    caller.call("5002").await;
    let offer = callee.expect_roap("OFFER").await;
    assert_eq!(callee.peer, "5001");
    callee.accept(&offer).await;
    caller.answered().await;
    let (a, b) = tokio::join!(caller.browser.hears(1000.0, 2.0), callee.browser.hears(440.0, 2.0));
    a.assert_one_unbroken_stream();
    b.assert_one_unbroken_stream();
    assert_eq!(demo.health().await["active_calls"], 2);
    callee.hang_up().await;
    caller.expect("BYE").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_do_not_hear_each_other() {
    let demo = Demo::start().await;
    let mut phones = Vec::new();
    for n in 0..8 {
        let phone = demo.phone(&format!("{}", 5001 + n)).await;
        // Whole multiples of the 50 Hz that 20 ms can tell apart.
        phone.browser.play(500.0 + 200.0 * f64::from(n)).await;
        phones.push(phone);
    }
    for phone in &mut phones {
        phone.connect("600").await;
    }
    assert_eq!(demo.health().await["active_calls"], 8);
    for (n, phone) in phones.iter().enumerate() {
        let own = 500.0 + 200.0 * n as f64;
        let heard = phone.browser.hears(own, 1.0).await;
        heard.assert_one_unbroken_stream();
        for other in (0..8).filter(|other| *other != n) {
            assert_eq!(heard.tone_seconds(500.0 + 200.0 * f64::from(other as u32)), 0.0);
        }
    }
    for phone in &mut phones {
        phone.hang_up().await;
    }
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn number_604_calls_back() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.connect("604").await;
    phone.hang_up().await;
    phone.fresh().await;
    phone.browser.play(440.0).await;
    let offer = phone.expect_roap("OFFER").await;
    assert_eq!(phone.peer, "604");
    phone.accept(&offer).await;
    phone.browser.connected().await;
    phone.hang_up().await;
    demo.idle().await;
}
