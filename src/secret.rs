//! Values that must never reach a log line.

use std::fmt;

use ring::hmac;

/// A password or bearer token. `Debug` and `Display` show three dots, so that a stray
/// `{:?}` of a structure that holds one tells nothing.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. The name is long enough to be noticed in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Takes as long whatever the two have in common: for what a stranger has sent. The key is none that
    /// anybody could prepare for.
    pub fn matches(&self, given: &Secret) -> bool {
        let random: [u8; 32] = rand::random();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random);
        let ours = hmac::sign(&key, self.0.as_bytes());
        hmac::verify(&key, given.0.as_bytes(), ours.as_ref()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_and_nothing_else() {
        let secret = Secret::new("p\u{e4}ss");
        assert!(secret.matches(&secret.clone()));
        for other in ["", "p\u{e4}s", "p\u{e4}sss", "P\u{e4}ss"] {
            assert!(!secret.matches(&Secret::new(other)), "{other}");
        }
    }
}
