//! A call that its SIP server does not take goes by the next one (RFC 3261 21.5.4, RFC 3263 4.3).

use std::time::Duration;

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::{Command, End, EndedBy, Event, Hop, Place, SessionId, Transport};

use super::support::*;

const ME: SessionId = SessionId(1);
const NONE: &str = "503 Service Unavailable";
const CONTACT: &str = "Contact: <sip:peer@198.51.100.1>\r\n";
const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"\r\n";

fn second() -> Hop {
    Hop::new(Transport::Tls, "192.0.2.10:5061".parse().unwrap())
}

fn third() -> Hop {
    addr("192.0.2.11:5060")
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    let place = |server, advertise: &str| Place { server, advertise: advertise.parse().unwrap() };
    let others = [place(second(), "192.0.2.1:5071"), place(third(), "192.0.2.1:5070")];
    bench.ua.set_others(others.into());
    bench
}

fn call(bench: &mut Bench, session: SessionId) -> (ClientTx, Request, Hop) {
    let headers = vec![("X-Mine".into(), "1".into())];
    let (to, sdp) = ("1003".into(), Some(OFFER.into()));
    bench.command(Command::Invite { session, to, sdp, headers });
    bench.request()
}

fn calling() -> (Bench, ClientTx, Request) {
    let mut bench = bench();
    let (tx, invite, to) = call(&mut bench, ME);
    assert_eq!(to, addr(PEER));
    (bench, tx, invite)
}

/// The INVITE at the next server, of which the application has been told.
#[track_caller]
fn goes_by(bench: &mut Bench, server: Hop) -> (ClientTx, Request) {
    let (tx, request, to) = bench.request();
    assert_eq!((to, request.method), (server, Method::Invite));
    assert_eq!(bench.event(), Event::Rerouted { session: ME, server });
    (tx, request)
}

#[track_caller]
fn ended(bench: &mut Bench) -> End {
    assert!(bench.sent().is_empty());
    match bench.event() {
        Event::Ended { end, .. } => end,
        other => panic!("Ended: {other:?}"),
    }
}

#[test]
fn a_503_sends_the_call_to_the_next_server_and_its_dialog_stays_there() {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "100 Trying", "", "");
    bench.answer(tx, &invite, NONE, "", "");
    let (tx, again) = goes_by(&mut bench, second());
    for same in ["Call-ID", "From", "To", "X-Mine", "Session-Expires"] {
        assert_eq!(header(&again, same), header(&invite, same), "{same}");
    }
    assert_eq!((&again.uri, &again.body), (&invite.uri, &invite.body));
    assert_eq!(header(&again, "CSeq").as_deref(), Some("2 INVITE"));
    let here = "<sip:5001@192.0.2.1:5071;transport=tls>";
    assert_eq!(header(&again, "Contact").as_deref(), Some(here));
    let via = header(&again, "Via").unwrap();
    assert!(via.starts_with("SIP/2.0/TLS 192.0.2.1:5071;branch="), "{via}");
    assert_ne!(Some(via), header(&invite, "Via"));

    bench.answer(tx, &again, "200 OK", "Contact: <sip:peer@pbx>\r\n", ANSWER);
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some(ANSWER.into()) });
    assert_eq!(header(&bench.ack(), "CSeq").as_deref(), Some("2 ACK"));
    bench.command(Command::Reinvite { session: ME, sdp: Some(OFFER_2.into()) });
    let (_, reinvite, _) = bench.request();
    assert_eq!(header(&reinvite, "Contact").as_deref(), Some(here));
    assert!(header(&reinvite, "Via").unwrap().starts_with("SIP/2.0/TLS 192.0.2.1:5071;"));
    let mut peer = Peer::callee(&invite);
    bench.receive(&peer.request(Method::Update, "", ""));
    let (_, refreshed) = bench.responses().remove(0);
    assert_eq!(header(&refreshed, "Contact").as_deref(), Some(here));
    // The registration has not moved.
    bench.command(Command::Register);
    let (_, register, to) = bench.request();
    assert_eq!(to, addr(PEER));
    assert!(header(&register, "Contact").unwrap().starts_with("<sip:5001@192.0.2.1:5070>"));
}

#[test]
fn one_that_cannot_be_sent_goes_by_the_next_server() {
    let (mut bench, tx, _) = calling();
    bench.fail(tx, TxFailure::Transport);
    let (tx, again) = goes_by(&mut bench, second());
    bench.answer(tx, &again, "180 Ringing", CONTACT, "");
    assert!(matches!(bench.event(), Event::Progressed { early: 1, .. }));
}

