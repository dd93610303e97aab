//! What strangers, broken peers and wrong keys get: nothing, and it is counted.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::support::browser::{Browser, CM, GCM};
use crate::support::phone::{assert_gapless, spoken, tone_of};
use crate::support::{Call, FLOW, LOOPBACK, PATIENCE, config, map};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use tokio::sync::mpsc::channel;
use wrtc_gateway::media::{DtlsFailure, Engine, MediaConfig, MediaEvent, OpenError, StartError};
use wrtc_gateway::sdp::{Codec, Fingerprint};

const SHORT: Duration = Duration::from_millis(500);

fn profile(offered: &[SrtpProtectionProfile]) -> (Call, &'static str) {
    let mut call = Call::open();
    call.describe();
    call.browser.profiles = offered.to_vec();
    call.connect();
    let event = call.await_event("DTLS", |e| matches!(e, MediaEvent::DtlsConnected { .. }));
    let MediaEvent::DtlsConnected { profile } = event else { unreachable!() };
    (call, profile)
}

#[test]
fn aes_gcm_is_chosen_wherever_it_is_offered() {
    for (offered, name, chosen) in [
        (&[CM, GCM][..], "SRTP_AEAD_AES_128_GCM", GCM),
        (&[GCM, CM], "SRTP_AEAD_AES_128_GCM", GCM),
        (&[CM], "SRTP_AES128_CM_HMAC_SHA1_80", CM),
    ] {
        let (mut call, profile) = profile(offered);
        assert_eq!(profile, name);
        assert_eq!(call.browser.chosen, Some(chosen));
        call.phone.gateway = Some(call.bridge.rtp_local());
        call.talk(Duration::from_millis(300));
        assert!(tone_of(&call.browser.heard, 1000) > 0.98);
    }
}

#[test]
fn a_browser_without_a_common_profile_is_refused() {
    let mut call = Call::open();
    call.describe();
    call.browser.profiles = vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32];
    assert!(call.browser.ping(&call.bridge.browser_local(), PATIENCE));
    call.browser.start_handshake();
    let reason = DtlsFailure::NoSrtpProfile;
    call.await_event("refusal", |e| *e == MediaEvent::DtlsFailed { reason });
}

#[test]
fn another_certificate_than_the_described_one_gets_no_media() {
    let mut call = Call::open();
    call.describe();
    let mut remote = call.browser.remote(map(&[(Codec::Pcmu, 0)], None));
    remote.fingerprint = Some(Fingerprint([7; 32]));
    call.bridge.set_browser(remote);
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.browser.connect(&call.bridge.browser_local());
    let reason = DtlsFailure::FingerprintMismatch;
    call.await_event("mismatch", |e| *e == MediaEvent::DtlsFailed { reason });
    assert!(call.browser.handshake_failed);
    call.talk(SHORT);
    assert_eq!(call.browser.media_datagrams, 0);
    assert!(call.phone.heard.iter().all(|h| h.payload == [0xFF; 160]), "silence only");
    assert_eq!(call.engine.stats().fingerprint_mismatches, 1);

    // The true browser still gets through.
    let mut browser = Browser::new();
    std::mem::swap(&mut call.browser, &mut browser);
    call.describe_browser();
    call.connect();
    call.talk(SHORT);
    assert!(tone_of(&call.browser.heard, 1000) > 0.98);
}

#[test]
fn a_handshake_before_the_description_waits_for_it() {
    let mut call = Call::open();
    assert!(call.browser.ping(&call.bridge.browser_local(), PATIENCE));
    call.browser.start_handshake();
    call.browser.serve(SHORT);
    assert!(call.browser.srtp.is_none());
    call.describe();
    call.await_event("DTLS", |e| matches!(e, MediaEvent::DtlsConnected { .. }));
}

