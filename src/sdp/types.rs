//! The vocabulary of a session description.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::opus::OpusWishes;

/// What a packet holds where nobody asks for anything else (RFC 3551 4.2).
pub const PTIME: Duration = Duration::from_millis(20);

use smallvec::SmallVec;

/// An audio codec the gateway passes through, and turns into any other where it has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// G.711 mu-law, static payload type 0.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
    /// G.722, static payload type 9; its RTP clock says 8000 though it samples at 16 kHz (RFC 3551 4.5.2).
    G722,
    /// Opus (RFC 7587): a dynamic payload type, clock 48000 whatever it samples at.
    Opus,
}

impl Codec {
    /// In the order of the default preference: what telephones speak comes first, for then nothing is
    /// transcoded.
    pub const ALL: [Codec; 4] = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus];

    /// The encoding name of `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::Opus => "opus",
        }
    }

    /// The static payload type of RFC 3551, for those that have one.
    pub fn static_payload(self) -> Option<u8> {
        match self {
            Codec::Pcmu => Some(0),
            Codec::Pcma => Some(8),
            Codec::G722 => Some(9),
            Codec::Opus => None,
        }
    }

    /// The codec of a static payload type of RFC 3551.
    pub fn of_static_payload(payload: u8) -> Option<Self> {
        Codec::ALL.into_iter().find(|codec| codec.static_payload() == Some(payload))
    }

    /// The payload type in offers of ours: the static one, or the number browsers use.
    pub fn offered_payload(self) -> u8 {
        self.static_payload().unwrap_or(111)
    }

    /// RTP timestamp units per second.
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8000,
            Codec::Opus => 48_000,
        }
    }

    /// The longest packet that the codec and who sends it have within `ptime`, 10 ms at least: a multiple of
    /// 10 ms up to 60, of Opus 10, 20, 40 or 60 ms (RFC 6716 2.1.4).
    pub fn frame_within(self, ptime: Duration) -> Duration {
        let millis = u64::try_from(ptime.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(match (self, millis) {
            (Codec::Opus, 60..) => 60,
            (Codec::Opus, 40..) => 40,
            (Codec::Opus, 20..) => 20,
            (Codec::Opus, _) => 10,
            _ => (millis / 10 * 10).clamp(10, 60),
        })
    }

    /// What `a=rtpmap` says after the name and the clock: Opus always says two channels (RFC 7587 7).
    pub fn rtpmap_channels(self) -> &'static str {
        if self == Codec::Opus { "/2" } else { "" }
    }

    /// One byte of silence where each byte of a frame may be the same, 160 of them 20 ms. Opus has no such
    /// byte.
    pub fn silence_byte(self) -> Option<u8> {
        match self {
            Codec::Pcmu => Some(0xFF),
            Codec::Pcma => Some(0xD5),
            Codec::G722 => Some(0xFA),
            Codec::Opus => None,
        }
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    /// Names are compared without regard to case (RFC 8866 6.6).
    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        Codec::ALL
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownCodec(name.to_owned()))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a codec of this gateway; it knows PCMU, PCMA, G722 and OPUS")]
pub struct UnknownCodec(pub String);

/// `a=sendrecv` and its kin, as seen by the side whose description it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub fn new(send: bool, recv: bool) -> Self {
        match (send, recv) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same stream as the other side sees it.
    pub fn reversed(self) -> Self {
        Direction::new(self.receives(), self.sends())
    }

    /// What is left when both have to agree.
    pub fn and(self, other: Direction) -> Self {
        Direction::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    pub fn attribute(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// ICE short-term credentials (RFC 8839 5.4).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IceCredentials {
    pub ufrag: String,
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceCredentials({}, ...)", self.ufrag)
    }
}

/// The SHA-256 of a DTLS certificate (RFC 8122).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    /// Upper-case hex pairs with colons, as `a=fingerprint:sha-256` has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let mut bytes = [0; 32];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(BadFingerprint)?;
            if part.len() != 2 {
                return Err(BadFingerprint);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| BadFingerprint)?;
        }
        if parts.next().is_some() {
            return Err(BadFingerprint);
        }
        Ok(Fingerprint(bytes))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 fingerprint")]
