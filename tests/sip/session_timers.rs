//! Session timers, both roles (RFC 4028).

use std::time::Duration;

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::{Command, EndedBy, Event, SessionId, SessionTimer};

use super::support::*;

const ME: SessionId = SessionId(1);
/// As SIP Server asks for it.
const GENESYS: &str = "Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n\
                       Supported: uui,100rel,timer\r\n";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn invite(bench: &mut Bench) -> (ClientTx, Request) {
    let (to, sdp) = ("1003".into(), Some(OFFER.into()));
    bench.command(Command::Invite { session: ME, to, sdp, headers: vec![] });
    let (tx, request, _) = bench.request();
    (tx, request)
}

/// A call out whose 2xx has these headers.
fn call_out(bench: &mut Bench, extra: &str) -> Peer {
    let (tx, request) = invite(bench);
    let extra = format!("Contact: <sip:peer@192.0.2.9>\r\n{extra}");
    bench.answer(tx, &request, "200 OK", &extra, ANSWER);
    bench.ack();
    bench.events();
    Peer::callee(&request)
}

/// A call in whose INVITE has these headers; the 200 comes back. ACKed, nothing unread.
fn call_in(bench: &mut Bench, extra: &str) -> (SessionId, Peer, rsipstack::sip::Response) {
    let mut peer = Peer {
        call_id: "in-1".into(),
        our_tag: "theirs".into(),
        ua_tag: String::new(),
        number: 100,
    };
    bench.receive(&peer.request(Method::Invite, extra, OFFER));
    let Event::Invited { session, .. } = bench.event() else { panic!("Invited") };
    bench.sent();
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    let (_, ok) = bench.responses().remove(0);
    assert_eq!(ok.status_code.code(), 200);
    peer.ua_tag = header(&ok, "To").unwrap().split("tag=").nth(1).unwrap().to_owned();
    bench.receive(&peer.request(Method::Ack, "", ""));
    bench.events();
    (session, peer, ok)
}

/// The BYE that must be all there is, and who ended it.
fn hung_up(bench: &mut Bench) -> (EndedBy, u16, String) {
    let (_, bye, _) = bench.request();
    assert_eq!(bye.method, Method::Bye);
    match &bench.events()[..] {
        [Event::Ended { end, .. }] => (end.by, end.code, end.text.clone()),
        events => panic!("Ended: {events:?}"),
    }
}

#[test]
fn an_invite_asks_for_a_timer_and_its_answer_decides_who_refreshes() {
    let mut bench = Bench::new();
    let (_, request) = invite(&mut bench);
    assert_eq!(header(&request, "Session-Expires").as_deref(), Some("1800"));
    assert_eq!(header(&request, "Min-SE").as_deref(), Some("90"));
    assert!(header(&request, "Supported").unwrap().contains("timer"));

    let mut bench = Bench::new();
    call_out(
        &mut bench,
        "Require: timer\r\nSession-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n",
    );
    bench.advance(secs(299));
    assert!(bench.sent().is_empty());
    bench.advance(secs(1));
    let (tx, update, _) = bench.request();
    assert_eq!((update.method, update.body.len()), (Method::Update, 0));
    assert_eq!(header(&update, "Session-Expires").as_deref(), Some("600;refresher=uac"));
    bench.answer(tx, &update, "200 OK", "Session-Expires: 600;refresher=uac\r\n", "");
    assert!(bench.events().is_empty(), "the application has no part in it");
    bench.advance(secs(300));
    assert_eq!(bench.request().1.method, Method::Update);
}

/// A refresh with unchanged SDP changes nothing and keeps the o= version: ours.
#[test]
fn a_refresh_by_reinvite_repeats_the_sdp_in_force() {
    let mut bench = Bench::new();
    call_out(&mut bench, "Session-Expires: 600;refresher=uac\r\nAllow: INVITE, ACK, BYE\r\n");
    let timer = "Session-Expires: 600;refresher=uac\r\n";
    bench.advance(secs(300));
    let (tx, refresh, _) = bench.request();
    assert_eq!((refresh.method, refresh.body.clone()), (Method::Invite, OFFER.into()));
    bench.answer(tx, &refresh, "200 OK", timer, ANSWER);
    assert_eq!(bench.ack().body, b"");
    assert!(bench.events().is_empty());
    // An offer that was taken is what the next one repeats; a refused one is not.
    for (status, sdp, now) in [("200 OK", "two", "two"), ("488 No", "three", "two")] {
        bench.command(Command::Reinvite { session: ME, sdp: Some(sdp.into()) });
        let (tx, offer, _) = bench.request();
        bench.answer(tx, &offer, status, timer, if status == "200 OK" { ANSWER } else { "" });
        bench.sent();
        bench.events();
        bench.advance(secs(300));
        let (tx, refresh, _) = bench.request();
        assert_eq!(refresh.body, now.as_bytes());
        bench.answer(tx, &refresh, "200 OK", timer, ANSWER);
        bench.sent();
    }
    assert!(bench.events().is_empty());
    // Only news in the answer is news.
    bench.advance(secs(300));
    let (tx, refresh, _) = bench.request();
    bench.answer(tx, &refresh, "200 OK", timer, OFFER_2);
    assert_eq!(bench.event(), Event::ReinviteAnswered { session: ME, sdp: Some(OFFER_2.into()) });
}