/// A telephone may ring behind it, and would go on to.
#[test]
fn a_silent_server_is_waited_for_and_so_is_one_that_has_begun() {
    let (mut bench, tx, _) = calling();
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(ended(&mut bench).code, 408);

    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "100 Trying", "", "");
    bench.fail(tx, TxFailure::Transport);
    assert_eq!((ended(&mut bench)).code, 503);

    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "183 Session Progress", CONTACT, ANSWER);
    bench.events();
    bench.answer(tx, &invite, NONE, "", "");
    assert_eq!((ended(&mut bench)).code, 503);
}

#[test]
fn each_server_is_asked_once_and_the_last_one_has_the_last_word() {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, NONE, "", "");
    let (tx, _) = goes_by(&mut bench, second());
    bench.fail(tx, TxFailure::Transport);
    let (tx, invite) = goes_by(&mut bench, third());
    assert_eq!(header(&invite, "CSeq").as_deref(), Some("3 INVITE"));
    bench.answer(tx, &invite, "503 Worn Out", "Reason: Q.850;cause=42\r\n", "");
    let end = ended(&mut bench);
    assert_eq!((end.by, end.code, end.text.as_str()), (EndedBy::Peer, 503, "Worn Out"));
    assert_eq!(end.reason_header.as_deref(), Some("Q.850;cause=42"));
}

#[test]
fn who_hangs_up_meanwhile_is_taken_to_no_other_server() {
    for sent in [false, true] {
        let (mut bench, mut tx, mut invite) = calling();
        if sent {
            bench.answer(tx, &invite, NONE, "", "");
            (tx, invite) = goes_by(&mut bench, second());
        }
        bench.command(Command::End { session: ME, code: 487, text: String::new() });
        assert_eq!(ended(&mut bench).by, EndedBy::Us);
        bench.answer(tx, &invite, "100 Trying", "", "");
        let cancelled = bench.sent();
        let [Transmit::Cancel { invite: of, request, to }] = &cancelled[..] else {
            panic!("CANCEL: {cancelled:?}")
        };
        assert_eq!((*of, *to), (tx, if sent { second() } else { addr(PEER) }));
        assert_eq!(header(request, "Via"), header(&invite, "Via"));
        bench.answer(tx, &invite, NONE, "", "");
        assert!(bench.sent().is_empty() && bench.events().is_empty());
        assert!(bench.ua.is_idle());
    }
}

#[test]
fn each_server_has_its_own_nonce() {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "401 Unauthorized", CHALLENGE, "");
    let (tx, invite, _) = bench.request();
    assert!(header(&invite, "Authorization").unwrap().contains("nonce=\"n1\""));
    bench.answer(tx, &invite, NONE, "", "");
    let (tx, invite) = goes_by(&mut bench, second());
    assert_eq!(header(&invite, "Authorization"), None);
    bench.answer(tx, &invite, "401 Unauthorized", &CHALLENGE.replace("n1", "n2"), "");
    let (tx, invite, to) = bench.request();
    assert_eq!(to, second());
    let credentials = header(&invite, "Authorization").unwrap();
    assert!(credentials.contains("nonce=\"n2\"") && credentials.contains("nc=00000001"));
    assert_eq!(header(&invite, "CSeq").as_deref(), Some("4 INVITE"));
    bench.answer(tx, &invite, "200 OK", "Contact: <sip:peer@pbx>\r\n", ANSWER);
    bench.events();
    bench.sent();
    bench.command(Command::End { session: ME, code: 200, text: String::new() });
    assert!(header(&bench.request().1, "Authorization").unwrap().contains("nonce=\"n2\""));
}

/// The DN is registered at one of them.
#[test]
fn a_server_that_does_not_know_us_says_nothing_of_the_call() {
    for refusal in ["403 Forbidden", "404 Not Found", "407 Proxy Authentication Required"] {
        let (mut bench, tx, invite) = calling();
        bench.answer(tx, &invite, "503 Trunks Busy", "", "");
        let (tx, invite) = goes_by(&mut bench, second());
        bench.answer(tx, &invite, refusal, "", "");
        let end = ended(&mut bench);
        assert_eq!((end.code, end.text.as_str()), (503, "Trunks Busy"), "{refusal}");
    }
    // Who is busy is so at any server; and what the first of them refuses is refused.
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, NONE, "", "");
    let (tx, invite) = goes_by(&mut bench, second());
    bench.answer(tx, &invite, "486 Busy Here", "", "");
    assert_eq!(ended(&mut bench).code, 486);
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "404 Not Found", "", "");
    assert_eq!(ended(&mut bench).code, 404);
    // And who has let a telephone ring knows us.
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, NONE, "", "");
    let (tx, invite) = goes_by(&mut bench, second());
    bench.answer(tx, &invite, "180 Ringing", CONTACT, "");
    bench.events();
    bench.answer(tx, &invite, "404 Not Found", "", "");
    assert_eq!(ended(&mut bench).code, 404);
}

