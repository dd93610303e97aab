//! Sound through a call, both ways, whatever happens on the way.

mod media_support;

use std::time::Duration;

use media_support::phone::{assert_gapless, tone_of};
use media_support::sound::{expand_alaw, purity};
use media_support::{Call, map};
use wrtc_gateway::sdp::Codec;

#[test]
fn tones_pass_both_ways_without_loss() {
    let mut call = Call::established();
    call.phone.gateway = Some(call.bridge.rtp_local());
    call.talk(Duration::from_secs(3));

    assert_gapless(&call.browser.heard, "browser");
    assert_gapless(&call.phone.heard, "phone");
    assert_eq!(call.browser.heard.len(), 150);
    let tone = tone_of(&call.browser.heard, 1000);
    assert!(tone > 0.99, "1 kHz at the browser: {tone}");
    // The first frames may be silence that covered for the browser.
    let spoken = &call.phone.heard[call.phone.heard.len() - 150..];
    let tone = tone_of(spoken, 440);
    assert!(tone > 0.99, "440 Hz at the phone: {tone}");
}
