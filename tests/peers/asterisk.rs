//! Asterisk 22 as the SIP server: registration, sound, hold with music, digits and silence. One Asterisk serves all
//! tests, each of which has DNs of its own; `asterisk/start.sh` tells where it is.

use std::time::{Duration, Instant};

use crate::gateway::Gateway;
use crate::process::LIMIT;
use crate::support::browser::TestBrowser;
use crate::support::jsapi::Jsapi;

/// Where `asterisk/start.sh` has started it.
const VARIABLE: &str = "WRTC_PEERS_ASTERISK";

fn asterisk() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!("{VARIABLE} does not say where Asterisk is: run `bash tests/run.sh peers`")
    })
}

async fn gateway() -> Gateway {
    Gateway::start(&format!("sip:{}", asterisk()), &[]).await
}

/// A DN that speaks a tone.
async fn speaker(gateway: &Gateway, dn: &str, hz: f64) -> Jsapi {
    let phone = gateway.phone(dn).await;
    phone.browser.play(hz).await;
    phone
}

/// Two DNs in a call with sound both ways.
async fn in_a_call(gateway: &Gateway, one: &str, two: &str) -> (Jsapi, Jsapi) {
    let mut caller = speaker(gateway, one, 440.0).await;
    let mut callee = speaker(gateway, two, 1000.0).await;
    caller.call(two).await;
    let offer = callee.expect_roap("OFFER").await;
    callee.accept(&offer).await;
    caller.answered().await;
    both_hear(&caller, &callee).await;
    (caller, callee)
}

async fn both_hear(caller: &Jsapi, callee: &Jsapi) {
    caller.browser.forget();
    callee.browser.forget();
    let (at_caller, at_callee) =
        tokio::join!(caller.browser.hears(1000.0, 1.0), callee.browser.hears(440.0, 1.0));
    at_caller.assert_one_unbroken_stream();
    at_callee.assert_one_unbroken_stream();
}

async fn until_digits(browser: &TestBrowser, digits: &str) {
    let heard = browser.heard_until(LIMIT, |heard| heard.digits == digits).await;
    assert!(
        heard.is_ok(),
        "digits {:?} came, not {digits:?}",
        heard.map_or_else(|h| h.digits, |h| h.digits)
    );
}

/// "Asterisk and Kamailio challenge."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn a_dn_registers_and_hears_its_echo() {
    let gateway = gateway().await;
    let answer = gateway.sign_in("5001", "wrong").await;
    assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.body);
    let mut phone = speaker(&gateway, "5001", 440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 2.0).await.assert_one_unbroken_stream();
    phone.hang_up().await;
    gateway.idle().await;
    phone.sign_out().await;
}

/// "SIP over TCP"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn a_tone_is_heard_over_udp_and_over_tcp() {
    for (dn, transport) in [("5002", ""), ("5003", ";transport=tcp")] {
        let gateway = Gateway::start(&format!("sip:{}{transport}", asterisk()), &[]).await;
        let mut phone = gateway.phone(dn).await;
        phone.connect("601").await;
        phone.browser.hears(1000.0, 2.0).await.assert_one_unbroken_stream();
        phone.hang_up().await;
        gateway.idle().await;
    }
}

/// "no local shortcut between two of its agents (every call goes through the SIP server)"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn dns_call_each_other_and_either_hangs_up() {
    let gateway = gateway().await;
    let (mut one, mut two) = in_a_call(&gateway, "5004", "5005").await;
    one.hang_up().await;
    two.expect("BYE").await;
    gateway.idle().await;
    drop((one, two));
    let (mut two, mut one) = in_a_call(&gateway, "5005", "5004").await;
    one.hang_up().await;
    two.expect("BYE").await;
    gateway.idle().await;
}

