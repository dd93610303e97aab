//! SRTP keys in a description: `a=crypto` (RFC 4568, RFC 7714 14).

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Whether the SIP side's media is encrypted, `media.srtp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SrtpPolicy {
    /// Plain RTP only.
    #[default]
    Off,
    /// Keys are offered in a plain m-line and taken where the other side has some (RFC 8643).
    Preferred,
    /// RTP/SAVP is offered; nothing plain is taken.
    Required,
}

/// A crypto suite of RFC 4568 6.2 and RFC 7714 14.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CryptoSuite {
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

impl CryptoSuite {
    /// As we offer them. The one that everybody speaks is the first, for there are telephones that
    /// look at no other; the one with the short tag is for those that know nothing else.
    pub const OFFERED: [CryptoSuite; 4] = [
        CryptoSuite::AesCm128HmacSha1_80,
        CryptoSuite::AeadAes128Gcm,
        CryptoSuite::AeadAes256Gcm,
        CryptoSuite::AesCm128HmacSha1_32,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CryptoSuite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            CryptoSuite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            CryptoSuite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            CryptoSuite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of a master key and of its salt.
    pub fn lengths(self) -> (usize, usize) {
        match self {
            CryptoSuite::AesCm128HmacSha1_80 | CryptoSuite::AesCm128HmacSha1_32 => (16, 14),
            CryptoSuite::AeadAes128Gcm => (16, 12),
            CryptoSuite::AeadAes256Gcm => (32, 12),
        }
    }

    fn material(self) -> usize {
        let (key, salt) = self.lengths();
        key + salt
    }
}

/// The longest key and salt there are.
const MAX_MATERIAL: usize = 44;

/// A master key with its salt. `Debug` shows the suite alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKey {
    suite: CryptoSuite,
    /// Zeros behind what the suite takes.
    material: [u8; MAX_MATERIAL],
}

impl SrtpKey {
    /// `None` when the key and its salt are not as long as the suite has them.
    pub fn new(suite: CryptoSuite, key_and_salt: &[u8]) -> Option<Self> {
        let mut material = [0; MAX_MATERIAL];
        material.get_mut(..suite.material())?;
        if key_and_salt.len() != suite.material() {
            return None;
        }
        for (byte, given) in material.iter_mut().zip(key_and_salt) {
            *byte = *given;
        }
        Some(SrtpKey { suite, material })
    }

    pub fn suite(&self) -> CryptoSuite {
        self.suite
    }

    pub fn master_key(&self) -> &[u8] {
        let (key, _) = self.suite.lengths();
        self.material.get(..key).unwrap_or_default()
    }

    pub fn salt(&self) -> &[u8] {
        let (key, salt) = self.suite.lengths();
        self.material.get(key..key + salt).unwrap_or_default()
    }

    fn whole(&self) -> &[u8] {
        self.material.get(..self.suite.material()).unwrap_or_default()
    }
}

impl fmt::Debug for SrtpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpKey({}, ...)", self.suite.name())
    }
}

/// The keys of both directions. The suite is one for both (RFC 4568 5.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrtpPair {
    /// What we send with.
    pub local: SrtpKey,
    /// What the other side sends with.
    pub remote: SrtpKey,
}

/// An `a=crypto` line that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    pub tag: u32,
    pub key: SrtpKey,
}

/// Why a line cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoFault {
    #[error("it is not of the form `tag suite inline:key`")]
    Form,
    #[error("its suite is not spoken here")]
    Suite,
    #[error("its key is not as long as the suite has it")]
    Key,
    #[error("its lifetime is no number of packets")]
    Lifetime,
    #[error("a master key index (MKI) is not spoken here")]
    Mki,
    #[error("its session parameters are not spoken here")]
    Parameters,
}

