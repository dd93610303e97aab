//! "Video: VP8 and H.264 passed through when the SIP side offers the same, refused cleanly when not."

use std::time::Duration;

use crate::support::*;
use wrtc_gateway::agent::Dialect;
use wrtc_gateway::call::{CallConfig, FirstOffer, InviteOffer, Line, MediaCommand, MediaLocal};
use wrtc_gateway::media::{VideoLocal, VideoRemote};
use wrtc_gateway::sdp::{BrowserSdp, Direction, Feedback, RtcpTarget, SipSdp, VideoCodec};
use wrtc_gateway::sip::{Command, Event, Invited};
use wrtc_gateway::wire::ToBrowser;

const FAR: &str = "203.0.113.5:30000";

/// Chromium's video in small.
const VP8: &str = "96";
const FORMATS: &str = "96 102 104";
const MAPS: &str = "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 nack\r\n\
    a=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
    a=rtpmap:102 H264/90000\r\n\
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtpmap:104 H264/90000\r\n\
    a=fmtp:104 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f\r\n";

fn allowing() -> CallConfig {
    CallConfig { video: VideoCodec::ALL.to_vec(), ..config() }
}

fn with_port() -> MediaLocal {
    let video = VideoLocal { rtp: "192.0.2.9:20002".parse().unwrap(), ssrc: 4343 };
    MediaLocal { video: Some(video), ..media_local() }
}

/// A browser's description of audio, with video behind it.
fn with_video(audio: &str, formats: &str, direction: &str) -> String {
    let audio = audio.replace("BUNDLE 0", "BUNDLE 0 1");
    format!(
        "{audio}m=video 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n\
         a={direction}\r\na=rtcp-mux\r\n{MAPS}"
    )
}

fn browser_calls(direction: &str) -> String {
    with_video(&browser_offer("u0", 1, "sendrecv"), FORMATS, direction)
}

/// A phone's.
fn phone(version: u32, direction: &str, video: &str) -> String {
    let audio = sip_sdp(FAR, "0 101", direction, version);
    format!("{audio}{video}")
}

fn phone_video(number: u8, name: &str, more: &str) -> String {
    format!("m=video 30002 RTP/AVP {number}\r\na=rtpmap:{number} {name}/90000\r\n{more}")
}

fn outgoing(offer: &str) -> Bench {
    outgoing_in(Dialect::Jsapi, offer)
}

fn outgoing_in(dialect: Dialect, offer: &str) -> Bench {
    let config = allowing();
    let ids = (dialect == Dialect::Jsapi).then(|| ids(103, 1));
    let offer = FirstOffer::parse(ids, offer.into(), &[], &config).unwrap();
    let now = std::time::Instant::now();
    Bench::with(Line::outgoing(config, SESSION, "1003", offer, with_port(), SEED, now))
}

fn incoming(sdp: Option<&str>) -> Bench {
    let config = allowing();
    let invited = Invited { sdp: sdp.map(str::to_owned), ..Invited::default() };
    let offer = InviteOffer::parse(&invited, &config).unwrap();
    let (now, dialect) = (std::time::Instant::now(), Dialect::Jsapi);
    Bench::with(Line::incoming(config, dialect, SESSION, offer, with_port(), SEED, now))
}

/// What the media plane was last told of video.
fn video(bench: &Bench) -> Option<VideoRemote> {
    let last = bench.to_media.iter().rev().find_map(|command| match command {
        MediaCommand::SetVideo(remote) => Some(remote.clone()),
        _ => None,
    });
    last.flatten()
}

fn flows(bench: &Bench) -> (bool, bool) {
    video(bench).map_or((false, false), |video| (video.to_sip, video.to_browser))
}

fn text_for_browser(bench: &Bench) -> String {
    let last = bench.to_browser.iter().rev().find_map(|message| match message {
        ToBrowser::Offer { sdp, .. } | ToBrowser::Answer { sdp, .. } => Some(sdp.clone()),
        _ => None,
    });
    last.expect("a description for the browser")
}

fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn what_the_browser_offers_the_far_end_may_take() {
    let mut bench = outgoing(&browser_calls("sendrecv"));
    let invite = bench.sip_text();
    assert_eq!(lines(&invite, "m=")[1], "m=video 20002 RTP/AVP 96 102 104");
    assert!(invite.contains("a=rtcp-fb:96 nack pli\r\n") && !invite.contains("remb"), "{invite}");
    let h264 = phone_video(
        102,
        "H264",
        "a=fmtp:102 profile-level-id=42e015;packetization-mode=1\r\na=rtcp-fb:* nack pli\r\n",
    );
    bench.answered(&phone(1, "sendrecv", &h264));
    let answer = text_for_browser(&bench);
    assert_eq!(lines(&answer, "m=video"), ["m=video 40000 UDP/TLS/RTP/SAVPF 102"]);
    assert_eq!(lines(&answer, "a=group"), ["a=group:BUNDLE 0 1"]);
    assert!(
        answer.contains(
            "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
        ),
        "{answer}"
    );
    assert!(answer.contains("a=msid:gw video\r\na=ssrc:4343 cname:gw\r\n"), "{answer}");
    assert_eq!(
        video(&bench),
        Some(VideoRemote {
            browser_payload: 102,
            sip_payload: 102,
            target: Some("203.0.113.5:30002".parse().unwrap()),
            rtcp: RtcpTarget::NextPort,
            feedback: Feedback { pli: true, ..Feedback::default() },
            to_sip: true,
            to_browser: true,
        })
    );
}

#[test]
fn what_the_caller_offers_the_browser_may_take() {
    let formats = "m=video 30002 RTP/AVPF 100 126\r\na=rtpmap:100 VP9/90000\r\n\
         a=rtpmap:126 VP8/90000\r\na=rtcp-fb:126 nack\r\n";
    let mut bench = incoming(Some(&phone(1, "sendrecv", formats)));
    let offer = text_for_browser(&bench);
    assert_eq!(lines(&offer, "m=video"), ["m=video 40000 UDP/TLS/RTP/SAVPF 96"], "126 is taken");
    bench.answer(&with_video(&browser_answer("u1", "sendrecv", "0 126"), VP8, "sendrecv"));
    let answer = bench.sip_text();
    assert_eq!(lines(&answer, "m=video"), ["m=video 20002 RTP/AVPF 126"], "its profile and number");
    let agreed = video(&bench).unwrap();
    assert_eq!((agreed.browser_payload, agreed.sip_payload), (96, 126));
    assert_eq!(agreed.feedback, Feedback { nack: true, ..Feedback::default() });
    assert!(agreed.to_sip && agreed.to_browser);
}

#[test]
fn a_browser_without_a_camera_watches() {
    let mut bench = incoming(Some(&phone(1, "sendrecv", &phone_video(96, "VP8", ""))));
    bench.answer(&with_video(&browser_answer("u1", "sendrecv", "0 126"), VP8, "recvonly"));
    let sdp = SipSdp::parse(&bench.sip_text(), &ALL).unwrap();
    assert_eq!(sdp.video.unwrap().direction, Direction::RecvOnly);
    assert_eq!((sdp.direction, flows(&bench)), (Direction::SendRecv, (false, true)));
}

