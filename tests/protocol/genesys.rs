//! sip-behaviour.md, as text: what a Genesys SIP Server writes and what it must read.

use std::time::Duration;

use crate::support::gateway::Demo;
use crate::support::jsapi::Jsapi;
use crate::support::sdp;
use crate::support::trunk::{Trunk, body, header};
use crate::support::wire::Wire;

async fn signed_in(trunk: &mut Trunk) -> (Demo, Jsapi) {
    let demo = Demo::alone(trunk.addr).await;
    let wire = Wire::new(&demo.base);
    let (answer, ()) = tokio::join!(wire.sign_in_get("5001"), trunk.registers());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let ssid = answer.ssid();
    (demo, Jsapi::with_session(wire, ssid, Duration::from_secs(20)).await)
}

/// Bare addresses, the length before everything else, compact and odd names, a folded line.
fn invite(trunk: &Trunk, call: &str, with_sdp: bool) -> String {
    let sdp = if with_sdp { trunk.sdp(1) } else { String::new() };
    let kind = if with_sdp { "c: application/sdp\r\n" } else { "" };
    format!(
        "INVITE sip:5001@{contact} SIP/2.0\r\nContent-Length: {length}\r\n\
         VIA: SIP/2.0/UDP {me};branch=z9hG4bK-{call}-1\r\nf: sip:7123@{me};tag=far{call}\r\n\
         t: sip:5001@{contact}\r\ni: {call}\r\nCSEQ: 1 INVITE\r\nm: <sip:7123@{me}>\r\n\
         max-forwards: 69\r\nk: uui,100rel,timer\r\nSession-Expires: 1800;refresher=uac\r\n\
         Min-SE: 90\r\nX-Genesys-CallUUID: 01F8TESTUUID\r\nSubject: of\r\n two lines\r\n\
         User-Agent: x\r\n{kind}\r\n{sdp}",
        contact = trunk.contact,
        me = trunk.addr,
        length = sdp.len(),
    )
}

/// A request in the dialog that `response` made.
fn in_dialog(
    trunk: &Trunk,
    response: &str,
    method: &str,
    cseq: u32,
    more: &str,
    sdp: &str,
) -> String {
    let call = header(response, "Call-ID").or(header(response, "i")).expect("Call-ID");
    let to = header(response, "To").or(header(response, "t")).expect("To");
    let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:5001@{contact} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK-{call}-{method}{cseq}\r\n\
         From: sip:7123@{me};tag=far{call}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:7123@{me}>\r\nMax-Forwards: 69\r\n{more}{kind}Content-Length: {length}\r\n\r\n{sdp}",
        contact = trunk.contact,
        me = trunk.addr,
        length = sdp.len(),
    )
}

