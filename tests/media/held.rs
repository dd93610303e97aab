//! The calls of a line share its RTP port. Those that are held each get a stream of their own meanwhile.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use crate::support::keys::{Locks, pair};
use crate::support::phone::{Phone, assert_gapless, packet, spoken, tone_of};
use crate::support::sound::Tone;
use crate::support::{Call, LOOPBACK, config, map};
use wrtc_gateway::media::{Engine, HeldLeg, Music, SipRemote, Sounds};
use wrtc_gateway::sdp::{Codec, CryptoSuite, SrtpPair};

/// Hertz of the hold music, and what the second far end whistles.
const MUSIC: u32 = 500;
const SECOND: u32 = 700;

/// The window in which a source other than the SDP's may introduce itself, and some more.
const WINDOW: Duration = Duration::from_millis(5500);

/// A second of [`MUSIC`].
fn music() -> Music {
    let name = format!("wrtc-held-{}-{:016x}.wav", std::process::id(), rand::random::<u64>());
    let path = std::env::temp_dir().join(name);
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..8000 {
        let angle = std::f64::consts::TAU * f64::from(n * MUSIC) / 8000.0;
        writer.write_sample((8000.0 * angle.sin()) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let music = Music::read(&path, &[Codec::Pcmu]);
    std::fs::remove_file(&path).unwrap();
    music.unwrap()
}

fn remote(phone: &Phone, keys: Option<&SrtpPair>) -> SipRemote {
    let remote = phone.remote(map(&[(Codec::Pcmu, 0)], Some(101)));
    SipRemote { srtp: keys.cloned().map(Box::new), ..remote }
}

fn held(remote: SipRemote) -> HeldLeg {
    HeldLeg { remote, sends: true, music: true }
}

/// A call that is talked on, and a second far end that waits.
fn line(sounds: Sounds) -> (Call, Phone) {
    let mut config = config();
    config.sounds = sounds;
    let mut call = Call::on(Engine::start(config).unwrap());
    call.describe();
    call.connect();
    call.phone.gateway = Some(call.bridge.rtp_local());
    let second = Phone {
        gateway: call.phone.gateway,
        ssrc: 0x6060_6060,
        tone: Tone::new(SECOND),
        ..Phone::new()
    };
    (call, second)
}

fn with_music() -> Sounds {
    Sounds { music: Some(Arc::new(music())), ..Sounds::default() }
}

/// Both ends of the call talk, and the far end that is held goes on sending.
fn talk_beside(call: &mut Call, held: &mut Phone, time: Duration) {
    for _ in 0..time.as_millis() / 100 {
        for _ in 0..5 {
            held.speak();
        }
        call.talk(Duration::from_millis(100));
        held.serve();
    }
}

#[track_caller]
fn assert_talks(call: &Call, hertz: u32) {
    let tone = tone_of(&call.browser.heard, hertz);
    assert!(tone > 0.98, "{hertz} Hz at the browser: {tone}");
    let tone = tone_of(&spoken(&call.phone.heard, 20), 440);
    assert!(tone > 0.98, "440 Hz at the phone: {tone}");
}

#[track_caller]
fn assert_hears_music(held: &Phone, since: usize) {
    let heard = &held.heard[since..];
    assert!(heard.len() >= 40, "{} packets", heard.len());
    let tone = tone_of(&heard[heard.len() - 40..], MUSIC);
    assert!(tone > 0.98, "hold music: {tone}");
}

/// A consultation and back, twice: each far end hears one stream all the while, whoever is held.
fn changes_places(keys: [Option<SrtpPair>; 2]) {
    let (mut call, mut other) = line(with_music());
    let [mut ours, mut others] = keys;
    call.phone.locks = ours.as_ref().map(Locks::new);
    other.locks = others.as_ref().map(Locks::new);
    call.bridge.set_sip(remote(&call.phone, ours.as_ref()));
    let mut hertz = (1000, SECOND);
    call.talk(Duration::from_millis(600));
    assert_talks(&call, hertz.0);
    for _ in 0..3 {
        call.bridge.set_held(vec![held(remote(&call.phone, ours.as_ref()))]);
        std::mem::swap(&mut call.phone, &mut other);
        std::mem::swap(&mut ours, &mut others);
        hertz = (hertz.1, hertz.0);
        call.bridge.set_sip(remote(&call.phone, ours.as_ref()));
        // What was under way.
        call.talk(Duration::from_millis(100));
        call.browser.heard.clear();
        let since = other.heard.len();
        talk_beside(&mut call, &mut other, Duration::from_millis(1000));
        assert_talks(&call, hertz.0);
        assert_gapless(&call.browser.heard, "browser");
        assert_hears_music(&other, since);
    }
    for phone in [&call.phone, &other] {
        assert_gapless(&phone.heard, "a far end");
        assert_eq!(phone.locks.as_ref().map_or(0, |locks| locks.failed), 0);
    }
    assert_ne!(call.phone.heard[0].ssrc, other.heard[0].ssrc);
    let stats = call.bridge.stats();
    assert_eq!((stats.foreign_source, stats.sip_auth_failures, stats.malformed), (0, 0, 0));

    // The held one hangs up.
    call.bridge.set_held(Vec::new());
    call.talk(Duration::from_millis(100));
    other.serve();
    let heard = other.heard.len();
    call.talk(Duration::from_millis(300));
    other.serve();
    assert_eq!(other.heard.len(), heard, "nothing more is sent to it");
}

#[test]
fn each_far_end_hears_one_stream_whether_it_is_held_or_not() {
    changes_places([None, None]);
}

#[test]
fn each_with_its_own_keys() {
    let suite = CryptoSuite::AesCm128HmacSha1_80;
    changes_places([Some(pair(suite, 1)), Some(pair(suite, 2))]);
}

#[test]
fn one_is_encrypted_and_the_other_is_not() {
    changes_places([Some(pair(CryptoSuite::AeadAes128Gcm, 1)), None]);
}

/// The window is over, and the kernel knew the first far end alone.
#[test]
fn without_music_it_is_silence_and_strangers_are_still_strangers() {
    let (mut call, mut other) = line(Sounds::default());
    call.talk(WINDOW);
    call.bridge.set_held(vec![held(remote(&call.phone, None))]);
    std::mem::swap(&mut call.phone, &mut other);
    call.bridge.set_sip(remote(&call.phone, None));
    talk_beside(&mut call, &mut other, WINDOW);
    call.browser.heard.clear();
    let stranger = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    other.serve();
    let since = other.heard.len();
    for n in 0..20u16 {
        let data = packet(0, n, u32::from(n) * 160, 0xBAD, &[0x55; 160]);
        stranger.send_to(&data, call.bridge.rtp_local()).unwrap();
    }
    talk_beside(&mut call, &mut other, Duration::from_millis(500));
    assert_talks(&call, SECOND);
    let stats = call.await_stats("the stranger", |s| s.foreign_source >= 20);
    assert_eq!(stats.foreign_source, 20, "and not one of the far end that is held");
    let silence = &other.heard[since..];
    assert!(silence.len() >= 25, "{} packets", silence.len());
    assert!(silence.iter().all(|heard| heard.payload == [0xFF; 160]));
    assert_gapless(&other.heard, "the far end that is held");
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.recv(&mut [0; 200]).is_err());
}

#[test]
fn one_that_holds_us_gets_nothing_and_is_no_stranger() {
    let (mut call, mut other) = line(with_music());
    call.talk(Duration::from_millis(300));
    call.bridge.set_held(vec![HeldLeg { sends: false, ..held(remote(&call.phone, None)) }]);
    std::mem::swap(&mut call.phone, &mut other);
    call.bridge.set_sip(remote(&call.phone, None));
    call.talk(Duration::from_millis(100));
    other.serve();
    let since = other.heard.len();
    talk_beside(&mut call, &mut other, Duration::from_millis(500));
    assert_eq!(other.heard.len(), since);
    assert_eq!(call.bridge.stats().foreign_source, 0);
}

/// Behind a NAT: it is sent to where it was heard from, held and afterwards.
#[test]
fn what_was_learned_of_an_address_is_kept() {
    let (mut call, mut other) = line(with_music());
    let said = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let first = SipRemote { target: Some(said.local_addr().unwrap()), ..remote(&call.phone, None) };
    call.bridge.set_sip(first.clone());
    // A change of the address is believed after a second.
    call.talk(Duration::from_millis(1600));
    assert!(tone_of(&spoken(&call.phone.heard, 20), 440) > 0.98, "it is learned");
    call.bridge.set_held(vec![held(first.clone())]);
    std::mem::swap(&mut call.phone, &mut other);
    call.bridge.set_sip(remote(&call.phone, None));
    call.talk(Duration::from_millis(100));
    let since = other.heard.len();
    let before = call.bridge.stats().foreign_source;
    talk_beside(&mut call, &mut other, Duration::from_millis(1000));
    assert_hears_music(&other, since);
    assert_eq!(call.bridge.stats().foreign_source, before);

    std::mem::swap(&mut call.phone, &mut other);
    call.phone.silent = true;
    call.bridge.set_held(vec![held(remote(&other, None))]);
    call.bridge.set_sip(first);
    call.phone.heard.clear();
    call.talk(Duration::from_millis(600));
    assert!(tone_of(&spoken(&call.phone.heard, 20), 440) > 0.98, "before it has said a word");
}
