//! INVITE with Replaces (RFC 3891).

use rsipstack::sip::Method;
use wrtc_gateway::sip::{Command, Event, SessionId};

use super::support::*;

fn newcomer(call_id: &str) -> Peer {
    Peer { call_id: call_id.into(), our_tag: "new".into(), ua_tag: String::new(), number: 0 }
}

/// An INVITE that would replace the dialog of `peer`; what it is answered, or whom it replaces.
fn replace(bench: &mut Bench, peer: &Peer, more: &str) -> Result<Option<SessionId>, u16> {
    let line = format!(
        "Require: replaces\r\nReplaces: {};to-tag={};from-tag={}{more}\r\n",
        peer.call_id, peer.ua_tag, peer.our_tag
    );
    invite(bench, &line)
}

fn invite(bench: &mut Bench, line: &str) -> Result<Option<SessionId>, u16> {
    bench.sent();
    let call_id = format!("new-{}", bench.ua.live_sessions());
    bench.receive(&newcomer(&call_id).request(Method::Invite, line, OFFER));
    let code = *bench.codes().last().unwrap();
    match bench.events().pop() {
        Some(Event::Invited { invite, .. }) => {
            assert_eq!(code, 100);
            Ok(invite.replaces)
        }
        None => Err(code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answered_call_is_replaced_whichever_way_it_was() {
    let mut bench = Bench::new();
    let (session, peer) = bench.call_in();
    assert_eq!(replace(&mut bench, &peer, ""), Ok(Some(session)));
    let mut bench = Bench::new();
    let (session, peer) = bench.call_out();
    assert_eq!(replace(&mut bench, &peer, ""), Ok(Some(session)));
    assert_eq!(invite(&mut bench, ""), Ok(None), "an ordinary one");
}

#[test]
fn the_announcement_is_made() {
    let mut bench = Bench::new();
    let sdp = Some(OFFER.to_owned());
    bench.command(Command::Invite { session: SessionId(1), to: "1".into(), sdp, headers: vec![] });
    let (_, invite, _) = bench.request();
    assert!(header(&invite, "Supported").unwrap().split(", ").any(|tag| tag == "replaces"));
    assert!(header(&invite, "Allow").unwrap().contains("REFER"));
}

#[test]
fn what_names_nothing_of_ours_is_481() {
    let mut bench = Bench::new();
    let (_, peer) = bench.call_in();
    for (call_id, ua_tag, our_tag) in [
        ("other", peer.ua_tag.as_str(), "theirs"),
        ("in-1", "other", "theirs"),
        ("in-1", peer.ua_tag.as_str(), "other"),
        // The tags the other way round.
        ("in-1", "theirs", peer.ua_tag.as_str()),
    ] {
        let line = format!("Replaces: {call_id};from-tag={our_tag};to-tag={ua_tag}\r\n");
        assert_eq!(invite(&mut bench, &line), Err(481));
    }
}

#[test]
fn what_has_ended_is_declined() {
    let mut bench = Bench::new();
    let (session, peer) = bench.call_in();
    bench.command(Command::End { session, code: 200, text: String::new() });
    bench.events();
    assert_eq!(replace(&mut bench, &peer, ""), Err(603));
}

#[test]
fn early_calls_are_replaced_only_where_we_began_them() {
    let mut bench = Bench::new();
    let (_, peer) = bench.ring(OFFER);
    assert_eq!(replace(&mut bench, &peer, ""), Err(481));
    assert_eq!(replace(&mut bench, &peer, ";early-only"), Err(481));

    let session = SessionId(1);
    let sdp = Some(OFFER.to_owned());
    bench.command(Command::Invite { session, to: "1003".into(), sdp, headers: vec![] });
    let (tx, request, _) = bench.request();
    bench.answer(tx, &request, "180 Ringing", "", "");
    bench.events();
    assert_eq!(replace(&mut bench, &Peer::callee(&request), ";early-only"), Ok(Some(session)));
}

#[test]
fn early_only_leaves_an_answered_call_alone() {
    let mut bench = Bench::new();
    let (_, peer) = bench.call_in();
    assert_eq!(replace(&mut bench, &peer, ";early-only"), Err(486));
}

#[test]
fn malformed_ones_and_two_at_once_are_400() {
    let mut bench = Bench::new();
    let (_, peer) = bench.call_in();
    let good = format!("in-1;to-tag={};from-tag=theirs", peer.ua_tag);
    for line in [
        "Replaces: \r\n".to_owned(),
        "Replaces: in-1;to-tag=1\r\n".to_owned(),
        format!("Replaces: {good}\r\nReplaces: {good}\r\n"),
        format!("Replaces: {good}, {good}\r\n"),
    ] {
        assert_eq!(invite(&mut bench, &line), Err(400), "{line}");
    }
}

/// A full user agent takes what replaces one of its calls, and nothing else.
#[test]
fn there_is_room_for_one_that_replaces() {
    let mut bench = Bench::new();
    let (session, peer) = bench.call_in();
    for n in 1..8 {
        let mut more = newcomer(&format!("more-{n}"));
        bench.receive(&more.request(Method::Invite, "", OFFER));
    }
    bench.events();
    assert_eq!(bench.ua.live_sessions(), 8);
    assert_eq!(invite(&mut bench, ""), Err(486));
    assert_eq!(replace(&mut bench, &peer, ""), Ok(Some(session)));
    let mut again = newcomer("once-more");
    let line = format!("Replaces: in-1;to-tag={};from-tag=theirs\r\n", peer.ua_tag);
    bench.receive(&again.request(Method::Invite, &line, OFFER));
    assert_eq!(bench.codes(), [486]);
}