#[test]
fn a_session_the_peer_does_not_refresh_ends_before_its_time_with_a_reason() {
    for (interval, ends) in [(1800, 1800 - 32), (90, 60)] {
        let mut bench = Bench::new();
        call_out(&mut bench, &format!("Session-Expires: {interval};refresher=uas\r\n"));
        bench.advance(secs(ends - 1));
        assert!(bench.sent().is_empty(), "the peer refreshes, not we");
        bench.advance(secs(1));
        let (by, code, text) = hung_up(&mut bench);
        assert_eq!((by, code), (EndedBy::Network, 408));
        assert!(text.contains("session timer"), "{text}");
    }
}

#[test]
fn an_answer_without_session_expires_switches_the_timer_off() {
    let mut bench = Bench::new();
    call_out(&mut bench, "");
    bench.advance(secs(100_000));
    assert!(bench.sent().is_empty() && bench.events().is_empty());

    let mut bench = Bench::new();
    call_out(&mut bench, "Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.advance(secs(300));
    let (tx, update, _) = bench.request();
    bench.answer(tx, &update, "200 OK", "", "");
    bench.advance(secs(100_000));
    assert!(bench.sent().is_empty() && bench.events().is_empty());
}

#[test]
fn an_interval_that_is_too_brief_is_raised() {
    let mut bench = Bench::new();
    let (tx, request) = invite(&mut bench);
    bench.answer(tx, &request, "422 Session Interval Too Small", "Min-SE: 3600\r\n", "");
    let (tx, second, _) = bench.request();
    assert_eq!(header(&second, "Session-Expires").as_deref(), Some("3600"));
    assert_eq!(header(&second, "Min-SE").as_deref(), Some("3600"));
    assert_eq!(header(&second, "CSeq").as_deref(), Some("2 INVITE"));
    for name in ["Call-ID", "From", "To"] {
        assert_eq!(header(&second, name), header(&request, name));
    }
    assert_eq!(second.body, OFFER.as_bytes());
    // The same again makes no sense.
    bench.answer(tx, &second, "422 Session Interval Too Small", "Min-SE: 3600\r\n", "");
    assert!(bench.sent().is_empty());
    assert!(matches!(bench.event(), Event::Ended { end, .. } if end.code == 422));
    // Nor does a day.
    let mut bench = Bench::new();
    let (tx, request) = invite(&mut bench);
    bench.answer(tx, &request, "422 Session Interval Too Small", "Min-SE: 99999999999\r\n", "");
    assert!(matches!(bench.event(), Event::Ended { end, .. } if end.code == 422));
}

#[test]
fn a_refresh_that_is_too_brief_is_raised() {
    let mut bench = Bench::new();
    call_out(&mut bench, "Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.advance(secs(300));
    let (tx, update, _) = bench.request();
    bench.answer(tx, &update, "422 Session Interval Too Small", "Min-SE: 700\r\n", "");
    let (_, again, _) = bench.request();
    assert_eq!(header(&again, "Session-Expires").as_deref(), Some("700;refresher=uac"));
    assert_eq!(header(&again, "Min-SE").as_deref(), Some("700"));
}

/// Session-Expires 1800 `refresher=uac`, Min-SE 90, Supported `uui,100rel,timer`: as SIP Server calls.
#[test]
fn what_the_caller_asks_for_is_granted() {
    let mut bench = Bench::new();
    let (_, mut peer, ok) = call_in(&mut bench, GENESYS);
    assert_eq!(header(&ok, "Session-Expires").as_deref(), Some("1800;refresher=uac"));
    assert_eq!(header(&ok, "Require").as_deref(), Some("timer"));
    // It refreshes without a body, and the time begins anew.
    bench.advance(secs(1700));
    bench.receive(&peer.request(Method::Update, GENESYS, ""));
    let (_, ok) = bench.responses().remove(0);
    assert_eq!(ok.status_code.code(), 200);
    assert_eq!(header(&ok, "Session-Expires").as_deref(), Some("1800;refresher=uac"));
    bench.advance(secs(1767));
    assert!(bench.sent().is_empty() && bench.events().is_empty());
    bench.advance(secs(1));
    assert_eq!(hung_up(&mut bench).0, EndedBy::Network);
}

#[test]
fn where_the_caller_leaves_it_open_we_choose() {
    // It can, and asks: it refreshes. It asks by a proxy only: we do. It can: we ask, and refresh.
    for (extra, granted, require) in [
        ("Supported: timer\r\nSession-Expires: 600\r\n", Some("600;refresher=uac"), true),
        ("Session-Expires: 600\r\n", Some("600;refresher=uas"), false),
        ("Supported: timer\r\n", Some("1800;refresher=uas"), false),
        ("x: 7200;refresher=uas\r\nk: timer\r\n", Some("1800;refresher=uas"), false),
        (
            "Supported: timer\r\nSession-Expires: 7200\r\nMin-SE: 3600\r\n",
            Some("3600;refresher=uac"),
            true,
        ),
        ("", None, false),
    ] {
        let (_, _, ok) = call_in(&mut Bench::new(), extra);
        assert_eq!(header(&ok, "Session-Expires").as_deref(), granted, "{extra}");
        assert_eq!(header(&ok, "Require").is_some(), require, "{extra}");
    }
}

#[test]
fn with_none_of_our_own_the_peers_is_kept_all_the_same() {
    let mut config = config("5001", "192.0.2.1:5070", PEER);
    config.session_timer = SessionTimer { expires: None, min: secs(90) };
    let mut bench = Bench::with(config.clone());
    let (_, request) = invite(&mut bench);
    assert_eq!(header(&request, "Session-Expires"), None);
    let (_, _, ok) = call_in(&mut Bench::with(config.clone()), "Supported: timer\r\n");
    assert_eq!(header(&ok, "Session-Expires"), None);
    let mut bench = Bench::with(config);
    let (_, _, ok) = call_in(&mut bench, "Session-Expires: 7200;refresher=uas\r\n");
    assert_eq!(header(&ok, "Session-Expires").as_deref(), Some("7200;refresher=uas"));
    bench.advance(secs(3600));
    assert_eq!(bench.request().1.method, Method::Invite);
}

#[test]
fn a_caller_that_asks_for_too_little_hears_422_if_it_can() {
    let mut config = config("5001", "192.0.2.1:5070", PEER);
    config.session_timer.min = secs(600);
    let mut bench = Bench::with(config.clone());
    let mut peer =
        Peer { call_id: "c".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    let brief = "Session-Expires: 300\r\nSupported: timer\r\n";
    bench.receive(&peer.request(Method::Invite, brief, OFFER));
    let (_, refusal) = bench.responses().remove(0);
    assert_eq!(refusal.status_code.code(), 422);
    assert_eq!(header(&refusal, "Min-SE").as_deref(), Some("600"));
    assert!(bench.events().is_empty());
    // One that knows no timers (a proxy put it in) is taken at what it says.
    let mut bench = Bench::with(config);
    let (_, mut peer, ok) = call_in(&mut bench, "Session-Expires: 300\r\n");
    assert_eq!(header(&ok, "Session-Expires").as_deref(), Some("300;refresher=uas"));
    bench.receive(&peer.request(Method::Update, brief, ""));
    assert_eq!(bench.codes(), [422]);
}

#[test]
fn a_refresh_that_finds_no_dialog_ends_the_session() {
    for (status, code) in [("481 No Such Call", 481), ("408 Request Timeout", 408)] {
        let mut bench = Bench::new();
        call_out(&mut bench, "Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n");
        bench.advance(secs(300));
        let (tx, update, _) = bench.request();
        bench.answer(tx, &update, status, "", "");
        let (by, ended, _) = hung_up(&mut bench);
        assert_eq!((by, ended), (EndedBy::Peer, code));
    }
    let mut bench = Bench::new();
    call_out(&mut bench, "Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.advance(secs(300));
    let (tx, _, _) = bench.request();
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(hung_up(&mut bench).0, EndedBy::Network);
}

#[test]
fn a_refused_refresh_is_tried_again_until_the_time_is_over() {
    let mut bench = Bench::new();
    call_out(&mut bench, "Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.advance(secs(300));
    let mut refused = 0;
    loop {
        bench.advance(secs(1));
        let Some(transmit) = bench.sent().pop() else { continue };
        let Transmit::Request { tx, request, .. } = transmit else { panic!("{transmit:?}") };
        if request.method == Method::Bye {
            break;
        }
        refused += 1;
        bench.answer(tx, &request, "503 Not Now", "", "");
        assert!(refused < 100);
    }
    assert!(refused > 20, "{refused}");
    assert!(matches!(bench.event(), Event::Ended { end, .. } if end.by == EndedBy::Network));
}

#[test]
fn an_update_the_peer_cannot_take_after_all_becomes_a_reinvite() {
    let mut bench = Bench::new();
    call_out(&mut bench, "Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.advance(secs(300));
    let (tx, update, _) = bench.request();
    bench.answer(tx, &update, "405 Method Not Allowed", "", "");
    let (_, refresh, _) = bench.request();
    assert_eq!((refresh.method, refresh.body.as_slice()), (Method::Invite, OFFER.as_bytes()));
}

/// A refresh with unchanged SDP changes nothing and keeps the o= version: theirs.
#[test]
fn their_refresh_with_an_unchanged_sdp_is_answered_inside() {
    let mut bench = Bench::new();
    let (session, mut peer, _) = call_in(&mut bench, GENESYS);
    for method in [Method::Invite, Method::Update] {
        bench.receive(&peer.request(method, GENESYS, OFFER));
        let (_, ok) = bench.responses().pop().unwrap();
        assert_eq!((ok.status_code.code(), ok.body.as_slice()), (200, ANSWER.as_bytes()));
        assert_eq!(header(&ok, "Session-Expires").as_deref(), Some("1800;refresher=uac"));
        if method == Method::Invite {
            bench.receive(&peer.request(Method::Ack, "", ""));
        }
        assert!(bench.events().is_empty(), "{method}");
    }
    // Its own offer is what a refresh of ours must not make it forget: without SDP it goes up.
    bench.receive(&peer.request(Method::Invite, GENESYS, ""));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: None });
    bench.sent();
    bench.command(Command::AcceptReinvite { session, sdp: "ours-2".into() });
    bench.sent();
    bench.receive(&peer.request(Method::Ack, "", "theirs-2"));
    bench.events();
    // And that exchange is the one in force now.
    bench.receive(&peer.request(Method::Invite, GENESYS, "theirs-2"));
    let (_, ok) = bench.responses().pop().unwrap();
    assert_eq!(ok.body, b"ours-2");
    assert!(bench.events().is_empty());
    bench.receive(&peer.request(Method::Ack, "", ""));
    bench.receive(&peer.request(Method::Update, GENESYS, OFFER));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: Some(OFFER.into()) });
}

/// A server in between edits the media and leaves `o=` as it was.
#[test]
fn a_changed_sdp_with_the_same_origin_is_no_refresh() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let held = format!("{OFFER}c=IN IP4 0.0.0.0\r\n");
    bench.receive(&peer.request(Method::Invite, "", &held));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: Some(held) });
}