pub struct BadFingerprint;

/// `a=setup` (RFC 4145, RFC 5763 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Starts the handshake: the DTLS client.
    Active,
    /// Waits for it: the DTLS server.
    Passive,
    /// The offerer leaves the choice.
    ActPass,
}

/// One codec under its payload type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    pub codec: Codec,
    pub payload: u8,
}

/// What a media worker needs of a negotiated side: the payload types of that side, the preferred first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PayloadMap {
    /// Never empty in a usable description. Looked at for each packet, so it stands here as long as it is
    /// as short as sides have it: a list elsewhere is memory to be waited for.
    pub formats: SmallVec<[Format; 8]>,
    /// telephone-event at 8 kHz (RFC 4733).
    pub telephone_event: Option<u8>,
    /// The same at 48 kHz, which goes with Opus.
    pub telephone_event_48k: Option<u8>,
    pub wishes: Wishes,
}

/// How a side would have sent to it what it takes. A sender follows where it can (RFC 8866 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wishes {
    /// What a packet is to hold: `a=ptime`, or `a=maxptime` where that is less; 10 to 120 ms.
    pub ptime: Duration,
    pub opus: OpusWishes,
}

impl Default for Wishes {
    /// Our own.
    fn default() -> Self {
        Wishes { ptime: PTIME, opus: OpusWishes::default() }
    }
}

impl PayloadMap {
    pub fn preferred(&self) -> Option<Format> {
        self.formats.first().copied()
    }

    pub fn payload_of(&self, codec: Codec) -> Option<u8> {
        self.formats.iter().find(|f| f.codec == codec).map(|f| f.payload)
    }

    pub fn codec_of(&self, payload: u8) -> Option<Codec> {
        self.formats.iter().find(|f| f.payload == payload).map(|f| f.codec)
    }

    /// The clock of a telephone-event's payload type; `None` for any other.
    pub fn event_clock(&self, payload: u8) -> Option<u32> {
        if self.telephone_event == Some(payload) {
            Some(8000)
        } else if self.telephone_event_48k == Some(payload) {
            Some(48_000)
        } else {
            None
        }
    }

    /// How to send events beside audio of that clock: payload type and clock. The same clock where it was
    /// negotiated (RFC 4733 2.1), the other where not.
    pub fn event_beside(&self, clock: u32) -> Option<(u8, u32)> {
        let narrow = self.telephone_event.map(|payload| (payload, 8000));
        let wide = self.telephone_event_48k.map(|payload| (payload, 48_000));
        if clock == 8000 { narrow.or(wide) } else { wide.or(narrow) }
    }

    /// Is telephone-event negotiated at all?
    pub fn has_events(&self) -> bool {
        self.telephone_event.is_some() || self.telephone_event_48k.is_some()
    }

    /// The same without telephone-event.
    pub fn without_events(mut self) -> Self {
        self.telephone_event = None;
        self.telephone_event_48k = None;
        self
    }
}

/// The far end of an RTP stream as its SDP names it: `None` for a black hole
/// (`c=0.0.0.0`, RFC 3264 8.4) or port 0.
pub type RtpTarget = Option<SocketAddr>;

/// Where a side wants its RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RtcpTarget {
    /// The port above that of RTP (RFC 3550 11).
    #[default]
    NextPort,
    /// The port of RTP itself (RFC 5761).
    Mux,
    /// What `a=rtcp` says (RFC 3605).
    At(SocketAddr),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_what_the_codec_has() {
        let of = |codec: Codec, millis| codec.frame_within(Duration::from_millis(millis));
        let all = |codec| [5, 20, 30, 59, 120].map(|ms| of(codec, ms).as_millis());
        assert_eq!(all(Codec::Pcma), [10, 20, 30, 50, 60]);
        assert_eq!(all(Codec::Opus), [10, 20, 20, 40, 60]);
    }
}