/// Or anybody could have our certificate sent to somebody else.
#[test]
fn a_hello_from_an_unchecked_address_gets_no_answer() {
    let mut call = Call::open();
    call.describe();
    assert!(call.browser.ping(&call.bridge.browser_local(), PATIENCE));
    let mut stranger = Browser::new();
    stranger.gateway = call.browser.gateway;
    stranger.start_handshake();
    stranger.socket.set_nonblocking(false).unwrap();
    stranger.socket.set_read_timeout(Some(SHORT)).unwrap();
    assert!(stranger.socket.recv(&mut [0; 2048]).is_err());
    assert!(call.engine.stats().unknown_datagrams > 0);
}

#[test]
fn without_a_fingerprint_no_handshake_is_accepted() {
    let mut call = Call::open();
    let mut remote = call.browser.remote(map(&[(Codec::Pcmu, 0)], None));
    remote.fingerprint = None;
    call.bridge.set_browser(remote);
    assert!(call.browser.ping(&call.bridge.browser_local(), PATIENCE));
    call.browser.start_handshake();
    call.browser.serve(SHORT * 2);
    assert!(call.browser.srtp.is_none());
    call.collect_events();
    assert!(!call.seen.iter().any(|e| matches!(e, MediaEvent::DtlsConnected { .. })));
}

#[test]
fn without_ice_no_check_is_answered() {
    let mut call = Call::open();
    let mut remote = call.browser.remote(map(&[(Codec::Pcmu, 0)], None));
    remote.ice = None;
    call.bridge.set_browser(remote);
    assert!(!call.browser.ping(&call.bridge.browser_local(), SHORT));
}

#[test]
fn a_wrong_password_is_refused_and_counted() {
    let mut call = Call::open();
    call.describe();
    let mut local = call.bridge.browser_local();
    local.ice.pwd = "x".repeat(24);
    assert!(!call.browser.ping(&local, SHORT));
    assert!(call.browser.stun_errors.iter().all(|code| *code == 401));
    assert!(!std::mem::take(&mut call.browser.stun_errors).is_empty());
    let counted = call.await_stats("bad integrity", |s| s.stun_bad_integrity > 0);
    assert!(call.engine.stats().stun_bad_integrity >= counted.stun_bad_integrity.min(1));
    // A ufrag of nobody's.
    local.ice.ufrag = "nobody".into();
    let before = call.engine.stats().unknown_datagrams;
    assert!(!call.browser.ping(&local, SHORT));
    assert!(call.engine.stats().unknown_datagrams > before);
    assert!(call.browser.stun_errors.is_empty(), "strangers get no answer");
    call.connect();
}

#[test]
fn forged_media_is_counted_and_the_call_goes_on() {
    let mut call = Call::established();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.talk(Duration::from_millis(300));
    let gateway = call.browser.gateway.unwrap();
    for n in 0..200u32 {
        let mut forged = vec![0x80, 0];
        forged.extend((n as u16 * 300).to_be_bytes());
        forged.extend([0; 4]);
        forged.extend(if n % 2 == 0 { call.browser.ssrc } else { n }.to_be_bytes());
        forged.extend([0x20; 176]);
        call.browser.socket.send_to(&forged, gateway).unwrap();
    }
    // Those whose number is too old, or known, are refused for that before they are verified.
    let stats = call.await_stats("forgeries", |s| s.srtp_auth_failures + s.srtp_replays == 200);
    assert!(stats.srtp_auth_failures > 100);
    call.talk(Duration::from_millis(500));
    assert!(tone_of(&spoken(&call.phone.heard, 24), 440) > 0.98);
    assert_gapless(&call.browser.heard, "browser");
}

#[test]
fn noise_on_every_port_disturbs_nobody() {
    let mut call = Call::established();
    call.phone.gateway = Some(call.bridge.rtp_local());
    let gateway = call.browser.gateway.unwrap();
    let rtp = call.bridge.rtp_local();
    let mut rtcp = rtp;
    rtcp.set_port(rtp.port() + 1);
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for round in 0..400usize {
        let first: u8 = [0, 1, 22, 23, 128, 144, 176, 255][round % 8];
        let mut noise: Vec<u8> = (0..round % 120).map(|_| rand::random()).collect();
        noise.insert(0, first);
        if round % 5 == 0 {
            noise.resize(1 + noise.len(), 0);
            noise = [&[first, 200][..], &noise].concat();
        }
        for to in [gateway, rtp, rtcp] {
            stranger.send_to(&noise, to).unwrap();
            call.browser.socket.send_to(&noise, to).unwrap();
            call.phone.socket.send_to(&noise, to).unwrap();
        }
        if round % 50 == 0 {
            call.talk(Duration::from_millis(20));
        }
    }
    call.talk(Duration::from_secs(1));
    let stats = call.bridge.stats();
    assert!(stats.malformed > 0, "{stats:?}");
    assert!(call.engine.stats().unknown_datagrams > 0);
    assert!(tone_of(&spoken(&call.phone.heard, 40), 440) > 0.98);
    assert!(tone_of(&call.browser.heard[call.browser.heard.len() - 40..], 1000) > 0.98);
}

