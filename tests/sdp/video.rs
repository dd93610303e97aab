//! Video in descriptions: what is taken of it, what not.

use wrtc_gateway::sdp::{BrowserSdp, Codec, Direction, RtcpTarget, SipSdp, VideoCodec, VideoLine};

const SIP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 0\r\n";

fn sip(video: &str) -> Option<VideoLine> {
    SipSdp::parse(&format!("{SIP}{video}"), &Codec::ALL).unwrap().video
}

fn browser(video: &str, group: &str) -> Option<VideoLine> {
    let text = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{group}m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n\
         a=mid:0\r\n{video}"
    );
    BrowserSdp::parse(&text, &Codec::ALL).unwrap().video
}

#[test]
fn a_phones_video_is_read_whole() {
    let video =
        sip("m=video 6002 RTP/AVPF 31 99 98\r\nc=IN IP4 10.0.0.2\r\na=rtcp:7001\r\na=sendonly\r\n\
         a=rtpmap:99 h264/90000\r\na=fmtp:99 profile-level-id=42e01f\r\n\
         a=rtpmap:98 VP8/90000\r\na=rtcp-fb:98 ccm fir\r\na=rtcp-fb:98 transport-cc\r\n\
         a=rtcp-fb:* nack\r\n")
        .unwrap();
    assert_eq!((video.index, video.direction), (1, Direction::SendOnly));
    assert_eq!(video.target, Some("10.0.0.2:6002".parse().unwrap()));
    assert_eq!(video.rtcp, RtcpTarget::At("10.0.0.2:7001".parse().unwrap()));
    let formats: Vec<_> = video.formats.iter().map(|f| (f.codec, f.payload)).collect();
    assert_eq!(formats, [(VideoCodec::H264, 99), (VideoCodec::Vp8, 98)], "in its order");
    assert_eq!(video.formats[0].fmtp.as_deref(), Some("profile-level-id=42e01f"));
    let [h264, vp8] = [video.formats[0].feedback, video.formats[1].feedback];
    assert_eq!((h264.nack, h264.pli, h264.fir), (true, false, false));
    assert_eq!((vp8.nack, vp8.pli, vp8.fir), (true, false, true));
}

#[test]
fn what_cannot_be_passed_on_is_none() {
    let long = "x".repeat(2000);
    for video in [
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n",
        "m=video 6002 RTP/SAVP 96\r\na=rtpmap:96 VP8/90000\r\n",
        "m=video 6002 RTP/AVP 96\r\na=rtpmap:96 VP8/48000\r\n",
        "m=video 6002 RTP/AVP 96\r\na=rtpmap:96 VP9/90000\r\n",
        "m=video 6002 RTP/AVP 31\r\n",
        "m=image 6002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n",
        &format!("m=video 6002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=fmtp:96 {long}\r\n"),
    ] {
        assert_eq!(sip(video), None, "{video}");
    }
    // The second may serve where the first does not.
    let second = "m=video 0 RTP/AVP 96\r\nm=video 6004 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    assert_eq!(sip(second).unwrap().index, 2);
}

#[test]
fn a_browsers_video_is_in_the_bundle_or_none() {
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";
    let bundled = "a=group:BUNDLE 0 1\r\n";
    assert!(browser(video, bundled).is_some());
    assert_eq!(browser(video, ""), None);
    let refused = video.replace("video 9", "video 0");
    assert_eq!(browser(&refused, bundled), None);
    assert!(browser(&format!("{refused}a=bundle-only\r\n"), bundled).is_some());
}
