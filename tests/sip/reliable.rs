//! RFC 3261 17 on a reliable transport: nothing is repeated, and what only waits for repetitions ends
//! at once. Under virtual time.

use std::time::{Duration, Instant};

use rsipstack::sip::{Request, Response};
use wrtc_gateway::sip::port::{ClientTx, Incoming, TxFailure};
use wrtc_gateway::sip::transaction::{Arrival, Output, Transactions};
use wrtc_gateway::sip::{Hop, Transport};

use super::support::*;

const OWNER: u64 = 3;

fn peer(transport: Transport) -> Hop {
    Hop::new(transport, addr(PEER).addr)
}

fn request(method: &str, via: &str) -> Request {
    let text = format!(
        "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/{via} 192.0.2.1:5070;branch=z9hG4bKx\r\n\
         From: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    Request::try_from(text.as_str()).unwrap()
}

fn response(method: &str, status: &str) -> Response {
    let text = format!(
        "SIP/2.0 {status}\r\nVia: SIP/2.0/TCP 192.0.2.1:5070;branch=z9hG4bKx\r\n\
         From: <sip:a@h>;tag=f\r\nTo: <sip:b@h>;tag=t\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
    );
    Response::try_from(text.as_str()).unwrap()
}

/// What is sent within `seconds`, and what is delivered.
fn pass(
    it: &mut Transactions,
    start: Instant,
    seconds: u64,
) -> (Vec<(Hop, String)>, Vec<Incoming>) {
    let end = start + Duration::from_secs(seconds);
    let (mut sent, mut delivered) = (vec![], vec![]);
    loop {
        while let Some(output) = it.poll() {
            match output {
                Output::Send { to, datagram, .. } => {
                    sent.push((to, String::from_utf8_lossy(&datagram).into_owned()));
                }
                Output::Deliver { incoming, .. } => delivered.push(incoming),
                Output::UnheardByTcp { .. } => {}
            }
        }
        match it.poll_timeout().filter(|at| *at <= end) {
            Some(at) => it.handle_timeout(at.max(start)),
            None => return (sent, delivered),
        }
    }
}

#[test]
fn requests_are_sent_once_and_still_time_out() {
    for transport in [Transport::Tcp, Transport::Tls] {
        for method in ["INVITE", "OPTIONS"] {
            let (mut it, now) = (Transactions::default(), Instant::now());
            let request = request(method, transport.via());
            it.request(Some(OWNER), ClientTx(1), request, peer(transport), now);
            let (sent, delivered) = pass(&mut it, now, 31);
            assert_eq!((sent.len(), delivered.len()), (1, 0), "{method}");
            let (sent, delivered) = pass(&mut it, now, 33);
            assert!(sent.is_empty());
            assert!(
                matches!(delivered[..], [Incoming::Failed { why: TxFailure::Timeout, .. }]),
                "{method}: {delivered:?}"
            );
        }
    }
}

#[test]
fn answered_requests_do_not_linger() {
    for (method, status) in [("OPTIONS", "200 OK"), ("INVITE", "486 Busy Here")] {
        let (mut it, now) = (Transactions::default(), Instant::now());
        let to = peer(Transport::Tcp);
        it.request(Some(OWNER), ClientTx(1), request(method, "TCP"), to, now);
        assert!(it.response(response(method, status), to, now));
        let (sent, _) = pass(&mut it, now, 0);
        let acks = sent.iter().filter(|(_, text)| text.starts_with("ACK ")).count();
        assert_eq!(acks, usize::from(method == "INVITE"), "{sent:?}");
        assert_eq!(it.counts(), (0, 0), "{method}: timers D and K are zero");
    }
}

#[test]
fn refusals_wait_for_their_ack_without_repeating() {
    let (mut it, now) = (Transactions::default(), Instant::now());
    let from = peer(Transport::Tcp);
    let invite = request("INVITE", "TCP");
    let Arrival::New { tx, .. } = it.arrived(invite, from, now) else { panic!("new") };
    assert!(it.respond(tx, &response("INVITE", "486 Busy Here"), now));
    let (sent, _) = pass(&mut it, now, 31);
    assert_eq!(sent.len(), 1, "timer G is off: {sent:?}");
    assert_eq!(sent[0].0, from, "over the connection it came by");
    assert_eq!(it.counts(), (0, 1), "timer H runs");
    let ack = request("ACK", "TCP");
    assert!(matches!(it.arrived(ack, from, now), Arrival::Absorbed));
    pass(&mut it, now, 31);
    assert_eq!(it.counts(), (0, 0), "timer I is zero");

    let options = request("OPTIONS", "TCP");
    let Arrival::New { tx, .. } = it.arrived(options, from, now) else { panic!("new") };
    assert!(it.respond(tx, &response("OPTIONS", "200 OK"), now));
    pass(&mut it, now, 0);
    assert_eq!(it.counts(), (0, 0), "timer J is zero");
}

#[test]
fn what_was_under_way_over_a_lost_connection_fails_at_once() {
    let (mut it, now) = (Transactions::default(), Instant::now());
    let to = peer(Transport::Tcp);
    it.request(Some(OWNER), ClientTx(1), request("INVITE", "TCP"), to, now);
    it.response(response("INVITE", "180 Ringing"), to, now);
    pass(&mut it, now, 0);
    it.lost(peer(Transport::Tls), now);
    assert_eq!(pass(&mut it, now, 0).1.len(), 0, "another connection's");
    it.lost(to, now);
    let (_, delivered) = pass(&mut it, now, 0);
    assert!(matches!(delivered[..], [Incoming::Failed { why: TxFailure::Transport, .. }]));
    assert_eq!(it.counts().0, 0);
}

#[test]
fn a_large_request_that_finds_no_tcp_goes_on_by_udp() {
    let (mut it, now) = (Transactions::default(), Instant::now());
    let (large, small) = (request("INVITE", "TCP"), request("INVITE", "UDP"));
    it.large_request(Some(OWNER), ClientTx(1), large, small, addr(PEER).addr, now);
    it.unreachable(peer(Transport::Tcp), now);
    let (sent, _) = pass(&mut it, now, 2);
    let ways: Vec<Transport> = sent.iter().map(|(to, _)| to.transport).collect();
    use Transport::{Tcp, Udp};
    assert_eq!(ways, [Tcp, Udp, Udp, Udp], "by UDP it is repeated after 0.5 and 1.5 s");
    assert!(sent[1].1.contains("SIP/2.0/UDP"), "{}", sent[1].1);
    // The CANCEL follows it, whatever its maker thought.
    assert!(it.response(response("INVITE", "180 Ringing"), peer(Udp), now));
    it.cancel(OWNER, ClientTx(1), request("CANCEL", "TCP"), peer(Tcp), now);
    let (sent, _) = pass(&mut it, now, 0);
    assert_eq!(sent.len(), 1);
    assert!(sent[0].0.transport == Udp && sent[0].1.contains("SIP/2.0/UDP"), "{sent:?}");
}

/// Over-MTU requests go to TCP: where that takes the connection and resets it, by UDP after all.
#[test]
fn a_large_request_whose_connection_is_reset_goes_on_by_udp() {
    let (mut it, now) = (Transactions::default(), Instant::now());
    let (large, small) = (request("INVITE", "TCP"), request("INVITE", "UDP"));
    it.large_request(Some(OWNER), ClientTx(1), large, small, addr(PEER).addr, now);
    it.lost(peer(Transport::Tcp), now);
    let (sent, delivered) = pass(&mut it, now, 0);
    let ways: Vec<Transport> = sent.iter().map(|(to, _)| to.transport).collect();
    assert_eq!((ways, delivered.len()), (vec![Transport::Tcp, Transport::Udp], 0));
}
