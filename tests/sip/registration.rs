//! REGISTER is kept up, and given up only on command.

use std::time::Duration;

use rsipstack::sip::Request;
use wrtc_gateway::sip::digest::{Algorithm, Verdict, Verifier};
use wrtc_gateway::sip::pacer::Urgency;
use wrtc_gateway::sip::port::{ClientTx, Transmit, TxFailure};
use wrtc_gateway::sip::servers::News;
use wrtc_gateway::sip::{Command, Event, Hop, RegistrationState, Transport, UaConfig, UserAgent};

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

/// Never two registrations, same Call-ID and rising CSeq for refreshes. Refresh at half of the expiry that
/// was granted.
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

/// Digest MD5 and SHA-256, 401 and 407, `qop=auth`, `stale`, nonce counts.
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

/// DN not configured: 404. The reason reaches the agent verbatim.
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

/// After a SIP server outage all DNs return with jittered back-off, without end.
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

/// Never unregister but at sign-out.
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

/// Genesys may accept REGISTER without a challenge (IP trust); `Via ;received=` may be filled without
/// `rport`. The Contact stays what was configured.
#[test]
fn accepted_without_a_challenge_through_a_via_with_received_but_no_rport() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    assert_eq!(header(&request, "Authorization"), None);
    let via = header(&request, "Via").unwrap().replace(";rport", ";received=198.51.100.7");
    let text = format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {}\r\nTo: {};tag=1\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Expires: 60\r\nContent-Length: 0\r\n\r\n",
        header(&request, "From").unwrap(),
        header(&request, "To").unwrap(),
        header(&request, "Call-ID").unwrap(),
        header(&request, "CSeq").unwrap(),
    );
    let response = rsipstack::sip::Response::try_from(text.as_str()).unwrap();
    let incoming = wrtc_gateway::sip::port::Incoming::Response { tx, response, from: addr(PEER) };
    bench.ua.handle_incoming(incoming, bench.now);
    assert_eq!(bench.event(), Event::Registered { expires: Duration::from_secs(60) });
    bench.advance(Duration::from_secs(30));
    assert_eq!(expires(&bench.request().1), (Some("600".into()), false));
}

/// DN unknown, Expires 0: silence. The sign-out is given up on, and nothing is tried again.
#[test]
fn a_sign_out_that_is_met_with_silence_is_done() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    grant(&mut bench, tx, &request, 60);
    bench.ua.poll_news();
    bench.command(Command::Unregister);
    let (tx, _, _) = bench.request();
    bench.fail(tx, TxFailure::Timeout);
    assert_eq!(bench.event(), Event::Unregistered);
    assert_eq!(bench.ua.poll_news(), None, "which says nothing of the server");
    bench.advance(Duration::from_secs(600));
    assert!(bench.sent().is_empty());
}

#[test]
fn thousands_that_registered_together_do_not_refresh_together() {
    let refreshes: Vec<Duration> = (0..1000)
        .map(|seed| {
            let config: UaConfig = config("5001", "192.0.2.1:5070", PEER);
            let mut bench = Bench::with(config.clone());
            bench.ua = UserAgent::new(config, seed);
            let (tx, request) = register(&mut bench);
            grant(&mut bench, tx, &request, 1000);
            bench.ua.poll_timeout().unwrap() - bench.now
        })
        .collect();
    let within = |from: u64, to: u64| {
        let range = Duration::from_secs(from)..Duration::from_secs(to);
        refreshes.iter().filter(|refresh| range.contains(*refresh)).count()
    };
    assert_eq!(within(400, 501), 1000, "at 40 to 50 % of what was granted");
    for tenth in 0..10 {
        let here = within(400 + 10 * tenth, 410 + 10 * tenth);
        assert!((50..200).contains(&here), "{here} in one tenth");
    }
}

