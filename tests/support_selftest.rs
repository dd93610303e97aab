//! The test browser against itself, so that a fault of its own is not blamed on the gateway.

mod support;

use support::browser::{EVENT_8K, PCMA, PCMU, TestBrowser};
use support::sdp;
use support::tone::{Law, Sine, dominant, share_at};

async fn connect(caller: &TestBrowser, callee: &TestBrowser) {
    let offer = caller.offer().await;
    let answer = callee.answer(&offer.sdp, &offer.candidates).await;
    caller.set_answer(&answer.sdp, &answer.candidates).await;
    caller.connected().await;
    callee.connected().await;
}

#[test]
fn g711_keeps_a_tone_and_goertzel_finds_it() {
    for law in [Law::Mu, Law::A] {
        let mut sine = Sine::new(440.0);
        let samples: Vec<i16> =
            (0..25).flat_map(|_| sine.frame(law)).map(|byte| law.decode(byte)).collect();
        assert!(share_at(&samples, 440.0) > 0.98, "{law:?} {}", share_at(&samples, 440.0));
        assert!(share_at(&samples, 1000.0) < 0.01);
        assert_eq!(dominant(&samples), Some(440.0));
        for sample in [0, 1, -1, 100, -100, 5000, -5000, 32000, -32000, i16::MAX, i16::MIN] {
            let back = law.decode(law.encode(sample));
            let error = (i32::from(back) - i32::from(sample)).abs();
            assert!(error <= i32::from(sample).abs() / 16 + 16, "{law:?} {sample} -> {back}");
        }
    }
    // Known code words of G.711.
    assert_eq!((Law::Mu.encode(0), Law::A.encode(0)), (0xFF, 0xD5));
    assert_eq!(dominant(&[0; 1600]), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_browsers_hear_each_other() {
    let (a, b) = (
        TestBrowser::with_codecs(vec![PCMU, PCMA, EVENT_8K]).await,
        TestBrowser::with_codecs(vec![PCMU, PCMA, EVENT_8K]).await,
    );
    connect(&a, &b).await;
    a.play(440.0).await;
    b.play(1000.0).await;
    let (at_b, at_a) = tokio::join!(b.hears(440.0, 1.0), a.hears(1000.0, 1.0));
    at_a.assert_one_unbroken_stream();
    at_b.assert_one_unbroken_stream();
    assert_eq!(at_b.dominant(), Some(440.0));
    assert_eq!(at_b.streams[0].ssrc, a.ssrc);

    a.send_digits("159#").await;
    let limit = std::time::Duration::from_secs(10);
    let heard = b.heard_until(limit, |heard| heard.digits == "159#").await;
    assert!(heard.is_ok(), "digits {:?}", heard.unwrap_err().digits);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_a_law_answer_is_spoken_in_a_law() {
    let a = TestBrowser::new().await;
    let b = TestBrowser::with_codecs(vec![PCMA, EVENT_8K]).await;
    connect(&a, &b).await;
    a.play(700.0).await;
    let heard = b.hears(700.0, 0.5).await;
    assert_eq!(heard.payload_types.keys().collect::<Vec<_>>(), [&8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hold_resume_and_ice_restart_keep_the_stream() {
    let (a, b) = (
        TestBrowser::with_codecs(vec![PCMU, EVENT_8K]).await,
        TestBrowser::with_codecs(vec![PCMU, EVENT_8K]).await,
    );
    connect(&a, &b).await;
    b.play(1000.0).await;
    a.hears(1000.0, 0.3).await;

    let before = a.offer_with_direction("inactive").await;
    assert_eq!(sdp::direction(&before.sdp), "inactive");
    // The far browser is not told, or it would stop its transceiver for good; only `a` holds.
    let offer = sdp::with_direction(&before.sdp, "sendrecv");
    let answer = b.answer(&offer, &before.candidates).await;
    a.set_answer(&sdp::with_direction(&answer.sdp, "inactive"), &answer.candidates).await;
    // Nothing leaves a browser on hold: what comes after this moment is what was under way.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let held = b.heard().received();
    a.forget();
    a.hears(1000.0, 0.3).await;
    assert_eq!(b.heard().received(), held);

    let resume = a.offer_with_direction("sendrecv").await;
    let answer = b.answer(&resume.sdp, &resume.candidates).await;
    a.set_answer(&answer.sdp, &answer.candidates).await;
    a.play(440.0).await;
    b.hears(440.0, 0.3).await;

    let restart = a.restart_offer().await;
    assert_ne!(sdp::attribute(&restart.sdp, "ice-ufrag"), sdp::attribute(&before.sdp, "ice-ufrag"));
    assert_eq!(
        sdp::attribute(&restart.sdp, "fingerprint"),
        sdp::attribute(&before.sdp, "fingerprint")
    );
    let answer = b.answer(&restart.sdp, &restart.candidates).await;
    a.set_answer(&answer.sdp, &answer.candidates).await;
    a.connected().await;
    a.forget();
    a.hears(1000.0, 0.5).await.assert_one_unbroken_stream();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_looks_like_a_browsers() {
    let browser = TestBrowser::new().await;
    let offer = browser.offer().await;
    let (_, protocol, payload_types) = sdp::audio_line(&offer.sdp).expect("audio");
    assert_eq!(protocol, "UDP/TLS/RTP/SAVPF");
    assert_eq!(payload_types, [111, 63, 9, 0, 8, 13, 110, 126]);
    assert_eq!(sdp::attribute(&offer.sdp, "setup"), Some("actpass"));
    assert!(!offer.sdp.contains("candidate:"), "{}", offer.sdp);
    assert_eq!(offer.candidates.len(), 1, "{:?}", offer.candidates);
    assert!(sdp::attribute(&offer.sdp, "rtcp-mux").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_may_move_to_another_socket() {
    let (a, b) = (
        TestBrowser::with_codecs(vec![PCMU, EVENT_8K]).await,
        TestBrowser::with_codecs(vec![PCMU, EVENT_8K]).await,
    );
    connect(&a, &b).await;
    b.play(1000.0).await;
    a.hears(1000.0, 0.3).await;
    a.change_address().await;
    let restart = a.restart_offer().await;
    let answer = b.answer(&restart.sdp, &restart.candidates).await;
    a.set_answer(&answer.sdp, &answer.candidates).await;
    a.forget();
    a.hears(1000.0, 0.5).await;
}
