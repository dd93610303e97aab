//! Which codec each side is given: as little transcoded as can be.

use crate::support::*;
use wrtc_gateway::call::CallConfig;
use wrtc_gateway::sdp::Codec;

const FAR: &str = "203.0.113.5:30000";

/// A phone with Opus under a number of its own.
fn opus_phone(formats: &str) -> String {
    format!("{}a=rtpmap:96 opus/48000/2\r\n", sip_sdp(FAR, formats, "sendrecv", 1))
}

fn opus_page() -> String {
    browser_offer("u0", 1, "sendrecv").replace("111 9 0 8 110 126", "111 110 126")
}

fn opus_first() -> CallConfig {
    let codecs = vec![Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722];
    CallConfig { codecs, ..config() }
}

#[test]
fn a_page_that_knows_opus_alone_reaches_a_phone_that_does_not() {
    let mut bench = Bench::outgoing(&opus_page());
    let offered: Vec<Codec> = bench.sip_sdp().payloads.formats.iter().map(|f| f.codec).collect();
    assert_eq!(
        offered,
        [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722],
        "what both have first"
    );
    bench.answered(&sip_sdp(FAR, "0 101", "sendrecv", 1));
    let (_, sdp, _) = bench.our_answer();
    let codecs: Vec<Codec> = sdp.payloads.formats.iter().map(|f| f.codec).collect();
    assert_eq!(codecs, [Codec::Opus]);
    let events = (sdp.payloads.telephone_event, sdp.payloads.telephone_event_48k);
    assert_eq!(events, (None, Some(110)), "digits by the clock of the audio");
    assert_eq!(bench.remote().payloads.preferred().map(|f| f.codec), Some(Codec::Pcmu));
    assert_eq!(bench.heard().iter().filter(|word| **word == "offer").count(), 0);
    assert!(bench.flow().to_sip && bench.flow().to_browser);
}

#[test]
fn a_phone_that_knows_opus_alone_is_passed_through() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.answered(&opus_phone("96"));
    let (_, sdp, _) = bench.our_answer();
    let format = sdp.payloads.formats[0];
    assert_eq!((format.codec, format.payload), (Codec::Opus, 111), "the browser's number");
    let format = bench.remote().payloads.formats[0];
    assert_eq!((format.codec, format.payload), (Codec::Opus, 96), "the phone's number");
}

#[test]
fn opus_configured_first_is_the_browsers_whatever_the_phone_speaks() {
    let mut bench = Bench::outgoing_with(opus_first(), &browser_offer("u0", 1, "sendrecv"), &[]);
    assert_eq!(bench.sip_sdp().payloads.formats[0].codec, Codec::Opus);
    bench.answered(&sip_sdp(FAR, "8 101", "sendrecv", 1));
    let (_, sdp, _) = bench.our_answer();
    assert_eq!(sdp.payloads.formats[0].codec, Codec::Opus);
    assert!(!bench.heard().contains(&"offer"), "and stays so");
}

#[test]
fn telephones_codecs_come_first_by_default() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.answered(&opus_phone("8 96 101"));
    let (_, sdp, _) = bench.our_answer();
    assert_eq!(sdp.payloads.formats[0].codec, Codec::Pcma);
}
