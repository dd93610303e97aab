//! Requests inside of dialogs.

use std::time::Duration;

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::TxFailure;
use wrtc_gateway::sip::{Command, EndedBy, Event};

use super::support::*;

fn code_of_end(events: &[Event]) -> (EndedBy, u16) {
    match events {
        [.., Event::Ended { end, .. }] => (end.by, end.code),
        _ => panic!("Ended: {events:?}"),
    }
}

#[test]
fn an_offerless_reinvite_is_answered_with_an_offer_and_acked_with_the_answer() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Invite, "", ""));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: None });
    assert_eq!(bench.codes(), [100]);
    bench.command(Command::AcceptReinvite { session, sdp: OFFER.into() });
    let (_, ok) = bench.responses().remove(0);
    assert_eq!(ok.body, OFFER.as_bytes());
    assert!(header(&ok, "Contact").is_some());
    bench.advance(Duration::from_millis(500));
    assert_eq!(bench.codes(), [200], "repeated until its ACK");
    bench.receive(&peer.request(Method::Ack, "", ANSWER));
    assert_eq!(bench.event(), Event::Acked { session, sdp: Some(ANSWER.into()) });
}

#[test]
fn a_reinvite_moves_the_peer() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let moved =
        peer.request(Method::Invite, "", OFFER_2).replace("192.0.2.9:5062", "192.0.2.44:5064");
    bench.receive(&moved);
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: Some(OFFER_2.into()) });
    bench.command(Command::AcceptReinvite { session, sdp: ANSWER.into() });
    bench.sent();
    bench.receive(&peer.request(Method::Ack, "", ""));
    bench.command(Command::End { session, code: 200, text: String::new() });
    let (_, bye, to) = bench.request();
    assert_eq!(bye.uri.to_string(), "sip:1003@192.0.2.44:5064");
    assert_eq!(to, addr("192.0.2.44:5064"));
}

#[test]
fn a_rejected_reinvite_leaves_the_call_as_it_was() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    bench.sent();
    bench.command(Command::RejectReinvite { session, code: 488 });
    assert_eq!(bench.codes(), [488]);
    bench.events();
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    assert_eq!(bench.codes(), [100], "the next one is taken");
}

#[test]
fn a_cancelled_reinvite_ends_nothing() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    bench.sent();
    bench.events();
    bench.receive(&peer.request(Method::Cancel, "", ""));
    assert_eq!(bench.codes(), [487, 200]);
    bench.command(Command::AcceptReinvite { session, sdp: ANSWER.into() });
    assert!(bench.sent().is_empty() && bench.events().is_empty());
}

/// They ask for the agent's offer, to retrieve the call, and have no patience: it goes out all the same, for
/// they would otherwise believe the agent to hold the call still.
#[test]
fn an_offer_that_was_asked_for_and_not_waited_for_is_made() {
    for patient in [true, false] {
        let mut bench = Bench::new();
        let (session, mut peer) = bench.call_in();
        bench.receive(&peer.request(Method::Invite, "", ""));
        assert_eq!(bench.event(), Event::Reinvited { session, sdp: None });
        assert_eq!(bench.codes(), [100]);
        if patient {
            bench.advance(Duration::from_secs(25));
            assert_eq!(bench.codes(), [500]);
        } else {
            bench.receive(&peer.request(Method::Cancel, "", ""));
            assert_eq!(bench.codes(), [487, 200]);
        }
        bench.command(Command::AcceptReinvite { session, sdp: OFFER_2.into() });
        let (tx, offer, _) = bench.request();
        assert_eq!((offer.method, &offer.body[..]), (Method::Invite, OFFER_2.as_bytes()));
        bench.answer(tx, &offer, "200 OK", "", ANSWER);
        bench.ack();
        assert_eq!(bench.event(), Event::ReinviteAnswered { session, sdp: Some(ANSWER.into()) });
        bench.command(Command::AcceptReinvite { session, sdp: OFFER_2.into() });
        assert!(bench.sent().is_empty(), "once");
    }
}

