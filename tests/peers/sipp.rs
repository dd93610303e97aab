//! SIPp scenarios: user agents of another make, one for each thing that only a foreign one does. Calls of ours go
//! out through Kamailio, so that they are challenged; calls to us come from SIPp itself. SIPp echoes the sound.
//!
//! Where a scenario has to wait for the test it waits for a request GO ([`Sipp::goes_on`]), and not for a time in which
//! the test should have been done.
//!
//! A scenario is the judge of what it meets: an unexpected message or a header that is not as it should be ends
//! it with an error, which is the test's.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use crate::gateway::Gateway;
use crate::kamailio::{By, Kamailio};
use crate::process::{self, Process};
use crate::support::jsapi::Jsapi;

/// Longest scenario: a refresh after 45 s.
const SCENARIO: Duration = Duration::from_secs(100);

/// Sound, and pictures beside it: SIPp opens the ports of both.
const RTP: u16 = 4;

struct Sipp {
    process: Process,
    at: SocketAddr,
    /// Of the calls that it makes.
    call_id: String,
}

impl Sipp {
    /// Waits for calls on `port`.
    fn waits(scenario: &str, port: u16) -> Self {
        Self::start(scenario, port, 0, &[])
    }

    /// Waits for a call on `port`; `other` is where it redirects to.
    fn waits_with(scenario: &str, port: u16, other: u16) -> Self {
        Self::start(scenario, port, other, &[])
    }

    /// Calls a DN of the gateway's.
    fn calls(scenario: &str, gateway: &Gateway, dn: &str) -> Self {
        let target = gateway.sip.to_string();
        Self::start(scenario, process::free_port(), 0, &["-s", dn, &target])
    }

    fn start(scenario: &str, port: u16, other: u16, more: &[&str]) -> Self {
        let folder = process::folder(scenario);
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/peers/sipp")
            .join(scenario)
            .with_extension("xml");
        let text = std::fs::read_to_string(file).expect(scenario);
        std::fs::write(folder.join("scenario.xml"), filled_in(&text, other)).expect("a scenario");
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let call_id = format!("{:016x}", rand::random::<u64>());
        let (port, rtp) = (port.to_string(), process::free_block(RTP).to_string());
        let limit = SCENARIO.as_secs().to_string();
        let mut arguments = vec![
            "-sf",
            "scenario.xml",
            "-i",
            "127.0.0.1",
            "-p",
            &port,
            "-mi",
            "127.0.0.1",
            "-mp",
            &rtp,
            "-rtp_echo",
            "-m",
            "1",
            "-l",
            "1",
            "-nostdin",
            "-cid_str",
            &call_id,
            "-timeout",
            &limit,
            "-timeout_error",
            "-trace_err",
            "-error_file",
            "errors",
            "-trace_msg",
            "-message_file",
            "messages",
        ];
        arguments.extend(more);
        Self { process: Process::start("sipp", &folder, &arguments), at, call_id }
    }

    /// A call that it makes waits for this, once it has said the last thing before it in the scenario.
    async fn goes_on(&self, after: &str) {
        self.until_said(after).await;
        let (id, number) = (&self.call_id, rand::random::<u64>());
        let go = format!(
            "GO sip:sipp@{at} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{number}\r\n\
             From: <sip:test@peers.invalid>;tag={number}\r\nTo: <sip:sipp@{at}>\r\nCall-ID: {id}\r\n\
             CSeq: 1 GO\r\nContent-Length: 0\r\n\r\n",
            at = self.at
        );
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.send_to(go.as_bytes(), self.at).await.expect("sent");
    }

