//! The session keys of one direction at work: sealing and opening in place (RFC 3711, RFC 7714).

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{InnerIvInit as _, KeyInit as _, StreamCipher as _, StreamCipherCoreWrapper};
use hmac::{Hmac, Mac as _};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use sha1::Sha1;

use super::derive::{Label, Prf};
use super::{Profile, Refused};

/// Bytes of an AES-GCM tag (RFC 7714 12).
const GCM_TAG: usize = 16;

/// Session keys for RTP or for RTCP.
pub enum Cipher {
    Cm { aes: Box<Aes128>, mac: Box<Hmac<Sha1>>, salt: [u8; 14], tag: usize },
    Gcm { key: Box<LessSafeKey>, salt: [u8; 12] },
}

impl Cipher {
    /// `None` when key or salt have another length than the profile's.
    pub fn rtp(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Cipher> {
        Self::new(
            profile,
            key,
            salt,
            [Label::RtpKey, Label::RtpAuth, Label::RtpSalt],
            profile.tag(),
        )
    }

    pub fn rtcp(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Cipher> {
        // RTCP has the long tag whatever RTP has (RFC 3711 5.2, RFC 4568 6.2).
        let tag = if profile.is_gcm() { GCM_TAG } else { 10 };
        Self::new(profile, key, salt, [Label::RtcpKey, Label::RtcpAuth, Label::RtcpSalt], tag)
    }

    fn new(
        profile: Profile,
        key: &[u8],
        salt: &[u8],
        [key_label, auth_label, salt_label]: [Label; 3],
        tag: usize,
    ) -> Option<Cipher> {
        if (key.len(), salt.len()) != (profile.key(), profile.salt()) {
            return None;
        }
        let prf = Prf::new(key)?;
        match profile {
            Profile::Aes128CmSha1_80 | Profile::Aes128CmSha1_32 => {
                let key: [u8; 16] = prf.derive(salt, key_label);
                let auth: [u8; 20] = prf.derive(salt, auth_label);
                Self::cm(&key, prf.derive(salt, salt_label), &auth, tag)
            }
            Profile::AeadAes128Gcm => {
                let key: [u8; 16] = prf.derive(salt, key_label);
                Self::gcm(&key, prf.derive(salt, salt_label))
            }
            Profile::AeadAes256Gcm => {
                let key: [u8; 32] = prf.derive(salt, key_label);
                Self::gcm(&key, prf.derive(salt, salt_label))
            }
        }
    }

    fn cm(key: &[u8; 16], salt: [u8; 14], auth: &[u8; 20], tag: usize) -> Option<Cipher> {
        let mac = <Hmac<Sha1> as hmac::Mac>::new_from_slice(auth).ok()?;
        Some(Cipher::Cm { aes: Box::new(Aes128::new(key.into())), mac: Box::new(mac), salt, tag })
    }

    /// The key itself decides between AES-128 and AES-256.
    fn gcm(key: &[u8], salt: [u8; 12]) -> Option<Cipher> {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Cipher::Gcm { key: Box::new(key), salt })
    }

    /// What is put behind the payload.
    pub fn tag_len(&self) -> usize {
        match self {
            Cipher::Cm { tag, .. } => *tag,
            Cipher::Gcm { .. } => GCM_TAG,
        }
    }

    /// Seals `buffer[..len]`, whose first `header` bytes stay in the clear; `index` is ROC and sequence
    /// number. The new length, or `None` when the buffer has no room for the tag.
    pub fn seal_rtp(
        &self,
        buffer: &mut [u8],
        len: usize,
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        let end = len.checked_add(self.tag_len())?;
        let (packet, tag) = buffer.get_mut(..end)?.split_at_mut_checked(len)?;
        match self {
            Cipher::Cm { aes, mac, salt, .. } => {
                xor_keystream(aes, salt, ssrc, index, packet.get_mut(header..)?);
                let sum = sign(mac, packet, &roc(index));
                tag.copy_from_slice(sum.get(..tag.len())?);
            }
            Cipher::Gcm { key, salt } => {
                let (aad, payload) = packet.split_at_mut_checked(header)?;
                let nonce = rtp_nonce(salt, ssrc, index);
                let sum = key.seal_in_place_separate_tag(nonce, Aad::from(&*aad), payload).ok()?;
                tag.copy_from_slice(sum.as_ref());
            }
        }
        Some(end)
    }

    /// Opens a packet in place; the length of what was inside.
    pub fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, Refused> {
        let len = packet.len().checked_sub(self.tag_len()).filter(|len| *len >= header);
        let len = len.ok_or(Refused::Malformed)?;
        let (inside, tag) = packet.split_at_mut_checked(len).ok_or(Refused::Malformed)?;
        match self {
            Cipher::Cm { aes, mac, salt, .. } => {
                verify(mac, inside, &roc(index), tag)?;
                let payload = inside.get_mut(header..).ok_or(Refused::Malformed)?;
                xor_keystream(aes, salt, ssrc, index, payload);
            }
            Cipher::Gcm { key, salt } => {
                let (aad, payload) =
                    inside.split_at_mut_checked(header).ok_or(Refused::Malformed)?;
                open_gcm(key, rtp_nonce(salt, ssrc, index), &[aad], payload, tag)?;
            }
        }
        Ok(len)
    }

    /// Seals an RTCP packet, always encrypted: E bit set (RFC 3711 3.4, RFC 7714 9).
    pub fn seal_rtcp(&self, buffer: &mut [u8], len: usize, ssrc: u32, index: u32) -> Option<usize> {
        let word = (index | E_BIT).to_be_bytes();
        let tag_len = self.tag_len();
        let end = len.checked_add(tag_len + 4)?;
        let whole = buffer.get_mut(..end)?;
        match self {
            Cipher::Cm { aes, mac, salt, .. } => {
                let (packet, rest) = whole.split_at_mut_checked(len)?;
                xor_keystream(aes, salt, ssrc, u64::from(index), packet.get_mut(RTCP_CLEAR..)?);
                let (place, tag) = rest.split_at_mut_checked(4)?;
                place.copy_from_slice(&word);
                let sum = sign(mac, packet, &word);
                tag.copy_from_slice(sum.get(..tag.len())?);
            }
            Cipher::Gcm { key, salt } => {
                let (packet, rest) = whole.split_at_mut_checked(len)?;
                let (clear, payload) = packet.split_at_mut_checked(RTCP_CLEAR)?;
                let aad = rtcp_aad(clear, word)?;
                let nonce = rtcp_nonce(salt, ssrc, index);
                let sum = key.seal_in_place_separate_tag(nonce, Aad::from(aad), payload).ok()?;
                let (tag, place) = rest.split_at_mut_checked(tag_len)?;
                tag.copy_from_slice(sum.as_ref());
                place.copy_from_slice(&word);
            }
        }
        Some(end)
    }

    /// The SRTCP index of a packet; one that is not encrypted is refused.
    pub fn rtcp_index(&self, packet: &[u8]) -> Result<u32, Refused> {
        let behind = match self {
            Cipher::Cm { tag, .. } => tag + 4,
            Cipher::Gcm { .. } => 4,
        };
        let at = packet.len().checked_sub(behind).ok_or(Refused::Malformed)?;
        let word =
            packet.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Refused::Malformed)?;
        let word = u32::from_be_bytes(*word);
        if word & E_BIT == 0 {
            return Err(Refused::Authentication);
        }
        Ok(word & !E_BIT)
    }