/// A resume that finds the connection broken comes again, or the far end would stay on hold for good: as what is
/// wanted by then, for the agent may hold again meanwhile.
#[test]
fn an_offer_that_cannot_be_sent_is_asked_for_again() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    bench.command(Command::Reinvite { session, sdp: Some(OFFER_2.into()) });
    for (pause, next) in [(1, OFFER), (2, OFFER_2), (4, OFFER)] {
        let (tx, _, _) = bench.request();
        bench.fail(tx, TxFailure::Transport);
        bench.advance(Duration::from_secs(pause) - Duration::from_millis(1));
        assert!(bench.sent().is_empty() && bench.events().is_empty());
        bench.advance(Duration::from_millis(1));
        assert!(bench.sent().is_empty(), "nothing that may be out of date");
        assert_eq!(bench.event(), Event::ReinviteUnsent { session });
        bench.command(Command::Reinvite { session, sdp: Some(next.into()) });
    }
    let (tx, request, _) = bench.request();
    assert_eq!(request.body, OFFER.as_bytes());
    bench.answer(tx, &request, "200 OK", "", ANSWER);
    bench.ack();
    assert!(matches!(bench.event(), Event::ReinviteAnswered { .. }));
}

#[test]
fn an_offer_that_cannot_be_sent_is_given_up_when_its_transaction_would_be() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    for _ in 0..2 {
        let began = bench.now;
        let mut tries = 0;
        bench.command(Command::Reinvite { session, sdp: Some(OFFER_2.into()) });
        let refused = loop {
            let (tx, _, _) = bench.request();
            tries += 1;
            bench.fail(tx, TxFailure::Transport);
            if let Some(event) = bench.events().pop() {
                break event;
            }
            while bench.events().is_empty() {
                bench.advance(Duration::from_millis(500));
            }
            bench.command(Command::Reinvite { session, sdp: Some(OFFER_2.into()) });
        };
        assert!(matches!(refused, Event::ReinviteRefused { code: 503, .. }), "{refused:?}");
        assert_eq!((tries, bench.now - began), (7, Duration::from_secs(31)));
        bench.advance(Duration::from_secs(1));
    }
}

/// The far end is not left in a call with nobody for a connection that broke.
#[test]
fn a_bye_that_cannot_be_sent_is_sent_once_more() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    bench.command(Command::End { session, code: 200, text: String::new() });
    let (tx, bye, _) = bench.request();
    bench.fail(tx, TxFailure::Transport);
    let (tx, again, _) = bench.request();
    assert_eq!((again.method, header(&again, "To")), (Method::Bye, header(&bye, "To")));
    assert_ne!(header(&again, "CSeq"), header(&bye, "CSeq"));
    assert_ne!(header(&again, "Via"), header(&bye, "Via"));
    assert!(!bench.ua.is_idle());
    bench.fail(tx, TxFailure::Transport);
    assert!(bench.sent().is_empty() && bench.ua.is_idle());
}

#[test]
fn update_with_an_offer_is_an_offer_and_without_one_a_refresh() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Update, "", ""));
    assert_eq!(bench.codes(), [200]);
    assert!(bench.events().is_empty());
    bench.receive(&peer.request(Method::Update, "", OFFER_2));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: Some(OFFER_2.into()) });
    bench.command(Command::AcceptReinvite { session, sdp: ANSWER.into() });
    let (_, ok) = bench.responses().remove(0);
    assert_eq!(ok.body, ANSWER.as_bytes());
    bench.advance(Duration::from_secs(5));
    assert!(bench.sent().is_empty(), "no ACK is due for UPDATE");
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    bench.command(Command::End { session, code: 200, text: "bye".into() });
    let (tx, bye, _) = bench.request();
    bench.receive(&peer.request(Method::Bye, "", ""));
    assert_eq!(bench.codes(), [200]);
    bench.answer(tx, &bye, "481 No Call", "", "");
    assert_eq!(bench.events().len(), 1, "one Ended");
    assert!(bench.ua.is_idle());
}

