//! REFER in, within a dialog and outside of any, and the NOTIFYs that tell how it goes.

use std::time::Duration;

use rsipstack::sip::{Method, Request, Response};
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::{Command, Event, Hop, ReferId, Referred, SessionId};

use super::support::*;

const TO: &str = "Refer-To: \"Bob\" <sip:1009@example.org>\r\n";

fn referred(bench: &mut Bench) -> (ReferId, Option<SessionId>, Referred) {
    match bench.event() {
        Event::Referred { refer, session, referred } => (refer, session, *referred),
        other => panic!("Referred: {other:?}"),
    }
}

/// One answer and one request.
fn answer_and_request(bench: &mut Bench) -> (Response, ClientTx, Request, Hop) {
    let mut sent = bench.sent().into_iter();
    match (sent.next(), sent.next(), sent.next()) {
        (
            Some(Transmit::Response { response, .. }),
            Some(Transmit::Request { tx, request, to }),
            None,
        ) => (response, tx, request, to),
        other => panic!("an answer and a request: {other:?}"),
    }
}

fn frag(notify: &Request) -> (String, String) {
    assert_eq!(notify.method, Method::Notify);
    assert_eq!(header(notify, "Content-Type").as_deref(), Some("message/sipfrag;version=2.0"));
    let body = String::from_utf8(notify.body.clone()).unwrap();
    (header(notify, "Subscription-State").unwrap(), body)
}

fn progress(bench: &mut Bench, refer: ReferId, code: u16, text: &str) {
    bench.command(Command::ReferProgress { refer, code, text: text.into() });
}

#[test]
fn a_refer_in_a_call_is_told_accepted_and_followed() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let lines = "Refer-To: \"Bob\" <sip:1009@example.org;transport=udp?Replaces=c%40h%3Bto-tag\
        %3D1%3Bfrom-tag%3D2&Subject=evil>\r\nReferred-By: \"Ann\" <sip:ann@example.org>\r\n";
    bench.receive(&peer.request(Method::Refer, lines, ""));
    let (refer, from, what) = referred(&mut bench);
    assert_eq!(from, Some(session));
    let expected = Referred {
        display_name: Some("Bob".into()),
        to: "sip:1009@example.org;transport=udp".into(),
        replaces: Some("c@h;to-tag=1;from-tag=2".into()),
        referred_by: Some("\"Ann\" <sip:ann@example.org>".into()),
    };
    assert_eq!(what, expected);
    assert!(bench.sent().is_empty(), "the application answers");
    bench.command(Command::AcceptRefer { refer });
    let (accepted, tx, trying, to) = answer_and_request(&mut bench);
    assert_eq!(accepted.status_code.code(), 202);
    assert_eq!(header(&accepted, "Contact").as_deref(), Some("<sip:5001@192.0.2.1:5070>"));
    assert_eq!(to, addr("192.0.2.9:5062"));
    assert_eq!(frag(&trying), ("active;expires=300".into(), "SIP/2.0 100 Trying\r\n".into()));
    assert_eq!(header(&trying, "Event").as_deref(), Some("refer"));
    assert!(header(&trying, "Contact").is_some());

    // One NOTIFY at a time; what is out of date is not sent.
    progress(&mut bench, refer, 180, "Ringing");
    progress(&mut bench, refer, 183, "Session\r\nProgress");
    assert!(bench.sent().is_empty());
    bench.advance(Duration::from_secs(10));
    bench.answer(tx, &trying, "200 OK", "", "");
    let (tx, ringing, _) = bench.request();
    let expected = ("active;expires=290".into(), "SIP/2.0 183 SessionProgress\r\n".into());
    assert_eq!(frag(&ringing), expected);
    bench.answer(tx, &ringing, "200 OK", "", "");
    progress(&mut bench, refer, 200, "OK");
    let (tx, last, _) = bench.request();
    let expected = ("terminated;reason=noresource".into(), "SIP/2.0 200 OK\r\n".into());
    assert_eq!(frag(&last), expected);
    progress(&mut bench, refer, 180, "Ringing");
    bench.answer(tx, &last, "200 OK", "", "");
    progress(&mut bench, refer, 180, "Ringing");
    assert!(bench.sent().is_empty() && bench.events().is_empty());
    assert_eq!(bench.ua.poll_timeout(), None, "nothing is left of it");
}

#[test]
fn a_second_refer_in_a_dialog_is_told_of_by_its_number() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    for event in ["refer".to_owned(), "refer;id=103".to_owned()] {
        bench.receive(&peer.request(Method::Refer, TO, ""));
        let (refer, ..) = referred(&mut bench);
        bench.command(Command::AcceptRefer { refer });
        let (_, _, notify, _) = answer_and_request(&mut bench);
        assert_eq!(header(&notify, "Event"), Some(event));
    }
}

