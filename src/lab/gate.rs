//! The server's side of digest authentication (RFC 7616, RFC 8760, RFC 3261 22). Pure, and written
//! apart from the user agent's side, so that one checks the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use md5::Md5;
use rsipstack::sip::{Header, Method, ProxyAuthenticate, Request, WwwAuthenticate};
use sha2::{Digest, Sha256};

use super::config::Challenge;
use crate::secret::Secret;

/// How long a nonce is good for; then the telephone is told that it is stale.
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Nonces in use whose counts are remembered: some for each DN there may be.
const MAX_NONCES: usize = 4096;

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// For a 401, or for a 407 to anything but REGISTER: no answer came, a wrong one, or a stale one.
    Challenge(Vec<Header>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex(&Md5::digest(text.as_bytes())),
            Algorithm::Sha256 => hex(&Sha256::digest(text.as_bytes())),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub struct Gate {
    realm: String,
    password: Secret,
    challenge: Challenge,
    /// What makes our nonces ours.
    key: [u8; 16],
    started: Instant,
    issued: u64,
    /// Nonces that were used: the highest count, and until when they are good.
    counts: HashMap<String, (u32, Instant)>,
}

impl Gate {
    pub fn new(realm: String, password: Secret, challenge: Challenge, now: Instant) -> Self {
        let (key, counts) = (rand::random(), HashMap::new());
        Self { realm, password, challenge, key, started: now, issued: 0, counts }
    }

    fn algorithms(&self) -> &'static [Algorithm] {
        match self.challenge {
            Challenge::None => &[],
            Challenge::Md5 => &[Algorithm::Md5],
            Challenge::Sha256 => &[Algorithm::Sha256],
            Challenge::Both => &[Algorithm::Sha256, Algorithm::Md5],
        }
    }

    /// Whether a request is really the DN's.
    pub fn check(&mut self, request: &Request, dn: &str, now: Instant) -> Verdict {
        if self.algorithms().is_empty() {
            return Verdict::Pass;
        }
        let register = request.method == Method::Register;
        let answers = request.headers.iter().filter_map(|header| match header {
            Header::Authorization(value) if register => Some(value.value()),
            Header::ProxyAuthorization(value) if !register => Some(value.value()),
            _ => None,
        });
        let Some(answer) = answers.filter_map(Answer::read).find(|a| a.realm == self.realm) else {
            return self.challenge(register, false, now);
        };
        let known = self
            .algorithms()
            .iter()
            .find(|known| known.name().eq_ignore_ascii_case(answer.algorithm.unwrap_or("MD5")));
        let right = known.is_some_and(|algorithm| {
            answer.username == dn
                && answer.response.eq_ignore_ascii_case(&answer.expected(
                    *algorithm,
                    &request.method.to_string(),
                    self.password.expose(),
                ))
        });
        if !right {
            // A wrong password is asked for again, as Asterisk and Kamailio do.
            return self.challenge(register, false, now);
        }
        if self.is_fresh(&answer, now) {
            return Verdict::Pass;
        }
        // The password was right, only the nonce is old.
        self.challenge(register, true, now)
    }

    fn challenge(&mut self, register: bool, stale: bool, now: Instant) -> Verdict {
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &Algorithm, nonce: String| {
            let (realm, name) = (self.realm.replace(['"', '\\'], ""), algorithm.name());
            let text = format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={name}, \
                 qop=\"auth\"{stale}"
            );
            match register {
                true => Header::WwwAuthenticate(WwwAuthenticate::new(text)),
                false => Header::ProxyAuthenticate(ProxyAuthenticate::new(text)),
            }
        };
        self.issued += 1;
        let nonce = self.nonce(now.saturating_duration_since(self.started), self.issued);
        let headers = self.algorithms().iter().map(|a| challenge(a, nonce.clone())).collect();
        Verdict::Challenge(headers)
    }

    /// Its time, a number that makes it unique, and a seal.
    fn nonce(&self, age: Duration, number: u64) -> String {
        let text = format!("{:x}-{number:x}", age.as_millis());
        let seal = Sha256::new().chain_update(self.key).chain_update(text.as_bytes()).finalize();
        format!("{text}-{}", hex(seal.get(..12).unwrap_or_default()))
    }

    fn is_fresh(&mut self, answer: &Answer<'_>, now: Instant) -> bool {
        let mut parts = answer.nonce.split('-').map(|part| u64::from_str_radix(part, 16));
        let (Some(Ok(millis)), Some(Ok(number))) = (parts.next(), parts.next()) else {
            return false;
        };
        let issued = Duration::from_millis(millis);
        let Some(until) = self.started.checked_add(issued + NONCE_LIFE) else { return false };
        if self.nonce(issued, number) != answer.nonce || until <= now {
            return false;
        }
        let Some(count) = answer.count else { return true };
        // Each count once, so that nobody can say it again (RFC 7616 3.4).
        if self.counts.len() >= MAX_NONCES {
            self.counts.retain(|_, (_, until)| *until > now);
        }
        if self.counts.len() >= MAX_NONCES {
            return false;
        }
        let last = &mut self.counts.entry(answer.nonce.to_owned()).or_insert((0, until)).0;
        let newer = count > *last;
        *last = count.max(*last);
        newer
    }
}

