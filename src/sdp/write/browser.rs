//! The side toward a browser: DTLS-SRTP, ICE-lite, one BUNDLE.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::{Origin, VideoSide, family, media_line, ptime, refused, rtpmaps};
use crate::sdp::{
    BrowserSdp, Candidate, Direction, Fingerprint, IceCredentials, Line, PayloadMap, Setup,
};

/// Our own side toward a browser.
#[derive(Debug, Clone, Copy)]
pub struct BrowserSide<'a> {
    pub ice: &'a IceCredentials,
    pub fingerprint: Fingerprint,
    /// The default one first.
    pub candidates: &'a [Candidate],
    pub ssrc: u32,
    pub cname: &'a str,
    /// `ActPass` in offers, `Passive` in answers unless the browser insists on being passive itself.
    pub setup: Setup,
    pub direction: Direction,
    pub payloads: &'a PayloadMap,
    /// In the same bundle.
    pub video: Option<VideoSide<'a>>,
}

/// Where the m-lines of a description for the browser come from.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// Our first offer: one audio, and the video where there is one.
    Fresh,
    /// An answer, or a later offer: the m-lines stand as this description has them (RFC 8829 5.2.2).
    Like(&'a BrowserSdp),
}

/// A description for the browser: an offer or an answer, by `setup` and `shape`.
pub fn browser(origin: &mut Origin, side: BrowserSide<'_>, shape: Shape<'_>) -> String {
    let new = |kind: &str, mid: &str| Line {
        kind: kind.to_owned(),
        proto: "UDP/TLS/RTP/SAVPF".to_owned(),
        formats: String::new(),
        mid: Some(mid.to_owned()),
    };
    let fresh = [new("audio", "0"), new("video", "1")];
    let (lines, audio, bundled) = match shape {
        Shape::Fresh => (&fresh[..1 + usize::from(side.video.is_some())], 0, true),
        Shape::Like(theirs) => (&theirs.lines[..], theirs.audio, theirs.bundled),
    };
    let video = side.video.map(|video| match shape {
        Shape::Fresh => VideoSide { index: 1, ..video },
        Shape::Like(_) => video,
    });
    let address =
        side.candidates.first().map_or(IpAddr::from([127, 0, 0, 1]), |first| first.address.ip());
    let mut text = String::from("t=0 0\r\n");
    let mid = |index| lines.get(index).and_then(|line: &Line| line.mid.as_deref());
    if bundled && let Some(first) = mid(audio) {
        let _ = write!(text, "a=group:BUNDLE {first}");
        if let Some(second) = video.and_then(|video| mid(video.index)) {
            let _ = write!(text, " {second}");
        }
        text.push_str("\r\n");
    }
    // What we are: lite, and of RFC 8445, which has to be said (10).
    text.push_str("a=ice-lite\r\na=ice-options:ice2\r\na=msid-semantic: WMS *\r\n");
    for (index, line) in lines.iter().enumerate() {
        if index == audio {
            browser_audio(&mut text, line, side);
        } else if let Some(video) = video.filter(|video| video.index == index) {
            browser_video(&mut text, line, side, video);
        } else {
            refused(&mut text, line);
        }
    }
    origin.finish(address, text)
}

fn browser_audio(text: &mut String, line: &Line, side: BrowserSide<'_>) {
    let default = side.candidates.first().map(|first| first.address);
    let default = default.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 9)));
    media_line(text, default.port(), &line.proto, side.payloads);
    transport(text, line, side, default);
    let _ = write!(text, "a={}\r\na=rtcp-mux\r\n", side.direction.attribute());
    rtpmaps(text, side.payloads);
    ptime(text, side.payloads);
    // On hold too: Chromium takes a stream apart whose SSRC is gone, and does not put it together again.
    let _ = write!(text, "a=msid:{0} audio\r\na=ssrc:{1} cname:{0}\r\n", side.cname, side.ssrc);
}

fn browser_video(text: &mut String, line: &Line, side: BrowserSide<'_>, video: VideoSide<'_>) {
    let default = side.candidates.first().map(|first| first.address);
    let default = default.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 9)));
    video.media_line(text, default.port(), &line.proto);
    transport(text, line, side, default);
    let _ = write!(text, "a={}\r\na=rtcp-mux\r\n", video.direction.attribute());
    video.rtpmaps(text);
    let _ = write!(text, "a=msid:{0} video\r\na=ssrc:{1} cname:{0}\r\n", side.cname, video.ssrc);
}

/// Of one transport, be it said once or for each m-line of the bundle.
fn transport(text: &mut String, line: &Line, side: BrowserSide<'_>, default: SocketAddr) {
    let _ = write!(text, "c=IN {} {}\r\n", family(default.ip()), default.ip());
    let _ =
        write!(text, "a=rtcp:{} IN {} {}\r\n", default.port(), family(default.ip()), default.ip());
    for candidate in side.candidates {
        let _ = write!(text, "a=candidate:{candidate}\r\n");
    }
    text.push_str("a=end-of-candidates\r\n");
    let _ = write!(text, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", side.ice.ufrag, side.ice.pwd);
    let _ = write!(text, "a=fingerprint:sha-256 {}\r\n", side.fingerprint);
    let setup = match side.setup {
        Setup::Active => "active",
        Setup::Passive => "passive",
        Setup::ActPass => "actpass",
    };
    let _ = write!(text, "a=setup:{setup}\r\n");
    if let Some(mid) = &line.mid {
        let _ = write!(text, "a=mid:{mid}\r\n");
    }
}