    pub fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Result<usize, Refused> {
        let word = (index | E_BIT).to_be_bytes();
        let len = packet.len().checked_sub(self.tag_len() + 4).filter(|len| *len >= RTCP_CLEAR);
        let len = len.ok_or(Refused::Malformed)?;
        let (inside, rest) = packet.split_at_mut_checked(len).ok_or(Refused::Malformed)?;
        match self {
            Cipher::Cm { aes, mac, salt, .. } => {
                let tag = rest.get(4..).ok_or(Refused::Malformed)?;
                verify(mac, inside, &word, tag)?;
                let payload = inside.get_mut(RTCP_CLEAR..).ok_or(Refused::Malformed)?;
                xor_keystream(aes, salt, ssrc, u64::from(index), payload);
            }
            Cipher::Gcm { key, salt } => {
                let (clear, payload) =
                    inside.split_at_mut_checked(RTCP_CLEAR).ok_or(Refused::Malformed)?;
                let tag = rest.get(..GCM_TAG).ok_or(Refused::Malformed)?;
                let aad = rtcp_aad(clear, word).ok_or(Refused::Malformed)?;
                open_gcm(key, rtcp_nonce(salt, ssrc, index), &[&aad], payload, tag)?;
            }
        }
        Ok(len)
    }
}

/// The encryption flag before the SRTCP index.
const E_BIT: u32 = 1 << 31;

/// The first header and SSRC of a compound packet are never encrypted.
pub const RTCP_CLEAR: usize = 8;

fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 3711 4.1.1.
fn xor_keystream(aes: &Aes128, salt: &[u8; 14], ssrc: u32, index: u64, data: &mut [u8]) {
    let mut iv = [0; 16];
    let (head, _) = iv.split_at_mut(14);
    head.copy_from_slice(salt);
    let mask = (u128::from(ssrc) << 64) | (u128::from(index) << 16);
    for (byte, mask) in iv.iter_mut().zip(mask.to_be_bytes()) {
        *byte ^= mask;
    }
    let core = ctr::CtrCore::inner_iv_init(aes, (&iv).into());
    let mut cipher: Ctr128BE<&Aes128> = StreamCipherCoreWrapper::from_core(core);
    // It fails only after 2^64 blocks.
    let _ = cipher.try_apply_keystream(data);
}

fn sign(mac: &Hmac<Sha1>, packet: &[u8], suffix: &[u8; 4]) -> [u8; 20] {
    let mut mac = mac.clone();
    mac.update(packet);
    mac.update(suffix);
    mac.finalize().into_bytes().into()
}

/// In constant time.
fn verify(mac: &Hmac<Sha1>, packet: &[u8], suffix: &[u8; 4], tag: &[u8]) -> Result<(), Refused> {
    let mut mac = mac.clone();
    mac.update(packet);
    mac.update(suffix);
    mac.verify_truncated_left(tag).map_err(|_| Refused::Authentication)
}

/// RFC 7714 8.1: two zero bytes, SSRC, ROC, sequence number.
fn rtp_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    nonce(salt, u128::from(ssrc) << 48 | u128::from(index & 0xFFFF_FFFF_FFFF))
}

/// RFC 7714 9.1: two zero bytes, SSRC, two zero bytes, index.
fn rtcp_nonce(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    nonce(salt, u128::from(ssrc) << 48 | u128::from(index))
}

fn nonce(salt: &[u8; 12], number: u128) -> Nonce {
    let mut nonce = *salt;
    for (byte, number) in nonce.iter_mut().zip(number.to_be_bytes().into_iter().skip(4)) {
        *byte ^= number;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 9.2: the clear words, then the word with the E bit.
fn rtcp_aad(clear: &[u8], word: [u8; 4]) -> Option<[u8; RTCP_CLEAR + 4]> {
    let mut aad = [0; RTCP_CLEAR + 4];
    let (head, tail) = aad.split_at_mut_checked(RTCP_CLEAR)?;
    head.copy_from_slice(clear.get(..RTCP_CLEAR)?);
    tail.copy_from_slice(&word);
    Some(aad)
}

fn open_gcm(
    key: &LessSafeKey,
    nonce: Nonce,
    aad: &[&[u8]; 1],
    payload: &mut [u8],
    tag: &[u8],
) -> Result<(), Refused> {
    let tag = Tag::try_from(tag).map_err(|_| Refused::Malformed)?;
    let [aad] = aad;
    key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, payload, 0..)
        .map(|_| ())
        .map_err(|_| Refused::Authentication)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    /// RFC 3711 B.2: the key stream for SSRC 0, index 0.
    #[test]
    fn counter_mode_key_stream() {
        let key: [u8; 16] = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
        let salt: [u8; 14] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let mut stream = [0; 48];
        xor_keystream(&Aes128::new(&key.into()), &salt, 0, 0, &mut stream);
        let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB \
                        41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream.to_vec(), hex(expected));
    }

    /// RFC 3711 B.3.
    #[test]
    fn key_derivation() {
        let prf = Prf::new(&hex("E1F97A0D3E018BE0D64FA32C06DE4139")).unwrap();
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let key: [u8; 16] = prf.derive(&salt, Label::RtpKey);
        assert_eq!(key.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        let session_salt: [u8; 14] = prf.derive(&salt, Label::RtpSalt);
        assert_eq!(session_salt.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        let auth: [u8; 20] = prf.derive(&salt, Label::RtpAuth);
        assert_eq!(auth.to_vec(), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    /// RFC 7714 16.1.1: the session key is given.
    #[test]
    fn gcm_seals_rtp_as_the_rfc_does() {
        let cipher = Cipher::gcm(
            &hex("000102030405060708090a0b0c0d0e0f"),
            hex("51756964 2070726f 2071756f").try_into().unwrap(),
        )
        .unwrap();
        let plain = hex(
            "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 \
             696e2070 61727465 73207472 6573",
        );
        let mut buffer = plain.clone();
        buffer.resize(plain.len() + 16, 0);
        let end = cipher.seal_rtp(&mut buffer, plain.len(), 12, 0x5501_a0b2, 0xf17b).unwrap();
        let expected = hex(
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f \
             42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        );
        assert_eq!(buffer[..end].to_vec(), expected);
        let len = cipher.open_rtp(&mut buffer[..end], 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(buffer[..len].to_vec(), plain);
    }
}
