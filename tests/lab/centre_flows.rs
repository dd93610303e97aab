//! The contact centre's flows against the gateway's own cores, on paper and under virtual time.
//! Tests say in the words of sip-behaviour.md which of its lines they hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wrtc_gateway::call::CallEndedBy;
use wrtc_gateway::lab::centre::{
    Body, Caller, Expect, Names, OFFERLESS_AFTER, SOON, Stage, Step, media_address, origin,
    receives, scenario,
};
use wrtc_gateway::lab::{Hold, Paper};
use wrtc_gateway::sdp::{Codec, Direction};

use super::desk::{CUSTOMER, Desk, paper};

const COLLEAGUE: &str = "198.51.100.8:17000";
const A_MOMENT: Duration = Duration::from_millis(2);

fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn in_a_call() -> Desk {
    let mut desk = Desk::new();
    desk.plays([scenario::ring(), scenario::talk()].concat());
    desk
}

/// All of them, in a network without loss; each leaves nothing behind in the gateway.
#[test]
fn every_scenario_plays_to_its_end() {
    for scenario in scenario::ALL {
        // That one is the endpoint's to answer, which this desk does not have.
        if scenario.name == "unknown-method" {
            continue;
        }
        let mut desk = Desk::new();
        println!("{}", scenario.name);
        desk.plays((scenario.steps)());
        assert!(desk.player.has_ended(), "{}\n{}", scenario.name, desk.ladder());
        desk.passes(Duration::from_secs(40));
        assert!(desk.end.is_some(), "{}", scenario.name);
        assert_eq!(desk.told.last(), Some(&"BYE"), "{}: {:?}", scenario.name, desk.told);
    }
}

/// "INVITE with SDP -> 180 within 50 ms (To tag, Contact with the DN, Allow-Events: talk, hold) -> the
/// browser rings"
#[test]
fn an_invite_rings_at_once_with_all_that_the_server_needs() {
    let mut desk = Desk::new();
    desk.plays(scenario::ring());
    let ringing = desk.message("180 Ringing (INVITE)", 0);
    assert!(header(&ringing, "To").unwrap().contains(";tag="), "{ringing}");
    assert!(header(&ringing, "Contact").unwrap().contains("sip:5001@"), "{ringing}");
    let events = header(&ringing, "Allow-Events").unwrap();
    assert!(events.contains("talk") && events.contains("hold"), "{ringing}");
    assert_eq!(desk.told, ["OFFER"]);
    // Nothing but the way there and back.
    assert!(desk.between("INVITE", "180 Ringing (INVITE)") < Duration::from_millis(50));
}

/// "NOTIFY Event: talk (early dialog, no subscription, CSeq+1, empty body) -> 200 at once, then 200 to
/// the INVITE with SDP, < 50 ms"
#[test]
fn talk_is_answered_at_once_and_then_the_invite_without_the_browsers_help() {
    let mut desk = Desk::new();
    desk.browser_sleeps = true;
    desk.plays(scenario::ring());
    desk.plays(scenario::talk()[..3].to_vec());
    let notify = desk.message("NOTIFY talk", 0);
    assert_eq!(header(&notify, "CSeq"), Some("2 NOTIFY"));
    assert_eq!(header(&notify, "Content-Length"), Some("0"));
    assert!(header(&notify, "Subscription-State").is_none(), "{notify}");
    let rungs = desk.rungs();
    let end = &rungs[rungs.len() - 2..];
    assert_eq!(end, ["< 200 OK (NOTIFY)", "< 200 OK (INVITE)"]);
    assert!(desk.between("NOTIFY talk", "200 OK (INVITE)") < A_MOMENT);
    assert!(body(&desk.message("200 OK (INVITE)", 0)).contains("m=audio 20000 RTP/AVP"));
    assert_eq!(desk.told, ["OFFER", "EVENT-TALK"]);
}