#[test]
fn a_challenged_bye_is_sent_again() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    bench.command(Command::End { session, code: 200, text: String::new() });
    let (tx, bye, _) = bench.request();
    let line = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    bench.answer(tx, &bye, "401 Unauthorized", line, "");
    let (_, again, _) = bench.request();
    assert_eq!(header(&again, "CSeq").as_deref(), Some("3 BYE"));
    assert!(header(&again, "Authorization").is_some());
}

/// INFO both ways (user data, `application/dtmf-relay`, `application/dtmf`).
#[test]
fn info_goes_both_ways() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let content_type = "application/dtmf-relay".to_owned();
    let line = "Content-Type: application/dtmf-relay\r\n";
    bench.receive(&peer.request(Method::Info, line, "Signal=5\r\n"));
    assert_eq!(bench.codes(), [200]);
    let body = b"Signal=5\r\n".to_vec();
    assert_eq!(
        bench.event(),
        Event::Informed { session, content_type: content_type.clone(), body: body.clone() }
    );
    bench.command(Command::Info { session, content_type, body: body.clone() });
    let (tx, info, _) = bench.request();
    assert_eq!((info.method, info.body.clone()), (Method::Info, body));
    bench.answer(tx, &info, "481 Gone", "", "");
    assert_eq!(code_of_end(&bench.events()), (EndedBy::Peer, 481));
}

/// Unknown methods and events: 405, 489, with Allow / Allow-Events. OPTIONS: 200.
#[test]
fn what_we_do_not_do_is_refused_by_the_book() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Notify, "Event: dialog\r\n", ""));
    let (_, response) = bench.responses().remove(0);
    assert_eq!(response.status_code.code(), 489);
    assert_eq!(header(&response, "Allow-Events").as_deref(), Some("talk, hold"));
    for method in [Method::Publish, Method::Message] {
        bench.receive(&peer.request(method, "", ""));
        let (_, response) = bench.responses().remove(0);
        assert_eq!(response.status_code.code(), 405, "{method}");
        let allow = header(&response, "Allow").unwrap();
        assert!(!allow.contains(&method.to_string()), "{allow}");
    }
    bench.receive(&peer.request(Method::Subscribe, "Event: dialog\r\n", ""));
    let (_, response) = bench.responses().remove(0);
    assert_eq!(response.status_code.code(), 489);
    assert!(header(&response, "Allow-Events").is_some());
    bench.receive(&peer.request(Method::Options, "", ""));
    let (_, ok) = bench.responses().remove(0);
    assert_eq!(ok.status_code.code(), 200);
    assert!(header(&ok, "Allow").unwrap().contains("REFER"));
    assert!(header(&ok, "Supported").unwrap().contains("replaces"));
    assert_eq!(header(&ok, "Accept").as_deref(), Some("application/sdp"));
    // Older than the last.
    let old = peer.request_numbered(Method::Options, 101, "", "");
    bench.receive(&old);
    assert_eq!(bench.codes(), [500]);
    peer.our_tag = "stranger".into();
    for method in [Method::Bye, Method::Invite, Method::Notify, Method::Info, Method::Update] {
        bench.receive(&peer.request(method, "", ""));
        assert_eq!(bench.codes(), [481], "{method}");
    }
    assert!(bench.events().is_empty());
}

#[test]
fn outside_of_dialogs() {
    let mut bench = Bench::new();
    let mut peer =
        Peer { call_id: "o".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    for (method, code) in [
        (Method::Options, 200),
        (Method::Bye, 481),
        (Method::Notify, 481),
        (Method::Register, 405),
        (Method::Message, 405),
        (Method::Subscribe, 489),
        (Method::Publish, 405),
    ] {
        bench.receive(&peer.request(method, "", ""));
        assert_eq!(bench.codes(), [code], "{method}");
    }
    bench.receive(&peer.request(Method::Ack, "", ""));
    assert!(bench.sent().is_empty());
}

fn reinvite(bench: &mut Bench, session: wrtc_gateway::sip::SessionId) -> Request {
    bench.command(Command::Reinvite { session, sdp: Some("later".into()) });
    bench.request().1
}

#[test]
fn a_dialog_the_peer_forgot_is_over() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    bench.command(Command::Reinvite { session, sdp: Some(OFFER.into()) });
    let (tx, request, _) = bench.request();
    bench.answer(tx, &request, "481 Unknown Dialog", "", "");
    assert_eq!(code_of_end(&bench.events()), (EndedBy::Peer, 481));

    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    bench.command(Command::Reinvite { session, sdp: Some(OFFER.into()) });
    let (tx, _, _) = bench.request();
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(code_of_end(&bench.events()), (EndedBy::Network, 408));
    assert_eq!(bench.request().1.method, Method::Bye);
}

