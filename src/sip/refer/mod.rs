//! Transfers: REFER (RFC 3515, RFC 5589) with its implicit subscription.
//!
//! `sent` is the transferor: REFERs of ours in a session, and the NOTIFYs that tell how they go.
//! `taken` is the transferee: REFERs that came in, and the NOTIFYs we send.

mod sent;
mod taken;

use rsipstack::sip::{HasHeaders, Request};

use super::identity::{display, printable};
use super::message::{self, NameAddr, get, get_list, param, parse_uri, unescape};
use super::replaces::Replaces;
use super::types::Referred;

pub(crate) use sent::{Sent, send};
pub(crate) use taken::{Taken, accept, answered, check, failed, progress, reject, take_outside};

pub(crate) const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// Longest Refer-To URI and Referred-By that are handed on: they go into an INVITE, which is to stay
/// small enough for UDP.
const MAX_VALUE: usize = 512;
/// Longest reason phrase of a sipfrag, in characters.
const MAX_TEXT: usize = 128;

/// What a REFER asks for, or the code that refuses it: 400 for what cannot be read, 416 for a URI that is
/// no telephone's, 501 for anything but a call.
pub(crate) fn read(refer: &Request) -> Result<Referred, u16> {
    let values = get_list(refer, "Refer-To");
    let [value] = values.as_slice() else { return Err(400) };
    let target = NameAddr::parse(value).ok_or(400u16)?;
    let (uri, embedded) = target.uri.split_once('?').unwrap_or((&target.uri, ""));
    let (scheme, _) = uri.split_once(':').ok_or(400u16)?;
    if !["sip", "sips", "tel"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(416);
    }
    let (to, method) = without_method(uri);
    let method = method.or_else(|| target.param("method"));
    if method.is_some_and(|method| !method.eq_ignore_ascii_case("INVITE")) {
        return Err(501);
    }
    let bad = |c: char| c.is_control() || c.is_whitespace() || "<>\"".contains(c);
    if to.len() > MAX_VALUE || to.chars().any(bad) || parse_uri(&to).is_none() {
        return Err(400);
    }
    let referred_by = get(refer, "Referred-By")
        .map(printable)
        .filter(|by| !by.is_empty() && by.len() <= MAX_VALUE);
    let replaces = embedded_replaces(embedded)?.map(|replaces| replaces.to_string());
    Ok(Referred { display_name: display(target.display), to, replaces, referred_by })
}

/// The URI without its `method` parameter, and what that said.
fn without_method(uri: &str) -> (String, Option<&str>) {
    let host = uri.rfind('@').unwrap_or(0);
    let Some(params) = uri[host..].find(';').map(|at| host + at) else {
        return (uri.to_owned(), None);
    };
    let (base, params) = uri.split_at(params);
    let kept = params.split(';').skip(1).filter(|piece| {
        !piece.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("method"))
    });
    let mut out = base.to_owned();
    for piece in kept {
        out.push(';');
        out.push_str(piece);
    }
    (out, param(params, "method"))
}

/// Of the headers embedded in a URI only Replaces is taken: the rest would let whoever refers us write our
/// INVITE (RFC 3261 19.1.5).
fn embedded_replaces(headers: &str) -> Result<Option<Replaces>, u16> {
    let mut found = None;
    for pair in headers.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if unescape(name).eq_ignore_ascii_case("Replaces") {
            let replaces = Replaces::parse(&unescape(value)).ok_or(400u16)?;
            if found.replace(replaces).is_some() {
                return Err(400);
            }
        }
    }
    Ok(found)
}

/// Status code and reason phrase of a NOTIFY's `message/sipfrag` body.
fn sipfrag(notify: &Request) -> Option<(u16, String)> {
    if let Some(kind) = get(notify, "Content-Type") {
        let kind = kind.split(';').next()?.trim();
        if !kind.eq_ignore_ascii_case("message/sipfrag") {
            return None;
        }
    }
    let text = String::from_utf8_lossy(&notify.body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let (version, rest) = line.split_once(char::is_whitespace)?;
    let (code, words) = rest.trim_start().split_at_checked(3)?;
    let code = code.parse().ok().filter(|code| (100..700).contains(code))?;
    let is_status = version.eq_ignore_ascii_case("SIP/2.0")
        && (words.is_empty() || words.starts_with(char::is_whitespace));
    is_status.then(|| (code, phrase(words)))
}

/// A reason phrase in one line, of a length that can be shown.
fn phrase(text: &str) -> String {
    printable(text.trim()).chars().take(MAX_TEXT).collect()
}

/// Whether a message says `Refer-Sub: false` (RFC 4488).
fn without_subscription(message: &impl HasHeaders) -> bool {
    get(message, "Refer-Sub")
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("false"))
}

