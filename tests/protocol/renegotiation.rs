//! grtc-wire.md: OFFERs on an established call, POSTs sent again, glare. sip-behaviour.md, "In the
//! call": what a re-INVITE may do to the browser, which is nothing.

use std::time::Duration;

use crate::support::browser::TestBrowser;
use crate::support::far::{Far, call_from, tone};
use crate::support::gateway::{Demo, dialled};
use crate::support::jsapi::Jsapi;
use crate::support::roap::Session;
use crate::support::sdp;
use wrtc_gateway::lab::{Hold, LegEvent};
use wrtc_gateway::sdp::Codec;

/// Nothing happened for this long: enough for a message that would come at once.
const QUIET: Duration = Duration::from_millis(400);

/// An established call out, 440 Hz from the browser and 1 kHz from the far end.
async fn in_a_call(demo: &Demo) -> (Jsapi, Far) {
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.browser.play(440.0).await;
    phone.call("7000").await;
    let far = dialled(&mut legs).await;
    far.leg.accept().await.expect("200");
    far.play(tone(1000.0));
    phone.answered().await;
    phone.browser.connected().await;
    both_hear(&phone, &far).await;
    (phone, far)
}

async fn both_hear(phone: &Jsapi, far: &Far) {
    phone.browser.forget();
    let _ = tokio::join!(phone.browser.hears(1000.0, 0.6), far.hears(440.0, 0.6));
    phone.browser.heard().assert_one_unbroken_stream();
}

/// After what was under way has passed, nothing but silence gets through either way.
async fn neither_hears(phone: &Jsapi, far: &Far) {
    tokio::join!(phone.browser.hears_no(1000.0), far.hears_no(440.0));
}

/// No message came to the browser, and no re-INVITE to the far end.
async fn nobody_was_told(phone: &mut Jsapi, far: &mut Far) {
    if let Some(message) = phone.within(QUIET).await {
        panic!("the browser was told {}", message.body);
    }
    while let Some(event) = far.within(QUIET).await {
        // What belongs to the exchanges before.
        let earlier = matches!(event, LegEvent::Acked { .. } | LegEvent::ReinviteAnswered { .. });
        assert!(earlier, "the far end was told {event:?}");
    }
}

