//! How long packets are, and what Opus is like: what one side asks for is told to who sends to it.

use crate::support::*;
use wrtc_gateway::agent::Dialect;
use wrtc_gateway::call::{CallConfig, MediaCommand};
use wrtc_gateway::media::BrowserRemote;
use wrtc_gateway::sdp::Codec;

const FAR: &str = "203.0.113.5:30000";

fn asking(sdp: String, attributes: &str) -> String {
    format!("{sdp}{attributes}")
}

fn phone(attributes: &str) -> String {
    asking(sip_sdp(FAR, "0 101", "sendrecv", 1), attributes)
}

impl Bench {
    /// What the media plane was told of the browser last.
    fn browser_remote(&self) -> &BrowserRemote {
        let told = self.to_media.iter().rev().find_map(|command| match command {
            MediaCommand::SetBrowser(remote) => Some(remote),
            _ => None,
        });
        told.expect("a browser")
    }
}

fn millis(payloads: &wrtc_gateway::sdp::PayloadMap) -> u128 {
    payloads.wishes.ptime.as_millis()
}

/// The caller's offer is there before the browser's, and the browser's answer before ours.
#[test]
fn a_call_that_comes_in_tells_each_side_of_the_other() {
    for (caller, told) in
        [("a=ptime:30\r\n", 30), ("a=ptime:10\r\n", 10), ("a=ptime:60\r\na=maxptime:40\r\n", 40)]
    {
        let mut bench = Bench::incoming(Some(&phone(caller)));
        assert_eq!(millis(&bench.our_offer().1.payloads), told, "{caller}");
        let answer = browser_answer("u0", "sendrecv", "0 126");
        bench.answer(&asking(answer, "a=ptime:40\r\n"));
        assert_eq!(millis(&bench.sip_sdp().payloads), 40, "what the browser asked for");
        assert_eq!(millis(&bench.remote().payloads), told, "what its silence is made of");
        assert_eq!(millis(&bench.browser_remote().payloads), 40);
    }
}

/// What no browser can send is not asked of it, and no length that the codec does not have.
#[test]
fn what_is_asked_of_the_browser_it_can_do() {
    for (caller, told) in [("a=ptime:120\r\n", 60), ("a=ptime:25\r\n", 20), ("a=ptime:5\r\n", 20)] {
        let bench = Bench::incoming(Some(&phone(caller)));
        assert_eq!(millis(&bench.our_offer().1.payloads), told, "{caller}");
    }
    let opus = sip_sdp(FAR, "96", "sendrecv", 1) + "a=rtpmap:96 opus/48000/2\r\na=ptime:30\r\n";
    let bench = Bench::incoming(Some(&opus));
    assert_eq!(millis(&bench.our_offer().1.payloads), 20);
}

#[test]
fn a_call_of_the_agent_s_tells_each_side_of_the_other() {
    let offer = asking(browser_offer("u0", 1, "sendrecv"), "a=ptime:10\r\n");
    let mut bench = Bench::outgoing(&offer);
    assert_eq!(millis(&bench.sip_sdp().payloads), 10);
    bench.answered(&phone("a=ptime:30\r\n"));
    assert_eq!(millis(&bench.our_answer().1.payloads), 30);
}

/// Between two codecs it is us who sends to each, as it asks, and to whom any length may be sent.
#[test]
fn where_we_transcode_nobody_is_told_of_the_other() {
    let codecs = vec![Codec::Opus, Codec::Pcmu];
    let config = CallConfig { codecs, ..config() };
    let mut bench = Bench::incoming_with(config, Dialect::Jsapi, Some(&phone("a=ptime:30\r\n")));
    assert_eq!(millis(&bench.our_offer().1.payloads), 20);
    let answer = browser_answer("u0", "sendrecv", "111 110");
    bench.answer(&asking(answer, "a=ptime:40\r\n"));
    assert_eq!(bench.sip_sdp().payloads.formats[0].codec, Codec::Pcmu);
    assert_eq!(millis(&bench.sip_sdp().payloads), 20);
    assert_eq!(millis(&bench.remote().payloads), 30);
    assert_eq!(millis(&bench.browser_remote().payloads), 40);
}

/// A session refresh looks like one: nothing of it depends on when it comes.
#[test]
fn a_refresh_says_the_same_again() {
    let mut bench = Bench::incoming(Some(&phone("a=ptime:30\r\n")));
    bench.answer(&asking(browser_answer("u0", "sendrecv", "0 126"), "a=ptime:40\r\n"));
    bench.acked(None);
    let before = bench.sip_text();
    bench.clear();
    bench.reinvited(Some(&phone("a=ptime:30\r\n")));
    assert_eq!(bench.sip_text(), before);
    assert!(!bench.heard().contains(&"offer"), "and the browser is left alone");
}

/// Where Opus is passed on each side's encoder learns what the other's receiver wishes.
#[test]
fn wishes_of_opus_are_passed_on_with_it() {
    const PAGE: &str = "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1\r\n";
    const PHONE: &str =
        "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 maxaveragebitrate=16000;usedtx=1;x=\r\n";
    let mut bench = Bench::outgoing(&asking(browser_offer("u0", 1, "sendrecv"), PAGE));
    assert!(bench.sip_text().contains("minptime=10;useinbandfec=1;stereo=1\r\n"));
    bench.answered(&asking(sip_sdp(FAR, "96", "sendrecv", 1), PHONE));
    let (_, _, text) = bench.our_answer();
    // All but the pauses, which what we send in silence would fill.
    assert!(text.contains("a=fmtp:111 minptime=10;maxaveragebitrate=16000\r\n"), "{text}");
    let wishes = bench.remote().payloads.wishes.opus;
    assert!(!wishes.fec && wishes.max_bits == Some(16_000), "{wishes:?}");
    assert!(bench.browser_remote().payloads.wishes.opus.fec);
}

/// And where it is decoded here it is us who makes use of redundancy.
#[test]
fn redundancy_is_asked_for_where_we_decode() {
    let codecs = vec![Codec::Opus, Codec::Pcmu];
    let config = CallConfig { codecs, ..config() };
    let page = asking(browser_offer("u0", 1, "sendrecv"), "a=fmtp:111 usedtx=1\r\n");
    let mut bench = Bench::outgoing_with(config, &page, &[]);
    bench.answered(&phone(""));
    let (_, _, text) = bench.our_answer();
    assert!(text.contains("a=fmtp:111 minptime=10;useinbandfec=1\r\n"), "{text}");
    assert!(!bench.browser_remote().payloads.wishes.opus.fec, "and it did not");
}
