//! Whole calls under virtual time: ICE, DTLS, SRTP and RTP as they are, a network and two ends that do
//! what they like.

mod reports;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::Order;
use crate::media::music::Music;
use crate::media::tones::TonePlan;
use crate::media::types::{Flow, MediaEvent, Signal, Sounds};
use world::{Network, World, address};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// The agent holds: the phone is entitled to hear from us still.
const HELD_BY_US: Flow = Flow { keep_alive: true, music: true, ..Flow::NONE };
/// The phone holds with `sendonly`, and plays something.
const HELD_WITH_MUSIC: Flow = Flow { to_browser: true, ..Flow::NONE };
/// The agent's microphone is off (`recvonly`).
const MUTED: Flow = Flow { to_browser: true, keep_alive: true, ..Flow::NONE };

const BAD: Network = Network { lost: 0.02, repeated: 0.02, late: 0.05, dead: false };
const DEAD: Network = Network { lost: 0.0, repeated: 0.0, late: 0.0, dead: true };

fn sounds() -> Sounds {
    Sounds { tones: TonePlan::of("gb"), music: Some(Arc::new(Music::of_a_tone(500))) }
}

/// Both ends talk for that time, and hear each other.
fn talk(world: &mut World, time: Duration) {
    // What was under way before.
    world.run(Duration::from_millis(100));
    let since = world.now;
    let said = (world.phone.said, world.browser.said);
    world.run(time);
    assert_heard(world, since, said);
}

fn assert_heard(world: &World, since: Instant, said: (u32, u32)) {
    let by_phone = world.phone.said - said.0;
    let by_browser = world.browser.said - said.1;
    let at_browser = World::spoken(&world.at_browser, since);
    let at_phone = World::spoken(&world.at_phone, since);
    let what = || format!("after {:?}", since - world.start);
    // A tenth may be lost, and a second go by until a source is attached.
    let enough = |said: u32| (said * 9 / 10).saturating_sub(50);
    assert!(at_browser >= enough(by_phone), "{}: {at_browser} of {by_phone}", what());
    assert!(at_phone >= enough(by_browser), "{}: {at_phone} of {by_browser}", what());
}

fn nothing_is_wrong(world: &World) {
    world.assert_browser_stream();
    world.assert_phone_stream();
    for event in &world.events {
        assert!(!matches!(event, MediaEvent::IceLost | MediaEvent::DtlsFailed { .. }), "{event:?}");
    }
}

