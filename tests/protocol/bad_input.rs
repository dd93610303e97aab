//! What is wrong gets its documented error or is counted and dropped. After each, a second call
//! that has nothing to do with it still has sound, unbroken from its first packet.

use std::time::Duration;

use crate::support::browser::TestBrowser;
use crate::support::far::{call_from, tone};
use crate::support::gateway::{Demo, PASSWORD};
use crate::support::jsapi::Jsapi;
use crate::support::roap::Session;
use crate::support::wire::{Answer, Wire, read_answer};
use crate::support::witness::Witness;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// The POST is answered at once with 200 (what fails is sent again for ever), the ERROR comes
/// through the poll.
#[track_caller]
fn refused<'a>(phone: &'a mut Jsapi, body: &'a str) -> impl Future<Output = Value> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let answer = phone.post(body).await;
        assert_eq!(answer.status, 200, "{caller}: {} for {body:.80}", answer.body);
        let message = phone.next().await;
        let roap = message.roap().unwrap_or_else(|| panic!("{caller}: {}", message.body));
        assert_eq!(roap.kind, "ERROR", "{caller}: {}", message.body);
        let known = ["NOMATCH", "TIMEOUT", "REFUSED", "CONFLICT", "DOUBLECONFLICT", "FAILED"];
        let error = roap.error.clone().unwrap_or_default();
        assert!(known.contains(&error.as_str()), "{caller}: {}", message.body);
        phone.over();
        roap.json
    }
}

/// Taken and ignored, refused with a 4xx, or an ERROR: but nothing else comes of it.
#[track_caller]
fn harmless<'a>(phone: &'a mut Jsapi, body: &'a str) -> impl Future<Output = Answer> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let answer = phone.post(body).await;
        let status = answer.status;
        assert!(status == 200 || status.is_client_error(), "{caller}: {status} for {body:.80}");
        while let Some(message) = phone.within(Duration::from_millis(150)).await {
            let error = message.roap().is_some_and(|roap| roap.kind == "ERROR");
            assert!(error, "{caller}: {} came of {body:.80}", message.body);
        }
        answer
    }
}

