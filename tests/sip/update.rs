//! UPDATE (RFC 3311): offers before the call is up, both ways, and its glare with re-INVITE. "One queue
//! of offers per dialog."

use std::time::Duration;

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::{Command, Event, SessionId};

use super::support::*;

const ME: SessionId = SessionId(1);
/// Of a peer that takes UPDATE, with an answer that counts.
const SETTLES: &str = "Contact: <sip:peer@192.0.2.9>\r\nAllow: INVITE, update\r\n\
                       Require: 100rel\r\nRSeq: 1\r\n";
const CONTACT: &str = "Contact: <sip:peer@192.0.2.9>\r\n";

fn calling() -> (Bench, ClientTx, Request) {
    let mut bench = Bench::new();
    let (to, sdp) = ("1".into(), Some(OFFER.into()));
    bench.command(Command::Invite { session: ME, to, sdp, headers: vec![] });
    let (tx, request, _) = bench.request();
    (bench, tx, request)
}

/// A call out with early media that was answered reliably.
fn early() -> (Bench, ClientTx, Request) {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "183 Progress", SETTLES, ANSWER);
    let (prack_tx, prack, _) = bench.request();
    bench.answer(prack_tx, &prack, "200 OK", "", "");
    bench.events();
    (bench, tx, invite)
}

fn offer(bench: &mut Bench, sdp: &str) {
    bench.command(Command::Reinvite { session: ME, sdp: Some(sdp.into()) });
}

#[test]
fn an_offer_before_the_call_is_up_goes_by_update() {
    let (mut bench, tx, invite) = early();
    offer(&mut bench, "new");
    let (update_tx, update, _) = bench.request();
    assert_eq!((update.method, update.body.as_slice()), (Method::Update, &b"new"[..]));
    assert_eq!(header(&update, "CSeq").as_deref(), Some("3 UPDATE"));
    assert!(header(&update, "To").unwrap().contains("tag=peer"));
    offer(&mut bench, "newer");
    assert!(bench.sent().is_empty(), "one at a time");
    bench.answer(update_tx, &update, "200 OK", CONTACT, "answer-2");
    assert_eq!(
        bench.event(),
        Event::ReinviteAnswered { session: ME, sdp: Some("answer-2".into()) }
    );
    let (update_tx, update, _) = bench.request();
    assert_eq!(update.body, b"newer", "no ACK: the next follows at once");
    bench.answer(update_tx, &update, "488 Not Acceptable Here", "", "");
    assert!(matches!(bench.event(), Event::ReinviteRefused { code: 488, .. }));
    // The 2xx to the INVITE changes nothing of what was agreed on since.
    bench.answer(tx, &invite, "200 OK", CONTACT, ANSWER);
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some("answer-2".into()) });
}

/// Not before the first offer has its answer, and not to a peer that does not say it takes it.
#[test]
fn otherwise_it_waits_for_the_call_to_be_up() {
    for extra in [
        SETTLES.replace("update", "INFO"),
        CONTACT.to_owned() + "Allow: UPDATE\r\n",
        SETTLES.replace("Require", "X-Require"),
    ] {
        let (mut bench, tx, invite) = calling();
        offer(&mut bench, "new");
        bench.answer(tx, &invite, "183 Progress", &extra, ANSWER);
        let updates = bench.sent().into_iter().filter(
            |t| matches!(t, Transmit::Request { request, .. } if request.method == Method::Update),
        );
        assert_eq!(updates.count(), 0, "{extra}");
        bench.answer(tx, &invite, "200 OK", CONTACT, ANSWER);
        let sent = bench.sent();
        let [Transmit::Ack { .. }, Transmit::Request { request, .. }] = &sent[..] else {
            panic!("ACK and re-INVITE: {sent:?}")
        };
        assert_eq!((request.method, request.body.as_slice()), (Method::Invite, &b"new"[..]));
    }
    // What waited goes as soon as it may.
    let (mut bench, tx, invite) = calling();
    offer(&mut bench, "new");
    bench.answer(tx, &invite, "183 Progress", SETTLES, ANSWER);
    let sent = bench.sent();
    let Some(Transmit::Request { request, .. }) = sent.last() else { panic!("{sent:?}") };
    assert_eq!((sent.len(), request.method), (2, Method::Update), "PRACK and UPDATE");
}

#[test]
fn an_update_that_the_other_fork_outran_is_offered_again() {
    let (mut bench, tx, invite) = early();
    offer(&mut bench, "new");
    let (update_tx, update, _) = bench.request();
    bench.answer_as(tx, &invite, "200 OK", ";tag=other", CONTACT, ANSWER);
    let sent = bench.sent();
    let [Transmit::Ack { .. }, Transmit::Request { request, .. }] = &sent[..] else {
        panic!("ACK and re-INVITE: {sent:?}")
    };
    assert_eq!((request.method, request.body.as_slice()), (Method::Invite, &b"new"[..]));
    bench.events();
    bench.answer(update_tx, &update, "481 No Such Call", "", "");
    assert!(bench.events().is_empty(), "of a dialog that is none of ours any more");
}

#[test]
fn an_update_without_an_answer_leaves_the_call_to_its_invite() {
    let (mut bench, tx, invite) = early();
    offer(&mut bench, "new");
    let (update_tx, _, _) = bench.request();
    bench.fail(update_tx, TxFailure::Timeout);
    assert!(matches!(bench.event(), Event::ReinviteRefused { code: 408, .. }));
    bench.answer(tx, &invite, "200 OK", CONTACT, ANSWER);
    assert!(matches!(bench.event(), Event::Answered { .. }));
}