    /// Waits until it has sent or received this.
    #[track_caller]
    fn until_said<'a>(&'a self, what: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + SCENARIO;
            loop {
                let said = self.read("messages");
                if said.contains(what) {
                    return;
                }
                assert!(Instant::now() < end, "{caller}: no {what} in\n{said}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.process.folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until the scenario has been gone through, to the letter.
    #[track_caller]
    fn plays_out(mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let status = self.process.ended(SCENARIO).await;
            assert!(
                status.success(),
                "{caller}: SIPp: {status}\n{}\n{}",
                self.read("errors"),
                self.read("messages")
            );
        }
    }
}

/// Replaces the words in braces, which all scenarios share.
fn filled_in(text: &str, other: u16) -> String {
    const HEAD: &str = "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\n\
        From: <sip:9001@peers.invalid>;tag=[call_number]u\n\
        To: <sip:[service]@peers.invalid>{TAG}\nCall-ID: [call_id]\nMax-Forwards: 70\n\
        Contact: <sip:9001@[local_ip]:[local_port]>";
    // From the callee, by the way that its INVITE came.
    const BACK: &str = "Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nRoute:[$route]\n\
        From: [$us]\nTo:[$from]\nCall-ID: [call_id]\nMax-Forwards: 70";
    const SDP: &str = "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\n\
        o=- 1 1 IN IP4 [local_ip]\ns=-\nc=IN IP4 [local_ip]\nt=0 0\nm=audio [media_port] RTP/AVP 0 101\n\
        a=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n";
    let mut text = text
        .replace("{HEAD}", &HEAD.replace("{TAG}", "[peer_tag_param]"))
        .replace("{HEAD2}", &HEAD.replace("{TAG}", ""))
        .replace("{BACK}", BACK)
        .replace("{NOTHING}", "Content-Length: 0\n")
        .replace("{SDP}", SDP)
        .replace("{REPLY}", "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]")
        .replace("{OTHER}", &other.to_string());
    for direction in ["sendonly", "recvonly", "inactive", "sendrecv"] {
        let wanted = format!("{SDP}a={direction}\n");
        text = text.replace(&format!("{{SDP {direction}}}"), &wanted);
    }
    // Hold as it was before RFC 3264.
    text = text.replace("{SDP nowhere}", &SDP.replace("c=IN IP4 [local_ip]", "c=IN IP4 0.0.0.0"));
    // Answers to the INVITE, whatever came after it.
    for tag in ["a", "b"] {
        let ids = format!(
            "Via:[$via]\nVia:[$proxy]\nRecord-Route:[$route]\nFrom:[$from]\nTo:[$to];tag=[call_number]{tag}\n\
             Call-ID: [call_id]\nCSeq:[$cseq]"
        );
        text = text.replace(&format!("{{ANSWER {tag}}}"), &ids);
    }
    text
}

/// The gateway behind Kamailio, and the ports of 7001 and 7002.
async fn lab() -> (Kamailio, Gateway, [u16; 2]) {
    lab_with(&[]).await
}

async fn lab_with(settings: &[&str]) -> (Kamailio, Gateway, [u16; 2]) {
    let ports = [process::free_port(), process::free_port()];
    let kamailio = Kamailio::with(By::Udp, 300, ports).await;
    let gateway = Gateway::start(&kamailio.uri, settings).await;
    (kamailio, gateway, ports)
}

async fn answer(phone: &mut Jsapi) {
    phone.browser.play(440.0).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    phone.browser.connected().await;
}

/// A call in, answered, with sound both ways (SIPp echoes), which SIPp then ends.
async fn called_by(scenario: &str) {
    let (_kamailio, gateway, _) = lab().await;
    let mut phone = gateway.phone("5001").await;
    let sipp = Sipp::calls(scenario, &gateway, "5001");
    answer(&mut phone).await;
    phone.browser.hears(440.0, 1.0).await.assert_one_unbroken_stream();
    sipp.goes_on("CSeq: 1 ACK").await;
    sipp.plays_out().await;
    phone.expect("BYE").await;
    gateway.idle().await;
}

/// A call out to 7001, answered, with sound both ways; hung up by the browser.
async fn calls(scenario: &str) {
    let (_kamailio, gateway, ports) = lab().await;
    let sipp = Sipp::waits(scenario, ports[0]);
    let mut phone = gateway.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.call("7001").await;
    phone.answered().await;
    phone.browser.connected().await;
    phone.browser.hears(440.0, 1.5).await.assert_one_unbroken_stream();
    phone.hang_up().await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// "180 (To tag, Contact with the DN, Allow-Events: talk, hold)"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_call_in_rings_is_answered_and_ends() {
    called_by("in_basic").await;
}

/// "From and To may be bare addr-specs; Content-Length may come before Via; header names and codec names in any case."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn compact_and_oddly_written_headers_are_read() {
    called_by("in_compact").await;
}

/// "SIP over UDP (fragments)"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn an_invite_in_fragments_is_put_together() {
    called_by("in_large").await;
}

/// "the ACK comes only when ...; 200 is retransmitted meanwhile"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_late_ack_finds_the_call_standing() {
    called_by("in_late_ack").await;
}