/// "a call of sixty simulated minutes with eleven-minute holds, payload 13 injected, 5 s of total loss, SSRC
/// and payload changes on the SIP side: no drop, no one-way audio, gapless toward the browser."
#[test]
fn an_hour_with_everything_that_happens_in_one() {
    let mut world = World::new(1, sounds(), Some(Duration::from_secs(30)));
    talk(&mut world, 2 * MINUTE);

    // The agent holds. The phone hears music, without a pause, and sends comfort noise all the while.
    world.set_flow(HELD_BY_US);
    let held = world.now;
    world.phone.silent = true;
    for _ in 0..11 * 6 {
        world.comfort_noise();
        world.run(10 * SECOND);
    }
    assert!(world.longest_pause_at_phone(held) < Duration::from_millis(50));
    assert!(World::spoken(&world.at_phone, held + SECOND) > 11 * 60 * 45, "music");
    world.phone.silent = false;
    world.set_flow(Flow::BOTH);
    talk(&mut world, 3 * MINUTE);

    // The phone holds: first with music of its own, then saying nothing at all.
    world.set_flow(HELD_WITH_MUSIC);
    let (held, said) = (world.now, world.phone.said);
    world.run(6 * MINUTE);
    assert!(World::spoken(&world.at_browser, held) >= world.phone.said - said - 2);
    assert_eq!(World::spoken(&world.at_phone, held + SECOND), 0);
    world.phone.silent = true;
    world.set_flow(Flow::NONE);
    let before = (world.at_phone.len(), world.at_browser.len());
    world.run(SECOND);
    let settled = (world.at_phone.len(), world.at_browser.len());
    assert!(settled.0 <= before.0 + 1 && settled.1 <= before.1 + 1);
    world.run(5 * MINUTE);
    assert_eq!(
        (world.at_phone.len(), world.at_browser.len()),
        settled,
        "nobody is entitled to any"
    );
    world.phone.silent = false;
    world.described();
    world.set_flow(Flow::BOTH);
    talk(&mut world, 2 * MINUTE);

    // Comfort noise in place of every pause.
    for _ in 0..60 {
        talk(&mut world, SECOND);
        world.phone.silent = true;
        world.comfort_noise();
        world.run(Duration::from_millis(1213));
        world.phone.silent = false;
    }

    // Nothing arrives for 5 s, either way; then the phone only.
    for both in [true, false] {
        world.from_phone = DEAD;
        world.to_gateway = if both { DEAD } else { Network::default() };
        let since = world.now;
        world.run(5 * SECOND);
        assert!(world.longest_pause_at_phone(since) < Duration::from_millis(300));
        world.from_phone = Network::default();
        world.to_gateway = Network::default();
        talk(&mut world, MINUTE);
    }

    // A transfer: another source, another address, another clock; then another law.
    world.phone.ssrc = 0x6060;
    world.phone.sequence = 17;
    world.phone.timestamp = 4711;
    world.phone_address = address(6);
    world.described();
    talk(&mut world, MINUTE);
    world.phone.payload_type = 8;
    talk(&mut world, MINUTE);
    // The clock jumps by itself, and a reboot of the far end changes the SSRC alone.
    world.phone.timestamp = world.phone.timestamp.wrapping_add(12_345_678);
    talk(&mut world, MINUTE);
    world.phone.ssrc = 0x7070;
    talk(&mut world, MINUTE);
    world.phone.payload_type = 0;
    for _ in 0..20 {
        world.nonsense();
        world.run(SECOND);
    }
    assert_eq!(world.stats().unknown_payload, 20);
    world.key(5);
    talk(&mut world, MINUTE);

    // The browser is loaded anew in the place of the old source; its microphone is off, then on.
    world.browser.ssrc = 0xC0C0;
    world.browser.sequence = 3;
    talk(&mut world, MINUTE);
    world.set_flow(MUTED);
    let since = world.now;
    world.run(MINUTE);
    assert!(world.longest_pause_at_phone(since) < Duration::from_millis(50));
    assert_eq!(World::spoken(&world.at_phone, since + SECOND), 0);
    world.set_flow(Flow::BOTH);

    // And a bad network for what is left of the hour.
    world.from_phone = BAD;
    world.to_gateway = BAD;
    while world.now < world.start + 60 * MINUTE {
        talk(&mut world, MINUTE);
    }
    nothing_is_wrong(&world);
    let alarms = world.events.iter().any(|e| matches!(e, MediaEvent::Silent { .. }));
    assert!(!alarms, "nothing was silent that was expected to speak: {:?}", world.events);
    let digits = world.events.iter().filter(|e| matches!(e, MediaEvent::Digit { .. })).count();
    assert_eq!(digits, 1);
    assert_eq!(world.stats().srtp_auth_failures, 0);
}

/// Held, ringing or muted is no silence to warn of. One-way audio is.
#[test]
fn silence_is_told_where_speech_is_expected_and_only_there() {
    let mut world = World::new(2, sounds(), Some(Duration::from_secs(30)));
    let told = |world: &World| -> Vec<(bool, bool)> {
        let told = |event: &MediaEvent| match event {
            MediaEvent::Silent { from_sip, time } => {
                assert!((30..=36).contains(&time.as_secs()), "{time:?}");
                Some((true, *from_sip))
            }
            MediaEvent::HeardAgain { from_sip, .. } => Some((false, *from_sip)),
            _ => None,
        };
        world.events.iter().filter_map(told).collect()
    };
    talk(&mut world, 10 * SECOND);
    world.phone.silent = true;
    let ringing = Flow { tone: Some(Signal::Ringback), ..Flow::BOTH };
    for flow in [HELD_BY_US, Flow::NONE, ringing] {
        world.set_flow(flow);
        world.run(2 * MINUTE);
    }
    assert_eq!(told(&world), []);
    world.set_flow(Flow::BOTH);
    world.run(25 * SECOND);
    assert_eq!(told(&world), []);
    world.run(MINUTE);
    assert_eq!(told(&world), [(true, true)], "once");
    world.phone.silent = false;
    talk(&mut world, 10 * SECOND);
    assert_eq!(told(&world), [(true, true), (false, true)]);
    world.to_gateway = DEAD;
    world.run(MINUTE);
    assert_eq!(told(&world).last(), Some(&(true, false)));
    nothing_is_wrong(&world);
}

/// A browser whose media are up before the far end answers hears it ring, and then the far end.
#[test]
fn the_far_end_rings_at_the_browser() {
    let mut world = World::new(3, sounds(), None);
    world.phone.silent = true;
    world.run(SECOND);
    world.set_flow(Flow { tone: Some(Signal::Ringback), ..Flow::NONE });
    let since = world.now;
    world.run(3 * SECOND);
    let ringing: Vec<f64> = world
        .at_browser
        .iter()
        .filter(|h| h.is_speech)
        .map(|h| (h.at - since).as_secs_f64())
        .collect();
    // Twice 0.4 s of every 3, in Britain.
    assert!((40..=43).contains(&ringing.len()), "{ringing:?}");
    let (first, last) = (ringing[0], ringing[ringing.len() - 1]);
    assert!(first < 0.03 && (0.97..1.04).contains(&last), "{first} to {last}");
    world.phone.silent = false;
    world.set_flow(Flow::BOTH);
    talk(&mut world, 5 * SECOND);
    nothing_is_wrong(&world);
}

