//! The side toward SIP: plain RTP.

use std::fmt::Write;
use std::net::SocketAddr;

use super::{Origin, family, media_line, refused, rtpmaps};
use crate::sdp::{Direction, Line, PayloadMap};

/// Our own side toward SIP.
#[derive(Debug, Clone, Copy)]
pub struct SipSide<'a> {
    pub rtp: SocketAddr,
    pub direction: Direction,
    pub payloads: &'a PayloadMap,
}

/// A description for the SIP side. `like` is the offer that it answers.
pub fn sip(origin: &mut Origin, side: SipSide<'_>, like: Option<(&[Line], usize)>) -> String {
    let address = side.rtp.ip();
    let mut text = format!("c=IN {} {}\r\nt=0 0\r\n", family(address), address);
    let fresh = [Line {
        kind: "audio".to_owned(),
        proto: "RTP/AVP".to_owned(),
        formats: String::new(),
        mid: None,
    }];
    let (lines, audio) = like.unwrap_or((&fresh, 0));
    for (index, line) in lines.iter().enumerate() {
        if index != audio {
            refused(&mut text, line);
            continue;
        }
        media_line(&mut text, side.rtp.port(), &line.proto, side.payloads);
        rtpmaps(&mut text, side.payloads);
        let _ = write!(text, "a=ptime:20\r\na={}\r\n", side.direction.attribute());
    }
    origin.finish(address, text)
}
