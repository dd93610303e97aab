//! SRTP toward SIP (SDES): which keys are in use, and which were.

use std::time::{Duration, Instant};

use crate::media::srtp::{Opener, Refused, Sealer};
use crate::sdp::{SrtpKey, SrtpPair};

/// How long a key that has been replaced still opens: the far end switches when our answer reaches it.
const OVERLAP: Duration = Duration::from_secs(1);

/// Keys that are remembered, each way. A line has eight calls at most; early dialogs may have some more.
const MAX_KEYS: usize = 16;

/// No datagram from a SIP side is longer.
const MAX_PACKET: usize = 2048;

/// The keys of a call, by which its packets toward SIP are sealed and opened. A call that is left and come
/// back to finds its key as it was: beginning anew would use key stream twice, and lose the count of
/// rollovers.
#[derive(Default)]
pub struct Secure {
    /// The last used first.
    sealers: Vec<(SrtpKey, Sealer)>,
    openers: Vec<(SrtpKey, Opener)>,
    /// The first of both are in use; else the audio is plain.
    active: bool,
    /// Until then the key before still opens: the second opener's, or the first one's where the audio has
    /// become plain.
    overlap: Option<Instant>,
}

impl Secure {
    /// Takes keys into use, or `None` for plain audio. True when we go on with a key after having sent
    /// other packets meanwhile: the far end has lost count of them, and wants a new SSRC.
    pub fn set(&mut self, now: Instant, pair: Option<&SrtpPair>) -> bool {
        let before = std::mem::replace(&mut self.active, pair.is_some());
        let Some(pair) = pair else {
            if before {
                self.overlap = Some(now + OVERLAP);
            }
            return false;
        };
        if !in_use(&self.openers, &pair.remote) {
            self.overlap = before.then_some(now + OVERLAP);
            bring_forward(&mut self.openers, &pair.remote, Opener::new);
        }
        if in_use(&self.sealers, &pair.local) {
            return !before;
        }
        bring_forward(&mut self.sealers, &pair.local, Sealer::new)
    }

    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Seals the plain packet `buffer[..len]`, or leaves it as it is where the audio is plain.
    pub fn seal_rtp<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<&'a [u8]> {
        if !self.active {
            return buffer.get(..len);
        }
        self.sealers.first_mut()?.1.seal_rtp(buffer, len)
    }

    /// The same for RTCP.
    pub fn seal_rtcp<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<&'a [u8]> {
        if !self.active {
            return buffer.get(..len);
        }
        self.sealers.first_mut()?.1.seal_rtcp(buffer, len)
    }

    /// Gets a key ready for [`Secure::seal_aside`].
    pub fn keep(&mut self, key: &SrtpKey) {
        let known = self.sealers.iter().any(|(known, _)| known == key);
        if let Some(sealer) = Sealer::new(key).filter(|_| !known) {
            self.sealers.truncate(MAX_KEYS - 1);
            // Behind the one in use.
            self.sealers.insert(self.sealers.len().min(1), (key.clone(), sealer));
        }
    }

    /// Keys of a call that is held are not to be forgotten for newer ones.
    pub fn freshen(&mut self, pair: &SrtpPair) {
        freshen(&mut self.sealers, &pair.local);
        freshen(&mut self.openers, &pair.remote);
    }

    /// Seals the plain packet `buffer[..len]` with a key that need not be the one in use; `None` where it
    /// is not [kept](Secure::keep) any more.
    pub fn seal_aside<'a>(
        &mut self,
        key: &SrtpKey,
        buffer: &'a mut [u8],
        len: usize,
    ) -> Option<&'a [u8]> {
        self.kept(key)?.seal_rtp(buffer, len)
    }

    /// The same for RTCP.
    pub fn seal_rtcp_aside<'a>(
        &mut self,
        key: &SrtpKey,
        buffer: &'a mut [u8],
        len: usize,
    ) -> Option<&'a [u8]> {
        self.kept(key)?.seal_rtcp(buffer, len)
    }

    fn kept(&mut self, key: &SrtpKey) -> Option<&mut Sealer> {
        self.sealers.iter_mut().find(|(known, _)| known == key).map(|(_, sealer)| sealer)
    }

    /// Opens a packet in place, or leaves it as it is where the audio is plain.
    pub fn open_rtp<'a>(&mut self, now: Instant, data: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let len = self.open(now, data, |opener, data| opener.open_rtp(data).map(<[u8]>::len))?;
        data.get(..len).ok_or(Refused::Malformed)
    }

    /// The same for RTCP.
    pub fn open_rtcp<'a>(&mut self, now: Instant, data: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let len = self.open(now, data, |opener, data| opener.open_rtcp(data).map(<[u8]>::len))?;
        data.get(..len).ok_or(Refused::Malformed)
    }

    fn open(
        &mut self,
        now: Instant,
        data: &mut [u8],
        open: impl Fn(&mut Opener, &mut [u8]) -> Result<usize, Refused>,
    ) -> Result<usize, Refused> {
        self.overlap = self.overlap.filter(|until| now < *until);
        if self.overlap.is_some()
            && let Some((_, former)) = self.openers.get_mut(usize::from(self.active))
        {
            // A failure spoils what it works on.
            let mut copy = [0; MAX_PACKET];
            if let Some(copy) = copy.get_mut(..data.len()) {
                copy.copy_from_slice(data);
                if let Ok(len) = open(former, copy) {
                    data.copy_from_slice(copy);
                    return Ok(len);
                }
            }
        }
        if !self.active {
            return Ok(data.len());
        }
        let (_, opener) = self.openers.first_mut().ok_or(Refused::Authentication)?;
        open(opener, data)
    }
}

