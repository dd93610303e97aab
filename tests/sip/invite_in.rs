//! Calls in.

use std::time::Duration;

use rsipstack::sip::Method;
use wrtc_gateway::sip::port::Transmit;
use wrtc_gateway::sip::{Command, EndedBy, Event, NotifyEvent, SessionId};

use super::support::*;

fn peer() -> Peer {
    Peer { call_id: "c1".into(), our_tag: "t1".into(), ua_tag: String::new(), number: 0 }
}

fn end_of(events: Vec<Event>) -> wrtc_gateway::sip::End {
    match events.last() {
        Some(Event::Ended { end, .. }) => end.clone(),
        _ => panic!("Ended: {events:?}"),
    }
}

#[test]
fn an_invite_is_told_whole_and_answered_100_at_once() {
    let mut bench = Bench::new();
    let tx = bench.receive(&peer().request(
        Method::Invite,
        "X-Genesys-CallUUID: 4711\r\nx-other: a\r\nSubject: s\r\nSession-Expires: 1800;refresher=uac\r\n\
         Supported: uui,100rel,timer\r\n",
        OFFER,
    ));
    let Event::Invited { invite, session } = bench.event() else { panic!("Invited") };
    assert_ne!(session.0 & SessionId::INCOMING, 0);
    assert_eq!(invite.from, "1003");
    assert_eq!(invite.display_name.as_deref(), Some("Peer"));
    assert_eq!(invite.to, "5001");
    assert_eq!(invite.sdp.as_deref(), Some(OFFER));
    assert_eq!(invite.call_uuid.as_deref(), Some("4711"));
    let names: Vec<&str> = invite.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["X-Genesys-CallUUID", "x-other"]);
    let responses = bench.responses();
    assert_eq!((responses[0].0, responses[0].1.status_code.code()), (tx, 100));
    assert!(!header(&responses[0].1, "To").unwrap().contains("tag"));
}

#[test]
fn ringing_opens_an_early_dialog_that_takes_talk() {
    let mut bench = Bench::new();
    bench.receive(&peer().request(Method::Invite, "Record-Route: <sip:192.0.2.8;lr>\r\n", OFFER));
    let Event::Invited { session, .. } = bench.event() else { panic!("Invited") };
    bench.sent();
    bench.command(Command::Progress { session, code: 180, sdp: None });
    let (_, ringing) = bench.responses().remove(0);
    assert_eq!(header(&ringing, "Contact").as_deref(), Some("<sip:5001@192.0.2.1:5070>"));
    assert_eq!(header(&ringing, "Allow-Events").as_deref(), Some("talk, hold"));
    assert_eq!(header(&ringing, "Record-Route").as_deref(), Some("<sip:192.0.2.8;lr>"));
    assert!(header(&ringing, "Allow").unwrap().contains("NOTIFY"));
    let tag = header(&ringing, "To").unwrap().split("tag=").nth(1).unwrap().to_owned();
    let mut peer = Peer { ua_tag: tag, number: 1, ..peer() };
    bench.receive(&peer.request(Method::Notify, "Event: talk\r\nContent-Length: 0\r\n", ""));
    assert_eq!(bench.codes(), [200]);
    assert_eq!(bench.event(), Event::Notified { session, event: NotifyEvent::Talk });
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    assert_eq!(bench.codes(), [200]);
    // Before the ACK, too.
    bench.receive(&peer.request(Method::Notify, "o: HOLD;id=1\r\n", ""));
    assert_eq!(bench.codes(), [200]);
    assert_eq!(bench.event(), Event::Notified { session, event: NotifyEvent::Hold });
    // The ACK has the number of its INVITE, below the NOTIFYs'.
    bench.receive(&peer.request_numbered(Method::Ack, 1, "", ""));
    assert_eq!(bench.event(), Event::Acked { session, sdp: None });
}

#[test]
fn the_200_is_repeated_until_its_ack_and_the_ack_brings_the_answer() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.ring("");
    bench.command(Command::Accept { session, sdp: OFFER.into() });
    let (tx, ok) = bench.responses().remove(0);
    assert_eq!(ok.body, OFFER.as_bytes());
    let mut count = 0;
    for _ in 0..31 {
        bench.advance(Duration::from_secs(1));
        for (again, response) in bench.responses() {
            assert_eq!((again, &response), (tx, &ok));
            count += 1;
        }
    }
    // 0.5, 1.5, 3.5, 7.5, 11.5, ... 27.5, 31.5.
    assert_eq!(count, 9);
    bench.receive(&peer.request(Method::Ack, "", ANSWER));
    assert_eq!(bench.event(), Event::Acked { session, sdp: Some(ANSWER.into()) });
    bench.receive(&peer.request(Method::Ack, "", ANSWER));
    bench.advance(Duration::from_secs(60));
    assert!(bench.sent().is_empty() && bench.events().is_empty());
}

