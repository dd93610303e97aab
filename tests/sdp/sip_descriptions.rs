//! What SIP peers write, odd ones among them.

use wrtc_gateway::sdp::write::{self, SipSide};
use wrtc_gateway::sdp::{Codec, Direction, Origin, SdpError, SipSdp};

fn parse(text: &str) -> Result<SipSdp, SdpError> {
    SipSdp::parse(text, &Codec::ALL)
}

#[test]
fn lower_case_codecs_static_numbers_and_unknown_ones() {
    let sdp = parse(
        "v=0\r\no=Genesys 1 1 IN IP4 10.0.0.1\r\ns=phone-call\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
         m=audio 6000 RTP/AVP 97 18 8 0 9 13 101\r\na=rtpmap:97 iLBC/8000\r\n\
         a=rtpmap:8 pcma/8000\r\na=rtpmap:101 TELEPHONE-EVENT/8000\r\na=ptime:30\r\n",
    )
    .unwrap();
    let codecs: Vec<Codec> = sdp.payloads.formats.iter().map(|f| f.codec).collect();
    assert_eq!(codecs, [Codec::Pcma, Codec::Pcmu, Codec::G722]);
    assert_eq!(sdp.payloads.telephone_event, Some(101));
    assert_eq!(sdp.payloads.wishes.ptime.as_millis(), 30);
    assert_eq!(sdp.target, Some("10.0.0.9:6000".parse().unwrap()));
    assert_eq!(sdp.direction, Direction::SendRecv);
}

#[test]
fn directions_at_session_level_and_old_style_hold() {
    let text = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=sendrecv\r\n\
                m=audio 6000 RTP/AVP 0\r\n";
    let sdp = parse(text).unwrap();
    assert!(sdp.is_black_hole());
    assert_eq!(sdp.direction, Direction::SendOnly);
    let held = parse(&text.replace("sendrecv", "inactive").replace("0.0.0.0", "10.0.0.2")).unwrap();
    assert_eq!(held.direction, Direction::Inactive);
}

#[test]
fn a_version_beyond_64_bits() {
    let text = "v=0\r\no=- 1 340282366920938463463374607431768211455 IN IP4 10.0.0.1\r\ns=-\r\n\
                c=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n";
    assert_eq!(parse(text).unwrap().origin.1, 374_607_431_768_211_455);
}

#[test]
fn the_connection_of_the_media_counts_before_the_sessions() {
    let sdp = parse(
        "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\n\
         m=audio 6000 RTP/AVP 0\nc=IN IP4 10.9.9.9\n",
    )
    .unwrap();
    assert_eq!(sdp.target, Some("10.9.9.9:6000".parse().unwrap()));
}

#[test]
fn faults_are_named() {
    let body = |media: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n{media}\r\n"
        )
    };
    assert!(matches!(parse("hello"), Err(SdpError::NotSdp(_))));
    assert_eq!(parse(&body("m=video 6 RTP/AVP 96")), Err(SdpError::NoAudio));
    assert_eq!(parse(&body("m=audio 0 RTP/AVP 0")), Err(SdpError::NoAudio));
    assert_eq!(parse(&body("m=audio 6000 RTP/AVP 18")), Err(SdpError::NoCommonCodec));
    let srtp = parse(&body("m=audio 6000 RTP/SAVP 0"));
    assert_eq!(srtp, Err(SdpError::Profile("RTP/SAVP".into())));
}

#[test]
fn other_media_of_an_offer_are_refused_in_place() {
    let offer = parse(
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
         m=video 7000 RTP/AVP 96 97\r\nm=audio 6000 RTP/AVP 0\r\nm=image 9 udptl t38\r\n",
    )
    .unwrap();
    let side = SipSide::plain("192.0.2.1:20000".parse().unwrap(), &offer.payloads);
    let answer = write::sip(&mut Origin::new(1), side, Some((&offer.lines, offer.audio)));
    let media: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        media,
        ["m=video 0 RTP/AVP 96 97", "m=audio 20000 RTP/AVP 0", "m=image 0 udptl t38"]
    );
}
