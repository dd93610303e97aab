//! Data through the relay, to the gateway's media and to nobody else (RFC 8656 9 to 12).

use rtc_stun::attributes::*;
use rtc_stun::message::*;
use wrtc_gateway::turn::Transport;

use crate::support::*;

#[test]
fn it_is_no_way_into_the_network() {
    let mut bench = Bench::open();
    let foreign = [
        "192.0.2.1:30000",
        "127.0.0.1:30000",
        "10.0.0.6:30000",
        "0.0.0.0:30000",
        "224.0.0.1:30000",
    ];
    for (n, at) in foreign.iter().enumerate() {
        assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[peer(at)]).code(), 403, "{at}");
        let number = 0x4100 + n as u16;
        assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &[channel(number), peer(at)]).code(), 403);
        bench.send_indication(at, b"x");
    }
    // Our own address, and a port that is not the media's.
    for at in ["203.0.113.5:22", "10.0.0.5:5060", "10.0.0.5:40000"] {
        assert_eq!(
            bench.ask(METHOD_CREATE_PERMISSION, &[peer(at)]).code(),
            0,
            "ports do not count"
        );
        assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &[channel(0x4200), peer(at)]).code(), 403);
        bench.send_indication(at, b"x");
    }
    // One of ours beside one that is not: none is permitted.
    let mixed = [peer(MEDIA_HERE), peer("192.0.2.1:30000")];
    let mut fresh = Bench::new();
    fresh.allocate();
    assert_eq!(fresh.ask(METHOD_CREATE_PERMISSION, &mixed).code(), 403);
    fresh.send_indication(MEDIA_HERE, b"x");
    assert!(bench.to_peer.is_empty() && bench.connected.is_empty());
    assert!(fresh.to_peer.is_empty() && fresh.connected.is_empty());
    assert_eq!(bench.core.stats().forbidden, 13);
}

#[test]
fn indications_go_both_ways_under_a_permission() {
    let mut bench = Bench::new();
    bench.allocate();
    bench.send_indication(MEDIA, b"early");
    assert!(bench.to_peer.is_empty(), "without a permission");
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[peer(MEDIA)]).code(), 0);
    bench.send_indication(MEDIA, b"hello");
    assert_eq!(bench.connected, [(0, addr(MEDIA_HERE))]);
    assert_eq!(bench.to_peer, [(0, b"hello".to_vec())]);
    bench.peer_sends(0, b"world");
    let data = bench.reply();
    assert_eq!(data.message.typ, MessageType::new(METHOD_DATA, CLASS_INDICATION));
    assert_eq!(data.address(ATTR_XOR_PEER_ADDRESS), addr(MEDIA), "by the name it was called");
    assert_eq!(data.message.get(ATTR_DATA).unwrap(), b"world");
}

#[test]
fn each_name_of_a_media_socket_has_a_socket_of_its_own() {
    let mut bench = Bench::new();
    bench.allocate();
    let both = [peer(MEDIA), peer(MEDIA_HERE)];
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &both).code(), 0);
    for at in [MEDIA, MEDIA_HERE, "203.0.113.5:30001", MEDIA] {
        bench.send_indication(at, b"x");
    }
    let here = addr(MEDIA_HERE);
    assert_eq!(bench.connected, [(0, here), (1, here), (2, addr("10.0.0.5:30001"))]);
    let legs: Vec<usize> = bench.to_peer.iter().map(|(leg, _)| *leg).collect();
    assert_eq!(legs, [0, 1, 2, 0]);
    for (leg, name) in [(0, MEDIA), (1, MEDIA_HERE), (2, "203.0.113.5:30001")] {
        bench.peer_sends(leg, b"x");
        assert_eq!(bench.reply().address(ATTR_XOR_PEER_ADDRESS), addr(name));
    }
    bench.peer_sends(3, b"x");
    assert!(bench.to_client.is_empty());
}

#[test]
fn channels_go_both_ways() {
    for (transport, down) in [
        (Transport::Datagram, b"\x40\x00\x00\x05world".as_slice()),
        (Transport::Stream, b"\x40\x00\x00\x05world\0\0\0"),
    ] {
        let mut bench = Bench::of(core(9), transport, "192.0.2.77:5000", "5001");
        bench.allocate();
        let parts = [channel(0x4000), peer(MEDIA)];
        assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &parts).code(), 0);
        bench.send(b"\x40\x00\x00\x05hello\0\0\0");
        assert_eq!(bench.to_peer, [(0, b"hello".to_vec())]);
        bench.peer_sends(0, b"world");
        assert_eq!(bench.to_client.pop_front().unwrap(), down);
        assert_eq!(bench.core.stats().relayed, 2);
        bench.send(b"\x40\x01\x00\x05hello\0\0\0");
        assert_eq!((bench.to_peer.len(), bench.core.stats().dropped), (1, 1), "not bound");
    }
}

#[test]
fn permissions_last_five_minutes_and_channels_ten() {
    let mut bench = Bench::open();
    bench.send(b"\x40\x00\x00\x01a");
    bench.pass(299);
    bench.send(b"\x40\x00\x00\x01b");
    assert_eq!(bench.to_peer.len(), 2);
    bench.pass(1);
    bench.send(b"\x40\x00\x00\x01c");
    bench.peer_sends(0, b"c");
    assert_eq!((bench.to_peer.len(), bench.to_client.len()), (2, 0), "the permission is over");
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[peer(MEDIA)]).code(), 0);
    bench.send(b"\x40\x00\x00\x01d");
    assert_eq!(bench.to_peer.len(), 3, "and the channel was not");
    assert_eq!(bench.ask(METHOD_REFRESH, &[]).code(), 0);
    bench.pass(299);
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[peer(MEDIA)]).code(), 0);
    bench.pass(1);
    bench.send(b"\x40\x00\x00\x01e");
    assert_eq!(bench.to_peer.len(), 3, "now it is");
    bench.peer_sends(0, b"e");
    assert_eq!(bench.reply().message.typ.method, METHOD_DATA);
    let other = [channel(0x4000), peer(MEDIA_HERE)];
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &other).code(), 400, "its number rests");
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &[channel(0x4000), peer(MEDIA)]).code(), 0);
}

#[test]
fn a_channel_bind_permits_too() {
    let mut bench = Bench::open();
    bench.pass(250);
    assert_eq!(bench.ask(METHOD_CHANNEL_BIND, &[channel(0x4000), peer(MEDIA)]).code(), 0);
    bench.pass(250);
    bench.send(b"\x40\x00\x00\x01a");
    assert_eq!(bench.to_peer.len(), 1);
}
