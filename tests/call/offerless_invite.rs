//! 3pcc: INVITE without SDP, the offer in our 200, the answer in the ACK (RFC 3725 flow I).

use crate::support::*;
use wrtc_gateway::agent::Dialect;
use wrtc_gateway::sip::NotifyEvent;

const FAR: &str = "203.0.113.5:30000";

#[test]
fn the_agents_offer_becomes_the_200_and_the_ack_the_answer() {
    let mut bench = Bench::incoming(None);
    assert_eq!(bench.heard(), ["invite"]);
    bench.offer(ids(55, 1), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.sip_heard(), ["progress", "accept"]);
    assert_eq!(bench.heard(), ["invite"], "the ANSWER waits for the ACK");
    bench.acked(Some(&sip_sdp(FAR, "8 101", "sendrecv", 1)));
    let (answer_ids, sdp, _) = bench.our_answer();
    assert_eq!((answer_ids.offerer, answer_ids.seq), (55, 1));
    assert_eq!(sdp.payloads.formats[0].payload, 8);
    assert!(bench.flow().to_sip);
}

#[test]
fn talk_answers_before_the_browser_has_offered() {
    let mut bench = Bench::incoming(None);
    bench.notified(NotifyEvent::Talk);
    assert_eq!(bench.sip_heard(), ["progress", "accept"]);
    assert_eq!(bench.sip_sdp().payloads.formats.len(), ALL.len(), "a full offer");
    bench.acked(Some(&sip_sdp(FAR, "0 101", "sendrecv", 1)));
    bench.offer(ids(55, 1), &browser_offer("u0", 1, "sendrecv"));
    assert_eq!(bench.heard(), ["invite", "talk", "answer"]);
    assert_eq!(bench.our_answer().1.payloads.formats[0].payload, 0);
}

#[test]
fn our_own_sdp_in_the_ack_is_a_black_hole() {
    let mut bench = Bench::incoming(None);
    bench.offer(ids(55, 1), &browser_offer("u0", 1, "sendrecv"));
    let mirrored = bench.sip_text();
    bench.acked(Some(&mirrored));
    assert_eq!(bench.remote().target, None, "nothing is sent to ourselves");
    assert!(bench.ended.is_none(), "the BYE that follows ends it");
}

#[test]
fn a_black_hole_in_the_ack_upsets_nothing() {
    let mut bench = Bench::incoming(None);
    bench.offer(ids(55, 1), &browser_offer("u0", 1, "sendrecv"));
    bench.acked(Some(&sip_sdp("0.0.0.0:30000", "0", "sendrecv", 1)));
    assert_eq!(bench.remote().target, None);
    assert!(!bench.flow().to_sip && bench.ended.is_none());
}

#[test]
fn the_raw_sdp_dialect_gets_an_offer_instead() {
    let mut bench = Bench::incoming_in(Dialect::Rest, None);
    assert_eq!(bench.heard(), ["offer"]);
    bench.answer(&browser_answer("u1", "sendrecv", "8 126"));
    assert_eq!(bench.sip_sdp().payloads.formats[0].codec, wrtc_gateway::sdp::Codec::Pcma);
    bench.acked(Some(&sip_sdp(FAR, "8 101", "sendrecv", 1)));
    assert!(bench.flow().to_sip);
}
