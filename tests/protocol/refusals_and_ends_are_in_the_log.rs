//! What a person who reads the log has to find there: who was refused and from where, why a call and a session ended.

use std::time::{Duration, Instant};

use crate::support::far::call_from;
use crate::support::gateway::Demo;
use crate::support::secrecy;
use crate::support::wire::Wire;

const LIMIT: Duration = Duration::from_secs(30);

/// Waits for a line of this level and text.
async fn line(level: &str, text: &str) -> String {
    let end = Instant::now() + LIMIT;
    loop {
        let log = secrecy::log();
        let fits = |line: &&str| line.contains(level) && line.contains(text);
        if let Some(line) = log.lines().find(fits) {
            return line.to_owned();
        }
        assert!(Instant::now() < end, "no {level} {text} in the log");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[track_caller]
fn assert_has(line: &str, fields: &[&str]) {
    for field in fields {
        assert!(line.contains(field), "no {field} in: {line}");
    }
}

#[tokio::test]
async fn a_refused_sign_in_is_told_with_its_address() {
    let demo = Demo::start().await;
    let wire = Wire::new(&demo.base);
    let guess = "guess-at-5001-Zb70";
    secrecy::forbid("a mistyped password", guess);
    assert_eq!(wire.sign_in_post("5001", guess).await.status, 401);
    let refused = line("WARN", "sign-in refused").await;
    assert_has(&refused, &["user=\"5001\"", "remote=127.0.0.1", "fault=\"credentials_refused\""]);

    assert_eq!(wire.sign_in_post("5999", &demo.password).await.status, 404);
    let unknown = line("WARN", "fault=\"dn_unknown\"").await;
    assert_has(&unknown, &["sign-in refused", "user=\"5999\"", "remote=127.0.0.1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_and_a_session_are_told_with_why_they_ended() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    far.hang_up().await;
    phone.expect("BYE").await;
    let call = line("INFO", "call ended").await;
    assert_has(
        &call,
        &["user=5001", "peer=7123", "direction=\"incoming\"", "ended_by=peer", "code=200"],
    );

    assert!(!secrecy::log().contains("session ended"));
    phone.sign_out().await;
    let session = line("INFO", "session ended").await;
    assert_has(&session, &["user=\"5001\"", "why=\"signed out\""]);
}