#[test]
fn sdp_in_an_ack_that_owes_no_answer_is_nobodys_business() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.ring(OFFER);
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    bench.sent();
    bench.receive(&peer.request(Method::Ack, "", ANSWER));
    assert_eq!(bench.event(), Event::Acked { session, sdp: None });
}

#[test]
fn without_an_ack_the_call_ends_with_a_bye() {
    let mut bench = Bench::new();
    let (session, _) = bench.ring(OFFER);
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    bench.advance(Duration::from_millis(31_999));
    bench.sent();
    assert!(bench.events().is_empty());
    bench.advance(Duration::from_millis(1));
    let (_, bye, to) = bench.request();
    assert_eq!(bye.method, Method::Bye);
    assert_eq!(
        (bye.uri.to_string().as_str(), to),
        ("sip:1003@192.0.2.9:5062", addr("192.0.2.9:5062"))
    );
    let end = end_of(bench.events());
    assert_eq!((end.by, end.code), (EndedBy::Network, 408));
}

#[test]
fn cancel_ends_it_and_a_late_cancel_does_not() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.ring(OFFER);
    bench.receive(&peer.request(
        Method::Cancel,
        "Reason: SIP;cause=200;text=\"elsewhere\"\r\n",
        "",
    ));
    assert_eq!(bench.codes(), [200, 487]);
    let end = end_of(bench.events());
    assert_eq!((end.by, end.code), (EndedBy::Peer, 487));
    assert_eq!(end.reason_header.as_deref(), Some("SIP;cause=200;text=\"elsewhere\""));

    let mut bench = Bench::new();
    let (session, mut peer) = bench.ring(OFFER);
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    bench.sent();
    bench.receive(&peer.request(Method::Cancel, "", ""));
    assert_eq!(bench.codes(), [200]);
    assert!(bench.events().is_empty());
    peer.call_id = "another".into();
    bench.receive(&peer.request(Method::Cancel, "", ""));
    assert_eq!(bench.codes(), [481]);
}

#[test]
fn refusing_says_why() {
    let mut bench = Bench::new();
    let (session, _) = bench.ring(OFFER);
    bench.command(Command::End { session, code: 486, text: "Busy Here".into() });
    let (_, response) = bench.responses().remove(0);
    assert_eq!(response.status_code.code(), 486);
    assert_eq!(header(&response, "Reason").as_deref(), Some("SIP;cause=486;text=\"Busy Here\""));
    let end = end_of(bench.events());
    assert_eq!((end.by, end.code), (EndedBy::Us, 486));
}

#[test]
fn hanging_up_before_the_ack_waits_for_it() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.ring(OFFER);
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    bench.sent();
    bench.command(Command::End { session, code: 200, text: String::new() });
    assert!(bench.sent().is_empty(), "RFC 3261 15");
    assert_eq!(bench.events().len(), 1);
    bench.receive(&peer.request(Method::Ack, "", ""));
    let (_, bye, _) = bench.request();
    assert_eq!(bye.method, Method::Bye);
    assert_eq!(header(&bye, "Reason"), None, "an ordinary end needs no reason");
}

#[test]
fn hanging_up_while_the_ack_is_withheld_does_not_wait_for_it() {
    let mut bench = Bench::new();
    let (session, _) = bench.ring("");
    bench.command(Command::Accept { session, sdp: OFFER.into() });
    bench.advance(Duration::from_secs(5));
    bench.sent();
    bench.command(Command::End { session, code: 200, text: String::new() });
    assert_eq!(bench.request().1.method, Method::Bye);
}

#[test]
fn what_we_do_not_support_is_refused_by_name() {
    let mut bench = Bench::new();
    bench.receive(&peer().request(
        Method::Invite,
        "Require: eventlist\r\nRequire: timer, uui, path\r\n",
        OFFER,
    ));
    let (_, response) = bench.responses().remove(0);
    assert_eq!(response.status_code.code(), 420);
    assert_eq!(header(&response, "Unsupported").as_deref(), Some("eventlist, path"));
    bench.receive(&peer().request(Method::Invite, "Content-Type: text/plain\r\n", "hello"));
    assert_eq!(bench.codes(), [415]);
    assert!(bench.events().is_empty());
}