#[test]
fn a_paced_agent_waits_for_its_turn_and_starts_no_timer_before() {
    let mut bench = Bench::new();
    bench.ua.set_paced();
    bench.command(Command::Register);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.ua.awaits_turn(), Some(Urgency::Person));
    bench.advance(Duration::from_secs(120));
    assert!(bench.sent().is_empty() && bench.events().is_empty());
    bench.ua.take_turn(bench.now);
    let (tx, request, _) = bench.request();
    assert!(bench.ua.is_registering() && bench.ua.awaits_turn().is_none());
    // The answer to a challenge is a REGISTER like any other.
    bench.answer(tx, &request, "401 Unauthorized", CHALLENGE, "");
    assert!(bench.sent().is_empty() && !bench.ua.is_registering());
    assert_eq!(bench.ua.awaits_turn(), Some(Urgency::Person));
    bench.ua.take_turn(bench.now);
    let (tx, request, _) = bench.request();
    assert!(header(&request, "Authorization").is_some());
    grant(&mut bench, tx, &request, 600);
    let granted = bench.now;
    bench.advance(Duration::from_secs(300));
    // A refresh is wanted some time before the binding runs out.
    let Some(Urgency::By(at)) = bench.ua.awaits_turn() else { panic!("a refresh") };
    assert_eq!(at, granted + Duration::from_secs(585));
    // The sign-out takes its place, and is urgent.
    bench.command(Command::Unregister);
    assert_eq!(bench.ua.awaits_turn(), Some(Urgency::Person));
    assert!(!bench.ua.is_idle());
    bench.ua.take_turn(bench.now);
    assert_eq!(expires(&bench.request().1), (Some("0".into()), true));
}

#[test]
fn toward_a_server_that_is_down_nothing_goes_out() {
    let mut bench = Bench::new();
    bench.ua.set_paced();
    bench.command(Command::Register);
    bench.ua.take_turn(bench.now);
    let (tx, request, _) = bench.request();
    grant(&mut bench, tx, &request, 600);
    bench.ua.set_reachable(Err("it does not answer OPTIONS"), bench.now);
    let text = "the SIP server is unreachable: it does not answer OPTIONS".to_owned();
    let told = Event::RegistrationFailed { code: 503, text: text.clone(), will_retry: true };
    assert_eq!(bench.event(), told);
    let status = bench.ua.registration();
    assert_eq!(status.state, RegistrationState::Failing);
    assert_eq!((status.last_code, status.last_reason), (Some(503), Some(text)));
    bench.advance(Duration::from_secs(3600));
    assert!(bench.sent().is_empty() && bench.ua.awaits_turn().is_none());
    // A turn that comes too late is not taken.
    bench.ua.take_turn(bench.now);
    assert!(bench.sent().is_empty());
    bench.ua.set_reachable(Ok(()), bench.now);
    assert_eq!(bench.ua.awaits_turn().map(|_| ()), Some(()));
    bench.ua.take_turn(bench.now);
    let (tx, request, _) = bench.request();
    grant(&mut bench, tx, &request, 600);
    assert_eq!(bench.ua.registration().state, RegistrationState::Registered);
}

#[test]
fn a_server_that_is_back_may_have_lost_what_it_knew() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    grant(&mut bench, tx, &request, 600);
    bench.ua.set_reachable(Err("gone"), bench.now);
    bench.events();
    bench.advance(Duration::from_secs(5));
    assert!(bench.sent().is_empty());
    bench.ua.set_reachable(Ok(()), bench.now);
    bench.request();
}

#[test]
fn somebody_who_signs_in_to_a_server_that_is_down_is_told_at_once() {
    let mut bench = Bench::new();
    bench.ua.set_paced();
    bench.ua.set_reachable(Err("gone"), bench.now);
    assert!(bench.events().is_empty());
    bench.command(Command::Register);
    assert!(matches!(bench.event(), Event::RegistrationFailed { code: 503, .. }));
    assert!(bench.sent().is_empty());
}

/// A registrar lists every binding of the DN: a desk phone's, another gateway's, ours of before by another
/// transport.
#[test]
fn of_several_bindings_our_own_decides() {
    for (transport, ours) in [("", 600), (";transport=tcp", 1200)] {
        let mut bench = Bench::new();
        if !transport.is_empty() {
            let server = Hop::new(Transport::Tcp, addr(PEER).addr);
            bench.ua.set_server(server, bench.ua.config().advertise, bench.now);
        }
        bench.command(Command::Register);
        let (tx, request, _) = bench.request();
        let contacts = "Contact: <sip:5001@192.0.2.77:5060>;expires=20, \
                        <sip:5002@192.0.2.1:5070>;expires=30\r\n\
                        Contact: <sip:5001@192.0.2.1:5070>;q=0.5;expires=600, \
                        <sip:5001@192.0.2.1:5070;transport=TCP>;expires=1200\r\n\
                        Expires: 40\r\n";
        bench.answer(tx, &request, "200 OK", contacts, "");
        assert_eq!(bench.event(), Event::Registered { expires: Duration::from_secs(ours) });
    }
}

