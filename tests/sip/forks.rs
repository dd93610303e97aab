//! First-party calls that fork: "early media (183, several early dialogs, the last SDP wins)", and what
//! becomes of the branches that were not answered.

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, Transmit};
use wrtc_gateway::sip::{Command, EndedBy, Event, SessionId};

use super::support::*;

const ME: SessionId = SessionId(1);
const CONTACT: &str = "Contact: <sip:peer@192.0.2.9>\r\n";

fn calling() -> (Bench, ClientTx, Request) {
    let mut bench = Bench::new();
    let (to, sdp) = ("1003".into(), Some(OFFER.into()));
    bench.command(Command::Invite { session: ME, to, sdp, headers: vec![] });
    let (tx, request, _) = bench.request();
    (bench, tx, request)
}

#[test]
fn every_provisional_answer_is_told_with_its_early_dialog_and_sdp() {
    let (mut bench, tx, invite) = calling();
    for (status, tag, sdp, early) in [
        ("100 Trying", "", "", None),
        ("180 Ringing", ";tag=a", "", Some(1)),
        ("183 Session Progress", ";tag=b", "from b", Some(2)),
        ("181 Call Is Being Forwarded", "", "", Some(0)),
        ("182 Queued, 3 before you", ";tag=a", "", Some(1)),
        ("183 Session Progress", ";tag=a", "from a", Some(1)),
        // This one is over (RFC 6228): the application may forget its media.
        ("199 Early Dialog Terminated", ";tag=b", "", Some(2)),
        ("183 Session Progress", ";tag=a", "from a again", Some(1)),
    ] {
        bench.answer_as(tx, &invite, status, tag, CONTACT, sdp);
        let expected = early.map(|early| Event::Progressed {
            session: ME,
            code: status[..3].parse().unwrap(),
            text: status[4..].into(),
            sdp: (!sdp.is_empty()).then(|| sdp.into()),
            early,
        });
        assert_eq!(bench.events(), Vec::from_iter(expected));
        assert!(bench.sent().is_empty());
    }
}

/// Whoever answers is the call, though another one was heard before.
#[test]
fn an_early_dialog_may_be_answered_that_was_not_heard_last() {
    let (mut bench, tx, invite) = calling();
    bench.answer_as(tx, &invite, "183 Progress", ";tag=a", CONTACT, "from a");
    bench.answer_as(tx, &invite, "183 Progress", ";tag=b", CONTACT, "from b");
    bench.events();
    bench.answer_as(tx, &invite, "200 OK", ";tag=c", CONTACT, "from c");
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some("from c".into()) });
    assert!(header(&bench.ack(), "To").unwrap().ends_with(";tag=c"));
    // Requests of the branches that lost find no dialog any more.
    let mut a = Peer::callee(&invite);
    for (tag, code) in [("a", 481), ("b", 481), ("c", 200)] {
        a.our_tag = tag.into();
        bench.receive(&a.request(Method::Options, "", ""));
        assert_eq!(bench.codes(), [code], "{tag}");
    }
}

/// 13.2.2.4: ACK and BYE for every other branch that answers, each in its own dialog, each 2xx of it.
#[test]
fn later_answers_of_other_branches_are_acked_and_hung_up() {
    let (mut bench, tx, invite) = calling();
    bench.answer_as(tx, &invite, "200 OK", ";tag=a", CONTACT, ANSWER);
    bench.ack();
    bench.events();
    for tag in [";tag=b", ";tag=c"] {
        bench.answer_as(tx, &invite, "200 OK", tag, CONTACT, ANSWER);
        let sent = bench.sent();
        let [
            Transmit::Ack { request: ack, .. },
            Transmit::Request { tx: bye_tx, request: bye, .. },
        ] = &sent[..]
        else {
            panic!("ACK and BYE: {sent:?}")
        };
        assert!(header(ack, "To").unwrap().ends_with(tag));
        assert!(header(bye, "To").unwrap().ends_with(tag));
        let (bye_tx, bye) = (*bye_tx, bye.clone());
        bench.answer_as(tx, &invite, "200 OK", tag, CONTACT, ANSWER);
        assert_eq!(header(&bench.ack(), "To"), header(&bye, "To"), "the ACK again, no BYE again");
        bench.answer(bye_tx, &bye, "200 OK", "", "");
    }
    assert!(bench.events().is_empty());
    assert_eq!(bench.ua.live_sessions(), 1);
}

/// A peer that makes up branches without end costs as many ACKs and BYEs as a hunt group does.
#[test]
fn branches_have_an_end() {
    let (mut bench, tx, invite) = calling();
    bench.answer_as(tx, &invite, "200 OK", ";tag=a", CONTACT, ANSWER);
    bench.ack();
    bench.events();
    let sent: usize = (0..500)
        .map(|n| {
            bench.answer_as(tx, &invite, "200 OK", &format!(";tag=x{n}"), CONTACT, ANSWER);
            bench.sent().len()
        })
        .sum();
    assert_eq!(sent, 32, "ACK and BYE for 16");
    assert_eq!(bench.ua.faults().floods, 484);
    assert_eq!(bench.ua.live_sessions(), 1);
}

/// In a dialog there is one peer: who else answers a re-INVITE is not thanked.
#[test]
fn a_reinvite_is_answered_once() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    bench.command(Command::Reinvite { session, sdp: Some(OFFER_2.into()) });
    let (tx, request, _) = bench.request();
    bench.answer(tx, &request, "200 OK", CONTACT, ANSWER);
    bench.ack();
    bench.events();
    let mut stranger = request.clone();
    stranger.headers.retain(|h| h.name() != "To");
    stranger
        .headers
        .push(rsipstack::sip::headers::make_header("To", "<sip:1003@example.org>".to_string()));
    for n in 0..100 {
        let tag = format!(";tag=x{n}");
        bench.answer_as(
            tx,
            &stranger,
            "200 OK",
            &tag,
            "Contact: <sip:evil@192.0.2.66>\r\n",
            ANSWER,
        );
        assert!(bench.sent().is_empty() && bench.events().is_empty());
    }
    bench.answer(tx, &request, "200 OK", CONTACT, ANSWER);
    assert_eq!(bench.ack().method, Method::Ack, "the peer's own again");
    bench.command(Command::End { session, code: 200, text: String::new() });
    assert!(bench.request().1.uri.to_string().contains("192.0.2.9"), "the target stands");
}

/// A branch that hangs up before it was answered ends itself, and no more.
#[test]
fn a_bye_in_an_early_dialog_leaves_the_call() {
    let (mut bench, tx, invite) = calling();
    bench.answer_as(tx, &invite, "183 Progress", ";tag=peer", CONTACT, ANSWER);
    bench.events();
    bench.receive(&Peer::callee(&invite).request(Method::Bye, "", ""));
    assert_eq!(bench.codes(), [200]);
    assert!(bench.events().is_empty());
    bench.answer_as(tx, &invite, "486 Busy Here", ";tag=peer", "", "");
    assert!(
        matches!(bench.event(), Event::Ended { end, .. } if end.by == EndedBy::Peer && end.code == 486)
    );
}