/// What a telephone says to a challenge.
struct Answer<'a> {
    username: String,
    realm: String,
    nonce: &'a str,
    uri: &'a str,
    response: &'a str,
    algorithm: Option<&'a str>,
    qop: Option<&'a str>,
    nc: &'a str,
    count: Option<u32>,
    cnonce: &'a str,
}

impl<'a> Answer<'a> {
    fn read(value: &'a str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let parameters = parameters(rest);
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| *value)
        };
        let qop = get("qop");
        let nc = get("nc").unwrap_or_default();
        let count = match qop {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                Some(u32::from_str_radix(nc, 16).ok()?)
            }
            Some(_) => return None,
            None => None,
        };
        Some(Self {
            username: unescape(get("username")?),
            realm: unescape(get("realm")?),
            nonce: get("nonce")?,
            uri: get("uri")?,
            response: get("response")?,
            algorithm: get("algorithm"),
            qop,
            nc,
            count,
            cnonce: get("cnonce").unwrap_or_default(),
        })
    }

    fn expected(&self, algorithm: Algorithm, method: &str, password: &str) -> String {
        let a1 = algorithm.hash(&format!("{}:{}:{password}", self.username, self.realm));
        let a2 = algorithm.hash(&format!("{method}:{}", self.uri));
        let Answer { nonce, nc, cnonce, .. } = self;
        algorithm.hash(&match self.qop {
            Some(qop) => format!("{a1}:{nonce}:{nc}:{cnonce}:{qop}:{a2}"),
            None => format!("{a1}:{nonce}:{a2}"),
        })
    }
}