/// "ACK -> re-INVITE WITHOUT SDP some 12 ms later -> 200 with a full offer (o= version raised) -> ACK
/// with the SDP answer"
#[test]
fn the_offerless_re_invite_gets_a_full_offer_of_a_new_version() {
    let desk = in_a_call();
    assert_eq!(
        desk.rungs(),
        [
            "> INVITE",
            "< 100 Trying (INVITE)",
            "< 180 Ringing (INVITE)",
            "> NOTIFY talk",
            "< 200 OK (NOTIFY)",
            "< 200 OK (INVITE)",
            "> ACK",
            "> re-INVITE",
            "< 100 Trying (INVITE)",
            "< 200 OK (INVITE)",
            "> ACK",
        ]
    );
    assert_eq!(desk.between("ACK", "re-INVITE"), OFFERLESS_AFTER);
    assert_eq!(body(&desk.message("re-INVITE", 0)), "");
    let [answer, offer] = [0, 1].map(|n| desk.message("200 OK (INVITE)", n));
    let (before, after) = (origin(body(&answer)).unwrap(), origin(body(&offer)).unwrap());
    assert_eq!(before.0, after.0);
    assert!(after.1 > before.1, "{answer}{offer}");
    for codec in ["PCMU/8000", "PCMA/8000", "telephone-event/8000"] {
        assert!(offer.contains(codec), "{offer}");
    }
    assert!(body(&desk.message("ACK", 1)).contains("a=rtpmap:0 pcmu/8000"));
    assert_eq!(*desk.player.stage(), Stage::Up);
    assert_eq!(desk.customer.direction(), Direction::SendRecv);
}

/// "The offerless re-INVITE comes on every answered call, and does not touch the browser."
#[test]
fn the_offerless_re_invite_does_not_touch_the_browser() {
    let mut desk = in_a_call();
    let told = desk.told.clone();
    desk.plays(scenario::offerless());
    desk.plays(scenario::offerless());
    assert_eq!(desk.told, told);
    assert_eq!(told, ["OFFER", "EVENT-TALK", "OK"]);
    assert!(desk.flow.to_browser && desk.flow.to_sip);
}

/// "The browser leg is negotiated while it rings ...": and where it is slow, the offerless re-INVITE has
/// come and gone before the browser's ANSWER does.
#[test]
fn a_browser_that_is_slower_than_the_offerless_re_invite_is_still_heard() {
    let mut desk = Desk::new();
    desk.browser_sleeps = true;
    desk.plays([scenario::ring(), scenario::talk()].concat());
    desk.passes(Duration::from_secs(2));
    desk.accept();
    desk.passes(Duration::from_secs(1));
    assert_eq!(desk.told, ["OFFER", "EVENT-TALK", "OK"]);
    assert!(desk.flow.to_browser && desk.flow.to_sip);
}

/// "From and To may be bare addr-specs; Content-Length may come before Via; header names and codec names
/// in any case. Session-Expires 1800 `refresher=uac`, Min-SE 90, Supported `uui,100rel,timer`,
/// `X-Genesys-CallUUID`"
#[test]
fn headers_of_any_case_and_order_are_understood() {
    for names in [Names::AsUsual, Names::Lower, Names::Upper, Names::Compact] {
        let caller = Caller { names, ..Caller::new("7001") };
        let uuid = caller.uuid.clone();
        let mut desk = Desk::with(caller);
        desk.plays([scenario::ring(), scenario::talk(), scenario::hang_up()].concat());
        let invite = desk.message("INVITE", 0);
        let lines: Vec<_> = invite.lines().collect();
        assert!(lines[1].to_ascii_lowercase().starts_with(['c', 'l']), "{invite}");
        assert!(lines[3].contains("sip:7001@192.0.2.10:5060;tag="), "{invite}");
        assert!(!lines[3].contains('<') && invite.contains("pcmu/8000"), "{invite}");
        let invited = desk.invited.unwrap();
        assert_eq!(invited.from, "7001");
        assert_eq!(invited.call_uuid.as_deref(), Some(uuid.as_str()));
    }
}

/// "Payload numbers differ per leg (telephone-event is 101 there, 126 or 110 in the browser)", "what is
/// unknown (iLBC, iSAC, G.729) is ignored, not fatal"
#[test]
fn unknown_codecs_at_the_head_of_the_list_are_passed_over() {
    let desk = in_a_call();
    let invite = desk.message("INVITE", 0);
    assert!(invite.contains("RTP/AVP 18 98 0 8 101\r\n"), "{invite}");
    let answer = desk.message("200 OK (INVITE)", 0);
    let audio = answer.lines().find(|line| line.starts_with("m=audio")).unwrap();
    let formats: Vec<_> = audio.split(' ').skip(3).collect();
    assert_eq!(formats.first(), Some(&"0"), "{answer}");
    assert!(formats.contains(&"101") && !formats.contains(&"18"), "{answer}");
}

