//! Datagrams into messages: what rsipstack's parser needs done before it reads one from the network.

use std::borrow::Cow;

use rsipstack::sip::{Method, Request, SipMessage};

use super::sanity;

/// Longest start line with all headers. The longest message of RFC 4475 has 4 KiB of them; attached
/// data of a contact centre may come on top.
pub const MAX_HEAD: usize = 32 * 1024;

/// Most header lines. A call through ten proxies has fewer than sixty.
pub const MAX_HEADERS: usize = 256;

/// Why a datagram is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Blank lines: some peers keep NAT bindings open with them.
    #[error("keep-alive")]
    KeepAlive,
    #[error("not a SIP message")]
    Malformed,
    #[error("more than 32 KiB or 256 lines of headers")]
    TooBig,
    /// The body of an answer (or of an ACK) is shorter than Content-Length says (RFC 3261 18.3).
    #[error("the body is cut short")]
    CutShort,
    /// A request that is to be answered with this code and looked at no further. Its URI is a stand-in, its
    /// headers are as they came.
    #[error("a request that gets {1}")]
    Refused(Box<Request>, u16),
    /// A whole request whose method nobody knows. It is to be answered 405; its method field is a
    /// stand-in, CSeq is as it came.
    #[error("unknown method")]
    UnknownMethod(Box<Request>),
}

/// Reads one datagram.
///
/// Before rsipstack's parser sees it: blank lines in front are skipped (RFC 3261 7.5); bytes that are no
/// UTF-8 are replaced, as the parser would drop every header after them; a missing Content-Length
/// is set from the datagram (18.3), as the parser would drop the body; the three colons that RFC 3261's own
/// grammar lets an IPv6 address have are read as two (RFC 5118 4.10).
///
/// A request with a fault is [`Fault::Refused`] where it can be answered at all.
pub fn parse(datagram: &[u8]) -> Result<SipMessage, Fault> {
    let start = datagram.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != 0);
    let Some(datagram) = start.and_then(|start| datagram.get(start..)) else {
        return Err(Fault::KeepAlive);
    };
    let end = datagram.windows(4).position(|four| four == b"\r\n\r\n").ok_or(Fault::Malformed)?;
    let (head, body) = datagram.split_at(end);
    let body = body.get(4..).unwrap_or_default();
    if head.len() > MAX_HEAD || count_lines(head) > MAX_HEADERS {
        return Err(Fault::TooBig);
    }
    let said = content_length(head);
    let head = String::from_utf8_lossy(head);
    let Ok(said) = said else { return Err(refused(&head, 400).unwrap_or(Fault::Malformed)) };
    let (head, body) = match said {
        Some(length) => match body.get(..length) {
            Some(body) => (head, body),
            None => return Err(refused(&head, 400).unwrap_or(Fault::CutShort)),
        },
        None => (format!("{head}\r\nContent-Length: {}", body.len()).into(), body),
    };
    let head = two_colons(head);
    let first = head.split("\r\n").next().unwrap_or_default();
    if !is_response(first)
        && let Err(code) = sanity::start_line(first)
    {
        return Err(refused(&head, code).unwrap_or(Fault::Malformed));
    }
    match read(&head, body)? {
        SipMessage::Request(request) => match sanity::headers(&request) {
            Ok(()) => Ok(SipMessage::Request(request)),
            Err(_) if request.method == Method::Ack => Err(Fault::Malformed),
            Err(code) => Err(Fault::Refused(Box::new(request), code)),
        },
        response => Ok(response),
    }
}

fn is_response(first: &str) -> bool {
    first.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/"))
}