#[test]
fn a_bye_ends_the_reinvites_under_way() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    bench.sent();
    bench.events();
    bench.receive(&peer.request(Method::Bye, "", ""));
    assert_eq!(bench.codes(), [200, 487]);
    assert_eq!(code_of_end(&bench.events()), (EndedBy::Peer, 200));
}

#[test]
fn requests_of_ours_count_up() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_in();
    assert_eq!(header(&reinvite(&mut bench, session), "CSeq").as_deref(), Some("1 INVITE"));
    bench.command(Command::Info { session, content_type: "a/b".into(), body: vec![1] });
    assert_eq!(header(&bench.request().1, "CSeq").as_deref(), Some("2 INFO"));
}

/// INFO both ways: a refusal is told, and ends nothing.
#[test]
fn a_refused_info_is_told_and_the_session_stands() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_in();
    for (answer, code) in [("405 No", 405), ("415 Type", 415), ("501 No", 501)] {
        bench.command(Command::Info { session, content_type: "a/b".into(), body: vec![1] });
        let (tx, info, _) = bench.request();
        bench.answer(tx, &info, answer, "", "");
        assert_eq!(bench.event(), Event::InfoRefused { session, code });
    }
    bench.command(Command::Info { session, content_type: "a/b".into(), body: vec![1] });
    let (tx, info, _) = bench.request();
    bench.answer(tx, &info, "200 OK", "", "");
    assert!(bench.events().is_empty());
    bench.command(Command::Info { session, content_type: "a/b".into(), body: vec![1] });
    let (tx, _, _) = bench.request();
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(bench.event(), Event::InfoRefused { session, code: 408 });
    assert_eq!(bench.ua.live_sessions(), 1);
}

/// A far end that floods a call with INFO cannot fill the application's mailbox.
#[test]
fn info_is_taken_at_a_rate() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    for _ in 0..200 {
        bench.receive(&peer.request(Method::Info, "Content-Type: application/dtmf\r\n", "5"));
    }
    let codes = bench.codes();
    assert_eq!(codes.iter().filter(|code| **code == 200).count(), 50);
    assert!(codes[50..].iter().all(|code| *code == 503));
    assert_eq!((bench.events().len(), bench.ua.faults().floods), (50, 150));
    bench.advance(Duration::from_secs(1));
    bench.receive(&peer.request(Method::Info, "Content-Type: application/dtmf\r\n", "6"));
    assert_eq!(bench.codes(), [200]);
    let (content_type, body) = ("application/dtmf".to_owned(), b"6".to_vec());
    assert_eq!(bench.event(), Event::Informed { session, content_type, body });
}

/// BYE carries Reason; both ends' reasons are kept.
#[test]
fn a_bye_says_why_and_both_reasons_are_told() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_in();
    bench.command(Command::End { session, code: 480, text: "the browser left".into() });
    let (_, bye, _) = bench.request();
    let reason = header(&bye, "Reason");
    assert_eq!(reason.as_deref(), Some("SIP;cause=480;text=\"the browser left\""));
    let Event::Ended { end, .. } = bench.event() else { panic!("Ended") };
    assert_eq!((end.by, end.text.as_str()), (EndedBy::Us, "the browser left"));

    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    let lines = "Reason: Q.850;cause=16\r\nReason: SIP;cause=403;text=\"no\"\r\n";
    bench.receive(&peer.request(Method::Bye, lines, ""));
    let Event::Ended { end, .. } = bench.event() else { panic!("Ended") };
    assert_eq!(end.by, EndedBy::Peer);
    let reason = end.reason_header.as_deref();
    assert_eq!(reason, Some("Q.850;cause=16, SIP;cause=403;text=\"no\""));
}
