//! SRTP and SRTCP for one association (RFC 3711, RFC 7714): in place, without an allocation per packet.
//!
//! Our own, because a packet of voice is small and many: rtc-srtp allocates for each, looks its stream
//! up in hash maps, and makes state for an SSRC before a packet of it is authenticated. The tests hold
//! the two against each other.

mod cipher;
mod derive;
mod replay;
mod streams;

use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use crate::sdp::{CryptoSuite, SrtpKey};

use cipher::Cipher;
use replay::nearest_index;
use streams::{Full, Streams};

/// Streams that we send whose numbers are remembered; of more, the first is forgotten.
const MAX_SENT: usize = 8;

/// What sealing puts behind a packet at most: the tag of AES-GCM and the SRTCP index.
pub const OVERHEAD: usize = 16 + 4;

/// A protection profile we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    AeadAes128Gcm,
    AeadAes256Gcm,
    Aes128CmSha1_80,
    /// Toward SIP only: browsers do not offer it.
    Aes128CmSha1_32,
}

impl Profile {
    /// Toward browsers, the cheapest first.
    pub const PREFERRED: [Profile; 3] =
        [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80];

    /// The number in the registries of RFC 5764 and RFC 7714.
    pub fn number(self) -> u16 {
        match self {
            Profile::Aes128CmSha1_80 => 1,
            Profile::Aes128CmSha1_32 => 2,
            Profile::AeadAes128Gcm => 7,
            Profile::AeadAes256Gcm => 8,
        }
    }

    /// The name in the registry of RFC 5764.
    pub fn name(self) -> &'static str {
        match self {
            Profile::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Profile::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Profile::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Profile::Aes128CmSha1_32 => "SRTP_AES128_CM_HMAC_SHA1_32",
        }
    }

    pub fn dtls(self) -> SrtpProtectionProfile {
        match self {
            Profile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            Profile::AeadAes256Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
            Profile::Aes128CmSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            Profile::Aes128CmSha1_32 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32,
        }
    }

    fn is_gcm(self) -> bool {
        matches!(self, Profile::AeadAes128Gcm | Profile::AeadAes256Gcm)
    }

    /// Bytes of a master key.
    pub fn key(self) -> usize {
        if self == Profile::AeadAes256Gcm { 32 } else { 16 }
    }

    /// Bytes of a master salt.
    pub fn salt(self) -> usize {
        if self.is_gcm() { 12 } else { 14 }
    }

    /// Bytes of an RTP packet's tag.
    fn tag(self) -> usize {
        match self {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 16,
            Profile::Aes128CmSha1_80 => 10,
            Profile::Aes128CmSha1_32 => 4,
        }
    }

    /// Bytes to export from DTLS: two keys, two salts (RFC 5764 4.2).
    pub fn material_len(self) -> usize {
        2 * (self.key() + self.salt())
    }
}

impl From<CryptoSuite> for Profile {
    fn from(suite: CryptoSuite) -> Self {
        match suite {
            CryptoSuite::AesCm128HmacSha1_80 => Profile::Aes128CmSha1_80,
            CryptoSuite::AesCm128HmacSha1_32 => Profile::Aes128CmSha1_32,
            CryptoSuite::AeadAes128Gcm => Profile::AeadAes128Gcm,
            CryptoSuite::AeadAes256Gcm => Profile::AeadAes256Gcm,
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
        let (keys, salts) = material.split_at_checked(2 * profile.key())?;
        let (client_key, server_key) = keys.split_at_checked(profile.key())?;
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
    /// More streams at a time than an honest browser has.
    TooManyStreams,
    Malformed,
}

/// Session keys of one direction.
struct Keys {
    rtp: Cipher,
    rtcp: Cipher,
}

impl Keys {
    fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Keys> {
        Some(Keys {
            rtp: Cipher::rtp(profile, key, salt)?,
            rtcp: Cipher::rtcp(profile, key, salt)?,
        })
    }
}

/// The sending direction.
pub struct Sealer {
    keys: Keys,
    /// Streams we send: SSRC and highest index.
    sent: Vec<(u32, u64)>,
    /// Counts over all our SSRCs, so that no index is used twice under any of them.
    rtcp_index: u32,
}

impl Sealer {
    /// `None` when the key has another length than the profile's.
    pub fn new(key: &SrtpKey) -> Option<Self> {
        Some(Self::with(Keys::new(key.suite().into(), key.master_key(), key.salt())?))
    }

    fn with(keys: Keys) -> Self {
        Sealer { keys, sent: Vec::new(), rtcp_index: 0 }
    }

    /// Seals `buffer[..len]` in place; wants [`OVERHEAD`] bytes of room behind it. The sealed part.
    pub fn seal_rtp<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<&'a [u8]> {
        let (header, ssrc, sequence) = rtp_header(buffer.get(..len)?)?;
        let highest = self.sent.iter_mut().find(|(known, _)| *known == ssrc);
        let index = nearest_index(highest.as_ref().map(|(_, highest)| *highest), sequence)?;
        match highest {
            Some((_, highest)) => *highest = index.max(*highest),
            None => {
                if self.sent.len() >= MAX_SENT {
                    self.sent.remove(0);
                }
                self.sent.push((ssrc, index));
            }
        }
        let end = self.keys.rtp.seal_rtp(buffer, len, header, ssrc, index)?;
        buffer.get(..end)
    }

    /// The same for RTCP.
    pub fn seal_rtcp<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<&'a [u8]> {
        let ssrc = rtcp_ssrc(buffer.get(..len)?)?;
        // 2^31 reports are 300 years of one every 5 s.
        self.rtcp_index = self.rtcp_index.checked_add(1).filter(|index| index >> 31 == 0)?;
        let end = self.keys.rtcp.seal_rtcp(buffer, len, ssrc, self.rtcp_index)?;
        buffer.get(..end)
    }
}

