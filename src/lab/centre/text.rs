//! SIP messages as text, read apart from the gateway's own parser, so that one checks the other: as
//! much of them as a contact-centre server has to know.

/// A message, its header names in their long form as they came otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Request or status line.
    pub start: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

/// Longer than any telephone's message; the headers beyond are not looked at.
const MAX_HEADERS: usize = 128;

/// Compact forms (RFC 3261 20).
fn long_name(name: &str) -> &str {
    match name {
        "v" => "Via",
        "f" => "From",
        "t" => "To",
        "i" => "Call-ID",
        "m" => "Contact",
        "l" => "Content-Length",
        "c" => "Content-Type",
        "s" => "Subject",
        "k" => "Supported",
        "o" => "Event",
        "u" => "Allow-Events",
        "x" => "Session-Expires",
        name => name,
    }
}

impl Text {
    /// `None` for what has no whole head, or no start line of SIP/2.0.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(datagram);
        let (head, body) = text.trim_start().split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        if !start.starts_with("SIP/2.0 ") && !start.ends_with(" SIP/2.0") {
            return None;
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines.take(MAX_HEADERS) {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = headers.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            } else if let Some((name, value)) = line.split_once(':') {
                headers.push((long_name(name.trim()).to_owned(), value.trim().to_owned()));
            }
        }
        Some(Self { start, headers, body: body.to_owned() })
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// Of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// What a response says behind its number.
    pub fn phrase(&self) -> &str {
        self.start.get(12..).unwrap_or_default()
    }

    /// Of a request.
    pub fn method(&self) -> Option<&str> {
        match self.status() {
            None => self.start.split(' ').next(),
            Some(_) => None,
        }
    }

    pub fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("CSeq")?.split_once(' ')?;
        Some((number.parse().ok()?, method.trim()))
    }

    pub fn call_id(&self) -> Option<&str> {
        self.header("Call-ID")
    }

    /// The tag in From or To.
    pub fn tag(&self, name: &str) -> Option<&str> {
        parameter(self.header(name)?, "tag")
    }

    /// The URI in a header, be it a name-addr or a bare addr-spec.
    pub fn uri(&self, name: &str) -> Option<&str> {
        uri_of(self.header(name)?)
    }

    /// The body where it is an SDP.
    pub fn sdp(&self) -> Option<&str> {
        self.body.starts_with("v=0").then_some(self.body.as_str())
    }

    /// For a failure's account: `INVITE`, or `200 (2 NOTIFY)`.
    pub fn label(&self) -> String {
        match (self.status(), self.method()) {
            (Some(code), _) => format!("{code} ({})", self.header("CSeq").unwrap_or("no CSeq")),
            (None, method) => method.unwrap_or_default().to_owned(),
        }
    }
}

pub fn uri_of(value: &str) -> Option<&str> {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next(),
        None => value.split(';').next().map(str::trim),
    }
}

/// A header parameter, behind the URI.
pub fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let parameters = value.rsplit_once('>').map_or(value, |(_, rest)| rest);
    parameters.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_folded_and_bare_headers_are_read() {
        let message = Text::parse(
            b"SIP/2.0 200 OK then\r\nl: 3\r\nf: sip:7001@h;tag=a\r\nTO: \"B;x=1\" <sip:5001@h;y=2>;Tag=b\r\n\
              CSEQ: 2 NOTIFY\r\nSubject: of\r\n two lines\r\n\r\nv=0",
        )
        .unwrap();
        assert_eq!((message.status(), message.phrase()), (Some(200), "OK then"));
        assert_eq!((message.method(), message.cseq()), (None, Some((2, "NOTIFY"))));
        assert_eq!((message.tag("From"), message.tag("To")), (Some("a"), Some("b")));
        assert_eq!(message.uri("From"), Some("sip:7001@h"));
        assert_eq!(message.uri("To"), Some("sip:5001@h;y=2"));
        assert_eq!(message.header("subject"), Some("of two lines"));
        assert_eq!(message.sdp(), Some("v=0"));
    }

    #[test]
    fn what_is_no_message_is_none() {
        for text in ["", "\r\n\r\n", "hello\r\n\r\n", "SIP/2.0 200 OK\r\n"] {
            assert_eq!(Text::parse(text.as_bytes()), None, "{text:?}");
        }
        let short = Text::parse(b"SIP/2.0 2\r\n\r\n").unwrap();
        assert_eq!((short.status(), short.phrase(), short.cseq()), (None, "", None));
    }
}
