//! Session descriptions of the lab's own telephones: plain RTP/AVP audio (RFC 8866, RFC 3264).
//! Read and written apart from the gateway's `sdp` room, so that one checks the other.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use crate::sdp::{Codec, Direction, Format, PayloadMap};

/// What a description says of its audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Where its side wants RTP; `None` for a black hole (`0.0.0.0`, port 0).
    pub target: Option<SocketAddr>,
    /// What we know of its formats, in its order; never empty.
    pub payloads: PayloadMap,
    pub direction: Direction,
    /// The m-lines, for the answer must have as many: the audio one's place, and of each the
    /// first words.
    audio_at: usize,
    media: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("not a session description")]
    Malformed,
    #[error("no audio over RTP/AVP in it")]
    NoAudio,
    #[error("no codec in common")]
    NoCommonCodec,
}

/// More m-lines than any telephone has; the rest of a hostile description is not looked at.
const MAX_MEDIA: usize = 16;

impl Described {
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if !text.trim_start().starts_with("v=0") {
            return Err(SdpError::Malformed);
        }
        let mut session_address: Option<IpAddr> = None;
        let mut session_direction = Direction::SendRecv;
        let mut media: Vec<(String, String)> = Vec::new();
        let mut audio: Option<Audio> = None;
        let mut in_audio = false;
        for line in text.lines().map(str::trim_end) {
            let Some((kind, value)) = line.split_once('=') else { continue };
            match kind {
                "m" => {
                    if media.len() == MAX_MEDIA {
                        break;
                    }
                    let mut words = value.split_ascii_whitespace();
                    let (Some(name), Some(port), Some(protocol)) =
                        (words.next(), words.next(), words.next())
                    else {
                        return Err(SdpError::Malformed);
                    };
                    in_audio = audio.is_none()
                        && name.eq_ignore_ascii_case("audio")
                        && protocol.eq_ignore_ascii_case("RTP/AVP");
                    if in_audio {
                        audio = Some(Audio {
                            at: media.len(),
                            port: port.parse().map_err(|_| SdpError::Malformed)?,
                            numbers: words.filter_map(|w| w.parse().ok()).take(64).collect(),
                            ..Audio::default()
                        });
                    }
                    media.push((name.to_owned(), protocol.to_owned()));
                }
                "c" => {
                    let address = value.rsplit(' ').next().and_then(|a| a.parse().ok());
                    match (&mut audio, in_audio) {
                        (Some(audio), true) => audio.address = address,
                        _ if media.is_empty() => session_address = address,
                        _ => {}
                    }
                }
                "a" => {
                    let direction = match value {
                        "sendrecv" => Some(Direction::SendRecv),
                        "sendonly" => Some(Direction::SendOnly),
                        "recvonly" => Some(Direction::RecvOnly),
                        "inactive" => Some(Direction::Inactive),
                        _ => None,
                    };
                    match (&mut audio, in_audio, direction) {
                        (Some(audio), true, Some(direction)) => audio.direction = Some(direction),
                        (Some(audio), true, None) => audio.map(value),
                        (_, _, Some(direction)) if media.is_empty() => {
                            session_direction = direction;
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        let audio = audio.ok_or(SdpError::NoAudio)?;
        let address = audio.address.or(session_address);
        let target = address
            .filter(|address| !address.is_unspecified() && audio.port != 0)
            .map(|address| SocketAddr::new(address, audio.port));
        Ok(Self {
            target,
            payloads: audio.payloads().ok_or(SdpError::NoCommonCodec)?,
            direction: audio.direction.unwrap_or(session_direction),
            audio_at: audio.at,
            media,
        })
    }
}

#[derive(Default)]
struct Audio {
    at: usize,
    port: u16,
    numbers: Vec<u8>,
    names: Vec<(u8, String)>,
    address: Option<IpAddr>,
    direction: Option<Direction>,
}

impl Audio {
    fn map(&mut self, attribute: &str) {
        if let Some(value) = attribute.strip_prefix("rtpmap:")
            && let Some((number, name)) = value.split_once(' ')
            && let Ok(number) = number.parse()
            && self.names.len() < 64
        {
            self.names.push((number, name.trim().to_owned()));
        }
    }

    fn payloads(&self) -> Option<PayloadMap> {
        let mut map = PayloadMap::default();
        for &payload in &self.numbers {
            let named = self.names.iter().find(|(number, _)| *number == payload);
            let codec = match named {
                Some((_, name)) => {
                    let mut parts = name.split('/');
                    let name = parts.next().unwrap_or_default();
                    if parts.next() != Some("8000") {
                        continue;
                    }
                    if name.eq_ignore_ascii_case("telephone-event") {
                        map.telephone_event.get_or_insert(payload);
                        continue;
                    }
                    name.parse().ok()
                }
                None => Codec::ALL.into_iter().find(|c| c.static_payload() == Some(payload)),
            };
            if let Some(codec) = codec {
                map.formats.push(Format { codec, payload });
            }
        }
        (!map.formats.is_empty()).then_some(map)
    }
}

/// Our side of a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    pub id: u64,
    pub version: u64,
    pub address: SocketAddr,
    /// `c=0.0.0.0`: hold as RFC 2543 had it.
    pub black_hole: bool,
    pub payloads: PayloadMap,
    pub direction: Direction,
}

impl Local {
    /// An offer, or with the peer's offer the answer to it.
    pub fn write(&self, offer: Option<&Described>) -> String {
        let mut out = String::new();
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let ip = self.address.ip();
        let connection = match (self.black_hole, ip) {
            (false, ip) => ip.to_string(),
            (true, IpAddr::V4(_)) => "0.0.0.0".to_owned(),
            (true, IpAddr::V6(_)) => "::".to_owned(),
        };
        let _ = write!(
            out,
            "v=0\r\no=lab {} {} IN {family} {ip}\r\ns=-\r\nc=IN {family} {connection}\r\nt=0 0\r\n",
            self.id, self.version
        );
        match offer {
            None => self.write_audio(&mut out),
            Some(offer) => {
                for (at, (name, protocol)) in offer.media.iter().enumerate() {
                    if at == offer.audio_at {
                        self.write_audio(&mut out);
                    } else {
                        let _ = write!(out, "m={name} 0 {protocol} 0\r\n");
                    }
                }
            }
        }
        out
    }

    fn write_audio(&self, out: &mut String) {
        let _ = write!(out, "m=audio {} RTP/AVP", self.address.port());
        for format in &self.payloads.formats {
            let _ = write!(out, " {}", format.payload);
        }
        if let Some(event) = self.payloads.telephone_event {
            let _ = write!(out, " {event}");
        }
        out.push_str("\r\n");
        for format in &self.payloads.formats {
            let rate = format.codec.clock_rate();
            let _ = write!(out, "a=rtpmap:{} {}/{rate}\r\n", format.payload, format.codec);
        }
        if let Some(event) = self.payloads.telephone_event {
            let _ = write!(out, "a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-15\r\n");
        }
        let _ = write!(out, "a=ptime:20\r\na={}\r\n", self.direction.attribute());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        let payloads = PayloadMap {
            formats: smallvec::smallvec![
                Format { codec: Codec::Pcma, payload: 8 },
                Format { codec: Codec::G722, payload: 97 },
            ],
            telephone_event: Some(101),
            ..PayloadMap::default()
        };
        let mut local = Local {
            id: 1,
            version: 2,
            address: "127.0.0.1:4000".parse().unwrap(),
            black_hole: false,
            payloads: payloads.clone(),
            direction: Direction::SendOnly,
        };
        let read = Described::parse(&local.write(None)).unwrap();
        assert_eq!(read.target, Some(local.address));
        assert_eq!((read.payloads, read.direction), (payloads, Direction::SendOnly));
        local.black_hole = true;
        assert_eq!(Described::parse(&local.write(None)).unwrap().target, None);
    }

    #[test]
    fn other_media_are_refused_in_their_place() {
        let offer = Described::parse(
            "v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nt=0 0\na=inactive\nm=video 5000 RTP/AVP 34\n\
             c=IN IP4 10.0.0.9\nm=audio 4000 RTP/AVP 18 0 96\nc=IN IP4 10.0.0.2\n\
             a=rtpmap:96 Telephone-Event/8000\n",
        )
        .unwrap();
        assert_eq!(offer.target, Some("10.0.0.2:4000".parse().unwrap()));
        assert_eq!(offer.payloads.formats[..], [Format { codec: Codec::Pcmu, payload: 0 }]);
        assert_eq!(offer.payloads.telephone_event, Some(96));
        assert_eq!(offer.direction, Direction::Inactive);
        let local = Local {
            id: 1,
            version: 1,
            address: "127.0.0.1:4000".parse().unwrap(),
            black_hole: false,
            payloads: offer.payloads.clone(),
            direction: Direction::Inactive,
        };
        let answer = local.write(Some(&offer));
        let media: Vec<_> = answer.lines().filter(|l| l.starts_with("m=")).collect();
        assert_eq!(media, ["m=video 0 RTP/AVP 0", "m=audio 4000 RTP/AVP 0 96"]);
    }

    #[test]
    fn what_is_unusable_is_named() {
        assert_eq!(Described::parse("hello"), Err(SdpError::Malformed));
        assert_eq!(Described::parse("v=0\r\nm=audio"), Err(SdpError::Malformed));
        assert_eq!(Described::parse("v=0\r\nm=video 1 RTP/AVP 0"), Err(SdpError::NoAudio));
        assert_eq!(Described::parse("v=0\r\nm=audio 1 RTP/SAVP 0"), Err(SdpError::NoAudio));
        assert_eq!(Described::parse("v=0\r\nm=audio 1 RTP/AVP 18"), Err(SdpError::NoCommonCodec));
    }
}