impl Crypto {
    /// What stands after `a=crypto:`. The lifetime has to be one, and is not counted down: the shortest
    /// that is written (2^20 packets) is five hours of call.
    pub fn parse(value: &str) -> Result<Self, CryptoFault> {
        let mut words = value.split_ascii_whitespace();
        let (Some(tag), Some(suite), Some(keys)) = (words.next(), words.next(), words.next())
        else {
            return Err(CryptoFault::Form);
        };
        // 1 to 9 digits (RFC 4568 9.1).
        let digits = (1..=9).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_digit());
        let tag = tag.parse().ok().filter(|_| digits).ok_or(CryptoFault::Form)?;
        let suite = CryptoSuite::OFFERED
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(suite))
            .ok_or(CryptoFault::Suite)?;
        let key = key(suite, keys)?;
        if !words.all(is_harmless) {
            return Err(CryptoFault::Parameters);
        }
        Ok(Crypto { tag, key })
    }

    /// What stands after `a=crypto:`. It holds the key: it belongs into a description and nowhere else.
    pub fn value(&self) -> String {
        let key = BASE64.encode(self.key.whole());
        format!("{} {} inline:{key}", self.tag, self.key.suite.name())
    }
}

/// Some write the padding, some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `inline:key|lifetime|MKI:length` (RFC 4568 6.1). Several keys want an MKI to tell them apart.
fn key(suite: CryptoSuite, text: &str) -> Result<SrtpKey, CryptoFault> {
    if text.contains(';') {
        return Err(CryptoFault::Mki);
    }
    let (method, info) = text.split_once(':').ok_or(CryptoFault::Form)?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err(CryptoFault::Form);
    }
    let mut parts = info.split('|');
    let encoded = parts.next().unwrap_or_default();
    // As many letters as the longest key takes, so that nobody has us decode a book.
    if encoded.len() > MAX_MATERIAL.div_ceil(3) * 4 {
        return Err(CryptoFault::Key);
    }
    let material = BASE64.decode(encoded).map_err(|_| CryptoFault::Key)?;
    for part in parts {
        if part.contains(':') {
            return Err(CryptoFault::Mki);
        }
        if !is_lifetime(part) {
            return Err(CryptoFault::Lifetime);
        }
    }
    SrtpKey::new(suite, &material).ok_or(CryptoFault::Key)
}

/// `2^n` or a number, 1 to 2^48 packets (RFC 3711 9.2).
fn is_lifetime(text: &str) -> bool {
    match text.strip_prefix("2^") {
        Some(exponent) => exponent.parse::<u8>().is_ok_and(|exponent| exponent <= 48),
        None => text.parse::<u64>().is_ok_and(|packets| (1..=1 << 48).contains(&packets)),
    }
}

/// Session parameters that change nothing for us (RFC 4568 6.3): a hint how far packets may be late, no
/// key derivation rate, and what may be ignored by its own word. Without encryption or authentication
/// there would be nothing left to speak of.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=") || parameter == "KDR=0"
}

/// The line of an offer that is answered: its order is the offerer's preference (RFC 4568 5.1.1), but
/// the short tag is taken only where there is no other.
pub fn choose(lines: &[Crypto]) -> Option<&Crypto> {
    let short = |line: &&Crypto| line.key.suite == CryptoSuite::AesCm128HmacSha1_32;
    lines.iter().find(|line| !short(line)).or_else(|| lines.first())
}

/// Where a call's own master keys come from. Seeded from outside, so that the cores stay pure.
pub struct KeySource(StdRng);

impl KeySource {
    /// `seed` has to come from the system's source of randomness, and be used for nothing else.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    /// A source of its own for a part of what this one is for.
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        Self::new(seed)
    }

    pub fn key(&mut self, suite: CryptoSuite) -> SrtpKey {
        let mut material = [0; MAX_MATERIAL];
        if let Some(used) = material.get_mut(..suite.material()) {
            self.0.fill_bytes(used);
        }
        SrtpKey { suite, material }
    }

    /// A line for each suite that we offer, numbered from 1.
    pub fn offer(&mut self) -> Vec<Crypto> {
        (1..).zip(CryptoSuite::OFFERED).map(|(tag, s)| Crypto { tag, key: self.key(s) }).collect()
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySource(...)")
    }
}