fn in_use<T>(keys: &[(SrtpKey, T)], key: &SrtpKey) -> bool {
    keys.first().is_some_and(|(first, _)| first == key)
}

/// Behind the one in use and the one before it.
fn freshen<T>(keys: &mut [(SrtpKey, T)], key: &SrtpKey) {
    let at = keys.iter().position(|(known, _)| known == key);
    if let Some(between) = at.filter(|at| *at > 2).and_then(|at| keys.get_mut(2..=at)) {
        between.rotate_right(1);
    }
}

/// Makes `key` the first; true when it was there already.
fn bring_forward<T>(
    keys: &mut Vec<(SrtpKey, T)>,
    key: &SrtpKey,
    make: impl FnOnce(&SrtpKey) -> Option<T>,
) -> bool {
    if let Some(at) = keys.iter().position(|(known, _)| known == key) {
        if let Some(before) = keys.get_mut(..=at) {
            before.rotate_right(1);
        }
        return true;
    }
    match make(key) {
        Some(state) => {
            keys.truncate(MAX_KEYS - 1);
            keys.insert(0, (key.clone(), state));
        }
        // A key always fits its suite. If it did not, silence would be better than another key.
        None => keys.clear(),
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::{HEADER, Packet};
    use crate::media::srtp::OVERHEAD;
    use crate::sdp::{CryptoSuite, KeySource};

    const SSRC: u32 = 5;

    /// A telephone's end: it seals with what we open with.
    struct Far {
        now: Instant,
        sequence: u16,
        us: Secure,
    }

    fn pairs(count: usize) -> Vec<SrtpPair> {
        let mut keys = KeySource::new([9; 32]);
        let mut key = || keys.key(CryptoSuite::AeadAes128Gcm);
        (0..count).map(|_| SrtpPair { local: key(), remote: key() }).collect()
    }

    fn plain(sequence: u16) -> [u8; HEADER + 160 + OVERHEAD] {
        let mut buffer = [0; HEADER + 160 + OVERHEAD];
        let payload = &[sequence as u8; 160];
        let timestamp = u32::from(sequence) * 160;
        Packet { payload_type: 0, marker: false, sequence, timestamp, ssrc: SSRC, payload }
            .write(&mut buffer)
            .unwrap();
        buffer
    }

    impl Far {
        fn new() -> Far {
            Far { now: Instant::now(), sequence: 65_500, us: Secure::default() }
        }

        /// What becomes of the next packet, sealed by `sealer`.
        fn sends(&mut self, sealer: &mut Sealer) -> Result<(), Refused> {
            self.sequence = self.sequence.wrapping_add(1);
            let mut buffer = plain(self.sequence);
            let mut sealed = sealer.seal_rtp(&mut buffer, HEADER + 160).unwrap().to_vec();
            let opened = self.us.open_rtp(self.now, &mut sealed)?;
            assert_eq!(opened, &plain(self.sequence)[..HEADER + 160]);
            Ok(())
        }
    }

    #[test]
    fn the_key_before_opens_for_a_second() {
        let mut far = Far::new();
        let pairs = pairs(2);
        let [mut old, mut new] = [0, 1].map(|i| Sealer::new(&pairs[i].remote).unwrap());
        far.us.set(far.now, Some(&pairs[0]));
        assert_eq!(far.sends(&mut old), Ok(()));
        assert_eq!(far.sends(&mut new), Err(Refused::Authentication));
        far.us.set(far.now, Some(&pairs[1]));
        for _ in 0..40 {
            assert_eq!(far.sends(&mut old), Ok(()));
            assert_eq!(far.sends(&mut new), Ok(()));
        }
        far.now += OVERLAP;
        assert_eq!(far.sends(&mut old), Err(Refused::Authentication));
        assert_eq!(far.sends(&mut new), Ok(()));
    }

    #[test]
    fn the_same_keys_go_on_over_a_rollover() {
        let mut far = Far::new();
        let pair = &pairs(1)[0];
        let mut sealer = Sealer::new(&pair.remote).unwrap();
        let mut opener = Opener::new(&pair.local).unwrap();
        for sequence in 65_500..65_600u32 {
            assert!(!far.us.set(far.now, Some(pair)), "the SSRC stays");
            assert_eq!(far.sends(&mut sealer), Ok(()));
            let mut buffer = plain(sequence as u16);
            let mut sealed = far.us.seal_rtp(&mut buffer, HEADER + 160).unwrap().to_vec();
            assert!(opener.open_rtp(&mut sealed).is_ok());
        }
    }

    #[test]
    fn a_call_that_is_come_back_to_finds_its_key_and_wants_a_new_ssrc() {
        let mut far = Far::new();
        let pairs = pairs(2);
        assert!(!far.us.set(far.now, Some(&pairs[0])));
        let mut sealer = Sealer::new(&pairs[0].remote).unwrap();
        let seal = |us: &mut Secure| {
            let mut buffer = plain(7);
            us.seal_rtp(&mut buffer, HEADER + 160).unwrap().to_vec()
        };
        for _ in 0..100 {
            assert_eq!(far.sends(&mut sealer), Ok(()), "over a rollover");
        }
        let first = seal(&mut far.us);
        assert!(!far.us.set(far.now, Some(&pairs[1])));
        assert_ne!(seal(&mut far.us), first);
        assert!(far.us.set(far.now, Some(&pairs[0])));
        assert_eq!(far.sends(&mut sealer), Ok(()));
        assert!(!far.us.set(far.now, None));
        assert_eq!(far.us.seal_rtp(&mut plain(1), 50).unwrap().len(), 50, "plain");
        assert!(far.us.set(far.now, Some(&pairs[0])));
    }

    #[test]
    fn audio_that_becomes_plain_may_still_come_encrypted() {
        let mut far = Far::new();
        let pair = &pairs(1)[0];
        far.us.set(far.now, Some(pair));
        let mut sealer = Sealer::new(&pair.remote).unwrap();
        assert_eq!(far.sends(&mut sealer), Ok(()));
        far.us.set(far.now, None);
        assert_eq!(far.sends(&mut sealer), Ok(()));
        let mut buffer = plain(1);
        assert!(far.us.open_rtp(far.now, &mut buffer).is_ok());
        assert_eq!(buffer, plain(1));
    }

    #[test]
    fn keys_are_bounded() {
        let mut far = Far::new();
        let pairs = pairs(40);
        for pair in &pairs {
            far.us.set(far.now, Some(pair));
        }
        assert_eq!((far.us.sealers.len(), far.us.openers.len()), (MAX_KEYS, MAX_KEYS));
        assert!(in_use(&far.us.sealers, &pairs[39].local));
    }

    /// One that is held again and again, with a rollover between: its stream goes on, and no part of the key
    /// stream is used twice.
    #[test]
    fn a_key_that_is_kept_already_goes_on_where_it_was() {
        let mut us = Secure::default();
        let pairs = pairs(2);
        us.set(Instant::now(), Some(&pairs[0]));
        let mut opener = Opener::new(&pairs[1].local).unwrap();
        for sequence in 65_500..65_600u32 {
            us.keep(&pairs[1].local);
            let mut buffer = plain(sequence as u16);
            let sealed = us.seal_aside(&pairs[1].local, &mut buffer, HEADER + 160).unwrap();
            assert!(opener.open_rtp(&mut sealed.to_vec()).is_ok(), "{sequence}");
        }
        assert_eq!(us.sealers.len(), 2);
    }

    #[test]
    fn keys_that_are_kept_are_bounded_and_the_one_in_use_stays() {
        let mut us = Secure::default();
        let pairs = pairs(40);
        us.set(Instant::now(), Some(&pairs[0]));
        for pair in &pairs {
            us.keep(&pair.local);
        }
        assert_eq!(us.sealers.len(), MAX_KEYS);
        assert!(in_use(&us.sealers, &pairs[0].local));
    }

    /// A held call's, while the active one takes fresh keys again and again: beginning anew with one of
    /// them would use key stream twice, and lose count of the far end's rollovers.
    #[test]
    fn keys_of_held_calls_outlive_any_number_of_fresh_ones() {
        let now = Instant::now();
        let mut us = Secure::default();
        let pairs = pairs(40);
        let (held, fresh) = pairs.split_at(8);
        for pair in held {
            us.set(now, Some(pair));
        }
        for pair in fresh {
            held.iter().for_each(|pair| us.freshen(pair));
            let current = us.sealers[0].0.clone();
            us.set(now, Some(pair));
            assert!(us.sealers[0].0 == pair.local && us.sealers[1].0 == current);
        }
        for pair in held {
            assert!(us.sealers.iter().any(|(key, _)| *key == pair.local));
            assert!(us.openers.iter().any(|(key, _)| *key == pair.remote));
        }
    }
}
