//! Reading descriptions: sdp-types for the grammar, our own eyes for the meaning.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sdp_types::{Attribute, Media, Session};

use super::{
    Codec, Crypto, CryptoFault, Direction, Feedback, Fingerprint, Format, IceCredentials,
    OpusWishes, PTIME, PayloadMap, RtcpTarget, RtpTarget, Setup, SrtpPolicy, VideoCodec,
    VideoFormat, VideoLine,
};

/// Larger bodies than this are refused before they are parsed. The HTTP surface has the same limit.
pub const MAX_SDP_BYTES: usize = 64 * 1024;

/// More m-lines than any browser writes; each costs a line in every answer.
const MAX_MEDIA_LINES: usize = 16;

/// `a=crypto` lines that are looked at; there are some ten suites.
const MAX_CRYPTO: usize = 16;

/// Payload types a single m-line may list: there are 128.
const MAX_FORMATS: usize = 128;

/// Formats of a video that are looked at: Chromium lists VP8 once and H.264 in some eight ways.
const MAX_VIDEO: usize = 16;

/// Bytes of an `a=fmtp` that is carried over. Parameter sets of H.264 are some hundred.
const MAX_FMTP: usize = 1024;

/// Why a description cannot be used. The first two are the sender's fault in form, the others in matter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    #[error("the body is not an SDP: {0}")]
    NotSdp(String),
    #[error("the SDP is larger than 64 KiB or has more than 16 media")]
    TooLarge,
    #[error("the SDP has no usable audio")]
    NoAudio,
    #[error("the SDP's audio has none of the codecs that are configured here")]
    NoCommonCodec,
    #[error("the audio wants the profile {0}, which this side does not speak")]
    Profile(String),
    #[error("the audio is plain RTP, and only SRTP with keys in a=crypto is taken here")]
    Unencrypted,
    #[error("the audio has no a=crypto line that can be used: {0}")]
    NoKey(CryptoFault),
    #[error("the audio has no a=crypto line")]
    KeyMissing,
    #[error("the a=crypto line of the answer fits none that was offered")]
    WrongKey,
}

/// One m-line as far as an answer has to repeat it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub kind: String,
    pub proto: String,
    pub formats: String,
    pub mid: Option<String>,
}

/// What a browser's description says to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserSdp {
    /// Every m-line, in order.
    pub lines: Vec<Line>,
    /// Index of the audio in use.
    pub audio: usize,
    pub bundled: bool,
    pub ice: Option<IceCredentials>,
    pub fingerprint: Option<Fingerprint>,
    pub setup: Setup,
    pub direction: Direction,
    /// Codecs of ours that it lists, its preferred first.
    pub payloads: PayloadMap,
    /// Video in the same bundle.
    pub video: Option<VideoLine>,
}

/// What a SIP peer's description says to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipSdp {
    pub lines: Vec<Line>,
    pub audio: usize,
    pub target: RtpTarget,
    pub rtcp: RtcpTarget,
    /// Keys that it brings for encrypted audio, in its order; none for plain RTP.
    pub crypto: Vec<Crypto>,
    /// The direction written in it, or `SendOnly` read out of a black hole (RFC 2543 hold).
    pub direction: Direction,
    pub payloads: PayloadMap,
    /// Video over plain RTP.
    pub video: Option<VideoLine>,
    /// `o=`: session id and version. The same pair again means nothing has changed.
    pub origin: (String, u64),
}

impl BrowserSdp {
    /// `codecs` are those that the configuration allows.
    pub fn parse(text: &str, codecs: &[Codec]) -> Result<Self, SdpError> {
        let session = parse_session(text)?;
        let (audio, payloads, ()) = find_audio(&session, codecs, |media| {
            let speaks = media.proto.to_ascii_uppercase().contains("SAVP");
            speaks.then_some(()).ok_or_else(|| foreign(media))
        })?;
        let media = &session.medias[audio];
        let value = |name: &'static str| attribute(&session, media, name);
        let ice = match (value("ice-ufrag"), value("ice-pwd")) {
            (Some(ufrag), Some(pwd)) if !ufrag.is_empty() && !pwd.is_empty() => {
                Some(IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
            }
            _ => None,
        };
        let bundled = session
            .attributes
            .iter()
            .any(|a| a.attribute == "group" && starts_with_word(&a.value, "BUNDLE"));
        Ok(Self {
            lines: lines(&session),
            audio,
            bundled,
            video: find_video(&session, |media| {
                // Port 0 refuses, unless the port is that of the bundle (RFC 9143 7.1.4).
                let open = media.port != 0 || has_attribute(media, "bundle-only");
                bundled && open && media.proto.to_ascii_uppercase().contains("SAVP")
            }),
            ice,
            fingerprint: fingerprint(&session, media),
            setup: match value("setup") {
                Some("active") => Setup::Active,
                Some("passive") => Setup::Passive,
                _ => Setup::ActPass,
            },
            direction: direction(&session, media),
            payloads,
        })
    }
}

impl SipSdp {
    /// Of plain RTP: [`SipSdp::parse_with`] with [`SrtpPolicy::Off`].
    pub fn parse(text: &str, codecs: &[Codec]) -> Result<Self, SdpError> {
        Self::parse_with(text, codecs, SrtpPolicy::Off)
    }