/// The receiving direction.
pub struct Opener {
    keys: Keys,
    /// Streams of which an authentic packet has come.
    rtp: Streams,
    rtcp: Streams,
}

impl Opener {
    /// For a SIP side. `None` when the key has another length than the profile's.
    pub fn new(key: &SrtpKey) -> Option<Self> {
        let keys = Keys::new(key.suite().into(), key.master_key(), key.salt())?;
        Some(Self::with(keys, Full::ForgetFirst))
    }

    fn with(keys: Keys, full: Full) -> Self {
        Opener { keys, rtp: Streams::new(full), rtcp: Streams::new(full) }
    }

    /// Some seconds have passed, see [`streams::QUIET`].
    fn age(&mut self) {
        self.rtp.age();
        self.rtcp.age();
    }

    /// Opens a packet in place. What a failure leaves in `packet` is of no use.
    pub fn open_rtp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let (header, ssrc, sequence) = rtp_header(packet).ok_or(Refused::Malformed)?;
        let mut window = self.rtp.window_of(ssrc)?;
        // From before the first packet: as good as a replay.
        let index = nearest_index(window.highest(), sequence).ok_or(Refused::Replay)?;
        if !window.is_fresh(index) {
            return Err(Refused::Replay);
        }
        let len = self.keys.rtp.open_rtp(packet, header, ssrc, index)?;
        window.accept(index);
        self.rtp.keep(ssrc, window);
        packet.get(..len).ok_or(Refused::Malformed)
    }

    /// The same for RTCP.
    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let ssrc = rtcp_ssrc(packet).ok_or(Refused::Malformed)?;
        let index = self.keys.rtcp.rtcp_index(packet)?;
        let mut window = self.rtcp.window_of(ssrc)?;
        if !window.is_fresh(u64::from(index)) {
            return Err(Refused::Replay);
        }
        let len = self.keys.rtcp.open_rtcp(packet, ssrc, index)?;
        window.accept(u64::from(index));
        self.rtcp.keep(ssrc, window);
        packet.get(..len).ok_or(Refused::Malformed)
    }
}

/// Both directions of an association.
pub struct Srtp {
    sealer: Sealer,
    opener: Opener,
}

impl Srtp {
    /// `None` when the keys have other lengths than the profile's.
    pub fn new(profile: Profile, keys: &SrtpKeys) -> Option<Srtp> {
        let keys_of = |(key, salt): &(Vec<u8>, Vec<u8>)| Keys::new(profile, key, salt);
        Some(Srtp {
            sealer: Sealer::with(keys_of(&keys.local)?),
            opener: Opener::with(keys_of(&keys.remote)?, Full::AwaitQuiet),
        })
    }

    /// To be told every five seconds: what the other side has not sent for some of them makes room.
    pub fn age(&mut self) {
        self.opener.age();
    }

    /// See [`Sealer::seal_rtp`].
    pub fn seal_rtp<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<&'a [u8]> {
        self.sealer.seal_rtp(buffer, len)
    }

    /// See [`Sealer::seal_rtcp`].
    pub fn seal_rtcp<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<&'a [u8]> {
        self.sealer.seal_rtcp(buffer, len)
    }

    /// See [`Opener::open_rtp`].
    pub fn open_rtp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        self.opener.open_rtp(packet)
    }

    /// See [`Opener::open_rtcp`].
    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        self.opener.open_rtcp(packet)
    }
}

/// Length of the header with CSRCs and extension, SSRC, sequence number (RFC 3550 5.1).
fn rtp_header(packet: &[u8]) -> Option<(usize, u32, u16)> {
    let fixed: &[u8; 12] = packet.first_chunk()?;
    let [first, _, s0, s1, _, _, _, _, ssrc @ ..] = fixed;
    let mut header = 12 + 4 * usize::from(first & 0x0F);
    if first & 0x10 != 0 {
        let extension: &[u8; 4] = packet.get(header..)?.first_chunk()?;
        let [_, _, l0, l1] = extension;
        header += 4 + 4 * usize::from(u16::from_be_bytes([*l0, *l1]));
    }
    (header <= packet.len()).then_some((
        header,
        u32::from_be_bytes(*ssrc),
        u16::from_be_bytes([*s0, *s1]),
    ))
}

fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let clear: &[u8; cipher::RTCP_CLEAR] = packet.first_chunk()?;
    let [_, _, _, _, ssrc @ ..] = clear;
    Some(u32::from_be_bytes(*ssrc))
}

#[cfg(test)]
mod tests;
