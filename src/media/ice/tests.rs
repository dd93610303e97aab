//! The lite agent against checks of all kinds.

use std::net::SocketAddr;

use rtc_stun::attributes::{ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};

use super::*;
use proptest::prelude::*;
use rtc_stun::crypto::default_provider;

/// The sample request of RFC 5769 2.1.
const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\
    \xfa\x87\xdf\xae\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
    \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
    \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\
    \xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

fn local() -> IceCredentials {
    IceCredentials { ufrag: "evtj".into(), pwd: "VOkJxbRl1RmTxUk/WvJxBt".into() }
}

fn other() -> IceCredentials {
    IceCredentials { ufrag: "next".into(), pwd: "abcdefghijklmnopqrstuvwx".into() }
}

fn from(port: u16) -> Path {
    Path::Udp(SocketAddr::from(([192, 0, 2, 1], port)))
}

fn request(credentials: &IceCredentials, nominate: bool) -> Vec<u8> {
    let provider = default_provider().unwrap();
    let name = format!("{}:them", credentials.ufrag);
    let mut message = Message::new();
    message.write_header();
    BINDING_REQUEST.add_to(&mut message).unwrap();
    message.add(ATTR_USERNAME, name.as_bytes());
    if nominate {
        message.add(ATTR_USE_CANDIDATE, &[]);
    }
    let key = credentials.pwd.as_bytes();
    MessageIntegrity::new_raw_integrity_with_provider(key, provider.crypto())
        .add_to(&mut message)
        .unwrap();
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

fn check(ice: &mut Ice, now: Instant, port: u16, data: &[u8]) -> Outcome {
    let provider = default_provider().unwrap();
    let mut check = Check::parse(data).unwrap();
    ice.handle_check(now, from(port), &mut check, provider.crypto())
}

fn connected(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Answer { connected, .. } => connected,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sample_of_rfc_5769_is_read_and_verified() {
    assert_eq!(Check::parse(SAMPLE).unwrap().ufrag(), "evtj");
    let now = Instant::now();
    // It says ICE-CONTROLLED, which is for the gateway alone: 487, authenticated.
    let Outcome::Refuse(answer) = check(&mut Ice::new(local()), now, 1, SAMPLE) else {
        panic!("not refused");
    };
    let mut message = Message::new();
    message.unmarshal_binary(&answer).unwrap();
    assert_eq!(message.typ, BINDING_ERROR);
    let provider = default_provider().unwrap();
    let key = local().pwd;
    MessageIntegrity::check(&mut message, key.as_bytes(), provider.crypto()).unwrap();
    let wrong = IceCredentials { pwd: other().pwd, ..local() };
    assert_eq!(check(&mut Ice::new(wrong), now, 1, SAMPLE), Outcome::BadIntegrity);
}

#[test]
fn a_nomination_connects_once_and_the_last_one_counts() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    assert!(!connected(check(&mut ice, now, 1, &request(&local(), false))));
    assert_eq!(ice.selected(), None);
    assert_eq!(ice.destination(Some(from(1))), Some(from(1)));
    assert_eq!(ice.destination(Some(from(2))), None);
    assert!(ice.is_valid(from(1)) && !ice.is_valid(from(2)));
    assert!(connected(check(&mut ice, now, 1, &request(&local(), true))));
    assert!(!connected(check(&mut ice, now, 2, &request(&local(), true))));
    assert_eq!(ice.selected(), Some(from(2)));
    assert_eq!(ice.destination(Some(from(1))), Some(from(2)));
}

#[test]
fn a_restart_keeps_the_old_credentials_until_the_new_are_used() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    ice.set_remote(Some(other()));
    assert!(connected(check(&mut ice, now, 1, &request(&local(), true))));
    assert_eq!(ice.offer(other()), None);
    assert!(!connected(check(&mut ice, now, 1, &request(&local(), true))));
    assert!(connected(check(&mut ice, now, 3, &request(&other(), true))));
    assert_eq!(ice.selected(), Some(from(3)));
    assert_eq!(check(&mut ice, now, 1, &request(&local(), true)), Outcome::BadIntegrity);
    assert_eq!(ice.ufrags().collect::<Vec<_>>(), ["next"]);
}

#[test]
fn consent_runs_out_and_comes_back() {
    let start = Instant::now();
    let mut ice = Ice::new(local());
    assert_eq!(ice.poll_timeout(), None);
    check(&mut ice, start, 1, &request(&local(), true));
    let later = start + Duration::from_secs(20);
    check(&mut ice, later, 1, &request(&local(), false));
    assert!(!ice.handle_timeout(start + CONSENT));
    assert!(ice.handle_timeout(later + CONSENT));
    assert!(!ice.handle_timeout(later + CONSENT), "it is said once");
    assert_eq!(ice.selected(), None);
    assert_eq!(ice.destination(Some(from(1))), None);
    assert!(connected(check(&mut ice, later + CONSENT, 1, &request(&local(), false))));
    assert_eq!(ice.selected(), Some(from(1)));
}

#[test]
fn a_description_without_ice_is_never_answered() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    ice.set_remote(None);
    assert_eq!(check(&mut ice, now, 1, &request(&local(), true)), Outcome::Silent);
}

#[test]
fn addresses_are_bounded() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    for port in 1..100u16 {
        let at = now + Duration::from_millis(u64::from(port));
        let Outcome::Answer { evicted, .. } = check(&mut ice, at, port, &request(&local(), false))
        else {
            panic!("not answered");
        };
        let oldest = port.checked_sub(MAX_ADDRESSES as u16).filter(|p| *p > 0);
        assert_eq!(evicted, oldest.map(from));
    }
    assert_eq!(ice.paths().count(), MAX_ADDRESSES);
}

#[test]
fn random_credentials_are_long_enough() {
    let (a, b) = (credentials(), credentials());
    assert_ne!(a, b);
    assert!(a.ufrag.len() >= 4 && a.pwd.len() >= 22);
}

proptest! {
    #[test]
    fn noise_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        at in 0..108usize, byte: u8, cut in 0..108usize,
    ) {
        let _ = Check::parse(&noise);
        let mut data = SAMPLE.to_vec();
        data[at] = byte;
        data.truncate(108 - cut);
        let changed = data != SAMPLE;
        if let Ok(mut check) = Check::parse(&data) {
            let provider = default_provider().unwrap();
            let mut ice = Ice::new(local());
            let outcome =
                ice.handle_check(Instant::now(), from(1), &mut check, provider.crypto());
            prop_assert!(!changed || outcome == Outcome::BadIntegrity);
        }
    }
}
