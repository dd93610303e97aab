//! Reliable provisional answers and PRACK, both roles (RFC 3262).

use std::time::Duration;

use rsipstack::sip::{Method, Request, Response};
use wrtc_gateway::sip::port::{ClientTx, Transmit};
use wrtc_gateway::sip::{Command, EndedBy, Event, Reliable, SessionId};

use super::support::*;

const ME: SessionId = SessionId(1);
const REQUIRES: &str = "Require: 100rel\r\n";
const SUPPORTS: &str = "Supported: 100rel\r\n";

fn bench(reliable: Reliable) -> Bench {
    let mut config = config("5001", "192.0.2.1:5070", PEER);
    config.reliable = reliable;
    Bench::with(config)
}

// We are called.

struct Called {
    bench: Bench,
    session: SessionId,
    peer: Peer,
}

fn called(reliable: Reliable, extra: &str, sdp: &str) -> Called {
    let mut bench = bench(reliable);
    let mut peer =
        Peer { call_id: "in".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    bench.receive(&peer.request(Method::Invite, extra, sdp));
    let Event::Invited { session, .. } = bench.event() else { panic!("Invited") };
    bench.sent();
    Called { bench, session, peer }
}

impl Called {
    fn progress(&mut self, code: u16, sdp: Option<&str>) {
        let sdp = sdp.map(str::to_owned);
        self.bench.command(Command::Progress { session: self.session, code, sdp });
    }

    fn accept(&mut self) {
        self.bench.command(Command::Accept { session: self.session, sdp: ANSWER.into() });
    }

    /// The one response that was sent.
    fn response(&mut self) -> Response {
        let mut responses = self.bench.responses();
        assert_eq!(responses.len(), 1, "{responses:?}");
        let (_, response) = responses.remove(0);
        let to = header(&response, "To").unwrap();
        self.peer.ua_tag = to.split("tag=").nth(1).unwrap().to_owned();
        response
    }

    fn prack(&mut self, rack: &str, sdp: &str) {
        let line = format!("RAck: {rack}\r\n");
        self.bench.receive(&self.peer.request(Method::PRack, &line, sdp));
    }
}

fn rseq(response: &Response) -> u32 {
    header(response, "RSeq").expect("RSeq").parse().unwrap()
}

#[test]
fn provisional_answers_are_reliable_as_configured() {
    for (reliable, extra, expected) in [
        (Reliable::WhenRequired, REQUIRES, true),
        (Reliable::WhenRequired, SUPPORTS, false),
        (Reliable::WhenRequired, "", false),
        (Reliable::WhenSupported, SUPPORTS, true),
        (Reliable::WhenSupported, REQUIRES, true),
        (Reliable::WhenSupported, "", false),
        (Reliable::Off, SUPPORTS, false),
    ] {
        let mut called = called(reliable, extra, OFFER);
        called.progress(180, None);
        let ringing = called.response();
        let required = header(&ringing, "Require").as_deref() == Some("100rel");
        assert_eq!(required, expected, "{reliable:?} {extra}");
        assert_eq!(header(&ringing, "RSeq").is_some(), expected);
        let supported = header(&ringing, "Supported").unwrap();
        assert_eq!(supported.contains("100rel"), reliable != Reliable::Off);
    }
    let mut bench = bench(Reliable::Off);
    let mut peer =
        Peer { call_id: "in".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    bench.receive(&peer.request(Method::Invite, REQUIRES, OFFER));
    let (_, refusal) = bench.responses().remove(0);
    assert_eq!(refusal.status_code.code(), 420);
    assert_eq!(header(&refusal, "Unsupported").as_deref(), Some("100rel"));
}

/// "PRACK when required": repeated at T1, doubling without a limit, until its PRACK comes.
#[test]
fn it_is_repeated_until_its_prack() {
    let mut called = called(Reliable::WhenRequired, REQUIRES, OFFER);
    called.progress(183, Some(ANSWER));
    let first = called.response();
    assert_eq!(first.body, ANSWER.as_bytes());
    let rseq = rseq(&first);
    for pause in [500, 1000, 2000, 4000, 8000] {
        called.bench.advance(Duration::from_millis(pause - 1));
        assert!(called.bench.sent().is_empty(), "{pause}");
        called.bench.advance(Duration::from_millis(1));
        assert_eq!(called.response(), first);
    }
    // Exactly: number, CSeq and method.
    for wrong in [
        format!("{} 1 INVITE", rseq + 1),
        format!("{rseq} 2 INVITE"),
        format!("{rseq} 1 UPDATE"),
        format!("{rseq} 1"),
        format!("{rseq} 1 INVITE x"),
        "x".into(),
    ] {
        called.prack(&wrong, "");
        assert_eq!(called.bench.codes(), [481], "{wrong}");
    }
    called.bench.receive(&called.peer.request(Method::PRack, "", ""));
    assert_eq!(called.bench.codes(), [481], "no RAck");
    called.prack(&format!("{rseq}  1 invite"), "");
    assert_eq!(called.bench.codes(), [200]);
    called.prack(&format!("{rseq} 1 INVITE"), "");
    assert_eq!(called.bench.codes(), [481], "once");
    called.bench.advance(Duration::from_secs(100));
    assert!(called.bench.sent().is_empty() && called.bench.events().is_empty());
}

#[test]
fn without_a_prack_the_invite_gets_504() {
    let mut called = called(Reliable::WhenRequired, REQUIRES, OFFER);
    called.progress(180, None);
    called.bench.advance(Duration::from_millis(31_999));
    let repeated = called.bench.codes();
    assert!(repeated.iter().all(|code| *code == 180));
    assert!(called.bench.events().is_empty());
    called.bench.advance(Duration::from_millis(1));
    assert_eq!(called.bench.codes(), [504]);
    match called.bench.event() {
        Event::Ended { end, .. } => assert_eq!((end.by, end.code), (EndedBy::Network, 504)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_waits_for_its_prack_and_the_others_for_it() {
    let mut called = called(Reliable::WhenRequired, REQUIRES, OFFER);
    called.progress(180, None);
    let first = rseq(&called.response());
    called.progress(182, None);
    called.progress(183, Some(ANSWER));
    assert!(called.bench.sent().is_empty());
    for (n, code) in [(1, 182), (2, 183)] {
        called.prack(&format!("{} 1 INVITE", first + n - 1), "");
        let responses = called.bench.responses();
        assert_eq!(responses[0].1.status_code.code(), 200);
        assert_eq!(responses[1].1.status_code.code(), code);
        assert_eq!(rseq(&responses[1].1), first + n);
    }
}

/// 3: the 2xx waits until the answer in a reliable provisional answer is acknowledged.
#[test]
fn the_200_waits_for_the_prack_of_an_answer() {
    let mut called = called(Reliable::WhenRequired, REQUIRES, OFFER);
    called.progress(183, Some("early"));
    let rseq = rseq(&called.response());
    called.accept();
    called.accept();
    assert!(called.bench.sent().is_empty());
    called.prack(&format!("{rseq} 1 INVITE"), "");
    let responses = called.bench.responses();
    let codes: Vec<u16> = responses.iter().map(|(_, r)| r.status_code.code()).collect();
    assert_eq!(codes, [200, 200]);
    assert_eq!(responses[1].1.body, b"early", "the answer that was given stays");
    called.bench.receive(&called.peer.request_numbered(Method::Ack, 1, "", ""));
    assert_eq!(called.bench.event(), Event::Acked { session: called.session, sdp: None });
}

#[test]
fn a_call_that_is_accepted_without_a_prack_ever_ends() {
    let mut called = called(Reliable::WhenRequired, REQUIRES, OFFER);
    called.progress(183, Some("early"));
    called.accept();
    called.bench.advance(Duration::from_secs(33));
    let last = called.bench.codes();
    assert_eq!(last.last(), Some(&504));
    assert!(matches!(called.bench.event(), Event::Ended { end, .. } if end.code == 504));
}

/// Without an SDP in it the 200 goes at once; its PRACK is still welcome.
#[test]
fn a_final_answer_stops_the_repetition_and_a_late_prack_is_taken() {
    for ends in [false, true] {
        let mut called = called(Reliable::WhenRequired, REQUIRES, OFFER);
        called.progress(180, None);
        let rseq = rseq(&called.response());
        if ends {
            let session = called.session;
            called.bench.command(Command::End { session, code: 486, text: String::new() });
            assert_eq!(called.bench.codes(), [486]);
        } else {
            called.accept();
            assert_eq!(called.bench.codes(), [200]);
            called.bench.receive(&called.peer.request_numbered(Method::Ack, 1, "", ""));
        }
        called.bench.advance(Duration::from_secs(20));
        assert!(called.bench.sent().is_empty());
        called.prack(&format!("{rseq} 1 INVITE"), "");
        assert_eq!(called.bench.codes(), [200], "{ends}");
    }
}

/// An offer in a PRACK is turned down; that it acknowledges stands.
#[test]
fn an_offer_in_a_prack_does_no_harm() {
    let mut called = called(Reliable::WhenRequired, REQUIRES, OFFER);
    called.progress(183, Some(ANSWER));
    let rseq = rseq(&called.response());
    called.prack(&format!("{rseq} 1 INVITE"), OFFER_2);
    assert_eq!(called.bench.codes(), [488]);
    called.bench.advance(Duration::from_secs(40));
    assert!(called.bench.sent().is_empty() && called.bench.events().is_empty());
    called.accept();
    assert_eq!(called.bench.codes(), [200]);
}

/// A 3pcc INVITE without SDP: the offer is the 200's, as ever.
#[test]
fn no_offer_goes_out_in_a_reliable_answer() {
    let mut supported = called(Reliable::WhenSupported, SUPPORTS, "");
    supported.progress(180, None);
    assert_eq!(header(&supported.response(), "RSeq"), None, "nothing asks for it");
    let mut called = called(Reliable::WhenSupported, REQUIRES, "");
    called.progress(183, Some(OFFER));
    let response = called.response();
    assert!(response.body.is_empty());
    called.prack(&format!("{} 1 INVITE", rseq(&response)), "");
    called.bench.sent();
    called.accept();
    assert_eq!(called.response().body, ANSWER.as_bytes());
}

#[test]
fn long_ringing_is_said_again_reliably() {
    let mut called = called(Reliable::WhenRequired, REQUIRES, OFFER);
    called.progress(180, None);
    let first = rseq(&called.response());
    called.prack(&format!("{first} 1 INVITE"), "");
    called.bench.sent();
    called.bench.advance(Duration::from_secs(149));
    assert!(called.bench.sent().is_empty());
    called.bench.advance(Duration::from_secs(1));
    let again = called.response();
    assert_eq!((again.status_code.code(), rseq(&again)), (180, first + 1));
}

// We call.

const CONTACT: &str = "Contact: <sip:peer@192.0.2.9>\r\n";

fn calling(sdp: Option<&str>) -> (Bench, ClientTx, Request) {
    let mut bench = Bench::new();
    let sdp = sdp.map(str::to_owned);
    bench.command(Command::Invite { session: ME, to: "1".into(), sdp, headers: vec![] });
    let (tx, request, _) = bench.request();
    (bench, tx, request)
}

fn reliable(rseq: u32) -> String {
    format!("{CONTACT}Require: 100rel\r\nRSeq: {rseq}\r\n")
}

#[test]
fn each_reliable_answer_gets_its_prack_in_order() {
    let (mut bench, tx, invite) = calling(Some(OFFER));
    assert!(header(&invite, "Supported").unwrap().contains("100rel"));
    bench.answer(tx, &invite, "180 Ringing", &reliable(776_656), "");
    let (ptx, prack, _) = bench.request();
    assert_eq!(prack.method, Method::PRack);
    assert_eq!(header(&prack, "RAck").as_deref(), Some("776656 1 INVITE"));
    assert_eq!(header(&prack, "CSeq").as_deref(), Some("2 PRACK"));
    assert_eq!(prack.uri.to_string(), "sip:peer@192.0.2.9");
    assert!(matches!(bench.event(), Event::Progressed { code: 180, early: 1, .. }));
    bench.answer(ptx, &prack, "200 OK", "", "");
    // Again, and one too soon: neither acknowledged nor told.
    for rseq in [776_656, 776_658, 5] {
        bench.answer(tx, &invite, "183 Progress", &reliable(rseq), ANSWER);
        assert!(bench.sent().is_empty() && bench.events().is_empty(), "{rseq}");
    }
    bench.answer(tx, &invite, "183 Progress", &reliable(776_657), ANSWER);
    assert_eq!(header(&bench.request().1, "RAck").as_deref(), Some("776657 1 INVITE"));
    assert!(matches!(bench.event(), Event::Progressed { code: 183, sdp: Some(_), .. }));
    // An unreliable one in between is told as ever, and the BYE counts on from the PRACKs.
    bench.answer(tx, &invite, "180 Ringing", CONTACT, "");
    assert!(bench.sent().is_empty());
    bench.events();
    bench.answer(tx, &invite, "200 OK", CONTACT, "");
    bench.ack();
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some(ANSWER.into()) });
    bench.command(Command::End { session: ME, code: 200, text: String::new() });
    assert_eq!(header(&bench.request().1, "CSeq").as_deref(), Some("4 BYE"));
}

/// Early media and forking: every early dialog counts for itself.
#[test]
fn each_early_dialog_has_its_own_numbers() {
    let (mut bench, tx, invite) = calling(Some(OFFER));
    for (tag, rseq, cseq) in [(";tag=a", 1, 2), (";tag=b", 900, 2), (";tag=a", 2, 3)] {
        bench.answer_as(tx, &invite, "183 Progress", tag, &reliable(rseq), ANSWER);
        let (_, prack, _) = bench.request();
        assert!(header(&prack, "To").unwrap().ends_with(tag));
        assert_eq!(header(&prack, "RAck").unwrap(), format!("{rseq} 1 INVITE"));
        assert_eq!(header(&prack, "CSeq").unwrap(), format!("{cseq} PRACK"));
    }
    assert_eq!(bench.events().len(), 3);
    bench.answer_as(tx, &invite, "200 OK", ";tag=b", CONTACT, ANSWER);
    bench.sent();
    // The other fork's answer: its BYE counts on from the PRACKs in that fork.
    bench.answer_as(tx, &invite, "200 OK", ";tag=a", CONTACT, ANSWER);
    let sent = bench.sent();
    let Some(Transmit::Request { request: bye, .. }) = sent.last() else { panic!("{sent:?}") };
    assert_eq!(header(bye, "CSeq").as_deref(), Some("4 BYE"));
}

#[test]
fn a_challenged_prack_goes_again() {
    let (mut bench, tx, invite) = calling(Some(OFFER));
    bench.answer(tx, &invite, "180 Ringing", &reliable(1), "");
    let (ptx, prack, _) = bench.request();
    let line = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    bench.answer(ptx, &prack, "407 Proxy Authentication Required", line, "");
    let (_, again, _) = bench.request();
    assert_eq!(header(&again, "CSeq").as_deref(), Some("3 PRACK"));
    assert_eq!(header(&again, "RAck"), header(&prack, "RAck"));
    assert!(header(&again, "Proxy-Authorization").unwrap().contains("nc=00000001"));
    // The next one answers the same challenge unasked.
    bench.answer(tx, &invite, "180 Ringing", &reliable(2), "");
    let (_, next, _) = bench.request();
    assert!(header(&next, "Proxy-Authorization").unwrap().contains("nc=00000002"));
}

#[test]
fn a_call_without_an_offer_asks_for_no_reliability() {
    let (mut bench, tx, invite) = calling(None);
    let supported = header(&invite, "Supported").unwrap();
    assert!(supported.contains("timer") && !supported.contains("100rel"), "{supported}");
    // Whoever does it all the same is acknowledged; the offer to answer is the 2xx's.
    bench.answer(tx, &invite, "183 Progress", &reliable(1), OFFER);
    let (_, prack, _) = bench.request();
    assert!(prack.body.is_empty());
    bench.events();
    bench.answer(tx, &invite, "200 OK", CONTACT, OFFER);
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some(OFFER.into()) });
    bench.command(Command::AnswerInAck { session: ME, sdp: ANSWER.into() });
    assert_eq!(bench.ack().body, ANSWER.as_bytes());
}

/// 13.2.1: what a reliable answer settled, the 2xx does not change.
#[test]
fn a_second_answer_in_the_2xx_is_none() {
    let (mut bench, tx, invite) = calling(Some(OFFER));
    bench.answer(tx, &invite, "183 Progress", &reliable(1), "early");
    bench.sent();
    bench.events();
    bench.answer(tx, &invite, "200 OK", CONTACT, "another");
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some("early".into()) });
}

/// Gateways there are that leave out of the 200 what they said in a 183.
#[test]
fn a_200_without_sdp_after_early_media_takes_the_early_answer() {
    let (mut bench, tx, invite) = calling(Some(OFFER));
    bench.answer(tx, &invite, "183 Progress", CONTACT, "one");
    bench.answer(tx, &invite, "183 Progress", CONTACT, "two");
    bench.events();
    bench.answer(tx, &invite, "200 OK", CONTACT, "");
    assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some("two".into()) });
}
