//! What the SIP side changes in the call does not cost the browser a message.

use crate::support::*;
use wrtc_gateway::sdp::Codec;

#[test]
fn the_offerless_reinvite_after_each_answer() {
    let mut bench = Bench::incoming(Some(&sip_sdp("203.0.113.5:30000", "0 8 101", "sendrecv", 1)));
    bench.answer(&browser_answer("u1", "sendrecv", "0 8 9 126"));
    let before = bench.sip_sdp().origin.1;
    bench.clear();
    bench.reinvited(None);
    assert_eq!(bench.sip_heard(), ["accept-reinvite"]);
    let offer = bench.sip_sdp();
    assert_eq!(offer.payloads.formats[0].codec, Codec::Pcmu, "what is in use first");
    assert!(offer.payloads.formats.len() > 1, "a full offer");
    assert!(offer.origin.1 > before, "the o= version is raised");
    bench.acked(Some(&sip_sdp("198.51.100.77:40404", "0 101", "sendrecv", 2)));
    assert_eq!(bench.remote().target, Some("198.51.100.77:40404".parse().unwrap()));
    assert!(bench.to_browser.is_empty());
}

#[test]
fn address_port_and_payload_change() {
    let mut bench = Bench::established();
    bench.reinvited(Some(&sip_sdp("198.51.100.1:5000", "0 101", "sendrecv", 2)));
    assert_eq!(bench.remote().target, Some("198.51.100.1:5000".parse().unwrap()));
    // G.711 to G.711 is bridged by table.
    bench.reinvited(Some(&sip_sdp("198.51.100.1:5002", "8 101", "sendrecv", 3)));
    assert_eq!(bench.line.codec(), Some(Codec::Pcma));
    assert!(bench.to_browser.is_empty());
}

#[test]
fn a_refresh_keeps_the_version() {
    let mut bench = Bench::established();
    let same = sip_sdp("203.0.113.5:30000", "0 101", "sendrecv", 1);
    bench.reinvited(Some(&same));
    let first = bench.sip_sdp().origin;
    bench.reinvited(Some(&same));
    assert_eq!(bench.sip_sdp().origin, first);
}

#[test]
fn an_offer_that_cannot_be_used_is_refused_and_changes_nothing() {
    let mut bench = Bench::established();
    for sdp in [sip_sdp("203.0.113.5:30000", "18", "sendrecv", 2), "garbage".to_owned()] {
        bench.reinvited(Some(&sdp));
    }
    assert_eq!(bench.sip_heard(), ["reject-reinvite", "reject-reinvite"]);
    assert!(bench.ended.is_none() && bench.to_media.is_empty());
}

#[test]
fn only_a_codec_that_cannot_be_bridged_costs_an_offer() {
    let mut bench = Bench::established();
    bench.reinvited(Some(&sip_sdp("203.0.113.5:30000", "9 101", "sendrecv", 2)));
    assert_eq!(bench.heard(), ["offer"]);
    let (offer_ids, sdp) = bench.our_offer();
    assert_eq!((offer_ids.offerer, offer_ids.answerer, offer_ids.seq), (900, Some(103), 2));
    assert_eq!(sdp.payloads.formats[0].codec, Codec::G722);
    bench.answer(&browser_answer("u0", "sendrecv", "9 126"));
    assert_eq!(bench.heard(), ["offer", "ok"]);
}

/// A browser that answers with formats nobody offered does not get OFFER after OFFER.
#[test]
fn an_answer_with_more_than_was_offered_is_not_asked_again() {
    for formats in ["0 9 126", "8 0 9 126", "0 8 126"] {
        let mut bench = Bench::established();
        bench.reinvited(Some(&sip_sdp("203.0.113.5:30000", "9 101", "sendrecv", 2)));
        assert_eq!(bench.heard(), ["offer"]);
        for _ in 0..3 {
            if bench.heard().last() == Some(&"offer") {
                bench.answer(&browser_answer("u0", "sendrecv", formats));
            }
        }
        assert_eq!(bench.heard(), ["offer", "ok"], "{formats}");
    }
}
