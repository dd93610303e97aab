//! Who asks (RFC 8489 9.2, RFC 8656 5), and what those are told that have not proven it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac as _};
use rtc_stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use sha1::Sha1;

use super::credentials::Key;
use super::message::{Answer, Code, Stun};
use super::session::{Core, Now, Transport};
use super::stats::count;

/// RFC 8656 5 wants a new one every hour at least.
const NONCE_LIFE: Duration = Duration::from_secs(3600);

/// Nonces say when they were made and for whom, and are kept nowhere.
#[derive(Debug)]
pub(super) struct Nonces {
    key: [u8; 20],
    start: Instant,
}

impl Nonces {
    pub fn new(start: Instant) -> Self {
        Nonces { key: rand::random(), start }
    }

    pub fn issue(&self, client: SocketAddr, now: Instant) -> String {
        let age = now.saturating_duration_since(self.start).as_secs();
        self.at(u32::try_from(age).unwrap_or(u32::MAX), client)
    }

    pub fn is_fresh(&self, nonce: &str, client: SocketAddr, now: Instant) -> bool {
        let Some(made) = nonce.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()) else {
            return false;
        };
        // No secret is learnt from how long the comparison takes: who has one nonce may ask for more.
        let issued = self.start + Duration::from_secs(u64::from(made));
        nonce == self.at(made, client) && now.saturating_duration_since(issued) <= NONCE_LIFE
    }

    fn at(&self, seconds: u32, client: SocketAddr) -> String {
        let mut text = format!("{seconds:08x}");
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.key) else { return text };
        mac.update(format!("{seconds} {client}").as_bytes());
        let mac = mac.finalize().into_bytes();
        text.extend(mac.iter().take(8).map(|byte| format!("{byte:02x}")));
        text
    }
}

/// Who has proven to be whom.
pub(super) struct Proven {
    pub username: String,
    /// Allocations are counted by it.
    pub name: String,
    pub key: Key,
}

/// A request that goes no further.
pub(super) enum Refusal {
    Answer(Vec<u8>),
    /// Too many of these were answered already.
    Silence,
}

impl Core {
    /// `held` is whom the client's allocation belongs to: it goes on when its credentials have run out,
    /// as the call does.
    pub(super) fn authenticate(
        &self,
        request: &mut Stun,
        from: (Transport, SocketAddr),
        held: Option<(&str, &Key)>,
        now: Now,
    ) -> Result<Proven, Refusal> {
        if !request.is_signed() {
            return Err(self.challenge(request, Code::Unauthenticated, from, now));
        }
        let texts =
            (request.text(ATTR_USERNAME), request.text(ATTR_REALM), request.text(ATTR_NONCE));
        let (Some(username), Some(realm), Some(nonce)) = texts else {
            let refusal = Answer::error(request, Code::BadRequest);
            return Err(self.unproven(refusal, from, now));
        };
        if !self.nonces.is_fresh(nonce, from.1, now.at) {
            return Err(self.challenge(request, Code::StaleNonce, from, now));
        }
        let known = realm == self.authority.realm();
        let username = username.to_owned();
        let user = match held {
            Some((holder, key)) if holder == username => {
                Some(Proven { name: String::new(), key: key.clone(), username })
            }
            _ => {
                self.authority.user(&username).filter(|user| user.expires > now.unix).map(|user| {
                    Proven { name: user.name.to_owned(), key: user.key, username: username.clone() }
                })
            }
        };
        match user.filter(|_| known).filter(|user| request.verify(&user.key, self.crypto.crypto()))
        {
            Some(user) => Ok(user),
            None => {
                count(&self.counters.unauthenticated);
                Err(self.challenge(request, Code::Unauthenticated, from, now))
            }
        }
    }

    fn challenge(
        &self,
        request: &Stun,
        code: Code,
        from: (Transport, SocketAddr),
        now: Now,
    ) -> Refusal {
        count(&self.counters.challenged);
        let nonce = self.nonces.issue(from.1, now.at);
        let answer = Answer::error(request, code).challenge(self.authority.realm(), &nonce);
        self.unproven(answer, from, now)
    }

    /// An answer to somebody who may not be where the datagram says.
    pub(super) fn unproven(
        &self,
        answer: Answer,
        (transport, client): (Transport, SocketAddr),
        now: Now,
    ) -> Refusal {
        let forged = transport == Transport::Datagram;
        if forged && !self.challenges.may_answer(client.ip(), now.at) {
            return Refusal::Silence;
        }
        Refusal::Answer(answer.finish(None, self.crypto.crypto()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_an_hour_and_for_one_client() {
        let start = Instant::now();
        let nonces = Nonces::new(start);
        let (here, there) = ("192.0.2.1:5".parse().unwrap(), "192.0.2.1:6".parse().unwrap());
        let nonce = nonces.issue(here, start);
        assert!(nonces.is_fresh(&nonce, here, start + NONCE_LIFE));
        assert!(!nonces.is_fresh(&nonce, here, start + NONCE_LIFE + Duration::from_secs(1)));
        assert!(!nonces.is_fresh(&nonce, there, start));
        let other = Nonces::new(start);
        assert!(!other.is_fresh(&nonce, here, start));
        for bad in ["", "0", "zzzzzzzz", "\u{fc}\u{fc}\u{fc}\u{fc}\u{fc}", "000000000000"] {
            assert!(!nonces.is_fresh(bad, here, start), "{bad}");
        }
    }
}
