//! What a request must be before anybody looks at what it wants: the faults that RFC 4475 collects, each with
//! the answer it gets. Liberal where a peer's meaning is plain, strict where guessing it would be an attack's way in.

use std::net::Ipv6Addr;

use rsipstack::sip::{HasHeaders as _, Request};

use super::message::{NameAddr, call_id, cseq, get, get_list};

/// Schemes a Request-URI may have (RFC 3261 8.2.2.1): what a user agent can be called by.
const SCHEMES: [&str; 3] = ["sip", "sips", "tel"];

/// The fault of a request's first line, as the code of its answer.
///
/// Blanks at its end are forgiven; more than one between its parts, or within the URI, is 400
/// (RFC 3261 7.1), an unknown version 505, an unknown scheme 416.
pub(crate) fn start_line(line: &str) -> Result<(), u16> {
    let mut parts = line.trim_end().split(' ');
    let (Some(_method), Some(uri), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(400);
    };
    match version.get(..4) {
        Some(name) if name.eq_ignore_ascii_case("SIP/") => {
            if !version.eq_ignore_ascii_case("SIP/2.0") {
                return Err(505);
            }
        }
        _ => return Err(400),
    }
    request_uri(uri)
}

fn request_uri(uri: &str) -> Result<(), u16> {
    let (scheme, rest) = uri.split_once(':').ok_or(400_u16)?;
    let letters = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.is_empty() || !scheme.chars().all(letters) {
        return Err(400);
    }
    if !SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(416);
    }
    if scheme.eq_ignore_ascii_case("tel") {
        return Ok(());
    }
    // The user part may hold `;` and `?`, the host none of them.
    let host_on = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    // Headers belong into no Request-URI (19.1.1): they would be forged in our name.
    if host_on.contains('?') {
        return Err(400);
    }
    let host_port = host_on.split(';').next().unwrap_or_default();
    let sound = match host_port.strip_prefix('[') {
        Some(inside) => match inside.split_once(']') {
            Some((ip, port)) => {
                ip.parse::<Ipv6Addr>().is_ok()
                    && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
            }
            None => false,
        },
        // An IPv6 address without brackets has no telling where its port begins (RFC 5118 4.2).
        None => match host_port.split_once(':') {
            Some((host, port)) => !host.is_empty() && is_port(port),
            None => !host_port.is_empty(),
        },
    };
    if sound { Ok(()) } else { Err(400) }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// The fault of a request's headers (RFC 3261 8.1.1): one of the six is missing, cannot be read, or is there
/// twice with no saying which of them is meant. Always 400.
pub(crate) fn headers(request: &Request) -> Result<(), u16> {
    let once = |name: &str| {
        request.headers().iter().filter(|h| h.name().eq_ignore_ascii_case(name)).count() == 1
    };
    let party =
        |name| once(name) && get(request, name).is_some_and(|text| NameAddr::parse(text).is_some());
    let number = once("CSeq")
        && cseq(request)
            .is_some_and(|(_, method)| method.eq_ignore_ascii_case(&request.method.to_string()));
    let vias = get_list(request, "Via");
    // Transport and sent-by; who wrote less than that will not understand an answer.
    let whole = |via: &&str| {
        let head = via.split(';').next().unwrap_or_default();
        head.split('/').count() == 3 && head.trim_end().contains(char::is_whitespace)
    };
    let sound = once("Call-ID")
        && call_id(request).is_some()
        && number
        && party("From")
        && party("To")
        && !vias.is_empty()
        && vias.iter().all(whole);
    if sound { Ok(()) } else { Err(400) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        for (line, wanted) in [
            ("INVITE sip:a@h SIP/2.0", Ok(())),
            ("INVITE sip:a@h SIP/2.0  ", Ok(())),
            ("INVITE sip:h:5070;lr sip/2.0", Ok(())),
            ("INVITE sip:a;b?c@[2001:db8::1]:5070 SIP/2.0", Ok(())),
            ("INVITE tel:+49;phone-context=x SIP/2.0", Ok(())),
            ("INVITE  sip:a@h SIP/2.0", Err(400)),
            ("INVITE sip:a@h; lr SIP/2.0", Err(400)),
            ("INVITE <sip:a@h> SIP/2.0", Err(400)),
            ("INVITE sip:a@h?Route=x SIP/2.0", Err(400)),
            ("INVITE sip:2001:db8::1 SIP/2.0", Err(400)),
            ("INVITE sip:[2001:db8::1 SIP/2.0", Err(400)),
            ("INVITE sip:a@h:99999 SIP/2.0", Err(400)),
            ("INVITE sip: SIP/2.0", Err(400)),
            ("INVITE sip:a@h HTTP/1.1", Err(400)),
            ("INVITE sip:a@h SIP/3.0", Err(505)),
            ("INVITE isbn:1 SIP/2.0", Err(416)),
        ] {
            assert_eq!(start_line(line), wanted, "{line}");
        }
    }
}