/// "Hold ...; our own hold must survive the peer's": the other side hears music, and no re-INVITE reaches a browser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn who_is_held_hears_music_until_the_retrieve() {
    let gateway = gateway().await;
    let (mut one, two) = in_a_call(&gateway, "5006", "5007").await;
    for _ in 0..2 {
        let local = one.browser.offer_with_direction("inactive").await;
        one.offer(&local).await;
        one.answered().await;
        two.browser.forget();
        two.browser.hears(660.0, 2.0).await.assert_one_unbroken_stream();
        let local = one.browser.offer_with_direction("sendrecv").await;
        one.offer(&local).await;
        one.answered().await;
        both_hear(&one, &two).await;
    }
    one.hang_up().await;
}

/// RFC 4733 both ways: Asterisk reads four digits and dials them back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn digits_get_there_and_back() {
    let gateway = gateway().await;
    let mut phone = gateway.phone("5008").await;
    phone.connect("610").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    phone.browser.send_digits("48#2").await;
    // `#` would end what Read takes: two digits come back.
    until_digits(&phone.browser, "48").await;
    phone.hang_up().await;
    gateway.idle().await;
    phone.fresh().await;
    phone.connect("610").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    phone.browser.send_digits("9*01").await;
    until_digits(&phone.browser, "9*01").await;
}

/// "early media (183)": the network's tone is heard before the answer, and all of it is one stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn early_media_is_heard_and_then_the_call() {
    let gateway = gateway().await;
    let mut phone = gateway.phone("5009").await;
    phone.call("607").await;
    phone.answered().await;
    phone.browser.hears(440.0, 1.0).await;
    phone.browser.forget();
    phone.browser.hears(1000.0, 1.0).await.assert_one_unbroken_stream();
}

/// The far end's end and its refusal reach the browser.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn a_far_end_that_hangs_up_or_is_busy_ends_the_call() {
    let gateway = gateway().await;
    let mut phone = gateway.phone("5010").await;
    phone.connect("608").await;
    phone.expect("BYE").await;
    gateway.idle().await;
    phone.fresh().await;
    phone.call("604").await;
    phone.expect("BYE").await;
    gateway.idle().await;
}

/// "Muted, held or silent never means dead": not a packet comes from the browser for 65 s, and the call stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn a_call_of_65_seconds_in_silence_goes_on() {
    let gateway = gateway().await;
    let mut phone = speaker(&gateway, "5011", 440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 1.0).await;
    phone.browser.mute_packets(true).await;
    let end = Instant::now() + Duration::from_secs(65);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        if let Some(message) = phone.within(left).await {
            panic!("the browser was told {}", message.body);
        }
    }
    phone.browser.mute_packets(false).await;
    phone.browser.forget();
    phone.browser.hears(440.0, 1.0).await;
    assert_eq!(gateway.health().await["active_calls"], 1);
}

/// "One contact per DN, the last wins."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn a_dn_that_signs_in_at_another_gateway_is_called_there() {
    let (old, new) = (gateway().await, gateway().await);
    let mut before = old.phone("5012").await;
    let mut after = new.phone("5012").await;
    let mut caller = old.phone("5013").await;
    caller.call("5012").await;
    after.expect_roap("OFFER").await;
    assert!(before.within(Duration::from_millis(500)).await.is_none(), "it rings at the old one");
    caller.hang_up().await;
    after.expect("BYE").await;
}

async fn answers(phone: &mut Jsapi) {
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    phone.browser.connected().await;
}

/// "REFER out (blind)": Asterisk connects the one that is transferred, whose browser has one stream for all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn a_blind_transfer_connects_the_other_side_with_the_target() {
    let gateway = gateway().await;
    let agent = gateway.rest("5014").await;
    let mut customer = speaker(&gateway, "5015", 500.0).await;
    agent.browser.play(440.0).await;
    let (_, ()) = tokio::join!(agent.connect("5015"), answers(&mut customer));
    agent.browser.hears(500.0, 1.0).await;
    customer.browser.hears(440.0, 1.0).await;
    agent.says("TRANSFER 601").await;
    agent.until(|text| text.starts_with("TRANSFER 2")).await;
    agent.until(|text| text.starts_with("BYE")).await;
    customer.browser.forget();
    customer.browser.hears(1000.0, 1.5).await.assert_one_unbroken_stream();
    customer.hang_up().await;
    gateway.idle().await;
}