/// A gateway that sends comfort noise, early media being allowed, has nothing to say yet.
#[test]
fn comfort_noise_does_not_end_the_ringing() {
    let mut world = World::new(3, sounds(), None);
    world.phone.silent = true;
    world.run(SECOND);
    world.set_flow(Flow { tone: Some(Signal::Ringback), ..Flow::BOTH });
    let since = world.now;
    for _ in 0..30 {
        world.comfort_noise();
        world.run(Duration::from_millis(100));
    }
    let ringing = World::spoken(&world.at_browser, since);
    assert!((40..=43).contains(&ringing), "{ringing} of twice 0.4 s");
}

#[derive(Debug, Clone)]
enum Happening {
    Flow(Flow),
    Networks(Network, Network),
    NewSource { ssrc: u32, sequence: u16, timestamp: u32 },
    OtherAddress(u8),
    OtherLaw,
    BrowserSource(u32),
    ComfortNoise,
    PhonePauses(bool),
    Nonsense,
    Key(u8),
    Digits,
    PlayDigit,
}

fn networks() -> impl Strategy<Value = Network> {
    let figures = (0.0..0.1f64, 0.0..0.1f64, 0.0..0.2f64, prop::bool::weighted(0.1));
    figures.prop_map(|(lost, repeated, late, dead)| Network { lost, repeated, late, dead })
}

fn happenings() -> impl Strategy<Value = Happening> {
    let ringing = Flow { tone: Some(Signal::Ringback), ..Flow::BOTH };
    let flows = prop::sample::select(vec![
        Flow::BOTH,
        Flow::BOTH,
        HELD_BY_US,
        HELD_WITH_MUSIC,
        MUTED,
        Flow::NONE,
        ringing,
        Flow { to_browser: false, ..ringing },
    ]);
    prop_oneof![
        3 => flows.prop_map(Happening::Flow),
        2 => (networks(), networks()).prop_map(|(a, b)| Happening::Networks(a, b)),
        2 => any::<(u32, u16, u32)>().prop_map(|(ssrc, sequence, timestamp)| {
            Happening::NewSource { ssrc, sequence, timestamp }
        }),
        1 => (5..9u8).prop_map(Happening::OtherAddress),
        1 => Just(Happening::OtherLaw),
        1 => (1..4u32).prop_map(Happening::BrowserSource),
        3 => Just(Happening::ComfortNoise),
        2 => any::<bool>().prop_map(Happening::PhonePauses),
        1 => Just(Happening::Nonsense),
        1 => (0..16u8).prop_map(Happening::Key),
        1 => Just(Happening::Digits),
        1 => Just(Happening::PlayDigit),
    ]
}

fn happens(world: &mut World, what: &Happening) {
    match *what {
        Happening::Flow(flow) => world.set_flow(flow),
        Happening::Networks(phone, browser) => {
            world.from_phone = phone;
            world.to_gateway = browser;
        }
        Happening::NewSource { ssrc, sequence, timestamp } => {
            world.phone.ssrc = ssrc;
            world.phone.sequence = sequence;
            world.phone.timestamp = timestamp;
        }
        Happening::OtherAddress(host) => {
            world.phone_address = address(host);
            world.described();
        }
        Happening::OtherLaw => world.phone.payload_type ^= 8,
        Happening::BrowserSource(ssrc) => world.browser.ssrc = ssrc,
        Happening::ComfortNoise => world.comfort_noise(),
        Happening::PhonePauses(pauses) => world.phone.silent = pauses,
        Happening::Nonsense => world.nonsense(),
        Happening::Key(code) => world.key(code),
        Happening::Digits => world.order(Order::SendDigits("12".into())),
        Happening::PlayDigit => world.order(Order::PlayDigit('7')),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: what is not negotiated is never sent, the browser's
    /// stream is one, and when all is well again both ends hear each other.
    #[test]
    fn any_schedule_ends_in_a_conversation(
        seed: u64,
        schedule in prop::collection::vec((happenings(), 0..4000u64), 1..30),
    ) {
        let mut world = World::new(seed, sounds(), Some(Duration::from_secs(30)));
        for (what, pause) in &schedule {
            happens(&mut world, what);
            world.run(Duration::from_millis(*pause));
        }
        world.from_phone = Network::default();
        world.to_gateway = Network::default();
        world.phone.silent = false;
        world.described();
        world.set_flow(Flow::BOTH);
        world.run(2 * SECOND);
        talk(&mut world, 5 * SECOND);
        nothing_is_wrong(&world);
    }
}
