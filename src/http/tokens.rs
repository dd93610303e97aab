//! One-time tokens: somebody's own portal signs its agents in without a page ever having the DN's secret.
//!
//! `POST /api/tokens` asks for one with an operator's token. It is used where the password goes, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use utoipa::ToSchema;

use super::app::{App, Shared};
use super::body;
use super::conn::Conn;
use super::faults::json::TokenFaults;
use super::operators::{self, Role};
use super::reply::{self, Problem};
use crate::secret::Secret;
use crate::wire::jsapi::check_dn;

/// What one begins with. No password looks like the whole of it by chance.
const PREFIX: &str = "once-";

/// Hexadecimal digits behind it: 128 bits.
const DIGITS: usize = 32;

/// Tokens that wait to be used: more than the agents of any gateway. Each is some 200 bytes.
const CAPACITY: usize = 10_000;

/// Seconds that one lives by default, and at most.
const DEFAULT_TTL: u64 = 60;
const MAX_TTL: u64 = 3600;

/// A password is longer nowhere.
const MAX_PASSWORD: usize = 256;

/// They are kept and compared by their hash, so that neither memory nor time tells of them.
type Hash = [u8; 32];

/// What a token is good for.
#[derive(Debug)]
struct Grant {
    hash: Hash,
    dn: String,
    password: Option<Secret>,
    expires: Instant,
}

/// A token that is being used. Unless it is spent it may be used again when this is dropped: the SIP
/// server was away, or the client has hung up before it was asked.
pub(super) struct Redemption {
    grant: Option<Grant>,
    tokens: Arc<Tokens>,
}

impl Redemption {
    pub(super) fn password(&self) -> Option<Secret> {
        self.grant.as_ref()?.password.clone()
    }

    /// It was good for what it was meant for, or is good for nothing.
    pub(super) fn spend(mut self) {
        self.grant = None;
    }
}

impl Drop for Redemption {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.tokens.give_back(grant);
        }
    }
}

pub(super) enum Redeemed {
    /// It is a password like any other.
    NoToken,
    Granted(Redemption),
    /// Used, run out, of another DN, or never given.
    Unknown,
}

#[derive(Default)]
struct Waiting {
    grants: HashMap<Hash, Grant>,
    /// A task forgets what runs out.
    sweeping: bool,
}

/// Those that wait to be used.
#[derive(Default)]
pub(super) struct Tokens {
    waiting: Mutex<Waiting>,
}

impl Tokens {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when too many wait already.
    fn issue(
        self: &Arc<Self>,
        dn: String,
        password: Option<Secret>,
        ttl: Duration,
    ) -> Option<Secret> {
        let random: [u8; DIGITS / 2] = rand::random();
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = Secret::new(format!("{PREFIX}{digits}"));
        let hash = hash(token.expose());
        let mut waiting = self.lock();
        if waiting.grants.len() >= CAPACITY {
            return None;
        }
        let expires = Instant::now() + ttl;
        self.keep(&mut waiting, Grant { hash, dn, password, expires });
        Some(token)
    }

    /// Takes what was given in a password's place.
    pub(super) fn redeem(
        self: &Arc<Self>,
        dn: &str,
        given: Option<&Secret>,
        now: Instant,
    ) -> Redeemed {
        let Some(given) = given.filter(|given| is_token(given.expose())) else {
            return Redeemed::NoToken;
        };
        let hash = hash(given.expose());
        let mut waiting = self.lock();
        match waiting.grants.get(&hash) {
            Some(grant) if grant.dn == dn && now < grant.expires => {}
            _ => return Redeemed::Unknown,
        }
        let Some(grant) = waiting.grants.remove(&hash) else { return Redeemed::Unknown };
        Redeemed::Granted(Redemption { grant: Some(grant), tokens: Arc::clone(self) })
    }

    fn give_back(self: &Arc<Self>, grant: Grant) {
        let mut waiting = self.lock();
        if waiting.grants.len() < CAPACITY {
            self.keep(&mut waiting, grant);
        }
    }

    fn keep(self: &Arc<Self>, waiting: &mut Waiting, grant: Grant) {
        waiting.grants.insert(grant.hash, grant);
        // One that is given back while the process ends needs nobody to forget it.
        if let Ok(runtime) = Handle::try_current()
            && !std::mem::replace(&mut waiting.sweeping, true)
        {
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
    }
}

/// Forgets tokens that have run out, and the secrets with them, until none waits.
async fn sweep(tokens: Weak<Tokens>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(tokens) = tokens.upgrade() else { return };
        let mut waiting = tokens.lock();
        let now = Instant::now();
        waiting.grants.retain(|_, grant| now < grant.expires);
        if waiting.grants.is_empty() {
            waiting.sweeping = false;
            return;
        }
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

/// Whether it looks like one.
pub(super) fn is_token(text: &str) -> bool {
    let digits = text.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Who is to be signed in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9_.!~*'()+$-]+$",
        example = "5001"
    )]
    dn: String,
    /// The DN's secret, where the SIP server asks for one.
    #[schema(value_type = Option<String>, format = Password, max_length = 256)]
    password: Option<Secret>,
    /// How long the token lives; 60 unless given.
    #[schema(minimum = 1, maximum = 3600)]
    ttl_seconds: Option<u64>,
}

