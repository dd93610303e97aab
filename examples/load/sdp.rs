//! Descriptions of the two ends, and the few lines of the gateway's that they need.

use std::net::SocketAddr;

use clap::ValueEnum;

use crate::media::Sound;
use crate::{Fault, voice};

/// What is spoken: by both sides, or by browsers and telephones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    Pcmu,
    Pcma,
    G722,
    /// Opus at the browser, PCMU at the telephone: every frame is coded anew.
    OpusToPcmu,
}

impl Codec {
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::OpusToPcmu => "Opus to PCMU",
        }
    }

    /// The two ends have none in common.
    pub fn is_coded(self) -> bool {
        matches!(self, Codec::OpusToPcmu)
    }

    /// What browsers and what telephones say.
    pub fn sounds(self) -> Result<[Sound; 2], Fault> {
        Ok(match self {
            Codec::Pcmu => [0, 0].map(Sound::stamped),
            Codec::Pcma => [8, 8].map(Sound::stamped),
            Codec::G722 => [9, 9].map(Sound::stamped),
            Codec::OpusToPcmu => [
                Sound { payload_type: 111, step: 960, frames: voice::opus()? },
                Sound { payload_type: 0, step: 160, frames: voice::pcmu() },
            ],
        })
    }

    /// Payload numbers and their lines.
    fn browser_lines(self) -> (&'static str, &'static str) {
        match self {
            Codec::Pcmu => {
                ("0 126", "a=rtpmap:0 PCMU/8000\r\na=rtpmap:126 telephone-event/8000\r\n")
            }
            Codec::Pcma => {
                ("8 126", "a=rtpmap:8 PCMA/8000\r\na=rtpmap:126 telephone-event/8000\r\n")
            }
            Codec::G722 => {
                ("9 126", "a=rtpmap:9 G722/8000\r\na=rtpmap:126 telephone-event/8000\r\n")
            }
            Codec::OpusToPcmu => (
                "111 110",
                "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
                 a=rtpmap:110 telephone-event/48000\r\n",
            ),
        }
    }

    fn phone_lines(self) -> (&'static str, &'static str) {
        match self {
            Codec::Pcmu | Codec::OpusToPcmu => {
                ("0 101", "a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n")
            }
            Codec::Pcma => {
                ("8 101", "a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n")
            }
            Codec::G722 => {
                ("9 101", "a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\n")
            }
        }
    }
}

/// A browser's: an offer with `actpass`, an answer with `active`.
pub fn browser(codec: Codec, setup: &str, own: &OwnIce<'_>, number: usize) -> String {
    let (formats, maps) = codec.browser_lines();
    let OwnIce { ufrag, pwd, fingerprint, port } = own;
    format!(
        "v=0\r\no=- {number} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio {port} UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 127.0.0.1\r\n\
         a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host\r\na=ice-ufrag:{ufrag}\r\n\
         a=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\na=mid:0\r\n\
         a=sendrecv\r\na=rtcp-mux\r\n{maps}a=ssrc:{} cname:load\r\n",
        0xB000_0000u32 + number as u32
    )
}

/// What a browser says of itself.
pub struct OwnIce<'a> {
    pub ufrag: &'a str,
    pub pwd: &'a str,
    pub fingerprint: &'a str,
    pub port: u16,
}

/// A telephone's.
pub fn phone(codec: Codec, port: u16) -> String {
    let (formats, maps) = codec.phone_lines();
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\n{maps}a=ptime:20\r\na=sendrecv\r\n"
    )
}

/// The port of the audio line.
pub fn audio_port(text: &str) -> Option<u16> {
    let line = text.lines().find_map(|line| line.strip_prefix("m=audio "))?;
    line.split(' ').next()?.parse().ok().filter(|port| *port != 0)
}

/// Where the gateway's browser side is, and how it knows us.
#[derive(Debug, Clone)]
pub struct Remote {
    pub address: SocketAddr,
    pub ufrag: String,
    pub pwd: String,
    pub fingerprint: String,
}

impl Remote {
    pub fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let is_udp = |line: &&str| line.to_ascii_lowercase().contains(" udp ");
        let candidate =
            text.lines().filter_map(|line| line.strip_prefix("a=candidate:")).find(is_udp)?;
        let mut fields = candidate.split(' ').skip(4);
        let (ip, port) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Self {
            address: SocketAddr::new(ip, port),
            ufrag: value("a=ice-ufrag:")?.to_owned(),
            pwd: value("a=ice-pwd:")?.to_owned(),
            fingerprint: value("a=fingerprint:sha-256 ")?.to_owned(),
        })
    }
}