#[test]
fn a_pause_after_a_refusal_is_kept_when_the_server_is_back_one_after_an_outage_is_not() {
    for (status, extra, waits) in
        [("503 Gone", "", false), ("503 Later", "Retry-After: 300\r\n", true), ("500 No", "", true)]
    {
        let mut bench = Bench::new();
        let (tx, request) = register(&mut bench);
        bench.answer(tx, &request, status, extra, "");
        bench.ua.set_reachable(Err("gone"), bench.now);
        bench.ua.set_reachable(Ok(()), bench.now);
        assert_eq!(bench.sent().is_empty(), waits, "{status} {extra}");
    }
}

#[test]
fn a_register_under_way_is_given_up_for_another_server() {
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    let (other, contact) = (addr("192.0.2.10:5060"), addr("192.0.2.1:5072").addr);
    bench.ua.set_server(other, contact, bench.now);
    let mut sent = bench.sent().into_iter();
    assert!(
        matches!(sent.next(), Some(Transmit::Abandon { tx: old }) if old == tx),
        "not repeated to the old one for 32 s"
    );
    let Some(Transmit::Request { tx: new_tx, request: new, to }) = sent.next() else {
        panic!("a REGISTER")
    };
    assert!(sent.next().is_none());
    assert_eq!(to, other);
    assert_eq!(header(&new, "CSeq").as_deref(), Some("2 REGISTER"));
    assert_eq!(header(&new, "Call-ID"), header(&request, "Call-ID"));
    // The old one's late answer is nobody's.
    bench.answer(tx, &request, "404 Not Found", "", "");
    assert!(bench.events().is_empty() && bench.sent().is_empty());
    bench.answer(new_tx, &new, "200 OK", "Expires: 60\r\n", "");
    assert_eq!(bench.event(), Event::Registered { expires: Duration::from_secs(60) });
    let status = bench.ua.registration();
    assert_eq!(status.server, other);
    assert_eq!(status.contact, "<sip:5001@192.0.2.1:5072>");
}

#[test]
fn what_is_met_at_the_server_is_told() {
    for (status, extra, news) in [
        ("200 OK", "", Some(News::Answered)),
        ("404 Not Found", "", Some(News::Answered)),
        ("503 Gone", "", Some(News::Unavailable)),
        ("503 Later", "Retry-After: 5\r\n", None),
    ] {
        let mut bench = Bench::new();
        let (tx, request) = register(&mut bench);
        bench.answer(tx, &request, status, extra, "");
        assert_eq!(bench.ua.poll_news(), news.map(|news| (addr(PEER), news)), "{status}");
    }
    for (why, news) in [(TxFailure::Timeout, News::Silent), (TxFailure::Transport, News::Unsent)] {
        let mut bench = Bench::new();
        let (tx, _) = register(&mut bench);
        bench.fail(tx, why);
        assert_eq!(bench.ua.poll_news(), Some((addr(PEER), news)));
    }
}

/// State and last reason are visible per DN.
#[test]
fn the_state_of_a_registration_can_be_seen() {
    let mut bench = Bench::new();
    let status = bench.ua.registration();
    assert_eq!((status.state, status.since), (RegistrationState::SignedOut, None));
    let (tx, request) = register(&mut bench);
    assert_eq!(bench.ua.registration().state, RegistrationState::Registering);
    bench.advance(Duration::from_secs(1));
    grant(&mut bench, tx, &request, 60);
    let since = bench.now;
    bench.advance(Duration::from_secs(30));
    let (tx, request, _) = bench.request();
    let status = bench.ua.registration();
    assert_eq!((status.state, status.since), (RegistrationState::Registered, Some(since)));
    assert_eq!(status.expires_at, Some(since + Duration::from_secs(60)));
    assert_eq!((status.last_code, status.last_reason.as_deref()), (Some(200), Some("OK")));
    bench.answer(tx, &request, "404 Moved to MAIN2", "", "");
    let status = bench.ua.registration();
    assert_eq!((status.state, status.since), (RegistrationState::Failing, Some(bench.now)));
    let last = (status.last_code, status.last_reason.as_deref());
    assert_eq!(last, (Some(404), Some("Moved to MAIN2")));
    let mut bench = Bench::new();
    let (tx, request) = register(&mut bench);
    bench.answer(tx, &request, "403 Forbidden", "", "");
    assert_eq!(bench.ua.registration().state, RegistrationState::Refused);
}
