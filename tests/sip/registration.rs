//! REGISTER is kept up, and given up only on command.

use std::time::Duration;

use rsipstack::sip::Request;
use wrtc_gateway::sip::digest::{Algorithm, Verdict, Verifier};
use wrtc_gateway::sip::port::{ClientTx, TxFailure};
use wrtc_gateway::sip::{Command, Event};

use super::support::*;

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\"\r\n";

fn register(bench: &mut Bench) -> (ClientTx, Request) {
    bench.command(Command::Register);
    let (tx, request, to) = bench.request();
    assert_eq!(to, addr(PEER));
    (tx, request)
}

fn grant(bench: &mut Bench, tx: ClientTx, request: &Request, seconds: u64) {
    let contact = format!("Contact: <sip:5001@192.0.2.1:5070>;expires={seconds}\r\n");
    bench.answer(tx, request, "200 OK", &contact, "");
    let expires = Duration::from_secs(seconds);
    assert_eq!(bench.event(), Event::Registered { expires });
}

fn expires(request: &Request) -> (Option<String>, bool) {
    let contact = header(request, "Contact").unwrap();
    assert!(contact.starts_with("<sip:5001@192.0.2.1:5070>"), "{contact}");
    (header(request, "Expires"), contact.ends_with(";expires=0"))
}

#[test]
fn refreshed_at_half_of_what_was_granted_with_the_same_call_id() {
    let mut bench = Bench::new();
    let (tx, first) = register(&mut bench);
    assert_eq!(first.uri.to_string(), "sip:example.org");
    assert_eq!(header(&first, "To").as_deref(), Some("<sip:5001@example.org>"));
    assert_eq!(expires(&first), (Some("600".into()), false));
    // Our contact's expires counts, not the header, and not another contact's.
    let extra = "Expires: 30\r\nContact: <sip:5001@192.0.2.77>;expires=20, \
        \"x\" <sip:5001@192.0.2.1:5070;ob>;q=0.5;expires=100\r\n";
    bench.answer(tx, &first, "200 OK", extra, "");
    assert_eq!(bench.event(), Event::Registered { expires: Duration::from_secs(100) });
    bench.advance(Duration::from_secs(39));
    assert!(bench.sent().is_empty());
    bench.advance(Duration::from_secs(11));
    let (_, second, _) = bench.request();
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(header(&second, "From"), header(&first, "From"));
    assert_eq!(header(&first, "CSeq").as_deref(), Some("1 REGISTER"));
    assert_eq!(header(&second, "CSeq").as_deref(), Some("2 REGISTER"));
}

#[test]
fn the_expires_header_counts_where_the_contact_says_nothing() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    bench.answer(tx, &request, "200 OK", "Expires: 30\r\n", "");
    assert_eq!(bench.event(), Event::Registered { expires: Duration::from_secs(30) });
}

#[test]
fn a_challenge_is_answered_and_its_nonce_used_on() {
    let mut bench = Bench::new();
    let mut server = Verifier::new("r", vec![Algorithm::MD5], Duration::from_secs(3600));
    let now = bench.now;
    let (tx, first) = register(&mut bench);
    assert_eq!(header(&first, "Authorization"), None);
    let line = format!("WWW-Authenticate: {}\r\n", server.challenges("n1", false, now)[0]);
    bench.answer(tx, &first, "401 Unauthorized", &line, "");
    let (tx, second, _) = bench.request();
    let authorization = header(&second, "Authorization").unwrap();
    assert_eq!(server.check(&authorization, "REGISTER", "secret", now), Verdict::Granted);
    assert_ne!(header(&second, "Via"), header(&first, "Via"));
    assert_eq!(header(&second, "CSeq").as_deref(), Some("2 REGISTER"));
    grant(&mut bench, tx, &second, 600);
    bench.advance(Duration::from_secs(300));
    let (tx, third, _) = bench.request();
    let authorization = header(&third, "Authorization").unwrap();
    assert!(authorization.contains("nc=00000002"), "{authorization}");
    assert_eq!(server.check(&authorization, "REGISTER", "secret", now), Verdict::Granted);
    // The server forgot the nonce: one more round, no failure.
    let line = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", stale=true\r\n";
    bench.answer(tx, &third, "401 Unauthorized", line, "");
    let (tx, fourth, _) = bench.request();
    assert!(header(&fourth, "Authorization").unwrap().contains("nonce=\"n2\""));
    grant(&mut bench, tx, &fourth, 600);
}

#[test]
fn a_nonce_that_went_stale_at_once_is_answered_but_not_for_ever() {
    let mut bench = Bench::new();
    let (mut tx, mut request) = register(&mut bench);
    for round in 1..=4 {
        let stale = if round > 1 { ", stale=TRUE" } else { "" };
        let line = format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"n{round}\"{stale}\r\n");
        bench.answer(tx, &request, "401 Unauthorized", &line, "");
        (tx, request, _) = bench.request();
        let authorization = header(&request, "Authorization").unwrap();
        assert!(authorization.contains(&format!("nonce=\"n{round}\"")), "{authorization}");
    }
    let line = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n5\", stale=true\r\n";
    bench.answer(tx, &request, "401 Unauthorized", line, "");
    assert!(bench.sent().is_empty());
    assert!(matches!(bench.event(), Event::RegistrationFailed { code: 401, .. }));
}

#[test]
fn a_proxy_and_a_registrar_may_both_challenge() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    let line = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"p1\"\r\n";
    bench.answer(tx, &request, "407 Proxy Authentication Required", line, "");
    let (tx, request, _) = bench.request();
    assert!(header(&request, "Proxy-Authorization").is_some());
    bench.answer(tx, &request, "401 Unauthorized", CHALLENGE, "");
    let (tx, request, _) = bench.request();
    assert!(header(&request, "Proxy-Authorization").is_some());
    assert!(header(&request, "Authorization").is_some());
    grant(&mut bench, tx, &request, 60);
}

