//! rest-api.md, section 1 and `/api/health`.

use std::time::Duration;

use crate::support::browser::TestBrowser;
use crate::support::far::{call_from, tone};
use crate::support::gateway::{Demo, PASSWORD, dialled};
use crate::support::sdp;
use crate::support::wire::{Answer, Wire, read_answer};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use wrtc_gateway::sip::EndedBy;

/// The seven lines of the walk-through.
const SEVEN_LINES: &str = "v=0\r\no=- 1234567890 1234567890 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=sendrecv\r\n";

/// A gadget of plain requests.
struct Gadget {
    wire: Wire,
    id: String,
    browser: TestBrowser,
}

impl Gadget {
    async fn sign_in(demo: &Demo, id: &str, dn: &str) -> Self {
        let wire = Wire::new(&demo.base);
        let path = format!("/api/webrtc/sign_in?id={id}&dn={dn}&password={}", demo.password);
        assert_ok(&wire.get(&path).await);
        Self { wire, id: id.to_owned(), browser: TestBrowser::new().await }
    }

    async fn post(&self, query: &str, body: &str) -> Answer {
        self.wire.post(&format!("/api/webrtc/message?from={}{query}", self.id), body).await
    }

    async fn poll(&self, query: &str) -> Answer {
        self.wire.get(&format!("/api/webrtc/message?id={}{query}", self.id)).await
    }

    async fn poll_json(&self, query: &str) -> Value {
        let path = format!("{}/api/webrtc/message?id={}{query}", self.wire.base, self.id);
        let request = self.wire.client.get(path).header("Accept", "application/json");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let content_type = answer.headers()["content-type"].to_str().expect("text").to_owned();
        assert!(content_type.starts_with("application/json"), "{content_type}");
        serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
    }

    /// As `if (status === 200) setRemoteDescription(text)` does.
    async fn call(&self, to: &str) -> Answer {
        // Sent before gathering: no candidate at all.
        let local = self.browser.offer().await;
        assert_ok(&self.post(&format!("&to={to}"), &local.sdp).await);
        let answer = self.poll("").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.browser.set_answer(&answer.body, &[]).await;
        answer
    }
}

#[track_caller]
fn assert_ok(answer: &Answer) {
    assert_eq!((answer.status, answer.body.trim_end()), (StatusCode::OK, "OK"));
    let content_type = answer.header("content-type").unwrap_or_default();
    assert_eq!(content_type.to_ascii_lowercase(), "text/plain; charset=utf-8");
}

