//! One-time tokens: somebody's own portal signs its agents in without a page ever having the DN's secret.
//!
//! `POST /api/tokens` asks for one with an operator's token. It is used where the password goes, once. It is
//! signed and kept nowhere; what is kept is which ones were used here.

mod signed;
mod used;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{App, Shared};
use super::body;
use super::conn::Conn;
use super::faults::json::TokenFaults;
use super::operators::{self, Role};
use super::reply::{self, Problem};
use crate::config::TokenKeys;
use crate::secret::Secret;
use crate::wire::jsapi::check_dn;

pub(super) use signed::is_token;
use signed::{Keys, Nonce};
use used::{Taken, Used};

/// Seconds that one lives by default, and at most.
const DEFAULT_TTL: u64 = 60;
const MAX_TTL: u64 = 3600;

/// Clocks of two gateways may be apart: a token that lives longer than any was signed by a clock that is
/// wrong, or before ours was set back, and who used it then is forgotten.
const SKEW: Duration = Duration::from_secs(60);

/// A password is longer nowhere.
const MAX_PASSWORD: usize = 256;

/// A token that is being used. Unless it is spent it may be used again when this is dropped: the SIP
/// server was away, or the client has hung up before it was asked.
pub(super) struct Redemption {
    nonce: Option<Nonce>,
    password: Option<Secret>,
    tokens: Arc<Tokens>,
}

impl Redemption {
    pub(super) fn password(&self) -> Option<Secret> {
        self.password.clone()
    }

    /// It was good for what it was meant for, or is good for nothing.
    pub(super) fn spend(mut self) {
        self.nonce = None;
    }
}

impl Drop for Redemption {
    fn drop(&mut self) {
        if let Some(nonce) = self.nonce.take() {
            self.tokens.used().give_back(&nonce);
        }
    }
}

pub(super) enum Redeemed {
    /// It is a password like any other.
    NoToken,
    Granted(Redemption),
    /// Never given here or for another DN, run out, or used: why, for the log.
    Unknown(&'static str),
    /// So many were used of late that one more could not be remembered.
    Full,
}

struct Ring {
    keys: Keys,
    /// Of the file; `None`: the key is a random one of this process's.
    known: Option<Vec<Secret>>,
}

pub(super) struct Tokens {
    ring: ArcSwap<Ring>,
    used: Mutex<Used>,
    started: (Instant, SystemTime),
}

impl Tokens {
    pub(super) fn new(config: &TokenKeys, started: (Instant, SystemTime)) -> Self {
        let ring = ArcSwap::from_pointee(Ring::new(&config.keys));
        Self { ring, used: Mutex::default(), started }
    }