#[test]
fn a_wrong_password_is_final() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    bench.answer(tx, &request, "401 Unauthorized", CHALLENGE, "");
    let (tx, request, _) = bench.request();
    bench.answer(tx, &request, "401 No Such Luck", CHALLENGE, "");
    let text = "No Such Luck".into();
    assert_eq!(bench.event(), Event::RegistrationFailed { code: 401, text, will_retry: false });
    bench.advance(Duration::from_secs(3600));
    assert!(bench.sent().is_empty());
    // A command starts again.
    register(&mut bench);
}

#[test]
fn an_unknown_dn_is_told_verbatim() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    bench.answer(tx, &request, "404 DN not configured", "", "");
    let text = "DN not configured".into();
    assert_eq!(bench.event(), Event::RegistrationFailed { code: 404, text, will_retry: false });
}

#[test]
fn too_brief_an_interval_is_raised() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    bench.answer(tx, &request, "423 Interval Too Brief", "Min-Expires: 1800\r\n", "");
    let (tx, request, _) = bench.request();
    assert_eq!(expires(&request), (Some("1800".into()), false));
    // A server that is never content is not asked for ever.
    bench.answer(tx, &request, "423 Interval Too Brief", "Min-Expires: 1800\r\n", "");
    assert!(bench.sent().is_empty());
    assert!(matches!(bench.event(), Event::RegistrationFailed { code: 423, .. }));
}

#[test]
fn an_outage_is_met_with_growing_jittered_pauses_without_end() {
    let mut pauses = Vec::new();
    let mut bench = Bench::new();
    let (mut tx, _) = register(&mut bench);
    for round in 0..200 {
        bench.fail(tx, if round % 2 == 0 { TxFailure::Timeout } else { TxFailure::Transport });
        let event = bench.event();
        assert!(matches!(event, Event::RegistrationFailed { will_retry: true, .. }), "{event:?}");
        let due = bench.ua.poll_timeout().expect("another try");
        pauses.push(due - bench.now);
        bench.advance(due - bench.now);
        tx = bench.request().0;
    }
    assert!(pauses[0] >= Duration::from_secs(1) && pauses[0] <= Duration::from_secs(2));
    let late = &pauses[10..];
    assert!(late.iter().all(|p| *p >= Duration::from_secs(30) && *p <= Duration::from_secs(60)));
    assert!(late.iter().any(|p| *p != late[0]), "jitter");
}

#[test]
fn a_server_that_says_when_is_not_asked_before() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    bench.answer(tx, &request, "503 Starting", "Retry-After: 20 (soon)\r\n", "");
    bench.events();
    let pause = bench.ua.poll_timeout().unwrap() - bench.now;
    assert!(pause >= Duration::from_secs(20) && pause <= Duration::from_secs(22), "{pause:?}");
}

#[test]
fn a_refusal_after_success_is_the_servers_trouble() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    grant(&mut bench, tx, &request, 60);
    bench.advance(Duration::from_secs(30));
    let (tx, request, _) = bench.request();
    bench.answer(tx, &request, "404 Not Found", "", "");
    assert!(matches!(bench.event(), Event::RegistrationFailed { code: 404, will_retry: true, .. }));
}

#[test]
fn sign_out_takes_the_binding_away_and_only_then() {
    let mut bench = Bench::new();
    bench.command(Command::Unregister);
    assert!(bench.sent().is_empty(), "nothing is bound");
    assert_eq!(bench.event(), Event::Unregistered);
    let (tx, request) = register(&mut bench);
    grant(&mut bench, tx, &request, 60);
    bench.command(Command::Unregister);
    let (tx, request, _) = bench.request();
    assert_eq!(expires(&request), (Some("0".into()), true));
    assert!(!bench.ua.is_idle());
    bench.answer(tx, &request, "200 OK", "", "");
    assert_eq!(bench.event(), Event::Unregistered);
    assert!(bench.ua.is_idle());
    bench.advance(Duration::from_secs(600));
    assert!(bench.sent().is_empty(), "no refresh after sign-out");
}

#[test]
fn sign_out_while_a_register_is_under_way_waits_for_its_answer() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    bench.command(Command::Unregister);
    assert!(bench.sent().is_empty());
    grant(&mut bench, tx, &request, 60);
    let (tx, request, _) = bench.request();
    assert_eq!(expires(&request), (Some("0".into()), true));
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(bench.event(), Event::Unregistered);
}

#[test]
fn sign_in_while_a_sign_out_is_under_way_registers_again() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    grant(&mut bench, tx, &request, 60);
    bench.command(Command::Unregister);
    let (tx, request, _) = bench.request();
    bench.command(Command::Register);
    assert!(bench.sent().is_empty(), "one at a time");
    bench.answer(tx, &request, "200 OK", "", "");
    assert_eq!(bench.event(), Event::Unregistered);
    let (_, request, _) = bench.request();
    assert_eq!(expires(&request), (Some("600".into()), false));
}

#[test]
fn a_guest_never_registers() {
    let mut guest = config("guest", "192.0.2.1:5070", PEER);
    guest.registers = false;
    let mut bench = Bench::with(guest);
    bench.command(Command::Register);
    assert!(bench.sent().is_empty() && bench.events().is_empty());
}

#[test]
fn another_server_hears_of_us_at_once() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    grant(&mut bench, tx, &request, 600);
    let here = bench.ua.config().advertise;
    bench.ua.set_server(addr("192.0.2.10:5060"), here, bench.now);
    assert_eq!(bench.request().2, addr("192.0.2.10:5060"));
}
