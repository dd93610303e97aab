//! The little of SDP that a browser's script looks at, and the edits applications make.

/// What a browser hands to its application: the description without candidates, and those beside it.
#[derive(Debug, Clone)]
pub struct LocalDescription {
    pub sdp: String,
    /// `candidate:...` without `a=`.
    pub candidates: Vec<String>,
}

impl LocalDescription {
    /// Takes the candidates out of the SDP, as the JSAPI client does.
    pub fn split(full: &str) -> Self {
        let mut candidates = Vec::new();
        let mut sdp = String::new();
        for line in full.lines() {
            if let Some(candidate) = line.strip_prefix("a=").filter(|l| l.starts_with("candidate:"))
            {
                candidates.push(candidate.to_owned());
            } else if line != "a=end-of-candidates" {
                sdp.push_str(line);
                sdp.push_str("\r\n");
            }
        }
        Self { sdp, candidates }
    }

    /// The description with its candidates in it.
    pub fn whole(&self) -> String {
        let mut sdp = self.sdp.clone();
        for candidate in &self.candidates {
            sdp.push_str(&format!("a={candidate}\r\n"));
        }
        sdp
    }
}

/// Value of the first `a=name:value` (or of the flag `a=name`, empty).
pub fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().filter_map(|line| line.strip_prefix("a=")).find_map(|attribute| {
        if attribute == name {
            return Some("");
        }
        attribute.strip_prefix(name)?.strip_prefix(':')
    })
}

pub fn attributes<'a>(sdp: &'a str, name: &str) -> Vec<&'a str> {
    let prefix = format!("a={name}:");
    sdp.lines().filter_map(|line| line.strip_prefix(prefix.as_str())).collect()
}

/// Replaces the value of every `a=name:...`.
pub fn with_attribute(sdp: &str, name: &str, value: &str) -> String {
    let prefix = format!("a={name}:");
    edit(sdp, |line| {
        Some(if line.starts_with(&prefix) { format!("{prefix}{value}") } else { line.to_owned() })
    })
}

/// Lines mapped or left out; CRLF endings.
pub fn edit(sdp: &str, change: impl Fn(&str) -> Option<String>) -> String {
    sdp.lines().filter_map(change).map(|line| line + "\r\n").collect()
}

pub fn direction(sdp: &str) -> &'static str {
    const ALL: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];
    ALL.into_iter().find(|name| attribute(sdp, name).is_some()).unwrap_or("sendrecv")
}

pub fn with_direction(sdp: &str, direction: &str) -> String {
    edit(sdp, |line| {
        let is_direction =
            matches!(line, "a=sendrecv" | "a=sendonly" | "a=recvonly" | "a=inactive");
        Some(if is_direction { format!("a={direction}") } else { line.to_owned() })
    })
}

/// The `m=audio` line's fields: port, protocol, payload types.
pub fn audio_line(sdp: &str) -> Option<(u16, &str, Vec<u8>)> {
    let line = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?;
    let mut fields = line.split(' ');
    let port = fields.next()?.parse().ok()?;
    let protocol = fields.next()?;
    Some((port, protocol, fields.filter_map(|f| f.parse().ok()).collect()))
}

/// Encoding name and clock rate of a payload type, upper case, from rtpmap or the static table.
pub fn codec(sdp: &str, payload_type: u8) -> Option<(String, u32)> {
    let mapped = attributes(sdp, "rtpmap").into_iter().find_map(|map| {
        let (number, codec) = map.split_once(' ')?;
        if number.parse() != Ok(payload_type) {
            return None;
        }
        let mut parts = codec.trim().split('/');
        Some((parts.next()?.to_ascii_uppercase(), parts.next()?.parse().ok()?))
    });
    mapped.or(match payload_type {
        0 => Some(("PCMU".to_owned(), 8000)),
        8 => Some(("PCMA".to_owned(), 8000)),
        9 => Some(("G722".to_owned(), 8000)),
        _ => None,
    })
}

/// The payload types of an answer that carry sound, the preferred first, with their names.
pub fn sound_codecs(sdp: &str) -> Vec<(u8, String)> {
    let (_, _, payload_types) = audio_line(sdp).unwrap_or((0, "", Vec::new()));
    payload_types
        .into_iter()
        .filter_map(|number| Some((number, codec(sdp, number)?.0)))
        .filter(|(_, name)| !matches!(name.as_str(), "TELEPHONE-EVENT" | "CN" | "RED"))
        .collect()
}

/// telephone-event at 8 kHz.
pub fn event_payload(sdp: &str) -> Option<u8> {
    let (_, _, payload_types) = audio_line(sdp)?;
    payload_types
        .into_iter()
        .find(|number| codec(sdp, *number) == Some(("TELEPHONE-EVENT".to_owned(), 8000)))
}
