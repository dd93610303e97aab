//! 3xx, and the refusals after which an INVITE is tried in another way (RFC 3261 8.1.3.4, 8.1.3.5).

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::{Command, End, Event, SessionId};

use super::support::*;

const ME: SessionId = SessionId(1);
const MOVED: &str = "302 Moved Temporarily";
const CONTACT: &str = "Contact: <sip:peer@192.0.2.9>\r\n";

fn calling() -> (Bench, ClientTx, Request) {
    let mut bench = Bench::new();
    let headers = vec![("X-Mine".into(), "1".into())];
    let (to, sdp) = ("1003".into(), Some(OFFER.into()));
    bench.command(Command::Invite { session: ME, to, sdp, headers });
    let (tx, request, _) = bench.request();
    (bench, tx, request)
}

/// The INVITE that follows, with the target that was told.
fn followed(bench: &mut Bench) -> (ClientTx, Request, String) {
    let (tx, request, hop) = bench.request();
    assert_eq!(hop, addr(PEER), "by our server, whoever is called");
    match bench.event() {
        Event::Redirected { session: ME, to } => (tx, request, to),
        other => panic!("Redirected: {other:?}"),
    }
}

fn ended(bench: &mut Bench) -> End {
    assert!(bench.sent().is_empty());
    match bench.event() {
        Event::Ended { end, .. } => end,
        other => panic!("Ended: {other:?}"),
    }
}

#[test]
fn a_redirected_call_goes_to_its_contact() {
    let (mut bench, tx, invite) = calling();
    let contact =
        "Contact: \"Bob\" <sip:2002;ext=1@192.0.2.77:5090;user=phone?Subject=x>;q=0.5\r\n";
    bench.answer(tx, &invite, MOVED, contact, "");
    let (tx, second, to) = followed(&mut bench);
    assert_eq!(to, "sip:2002;ext=1@192.0.2.77:5090;user=phone");
    assert_eq!(second.uri.to_string(), to);
    for name in ["Call-ID", "From", "To", "X-Mine", "Contact", "Session-Expires"] {
        assert_eq!(header(&second, name), header(&invite, name), "{name}");
    }
    assert_eq!(header(&second, "CSeq").as_deref(), Some("2 INVITE"));
    assert_ne!(header(&second, "Via"), header(&invite, "Via"));
    assert_eq!(second.body, OFFER.as_bytes());
    bench.answer(tx, &second, "200 OK", CONTACT, ANSWER);
    assert_eq!(header(&bench.ack(), "CSeq").as_deref(), Some("2 ACK"));
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some(ANSWER.into()) });
}

#[test]
fn contacts_are_tried_by_their_q() {
    let (mut bench, tx, invite) = calling();
    let contacts =
        "Contact: <sip:c@h>;q=0.2, <sip:a@h>\r\nContact: <sip:d@h>;q=x, <sip:b@h>;q=0.7\r\n";
    bench.answer(tx, &invite, "300 Multiple Choices", contacts, "");
    let (mut tx, mut request, mut to) = followed(&mut bench);
    for (next, status) in [("b", "486 Busy Here"), ("c", "480 Not There"), ("d", "404 Unknown")] {
        assert_ne!(to, format!("sip:{next}@h"));
        bench.answer(tx, &request, status, "", "");
        (tx, request, to) = followed(&mut bench);
        assert_eq!(to, format!("sip:{next}@h"));
    }
    bench.answer(tx, &request, "486 Busy Here", "", "");
    assert_eq!(ended(&mut bench).code, 486);
}

#[test]
fn a_target_that_does_not_answer_is_followed_by_the_next() {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, MOVED, "Contact: <sip:a@h>;q=1, <sip:b@h>;q=0.5\r\n", "");
    let (tx, _, _) = followed(&mut bench);
    bench.fail(tx, TxFailure::Timeout);
    let (tx, request, to) = followed(&mut bench);
    assert_eq!(to, "sip:b@h");
    // 6xx speaks for all.
    let (mut other, tx_2, invite_2) = calling();
    other.answer(tx_2, &invite_2, MOVED, "Contact: <sip:a@h>;q=1, <sip:b@h>;q=0.5\r\n", "");
    let (tx_2, request_2, _) = followed(&mut other);
    other.answer(tx_2, &request_2, "603 Decline", "", "");
    assert_eq!(ended(&mut other).code, 603);
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(ended(&mut bench).code, 408);
    drop(request);
}

#[test]
fn loops_and_endless_chains_end() {
    // To itself.
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, MOVED, "Contact: <sip:1003@example.org>\r\n", "");
    assert_eq!(ended(&mut bench).code, 302);
    // Back and forth.
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, MOVED, "Contact: <sip:a@h>\r\n", "");
    let (tx, request, _) = followed(&mut bench);
    bench.answer(tx, &request, MOVED, "Contact: <sip:1003@example.org>, <sip:a@h>\r\n", "");
    assert_eq!(ended(&mut bench).code, 302);
    // On and on.
    let (mut bench, mut tx, mut request) = calling();
    for hop in 0..5 {
        bench.answer(tx, &request, MOVED, &format!("Contact: <sip:{hop}@h>\r\n"), "");
        (tx, request, _) = followed(&mut bench);
    }
    bench.answer(tx, &request, MOVED, "Contact: <sip:5@h>\r\n", "");
    assert_eq!(ended(&mut bench).code, 302);
}

