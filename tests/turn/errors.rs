//! What is refused, with which code (RFC 8656 7.2, 8.2, 10.2, 12.2, 19).

use rtc_stun::attributes::*;
use rtc_stun::message::*;

use crate::support::*;

const ADDITIONAL_FAMILY: AttrType = AttrType(0x8000);
const V4: &[u8] = &[1, 0, 0, 0];
const V6: &[u8] = &[2, 0, 0, 0];

fn refused(parts: &[Part]) -> u16 {
    let mut bench = Bench::new();
    bench.greet();
    let code = bench.ask(METHOD_ALLOCATE, parts).code();
    assert_eq!(bench.session.is_open(), code == 0);
    code
}

#[test]
fn allocate() {
    let transport = |protocol: u8| raw(ATTR_REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]);
    let family = |value| raw(ATTR_REQUESTED_ADDRESS_FAMILY, value);
    let second = |value| raw(ADDITIONAL_FAMILY, value);
    let token = || raw(ATTR_RESERVATION_TOKEN, &[7; 8]);
    let even = |bits: u8| raw(ATTR_EVEN_PORT, &[bits]);
    assert_eq!(refused(&[]), 400, "no transport");
    assert_eq!(refused(&[raw(ATTR_REQUESTED_TRANSPORT, &[17])]), 400);
    assert_eq!(refused(&[transport(6)]), 442, "TCP");
    assert_eq!(refused(&[udp(), raw(ATTR_DONT_FRAGMENT, &[])]), 0);
    assert_eq!(refused(&[udp(), even(0x00)]), 0);
    assert_eq!(refused(&[udp(), even(0x80)]), 508, "a reservation");
    assert_eq!(refused(&[udp(), raw(ATTR_EVEN_PORT, &[])]), 400);
    assert_eq!(refused(&[udp(), token()]), 508, "one that was never given");
    assert_eq!(refused(&[udp(), token(), even(0)]), 400);
    assert_eq!(refused(&[udp(), token(), family(V4)]), 400);
    assert_eq!(refused(&[udp(), family(V4)]), 0);
    assert_eq!(refused(&[udp(), family(V6)]), 440, "the media of the tests has no IPv6");
    assert_eq!(refused(&[udp(), family(&[9, 0, 0, 0])]), 440);
    assert_eq!(refused(&[udp(), family(&[1])]), 400);
    assert_eq!(refused(&[udp(), family(V4), second(V6)]), 400);
    assert_eq!(refused(&[udp(), second(V4)]), 400);
    assert_eq!(refused(&[udp(), raw(ATTR_LIFETIME, &[1])]), 400);
    assert_eq!(refused(&[udp(), raw(AttrType(0x7fff), &[])]), 420);
    assert_eq!(refused(&[udp(), raw(AttrType(0xff05), b"logging id")]), 0, "optional");
}

#[test]
fn a_second_family_is_refused_beside_the_first() {
    let mut bench = Bench::new();
    bench.greet();
    let reply = bench.ask(METHOD_ALLOCATE, &[udp(), raw(ADDITIONAL_FAMILY, V6)]);
    assert_eq!(reply.code(), 0);
    let error = reply.message.get(AttrType(0x8001)).unwrap();
    assert_eq!(error[..4], [2, 0, 4, 40]);
}

#[test]
fn an_even_port_is_asked_for() {
    let mut bench = Bench::new();
    bench.greet();
    assert_eq!(bench.ask(METHOD_ALLOCATE, &[udp(), raw(ATTR_EVEN_PORT, &[0])]).code(), 0);
    assert!(bench.asked_even);
}

#[test]
fn unknown_attributes_are_named() {
    let mut bench = Bench::open();
    let odd = [raw(AttrType(0x7001), b""), raw(AttrType(0x7002), b"x")];
    let reply = bench.ask(METHOD_REFRESH, &odd);
    assert_eq!(reply.code(), 420);
    assert_eq!(reply.message.get(ATTR_UNKNOWN_ATTRIBUTES).unwrap(), [0x70, 1, 0x70, 2]);
}

#[test]
fn without_an_allocation() {
    let mut bench = Bench::new();
    bench.greet();
    assert_eq!(bench.ask(METHOD_REFRESH, &[]).code(), 437);
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[peer(MEDIA)]).code(), 437);
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &[channel(0x4000), peer(MEDIA)]).code(), 437);
}

#[test]
fn refresh_permission_and_channel() {
    let mut bench = Bench::open();
    let v6 = "[2001:db8::5]:30000";
    let family = |value| raw(ATTR_REQUESTED_ADDRESS_FAMILY, value);
    assert_eq!(bench.ask(METHOD_REFRESH, &[family(V6)]).code(), 443);
    assert_eq!(bench.ask(METHOD_REFRESH, &[family(V4)]).code(), 0);
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[]).code(), 400);
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[peer(v6)]).code(), 443);
    let torn = raw(ATTR_XOR_PEER_ADDRESS, &[0, 1, 2]);
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[torn]).code(), 400);
    let bind = |number: u16, at: &str| [channel(number), peer(at)];
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &bind(0x3fff, MEDIA)).code(), 400);
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &bind(0x5000, MEDIA)).code(), 400);
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &[peer(MEDIA)]).code(), 400);
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &[channel(0x4001)]).code(), 400);
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &bind(0x4001, v6)).code(), 443);
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &bind(0x4001, MEDIA)).code(), 400, "has another");
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &bind(0x4000, MEDIA_HERE)).code(), 400, "is bound");
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &bind(0x4001, MEDIA_HERE)).code(), 0);
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &bind(0x4000, MEDIA)).code(), 0, "again");
}

#[test]
fn methods_that_are_not_ours_are_left_unanswered() {
    let mut bench = Bench::open();
    for method in [METHOD_CONNECT, METHOD_CONNECTION_BIND, METHOD_DATA] {
        let request = bench.signed(method, &[peer(MEDIA)]);
        bench.send(&request.raw);
        assert!(bench.to_client.is_empty());
    }
}
