//! Reading and writing rsipstack's messages: by header name, on strings, without a panic.
//!
//! rsipstack's typed headers are left alone: they refuse whole messages for one odd parameter,
//! and what we forward (a tag, a route) has to go back byte for byte.

use std::net::{IpAddr, SocketAddr};

use rsipstack::sip::{
    HasHeaders, Header, Headers, Host, Method, Request, Response, StatusCode, Uri, Version,
};

use super::hop::{Hop, Transport};

/// Methods we answer with something better than 405.
pub(crate) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, INFO, UPDATE, PRACK, REFER";
/// What NOTIFY may tell us without a subscription (Genesys remote control). Not `refer`: nobody can
/// subscribe to that one, and what a SIP server looks for here are these two.
pub(crate) const ALLOW_EVENTS: &str = "talk, hold";
/// Option tags we always support; `100rel` is a matter of configuration.
pub(crate) const EXTENSIONS: &[&str] = &["timer", "replaces", "norefersub", "uui"];
pub(crate) const RELIABLE: &str = "100rel";
pub(crate) const SDP_TYPE: &str = "application/sdp";

/// A header by name, made safe: control characters, line breaks above all, become spaces, so that no
/// application value starts a header of its own.
pub(crate) fn header(name: &str, value: impl Into<String>) -> Header {
    let mut value: String = value.into();
    if value.chars().any(char::is_control) {
        value = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    rsipstack::sip::headers::make_header(name, value)
}

/// The first header of that name, trimmed. Compact names were unfolded by the parser, but for `u`.
pub(crate) fn get<'a>(message: &'a impl HasHeaders, name: &str) -> Option<&'a str> {
    let found = message.headers().iter().find(|h| h.name().eq_ignore_ascii_case(name))?;
    Some(found.value().trim())
}

/// Every header line of that name.
pub(crate) fn get_all<'a>(
    message: &'a impl HasHeaders,
    name: &'a str,
) -> impl Iterator<Item = &'a str> {
    message
        .headers()
        .iter()
        .filter(move |h| h.name().eq_ignore_ascii_case(name))
        .map(|h| h.value().trim())
}

/// Every element of a header that is a comma-separated list, over all its lines.
pub(crate) fn get_list<'a>(message: &'a impl HasHeaders, name: &'a str) -> Vec<&'a str> {
    get_all(message, name).flat_map(|line| split_outside(line, ',')).collect()
}

/// Splits at `separator` outside of quotes and angle brackets; trims, drops empty pieces.
pub(crate) fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted, mut escaped, mut angle) = (0, false, false, false);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted {
            match c {
                '\\' => escaped = true,
                '"' => quoted = false,
                _ => {}
            }
        } else if c == '"' {
            quoted = true;
        } else if c == '<' {
            angle = true;
        } else if c == '>' {
            angle = false;
        } else if c == separator && !angle {
            pieces.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    pieces.push(&text[start..]);
    pieces.into_iter().map(str::trim).filter(|piece| !piece.is_empty()).collect()
}

/// `"name" <uri>;params`, or a bare addr-spec whose parameters are then the header's (RFC 3261 20.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameAddr {
    pub display: Option<String>,
    /// As it came, without angle brackets.
    pub uri: String,
    /// `;name=value...` as it came.
    pub params: String,
}

impl NameAddr {
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let (head, quoted) = match value.strip_prefix('"') {
            Some(rest) => {
                let end = closing_quote(rest)?;
                (Some(unquote(&rest[..end])), rest.get(end + 1..)?)
            }
            None => (None, value),
        };
        let rest = quoted.trim();
        let (display, uri, params) = match rest.find('<') {
            Some(open) => {
                let close = open + rest.get(open..)?.find('>')?;
                let before = rest[..open].trim();
                let display = head.or_else(|| (!before.is_empty()).then(|| before.to_owned()));
                (display, rest[open + 1..close].trim(), rest[close + 1..].trim())
            }
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                (head, rest[..end].trim(), rest[end..].trim())
            }
        };
        if uri.is_empty() {
            return None;
        }
        let display = display.filter(|name| !name.is_empty());
        Some(Self { display, uri: uri.to_owned(), params: params.to_owned() })
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        param(&self.params, name)
    }

    #[cfg(test)]
    pub(crate) fn tag(&self) -> Option<&str> {
        self.param("tag").filter(|tag| !tag.is_empty())
    }
}

/// The value of `;name=value` (empty for a bare `;name`).
pub(crate) fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    split_outside(params, ';').into_iter().find_map(|piece| {
        let (key, value) = piece.split_once('=').unwrap_or((piece, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Resolves the backslashes of a quoted-string's inside.
pub(crate) fn unquote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut escaped = false;
    for c in text.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(c);
        }
    }
    out
}

/// A quoted-string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(crate) fn tag_of<'a>(message: &'a impl HasHeaders, name: &str) -> Option<&'a str> {
    let value = get(message, name)?;
    let params = match value.rfind('>') {
        Some(close) => &value[close + 1..],
        None => &value[value.find(';')?..],
    };
    param(params, "tag").filter(|tag| !tag.is_empty())
}

