//! "A list of SIP servers is tried in order": a call whose server is gone goes by the next one, before the 32 s
//! of its transaction are over (RFC 3263 4.3).

use std::time::Duration;

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::servers::News;
use wrtc_gateway::sip::{Command, EndedBy, Event, Hop, SessionId, Transport, UaConfig};

use super::support::*;

const ME: SessionId = SessionId(1);
const CONTACT: &str = "Contact: <sip:peer@192.0.2.9>\r\n";

fn first(transport: Transport) -> Hop {
    Hop::new(transport, addr(PEER).addr)
}

fn second(transport: Transport) -> Hop {
    Hop::new(transport, addr("192.0.2.10:5060").addr)
}

/// Whoever watches the servers is there, and a call is under way.
fn calling(transport: Transport) -> (Bench, ClientTx, Request) {
    let config = UaConfig { server: first(transport), ..config("5001", "192.0.2.1:5070", PEER) };
    let mut bench = Bench::with(config);
    bench.ua.set_watched();
    let (to, sdp) = ("1003".into(), Some(OFFER.into()));
    bench.command(Command::Invite { session: ME, to, sdp, headers: vec![] });
    let (tx, request, _) = bench.request();
    (bench, tx, request)
}

fn moved(bench: &mut Bench, to: Hop) {
    let here = addr("192.0.2.1:5072").addr;
    bench.ua.set_server(to, here, bench.now);
}

fn ended(bench: &mut Bench) -> (EndedBy, u16) {
    match bench.event() {
        Event::Ended { end, .. } => (end.by, end.code),
        other => panic!("Ended: {other:?}"),
    }
}

#[test]
fn an_invite_without_a_word_goes_by_the_next_server() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let (mut bench, tx, invite) = calling(transport);
        moved(&mut bench, second(transport));
        let sent = bench.sent();
        let [Transmit::Abandon { tx: old }, Transmit::Request { tx: again, request, to }] =
            &sent[..]
        else {
            panic!("given up there, sent here: {sent:?}")
        };
        assert_eq!((*old, *to), (tx, second(transport)));
        assert_eq!(request.method, Method::Invite);
        assert_eq!(request.body, OFFER.as_bytes());
        for same in ["Call-ID", "From", "To"] {
            assert_eq!(header(request, same), header(&invite, same));
        }
        assert_eq!(header(request, "CSeq").as_deref(), Some("2 INVITE"));
        assert!(header(request, "Contact").unwrap().contains("192.0.2.1:5072"));
        assert!(header(request, "Via").unwrap().contains("192.0.2.1:5072"));
        assert_ne!(header(request, "Via"), header(&invite, "Via"));
        // The old one's late word is nobody's.
        bench.answer(tx, &invite, "486 Busy Here", "", "");
        assert!(bench.events().is_empty() && bench.sent().is_empty());
        let (again, request) = (*again, request.clone());
        bench.answer(again, &request, "200 OK", CONTACT, ANSWER);
        assert_eq!(bench.event(), Event::Answered { session: ME, sdp: Some(ANSWER.into()) });
    }
}

/// A telephone may ring there.
#[test]
fn an_invite_that_has_had_a_word_stays() {
    let (mut bench, tx, invite) = calling(Transport::Tcp);
    bench.answer(tx, &invite, "100 Trying", "", "");
    moved(&mut bench, second(Transport::Tcp));
    assert!(bench.sent().is_empty());
    bench.answer(tx, &invite, "200 OK", CONTACT, ANSWER);
    assert!(matches!(bench.event(), Event::Answered { .. }));
}

#[test]
fn one_that_was_given_up_goes_nowhere() {
    let (mut bench, _, _) = calling(Transport::Tcp);
    bench.command(Command::End { session: ME, code: 487, text: String::new() });
    bench.events();
    moved(&mut bench, second(Transport::Tcp));
    assert!(bench.sent().is_empty());
}

