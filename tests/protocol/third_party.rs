//! sip-behaviour.md, "Call to the agent, answered in WWE" and "Call from the agent, dialled in
//! WWE"; grtc-wire.md, "Messages to the browser other than ROAP".

use std::time::Duration;

use crate::support::far::{Far, call_from, tone};
use crate::support::gateway::Demo;
use crate::support::jsapi::Jsapi;
use crate::support::sdp;
use wrtc_gateway::lab::{Ack, AckSdp, CallOut, LegEvent};

const QUIET: Duration = Duration::from_millis(400);

/// An INVITE without SDP, as the SIP server sends it for a call dialled in WWE.
fn delayed_offer(number: &str) -> CallOut {
    CallOut { offer: false, ..call_from(number) }
}

async fn both_hear(phone: &Jsapi, far: &Far) {
    phone.browser.forget();
    let _ = tokio::join!(phone.browser.hears(1000.0, 0.8), far.hears(440.0, 0.8));
    phone.browser.heard().assert_one_unbroken_stream();
}

/// The client accepts an INVITE: its own OFFER follows.
async fn offer_for_the_invite(phone: &mut Jsapi) {
    phone.browser.play(440.0).await;
    let local = phone.browser.offer().await;
    phone.offer(&local).await;
}

/// A call in, both ways heard, and the gateway's answer to it.
async fn established(demo: &Demo) -> (Jsapi, Far, String) {
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    let answer = far.answered().await.expect("sdp");
    phone.browser.connected().await;
    both_hear(&phone, &far).await;
    (phone, far, answer)
}

