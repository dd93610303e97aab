//! From what stands in a source to a type. Nothing here knows of other keys.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use super::types::{Advertise, Network, OriginRule, Origins, SipServer, SipTransport};
use crate::media::TonePlan;
use crate::sdp::{Codec, VideoCodec};
use crate::sip::extra::{is_ours, is_token};

/// A value as its source has it.
#[derive(Debug, Clone)]
pub(super) enum Raw {
    /// From the environment or `--set`: text, lists with commas.
    Text(String),
    Toml(Value),
}

impl Raw {
    /// For the fault's line.
    pub(super) fn shown(&self) -> String {
        match self {
            Raw::Text(text) => text.clone(),
            Raw::Toml(value) => match value {
                Value::String(_, text) => text.clone(),
                Value::Char(_, c) => c.to_string(),
                Value::Bool(_, b) => b.to_string(),
                Value::Num(_, n) => n
                    .to_i128()
                    .map(|n| n.to_string())
                    .or_else(|| n.to_f64().map(|n| n.to_string()))
                    .unwrap_or_default(),
                Value::Array(_, entries) => {
                    let entries: Vec<String> =
                        entries.iter().map(|entry| Raw::Toml(entry.clone()).shown()).collect();
                    format!("[{}]", entries.join(", "))
                }
                Value::Dict(..) => "{...}".to_owned(),
                Value::Empty(..) => String::new(),
            },
        }
    }

    pub(super) fn text(&self) -> Result<&str, Wrong> {
        match self {
            Raw::Text(text) => Ok(text.trim()),
            Raw::Toml(Value::String(_, text)) => Ok(text.trim()),
            Raw::Toml(_) => Err(wrong("it is not a text", "put it between double quotes")),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<String>, Wrong> {
        match self {
            Raw::Toml(Value::Array(_, entries)) => {
                let text = |entry: &Value| entry.as_str().map(|text| text.trim().to_owned());
                entries.iter().map(text).collect::<Option<_>>().ok_or_else(|| {
                    wrong("an entry is not a text", "put each entry between double quotes")
                })
            }
            other => Ok(other
                .text()
                .map_err(|_| wrong("it is not a list", "write it as [\"one\", \"two\"]"))?
                .split(',')
                .map(str::trim)
                .filter(|entry| !entry.is_empty())
                .map(str::to_owned)
                .collect()),
        }
    }

    fn number(&self) -> Result<u64, Wrong> {
        let number = match self {
            Raw::Toml(Value::Num(_, number)) => {
                number.to_i128().and_then(|number| u64::try_from(number).ok())
            }
            other => other.text().ok().and_then(|text| text.parse().ok()),
        };
        number.ok_or_else(|| wrong("it is not a whole number from 0 on", "write digits only"))
    }
}

/// What is wrong with a value and what to do about it.
#[derive(Debug)]
pub(super) struct Wrong {
    pub reason: String,
    pub remedy: String,
}

pub(super) fn wrong(reason: impl Into<String>, remedy: impl Into<String>) -> Wrong {
    Wrong { reason: reason.into(), remedy: remedy.into() }
}

pub(super) fn socket_address(raw: &Raw) -> Result<SocketAddr, Wrong> {
    raw.text()?.parse().map_err(|_| {
        wrong(
            "it is not an address with a port",
            "write it as 127.0.0.1:8086, 0.0.0.0:8086 or [::]:8086",
        )
    })
}

pub(super) fn base_path(raw: &Raw) -> Result<String, Wrong> {
    let path = raw.text()?.trim_end_matches('/');
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c))
    };
    match path.strip_prefix('/') {
        None if path.is_empty() => Ok(String::new()),
        Some(parts) if parts.split('/').all(|part| plain(part) && part != "..") => {
            Ok(path.to_owned())
        }
        _ => Err(wrong(
            "it is not a plain absolute path",
            "begin it with a slash and use letters, digits and - _ . ~, as in /webrtc",
        )),
    }
}

