//! What a message trace may show.

use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;

use super::hop::Hop;

/// Which way a traced message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// A message that went over the wire. Holds its secrets still, so there is no `Debug`; see
/// [`Traced::text`].
#[derive(Clone)]
pub struct Traced {
    pub at: SystemTime,
    pub direction: Direction,
    /// Where it was or would be listened for; the wildcard where we listen everywhere.
    pub local: SocketAddr,
    pub peer: Hop,
    pub(super) message: Bytes,
}

impl Traced {
    /// Without credentials, keys and digits. Costs a copy.
    pub fn text(&self) -> String {
        redact(&self.message)
    }
}

/// Sees every message. Called with the endpoint's state locked: it may put the message somewhere, and
/// do nothing else.
pub type Trace = Box<dyn Fn(Traced) + Send + Sync>;

/// Headers whose values open doors.
const SECRET: [&str; 4] =
    ["authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info"];

/// Attributes of an SDP that hold keys: RFC 4568, RFC 4567, RFC 8839.
const KEYS: [&str; 3] = ["a=crypto", "a=key-mgmt", "a=ice-pwd"];

/// A message as text, with credentials, keys of its SDP and digits that were pressed taken out.
pub fn redact(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    let mut out = String::with_capacity(text.len());
    let (mut hiding, mut in_body, mut digits) = (false, false, false);
    for line in text.split_inclusive('\n') {
        if hiding && line.starts_with([' ', '\t']) {
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let name = name.trim();
        let is = |known: &&str| name.eq_ignore_ascii_case(known);
        if !in_body && line.trim_end().is_empty() {
            in_body = true;
        } else if !in_body && ["content-type", "c"].iter().any(&is) {
            let kind = value.to_ascii_lowercase();
            digits = kind.contains("dtmf") || kind.contains("kpml");
        }
        hiding = !in_body && SECRET.iter().any(&is);
        if hiding || KEYS.iter().any(&is) {
            out.push_str(name);
            out.push_str(": ...\r\n");
        } else if line.starts_with("k=") {
            out.push_str("k=...\r\n");
        } else if digits && in_body && !line.trim().is_empty() {
            // `Signal=5`, or the digit alone.
            let name = line.split_once('=').map(|(name, _)| name);
            match name.filter(|name| name.trim().eq_ignore_ascii_case("signal")) {
                Some(name) => out.push_str(&format!("{name}=*\r\n")),
                None if line.trim_start().to_ascii_lowercase().starts_with("duration") => {
                    out.push_str(line);
                }
                None => out.push_str("*\r\n"),
            }
        } else {
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_keys_do_not_show() {
        let shown = redact(
            b"REGISTER sip:h SIP/2.0\r\nauthorization: Digest response=\"s3\",\r\n cnonce=\"s4\"\r\n\
              Via: x\r\n\r\na=crypto:1 AES inline:s5\r\na=ice-pwd:s6\r\nk=clear:s7\r\n",
        );
        for secret in ["s3", "s4", "s5", "s6", "s7"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("Via: x") && shown.contains("REGISTER"));
    }

    #[test]
    fn digits_do_not_show() {
        for (kind, body, rest) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", "Signal=*\r\nDuration=160"),
            ("application/dtmf", "5", "*"),
            ("application/kpml-response+xml", "<kpml-response digits=\"5\"/>", "*"),
        ] {
            let info = format!("INFO sip:a@b SIP/2.0\r\nc: {kind}\r\nCSeq: 7 INFO\r\n\r\n{body}");
            let shown = redact(info.as_bytes());
            let shown = shown.split_once("\r\n\r\n").unwrap().1;
            assert!(!shown.contains('5') && shown.starts_with(rest), "{shown}");
        }
        let text = "INFO sip:a@b SIP/2.0\r\nContent-Type: text/plain\r\n\r\nroom 5";
        assert_eq!(redact(text.as_bytes()), text, "what is no digit stays");
    }
}
