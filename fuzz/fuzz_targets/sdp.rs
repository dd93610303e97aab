//! Descriptions of both sides, and the answers that are written to them.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wrtc_gateway::sdp::write::{self, BrowserSide, Shape, SipSide};
use wrtc_gateway::sdp::{
    BrowserSdp, Candidate, Codec, Direction, Fingerprint, IceCredentials, Origin, Setup, SipSdp,
    SrtpPolicy, negotiate,
};

static CANDIDATES: LazyLock<Vec<Candidate>> =
    LazyLock::new(|| Candidate::hosts(&["192.0.2.1:40000".parse().expect("an address")], &[]));

fuzz_target!(|text: &str| {
    if let Ok(offer) = BrowserSdp::parse(text, &Codec::ALL) {
        browser(&offer);
    }
    for policy in [SrtpPolicy::Off, SrtpPolicy::Preferred, SrtpPolicy::Required] {
        if let Ok(offer) = SipSdp::parse_with(text, &Codec::ALL, policy) {
            sip(&offer, policy);
        }
    }
});

fn browser(offer: &BrowserSdp) {
    let Some(first) = offer.payloads.preferred() else { return };
    let ice = IceCredentials { ufrag: "ours".into(), pwd: "p".repeat(24) };
    let answer = write::browser(
        &mut Origin::new(5),
        BrowserSide {
            ice: &ice,
            fingerprint: Fingerprint([0xAB; 32]),
            candidates: &CANDIDATES,
            ssrc: 77,
            cname: "gw",
            setup: Setup::Passive,
            direction: negotiate::answer_direction(offer.direction, Direction::SendRecv),
            payloads: &negotiate::only(&offer.payloads, first.codec),
            video: None,
        },
        Shape::Like(offer),
    );
    let read = BrowserSdp::parse(&answer, &Codec::ALL).expect("our own answer can be read");
    assert_eq!(read.lines.len(), offer.lines.len(), "{answer}");
    assert_eq!(read.ice, Some(ice), "{answer}");
}

fn sip(offer: &SipSdp, policy: SrtpPolicy) {
    let payloads = negotiate::common(&offer.payloads, &Codec::ALL);
    let rtp = "192.0.2.1:6000".parse().expect("an address");
    let chosen = wrtc_gateway::sdp::choose(&offer.crypto).cloned();
    let side = SipSide {
        crypto: chosen.as_slice(),
        direction: negotiate::answer_direction(offer.direction, Direction::SendRecv),
        ..SipSide::plain(rtp, &payloads)
    };
    let like = Some((&offer.lines[..], offer.audio));
    let answer = write::sip(&mut Origin::new(5), side, like);
    let read =
        SipSdp::parse_with(&answer, &Codec::ALL, policy).expect("our own answer can be read");
    assert_eq!(read.lines.len(), offer.lines.len(), "{answer}");
    assert_eq!(read.target, Some(rtp), "{answer}");
}
