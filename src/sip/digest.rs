//! Digest authentication, both sides (RFC 7616, RFC 2617 for old peers, RFC 3261 22, RFC 8760).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512_256};

use super::message::{quote, split_outside, unquote};
use super::types::Credentials;

/// Hash algorithms, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    Md5,
    Sha256,
    Sha512_256,
}

impl Hash {
    fn name(self) -> &'static str {
        match self {
            Hash::Md5 => "MD5",
            Hash::Sha256 => "SHA-256",
            Hash::Sha512_256 => "SHA-512-256",
        }
    }

    fn hex(self, text: &str) -> String {
        fn hex(bytes: impl AsRef<[u8]>) -> String {
            bytes.as_ref().iter().fold(String::new(), |mut out, byte| {
                let _ = write!(out, "{byte:02x}");
                out
            })
        }
        match self {
            Hash::Md5 => hex(Md5::digest(text)),
            Hash::Sha256 => hex(Sha256::digest(text)),
            Hash::Sha512_256 => hex(Sha512_256::digest(text)),
        }
    }
}

/// `algorithm=`: a hash, with `-sess` or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Algorithm {
    pub hash: Hash,
    pub session: bool,
}

impl Algorithm {
    pub const MD5: Algorithm = Algorithm { hash: Hash::Md5, session: false };
    pub const SHA256: Algorithm = Algorithm { hash: Hash::Sha256, session: false };

    fn parse(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let (hash, session) = match upper.strip_suffix("-SESS") {
            Some(hash) => (hash, true),
            None => (upper.as_str(), false),
        };
        let hash = match hash {
            "MD5" => Hash::Md5,
            "SHA-256" => Hash::Sha256,
            "SHA-512-256" => Hash::Sha512_256,
            _ => return None,
        };
        Some(Self { hash, session })
    }

    fn name(self) -> String {
        format!("{}{}", self.hash.name(), if self.session { "-sess" } else { "" })
    }
}

/// One challenge we can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    /// As it was written, to be repeated. None when the challenge named no algorithm.
    algorithm_as_written: Option<String>,
    /// The server takes `qop=auth`. Without any qop it is an RFC 2069 peer.
    pub qop_auth: bool,
    pub stale: bool,
}

impl Challenge {
    /// The challenges of one header line that we can answer, in its order. Unknown schemes and
    /// algorithms, `qop` without `auth`, and what lacks realm or nonce are passed over.
    pub fn parse_all(line: &str) -> Vec<Challenge> {
        schemes(line).iter().filter_map(Challenge::from_params).collect()
    }

    fn from_params((scheme, params): &(String, Params)) -> Option<Challenge> {
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let algorithm_as_written = params.get("algorithm").map(str::to_owned);
        let algorithm = match &algorithm_as_written {
            Some(name) => Algorithm::parse(name)?,
            None => Algorithm::MD5,
        };
        let qop_auth = match params.get("qop") {
            Some(list) => {
                let auth = list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth"));
                // auth-int alone: we do not do it.
                auth.then_some(true)?
            }
            None => false,
        };
        Some(Challenge {
            realm: params.get("realm")?.to_owned(),
            nonce: params.get("nonce")?.to_owned(),
            opaque: params.get("opaque").map(str::to_owned),
            algorithm,
            algorithm_as_written,
            qop_auth,
            stale: params.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The value of Authorization or Proxy-Authorization. `count` is how often this nonce has been
    /// used, from 1 on.
    pub fn answer(
        &self,
        credentials: &Credentials,
        method: &str,
        uri: &str,
        count: u32,
        cnonce: &str,
    ) -> String {
        let input = Input {
            algorithm: self.algorithm,
            username: &credentials.username,
            realm: &self.realm,
            password: credentials.password.expose(),
            method,
            uri,
            nonce: &self.nonce,
            qop: self.qop_auth.then_some(Qop { count, cnonce }),
            session_cnonce: cnonce,
        };
        let mut out = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\"",
            quote(&credentials.username),
            quote(&self.realm),
            quote(&self.nonce),
            quote(uri),
            input.response(),
        );
        if let Some(name) = &self.algorithm_as_written {
            let _ = write!(out, ", algorithm={name}");
        }
        if self.qop_auth {
            let _ = write!(out, ", qop=auth, nc={count:08x}");
        }
        if self.qop_auth || self.algorithm.session {
            let _ = write!(out, ", cnonce={}", quote(cnonce));
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(out, ", opaque={}", quote(opaque));
        }
        out
    }
}

/// The challenge to answer among several of one realm: the strongest.
pub fn strongest(challenges: impl IntoIterator<Item = Challenge>) -> Option<Challenge> {
    // max_by_key takes the last of equals; the server's first is its preference.
    challenges.into_iter().fold(None, |best: Option<Challenge>, next| match best {
        Some(best) if best.algorithm >= next.algorithm => Some(best),
        _ => Some(next),
    })
}

struct Qop<'a> {
    count: u32,
    cnonce: &'a str,
}

struct Input<'a> {
    algorithm: Algorithm,
    username: &'a str,
    realm: &'a str,
    password: &'a str,
    method: &'a str,
    uri: &'a str,
    nonce: &'a str,
    qop: Option<Qop<'a>>,
    session_cnonce: &'a str,
}