#[test]
fn silence_is_told_long_before_the_transaction_ends() {
    for (transport, after) in [(Transport::Udp, 4000), (Transport::Tcp, 2000)] {
        let (mut bench, tx, invite) = calling(transport);
        bench.advance(Duration::from_millis(after - 1));
        assert_eq!(bench.ua.poll_news(), None);
        bench.advance(Duration::from_millis(1));
        assert_eq!(bench.ua.poll_news(), Some((first(transport), News::Slow)));
        bench.advance(Duration::from_secs(20));
        assert_eq!(bench.ua.poll_news(), None, "once");
        bench.answer(tx, &invite, "180 Ringing", CONTACT, "");
        assert!(matches!(bench.event(), Event::Progressed { .. }));

        let (mut bench, tx, invite) = calling(transport);
        bench.answer(tx, &invite, "100 Trying", "", "");
        bench.advance(Duration::from_secs(20));
        assert_eq!(bench.ua.poll_news(), None, "it has had its word");
    }
}

/// A connection that breaks is made again at once; one that cannot be made leaves the call to wait for word of
/// another server, some seconds.
#[test]
fn one_that_cannot_be_sent_waits_for_another_server() {
    let (mut bench, tx, _) = calling(Transport::Tcp);
    bench.fail(tx, TxFailure::Transport);
    assert_eq!(bench.ua.poll_news(), Some((first(Transport::Tcp), News::Unsent)));
    let (again, _, to) = bench.request();
    assert_eq!(to, first(Transport::Tcp));
    bench.fail(again, TxFailure::Transport);
    assert!(bench.sent().is_empty() && bench.events().is_empty());
    bench.advance(Duration::from_secs(3));
    assert!(bench.events().is_empty());
    moved(&mut bench, second(Transport::Tcp));
    let (third, invite, to) = bench.request();
    assert_eq!(to, second(Transport::Tcp));
    bench.advance(Duration::from_secs(20));
    assert!(bench.events().is_empty(), "the wait is over");
    bench.answer(third, &invite, "200 OK", CONTACT, ANSWER);
    assert!(matches!(bench.event(), Event::Answered { .. }));
}

#[test]
fn a_wait_ends_with_the_word_that_there_is_no_server_and_by_itself() {
    for told in [true, false] {
        let (mut bench, tx, _) = calling(Transport::Udp);
        bench.fail(tx, TxFailure::Transport);
        assert!(bench.events().is_empty());
        if told {
            bench.ua.set_reachable(Err("gone"), bench.now);
        } else {
            bench.advance(Duration::from_secs(10));
        }
        assert_eq!(ended(&mut bench), (EndedBy::Network, 503));
        assert!(bench.ua.is_idle());
    }
    // Where that is known already there is nothing to wait for.
    let (mut bench, tx, _) = calling(Transport::Udp);
    bench.ua.set_reachable(Err("gone"), bench.now);
    bench.fail(tx, TxFailure::Transport);
    assert_eq!(ended(&mut bench), (EndedBy::Network, 503));
}

#[test]
fn who_hangs_up_meanwhile_waits_for_nothing() {
    let (mut bench, tx, _) = calling(Transport::Udp);
    bench.fail(tx, TxFailure::Transport);
    bench.command(Command::End { session: ME, code: 487, text: String::new() });
    assert_eq!(ended(&mut bench), (EndedBy::Us, 487));
    assert!(bench.ua.is_idle() && bench.sent().is_empty());
    moved(&mut bench, second(Transport::Udp));
    assert!(bench.sent().is_empty());
}

#[test]
fn nobody_goes_round_in_circles() {
    let (mut bench, _, _) = calling(Transport::Tcp);
    let mut sent = 0;
    for n in 0..20 {
        let to = if n % 2 == 0 { second(Transport::Tcp) } else { first(Transport::Tcp) };
        moved(&mut bench, to);
        sent += bench.sent().iter().filter(|t| matches!(t, Transmit::Request { .. })).count();
    }
    assert_eq!(sent, 4);
}

/// 32 s of silence of the server that is still the one to be used: so it is told, as ever.
#[test]
fn silence_without_another_server_ends_the_call() {
    let (mut bench, tx, _) = calling(Transport::Tcp);
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(ended(&mut bench), (EndedBy::Network, 408));
}
