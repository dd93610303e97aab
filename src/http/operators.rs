//! Who may look at the gateway and who may act on it.
//!
//! By token (`Authorization: Bearer`), of which only the hash is known here. Where no token is configured
//! at all this very machine may, and nothing that only seems to be it: not a page of another origin in
//! its browser, not a name that was bent to 127.0.0.1, not a proxy that stands on it for others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Extension;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::app::App;
use super::conn::Conn;
use super::cors;
use super::reply::{OPERATOR_UNKNOWN, Problem};
use crate::agent::OperatedBy;
use crate::config::{self, OperatorToken};

pub(super) use crate::config::Role;

/// Whom the throttle counts wrong tokens for; no DN has a space.
const GUESSER: &str = "an operator";

/// Headers that proxies add: whoever came through one is not this machine, whatever the address says.
const PROXIED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Who was let in, and from where: as log lines and timelines name them.
#[derive(Debug)]
pub(super) struct Operator {
    name: Arc<str>,
    remote: IpAddr,
}

impl Operator {
    pub(super) fn remote(&self) -> IpAddr {
        self.remote
    }

    /// For those who keep it.
    pub(super) fn by(&self) -> OperatedBy {
        OperatedBy { name: self.name.to_string(), remote: self.remote }
    }

    /// Says in the log who did what. `whom` is a DN, a call, or nothing.
    pub(super) fn record(&self, did: &'static str, whom: &str) {
        let Self { name: operator, remote } = self;
        tracing::info!(target: "wrtc_gateway::audit", %operator, %remote, did, whom, "operator");
    }
}

/// An operator who may look on. A handler that takes one is for operators; it goes behind what reads the
/// path, and what reads the body goes behind it.
pub(super) struct Reader(pub Operator);

/// An operator who may act. Whatever is done gets a [`Operator::record`].
pub(super) struct Actor(pub Operator);

impl FromRequestParts<Arc<App>> for Reader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        admit(parts, app, Role::Read).await.map(Self)
    }
}

impl FromRequestParts<Arc<App>> for Actor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        admit(parts, app, Role::Act).await.map(Self)
    }
}

async fn admit(parts: &mut Parts, app: &Arc<App>, role: Role) -> Result<Operator, Response> {
    let conn = Extension::<Arc<Conn>>::from_request_parts(parts, app).await;
    let Extension(conn) = conn.map_err(IntoResponse::into_response)?;
    check(app, &conn, &parts.headers, role).map_err(Problem::into_response)
}

/// The tokens as they are now.
pub(super) struct Operators {
    known: ArcSwap<Known>,
}

#[derive(PartialEq)]
struct Known {
    /// A file of tokens that is empty still means that one is needed.
    wanted: bool,
    by_hash: HashMap<[u8; 32], (Role, Arc<str>)>,
}

impl Known {
    fn new(tokens: &[OperatorToken], wanted: bool) -> Self {
        let by_hash =
            tokens.iter().map(|token| (token.hash, (token.role, token.name.as_str().into())));
        Self { wanted: wanted || !tokens.is_empty(), by_hash: by_hash.collect() }
    }
}

impl Operators {
    pub(super) fn new(config: &config::Operators) -> Self {
        let known = Known::new(&config.tokens, config.file.is_some());
        Self { known: ArcSwap::from_pointee(known) }
    }

    /// Whether these are others than before.
    pub(super) fn replace(&self, tokens: &[OperatorToken], wanted: bool) -> bool {
        let new = Arc::new(Known::new(tokens, wanted));
        *self.known.swap(Arc::clone(&new)) != *new
    }

    fn by_headers(&self, headers: &HeaderMap) -> Option<(Role, Arc<str>)> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        // By its hash, so that the time it takes tells nothing of the token.
        let hash: [u8; 32] = Sha256::digest(token.trim().as_bytes()).into();
        self.known.load().by_hash.get(&hash).cloned()
    }
}

