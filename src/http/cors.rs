//! Who may call from which page (Fetch standard, "HTTP-CORS protocol"; Private Network Access).
//!
//! The raw-SDP dialect names its session by a guessable id and a DN may have no password, so that a
//! page of a foreign origin must not be able to drive an agent's gateway: a browser's request with
//! an `Origin` that is neither ours nor allowed is refused with 403 and gets no CORS header.
//! Requests without an `Origin` come from programs, from our own page, or from a foreign page's
//! images and links; the last give themselves away by `Sec-Fetch-Site`.

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY};

use crate::config::Origins;

/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, OPTIONS");

/// What a script of another origin may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Pragma, Retry-After, X-Genesys-CallUUID, X-Wrtc-Call, X-Wrtc-Diversion, X-Wrtc-Peer, X-Wrtc-Peer-Name, X-Wrtc-Private, X-Wrtc-Reason, X-Wrtc-Seq, X-Wrtc-State, X-Wrtc-Type",
);

const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// No browser, or a page of our own.
    Own,
    /// A page of another origin that may. Its `Origin`, to be echoed.
    Allowed(HeaderValue),
    /// A page of another origin that may not.
    Foreign,
}

pub(super) fn caller(headers: &HeaderMap, origins: &Origins) -> Caller {
    let Some(origin) = headers.get(ORIGIN) else {
        let elsewhere = headers
            .get(SEC_FETCH_SITE)
            .is_some_and(|site| site == "cross-site" || site == "same-site");
        return if elsewhere && *origins != Origins::Any { Caller::Foreign } else { Caller::Own };
    };
    match origin.to_str() {
        // The own origin is echoed too: harmless, and right behind proxies that change the scheme.
        // A copy: a clone would keep the buffer that the request was read into while a poll hangs.
        Ok(text) if origins.allow(text) || is_own(text, headers) => {
            HeaderValue::from_str(text).map_or(Caller::Foreign, Caller::Allowed)
        }
        _ => Caller::Foreign,
    }
}

/// No browser, or a page of our own: whatever other origins are allowed, they are not meant.
pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
    match headers.get(ORIGIN) {
        Some(origin) => origin.to_str().is_ok_and(|origin| is_own(origin, headers)),
        None => {
            headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none")
        }
    }
}

/// Sent by a page that came over TLS, or from this machine: browsers tell others nothing of where a
/// request comes from, and no script can write it.
pub(super) fn is_behind_tls(headers: &HeaderMap) -> bool {
    let secure = |origin: &HeaderValue| origin.as_bytes().starts_with(b"https://");
    headers.contains_key(SEC_FETCH_SITE) || headers.get(ORIGIN).is_some_and(secure)
}

/// Sent by a page, of our own or of an origin that is allowed: a browser says so in requests that could
/// change something.
pub(super) fn is_known_page(caller: &Caller, headers: &HeaderMap) -> bool {
    match caller {
        Caller::Allowed(_) => true,
        Caller::Own => headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin"),
        Caller::Foreign => false,
    }
}

/// The scheme is left out of the comparison: before a TLS proxy the page's is `https` and ours not.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (authority, host) {
        (Some(authority), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

pub(super) fn add_headers(caller: &Caller, headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Caller::Allowed(origin) = caller {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// What a preflight's answer has beside the above.
pub(super) fn add_preflight_headers(caller: &Caller, asked: &HeaderMap, answer: &mut HeaderMap) {
    if !matches!(caller, Caller::Allowed(_)) {
        return;
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    // With credentials a `*` means nothing, so what was asked for is named. A header's value that
    // has come through the parser can go back as it is.
    let allowed = asked
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .cloned()
        .unwrap_or(HeaderValue::from_static("Content-Type"));
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    answer.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        answer.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
}