/// "No answer: the SIP server cancels. CANCEL races, 487, retransmitted NOTIFY."
#[test]
fn a_cancel_that_meets_the_200_ends_the_call_either_way() {
    for micros in [0, 100, 200, 300, 450, 1000] {
        let mut desk = Desk::new();
        desk.plays(scenario::ring());
        desk.player.play(
            [
                Step::Notify("talk"),
                Step::Wait(Duration::from_micros(micros)),
                Step::Cancel,
                Step::Expect(Expect::Final("INVITE"), SOON),
            ],
            desk.now,
        );
        desk.passes(Duration::from_secs(40));
        assert!(desk.player.failure().is_none(), "{micros}\n{}", desk.ladder());
        assert!(desk.player.has_ended() && desk.end.is_some(), "{micros}\n{}", desk.ladder());
        assert_eq!(desk.told.last(), Some(&"BYE"), "{micros}");
        assert_eq!(desk.told.iter().filter(|told| **told == "BYE").count(), 1, "{micros}");
    }
}

#[test]
fn a_caller_that_gives_up_is_told_487() {
    let mut desk = Desk::new();
    desk.plays((scenario::find("cancelled").unwrap().steps)());
    let end = desk.rungs();
    assert_eq!(
        end[3..],
        ["> CANCEL", "< 200 OK (CANCEL)", "< 487 Request Terminated (INVITE)", "> ACK"]
    );
    assert_eq!(desk.told, ["OFFER", "BYE"]);
}

/// "retransmitted NOTIFY": each copy gets its 200, and the call is answered once.
#[test]
fn a_notify_that_comes_three_times_answers_once() {
    let mut desk = Desk::new();
    desk.plays((scenario::find("notify-repeated").unwrap().steps)());
    let rungs = desk.rungs();
    let count = |title: &str| rungs.iter().filter(|rung| *rung == title).count();
    assert_eq!(count("> NOTIFY talk"), 3);
    assert_eq!(count("< 200 OK (NOTIFY)"), 3);
    assert_eq!(count("< 200 OK (INVITE)"), 2, "one more for the re-INVITE: {}", desk.ladder());
    assert_eq!(desk.told.iter().filter(|told| **told == "EVENT-TALK").count(), 1);
}

/// "INVITE without SDP, From = the destination -> 180 -> NOTIFY talk at once -> 200 with an offer, no
/// human involved"
#[test]
fn a_call_dialled_in_wwe_is_offered_without_the_browsers_help() {
    let mut desk = Desk::with(Caller::new("0049123456"));
    desk.browser_sleeps = true;
    desk.plays([scenario::ring_offerless(), scenario::talk_offerless()].concat());
    assert_eq!(body(&desk.message("INVITE", 0)), "");
    assert_eq!(desk.invited.as_ref().unwrap().from, "0049123456");
    let ok = desk.message("200 OK (INVITE)", 0);
    assert!(body(&ok).contains("m=audio 20000 RTP/AVP") && receives(body(&ok)), "{ok}");
    assert!(desk.between("NOTIFY talk", "200 OK (INVITE)") < A_MOMENT);
    assert_eq!(desk.told, ["INVITE", "EVENT-TALK"]);
}

/// "the ACK comes only when the far end has answered, up to 32 s later, with the SDP answer; 200 is
/// retransmitted meanwhile"
#[test]
fn the_ack_may_come_after_31_seconds_and_the_200_is_repeated_until_then() {
    let mut desk = Desk::new();
    desk.plays([scenario::ring_offerless(), scenario::talk_offerless()].concat());
    desk.plays(vec![Step::Wait(scenario::LATEST_ACK), Step::Ack(Body::Answer)]);
    // 0.5, 1, 2, 4, 4, ... s apart (RFC 3261 13.3.1.4).
    assert!(desk.player.repeats() >= 8, "{} repetitions", desk.player.repeats());
    let first = desk.message("200 OK (INVITE)", 0);
    assert_eq!(first, desk.message("200 OK (INVITE)", 5));
    let repeats = desk.player.repeats();
    desk.passes(Duration::from_secs(60));
    assert_eq!(desk.player.repeats(), repeats, "the ACK ends it");
    assert_eq!((desk.player.stage(), desk.end.as_ref()), (&Stage::Up, None));
    assert_eq!(desk.told, ["INVITE", "EVENT-TALK", "ANSWER"]);
    assert!(desk.flow.to_browser && desk.flow.to_sip);
    assert_eq!(desk.customer.target(), Some("192.0.2.20:20000".parse().unwrap()));
}