/// `name=value` and `name="value"`, between commas; quoted values are as they stand.
fn parameters(mut rest: &str) -> Vec<(&str, &str)> {
    let mut parameters = Vec::new();
    // More than a digest has is not looked at.
    while let (Some((name, after)), true) = (rest.split_once('='), parameters.len() < 32) {
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.find(|c: char| {
                    let end = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    end
                });
                let Some(end) = end else { return parameters };
                (&quoted[..end], &quoted[end + 1..])
            }
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim_end(), &after[end..])
            }
        };
        parameters.push((name.trim_matches([',', ' ', '\t']), value));
        rest = next;
    }
    parameters
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        out.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, header: &str) -> Request {
        let text = format!(
            "{method} sip:lab SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:5001@lab>;tag=1\r\n\
             To: <sip:5001@lab>\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\n{header}\r\n"
        );
        Request::try_from(text.as_str()).unwrap()
    }

    fn gate(challenge: Challenge, now: Instant) -> Gate {
        Gate::new("lab".into(), Secret::new("pass:wo\"rd"), challenge, now)
    }

    fn nonce(verdict: &Verdict) -> String {
        let Verdict::Challenge(headers) = verdict else { panic!("{verdict:?}") };
        headers[0].to_string().split("nonce=\"").nth(1).unwrap().split('"').next().unwrap().into()
    }

    fn answer(algorithm: Algorithm, user: &str, password: &str, nonce: &str, nc: u32) -> Request {
        let a1 = algorithm.hash(&format!("{user}:lab:{password}"));
        let a2 = algorithm.hash("REGISTER:sip:lab");
        let response = algorithm.hash(&format!("{a1}:{nonce}:{nc:08x}:c,n:auth:{a2}"));
        let name = algorithm.name();
        let header = format!(
            "Authorization: Digest username=\"{user}\",realm=\"lab\", nonce=\"{nonce}\", uri=\"sip:lab\",\
             response=\"{response}\", algorithm={name},qop=auth, nc={nc:08x}, cnonce=\"c,n\"\r\n"
        );
        request("REGISTER", &header)
    }

    #[test]
    fn the_examples_of_rfc_7616_come_out() {
        // Section 3.9.1.
        for (algorithm, response) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\"",
                algorithm.name()
            );
            let read = Answer::read(&value).unwrap();
            assert_eq!(read.expected(algorithm, "GET", "Circle of Life"), response);
        }
    }

    #[test]
    fn the_right_password_passes_with_either_algorithm() {
        let now = Instant::now();
        let mut gate = gate(Challenge::Both, now);
        let challenge = gate.check(&request("REGISTER", ""), "5001", now);
        let nonce = nonce(&challenge);
        let Verdict::Challenge(headers) = challenge else { unreachable!() };
        assert_eq!(headers.len(), 2);
        for (count, algorithm) in [(1, Algorithm::Md5), (2, Algorithm::Sha256)] {
            let right = answer(algorithm, "5001", "pass:wo\"rd", &nonce, count);
            assert_eq!(gate.check(&right, "5001", now), Verdict::Pass);
            // The same again is somebody else's copy.
            assert!(matches!(gate.check(&right, "5001", now), Verdict::Challenge(_)));
            // And it is nobody else's pass.
            assert!(asked_again(gate.check(&right, "5002", now)));
        }
        let wrong = answer(Algorithm::Md5, "5001", "else", &nonce, 9);
        assert!(asked_again(gate.check(&wrong, "5001", now)));
    }

    /// Refused: a challenge that does not call the nonce stale.
    fn asked_again(verdict: Verdict) -> bool {
        let Verdict::Challenge(headers) = verdict else { return false };
        headers.iter().all(|header| !header.to_string().contains("stale"))
    }

    #[test]
    fn an_old_nonce_is_stale_and_a_strange_one_too() {
        let now = Instant::now();
        let mut gate = gate(Challenge::Md5, now);
        let nonce = nonce(&gate.check(&request("REGISTER", ""), "5001", now));
        let right = answer(Algorithm::Md5, "5001", "pass:wo\"rd", &nonce, 1);
        for (request, at) in [
            (right, now + NONCE_LIFE),
            (answer(Algorithm::Md5, "5001", "pass:wo\"rd", "ffffffffffffffff-1-a", 1), now),
        ] {
            let Verdict::Challenge(headers) = gate.check(&request, "5001", at) else { panic!() };
            assert!(headers[0].to_string().ends_with("stale=true"));
        }
        // One that is not offered does not pass.
        let other = answer(Algorithm::Sha256, "5001", "pass:wo\"rd", &nonce, 2);
        assert!(asked_again(gate.check(&other, "5001", now)));
    }

    #[test]
    fn calls_are_challenged_as_by_a_proxy_and_trust_needs_nothing() {
        let now = Instant::now();
        let Verdict::Challenge(headers) =
            gate(Challenge::Sha256, now).check(&request("INVITE", ""), "5001", now)
        else {
            panic!()
        };
        assert!(matches!(headers[..], [Header::ProxyAuthenticate(_)]));
        let mut open = gate(Challenge::None, now);
        assert_eq!(open.check(&request("REGISTER", ""), "5001", now), Verdict::Pass);
    }

    #[test]
    fn nonsense_is_read_without_harm() {
        for text in ["", "=", "a=\"", "a=\"\\\"", "é=é,=\"é\"", ",,,a=b"] {
            parameters(text);
            Answer::read(&format!("Digest {text}"));
        }
    }
}