/// Until it says otherwise, or until the one that stands in for it has failed as well.
#[test]
fn a_server_that_wants_no_calls_is_better_than_none() {
    let resting = || {
        let (mut bench, tx, invite) = calling();
        bench.answer(tx, &invite, NONE, "Retry-After: 500\r\n", "");
        let (tx, invite) = goes_by(&mut bench, second());
        bench.answer(tx, &invite, "486 Busy Here", "", "");
        bench.events();
        let (tx, invite, to) = call(&mut bench, SessionId(2));
        assert_eq!(to, second());
        (bench, tx, invite)
    };
    let (mut bench, mut tx, mut invite) = resting();
    for server in [third(), addr(PEER)] {
        bench.answer(tx, &invite, NONE, "", "");
        let (next, request, to) = bench.request();
        assert_eq!(to, server);
        (tx, invite) = (next, request);
    }
    bench.events();
    bench.answer(tx, &invite, NONE, "", "");
    assert_eq!(ended(&mut bench).code, 503, "each was asked once");

    let (mut bench, tx, _) = resting();
    bench.fail(tx, TxFailure::Timeout);
    bench.events();
    assert_eq!(call(&mut bench, SessionId(3)).2, addr(PEER), "nobody stands in for it");

    let (mut bench, tx, invite) = resting();
    bench.answer(tx, &invite, "500 Server Internal Error", "", "");
    bench.events();
    assert_eq!(call(&mut bench, SessionId(3)).2, addr(PEER));
}

#[test]
fn a_server_that_wants_no_calls_for_a_while_gets_none() {
    let again = "Retry-After: 20 (maintenance)\r\n";
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, NONE, again, "");
    let (tx, invite) = goes_by(&mut bench, second());
    bench.answer(tx, &invite, "486 Busy Here", "", "");
    bench.events();
    bench.advance(Duration::from_millis(19_999));
    let (tx, invite, to) = call(&mut bench, SessionId(2));
    assert_eq!(to, second());
    bench.answer(tx, &invite, "486 Busy Here", "", "");
    bench.advance(Duration::from_millis(1));
    assert_eq!(call(&mut bench, SessionId(3)).2, addr(PEER));

    // Where nobody else knows us, its word is told, and it is asked all the same the next time.
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "503 Overload", again, "");
    let (tx, invite) = goes_by(&mut bench, second());
    bench.answer(tx, &invite, "486 Busy Here", "", "");
    bench.events();
    let (tx, invite, to) = call(&mut bench, SessionId(2));
    assert_eq!(to, second());
    bench.answer(tx, &invite, "403 Forbidden", "", "");
    let end = ended(&mut bench);
    assert_eq!((end.code, end.text.as_str()), (503, "Overload"));
    assert_eq!(call(&mut bench, SessionId(3)).2, addr(PEER));

    // One that is the only one is asked, whatever it wants.
    let mut bench = Bench::new();
    let (tx, invite, _) = call(&mut bench, ME);
    bench.answer(tx, &invite, NONE, again, "");
    assert_eq!(ended(&mut bench).code, 503);
    assert_eq!(call(&mut bench, SessionId(2)).2, addr(PEER));
}

#[test]
fn what_a_redirection_named_is_asked_for_there_too() {
    let (mut bench, tx, invite) = calling();
    let moved = "Contact: <sip:2002@h>;q=0.9, <sip:2003@h>;q=0.1\r\n";
    bench.answer(tx, &invite, "302 Moved Temporarily", moved, "");
    let (tx, invite, _) = bench.request();
    bench.events();
    bench.answer(tx, &invite, NONE, "", "");
    let (tx, invite) = goes_by(&mut bench, second());
    assert_eq!(invite.uri.to_string(), "sip:2002@h");
    bench.answer(tx, &invite, "404 Not Found", "", "");
    let (_, invite, to) = bench.request();
    assert_eq!((to, invite.uri.to_string().as_str()), (second(), "sip:2003@h"));
}
