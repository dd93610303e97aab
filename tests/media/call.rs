//! Sound through a call, both ways, whatever happens on the way.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::support::browser::Browser;
use crate::support::phone::{Heard, Phone, assert_gapless, spoken, tone_of};
use crate::support::sound::{Tone, expand_alaw, purity};
use crate::support::{Call, FLOW, LOOPBACK, PATIENCE, config, map};
use wrtc_gateway::media::{Engine, Flow, MediaConfig, MediaEvent};
use wrtc_gateway::sdp::{Codec, Setup};

fn established() -> Call {
    let mut call = Call::established();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call
}

fn assert_tones(call: &Call, what: &str) {
    let tone = tone_of(&call.browser.heard, 1000);
    assert!(tone > 0.98, "{what}: 1 kHz at the browser: {tone}");
    let tone = tone_of(&spoken(&call.phone.heard, 30), 440);
    assert!(tone > 0.98, "{what}: 440 Hz at the phone: {tone}");
}

#[test]
fn tones_pass_both_ways_without_loss() {
    let mut call = established();
    call.talk(Duration::from_secs(3));

    assert_gapless(&call.browser.heard, "browser");
    assert_gapless(&call.phone.heard, "phone");
    assert_eq!(call.browser.heard.len(), 150);
    assert!(call.browser.heard.iter().all(|h| h.ssrc == call.bridge.browser_local().ssrc));
    let tone = tone_of(&call.browser.heard, 1000);
    assert!(tone > 0.99, "1 kHz at the browser: {tone}");
    let tone = tone_of(&spoken(&call.phone.heard, 150), 440);
    assert!(tone > 0.99, "440 Hz at the phone: {tone}");

    let from = call.phone.address();
    assert!(call.seen.contains(&MediaEvent::SipMedia { from }));
    let stats = call.await_stats("all packets", |s| s.from_browser.packets == 150);
    assert_eq!((stats.from_sip.packets, stats.to_browser.packets), (150, 150));
    assert_eq!((stats.from_sip.lost, stats.from_browser.lost), (0, 0));
    assert_eq!(stats.from_sip.bytes, 150 * 160);
    assert!(stats.to_sip.packets >= 150);
    assert_eq!((stats.srtp_auth_failures, stats.malformed, stats.unknown_payload), (0, 0, 0));
}

#[test]
fn a_law_at_the_phone_and_mu_law_at_the_browser() {
    let mut call = established();
    call.phone.payload_type = 8;
    call.bridge.set_sip(call.phone.remote(map(&[(Codec::Pcma, 8)], None)));
    call.talk(Duration::from_secs(1));
    let samples: Vec<f64> = spoken(&call.phone.heard, 48)
        .iter()
        .inspect(|h| assert_eq!(h.payload_type, 8))
        .flat_map(|h| h.payload.iter().map(|byte| expand_alaw(*byte)))
        .collect();
    let tone = purity(&samples, 440.0);
    assert!(tone > 0.99, "440 Hz at the phone, in A-law: {tone}");
    assert_gapless(&call.browser.heard, "browser");
    assert!(call.browser.heard.iter().all(|h| h.payload_type == 0));
}

#[test]
fn the_sip_side_is_exchanged_and_the_browser_hears_one_stream() {
    let mut call = established();
    call.talk(Duration::from_millis(600));
    // A re-INVITE: another phone, elsewhere, with numbers of its own.
    let first = std::mem::replace(&mut call.phone, Phone::new());
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.phone.ssrc = 77;
    call.phone.sequence = 3;
    call.phone.timestamp = 0x7000_0000;
    call.bridge.set_sip(call.phone.remote(map(&[(Codec::Pcmu, 0)], Some(96))));
    call.talk(Duration::from_millis(600));
    assert_eq!(call.browser.heard.len(), 60);
    assert_gapless(&call.browser.heard, "browser");
    // 600 ms of 1 kHz end where the tone begins anew, so that the two pieces fit.
    assert_tones(&call, "after the transfer");
    assert!(tone_of(&spoken(&first.heard, 28), 440) > 0.98);
    let both = [Some(first.address()), Some(call.phone.address())];
    for from in both.into_iter().flatten() {
        assert!(call.seen.contains(&MediaEvent::SipMedia { from }), "{:?}", call.seen);
    }
}