/// The callee offers something new while it rings.
#[test]
fn their_update_in_the_early_dialog_is_an_offer() {
    let (mut bench, tx, invite) = early();
    let mut peer = Peer::callee(&invite);
    bench.receive(&peer.request(Method::Update, "", OFFER_2));
    assert_eq!(bench.event(), Event::Reinvited { session: ME, sdp: Some(OFFER_2.into()) });
    bench.command(Command::AcceptReinvite { session: ME, sdp: "mine-2".into() });
    let (_, ok) = bench.responses().remove(0);
    assert_eq!((ok.status_code.code(), ok.body.as_slice()), (200, &b"mine-2"[..]));
    bench.answer(tx, &invite, "200 OK", CONTACT, "");
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some(OFFER_2.into()) });
}

/// RFC 3311 5.2: ours in the INVITE has no answer yet, so 491; theirs has none, so 500.
#[test]
fn an_update_before_the_first_answer_is_put_off() {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "180 Ringing", CONTACT, "");
    bench.events();
    let mut callee = Peer::callee(&invite);
    bench.receive(&callee.request(Method::Update, "", OFFER_2));
    assert_eq!(bench.codes(), [491]);
    bench.receive(&callee.request(Method::Update, "", ""));
    assert_eq!(bench.codes(), [200], "without an offer it is a refresh");

    let mut bench = Bench::new();
    let (_, mut caller) = bench.ring(OFFER);
    bench.receive(&caller.request(Method::Update, "", OFFER_2));
    let (_, response) = bench.responses().remove(0);
    assert_eq!(response.status_code.code(), 500);
    assert!(header(&response, "Retry-After").is_some());
    bench.receive(&caller.request(Method::Update, "", ""));
    assert_eq!(bench.codes(), [200]);
    assert!(bench.events().is_empty());
}

/// We are called, and have answered in a reliable 183: both may offer again.
#[test]
fn a_called_one_may_offer_by_update_too() {
    let mut bench = Bench::new();
    let mut peer =
        Peer { call_id: "in".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    let extra = "Require: 100rel\r\nAllow: INVITE, UPDATE\r\n";
    bench.receive(&peer.request(Method::Invite, extra, OFFER));
    let Event::Invited { session, .. } = bench.event() else { panic!("Invited") };
    bench.sent();
    bench.command(Command::Progress { session, code: 183, sdp: Some(ANSWER.into()) });
    let (_, response) = bench.responses().remove(0);
    peer.ua_tag = header(&response, "To").unwrap().split("tag=").nth(1).unwrap().to_owned();
    bench.command(Command::Reinvite { session, sdp: Some("mine".into()) });
    assert!(bench.sent().is_empty(), "not before the PRACK");
    let rack = format!("RAck: {} 1 INVITE\r\n", header(&response, "RSeq").unwrap());
    bench.receive(&peer.request(Method::PRack, &rack, ""));
    let mut sent = bench.sent();
    let Some(Transmit::Request { tx, request: update, .. }) = sent.pop() else {
        panic!("UPDATE: {sent:?}")
    };
    assert_eq!(update.method, Method::Update);
    // Glare: theirs meets ours.
    bench.receive(&peer.request(Method::Update, "", OFFER_2));
    assert_eq!(bench.codes(), [491]);
    bench.answer(tx, &update, "491 Request Pending", "", "");
    bench.receive(&peer.request(Method::Update, "", OFFER_2));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: Some(OFFER_2.into()) });
    bench.command(Command::AcceptReinvite { session, sdp: "yes".into() });
    assert_eq!(bench.codes(), [200]);
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.request().1.body, b"mine", "after the pause of 14.1");
}

/// Glare of UPDATE and re-INVITE, theirs and ours, in a call that is up.
#[test]
fn update_and_reinvite_share_one_queue() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_out();
    bench.receive(&peer.request(Method::Update, "", OFFER_2));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: Some(OFFER_2.into()) });
    offer(&mut bench, "mine");
    assert!(bench.sent().is_empty(), "theirs comes first");
    for method in [Method::Invite, Method::Update] {
        bench.receive(&peer.request(method, "", "third"));
        let (_, response) = bench.responses().pop().unwrap();
        assert_eq!(response.status_code.code(), 500, "{method}");
        assert!(header(&response, "Retry-After").is_some());
    }
    bench.command(Command::RejectReinvite { session, code: 488 });
    let sent = bench.sent();
    let [Transmit::Response { .. }, Transmit::Request { request, .. }] = &sent[..] else {
        panic!("488 and re-INVITE: {sent:?}")
    };
    assert_eq!(request.body, b"mine");
}

/// An application that says nothing does not hang the dialog.
#[test]
fn an_offer_nobody_answers_is_answered_500() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    for method in [Method::Invite, Method::Update] {
        bench.receive(&peer.request(method, "", OFFER_2));
        bench.sent();
        bench.events();
        bench.advance(Duration::from_secs(24));
        assert!(bench.sent().is_empty());
        bench.advance(Duration::from_secs(1));
        assert_eq!(bench.codes(), [500], "{method}");
        bench.command(Command::AcceptReinvite { session, sdp: ANSWER.into() });
        assert!(bench.sent().is_empty(), "too late");
    }
    assert_eq!(bench.ua.live_sessions(), 1);
    offer_of(&mut bench, session);
}

fn offer_of(bench: &mut Bench, session: SessionId) {
    bench.command(Command::Reinvite { session, sdp: Some("mine".into()) });
    assert_eq!(bench.request().1.body, b"mine");
}