#[test]
fn nothing_in_common_is_port_0_and_audio() {
    for theirs in [
        "m=video 0 RTP/AVP 96\r\n".to_owned(),
        String::new(),
        phone_video(98, "VP9", ""),
        phone_video(98, "H264", "a=fmtp:98 profile-level-id=640028;packetization-mode=1\r\n"),
        phone_video(96, "VP8", "").replace("RTP/AVP", "RTP/SAVP"),
    ] {
        let mut bench = outgoing(&browser_calls("sendrecv"));
        bench.answered(&phone(1, "sendrecv", &theirs));
        let answer = text_for_browser(&bench);
        assert_eq!(lines(&answer, "m=video"), ["m=video 0 UDP/TLS/RTP/SAVPF 96 102 104"]);
        assert_eq!(lines(&answer, "a=group"), ["a=group:BUNDLE 0"], "{theirs}");
        assert_eq!((video(&bench), bench.flow().to_sip), (None, true), "{theirs}");
    }
    let mut bench = incoming(Some(&phone(1, "sendrecv", &phone_video(96, "VP8", ""))));
    bench.answer(&browser_answer("u1", "sendrecv", "0 126"));
    assert_eq!(
        lines(&bench.sip_text(), "m=video"),
        ["m=video 0 RTP/AVP 96"],
        "the browser refuses"
    );
    assert_eq!((video(&bench), bench.flow().to_browser), (None, true));
}

#[test]
fn without_the_configuration_all_is_as_it_was() {
    let offer = browser_calls("sendrecv");
    let mut bench = Bench::outgoing(&offer);
    assert_eq!(lines(&bench.sip_text(), "m=").len(), 1);
    bench.answered(&phone(1, "sendrecv", ""));
    assert_eq!(lines(&text_for_browser(&bench), "m=video")[0].split(' ').nth(1), Some("0"));
    let mut bench = Bench::incoming(Some(&phone(1, "sendrecv", &phone_video(96, "VP8", ""))));
    assert_eq!(lines(&text_for_browser(&bench), "m=").len(), 1);
    bench.answer(&browser_answer("u1", "sendrecv", "0 126"));
    assert_eq!(lines(&bench.sip_text(), "m=video"), ["m=video 0 RTP/AVP 96"]);
    assert!(!bench.to_media.iter().any(|command| matches!(command, MediaCommand::SetVideo(_))));
}

/// The browser is answered when the far end rings, and nobody knows yet.
#[test]
fn a_call_that_rings_lets_video_stand_and_opens_it_by_an_offer() {
    let mut bench = outgoing_in(Dialect::Rest, &browser_calls("sendrecv"));
    bench.progressed(180, None, 1);
    bench.wait(Duration::from_millis(500));
    let early = BrowserSdp::parse(&text_for_browser(&bench), &ALL).unwrap().video.unwrap();
    assert_eq!((early.direction, early.formats.len()), (Direction::Inactive, 3));
    bench.clear();
    bench.answered(&phone(
        1,
        "sendrecv",
        &phone_video(102, "H264", "a=fmtp:102 profile-level-id=42e01f;packetization-mode=1\r\n"),
    ));
    assert_eq!((bench.heard(), video(&bench)), (vec!["connected", "offer"], None));
    let (_, offer) = bench.our_offer();
    let opened = offer.video.unwrap();
    assert_eq!((opened.direction, opened.formats[0].payload), (Direction::SendRecv, 102));
    bench.answer(&with_video(&browser_answer("u0", "sendrecv", "0 126"), "102", "sendrecv"));
    assert_eq!(flows(&bench), (true, true));
    assert_eq!(bench.heard(), ["connected", "offer", "ok"], "once");
}

#[test]
fn a_far_end_without_video_needs_no_offer_after_the_ringing() {
    let mut bench = outgoing_in(Dialect::Rest, &browser_calls("sendrecv"));
    bench.progressed(180, None, 1);
    bench.wait(Duration::from_millis(500));
    bench.clear();
    bench.answered(&phone(1, "sendrecv", "m=video 0 RTP/AVP 96\r\n"));
    assert_eq!((bench.heard(), video(&bench)), (vec!["connected"], None));
}

#[test]
fn an_offerless_invite_gets_the_browsers_video_in_the_200() {
    let mut bench = incoming(None);
    bench.offer(ids(103, 1), &browser_calls("sendrecv"));
    assert_eq!(lines(&bench.sip_text(), "m=video"), ["m=video 20002 RTP/AVP 96 102 104"]);
    bench.acked(Some(&phone(1, "sendrecv", &phone_video(96, "VP8", ""))));
    assert_eq!(lines(&text_for_browser(&bench), "m=video"), ["m=video 40000 UDP/TLS/RTP/SAVPF 96"]);
    assert_eq!(flows(&bench), (true, true));
}