/// An ACK that never comes ends the call after 32 s, with a BYE.
#[test]
fn an_ack_that_never_comes_ends_the_call() {
    let mut desk = Desk::new();
    desk.plays([scenario::ring_offerless(), scenario::talk_offerless()].concat());
    desk.passes(Duration::from_secs(40));
    let end = desk.end.clone().unwrap();
    assert_eq!(end.by, CallEndedBy::Network, "{end:?}");
    assert!(desk.rungs().contains(&"< BYE".to_owned()), "{}", desk.ladder());
}

#[test]
fn a_lost_ack_is_made_up_for() {
    let mut desk = Desk::new();
    desk.plays((scenario::find("lost-ack").unwrap().steps)());
    assert!(desk.player.repeats() >= 1);
    assert!(desk.player.ladder().rungs().any(|rung| rung.lost));
}

/// "A failed call: ACK with the gateway's own SDP echoed back or with a black hole (`c=0.0.0.0`), then
/// BYE with `Reason: SIP;cause=403`. Neither may upset the media."
#[test]
fn a_failed_call_ends_with_its_reason_and_sends_nothing_anywhere() {
    for sdp in [Body::Mirrored, Body::BlackHole] {
        let mut desk = Desk::new();
        desk.plays([scenario::ring_offerless(), scenario::talk_offerless()].concat());
        let offer = body(&desk.message("200 OK (INVITE)", 0)).to_owned();
        desk.plays(vec![Step::Ack(sdp.clone()), Step::Wait(Duration::from_millis(1))]);
        let answer = body(&desk.message("ACK", 0)).to_owned();
        match sdp {
            Body::Mirrored => assert_eq!(answer, offer),
            _ => assert!(media_address(&answer).unwrap().ip().is_unspecified(), "{answer}"),
        }
        let reason = "SIP;cause=403";
        desk.plays(vec![Step::Bye(Some(reason)), Step::status(200, "BYE")]);
        let end = desk.end.clone().unwrap();
        assert_eq!((end.by, end.reason_header.as_deref()), (CallEndedBy::Peer, Some(reason)));
        assert_eq!(desk.told.last(), Some(&"BYE"));
    }
}

/// "BYE in the same millisecond" as the ACK.
#[test]
fn a_bye_right_behind_the_ack_is_answered_and_told() {
    let mut desk = Desk::new();
    desk.plays((scenario::find("bye-with-the-ack").unwrap().steps)());
    assert_eq!(desk.between("ACK", "BYE"), Duration::ZERO);
    assert!(desk.end.is_some());
    assert_eq!(desk.told.last(), Some(&"BYE"));
}

/// "Hold from WWE: NOTIFY `Event: hold` (the gateway re-INVITEs with hold) ... Retrieve: NOTIFY talk"
#[test]
fn notify_hold_re_invites_and_notify_talk_retrieves() {
    let mut desk = in_a_call();
    for _ in 0..3 {
        desk.plays(scenario::hold());
        assert!(desk.player.agent_holds() && desk.customer.target().is_none());
        assert!(!desk.flow.to_browser);
        desk.plays(scenario::retrieve());
        assert!(!desk.player.agent_holds());
        assert_eq!(desk.customer.direction(), Direction::SendRecv);
        assert!(desk.flow.to_browser && desk.flow.to_sip);
    }
}

/// "or a re-INVITE with `sendonly`, `inactive` or `c=0.0.0.0` ... Directions by RFC 3264"
#[test]
fn hold_by_re_invite_is_answered_in_all_three_forms() {
    for (hold, answered) in [
        (Hold::SendOnly, "a=recvonly"),
        (Hold::Inactive, "a=inactive"),
        (Hold::BlackHole, "a=sendrecv"),
    ] {
        let mut desk = in_a_call();
        desk.plays([vec![Step::Hold(hold)], scenario::renew()].concat());
        let answer = desk.player.sdps().next_back().unwrap().to_owned();
        // A black hole is an address, not a direction: both answers are in order (RFC 3264 8.4).
        let other = if hold == Hold::BlackHole { "a=recvonly" } else { answered };
        assert!(answer.contains(answered) || answer.contains(other), "{hold:?}: {answer}");
        desk.plays([vec![Step::Hold(Hold::No)], scenario::renew()].concat());
        assert!(desk.player.sdps().next_back().unwrap().contains("a=sendrecv"));
        assert_eq!(desk.customer.direction(), Direction::SendRecv);
    }
}

