//! The side toward SIP: plain RTP, or SRTP with its keys in the description (RFC 4568).

use std::fmt::Write;
use std::net::SocketAddr;

use super::{Origin, VideoSide, family, media_line, ptime, refused, rtpmaps};
use crate::sdp::{Crypto, Direction, Line, PayloadMap};

/// Our own side toward SIP.
#[derive(Debug, Clone, Copy)]
pub struct SipSide<'a> {
    pub rtp: SocketAddr,
    pub direction: Direction,
    pub payloads: &'a PayloadMap,
    /// The profile of an offer; an answer has the offer's.
    pub profile: &'a str,
    /// One line in an answer, any number in an offer, none for plain RTP.
    pub crypto: &'a [Crypto],
    /// RTCP comes to the port of RTP (RFC 5761): in an answer to an offer that asks for it.
    pub rtcp_mux: bool,
    /// Over plain RTP.
    pub video: Option<VideoSide<'a>>,
}

impl<'a> SipSide<'a> {
    /// Plain RTP, both ways.
    pub fn plain(rtp: SocketAddr, payloads: &'a PayloadMap) -> Self {
        let direction = Direction::SendRecv;
        SipSide {
            rtp,
            direction,
            payloads,
            profile: "RTP/AVP",
            crypto: &[],
            rtcp_mux: false,
            video: None,
        }
    }
}

/// A description for the SIP side. `like` is the offer that it answers, or the m-lines that the session
/// has by now (RFC 3264 8).
pub fn sip(origin: &mut Origin, side: SipSide<'_>, like: Option<(&[Line], usize)>) -> String {
    let address = side.rtp.ip();
    let mut text = format!("c=IN {} {}\r\nt=0 0\r\n", family(address), address);
    let new = |kind: &str, proto: &str| Line {
        kind: kind.to_owned(),
        proto: proto.to_owned(),
        formats: String::new(),
        mid: None,
    };
    let fresh = [new("audio", side.profile), new("video", "RTP/AVP")];
    let fresh = &fresh[..1 + usize::from(side.video.is_some())];
    let (lines, audio) = like.unwrap_or((fresh, 0));
    let video = side.video.map(|video| match like {
        None => VideoSide { index: 1, ..video },
        Some(_) => video,
    });
    for (index, line) in lines.iter().enumerate() {
        if let Some(video) = video.filter(|video| video.index == index && index != audio) {
            video.media_line(&mut text, video.port, &line.proto);
            video.rtpmaps(&mut text);
            let _ = write!(text, "a={}\r\n", video.direction.attribute());
            continue;
        }
        if index != audio {
            refused(&mut text, line);
            continue;
        }
        media_line(&mut text, side.rtp.port(), &line.proto, side.payloads);
        for line in side.crypto {
            let _ = write!(text, "a=crypto:{}\r\n", line.value());
        }
        rtpmaps(&mut text, side.payloads);
        if side.rtcp_mux {
            text.push_str("a=rtcp-mux\r\n");
        }
        ptime(&mut text, side.payloads);
        let _ = write!(text, "a={}\r\n", side.direction.attribute());
    }
    origin.finish(address, text)
}
