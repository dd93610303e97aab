//! RFC 3261 17 with RFC 6026, timer by timer, on UDP.

use std::time::{Duration, Instant};
use wrtc_gateway::sip::{Hop, Transport};

use rsipstack::sip::{Request, Response, SipMessage};
use wrtc_gateway::sip::port::{ClientTx, Incoming, ServerTx, TxFailure};
use wrtc_gateway::sip::transaction::{Arrival, Output, Transactions};
use wrtc_gateway::sip::wire;

use super::support::*;

const OWNER: u64 = 3;
const TX: ClientTx = ClientTx(5);

struct Rig {
    it: Transactions,
    start: Instant,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let now = Instant::now();
        Self { it: Transactions::default(), start: now, now }
    }

    /// Lets time pass; tells when (in ms from the start) something was sent, and what was delivered.
    fn pass(&mut self, seconds: u64) -> (Vec<u128>, Vec<Incoming>) {
        let end = self.now + Duration::from_secs(seconds);
        let (mut sent, mut delivered) = (vec![], vec![]);
        loop {
            while let Some(output) = self.it.poll() {
                match output {
                    Output::Send { .. } => sent.push((self.now - self.start).as_millis()),
                    Output::Deliver { owner, incoming } => {
                        assert_eq!(owner, OWNER);
                        delivered.push(incoming);
                    }
                    Output::UnheardByTcp { .. } => {}
                }
            }
            match self.it.poll_timeout().filter(|at| *at <= end) {
                Some(at) => self.now = at.max(self.now),
                None => break,
            }
            self.it.handle_timeout(self.now);
        }
        self.now = end;
        (sent, delivered)
    }

    fn sent(&mut self) -> Vec<(Hop, String)> {
        let mut sent = vec![];
        while let Some(output) = self.it.poll() {
            if let Output::Send { to, datagram, .. } = output {
                sent.push((to, String::from_utf8_lossy(&datagram).into_owned()));
            }
        }
        sent
    }

    fn abandon(&mut self) {
        self.it.abandon(OWNER, TX);
    }

    fn start(&mut self, method: &str) {
        let request = request(method, "z9hG4bKmine", "");
        self.it.request(Some(OWNER), TX, request, addr(PEER), self.now);
    }

    fn answer(&mut self, method: &str, status: &str) -> bool {
        self.answer_from(method, status, addr(PEER))
    }

    fn answer_from(&mut self, method: &str, status: &str, from: Hop) -> bool {
        let response = Response::try_from(
            format!(
                "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKmine\r\n\
                 From: <sip:a@h>;tag=f\r\nTo: <sip:b@h>;tag=t\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
            )
            .as_str(),
        );
        self.it.response(response.unwrap(), from, self.now)
    }

    fn arrive(&mut self, request: Request) -> Option<(ServerTx, Option<u64>)> {
        match self.it.arrived(request, addr(PEER), self.now) {
            Arrival::New { tx, owner, .. } => Some((tx, owner)),
            Arrival::Absorbed => None,
            other => panic!("{other:?}"),
        }
    }

    fn respond(&mut self, tx: ServerTx, request: &Request, status: &str) -> bool {
        let via = header(request, "Via").unwrap();
        let cseq = header(request, "CSeq").unwrap();
        let response = Response::try_from(
            format!("SIP/2.0 {status}\r\nVia: {via}\r\nCSeq: {cseq}\r\n\r\n").as_str(),
        );
        self.it.respond(tx, &response.unwrap(), self.now)
    }
}

