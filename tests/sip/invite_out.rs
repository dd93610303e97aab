//! Calls out.

use std::time::Duration;

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::{Command, End, EndedBy, Event, SessionId};

use super::support::*;

const ME: SessionId = SessionId(1);
const CONTACT: &str = "Contact: <sip:peer@192.0.2.9:5062>\r\n";

fn invite(bench: &mut Bench, sdp: Option<&str>) -> (ClientTx, Request) {
    bench.command(Command::Invite {
        session: ME,
        to: "1003".into(),
        sdp: sdp.map(str::to_owned),
        headers: vec![
            ("X-One".into(), "1\r\nX-Two: 2".into()),
            ("Contact".into(), "<sip:evil@h>".into()),
        ],
    });
    let (tx, request, to) = bench.request();
    assert_eq!(to, addr(PEER));
    (tx, request)
}

fn end(bench: &mut Bench, code: u16) {
    bench.command(Command::End { session: ME, code, text: "enough".into() });
}

fn ended(event: Event) -> End {
    let Event::Ended { end, .. } = event else { panic!("Ended: {event:?}") };
    end
}

#[test]
fn the_invite_says_who_we_are_and_no_more_than_we_do() {
    let mut bench = Bench::new();
    let (_, request) = invite(&mut bench, Some(OFFER));
    assert_eq!(request.uri.to_string(), "sip:1003@example.org");
    assert_eq!(header(&request, "To").as_deref(), Some("<sip:1003@example.org>"));
    assert_eq!(header(&request, "Contact").as_deref(), Some("<sip:5001@192.0.2.1:5070>"));
    assert_eq!(header(&request, "X-One").as_deref(), Some("1  X-Two: 2"));
    assert_eq!(header(&request, "X-Two"), None);
    assert_eq!(header(&request, "Content-Type").as_deref(), Some("application/sdp"));
    assert_eq!(
        header(&request, "Supported").as_deref(),
        Some("100rel, timer, replaces, norefersub, uui")
    );
    assert_eq!(request.body, OFFER.as_bytes());
}

#[test]
fn numbers_that_cannot_be_dialled_end_at_once() {
    for to in ["", "  ", "a b", "sip:", "<sip:1@h>", "1@[::"] {
        let mut bench = Bench::new();
        let headers = vec![];
        bench.command(Command::Invite { session: ME, to: to.into(), sdp: None, headers });
        assert!(bench.sent().is_empty(), "{to}");
        assert_eq!(ended(bench.event()).code, 484, "{to}");
    }
    let mut bench = Bench::new();
    bench.command(Command::Invite {
        session: ME,
        to: "sip:a%23b@192.0.2.50:5080;user=phone".into(),
        sdp: None,
        headers: vec![],
    });
    assert_eq!(bench.request().1.uri.to_string(), "sip:a%23b@192.0.2.50:5080;user=phone");
}

#[test]
fn early_dialogs_are_told_apart_and_the_other_forks_answer_is_turned_down() {
    let mut bench = Bench::new();
    let (tx, request) = invite(&mut bench, Some(OFFER));
    bench.answer_as(tx, &request, "100 Trying", "", "", "");
    assert!(bench.events().is_empty());
    bench.answer_as(tx, &request, "180 Ringing", ";tag=a", CONTACT, "");
    bench.answer_as(tx, &request, "183 Progress", ";tag=b", CONTACT, ANSWER);
    bench.answer_as(tx, &request, "180 Ringing", ";tag=a", CONTACT, "");
    let early: Vec<u32> = bench
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Progressed { early, .. } => early,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(early, [1, 2, 1]);
    bench.answer_as(tx, &request, "200 OK", ";tag=b", CONTACT, ANSWER);
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some(ANSWER.into()) });
    let ack = bench.ack();
    assert_eq!(header(&ack, "CSeq").as_deref(), Some("1 ACK"));
    assert_eq!(ack.uri.to_string(), "sip:peer@192.0.2.9:5062");
    assert!(ack.body.is_empty());
    // The 2xx once more: ACK once more, no event.
    bench.answer_as(tx, &request, "200 OK", ";tag=b", CONTACT, ANSWER);
    assert_eq!(bench.ack(), ack);
    // The other fork.
    bench.answer_as(tx, &request, "200 OK", ";tag=a", CONTACT, ANSWER);
    let sent = bench.sent();
    let [Transmit::Ack { request: ack, .. }, Transmit::Request { request: bye, .. }] = &sent[..]
    else {
        panic!("ACK and BYE: {sent:?}")
    };
    assert!(header(ack, "To").unwrap().ends_with(";tag=a"));
    assert!(header(bye, "To").unwrap().ends_with(";tag=a"));
    assert_eq!((bye.method, header(bye, "CSeq").unwrap().as_str()), (Method::Bye, "2 BYE"));
    assert!(bench.events().is_empty());
}