/// "INFO both ways. Unknown methods and events: 405, 489, with Allow / Allow-Events. OPTIONS: 200."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn unknown_methods_and_events_in_a_call_are_told_what_there_is() {
    let (_kamailio, gateway, _) = lab().await;
    let mut phone = gateway.phone("5001").await;
    let sipp = Sipp::calls("in_methods", &gateway, "5001");
    answer(&mut phone).await;
    sipp.goes_on("CSeq: 1 ACK").await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// "OPTIONS: 200"; Require of what nobody knows: 420.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn options_outside_of_calls_say_what_we_can_do() {
    let (_kamailio, gateway, _) = lab().await;
    let _phone = gateway.phone("5001").await;
    Sipp::calls("in_options", &gateway, "5001").plays_out().await;
}

/// "No answer: the SIP server cancels. CANCEL races, 487."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_call_in_that_is_given_up_gets_487() {
    let (_kamailio, gateway, _) = lab().await;
    let mut phone = gateway.phone("5001").await;
    let sipp = Sipp::calls("in_cancel", &gateway, "5001");
    phone.expect_roap("OFFER").await;
    phone.expect("BYE").await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// "a re-INVITE with sendonly, inactive or c=0.0.0.0. Retrieve: a re-INVITE without SDP."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn holds_of_every_kind_and_a_retrieve_leave_sound_both_ways() {
    let (_kamailio, gateway, _) = lab().await;
    let mut phone = gateway.phone("5001").await;
    let sipp = Sipp::calls("in_hold", &gateway, "5001");
    answer(&mut phone).await;
    phone.browser.hears(440.0, 1.0).await;
    sipp.goes_on("CSeq: 1 ACK").await;
    // The retrieve's, which is the last of all.
    sipp.until_said("CSeq: 6 ACK").await;
    phone.browser.forget();
    let heard = phone.browser.hears(440.0, 1.0).await;
    assert_eq!(heard.streams.len(), 1, "the browser has one SSRC for all of it");
    sipp.goes_on("CSeq: 6 ACK").await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// "NOTIFY Event: talk -> 200 at once, then 200 to the INVITE with SDP; ACK -> re-INVITE WITHOUT SDP some 12 ms
/// later -> 200 with a full offer -> ACK with the SDP answer"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn notify_talk_answers_and_the_offerless_re_invite_follows() {
    let (_kamailio, gateway, _) = lab().await;
    let mut phone = gateway.phone("5001").await;
    let sipp = Sipp::calls("in_talk", &gateway, "5001");
    phone.browser.play(440.0).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.expect("EVENT-TALK").await;
    phone.accept(&offer).await;
    phone.browser.hears(440.0, 1.0).await;
    sipp.goes_on("CSeq: 3 ACK").await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// "Session timers both roles (RFC 4028, 422, refresh by UPDATE or re-INVITE)": theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_session_timer_that_is_too_short_gets_422_and_refreshes_are_taken() {
    let (_kamailio, gateway, _) = lab().await;
    let mut phone = gateway.phone("5001").await;
    let sipp = Sipp::calls("in_timer_too_short", &gateway, "5001");
    answer(&mut phone).await;
    phone.browser.hears(440.0, 0.5).await;
    sipp.goes_on("CSeq: 4 ACK").await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// "Session timers both roles (422)": ours, answered with 422.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_422_makes_us_ask_for_a_longer_session() {
    let (_kamailio, gateway, ports) = lab_with(&["sip.session_expires=90"]).await;
    let sipp = Sipp::waits("out_timer", ports[0]);
    let mut phone = gateway.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.call("7001").await;
    phone.answered().await;
    phone.browser.hears(440.0, 0.5).await;
    phone.hang_up().await;
    sipp.plays_out().await;
}

/// "Session timers both roles (refresh by UPDATE); a refresh with unchanged SDP changes nothing"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn we_refresh_a_session_that_was_left_to_us() {
    let (_kamailio, gateway, ports) = lab().await;
    let sipp = Sipp::waits("out_refresh", ports[0]);
    let mut phone = gateway.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.call("7001").await;
    phone.answered().await;
    // After 45 s at the latest; the sound goes on over it.
    sipp.until_said("UPDATE sip:").await;
    phone.browser.forget();
    phone.browser.hears(440.0, 1.0).await.assert_one_unbroken_stream();
    phone.hang_up().await;
    sipp.plays_out().await;
}

/// "PRACK when required": in the callee's role.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn our_ringing_is_reliable_where_the_caller_requires_it() {
    called_by("in_prack").await;
}

/// "PRACK when required": in the caller's role, RAck checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn reliable_provisional_answers_are_acknowledged() {
    calls("out_prack").await;
}