fn request(method: &str, branch: &str, via_params: &str) -> Request {
    let text = format!(
        "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5099;branch={branch}{via_params}\r\n\
         From: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n\
         Route: <sip:r;lr>\r\nMax-Forwards: 70\r\n\r\n"
    );
    match wire::parse(text.as_bytes()) {
        Ok(SipMessage::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn failures(delivered: &[Incoming]) -> usize {
    delivered
        .iter()
        .filter(|d| matches!(d, Incoming::Failed { tx: TX, why: TxFailure::Timeout }))
        .count()
}

#[test]
fn an_unanswered_invite_doubles_its_pauses_and_gives_up_after_32_s() {
    let mut rig = Rig::new();
    rig.start("INVITE");
    let (sent, delivered) = rig.pass(31);
    assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15_500, 31_500][..6]);
    assert!(delivered.is_empty());
    assert_eq!(failures(&rig.pass(2).1), 1);
    assert_eq!(rig.it.counts(), (0, 0));
}

#[test]
fn an_unanswered_request_is_repeated_every_4_s_at_most() {
    let mut rig = Rig::new();
    rig.start("BYE");
    let (sent, delivered) = rig.pass(33);
    assert_eq!(sent, [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(failures(&delivered), 1);
}

#[test]
fn an_abandoned_request_is_not_repeated_and_nobody_hears_of_it() {
    let mut rig = Rig::new();
    rig.start("REGISTER");
    assert_eq!(rig.pass(1).0, [0, 500]);
    rig.abandon();
    let (sent, delivered) = rig.pass(40);
    assert!(sent.is_empty() && delivered.is_empty(), "{sent:?} {delivered:?}");
    assert!(!rig.answer("REGISTER", "200 OK"), "a late answer belongs to nothing");
    assert_eq!(rig.it.counts(), (0, 0));
}

fn large(rig: &mut Rig, method: &str) -> std::net::SocketAddr {
    let (by_tcp, by_udp) =
        (request(method, "z9hG4bKmine", ";by=tcp"), request(method, "z9hG4bKmine", ";by=udp"));
    let to = addr(PEER).addr;
    rig.it.large_request(Some(OWNER), TX, by_tcp, by_udp, to, rig.now);
    to
}

/// There are middleboxes that take a connection and pass nothing on.
#[test]
fn a_large_request_without_a_word_by_tcp_goes_by_udp_after_2_s() {
    for method in ["INVITE", "REFER"] {
        let mut rig = Rig::new();
        let to = large(&mut rig, method);
        let first = rig.sent();
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].0, Hop::new(Transport::Tcp, to));
        rig.now += Duration::from_millis(1999);
        rig.it.handle_timeout(rig.now);
        assert!(rig.it.poll().is_none());
        rig.now += Duration::from_millis(1);
        rig.it.handle_timeout(rig.now);
        let again = rig.sent();
        assert_eq!(again.len(), 1);
        assert!(again[0].0 == addr(PEER) && again[0].1.contains("by=udp"), "{again:?}");
        // It is one like any other from now on, with the time that it had.
        let (sent, delivered) = rig.pass(29);
        assert_eq!(sent[..3], [2500, 3500, 5500], "{method}");
        assert!(delivered.is_empty());
        assert_eq!(failures(&rig.pass(2).1), 1);
    }
}

/// A server that is slow, or whose network is: what it does not take is told by what it answers.
#[test]
fn that_tcp_goes_nowhere_is_told_by_an_answer_that_comes_by_udp() {
    for (method, transport, is_told) in [
        ("INVITE", Transport::Udp, true),
        ("INVITE", Transport::Tcp, false),
        ("REFER", Transport::Udp, false),
    ] {
        let mut rig = Rig::new();
        let to = large(&mut rig, method);
        rig.pass(3);
        assert!(rig.answer_from(method, "100 Trying", Hop::new(transport, to)));
        let told = std::iter::from_fn(|| rig.it.poll())
            .filter(|output| matches!(output, Output::UnheardByTcp { to: told } if *told == to));
        assert_eq!(told.count() == 1, is_told, "{method} {transport:?}");
    }
}

#[test]
fn a_large_request_that_has_had_a_word_stays_on_tcp() {
    for method in ["INVITE", "REFER"] {
        let mut rig = Rig::new();
        large(&mut rig, method);
        rig.sent();
        assert!(rig.answer(method, "100 Trying"));
        assert!(rig.pass(30).0.is_empty(), "{method}");
    }
}

#[test]
fn a_ringing_invite_is_not_repeated_and_rings_for_as_long_as_it_takes() {
    let mut rig = Rig::new();
    rig.start("INVITE");
    rig.pass(0);
    assert!(rig.answer("INVITE", "180 Ringing"));
    let (sent, delivered) = rig.pass(600);
    assert!(sent.is_empty());
    assert_eq!(delivered.len(), 1);
    // Cancelled, and nothing more is heard: 64*T1.
    let cancel = request("CANCEL", "z9hG4bKmine", "");
    rig.it.cancel(OWNER, TX, cancel, addr(PEER), rig.now);
    assert_eq!(failures(&rig.pass(31).1), 0);
    assert_eq!(failures(&rig.pass(2).1), 1);
    assert_eq!(rig.it.counts(), (0, 0));
}

#[test]
fn a_refusal_is_acked_each_time_and_told_once() {
    let mut rig = Rig::new();
    rig.start("INVITE");
    rig.sent();
    for round in 0..3 {
        assert!(rig.answer("INVITE", "486 Busy Here"));
        let mut acks = vec![];
        let mut told = 0;
        while let Some(output) = rig.it.poll() {
            match output {
                Output::Send { datagram, .. } => {
                    acks.push(String::from_utf8_lossy(&datagram).into_owned());
                }
                Output::Deliver { .. } => told += 1,
                Output::UnheardByTcp { .. } => {}
            }
        }
        assert_eq!((acks.len(), told), (1, usize::from(round == 0)));
        let ack = &acks[0];
        assert!(ack.starts_with("ACK sip:b@h"), "{ack}");
        assert!(ack.contains("branch=z9hG4bKmine") && ack.contains("CSeq: 1 ACK"), "{ack}");
        assert!(ack.contains("To: <sip:b@h>;tag=t") && ack.contains("Route: <sip:r;lr>"), "{ack}");
    }
    rig.pass(33);
    assert!(!rig.answer("INVITE", "486 Busy Here"), "forgotten after timer D");
}

#[test]
fn every_2xx_is_handed_up_and_none_is_acked_here() {
    let mut rig = Rig::new();
    rig.start("INVITE");
    rig.sent();
    for _ in 0..3 {
        assert!(rig.answer("INVITE", "200 OK"));
    }
    let (sent, delivered) = rig.pass(31);
    assert_eq!((sent.len(), delivered.len()), (0, 3));
    rig.pass(2);
    assert!(!rig.answer("INVITE", "200 OK"), "forgotten after timer M");
}

#[test]
fn an_answered_request_absorbs_repeated_answers_for_5_s() {
    let mut rig = Rig::new();
    rig.start("BYE");
    rig.sent();
    assert!(rig.answer("BYE", "200 OK"));
    assert!(rig.answer("BYE", "200 OK"));
    assert_eq!(rig.pass(6).1.len(), 1);
    assert_eq!(rig.it.counts(), (0, 0));
}

#[test]
fn a_refused_invite_is_refused_again_until_its_ack() {
    let mut rig = Rig::new();
    let invite = request("INVITE", "z9hG4bKt", "");
    let (tx, _) = rig.arrive(invite.clone()).unwrap();
    assert!(rig.respond(tx, &invite, "486 Busy Here"));
    assert!(!rig.respond(tx, &invite, "200 OK"), "one final answer");
    let (sent, _) = rig.pass(10);
    assert_eq!(sent, [0, 500, 1500, 3500, 7500]);
    assert!(rig.arrive(invite.clone()).is_none());
    assert_eq!(rig.sent().len(), 1, "the answer to its retransmission");
    assert!(rig.arrive(request("ACK", "z9hG4bKt", "")).is_none(), "the ACK is the transaction's");
    assert!(rig.arrive(request("ACK", "z9hG4bKt", "")).is_none());
    let (sent, _) = rig.pass(6);
    assert!(sent.is_empty());
    assert_eq!(rig.it.counts(), (0, 0), "timer I");
}

#[test]
fn a_refusal_without_an_ack_is_given_up_after_32_s() {
    let mut rig = Rig::new();
    let invite = request("INVITE", "z9hG4bKt", "");
    let (tx, _) = rig.arrive(invite.clone()).unwrap();
    rig.respond(tx, &invite, "486 Busy Here");
    rig.pass(33);
    assert_eq!(rig.it.counts(), (0, 0));
}

#[test]
fn an_accepted_invite_leaves_repetition_and_ack_to_the_dialog() {
    let mut rig = Rig::new();
    let invite = request("INVITE", "z9hG4bKt", "");
    let (tx, _) = rig.arrive(invite.clone()).unwrap();
    assert!(rig.respond(tx, &invite, "200 OK"));
    assert_eq!(rig.pass(5).0, [0], "no repetition of its own");
    assert!(rig.arrive(invite.clone()).is_none());
    assert!(rig.sent().is_empty());
    assert!(rig.respond(tx, &invite, "200 OK"), "the dialog repeats it");
    assert!(rig.arrive(request("ACK", "z9hG4bKother", "")).is_some());
    assert!(rig.arrive(request("ACK", "z9hG4bKt", "")).is_some(), "with the INVITE's branch, too");
    rig.pass(33);
    assert!(!rig.respond(tx, &invite, "200 OK"), "over after timer L");
}

#[test]
fn an_answered_request_is_answered_again_for_32_s() {
    let mut rig = Rig::new();
    let bye = request("BYE", "z9hG4bKt", "");
    let (tx, _) = rig.arrive(bye.clone()).unwrap();
    assert!(rig.arrive(bye.clone()).is_none());
    assert!(rig.sent().is_empty(), "nothing to say yet");
    rig.respond(tx, &bye, "200 OK");
    rig.pass(31);
    assert!(rig.arrive(bye.clone()).is_none());
    assert_eq!(rig.sent().len(), 1);
    rig.pass(2);
    assert!(rig.arrive(bye).is_some(), "forgotten after timer J");
}

#[test]
fn a_cancel_belongs_to_whoever_has_the_invite() {
    let mut rig = Rig::new();
    let (tx, _) = rig.arrive(request("INVITE", "z9hG4bKt", "")).unwrap();
    rig.it.set_owner(tx, OWNER);
    let (_, owner) = rig.arrive(request("CANCEL", "z9hG4bKt", "")).unwrap();
    assert_eq!(owner, Some(OWNER));
    let (_, owner) = rig.arrive(request("CANCEL", "z9hG4bKelse", "")).unwrap();
    assert_eq!(owner, None);
}

#[test]
fn peers_without_a_magic_cookie_are_told_apart_by_the_rest() {
    let mut rig = Rig::new();
    assert!(rig.arrive(request("INVITE", "1", "")).is_some());
    assert!(rig.arrive(request("INVITE", "1", "")).is_none());
    assert!(rig.arrive(request("BYE", "1", "")).is_some());
}

#[test]
fn answers_go_where_via_and_source_say() {
    // From PEER, 192.0.2.9:5060; the Via says 192.0.2.1:5099.
    for (params, to, noted) in [
        ("", "192.0.2.9:5099", ";received=192.0.2.9"),
        (";rport", "192.0.2.9:5060", ";received=192.0.2.9;rport=5060"),
        (";received=10.9.9.9;rport=1", "192.0.2.9:5060", ";received=192.0.2.9;rport=5060"),
    ] {
        let mut rig = Rig::new();
        let arrival = rig.it.arrived(request("OPTIONS", "z9hG4bKt", params), addr(PEER), rig.now);
        let Arrival::New { tx, request, .. } = arrival else { panic!("{arrival:?}") };
        let via = header(&request, "Via").unwrap();
        assert_eq!(via, format!("SIP/2.0/UDP 192.0.2.1:5099;branch=z9hG4bKt{noted}"));
        rig.respond(tx, &request, "200 OK");
        assert_eq!(rig.sent()[0].0, addr(to), "{params}");
    }
}

#[test]
fn what_cannot_be_answered_is_dropped() {
    let mut rig = Rig::new();
    for line in ["Via", "Call-ID", "CSeq"] {
        let mut request = request("OPTIONS", "z9hG4bKt", "");
        request.headers.retain(|h| h.name() != line);
        let arrival = rig.it.arrived(request, addr(PEER), rig.now);
        assert!(matches!(arrival, Arrival::Unanswerable), "{line}: {arrival:?}");
    }
    assert_eq!(rig.it.counts(), (0, 0));
}

#[test]
fn transactions_are_bounded() {
    let mut rig = Rig::new();
    for n in 0..Transactions::MAX {
        rig.arrive(request("OPTIONS", &format!("z9hG4bK{n}"), "")).unwrap();
    }
    let one_more = rig.it.arrived(request("OPTIONS", "z9hG4bKx", ""), addr(PEER), rig.now);
    assert!(matches!(one_more, Arrival::Overload));
    rig.pass(33);
    assert_eq!(rig.it.counts(), (0, 0), "unanswered ones do not stay");
}

#[test]
fn what_the_socket_refuses_fails_at_once() {
    let mut rig = Rig::new();
    rig.start("INVITE");
    let Some(Output::Send { client: Some(key), .. }) = rig.it.poll() else { panic!("a datagram") };
    rig.it.send_failed(&key);
    assert!(matches!(
        rig.it.poll(),
        Some(Output::Deliver { incoming: Incoming::Failed { why: TxFailure::Transport, .. }, .. })
    ));
    assert_eq!(rig.it.counts(), (0, 0));
}
