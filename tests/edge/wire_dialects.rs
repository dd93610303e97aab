//! The bodies of both dialects, as they are and as a hostile client may send them.

use proptest::prelude::*;
use serde_json::{Value, json};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::wire::jsapi::{self, BadMessage, PublicId};
use wrtc_gateway::wire::{Candidate, Envelope, FromBrowser, RoapError, RoapIds, ToBrowser, rest};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 RTP/SAVPF 0\r\n";

fn rsmp(object: Value) -> Result<FromBrowser, BadMessage> {
    jsapi::parse_message(&format!("RSMP {object}"))
}

fn offer_of_a_browser() -> Value {
    json!({
        "messageType": "OFFER", "sdp": SDP, "offererSessionId": 103, "answererSessionId": null,
        "seq": 1, "tiebreaker": 71838771,
        "Candidates": [
            {"candidate": "candidate:393 1 udp 2122194687 192.0.2.2 47768 typ host generation 0",
             "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "D0xq"},
            {"candidate": "a=candidate:394 1 udp 1 192.0.2.3 47769 typ host", "sdpMid": null},
            {"candidate": ""}, null, {"sdpMid": "0"}, {"candidate": "candidate:1\r\na=evil"},
        ],
        "attacheddata": [{"key": "CustomerId", "value": "42"}, {"key": "n", "value": 7}, {"value": "x"}],
        "somethingNew": {"deep": [1, 2, 3]},
    })
}

#[test]
fn offer() {
    let FromBrowser::Offer { ids, tiebreaker, sdp, candidates, attached } =
        rsmp(offer_of_a_browser()).unwrap()
    else {
        panic!()
    };
    assert_eq!(ids, Some(RoapIds { offerer: 103, answerer: None, seq: 1 }));
    assert_eq!((tiebreaker, sdp.as_str()), (Some(71838771), SDP));
    assert_eq!(
        candidates,
        [
            Candidate {
                candidate: "candidate:393 1 udp 2122194687 192.0.2.2 47768 typ host generation 0"
                    .into(),
                sdp_mid: Some("0".into()),
                sdp_mline_index: Some(0),
            },
            Candidate {
                candidate: "a=candidate:394 1 udp 1 192.0.2.3 47769 typ host".into(),
                sdp_mid: None,
                sdp_mline_index: None,
            },
        ]
    );
    assert_eq!(attached, [("CustomerId".into(), "42".into()), ("n".into(), "7".into())]);
}

#[test]
fn answer_ok_error() {
    let ids = RoapIds { offerer: 5, answerer: Some(9), seq: 2 };
    let numbers =
        json!({"messageType": "OK", "offererSessionId": "5", "answererSessionId": 9.0, "seq": 2});
    assert_eq!(rsmp(numbers), Ok(FromBrowser::Ok { ids }));
    let answer = rsmp(json!({
        "messageType": "ANSWER", "sdp": SDP, "offererSessionId": 5, "answererSessionId": 9, "seq": 2,
    }));
    let FromBrowser::Answer { ids: Some(got), candidates, attached, .. } = answer.unwrap() else {
        panic!()
    };
    assert!(got == ids && candidates.is_empty() && attached.is_empty());
    for (word, error) in [
        ("NOMATCH", RoapError::NoMatch),
        ("TIMEOUT", RoapError::Timeout),
        ("REFUSED", RoapError::Refused),
        ("CONFLICT", RoapError::Conflict),
        ("DOUBLECONFLICT", RoapError::DoubleConflict),
        ("FAILED", RoapError::Failed),
        ("SOMETHING", RoapError::Failed),
    ] {
        let parsed = rsmp(json!({"messageType": "ERROR", "errorType": word}));
        assert_eq!(parsed, Ok(FromBrowser::Error { ids: None, error }));
    }
}

#[test]
fn words() {
    let parse = |body| jsapi::parse_message(body);
    assert_eq!(parse("BYE"), Ok(FromBrowser::Bye));
    assert_eq!(parse("  BYE \r\n"), Ok(FromBrowser::Bye));
    assert_eq!(parse("INFO-MAP a=b&c=d"), Ok(FromBrowser::InfoMap("a=b&c=d".into())));
    assert_eq!(parse("INFO-PEER a=b%20c"), Ok(FromBrowser::InfoPeer("a=b%20c".into())));
    assert_eq!(parse("GET-STATS"), Ok(FromBrowser::GetStats));
}

#[test]
fn an_unusable_description_is_not_the_parsers_to_refuse() {
    for (sdp, kept) in [(json!(null), ""), (json!("hello"), "hello"), (json!(7), "")] {
        let mut offer = offer_of_a_browser();
        offer["sdp"] = sdp;
        let Ok(FromBrowser::Offer { sdp, ids: Some(_), .. }) = rsmp(offer) else {
            panic!("no OFFER with its numbers")
        };
        assert_eq!(sdp, kept);
    }
}

#[test]
fn what_is_refused_and_why() {
    let mut many = offer_of_a_browser();
    many["Candidates"] = json!(vec![json!({"candidate": "candidate:1"}); 129]);
    let mut no_seq = offer_of_a_browser();
    no_seq.as_object_mut().unwrap().remove("seq");
    let mut negative = offer_of_a_browser();
    negative["seq"] = json!(-1);
    assert_eq!(rsmp(many), Err(BadMessage::TooMany { field: "Candidates", limit: 128 }));
    assert_eq!(rsmp(no_seq), Err(BadMessage::Missing { kind: "OFFER", field: "seq" }));
    assert_eq!(rsmp(negative), Err(BadMessage::NotANumber("seq")));
    assert_eq!(rsmp(json!({"messageType": "HELLO"})), Err(BadMessage::UnknownType("HELLO".into())));
    assert_eq!(jsapi::parse_message(""), Err(BadMessage::Empty));
    assert_eq!(jsapi::parse_message("HELLO x"), Err(BadMessage::UnknownWord("HELLO".into())));
    assert_eq!(jsapi::parse_message("INFO-MAP "), Err(BadMessage::NoData("INFO-MAP")));
    for broken in ["RSMP", "RSMP {", "RSMP []", "RSMP \"x\"", "RSMP {\"messageType\":\"OFFER\""] {
        assert!(matches!(jsapi::parse_message(broken), Err(BadMessage::Json(_))), "{broken}");
    }
    let deep = format!("RSMP {{\"messageType\":{}", "[".repeat(60_000));
    assert!(matches!(jsapi::parse_message(&deep), Err(BadMessage::Json(_))));
}

/// What has numbers is answered by an ERROR with them, not by a 400 that makes the client repeat it.
#[test]
fn a_missing_or_wrong_sdp_is_judged_later() {
    for (given, taken) in [(json!(null), ""), (json!(7), ""), (json!(" hello"), "hello")] {
        let mut object = offer_of_a_browser();
        object["sdp"] = given;
        assert!(matches!(rsmp(object), Ok(FromBrowser::Offer { sdp, .. }) if sdp == taken));
    }
}

#[test]
fn tiebreakers_that_are_none() {
    for none in [json!(0), json!(u32::MAX), json!(1u64 << 33), json!("x"), json!(null)] {
        let mut object = offer_of_a_browser();
        object["tiebreaker"] = none;
        assert!(matches!(rsmp(object), Ok(FromBrowser::Offer { tiebreaker: None, .. })));
    }
}

fn shown(message: &ToBrowser) -> Value {
    let body = jsapi::render(message).unwrap();
    serde_json::from_str(body.strip_prefix("SDP ").unwrap()).unwrap()
}

#[test]
fn offer_to_the_browser_lists_its_candidates() {
    let sdp = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=audio 9 X 0\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\n\
               a=mid:zero\nm=video 0 X 0\na=mid:one\na=candidate:2 1 udp 1 192.0.2.1 2 typ host";
    let offer = shown(&ToBrowser::Offer {
        ids: RoapIds { offerer: 7, answerer: None, seq: 1 },
        tiebreaker: 99,
        sdp: sdp.to_owned(),
        attached: vec![("k".into(), "v".into())],
    });
    assert_eq!(offer["messageType"], "OFFER");
    assert_eq!((&offer["offererSessionId"], &offer["seq"]), (&json!(7), &json!(1)));
    assert_eq!((&offer["answererSessionId"], &offer["tiebreaker"]), (&Value::Null, &json!(99)));
    assert_eq!(offer["attacheddata"], json!([{"key": "k", "value": "v"}]));
    assert_eq!(
        offer["Candidates"],
        json!([
            {"candidate": "candidate:1 1 udp 1 192.0.2.1 1 typ host", "sdpMid": "zero", "sdpMLineIndex": 0},
            {"candidate": "candidate:2 1 udp 1 192.0.2.1 2 typ host", "sdpMid": "one", "sdpMLineIndex": 1},
        ])
    );
    let written = offer["sdp"].as_str().unwrap();
    assert_eq!(written.matches("\r\n").count(), sdp.lines().count());
    assert!(written.replace("\r\n", "").find(['\r', '\n']).is_none());
    assert_eq!(written.matches("a=candidate:").count(), 2);
}

#[test]
fn other_messages_to_the_browser() {
    let ids = RoapIds { offerer: 1, answerer: Some(2), seq: 3 };
    let answer = shown(&ToBrowser::Answer { ids, sdp: SDP.into(), early: false });
    assert_eq!(
        (&answer["messageType"], &answer["answererSessionId"]),
        (&json!("ANSWER"), &json!(2))
    );
    assert_eq!(shown(&ToBrowser::Ok { ids })["messageType"], "OK");
    let error =
        ToBrowser::Error { ids: None, error: RoapError::DoubleConflict, detail: "x".into() };
    assert_eq!(shown(&error)["errorType"], "DOUBLECONFLICT");
    let render = |message| jsapi::render(&message);
    assert_eq!(render(ToBrowser::Bye { code: 486, reason: "Busy".into() }).unwrap(), "BYE");
    assert_eq!(render(ToBrowser::Invite).unwrap(), "INVITE");
    assert_eq!(render(ToBrowser::Talk).unwrap(), "EVENT-TALK");
    assert_eq!(render(ToBrowser::Hold).unwrap(), "EVENT-HOLD");
    assert_eq!(render(ToBrowser::InfoPeer("a=b".into())).unwrap(), "INFO-PEER a=b");
    let stats = render(ToBrowser::Stats(Default::default())).unwrap();
    let stats: Value = serde_json::from_str(stats.strip_prefix("PUT-STATS ").unwrap()).unwrap();
    assert_eq!(stats["audio"]["rx"]["packets"], 0);
    assert_eq!(stats["sip"]["tx"]["lost"], 0);
    assert_eq!(stats["sip"]["tx"].get("mos"), None, "not known is not zero");
    for silent in
        [ToBrowser::Ringing, ToBrowser::PeerHold, ToBrowser::PeerResume, ToBrowser::Replaced]
    {
        assert!(jsapi::render(&silent).is_none() && !jsapi::knows(&silent));
    }
}

#[test]
fn sign_in_query_is_the_bare_id() {
    let id = |query| jsapi::parse_sign_in_query(query).map(|credentials| credentials.id);
    assert_eq!(id(Some("5001")), Ok(PublicId::Dn("5001".into())));
    assert_eq!(id(Some("%2B49-1")), Ok(PublicId::Dn("+49-1".into())));
    assert_eq!(id(Some("+491")), Ok(PublicId::Dn("+491".into())));
    let guest = format!("anon{}", "7".repeat(32));
    assert_eq!(id(Some(&guest)), Ok(PublicId::Guest(guest.clone())));
    assert_eq!(id(Some(&guest[..35])), Ok(PublicId::Dn(guest[..35].into())));
    for bad in
        [None, Some(""), Some("id=5001"), Some("50%"), Some("%ff"), Some("a%20b"), Some("a%0d%0ab")]
    {
        assert!(id(bad).is_err(), "{bad:?}");
    }
    assert!(id(Some(&"5".repeat(129))).is_err());
}

#[test]
fn sign_in_body_divides_at_the_first_colon() {
    let parsed = jsapi::parse_sign_in_body("5001:a:b&c%d+e=f g").unwrap();
    assert_eq!(parsed.id, PublicId::Dn("5001".into()));
    assert_eq!(parsed.password, Some(Secret::new("a:b&c%d+e=f g")));
    assert_eq!(jsapi::parse_sign_in_body("5001").unwrap().password, None);
    for bad in ["", ":x", "50 01:x", "a@b:x"] {
        assert!(jsapi::parse_sign_in_body(bad).is_err(), "{bad}");
    }
}

#[test]
fn peers_that_are_none() {
    let ssid = Secret::new("self-id");
    for none in [None, Some(""), Some("null"), Some("undefined"), Some("self-id")] {
        assert_eq!(jsapi::peer(none, &ssid), None);
    }
    assert_eq!(jsapi::peer(Some("1003"), &ssid).as_deref(), Some("1003"));
}

#[test]
fn raw_bodies() {
    let command = |body| match rest::parse_body(body) {
        Ok(rest::Body::Command(command)) => Some(command),
        _ => None,
    };
    assert_eq!(command("BYE\n"), Some(FromBrowser::Bye));
    assert_eq!(command("hold"), Some(FromBrowser::Hold));
    assert_eq!(command("RESUME"), Some(FromBrowser::Resume));
    assert_eq!(command("DTMF 123#a"), Some(FromBrowser::Dtmf("123#A".into())));
    assert_eq!(command("INFO a=b&c=d"), Some(FromBrowser::InfoMap("a=b&c=d".into())));
    let transfer = |to: &str, replaces: Option<&str>| {
        Some(FromBrowser::Transfer { to: to.into(), replaces: replaces.map(str::to_owned) })
    };
    assert_eq!(command("TRANSFER 1004"), transfer("1004", None));
    assert_eq!(command("TRANSFER 1004 REPLACES c-1"), transfer("1004", Some("c-1")));
    assert_eq!(command("answer"), Some(FromBrowser::Accept));
    assert_eq!(command("CALL 1004"), Some(FromBrowser::Call { to: "1004".into() }));
    for bad in [
        "",
        " ",
        "hello",
        "BYE now",
        "ANSWER 1004",
        "CALL",
        "CALL 1 2",
        "DTMF",
        "DTMF 12x",
        "TRANSFER",
        "TRANSFER a b c",
        "INFO",
        "BYE\nBYE",
        "INFO a=b\nBYE",
        "V=0",
        "{}",
    ] {
        assert!(rest::parse_body(bad).is_err(), "{bad:?}");
    }
    let long = format!("DTMF {}", "1".repeat(65));
    assert!(rest::parse_body(&long).is_err());
    let body = rest::parse_body(SDP).unwrap();
    assert!(matches!(body.clone().into_message(true), FromBrowser::Answer { ids: None, .. }));
    assert!(matches!(body.into_message(false), FromBrowser::Offer { ids: None, .. }));
}

#[test]
fn raw_messages() {
    let enveloped = |message| crate::support::envelope("1004", message);
    let text = |message| rest::render_text(&enveloped(message)).map(|(_, body)| body);
    assert_eq!(
        text(ToBrowser::Bye { code: 486, reason: "Busy\r\nHere".into() }).unwrap(),
        "BYE 486 Busy  Here"
    );
    assert_eq!(text(ToBrowser::Ringing).unwrap(), "RINGING");
    assert_eq!(text(ToBrowser::Connected).unwrap(), "CONNECTED");
    assert_eq!(text(ToBrowser::Waiting).unwrap(), "WAITING 1004");
    assert_eq!(text(ToBrowser::Peer).unwrap(), "PEER 1004");
    assert_eq!(text(ToBrowser::Digit('#')).unwrap(), "DTMF #");
    let over = ToBrowser::Ended { code: 487, reason: "Request Terminated".into() };
    assert_eq!(text(over).unwrap(), "ENDED 487 Request Terminated");
    let moving = ToBrowser::Transfer { code: 100, text: "Trying".into() };
    assert_eq!(text(moving).unwrap(), "TRANSFER 100 Trying");
    assert_eq!(text(ToBrowser::Hold).unwrap(), "HOLD");
    assert_eq!(text(ToBrowser::PeerResume).unwrap(), "RESUME");
    assert_eq!(text(ToBrowser::Talk).unwrap(), "TALK");
    assert_eq!(text(ToBrowser::InfoPeer("a=b".into())).unwrap(), "INFO a=b");
    let ids = RoapIds::default();
    let (kind, body) =
        rest::render_text(&enveloped(ToBrowser::Answer { ids, sdp: SDP.into(), early: false }))
            .unwrap();
    assert_eq!((kind, body.as_str()), ("application/sdp", SDP));
    assert!(text(ToBrowser::Ok { ids }).is_none() && text(ToBrowser::Invite).is_none());

    let envelope = Envelope {
        peer: "1003".into(),
        peer_name: Some("Zoë".into()),
        call: "c-1".into(),
        call_uuid: Some("U".into()),
        diverted_from: Some("5000".into()),
        private: true,
        message: ToBrowser::Bye { code: 486, reason: "Busy Here".into() },
    };
    assert_eq!(
        serde_json::to_value(rest::render_json(&envelope, 4).unwrap()).unwrap(),
        json!({"type": "bye", "seq": 4, "call": "c-1", "peer": "1003", "peerName": "Zoë",
               "callUuid": "U", "divertedFrom": "5000", "private": true, "code": 486, "reason": "Busy Here"})
    );
    assert_eq!(rest::header_text("Zoë 100%\r\n"), "Zo%C3%AB 100%25");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}", word in "(RSMP |DTMF |TRANSFER |INFO |v=0|)") {
        let body = format!("{word}{text}");
        let _ = jsapi::parse_message(&body);
        let _ = rest::parse_body(&body);
        let _ = jsapi::parse_sign_in_body(&body);
        let _ = jsapi::parse_sign_in_query(Some(&body));
        let _ = jsapi::percent_decode(&body);
        let crlf = jsapi::crlf(&body);
        prop_assert_eq!(jsapi::crlf(&crlf), crlf);
        let _ = jsapi::render(&ToBrowser::Answer { ids: RoapIds::default(), sdp: body, early: false });
    }

    #[test]
    fn arbitrary_json_never_panics(
        kind in "(OFFER|ANSWER|OK|ERROR)",
        fields in proptest::collection::hash_map(
            "(sdp|Candidates|offererSessionId|answererSessionId|seq|tiebreaker|attacheddata|errorType)",
            prop_oneof![
                Just(json!(null)), Just(json!([])), Just(json!([[], {}, 1])), Just(json!({"a": 1})),
                any::<i64>().prop_map(|n| json!(n)), any::<f64>().prop_map(|n| json!(n)),
                "\\PC{0,20}".prop_map(|s| json!(s)), Just(json!(SDP)), any::<bool>().prop_map(|b| json!(b)),
            ],
            0..8,
        ),
    ) {
        let mut object: serde_json::Map<String, Value> = fields.into_iter().collect();
        object.insert("messageType".into(), json!(kind));
        let _ = rsmp(Value::Object(object));
    }

    /// What we write as an OFFER reads back as the same OFFER.
    #[test]
    fn roundtrip(offerer in 0u64..(1 << 53), answerer in proptest::option::of(0u64..(1 << 53)),
                 seq in 1u64..1000, tiebreaker in 1u32..u32::MAX, key in "[a-zA-Z]{1,10}", value in "\\PC{0,20}") {
        let ids = RoapIds { offerer, answerer, seq };
        let attached = vec![(key, value)];
        let body = jsapi::render(&ToBrowser::Offer {
            ids, tiebreaker, sdp: SDP.into(), attached: attached.clone(),
        }).unwrap();
        let parsed = jsapi::parse_message(&body.replacen("SDP", "RSMP", 1));
        prop_assert_eq!(parsed, Ok(FromBrowser::Offer {
            ids: Some(ids), tiebreaker: Some(tiebreaker), sdp: SDP.into(), candidates: vec![], attached,
        }));
    }

    #[test]
    fn header_text_is_always_a_header(text in any::<String>()) {
        let shown = rest::header_text(&text);
        prop_assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert_eq!(jsapi::percent_decode(&shown), Some(text.trim().to_owned()));
    }
}