#[test]
fn an_offer_of_the_applications_is_a_refresh_too() {
    let mut bench = Bench::new();
    call_out(&mut bench, "Session-Expires: 600;refresher=uac\r\nAllow: UPDATE\r\n");
    bench.advance(secs(250));
    bench.command(Command::Reinvite { session: ME, sdp: Some("hold".into()) });
    let (tx, hold, _) = bench.request();
    assert_eq!(header(&hold, "Session-Expires").as_deref(), Some("600;refresher=uac"));
    bench.answer(tx, &hold, "200 OK", "Session-Expires: 600;refresher=uac\r\n", ANSWER);
    bench.ack();
    bench.advance(secs(299));
    assert!(bench.sent().is_empty());
    bench.advance(secs(1));
    assert_eq!(bench.request().1.method, Method::Update);
}

/// A peer's numbers make no timer spin and no clock overflow.
#[test]
fn senseless_intervals_are_bounded() {
    for value in
        ["0", "1", "18446744073709551615", "99999999999999999999999", "", ";refresher=uac", "-1"]
    {
        let mut bench = Bench::new();
        call_out(&mut bench, &format!("Session-Expires: {value}\r\nAllow: UPDATE\r\n"));
        bench.advance(secs(44));
        assert!(bench.sent().is_empty(), "{value}");
    }
}
