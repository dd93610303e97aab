//! What browsers write and what they are answered.

use wrtc_gateway::sdp::write::{self, BrowserSide, Shape};
use wrtc_gateway::sdp::{
    BrowserSdp, Candidate, Codec, Direction, Fingerprint, IceCredentials, Origin, Setup, negotiate,
};

const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS s\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:D0xq\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F:20\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
    a=rtpmap:63 red/48000/2\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendrecv\r\n\
    a=rtpmap:96 VP8/90000\r\n";

fn answer(offer: &BrowserSdp, codec: Codec) -> String {
    let ice = IceCredentials { ufrag: "gwuf".into(), pwd: "gwpwdgwpwdgwpwdgwpwdgw".into() };
    write::browser(
        &mut Origin::new(5),
        BrowserSide {
            ice: &ice,
            fingerprint: Fingerprint([0xAB; 32]),
            candidates: &Candidate::hosts(
                &["192.0.2.1:40000".parse().unwrap(), "10.0.0.1:40000".parse().unwrap()],
                &[],
            ),
            ssrc: 77,
            cname: "gw",
            setup: Setup::Passive,
            direction: Direction::SendRecv,
            payloads: &negotiate::only(&offer.payloads, codec),
            video: None,
        },
        Shape::Like(offer),
    )
}

#[test]
fn chromium_is_understood() {
    let sdp = BrowserSdp::parse(OFFER, &Codec::ALL).unwrap();
    let codecs: Vec<Codec> = sdp.payloads.formats.iter().map(|f| f.codec).collect();
    assert_eq!(codecs, [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma]);
    assert_eq!(sdp.payloads.telephone_event, Some(126), "the one at 8 kHz");
    assert_eq!(sdp.payloads.telephone_event_48k, Some(110));
    // Each goes with the audio of its clock.
    let narrow = negotiate::only(&sdp.payloads, Codec::Pcma);
    assert_eq!((narrow.telephone_event, narrow.telephone_event_48k), (Some(126), None));
    let wide = negotiate::only(&sdp.payloads, Codec::Opus);
    assert_eq!((wide.telephone_event, wide.telephone_event_48k), (None, Some(110)));
    assert_eq!(sdp.fingerprint.unwrap().0[31], 0x20);
    assert_eq!(sdp.ice.unwrap().ufrag, "D0xq");
    assert!(sdp.bundled);
}

#[test]
fn the_answer_bundles_the_audio_and_refuses_the_video() {
    let offer = BrowserSdp::parse(OFFER, &Codec::ALL).unwrap();
    let text = answer(&offer, Codec::Pcmu);
    for line in [
        "a=group:BUNDLE 0",
        "a=ice-lite",
        "a=ice-options:ice2",
        "m=audio 40000 UDP/TLS/RTP/SAVPF 0 126",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host",
        "a=candidate:2 1 udp 2130706175 10.0.0.1 40000 typ host",
        "a=setup:passive",
        "a=rtcp-mux",
        "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
        "a=mid:1",
    ] {
        assert!(text.contains(&format!("{line}\r\n")), "{line} in\n{text}");
    }
    assert!(text.lines().all(|line| !line.is_empty()));
}

#[test]
fn the_profile_is_answered_as_it_was_asked() {
    let old = OFFER.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF");
    let offer = BrowserSdp::parse(&old, &Codec::ALL).unwrap();
    assert!(answer(&offer, Codec::Pcma).contains("m=audio 40000 RTP/SAVPF 8 126\r\n"));
}

#[test]
fn the_walk_through_of_seven_lines_is_an_offer() {
    let text = "v=0\no=- 1234567890 1234567890 IN IP4 127.0.0.1\ns=-\nt=0 0\n\
                m=audio 9 UDP/TLS/RTP/SAVPF 0 8\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
                a=sendrecv\n";
    let sdp = BrowserSdp::parse(text, &Codec::ALL).unwrap();
    assert!(sdp.ice.is_none() && sdp.fingerprint.is_none() && !sdp.bundled);
    assert!(answer(&sdp, Codec::Pcmu).contains("m=audio 40000 UDP/TLS/RTP/SAVPF 0\r\n"));
}
