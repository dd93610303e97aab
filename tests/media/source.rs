//! Whose RTP is taken: the far end's, and after a few seconds nobody else's.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::support::phone::{Phone, assert_gapless, packet, spoken, tone_of};
use crate::support::{Call, LOOPBACK, PATIENCE, map};
use wrtc_gateway::media::MediaEvent;
use wrtc_gateway::sdp::Codec;

/// The window in which a source other than the SDP's may introduce itself, and some more.
const WINDOW: Duration = Duration::from_millis(5500);

fn settled() -> Call {
    let mut call = Call::established();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.talk(WINDOW);
    call
}

fn forge(to: SocketAddr, stranger: &UdpSocket) {
    for n in 0..20u16 {
        let data = packet(0, n, u32::from(n) * 160, 0xBAD, &[0x55; 160]);
        stranger.send_to(&data, to).unwrap();
    }
}

#[test]
fn a_stranger_is_not_heard_and_the_far_end_is() {
    let mut call = settled();
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let before = call.browser.heard.len() as u64;
    call.await_stats("all so far", |s| s.from_sip.packets == before);
    for _ in 0..10 {
        forge(call.bridge.rtp_local(), &stranger);
        call.talk(Duration::from_millis(60));
    }
    let stats = call.await_stats("the far end", |s| s.from_sip.packets >= before + 30);
    assert_eq!(stats.from_sip.packets, before + 30, "the phone's, and none of the stranger's");
    assert_gapless(&call.browser.heard, "browser");
    assert!(tone_of(&call.browser.heard, 1000) > 0.98);
    assert!(tone_of(&spoken(&call.phone.heard, 30), 440) > 0.98);
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut [0; 200]).is_err(), "and nothing is sent to it");
}

/// The window was long over; a new description names another phone, and the old one is let go.
#[test]
fn a_new_far_end_is_heard_at_once() {
    let mut call = settled();
    let first = std::mem::replace(&mut call.phone, Phone::new());
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.phone.ssrc = 77;
    call.bridge.set_sip(call.phone.remote(map(&[(Codec::Pcmu, 0)], Some(101))));
    let from = call.phone.address();
    let heard = call.browser.heard.len();
    call.talk(Duration::from_millis(600));
    call.await_event("the new far end", |e| *e == MediaEvent::SipMedia { from });
    // The first may come before the worker knows of it.
    let deadline = Instant::now() + PATIENCE;
    while call.browser.heard.len() < heard + 29 && Instant::now() < deadline {
        call.browser.serve(Duration::from_millis(20));
    }
    assert!(call.browser.heard.len() >= heard + 29);
    assert!(tone_of(&spoken(&call.phone.heard, 25), 440) > 0.98);
    drop(first);
    // And behind a NAT, from elsewhere than it says.
    let mut call = settled();
    let said = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap();
    let mut remote = call.phone.remote(map(&[(Codec::Pcmu, 0)], Some(101)));
    remote.target = Some(said);
    call.bridge.set_sip(remote);
    let heard = call.browser.heard.len();
    // The former far end is not taken for the new one for a second.
    call.talk(Duration::from_millis(1600));
    assert!(call.browser.heard.len() >= heard + 25, "it is learned in the end");
    assert!(tone_of(&spoken(&call.phone.heard, 25), 440) > 0.98);
}

/// Nobody takes our RTP for a while, as when a phone restarts: ICMP says so, and ends nothing.
#[test]
fn a_far_end_that_is_away_for_a_moment_is_heard_again() {
    let mut call = settled();
    let address = call.phone.address();
    let gateway = call.phone.gateway;
    call.phone = Phone::new();
    call.talk(Duration::from_millis(300));
    let deadline = Instant::now() + PATIENCE;
    while call.engine.stats().sip_unreachable == 0 {
        assert!(Instant::now() < deadline, "the host's report was not counted");
        call.talk(Duration::from_millis(20));
    }
    call.phone.socket = UdpSocket::bind(address).unwrap();
    call.phone.socket.set_nonblocking(true).unwrap();
    call.phone.gateway = gateway;
    let heard = call.browser.heard.len();
    call.talk(Duration::from_millis(600));
    assert_eq!(call.browser.heard.len(), heard + 30);
    assert!(tone_of(&spoken(&call.phone.heard, 25), 440) > 0.98);
}

/// RTCP comes from the far end's address or is not read: a stranger's receiver report could claim
/// anything.
#[test]
fn rtcp_of_a_stranger_is_not_read() {
    let mut call = Call::established();
    let stranger = UdpSocket::bind(("127.0.0.99", 0)).unwrap();
    let mut rtcp = call.bridge.rtp_local();
    rtcp.set_port(rtcp.port() + 1);
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let before = call.bridge.stats();
    for _ in 0..5 {
        stranger.send_to(&report, rtcp).unwrap();
    }
    let stats = call.await_stats("strangers", |s| s.foreign_source >= before.foreign_source + 5);
    assert_eq!(stats.malformed, before.malformed);
    // The phone's own is taken.
    call.phone.rtcp.send_to(&report, rtcp).unwrap();
    call.talk(Duration::from_millis(300));
    assert_eq!(call.bridge.stats().foreign_source, stats.foreign_source);
}

/// Within the window, and of a payload type that nobody agreed on: it teaches no address, though it has the
/// far end's SSRC, and takes no number of the far end's away.
#[test]
fn a_payload_that_nobody_negotiated_teaches_no_address_and_moves_no_number() {
    let mut call = Call::established();
    call.phone.gateway = Some(call.bridge.rtp_local());
    let gateway = call.bridge.rtp_local();
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let unknown = |sequence: u16, ssrc: u32| packet(97, sequence, 7, ssrc, &[1, 2, 3]);
    stranger.send_to(&unknown(1, 0xBAD), gateway).unwrap();
    call.await_stats("the first", |stats| stats.unknown_payload == 1);
    call.talk(Duration::from_millis(100));
    let before = call.browser.heard.len();
    for n in 0..10 {
        let next = call.phone.sequence.wrapping_add(1);
        stranger.send_to(&unknown(next, call.phone.ssrc), gateway).unwrap();
        call.await_stats("another", |stats| stats.unknown_payload == n + 2);
        call.talk(Duration::from_millis(20));
    }
    assert_eq!(call.browser.heard.len(), before + 10);
    assert_gapless(&call.browser.heard, "browser");
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut [0; 200]).is_err(), "nothing is sent to it");
    let from = stranger.local_addr().unwrap();
    call.collect_events();
    assert!(!call.seen.contains(&MediaEvent::SipMedia { from }));
}
