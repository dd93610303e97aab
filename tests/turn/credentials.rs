//! Who may open a relay, until when (RFC 8489 9.2, RFC 8656 5).

use rtc_stun::attributes::*;
use rtc_stun::message::*;
use wrtc_gateway::turn::Transport;

use crate::support::*;

#[test]
fn a_wrong_password_and_a_forged_user_are_challenged() {
    for spoil in [
        (|b: &mut Bench| b.password.push('x')) as fn(&mut Bench),
        |b| b.username = b.username.replacen('1', "2", 1),
        |b| b.username = "alice".to_owned(),
        |b| b.username = String::new(),
        |b| b.realm = "elsewhere".to_owned(),
    ] {
        let mut bench = Bench::new();
        bench.greet();
        spoil(&mut bench);
        let reply = bench.ask(METHOD_ALLOCATE, &[udp()]);
        assert_eq!(reply.code(), 401);
        assert!(!reply.message.contains(ATTR_MESSAGE_INTEGRITY));
        assert!(!bench.session.is_open());
        assert_eq!(bench.core.stats().unauthenticated, 1);
    }
}

#[test]
fn credentials_that_have_run_out_open_nothing_and_keep_what_is_open() {
    let mut bench = Bench::new();
    let issued = authority().issue("5001", UNIX + 500);
    bench.username = issued.username;
    bench.password = issued.credential.expose().to_owned();
    assert_eq!(bench.allocate().code(), 0);
    bench.pass(501);
    assert_eq!(bench.ask(METHOD_REFRESH, &[]).code(), 0, "the call goes on");
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[peer(MEDIA)]).code(), 0);
    assert_eq!(bench.ask(METHOD_REFRESH, &[lifetime(0)]).code(), 0);
    assert_eq!(bench.ask(METHOD_ALLOCATE, &[udp()]).code(), 401);
    let mut late = Bench::new();
    let issued = authority().issue("5001", UNIX);
    late.username = issued.username;
    late.password = issued.credential.expose().to_owned();
    late.greet();
    assert_eq!(late.ask(METHOD_ALLOCATE, &[udp()]).code(), 401);
}

#[test]
fn an_allocation_answers_to_whom_it_belongs() {
    let mut bench = Bench::open();
    let issued = authority().issue("5002", UNIX + 86_400);
    bench.username = issued.username;
    bench.password = issued.credential.expose().to_owned();
    assert_eq!(bench.ask(METHOD_REFRESH, &[lifetime(0)]).code(), 441);
    assert_eq!(bench.ask(METHOD_CREATE_PERMISSION, &[peer(MEDIA)]).code(), 441);
    assert!(bench.session.is_open());
}

#[test]
fn a_nonce_becomes_stale() {
    let mut bench = Bench::open();
    for _ in 0..7 {
        bench.pass(550);
        let reply = bench.ask(METHOD_REFRESH, &[]);
        if reply.code() == 0 {
            continue;
        }
        assert_eq!(reply.code(), 438);
        assert!(!reply.message.contains(ATTR_MESSAGE_INTEGRITY));
        assert_eq!(reply.text(ATTR_REALM), REALM);
        bench.nonce = reply.text(ATTR_NONCE);
        assert_eq!(bench.ask(METHOD_REFRESH, &[]).code(), 0);
        return;
    }
    panic!("it never did");
}

#[test]
fn a_nonce_of_another_client_is_stale() {
    let mut one = Bench::new();
    one.greet();
    let mut other = Bench::of(one.core.clone(), Transport::Datagram, "192.0.2.78:5000", "5001");
    other.nonce = one.nonce.clone();
    assert_eq!(other.ask(METHOD_ALLOCATE, &[udp()]).code(), 438);
}

#[test]
fn a_signature_without_a_name_is_a_bad_request() {
    let bench = Bench::new();
    let mut message = message(METHOD_ALLOCATE, CLASS_REQUEST, &[udp()]);
    message.add(ATTR_MESSAGE_INTEGRITY, &[0; 20]);
    let mut bench = bench;
    bench.send(&message.raw);
    assert_eq!(bench.reply().code(), 400);
}

#[test]
fn what_is_added_behind_the_signature_changes_nothing() {
    let mut bench = Bench::open();
    let mut request = bench.signed(METHOD_REFRESH, &[]);
    // Without the fingerprint, which would tell.
    request.raw.truncate(request.raw.len() - 8);
    request.raw.extend_from_slice(b"\x00\x0d\x00\x04\x00\x00\x00\x00");
    bench.send(&request.raw);
    assert_eq!(bench.reply().lifetime(), 600);
    assert!(bench.session.is_open());
}
