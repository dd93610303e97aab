//! grtc-wire.md: what an OFFER may look like, and what its ANSWER does.

use crate::support::gateway::Demo;
use crate::support::sdp;

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