#[test]
fn a_held_call_sends_silence_and_hears_nothing() {
    let mut call = established();
    call.talk(Duration::from_millis(400));
    let heard = call.browser.heard.len();
    call.bridge.set_flow(Flow { keep_alive: true, ..Flow::NONE });
    call.phone.heard.clear();
    call.talk(Duration::from_secs(1));
    let silent = |h: &Heard| h.payload.iter().all(|byte| *byte == 0xFF);
    let silence = call.phone.heard.iter().filter(|h| silent(h)).count();
    assert!(silence >= 48, "{silence} frames of silence in a second and a bit");
    assert!(call.browser.heard.len() <= heard + 1, "at most the one on its way");
    // Resumed.
    call.bridge.set_flow(FLOW);
    call.talk(Duration::from_millis(400));
    assert_gapless(&call.phone.heard, "phone");
    assert_gapless(&call.browser.heard, "browser");
    assert!(tone_of(&spoken(&call.phone.heard, 18), 440) > 0.98);
    assert!(tone_of(&call.browser.heard, 1000) > 0.98);
}

#[test]
fn silence_goes_out_before_the_browser_is_there() {
    let mut call = Call::open();
    call.describe();
    let deadline = Instant::now() + PATIENCE;
    while call.phone.heard.len() < 20 {
        assert!(Instant::now() < deadline, "no silence came");
        call.browser.serve(Duration::from_millis(10));
        call.phone.serve();
    }
    assert_gapless(&call.phone.heard, "phone");
    assert!(call.phone.heard.iter().all(|h| h.payload == [0xFF; 160] && h.payload_type == 0));
    assert!(call.phone.heard[0].marker);
}

#[test]
fn keys_pass_under_each_sides_number() {
    let mut call = established();
    call.talk(Duration::from_millis(200));
    for n in 1..=6u16 {
        let end = if n > 3 { 0x8A } else { 0x0A };
        let [d0, d1] = (160 * n.min(4)).to_be_bytes();
        call.browser.sequence = call.browser.sequence.wrapping_add(1);
        call.browser.send(126, &[7, end, d0, d1]);
        call.phone.sequence = call.phone.sequence.wrapping_add(1);
        call.phone.send(101, &[11, end, d0, d1]);
        call.browser.serve(Duration::from_millis(20));
    }
    call.phone.serve();
    let at_phone: Vec<&Heard> = call.phone.heard.iter().filter(|h| h.payload_type == 101).collect();
    let at_browser: Vec<&Heard> =
        call.browser.heard.iter().filter(|h| h.payload_type == 126).collect();
    for (events, key) in [(at_phone, 7), (at_browser, 11)] {
        assert_eq!(events.len(), 6);
        assert!(events.iter().all(|h| h.timestamp == events[0].timestamp));
        assert_eq!(events[5].payload, [key, 0x8A, 2, 0x80]);
    }
    call.collect_events();
    let digits: Vec<(char, bool)> = call
        .seen
        .iter()
        .filter_map(|e| match e {
            MediaEvent::Digit { digit, from_sip, duration } => {
                assert_eq!(*duration, Duration::from_millis(80));
                Some((*digit, *from_sip))
            }
            _ => None,
        })
        .collect();
    assert_eq!(digits.len(), 2, "{digits:?}");
    assert!(digits.contains(&('7', false)) && digits.contains(&('#', true)));
}

#[test]
fn digits_of_our_own_reach_the_phone() {
    let mut call = established();
    call.talk(Duration::from_millis(200));
    call.bridge.send_digits("1*D");
    call.talk(Duration::from_millis(800));
    let events: Vec<&Heard> = call.phone.heard.iter().filter(|h| h.payload_type == 101).collect();
    let mut keys: Vec<u8> = events.iter().map(|h| h.payload[0]).collect();
    keys.dedup();
    assert_eq!(keys, [1, 10, 15]);
    assert_eq!(events.iter().filter(|h| h.payload[1] & 0x80 != 0).count(), 9);
    assert_gapless_numbers(&call.phone.heard);
    assert!(tone_of(&spoken(&call.phone.heard, 10), 440) > 0.98, "audio goes on");
}

fn assert_gapless_numbers(heard: &[Heard]) {
    for pair in heard.windows(2) {
        assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1);
    }
}