/// "Retrieve: NOTIFY talk, or a re-INVITE without SDP."
#[test]
fn a_re_invite_without_sdp_retrieves() {
    let mut desk = in_a_call();
    desk.plays(scenario::hold());
    desk.plays(scenario::offerless());
    assert!(!desk.player.agent_holds(), "{}", desk.player.sdps().next_back().unwrap());
    assert_eq!(desk.customer.direction(), Direction::SendRecv);
}

/// "our own hold must survive the peer's"
#[test]
fn the_agents_hold_survives_the_far_ends() {
    let mut desk = in_a_call();
    desk.plays(scenario::hold());
    desk.plays([vec![Step::Hold(Hold::SendOnly)], scenario::renew()].concat());
    assert!(!receives(desk.player.sdps().next_back().unwrap()));
    desk.plays([vec![Step::Hold(Hold::No)], scenario::renew()].concat());
    assert!(!receives(desk.player.sdps().next_back().unwrap()), "the agent still holds");
    desk.plays(scenario::retrieve());
    assert_eq!(desk.customer.direction(), Direction::SendRecv);
}

/// "re-INVITE and UPDATE at any time: address, port, payload and codec change", "Genesys mostly
/// transfers by re-INVITE", "The SDP is the far endpoint's own: media goes to any subnet."
#[test]
fn a_transfer_moves_address_port_codec_and_payload_numbers() {
    let mut desk = in_a_call();
    let told = desk.told.clone();
    let colleague = paper("203.0.113.80:30002");
    colleague.set_formats(vec![Codec::Pcma], Some(96));
    desk.plays([vec![Step::Connect(colleague.clone())], scenario::renew()].concat());
    assert_eq!(colleague.target(), Some("192.0.2.20:20000".parse().unwrap()));
    let answer = desk.player.sdps().next_back().unwrap().to_owned();
    assert!(answer.contains(" RTP/AVP 8 96\r\n"), "{answer}");
    // And back again, as after a consultation.
    desk.plays([vec![Step::Connect(desk.customer.clone())], scenario::renew()].concat());
    let sent: SocketAddr = media_address(&desk.message("re-INVITE", 2)).unwrap();
    assert_eq!(sent, CUSTOMER.parse::<SocketAddr>().unwrap());
    assert_eq!(desk.told, told, "none of it is the browser's business");
}

/// "Session timers ... a refresh with unchanged SDP changes nothing and keeps the o= version."
#[test]
fn a_refresh_changes_nothing() {
    let mut desk = in_a_call();
    desk.plays(scenario::renew());
    let before = desk.player.sdps().next_back().unwrap().to_owned();
    let told = desk.told.clone();
    for _ in 0..2 {
        desk.plays(vec![
            Step::Reinvite(Body::Unchanged),
            Step::status(200, "INVITE"),
            Step::Ack(Body::Nothing),
            Step::Update(Body::Unchanged),
            Step::status(200, "UPDATE"),
            Step::Update(Body::Nothing),
            Step::status(200, "UPDATE"),
        ]);
        assert_eq!(desk.player.sdps().next_back().unwrap(), before);
    }
    assert_eq!(desk.told, told);
}

/// The agent hangs up in the browser: BYE to the server.
#[test]
fn the_agent_hangs_up() {
    let mut desk = in_a_call();
    desk.hangs_up();
    assert_eq!(desk.rungs()[11..], ["< BYE", "> 200 OK (BYE)"]);
    assert!(matches!(desk.player.stage(), Stage::Ended(ended) if ended.by_agent));
}

/// The script says what it waited for in vain, and what came instead.
#[test]
fn a_script_that_waits_in_vain_says_so() {
    let mut desk = Desk::new();
    desk.player.play([Step::Invite(Body::Offer), Step::status(183, "INVITE")], desk.now);
    desk.passes(SOON);
    let failure = desk.player.failure().unwrap().to_string();
    assert!(failure.contains("183 to the INVITE") && failure.contains("180"), "{failure}");
}