#[test]
fn one_call_does_not_take_anothers_address() {
    let mut victim = Call::established();
    victim.phone.gateway = Some(victim.bridge.rtp_local());
    // A second call on the same worker, whose browser forges the first one's source address.
    let (sender, _events) = channel(64);
    let bridge = victim.engine.open(sender).unwrap();
    let local = bridge.browser_local();
    assert!(!victim.browser.ping(&local, SHORT));
    victim.talk(SHORT);
    assert!(tone_of(&victim.browser.heard, 1000) > 0.98);
}

#[test]
fn ports_rest_and_run_out() {
    let MediaConfig { rtp_ports, .. } = config();
    let (first, rest) = (*rtp_ports.start(), Duration::from_secs(1));
    let engine = Engine::start(MediaConfig {
        rtp_ports: first..=first + 3,
        port_rest: rest,
        workers: 2,
        ..config()
    })
    .unwrap();
    assert_eq!(engine.browser_ports().len(), 2);
    let open = || engine.open(channel(64).0);
    let (a, b) = (open().unwrap(), open().unwrap());
    // The pool begins anywhere in its range.
    let (one, other) = (a.rtp_local().port(), b.rtp_local().port());
    assert_eq!((one.min(other), one.max(other)), (first, first + 2));
    assert_ne!(a.browser_local().candidates, b.browser_local().candidates, "both workers work");
    assert_eq!(open().err(), Some(OpenError::NoPort));
    assert_eq!((engine.stats().calls, engine.stats().free_ports), (2, 0));
    let dropped = Instant::now();
    drop(a);
    let again = loop {
        match open() {
            Ok(bridge) => break bridge,
            Err(error) => assert_eq!(error, OpenError::NoPort),
        }
        assert!(dropped.elapsed() < PATIENCE);
    };
    assert!(dropped.elapsed() >= rest);
    assert_eq!(again.rtp_local().port(), one, "the one let go of");
    assert_eq!(engine.stats().calls, 2);
}

#[test]
fn a_wrong_configuration_opens_nothing() {
    let start = |config| Engine::start(config).err();
    let none = MediaConfig { workers: 0, ..config() };
    assert!(matches!(start(none), Some(StartError::Workers { workers: 0, .. })));
    let odd = MediaConfig { rtp_ports: 20_001..=20_002, ..config() };
    assert!(matches!(start(odd), Some(StartError::NoPorts)));
    let mute = MediaConfig { listen: "0.0.0.0:0".parse().unwrap(), ..config() };
    assert!(matches!(start(mute), Some(StartError::NothingToAdvertise(_))));
    let taken = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let listen = taken.local_addr().unwrap();
    let busy = MediaConfig { listen, ..config() };
    assert!(matches!(start(busy), Some(StartError::Bind { address, .. }) if address == listen));
}

#[test]
fn advertised_addresses_become_candidates() {
    let advertise = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let engine = Engine::start(MediaConfig { advertise: advertise.clone(), ..config() }).unwrap();
    let bridge = engine.open(channel(64).0).unwrap();
    let local = bridge.browser_local();
    let port = engine.browser_ports()[0].port();
    assert_eq!(local.candidates.iter().map(|c| c.address.ip()).collect::<Vec<_>>(), advertise);
    assert!(local.candidates.iter().all(|c| c.address.port() == port));
    bridge.set_flow(FLOW);
}
