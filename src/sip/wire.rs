//! Datagrams into messages: what rsipstack's parser needs done before it reads one from the network.

use rsipstack::sip::{Method, Request, SipMessage};

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
    /// The body is shorter than Content-Length says (RFC 3261 18.3).
    #[error("the body is cut short")]
    CutShort,
    /// A whole request whose method nobody knows. It is to be answered 405; its method field is a
    /// stand-in, CSeq is as it came.
    #[error("unknown method")]
    UnknownMethod(Box<Request>),
}

/// Reads one datagram.
///
/// Before rsipstack's parser sees it: blank lines in front are skipped (RFC 3261 7.5); bytes that are no
/// UTF-8 are replaced, as the parser would drop every header after them; a missing Content-Length
/// is set from the datagram (18.3), as the parser would drop the body.
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
    let said = content_length(head).map_err(|BadLength| Fault::Malformed)?;
    let head = String::from_utf8_lossy(head);
    let (head, body) = match said {
        Some(length) => (head, body.get(..length).ok_or(Fault::CutShort)?),
        None => (format!("{head}\r\nContent-Length: {}", body.len()).into(), body),
    };
    read(&head, body)
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

    const HEAD: &str = "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: ";

    #[test]
    fn a_latin1_name_costs_no_header() {
        let mut bytes = HEAD.as_bytes().to_vec();
        bytes.extend_from_slice(b"\"M\xfcller\" <sip:m@h>;tag=1\r\nTo: <sip:a@h>\r\n\r\nbody");
        let message = parse(&bytes).unwrap();
        assert_eq!(get(&message, "To"), Some("<sip:a@h>"));
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
        let cut = format!("{HEAD}<sip:a@h>\r\nContent-Length: 9\r\n\r\nshort");
        assert_eq!(parse(cut.as_bytes()).unwrap_err(), Fault::CutShort);
        let two = format!("{HEAD}<sip:a@h>\r\nl: 2\r\nContent-Length: 1\r\n\r\nab");
        assert_eq!(parse(two.as_bytes()).unwrap_err(), Fault::Malformed);
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
}
