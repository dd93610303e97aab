//! SRTP toward SIP with keys from the SDP (RFC 4568): what is asserted is sound.

use std::time::{Duration, Instant};

use crate::support::keys::{Locks, pair};
use crate::support::phone::{assert_gapless, spoken, tone_of};
use crate::support::{Call, FLOW, PATIENCE, map};
use wrtc_gateway::media::{Flow, SipRemote};
use wrtc_gateway::sdp::{Codec, CryptoSuite, RtcpTarget, SrtpPair};

const SUITE: CryptoSuite = CryptoSuite::AesCm128HmacSha1_80;

fn agree(call: &Call, pair: &SrtpPair) {
    let remote = call.phone.remote(map(&[(Codec::Pcmu, 0)], Some(101)));
    call.bridge.set_sip(SipRemote { srtp: Some(Box::new(pair.clone())), ..remote });
}

/// A call with these keys at both ends.
fn encrypted(pair: &SrtpPair) -> Call {
    let mut call = Call::established();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.phone.locks = Some(Locks::new(pair));
    agree(&call, pair);
    call
}

fn failed(call: &Call) -> usize {
    call.phone.locks.as_ref().unwrap().failed
}

#[track_caller]
fn assert_sound(call: &Call, what: &str) {
    let tone = tone_of(&call.browser.heard, 1000);
    assert!(tone > 0.98, "{what}: 1 kHz at the browser: {tone}");
    let tone = tone_of(&spoken(&call.phone.heard, 20), 440);
    assert!(tone > 0.98, "{what}: 440 Hz at the phone: {tone}");
    assert_gapless(&call.browser.heard, what);
}

/// The phone's sequence numbers begin at 65500: each call goes over a rollover.
#[test]
fn tones_pass_both_ways_with_each_suite() {
    for suite in CryptoSuite::OFFERED {
        let mut call = encrypted(&pair(suite, 1));
        call.talk(Duration::from_millis(1200));
        assert_sound(&call, suite.name());
        assert_eq!((call.browser.heard.len(), failed(&call)), (60, 0), "{}", suite.name());
        let stats = call.await_stats("all packets", |s| s.from_sip.packets == 60);
        assert_eq!((stats.sip_auth_failures, stats.sip_replays, stats.malformed), (0, 0, 0));
        assert!(stats.sip_encrypted);
    }
}

#[test]
fn a_wrong_key_is_silence_and_is_counted() {
    let mut call = encrypted(&pair(SUITE, 1));
    call.phone.locks = Some(Locks::new(&pair(SUITE, 2)));
    call.talk(Duration::from_millis(400));
    assert!(call.browser.heard.is_empty(), "noise reached the browser");
    assert!(call.phone.heard.is_empty() && failed(&call) >= 20);
    let stats = call.await_stats("refused packets", |s| s.sip_auth_failures == 20);
    assert_eq!((stats.from_sip.packets, stats.srtp_auth_failures), (0, 0));
}

#[test]
fn plain_packets_are_no_part_of_an_encrypted_call() {
    let mut call = encrypted(&pair(SUITE, 1));
    call.talk(Duration::from_millis(200));
    call.phone.locks = None;
    for n in 0..10 {
        call.phone.sequence = call.phone.sequence.wrapping_add(1);
        call.phone.send(0, &[n; 160]);
    }
    call.await_stats("refused packets", |s| s.sip_auth_failures == 10);
    assert_eq!(call.browser.heard.len(), 10);
}

/// A re-INVITE with new keys: each end takes the other's new key when it hears of it, and the browser hears
/// no seam.
#[test]
fn keys_are_exchanged_without_a_gap() {
    let (old, new) = (pair(SUITE, 1), pair(CryptoSuite::AeadAes256Gcm, 2));
    let mut call = encrypted(&old);
    call.talk(Duration::from_millis(500));
    // Our 200 is under way: the phone sends with its old key, and opens with both.
    agree(&call, &new);
    call.phone.locks.as_mut().unwrap().open_with(&new);
    call.talk(Duration::from_millis(300));
    call.phone.locks.as_mut().unwrap().seal_with(&new);
    call.talk(Duration::from_millis(500));
    assert_sound(&call, "over a change of keys");
    assert_eq!((call.browser.heard.len(), failed(&call)), (65, 0));
    assert_eq!(call.bridge.stats().sip_auth_failures, 0);
}

/// Over a rollover of the numbers, which neither end may forget.
#[test]
fn hold_and_retrieve_keep_the_keys() {
    let keys = pair(SUITE, 1);
    let mut call = encrypted(&keys);
    call.phone.sequence = 65_530;
    call.talk(Duration::from_millis(400));
    call.bridge.set_flow(Flow { to_sip: false, to_browser: false, ..FLOW });
    agree(&call, &keys);
    call.talk(Duration::from_millis(300));
    call.bridge.set_flow(FLOW);
    agree(&call, &keys);
    call.browser.heard.clear();
    call.phone.heard.clear();
    call.talk(Duration::from_millis(600));
    assert_sound(&call, "after the hold");
    assert_eq!(failed(&call), 0);
}

