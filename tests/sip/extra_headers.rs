//! Headers of the deployment's own ([`UaConfig::headers`]).

use rsipstack::sip::{HasHeaders, Method, Request};
use wrtc_gateway::sip::{Command, HeaderPair, SessionId, UaConfig};

use super::support::*;

fn pairs(list: &[(&str, &str)]) -> Vec<HeaderPair> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn bench(headers: &[(&str, &str)]) -> Bench {
    Bench::with(UaConfig { headers: pairs(headers), ..config("5001", "192.0.2.1:5070", PEER) })
}

fn values(message: &impl HasHeaders, name: &str) -> Vec<String> {
    let all = message.headers().iter().filter(|h| h.name().eq_ignore_ascii_case(name));
    all.map(|h| h.value().to_owned()).collect()
}

fn invite(bench: &mut Bench, headers: &[(&str, &str)]) -> Request {
    let headers = pairs(headers);
    let sdp = Some(OFFER.to_owned());
    bench.command(Command::Invite { session: SessionId(1), to: "1003".into(), sdp, headers });
    bench.request().1
}

#[test]
fn register_and_invite_have_them_and_a_reinvite_does_not() {
    let mut bench = bench(&[("X-Tenant", "blue"), ("X-Site", "7")]);
    bench.command(Command::Register);
    let (tx, register, _) = bench.request();
    assert_eq!(values(&register, "X-Tenant"), ["blue"]);
    assert_eq!(values(&register, "X-Site"), ["7"]);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    bench.answer(tx, &register, "401 Unauthorized", challenge, "");
    assert_eq!(values(&bench.request().1, "X-Tenant"), ["blue"], "the second try, too");

    let (session, mut peer) = bench.call_in();
    bench.command(Command::Reinvite { session, sdp: Some(OFFER.into()) });
    assert_eq!(values(&bench.request().1, "X-Tenant"), Vec::<String>::new());
    bench.receive(&peer.request(Method::Options, "", ""));
    let (_, ok) = bench.responses().remove(0);
    assert_eq!(values(&ok, "X-Tenant"), Vec::<String>::new());

    let invite = invite(&mut bench, &[("X-Call", "1"), ("X-Call", "2"), ("X-TENANT", "red")]);
    assert_eq!(values(&invite, "X-Tenant"), ["blue"], "the deployment's own stands");
    assert_eq!(values(&invite, "X-Call"), ["1", "2"]);
    let names: Vec<String> = invite.headers.iter().map(|h| h.name().to_owned()).collect();
    let at = |name: &str| names.iter().position(|n| n == name).unwrap();
    assert!(at("X-Tenant") > at("User-Agent") && at("X-Call") > at("X-Site"), "{names:?}");
}

#[test]
fn nothing_of_sips_own_is_overridden() {
    let hostile = [
        ("Via", "SIP/2.0/UDP evil"),
        ("contact", "<sip:evil@h>"),
        ("Session-Expires", "1"),
        ("t", "<sip:evil@h>"),
        ("bad name", "x"),
        ("", "x"),
        ("X-Break", "1\r\nX-Evil: 2"),
    ];
    let mut bench = bench(&hostile);
    let invite = invite(&mut bench, &hostile);
    assert_eq!(values(&invite, "Via").len(), 1);
    assert_eq!(values(&invite, "Contact"), ["<sip:5001@192.0.2.1:5070>"]);
    assert_eq!(values(&invite, "To"), ["<sip:1003@example.org>"]);
    assert_eq!(values(&invite, "X-Break"), ["1  X-Evil: 2"]);
    let again = Request::try_from(invite.to_string().as_str()).unwrap();
    assert_eq!(values(&again, "X-Evil"), Vec::<String>::new());
}

/// What a REFER asked for is called with its Replaces and its Referred-By.
#[test]
fn an_application_may_send_replaces_and_referred_by() {
    let mut bench = bench(&[]);
    let invite = invite(
        &mut bench,
        &[("Replaces", "a@b;to-tag=1;from-tag=2"), ("Referred-By", "<sip:a@h>")],
    );
    assert_eq!(values(&invite, "Replaces"), ["a@b;to-tag=1;from-tag=2"]);
    assert_eq!(values(&invite, "Referred-By"), ["<sip:a@h>"]);
}