    /// Whether these are others than before. What was signed with those that are gone is good no more.
    pub(super) fn set_keys(&self, keys: &[Secret]) -> bool {
        let same = match &self.ring.load().known {
            Some(known) => known == keys,
            None => keys.is_empty(),
        };
        if !same {
            self.ring.store(Arc::new(Ring::new(keys)));
        }
        !same
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unix milliseconds. Gateways with the same key have only the clock on the wall in common; what one
    /// process has signed for itself no clock that is set can harm.
    fn clock(&self, ring: &Ring, now: Instant, wall: SystemTime) -> u64 {
        let (at, wall_then) = self.started;
        let time = match ring.known {
            Some(_) => wall,
            None => wall_then + now.saturating_duration_since(at),
        };
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// `None`: the password is too long.
    fn issue(
        &self,
        dn: &str,
        password: Option<&Secret>,
        ttl: Duration,
        (now, wall): (Instant, SystemTime),
    ) -> Option<Secret> {
        let ring = self.ring.load();
        let expires = self.clock(&ring, now, wall).saturating_add(millis(ttl));
        ring.keys.issue(dn, password, expires)
    }

    /// Takes what was given in a password's place.
    pub(super) fn redeem(
        self: &Arc<Self>,
        dn: &str,
        given: Option<&Secret>,
        (now, wall): (Instant, SystemTime),
    ) -> Redeemed {
        let Some(given) = given.filter(|given| is_token(given.expose())) else {
            return Redeemed::NoToken;
        };
        let ring = self.ring.load();
        let Some(opened) = ring.keys.open(dn, given.expose()) else {
            return Redeemed::Unknown("not signed by a key of ours for this DN");
        };
        let left = opened.expires.saturating_sub(self.clock(&ring, now, wall));
        if left == 0 {
            return Redeemed::Unknown("it has run out");
        }
        if left > MAX_TTL * 1000 + millis(SKEW) {
            return Redeemed::Unknown("it would live longer than any: some clock is wrong");
        }
        // The clock on the wall may step back: whatever it says then, the token is not good again.
        let until = match ring.known {
            Some(_) => now + Duration::from_secs(MAX_TTL) + SKEW,
            None => now + Duration::from_millis(left),
        };
        match self.used().take(opened.nonce, until, now) {
            Taken::Now => Redeemed::Granted(Redemption {
                nonce: Some(opened.nonce),
                password: opened.password,
                tokens: Arc::clone(self),
            }),
            Taken::Before => Redeemed::Unknown("it was used"),
            Taken::Full => Redeemed::Full,
        }
    }
}

impl Ring {
    fn new(keys: &[Secret]) -> Self {
        if keys.is_empty() {
            return Self { keys: Keys::random(), known: None };
        }
        let bytes = keys.iter().map(|key| key.expose().as_bytes());
        Self { keys: Keys::new(bytes), known: Some(keys.to_vec()) }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
    #[schema(value_type = String, example = "once-AAABmrd1JACFvm0x5rYF8mUO1mBv4bLZ6Yq1oOq0vXWb2cJ8kJ0s1YpQ8e3V5nXwG7tHkL2dF4Q")]
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
    let now = (Instant::now(), SystemTime::now());
    let token = app.tokens.issue(&asked.dn, asked.password.as_ref(), ttl, now);
    let token = token.ok_or_else(|| bad("`password` is too long".into()))?;
    let expires = reply::rfc3339(now.1 + ttl);
    Ok(reply::json(StatusCode::OK, &OneTimeReply { token: token.expose(), expires }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn redeem(
        tokens: &Arc<Tokens>,
        dn: &str,
        token: &Secret,
        now: (Instant, SystemTime),
    ) -> String {
        match tokens.redeem(dn, Some(token), now) {
            Redeemed::Granted(redemption) => {
                let password = redemption.password();
                redemption.spend();
                password.map_or("granted".into(), |password| password.expose().to_owned())
            }
            Redeemed::NoToken => "no token".into(),
            Redeemed::Unknown(why) => why.into(),
            Redeemed::Full => "full".into(),
        }
    }

    fn keyed(key: &str) -> TokenKeys {
        TokenKeys { file: None, keys: vec![Secret::new(key)] }
    }

    #[test]
    fn for_one_dn_once_and_not_after_its_time() {
        let now = (Instant::now(), SystemTime::now());
        let tokens = Arc::new(Tokens::new(&TokenKeys::default(), now));
        let token = tokens.issue("5001", Some(&Secret::new("secret")), MINUTE, now).unwrap();
        let strange = "not signed by a key of ours for this DN";
        assert_eq!(redeem(&tokens, "5002", &token, now), strange);
        let late = (now.0 + MINUTE, now.1);
        assert_eq!(redeem(&tokens, "5001", &token, late), "it has run out");
        let Redeemed::Granted(unspent) = tokens.redeem("5001", Some(&token), now) else { panic!() };
        assert_eq!(redeem(&tokens, "5001", &token, now), "it was used");
        drop(unspent);
        assert_eq!(redeem(&tokens, "5001", &token, now), "secret");
        assert_eq!(redeem(&tokens, "5001", &token, now), "it was used");
        assert_eq!(redeem(&tokens, "5001", &Secret::new("once-upon a time"), now), "no token");
    }

    #[test]
    fn a_clock_that_is_set_harms_no_token_of_this_process() {
        let now = (Instant::now(), SystemTime::now());
        let tokens = Arc::new(Tokens::new(&TokenKeys::default(), now));
        let years = MINUTE * 60 * 24 * 365 * 40;
        for wall in [now.1 + years, now.1 - years, UNIX_EPOCH] {
            let token = tokens.issue("5001", None, MINUTE, now).unwrap();
            assert_eq!(redeem(&tokens, "5001", &token, (now.0, wall)), "granted");
        }
    }

    #[test]
    fn a_clock_that_steps_back_makes_no_used_token_good_again() {
        let now = (Instant::now(), SystemTime::now());
        let tokens = Arc::new(Tokens::new(&keyed("0123456789abcdefghijklmnopqrstuvw"), now));
        let token = tokens.issue("5001", None, MINUTE, now).unwrap();
        assert_eq!(redeem(&tokens, "5001", &token, now), "granted");
        let late = (now.0 + 2 * MINUTE, now.1 + 2 * MINUTE);
        assert_eq!(redeem(&tokens, "5001", &token, late), "it has run out");
        // So many that those whose time is over are looked for.
        for _ in 0..1100 {
            let other = tokens.issue("5001", None, MINUTE, late).unwrap();
            assert_eq!(redeem(&tokens, "5001", &other, late), "granted");
        }
        assert_eq!(redeem(&tokens, "5001", &token, (late.0, now.1)), "it was used");
    }

    /// Once at each: what one has seen the other does not know.
    #[test]
    fn good_at_every_gateway_with_the_key_and_after_a_restart() {
        let wall = SystemTime::now();
        let here = (Instant::now(), wall);
        let there = (here.0 + MINUTE, wall);
        let key = "0123456789abcdef0123456789abcdef";
        let one = Arc::new(Tokens::new(&keyed(key), here));
        let other = Arc::new(Tokens::new(&keyed(key), there));
        let token = one.issue("5001", Some(&Secret::new("secret")), MINUTE, here).unwrap();
        for tokens in [&one, &other] {
            assert_eq!(redeem(tokens, "5001", &token, there), "secret");
            assert_eq!(redeem(tokens, "5001", &token, there), "it was used");
        }
        let late = (here.0, wall + MINUTE);
        assert_eq!(redeem(&other, "5001", &token, late), "it has run out");
        let set_back = (here.0, wall - 2 * MINUTE * 60);
        assert!(redeem(&other, "5001", &token, set_back).contains("clock"), "it was forgotten");
    }

    /// The new one is put before the old one, and the old one taken away later.
    #[test]
    fn keys_are_changed_without_a_token_being_lost() {
        let now = (Instant::now(), SystemTime::now());
        let (old, new) = (Secret::new("o".repeat(32)), Secret::new("n".repeat(32)));
        let tokens = Arc::new(Tokens::new(&keyed(old.expose()), now));
        let issue = || tokens.issue("5001", None, MINUTE, now).unwrap();
        let (first, second) = (issue(), issue());
        assert!(!tokens.set_keys(std::slice::from_ref(&old)));
        assert!(tokens.set_keys(&[new.clone(), old]));
        assert_eq!(redeem(&tokens, "5001", &first, now), "granted");
        let third = issue();
        assert!(tokens.set_keys(&[new]));
        assert_eq!(redeem(&tokens, "5001", &third, now), "granted");
        assert_ne!(redeem(&tokens, "5001", &second, now), "granted");
        assert!(tokens.set_keys(&[]) && !tokens.set_keys(&[]), "a random one stays");
    }
}