#[test]
fn a_phone_behind_a_nat_is_answered_where_it_is() {
    let mut call = Call::open();
    call.describe_browser();
    // The SDP names an address at which nobody listens.
    let nobody = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let mut remote = call.phone.remote(map(&[(Codec::Pcmu, 0)], Some(101)));
    remote.target = Some(nobody.local_addr().unwrap());
    call.bridge.set_sip(remote);
    call.bridge.set_flow(FLOW);
    call.connect();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.talk(Duration::from_millis(600));
    assert!(tone_of(&spoken(&call.phone.heard, 20), 440) > 0.98);
    // Now somebody else speaks up.
    let mut stranger = Phone { gateway: call.phone.gateway, ssrc: 1, ..Phone::new() };
    let heard = call.browser.heard.len();
    for _ in 0..10 {
        stranger.send(0, &[0x20; 160]);
    }
    call.await_stats("foreign packets", |s| s.foreign_source == 10);
    assert_eq!(call.browser.heard.len(), heard);
}

#[test]
fn an_ice_restart_keeps_audio_and_keys() {
    let mut call = established();
    call.talk(Duration::from_millis(400));
    // The page's network changes: new ICE credentials on both sides, a new port, the same keys.
    let local = call.bridge.restart_ice();
    call.browser.ice.ufrag = "anew".into();
    call.describe_browser();
    call.talk(Duration::from_millis(200));
    call.browser.socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let remote = call.browser.socket.local_addr().unwrap();
    assert!(call.browser.ping(&local, PATIENCE));
    call.await_event("ICE", |e| *e == MediaEvent::IceConnected { remote });
    call.talk(Duration::from_millis(400));
    assert_eq!(call.browser.heard.len(), 50);
    assert_gapless(&call.browser.heard, "browser");
    assert!(tone_of(&spoken(&call.phone.heard, 18), 440) > 0.98);
    let handshakes = |e: &&MediaEvent| matches!(e, MediaEvent::DtlsConnected { .. });
    assert_eq!(call.seen.iter().filter(handshakes).count(), 1);
}

#[test]
fn a_new_peer_connection_takes_over_from_the_old_one() {
    let mut call = established();
    call.talk(Duration::from_millis(400));
    let local = call.bridge.renew_browser();
    let mut new = Browser::new();
    new.ssrc = 0xCAFE;
    call.bridge.set_browser(new.remote(map(&[(Codec::Pcmu, 0)], Some(126))));
    // The old one flows as long as the new one is not connected.
    call.talk(Duration::from_millis(400));
    assert_eq!(call.browser.heard.len(), 40);
    assert!(tone_of(&spoken(&call.phone.heard, 18), 440) > 0.98);

    new.connect(&local);
    call.seen.clear();
    let old = std::mem::replace(&mut call.browser, new);
    call.talk(Duration::from_millis(400));
    assert_eq!(call.browser.heard.len(), 20);
    assert!(tone_of(&call.browser.heard, 1000) > 0.98);
    assert!(tone_of(&spoken(&call.phone.heard, 18), 440) > 0.98);
    // The same stream: its numbers go on.
    let (last, next) = (old.heard.last().unwrap(), &call.browser.heard[0]);
    assert_eq!(next.ssrc, last.ssrc);
    assert_eq!(next.sequence.wrapping_sub(last.sequence), 1);
    // Toward SIP a new source is a new SSRC, and the numbers go on too.
    assert_gapless_numbers(&call.phone.heard);
}

#[test]
fn another_fingerprint_on_the_same_credentials_is_a_new_association() {
    let mut call = established();
    call.talk(Duration::from_millis(200));
    let mut new = Browser::new();
    new.ssrc = 0xCAFE;
    let old = std::mem::replace(&mut call.browser, new);
    call.describe_browser();
    call.seen.clear();
    call.connect();
    call.talk(Duration::from_millis(400));
    assert_eq!(call.browser.heard.len(), 20);
    assert!(tone_of(&call.browser.heard, 1000) > 0.98);
    assert!(tone_of(&spoken(&call.phone.heard, 18), 440) > 0.98);
    let (last, next) = (old.heard.last().unwrap(), &call.browser.heard[0]);
    assert_eq!(next.sequence.wrapping_sub(last.sequence), 1);
}

#[test]
fn the_gateway_starts_the_handshake_where_the_browser_waits() {
    // The library's server side is the same code as its client's: only roles are told here.
    let call = Call::open();
    let mut remote = call.browser.remote(map(&[(Codec::Pcmu, 0)], None));
    remote.setup = Setup::Active;
    call.bridge.set_browser(remote);
    let mut browser = call.browser;
    assert!(browser.ping(&call.bridge.browser_local(), PATIENCE));
    browser.accept_handshake();
    let deadline = Instant::now() + PATIENCE;
    while browser.srtp.is_none() {
        assert!(Instant::now() < deadline && !browser.handshake_failed);
        browser.serve(Duration::from_millis(5));
    }
}

