//! A telephone's SRTP, by rtc-srtp: other code than the gateway's.

use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use wrtc_gateway::sdp::{CryptoSuite, KeySource, SrtpKey, SrtpPair};

pub fn pair(suite: CryptoSuite, seed: u8) -> SrtpPair {
    let mut keys = KeySource::new([seed; 32]);
    SrtpPair { local: keys.key(suite), remote: keys.key(suite) }
}

fn context(key: &SrtpKey) -> Context {
    let profile = match key.suite() {
        CryptoSuite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        CryptoSuite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        CryptoSuite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        CryptoSuite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let provider = rtc_srtp::crypto::default_provider().unwrap();
    Context::new(key.master_key(), key.salt(), profile, None, None, provider.crypto()).unwrap()
}

/// The far end of a pair of keys: it seals with what the gateway calls remote.
pub struct Locks {
    seal: Context,
    /// The last that was agreed first.
    open: Vec<Context>,
    /// Packets that none of the keys opens.
    pub failed: usize,
}

impl Locks {
    pub fn new(pair: &SrtpPair) -> Locks {
        Locks { seal: context(&pair.remote), open: vec![context(&pair.local)], failed: 0 }
    }

    /// What we send with from now on.
    pub fn seal_with(&mut self, pair: &SrtpPair) {
        self.seal = context(&pair.remote);
    }

    /// What opens from now on, besides what did before.
    pub fn open_with(&mut self, pair: &SrtpPair) {
        self.open.insert(0, context(&pair.local));
    }

    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.seal.encrypt_rtp(plain).unwrap().to_vec()
    }

    pub fn seal_report(&mut self, plain: &[u8]) -> Vec<u8> {
        self.seal.encrypt_rtcp(plain).unwrap().to_vec()
    }

    pub fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let opened = self.open.iter_mut().find_map(|open| open.decrypt_rtp(sealed).ok());
        self.failed += usize::from(opened.is_none());
        opened.map(|plain| plain.to_vec())
    }

    pub fn open_report(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.open.iter_mut().find_map(|open| open.decrypt_rtcp(sealed).ok()).map(|p| p.to_vec())
    }
}