fn two_colons(head: Cow<'_, str>) -> Cow<'_, str> {
    match head.split_once("\r\n") {
        Some((first, rest)) if first.contains("[") && first.contains(":::") => {
            Cow::Owned(format!("{}\r\n{rest}", first.replace(":::", "::")))
        }
        _ => head,
    }
}

/// The request that a head with a fault was meant to be, for its answer. None for what gets none: an ACK, a
/// response, what is no SIP.
fn refused(head: &str, code: u16) -> Option<Fault> {
    let (first, rest) = head.split_once("\r\n")?;
    let (method, after) = first.split_once(' ')?;
    if is_response(first) || method == "ACK" || !after.to_ascii_uppercase().contains("SIP/") {
        return None;
    }
    let known = Method::all().iter().any(|known| known.to_string() == method);
    let method = if known { method } else { "OPTIONS" };
    // Content-Length is what may be at fault, and there is no body any more.
    let lines = rest.split("\r\n").filter(|line| {
        let name = line.split(':').next().unwrap_or_default().trim();
        !name.eq_ignore_ascii_case("content-length") && !name.eq_ignore_ascii_case("l")
    });
    let rest = lines.collect::<Vec<_>>().join("\r\n");
    let text =
        format!("{method} sip:refused.invalid SIP/2.0\r\n{rest}\r\nContent-Length: 0\r\n\r\n");
    match SipMessage::try_from(text.as_bytes()) {
        Ok(SipMessage::Request(request)) => Some(Fault::Refused(Box::new(request), code)),
        _ => None,
    }
}

/// Header lines, folded ones and all.
pub(crate) fn count_lines(head: &[u8]) -> usize {
    head.windows(2).filter(|two| two == b"\r\n").count()
}

/// A Content-Length that is no number, or two that differ: where the message ends is anybody's guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLength;

/// What Content-Length says, also in its short form and folded.
pub(crate) fn content_length(head: &[u8]) -> Result<Option<usize>, BadLength> {
    let mut said = None;
    let mut lines = head.split(|byte| *byte == b'\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let name = name.trim_ascii();
        if !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        // A folded line begins with a blank, so its colon does not make it a header.
        if line.first().is_some_and(|first| matches!(first, b' ' | b'\t')) {
            continue;
        }
        let mut value = value.get(1..).unwrap_or_default().trim_ascii().to_vec();
        while let Some(more) =
            lines.next_if(|next| next.first().is_some_and(|first| matches!(first, b' ' | b'\t')))
        {
            value.extend_from_slice(more.trim_ascii());
        }
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(&value).map_err(|_| BadLength)?;
        let length = text.parse().ok().filter(|_| digits).ok_or(BadLength)?;
        if said.replace(length).is_some_and(|before| before != length) {
            return Err(BadLength);
        }
    }
    Ok(said)
}

fn read(head: &str, body: &[u8]) -> Result<SipMessage, Fault> {
    let bytes = [head.as_bytes(), b"\r\n\r\n", body].concat();
    let known = match SipMessage::try_from(bytes.as_slice()) {
        // A method in lower case is another method (RFC 3261 7.1); the parser takes it for the same.
        Ok(SipMessage::Request(request)) => head
            .starts_with(&format!("{} ", request.method))
            .then_some(SipMessage::Request(request)),
        Ok(response) => Some(response),
        Err(_) => None,
    };
    match known {
        Some(message) => Ok(message),
        None => Err(stand_in(head, body).unwrap_or(Fault::Malformed)),
    }
}

/// The request read under a method the parser knows.
fn stand_in(head: &str, body: &[u8]) -> Option<Fault> {
    let (method, rest) = head.split_once(' ')?;
    let token = !method.is_empty()
        && method.chars().all(|c| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c));
    let known = Method::all().iter().any(|known| known.to_string() == method);
    if known || !token {
        return None;
    }
    let bytes = [b"OPTIONS ", rest.as_bytes(), b"\r\n\r\n", body].concat();
    match SipMessage::try_from(bytes.as_slice()) {
        Ok(SipMessage::Request(request)) => Some(Fault::UnknownMethod(Box::new(request))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::get;

    const HEAD: &str = "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: <sip:a@h>\r\n\
        Call-ID: c\r\nCSeq: 1 INVITE\r\nFrom: ";

    fn refused_with(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Err(Fault::Refused(_, code)) => code,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_latin1_name_costs_no_header() {
        let mut bytes = HEAD.as_bytes().to_vec();
        bytes.extend_from_slice(b"\"M\xfcller\" <sip:m@h>;tag=1\r\nSubject: x\r\n\r\nbody");
        let message = parse(&bytes).unwrap();
        assert_eq!(get(&message, "Subject"), Some("x"));
        let SipMessage::Request(request) = message else { panic!("a request") };
        assert_eq!(request.body, b"body");
    }

    #[test]
    fn content_length_in_its_shapes() {
        let of = |line: &str| content_length(format!("OPTIONS sip:h SIP/2.0\r\n{line}").as_bytes());
        assert_eq!(of("X: 1\r\nl:  7 \r\nY: 2"), Ok(Some(7)));
        assert_eq!(of("Content-Length:\r\n 7\r\nY: 2"), Ok(Some(7)));
        assert_eq!(of("CONTENT-LENGTH : 7"), Ok(Some(7)));
        assert_eq!(of("X: a\r\n l: 7"), Ok(None), "a folded line is no header");
        for bad in ["l: +7", "l: -1", "l:", "l: 7 8", "l: 99999999999999999999", "l: 7\r\nl: 8"] {
            assert_eq!(of(bad), Err(BadLength), "{bad}");
        }
    }

    #[test]
    fn faults_are_told_apart() {
        assert_eq!(parse(b"\r\n\r\n").unwrap_err(), Fault::KeepAlive);
        assert_eq!(parse(b"").unwrap_err(), Fault::KeepAlive);
        assert_eq!(parse(b"hello\r\n\r\n").unwrap_err(), Fault::Malformed);
        let cut = "SIP/2.0 200 OK\r\nContent-Length: 9\r\n\r\nshort";
        assert_eq!(parse(cut.as_bytes()).unwrap_err(), Fault::CutShort);
        let many = format!("{HEAD}<sip:a@h>\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS));
        assert_eq!(parse(many.as_bytes()).unwrap_err(), Fault::TooBig);
        let long = format!("{HEAD}<sip:a@h>\r\nX: {}\r\n\r\n", "y".repeat(MAX_HEAD));
        assert_eq!(parse(long.as_bytes()).unwrap_err(), Fault::TooBig);
        let unknown = "DANCE sip:a@h SIP/2.0\r\nCSeq: 1 DANCE\r\n\r\n";
        let Err(Fault::UnknownMethod(request)) = parse(unknown.as_bytes()) else { panic!() };
        assert_eq!(get(&*request, "CSeq"), Some("1 DANCE"));
        let lower = "invite sip:a@h SIP/2.0\r\nCSeq: 1 invite\r\n\r\n";
        assert!(matches!(parse(lower.as_bytes()), Err(Fault::UnknownMethod(_))));
    }

    #[test]
    fn a_request_with_a_fault_is_answered_and_an_ack_never_is() {
        for fault in
            ["Content-Length: 9\r\n\r\nshort", "l: x\r\n\r\n", "l: 0\r\nContent-Length: 1\r\n\r\n"]
        {
            let text = format!("{HEAD}<sip:b@h>;tag=1\r\n{fault}");
            assert_eq!(refused_with(&text), 400);
            let ack = text.replace("INVITE", "ACK");
            assert!(matches!(parse(ack.as_bytes()), Err(Fault::Malformed | Fault::CutShort)));
        }
        assert_eq!(refused_with(&format!("{HEAD}<sip:b@h>;tag=1\r\nTo: <sip:z@h>\r\n\r\n")), 400);
        assert_eq!(refused_with(&format!("{HEAD}\"b <sip:b@h>;tag=1\r\n\r\n")), 400);
        let version =
            format!("{HEAD}<sip:b@h>;tag=1\r\n\r\n").replace("sip:a@h SIP/2.0", "sip:a@h SIP/9.0");
        assert_eq!(refused_with(&version), 505);
    }
}
