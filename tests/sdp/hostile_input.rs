//! Bytes from the network: an error or a description, never a panic, never more than was asked for.

use proptest::prelude::*;
use wrtc_gateway::sdp::write::{self, SipSide, VideoSide};
use wrtc_gateway::sdp::{BrowserSdp, Codec, Crypto, Origin, SdpError, SipSdp, SrtpPolicy};

const SEED: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20\r\n\
    a=rtcp:7001 IN IP4 10.0.0.2\r\n\
    m=video 9 RTP/AVPF 96 97\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\na=rtcp-fb:* nack pli\r\n\
    a=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=1;profile-level-id=42e01f\r\n";

proptest! {
    #[test]
    fn any_text(text in "\\PC{0,400}") {
        let _ = BrowserSdp::parse(&text, &Codec::ALL);
        let _ = SipSdp::parse(&text, &Codec::ALL);
        let _ = Crypto::parse(&text);
    }

    #[test]
    fn any_mutation(at in 0..SEED.len(), with in "[\\PC\r\n]{0,12}", cut in 0..20usize) {
        let mut text = SEED.to_owned();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &with);
        if let Ok(sdp) = SipSdp::parse_with(&text, &Codec::ALL, SrtpPolicy::Preferred) {
            let crypto = sdp.crypto.get(..sdp.crypto.len().min(1)).unwrap_or_default();
            let video = sdp.video.as_ref().map(|video| VideoSide {
                index: video.index,
                port: 20002,
                formats: &video.formats,
                direction: video.direction,
                ssrc: 0,
            });
            let side = SipSide { crypto, video, ..SipSide::plain("192.0.2.1:20000".parse().unwrap(), &sdp.payloads) };
            let like = Some((&sdp.lines[..], sdp.audio));
            let answer = write::sip(&mut Origin::new(1), side, like);
            // What they wrote cannot add lines to what we write.
            let media = answer.lines().filter(|line| line.starts_with("m=")).count();
            prop_assert_eq!(media, sdp.lines.len());
        }
    }
}

#[test]
fn sizes_are_bounded() {
    let long = format!("{SEED}a=x:{}\r\n", "y".repeat(70_000));
    assert_eq!(SipSdp::parse(&long, &Codec::ALL), Err(SdpError::TooLarge));
    let many = format!("{SEED}{}", "m=video 9 RTP/AVP 96\r\n".repeat(17));
    assert_eq!(SipSdp::parse(&many, &Codec::ALL), Err(SdpError::TooLarge));
}
