//! RFC 8656 7 and 8: opened, refreshed, released, run out.

use rtc_stun::attributes::*;
use rtc_stun::message::*;

use crate::support::*;

#[test]
fn an_allocation_is_opened_after_a_challenge() {
    let mut bench = Bench::new();
    let reply = bench.allocate();
    assert_eq!(reply.code(), 0);
    assert_eq!(reply.address(ATTR_XOR_RELAYED_ADDRESS), addr("10.0.0.5:40000"));
    assert_eq!(reply.address(ATTR_XORMAPPED_ADDRESS), addr("192.0.2.77:5000"));
    assert_eq!(reply.lifetime(), 600);
    let stats = bench.core.stats();
    assert_eq!((stats.allocations, stats.opened, stats.challenged), (1, 1, 1));
}

#[test]
fn lifetimes_are_bounded() {
    for (asked, granted) in [(0, 600), (1, 600), (601, 601), (3600, 3600), (u32::MAX, 3600)] {
        let mut bench = Bench::new();
        bench.greet();
        assert_eq!(bench.ask(METHOD_ALLOCATE, &[udp(), lifetime(asked)]).lifetime(), granted);
        if asked > 0 {
            assert_eq!(bench.ask(METHOD_REFRESH, &[lifetime(asked)]).lifetime(), granted);
        }
    }
}

#[test]
fn without_a_refresh_it_runs_out_and_with_one_it_does_not() {
    let mut bench = Bench::open();
    bench.pass(599);
    assert!(bench.session.is_open());
    assert_eq!(bench.ask(METHOD_REFRESH, &[]).code(), 0);
    bench.pass(599);
    assert!(bench.session.is_open());
    bench.pass(1);
    assert!(!bench.session.is_open());
    assert_eq!((bench.closed, bench.core.stats().allocations), (1, 0));
    bench.send(b"\x40\x00\x00\x02hi");
    assert!(bench.to_peer.is_empty());
    assert_eq!(bench.ask(METHOD_REFRESH, &[]).code(), 437);
}

#[test]
fn a_lifetime_of_zero_releases_it() {
    let mut bench = Bench::open();
    let reply = bench.ask(METHOD_REFRESH, &[lifetime(0)]);
    assert_eq!((reply.code(), reply.lifetime()), (0, 0));
    assert!(!bench.session.is_open());
    assert_eq!((bench.closed, bench.core.stats().allocations), (1, 0));
    assert_eq!(bench.allocate().code(), 0, "and the address may have another one");
}

#[test]
fn a_repeated_allocate_is_answered_again_and_another_one_refused() {
    let mut bench = Bench::new();
    bench.greet();
    let request = bench.signed(METHOD_ALLOCATE, &[udp()]);
    bench.send(&request.raw);
    let first = bench.to_client.pop_front();
    bench.bind = Some(41_000);
    bench.send(&request.raw);
    assert_eq!(first, bench.to_client.pop_front());
    assert_eq!(bench.ask(METHOD_ALLOCATE, &[udp()]).code(), 437);
    assert_eq!(bench.core.stats().opened, 1);
}

#[test]
fn no_port_is_a_508_that_leaves_nothing() {
    let mut bench = Bench::new();
    bench.bind = None;
    assert_eq!(bench.allocate().code(), 508);
    assert!(!bench.session.is_open());
    assert_eq!((bench.core.stats().refused, bench.core.stats().allocations), (1, 0));
    bench.bind = Some(1);
    assert_eq!(bench.ask(METHOD_ALLOCATE, &[udp()]).code(), 0);
}

#[test]
fn a_session_that_is_dropped_gives_its_place_back() {
    let bench = Bench::open();
    let core = bench.core.clone();
    drop(bench);
    assert_eq!(core.stats().allocations, 0);
}

#[test]
fn binding_requests_are_answered_without_credentials() {
    let mut bench = Bench::new();
    bench.send(&message(METHOD_BINDING, CLASS_REQUEST, &[]).raw);
    assert_eq!(bench.reply().address(ATTR_XORMAPPED_ADDRESS), addr("192.0.2.77:5000"));
    assert!(!bench.session.is_open());
}