#[test]
fn odd_but_legal_invites_are_understood() {
    let text = "INVITE sip:5001@192.0.2.1:5070 SIP/2.0\r\nCONTENT-LENGTH: 0\r\nl: 0\r\n\
        v: SIP / 2.0 / UDP 192.0.2.9 ;branch=z9hG4bKx\r\nf: sip:192.0.2.9:5060;tag=q\r\n\
        t: sip:5001@192.0.2.1\r\ncall-id: odd\r\ncseq:  7   INVITE\r\n\
        CONTACT: \"A, B\"\r\n <sip:x@192.0.2.9>;q=1\r\n\r\n";
    let mut bench = Bench::new();
    bench.receive(text);
    let Event::Invited { session, invite } = bench.event() else { panic!("Invited") };
    assert_eq!((invite.from.as_str(), invite.sdp), ("192.0.2.9", None));
    bench.sent();
    bench.command(Command::Progress { session, code: 180, sdp: None });
    let (_, ringing) = bench.responses().remove(0);
    let to = header(&ringing, "To").unwrap();
    assert!(to.starts_with("sip:5001@192.0.2.1;tag="), "{to}");
}

#[test]
fn a_merged_invite_and_one_too_many_are_refused() {
    let mut bench = Bench::new();
    let mut first = peer();
    bench.receive(&first.request(Method::Invite, "", OFFER));
    let again =
        first.request_numbered(Method::Invite, 1, "", OFFER).replace("branch=", "branch=z9hG4bKo");
    bench.receive(&again);
    assert_eq!(bench.codes(), [100, 482]);
    for n in 1..9 {
        let mut peer = Peer { call_id: format!("more-{n}"), ..peer() };
        bench.receive(&peer.request(Method::Invite, "", OFFER));
    }
    assert_eq!(bench.codes(), [100, 100, 100, 100, 100, 100, 100, 486]);
    assert_eq!(bench.events().len(), 8);
}

/// RFC 3261 8.1.3.5: with the next number, but the Call-ID and the tag of the first. Not a loop.
#[test]
fn whoever_was_refused_may_try_again() {
    let mut bench = Bench::new();
    let mut caller = peer();
    bench.receive(&caller.request(Method::Invite, "", OFFER));
    let Event::Invited { session, .. } = bench.event() else { panic!("Invited") };
    bench.command(Command::End { session, code: 488, text: String::new() });
    assert_eq!(bench.codes(), [100, 488]);
    bench.events();
    bench.receive(&caller.request(Method::Invite, "", OFFER_2));
    let Event::Invited { invite, .. } = bench.event() else { panic!("Invited") };
    assert_eq!(invite.sdp.as_deref(), Some(OFFER_2));
    assert_eq!(bench.codes(), [100]);
    // The CANCEL is the second one's.
    bench.receive(&caller.request(Method::Cancel, "", ""));
    assert_eq!(bench.codes(), [200, 487]);
}

/// BYE carries Reason.
#[test]
fn the_caller_may_hang_up_while_it_rings() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.ring(OFFER);
    bench.receive(&peer.request(Method::Bye, "Reason: SIP;cause=403\r\n", ""));
    assert_eq!(bench.codes(), [200, 487]);
    assert_eq!(end_of(bench.events()).reason_header.as_deref(), Some("SIP;cause=403"));
}

#[test]
fn the_second_2xx_of_an_accepted_call_is_not_sent_for_a_second_accept() {
    let mut bench = Bench::new();
    let (session, _) = bench.ring(OFFER);
    for _ in 0..2 {
        bench.command(Command::Accept { session, sdp: ANSWER.into() });
    }
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Transmit::Response { .. }]), "{sent:?}");
}

#[test]
fn long_ringing_is_said_again_every_minute() {
    let mut bench = Bench::new();
    let (session, _) = bench.ring(OFFER);
    bench.advance(Duration::from_secs(59));
    assert!(bench.sent().is_empty());
    bench.advance(Duration::from_secs(121));
    assert_eq!(bench.codes(), [180, 180, 180]);
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    assert_eq!(bench.codes(), [200]);
}

#[test]
fn callers_names_hold_nothing_that_cannot_be_printed() {
    let mut bench = Bench::new();
    let invite = peer().request(Method::Invite, "", OFFER);
    let (start, rest) = invite.split_once("From: ").unwrap();
    let (from, rest) = rest.split_once("\r\n").unwrap();
    let tag = from.split("tag=").nth(1).unwrap();
    let from = format!("\"A\u{1b}[2J\u{85}B\" <sip:71%0d%0a23%00@192.0.2.7>;tag={tag}");
    bench.receive(&format!("{start}From: {from}\r\n{rest}"));
    let Event::Invited { invite, .. } = bench.event() else { panic!("Invited") };
    assert_eq!(invite.from, "7123");
    assert_eq!(invite.display_name.as_deref(), Some("A[2JB"));
}
