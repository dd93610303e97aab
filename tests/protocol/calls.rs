//! grtc-wire.md: calls out, calls in, and how they end.

use std::time::Duration;

use crate::support::browser::{TestBrowser, chrome_g711};
use crate::support::far::{call_from, tone};
use crate::support::gateway::{Demo, dialled};
use crate::support::jsapi::Jsapi;
use crate::support::sdp;
use wrtc_gateway::lab::CallOut;
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
async fn the_answer_is_one_a_browser_can_use() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let answer = phone.connect("601").await;
    let sdp = answer.sdp.as_deref().expect("sdp");
    assert!(sdp.lines().count() > 5 && sdp.matches("\r\n").count() == sdp.lines().count());
    assert_eq!(sdp::attribute(sdp, "setup"), Some("passive"));
    assert!(sdp::attribute(sdp, "ice-lite").is_some(), "{sdp}");
    assert!(sdp::attribute(sdp, "rtcp-mux").is_some(), "{sdp}");
    assert!(sdp::attribute(sdp, "fingerprint").is_some_and(|f| f.starts_with("sha-256 ")), "{sdp}");
    assert_eq!(sdp::attribute(sdp, "mid"), Some("0"));
    assert_eq!(sdp::direction(sdp), "sendrecv");
    let (port, _, payloads) = sdp::audio_line(sdp).expect("audio");
    assert_ne!(port, 0);
    // Passed through, nothing transcoded: Opus is no codec of the SIP side.
    assert!(payloads.iter().all(|p| [0, 8, 9, 126].contains(p)), "{payloads:?}");
    assert!(payloads.contains(&126), "telephone-event under the browser's number: {payloads:?}");
    assert_eq!(sdp::codec(sdp, 126), Some(("TELEPHONE-EVENT".to_owned(), 8000)));
    let candidates = sdp::attributes(sdp, "candidate").len() + answer.candidates.len();
    assert!(candidates >= 1, "no candidate at all");
    for candidate in answer.json["Candidates"].as_array().into_iter().flatten() {
        assert!(candidate["candidate"].as_str().is_some_and(|c| c.contains("typ host")));
        assert_eq!((&candidate["sdpMid"], &candidate["sdpMLineIndex"]), (&"0".into(), &0.into()));
    }
    phone.browser.hears(1000.0, 1.0).await.assert_one_unbroken_stream();
    phone.hang_up().await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn candidates_may_be_in_the_sdp_beside_it_or_nowhere() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    for place in ["both", "sdp", "a=", "mdns", "nowhere"] {
        phone.peer = "601".to_owned();
        let mut local = phone.browser.offer().await;
        match place {
            "both" => local.sdp = local.whole(),
            "sdp" => {
                local.sdp = local.whole();
                local.candidates.clear();
            }
            // A name that only the browser's own network could resolve.
            "mdns" => {
                let name = "7e1e5bf5-51b2-4d8d-8a0e-2f4e1b9a0c11.local";
                local.candidates =
                    vec![format!("candidate:1 1 udp 2113937151 {name} 49999 typ host")];
            }
            "a=" => local.candidates.iter_mut().for_each(|c| c.insert_str(0, "a=")),
            _ => local.candidates.clear(),
        }
        phone.offer(&local).await;
        phone.answered().await;
        phone.browser.connected().await;
        phone.browser.hears(1000.0, 0.4).await;
        phone.hang_up().await;
        demo.idle().await;
        phone.fresh().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_with_neither_candidates_nor_answerer_fields_is_taken() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let local = phone.browser.offer().await;
    phone.peer = "601".to_owned();
    let mut message: serde_json::Value =
        serde_json::from_str(phone.roap.offer(&local).strip_prefix("RSMP ").expect("RSMP"))
            .expect("JSON");
    let fields = message.as_object_mut().expect("an object");
    fields.remove("Candidates");
    fields.remove("answererSessionId");
    // Fields that nobody knows are no fault either.
    fields.insert("moreComing".into(), false.into());
    fields.insert("attacheddata".into(), serde_json::json!([{"key": "CustomerId", "value": "42"}]));
    phone.posted(&format!("RSMP {message}")).await;
    phone.offered();
    phone.answered().await;
    phone.browser.connected().await;
    phone.browser.hears(1000.0, 0.4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_as_firefox_writes_it_is_taken() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut local = phone.browser.offer().await;
    // ICE and fingerprint for the whole session, a word for a mid.
    let common = |line: &str| {
        ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=ice-options:"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let mut session_level: Vec<&str> = local.sdp.lines().filter(|line| common(line)).collect();
    session_level.dedup();
    let above = session_level.join("\r\n");
    let mut moved = sdp::edit(&local.sdp, |line| (!common(line)).then(|| line.to_owned()));
    moved = moved.replacen("m=audio", &format!("{above}\r\nm=audio"), 1);
    moved = moved.replace("a=mid:0", "a=mid:sdparta_0").replace("BUNDLE 0", "BUNDLE sdparta_0");
    local.sdp = moved;
    phone.peer = "601".to_owned();
    phone.offer(&local).await;
    let answer = phone.expect_roap("ANSWER").await;
    let text = answer.sdp.as_deref().expect("sdp");
    assert_eq!(sdp::attribute(text, "mid"), Some("sdparta_0"));
    assert_eq!(sdp::attribute(text, "group"), Some("BUNDLE sdparta_0"));
    let back = text.replace("sdparta_0", "0");
    phone.browser.set_answer(&back, &[]).await;
    phone.browser.hears(1000.0, 0.5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_advertised_address_is_a_candidate() {
    let listen = "media.listen=0.0.0.0:0";
    for advertised in ["127.0.0.1", "127.0.0.2,127.0.0.1", "192.0.2.7,127.0.0.1"] {
        let demo = Demo::with_settings(&[listen, &format!("media.advertise={advertised}")]).await;
        let mut phone = demo.phone("5001").await;
        let answer = phone.connect("601").await;
        let sdp = answer.sdp.as_deref().expect("sdp");
        let found: Vec<&str> = sdp::attributes(sdp, "candidate")
            .into_iter()
            .filter_map(|candidate| candidate.split(' ').nth(4))
            .collect();
        assert_eq!(found, advertised.split(',').collect::<Vec<_>>());
        phone.browser.hears(1000.0, 0.3).await;
    }
}

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
async fn a_browser_that_is_not_there_is_480_at_once() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.stop_polling().await;
    // It may have gone to fetch its next poll, for a moment.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 480), "{end:?}");
    // And back.
    let (wire, ssid) = (phone.wire.clone(), phone.ssid.clone());
    let mut back = Jsapi::with_session(wire, ssid, Duration::from_secs(20)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _far = demo.calls("5001", call_from("7123")).await;
    back.expect_roap("OFFER").await;
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
