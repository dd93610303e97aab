//! SRTP and SRTCP for one association (RFC 3711, RFC 7714), over rtc-srtp.
//!
//! Three things rtc-srtp leaves to its user are done here. It makes state for an SSRC before a
//! packet of it is authenticated, and lets that packet place the replay window: so an SSRC that is
//! not known yet is first tried in a context of its own. It takes SRTCP without the E bit unchecked
//! under AES-CM: such packets are refused.

use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::error::Error;
use rtc_srtp::context::Context;
use rtc_srtp::crypto::RTCCryptoProvider;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;
use std::sync::Arc;

use bytes::BytesMut;

/// Streams a browser may send in one association: one is usual, a few after renegotiations.
const MAX_SSRCS: usize = 8;

/// Unknown SSRCs that may fail before the trial context is made anew; bounds its memory.
const MAX_TRIALS: u32 = 64;

/// Packets the replay window remembers (RFC 3711 3.3.2 wants 64 at least): 2.5 s of audio.
const WINDOW: usize = 128;

/// A protection profile we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    AeadAes128Gcm,
    Aes128CmSha1_80,
}

impl Profile {
    /// The name in the registry of RFC 5764.
    pub fn name(self) -> &'static str {
        match self {
            Profile::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Profile::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }

    pub fn dtls(self) -> SrtpProtectionProfile {
        match self {
            Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            Profile::Aes128CmSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        }
    }

    fn srtp(self) -> ProtectionProfile {
        match self {
            Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        }
    }

    const KEY: usize = 16;

    fn salt(self) -> usize {
        self.srtp().salt_len()
    }

    /// Bytes to export from DTLS: two keys, two salts (RFC 5764 4.2).
    pub fn material_len(self) -> usize {
        2 * (Self::KEY + self.salt())
    }

    /// Where the word with the E bit and the SRTCP index begins.
    fn index_at(self, len: usize) -> Option<usize> {
        match self {
            // The index comes before the tag (RFC 3711 3.4) or last (RFC 7714 9.1).
            Profile::Aes128CmSha1_80 => len.checked_sub(10 + 4),
            Profile::AeadAes128Gcm => len.checked_sub(4),
        }
    }
}

/// Master keys and salts of both directions.
pub struct SrtpKeys {
    local: (Vec<u8>, Vec<u8>),
    remote: (Vec<u8>, Vec<u8>),
}

impl SrtpKeys {
    /// Divides exported material: client key, server key, client salt, server salt.
    pub fn split(profile: Profile, material: &[u8], is_client: bool) -> Option<SrtpKeys> {
        if material.len() != profile.material_len() {
            return None;
        }
        let (keys, salts) = material.split_at_checked(2 * Profile::KEY)?;
        let (client_key, server_key) = keys.split_at_checked(Profile::KEY)?;
        let (client_salt, server_salt) = salts.split_at_checked(profile.salt())?;
        let client = (client_key.to_vec(), client_salt.to_vec());
        let server = (server_key.to_vec(), server_salt.to_vec());
        let (local, remote) = if is_client { (client, server) } else { (server, client) };
        Some(SrtpKeys { local, remote })
    }
}

/// Why a packet was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Authentication,
    Replay,
    /// More streams than an honest browser has.
    TooManyStreams,
    Malformed,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::SrtpSsrcDuplicated(..) | Error::SrtcpSsrcDuplicated(..) => Refused::Replay,
            Error::RtpFailedToVerifyAuthTag
            | Error::RtcpFailedToVerifyAuthTag
            | Error::ErrFailedToVerifyAuthTag
            | Error::Crypto(_) => Refused::Authentication,
            _ => Refused::Malformed,
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Rtp,
    Rtcp,
}