    /// Encrypted audio goes before plain where both are there and allowed.
    pub fn parse_with(text: &str, codecs: &[Codec], srtp: SrtpPolicy) -> Result<Self, SdpError> {
        let session = parse_session(text)?;
        let plain = |media: &Media| speaks(media, false, srtp);
        let encrypted = |media: &Media| speaks(media, true, srtp);
        let (audio, payloads, crypto) = match srtp {
            SrtpPolicy::Off => find_audio(&session, codecs, plain),
            SrtpPolicy::Required => find_audio(&session, codecs, encrypted),
            SrtpPolicy::Preferred => find_audio(&session, codecs, encrypted)
                .or_else(|_| find_audio(&session, codecs, plain)),
        }?;
        let media = &session.medias[audio];
        let target = target(&session, media);
        let written = direction(&session, media);
        Ok(Self {
            lines: lines(&session),
            audio,
            target,
            rtcp: rtcp(media, target),
            crypto,
            direction: match target {
                // RFC 3264 8.4: c=0.0.0.0 says that nothing may be sent there.
                None => written.and(Direction::SendOnly),
                Some(_) => written,
            },
            payloads,
            video: find_video(&session, |media| {
                let plain = ["RTP/AVP", "RTP/AVPF"];
                media.port != 0 && plain.iter().any(|name| media.proto.eq_ignore_ascii_case(name))
            }),
            origin: (session.origin.sess_id.clone(), session.origin.sess_version),
        })
    }

    /// True for a description that names nowhere to send to.
    pub fn is_black_hole(&self) -> bool {
        self.target.is_none()
    }
}

fn parse_session(text: &str) -> Result<Session, SdpError> {
    if text.len() > MAX_SDP_BYTES {
        return Err(SdpError::TooLarge);
    }
    let cleaned = clean(text);
    let session = Session::parse(cleaned.as_bytes())
        .map_err(|error| SdpError::NotSdp(shorten(&error.to_string())))?;
    if session.medias.len() > MAX_MEDIA_LINES {
        return Err(SdpError::TooLarge);
    }
    Ok(session)
}

/// A parser's message may quote its input; answers and logs get no more than this of it.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// Old SIP stacks write `o=` versions beyond 64 bits (NTP time twice over): the last digits are kept, they
/// are the ones that change.
fn clean(text: &str) -> Cow<'_, str> {
    let Some(line) = text.lines().find(|line| line.starts_with("o=")) else {
        return Cow::Borrowed(text);
    };
    let Some(version) = line.split(' ').nth(2) else {
        return Cow::Borrowed(text);
    };
    if version.parse::<u64>().is_ok() || !version.bytes().all(|b| b.is_ascii_digit()) {
        return Cow::Borrowed(text);
    }
    let kept = &version[version.len().saturating_sub(18)..];
    let fixed: Vec<&str> =
        line.split(' ').enumerate().map(|(i, part)| if i == 2 { kept } else { part }).collect();
    Cow::Owned(text.replacen(line, &fixed.join(" "), 1))
}

fn lines(session: &Session) -> Vec<Line> {
    session
        .medias
        .iter()
        .map(|media| Line {
            kind: media.media.clone(),
            proto: media.proto.clone(),
            formats: media.fmt.clone(),
            mid: media.get_first_attribute_value("mid").flatten().map(str::to_owned),
        })
        .collect()
}

/// The first audio that is not refused, speaks a profile of ours and lists a codec of ours.
fn find_audio<T>(
    session: &Session,
    codecs: &[Codec],
    speaks: impl Fn(&Media) -> Result<T, SdpError>,
) -> Result<(usize, PayloadMap, T), SdpError> {
    let mut fault = SdpError::NoAudio;
    for (index, media) in session.medias.iter().enumerate() {
        if media.media != "audio" || media.port == 0 {
            continue;
        }
        let spoken = match speaks(media) {
            Ok(spoken) => spoken,
            Err(unspoken) => {
                fault = unspoken;
                continue;
            }
        };
        let mut payloads = payloads(media, codecs);
        payloads.wishes.ptime = ptime(session, media);
        if payloads.formats.is_empty() {
            fault = SdpError::NoCommonCodec;
            continue;
        }
        return Ok((index, payloads, spoken));
    }
    Err(fault)
}