/// Two calls of a line: the one that is come back to goes on with its own keys, under a new SSRC.
#[test]
fn a_call_that_is_come_back_to_is_heard() {
    let (first, second) = (pair(SUITE, 1), pair(SUITE, 2));
    let mut call = encrypted(&first);
    call.talk(Duration::from_millis(400));
    let there = call.phone.heard.last().unwrap().ssrc;
    let locks = call.phone.locks.replace(Locks::new(&second));
    agree(&call, &second);
    call.talk(Duration::from_millis(400));
    call.phone.locks = locks;
    agree(&call, &first);
    call.phone.heard.clear();
    call.browser.heard.clear();
    call.talk(Duration::from_millis(600));
    assert_sound(&call, "come back to");
    assert_eq!(failed(&call), 0);
    assert_ne!(call.phone.heard[0].ssrc, there);
}

/// With `a=rtcp-mux` reports come to the RTP port, sealed as everything is; they are read on both legs.
#[test]
fn reports_are_sealed_and_measure_the_round_trip() {
    let keys = pair(CryptoSuite::AesCm128HmacSha1_32, 1);
    let mut call = encrypted(&keys);
    let remote = call.phone.remote(map(&[(Codec::Pcmu, 0)], Some(101)));
    call.bridge.set_sip(SipRemote { srtp: Some(Box::new(keys)), rtcp: RtcpTarget::Mux, ..remote });
    let deadline = Instant::now() + PATIENCE;
    while call.phone.reports.is_empty() {
        assert!(Instant::now() < deadline, "no sender report came");
        call.talk(Duration::from_millis(500));
    }
    let report = call.phone.reports[0].clone();
    let packets = rtc_rtcp::packet::unmarshal(&mut report.as_slice()).unwrap();
    let sender = packets[0]
        .as_any()
        .downcast_ref::<rtc_rtcp::sender_report::SenderReport>()
        .expect("a sender report");
    let (ssrc, ntp) = (sender.ssrc, sender.ntp_time);
    for (n, highest) in [(1u8, 10_000u32), (2, 10_250)] {
        let mut answer = vec![0x81, 201, 0, 7];
        answer.extend(call.phone.ssrc.to_be_bytes());
        answer.extend(ssrc.to_be_bytes());
        answer.extend([0, 0, 0, 4 * n]);
        answer.extend(highest.to_be_bytes());
        answer.extend(80u32.to_be_bytes());
        answer.extend(((ntp >> 16) as u32).to_be_bytes());
        answer.extend([0; 4]);
        let sealed = call.phone.locks.as_mut().unwrap().seal_report(&answer);
        call.phone.socket.send_to(&sealed, call.bridge.rtp_local()).unwrap();
    }
    let stats = call.await_stats("a round trip", |s| s.to_sip.lost == 8);
    assert!(stats.sip_rtt.last.is_some() && stats.browser_rtt.last.is_none());
    assert_eq!(stats.to_sip.jitter, Duration::from_millis(10));
    assert!(stats.from_sip.mos.worst.is_some_and(|mos| mos > 4.0), "{:?}", stats.from_sip.mos);
    // Four of 250 were lost since the report before.
    let stats = call.await_stats("a score", |s| s.to_sip.mos.intervals == 1);
    let mos = stats.to_sip.mos.worst.unwrap();
    // How long the phone kept our report counts as the way here, and costs something too.
    assert!((1.5..4.35).contains(&mos), "{mos}");
}

/// Where `a=rtcp` says (RFC 3605): the last report of all says BYE.
#[test]
fn the_end_of_a_call_is_told_where_a_rtcp_says() {
    for plain in [true, false] {
        let keys = pair(SUITE, 1);
        let mut call = Call::established();
        call.phone.gateway = Some(call.bridge.rtp_local());
        call.phone.locks = (!plain).then(|| Locks::new(&keys));
        let elsewhere = std::net::UdpSocket::bind((crate::support::LOOPBACK, 0)).unwrap();
        elsewhere.set_read_timeout(Some(PATIENCE)).unwrap();
        let remote = call.phone.remote(map(&[(Codec::Pcmu, 0)], Some(101)));
        call.bridge.set_sip(SipRemote {
            srtp: (!plain).then(|| Box::new(keys)),
            rtcp: RtcpTarget::At(elsewhere.local_addr().unwrap()),
            ..remote
        });
        call.talk(Duration::from_millis(200));
        let Call { bridge, mut phone, engine: _engine, .. } = call;
        drop(bridge);
        let mut buffer = [0; 300];
        let len = elsewhere.recv(&mut buffer).expect("a last report");
        let report = match &mut phone.locks {
            Some(locks) => locks.open_report(&buffer[..len]).expect("sealed"),
            None => buffer[..len].to_vec(),
        };
        let packets = rtc_rtcp::packet::unmarshal(&mut report.as_slice()).unwrap();
        let bye = packets.last().unwrap().as_any().downcast_ref::<rtc_rtcp::goodbye::Goodbye>();
        assert_eq!(bye.expect("a BYE").sources, [phone.heard[0].ssrc]);
    }
}

/// Behind a NAT reports come from any port, and ours go there.
#[test]
fn reports_go_where_reports_come_from() {
    let mut call = Call::established();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.talk(Duration::from_millis(200));
    let nat = std::net::UdpSocket::bind((crate::support::LOOPBACK, 0)).unwrap();
    nat.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut gateway = call.bridge.rtp_local();
    gateway.set_port(gateway.port() + 1);
    let before = call.bridge.stats();
    nat.send_to(&[0x80, 201, 0, 1, 0x50, 0x50, 0x50, 0x50], gateway).unwrap();
    nat.send_to(&[0; 12], gateway).unwrap();
    call.await_stats("noise", |s| s.malformed > before.malformed);
    drop(call.bridge);
    let mut buffer = [0; 300];
    assert!(nat.recv(&mut buffer).is_ok_and(|len| len > 20));
}
