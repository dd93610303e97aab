//! Time-limited credentials: the user name says until when, the password is its MAC
//! (draft-uberti-behave-turn-rest-00, which coturn calls `use-auth-secret`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac as _};
use md5::{Digest as _, Md5};
use sha1::Sha1;

use crate::secret::Secret;

/// Makes and checks credentials.
#[derive(Debug, Clone)]
pub struct Authority {
    secret: Secret,
    realm: String,
}

/// What a browser is given.
#[derive(Debug, Clone)]
pub struct Issued {
    pub username: String,
    pub credential: Secret,
}

/// A user name that was taken apart, and the key that goes with it.
pub(super) struct User<'a> {
    /// Unix time from which on it opens nothing any more.
    pub expires: u64,
    /// What stands behind the time, or all of it where nothing does: allocations are counted by it.
    pub name: &'a str,
    /// The key of MESSAGE-INTEGRITY (RFC 8489 9.2.2).
    pub key: Key,
}

/// Not shown by `Debug`, as it is as good as the password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(pub [u8; 16]);

impl Authority {
    pub fn new(secret: Secret, realm: impl Into<String>) -> Self {
        Authority { secret, realm: realm.into() }
    }

    /// With a secret that nobody else knows: 256 random bits.
    pub fn random(realm: impl Into<String>) -> Self {
        let secret = (0..32).map(|_| format!("{:02x}", rand::random::<u8>())).collect::<String>();
        Self::new(Secret::new(secret), realm)
    }

    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Credentials that open allocations until `expires` (Unix time). `user` is not shown in them, but
    /// all of one user's are recognised as such.
    pub fn issue(&self, user: &str, expires: u64) -> Issued {
        let tag: String =
            self.mac(&["user ", user]).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let username = format!("{expires}:{tag}");
        let credential = self.password(&username);
        Issued { username, credential: Secret::new(credential) }
    }

    /// `None`: it is no user name of this kind. The password remains to be checked, with the key.
    pub(super) fn user<'a>(&self, username: &'a str) -> Option<User<'a>> {
        let (time, name) = username.split_once(':').unwrap_or((username, username));
        if time.is_empty() || !time.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let expires = time.parse().ok()?;
        Some(User {
            expires,
            name,
            key: long_term_key(username, &self.realm, &self.password(username)),
        })
    }

    fn password(&self, username: &str) -> String {
        BASE64_STANDARD.encode(self.mac(&[username]))
    }

    /// SHA-1 is what the scheme says; as a MAC it stands (RFC 6151 has the like of MD5).
    fn mac(&self, parts: &[&str]) -> Vec<u8> {
        let key = self.secret.expose().as_bytes();
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return Vec::new() };
        for part in parts {
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().to_vec()
    }
}

/// RFC 8489 9.2.2.
fn long_term_key(username: &str, realm: &str, password: &str) -> Key {
    Key(Md5::digest(format!("{username}:{realm}:{password}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> Authority {
        Authority::new(Secret::new("0123456789abcdef"), "example.org")
    }

    /// RFC 5769 2.4 (its user name in Japanese script, `\u{2068}` among it, after SASLprep).
    #[test]
    fn the_key_of_rfc_5769() {
        let user = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
        let key = long_term_key(user, "example.org", "TheMatrIX");
        let mut message =
            super::super::message::Stun::parse(super::super::message::LONG_TERM).unwrap();
        assert_eq!(message.text(rtc_stun::attributes::ATTR_USERNAME), Some(user));
        let provider = rtc_stun::crypto::default_provider().unwrap();
        assert!(message.verify(&key, provider.crypto()));
        let other = long_term_key(user, "example.org", "TheMatrix");
        assert!(!message.verify(&other, provider.crypto()));
    }

    /// As `printf 1700000000:alice | openssl dgst -sha1 -hmac 0123456789abcdef -binary | base64` has it.
    #[test]
    fn passwords_are_those_of_other_implementations() {
        assert_eq!(authority().password("1700000000:alice"), "QmpguVhgm8LJZp0MkvqhyKEkXps=");
    }

    #[test]
    fn a_user_is_recognised_and_not_named() {
        let authority = authority();
        let (one, two) = (authority.issue("5001", 100), authority.issue("5001", 200));
        assert!(!one.username.contains("5001"));
        let name = |issued: &Issued| authority.user(&issued.username).unwrap().name.to_owned();
        assert_eq!(name(&one), name(&two));
        assert_ne!(name(&one), name(&authority.issue("5002", 100)));
        assert_ne!(one.credential, two.credential);
        assert_eq!(authority.user(&two.username).unwrap().expires, 200);
        assert!(!format!("{one:?} {authority:?}").contains(one.credential.expose()));
        assert!(!format!("{authority:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn user_names_of_another_kind_are_nobodys() {
        for bad in ["", "alice", ":alice", "-5:alice", "1.5:a", "99999999999999999999999:a", "+1"] {
            assert!(authority().user(bad).is_none(), "{bad}");
        }
        assert_eq!(authority().user("1700000000").unwrap().name, "1700000000");
    }
}
