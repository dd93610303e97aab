//! Digest on any request: each kind is answered when challenged, and later ones carry the credentials on
//! with rising counts. As the challenged server checks them.

use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Request};
use wrtc_gateway::sip::digest::{Algorithm, Verdict, Verifier};
use wrtc_gateway::sip::port::{ClientTx, Transmit};
use wrtc_gateway::sip::{Command, Event, NotifyEvent, SessionId};

use super::support::*;

const ME: SessionId = SessionId(1);
const CONTACT: &str = "Contact: <sip:peer@192.0.2.9>\r\nAllow: UPDATE\r\n";

struct Server {
    verifier: Verifier,
    nonces: u32,
    now: Instant,
}

impl Server {
    fn new() -> Self {
        let verifier = Verifier::new("r", vec![Algorithm::SHA256], Duration::from_secs(3600));
        Self { verifier, nonces: 0, now: Instant::now() }
    }

    /// A fresh challenge, as a header line.
    fn challenge(&mut self) -> String {
        self.nonces += 1;
        let lines = self.verifier.challenges(&format!("n{}", self.nonces), false, self.now);
        format!("Proxy-Authenticate: {}\r\n", lines[0])
    }

    fn grants(&mut self, request: &Request) -> bool {
        let Some(line) = header(request, "Proxy-Authorization") else { return false };
        let method = request.method.to_string();
        assert!(line.contains(&format!("uri=\"{}\"", request.uri)), "{line}");
        self.verifier.check(&line, &method, "secret", self.now) == Verdict::Granted
    }

    /// Challenges the request; what follows is granted.
    fn challenge_once(
        &mut self,
        bench: &mut Bench,
        tx: ClientTx,
        request: &Request,
    ) -> (ClientTx, Request) {
        let line = self.challenge();
        bench.answer(tx, request, "407 Proxy Authentication Required", &line, "");
        let (tx, again, _) = bench.request();
        assert_eq!(again.method, request.method);
        assert_eq!(again.body, request.body);
        assert!(self.grants(&again), "{}", again.method);
        (tx, again)
    }
}

/// Every request we send in a dialog, each challenged with a nonce of its own.
#[test]
fn each_kind_of_request_is_answered_when_challenged() {
    let mut server = Server::new();
    let mut bench = Bench::new();
    let (to, sdp) = ("1".into(), Some(OFFER.into()));
    bench.command(Command::Invite { session: ME, to, sdp, headers: vec![] });
    let (tx, invite, _) = bench.request();
    let (tx, invite) = server.challenge_once(&mut bench, tx, &invite);
    let reliable = format!("{CONTACT}Require: 100rel\r\nRSeq: 1\r\n");
    bench.answer(tx, &invite, "183 Progress", &reliable, ANSWER);
    let (prack_tx, prack, _) = bench.request();
    let (prack_tx, prack) = server.challenge_once(&mut bench, prack_tx, &prack);
    bench.answer(prack_tx, &prack, "200 OK", "", "");
    bench.command(Command::Reinvite { session: ME, sdp: Some("early".into()) });
    let (update_tx, update, _) = bench.request();
    assert_eq!(update.method, Method::Update);
    let (update_tx, update) = server.challenge_once(&mut bench, update_tx, &update);
    bench.answer(update_tx, &update, "200 OK", CONTACT, ANSWER);
    bench.answer(tx, &invite, "200 OK", CONTACT, ANSWER);
    assert!(header(&bench.ack(), "Proxy-Authorization").is_some(), "the INVITE's own (22.1)");
    bench.events();
    for command in [
        Command::Info { session: ME, content_type: "a/b".into(), body: vec![1] },
        Command::Notify { session: ME, event: NotifyEvent::Talk },
        Command::Reinvite { session: ME, sdp: Some("hold".into()) },
        Command::End { session: ME, code: 200, text: String::new() },
    ] {
        bench.command(command);
        let (tx, request, _) = bench.request();
        let (tx, again) = server.challenge_once(&mut bench, tx, &request);
        bench.answer(
            tx,
            &again,
            "200 OK",
            "",
            if again.method == Method::Invite { ANSWER } else { "" },
        );
        bench.sent();
    }
    assert!(matches!(bench.events().last(), Some(Event::Ended { .. })));
    assert!(bench.ua.is_idle());
}

/// One challenge is enough for a dialog: its nonce goes on, counted.
#[test]
fn later_requests_carry_the_credentials_on() {
    let mut server = Server::new();
    let mut bench = Bench::new();
    let (to, sdp) = ("1".into(), Some(OFFER.into()));
    bench.command(Command::Invite { session: ME, to, sdp, headers: vec![] });
    let (tx, invite, _) = bench.request();
    let (tx, invite) = server.challenge_once(&mut bench, tx, &invite);
    bench.answer(tx, &invite, "200 OK", CONTACT, ANSWER);
    bench.ack();
    for count in 2..6 {
        bench.command(Command::Info { session: ME, content_type: "a/b".into(), body: vec![1] });
        let (_, info, _) = bench.request();
        let line = header(&info, "Proxy-Authorization").unwrap();
        assert!(line.contains(&format!("nc={count:08x}")), "{line}");
        assert!(server.grants(&info));
    }
    bench.command(Command::End { session: ME, code: 200, text: String::new() });
    assert!(server.grants(&bench.request().1));
}

/// In a call that came in, too.
#[test]
fn a_called_one_is_challenged_likewise() {
    let mut server = Server::new();
    let mut bench = Bench::new();
    let (session, _) = bench.call_in();
    bench.command(Command::Reinvite { session, sdp: Some("hold".into()) });
    let (tx, hold, _) = bench.request();
    let (tx, hold) = server.challenge_once(&mut bench, tx, &hold);
    assert_eq!(header(&hold, "CSeq").as_deref(), Some("2 INVITE"));
    bench.answer(tx, &hold, "200 OK", "", ANSWER);
    bench.ack();
    bench.command(Command::End { session, code: 200, text: String::new() });
    let (_, bye, _) = bench.request();
    assert_eq!(header(&bye, "CSeq").as_deref(), Some("3 BYE"));
    assert!(server.grants(&bye));
}

/// A wrong password is not tried for ever.
#[test]
fn who_asks_again_and_again_is_left_alone() {
    let mut server = Server::new();
    let mut bench = Bench::new();
    let (session, _) = bench.call_out();
    bench.command(Command::Info { session, content_type: "a/b".into(), body: vec![1] });
    let (mut tx, mut info, _) = bench.request();
    for round in 0.. {
        assert!(round < 5, "it must end");
        let line = server.challenge();
        bench.answer(tx, &info, "407 Proxy Authentication Required", &line, "");
        let mut sent = bench.sent();
        match sent.pop() {
            Some(Transmit::Request { tx: next, request, .. }) => (tx, info) = (next, request),
            None => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bench.ua.live_sessions(), 1, "the call goes on");
}