/// Errors are JSON with a sentence, a word and a time.
#[track_caller]
fn assert_error(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.body);
    let json: Value = serde_json::from_str(&answer.body)
        .unwrap_or_else(|_| panic!("{status} without JSON: {:?}", answer.body));
    for field in ["error", "code", "timestamp"] {
        assert!(json[field].as_str().is_some_and(|s| !s.is_empty()), "{field}: {json}");
    }
    let timestamp = json["timestamp"].as_str().expect("checked");
    let shape = timestamp.len() >= 20 && timestamp.as_bytes()[10] == b'T';
    assert!(shape, "{timestamp} is not RFC 3339");
    json
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_through_works_as_written() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let path = format!("/api/webrtc/sign_in?id=agent123&dn=5001&password={PASSWORD}");
    assert_ok(&wire.get(&path).await);
    assert!(demo.is_registered("5001"));
    assert_ok(&wire.post("/api/webrtc/message?from=agent123&to=1003", SEVEN_LINES).await);
    let answer = wire.get("/api/webrtc/message?id=agent123").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("v=0\r\n"), "{}", answer.body);
    let (port, protocol, payloads) = sdp::audio_line(&answer.body).expect("audio");
    assert!(port != 0 && protocol == "UDP/TLS/RTP/SAVPF", "{}", answer.body);
    assert!(payloads.iter().all(|p| [0, 8].contains(p)), "{payloads:?}");
    assert_ok(&wire.get("/api/webrtc/sign_out?id=agent123").await);
    demo.idle().await;
    demo.until_unregistered("5001").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_newlines_are_an_sdp_too() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    // What `curl --data-binary @offer.sdp` sends from a text editor.
    let offer = SEVEN_LINES.replace("\r\n", "\n");
    assert_ok(&gadget.post("&to=1003", offer.trim_end()).await);
    assert!(gadget.poll("").await.body.starts_with("v=0\r\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_takes_a_form_and_json() {
    let password = "a:b&c%+d=e f";
    let demo = Demo::with_password(password).await;
    let wire = Wire::new(&demo.base);
    let url = format!("{}/api/webrtc/sign_in", wire.base);
    let fields = [("id", "a1"), ("dn", "5001"), ("password", password)];
    let form = wire.client.post(&url).form(&fields).send().await.expect("an answer");
    assert_eq!(form.text().await.expect("text").trim_end(), "OK");
    let json = serde_json::json!({"id": "a2", "dn": "5002", "password": password});
    let json = wire.client.post(&url).json(&json).send().await.expect("an answer");
    assert_eq!(json.text().await.expect("text").trim_end(), "OK");
    // In a query the same password is escaped.
    let query = wire
        .client
        .get(&url)
        .query(&[("id", "a3"), ("dn", "5003"), ("password", password)])
        .send()
        .await
        .expect("an answer");
    assert_eq!(query.text().await.expect("text").trim_end(), "OK");
    demo.until_agents(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_failures_are_told_apart() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let sign_in = |query: &str| {
        let path = format!("/api/webrtc/sign_in{query}");
        let wire = wire.clone();
        async move { wire.get(&path).await }
    };
    for query in ["", "?id=a", "?dn=5001", "?id=&dn=5001", "?id=a&dn="] {
        let json = assert_error(&sign_in(query).await, 400);
        assert!(json["required"].is_array(), "{query}: {json}");
    }
    assert_error(&sign_in("?id=a&dn=50%0D%0A01&password=x").await, 400);
    assert_error(&sign_in("?id=a&dn=5001&password=wrong").await, 401);
    assert_error(&sign_in(&format!("?id=a&dn=5999&password={PASSWORD}")).await, 404);
    assert_eq!(sign_in(&format!("?id=a&dn=5001&password={PASSWORD}")).await.status, 200);
    let json = assert_error(&sign_in(&format!("?id=a&dn=5002&password={PASSWORD}")).await, 409);
    assert!(!json.to_string().contains(PASSWORD), "a password in an answer");
    // The same pair again is a page that was loaded again.
    assert_eq!(sign_in(&format!("?id=a&dn=5001&password={PASSWORD}")).await.status, 200);
    demo.until_agents(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_passwords_is_slowed_down() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let mut tries = 0;
    let refused = loop {
        let path = format!("/api/webrtc/sign_in?id=a&dn=5001&password=guess{tries}");
        let answer = wire.get(&path).await;
        if answer.status == 429 {
            break answer;
        }
        assert_error(&answer, 401);
        tries += 1;
        assert!(tries < 100, "guessed {tries} times");
    };
    assert_error(&refused, 429);
    let pause = refused.header("retry-after").and_then(|s| s.parse::<u64>().ok());
    assert!(pause.is_some_and(|seconds| seconds > 0), "{:?}", refused.headers);
    // The JSAPI surface is no way around it.
    assert_eq!(wire.sign_in_post("5001", "guess").await.status, 429);
    // Somebody else's DN is not locked with it.
    assert_eq!(wire.sign_in_post("5002", PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_sip_server_is_a_504() {
    let mute = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let server = mute.local_addr().expect("bound");
    let demo = Demo::alone(server).await;
    let path = "/api/webrtc/sign_in?id=a&dn=5001&password=x";
    assert_error(&Wire::new(&demo.base).get(path).await, 504);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_signed_in_gets_404() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    assert_error(&wire.get("/api/webrtc/message?id=nobody").await, 404);
    assert_error(&wire.get("/api/webrtc/message?id=nobody&wait=0").await, 404);
    assert_error(&wire.get("/api/webrtc/sign_out?id=nobody").await, 404);
    assert_error(&wire.post("/api/webrtc/message?from=nobody&to=600", SEVEN_LINES).await, 404);
    assert_error(&wire.post("/api/webrtc/message?from=nobody", "BYE").await, 404);
    // A JSAPI session is none of this surface's.
    let phone = demo.phone("5001").await;
    let path = format!("/api/webrtc/message?id={}&wait=0", phone.ssid);
    assert_error(&wire.get(&path).await, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_out_by_plain_requests_has_sound() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    gadget.browser.play(440.0).await;
    let answer = gadget.call("1003").await;
    let content_type = answer.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("application/sdp"), "{content_type}");
    assert_eq!(answer.header("x-wrtc-type"), Some("answer"));
    assert_eq!(answer.header("x-wrtc-peer"), Some("1003"));
    assert_eq!(answer.header("pragma"), Some("1003"));
    assert!(answer.header("x-wrtc-call").is_some_and(|id| !id.is_empty()));
    assert!(answer.header("x-wrtc-seq").is_some_and(|seq| seq.parse::<u64>().is_ok()));
    gadget.browser.connected().await;
    gadget.browser.hears(440.0, 2.0).await.assert_one_unbroken_stream();

    let again = gadget.post("&to=601", SEVEN_LINES).await;
    assert_error(&again, 409);
    gadget.browser.forget();
    gadget.browser.hears(440.0, 0.4).await.assert_one_unbroken_stream();
    assert_ok(&gadget.post("", "BYE").await);
    demo.idle().await;
    assert_error(&gadget.post("", "BYE").await, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_by_plain_requests_has_sound() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    gadget.browser.play(440.0).await;
    let mut call = call_from("7123");
    call.headers.push(("X-Genesys-CallUUID".to_owned(), "0123ABC".to_owned()));
    let mut far = demo.calls("5001", call).await;
    far.play(tone(1000.0));
    let offer = gadget.poll("").await;
    assert_eq!((offer.status, offer.header("x-wrtc-type")), (StatusCode::OK, Some("offer")));
    assert_eq!(offer.header("pragma"), Some("7123"));
    assert_eq!(offer.header("x-wrtc-peer"), Some("7123"));
    assert_eq!(offer.header("x-genesys-calluuid"), Some("0123ABC"));
    let local = gadget.browser.answer(&offer.body, &[]).await;
    // Somebody else than the caller.
    assert_error(&gadget.post("&to=7999", &local.sdp).await, 409);
    assert_ok(&gadget.post("&to=7123", &local.sdp).await);
    far.answered().await.expect("an answer");
    gadget.browser.connected().await;
    let _ = tokio::join!(gadget.browser.hears(1000.0, 1.5), far.hears(440.0, 1.5));
    gadget.browser.heard().assert_one_unbroken_stream();
    far.hang_up().await;
    let bye = gadget.poll("&events=1").await;
    assert!(bye.body.starts_with("BYE"), "{}", bye.body);
    assert_eq!(bye.header("x-wrtc-type"), Some("bye"));
    demo.idle().await;
    assert_error(&gadget.post("", &local.sdp).await, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_nothing_ringing_and_commands_in_a_wrong_state_are_409() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    assert_error(&gadget.post("", SEVEN_LINES).await, 409);
    for command in ["BYE", "HOLD", "RESUME", "DTMF 1", "INFO a=b", "TRANSFER 1004"] {
        assert_error(&gadget.post("", command).await, 409);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_sdp_is_400_and_no_audio_422() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    for body in ["", "hello", "{\"sdp\":\"v=0\"}", "v=1\r\ns=-\r\n", "m=audio 9 RTP/AVP 0\r\n"] {
        assert_error(&gadget.post("&to=600", body).await, 400);
    }
    let no_audio = [
        SEVEN_LINES.replace("m=audio", "m=video"),
        SEVEN_LINES.replace("m=audio 9", "m=audio 0"),
        // Nothing of ours: iLBC and an unknown dynamic number.
        SEVEN_LINES
            .replace("SAVPF 0 8", "SAVPF 97 98")
            .replace("rtpmap:0 PCMU/8000", "rtpmap:97 iLBC/8000")
            .replace("rtpmap:8 PCMA/8000", "rtpmap:98 foo/8000"),
        SEVEN_LINES.lines().take(4).map(|line| line.to_owned() + "\r\n").collect(),
    ];
    for body in no_audio {
        assert_error(&gadget.post("&to=600", &body).await, 422);
    }
    assert_eq!(demo.health().await["active_calls"], 0);
    gadget.browser.play(440.0).await;
    gadget.call("600").await;
    gadget.browser.hears(440.0, 0.5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_poll_is_a_204_after_its_time() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    let answer = gadget.poll("&wait=0").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(gadget.poll("&wait=1").await.status, 204);
    for wait in ["-1", "x", "1e9", ""] {
        assert_error(&gadget.poll(&format!("&wait={wait}")).await, 400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_poll_takes_over_with_204_for_the_first() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    let request = "GET /api/webrtc/message?id=agent123 HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let mut first = gadget.wire.raw(request).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = tokio::spawn({
        let wire = gadget.wire.clone();
        async move { wire.get("/api/webrtc/message?id=agent123").await }
    });
    let limit = Duration::from_secs(10);
    let ended = tokio::time::timeout(limit, read_answer(&mut first)).await.expect("at once");
    assert_eq!(ended.expect("an answer").0, 204);
    assert_ok(&gadget.post("&to=1003", SEVEN_LINES).await);
    assert!(second.await.expect("polled").body.starts_with("v=0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_only_to_those_who_ask() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    assert_ok(&gadget.post("&to=1003", SEVEN_LINES).await);
    let ringing = gadget.poll("&events=1").await;
    assert_eq!(ringing.body, "RINGING");
    assert_eq!(ringing.header("x-wrtc-type"), Some("ringing"));
    let content_type = ringing.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("text/plain"), "{content_type}");
    assert_eq!(gadget.poll("&events=1").await.header("x-wrtc-type"), Some("answer"));
    assert_ok(&gadget.post("", "BYE").await);
    demo.idle().await;

    assert_ok(&gadget.post("&to=603", SEVEN_LINES).await);
    let bye = loop {
        let event = gadget.poll("&events=1").await;
        if event.body != "RINGING" {
            break event;
        }
    };
    assert!(bye.body.starts_with("BYE 486"), "{}", bye.body);
    assert_eq!(bye.header("x-wrtc-type"), Some("bye"));
    demo.idle().await;

    // Ringing and the end of it are nothing to a client that knows 200 as an SDP only.
    assert_ok(&gadget.post("&to=603", SEVEN_LINES).await);
    demo.idle().await;
    assert_eq!(gadget.poll("&wait=1").await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_messages_are_numbered_and_sent_again_until_confirmed() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    assert_ok(&gadget.post("&to=1003", SEVEN_LINES).await);
    // A client that confirms does so from the start.
    let ringing = gadget.poll_json("&ack=0").await;
    assert_eq!((&ringing["type"], &ringing["peer"]), (&"ringing".into(), &"1003".into()));
    let first = ringing["seq"].as_u64().expect("a number");
    // Its answer was lost on the way: the same again.
    assert_eq!(gadget.poll_json(&format!("&ack={}", first - 1)).await["seq"], first);
    let answer = gadget.poll_json(&format!("&ack={first}")).await;
    assert_eq!(answer["type"], "answer");
    assert_eq!(answer["seq"], first + 1);
    assert!(answer["sdp"].as_str().is_some_and(|sdp| sdp.starts_with("v=0\r\n")), "{answer}");
    assert_eq!(answer["call"], ringing["call"]);
    let again = gadget.poll_json(&format!("&ack={first}")).await;
    assert_eq!(again, answer);
    // The 200 that follows the ringing may be here already.
    let next = gadget.poll(&format!("&wait=0&ack={}", first + 1)).await;
    assert!(next.status == 204 || next.body.contains("connected"), "{}", next.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_hold_resume_dial_and_inform() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    let mut legs = demo.take("7000").await;
    gadget.browser.play(440.0).await;
    let local = gadget.browser.offer().await;
    assert_ok(&gadget.post("&to=7000", &local.sdp).await);
    let mut far = dialled(&mut legs).await;
    far.leg.accept().await.expect("200");
    far.play(tone(1000.0));
    let answer = gadget.poll("").await;
    gadget.browser.set_answer(&answer.body, &[]).await;
    let _ = tokio::join!(gadget.browser.hears(1000.0, 0.5), far.hears(440.0, 0.5));

    assert_ok(&gadget.post("", "DTMF 12#").await);
    far.hears_digits("12#").await;
    assert_error(&gadget.post("", "DTMF xyz").await, 400);
    assert_ok(&gadget.post("", "INFO a=b&c=d").await);
    assert_eq!(far.informed().await.1, "a=b&c=d");

    assert_ok(&gadget.post("", "HOLD").await);
    let offer = far.reinvited().await.expect("sdp");
    assert!(["inactive", "sendonly"].contains(&sdp::direction(&offer)), "{offer}");
    far.hears_no(440.0).await;
    assert_ok(&gadget.post("", "RESUME").await);
    let offer = far.reinvited().await.expect("sdp");
    assert_eq!(sdp::direction(&offer), "sendrecv");
    gadget.browser.forget();
    let _ = tokio::join!(gadget.browser.hears(1000.0, 0.5), far.hears(440.0, 0.5));
    gadget.browser.heard().assert_one_unbroken_stream();

    far.leg.info("application/octet-stream", b"p=q").await.expect("INFO");
    let info = loop {
        let event = gadget.poll("&events=1").await;
        if event.header("x-wrtc-type") == Some("info") {
            break event;
        }
        // Ringing, our own hold: whatever else there was to tell.
        assert_ne!(event.status, 204, "no INFO came");
    };
    assert_eq!(info.body, "INFO p=q");
    assert_ok(&gadget.post("", "BYE").await);
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 200), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_command_is_a_400() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    for body in ["FLY", "BYE BYE BYE", "RSMP {}", "DTMF", "TRANSFER"] {
        assert_error(&gadget.post("", body).await, 400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_sign_in_of_a_dn_owns_it_across_surfaces() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    let phone = demo.phone("5001").await;
    assert_error(&gadget.poll("&wait=0").await, 404);
    let again = Gadget::sign_in(&demo, "agent123", "5001").await;
    assert_eq!(phone.wire.message(&phone.ssid, "600", "GET-STATS").await.status, 404);
    assert_eq!(again.poll("&wait=0").await.status, 204);
    demo.until_agents(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_counts_agents_and_calls() {
    let demo = Demo::start().await;
    let health = demo.health().await;
    assert_eq!((&health["status"], &health["service"]), (&"ok".into(), &"webrtc-gateway".into()));
    assert!(health["version"].as_str().is_some_and(|v| !v.is_empty()));
    assert!(health["uptime"].is_u64(), "{health}");
    assert_eq!((&health["registered_agents"], &health["active_calls"]), (&0.into(), &0.into()));
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    gadget.call("601").await;
    let health = demo.health().await;
    assert_eq!((&health["registered_agents"], &health["active_calls"]), (&1.into(), &1.into()));
    assert_ok(&gadget.wire.get("/api/webrtc/sign_out?id=agent123").await);
    demo.idle().await;
    demo.until_agents(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gadgets_of_other_origins_are_served() {
    let demo = Demo::with_settings(&["http.allowed_origins=https://wwe.example"]).await;
    let wire = Wire::new(&demo.base);
    let origin = "https://wwe.example";
    for method in [Method::OPTIONS, Method::GET] {
        let answer = wire
            .client
            .request(method.clone(), format!("{}/api/webrtc/message?id=nobody", wire.base))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "content-type")
            .header("Access-Control-Request-Private-Network", "true")
            .send()
            .await
            .expect("an answer");
        let headers = answer.headers().clone();
        assert_eq!(headers["access-control-allow-origin"], origin, "{method}");
        assert_eq!(headers["access-control-allow-credentials"], "true", "{method}");
        if method == Method::OPTIONS {
            assert_eq!(headers["access-control-allow-private-network"], "true");
        } else {
            // Not among the headers that a page may read unasked (Fetch 3.3.3).
            let exposed = headers
                .get("access-control-expose-headers")
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_ascii_lowercase();
            assert!(exposed.contains("x-wrtc-type"), "{exposed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn talk_accepts_and_the_answer_that_follows_is_still_one() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    gadget.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.play(tone(1000.0));
    let offer = gadget.poll("&events=1").await;
    assert_eq!(offer.header("x-wrtc-type"), Some("offer"));
    // A NOTIFY wants the early dialog that the 180 opens, and the poll may be faster than it.
    far.rings().await;
    far.talk().await;
    far.answered().await.expect("an answer at once");
    assert_eq!(gadget.poll("&events=1").await.body, "TALK");
    let local = gadget.browser.answer(&offer.body, &[]).await;
    assert_ok(&gadget.post("", &local.sdp).await);
    gadget.browser.connected().await;
    let _ = tokio::join!(gadget.browser.hears(1000.0, 0.5), far.hears(440.0, 0.5));
    far.hang_up().await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gadget_whose_dn_is_taken_over_hears_of_it() {
    let demo = Demo::start().await;
    let gadget = Gadget::sign_in(&demo, "agent123", "5001").await;
    let hanging = tokio::spawn({
        let wire = gadget.wire.clone();
        async move { wire.get("/api/webrtc/message?id=agent123&events=1").await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _newer = Gadget::sign_in(&demo, "agent456", "5001").await;
    let told = hanging.await.expect("polled");
    assert_eq!((told.status, told.header("x-wrtc-type")), (StatusCode::OK, Some("replaced")));
    assert_error(&gadget.poll("").await, 404);
}
