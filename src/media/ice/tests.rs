//! The lite agent against checks of all kinds.

use std::net::SocketAddr;

use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_UNKNOWN_ATTRIBUTES, ATTR_USE_CANDIDATE, ATTR_USERNAME,
    ATTR_XORMAPPED_ADDRESS, AttrType,
};
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, Getter, Message, Setter};

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

/// A request with what stands before its integrity, and behind it.
fn request_with(
    credentials: &IceCredentials,
    before: &[(AttrType, &[u8])],
    behind: &[(AttrType, &[u8])],
) -> Vec<u8> {
    let provider = default_provider().unwrap();
    let name = format!("{}:them", credentials.ufrag);
    let mut message = Message::new();
    message.write_header();
    BINDING_REQUEST.add_to(&mut message).unwrap();
    message.add(ATTR_USERNAME, name.as_bytes());
    for (kind, value) in before {
        message.add(*kind, value);
    }
    let key = credentials.pwd.as_bytes();
    MessageIntegrity::new_raw_integrity_with_provider(key, provider.crypto())
        .add_to(&mut message)
        .unwrap();
    for (kind, value) in behind {
        message.add(*kind, value);
    }
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

fn request(credentials: &IceCredentials, nominate: bool) -> Vec<u8> {
    let nomination: &[(AttrType, &[u8])] = &[(ATTR_USE_CANDIDATE, &[])];
    request_with(credentials, if nominate { nomination } else { &[] }, &[])
}

fn tcp(connection: u64) -> Path {
    Path::Tcp { peer: SocketAddr::from(([192, 0, 2, 1], 9)), connection }
}

fn at(ice: &mut Ice, now: Instant, path: Path, data: &[u8]) -> Outcome {
    let provider = default_provider().unwrap();
    ice.handle_check(now, path, &mut Check::parse(data).unwrap(), provider.crypto())
}

/// The error code of an answer; whether it is signed with that password.
fn refused(answer: &[u8], credentials: &IceCredentials) -> (u16, bool) {
    let mut message = Message::new();
    message.unmarshal_binary(answer).unwrap();
    assert_eq!(message.typ, BINDING_ERROR);
    FINGERPRINT.check(&message).unwrap();
    let mut code = ErrorCodeAttribute::default();
    code.get_from(&message).unwrap();
    let provider = default_provider().unwrap();
    let key = credentials.pwd.as_bytes();
    let signed = MessageIntegrity::check(&mut message, key, provider.crypto()).is_ok();
    (code.code.0, signed)
}

fn refusal(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Refuse(answer) | Outcome::BadIntegrity(Some(answer)) => answer,
        other => panic!("{other:?}"),
    }
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
    let answer = refusal(check(&mut Ice::new(local()), now, 1, SAMPLE));
    assert_eq!(refused(&answer, &local()), (487, true));
    let wrong = IceCredentials { pwd: other().pwd, ..local() };
    let outcome = check(&mut Ice::new(wrong.clone()), now, 1, SAMPLE);
    assert!(matches!(outcome, Outcome::BadIntegrity(_)));
    assert_eq!(refused(&refusal(outcome), &wrong), (401, false));
}

/// RFC 5769 2.2 and 2.3: the password is that of the request, the address 192.0.2.1:32853 and
/// [2001:db8:1234:5678:11:2233:4455:6677]:32853. Ours lack only their SOFTWARE.
#[test]
fn our_answer_says_what_those_of_rfc_5769_say() {
    const V4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\
        \xfa\x87\xdf\xae\x80\x22\x00\x0btest vector\x20\x00\x20\x00\x08\x00\x01\xa1\x47\
        \xe1\x12\xa6\x43\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\
        \x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\x80\x28\x00\x04\xc0\x7d\x4c\x96";
    const V6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\
        \xfa\x87\xdf\xae\x80\x22\x00\x0btest vector\x20\x00\x20\x00\x14\x00\x02\xa1\x47\
        \x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\x00\x08\x00\x14\
        \xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
        \x80\x28\x00\x04\xc8\xfb\x0b\x4c";
    let provider = default_provider().unwrap();
    let said = |data: &[u8]| {
        let mut message = Message::new();
        message.unmarshal_binary(data).unwrap();
        FINGERPRINT.check(&message).unwrap();
        let key = local().pwd;
        MessageIntegrity::check(&mut message, key.as_bytes(), provider.crypto()).unwrap();
        let mapped = message.get(ATTR_XORMAPPED_ADDRESS).unwrap();
        (message.typ, message.transaction_id, mapped)
    };
    let request = Check::parse(SAMPLE).unwrap();
    for (address, vector) in [
        ("192.0.2.1:32853", V4),
        ("[::ffff:192.0.2.1]:32853", V4),
        ("[2001:db8:1234:5678:11:2233:4455:6677]:32853", V6),
    ] {
        let from = Path::Udp(address.parse().unwrap());
        let answer = request.success(from, &local().pwd, provider.crypto()).unwrap();
        assert_eq!(said(&answer), said(vector), "{address}");
    }
}