#[test]
fn a_delayed_offer_is_answered_in_the_ack() {
    let mut bench = Bench::new();
    let (tx, request) = invite(&mut bench, None);
    assert!(request.body.is_empty());
    bench.answer(tx, &request, "200 OK", CONTACT, OFFER);
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some(OFFER.into()) });
    bench.answer(tx, &request, "200 OK", CONTACT, OFFER);
    assert!(bench.sent().is_empty(), "no ACK before the answer");
    bench.command(Command::AnswerInAck { session: ME, sdp: ANSWER.into() });
    let ack = bench.ack();
    assert_eq!(ack.body, ANSWER.as_bytes());
    bench.answer(tx, &request, "200 OK", CONTACT, OFFER);
    assert_eq!(bench.ack(), ack, "the same ACK for the repeated 2xx");
}

/// First-party calls: 401/407.
#[test]
fn a_challenge_keeps_the_call_and_its_ack_carries_the_credentials() {
    let mut bench = Bench::new();
    let (tx, request) = invite(&mut bench, Some(OFFER));
    let line =
        "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";
    bench.answer(tx, &request, "407 Proxy Authentication Required", line, "");
    let (tx, second, _) = bench.request();
    assert_eq!(header(&second, "Call-ID"), header(&request, "Call-ID"));
    assert_eq!(header(&second, "From"), header(&request, "From"));
    assert_eq!(header(&second, "CSeq").as_deref(), Some("2 INVITE"));
    assert_eq!(header(&second, "To"), header(&request, "To"), "no tag of the refusal");
    assert_eq!(second.body, OFFER.as_bytes());
    let proxy = header(&second, "Proxy-Authorization").unwrap();
    assert!(proxy.contains("algorithm=SHA-256"), "{proxy}");
    bench.answer(tx, &second, "200 OK", CONTACT, ANSWER);
    let ack = bench.ack();
    assert_eq!(header(&ack, "Proxy-Authorization"), Some(proxy));
    assert_eq!(header(&ack, "CSeq").as_deref(), Some("2 ACK"));
    end(&mut bench, 200);
    assert_eq!(header(&bench.request().1, "CSeq").as_deref(), Some("3 BYE"));
}

/// First-party calls: CANCEL.
#[test]
fn cancel_waits_for_a_provisional_answer() {
    let mut bench = Bench::new();
    let (tx, request) = invite(&mut bench, Some(OFFER));
    end(&mut bench, 487);
    let over = ended(bench.event());
    assert_eq!((over.by, over.code), (EndedBy::Us, 487));
    assert!(bench.sent().is_empty() && !bench.ua.is_idle());
    bench.answer(tx, &request, "100 Trying", "", "");
    let mut sent = bench.sent();
    let Some(Transmit::Cancel { invite, request: cancel, to }) = sent.pop() else {
        panic!("CANCEL: {sent:?}")
    };
    assert_eq!((invite, to), (tx, addr(PEER)));
    for name in ["Via", "From", "To", "Call-ID"] {
        assert_eq!(header(&cancel, name), header(&request, name));
    }
    assert_eq!(header(&cancel, "CSeq").as_deref(), Some("1 CANCEL"));
    assert_eq!(header(&cancel, "Reason").as_deref(), Some("SIP;cause=487;text=\"enough\""));
    bench.answer(tx, &request, "180 Ringing", CONTACT, "");
    assert!(bench.sent().is_empty(), "one CANCEL");
    bench.answer(tx, &request, "487 Request Terminated", "", "");
    assert!(bench.sent().is_empty() && bench.events().is_empty());
    assert!(bench.ua.is_idle());
}

