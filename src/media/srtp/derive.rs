//! Session keys from a master key and salt (RFC 3711 4.3, RFC 6188 3, RFC 7714 11). The key
//! derivation rate is zero: they hold for as long as the master key does.

use aes::{Aes128, Aes256};
use ctr::CtrCore;
use ctr::cipher::{self, InnerIvInit as _, KeyInit as _, StreamCipherCore as _};
use ctr::flavors::Ctr128BE;

/// Which session key or salt (RFC 3711 4.3.2).
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub enum Label {
    RtpKey = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

/// The pseudo-random function keyed with a master key of 16 or 32 bytes; `None` for other lengths.
pub enum Prf {
    Aes128(Box<Aes128>),
    Aes256(Box<Aes256>),
}

impl Prf {
    pub fn new(master_key: &[u8]) -> Option<Self> {
        match master_key.len() {
            16 => Some(Prf::Aes128(Box::new(Aes128::new_from_slice(master_key).ok()?))),
            32 => Some(Prf::Aes256(Box::new(Aes256::new_from_slice(master_key).ok()?))),
            _ => None,
        }
    }

    /// `N` bytes for a label. A salt of 12 bytes (AES-GCM) counts as one of 14 that ends in zeros.
    pub fn derive<const N: usize>(&self, master_salt: &[u8], label: Label) -> [u8; N] {
        let mut iv = [0; 16];
        for (byte, salt) in iv.iter_mut().zip(master_salt.iter().take(14)) {
            *byte = *salt;
        }
        iv[7] ^= label as u8;
        let mut out = [0; N];
        match self {
            Prf::Aes128(aes) => keystream::<Aes128>(aes, &iv, &mut out),
            Prf::Aes256(aes) => keystream::<Aes256>(aes, &iv, &mut out),
        }
        out
    }
}

fn keystream<C>(aes: &C, iv: &[u8; 16], out: &mut [u8])
where
    C: cipher::BlockEncrypt
        + cipher::BlockCipher
        + cipher::BlockSizeUser<BlockSize = cipher::consts::U16>,
{
    // It fails only after 2^64 blocks.
    let _ = CtrCore::<&C, Ctr128BE>::inner_iv_init(aes, iv.into())
        .try_apply_keystream_partial(out.into());
}
