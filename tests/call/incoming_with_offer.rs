//! INVITE with SDP -> OFFER -> ANSWER -> 200, by the agent's hand or by NOTIFY talk.

use crate::support::*;
use wrtc_gateway::call::CallEndedBy;
use wrtc_gateway::sdp::{Codec, Setup};
use wrtc_gateway::sip::{Command, NotifyEvent};
use wrtc_gateway::wire::FromBrowser;

const FAR: &str = "203.0.113.5:30000";

#[test]
fn rings_at_both_ends() {
    let bench = Bench::incoming(Some(&sip_sdp(FAR, "8 0 101", "sendrecv", 1)));
    assert_eq!(bench.to_sip[0], Command::Progress { session: SESSION, code: 180, sdp: None });
    let (ids, sdp) = bench.our_offer();
    assert_eq!((ids.offerer, ids.answerer, ids.seq), (900, None, 1));
    assert_eq!(sdp.setup, Setup::ActPass);
    assert_eq!(sdp.payloads.formats[0].codec, Codec::Pcma, "the caller's order");
    assert!(sdp.ice.is_some() && sdp.fingerprint.is_some());
}

#[test]
fn the_agents_answer_is_the_200() {
    let mut bench = Bench::incoming(Some(&sip_sdp(FAR, "8 0 101", "sendrecv", 1)));
    bench.answer(&browser_answer("u1", "sendrecv", "8 0 126"));
    assert_eq!(bench.sip_heard(), ["progress", "accept"]);
    assert_eq!(bench.sip_sdp().payloads.formats.len(), 1);
    assert_eq!(bench.sip_sdp().payloads.formats[0].codec, Codec::Pcma);
    assert_eq!(bench.sip_sdp().payloads.telephone_event, Some(101), "the caller's number");
    assert_eq!(bench.heard(), ["offer", "ok"]);
    assert!(bench.flow().to_browser);
}

#[test]
fn talk_costs_one_200_and_no_round_trip_to_the_browser() {
    let mut bench = Bench::incoming(Some(&sip_sdp(FAR, "8 0 101", "sendrecv", 1)));
    bench.notified(NotifyEvent::Talk);
    assert_eq!(bench.sip_heard(), ["progress", "accept"]);
    assert_eq!(bench.heard(), ["offer", "talk"]);
    bench.answer(&browser_answer("u1", "sendrecv", "8 0 126"));
    assert_eq!(bench.sip_heard(), ["progress", "accept"], "nothing more for SIP");
    assert_eq!(bench.heard(), ["offer", "talk", "ok"]);
}

#[test]
fn rejected_by_the_agent() {
    let mut bench = Bench::incoming(Some(&sip_sdp(FAR, "8", "sendrecv", 1)));
    bench.browser(FromBrowser::Bye).unwrap();
    assert_eq!(bench.end_code(), 603);
    assert_eq!(bench.ended.unwrap().by, CallEndedBy::Browser);
}

#[test]
fn cancelled_by_the_caller() {
    let mut bench = Bench::incoming(Some(&sip_sdp(FAR, "8", "sendrecv", 1)));
    bench.hung_up(487, "Request Terminated");
    assert_eq!(bench.heard(), ["offer", "bye"]);
}

#[test]
fn an_answer_that_cannot_be_used_ends_it() {
    let mut bench = Bench::incoming(Some(&sip_sdp(FAR, "8", "sendrecv", 1)));
    let refused = browser_answer("u1", "sendrecv", "8").replace("m=audio 9", "m=audio 0");
    bench.answer(&refused);
    assert_eq!(bench.end_code(), 488);
    assert_eq!(bench.heard(), ["offer", "error", "bye"]);
}

#[test]
fn a_call_that_finds_no_codec_in_common_is_transcoded() {
    let mut bench = Bench::incoming(Some(&sip_sdp("203.0.113.5:30000", "9 101", "sendrecv", 1)));
    bench.answer(&browser_answer("u1", "sendrecv", "0 126"));
    assert_eq!(bench.sip_heard(), ["progress", "accept"]);
    assert_eq!(bench.sip_sdp().payloads.formats[0].codec, Codec::G722);
    assert_eq!(bench.heard(), ["offer", "ok"], "another OFFER would change nothing");
    assert!(bench.flow().to_sip && bench.flow().to_browser);
}
