//! Datagrams into messages: what rsipstack's parser needs done before it reads one from the network.

use rsipstack::sip::{Method, Request, SipMessage};

/// Why a datagram is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Blank lines: some peers keep NAT bindings open with them.
    #[error("keep-alive")]
    KeepAlive,
    #[error("not a SIP message")]
    Malformed,
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
    let head = String::from_utf8_lossy(head);
    let said = head.split("\r\n").skip(1).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim();
        let is = name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l");
        is.then(|| value.trim())
    });
    let (head, body) = match said {
        Some(length) => {
            let length: usize = length.parse().map_err(|_| Fault::Malformed)?;
            (head, body.get(..length).ok_or(Fault::CutShort)?)
        }
        None => (format!("{head}\r\nContent-Length: {}", body.len()).into(), body),
    };
    read(&head, body)
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
    fn faults_are_told_apart() {
        assert_eq!(parse(b"\r\n\r\n").unwrap_err(), Fault::KeepAlive);
        assert_eq!(parse(b"").unwrap_err(), Fault::KeepAlive);
        assert_eq!(parse(b"hello\r\n\r\n").unwrap_err(), Fault::Malformed);
        let cut = format!("{HEAD}<sip:a@h>\r\nContent-Length: 9\r\n\r\nshort");
        assert_eq!(parse(cut.as_bytes()).unwrap_err(), Fault::CutShort);
        let unknown = "DANCE sip:a@h SIP/2.0\r\nCSeq: 1 DANCE\r\n\r\n";
        let Err(Fault::UnknownMethod(request)) = parse(unknown.as_bytes()) else { panic!() };
        assert_eq!(get(&*request, "CSeq"), Some("1 DANCE"));
        let lower = "invite sip:a@h SIP/2.0\r\nCSeq: 1 invite\r\n\r\n";
        assert!(matches!(parse(lower.as_bytes()), Err(Fault::UnknownMethod(_))));
    }
}