fn version(sdp: &str) -> u64 {
    let origin = sdp.lines().find(|line| line.starts_with("o=")).expect("o=");
    origin.split(' ').nth(2).and_then(|v| v.parse().ok()).expect("a version")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_answered_in_wwe_message_by_message() {
    let mut trunk = Trunk::open().await;
    let (demo, mut phone) = signed_in(&mut trunk).await;
    let text = invite(&trunk, "call1", true);
    trunk.send(&text).await;
    let ringing = trunk.expect("SIP/2.0 180").await;
    assert!(header(&ringing, "To").is_some_and(|to| to.contains(";tag=")), "{ringing}");
    assert!(header(&ringing, "Contact").is_some_and(|c| c.contains("5001@")), "{ringing}");
    let events = header(&ringing, "Allow-Events").unwrap_or_default();
    assert!(events.contains("talk") && events.contains("hold"), "{ringing}");
    let offer = phone.expect_roap("OFFER").await;
    assert_eq!(phone.peer, "7123");

    // In the early dialog, without a subscription, with an empty body; and once more, for UDP.
    let talk = in_dialog(&trunk, &ringing, "NOTIFY", 2, "Event: talk\r\n", "");
    trunk.send(&talk).await;
    trunk.expect_with("SIP/2.0 200", "2 NOTIFY").await;
    trunk.send(&talk).await;
    trunk.expect_with("SIP/2.0 200", "2 NOTIFY").await;
    let answered = trunk.expect_with("SIP/2.0 200", "1 INVITE").await;
    let answer = body(&answered).to_owned();
    let (port, protocol, payloads) = sdp::audio_line(&answer).expect("audio");
    assert!(port != 0 && protocol == "RTP/AVP", "{answer}");
    assert!(payloads.contains(&101) && !payloads.contains(&18), "{answer}");
    trunk.send(&in_dialog(&trunk, &answered, "ACK", 1, "", "")).await;
    phone.expect("EVENT-TALK").await;
    phone.accept(&offer).await;

    trunk.send(&in_dialog(&trunk, &answered, "INVITE", 3, "", "")).await;
    let full = trunk.expect_with("SIP/2.0 200", "3 INVITE").await;
    assert!(version(body(&full)) > version(&answer), "{full}");
    trunk.send(&in_dialog(&trunk, &answered, "ACK", 3, "", &trunk.sdp(2))).await;
    // The retransmitted NOTIFY changed nothing, the re-INVITE did not reach the browser.
    assert!(phone.within(Duration::from_millis(400)).await.is_none());

    for (method, more, status) in [
        ("OPTIONS", "", "SIP/2.0 200"),
        ("NOTIFY", "Event: weather\r\n", "SIP/2.0 489"),
        ("DANCE", "", "SIP/2.0 405"),
    ] {
        let cseq = 4 + more.len() as u32 % 3 + u32::from(method == "DANCE") * 10;
        trunk.send(&in_dialog(&trunk, &answered, method, cseq, more, "")).await;
        let answer = trunk.expect_with(status, method).await;
        let wanted = if status.ends_with("489") { "Allow-Events" } else { "Allow" };
        assert!(header(&answer, wanted).is_some(), "{answer}");
    }
    assert_eq!(demo.health().await["active_calls"], 1);
    let reason = "Reason: SIP;cause=403;text=\"gone\"\r\n";
    trunk.send(&in_dialog(&trunk, &answered, "BYE", 30, reason, "")).await;
    trunk.expect_with("SIP/2.0 200", "30 BYE").await;
    phone.expect("BYE").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_that_is_repeated_rings_once() {
    let mut trunk = Trunk::open().await;
    let (demo, mut phone) = signed_in(&mut trunk).await;
    let text = invite(&trunk, "call2", true);
    for _ in 0..4 {
        trunk.send(&text).await;
    }
    let ringing = trunk.expect("SIP/2.0 180").await;
    phone.expect_roap("OFFER").await;
    assert!(phone.within(Duration::from_millis(300)).await.is_none());
    // CANCEL takes the branch of what it cancels.
    let cancel = in_dialog(&trunk, &ringing, "CANCEL", 1, "", "")
        .replace("branch=z9hG4bK-call2-CANCEL1", "branch=z9hG4bK-call2-1");
    trunk.send(&cancel).await;
    trunk.expect_with("SIP/2.0 200", "1 CANCEL").await;
    trunk.expect_with("SIP/2.0 487", "1 INVITE").await;
    phone.expect("BYE").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_200_is_repeated_until_its_ack() {
    let mut trunk = Trunk::open().await;
    let (demo, mut phone) = signed_in(&mut trunk).await;
    trunk.send(&invite(&trunk, "call3", false)).await;
    trunk.expect("SIP/2.0 180").await;
    phone.peer = phone.expect("INVITE").await.peer;
    let local = phone.browser.offer().await;
    phone.offer(&local).await;
    let first = trunk.expect_with("SIP/2.0 200", "1 INVITE").await;
    let again = trunk.expect_with("SIP/2.0 200", "1 INVITE").await;
    assert_eq!(first, again);
    trunk.send(&in_dialog(&trunk, &first, "ACK", 1, "", &trunk.sdp(1))).await;
    phone.answered().await;
    phone.hang_up().await;
    let bye = trunk.expect("BYE ").await;
    assert!(header(&bye, "To").is_some_and(|to| to.contains("tag=farcall3")), "{bye}");
    drop(demo);
}
