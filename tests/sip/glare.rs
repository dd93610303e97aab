//! "re-INVITE and UPDATE at any time. Glare: 491 and RFC 3261 14.1 timers both ways; one queue of offers
//! per dialog."

use std::time::Duration;

use rsipstack::sip::Method;
use wrtc_gateway::sip::{Command, Event, SessionId};

use super::support::*;

fn offer(bench: &mut Bench, session: SessionId, sdp: &str) {
    bench.command(Command::Reinvite { session, sdp: Some(sdp.into()) });
}

#[test]
fn offers_go_one_at_a_time_in_order() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    for sdp in ["one", "two", "three"] {
        offer(&mut bench, session, sdp);
    }
    let (tx, one, _) = bench.request();
    assert_eq!(one.body, b"one");
    bench.answer(tx, &one, "488 Not Acceptable Here", "", "");
    assert!(matches!(bench.event(), Event::ReinviteRefused { code: 488, .. }));
    let (tx, two, _) = bench.request();
    assert_eq!(two.body, b"two");
    bench.answer(tx, &two, "200 OK", "", ANSWER);
    assert_eq!(bench.event(), Event::ReinviteAnswered { session, sdp: Some(ANSWER.into()) });
    let sent = bench.sent();
    assert_eq!(sent.len(), 2, "ACK, then the next: {sent:?}");
}

#[test]
fn offers_wait_for_the_ack_of_the_call_itself() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.ring(OFFER);
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    bench.sent();
    offer(&mut bench, session, "hold");
    assert!(bench.sent().is_empty());
    bench.receive(&peer.request(Method::Ack, "", ""));
    assert_eq!(bench.request().1.body, b"hold");
}

#[test]
fn an_offerless_reinvite_of_ours_is_answered_in_its_ack() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    bench.command(Command::Reinvite { session, sdp: None });
    offer(&mut bench, session, "next");
    let (tx, request, _) = bench.request();
    assert!(request.body.is_empty());
    bench.answer(tx, &request, "200 OK", "", OFFER);
    assert_eq!(bench.event(), Event::ReinviteAnswered { session, sdp: Some(OFFER.into()) });
    assert!(bench.sent().is_empty(), "the ACK and the next offer wait");
    bench.command(Command::AnswerInAck { session, sdp: ANSWER.into() });
    let sent = bench.sent();
    assert_eq!(sent.len(), 2, "ACK, then the next: {sent:?}");
}

/// The pause after a 491, and what is sent then.
fn pause_after_491(bench: &mut Bench, session: SessionId) -> Duration {
    offer(bench, session, "mine");
    let (tx, request, _) = bench.request();
    bench.answer(tx, &request, "491 Request Pending", "", "");
    assert!(bench.events().is_empty());
    let pause = bench.ua.poll_timeout().unwrap() - bench.now;
    bench.advance(pause);
    let (tx, again, _) = bench.request();
    assert_eq!(again.body, b"mine");
    bench.answer(tx, &again, "200 OK", "", ANSWER);
    bench.ack();
    bench.events();
    pause
}

#[test]
fn after_glare_the_owner_of_the_call_id_waits_longer() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    let ms = Duration::from_millis;
    for _ in 0..50 {
        let pause = pause_after_491(&mut bench, session);
        assert!(pause >= ms(2100) && pause <= ms(4000), "{pause:?}");
    }
    let mut bench = Bench::new();
    let (session, _) = bench.call_in();
    for _ in 0..50 {
        let pause = pause_after_491(&mut bench, session);
        assert!(pause <= ms(2000), "{pause:?}");
    }
}

#[test]
fn endless_glare_is_told_in_the_end() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    offer(&mut bench, session, "mine");
    for round in 0.. {
        assert!(round < 20, "it must end");
        let (tx, request, _) = bench.request();
        bench.answer(tx, &request, "491 Request Pending", "", "");
        if let [Event::ReinviteRefused { code: 491, .. }] = &bench.events()[..] {
            break;
        }
        bench.advance(Duration::from_secs(4));
    }
}