#[test]
fn reports_are_exchanged_and_the_round_trip_is_measured() {
    let mut call = established();
    call.talk(Duration::from_millis(200));
    let deadline = Instant::now() + PATIENCE;
    while call.browser.rtcp.is_empty() {
        assert!(Instant::now() < deadline, "no sender report came");
        call.talk(Duration::from_millis(200));
    }
    let report = call.browser.rtcp[0].clone();
    let packets = rtc_rtcp::packet::unmarshal(&mut report.as_slice()).unwrap();
    let sender = packets[0]
        .as_any()
        .downcast_ref::<rtc_rtcp::sender_report::SenderReport>()
        .expect("a sender report");
    assert_eq!(sender.ssrc, call.bridge.browser_local().ssrc);
    assert!(sender.packet_count > 0 && sender.octet_count == sender.packet_count * 160);
    assert_eq!(sender.reports.len(), 1);
    assert_eq!((sender.reports[0].ssrc, sender.reports[0].total_lost), (0xB0B0_B0B0, 0));
    assert_eq!(packets.len(), 2, "with our CNAME");
    let mut buffer = [0; 200];
    let len = call.phone.rtcp.recv(&mut buffer).expect("a report at the phone's next port");
    let packets = rtc_rtcp::packet::unmarshal(&mut &buffer[..len]).unwrap();
    let to_phone = packets[0]
        .as_any()
        .downcast_ref::<rtc_rtcp::sender_report::SenderReport>()
        .expect("a sender report");
    assert_eq!(to_phone.ssrc, call.phone.heard[0].ssrc);
    assert_eq!(to_phone.reports[0].ssrc, call.phone.ssrc);

    // The browser answers at once: its report echoes ours.
    let mut answer = vec![0x81, 201, 0, 7];
    answer.extend(call.browser.ssrc.to_be_bytes());
    answer.extend(sender.ssrc.to_be_bytes());
    answer.extend([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
    answer.extend(((sender.ntp_time >> 16) as u32).to_be_bytes());
    answer.extend([0; 4]);
    call.browser.send_rtcp(&answer);
    let stats = call.await_stats("a round trip", |s| s.browser_rtt.last.is_some());
    assert_eq!(stats.to_browser.lost, 4);
    let rtt = stats.browser_rtt;
    assert_eq!((rtt.max, rtt.average), (rtt.last, rtt.last));
}

#[test]
fn many_calls_share_a_worker_without_loss() {
    // Enough for packets to gather for a tick instead of waking the worker one by one.
    const CALLS: usize = 24;
    let block = config();
    let first = *block.rtp_ports.start();
    let ports = first..=first + 2 * CALLS as u16 + 20;
    let engine = Engine::start(MediaConfig { rtp_ports: ports, ..block }).unwrap();
    let mut calls: Vec<Call> = (0..CALLS)
        .map(|n| {
            let mut call = Call::on(engine.clone());
            call.describe();
            call.connect();
            call.phone.gateway = Some(call.bridge.rtp_local());
            call.phone.tone = Tone::new(600 + 50 * n as u32);
            call
        })
        .collect();
    let (start, frame) = (Instant::now(), Duration::from_millis(20));
    for n in 1..=100 {
        for call in &mut calls {
            call.browser.speak();
            call.phone.speak();
            call.browser.drain();
            call.phone.serve();
        }
        if let Some(left) = (start + frame * n).checked_duration_since(Instant::now()) {
            calls[0].browser.serve(left);
        }
    }
    for (n, call) in calls.iter_mut().enumerate() {
        let deadline = Instant::now() + PATIENCE;
        while call.browser.heard.len() < 100 && Instant::now() < deadline {
            call.browser.serve(frame);
        }
        call.phone.serve();
        // Where this test was kept from speaking for a second, the gateway has filled in.
        assert!(call.browser.heard.len() >= 100, "all of call {n}: {}", call.browser.heard.len());
        call.browser.heard.truncate(100);
        assert_gapless(&call.browser.heard, "browser");
        let tone = tone_of(&call.browser.heard, 600 + 50 * n as u32);
        assert!(tone > 0.99, "the tone of call {n} and no other's: {tone}");
        assert!(tone_of(&spoken(&call.phone.heard, 100), 440) > 0.98);
    }
    assert_eq!(engine.stats().calls, CALLS as u64);
}