#[test]
fn faults_are_answered_as_rfc_8489_numbers_them() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    let unknown = request_with(&local(), &[(AttrType(0x7777), b"?"), (AttrType(0x0026), b"")], &[]);
    let answer = refusal(check(&mut ice, now, 1, &unknown));
    assert_eq!(refused(&answer, &local()), (420, true));
    let mut message = Message::new();
    message.unmarshal_binary(&answer).unwrap();
    assert_eq!(message.get(ATTR_UNKNOWN_ATTRIBUTES).unwrap(), [0x77, 0x77, 0, 0x26]);
    // What is optional may be unknown (network cost, of Chromium).
    let optional = request_with(&local(), &[(AttrType(0xC057), &[0; 4])], &[]);
    assert!(matches!(check(&mut ice, now, 1, &optional), Outcome::Answer { .. }));

    let mut bare = Message::new();
    bare.write_header();
    BINDING_REQUEST.add_to(&mut bare).unwrap();
    bare.add(ATTR_USERNAME, b"evtj:them");
    FINGERPRINT.add_to(&mut bare).unwrap();
    assert_eq!(refused(&refusal(check(&mut ice, now, 1, &bare.raw)), &local()), (400, false));
    assert_eq!(check(&mut ice, now, 1, &request(&other(), true)), Outcome::Silent);
    assert_eq!(ice.selected(), None);
}

/// Whoever sees a check pass may append to it: that must count for nothing.
#[test]
fn what_stands_behind_the_integrity_is_not_read() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    let appended: &[(AttrType, &[u8])] =
        &[(ATTR_USE_CANDIDATE, &[]), (AttrType(0x7777), b""), (ATTR_ICE_CONTROLLED, &[0; 8])];
    let outcome = check(&mut ice, now, 1, &request_with(&local(), &[], appended));
    assert!(matches!(outcome, Outcome::Answer { connected: false, .. }));
    assert_eq!(ice.selected(), None);
    // Nor is a user name there, or a fingerprint that is not the last.
    let mut message = Message::new();
    message.unmarshal_binary(&request(&local(), true)).unwrap();
    message.add(ATTR_USE_CANDIDATE, &[]);
    assert!(Check::parse(&message.raw).is_err());
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
    assert_eq!(check(&mut ice, now, 1, &request(&local(), true)), Outcome::Silent);
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
fn paths_are_bounded_and_the_selected_one_stays() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    for port in 1..100u16 {
        let at = now + Duration::from_millis(u64::from(port));
        check(&mut ice, at, port, &request(&local(), port == 1));
        let oldest = (port + 1).checked_sub(MAX_PATHS as u16).filter(|p| *p > 1);
        assert_eq!(ice.poll_forgotten(), oldest.map(from));
        assert_eq!(ice.poll_forgotten(), None);
    }
    assert_eq!(ice.paths().count(), MAX_PATHS);
    assert_eq!(ice.selected(), Some(from(1)));
}

#[test]
fn a_refusal_names_a_few_of_the_attributes_that_are_unknown() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    let unknown: Vec<(AttrType, &[u8])> =
        (0..200).map(|n| (AttrType(0x1000 + n), &[][..])).collect();
    let answer = refusal(check(&mut ice, now, 1, &request_with(&local(), &unknown, &[])));
    assert_eq!(refused(&answer, &local()), (420, true));
    let mut message = Message::new();
    message.unmarshal_binary(&answer).unwrap();
    assert_eq!(message.get(ATTR_UNKNOWN_ATTRIBUTES).unwrap().len(), 2 * 8);
}