impl Input<'_> {
    /// RFC 7616 3.4.1.
    fn response(&self) -> String {
        let hash = self.algorithm.hash;
        let mut a1 = hash.hex(&format!("{}:{}:{}", self.username, self.realm, self.password));
        if self.algorithm.session {
            a1 = hash.hex(&format!("{a1}:{}:{}", self.nonce, self.session_cnonce));
        }
        let a2 = hash.hex(&format!("{}:{}", self.method, self.uri));
        match &self.qop {
            Some(qop) => {
                hash.hex(&format!("{a1}:{}:{:08x}:{}:auth:{a2}", self.nonce, qop.count, qop.cnonce))
            }
            None => hash.hex(&format!("{a1}:{}:{a2}", self.nonce)),
        }
    }
}

/// `key=value` pairs of one scheme, unquoted, keys in lower case.
#[derive(Debug, Default)]
struct Params(Vec<(String, String)>);

impl Params {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// Splits `Digest a=b, c="d", Digest e=f` into its schemes. A piece with a word before its key
/// starts a new one.
fn schemes(line: &str) -> Vec<(String, Params)> {
    let mut out: Vec<(String, Params)> = Vec::new();
    for piece in split_outside(line, ',') {
        let (left, value) = match piece.split_once('=') {
            Some((left, value)) => (left.trim(), value.trim()),
            None => (piece, ""),
        };
        let key = match left.split_once(char::is_whitespace) {
            Some((scheme, key)) => {
                out.push((scheme.to_owned(), Params::default()));
                key.trim()
            }
            None => left,
        };
        let value = match value.strip_prefix('"') {
            Some(inner) => unquote(inner.strip_suffix('"').unwrap_or(inner)),
            None => value.to_owned(),
        };
        if let Some((_, params)) = out.last_mut() {
            params.0.push((key.to_ascii_lowercase(), value));
        }
    }
    out
}

/// What a server made of an Authorization header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Granted,
    /// Right password, but the nonce has expired or its count did not rise: challenge with `stale`.
    Stale,
    /// Not ours, malformed, or the wrong password.
    Refused,
}

/// The server's side: makes nonces and checks answers. For the lab's registrar, and for tests.
///
/// Nonces carry nothing; the verifier remembers them, at most [`Verifier::NONCES`].
#[derive(Debug)]
pub struct Verifier {
    realm: String,
    algorithms: Vec<Algorithm>,
    lifetime: Duration,
    nonces: Vec<Nonce>,
}

#[derive(Debug)]
struct Nonce {
    value: String,
    made: Instant,
    count: u32,
}

impl Verifier {
    /// Nonces remembered at a time; the oldest goes first and its holder is told `stale`.
    pub const NONCES: usize = 1024;

    /// Challenges with every one of `algorithms`, in that order.
    pub fn new(realm: &str, algorithms: Vec<Algorithm>, lifetime: Duration) -> Self {
        Self { realm: realm.to_owned(), algorithms, lifetime, nonces: Vec::new() }
    }

