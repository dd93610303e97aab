//! Video that passes through: what a description says of it, and what two of them have in common.

use std::fmt;
use std::str::FromStr;

use super::{Direction, RtcpTarget, RtpTarget};

/// A video codec whose packets the gateway passes on. None is ever turned into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// RFC 7741.
    Vp8,
    /// RFC 6184.
    H264,
}

impl VideoCodec {
    pub const ALL: [VideoCodec; 2] = [VideoCodec::Vp8, VideoCodec::H264];

    /// RTP units per second, of either.
    pub const CLOCK: u32 = 90_000;

    /// The encoding name of `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            VideoCodec::Vp8 => "VP8",
            VideoCodec::H264 => "H264",
        }
    }
}

impl FromStr for VideoCodec {
    type Err = UnknownVideo;

    fn from_str(name: &str) -> Result<Self, UnknownVideo> {
        VideoCodec::ALL
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownVideo(name.to_owned()))
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a video codec of this gateway; it passes on VP8 and H264")]
pub struct UnknownVideo(pub String);

/// What a receiver may ask the sender for (RFC 4585, RFC 5104).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Feedback {
    /// Packets again: `nack`.
    pub nack: bool,
    /// A whole picture: `nack pli`.
    pub pli: bool,
    /// The same: `ccm fir`.
    pub fir: bool,
}

impl Feedback {
    pub const ALL: Feedback = Feedback { nack: true, pli: true, fir: true };

    /// Takes a value of `a=rtcp-fb` in, without its payload type.
    pub(super) fn add(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("nack"), None) => self.nack = true,
            (Some("nack"), Some("pli")) => self.pli = true,
            (Some("ccm"), Some("fir")) => self.fir = true,
            _ => {}
        }
    }

    pub(super) fn values(self) -> impl Iterator<Item = &'static str> {
        [(self.nack, "nack"), (self.pli, "nack pli"), (self.fir, "ccm fir")]
            .into_iter()
            .filter_map(|(is_there, value)| is_there.then_some(value))
    }
}

/// One codec under its payload type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFormat {
    pub codec: VideoCodec,
    pub payload: u8,
    /// The parameters of `a=fmtp`, as they came.
    pub fmtp: Option<String>,
    pub feedback: Feedback,
}

impl VideoFormat {
    /// Whether packets of the one can be read as the other: of H.264 the profile and the packetization mode
    /// have to be the same (RFC 6184 8.2.2).
    pub fn fits(&self, other: &VideoFormat) -> bool {
        self.codec == other.codec
            && (self.codec != VideoCodec::H264
                || (self.mode(), self.profile()) == (other.mode(), other.profile()))
    }

    /// As an answer repeats it: what the offerer says of its own stream is not ours to say.
    pub fn answering(&self) -> VideoFormat {
        let fmtp = self.fmtp.as_deref().map(|fmtp| {
            let kept: Vec<&str> = fmtp
                .split(';')
                .map(str::trim)
                .filter(|parameter| !parameter.starts_with("sprop-"))
                .collect();
            kept.join(";")
        });
        VideoFormat { fmtp, ..self.clone() }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.fmtp.as_deref()?.split(';').find_map(|parameter| {
            let (its, value) = parameter.trim().split_once('=')?;
            its.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn mode(&self) -> &str {
        self.parameter("packetization-mode").unwrap_or("0")
    }

    fn profile(&self) -> Profile {
        let id = self.parameter("profile-level-id").unwrap_or("42000A");
        let Ok(id) = u32::from_str_radix(id, 16) else { return Profile::Unreadable };
        let (idc, constraints) = ((id >> 16) as u8, (id >> 8) as u8);
        match (idc, constraints) {
            (0x42, c) if c & 0x40 != 0 => Profile::ConstrainedBaseline,
            (0x4D, c) if c & 0x80 != 0 => Profile::ConstrainedBaseline,
            (0x58, c) if c & 0xC0 == 0xC0 => Profile::ConstrainedBaseline,
            (0x42, _) => Profile::Baseline,
            (0x4D, _) => Profile::Main,
            (0x64, 0x0C) => Profile::ConstrainedHigh,
            (0x64, _) => Profile::High,
            _ => Profile::Other(idc, constraints),
        }
    }
}

/// What the first two bytes of `profile-level-id` stand for (RFC 6184 8.1, table 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
    ConstrainedHigh,
    High,
    Other(u8, u8),
    Unreadable,
}

/// A video m-line that is not refused and has a codec of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoLine {
    /// Its place among the m-lines.
    pub index: usize,
    /// Never empty, the preferred first.
    pub formats: Vec<VideoFormat>,
    pub direction: Direction,
    pub target: RtpTarget,
    pub rtcp: RtcpTarget,
}

impl VideoLine {
    /// The first of its formats that fits one of those.
    pub fn first_of(&self, ours: &[VideoFormat]) -> Option<&VideoFormat> {
        self.formats.iter().find(|format| ours.iter().any(|other| format.fits(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(fmtp: &str) -> VideoFormat {
        VideoFormat {
            codec: VideoCodec::H264,
            payload: 97,
            fmtp: Some(fmtp.to_owned()),
            feedback: Feedback::default(),
        }
    }

    #[test]
    fn h264_fits_by_mode_and_profile_whatever_the_level() {
        let ours = h264("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
        for (fmtp, fits) in [
            ("profile-level-id=42E034; packetization-mode=1", true),
            ("profile-level-id=42c00d;packetization-mode=1", true),
            ("profile-level-id=4d801f;packetization-mode=1", true),
            ("profile-level-id=42e01f", false),
            ("profile-level-id=42e01f;packetization-mode=0", false),
            ("profile-level-id=42001f;packetization-mode=1", false),
            ("profile-level-id=64001f;packetization-mode=1", false),
            ("profile-level-id=zz;packetization-mode=1", false),
            ("packetization-mode=1", false),
        ] {
            assert_eq!(ours.fits(&h264(fmtp)), fits, "{fmtp}");
            assert_eq!(h264(fmtp).fits(&ours), fits, "{fmtp}");
        }
        let vp8 = VideoFormat { codec: VideoCodec::Vp8, ..ours.clone() };
        assert!(!vp8.fits(&ours));
        assert!(vp8.fits(&VideoFormat { fmtp: None, payload: 120, ..vp8.clone() }));
    }

    #[test]
    fn an_answer_does_not_repeat_the_parameter_sets_of_the_offer() {
        let offer = h264(
            "profile-level-id=42e01f; sprop-parameter-sets=Z0IACpZTBYmI,aMljiA==; packetization-mode=1",
        );
        let answer = offer.answering();
        assert_eq!(answer.fmtp.as_deref(), Some("profile-level-id=42e01f;packetization-mode=1"));
        assert!(answer.fits(&offer));
    }
}