/// Both directions of an association.
pub struct Srtp {
    profile: Profile,
    provider: Arc<dyn RTCCryptoProvider>,
    remote: (Vec<u8>, Vec<u8>),
    outbound: Context,
    inbound: Context,
    /// SSRCs that `inbound` has state for, all of them authenticated.
    rtp_ssrcs: Vec<u32>,
    rtcp_ssrcs: Vec<u32>,
    trial: Option<Context>,
    trials: u32,
}

impl Srtp {
    pub fn new(
        profile: Profile,
        keys: SrtpKeys,
        provider: Arc<dyn RTCCryptoProvider>,
    ) -> Result<Srtp, Error> {
        let crypto = provider.crypto();
        let (key, salt) = &keys.local;
        let outbound = Context::new(key, salt, profile.srtp(), None, None, crypto)?;
        let (key, salt) = &keys.remote;
        let inbound = Context::new(
            key,
            salt,
            profile.srtp(),
            Some(srtp_replay_protection(WINDOW)),
            Some(srtcp_replay_protection(WINDOW)),
            crypto,
        )?;
        Ok(Srtp {
            profile,
            remote: keys.remote,
            provider,
            outbound,
            inbound,
            rtp_ssrcs: Vec::new(),
            rtcp_ssrcs: Vec::new(),
            trial: None,
            trials: 0,
        })
    }

