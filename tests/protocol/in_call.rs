//! grtc-wire.md: what passes in a call: digits, codecs, video refused, user data, statistics, silence.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::{EVENT_8K, G722, PCMA, TestBrowser};
use crate::support::far::{call_from, tone};
use crate::support::gateway::{Demo, dialled};
use crate::support::sdp;
use wrtc_gateway::lab::Sound;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digits_pass_both_ways_under_each_sides_own_number() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut call = call_from("7123");
    call.phone.telephone_event = Some(101);
    let mut far = demo.calls("5001", call).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    phone.browser.connected().await;
    far.play(tone(1000.0));
    phone.browser.hears(1000.0, 0.3).await;

    phone.browser.send_digits("1590*#").await;
    far.hears_digits("1590*#").await;
    assert_eq!(far.leg.phone().heard().unknown_payload, 0);

    far.leg.phone().dtmf("42");
    let limit = Duration::from_secs(10);
    let heard = phone.browser.heard_until(limit, |heard| heard.digits == "42").await;
    heard.unwrap_or_else(|heard| panic!("digits {:?}", heard.digits)).assert_one_unbroken_stream();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn digits_are_mapped_to_odd_numbers() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.call("7000").await;
    let far = dialled(&mut legs).await;
    far.leg.phone().set_telephone_event(Some(97));
    far.leg.accept().await.expect("200");
    phone.answered().await;
    phone.browser.connected().await;
    phone.browser.send_digits("73").await;
    far.hears_digits("73").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g722_passes_through_byte_for_byte() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser = TestBrowser::with_codecs(vec![G722, EVENT_8K]).await;
    let frames: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n * 17 + 3; 160]).collect();
    phone.browser.play_payloads(frames.clone()).await;
    phone.connect("600").await;
    let limit = Duration::from_secs(15);
    let heard = phone
        .browser
        .heard_until(limit, |heard| {
            heard.payloads.iter().filter(|(number, p)| *number == 9 && frames.contains(p)).count()
                >= 50
        })
        .await
        .unwrap_or_else(|heard| panic!("{:?}", heard.payload_types));
    heard.assert_one_unbroken_stream();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_a_law_browser_is_bridged_in_a_law() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser = TestBrowser::with_codecs(vec![PCMA, EVENT_8K]).await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    let heard = phone.browser.hears(440.0, 1.0).await;
    assert_eq!(heard.payload_types.keys().collect::<Vec<_>>(), [&8]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn video_is_refused_with_port_0_and_the_sound_stays() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut local = phone.browser.offer().await;
    let (ufrag, pwd) = (
        sdp::attribute(&local.sdp, "ice-ufrag").expect("ufrag").to_owned(),
        sdp::attribute(&local.sdp, "ice-pwd").expect("pwd").to_owned(),
    );
    let fingerprint = sdp::attribute(&local.sdp, "fingerprint").expect("fingerprint").to_owned();
    local.sdp = local.sdp.replace("a=group:BUNDLE 0", "a=group:BUNDLE 0 1");
    local.sdp.push_str(&format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\nb=AS:500\r\na=mid:1\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=fingerprint:{fingerprint}\r\n\
         a=setup:actpass\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
    ));
    phone.peer = "601".to_owned();
    phone.offer(&local).await;
    let answer = phone.expect_roap("ANSWER").await;
    let sdp = answer.sdp.as_deref().expect("sdp");
    let video: Vec<_> = sdp.lines().filter(|line| line.starts_with("m=video ")).collect();
    assert_eq!(video.len(), 1, "as many m-lines as the offer: {sdp}");
    assert!(video[0].starts_with("m=video 0 "), "{}", video[0]);
    let bundle = sdp::attribute(sdp, "group").unwrap_or_default();
    assert_eq!(bundle, "BUNDLE 0", "a rejected m-line is in no bundle");
    // The test's browser has no video: it sees the audio half.
    let audio = &sdp[..sdp.find("m=video").expect("video")];
    phone.browser.set_answer(audio, &answer.candidates).await;
    let ok = phone.roap.ok(&answer);
    phone.posted(&ok).await;
    phone.browser.hears(1000.0, 0.5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_data_goes_out_as_info_of_two_kinds() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    phone.posted("INFO-MAP a=b&c=d%20e").await;
    let (content_type, body) = far.informed().await;
    assert_eq!(content_type.to_ascii_lowercase(), "application/x-www-form-urlencoded");
    assert_eq!(body, "a=b&c=d%20e");
    phone.posted("INFO-PEER x=1&y=2").await;
    let (content_type, body) = far.informed().await;
    assert_eq!(content_type.to_ascii_lowercase(), "application/octet-stream");
    assert_eq!(body, "x=1&y=2");

    far.leg.info("application/octet-stream", b"p=q&r=s").await.expect("INFO");
    assert_eq!(phone.next().await.body, "INFO-PEER p=q&r=s");
    far.leg.info("application/x-www-form-urlencoded", b"k=v").await.expect("INFO");
    assert_eq!(phone.next().await.body, "INFO-PEER k=v");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_are_told_on_request() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 2.0).await;
    let stats = phone.stats().await;
    assert!(stats["timestamp"].as_u64().is_some_and(|ms| ms > 1_600_000_000_000), "{stats}");
    assert!(stats["duration"].as_u64().is_some_and(|ms| (1500..120_000).contains(&ms)), "{stats}");
    for way in ["rx", "tx"] {
        let stream = &stats["audio"][way];
        let packets = stream["packets"].as_u64().expect("packets");
        assert!(packets > 90, "{way}: {stats}");
        assert!(stream["bytes"].as_u64().is_some_and(|b| b >= packets * 160), "{way}: {stats}");
        assert!(stream["lost"].as_u64().is_some_and(|lost| lost < packets / 100 + 1), "{stats}");
        assert!(stream["jitter"].is_number(), "{stats}");
        let sip = &stats["sip"][way];
        assert!(sip["packets"].as_u64().is_some_and(|packets| packets > 90), "{way}: {stats}");
    }
    assert_eq!(
        (&stats["audio"]["encrypted"], &stats["sip"]["encrypted"]),
        (&json!(true), &json!(false))
    );
    // The round trip takes a sender report and a receiver report.
    let mut audio = stats["audio"].clone();
    for _ in 0..60 {
        if audio["rtt"].as_f64().is_some_and(|ms| ms > 0.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        audio = phone.stats().await["audio"].clone();
    }
    let mos = phone.stats().await["audio"]["rx"]["mos"].clone();
    assert!(mos.as_f64().is_some_and(|mos| (1.0..=4.5).contains(&mos)), "{mos}");
    for name in ["rtt", "rtt_max", "rtt_average"] {
        assert!(audio[name].as_f64().is_some_and(|ms| ms > 0.0 && ms < 5000.0), "{name}: {audio}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_telephone_is_no_dead_one() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(Sound::Stopped);
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    far.hears(440.0, 3.0).await;
    // And a muted browser: the gateway keeps its own direction alive.
    phone.browser.mute_packets(true).await;
    far.leg.phone().listen_afresh();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let heard = far.leg.phone().heard_afresh();
    assert!(heard.received.packets >= 50, "silence frames: {heard}");
    phone.browser.mute_packets(false).await;
    far.play(tone(1000.0));
    let _ = tokio::join!(phone.browser.hears(1000.0, 0.5), far.hears(440.0, 0.5));
}