/// Where [`Reader`] and [`Actor`] do not fit: a route that is sometimes for everybody, an answer that goes on.
///
/// # Errors
/// 401 for a token that is missing or unknown, 403 for one that may not, 429 for who guesses.
pub(super) fn check(
    app: &App,
    conn: &Conn,
    headers: &HeaderMap,
    role: Role,
) -> Result<Operator, Problem> {
    if app.operators.known.load().wanted {
        return check_token(app, conn, headers, role);
    }
    // Where a proxy is said to be in front, a peer on loopback is the proxy.
    let proxied = app.policy.load().guard.has_proxies();
    if !proxied && is_from_here(conn.client(), headers) && cors::is_same_origin(headers) {
        return Ok(Operator { name: "this machine".into(), remote: conn.client() });
    }
    let sentence = "there are no operators' tokens, so that only this machine may ask, as localhost and from \
                    no other page; see http.operator_tokens";
    Err(Problem::new(StatusCode::FORBIDDEN, "loopback_only", sentence))
}

/// The same where a token is needed wherever one comes from.
pub(super) fn check_token(
    app: &App,
    conn: &Conn,
    headers: &HeaderMap,
    role: Role,
) -> Result<Operator, Problem> {
    // Who has the right token is never kept waiting for those who guess.
    match app.operators.by_headers(headers) {
        Some((has, name)) if has >= role => Ok(Operator { name, remote: conn.client() }),
        Some((has, name)) => {
            let sentence =
                format!("the token of {name} may {has} and this wants one that may {role}");
            Err(Problem::new(StatusCode::FORBIDDEN, "role_forbidden", sentence))
        }
        None => Err(refuse(app, conn.client())),
    }
}

/// Asked by a program of this machine, as localhost, with no proxy between that says so. One that passes a
/// foreign request on without a word cannot be told from it: see docs/security.md.
pub(super) fn is_from_here(remote: IpAddr, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    remote.to_canonical().is_loopback()
        && config::is_loopback_authority(text(header::HOST))
        && !PROXIED.iter().any(|name| headers.contains_key(*name))
}

fn refuse(app: &App, remote: IpAddr) -> Problem {
    let now = Instant::now();
    if let Err(seconds) = app.throttle.check_guess(remote, GUESSER, now) {
        let sentence = format!("too many tries; try again in {seconds} s");
        return Problem {
            retry_after: Some(seconds),
            ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_tries", sentence)
        };
    }
    app.throttle.handle_guess(remote, GUESSER, now);
    let sentence = "this wants `Authorization: Bearer` and the token of an operator, whose SHA-256 is in \
        http.operator_tokens";
    Problem::new(StatusCode::UNAUTHORIZED, OPERATOR_UNKNOWN, sentence)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn may(remote: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let headers = headers.collect();
        is_from_here(remote.parse().unwrap(), &headers) && cors::is_same_origin(&headers)
    }

    #[test]
    fn this_machine_and_what_only_seems_to_be() {
        let here = ("host", "localhost:8086");
        assert!(may("127.0.0.1", &[here]));
        assert!(may("::ffff:127.0.0.1", &[here]));
        assert!(may("::1", &[("host", "[::1]:8086")]));
        assert!(may("127.0.0.1", &[here, ("origin", "http://localhost:8086")]));
        assert!(may("127.0.0.1", &[here, ("sec-fetch-site", "same-origin")]));
        assert!(may("127.0.0.1", &[here, ("sec-fetch-site", "none")]), "typed in");

        assert!(!may("192.0.2.1", &[here]));
        assert!(!may("127.0.0.1", &[]));
        assert!(!may("127.0.0.1", &[("host", "evil.example:8086")]), "DNS rebinding");
        let rebound = [("host", "evil.example"), ("origin", "http://evil.example")];
        assert!(!may("127.0.0.1", &rebound));
        assert!(
            !may("127.0.0.1", &[here, ("origin", "http://localhost:3000")]),
            "another program's"
        );
        assert!(!may("127.0.0.1", &[here, ("origin", "null")]));
        assert!(!may("127.0.0.1", &[here, ("sec-fetch-site", "cross-site")]), "an image, a link");
        assert!(!may("127.0.0.1", &[here, ("x-forwarded-for", "127.0.0.1")]), "a proxy");
    }
}
