//! grtc-wire.md, "sign_in": who is signed in, and who is refused.

use crate::support::browser::LIMIT;
use crate::support::gateway::{Demo, PASSWORD};
use crate::support::jsapi::Jsapi;
use crate::support::wire::{Wire, assert_failed};
use wrtc_gateway::lab::Challenge;

const SAFE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-~";

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
async fn the_paths_hang_off_a_configured_base_path() {
    let demo = Demo::with_settings(&["http.base_path=/gw"]).await;
    assert!(demo.base.ends_with("/gw"), "{}", demo.base);
    let mut phone = demo.phone("5001").await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
    let root = Wire::new(demo.base.trim_end_matches("/gw"));
    assert_eq!(root.sign_in_post("5002", PASSWORD).await.status, 404);
}