fn established() -> Bench {
    let mut bench = outgoing(&browser_calls("sendrecv"));
    bench.answered(&phone(1, "sendrecv", &phone_video(96, "VP8", "")));
    assert_eq!(flows(&bench), (true, true));
    bench.clear();
    bench
}

#[test]
fn hold_holds_both() {
    let mut bench = established();
    let held = with_video(&browser_offer("u0", 1, "sendonly"), FORMATS, "sendonly");
    bench.offer(ids(103, 2), &held);
    let sdp = SipSdp::parse(&bench.sip_text(), &ALL).unwrap();
    assert_eq!(sdp.direction, Direction::SendOnly);
    assert_eq!(sdp.video.unwrap().direction, Direction::SendOnly);
    assert_eq!(flows(&bench), (false, false));
    bench.reinvite_answered(&phone(2, "recvonly", &phone_video(96, "VP8", "a=recvonly\r\n")));
    assert_eq!(flows(&bench), (false, false));
    bench.offer(ids(103, 3), &browser_calls("sendrecv"));
    bench.reinvite_answered(&phone(3, "sendrecv", &phone_video(96, "VP8", "")));
    assert_eq!(flows(&bench), (true, true));
    assert_eq!(lines(&text_for_browser(&bench), "m=video"), ["m=video 40000 UDP/TLS/RTP/SAVPF 96"]);
}

#[test]
fn the_far_end_takes_video_away_and_brings_it_back() {
    let mut bench = established();
    bench.reinvited(Some(&phone(2, "sendrecv", "m=video 0 RTP/AVP 96\r\n")));
    assert_eq!(lines(&bench.sip_text(), "m=video"), ["m=video 0 RTP/AVP 96"]);
    assert_eq!((video(&bench), bench.heard()), (None, vec![]), "the browser is left alone");
    bench.reinvited(Some(&phone(3, "sendrecv", &phone_video(97, "VP8", ""))));
    let back = video(&bench).unwrap();
    assert_eq!((back.sip_payload, back.browser_payload, back.to_browser), (97, 96, true));
    assert!(bench.to_media.iter().all(|command| !matches!(command, MediaCommand::SetFlow(_))));
}

#[test]
fn video_that_is_added_to_a_call_without_is_refused() {
    let mut bench = outgoing(&browser_offer("u0", 1, "sendrecv"));
    bench.answered(&phone(1, "sendrecv", ""));
    bench.reinvited(Some(&phone(2, "sendrecv", &phone_video(96, "VP8", ""))));
    assert_eq!(lines(&bench.sip_text(), "m=video"), ["m=video 0 RTP/AVP 96"]);
    assert_eq!((video(&bench), bench.flow().to_sip), (None, true));
    bench.offer(ids(103, 2), &browser_offer("u0", 1, "sendonly"));
    assert_eq!(lines(&bench.sip_text(), "m=").len(), 2, "an m-line stays (RFC 3264 8)");
}

#[test]
fn a_whole_picture_is_asked_for_by_info_where_there_is_no_feedback() {
    let mut bench = established();
    bench.line.handle_picture_wanted();
    bench.drain();
    let Some(Command::Info { content_type, body, .. }) = bench.to_sip.last() else {
        panic!("no INFO: {:?}", bench.to_sip);
    };
    assert_eq!(content_type, "application/media_control+xml");
    assert!(String::from_utf8_lossy(body).contains("<picture_fast_update/>"));
    let (content_type, body) = (content_type.clone(), body.clone());
    bench.sip(Event::Informed { session: SESSION, content_type, body });
    assert_eq!((bench.to_media.last(), bench.heard()), (Some(&MediaCommand::AskBrowser), vec![]));
}