pub(super) fn origins(raw: &Raw) -> Result<Origins, Wrong> {
    let list = raw.list()?;
    if list.iter().any(|entry| entry == "*") {
        return match list.len() {
            1 => Ok(Origins::Any),
            _ => Err(wrong("`*` stands beside others", "leave the others out, or the `*`")),
        };
    }
    let rule = |entry: &String| {
        let entry = entry.to_ascii_lowercase();
        match entry.as_str() {
            "loopback" => return Ok(OriginRule::Loopback),
            "null" => return Ok(OriginRule::Exact(entry)),
            _ => {}
        }
        let authority = entry.strip_prefix("https://").or_else(|| entry.strip_prefix("http://"));
        let bad = |c: char| c.is_whitespace() || c.is_control() || "/?#@*;,\"'".contains(c);
        match authority {
            Some(authority) if !authority.is_empty() && !authority.contains(bad) => {
                Ok(OriginRule::Exact(entry))
            }
            _ => Err(wrong(
                format!("`{entry}` is not an origin"),
                "write scheme, host and, where it is not the usual one, port, with nothing after it: \
                 https://wwe.example; or `*`, `loopback`, `null`",
            )),
        }
    };
    list.iter().map(rule).collect::<Result<_, _>>().map(Origins::List)
}

pub(super) fn path(raw: &Raw) -> Result<PathBuf, Wrong> {
    match raw.text()? {
        "" => Err(wrong("it is empty", "name a file, or leave the key out")),
        path => Ok(PathBuf::from(path)),
    }
}

pub(super) fn sound_file(raw: &Raw) -> Result<PathBuf, Wrong> {
    match raw.text()? {
        "" => Err(wrong("it is empty", "name a WAV file, or leave the key out")),
        path => Ok(PathBuf::from(path)),
    }
}

/// A country's tones, or `off`.
pub(super) fn tones(raw: &Raw) -> Result<Option<&'static TonePlan>, Wrong> {
    let text = raw.text()?;
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    TonePlan::of(text).map(Some).ok_or_else(|| {
        let known: Vec<&str> = TonePlan::all().iter().map(|plan| plan.country).collect();
        wrong(
            format!("the tones of `{text}` are not known"),
            format!("choose off, or a country of {}", known.join(", ")),
        )
    })
}

pub(super) fn sip_servers(raw: &Raw) -> Result<Vec<SipServer>, Wrong> {
    let mut servers = Vec::new();
    for entry in raw.list()? {
        let server = sip_server(&entry)?;
        if servers.contains(&server) {
            return Err(wrong(format!("`{entry}` is in it twice"), "name each server once"));
        }
        servers.push(server);
    }
    if servers.is_empty() {
        return Err(wrong("it is empty", "name at least one, as in sip:sip.example:5060"));
    }
    Ok(servers)
}

fn sip_server(text: &str) -> Result<SipServer, Wrong> {
    let bad = |why: &str| {
        wrong(
            format!("`{text}` {why}"),
            "write it as sip:sip.example, sip:192.0.2.1:5060 or sip:sip.example:5061;transport=tls",
        )
    };
    let lower = text.to_ascii_lowercase();
    let (rest, secure) = match (lower.strip_prefix("sips:"), lower.strip_prefix("sip:")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => (lower.as_str(), false),
    };
    let (authority, parameters) = rest.split_once(';').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err(bad("has a user part, and a server has none"));
    }
    let mut transport = secure.then_some(SipTransport::Tls);
    for parameter in parameters.split(';').filter(|parameter| !parameter.is_empty()) {
        transport = match parameter {
            "transport=udp" if !secure => Some(SipTransport::Udp),
            "transport=tcp" if !secure => Some(SipTransport::Tcp),
            "transport=tls" | "transport=tcp" => Some(SipTransport::Tls),
            _ => return Err(bad("has a parameter other than transport=udp, tcp or tls")),
        };
    }
    let (host_text, port) =
        split_port(authority).ok_or_else(|| bad("has a port that is no number from 1 to 65535"))?;
    let host = host(host_text).ok_or_else(|| bad("has no usable host"))?;
    Ok(SipServer { host, port, transport })
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, `v6`.
pub(super) fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        if after.is_empty() { (host, None) } else { (host, Some(after.strip_prefix(':')?)) }
    } else if authority.matches(':').count() == 1 {
        let (host, port) = authority.split_once(':')?;
        (host, Some(port))
    } else {
        (authority, None)
    };
    match port {
        None => Some((host, None)),
        Some(port) => Some((host, Some(port.parse().ok().filter(|&port: &u16| port > 0)?))),
    }
}

