//! `attacheddata`: headers of an INVITE, INFO after an ANSWER, and back to the browser.

use crate::support::*;
use wrtc_gateway::agent::Dialect;
use wrtc_gateway::call::{InviteOffer, Line};
use wrtc_gateway::sip::{Command, Invited};
use wrtc_gateway::wire::{FromBrowser, ToBrowser};

const FAR: &str = "203.0.113.5:30000";

fn pair(key: &str, value: &str) -> (String, String) {
    (key.into(), value.into())
}

#[test]
fn an_offers_data_are_headers_of_the_invite() {
    let data = [pair("CustomerId", "42"), pair("Ort", "Köln")];
    let bench = Bench::outgoing_with(config(), &browser_offer("u0", 1, "sendrecv"), &data);
    let Command::Invite { headers, .. } = &bench.to_sip[0] else { panic!("{:?}", bench.to_sip) };
    assert_eq!(
        headers,
        &[pair("X-Attached-CustomerId", "42"), pair("X-Attached-Ort", "K%C3%B6ln")]
    );
}

#[test]
fn an_invites_headers_are_data_of_the_offer() {
    let invited = Invited {
        sdp: Some(sip_sdp(FAR, "0 101", "sendrecv", 1)),
        headers: vec![pair("x-attached-Ort", "K%C3%B6ln"), pair("X-Other", "1")],
        ..Invited::default()
    };
    let offer = InviteOffer::parse(&invited, &config()).unwrap();
    let mut bench = Bench::incoming(None);
    bench.line =
        Line::incoming(config(), Dialect::Jsapi, SESSION, offer, media_local(), SEED, bench.now);
    bench.drain();
    let offered = bench.to_browser.iter().find_map(|message| match message {
        ToBrowser::Offer { attached, .. } => Some(attached.clone()),
        _ => None,
    });
    assert_eq!(offered.unwrap(), [pair("Ort", "Köln")]);
}

/// "INFO both ways (user data ...)".
#[test]
fn an_answers_data_are_an_info_once_the_call_stands() {
    let mut bench = Bench::incoming(Some(&sip_sdp(FAR, "0 101", "sendrecv", 1)));
    let ids = bench.our_offer().0;
    bench
        .browser(FromBrowser::Answer {
            ids: Some(ids),
            sdp: browser_answer("u0", "sendrecv", "0 126"),
            candidates: Vec::new(),
            attached: vec![pair("a b", "c&d")],
        })
        .unwrap();
    assert_eq!(bench.sip_heard(), ["progress", "accept"], "not before the ACK");
    bench.acked(None);
    let Some(Command::Info { content_type, body, .. }) = bench.to_sip.last() else {
        panic!("{:?}", bench.to_sip)
    };
    assert_eq!(content_type, "application/x-www-form-urlencoded");
    assert_eq!(body, b"a%20b=c%26d");
    bench.acked(None);
    assert_eq!(bench.sip_heard().iter().filter(|c| **c == "info").count(), 1);
}