/// A token, and until when it may be used.
#[derive(Serialize, ToSchema)]
pub(super) struct OneTimeReply<'a> {
    /// In the password's place, once.
    #[schema(value_type = String, example = "once-0123456789abcdef0123456789abcdef")]
    token: &'a str,
    /// RFC 3339.
    expires: String,
}

/// Gives a token with which a page signs in once, in the password's place. For operators.
#[utoipa::path(post, path = "/api/tokens", operation_id = "one_time_token", tag = "operation",
    request_body = TokenRequest,
    security(("operator" = [])),
    responses(
        (status = 200, description = "The token.", body = OneTimeReply<'static>),
        TokenFaults,
    ))]
pub(super) async fn create(
    State(app): Shared,
    Extension(conn): Extension<Arc<Conn>>,
    request: Request,
) -> Response {
    give(&app, &conn, request).await.unwrap_or_else(Problem::into_response)
}

async fn give(app: &App, conn: &Conn, request: Request) -> Result<Response, Problem> {
    let operator = operators::check_token(app, conn, request.headers(), Role::Act)?;
    let body = body::read_text(request.into_body()).await?;
    let bad = |sentence: String| Problem::new(StatusCode::BAD_REQUEST, "bad_request", sentence);
    // Serde's own words may quote what was sent.
    let asked: TokenRequest = serde_json::from_str(&body).map_err(|_| {
        bad("the body is to be {\"dn\":\"5001\",\"password\":\"...\",\"ttl_seconds\":60}; the last two may be left out".into())
    })?;
    check_dn(&asked.dn).map_err(|error| bad(format!("`dn`: {error}")))?;
    if asked
        .password
        .as_ref()
        .is_some_and(|password| password.expose().chars().count() > MAX_PASSWORD)
    {
        return Err(bad(format!("`password` is longer than {MAX_PASSWORD} characters")));
    }
    let ttl = asked.ttl_seconds.unwrap_or(DEFAULT_TTL);
    if !(1..=MAX_TTL).contains(&ttl) {
        return Err(bad(format!("`ttl_seconds` is 1 to {MAX_TTL}")));
    }
    let ttl = Duration::from_secs(ttl);
    operator.record("gave a one-time token", &asked.dn);
    let token = app.tokens.issue(asked.dn, asked.password, ttl).ok_or_else(|| {
        let sentence = format!("{CAPACITY} tokens wait to be used; there is no room for more");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "full", sentence)
    })?;
    let expires = reply::rfc3339(SystemTime::now() + ttl);
    Ok(reply::json(StatusCode::OK, &OneTimeReply { token: token.expose(), expires }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bounded_and_forgotten() {
        let tokens = Arc::new(Tokens::default());
        for _ in 0..CAPACITY {
            let secret = Some(Secret::new("secret"));
            assert!(tokens.issue("5001".into(), secret, Duration::ZERO).is_some());
        }
        assert!(tokens.issue("5001".into(), None, Duration::ZERO).is_none());
        for _ in 0..600 {
            if tokens.lock().grants.is_empty() {
                assert!(tokens.issue("5001".into(), None, Duration::ZERO).is_some());
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the secrets are still there");
    }

    #[tokio::test]
    async fn for_one_dn_once_and_not_after_its_time() {
        let tokens = Arc::new(Tokens::default());
        let minute = Duration::from_secs(60);
        let now = Instant::now();
        let token = tokens.issue("5001".into(), Some(Secret::new("secret")), minute).unwrap();
        let other = tokens.redeem("5002", Some(&token), now);
        assert!(matches!(other, Redeemed::Unknown));
        let late = tokens.redeem("5001", Some(&token), now + 2 * minute);
        assert!(matches!(late, Redeemed::Unknown));
        let redeem = || match tokens.redeem("5001", Some(&token), now) {
            Redeemed::Granted(redemption) => Some(redemption),
            Redeemed::NoToken | Redeemed::Unknown => None,
        };
        let redemption = redeem().unwrap();
        assert_eq!(redemption.password().unwrap().expose(), "secret");
        assert!(redeem().is_none());
        drop(redemption);
        redeem().unwrap().spend();
        assert!(redeem().is_none());
        let password = Secret::new("once-upon a time");
        assert!(matches!(tokens.redeem("5001", Some(&password), now), Redeemed::NoToken));
    }
}
