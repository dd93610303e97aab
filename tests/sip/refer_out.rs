//! REFER out (blind and attended with Replaces), NOTIFY sipfrag to the end.

use std::time::Duration;

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, TxFailure};
use wrtc_gateway::sip::{Command, EndedBy, Event, SessionId};

use super::support::*;

const ACTIVE: &str = "Subscription-State: active;expires=60\r\n";
const OVER: &str = "Subscription-State: terminated;reason=noresource\r\n";

fn refer(bench: &mut Bench, session: SessionId, to: &str) -> (ClientTx, Request) {
    bench.command(Command::Refer { session, to: to.into(), replaces: None });
    let (tx, request, _) = bench.request();
    assert_eq!(request.method, Method::Refer);
    (tx, request)
}

fn notify(peer: &mut Peer, event: &str, state: &str, frag: &str) -> String {
    let lines = format!("Event: {event}\r\n{state}Content-Type: message/sipfrag;version=2.0\r\n");
    peer.request(Method::Notify, &lines, frag)
}

/// The last event: code and whether it is done.
fn told(bench: &mut Bench) -> Vec<(u16, bool)> {
    let events = bench.events();
    let told = events.iter().map(|event| match event {
        Event::Transferring { code, done, .. } => (*code, *done),
        other => panic!("Transferring: {other:?}"),
    });
    told.collect()
}

#[test]
fn a_blind_transfer_is_followed_to_its_end() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let (tx, request) = refer(&mut bench, session, "1009");
    assert_eq!(header(&request, "Refer-To").as_deref(), Some("<sip:1009@example.org>"));
    assert_eq!(header(&request, "Referred-By").as_deref(), Some("<sip:5001@example.org>"));
    assert_eq!(header(&request, "Contact").as_deref(), Some("<sip:5001@192.0.2.1:5070>"));
    assert_eq!(request.uri.to_string(), "sip:1003@192.0.2.9:5062");
    bench.answer(tx, &request, "202 Accepted", "", "");
    assert!(bench.events().is_empty());
    for (state, frag, code, done) in [
        (ACTIVE, "SIP/2.0 100 Trying\r\n", 100, false),
        (ACTIVE, "SIP/2.0 180 Ringing\r\n", 180, false),
        (OVER, "SIP/2.0 200 OK\r\n", 200, true),
    ] {
        bench.receive(&notify(&mut peer, "refer", state, frag));
        assert_eq!(bench.codes(), [200]);
        assert_eq!(told(&mut bench), [(code, done)]);
    }
    // What still comes is taken, and told nobody.
    bench.receive(&notify(&mut peer, "refer", OVER, "SIP/2.0 200 OK\r\n"));
    assert_eq!(bench.codes(), [200]);
    bench.advance(Duration::from_secs(600));
    assert!(bench.events().is_empty() && bench.sent().is_empty());
    assert_eq!(bench.ua.live_sessions(), 1, "the call stands until somebody ends it");
}

#[test]
fn an_attended_transfer_names_the_other_call_as_its_peer_sees_it() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_in();
    let (other, consulted) = bench.call_out();
    bench.command(Command::Refer { session, to: "1003".into(), replaces: Some(other) });
    let (_, request, _) = bench.request();
    let expected = format!(
        "<sip:1003@example.org?Replaces={}%3Bto-tag%3Dpeer%3Bfrom-tag%3D{}>",
        consulted.call_id, consulted.ua_tag
    );
    assert_eq!(header(&request, "Refer-To"), Some(expected));

    // Without a target it is whom the other call is with.
    let mut bench = Bench::new();
    let (session, caller) = bench.call_in();
    let (other, _) = bench.call_out();
    bench.command(Command::Refer { session: other, to: String::new(), replaces: Some(session) });
    let (_, request, _) = bench.request();
    let expected = format!(
        "<sip:1003@example.org?Replaces=in-1%3Bto-tag%3Dtheirs%3Bfrom-tag%3D{}>",
        caller.ua_tag
    );
    assert_eq!(header(&request, "Refer-To"), Some(expected));
}

#[test]
fn what_cannot_be_asked_for_is_told_at_once() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_in();
    for (to, replaces, code) in [
        ("not a number", None, 484),
        ("", None, 484),
        ("1003", Some(SessionId(77)), 481),
        ("1003", Some(session), 481),
    ] {
        bench.command(Command::Refer { session, to: to.into(), replaces });
        assert_eq!(told(&mut bench), [(code, true)], "{to}");
    }
    // A call that only rings is no call to be replaced, nor one to be transferred.
    let ringing = SessionId(2);
    let sdp = Some(OFFER.to_owned());
    bench.command(Command::Invite { session: ringing, to: "1".into(), sdp, headers: vec![] });
    bench.sent();
    bench.command(Command::Refer { session, to: "1".into(), replaces: Some(ringing) });
    bench.command(Command::Refer { session: ringing, to: "1".into(), replaces: None });
    assert_eq!(told(&mut bench), [(481, true), (481, true)]);
    assert!(bench.sent().is_empty());
}

