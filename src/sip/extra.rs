//! Headers of a deployment's or an application's own in requests of ours.

use rsipstack::sip::{HasHeaders as _, Request};

use super::message::header;
use super::types::HeaderPair;

/// Headers taken from one list.
pub(crate) const MAX_HEADERS: usize = 32;

/// Headers that are SIP's own to write, whether this request has them or not.
const OURS: [&str; 27] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Route",
    "Record-Route",
    "Authorization",
    "Proxy-Authorization",
    "Allow",
    "Supported",
    "Require",
    "Proxy-Require",
    "User-Agent",
    "Allow-Events",
    "Session-Expires",
    "Min-SE",
    "RAck",
    "RSeq",
    "Event",
    "Subscription-State",
    "Expires",
];

/// Adds `extra` after what stands in the request already, which nothing of it overrides: a name that is
/// there, or that is SIP's own, is left out. Within `extra` a name may come more than once.
pub(crate) fn add(request: &mut Request, extra: &[HeaderPair]) {
    let there = request.headers.len();
    // One letter is the compact form of a header of ours.
    let usable = |name: &str| name.len() > 1 && is_token(name);
    for (name, value) in extra.iter().filter(|(name, _)| usable(name)).take(MAX_HEADERS) {
        let known =
            request.headers().iter().take(there).any(|h| h.name().eq_ignore_ascii_case(name));
        if !is_ours(name) && !known {
            request.headers.push(header(name, value.as_str()));
        }
    }
}

pub(crate) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// RFC 3261 25.1.
pub(crate) fn is_token(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
    !name.is_empty() && name.chars().all(allowed)
}
