//! grtc-wire.md, "sign_in", "sign_out" and "Cross-origin".

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::browser::LIMIT;
use crate::support::far::call_from;
use crate::support::gateway::{Demo, PASSWORD, dialled};
use crate::support::jsapi::Jsapi;
use crate::support::sdp;
use crate::support::wire::{Answer, Wire, read_answer};
use reqwest::Method;
use wrtc_gateway::lab::Challenge;
use wrtc_gateway::sip::EndedBy;

const SAFE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-~";

/// 4xx or 5xx fires `onFailed`; the body says why.
#[track_caller]
fn assert_failed(answer: &Answer, statuses: &[u16]) {
    assert!(statuses.contains(&answer.status.as_u16()), "{} {}", answer.status, answer.body);
    assert!(!answer.body.trim().is_empty(), "no reason given with {}", answer.status);
    let content_type = answer.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("text/plain"), "a text body, not {content_type:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_with_dn_and_password_registers_and_gives_an_ssid() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let answer = wire.sign_in_post("5001", PASSWORD).await;
    assert_eq!(answer.status, 200);
    let line = answer.body.lines().next().unwrap_or_default();
    assert_eq!(line.matches('=').count(), 1, "{line:?} is not NAME=SSID");
    let ssid = answer.ssid();
    assert!(ssid.chars().all(|c| SAFE.contains(c)), "{ssid} needs escaping");
    // 128 bits at the 6 that one of these characters can carry at most.
    assert!(ssid.len() >= 22, "{ssid} is too short for 128 bits");
    // The answer waits for the REGISTER, so the SIP server knows the DN by now.
    assert!(demo.is_registered("5001"));
    demo.until_agents(1).await;

    let other = wire.sign_in_post("5002", PASSWORD).await.ssid();
    assert_ne!(ssid, other);
    demo.until_agents(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_takes_the_bare_query_as_the_id() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    // The demo's registrar challenges, and a GET brings no password.
    assert_failed(&wire.sign_in_get("5001").await, &[401, 403]);
    assert!(!demo.is_registered("5001"));
    demo.until_agents(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_registers_where_the_sip_server_trusts_the_gateway() {
    let demo = Demo::with_lab(|lab| {
        lab.challenge = Challenge::None;
        lab.challenge_calls = false;
    })
    .await;
    let wire = Wire::new(&demo.base);
    let answer = wire.sign_in_get("5001").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(demo.is_registered("5001"));
    let mut phone = Jsapi::with_session(wire, answer.ssid(), LIMIT).await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_digest_is_answered() {
    for challenge in [Challenge::Md5, Challenge::Sha256, Challenge::Both] {
        let demo = Demo::with_lab(|lab| lab.challenge = challenge).await;
        let mut phone = demo.phone("5001").await;
        // Calls are challenged as well, with 407.
        phone.connect("601").await;
        phone.browser.hears(1000.0, 0.3).await;
        let wrong = phone.wire.sign_in_post("5002", "wrong").await;
        assert_failed(&wrong, &[401, 403]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_anonymous_guest_calls_and_is_not_registered() {
    let demo = Demo::start().await;
    let mut guest = Jsapi::anonymous(&demo.base).await;
    demo.until_agents(0).await;
    guest.browser.play(440.0).await;
    guest.connect("600").await;
    guest.browser.hears(440.0, 1.0).await.assert_one_unbroken_stream();
    guest.hang_up().await;
    demo.idle().await;
    guest.sign_out().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_36_characters_that_begin_with_anon_are_a_guest() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let short = format!("anon{:031x}", 7);
    let answer = wire.sign_in_get(&short).await;
    // A DN like any other then: the SIP server does not have it.
    assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_credentials_are_told() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    assert_failed(&wire.sign_in_post("5001", "not it").await, &[401, 403]);
    assert!(!demo.is_registered("5001"));
    // The right one still works afterwards.
    assert_eq!(wire.sign_in_post("5001", PASSWORD).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dn_that_the_sip_server_does_not_have_is_refused() {
    let demo = Demo::start().await;
    let answer = Wire::new(&demo.base).sign_in_post("5999", PASSWORD).await;
    assert_failed(&answer, &[401, 403, 404]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_id_is_a_400() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let long = "5".repeat(1000);
    for id in ["", "50%2001", "50%0D%0A01", "5001%40evil", "%ff%fe", "%3Csip%3A5001%3E", &long] {
        assert_failed(&wire.sign_in_get(id).await, &[400]);
    }
    for dn in ["", " ", "50 01", "5001@evil", "50\r\n01", "<5001>", &long] {
        assert_failed(&wire.sign_in_post(dn, PASSWORD).await, &[400]);
    }
    let bytes = reqwest::Client::new()
        .post(format!("{}/sign_in", wire.base))
        .body(b"\xff\xfe:pw".to_vec())
        .send()
        .await
        .expect("an answer");
    assert_eq!(bytes.status(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_may_hold_any_character() {
    for password in ["a:b&c%25d+e=f", ":", "%2B+ %", "p\u{e4}ss:w\u{f6}rd&", " lead and trail "] {
        let demo = Demo::with_password(password).await;
        let wire = Wire::new(&demo.base);
        let answer = wire.sign_in_post("5001", password).await;
        assert_eq!(answer.status, 200, "{password:?}: {}", answer.body);
        assert!(demo.is_registered("5001"));
        // Decoded as a form it would have been another password.
        let decoded = password.replace('+', " ").replace("%25", "%").replace("%2B", "+");
        if decoded != password {
            assert_failed(&wire.sign_in_post("5002", &decoded).await, &[401, 403]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_from_the_sip_server_is_a_503() {
    // A socket that hears and never says a word.
    let mute = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let server = mute.local_addr().expect("bound");
    let demo = Demo::alone(server).await;
    assert_failed(&Wire::new(&demo.base).sign_in_post("5001", PASSWORD).await, &[503]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_twice_ends_the_older_session_and_its_call() {
    let demo = Demo::start().await;
    let mut older = demo.phone("5001").await;
    older.browser.play(440.0).await;
    older.connect("600").await;
    older.browser.hears(440.0, 0.5).await;

    // A page reload: no sign-out, and the poll is gone with the page.
    older.stop_polling().await;
    let mut newer = demo.phone("5001").await;
    assert_ne!(older.ssid, newer.ssid);
    demo.idle().await;
    let wire = &older.wire;
    let gone = [
        wire.wait(&older.ssid).await,
        wire.message(&older.ssid, "600", "BYE").await,
        wire.message(&older.ssid, "600", "GET-STATS").await,
    ];
    for answer in gone {
        assert!([404, 410].contains(&answer.status.as_u16()), "{}", answer.status);
    }
    // An old page that signs out late must not take the DN from the new one.
    assert_eq!(wire.sign_out(&older.ssid).await.status, 200);
    assert!(demo.is_registered("5001"));
    demo.until_agents(1).await;

    newer.browser.play(440.0).await;
    newer.connect("600").await;
    newer.browser.hears(440.0, 0.5).await.assert_one_unbroken_stream();
    newer.hang_up().await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_in_twice_ends_the_older_hanging_get() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let older = wire.sign_in_post("5001", PASSWORD).await.ssid();
    let mut poll = wire.raw_wait(&older).await;
    let newer = wire.sign_in_post("5001", PASSWORD).await.ssid();
    let ended = tokio::time::timeout(LIMIT, read_answer(&mut poll)).await.expect("ended");
    let (status, _, body) = ended.expect("an answer");
    // An empty 200 makes the old page poll again, and that gets the 404.
    assert!(matches!(status, 404 | 410) || (status == 200 && body.is_empty()), "{status} {body}");
    assert!([404, 410].contains(&wire.wait(&older).await.status.as_u16()));
    assert!(wire.wait_for(&newer, Duration::from_millis(200)).await.is_none(), "it hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_releases_the_call_unregisters_and_ends_the_poll() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 0.3).await;
    phone.stop_polling().await;
    let mut poll = phone.wire.raw_wait(&phone.ssid).await;
    // So that the poll stands before it is ended.
    tokio::time::sleep(Duration::from_millis(200)).await;

    assert_eq!(phone.wire.sign_out(&phone.ssid).await.status, 200);
    let ended = tokio::time::timeout(LIMIT, read_answer(&mut poll)).await.expect("ended");
    let (status, _, body) = ended.expect("an answer");
    assert!(status == 200 || status == 404 || status == 410, "{status}");
    assert!(body.is_empty() || body == "BYE" || status != 200, "{body}");
    demo.idle().await;
    demo.until_unregistered("5001").await;
    demo.until_agents(0).await;
    assert_eq!(phone.wire.wait(&phone.ssid).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_answers_200_for_an_unknown_session_too() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    for ssid in ["nobody", "", "5001", &"x".repeat(5000)] {
        assert_eq!(wire.sign_out(ssid).await.status, 200, "{ssid:.20}");
    }
    assert_eq!(wire.get("/sign_out").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_readable_across_origins() {
    let demo = Demo::with_settings(&["http.allowed_origins=https://wwe.example:8443"]).await;
    let wire = Wire::new(&demo.base);
    let ssid = wire.sign_in_post("5001", PASSWORD).await.ssid();
    let origin = "https://wwe.example:8443";
    let requests = [
        (Method::GET, "/sign_in?50 01".replace(' ', "%20"), None),
        (Method::POST, "/sign_in".to_owned(), Some("5002:wrong")),
        (Method::GET, "/wait?id=nobody".to_owned(), None),
        (Method::POST, format!("/message?from={ssid}&to=null"), Some("BYE")),
        (Method::POST, "/message?from=nobody&to=1003".to_owned(), Some("BYE")),
        (Method::GET, format!("/sign_out?id={ssid}"), None),
    ];
    for (method, path, body) in requests {
        let mut request = wire
            .client
            .request(method.clone(), format!("{}{path}", wire.base))
            .header("Origin", origin);
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.expect("an answer");
        let header = |name: &str| {
            answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        assert_eq!(header("access-control-allow-origin"), origin, "{method} {path}");
        assert_eq!(header("access-control-allow-credentials"), "true", "{method} {path}");
        assert!(header("vary").to_ascii_lowercase().contains("origin"), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflights_are_answered_private_network_access_among_them() {
    let demo = Demo::with_settings(&["http.allowed_origins=https://wwe.example"]).await;
    let wire = Wire::new(&demo.base);
    let origin = "https://wwe.example";
    for path in ["/sign_in", "/wait?id=x", "/message?from=x&to=y", "/sign_out?id=x"] {
        let answer = wire
            .client
            .request(Method::OPTIONS, format!("{}{path}", wire.base))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type")
            .header("Access-Control-Request-Private-Network", "true")
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let header = |name: &str| {
            answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        assert_eq!(header("access-control-allow-origin"), origin, "{path}");
        assert_eq!(header("access-control-allow-credentials"), "true", "{path}");
        assert_eq!(header("access-control-allow-private-network"), "true", "{path}");
        assert!(header("access-control-allow-methods").contains("POST"), "{path}");
        let allowed = header("access-control-allow-headers").to_ascii_lowercase();
        // With credentials a star is no wildcard.
        assert!(allowed.contains("content-type"), "{path}: {allowed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_is_not_allowed_is_not_let_read() {
    let demo = Demo::with_settings(&["http.allowed_origins=https://good.example"]).await;
    let wire = Wire::new(&demo.base);
    for (origin, allowed) in [("https://good.example", true), ("https://evil.example", false)] {
        let answer = wire
            .client
            .get(format!("{}/wait?id=nobody", wire.base))
            .header("Origin", origin)
            .send()
            .await
            .expect("an answer");
        let echoed = answer.headers().get("access-control-allow-origin").is_some();
        assert_eq!(echoed, allowed, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_paths_hang_off_a_configured_base_path() {
    let demo = Demo::with_settings(&["http.base_path=/gw"]).await;
    assert!(demo.base.ends_with("/gw"), "{}", demo.base);
    let mut phone = demo.phone("5001").await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
    let root = Wire::new(demo.base.trim_end_matches("/gw"));
    assert_eq!(root.sign_in_post("5002", PASSWORD).await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_vanished_leaves_no_call_and_no_registration() {
    let demo = Demo::with_settings(&["agents.lease_seconds=10"]).await;
    let mut stays = demo.phone("5002").await;
    let mut vanishes = demo.phone("5001").await;
    vanishes.connect("601").await;
    vanishes.stop_polling().await;
    demo.until_unregistered("5001").await;
    demo.idle().await;
    assert_eq!(vanishes.wire.wait(&vanishes.ssid).await.status, 404);
    // One that polls lives on.
    assert!(demo.is_registered("5002"));
    stays.connect("601").await;
    stays.browser.hears(1000.0, 0.3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_takes_a_ringing_call_with_it() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.call("7000").await;
    let mut far = dialled(&mut legs).await;
    far.leg.progress(180, false).await.expect("180");
    phone.sign_out().await;
    let end = far.ended().await;
    assert_eq!((end.by, end.code), (EndedBy::Peer, 487), "{end:?}");

    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    phone.expect_roap("OFFER").await;
    phone.sign_out().await;
    let end = far.ended().await;
    assert!(end.by == EndedBy::Peer && end.code >= 400, "{end:?}");
    demo.until_unregistered("5001").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_gateway_ends_calls_and_leaves_the_dn_in_service() {
    let demo = Demo::with_lab(|_| ()).await;
    let mut phone = demo.phone("5001").await;
    phone.connect("601").await;
    let mut far = demo.far("5001").await;
    phone.stop_polling().await;
    let mut poll = phone.wire.raw_wait(&phone.ssid).await;
    let lab = demo.stop().await.expect("an embedded SIP server");
    let end = far.ended().await;
    assert_eq!(end.by, EndedBy::Peer, "{end:?}");
    if let Some((status, _, body)) = read_answer(&mut poll).await {
        let over = status == 200 && (body.is_empty() || body == "BYE");
        assert!(over || status == 404, "{status} {body}");
    }
    // `Expires: 0` would take the DN out of service (sip-behaviour.md, "Registration").
    assert!(lab.registrations().borrow().iter().any(|r| r.dn == "5001"));

    let demo = Demo::again(lab).await;
    let mut phone = demo.phone("5001").await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_is_refreshed_before_it_runs_out() {
    let demo = Demo::with_lab(|lab| lab.max_expires = Duration::from_secs(4)).await;
    let mut phone = demo.phone("5001").await;
    for _ in 0..100 {
        assert!(demo.is_registered("5001"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut far = demo.calls("5001", call_from("7123")).await;
    phone.expect_roap("OFFER").await;
    phone.hang_up().await;
    far.ended().await;
    assert_eq!(demo.health().await["registered_agents"], 1);
}

/// Everything that is logged while the test runs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_ever_logged() {
    let log = Log::default();
    let writer = log.clone();
    // The only test of this binary that takes the log of the whole process.
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let password = "Tr0ub4dor-and-3";
    let demo = Demo::with_password(password).await;
    let mut phone = demo.phone("5001").await;
    phone.call("601").await;
    let answer = phone.answered().await;
    phone.browser.hears(1000.0, 0.3).await;
    let _ = phone.wire.sign_in_post("5002", "wr0ng-horse").await;
    let path = format!("/api/webrtc/sign_in?id=agent123&dn=5003&password={password}");
    assert_eq!(phone.wire.get(&path).await.status, 200);
    let key = |sdp: &str| sdp::attribute(sdp, "ice-pwd").expect("a password").to_owned();
    let theirs = key(answer.sdp.as_deref().expect("sdp"));
    let ours = key(&phone.browser.offer().await.sdp);
    let ssid = phone.ssid.clone();
    phone.sign_out().await;

    // What this process's clients log is not the gateway's doing.
    let text = String::from_utf8_lossy(&log.0.lock().expect("the log")).into_owned();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("wrtc_gateway")).collect();
    assert!(lines.iter().any(|line| line.contains("signed in")), "the log was not taken");
    for secret in [password, "wr0ng-horse", &ssid, &theirs, &ours] {
        let told = lines.iter().find(|line| line.contains(secret));
        assert!(told.is_none(), "{told:?}");
    }
}

/// The SIP server as a test plays it: hears what it is asked, answers when the test wants it.
struct Registrar {
    socket: tokio::net::UdpSocket,
}

impl Registrar {
    async fn start() -> Self {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        Self { socket }
    }

    /// The next REGISTER: what it asks for, and what to answer with.
    async fn heard(&self) -> (bool, String, std::net::SocketAddr) {
        let mut buffer = [0; 4096];
        let (n, from) = tokio::time::timeout(LIMIT, self.socket.recv_from(&mut buffer))
            .await
            .expect("a REGISTER")
            .expect("a datagram");
        let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        assert!(text.starts_with("REGISTER "), "{text}");
        let leaves = text.contains("\r\nExpires: 0\r\n");
        let names = ["Via:", "From:", "To:", "Call-ID:", "CSeq:", "Contact:"];
        let kept = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        let kept: Vec<&str> = kept.collect();
        let answer =
            format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", kept.join("\r\n"));
        (leaves, answer, from)
    }

    async fn grant(&self) -> bool {
        let (leaves, answer, from) = self.heard().await;
        self.socket.send_to(answer.as_bytes(), from).await.expect("sent");
        leaves
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_waits_for_the_sign_out_before_it() {
    let registrar = Registrar::start().await;
    let demo = Demo::alone(registrar.socket.local_addr().expect("bound")).await;
    let wire = Wire::new(&demo.base);
    let (first, _) = tokio::join!(wire.sign_in_get("5001"), registrar.grant());
    let ssid = first.ssid();
    // The page goes and comes back at once, before the SIP server has confirmed that it went.
    let out = tokio::spawn({
        let wire = wire.clone();
        async move { wire.sign_out(&ssid).await }
    });
    let (leaves, confirmed, from) = registrar.heard().await;
    assert!(leaves);
    let back = tokio::spawn({
        let wire = wire.clone();
        async move { wire.sign_in_get("5001").await }
    });
    let soon = tokio::time::Instant::now() + Duration::from_millis(300);
    while let Ok((leaves, ..)) = tokio::time::timeout_at(soon, registrar.heard()).await {
        assert!(leaves, "a REGISTER that a repeated sign-out would undo");
    }
    registrar.socket.send_to(confirmed.as_bytes(), from).await.expect("sent");
    assert_eq!(out.await.expect("signed out").status, 200);
    // Repetitions of the one that was confirmed may have been under way.
    while registrar.grant().await {}
    assert_eq!(back.await.expect("signed in").status, 200);
    demo.until_agents(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_leaves_the_registration_to_a_sign_in_that_waits() {
    let registrar = Registrar::start().await;
    let demo = Demo::alone(registrar.socket.local_addr().expect("bound")).await;
    let wire = Wire::new(&demo.base);
    let (first, _) = tokio::join!(wire.sign_in_get("5001"), registrar.grant());
    let newer = tokio::spawn({
        let wire = wire.clone();
        async move { wire.sign_in_get("5001").await }
    });
    let (leaves, granted, from) = registrar.heard().await;
    assert!(!leaves);
    assert_eq!(wire.sign_out(&first.ssid()).await.status, 200);
    registrar.socket.send_to(granted.as_bytes(), from).await.expect("sent");
    assert_eq!(newer.await.expect("signed in").status, 200);
    let quiet = tokio::time::timeout(Duration::from_millis(700), async {
        while !registrar.grant().await {}
    });
    assert!(quiet.await.is_err(), "the DN was taken out of service");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_under_way_does_not_hold_up_the_end() {
    let registrar = Registrar::start().await;
    let demo = Demo::alone(registrar.socket.local_addr().expect("bound")).await;
    let wire = Wire::new(&demo.base);
    let pending = tokio::spawn(async move { wire.sign_in_get("5001").await });
    let (_, granted, from) = registrar.heard().await;
    let stopped = tokio::spawn(demo.stop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    registrar.socket.send_to(granted.as_bytes(), from).await.expect("sent");
    tokio::time::timeout(LIMIT, stopped).await.expect("it ends").expect("and well");
    pending.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_during_the_sign_out_is_refused_at_once() {
    let registrar = Registrar::start().await;
    let demo = Demo::alone(registrar.socket.local_addr().expect("bound")).await;
    let wire = Wire::new(&demo.base);
    let (first, _) = tokio::join!(wire.sign_in_get("5001"), registrar.grant());
    let ssid = first.ssid();
    let out = tokio::spawn(async move { wire.sign_out(&ssid).await });
    let (leaves, confirmed, from) = registrar.heard().await;
    assert!(leaves);
    let invite = format!(
        "INVITE sip:5001@{0} SIP/2.0\r\nVia: SIP/2.0/UDP {1};branch=z9hG4bKlate\r\n\
         From: <sip:7123@{1}>;tag=f\r\nTo: <sip:5001@{0}>\r\nCall-ID: late\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:7123@{1}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        demo.sip,
        registrar.socket.local_addr().expect("bound"),
    );
    registrar.socket.send_to(invite.as_bytes(), from).await.expect("sent");
    let soon = tokio::time::Instant::now() + Duration::from_secs(2);
    let mut buffer = [0; 4096];
    loop {
        let answer = tokio::time::timeout_at(soon, registrar.socket.recv_from(&mut buffer)).await;
        let (n, _) = answer.expect("a final answer").expect("a datagram");
        if buffer[..n].starts_with(b"SIP/2.0 480") {
            break;
        }
    }
    registrar.socket.send_to(confirmed.as_bytes(), from).await.expect("sent");
    assert_eq!(out.await.expect("signed out").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_have_an_end_and_leave_room_for_agents() {
    let demo = Demo::with_settings(&["http.sign_ins_per_second=10000"]).await;
    let wire = Wire::new(&demo.base);
    let mut inside = Vec::new();
    let refused = loop {
        let answer = wire.sign_in_get(&format!("anon{:032}", inside.len())).await;
        if answer.status != 200 {
            break answer;
        }
        inside.push(answer.ssid());
        assert!(inside.len() < 10_000, "no end");
    };
    assert_failed(&refused, &[503]);
    assert_eq!(wire.sign_in_post("5001", PASSWORD).await.status, 200);
    // One who goes makes room.
    assert_eq!(wire.sign_out(&inside[0]).await.status, 200);
    let end = std::time::Instant::now() + LIMIT;
    while wire.sign_in_get(&format!("anon{:032}", 0)).await.status != 200 {
        assert!(std::time::Instant::now() < end, "no room");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