/// The version in `o=`, and the description without it.
fn versioned(sdp: &str) -> (u64, String) {
    let origin = sdp.lines().find(|line| line.starts_with("o=")).expect("o=");
    let version = origin.split(' ').nth(2).and_then(|v| v.parse().ok()).expect("a version");
    (version, sdp::edit(sdp, |line| (!line.starts_with("o=")).then(|| line.to_owned())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_without_sdp_is_offered_by_the_browser() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", delayed_offer("7123")).await;
    far.play(tone(1000.0));
    far.rings().await;
    let invite = phone.expect("INVITE").await;
    assert_eq!(invite.peer, "7123");
    phone.peer = invite.peer;
    assert!(phone.within(QUIET).await.is_none(), "no OFFER of the gateway's");

    offer_for_the_invite(&mut phone).await;
    let offer = far.answered().await.expect("the 200 holds an offer");
    let (_, protocol, payloads) = sdp::audio_line(&offer).expect("audio");
    assert_eq!(protocol, "RTP/AVP");
    assert!(payloads.contains(&0) && payloads.contains(&8), "{payloads:?}");
    assert_eq!(sdp::direction(&offer), "sendrecv");
    // The SDP in the ACK comes back as the ANSWER.
    phone.answered().await;
    phone.browser.connected().await;
    both_hear(&phone, &far).await;
    phone.hang_up().await;
    far.ended().await;
    demo.idle().await;
}

/// "the ACK comes only when the far end has answered ... Ringback is made locally while nothing comes."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_rings_in_the_browser_while_the_ack_takes_its_time() {
    let demo = Demo::with_settings(&["media.tones=de"]).await;
    let mut phone = demo.phone("5001").await;
    let call = CallOut { ack: Ack::Withheld, ..delayed_offer("7123") };
    let mut far = demo.calls("5001", call).await;
    far.play(tone(1000.0));
    phone.peer = phone.expect("INVITE").await.peer;
    offer_for_the_invite(&mut phone).await;
    far.answered().await.expect("an offer");
    // The 200 is sent again meanwhile.
    phone.answered().await;
    phone.browser.connected().await;
    phone.browser.hears(425.0, 0.5).await.assert_one_unbroken_stream();
    far.leg.release_ack(AckSdp::Answer).await.expect("ACK");
    phone.browser.hears(1000.0, 0.5).await;
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tones_the_browser_waits_for_the_ack() {
    let demo = Demo::with_settings(&["media.tones=off"]).await;
    let mut phone = demo.phone("5001").await;
    let call = CallOut { ack: Ack::Withheld, ..delayed_offer("7123") };
    let mut far = demo.calls("5001", call).await;
    phone.peer = phone.expect("INVITE").await.peer;
    offer_for_the_invite(&mut phone).await;
    far.answered().await.expect("an offer");
    assert!(phone.within(Duration::from_secs(3)).await.is_none(), "before the ACK");
    far.leg.release_ack(AckSdp::Answer).await.expect("ACK");
    phone.answered().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_3pcc_call_upsets_nothing() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    for sdp in [AckSdp::OfferEchoed, AckSdp::BlackHole] {
        let call = CallOut { ack: Ack::Withheld, ..delayed_offer("7123") };
        let mut far = demo.calls("5001", call).await;
        phone.peer = phone.expect("INVITE").await.peer;
        offer_for_the_invite(&mut phone).await;
        far.answered().await;
        far.leg.release_ack(sdp).await.expect("ACK");
        far.leg.hang_up(403, "Forbidden").await.expect("BYE");
        // An ANSWER may come before it; the client takes that as any other.
        let mut message = phone.next().await;
        if let Some(answer) = message.roap() {
            assert_eq!(answer.kind, "ANSWER");
            phone.take_answer(&answer, std::panic::Location::caller()).await;
            message = phone.next().await;
        }
        assert_eq!(message.body, "BYE", "{sdp:?}");
        far.ended().await;
        demo.idle().await;
        phone.fresh().await;
    }
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_without_sdp_is_rejected_or_given_up() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", delayed_offer("7123")).await;
    phone.peer = phone.expect("INVITE").await.peer;
    phone.hang_up().await;
    let end = far.ended().await;
    assert!([480, 486, 600, 603].contains(&end.code), "{end:?}");
    demo.idle().await;

    let far = demo.calls("5001", delayed_offer("7123")).await;
    phone.expect("INVITE").await;
    far.leg.hang_up(487, "Request Terminated").await.expect("CANCEL");
    phone.expect("BYE").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notify_talk_answers_the_ringing_call() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    far.rings().await;
    let offer = phone.expect_roap("OFFER").await;
    far.talk().await;
    assert_eq!(phone.expect("EVENT-TALK").await.peer, "7123");
    // The client accepts by itself.
    phone.accept(&offer).await;
    far.answered().await.expect("an answer");
    phone.browser.connected().await;
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notify_talk_answers_an_invite_without_sdp() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", delayed_offer("7123")).await;
    far.play(tone(1000.0));
    far.rings().await;
    phone.peer = phone.expect("INVITE").await.peer;
    far.talk().await;
    phone.expect("EVENT-TALK").await;
    offer_for_the_invite(&mut phone).await;
    far.answered().await.expect("an offer");
    phone.answered().await;
    phone.browser.connected().await;
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notify_hold_and_talk_in_a_call_hold_and_resume() {
    let demo = Demo::start().await;
    let (mut phone, mut far, _) = established(&demo).await;
    for _ in 0..2 {
        far.hold().await;
        phone.expect("EVENT-HOLD").await;
        let local = phone.browser.offer_with_direction("inactive").await;
        phone.offer(&local).await;
        phone.answered().await;
        let offer = far.reinvited().await.expect("sdp");
        assert!(["inactive", "sendonly"].contains(&sdp::direction(&offer)), "{offer}");

        far.talk().await;
        phone.expect("EVENT-TALK").await;
        let local = phone.browser.offer_with_direction("sendrecv").await;
        phone.offer(&local).await;
        phone.answered().await;
        let offer = far.reinvited().await.expect("sdp");
        assert_eq!(sdp::direction(&offer), "sendrecv");
        both_hear(&phone, &far).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offerless_re_invite_does_not_touch_the_browser() {
    let demo = Demo::start().await;
    let (mut phone, mut far, answer) = established(&demo).await;
    let mut before = versioned(&answer);
    for _ in 0..3 {
        far.leg.ask_for_offer().await.expect("re-INVITE");
        let offer = far.reinvite_answered().await.expect("the 200 holds an offer");
        assert_eq!(sdp::direction(&offer), "sendrecv");
        let (_, _, payloads) = sdp::audio_line(&offer).expect("audio");
        assert!(payloads.contains(&0) && payloads.contains(&8), "a full offer: {payloads:?}");
        let now = versioned(&offer);
        // Raised with each change, and only then (RFC 3264 8).
        assert_eq!(now.0 > before.0, now.1 != before.1, "{offer}");
        assert!(now.0 >= before.0, "{offer}");
        before = now;
        both_hear(&phone, &far).await;
    }
    if let Some(message) = phone.within(QUIET).await {
        panic!("the browser was told {}", message.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offerless_re_invite_retrieves_a_call_that_the_agent_holds() {
    let demo = Demo::start().await;
    let (mut phone, mut far, _) = established(&demo).await;
    let local = phone.browser.offer_with_direction("inactive").await;
    phone.offer(&local).await;
    phone.answered().await;
    far.reinvited().await;
    far.leg.ask_for_offer().await.expect("re-INVITE");
    // In a call the client posts an OFFER at once, and that goes into the 200.
    phone.expect("INVITE").await;
    let local = phone.browser.offer_with_direction("sendrecv").await;
    phone.offer(&local).await;
    let offer = far.reinvite_answered().await.expect("the 200 holds an offer");
    assert_eq!(sdp::direction(&offer), "sendrecv");
    phone.answered().await;
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_answered_in_wwe_plays_out_as_captured() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    far.rings().await;
    far.talk().await;
    let offer = phone.expect_roap("OFFER").await;
    phone.expect("EVENT-TALK").await;
    phone.accept(&offer).await;
    far.answered().await.expect("an answer");
    far.leg.ask_for_offer().await.expect("re-INVITE");
    far.reinvite_answered().await.expect("an offer");
    phone.browser.connected().await;
    both_hear(&phone, &far).await;
    assert!(phone.within(QUIET).await.is_none());
    // The far end goes on to ask anew in the middle of it all.
    far.leg.ask_for_offer().await.expect("re-INVITE");
    far.reinvite_answered().await.expect("an offer");
    far.hang_up().await;
    phone.expect("BYE").await;
    far.expect("its end", |event| matches!(event, LegEvent::Ended(_)).then_some(())).await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notify_on_hold_while_on_hold_changes_nothing() {
    let demo = Demo::start().await;
    let (mut phone, far, _) = established(&demo).await;
    // The client is told, and it is the client's to know that it holds already.
    far.talk().await;
    phone.expect("EVENT-TALK").await;
    both_hear(&phone, &far).await;
}