#[test]
fn a_200_that_crosses_the_cancel_is_acked_and_hung_up() {
    let mut bench = Bench::new();
    let (tx, request) = invite(&mut bench, Some(OFFER));
    bench.answer(tx, &request, "180 Ringing", CONTACT, "");
    end(&mut bench, 487);
    bench.sent();
    bench.events();
    bench.answer(tx, &request, "200 OK", CONTACT, ANSWER);
    let sent = bench.sent();
    assert!(
        matches!(&sent[..], [Transmit::Ack { .. }, Transmit::Request { request, .. }]
            if request.method == Method::Bye),
        "{sent:?}"
    );
    assert!(bench.events().is_empty(), "Ended was told already");
}

/// First-party calls: 4xx-6xx mapped to a clear reason.
#[test]
fn refusals_come_with_code_text_and_reason() {
    for (status, code, text) in [
        ("302 Moved Temporarily", 302, "Moved Temporarily"),
        ("486 Busy Here", 486, "Busy Here"),
        ("503 Try the other door", 503, "Try the other door"),
        ("603 Decline", 603, "Decline"),
    ] {
        let mut bench = Bench::new();
        let (tx, request) = invite(&mut bench, Some(OFFER));
        bench.answer(tx, &request, status, "Reason: Q.850;cause=17\r\n", "");
        let end = ended(bench.event());
        let expected = End {
            by: EndedBy::Peer,
            code,
            text: text.into(),
            reason_header: Some("Q.850;cause=17".into()),
        };
        assert_eq!(end, expected);
        assert!(bench.sent().is_empty(), "the transaction ACKs it");
    }
}

#[test]
fn silence_is_408_and_no_way_out_503() {
    for (why, code) in [(TxFailure::Timeout, 408), (TxFailure::Transport, 503)] {
        let mut bench = Bench::new();
        let (tx, _) = invite(&mut bench, Some(OFFER));
        bench.fail(tx, why);
        let end = ended(bench.event());
        assert_eq!((end.by, end.code), (EndedBy::Network, code));
        assert!(bench.sent().is_empty());
    }
}

#[test]
fn sessions_are_bounded_and_end_once() {
    let mut bench = Bench::new();
    for id in 0..9 {
        let session = SessionId(id);
        bench.command(Command::Invite { session, to: "1".into(), sdp: None, headers: vec![] });
    }
    assert_eq!(bench.sent().len(), 8);
    assert_eq!(ended(bench.event()).code, 486);
    end(&mut bench, 487);
    end(&mut bench, 487);
    assert_eq!(bench.events().len(), 1);
}

#[test]
fn a_session_is_forgotten_after_it_lingered() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_out();
    bench.receive(&peer.request(Method::Bye, "", ""));
    assert_eq!(bench.codes(), [200]);
    bench.events();
    bench.receive(&peer.request(Method::Bye, "", ""));
    assert_eq!(bench.codes(), [200], "it lingers");
    bench.advance(Duration::from_secs(33));
    bench.receive(&peer.request(Method::Bye, "", ""));
    assert_eq!(bench.codes(), [481]);
    assert_eq!(bench.ua.poll_timeout(), None);
}

#[test]
fn a_bye_that_comes_before_the_answer_to_a_delayed_offer_still_finds_an_ack() {
    let mut bench = Bench::new();
    let (tx, request) = invite(&mut bench, None);
    bench.answer(tx, &request, "200 OK", CONTACT, OFFER);
    bench.events();
    bench.receive(&Peer::callee(&request).request(Method::Bye, "", ""));
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Transmit::Response { .. }, Transmit::Ack { .. }]), "{sent:?}");
    assert_eq!(ended(bench.event()).by, EndedBy::Peer);
    bench.command(Command::AnswerInAck { session: ME, sdp: ANSWER.into() });
    assert!(bench.sent().is_empty());
}