pub(crate) fn call_id(message: &impl HasHeaders) -> Option<&str> {
    get(message, "Call-ID").filter(|id| !id.is_empty())
}

/// Number and method of CSeq.
pub(crate) fn cseq(message: &impl HasHeaders) -> Option<(u32, &str)> {
    let mut words = get(message, "CSeq")?.split_ascii_whitespace();
    // RFC 3261 8.1.1.5: below 2^31.
    let number = words.next()?.parse().ok().filter(|n| *n < 1 << 31)?;
    Some((number, words.next()?))
}

/// The event package of Event, without its parameters.
pub(crate) fn package(message: &impl HasHeaders) -> Option<&str> {
    get(message, "Event")?.split(';').next().map(str::trim)
}

/// The topmost Via element.
pub(crate) fn top_via(message: &impl HasHeaders) -> Option<&str> {
    split_outside(get(message, "Via")?, ',').first().copied()
}

/// The branch of a Via element.
pub(crate) fn branch(via: &str) -> Option<&str> {
    param(via.get(via.find(';')?..)?, "branch").filter(|branch| !branch.is_empty())
}

/// Whether a header that is a list of tokens has this one.
pub(crate) fn lists(message: &impl HasHeaders, name: &str, token: &str) -> bool {
    get_all(message, name)
        .any(|line| line.split(',').any(|tag| tag.trim().eq_ignore_ascii_case(token)))
}

/// A whole number at the start of a header (Expires, Min-Expires, Retry-After with its comment).
pub(crate) fn number(message: &impl HasHeaders, name: &str) -> Option<u64> {
    leading_number(get(message, name)?)
}

pub(crate) fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// Parses a URI so that it goes out again as it came: rsipstack escapes the user part when it writes
/// and does not unescape it when it reads, so `%23` would leave as `%2523`.
pub(crate) fn parse_uri(text: &str) -> Option<Uri> {
    let mut uri = Uri::try_from(text).ok()?;
    if let Some(auth) = &mut uri.auth {
        auth.user = unescape(&auth.user);
    }
    Some(uri)
}

/// Resolves `%xx`; what is no escape stays.
pub(crate) fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What a response says, in the peer's own words where it used some.
pub(crate) fn status_text(response: &Response) -> String {
    response.wire_reason.clone().unwrap_or_else(|| response.status_code.text().to_owned())
}

/// The SDP of a message: its whole body, or that part of a multipart one.
pub(crate) fn sdp_of(headers: &impl HasHeaders, body: &[u8]) -> Result<Option<String>, BadBody> {
    if body.is_empty() {
        return Ok(None);
    }
    let content_type = get(headers, "Content-Type").ok_or(BadBody)?;
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case(SDP_TYPE) {
        Ok(Some(String::from_utf8_lossy(body).into_owned()))
    } else if media_type.to_ascii_lowercase().starts_with("multipart/") {
        multipart_sdp(content_type, &String::from_utf8_lossy(body))
    } else {
        Err(BadBody)
    }
}

/// Can the sender take SDP in an answer? Whoever says nothing about it can (RFC 3261 13.2.1).
pub(crate) fn accepts_sdp(request: &impl HasHeaders) -> bool {
    let accepted = get_list(request, "Accept");
    accepted.is_empty()
        || accepted.iter().any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            [SDP_TYPE, "application/*", "*/*"].iter().any(|sdp| sdp.eq_ignore_ascii_case(range))
        })
}

/// A body that is neither SDP nor holds any (415).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadBody;

fn multipart_sdp(content_type: &str, body: &str) -> Result<Option<String>, BadBody> {
    let params = content_type.find(';').map_or("", |at| &content_type[at..]);
    let boundary = param(params, "boundary").ok_or(BadBody)?.trim_matches('"');
    if boundary.is_empty() {
        return Err(BadBody);
    }
    for part in body.split(&format!("--{boundary}")).skip(1) {
        let part = part.trim_start_matches(['\r', '\n']);
        let (head, content) = match part.split_once("\r\n\r\n").or_else(|| part.split_once("\n\n"))
        {
            Some(split) => split,
            None => continue,
        };
        let is_sdp = head.lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("content-type")
                    && value.trim().to_ascii_lowercase().starts_with(SDP_TYPE)
            })
        });
        if is_sdp {
            let content = content.trim_end_matches(['\r', '\n']);
            return Ok(Some(format!("{content}\r\n")));
        }
    }
    Err(BadBody)
}

/// Where a URI points to when its host is an address: by its transport, which is TLS for `sips`, else
/// what `transport` says, else UDP (RFC 3263 4.1). A name is nowhere: what it stands for is asked of the
/// dialog's peer.
pub(crate) fn hop_of(uri: &Uri) -> Option<Hop> {
    let ip: IpAddr = match &uri.host_with_port.host {
        Host::IpAddr(ip) => *ip,
        Host::Domain(name) => name.0.parse().ok()?,
    };
    let transport = match uri.scheme {
        Some(rsipstack::sip::Scheme::Sips) => Transport::Tls,
        _ => uri
            .params
            .iter()
            .find_map(|p| Transport::from_name(param(&p.to_string(), "transport")?))
            .unwrap_or(Transport::Udp),
    };
    let port = uri.host_with_port.port.as_ref().map_or(transport.default_port(), |port| port.0);
    Some(Hop::new(transport, SocketAddr::new(ip, port)))
}

