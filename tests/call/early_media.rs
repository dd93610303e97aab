//! "First-party calls (the gadget dials): INVITE with SDP, early media (183, several early dialogs, the
//! last SDP wins)."

use crate::support::*;
use wrtc_gateway::media::Flow;
use wrtc_gateway::sdp::Codec;
use wrtc_gateway::sip::Event;
use wrtc_gateway::wire::{FromBrowser, ToBrowser};

const BOTH: Flow = Flow::BOTH;

fn far(host: u8, formats: &str) -> String {
    sip_sdp(&format!("203.0.113.{host}:30000"), formats, "sendrecv", 1)
}

#[test]
fn an_early_sdp_answers_the_browser_and_lets_media_through() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(183, Some(&far(5, "0 101")), 1);
    assert_eq!(bench.heard(), ["ringing", "answer"]);
    assert!(bench.to_browser.iter().any(|m| matches!(m, ToBrowser::Answer { early: true, .. })));
    assert_eq!(bench.flow(), BOTH);
    assert_eq!(bench.line.state(SESSION), "calling");
    bench.browser(FromBrowser::Ok { ids: ids(103, 1) }).unwrap();

    // The 200 from there, with the same description.
    bench.clear();
    bench.answered(&far(5, "0 101"));
    assert_eq!(bench.heard(), ["connected"], "no second ANSWER");
    assert_eq!(bench.line.state(SESSION), "established");
}

#[test]
fn of_several_early_dialogs_the_last_sdp_wins_and_the_browser_stays_untouched() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(180, None, 1);
    bench.progressed(183, Some(&far(5, "0 101")), 1);
    bench.clear();
    bench.progressed(183, Some(&far(6, "8 101")), 2);
    assert!(bench.heard().is_empty(), "PCMA is bridged to what it sends");
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.6:30000");
    bench.answered(&far(7, "0 101"));
    assert_eq!(bench.heard(), ["connected"]);
    assert_eq!(bench.remote().target.unwrap().to_string(), "203.0.113.7:30000");
}

#[test]
fn an_answer_with_another_codec_is_brought_to_the_browser_by_an_offer() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(183, Some(&far(5, "0 101")), 1);
    bench.clear();
    bench.answered(&far(5, "9 101"));
    assert_eq!(bench.heard(), ["connected", "offer"]);
    assert_eq!(bench.our_offer().1.payloads.preferred().unwrap().codec, Codec::G722);
}

#[test]
fn an_answer_without_sdp_after_a_reliable_early_one_is_one() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(183, Some(&far(5, "0 101")), 1);
    bench.sip(Event::Answered { session: SESSION, sdp: None });
    assert_eq!(bench.line.state(SESSION), "established");
    assert!(bench.ended.is_none());
}

#[test]
fn an_early_sdp_that_cannot_be_used_changes_nothing() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(183, Some(&far(5, "18")), 1);
    bench.progressed(183, Some("nonsense"), 2);
    assert_eq!(bench.heard(), ["ringing"]);
    bench.answered(&far(5, "0 101"));
    assert_eq!(bench.heard(), ["ringing", "answer"]);
}

#[test]
fn a_busy_after_an_announcement_ends_the_call() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(183, Some(&far(5, "0 101")), 1);
    bench.hung_up(486, "Busy Here");
    assert_eq!(bench.heard(), ["ringing", "answer", "bye"]);
    assert!(bench.line.is_over());
}

#[test]
fn a_hold_before_the_answer_is_made_good_after_it() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(183, Some(&far(5, "0 101")), 1);
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "inactive"));
    assert!(!bench.flow().to_sip && !bench.flow().to_browser);
    bench.clear();
    bench.answered(&far(5, "0 101"));
    assert_eq!(bench.sip_heard(), ["reinvite"]);
}
