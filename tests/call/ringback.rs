//! "Ringback is made locally while nothing comes."

use std::time::Duration;

use crate::support::*;
use wrtc_gateway::agent::Dialect;
use wrtc_gateway::call::{CallConfig, MediaCommand};
use wrtc_gateway::media::{Flow, Signal};
use wrtc_gateway::sdp::Codec;
use wrtc_gateway::sip::{End, EndedBy, Event};
use wrtc_gateway::wire::{FromBrowser, ToBrowser};

const SOON: Duration = Duration::from_millis(500);
const RINGS: Flow = Flow { tone: Some(Signal::Ringback), ..Flow::NONE };

fn far(formats: &str) -> String {
    sip_sdp("203.0.113.5:30000", formats, "sendrecv", 1)
}

#[test]
fn a_raw_sdp_client_is_answered_while_it_rings_and_hears_it() {
    let mut bench = Bench::outgoing_raw(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(180, None, 1);
    assert_eq!(bench.heard(), ["ringing"], "the network may have something to say itself");
    bench.wait(SOON);
    assert_eq!(bench.heard(), ["ringing", "answer"]);
    assert!(bench.to_browser.iter().any(|m| matches!(m, ToBrowser::Answer { early: true, .. })));
    assert_eq!(
        bench.our_answer().1.payloads.formats[0].codec,
        Codec::Pcmu,
        "what we offered first"
    );
    assert_eq!(bench.flow(), RINGS);
    assert_eq!(bench.line.state(SESSION), "calling");

    bench.clear();
    bench.answered(&far("0 101"));
    assert_eq!(bench.heard(), ["connected"]);
    assert_eq!(bench.flow(), Flow::BOTH);
}

/// To a JSAPI client an ANSWER is a person who picked up: it stops ringing, and its `noanswer_timeout`.
#[test]
fn a_jsapi_client_rings_by_itself_until_somebody_picks_up() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(180, None, 1);
    bench.wait(SOON);
    assert_eq!(bench.heard(), ["ringing"]);
    assert!(bench.to_media.is_empty());
    bench.answered(&far("0 101"));
    assert_eq!(bench.heard(), ["ringing", "answer"]);
    assert_eq!(bench.flow(), Flow::BOTH);
}

#[test]
fn early_media_goes_before_it_and_it_rings_where_none_comes() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(183, Some(&far("0 101")), 1);
    bench.wait(SOON);
    assert_eq!(bench.flow(), Flow::BOTH, "nothing was said of ringing");
    bench.progressed(180, None, 1);
    bench.wait(SOON);
    assert_eq!(bench.flow(), Flow { tone: Some(Signal::Ringback), ..Flow::BOTH });
}

#[test]
fn an_answer_at_once_needs_no_ringing() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(180, None, 1);
    bench.answered(&far("8 101"));
    bench.wait(SOON);
    assert_eq!(bench.heard(), ["ringing", "answer"]);
    assert_eq!(bench.our_answer().1.payloads.formats[0].codec, Codec::Pcma, "the far end's choice");
    assert_eq!(bench.flow(), Flow::BOTH);
}

#[test]
fn it_is_off_where_no_tones_are_configured() {
    let config = CallConfig { ringback: false, ..config() };
    let mut bench = Bench::outgoing_with(config, &browser_offer("u0", 1, "sendrecv"), &[]);
    bench.progressed(180, None, 1);
    bench.wait(SOON);
    assert_eq!(bench.heard(), ["ringing"]);
    assert!(bench.to_media.is_empty());
}

#[test]
fn a_codec_the_far_end_prefers_is_brought_by_an_offer() {
    let mut bench = Bench::outgoing_raw(&browser_offer("u0", 1, "sendrecv"));
    bench.progressed(180, None, 1);
    bench.wait(SOON);
    bench.clear();
    bench.answered(&far("9 101"));
    assert_eq!(bench.heard(), ["connected", "offer"]);
}

/// "INVITE without SDP ... 200 with an offer ... the ACK comes only when the far end has answered, up to 32 s
/// later, with the SDP answer."
#[test]
fn a_call_that_the_server_dials_rings_until_its_ack() {
    for dialect in [Dialect::Jsapi, Dialect::Rest] {
        let mut bench = Bench::incoming_in(dialect, None);
        match dialect {
            Dialect::Jsapi => bench.offer(ids(103, 1), &browser_offer("u0", 1, "sendrecv")),
            Dialect::Rest => bench.answer(&browser_answer("u1", "sendrecv", "0 126")),
        }
        bench.wait(SOON);
        assert_eq!(bench.flow(), RINGS, "{dialect:?}");
        let answers = bench.heard().iter().filter(|m| **m == "answer").count();
        assert_eq!(answers, usize::from(dialect == Dialect::Jsapi));
        bench.wait(Duration::from_secs(20));
        bench.clear();
        bench.acked(Some(&far("0 101")));
        assert_eq!(bench.heard(), [""; 0], "{dialect:?}");
        assert_eq!(bench.flow(), Flow::BOTH);
    }
}

#[test]
fn an_ack_that_comes_at_once_rings_nothing() {
    let mut bench = Bench::incoming(None);
    bench.offer(ids(103, 1), &browser_offer("u0", 1, "sendrecv"));
    bench.acked(Some(&far("8 101")));
    bench.wait(SOON);
    assert_eq!(bench.our_answer().1.payloads.formats[0].codec, Codec::Pcma);
    assert!(!bench.to_media.contains(&MediaCommand::SetFlow(RINGS)));
}

/// A consultation: the browser is there, and the held call waits for the agent to come back.
#[test]
fn a_second_call_rings_and_tells_by_a_tone_why_it_failed() {
    for (code, signal) in [(486, Signal::Busy), (404, Signal::Congestion)] {
        let mut bench = Bench::established();
        bench.dialled("1004").unwrap();
        let text = String::new();
        bench.sip(Event::Progressed { session: SECOND, code: 180, text, sdp: None, early: 1 });
        bench.wait(SOON);
        assert_eq!(bench.flow(), RINGS);
        let end = End { by: EndedBy::Peer, code, text: "no".into(), reason_header: None };
        bench.sip(Event::Ended { session: SECOND, end });
        assert_eq!(bench.flow(), Flow { tone: Some(signal), ..Flow::NONE });
        bench.wait(Duration::from_secs(5));
        assert_eq!(bench.flow(), Flow::NONE, "it does not go on for ever");
    }
}

#[test]
fn going_back_to_the_other_call_ends_it() {
    let mut bench = Bench::established();
    bench.dialled("1004").unwrap();
    let end = End { by: EndedBy::Peer, code: 486, text: "no".into(), reason_header: None };
    bench.sip(Event::Ended { session: SECOND, end });
    assert_eq!(bench.flow().tone, Some(Signal::Busy));
    bench.reinvite_answered(&far("0 101").replace("sendrecv", "recvonly"));
    bench.on(SESSION, FromBrowser::Resume).unwrap();
    assert_eq!(bench.flow().tone, None);
}

#[test]
fn a_digit_that_comes_as_info_is_played_too() {
    let mut bench = Bench::established();
    bench.sip(Event::Informed {
        session: SESSION,
        content_type: "application/dtmf-relay".into(),
        body: "Signal=6\r\nDuration=160\r\n".into(),
    });
    assert_eq!(bench.to_media, [MediaCommand::PlayDigit('6')]);
    assert_eq!(bench.to_browser, [ToBrowser::Digit('6')]);
}