async fn renegotiate(phone: &mut Jsapi, direction: &'static str) -> String {
    let local = phone.browser.offer_with_direction(direction).await;
    phone.offer(&local).await;
    let answer = phone.answered().await;
    answer.sdp.expect("sdp")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_is_inactive_and_resume_sendrecv() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    for _ in 0..2 {
        let answer = renegotiate(&mut phone, "inactive").await;
        assert_eq!(sdp::direction(&answer), "inactive");
        let offer = far.reinvited().await.expect("a re-INVITE with SDP");
        assert!(["inactive", "sendonly"].contains(&sdp::direction(&offer)), "{offer}");
        neither_hears(&phone, &far).await;

        let answer = renegotiate(&mut phone, "sendrecv").await;
        assert_eq!(sdp::direction(&answer), "sendrecv");
        let offer = far.reinvited().await.expect("a re-INVITE with SDP");
        assert_eq!(sdp::direction(&offer), "sendrecv");
        both_hear(&phone, &far).await;
    }
    assert_eq!(phone.roap.seq, 5, "each OFFER counted up");
    phone.hang_up().await;
    far.ended().await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_call_is_ended_from_either_side() {
    let demo = Demo::start().await;
    let (mut phone, far) = in_a_call(&demo).await;
    renegotiate(&mut phone, "inactive").await;
    far.hang_up().await;
    phone.expect("BYE").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_called_side_holds_too() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    far.play(tone(1000.0));
    both_hear(&phone, &far).await;
    // Now the browser is the one that offers: its own number, the gateway's as the other.
    renegotiate(&mut phone, "inactive").await;
    far.reinvited().await;
    neither_hears(&phone, &far).await;
    renegotiate(&mut phone, "sendrecv").await;
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_hold_survives_the_peers() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    renegotiate(&mut phone, "inactive").await;
    far.reinvited().await;
    for hold in [Hold::SendOnly, Hold::No] {
        far.leg.hold(hold).await.expect("re-INVITE");
        let answer = far.reinvite_answered().await.expect("sdp");
        assert!(!["sendrecv", "recvonly"].contains(&sdp::direction(&answer)), "{answer}");
    }
    neither_hears(&phone, &far).await;
    renegotiate(&mut phone, "sendrecv").await;
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ice_restart_keeps_the_call() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    let mut ufrags = Vec::new();
    for _ in 0..2 {
        let local = phone.browser.restart_offer().await;
        phone.offer(&local).await;
        let answer = phone.answered().await.sdp.expect("sdp");
        ufrags.push(sdp::attribute(&answer, "ice-ufrag").expect("ufrag").to_owned());
        phone.browser.connected().await;
        both_hear(&phone, &far).await;
    }
    // RFC 8839 4.4.3: an agent that answers a restart has new credentials of its own.
    assert_ne!(ufrags[0], ufrags[1]);
    nobody_was_told(&mut phone, &mut far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ice_restart_from_another_address_keeps_the_call() {
    let demo = Demo::start().await;
    let (mut phone, far) = in_a_call(&demo).await;
    // The laptop changes networks: the connection is the same, its socket is not.
    phone.browser.change_address().await;
    let local = phone.browser.restart_offer().await;
    phone.offer(&local).await;
    phone.answered().await;
    phone.browser.connected().await;
    phone.browser.forget();
    let (heard, _) = tokio::join!(phone.browser.hears(1000.0, 0.6), far.hears(440.0, 0.6));
    // What went to the old address is lost; the stream is the same.
    assert_eq!(heard.streams.len(), 1, "{:?}", heard.streams);
    assert_eq!(heard.streams[0].timestamps_back, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_new_peer_connection_takes_the_call_over() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    for tone in [700.0, 440.0] {
        // `setRenewSessionOnNeed(true)`: new ICE, new fingerprint, `seq` from 1, nobody's number yet.
        phone.browser = TestBrowser::new().await;
        phone.browser.play(tone).await;
        phone.roap = Session::new();
        let local = phone.browser.offer().await;
        phone.offer(&local).await;
        let answer = phone.answered().await;
        assert_eq!(answer.seq, Some(1));
        phone.browser.connected().await;
        phone.browser.hears(1000.0, 0.6).await.assert_one_unbroken_stream();
        far.hears(tone, 0.6).await;
    }
    nobody_was_told(&mut phone, &mut far).await;
    assert_eq!(demo.health().await["active_calls"], 1);
    phone.hang_up().await;
    far.ended().await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_peer_connection_may_come_with_a_hold() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    phone.browser = TestBrowser::new().await;
    phone.browser.play(440.0).await;
    phone.roap = Session::new();
    let local = phone.browser.offer_with_direction("inactive").await;
    phone.offer(&local).await;
    phone.answered().await;
    far.reinvited().await;
    neither_hears(&phone, &far).await;
    renegotiate(&mut phone, "sendrecv").await;
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_posted_again_starts_no_second_call() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.peer = "7000".to_owned();
    let local = phone.browser.offer().await;
    let body = phone.offer(&local).await;
    phone.posted(&body).await;
    let far = dialled(&mut legs).await;
    far.leg.progress(180, false).await.expect("180");
    phone.posted(&body).await;
    far.leg.accept().await.expect("200");
    far.play(tone(1000.0));
    phone.answered().await;
    phone.browser.connected().await;
    // Late, after all is settled, it is still the same message.
    phone.posted(&body).await;
    phone.browser.hears(1000.0, 0.5).await.assert_one_unbroken_stream();
    assert!(phone.within(QUIET).await.is_none(), "a second ANSWER is an error to the client");
    assert!(legs.try_recv().is_err(), "a second INVITE went out");
    assert_eq!(demo.health().await["active_calls"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_posted_again_is_the_same_answer() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    let offer = phone.expect_roap("OFFER").await;
    let local = phone.browser.answer(offer.sdp.as_deref().expect("sdp"), &offer.candidates).await;
    let body = phone.roap.answer(&offer, &local);
    phone.posted(&body).await;
    phone.posted(&body).await;
    phone.expect_roap("OK").await;
    far.answered().await;
    phone.posted(&body).await;
    phone.browser.hears(1000.0, 0.5).await.assert_one_unbroken_stream();
    // An OK again is harmless, anything else is not.
    while let Some(message) = phone.within(QUIET).await {
        assert!(message.roap().is_some_and(|roap| roap.kind == "OK"), "{}", message.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_posted_again_is_one_hold() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    let local = phone.browser.offer_with_direction("inactive").await;
    let body = phone.offer(&local).await;
    phone.posted(&body).await;
    phone.answered().await;
    phone.posted(&body).await;
    far.reinvited().await;
    nobody_was_told(&mut phone, &mut far).await;
    renegotiate(&mut phone, "sendrecv").await;
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn glare_of_hold_and_re_invite_is_resolved() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    for round in 0..6 {
        let direction = if round % 2 == 0 { "inactive" } else { "sendrecv" };
        let local = phone.browser.offer_with_direction(direction).await;
        // Both at once, now one a little earlier and now the other.
        let lead = Duration::from_millis(round / 2);
        let reinvite = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            far.leg.reinvite().await.expect("re-INVITE");
        };
        let offer = async {
            tokio::time::sleep(lead).await;
            phone.offer(&local).await;
        };
        tokio::join!(reinvite, offer);
        // Nothing but its ANSWER may come: the client ignores an OFFER now.
        let answer = phone.answered().await;
        assert_eq!(sdp::direction(answer.sdp.as_deref().expect("sdp")), direction);
        far.expect("an end of the re-INVITE", |event| match event {
            LegEvent::ReinviteAnswered { .. } => Some(()),
            LegEvent::ReinviteRefused { code: 491 | 500, .. } => Some(()),
            _ => None,
        })
        .await;
        assert!(phone.within(QUIET).await.is_none());
    }
    both_hear(&phone, &far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn glare_of_two_first_offers_leaves_one_call() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.stop_polling().await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.rings().await;
    // The page has not seen the OFFER that waits for it, and calls out itself.
    phone.peer = "601".to_owned();
    let local = phone.browser.offer().await;
    let body = phone.roap.offer(&local);
    let posted = phone.post(&body).await;
    let (wire, ssid, own) = (phone.wire.clone(), phone.ssid.clone(), phone.roap.own);
    let mut polling = Jsapi::with_session(wire, ssid, Duration::from_secs(20)).await;
    let mut outcomes = Vec::new();
    while let Some(message) = polling.within(Duration::from_secs(3)).await {
        match message.roap() {
            // Ignored by the client, whose own OFFER is outstanding.
            Some(roap) if roap.kind == "OFFER" => {}
            Some(roap) => {
                assert_eq!(roap.offerer, Some(own), "{}", roap.json);
                outcomes.push(roap.kind);
            }
            None => outcomes.push(message.body),
        }
    }
    let calls = demo.health().await["active_calls"].clone();
    match outcomes.first().map(String::as_str) {
        // The page's call goes through, the other finds it busy.
        Some("ANSWER") => {
            far.ended().await;
            assert_eq!(calls, 1, "{outcomes:?}");
        }
        // Or it is told, at once or by the poll, and the other call goes on ringing.
        Some("ERROR") => assert_eq!(calls, 1, "{outcomes:?}"),
        None => assert_eq!(posted.status, 409, "an OFFER without any outcome"),
        _ => panic!("{outcomes:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_re_invite_with_another_address_does_not_touch_the_browser() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    for change in 1..=3 {
        far.leg.change_port().await.expect("re-INVITE");
        let answer = far.reinvite_answered().await.expect("sdp");
        assert_eq!(sdp::direction(&answer), "sendrecv");
        phone.browser.forget();
        let (heard, _) = tokio::join!(phone.browser.hears(1000.0, 0.6), far.hears(440.0, 0.6));
        // The far end moves before it tells: what it sent from there until then is nobody's yet.
        assert_eq!(heard.streams.len(), 1, "{:?}", heard.streams);
        assert!(heard.lost() <= 3 * change, "lost {}: {:?}", heard.lost(), heard.gaps);
    }
    nobody_was_told(&mut phone, &mut far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_re_invite_with_another_codec_and_other_numbers_keeps_the_stream() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    for (codecs, event, digit) in [
        (vec![Codec::Pcma], 97, "7"),
        (vec![Codec::Pcmu], 118, "78"),
        (vec![Codec::Pcma], 101, "789"),
    ] {
        far.leg.change_codecs(codecs, Some(event)).await.expect("re-INVITE");
        far.reinvite_answered().await.expect("sdp");
        both_hear(&phone, &far).await;
        phone.browser.send_digits(&digit[digit.len() - 1..]).await;
        far.hears_digits(digit).await;
        // What was under way when the change was agreed on has come long since.
        let heard = far.hears(440.0, 0.3).await;
        assert_eq!(heard.unknown_payload, 0, "{heard}");
    }
    nobody_was_told(&mut phone, &mut far).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_by_re_invite_does_not_touch_the_browser() {
    let demo = Demo::start().await;
    let (mut phone, mut far) = in_a_call(&demo).await;
    for hold in [Hold::SendOnly, Hold::Inactive, Hold::BlackHole] {
        far.leg.hold(hold).await.expect("re-INVITE");
        let answer = far.reinvite_answered().await.expect("sdp");
        let expected: &[&str] = match hold {
            Hold::SendOnly => &["recvonly", "inactive"],
            Hold::Inactive => &["inactive"],
            // RFC 3264 8.4 leaves the direction alone.
            _ => &["sendrecv", "recvonly", "sendonly", "inactive"],
        };
        assert!(expected.contains(&sdp::direction(&answer)), "{hold:?}: {answer}");
        far.hears_no(440.0).await;
        if hold == Hold::SendOnly {
            // Music on hold still reaches the browser.
            phone.browser.forget();
            phone.browser.hears(1000.0, 0.4).await.assert_one_unbroken_stream();
        }
        far.leg.hold(Hold::No).await.expect("re-INVITE");
        let answer = far.reinvite_answered().await.expect("sdp");
        assert_eq!(sdp::direction(&answer), "sendrecv");
        both_hear(&phone, &far).await;
    }
    nobody_was_told(&mut phone, &mut far).await;
}