    /// Values for as many WWW-Authenticate (or Proxy-Authenticate) headers. `nonce` must be fresh
    /// and not to be guessed.
    pub fn challenges(&mut self, nonce: &str, stale: bool, now: Instant) -> Vec<String> {
        if self.nonces.len() >= Self::NONCES {
            self.nonces.remove(0);
        }
        self.nonces.push(Nonce { value: nonce.to_owned(), made: now, count: 0 });
        self.algorithms
            .iter()
            .map(|algorithm| {
                format!(
                    "Digest realm={}, nonce={}, algorithm={}, qop=\"auth\"{}",
                    quote(&self.realm),
                    quote(nonce),
                    algorithm.name(),
                    if stale { ", stale=true" } else { "" },
                )
            })
            .collect()
    }

    /// The user name an Authorization value claims, to look its password up.
    pub fn username(authorization: &str) -> Option<String> {
        let (_, params) = schemes(authorization).into_iter().next()?;
        params.get("username").map(str::to_owned)
    }

    /// Checks an Authorization value against the password of the user it names.
    pub fn check(
        &mut self,
        authorization: &str,
        method: &str,
        password: &str,
        now: Instant,
    ) -> Verdict {
        let parsed = schemes(authorization).into_iter().next();
        let Some((scheme, params)) = parsed else { return Verdict::Refused };
        let algorithm = params.get("algorithm").map_or(Some(Algorithm::MD5), Algorithm::parse);
        let (Some(algorithm), Some(username), Some(nonce), Some(uri), Some(response)) = (
            algorithm,
            params.get("username"),
            params.get("nonce"),
            params.get("uri"),
            params.get("response"),
        ) else {
            return Verdict::Refused;
        };
        let count = params.get("nc").and_then(|nc| u32::from_str_radix(nc, 16).ok());
        let cnonce = params.get("cnonce").unwrap_or("");
        let qop = match (params.get("qop"), count) {
            (Some(qop), Some(count)) if qop.eq_ignore_ascii_case("auth") => {
                Some(Qop { count, cnonce })
            }
            (None, _) => None,
            _ => return Verdict::Refused,
        };
        let known = scheme.eq_ignore_ascii_case("Digest")
            && self.algorithms.contains(&algorithm)
            && params.get("realm") == Some(self.realm.as_str());
        let input = Input {
            algorithm,
            username,
            realm: &self.realm,
            password,
            method,
            uri,
            nonce,
            qop,
            session_cnonce: cnonce,
        };
        if !known || !input.response().eq_ignore_ascii_case(response) {
            return Verdict::Refused;
        }
        let lifetime = self.lifetime;
        self.nonces.retain(|known| now.saturating_duration_since(known.made) < lifetime);
        match self.nonces.iter_mut().find(|known| known.value == nonce) {
            Some(known) if count.is_none_or(|count| count > known.count) => {
                known.count = count.unwrap_or(known.count);
                Verdict::Granted
            }
            _ => Verdict::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn mufasa(password: &str) -> Credentials {
        Credentials { username: "Mufasa".into(), password: Secret::new(password) }
    }

    fn response(answer: &str) -> String {
        let (_, params) = schemes(answer).remove(0);
        params.get("response").unwrap().to_owned()
    }

    /// RFC 2617 3.5.
    #[test]
    fn rfc2617_vector() {
        let line = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
            nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let challenge = Challenge::parse_all(line).remove(0);
        let answer =
            challenge.answer(&mufasa("Circle Of Life"), "GET", "/dir/index.html", 1, "0a4f113b");
        assert_eq!(response(&answer), "6629fae49393a05397450978507c4ef1");
        assert!(!answer.contains("algorithm"));
    }

    /// RFC 7616 3.9.1.
    #[test]
    fn rfc7616_vectors() {
        let line = "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=MD5, \
            nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
            opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\", \
            Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
            nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
            opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";
        let challenges = Challenge::parse_all(line);
        assert_eq!(challenges.len(), 2);
        let answers: Vec<String> = challenges
            .iter()
            .map(|challenge| {
                response(&challenge.answer(
                    &mufasa("Circle of Life"),
                    "GET",
                    "/dir/index.html",
                    1,
                    "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                ))
            })
            .collect();
        assert_eq!(
            answers,
            [
                "8ca523f5e9506fed4657c9700eebdbec",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
            ]
        );
        assert_eq!(strongest(challenges).unwrap().algorithm, Algorithm::SHA256);
    }
}