/// The number in `Event: refer;id=...`.
fn event_id(notify: &Request) -> Option<u64> {
    let event = get(notify, "Event")?;
    param(event.get(event.find(';')?..)?, "id").and_then(message::leading_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refer(lines: &str) -> Request {
        let text = format!("REFER sip:a@h SIP/2.0\r\n{lines}\r\n\r\n");
        Request::try_from(text.as_str()).unwrap()
    }

    #[test]
    fn refer_to_in_its_shapes() {
        let r = read(&refer(
            "r: \"Bob, B\" <sip:b@h;transport=tcp;method=INVITE?Replaces=c%40h%3Bto-tag%3D1%3B\
             from-tag%3D2&Require=replaces&Route=%3Csip:evil%3E>\r\nb: <sip:a@h>",
        ))
        .unwrap();
        assert_eq!(r.to, "sip:b@h;transport=tcp");
        assert_eq!(r.display_name.as_deref(), Some("Bob, B"));
        assert_eq!(r.replaces.as_deref(), Some("c@h;to-tag=1;from-tag=2"));
        assert_eq!(r.referred_by.as_deref(), Some("<sip:a@h>"));
        let r =
            read(&refer("Refer-To: sip:%23b@h?replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2")).unwrap();
        assert_eq!(r.to, "sip:%23b@h");
        assert!(r.replaces.is_some());
        assert_eq!(
            read(&refer("Refer-To: <tel:+49;phone-context=x>")).unwrap().to,
            "tel:+49;phone-context=x"
        );
    }

    #[test]
    fn what_cannot_be_called_is_refused() {
        for (lines, code) in [
            ("X: y", 400),
            ("Refer-To: <sip:a@h>\r\nRefer-To: <sip:b@h>", 400),
            ("Refer-To: <sip:a@h>, <sip:b@h>", 400),
            ("Refer-To: <", 400),
            ("Refer-To: 1003", 400),
            ("Refer-To: <sip:a b@h>", 400),
            ("Refer-To: <sip:a@h?Replaces=c>", 400),
            ("Refer-To: <sip:a@h?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2%0D%0AX:y>", 400),
            (
                "Refer-To: <sip:a@h?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=c%3B\
                 to-tag%3D1%3Bfrom-tag%3D2>",
                400,
            ),
            ("Refer-To: <http://a/b>", 416),
            ("Refer-To: <sip:a@h;method=BYE>", 501),
        ] {
            assert_eq!(read(&refer(lines)), Err(code), "{lines}");
        }
        let long = format!("Refer-To: <sip:{}@h>", "a".repeat(600));
        assert_eq!(read(&refer(&long)), Err(400));
    }

    #[test]
    fn sipfrags_in_their_shapes() {
        let notify = |content: &str, body: &[u8]| {
            let mut request = refer(content);
            request.body = body.to_vec();
            sipfrag(&request)
        };
        let kind = "Content-Type: message/SIPFRAG;version=2.0";
        let whole = b"SIP/2.0 486 Busy Here\r\nWarning: 399 h \"x\"\r\n";
        assert_eq!(notify(kind, whole), Some((486, "Busy Here".into())));
        assert_eq!(notify(kind, b"\r\nSIP/2.0 200\n"), Some((200, String::new())));
        assert_eq!(notify("X: y", b"sip/2.0  180  Ringing"), Some((180, "Ringing".into())));
        for bad in [&b""[..], b"SIP/2.0", b"SIP/2.0 99 x", b"SIP/2.0 2000 x", b"HTTP/1.1 200 OK"] {
            assert_eq!(notify(kind, bad), None, "{bad:?}");
        }
        assert_eq!(notify("Content-Type: text/plain", whole), None);
    }
}
