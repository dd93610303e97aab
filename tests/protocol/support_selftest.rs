//! The test browser against itself, so that a fault of its own is not blamed on the gateway.

use crate::support::browser::{EVENT_8K, PCMA, PCMU, TestBrowser};
use crate::support::heard::{Heard, RtpHeader};
use crate::support::roap::{Roap, Session};
use crate::support::sdp::{self, LocalDescription};
use crate::support::tone::{Law, Sine, dominant, share_at};

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

fn header(ssrc: u32, sequence: u16, timestamp: u32) -> RtpHeader {
    let mut bytes = vec![0x80, 0];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    RtpHeader::parse(&bytes).expect("RTP")
}

#[test]
fn losses_sources_and_clocks_are_counted() {
    let mut heard = Heard::default();
    // Over the end of the numbers, one lost, one late, one twice.
    for sequence in [65533, 65534, 0, 65535, 2, 2, 3] {
        heard.datagram(header(7, sequence, u32::from(sequence.wrapping_sub(65533)) * 160));
    }
    let stream = &heard.streams[0];
    assert_eq!((stream.received, stream.lost(), stream.repeated), (6, 1, 1));
    assert_eq!((heard.streams.len(), stream.timestamps_back), (1, 0));
    heard.datagram(header(7, 4, 0));
    assert_eq!(heard.streams[0].timestamps_back, 1);
    heard.datagram(header(8, 5, 5000));
    assert_eq!(heard.streams.len(), 2);
    // DTLS, STUN and RTCP are no RTP.
    for bytes in
        [[22; 20], [0; 20], [0x80, 200, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    {
        assert!(RtpHeader::parse(&bytes).is_none());
    }
}

#[test]
fn an_event_is_one_digit_however_often_it_is_sent() {
    let mut heard = Heard::default();
    for (timestamp, code) in [(160, 1), (160, 1), (160, 1), (1600, 1), (3200, 11)] {
        heard.event(timestamp, &[code, 0x8A, 0, 160]);
    }
    assert_eq!(heard.digits, "11#");
}

#[test]
fn roap_is_written_and_read_as_the_client_does() {
    let local = LocalDescription::split(
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:U\r\n\
         a=candidate:1 1 udp 9 127.0.0.1 5 typ host\r\na=end-of-candidates\r\n",
    );
    assert_eq!(local.candidates, ["candidate:1 1 udp 9 127.0.0.1 5 typ host"]);
    let mut session = Session::new();
    let offer = Roap::parse(&session.offer(&local)).expect("ROAP");
    assert_eq!((offer.kind.as_str(), offer.seq, offer.answerer), ("OFFER", Some(1), None));
    let sdp = offer.sdp.as_deref().expect("sdp");
    assert!(sdp.contains("m=audio 9 RTP/SAVPF 0\r\n") && !sdp.contains("candidate"), "{sdp}");
    assert!(offer.candidates[0].starts_with("candidate:1 1 udp 9 127.0.0.1 5 typ host"));
    // The next one counts up and carries the other side's number.
    let answer = Roap::parse(
        "SDP {\"messageType\":\"ANSWER\",\"offererSessionId\":1,\"answererSessionId\":9,\"seq\":1}",
    );
    session.ok(&answer.expect("ROAP"));
    let next = Roap::parse(&session.offer(&local)).expect("ROAP");
    assert_eq!((next.seq, next.answerer, next.offerer), (Some(2), Some(9), offer.offerer));
    assert!(Roap::parse("BYE").is_none());
}
