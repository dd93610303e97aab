//! The m-line of video, on either side.

use std::fmt::Write;

use crate::sdp::{Direction, VideoCodec, VideoFormat};

/// Our own video in a description.
#[derive(Debug, Clone, Copy)]
pub struct VideoSide<'a> {
    /// In a description like another one: the place of its m-line.
    pub index: usize,
    /// Toward SIP our port; toward the browser it is that of the audio.
    pub port: u16,
    pub formats: &'a [VideoFormat],
    pub direction: Direction,
    /// The one SSRC that the browser sees.
    pub ssrc: u32,
}

impl VideoSide<'_> {
    pub(super) fn media_line(&self, text: &mut String, port: u16, proto: &str) {
        let _ = write!(text, "m=video {port} {proto}");
        for format in self.formats {
            let _ = write!(text, " {}", format.payload);
        }
        text.push_str("\r\n");
    }

    pub(super) fn rtpmaps(&self, text: &mut String) {
        for VideoFormat { codec, payload, fmtp, feedback } in self.formats {
            let _ = write!(text, "a=rtpmap:{payload} {codec}/{}\r\n", VideoCodec::CLOCK);
            if let Some(fmtp) = fmtp.as_deref().filter(|fmtp| !fmtp.is_empty()) {
                let _ = write!(text, "a=fmtp:{payload} {fmtp}\r\n");
            }
            for value in feedback.values() {
                let _ = write!(text, "a=rtcp-fb:{payload} {value}\r\n");
            }
        }
    }
}
