//! Bodies and queries of all three HTTP dialects.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wrtc_gateway::sdp::{BrowserSdp, Codec};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::wire::{FromBrowser, RoapIds, ToBrowser, connector, jsapi, rest};

fuzz_target!(|text: &str| {
    if let Ok(message) = jsapi::parse_message(text) {
        taken(message);
    }
    if let Ok(body) = rest::parse_body(text) {
        taken(body.into_message(text.len() % 2 == 0));
    }
    let _ = jsapi::parse_sign_in_query(Some(text));
    let _ = jsapi::parse_sign_in_body(text);
    let _ = jsapi::peer(Some(text), &Secret::new("ssid"));
    let _ = connector::Action::parse(text);
    let _ = connector::parse_options(text);
    let _ = connector::parse_parameters(text);
    let _ = connector::parse_ping_period(text);
    let _ = connector::parse_users(text);
    let _ = connector::parse_destination(text);
    let _ = connector::parse_digits(text);
    let header = rest::header_text(text);
    assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}");
});

/// What a call would do with it, and what another browser may hear of it.
fn taken(message: FromBrowser) {
    let ids = RoapIds { offerer: 1, answerer: None, seq: 1 };
    let told = match message {
        FromBrowser::Offer { sdp, attached, .. } | FromBrowser::Answer { sdp, attached, .. } => {
            let _ = BrowserSdp::parse(&sdp, &Codec::ALL);
            ToBrowser::Offer { ids, tiebreaker: 1, sdp, attached }
        }
        FromBrowser::InfoPeer(data) => ToBrowser::InfoPeer(data),
        FromBrowser::Call { to } => ToBrowser::Dial { to },
        _ => return,
    };
    let _ = jsapi::render(&told);
}