fn offer_of(sdp: &str) -> String {
    let message = json!({"messageType": "OFFER", "sdp": sdp, "Candidates": [],
        "offererSessionId": rand::random::<u32>(), "answererSessionId": null, "seq": 1,
        "tiebreaker": 7});
    format!("RSMP {message}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptions_that_cannot_be_used() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    phone.peer = "600".to_owned();
    let good = phone.browser.offer().await.sdp;
    let audio = good.lines().find(|line| line.starts_with("m=audio")).expect("audio").to_owned();
    let descriptions = [
        String::new(),
        "hello".to_owned(),
        "v=0\r\n".to_owned(),
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned(),
        // Audio refused, video only, and codecs that are none of ours.
        good.replace("m=audio 9 ", "m=audio 0 "),
        good.replace("m=audio", "m=video"),
        good.replace(&audio, "m=audio 9 UDP/TLS/RTP/SAVPF 63 13 110"),
        good.replace(&audio, "m=audio 9 UDP/TLS/RTP/SAVPF 126"),
        good.replace(&audio, "m=audio 9 UDP/TLS/RTP/SAVPF"),
        good.replace(&audio, "m=audio 99999 UDP/TLS/RTP/SAVPF 0"),
        good.replace(&audio, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"),
        "v=0\r\n".repeat(500),
        format!("{}\0{}", &good[..100], &good[100..]),
    ];
    for description in &descriptions {
        let error = refused(&mut phone, &offer_of(description)).await;
        assert_eq!(error["errorType"], "FAILED", "{error} for {description:.60}");
    }
    assert_eq!(demo.health().await["active_calls"], 1, "the witness's");
    witness.undisturbed().await;

    // And the same page calls as if nothing had been.
    phone.fresh().await;
    phone.browser.play(700.0).await;
    phone.connect("600").await;
    phone.browser.hears(700.0, 0.4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_repeats_the_numbers_of_what_was_wrong() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.peer = "600".to_owned();
    let message = json!({"messageType": "OFFER", "sdp": "hello", "offererSessionId": 103,
        "answererSessionId": null, "seq": 1, "tiebreaker": 7});
    let error = refused(&mut phone, &format!("RSMP {message}")).await;
    assert_eq!((&error["offererSessionId"], &error["seq"]), (&103.into(), &1.into()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_renegotiation_leaves_the_call_as_it_was() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 0.3).await;
    for sdp in
        ["hello", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/SAVPF 0\r\n"]
    {
        phone.roap.seq += 1;
        let message = json!({"messageType": "OFFER", "sdp": sdp, "offererSessionId": phone.roap.own,
            "answererSessionId": phone.roap.theirs, "seq": phone.roap.seq, "tiebreaker": 7});
        refused(&mut phone, &format!("RSMP {message}")).await;
        phone.browser.forget();
        phone.browser.hears(440.0, 0.4).await.assert_one_unbroken_stream();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_answer_does_not_answer_the_call() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    let offer = phone.expect_roap("OFFER").await;
    let message = json!({"messageType": "ANSWER", "sdp": "hello", "offererSessionId": offer.offerer,
        "answererSessionId": 5, "seq": offer.seq});
    refused(&mut phone, &format!("RSMP {message}")).await;
    witness.undisturbed().await;
    // Either the call has ended with a reason, or it rings on and can be answered.
    if demo.health().await["active_calls"] == 2 {
        phone.accept(&offer).await;
        far.answered().await.expect("an answer");
        phone.browser.hears(1000.0, 0.4).await;
    } else {
        let end = far.ended().await;
        assert!(end.code >= 400, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_json_and_bodies_of_no_kind() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    phone.peer = "600".to_owned();
    let deep = format!("RSMP {}", "[".repeat(20_000));
    let bodies = [
        "",
        " ",
        "FLY",
        "RSMP",
        "RSMP ",
        "RSMP {",
        "RSMP {\"messageType\":\"OFFER\"",
        "RSMP []",
        "RSMP null",
        "RSMP 1",
        "RSMP {}",
        "RSMP {\"messageType\":\"DANCE\",\"seq\":1,\"offererSessionId\":1}",
        "RSMP {\"messageType\":7}",
        "RSMP {\"messageType\":\"OFFER\",\"sdp\":7,\"seq\":1,\"offererSessionId\":1}",
        "RSMP {\"messageType\":\"OFFER\",\"sdp\":\"v=0\",\"seq\":-1,\"offererSessionId\":1e400}",
        "RSMP {\"messageType\":\"OFFER\",\"sdp\":\"v=0\",\"seq\":\"x\",\"offererSessionId\":{}}",
        "RSMP {\"messageType\":\"OFFER\",\"seq\":1,\"offererSessionId\":1,\"Candidates\":\"x\"}",
        "SDP {\"messageType\":\"OFFER\"}",
        "BYEBYE",
        "INFO-MAP",
        "INFO-PEER a=b",
        "GET-STATSX",
        "\u{0}\u{1}\u{2}",
        &deep,
    ];
    for body in bodies {
        harmless(&mut phone, body).await;
    }
    let bytes = phone
        .wire
        .client
        .post(format!("{}/message?from={}&to=600", phone.wire.base, phone.ssid))
        .body(b"RSMP {\"messageType\":\"\xff\xfe\"}".to_vec())
        .send()
        .await
        .expect("an answer");
    assert!(bytes.status() == 200 || bytes.status().is_client_error(), "{}", bytes.status());
    assert_eq!(demo.health().await["active_calls"], 1, "the witness's");
    witness.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_64_kib_is_refused() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    phone.peer = "600".to_owned();
    let gadget = format!("/api/webrtc/sign_in?id=agent123&dn=5002&password={PASSWORD}");
    assert_eq!(phone.wire.get(&gadget).await.status, 200);
    let paths = [
        format!("/message?from={}&to=600", phone.ssid),
        "/sign_in".to_owned(),
        "/api/webrtc/sign_in".to_owned(),
        "/api/webrtc/message?from=agent123&to=600".to_owned(),
    ];
    for path in &paths {
        let sent =
            phone.wire.try_request(reqwest::Method::POST, path, Some("x".repeat(64 * 1024 + 1)));
        // It may also close the connection on what it does not want to read.
        if let Ok(answer) = sent.await {
            assert_eq!(answer.status, 413, "{path}: {}", answer.body);
        }
        // Without a length, and without an end.
        let mut endless = phone
            .wire
            .raw(&format!(
                "POST {path} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
            ))
            .await;
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        let mut cut = false;
        for _ in 0..4096 {
            if endless.write_all(chunk.as_bytes()).await.is_err() {
                cut = true;
                break;
            }
        }
        let status = if cut { None } else { read_answer(&mut endless).await.map(|a| a.0) };
        assert!(cut || matches!(status, Some(413) | None), "{path}: {status:?}");
    }
    // What fits is read: an offer with a great many candidates.
    let mut local = phone.browser.offer().await;
    let more =
        (0..100).map(|n| format!("candidate:{n} 1 udp 2122194687 192.0.2.9 {} typ host", n + 1));
    local.candidates.extend(more);
    phone.browser.play(700.0).await;
    let size = phone.offer(&local).await.len();
    assert!((12_000..64 * 1024).contains(&size), "{size}");
    phone.answered().await;
    phone.browser.hears(700.0, 0.4).await;
    witness.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roap_out_of_order() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    phone.peer = "600".to_owned();
    let message = |kind: &str, offerer: u64, answerer: u64, seq: u64, sdp: &str| {
        let message = json!({"messageType": kind, "sdp": sdp, "offererSessionId": offerer,
            "answererSessionId": answerer, "seq": seq});
        format!("RSMP {message}")
    };
    let answer_sdp = TestBrowser::new().await.offer().await.sdp.replace("actpass", "active");
    // Nothing has been offered.
    for body in [
        message("ANSWER", 1, 2, 1, &answer_sdp),
        message("OK", 1, 2, 1, ""),
        message("ERROR", 1, 2, 1, ""),
    ] {
        harmless(&mut phone, &body).await;
    }
    for body in ["BYE", "INFO-MAP a=b", "INFO-PEER a=b", "GET-STATS"] {
        let answer = phone.post(body).await;
        assert!(answer.status == 200 || answer.status == 409, "{body}: {}", answer.status);
        while phone.within(Duration::from_millis(100)).await.is_some() {}
    }
    assert_eq!(demo.health().await["active_calls"], 1, "the witness's");

    // In a call: answers nobody asked for, and numbers that fit nothing.
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 0.3).await;
    let (own, theirs) = (phone.roap.own, phone.roap.theirs.expect("known"));
    for body in [
        message("ANSWER", own, theirs, 1, &answer_sdp),
        message("ANSWER", theirs, own, 9, &answer_sdp),
        message("OK", own, theirs, 1, ""),
        message("OK", own, theirs, 77, ""),
        message("OK", 4711, 4712, 1, ""),
        message("ERROR", 4711, 4712, 1, ""),
    ] {
        harmless(&mut phone, &body).await;
        phone.browser.forget();
        phone.browser.hears(440.0, 0.2).await.assert_one_unbroken_stream();
    }
    // A ringing call is answered by its own ANSWER only.
    phone.hang_up().await;
    witness.alone(&demo).await;
    phone.fresh().await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    let offer = phone.expect_roap("OFFER").await;
    let offerer = offer.offerer.expect("a number");
    for body in [
        message("ANSWER", offerer + 1, 5, 1, &answer_sdp),
        message("ANSWER", offerer, 5, 2, &answer_sdp),
        message("OK", offerer, 5, 1, ""),
    ] {
        harmless(&mut phone, &body).await;
    }
    phone.accept(&offer).await;
    far.answered().await.expect("an answer");
    phone.browser.hears(1000.0, 0.3).await;
    witness.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_second_call_is_refused() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 0.3).await;
    // Another page connection calls somebody else with the same session.
    let other = TestBrowser::new().await;
    let body = Session::new().offer(&other.offer().await);
    let answer = phone.wire.message(&phone.ssid, "7000", &body).await;
    assert!(answer.status == 200 || answer.status == 409, "{}", answer.status);
    if answer.status == 200 {
        let error = phone.next().await;
        assert!(error.roap().is_some_and(|roap| roap.kind == "ERROR"), "{}", error.body);
    }
    assert!(legs.try_recv().is_err(), "a second INVITE");
    assert_eq!(demo.health().await["active_calls"], 1);
    phone.browser.forget();
    phone.browser.hears(440.0, 0.4).await.assert_one_unbroken_stream();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_which_no_port_is_left_is_refused() {
    // One pair for the witness, none for anybody else.
    let demo = Demo::with_settings(&["media.rtp_ports=31000-31001"]).await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    phone.peer = "600".to_owned();
    let local = phone.browser.offer().await;
    let body = phone.roap.offer(&local);
    let error = refused(&mut phone, &body).await;
    assert_eq!(error["errorType"], "REFUSED", "{error}");
    let mut far = demo.calls("5001", call_from("7123")).await;
    let end = far.ended().await;
    assert_eq!(end.code, 480, "{end:?}");
    assert!(phone.within(Duration::from_millis(200)).await.is_none(), "nothing rang");
    witness.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_would_break_a_sip_message() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    let long = "9".repeat(8000);
    for to in [
        "600%0D%0AEvil:%201",
        "600%00",
        "%22%3E%3Csip:600",
        "sip:600%0D%0A@203.0.113.7",
        "600;transport=tcp%20",
        "%ff%fe",
        "%",
        &long,
    ] {
        let local = phone.browser.offer().await;
        let body = Session::new().offer(&local);
        let answer = phone.wire.message(&phone.ssid, to, &body).await;
        let status = answer.status;
        assert!(status == 200 || status.is_client_error(), "{to:.30}: {status}");
        while let Some(message) = phone.within(Duration::from_millis(150)).await {
            let error = message.roap().is_some_and(|roap| roap.kind == "ERROR");
            assert!(error || message.body == "BYE", "{to:.30}: {}", message.body);
        }
        witness.alone(&demo).await;
        phone.fresh().await;
    }
    witness.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_garbage() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let wire = Wire::new(&demo.base);
    let long = format!("GET /wait?id={} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(200_000));
    let headers = format!("GET /wait HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(20_000));
    for request in [
        "\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fffd}",
        "GET / HTTP/9.9\r\n\r\n",
        "POST /message?from=x&to=y HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        "POST /message?from=x&to=y HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nBYE",
        "POST /sign_in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        &long,
        &headers,
    ] {
        let address = wire.base.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = tokio::time::timeout(Duration::from_millis(300), read_answer(&mut stream));
        if let Ok(Some((status, ..))) = answer.await {
            assert!((400..600).contains(&status), "{status} for {request:.40}");
        }
    }
    witness.undisturbed().await;
}