/// Sets the body and the two headers that tell of it.
pub(crate) fn set_body(
    headers: &mut Headers,
    body: &mut Vec<u8>,
    content: Option<(&str, Vec<u8>)>,
) {
    headers.retain(|h| !matches!(h, Header::ContentType(_) | Header::ContentLength(_)));
    match content {
        Some((content_type, bytes)) => {
            headers.push(header("Content-Type", content_type));
            *body = bytes;
        }
        None => body.clear(),
    }
    headers.push(header("Content-Length", body.len().to_string()));
}

/// The same for what may or may not have an SDP.
pub(crate) fn set_sdp(headers: &mut Headers, body: &mut Vec<u8>, sdp: Option<&str>) {
    set_body(headers, body, sdp.map(|sdp| (SDP_TYPE, sdp.as_bytes().to_vec())));
}

/// A response as RFC 3261 8.2.6 builds it: Via, From, To, Call-ID and CSeq copied, our tag added to a
/// To that has none (100 excepted).
pub(crate) fn respond(request: &Request, code: u16, text: Option<&str>, tag: &str) -> Response {
    let mut headers = Vec::with_capacity(12);
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        for value in get_all(request, name) {
            let add_tag = name == "To" && code > 100 && tag_of(request, "To").is_none();
            if add_tag {
                headers.push(header("To", format!("{value};tag={tag}")));
            } else {
                headers.push(header(name, value));
            }
            // One From, To, Call-ID, CSeq; however many Vias.
            if name != "Via" {
                break;
            }
        }
    }
    // 18.2.1 / 12.1.1: what establishes a dialog repeats the route it came by.
    if request.method == Method::Invite && code > 100 && code < 300 {
        headers.extend(get_all(request, "Record-Route").map(|r| header("Record-Route", r)));
    }
    headers.push(header("Content-Length", "0"));
    let status_code = match text {
        Some(text) => {
            StatusCode::Other(code, text.chars().filter(|c| !c.is_control()).take(200).collect())
        }
        None => StatusCode::from(code),
    };
    Response {
        status_code,
        wire_reason: None,
        version: Version::V2,
        headers: headers.into(),
        body: Vec::new(),
    }
}

/// `SIP;cause=486;text="Busy Here"` (RFC 3326). Nothing to say for an ordinary end.
pub(crate) fn reason_header(code: u16, text: &str) -> Vec<Header> {
    if code == 0 || (code == 200 && text.is_empty()) {
        return Vec::new();
    }
    let value = if text.is_empty() {
        format!("SIP;cause={code}")
    } else {
        format!("SIP;cause={code};text={}", quote(text))
    };
    vec![header("Reason", value)]
}

/// The Reason header(s) as they came, joined.
pub(crate) fn reason_of(message: &impl HasHeaders) -> Option<String> {
    let all: Vec<&str> = get_all(message, "Reason").collect();
    (!all.is_empty()).then(|| all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_addr_in_its_shapes() {
        let full = NameAddr::parse("\"A \\\"B\\\" <c>\" <sip:1@h;x=y>;tag=t").unwrap();
        assert_eq!(full.display.as_deref(), Some("A \"B\" <c>"));
        assert_eq!(full.uri, "sip:1@h;x=y");
        assert_eq!(full.tag(), Some("t"));
        let bare = NameAddr::parse("sip:1@h;tag=t").unwrap();
        assert_eq!((bare.uri.as_str(), bare.tag()), ("sip:1@h", Some("t")));
        let token = NameAddr::parse("Alice <sip:a@h>").unwrap();
        assert_eq!((token.display.as_deref(), token.tag()), (Some("Alice"), None));
        assert_eq!(NameAddr::parse("<"), None);
        assert_eq!(NameAddr::parse("\"open <sip:a@h>"), None);
    }

    #[test]
    fn lists_split_outside_of_quotes_and_brackets() {
        assert_eq!(
            split_outside("\"a,b\" <sip:x,y@h>, <sip:z@h>,,", ','),
            ["\"a,b\" <sip:x,y@h>", "<sip:z@h>"]
        );
    }

    #[test]
    fn a_header_value_cannot_start_a_header() {
        let h = header("X-A", "1\r\nX-B: 2");
        assert_eq!(h.to_string(), "X-A: 1  X-B: 2");
    }

    #[test]
    fn sdp_is_found_in_a_multipart_body() {
        let body = b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x\r\n\
            Content-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n--x--\r\n";
        let mut request = Request::try_from(
            "INVITE sip:a@h SIP/2.0\r\nContent-Type: multipart/mixed;boundary=\"x\"\r\n\r\n",
        )
        .unwrap();
        request.body = body.to_vec();
        assert_eq!(sdp_of(&request, &request.body), Ok(Some("v=0\r\ns=-\r\n".into())));
    }
}