/// An address, or a name (RFC 1123 2.1), lower case.
pub(super) fn host(text: &str) -> Option<String> {
    if text.parse::<IpAddr>().is_ok() {
        return Some(text.to_owned());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // `1.2.3` and `300.1.1.1` are mistyped addresses and not names.
    let numeric = name.split('.').all(|label| label.chars().all(|c| c.is_ascii_digit()));
    (name.len() <= 253 && !numeric && name.split('.').all(label)).then(|| name.to_ascii_lowercase())
}

pub(super) fn domain(raw: &Raw) -> Result<String, Wrong> {
    host(raw.text()?)
        .ok_or_else(|| wrong("it is neither a host name nor an address", "write it as example.com"))
}

pub(super) fn advertise(raw: &Raw) -> Result<Advertise, Wrong> {
    let parsed = split_port(raw.text()?).and_then(|(host, port)| {
        let ip: IpAddr = host.parse().ok()?;
        (!ip.is_unspecified()).then_some(Advertise { ip, port })
    });
    parsed.ok_or_else(|| {
        wrong(
            "it is not an address that others can send to",
            "write it as 192.0.2.1 or 192.0.2.1:5062",
        )
    })
}

pub(super) fn address(raw: &Raw) -> Result<IpAddr, Wrong> {
    one_address(raw.text()?)
}

fn one_address(text: &str) -> Result<IpAddr, Wrong> {
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() || ip.is_multicast() => Err(wrong(
            format!("`{text}` is not an address that others can send to"),
            "name one of this host's own, or the one that a NAT shows",
        )),
        Ok(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Err(wrong(
            format!("`{text}` is link-local, and others cannot tell by which of their links"),
            "name an address of a wider scope",
        )),
        Ok(ip) => Ok(ip),
        Err(_) => Err(wrong(
            format!("`{text}` is not an IP address"),
            "write it as 192.0.2.1; names are not looked up",
        )),
    }
}

/// Of ICE candidates: a browser checks each of them from each of its own addresses, and checks a
/// hundred pairs at most (RFC 8445 6.1.2.5).
const MAX_ADDRESSES: usize = 8;

pub(super) fn addresses(raw: &Raw) -> Result<Vec<IpAddr>, Wrong> {
    let mut addresses = Vec::new();
    for entry in raw.list()? {
        let ip = one_address(&entry)?;
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    if addresses.len() > MAX_ADDRESSES {
        let reason = format!("they are {}, and {MAX_ADDRESSES} is the most", addresses.len());
        return Err(wrong(reason, "name those that browsers reach"));
    }
    Ok(addresses)
}

pub(super) fn port_range(raw: &Raw) -> Result<RangeInclusive<u16>, Wrong> {
    let text = raw.text()?;
    let ports = text.split_once('-').and_then(|(first, last)| {
        Some((first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?))
    });
    let remedy = "write it as 20000-29999: an even port first, an odd one last, two for each call";
    match ports {
        None => Err(wrong("it is not a range of ports", remedy)),
        Some((first, last)) if last < first => Err(wrong("it ends before it begins", remedy)),
        Some((first, _)) if first < 1024 => {
            Err(wrong("it begins among the ports below 1024, which are others'", remedy))
        }
        Some((first, last)) if last == first => {
            Err(wrong("it is too small for a single call", remedy))
        }
        Some((first, _)) if first % 2 == 1 => {
            Err(wrong("it begins with an odd port, and RTP takes even ones", remedy))
        }
        Some((_, last)) if last % 2 == 0 => {
            Err(wrong("it ends with an even port, which lacks the odd one for RTCP", remedy))
        }
        Some((first, last)) => Ok(first..=last),
    }
}

pub(super) fn codecs(raw: &Raw) -> Result<Vec<Codec>, Wrong> {
    let remedy = "choose from PCMU, PCMA, G722 and OPUS, each once, the preferred first";
    let mut codecs: Vec<Codec> = Vec::new();
    for entry in raw.list()? {
        let codec: Codec = entry
            .parse()
            .map_err(|_| wrong(format!("`{entry}` is not a codec of this gateway"), remedy))?;
        if codecs.contains(&codec) {
            return Err(wrong(format!("`{entry}` is in it twice"), remedy));
        }
        codecs.push(codec);
    }
    if codecs.is_empty() { Err(wrong("it is empty", remedy)) } else { Ok(codecs) }
}

pub(super) fn video(raw: &Raw) -> Result<Vec<VideoCodec>, Wrong> {
    let remedy = "choose from VP8 and H264, each once; empty refuses video";
    let mut codecs: Vec<VideoCodec> = Vec::new();
    for entry in raw.list()? {
        let codec: VideoCodec = entry.parse().map_err(|_| {
            wrong(format!("`{entry}` is not a video codec of this gateway"), remedy)
        })?;
        if codecs.contains(&codec) {
            return Err(wrong(format!("`{entry}` is in it twice"), remedy));
        }
        codecs.push(codec);
    }
    Ok(codecs)
}

/// Between the bounds, both included.
pub(super) fn count(raw: &Raw, bounds: RangeInclusive<u64>, unit: &str) -> Result<u64, Wrong> {
    let number = raw.number()?;
    if bounds.contains(&number) {
        return Ok(number);
    }
    let (low, high) = bounds.into_inner();
    Err(wrong("it is out of bounds", format!("choose from {low} to {high}{unit}")))
}

pub(super) fn seconds(raw: &Raw, bounds: RangeInclusive<u64>) -> Result<Duration, Wrong> {
    count(raw, bounds, " seconds").map(Duration::from_secs)
}

/// One line that fits a SIP header.
pub(super) fn header_line(raw: &Raw) -> Result<String, Wrong> {
    let text = raw.text()?;
    if text.is_empty() || text.len() > 128 || !text.chars().all(|c| matches!(c, ' '..='~')) {
        return Err(wrong("it does not fit a SIP header", "use 1 to 128 ASCII characters"));
    }
    Ok(text.to_owned())
}

/// `Name: value` each; names that SIP itself has a use for are refused.
pub(super) fn headers(raw: &Raw) -> Result<Vec<(String, String)>, Wrong> {
    // Of one call or dialog, and written by who transfers it.
    const OF_ONE_CALL: [&str; 2] = ["replaces", "refer-to"];
    let remedy = "write each as \"X-Tenant: blue\"";
    let mut headers = Vec::new();
    for entry in raw.list()? {
        let pair = entry.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = pair.filter(|(name, value)| {
            is_token(name) && value.len() <= 256 && value.chars().all(|c| matches!(c, ' '..='~'))
        }) else {
            return Err(wrong(format!("`{entry}` is no header line"), remedy));
        };
        // One letter is the compact form of a header of SIP's own.
        let of_one_call = OF_ONE_CALL.iter().any(|own| own.eq_ignore_ascii_case(name));
        if name.len() == 1 || of_one_call || is_ours(name) {
            return Err(wrong(
                format!("`{name}` is a header that the gateway itself sets"),
                remedy,
            ));
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    if headers.len() > 16 {
        return Err(wrong("it has more than 16 headers", "keep those that somebody reads"));
    }
    Ok(headers)
}

/// The beginning of a header's name.
pub(super) fn header_prefix(raw: &Raw) -> Result<String, Wrong> {
    let text = raw.text()?;
    if !is_token(text) || text.len() > 32 {
        return Err(wrong("no header's name begins so", "write something like X-Attached-"));
    }
    Ok(text.to_owned())
}

/// SHA-256 fingerprints: 64 hexadecimal digits, colons or not.
pub(super) fn pins(raw: &Raw) -> Result<Vec<[u8; 32]>, Wrong> {
    raw.list()?
        .iter()
        .map(|entry| {
            fingerprint(entry).ok_or_else(|| {
                wrong(
                    format!("`{entry}` is no SHA-256 fingerprint"),
                    "take it from `openssl x509 -noout -fingerprint -sha256 -in cert.pem`",
                )
            })
        })
        .collect()
}

pub(super) fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':' && !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d)).collect();
    bytes.try_into().ok().filter(|_| digits.len() == 64)
}

pub(super) fn networks(raw: &Raw) -> Result<Vec<Network>, Wrong> {
    raw.list()?
        .iter()
        .map(|entry| {
            network(entry).ok_or_else(|| {
                wrong(
                    format!("`{entry}` is no network"),
                    "write it as 192.0.2.0/24, 2001:db8::/32 or a single address",
                )
            })
        })
        .collect()
}

fn network(text: &str) -> Option<Network> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.trim().parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.trim().parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(longest);
    (prefix <= longest).then_some(Network { address, prefix })
}

/// One of some words.
pub(super) fn word<T: Copy>(raw: &Raw, words: &[(&str, T)]) -> Result<T, Wrong> {
    let text = raw.text()?;
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        wrong(format!("`{text}` is none of its values"), format!("choose {}", words.join(", ")))
    })
}

/// Seconds within the bounds, or 0 for none.
pub(super) fn seconds_or_none(
    raw: &Raw,
    bounds: RangeInclusive<u64>,
) -> Result<Option<Duration>, Wrong> {
    if raw.number()? == 0 {
        return Ok(None);
    }
    let (low, high) = bounds.into_inner();
    let seconds = count(raw, low..=high, " seconds, or 0 to turn it off")?;
    Ok(Some(Duration::from_secs(seconds)))
}