/// "Glare: 491 and RFC 3261 14.1 timers both ways; one queue of offers per dialog."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn our_hold_gets_through_after_glare() {
    let (_kamailio, gateway, ports) = lab().await;
    let sipp = Sipp::waits("out_glare", ports[0]);
    let mut phone = gateway.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.call("7001").await;
    phone.answered().await;
    phone.browser.connected().await;
    phone.browser.hears(440.0, 0.5).await;
    let local = phone.browser.offer_with_direction("inactive").await;
    phone.offer(&local).await;
    phone.answered().await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// A plain call out: ringing, answer, BYE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_call_out_is_answered_and_ends() {
    calls("out_basic").await;
}

/// "early media (183, several early dialogs, the last SDP wins)"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn of_two_early_dialogs_the_one_that_answers_is_talked_to() {
    calls("out_forked").await;
}

/// "3xx"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_302_is_followed() {
    let (_kamailio, gateway, ports) = lab().await;
    let first = Sipp::waits_with("out_redirect", ports[0], ports[1]);
    let second = Sipp::waits("out_basic", ports[1]);
    let mut phone = gateway.phone("5001").await;
    phone.browser.play(440.0).await;
    phone.call("7001").await;
    phone.answered().await;
    phone.browser.hears(440.0, 1.0).await;
    first.plays_out().await;
    phone.hang_up().await;
    second.plays_out().await;
}

/// "401/407" on INVITE and on BYE: digest on any request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn an_invite_and_a_bye_that_are_challenged_come_with_digest() {
    calls("out_challenges").await;
}

/// "CANCEL"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_call_out_that_is_given_up_is_cancelled() {
    for scenario in ["out_cancel", "out_cancel_race"] {
        let (_kamailio, gateway, ports) = lab().await;
        let sipp = Sipp::waits(scenario, ports[0]);
        let mut phone = gateway.phone("5001").await;
        phone.call("7001").await;
        sipp.until_said("180 Ringing").await;
        phone.hang_up().await;
        sipp.plays_out().await;
        gateway.idle().await;
    }
}

/// "4xx-6xx mapped to a clear reason"
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_busy_callee_ends_the_call_at_once() {
    let (_kamailio, gateway, ports) = lab().await;
    let sipp = Sipp::waits("out_busy", ports[0]);
    let mut phone = gateway.phone("5001").await;
    phone.call("7001").await;
    phone.expect("BYE").await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// "REFER in; NOTIFY sipfrag to the end": we call whom they name, and tell how it went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn a_refer_in_the_call_is_followed_and_reported() {
    let (_kamailio, gateway, ports) = lab().await;
    let target = Sipp::waits("out_basic", ports[1]);
    let mut phone = gateway.phone("5001").await;
    let sipp = Sipp::calls("in_refer", &gateway, "5001");
    answer(&mut phone).await;
    sipp.goes_on("CSeq: 1 ACK").await;
    sipp.plays_out().await;
    phone.browser.forget();
    phone.browser.hears(440.0, 1.0).await;
    phone.hang_up().await;
    target.plays_out().await;
    gateway.idle().await;
}

/// "INFO both ways (`application/dtmf-relay`)", "401/407 on any request": digits go as INFO where it is so configured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn digits_go_as_info_and_a_challenge_costs_none() {
    let (_kamailio, gateway, ports) = lab_with(&["sip.dtmf=info"]).await;
    let sipp = Sipp::waits("out_info", ports[0]);
    let phone = gateway.rest("5001").await;
    phone.browser.play(440.0).await;
    phone.connect("7001").await;
    phone.browser.hears(440.0, 0.5).await;
    phone.says("DTMF 5#").await;
    // SIPp hangs up once it has had both.
    phone.until(|text| text.starts_with("BYE")).await;
    sipp.plays_out().await;
    gateway.idle().await;
}

/// "INVITE with Replaces" (RFC 3891): the call goes on with whoever takes the place of its peer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs SIPp and Kamailio: bash tests/run.sh peers"]
async fn an_invite_with_replaces_takes_over_the_call() {
    let (_kamailio, gateway, _) = lab().await;
    let mut phone = gateway.phone("5001").await;
    let sipp = Sipp::calls("in_replaces", &gateway, "5001");
    answer(&mut phone).await;
    phone.browser.hears(440.0, 1.0).await;
    sipp.goes_on("CSeq: 1 ACK").await;
    // Of the call that has gone.
    sipp.until_said("BYE sip:").await;
    phone.browser.forget();
    phone.browser.hears(440.0, 1.0).await.assert_one_unbroken_stream();
    sipp.goes_on("BYE sip:").await;
    sipp.plays_out().await;
    phone.expect("BYE").await;
    gateway.idle().await;
}