/// Never to another scheme; and 305, 380 and a 3xx that names nobody end the call with their code.
#[test]
fn what_cannot_be_followed_is_told() {
    for (status, contact, code) in [
        (MOVED, "Contact: <tel:+4930123>\r\n", 302),
        (MOVED, "Contact: <mailto:a@h>, <http://h/>, <sips:a@h>\r\n", 302),
        (MOVED, "Contact: <<<>>>\r\n", 302),
        (MOVED, "Contact: *\r\n", 302),
        (MOVED, "", 302),
        ("305 Use Proxy", "Contact: <sip:a@h>\r\n", 305),
        ("380 Alternative Service", "Contact: <sip:a@h>\r\n", 380),
    ] {
        let (mut bench, tx, invite) = calling();
        bench.answer(tx, &invite, status, contact, "");
        assert_eq!(ended(&mut bench).code, code, "{status} {contact}");
    }
}

#[test]
fn a_call_that_was_given_up_follows_nobody() {
    let (mut bench, tx, invite) = calling();
    bench.command(Command::End { session: ME, code: 487, text: String::new() });
    bench.events();
    bench.answer(tx, &invite, MOVED, "Contact: <sip:a@h>\r\n", "");
    assert!(bench.sent().is_empty() && bench.events().is_empty() && bench.ua.is_idle());
}

#[test]
fn a_cancel_after_a_redirection_means_the_new_invite() {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "180 Ringing", CONTACT, "");
    bench.answer(tx, &invite, MOVED, "Contact: <sip:a@h>\r\n", "");
    bench.events();
    let (tx, second, _) = bench.request();
    bench.command(Command::End { session: ME, code: 487, text: String::new() });
    assert!(bench.sent().is_empty(), "the new one has no provisional answer yet");
    // A new early dialog has a new number.
    bench.answer(tx, &second, "180 Ringing", CONTACT, "");
    let sent = bench.sent();
    let [Transmit::Cancel { invite: cancelled, request, .. }] = &sent[..] else {
        panic!("CANCEL: {sent:?}")
    };
    assert_eq!(
        (*cancelled, request.method, request.uri.to_string().as_str()),
        (tx, Method::Cancel, "sip:a@h")
    );
    assert_eq!(header(request, "CSeq").as_deref(), Some("2 CANCEL"));
}

#[test]
fn early_dialogs_are_numbered_over_all_targets() {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "180 Ringing", CONTACT, "");
    bench.answer(tx, &invite, MOVED, "Contact: <sip:a@h>\r\n", "");
    let (tx, second, _) = bench.request();
    bench.answer_as(tx, &second, "183 Progress", ";tag=x", CONTACT, ANSWER);
    let early: Vec<u32> = bench
        .events()
        .iter()
        .filter_map(|e| if let Event::Progressed { early, .. } = e { Some(*early) } else { None })
        .collect();
    assert_eq!(early, [1, 2]);
}

/// The credentials go along to the next target, and a challenge there is answered.
#[test]
fn a_redirected_call_may_be_challenged() {
    let (mut bench, tx, invite) = calling();
    let line = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    bench.answer(tx, &invite, "407 Proxy Authentication Required", line, "");
    let (tx, second, _) = bench.request();
    bench.answer(tx, &second, MOVED, "Contact: <sip:a@h>\r\n", "");
    let (_, third, _) = followed(&mut bench);
    let proxy = header(&third, "Proxy-Authorization").unwrap();
    assert!(proxy.contains("uri=\"sip:a@h\"") && proxy.contains("nc=00000002"), "{proxy}");
}

/// 420: once more without what the peer does not know.
#[test]
fn an_extension_the_peer_cannot_stand_is_left_out() {
    let (mut bench, tx, invite) = calling();
    bench.answer(tx, &invite, "420 Bad Extension", "Unsupported: 100rel, Timer\r\n", "");
    let (tx, second, _) = bench.request();
    let supported = header(&second, "Supported").unwrap();
    assert!(!supported.contains("timer") && !supported.contains("100rel"), "{supported}");
    assert_eq!(header(&second, "Session-Expires"), None);
    assert_eq!(header(&second, "Min-SE"), None);
    assert_eq!(header(&second, "CSeq").as_deref(), Some("2 INVITE"));
    // What it cannot stand still is beyond us.
    bench.answer(tx, &second, "420 Bad Extension", "Unsupported: 100rel\r\n", "");
    assert_eq!(ended(&mut bench).code, 420);
}

/// 4xx to 6xx end the call with their code: none of them is tried again.
#[test]
fn other_refusals_are_final() {
    for (status, extra, code) in [
        ("413 Too Large", "Retry-After: 1\r\n", 413),
        ("415 Unsupported Media Type", "Accept: text/plain\r\n", 415),
        ("488 Not Acceptable Here", "", 488),
        ("491 Request Pending", "", 491),
        ("500 Server Error", "Retry-After: 2\r\n", 500),
        ("503 Service Unavailable", "Retry-After: 2\r\n", 503),
        ("604 Does Not Exist Anywhere", "", 604),
    ] {
        let (mut bench, tx, invite) = calling();
        bench.answer(tx, &invite, status, extra, "");
        assert_eq!(ended(&mut bench).code, code);
    }
}
