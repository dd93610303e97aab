//! Everything bounded.

use std::sync::Arc;

use rtc_stun::message::*;
use wrtc_gateway::turn::{Core, Limits, RanOut, Transport};

use crate::support::*;

fn client(core: &Arc<Core>, n: u16, user: &str) -> Bench {
    let at = format!("192.0.2.{}:{}", n / 200, 5000 + n);
    Bench::of(Arc::clone(core), Transport::Datagram, &at, user)
}

#[test]
fn a_user_has_so_many_whatever_the_credentials_and_addresses() {
    let core = core(1000);
    let mut open = Vec::new();
    let refused = loop {
        let mut bench = client(&core, open.len() as u16, "5001");
        let issued = authority().issue("5001", UNIX + 1000 + open.len() as u64);
        bench.username = issued.username;
        bench.password = issued.credential.expose().to_owned();
        match bench.allocate().code() {
            0 => open.push(bench),
            code => break code,
        }
    };
    assert_eq!((refused, open.len()), (486, 64));
    assert_eq!(core.stats().ran_out, RanOut { user: 1, ..RanOut::default() });
    assert_eq!(client(&core, 500, "5002").allocate().code(), 0, "others are not hindered");
    drop(open.pop());
    assert_eq!(client(&core, 501, "5001").allocate().code(), 0);
}

#[test]
fn all_together_have_so_many() {
    let core = core(3);
    let mut open: Vec<Bench> = (0..3).map(|n| client(&core, n, &n.to_string())).collect();
    assert!(open.iter_mut().all(|bench| bench.allocate().code() == 0));
    let mut late = client(&core, 9, "9");
    assert_eq!(late.allocate().code(), 508);
    assert_eq!(core.stats().refused, 1);
    assert_eq!(core.stats().ran_out, RanOut { all: 1, ..RanOut::default() });
    open.pop();
    assert_eq!(late.ask(METHOD_ALLOCATE, &[udp()]).code(), 0);
}

#[test]
fn an_address_has_so_many_and_it_is_told_what_ran_out() {
    let core = core_of(Limits { allocations: 1500, per_address: 1200 });
    let from = |n: usize, ip: &str| {
        let at = format!("{ip}:{}", 5000 + n);
        // Of streams, since challenges over UDP have a rate of their own.
        Bench::of(Arc::clone(&core), Transport::Stream, &at, &format!("{}", n / 60))
    };
    let mut open: Vec<Bench> = (0..1200).map(|n| from(n, "192.0.2.1")).collect();
    assert!(open.iter_mut().all(|bench| bench.allocate().code() == 0), "a site behind one NAT");
    let mut late = from(1200, "192.0.2.1");
    assert_eq!(late.allocate().code(), 486);
    assert_eq!(core.stats().ran_out, RanOut { address: 1, ..RanOut::default() });
    assert_eq!(from(1201, "192.0.2.2").allocate().code(), 0, "others are not hindered");
    open.pop();
    assert_eq!(late.ask(METHOD_ALLOCATE, &[udp()]).code(), 0);
}

#[test]
fn strangers_are_answered_at_a_rate_over_udp() {
    let request = message(METHOD_ALLOCATE, CLASS_REQUEST, &[udp()]);
    let mut bench = Bench::new();
    for _ in 0..1000 {
        bench.send(&request.raw);
    }
    assert_eq!(bench.to_client.len(), 400);
    let answer = bench.to_client[0].len();
    assert!(answer < 4 * request.raw.len(), "{answer} for {}", request.raw.len());
    // Whoever knows the password is answered all the same.
    bench.to_client.clear();
    bench.pass(1);
    assert_eq!(bench.allocate().code(), 0);
    for _ in 0..300 {
        bench.send(&request.raw);
    }
    bench.to_client.clear();
    assert_eq!(bench.ask(METHOD_REFRESH, &[]).code(), 0);
    // A stream's source has proven to be there.
    let mut stream = Bench::of(core(9), Transport::Stream, "192.0.2.77:5000", "5001");
    for _ in 0..1000 {
        stream.send(&request.raw);
    }
    assert_eq!(stream.to_client.len(), 1000);
}

#[test]
fn bytes_are_bounded_either_way() {
    let mut bench = Bench::open();
    let packet = [b"\x40\x00\x03\xe8".as_slice(), &[0; 1000]].concat();
    for _ in 0..1000 {
        bench.send(&packet);
        bench.peer_sends(0, &packet[4..]);
    }
    assert_eq!((bench.to_peer.len(), bench.to_client.len()), (250, 250));
    bench.pass(1);
    bench.send(&packet);
    assert_eq!(bench.to_peer.len(), 251, "it is a rate");
}

#[test]
fn peers_are_bounded() {
    let mut bench = Bench::new();
    bench.allocate();
    let many: Vec<Part> = (0..20).map(|_| peer(MEDIA)).collect();
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &many).code(), 0, "one, named twenty times");
}
