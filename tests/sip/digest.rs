//! Digest, both sides of it: what one writes the other accepts, in every shape of challenge.

use std::time::{Duration, Instant};

use wrtc_gateway::secret::Secret;
use wrtc_gateway::sip::Credentials;
use wrtc_gateway::sip::digest::{Algorithm, Challenge, Hash, Verdict, Verifier, strongest};

fn credentials() -> Credentials {
    Credentials { username: "50\"01".into(), password: Secret::new("pass:word") }
}

fn verifier(algorithms: Vec<Algorithm>) -> Verifier {
    Verifier::new("a realm", algorithms, Duration::from_secs(60))
}

#[test]
fn every_algorithm_is_accepted_and_a_wrong_password_is_not() {
    let now = Instant::now();
    for hash in [Hash::Md5, Hash::Sha256, Hash::Sha512_256] {
        for session in [false, true] {
            let mut server = verifier(vec![Algorithm { hash, session }]);
            let line = server.challenges("n1", false, now).remove(0);
            let challenge = Challenge::parse_all(&line).remove(0);
            let answer = challenge.answer(&credentials(), "REGISTER", "sip:h", 1, "c");
            assert_eq!(Verifier::username(&answer).as_deref(), Some("50\"01"));
            let mut check = |method, password| server.check(&answer, method, password, now);
            assert_eq!(check("REGISTER", "wrong"), Verdict::Refused);
            assert_eq!(check("INVITE", "pass:word"), Verdict::Refused);
            assert_eq!(check("REGISTER", "pass:word"), Verdict::Granted);
            assert_eq!(check("REGISTER", "pass:word"), Verdict::Stale, "a replay");
        }
    }
}

#[test]
fn an_old_nonce_is_stale_and_a_count_that_rises_is_not() {
    let now = Instant::now();
    let mut server = verifier(vec![Algorithm::SHA256]);
    let line = server.challenges("n1", true, now).remove(0);
    let challenge = Challenge::parse_all(&line).remove(0);
    assert!(challenge.stale);
    let answer = |count| challenge.answer(&credentials(), "REGISTER", "sip:h", count, "c");
    for count in [1, 2, 7] {
        assert_eq!(server.check(&answer(count), "REGISTER", "pass:word", now), Verdict::Granted);
    }
    let later = now + Duration::from_secs(61);
    assert_eq!(server.check(&answer(8), "REGISTER", "pass:word", later), Verdict::Stale);
}

#[test]
fn challenges_are_read_as_servers_write_them() {
    let cases = [
        ("Digest realm=\"r\", nonce=\"n\"", Some((Algorithm::MD5, false))),
        ("digest  realm=\"r\",nonce=\"n\",algorithm=md5", Some((Algorithm::MD5, false))),
        ("Digest realm=r, nonce=n, algorithm=SHA-256, qop=auth", Some((Algorithm::SHA256, true))),
        (
            "Digest algorithm=\"SHA-256\", qop=\"auth,auth-int\", nonce=\"n\", realm=\"a, b\"",
            Some((Algorithm::SHA256, true)),
        ),
        ("Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"", None),
        ("Digest realm=\"r\", nonce=\"n\", algorithm=SHA3", None),
        ("Digest realm=\"r\"", None),
        ("Basic realm=\"r\"", None),
        ("", None),
        ("Digest ,,=,=\"", None),
    ];
    for (line, expected) in cases {
        let found = Challenge::parse_all(line).first().map(|c| (c.algorithm, c.qop_auth));
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn the_strongest_of_several_in_one_line_is_taken() {
    let line = "Basic realm=\"x\", Digest realm=\"r\", nonce=\"1\", algorithm=MD5, \
        Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256, Digest realm=\"r\", nonce=\"3\"";
    let best = strongest(Challenge::parse_all(line)).unwrap();
    assert_eq!((best.nonce.as_str(), best.algorithm), ("2", Algorithm::SHA256));
}
