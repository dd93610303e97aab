//! Media over TCP, for browsers whose network lets no datagram through.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::phone::{assert_gapless, spoken, tone_of};
use crate::support::{Call, LOOPBACK, PATIENCE, config};
use wrtc_gateway::media::{Engine, EngineStats, MediaConfig};
use wrtc_gateway::sdp::{Candidate, Transport};

const TALK: Duration = Duration::from_secs(1);
const FRAMES: usize = 50;

fn engine(workers: usize) -> Engine {
    let tcp_listen = Some(SocketAddr::new(LOOPBACK, 0));
    Engine::start(MediaConfig { tcp_listen, workers, ..config() }).unwrap()
}

fn connected(engine: &Engine) -> Call {
    let mut call = Call::on(engine.clone());
    call.describe();
    let local = call.bridge.browser_local();
    call.browser.connect_tcp(&local);
    call.connect();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call
}

fn assert_whole(call: &Call, frames: usize, what: &str) {
    assert_eq!(call.browser.heard.len(), frames, "{what}: frames at the browser");
    assert_gapless(&call.browser.heard, what);
    assert_gapless(&call.phone.heard, what);
    let tone = tone_of(&call.browser.heard, 1000);
    assert!(tone > 0.98, "{what}: 1 kHz at the browser: {tone}");
    let tone = tone_of(&spoken(&call.phone.heard, frames), 440);
    assert!(tone > 0.98, "{what}: 440 Hz at the phone: {tone}");
}

fn await_stats(engine: &Engine, what: &str, wanted: impl Fn(&EngineStats) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !wanted(&engine.stats()) {
        assert!(Instant::now() < deadline, "{what}: {:?}", engine.stats());
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn tones_pass_both_ways_and_each_worker_gets_its_calls() {
    let engine = engine(2);
    let port = engine.tcp_port().unwrap();
    let mut calls = [connected(&engine), connected(&engine), connected(&engine)];
    let locals = calls.each_ref().map(|call| call.bridge.browser_local());
    let [one, other, _] = locals.each_ref().map(|local| local.candidates.as_slice());
    assert_ne!(one[0].address, other[0].address, "two workers");
    assert_eq!((one[1].address, other[1].address), (port, port), "one port for TCP");
    assert!(one[1].priority < one[0].priority);
    for call in &mut calls {
        call.talk(TALK);
        assert_whole(call, FRAMES, "over TCP");
    }
    assert_eq!(engine.stats().tcp_connections, 3);
    let [first, ..] = calls;
    let mut browser = first.browser;
    drop(first.bridge);
    let deadline = Instant::now() + PATIENCE;
    while !browser.hung_up {
        assert!(Instant::now() < deadline, "the connection outlives its call");
        browser.serve(Duration::from_millis(5));
    }
    await_stats(&engine, "closed", |stats| stats.tcp_connections < 3);
}

#[test]
fn there_is_no_candidate_for_tcp_unless_it_is_configured() {
    let call = Call::open();
    let udp = |c: &Candidate| c.transport == Transport::Udp;
    assert!(call.bridge.browser_local().candidates.iter().all(udp));
    assert_eq!(call.engine.tcp_port(), None);
}

#[test]
fn a_call_moves_from_udp_to_tcp_and_survives_its_connection() {
    let engine = engine(1);
    let mut call = Call::on(engine.clone());
    call.describe();
    call.connect();
    call.phone.gateway = Some(call.bridge.rtp_local());
    let local = call.bridge.browser_local();
    call.talk(TALK);
    call.talk(TALK);
    // A network that lets no datagram through.
    call.browser.connect_tcp(&local);
    assert!(call.browser.ping(&local, PATIENCE));
    call.talk(TALK);
    assert_whole(&call, 3 * FRAMES, "from UDP to TCP");
    // The connection breaks, and the browser opens another.
    call.browser.connect_tcp(&local);
    assert!(call.browser.ping(&local, PATIENCE));
    call.talk(TALK);
    assert_whole(&call, 4 * FRAMES, "over another connection");
    await_stats(&engine, "the first is gone", |stats| stats.tcp_connections == 1);
}

fn hang_up(mut stranger: TcpStream) -> Vec<u8> {
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = Vec::new();
    // A reset is an end as well.
    if let Err(error) = stranger.read_to_end(&mut heard) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    heard
}

fn framed(data: &[u8]) -> Vec<u8> {
    [&(data.len() as u16).to_be_bytes()[..], data].concat()
}

#[test]
fn strangers_are_hung_up_on() {
    let engine = engine(1);
    let mut call = connected(&engine);
    let local = call.bridge.browser_local();
    let mut wrong = local.ice.clone();
    wrong.pwd = "x".repeat(24);
    let mut nobody = local.ice.clone();
    nobody.ufrag = "AAnobodyhere".into();
    let mut no_worker = local.ice.clone();
    no_worker.ufrag = "99nobodyhere".into();
    let refused = call.browser.check(&wrong);
    let greetings = [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        framed(b"\x80\x00 media first"),
        framed(&[0x16, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]),
        framed(&call.browser.check(&nobody)),
        framed(&call.browser.check(&no_worker)),
    ];
    for greeting in &greetings {
        let mut stranger = TcpStream::connect(engine.tcp_port().unwrap()).unwrap();
        stranger.write_all(greeting).unwrap();
        assert_eq!(hang_up(stranger), b"", "{greeting:?}");
    }
    // Who knows the ufrag is told, and no more.
    let mut stranger = TcpStream::connect(engine.tcp_port().unwrap()).unwrap();
    stranger.write_all(&framed(&refused)).unwrap();
    let told = hang_up(stranger);
    assert!(told.len() < 2 + refused.len() && told.windows(2).any(|code| code == [4, 1]));
    let strangers = greetings.len() as u64 + 1;
    await_stats(&engine, "counted", |s| s.tcp_refused == strangers && s.tcp_connections == 1);

    // A check in pieces, the rest behind it: the call's own browser.
    call.talk(TALK);
    assert_whole(&call, FRAMES, "beside strangers");
}

#[test]
fn a_browser_that_stops_reading_holds_up_nobody() {
    let engine = engine(1);
    let mut deaf = connected(&engine);
    let mut call = connected(&engine);
    // Ten times the speech of a phone, until the connection is full.
    let deadline = Instant::now() + PATIENCE;
    while engine.stats().tcp_dropped < 100 {
        assert!(Instant::now() < deadline, "it never got full: {:?}", engine.stats());
        for _ in 0..500 {
            deaf.phone.speak();
        }
        deaf.phone.serve();
        std::thread::park_timeout(Duration::from_millis(1));
    }
    call.talk(TALK);
    assert_whole(&call, FRAMES, "beside a full connection");
    // It reads again: whole frames, in step, and those that were dropped are missing.
    deaf.talk(TALK);
    let numbers: Vec<u16> = deaf.browser.heard.iter().map(|heard| heard.sequence).collect();
    assert!(numbers.windows(2).any(|pair| pair[1].wrapping_sub(pair[0]) > 1));
    let last = &deaf.browser.heard[deaf.browser.heard.len() - 40..];
    assert_gapless(last, "after it");
    assert!(tone_of(last, 1000) > 0.9);
}