/// The first video that is `usable` and lists a codec that is passed on.
fn find_video(session: &Session, usable: impl Fn(&Media) -> bool) -> Option<VideoLine> {
    session.medias.iter().enumerate().find_map(|(index, media)| {
        let formats = if media.media == "video" && usable(media) {
            video_formats(media)
        } else {
            return None;
        };
        let target = target(session, media);
        (!formats.is_empty()).then(|| VideoLine {
            index,
            formats,
            direction: direction(session, media),
            target,
            rtcp: rtcp(media, target),
        })
    })
}

fn video_formats(media: &Media) -> Vec<VideoFormat> {
    let mut formats: Vec<VideoFormat> = Vec::new();
    for payload in media.fmt.split_ascii_whitespace().take(MAX_FORMATS) {
        let Some(payload) = payload.parse::<u8>().ok().filter(|payload| *payload <= 127) else {
            continue;
        };
        let Some((name, clock)) = encoding(media, payload) else { continue };
        let Ok(codec) = name.parse::<VideoCodec>() else { continue };
        let of = |attribute: &'static str| {
            attribute_values(&media.attributes, attribute).filter_map(move |value| {
                let (number, rest) = value.trim().split_once(' ')?;
                let is_its = number == "*" || number.parse() == Ok(payload);
                is_its.then_some(rest.trim())
            })
        };
        let fmtp = of("fmtp").next().map(str::to_owned);
        let known = formats.iter().any(|format| format.payload == payload);
        // It is written to the other side: nothing in it may end the line there.
        let unfit = |fmtp: &String| fmtp.len() > MAX_FMTP || fmtp.chars().any(char::is_control);
        let unfit = fmtp.as_ref().is_some_and(unfit);
        if known || unfit || clock != VideoCodec::CLOCK || formats.len() == MAX_VIDEO {
            continue;
        }
        let mut feedback = Feedback::default();
        of("rtcp-fb").for_each(|value| feedback.add(value));
        formats.push(VideoFormat { codec, payload, fmtp, feedback });
    }
    formats
}

fn has_attribute(media: &Media, name: &str) -> bool {
    media.attributes.iter().any(|a| a.attribute == name)
}

fn foreign(media: &Media) -> SdpError {
    SdpError::Profile(shorten(&media.proto))
}

