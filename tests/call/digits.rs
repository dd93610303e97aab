//! DTMF of the raw-SDP dialect.

use crate::support::*;
use wrtc_gateway::agent::MessageError;
use wrtc_gateway::call::MediaCommand;
use wrtc_gateway::wire::FromBrowser;

#[test]
fn digits_go_to_the_media_plane() {
    let mut bench = Bench::established();
    bench.browser(FromBrowser::Dtmf("12#a".into())).unwrap();
    assert_eq!(bench.to_media, [MediaCommand::SendDigits("12#A".into())]);
}

#[test]
fn a_far_end_without_telephone_event_takes_none() {
    let mut bench = Bench::outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.answered(&sip_sdp("203.0.113.5:30000", "0", "sendrecv", 1).replace("101", "102"));
    bench.clear();
    let refused = bench.browser(FromBrowser::Dtmf("1".into()));
    assert!(matches!(refused, Err(MessageError::WrongState(_))), "{refused:?}");
    assert!(bench.to_media.is_empty());
}

#[test]
fn what_is_no_digit_is_refused() {
    let mut bench = Bench::established();
    for digits in ["", "12x", &"1".repeat(65)] {
        let refused = bench.browser(FromBrowser::Dtmf(digits.into()));
        assert!(matches!(refused, Err(MessageError::BadRequest(_))), "{refused:?}");
    }
}