#[test]
fn a_request_longer_than_any_check_is_not_read() {
    let parsed =
        |len| Check::parse(&request_with(&local(), &[(AttrType(0x8123), &vec![0; len])], &[]));
    assert!(parsed(1000).is_ok());
    assert!(matches!(parsed(1300), Err(NoCheck::Malformed)));
}

/// It is the browser's again before anybody has asked: its packets would lead nowhere otherwise.
#[test]
fn a_path_that_comes_back_is_not_forgotten() {
    let now = Instant::now();
    let mut ice = Ice::new(local());
    for port in 1..=MAX_PATHS as u16 + 1 {
        let at = now + Duration::from_millis(u64::from(port));
        check(&mut ice, at, port, &request(&local(), false));
    }
    assert!(!ice.is_valid(from(1)));
    check(&mut ice, now + Duration::from_secs(1), 1, &request(&local(), false));
    assert!(ice.is_valid(from(1)));
    assert_eq!(ice.poll_forgotten(), Some(from(2)), "which made room for it");
    assert_eq!(ice.poll_forgotten(), None);
}

#[test]
fn a_path_without_checks_is_forgotten_and_another_takes_over() {
    let start = Instant::now();
    let mut ice = Ice::new(local());
    check(&mut ice, start, 1, &request(&local(), true));
    let later = start + Duration::from_secs(20);
    check(&mut ice, later, 2, &request(&local(), false));
    assert_eq!(ice.selected(), Some(from(1)));
    assert_eq!(ice.poll_timeout(), Some(start + CONSENT));
    assert!(!ice.handle_timeout(start + CONSENT), "the browser is there");
    assert_eq!(ice.poll_forgotten(), Some(from(1)));
    assert_eq!(ice.selected(), Some(from(2)));
    assert!(ice.handle_timeout(later + CONSENT));
    assert_eq!(ice.selected(), None);
    assert_eq!(ice.poll_timeout(), None);
}

#[test]
fn where_all_pairs_are_nominated_datagrams_are_preferred() {
    let start = Instant::now();
    let mut ice = Ice::new(local());
    let nominated = request(&local(), true);
    assert!(connected(at(&mut ice, start, tcp(1), &nominated)));
    let soon = start + Duration::from_millis(50);
    at(&mut ice, soon, from(1), &nominated);
    assert_eq!(ice.selected(), Some(from(1)), "UDP comes after TCP");
    at(&mut ice, soon + Duration::from_millis(50), tcp(1), &nominated);
    assert_eq!(ice.selected(), Some(from(1)), "and TCP after UDP");
    // Later it is meant.
    at(&mut ice, soon + Duration::from_secs(6), tcp(1), &nominated);
    assert_eq!(ice.selected(), Some(tcp(1)));
}

#[test]
fn a_closed_connection_makes_room_for_another_path() {
    let start = Instant::now();
    let mut ice = Ice::new(local());
    at(&mut ice, start, tcp(1), &request(&local(), true));
    ice.handle_closed(tcp(1));
    assert_eq!(ice.selected(), Some(tcp(1)), "there is none, and consent runs out in its time");
    let later = start + Duration::from_secs(5);
    at(&mut ice, later, tcp(2), &request(&local(), false));
    ice.handle_closed(tcp(1));
    assert_eq!(ice.selected(), Some(tcp(2)));
    assert!(!ice.is_valid(tcp(1)));
}

#[test]
fn random_credentials_are_long_enough_and_name_their_worker() {
    for worker in [0, 1, 61, 62, 255] {
        let (a, b) = (credentials(worker), credentials(worker));
        assert_ne!(a, b);
        assert!(a.ufrag.len() >= 4 && a.pwd.len() >= 22);
        assert_eq!(worker_of(&a.ufrag), Some(worker));
    }
    assert_eq!((worker_of(""), worker_of("A"), worker_of("+A")), (None, None, None));
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
            let credited = match outcome {
                Outcome::Answer { .. } => true,
                Outcome::Refuse(answer) => refused(&answer, &local()).1,
                Outcome::BadIntegrity(_) | Outcome::Silent => false,
            };
            prop_assert!(credited != changed);
        }
    }
}