    pub fn seal_rtp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outbound.encrypt_rtp(packet).ok()
    }

    pub fn seal_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outbound.encrypt_rtcp(packet).ok()
    }

    pub fn open_rtp(&mut self, data: &[u8]) -> Result<BytesMut, Refused> {
        let ssrc = data.get(8..).and_then(|d| d.first_chunk()).ok_or(Refused::Malformed)?;
        self.admit(Kind::Rtp, u32::from_be_bytes(*ssrc), data)?;
        Ok(self.inbound.decrypt_rtp(data)?)
    }

    pub fn open_rtcp(&mut self, data: &[u8]) -> Result<BytesMut, Refused> {
        let ssrc = data.get(4..).and_then(|d| d.first_chunk()).ok_or(Refused::Malformed)?;
        let index = self.profile.index_at(data.len()).ok_or(Refused::Malformed)?;
        if data.get(index).is_none_or(|byte| byte & 0x80 == 0) {
            return Err(Refused::Authentication);
        }
        self.admit(Kind::Rtcp, u32::from_be_bytes(*ssrc), data)?;
        Ok(self.inbound.decrypt_rtcp(data)?)
    }

    /// Lets an SSRC in whose packet is authentic.
    fn admit(&mut self, kind: Kind, ssrc: u32, data: &[u8]) -> Result<(), Refused> {
        let known = match kind {
            Kind::Rtp => &mut self.rtp_ssrcs,
            Kind::Rtcp => &mut self.rtcp_ssrcs,
        };
        if known.contains(&ssrc) {
            return Ok(());
        }
        if known.len() >= MAX_SSRCS {
            return Err(Refused::TooManyStreams);
        }
        if self.trials >= MAX_TRIALS {
            self.trial = None;
            self.trials = 0;
        }
        self.trials += 1;
        if self.trial.is_none() {
            let (key, salt) = &self.remote;
            let profile = self.profile.srtp();
            self.trial =
                Some(Context::new(key, salt, profile, None, None, self.provider.crypto())?);
        }
        let trial = self.trial.as_mut().ok_or(Refused::Authentication)?;
        match kind {
            Kind::Rtp => trial.decrypt_rtp(data)?,
            Kind::Rtcp => trial.decrypt_rtcp(data)?,
        };
        // Success does not happen often enough for the trial context to be worth its memory.
        self.trial = None;
        self.trials = 0;
        known.push(ssrc);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::Packet;
    use proptest::prelude::*;

    const BOTH: [Profile; 2] = [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80];

    fn pair(profile: Profile) -> (Srtp, Srtp) {
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        let end = |client| {
            let keys = SrtpKeys::split(profile, &material, client).unwrap();
            let provider = rtc_srtp::crypto::default_provider().unwrap();
            Srtp::new(profile, keys, provider).unwrap()
        };
        (end(true), end(false))
    }

    fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
        let packet = Packet {
            payload_type: 0,
            marker: false,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
            payload: &[sequence as u8; 160],
        };
        packet.write(&mut [0; 400]).unwrap().to_vec()
    }

    fn rtcp(ssrc: u32) -> Vec<u8> {
        let mut data = vec![0x80, 201, 0, 1];
        data.extend(ssrc.to_be_bytes());
        data
    }

    #[test]
    fn opens_what_the_other_side_sealed_over_a_rollover() {
        for profile in BOTH {
            let (mut a, mut b) = pair(profile);
            for n in 65_500..65_600u32 {
                let plain = rtp(1, n as u16);
                let sealed = a.seal_rtp(&plain).unwrap();
                assert_ne!(sealed[12..172], plain[12..172]);
                assert_eq!(b.open_rtp(&sealed).unwrap(), plain);
                assert_eq!(b.open_rtp(&sealed), Err(Refused::Replay));
            }
            let sealed = a.seal_rtcp(&rtcp(1)).unwrap();
            assert_eq!(b.open_rtcp(&sealed).unwrap(), rtcp(1));
            assert_eq!(b.open_rtcp(&sealed), Err(Refused::Replay));
        }
    }

    #[test]
    fn forged_packets_leave_the_stream_alone() {
        for profile in BOTH {
            let (mut a, mut b) = pair(profile);
            // Forged before the first true one, far ahead of it: it must not place the window.
            for n in 0..200u32 {
                let mut forged = rtp(1, 30_000);
                forged.extend([n as u8; 16]);
                assert_eq!(b.open_rtp(&forged), Err(Refused::Authentication));
                let mut forged = rtp(n + 2, 5);
                forged.extend([0; 16]);
                assert_eq!(b.open_rtp(&forged), Err(Refused::Authentication));
            }
            for n in 0..50 {
                let sealed = a.seal_rtp(&rtp(1, n)).unwrap();
                let mut forged = sealed.to_vec();
                *forged.last_mut().unwrap() ^= 1;
                assert_eq!(b.open_rtp(&forged), Err(Refused::Authentication));
                assert_eq!(b.open_rtp(&sealed).unwrap(), rtp(1, n));
            }
        }
    }

    #[test]
    fn streams_are_bounded() {
        let (mut a, mut b) = pair(Profile::AeadAes128Gcm);
        for ssrc in 0..20 {
            let sealed = a.seal_rtp(&rtp(ssrc, 1)).unwrap();
            assert_eq!(b.open_rtp(&sealed).is_ok(), ssrc < MAX_SSRCS as u32);
        }
        let sealed = a.seal_rtp(&rtp(0, 2)).unwrap();
        assert!(b.open_rtp(&sealed).is_ok());
    }

    #[test]
    fn unencrypted_rtcp_is_refused() {
        for profile in BOTH {
            let (_, mut b) = pair(profile);
            let mut forged = rtcp(1);
            forged.extend([0, 0, 0, 1]);
            forged.extend([0; 10]);
            assert_eq!(b.open_rtcp(&forged), Err(Refused::Authentication));
            let mut forged = rtcp(1);
            forged.extend([0; 30]);
            assert_eq!(b.open_rtcp(&forged), Err(Refused::Authentication));
        }
    }

    proptest! {
        #[test]
        fn noise_is_refused(mut data in prop::collection::vec(any::<u8>(), 0..80), rtcp: bool) {
            if let Some(byte) = data.first_mut() {
                *byte = 0x80 | *byte & 0x3F;
            }
            for profile in BOTH {
                let (_, mut b) = pair(profile);
                let opened = if rtcp { b.open_rtcp(&data) } else { b.open_rtp(&data) };
                prop_assert!(opened.is_err());
            }
        }
    }
}
