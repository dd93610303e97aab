//! Route sets (RFC 3261 12.1, 12.2.1.1).

use rsipstack::sip::{HasHeaders, Method, Request};
use wrtc_gateway::sip::{Command, Event, SessionId};

use super::support::*;

fn routes(request: &Request) -> Vec<String> {
    let named = request.headers().iter().filter(|h| h.name() == "Route");
    named.map(|h| h.value().to_owned()).collect()
}

#[test]
fn a_caller_takes_the_record_route_backwards() {
    let mut bench = Bench::new();
    let session = SessionId(1);
    bench.command(Command::Invite {
        session,
        to: "1".into(),
        sdp: Some(OFFER.into()),
        headers: vec![],
    });
    let (tx, invite, _) = bench.request();
    let extra = "Contact: <sip:peer@10.1.1.1:5090>\r\n\
        Record-Route: <sip:192.0.2.20;lr>, <sip:192.0.2.21:5061;lr;x=\"a,b\">\r\n\
        Record-Route: <sip:192.0.2.22;lr=on>\r\n";
    bench.answer(tx, &invite, "200 OK", extra, ANSWER);
    let ack = bench.ack();
    assert_eq!(ack.uri.to_string(), "sip:peer@10.1.1.1:5090");
    assert_eq!(
        routes(&ack),
        ["<sip:192.0.2.22;lr=on>", "<sip:192.0.2.21:5061;lr;x=\"a,b\">", "<sip:192.0.2.20;lr>"]
    );
    bench.command(Command::End { session, code: 200, text: String::new() });
    let (_, bye, to) = bench.request();
    assert_eq!(routes(&bye), routes(&ack));
    assert_eq!(to, addr("192.0.2.22:5060"));
}

#[test]
fn a_callee_takes_it_as_it_is_and_a_strict_router_gets_its_own_way() {
    let mut bench = Bench::new();
    let mut peer =
        Peer { call_id: "r".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    let extra = "Record-Route: <sip:192.0.2.30>\r\nRecord-Route: <sip:192.0.2.31;lr>\r\n";
    bench.receive(&peer.request(Method::Invite, extra, OFFER));
    let Event::Invited { session, .. } = bench.event() else { panic!("Invited") };
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    let responses = bench.responses();
    let to = header(&responses.last().unwrap().1, "To").unwrap();
    peer.ua_tag = to.split("tag=").nth(1).unwrap().to_owned();
    bench.receive(&peer.request(Method::Ack, "", ""));
    bench.command(Command::End { session, code: 200, text: String::new() });
    let (_, bye, to) = bench.request();
    assert_eq!(bye.uri.to_string(), "sip:192.0.2.30");
    assert_eq!(routes(&bye), ["<sip:192.0.2.31;lr>", "<sip:1003@192.0.2.9:5062>"]);
    assert_eq!(to, addr("192.0.2.30:5060"));
}

#[test]
fn where_a_contact_is_a_name_requests_go_where_the_peer_came_from() {
    let mut bench = Bench::new();
    let session = SessionId(1);
    bench.command(Command::Invite {
        session,
        to: "1".into(),
        sdp: Some(OFFER.into()),
        headers: vec![],
    });
    let (tx, invite, _) = bench.request();
    bench.answer(tx, &invite, "200 OK", "Contact: <sip:a%23b@some.name.invalid>\r\n", ANSWER);
    bench.ack();
    bench.command(Command::End { session, code: 200, text: String::new() });
    let (_, bye, to) = bench.request();
    assert_eq!(bye.uri.to_string(), "sip:a%23b@some.name.invalid");
    assert_eq!(to, addr(PEER));
}
