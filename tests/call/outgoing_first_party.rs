//! OFFER -> INVITE -> 200 -> ANSWER, and the ways in which it does not come to that.

use crate::support::*;
use wrtc_gateway::agent::MessageError;
use wrtc_gateway::call::{CallEndedBy, FirstOffer};
use wrtc_gateway::sdp::{Codec, Setup};
use wrtc_gateway::sip::{Command, Event};
use wrtc_gateway::wire::{FromBrowser, ToBrowser};

#[test]
fn invites_with_the_codecs_both_sides_may_share() {
    let bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    assert!(matches!(&bench.to_sip[0], Command::Invite { to, .. } if to == "1003"));
    let codecs: Vec<Codec> = bench.sip_sdp().payloads.formats.iter().map(|f| f.codec).collect();
    assert_eq!(codecs, ALL, "the configured order");
    assert_eq!(bench.sip_sdp().payloads.telephone_event, Some(101));
    assert!(bench.to_browser.is_empty(), "the ANSWER waits for the far end");
}

#[test]
fn answers_the_browser_with_the_far_ends_codec_alone() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.answered(&sip_sdp("203.0.113.5:30000", "8 101", "sendrecv", 1));
    let (ids, sdp, _) = bench.our_answer();
    assert_eq!((ids.offerer, ids.answerer, ids.seq), (103, Some(900), 1));
    assert_eq!(sdp.payloads.formats.len(), 1);
    assert_eq!(sdp.payloads.formats[0].codec, Codec::Pcma);
    assert_eq!(sdp.payloads.telephone_event, Some(126), "the browser's own number");
    assert_eq!(sdp.setup, Setup::Passive);
    assert_eq!(bench.remote().target, Some("203.0.113.5:30000".parse().unwrap()));
    let flow = bench.flow();
    assert!(flow.to_sip && flow.to_browser && flow.keep_alive);
}

#[test]
fn ringing_is_told_once() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    for code in [100, 180, 183, 180] {
        let text = String::new();
        bench.sip(Event::Progressed { session: SESSION, code, text, sdp: None, early: 0 });
    }
    assert_eq!(bench.heard(), ["ringing"]);
}

#[test]
fn a_refusal_reaches_the_browser_with_its_code() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.hung_up(486, "Busy Here");
    let bye = ToBrowser::Bye { code: 486, reason: "Busy Here".into() };
    assert_eq!(bench.to_browser, [bye]);
    let end = bench.ended.unwrap();
    assert_eq!((end.by, end.code, end.answered_at), (CallEndedBy::Peer, 486, None));
}

#[test]
fn a_cancelled_call_is_not_told_to_the_one_who_cancelled() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.browser(FromBrowser::Bye).unwrap();
    assert_eq!(bench.sip_heard(), ["invite", "end"]);
    assert!(bench.to_browser.is_empty());
    assert_eq!(bench.ended.unwrap().by, CallEndedBy::Browser);
}

#[test]
fn an_answer_without_a_common_codec_ends_the_call_with_488() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.answered(&sip_sdp("203.0.113.5:30000", "18", "sendrecv", 1));
    assert_eq!(bench.end_code(), 488);
    assert_eq!(bench.heard(), ["bye"]);
}

#[test]
fn an_offer_is_judged_before_anything_is_taken_for_it() {
    let try_offer = |sdp: &str| FirstOffer::parse(None, sdp.into(), &[], &config()).err();
    assert!(matches!(try_offer("hello"), Some(MessageError::BadRequest(_))));
    let video = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 RTP/SAVPF 96\r\n";
    assert!(matches!(try_offer(video), Some(MessageError::UnusableSdp(_))));
}