#[test]
fn refusals_and_silence_end_it() {
    for (answer, code) in [("403 No", 403), ("481 None", 481), ("603 Decline", 603), ("302 M", 302)]
    {
        let mut bench = Bench::new();
        let (session, _) = bench.call_out();
        let (tx, request) = refer(&mut bench, session, "1009");
        bench.answer(tx, &request, answer, "", "");
        assert_eq!(told(&mut bench), [(code, true)]);
        assert_eq!(bench.ua.live_sessions(), 1);
    }
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    let (tx, _) = refer(&mut bench, session, "1009");
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(told(&mut bench), [(408, true)]);
}

#[test]
fn a_transferee_that_falls_silent_is_given_up() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let (tx, request) = refer(&mut bench, session, "1009");
    bench.answer(tx, &request, "202 Accepted", "", "");
    bench.advance(Duration::from_millis(31_999));
    assert!(bench.events().is_empty());
    bench.advance(Duration::from_millis(1));
    assert_eq!(told(&mut bench), [(408, true)], "no first NOTIFY");

    let (tx, request) = refer(&mut bench, session, "1009");
    bench.answer(tx, &request, "202 Accepted", "", "");
    let event = format!("refer;id={}", header(&request, "CSeq").unwrap().replace(" REFER", ""));
    for _ in 0..3 {
        bench.receive(&notify(&mut peer, &event, ACTIVE, "SIP/2.0 180 Ringing"));
        bench.advance(Duration::from_secs(179));
    }
    assert_eq!(told(&mut bench), [(180, false)], "the same word is told once");
    bench.advance(Duration::from_secs(1));
    assert_eq!(told(&mut bench), [(408, true)]);
}

#[test]
fn a_challenged_refer_is_sent_again() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let (tx, request) = refer(&mut bench, session, "1009");
    let line = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    bench.answer(tx, &request, "407 Proxy Authentication Required", line, "");
    let (tx, again, _) = bench.request();
    assert!(header(&again, "Proxy-Authorization").is_some());
    assert_eq!(header(&again, "Refer-To"), header(&request, "Refer-To"));
    assert_ne!(header(&again, "CSeq"), header(&request, "CSeq"));
    // The first NOTIFY may overtake the 202.
    bench.receive(&notify(&mut peer, "refer", ACTIVE, "SIP/2.0 100 Trying"));
    assert_eq!(told(&mut bench), [(100, false)]);
    bench.answer(tx, &again, "202 Accepted", "", "");
    bench.receive(&notify(&mut peer, "refer", OVER, "SIP/2.0 486 Busy Here"));
    let text = "Busy Here".to_owned();
    assert_eq!(bench.event(), Event::Transferring { session, code: 486, text, done: true });
}

#[test]
fn the_whole_story_may_come_before_the_202() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let (tx, request) = refer(&mut bench, session, "1009");
    bench.receive(&notify(&mut peer, "refer", OVER, "SIP/2.0 200 OK"));
    assert_eq!(told(&mut bench), [(200, true)]);
    bench.sent();
    bench.answer(tx, &request, "202 Accepted", "", "");
    bench.advance(Duration::from_secs(200));
    assert!(bench.events().is_empty());
}

#[test]
fn one_at_a_time_and_the_next_when_it_is_done() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let (tx, first) = refer(&mut bench, session, "1");
    for to in ["2", "3", "4", "5"] {
        bench.command(Command::Refer { session, to: to.into(), replaces: None });
    }
    assert!(bench.sent().is_empty() && bench.events().is_empty());
    bench.command(Command::Refer { session, to: "6".into(), replaces: None });
    assert_eq!(told(&mut bench), [(500, true)], "four wait at most");
    bench.answer(tx, &first, "603 Decline", "", "");
    assert_eq!(told(&mut bench), [(603, true)]);
    let (tx, second, _) = bench.request();
    assert_eq!(header(&second, "Refer-To").as_deref(), Some("<sip:2@example.org>"));
    bench.answer(tx, &second, "202 Accepted", "", "");
    // A NOTIFY about the first one is not about this one.
    bench.receive(&notify(&mut peer, "refer;id=1", OVER, "SIP/2.0 200 OK"));
    assert_eq!(bench.codes(), [200]);
    assert!(bench.events().is_empty());
    bench.receive(&notify(&mut peer, "refer;id=2", OVER, "SIP/2.0 404 Not Found"));
    assert_eq!(told(&mut bench), [(404, true)]);
}