#[test]
fn a_refusal_and_an_application_that_says_nothing() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Refer, TO, ""));
    let (refer, ..) = referred(&mut bench);
    bench.command(Command::RejectRefer { refer, code: 403 });
    assert_eq!(bench.codes(), [403]);
    bench.command(Command::AcceptRefer { refer });
    assert!(bench.sent().is_empty());

    bench.receive(&peer.request(Method::Refer, TO, ""));
    let (refer, ..) = referred(&mut bench);
    bench.advance(Duration::from_millis(29_999));
    assert!(bench.sent().is_empty() && !bench.ua.is_idle());
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.codes(), [603]);
    bench.command(Command::AcceptRefer { refer });
    assert!(bench.sent().is_empty());
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    for (lines, code) in [
        ("", 400),
        ("Refer-To: <sip:1@h>\r\nRefer-To: <sip:2@h>\r\n", 400),
        ("r: <sip:1@h>, <sip:2@h>\r\n", 400),
        ("Refer-To: \"open <sip:1@h>\r\n", 400),
        ("Refer-To: <sip:1@h?Replaces=nonsense>\r\n", 400),
        ("Refer-To: <https://example.org/>\r\n", 416),
        ("Refer-To: <sip:1@h;method=BYE>\r\n", 501),
    ] {
        bench.receive(&peer.request(Method::Refer, lines, ""));
        assert_eq!(bench.codes(), [code], "{lines}");
    }
    assert!(bench.events().is_empty());
    assert_eq!(bench.ua.faults().bad_refers, 7);
    bench.receive(&peer.request(Method::Refer, &format!("{TO}Require: multiple-refer\r\n"), ""));
    assert_eq!(bench.codes(), [420]);
    // A call that only rings.
    let mut bench = Bench::new();
    let (_, mut peer) = bench.ring(OFFER);
    bench.receive(&peer.request(Method::Refer, TO, ""));
    assert_eq!(bench.codes(), [500]);
}

#[test]
fn refers_are_bounded() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    for _ in 0..8 {
        bench.receive(&peer.request(Method::Refer, TO, ""));
    }
    assert!(bench.sent().is_empty());
    bench.receive(&peer.request(Method::Refer, TO, ""));
    let (_, response) = bench.responses().remove(0);
    assert_eq!(response.status_code.code(), 500);
    assert!(header(&response, "Retry-After").is_some());
    assert_eq!((bench.events().len(), bench.ua.faults().floods), (8, 1));
}

#[test]
fn what_the_peer_does_not_want_to_hear_is_not_told() {
    for (status, failure) in [("481 None", None), ("489 Bad Event", None), ("", Some(()))] {
        let mut bench = Bench::new();
        let (_, mut peer) = bench.call_in();
        bench.receive(&peer.request(Method::Refer, TO, ""));
        let (refer, ..) = referred(&mut bench);
        bench.command(Command::AcceptRefer { refer });
        let (_, tx, notify, _) = answer_and_request(&mut bench);
        match failure {
            None => bench.answer(tx, &notify, status, "", ""),
            Some(()) => bench.fail(tx, TxFailure::Timeout),
        }
        progress(&mut bench, refer, 200, "OK");
        assert!(bench.sent().is_empty() && bench.events().is_empty());
        assert_eq!(bench.ua.live_sessions(), 1, "the call stands");
    }
    // A fault of the moment is none.
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Refer, TO, ""));
    let (refer, ..) = referred(&mut bench);
    bench.command(Command::AcceptRefer { refer });
    let (_, tx, notify, _) = answer_and_request(&mut bench);
    bench.answer(tx, &notify, "500 Later", "", "");
    progress(&mut bench, refer, 486, "Busy Here");
    assert_eq!(frag(&bench.request().1).1, "SIP/2.0 486 Busy Here\r\n");
}

#[test]
fn a_challenged_notify_is_sent_again() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Refer, TO, ""));
    let (refer, ..) = referred(&mut bench);
    bench.command(Command::AcceptRefer { refer });
    let (_, tx, notify, _) = answer_and_request(&mut bench);
    progress(&mut bench, refer, 200, "OK");
    let line = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    bench.answer(tx, &notify, "401 Unauthorized", line, "");
    let (tx, again, _) = bench.request();
    assert!(header(&again, "Authorization").is_some());
    assert_eq!(frag(&again).1, "SIP/2.0 100 Trying\r\n");
    bench.answer(tx, &again, "200 OK", "", "");
    assert_eq!(frag(&bench.request().1).1, "SIP/2.0 200 OK\r\n");
}