/// The keys of a SIP side's audio, none for plain RTP; or why it is none of the kind that is asked for.
fn speaks(media: &Media, encrypted: bool, srtp: SrtpPolicy) -> Result<Vec<Crypto>, SdpError> {
    let is = |names: [&str; 2]| names.iter().any(|name| media.proto.eq_ignore_ascii_case(name));
    let savp = is(["RTP/SAVP", "RTP/SAVPF"]);
    if !savp && !is(["RTP/AVP", "RTP/AVPF"]) || savp && srtp == SrtpPolicy::Off {
        return Err(foreign(media));
    }
    if !encrypted && !savp {
        return Ok(Vec::new());
    }
    let mut fault = None;
    let mut lines = Vec::new();
    for value in attribute_values(&media.attributes, "crypto").take(MAX_CRYPTO) {
        match Crypto::parse(value) {
            Ok(line) => lines.push(line),
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    match fault {
        _ if !lines.is_empty() => Ok(lines),
        Some(fault) => Err(SdpError::NoKey(fault)),
        None if savp => Err(SdpError::KeyMissing),
        None => Err(SdpError::Unencrypted),
    }
}

/// Where RTCP is wanted, as far as that differs from the next port.
fn rtcp(media: &Media, target: RtpTarget) -> RtcpTarget {
    if has_attribute(media, "rtcp-mux") {
        return RtcpTarget::Mux;
    }
    let at = || {
        let mut words =
            attribute_values(&media.attributes, "rtcp").next()?.split_ascii_whitespace();
        let port: u16 = words.next()?.parse().ok().filter(|port| *port != 0)?;
        let address = words.nth(2).and_then(|ip| ip.parse().ok()).or(target.map(|t| t.ip()))?;
        Some(SocketAddr::new(address, port))
    };
    at().map_or(RtcpTarget::NextPort, RtcpTarget::At)
}

fn payloads(media: &Media, codecs: &[Codec]) -> PayloadMap {
    let mut map = PayloadMap::default();
    for payload in media.fmt.split_ascii_whitespace().take(MAX_FORMATS) {
        let Ok(payload) = payload.parse::<u8>() else { continue };
        if payload > 127 {
            continue;
        }
        let Some((name, clock)) = encoding(media, payload) else { continue };
        if name.eq_ignore_ascii_case("telephone-event") {
            match clock {
                8000 => _ = map.telephone_event.get_or_insert(payload),
                48_000 => _ = map.telephone_event_48k.get_or_insert(payload),
                _ => {}
            }
            continue;
        }
        let Ok(codec) = name.parse::<Codec>() else { continue };
        if clock == codec.clock_rate() && codecs.contains(&codec) && map.payload_of(codec).is_none()
        {
            map.formats.push(Format { codec, payload });
            if codec == Codec::Opus {
                let parameters = parameters(media, payload);
                map.wishes.opus = parameters.map_or(OpusWishes::NONE, OpusWishes::parse);
            }
        }
    }
    map
}

/// What `a=fmtp` says of a payload type.
fn parameters(media: &Media, payload: u8) -> Option<&str> {
    attribute_values(&media.attributes, "fmtp").find_map(|value| {
        let (number, rest) = value.trim().split_once(' ')?;
        (number.parse() == Ok(payload)).then_some(rest)
    })
}

/// Some write a fraction, or `ptime:0`.
fn ptime(session: &Session, media: &Media) -> Duration {
    let millis = |name| {
        let whole = attribute(session, media, name)?.split('.').next()?;
        whole.trim().parse::<u64>().ok().filter(|millis| *millis > 0)
    };
    let most = millis("maxptime").unwrap_or(120).max(10);
    let usual = millis("ptime").filter(|millis| (10..=120).contains(millis));
    usual.map_or(PTIME, Duration::from_millis).min(Duration::from_millis(most))
}

/// Encoding name and clock rate: from `a=rtpmap`, or by the static numbers of RFC 3551.
fn encoding(media: &Media, payload: u8) -> Option<(String, u32)> {
    for value in attribute_values(&media.attributes, "rtpmap") {
        let Some((number, rest)) = value.trim().split_once(' ') else { continue };
        if number.parse() != Ok(payload) {
            continue;
        }
        let mut parts = rest.trim().split('/');
        let name = parts.next()?.trim();
        let clock = parts.next()?.trim().parse().ok()?;
        return Some((name.to_owned(), clock));
    }
    let codec = Codec::of_static_payload(payload)?;
    Some((codec.name().to_owned(), codec.clock_rate()))
}

fn direction(session: &Session, media: &Media) -> Direction {
    let find = |attributes: &[Attribute]| {
        attributes.iter().find_map(|a| match a.attribute.as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    };
    find(&media.attributes).or_else(|| find(&session.attributes)).unwrap_or_default()
}

/// The first SHA-256 fingerprint; other hashes are not spoken here.
fn fingerprint(session: &Session, media: &Media) -> Option<Fingerprint> {
    attribute_values(&media.attributes, "fingerprint")
        .chain(attribute_values(&session.attributes, "fingerprint"))
        .find_map(|value| {
            let (hash, digest) = value.trim().split_once(' ')?;
            hash.eq_ignore_ascii_case("sha-256").then(|| digest.trim().parse().ok())?
        })
}

fn target(session: &Session, media: &Media) -> RtpTarget {
    let connection = media.connections.first().or(session.connection.as_ref())?;
    // A multicast TTL may follow the address.
    let address = connection.connection_address.split('/').next()?.trim();
    let ip: IpAddr = address.parse().ok()?;
    if ip.is_unspecified() || ip.is_multicast() || media.port == 0 {
        return None;
    }
    Some(SocketAddr::new(ip, media.port))
}

/// A media attribute, or the session's of that name.
fn attribute<'a>(session: &'a Session, media: &'a Media, name: &'static str) -> Option<&'a str> {
    attribute_values(&media.attributes, name)
        .chain(attribute_values(&session.attributes, name))
        .next()
        .map(str::trim)
}

fn attribute_values<'a>(
    attributes: &'a [Attribute],
    name: &'static str,
) -> impl Iterator<Item = &'a str> + 'a {
    attributes.iter().filter(move |a| a.attribute == name).filter_map(|a| a.value.as_deref())
}

fn starts_with_word(value: &Option<String>, word: &str) -> bool {
    value.as_deref().and_then(|v| v.split_ascii_whitespace().next()) == Some(word)
}