/// RFC 4488: a peer that wants no subscription has said all with its 202.
#[test]
fn refer_sub_false_is_the_last_word() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_in();
    let (tx, request) = refer(&mut bench, session, "1009");
    bench.answer(tx, &request, "202 Accepted", "Refer-Sub: false\r\n", "");
    assert_eq!(told(&mut bench), [(202, true)]);
    assert_eq!(bench.ua.poll_timeout(), None);
}

#[test]
fn a_session_that_ends_says_first_what_is_known() {
    // Nothing but the 202.
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let (tx, request) = refer(&mut bench, session, "1009");
    bench.command(Command::Refer { session, to: "1".into(), replaces: None });
    bench.answer(tx, &request, "202 Accepted", "", "");
    bench.receive(&peer.request(Method::Bye, "", ""));
    let events = bench.events();
    let [
        Event::Transferring { code: 100, done: true, .. },
        Event::Transferring { code: 487, done: true, .. },
        Event::Ended { end, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(end.by, EndedBy::Peer);
    assert_eq!(bench.codes(), [200]);
    // The transferee may still tell, and is not told to stop (RFC 5057 5.1).
    bench.receive(&notify(&mut peer, "refer", OVER, "SIP/2.0 200 OK"));
    assert_eq!(bench.codes(), [200]);
    bench.receive(&peer.request(Method::Notify, "Event: talk\r\n", ""));
    assert_eq!(bench.codes(), [481]);

    // Ringing when we hung up.
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let (tx, request) = refer(&mut bench, session, "1009");
    bench.answer(tx, &request, "202 Accepted", "", "");
    bench.receive(&notify(&mut peer, "refer", ACTIVE, "SIP/2.0 180 Ringing"));
    bench.events();
    bench.command(Command::End { session, code: 200, text: String::new() });
    let events = bench.events();
    assert!(
        matches!(
            &events[..],
            [Event::Transferring { code: 180, done: true, .. }, Event::Ended { .. }]
        ),
        "{events:?}"
    );

    // No answer to the REFER at all.
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let (tx, request) = refer(&mut bench, session, "1009");
    bench.receive(&peer.request(Method::Bye, "", ""));
    assert!(matches!(
        &bench.events()[..],
        [Event::Transferring { code: 487, done: true, .. }, Event::Ended { .. }]
    ));
    bench.sent();
    bench.answer(tx, &request, "202 Accepted", "", "");
    bench.advance(Duration::from_secs(200));
    assert!(bench.events().is_empty() && bench.sent().is_empty());
}

#[test]
fn odd_notifies_do_no_harm() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    // Nobody asked.
    bench.receive(&notify(&mut peer, "refer", ACTIVE, "SIP/2.0 200 OK"));
    assert_eq!(bench.codes(), [481]);
    assert!(bench.events().is_empty());
    let (tx, request) = refer(&mut bench, session, "1009");
    bench.answer(tx, &request, "202 Accepted", "", "");
    // No status line, no body, a flood of changing ones.
    bench.receive(&notify(&mut peer, "refer", ACTIVE, "hello"));
    bench.receive(&peer.request(Method::Notify, &format!("Event: refer\r\n{ACTIVE}"), ""));
    assert_eq!(bench.codes(), [200, 200]);
    assert!(bench.events().is_empty());
    assert_eq!(bench.ua.faults().bad_sipfrags, 2);
    for n in 0..200 {
        bench.receive(&notify(&mut peer, "refer", ACTIVE, &format!("SIP/2.0 1{:02} x", n % 100)));
    }
    assert_eq!(told(&mut bench).len(), 50);
    bench.sent();
    // An end without a status line: the last word stands.
    bench.receive(&peer.request(Method::Notify, &format!("Event: refer\r\n{OVER}"), ""));
    assert_eq!(told(&mut bench), [(199, true)]);
    bench.sent();

    let (tx, request) = refer(&mut bench, session, "1009");
    bench.answer(tx, &request, "202 Accepted", "", "");
    bench.sent();
    bench.receive(&peer.request(Method::Notify, &format!("Event: refer\r\n{OVER}"), ""));
    assert_eq!(told(&mut bench), [(408, true)], "an end without any word");
}
