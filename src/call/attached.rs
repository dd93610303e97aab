//! Data attached to a call: pairs of the browser's as headers of the INVITE and back, or in an INFO.

use crate::sip::HeaderPair;
use crate::wire::{DataPair, jsapi::percent_decode, rest::header_text};

use super::{Line, MAX_INFO};

/// Pairs that go into headers: with SIP's own headers and an SDP an INVITE still fits what servers take.
const MAX_PAIRS: usize = 32;

/// A header's name after the prefix, in characters.
const MAX_KEY: usize = 64;

/// A value as it is sent, in bytes.
const MAX_VALUE: usize = 512;

/// All headers of an INVITE together, in bytes.
const MAX_HEADERS: usize = 4096;

/// One header a pair: what is no token character in a key becomes `-` (RFC 3261 25.1), what is not
/// printable ASCII in a value is percent-encoded UTF-8, and so is `%`. What is too much is left out.
pub(super) fn headers(prefix: &str, attached: &[DataPair]) -> Vec<HeaderPair> {
    let mut left = MAX_HEADERS;
    let mut headers: Vec<HeaderPair> = Vec::new();
    for (key, value) in attached {
        if prefix.is_empty() || key.is_empty() || headers.len() == MAX_PAIRS {
            break;
        }
        let token = |c: char| c.is_ascii_alphanumeric() || "-.!*_+'~".contains(c);
        let key: String =
            key.chars().take(MAX_KEY).map(|c| if token(c) { c } else { '-' }).collect();
        let (name, value) = (format!("{prefix}{key}"), header_text(value));
        let size = name.len() + value.len();
        let known = headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name));
        if value.len() <= MAX_VALUE && size <= left && !known {
            left -= size;
            headers.push((name, value));
        }
    }
    headers
}

/// The pairs of an INVITE's headers with that prefix.
pub(super) fn read(prefix: &str, headers: &[HeaderPair]) -> Vec<DataPair> {
    if prefix.is_empty() {
        return Vec::new();
    }
    let pair = |(name, value): &HeaderPair| {
        let ours = name.get(..prefix.len())?.eq_ignore_ascii_case(prefix);
        let key = name.get(prefix.len()..).filter(|key| ours && !key.is_empty())?;
        // Others do not encode: what cannot be decoded stands as it came.
        let value = percent_decode(value).unwrap_or_else(|| value.clone());
        (value.len() <= MAX_VALUE).then(|| {
            (key.to_owned(), value.chars().filter(|c| !c.is_control()).collect::<String>())
        })
    };
    headers.iter().filter_map(pair).take(MAX_PAIRS).collect()
}

/// `a=b&c=d`, everything but letters, digits and `-._~` percent-encoded.
fn form(attached: &[DataPair]) -> String {
    let mut out = String::new();
    for (key, value) in attached {
        if !out.is_empty() {
            out.push('&');
        }
        for (n, part) in [key, value].into_iter().enumerate() {
            if n == 1 {
                out.push('=');
            }
            for byte in part.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
        }
    }
    out
}

impl Line {
    /// Data that came with an ANSWER goes out as INFO: the INVITE has been theirs.
    pub(super) fn attach(&mut self, i: usize, attached: &[DataPair]) {
        let data = form(attached);
        if !data.is_empty() && data.len() <= MAX_INFO {
            self.legs[i].data = Some(data);
            self.flush_data(i);
        }
    }

    /// Not before the ACK: a dialog that is not confirmed takes no INFO everywhere.
    pub(super) fn flush_data(&mut self, i: usize) {
        if self.legs[i].confirmed
            && let Some(data) = self.legs[i].data.take()
        {
            let _ = self.info(i, "application/x-www-form-urlencoded", data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn pairs_go_and_come_back() {
        let sent =
            headers("X-Attached-", &[pair("Kunde Nr.", "Müller 50%\r\nX: y"), pair("a", "")]);
        assert_eq!(sent[0].0, "X-Attached-Kunde-Nr.");
        assert_eq!(sent[0].1, "M%C3%BCller 50%25%0D%0AX: y");
        let back = read("x-attached-", &sent);
        assert_eq!(back, [pair("Kunde-Nr.", "Müller 50%X: y"), pair("a", "")]);
    }

    #[test]
    fn what_is_too_much_is_left_out() {
        let many: Vec<_> = (0..100).map(|n| pair(&n.to_string(), "v")).collect();
        assert_eq!(headers("X-", &many).len(), MAX_PAIRS);
        let long: Vec<_> = (0..20).map(|n| pair(&n.to_string(), &"v".repeat(500))).collect();
        assert!(headers("X-", &long).iter().map(|h| h.1.len()).sum::<usize>() <= MAX_HEADERS);
        assert!(headers("X-", &[pair("a", &"v".repeat(MAX_VALUE + 1))]).is_empty());
        assert_eq!(headers("X-", &[pair("a b", "1"), pair("A-B", "2")]), [pair("X-a-b", "1")]);
        assert!(headers("", &[pair("a", "b")]).is_empty());
        assert_eq!(read("X-", &[pair("X-a", "100%"), pair("Ü", "")]), [pair("a", "100%")]);
    }

    #[test]
    fn forms_hold_any_text() {
        assert_eq!(form(&[pair("a b", "c&d=ä"), pair("e", "")]), "a%20b=c%26d%3D%C3%A4&e=");
    }
}