#[test]
fn their_offer_meets_491_while_ours_is_out() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_out();
    offer(&mut bench, session, "mine");
    let (tx, request, _) = bench.request();
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    assert_eq!(bench.codes(), [100, 491]);
    bench.receive(&peer.request(Method::Update, "", OFFER_2));
    assert_eq!(bench.codes(), [491]);
    assert!(bench.events().is_empty());
    // In the pause after a 491 of theirs, theirs is taken, and ours waits for its end.
    bench.answer(tx, &request, "491 Request Pending", "", "");
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: Some(OFFER_2.into()) });
    bench.sent();
    bench.advance(Duration::from_secs(5));
    assert!(bench.sent().is_empty(), "theirs comes first");
    bench.command(Command::AcceptReinvite { session, sdp: ANSWER.into() });
    assert_eq!(bench.codes(), [200]);
    bench.receive(&peer.request(Method::Ack, "", ""));
    assert_eq!(bench.request().1.body, b"mine");
}

/// Our offer in a 200 is out until its ACK: a re-INVITE that asks for one would be given a second (RFC 3264
/// 4, RFC 5407 3.1.5). An UPDATE that offers nothing may pass.
#[test]
fn what_comes_while_our_offer_waits_for_its_ack_meets_491() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.ring("");
    bench.command(Command::Accept { session, sdp: OFFER.into() });
    bench.sent();
    for (method, sdp) in
        [(Method::Invite, ""), (Method::Invite, OFFER_2), (Method::Update, OFFER_2)]
    {
        bench.receive(&peer.request(method, "", sdp));
        assert_eq!(bench.codes().last(), Some(&491), "{method} {sdp}");
    }
    bench.receive(&peer.request(Method::Update, "", ""));
    assert_eq!(bench.codes(), [200]);
    assert!(bench.events().is_empty());
    bench.receive(&peer.request_numbered(Method::Ack, 101, "", ANSWER));
    assert_eq!(bench.event(), Event::Acked { session, sdp: Some(ANSWER.into()) });
    bench.receive(&peer.request(Method::Invite, "", ""));
    assert_eq!(bench.event(), Event::Reinvited { session, sdp: None });
}

/// An answer of ours settles its offer without the ACK, so that a re-INVITE may overtake that (RFC 5407
/// 3.1.4); a peer that never sends one does not have us repeat answers without end.
#[test]
fn answers_that_are_never_acknowledged_have_an_end() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    let codes: Vec<u16> = (0..20)
        .map(|_| {
            bench.receive(&peer.request(Method::Invite, "", OFFER));
            *bench.codes().last().unwrap()
        })
        .collect();
    assert_eq!(codes[..4], [200; 4], "refreshes");
    assert_eq!(codes[4..], [500; 16]);
    bench.receive(&peer.request_numbered(Method::Ack, 102, "", ""));
    bench.receive(&peer.request(Method::Invite, "", OFFER));
    assert_eq!(bench.codes().last(), Some(&200));
}

#[test]
fn a_second_offer_of_theirs_before_the_first_is_answered_is_put_off() {
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    bench.sent();
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    let (_, response) = bench.responses().remove(0);
    assert_eq!(response.status_code.code(), 500);
    assert!(header(&response, "Retry-After").unwrap().parse::<u32>().unwrap() <= 10);
    // And a re-INVITE before the call itself is answered.
    let mut bench = Bench::new();
    let (_, mut peer) = bench.ring(OFFER);
    bench.receive(&peer.request(Method::Invite, "", OFFER_2));
    let codes: Vec<u16> = bench.codes();
    assert_eq!(codes.last(), Some(&500));
}

#[test]
fn a_put_off_offer_of_ours_comes_again() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    offer(&mut bench, session, "mine");
    let (tx, request, _) = bench.request();
    bench.answer(tx, &request, "500 Later", "Retry-After: 3\r\n", "");
    assert!(bench.events().is_empty());
    bench.advance(Duration::from_secs(3));
    assert_eq!(bench.request().1.body, b"mine");
}

#[test]
fn the_queue_of_offers_is_bounded() {
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    for _ in 0..40 {
        offer(&mut bench, session, "x");
    }
    let refused = bench.events().len();
    assert_eq!(refused, 40 - 17, "one out, sixteen wait");
}
