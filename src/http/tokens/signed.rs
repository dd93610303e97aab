//! What a one-time token is made of: readable by nobody, good at every gateway that has the key.
//!
//! `once-` and, in base64url without padding: until when (Unix milliseconds, 8 bytes), a nonce (16), the
//! DN's password where the token has one (ChaCha20-Poly1305, its key made from ours and the nonce), and
//! HMAC-SHA256 of the DN and all of these (32). The DN itself stands beside it in every sign-in.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, UnboundKey};
use ring::hmac;

use crate::secret::Secret;

/// What one begins with. No password looks like the whole of it by chance.
const PREFIX: &str = "once-";

const EXPIRES: usize = 8;
const NONCE: usize = 16;
const MAC: usize = 32;
const SEAL_TAG: usize = 16;

/// A password is longer nowhere: 256 characters of four bytes.
const MAX_SEALED: usize = 4 * 256 + SEAL_TAG;

/// Without a password, and with the longest.
const LENGTHS: std::ops::RangeInclusive<usize> =
    EXPIRES + NONCE + MAC..=EXPIRES + NONCE + MAX_SEALED + MAC;

/// What is signed begins with it, so that no other use of the same key is taken for a token.
const PURPOSE: &[u8] = b"wrtc-gateway one-time token 1\0";
const SEALING: &[u8] = b"wrtc-gateway one-time token's password 1\0";

pub(super) type Nonce = [u8; NONCE];

/// One is signed with the first; what any of them has signed is good.
pub(super) struct Keys {
    keys: Vec<hmac::Key>,
}

/// A token that one of our keys has signed, for the DN that was asked about.
pub(super) struct Opened {
    /// Unix milliseconds.
    pub expires: u64,
    pub nonce: Nonce,
    pub password: Option<Secret>,
}

impl Keys {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let key = |secret| hmac::Key::new(hmac::HMAC_SHA256, secret);
        Self { keys: secrets.into_iter().map(key).collect() }
    }

    /// Known to nobody else, and to us until the process ends.
    pub(super) fn random() -> Self {
        let secret: [u8; 32] = rand::random();
        Self::new([&secret[..]])
    }

    /// `None`: there is no key, or the password is longer than one may be.
    pub(super) fn issue(
        &self,
        dn: &str,
        password: Option<&Secret>,
        expires: u64,
    ) -> Option<Secret> {
        let key = self.keys.first()?;
        let nonce: Nonce = rand::random();
        let mut token = expires.to_be_bytes().to_vec();
        token.extend(nonce);
        if let Some(password) = password {
            let mut sealed = password.expose().as_bytes().to_vec();
            sealer(key, &nonce)?
                .seal_in_place_append_tag(ring_nonce(), Aad::empty(), &mut sealed)
                .ok()?;
            token.extend(sealed);
        }
        let mac = hmac::sign(key, &signed(dn, &token));
        token.extend(mac.as_ref());
        LENGTHS
            .contains(&token.len())
            .then(|| Secret::new(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(token))))
    }

    /// `None`: it is no token, it is for another DN, or none of our keys has signed it. The comparison
    /// takes as long whatever it finds.
    pub(super) fn open(&self, dn: &str, text: &str) -> Option<Opened> {
        let token = decode(text)?;
        let (content, mac) = token.split_at_checked(token.len().checked_sub(MAC)?)?;
        let signed = signed(dn, content);
        let key = self.keys.iter().find(|key| hmac::verify(key, &signed, mac).is_ok())?;
        let (expires, rest) = content.split_first_chunk::<EXPIRES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let password = match sealed {
            [] => None,
            sealed => {
                let mut sealed = sealed.to_vec();
                let opened = sealer(key, nonce)?
                    .open_in_place(ring_nonce(), Aad::empty(), &mut sealed)
                    .ok()?;
                Some(Secret::new(std::str::from_utf8(opened).ok()?))
            }
        };
        Some(Opened { expires: u64::from_be_bytes(*expires), nonce: *nonce, password })
    }
}

/// A key for one token's password.
fn sealer(key: &hmac::Key, nonce: &Nonce) -> Option<LessSafeKey> {
    let own = hmac::sign(key, &[SEALING, nonce].concat());
    UnboundKey::new(&CHACHA20_POLY1305, own.as_ref()).ok().map(LessSafeKey::new)
}

/// Each key seals once, so that there is nothing to be told apart.
fn ring_nonce() -> ring::aead::Nonce {
    ring::aead::Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// No DN has a NUL in it: where it ends is not to be mistaken.
fn signed(dn: &str, content: &[u8]) -> Vec<u8> {
    [PURPOSE, dn.as_bytes(), b"\0", content].concat()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    // Before it is decoded: whoever asks may send more.
    let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() <= 2 * LENGTHS.end())?;
    let token = BASE64_URL_SAFE_NO_PAD.decode(digits).ok()?;
    LENGTHS.contains(&token.len()).then_some(token)
}

/// Whether it looks like one.
pub(in crate::http) fn is_token(text: &str) -> bool {
    decode(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_for_its_dn_with_one_of_the_keys_and_unchanged() {
        let (old, new) = ([1; 32], [2; 32]);
        let password = Secret::new("a:b \u{fc}");
        let token = Keys::new([&old[..]]).issue("5001", Some(&password), 77).unwrap();
        assert!(is_token(token.expose()) && !token.expose().contains("5001"));
        let both = Keys::new([&new[..], &old[..]]);
        let opened = both.open("5001", token.expose()).unwrap();
        assert_eq!((opened.expires, opened.password), (77, Some(password)));
        assert!(both.open("5002", token.expose()).is_none());
        assert!(Keys::new([&new[..]]).open("5001", token.expose()).is_none());
        assert!(Keys::random().open("5001", token.expose()).is_none());
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&token.expose()[PREFIX.len()..]).unwrap();
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            let bent = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bent));
            assert!(both.open("5001", &bent).is_none(), "byte {at}");
        }
    }

    #[test]
    fn no_two_are_alike_and_none_shows_its_password() {
        let keys = Keys::random();
        let password = Secret::new("secret of the DN");
        let issue = || keys.issue("5001", Some(&password), 1).unwrap();
        let (one, other) = (issue(), issue());
        let sealed = |token: &Secret| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(&token.expose()[PREFIX.len()..]).unwrap();
            bytes[EXPIRES + NONCE..bytes.len() - MAC].to_vec()
        };
        assert_ne!(sealed(&one), sealed(&other));
        assert!(!sealed(&one).windows(6).any(|part| part == b"secret"));
        let longest = Secret::new("\u{10348}".repeat(256));
        let token = keys.issue("5001", Some(&longest), 1).unwrap();
        assert_eq!(keys.open("5001", token.expose()).unwrap().password, Some(longest));
        let longer = Secret::new("\u{10348}".repeat(257));
        assert!(keys.issue("5001", Some(&longer), 1).is_none());
    }

    #[test]
    fn what_is_none() {
        let token = Keys::random().issue("5001", None, 1).unwrap();
        assert_eq!(token.expose().len(), PREFIX.len() + 75);
        let short = &token.expose()[..token.expose().len() - 2];
        let long = format!("{PREFIX}{}", "A".repeat(100_000));
        for text in ["", "once-", "once-upon a time", "once-0123456789abcdef", short, &long] {
            assert!(!is_token(text), "{text}");
        }
    }
}