/// The agent has a customer, who is held, and asks a colleague: a second call without an offer, answered
/// by the server's talk.
fn consults() -> (Desk, Arc<Paper>) {
    let mut desk = in_a_call();
    desk.plays(scenario::hold());
    let before = desk.told.len();
    let colleague = paper(COLLEAGUE);
    desk.calls_again(Caller::new("7100"), colleague.clone());
    desk.plays([scenario::ring_offerless(), scenario::talk_offerless()].concat());
    assert!(desk.between("NOTIFY talk", "200 OK (INVITE)") < A_MOMENT);
    desk.plays(vec![Step::Wait(Duration::from_secs(8)), Step::Ack(Body::Answer)]);
    desk.passes(Duration::from_secs(1));
    // No OFFER, no INVITE: its peer connection is what it was.
    // (The JSAPI has no word for a call that waits; the gadget has.)
    assert_eq!(desk.told[before..], ["WAITING", "EVENT-TALK", "ANSWER"], "{:?}", desk.told);
    assert_eq!(colleague.target(), Some("192.0.2.20:20000".parse().unwrap()));
    assert_eq!(desk.customer.target(), None, "the customer is held");
    assert!(desk.flow.to_browser && desk.flow.to_sip);
    assert!(!desk.player.agent_holds() && desk.other.as_ref().unwrap().agent_holds());
    (desk, colleague)
}

/// One OFFER, that of the first ring.
fn the_browser_is_left_alone(desk: &Desk) {
    let offers = desk.told.iter().filter(|told| **told == "OFFER").count();
    assert_eq!((offers, desk.renewed), (1, 0), "{:?}", desk.told);
}

/// "Call from the agent, dialled in WWE (3pcc)", "Hold from WWE", "Retrieve": a consultation that ends.
#[test]
fn a_consultation_ends_and_the_customer_is_retrieved() {
    for offerless in [false, true] {
        let (mut desk, _) = consults();
        desk.plays(scenario::hang_up());
        assert!(!desk.flow.to_sip && !desk.flow.to_browser, "the customer is still held");
        desk.turns();
        desk.plays(if offerless { scenario::offerless() } else { scenario::retrieve() });
        desk.passes(Duration::from_secs(1));
        assert!(!desk.player.agent_holds());
        assert_eq!(desk.customer.direction(), Direction::SendRecv);
        assert_eq!(desk.customer.target(), Some("192.0.2.20:20000".parse().unwrap()));
        assert!(desk.flow.to_browser && desk.flow.to_sip);
        the_browser_is_left_alone(&desk);
        desk.plays(scenario::hang_up());
        desk.passes(Duration::from_secs(40));
        assert_eq!(desk.told.last(), Some(&"BYE"));
        assert!(desk.call.as_ref().unwrap().is_over());
    }
}

/// "Genesys mostly transfers by re-INVITE": the first call gets the colleague's end while the agent holds
/// it ("our own hold must survive the peer's"), the consultation is over, and talk brings the sound.
#[test]
fn a_transfer_after_a_consultation_is_completed_by_re_invite() {
    for bye_first in [false, true] {
        let (mut desk, _) = consults();
        if bye_first {
            desk.plays(scenario::hang_up());
            desk.turns();
        } else {
            desk.turns();
        }
        let third = paper("198.51.100.9:18000");
        desk.plays([vec![Step::Connect(third.clone())], scenario::renew()].concat());
        let answer = desk.player.sdps().next_back().unwrap();
        assert!(!receives(answer), "our hold survives: {answer}");
        if !bye_first {
            assert!(desk.flow.to_browser && desk.flow.to_sip, "the consultation is not disturbed");
            desk.turns();
            desk.plays(scenario::hang_up());
            desk.turns();
        }
        assert!(!desk.flow.to_sip);
        desk.plays(scenario::retrieve());
        desk.passes(Duration::from_secs(1));
        assert_eq!(third.direction(), Direction::SendRecv);
        assert_eq!(third.target(), Some("192.0.2.20:20000".parse().unwrap()));
        assert!(desk.flow.to_browser && desk.flow.to_sip);
        the_browser_is_left_alone(&desk);
    }
}

/// A consultation that fails: "ACK with the gateway's own SDP echoed back or with a black hole, then BYE
/// with `Reason: SIP;cause=403`". The customer is there as before.
#[test]
fn a_consultation_that_fails_leaves_the_customer_held() {
    for sdp in [Body::Mirrored, Body::BlackHole] {
        let mut desk = in_a_call();
        desk.plays(scenario::hold());
        desk.calls_again(Caller::new("7006"), paper(COLLEAGUE));
        desk.plays([scenario::ring_offerless(), scenario::talk_offerless()].concat());
        desk.plays(scenario::fail(sdp));
        assert!(!desk.flow.to_sip, "the customer is still held");
        desk.turns();
        desk.plays(scenario::retrieve());
        desk.passes(Duration::from_secs(1));
        assert!(desk.flow.to_browser && desk.flow.to_sip);
        assert_eq!(desk.customer.target(), Some("192.0.2.20:20000".parse().unwrap()));
        the_browser_is_left_alone(&desk);
    }
}