/// Most transferors hang up as soon as their REFER is accepted, and listen on (RFC 5057 5.1).
#[test]
fn the_story_is_told_after_the_call_has_ended() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Refer, TO, ""));
    let (refer, ..) = referred(&mut bench);
    bench.command(Command::AcceptRefer { refer });
    let (_, tx, notify, _) = answer_and_request(&mut bench);
    bench.answer(tx, &notify, "200 OK", "", "");
    bench.receive(&peer.request(Method::Bye, "", ""));
    bench.sent();
    bench.events();
    progress(&mut bench, refer, 180, "Ringing");
    let (tx, notify, _) = bench.request();
    bench.answer(tx, &notify, "200 OK", "", "");
    // When nothing else is left of the dialog, too.
    bench.advance(Duration::from_secs(60));
    progress(&mut bench, refer, 200, "OK");
    let (tx, last, to) = bench.request();
    assert_eq!(to, addr("192.0.2.9:5062"));
    assert_eq!(header(&last, "Call-ID").as_deref(), Some("in-1"));
    assert_eq!(header(&last, "CSeq").as_deref(), Some("3 NOTIFY"));
    bench.answer(tx, &last, "200 OK", "", "");
    assert!(bench.ua.is_idle());
}

#[test]
fn a_call_that_ends_before_the_refer_is_answered_takes_it_along() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Refer, TO, ""));
    let (refer, ..) = referred(&mut bench);
    bench.receive(&peer.request(Method::Bye, "", ""));
    assert_eq!(bench.codes(), [200, 487]);
    bench.command(Command::AcceptRefer { refer });
    assert!(bench.sent().is_empty());
}

#[test]
fn a_story_without_an_end_is_ended() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Refer, TO, ""));
    let (refer, ..) = referred(&mut bench);
    bench.command(Command::AcceptRefer { refer });
    let (_, tx, notify, _) = answer_and_request(&mut bench);
    bench.answer(tx, &notify, "200 OK", "", "");
    bench.advance(Duration::from_secs(300));
    let (tx, last, _) = bench.request();
    let expected = ("terminated;reason=timeout".into(), "SIP/2.0 100 Trying\r\n".into());
    assert_eq!(frag(&last), expected);
    bench.answer(tx, &last, "200 OK", "", "");
    assert_eq!(bench.ua.poll_timeout(), None);
}

/// RFC 4488.
#[test]
fn a_peer_that_wants_no_subscription_gets_none() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Refer, &format!("{TO}Refer-Sub: false\r\n"), ""));
    let (refer, ..) = referred(&mut bench);
    bench.command(Command::AcceptRefer { refer });
    let (_, response) = bench.responses().remove(0);
    assert_eq!(response.status_code.code(), 202);
    assert_eq!(header(&response, "Refer-Sub").as_deref(), Some("false"));
    progress(&mut bench, refer, 200, "OK");
    assert!(bench.sent().is_empty());
}

fn outside() -> Peer {
    Peer { call_id: "out-1".into(), our_tag: "o".into(), ua_tag: String::new(), number: 0 }
}

#[test]
fn a_refer_outside_of_any_call_opens_a_dialog_of_its_own() {
    let mut bench = Bench::new();
    bench.receive(&outside().request(Method::Refer, TO, ""));
    let (refer, session, what) = referred(&mut bench);
    assert_eq!((session, what.to.as_str()), (None, "sip:1009@example.org"));
    bench.command(Command::AcceptRefer { refer });
    let (accepted, tx, notify, to) = answer_and_request(&mut bench);
    assert_eq!(accepted.status_code.code(), 202);
    let tag = header(&accepted, "To").unwrap().split("tag=").nth(1).unwrap().to_owned();
    assert_eq!(header(&notify, "From"), Some(format!("<sip:5001@example.org>;tag={tag}")));
    assert_eq!(header(&notify, "Call-ID").as_deref(), Some("out-1"));
    assert_eq!(to, addr("192.0.2.9:5062"));
    bench.answer(tx, &notify, "200 OK", "", "");
    progress(&mut bench, refer, 486, "Busy Here");
    let (tx, last, _) = bench.request();
    assert_eq!(header(&last, "CSeq").as_deref(), Some("2 NOTIFY"));
    bench.answer(tx, &last, "200 OK", "", "");
    assert!(bench.ua.is_idle());
    assert_eq!(bench.ua.poll_timeout(), None);
}

#[test]
fn outside_of_a_call_only_for_ourselves_and_only_once() {
    let mut bench = Bench::new();
    for uri in ["sip:9999@192.0.2.1:5070", "sip:5001@evil.example", "tel:5001"] {
        let text = outside().request(Method::Refer, TO, "");
        bench.receive(&text.replacen("sip:5001@192.0.2.1:5070", uri, 1));
        assert_eq!(bench.codes(), [404], "{uri}");
    }
    let text = outside().request(Method::Refer, TO, "");
    let no_contact = text.replace("Contact: <sip:1003@192.0.2.9:5062>\r\n", "");
    bench.receive(&no_contact);
    assert_eq!(bench.codes(), [400]);
    bench.receive(&text.replacen("192.0.2.1:5070", "EXAMPLE.org", 1));
    referred(&mut bench);
    bench.receive(&text);
    assert_eq!(bench.codes(), [482], "the same by another way");
}