/// "REFER out (attended with Replaces)": both whom the agent has talked to talk to each other, and the agent is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn an_attended_transfer_connects_both_others() {
    let gateway = gateway().await;
    let agent = gateway.rest("5016").await;
    let mut customer = speaker(&gateway, "5017", 500.0).await;
    let mut expert = speaker(&gateway, "5018", 1000.0).await;
    agent.browser.play(440.0).await;
    let (_, ()) = tokio::join!(agent.connect("5017"), answers(&mut customer));
    agent.browser.hears(500.0, 1.0).await;
    agent.says("CALL 5018").await;
    answers(&mut expert).await;
    agent.browser.forget();
    agent.browser.hears(1000.0, 1.0).await;
    expert.browser.hears(440.0, 1.0).await;
    // Whom the consultation has put on hold hears the music.
    customer.browser.forget();
    customer.browser.hears(660.0, 1.0).await;
    agent.says("TRANSFER 5018 REPLACES 5018").await;
    agent.until(|text| text.starts_with("TRANSFER 2")).await;
    customer.browser.forget();
    expert.browser.forget();
    let (at_customer, at_expert) =
        tokio::join!(customer.browser.hears(1000.0, 1.5), expert.browser.hears(500.0, 1.5));
    at_customer.assert_one_unbroken_stream();
    at_expert.assert_one_unbroken_stream();
    customer.hang_up().await;
    expert.expect("BYE").await;
    gateway.idle().await;
}

/// "SDES-SRTP (RTP/SAVP) by configuration": a DN for which Asterisk takes nothing but RTP/SAVP hears its echo, calls
/// another one and is called by it, with sound both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn sound_is_encrypted_where_srtp_is_required() {
    let gateway = Gateway::start(&format!("sip:{}", asterisk()), &["media.srtp=required"]).await;
    let mut phone = speaker(&gateway, "5037", 440.0).await;
    phone.connect("600").await;
    phone.browser.hears(440.0, 2.0).await.assert_one_unbroken_stream();
    phone.hang_up().await;
    gateway.idle().await;
    drop(phone);
    let (mut one, mut two) = in_a_call(&gateway, "5037", "5038").await;
    // Asterisk bridges the two, each with keys of its own; a hold changes none of them.
    for direction in ["inactive", "sendrecv"] {
        let local = one.browser.offer_with_direction(direction).await;
        one.offer(&local).await;
        one.answered().await;
    }
    both_hear(&one, &two).await;
    assert_eq!(one.stats().await["sip"]["encrypted"], true);
    one.hang_up().await;
    two.expect("BYE").await;
    gateway.idle().await;
}

/// `preferred` suits a DN that is encrypted if it can be, and one that is not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn sound_is_encrypted_where_both_prefer_it_and_plain_where_not() {
    let gateway = Gateway::start(&format!("sip:{}", asterisk()), &["media.srtp=preferred"]).await;
    let (mut one, mut two) = in_a_call(&gateway, "5039", "5036").await;
    for (phone, encrypted) in [(&mut one, true), (&mut two, false)] {
        assert_eq!(phone.stats().await["sip"]["encrypted"], encrypted);
    }
    one.hang_up().await;
    two.expect("BYE").await;
    gateway.idle().await;
    drop((one, two));
    let (mut two, mut one) = in_a_call(&gateway, "5036", "5039").await;
    for (phone, encrypted) in [(&mut one, true), (&mut two, false)] {
        assert_eq!(phone.stats().await["sip"]["encrypted"], encrypted);
    }
    one.hang_up().await;
    two.expect("BYE").await;
    gateway.idle().await;
}

/// A plain offer to a gateway that requires SRTP is refused before it rings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Asterisk: bash tests/run.sh peers"]
async fn a_plain_call_is_refused_where_srtp_is_required() {
    let strict = Gateway::start(&format!("sip:{}", asterisk()), &["media.srtp=required"]).await;
    let open = gateway().await;
    let mut callee = strict.phone("5035").await;
    let mut caller = open.phone("5034").await;
    caller.call("5035").await;
    caller.expect("BYE").await;
    assert!(callee.within(Duration::from_millis(500)).await.is_none(), "it rang");
}
