//! Whatever the network brings: no panic, bounded state, and the agent still works afterwards.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rsipstack::sip::{Method, SipMessage};
use wrtc_gateway::sip::digest::Challenge;
use wrtc_gateway::sip::port::{ClientTx, Incoming, ServerTx};
use wrtc_gateway::sip::transaction::{Arrival, Transactions};
use wrtc_gateway::sip::{Command, SessionId, UserAgent, wire};

use super::support::*;

/// Hands a datagram to transactions and a user agent, as the endpoint does.
fn feed(ua: &mut UserAgent, transactions: &mut Transactions, datagram: &[u8], now: Instant) {
    match wire::parse(datagram) {
        Ok(SipMessage::Request(request)) => {
            let plain =
                Incoming::Request { tx: ServerTx(1), request: request.clone(), from: addr(PEER) };
            ua.handle_incoming(plain, now);
            if let Arrival::New { tx, request, .. } = transactions.arrived(request, addr(PEER), now)
            {
                ua.handle_incoming(Incoming::Request { tx, request, from: addr(PEER) }, now);
            }
        }
        Ok(SipMessage::Response(response)) => {
            for tx in 0..4 {
                let response = response.clone();
                ua.handle_incoming(
                    Incoming::Response { tx: ClientTx(tx), response, from: addr(PEER) },
                    now,
                );
            }
            transactions.response(response, addr(PEER), now);
        }
        Err(_) => {}
    }
    while let Some(transmit) = ua.poll_transmit() {
        if let wrtc_gateway::sip::port::Transmit::Response { tx, response } = transmit {
            transactions.respond(tx, &response, now);
        }
    }
    while ua.poll_event().is_some() {}
    while transactions.poll().is_some() {}
}

/// Whole messages to start from: of a call in, of a call out, of a registration.
fn seeds() -> Vec<String> {
    let mut peer = Peer {
        call_id: "in-1".into(),
        our_tag: "theirs".into(),
        ua_tag: String::new(),
        number: 100,
    };
    let mut seeds = vec![peer.request(Method::Invite, "Record-Route: <sip:h;lr>\r\n", OFFER)];
    for method in [Method::Ack, Method::Cancel, Method::Bye, Method::Notify, Method::Options] {
        seeds.push(peer.request(method, "Event: talk\r\n", ""));
    }
    let names = "P-Asserted-Identity: \"a\" <sip:1@h>, <tel:+1;x=y>\r\nPrivacy: id;user\r\n\
        Remote-Party-ID: \"b\" <sip:2@h>;party=calling\r\nDiversion: <sip:3@h>;reason=\"x\"\r\n\
        History-Info: <sip:4@h?Reason=SIP%3Bcause%3D486>;index=1, <sip:5@h>;index=1.1\r\n\
        Replaces: x;to-tag=1;from-tag=2;early-only\r\nReferred-By: <sip:6@h>\r\n";
    peer.call_id = "in-2".into();
    seeds.push(peer.request(Method::Invite, names, OFFER));
    let refer =
        "Refer-To: \"n\" <sip:7@h;method=INVITE?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2&X=%20>\r\n";
    seeds.push(peer.request(Method::Refer, refer, ""));
    for status in ["180 Ringing", "200 OK", "401 Unauthorized", "491 Request Pending"] {
        seeds.push(format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport=1\r\n\
             From: <sip:5001@example.org>;tag=1\r\nTo: <sip:1@h>;tag=2\r\nCall-ID: x\r\n\
             CSeq: 1 INVITE\r\nContact: \"n\" <sip:p@h>;expires=5\r\nRetry-After: 3\r\n\
             Expires: 9\r\nMin-Expires: 7\r\nRecord-Route: <sip:a;lr>, <sip:b>\r\n\
             WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n\
             Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--"
        ));
    }
    seeds
}

/// A cut, a doubling or a few bytes changed.
fn mutate(text: &str, edits: &[(u16, u8, u8)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (at, kind, value) in edits {
        if bytes.is_empty() {
            return bytes;
        }
        let at = usize::from(*at) % bytes.len();
        match kind % 4 {
            0 => bytes[at] = *value,
            1 => {
                bytes.remove(at);
            }
            2 => bytes.insert(at, *value),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_and_mutated_messages_never_panic(
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
        rounds in proptest::collection::vec(
            (0usize..12, proptest::collection::vec(any::<(u16, u8, u8)>(), 0..6)), 1..12),
    ) {
        let now = Instant::now();
        let mut ua = UserAgent::new(config("5001", "192.0.2.1:5070", PEER), 7);
        ua.handle_command(Command::Register, now);
        ua.handle_command(Command::Invite {
            session: SessionId(1), to: "1".into(), sdp: None, headers: vec![],
        }, now);
        let mut transactions = Transactions::default();
        feed(&mut ua, &mut transactions, &garbage, now);
        let seeds = seeds();
        for (seed, edits) in rounds {
            feed(&mut ua, &mut transactions, &mutate(&seeds[seed], &edits), now);
        }
        for step in 0..40 {
            ua.handle_timeout(now + Duration::from_secs(step));
            transactions.handle_timeout(now + Duration::from_secs(step));
        }
        prop_assert!(ua.live_sessions() <= UserAgent::MAX_SESSIONS);
    }

    #[test]
    fn challenges_never_panic(line in "\\PC{0,80}") {
        let _ = Challenge::parse_all(&line);
        let _ = Challenge::parse_all(&format!("Digest realm=\"{line}, nonce={line}"));
    }

    #[test]
    fn nothing_in_a_datagram_makes_the_reader_panic(
        line in "[ -~]{0,60}", value in "\\PC{0,60}", port in any::<u32>(),
    ) {
        let text = format!(
            "INVITE sip:{line} SIP/2.0\r\nVia: {value};{line}:{port}\r\nFrom: {value}\r\nTo: {line}\r\n\
             Call-ID: {value}\r\nCSeq: {port} INVITE\r\nContact: {line}\r\nContact: <{value}>\r\n\r\n");
        let now = Instant::now();
        let mut ua = UserAgent::new(config("5001", "192.0.2.1:5070", PEER), 7);
        feed(&mut ua, &mut Transactions::default(), text.as_bytes(), now);
    }
}

#[test]
fn a_flood_of_calls_leaves_bounded_state() {
    let mut bench = Bench::new();
    for n in 0..2000 {
        let mut peer = Peer {
            call_id: format!("flood-{n}"),
            our_tag: "t".into(),
            ua_tag: String::new(),
            number: 0,
        };
        bench.receive(&peer.request(Method::Invite, "", OFFER));
        if n % 2 == 0 {
            bench.receive(&peer.request(Method::Cancel, "", ""));
        }
        bench.sent();
        bench.events();
    }
    assert!(bench.ua.live_sessions() <= UserAgent::MAX_SESSIONS);
}
