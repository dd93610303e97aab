//! Privacy and identity headers (P-Asserted-Identity, Diversion, display names), and the connected line.

use rsipstack::sip::Method;
use wrtc_gateway::sip::{Command, Event, Invited, Party, SessionId};

use super::support::*;

fn invited(bench: &mut Bench, lines: &str) -> (SessionId, Invited) {
    let mut peer =
        Peer { call_id: "i".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    bench.receive(&peer.request(Method::Invite, lines, OFFER));
    match bench.event() {
        Event::Invited { session, invite } => (session, *invite),
        other => panic!("Invited: {other:?}"),
    }
}

fn party(name: Option<&str>, number: &str, uri: &str) -> Party {
    Party { display_name: name.map(str::to_owned), number: number.into(), uri: uri.into() }
}

#[test]
fn an_invite_tells_who_calls_whom_it_was_for_and_who_sent_it() {
    let (_, invite) = invited(
        &mut Bench::new(),
        "P-Asserted-Identity: <tel:+493012345>\r\n\
         P-Asserted-Identity: \"M\u{fc}ller, J\u{f6}rg\" <sip:+493012345@example.org>\r\n\
         Diversion: \"Sales\" <sip:7000@example.org>;reason=no-answer, <tel:+49800>;reason=\"x\\\"y\"\r\n\
         Referred-By: <sip:1002@example.org>\r\n",
    );
    assert_eq!(invite.from, "1003", "From stays what it is");
    let uri = "sip:+493012345@example.org";
    assert_eq!(
        invite.identity.asserted,
        Some(party(Some("M\u{fc}ller, J\u{f6}rg"), "+493012345", uri))
    );
    assert!(!invite.identity.private);
    let diverted = &invite.identity.diverted;
    assert_eq!(diverted[0].party, party(Some("Sales"), "7000", "sip:7000@example.org"));
    assert_eq!(diverted[0].reason, "no-answer");
    assert_eq!(diverted[1].party, party(None, "+49800", "tel:+49800"));
    assert_eq!(diverted[1].reason, "x\"y");
    assert_eq!(invite.referred_by.as_deref(), Some("<sip:1002@example.org>"));
    let plain = invited(&mut Bench::new(), "").1;
    assert_eq!((plain.identity, plain.referred_by), Default::default());
}

#[test]
fn callers_that_hide_are_private() {
    let (_, invite) = invited(
        &mut Bench::new(),
        "Privacy: id\r\nP-Asserted-Identity: <sip:+4930@example.org>\r\n",
    );
    assert!(invite.identity.private);
    let mut bench = Bench::new();
    let mut peer =
        Peer { call_id: "i".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    let text = peer.request(Method::Invite, "", OFFER).replace(
        "\"Peer\" <sip:1003@example.org>",
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
    );
    bench.receive(&text);
    let Event::Invited { invite, .. } = bench.event() else { panic!("Invited") };
    assert!(invite.identity.private);
}

/// Names of strangers: nothing that moves the cursor, nothing without end.
#[test]
fn hostile_names_are_tamed() {
    let long = "x".repeat(10_000);
    let (_, invite) = invited(
        &mut Bench::new(),
        &format!(
            "P-Asserted-Identity: \"{long}\u{1b}[2J\u{202e}\" <sip:1%0d%0aX:2@h>\r\n\
             Diversion: \"open <sip:1@h>\r\nRemote-Party-ID: <<>>;party\r\nPrivacy: ;;,\r\n\
             History-Info: <sip:1@h?Reason=%zz;cause=>;index=, <\r\n"
        ),
    );
    let asserted = invite.identity.asserted.unwrap();
    assert_eq!(asserted.display_name.unwrap().len(), 128);
    assert_eq!(asserted.number, "1X");
    assert!(invite.identity.diverted.is_empty() && !invite.identity.private);
}

#[test]
fn the_called_party_is_told_when_it_is_another() {
    let mut bench = Bench::new();
    let session = SessionId(1);
    let sdp = Some(OFFER.to_owned());
    bench.command(Command::Invite { session, to: "1003".into(), sdp, headers: vec![] });
    let (tx, invite, _) = bench.request();
    // Whom we dialled is no news.
    let dialled = "P-Asserted-Identity: <sip:1003@example.org>\r\n";
    bench.answer(tx, &invite, "180 Ringing", dialled, "");
    assert!(matches!(bench.event(), Event::Progressed { .. }));
    let ann = "P-Asserted-Identity: \"Ann\" <sip:1003@example.org>\r\n";
    bench.answer(tx, &invite, "180 Ringing", ann, "");
    let told =
        Event::Identified { session, party: party(Some("Ann"), "1003", "sip:1003@example.org") };
    assert_eq!(bench.events()[1], told);
    let picked_up = "Contact: <sip:peer@192.0.2.9>\r\n\
        Remote-Party-ID: \"Bob\" <sip:1004@example.org>;party=called\r\n";
    bench.answer(tx, &invite, "200 OK", picked_up, ANSWER);
    let events = bench.events();
    assert!(matches!(events[0], Event::Answered { .. }));
    let bob = party(Some("Bob"), "1004", "sip:1004@example.org");
    assert_eq!(events[1], Event::Identified { session, party: bob });
    assert_eq!(events.len(), 2);
}

/// A transfer by re-INVITE, as Genesys mostly does it: the connected line changes.
#[test]
fn a_reinvite_or_update_tells_of_another_party() {
    let mut bench = Bench::new();
    let (session, mut peer) = bench.call_in();
    let line = "P-Asserted-Identity: \"Carl\" <sip:1005@example.org>\r\n";
    bench.receive(&peer.request(Method::Update, line, ""));
    let carl = party(Some("Carl"), "1005", "sip:1005@example.org");
    assert_eq!(bench.event(), Event::Identified { session, party: carl });
    bench.receive(&peer.request(Method::Update, line, ""));
    assert!(bench.events().is_empty(), "told once");
    // RFC 4916: the From itself changes; the tags say that it is the same dialog.
    let text = peer.request(Method::Invite, "", &OFFER.replace("1 1", "1 2"));
    bench.receive(&text.replace("\"Peer\" <sip:1003@", "\"Dora\" <sip:1006@"));
    let events = bench.events();
    let dora = party(Some("Dora"), "1006", "sip:1006@example.org");
    assert_eq!(events[0], Event::Identified { session, party: dora });
    assert!(matches!(events[1], Event::Reinvited { .. }));
    bench.command(Command::AcceptReinvite { session, sdp: ANSWER.into() });
    bench.receive(&peer.request(Method::Ack, "", ""));
    bench.sent();
    bench.events();
    // The dialog goes on as it began.
    bench.command(Command::End { session, code: 200, text: String::new() });
    let (_, bye, _) = bench.request();
    assert!(header(&bye, "To").unwrap().starts_with("\"Peer\" <sip:1003@example.org>"));
    // Who hides is not told.
    let mut bench = Bench::new();
    let (_, mut peer) = bench.call_in();
    bench.receive(&peer.request(Method::Update, &format!("{line}Privacy: id\r\n"), ""));
    assert!(bench.events().is_empty());
}

/// A caller who hides behind From, and is transferred to somebody who does not.
#[test]
fn an_anonymous_from_hides_itself_and_nobody_else() {
    let mut bench = Bench::new();
    let hidden =
        |text: String| text.replace("\"Peer\" <sip:1003@example.org>", "<sip:anonymous@x>");
    let mut peer =
        Peer { call_id: "i".into(), our_tag: "t".into(), ua_tag: String::new(), number: 0 };
    bench.receive(&hidden(peer.request(Method::Invite, "", OFFER)));
    let Event::Invited { session, .. } = bench.event() else { panic!("Invited") };
    bench.command(Command::Accept { session, sdp: ANSWER.into() });
    let (_, ok) = bench.responses().pop().unwrap();
    peer.ua_tag = header(&ok, "To").unwrap().split("tag=").nth(1).unwrap().to_owned();
    bench.receive(&hidden(peer.request(Method::Ack, "", "")));
    bench.events();
    let line = "P-Asserted-Identity: \"Carl\" <sip:1005@example.org>\r\n";
    bench.receive(&hidden(peer.request(Method::Update, line, "")));
    let carl = party(Some("Carl"), "1005", "sip:1005@example.org");
    assert_eq!(bench.event(), Event::Identified { session, party: carl });
}
