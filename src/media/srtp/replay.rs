//! Packet indices and the replay window (RFC 3711 3.3.1, 3.3.2).

/// Packets the window remembers (64 at least by the RFC): 2.5 s of audio.
const WINDOW: u64 = 128;

/// The 48-bit index of a sequence number: the one nearest to the highest seen so far (RFC 3711 3.3.1).
/// `None` for one from before the first packet of all.
pub fn nearest_index(highest: Option<u64>, sequence: u16) -> Option<u64> {
    let Some(highest) = highest else { return Some(u64::from(sequence)) };
    let (roc, last) = (highest >> 16, highest as u16);
    let roc = match (sequence.wrapping_sub(last) < 0x8000, sequence >= last) {
        // Ahead, over the end of the sequence numbers.
        (true, false) => roc + 1,
        // Behind, before their beginning.
        (false, true) => roc.checked_sub(1)?,
        _ => roc,
    };
    Some(roc << 16 | u64::from(sequence))
}

/// What has been received of one stream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    highest: Option<u64>,
    /// Bit n: the packet n before the highest was received.
    seen: u128,
}

impl Window {
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Is it new? Only an authenticated packet may then be marked by [`Window::accept`].
    pub fn is_fresh(&self, index: u64) -> bool {
        let Some(highest) = self.highest else { return true };
        match highest.checked_sub(index) {
            None => true,
            Some(age) => age < WINDOW && self.seen >> age & 1 == 0,
        }
    }

    pub fn accept(&mut self, index: u64) {
        let Some(highest) = self.highest else {
            (self.highest, self.seen) = (Some(index), 1);
            return;
        };
        match highest.checked_sub(index) {
            None => {
                let ahead = u32::try_from(index - highest).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = Some(index);
            }
            Some(age) if age < WINDOW => self.seen |= 1 << age,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_nearest_index_goes_over_the_rollover_both_ways() {
        assert_eq!(nearest_index(None, 65_535), Some(65_535));
        assert_eq!(nearest_index(Some(65_535), 0), Some(65_536));
        assert_eq!(nearest_index(Some(65_536), 65_535), Some(65_535));
        assert_eq!(nearest_index(Some(5), 65_530), None, "before the first packet of all");
        assert_eq!(nearest_index(Some(5), 0x8004), Some(0x8004));
        assert_eq!(nearest_index(Some(3 << 16 | 10), 11), Some(3 << 16 | 11));
    }

    proptest! {
        #[test]
        fn each_index_is_fresh_once(steps in prop::collection::vec(0u64..400, 1..300)) {
            let mut window = Window::default();
            let mut taken = BTreeSet::new();
            let mut highest = 0;
            for index in steps {
                let fresh = window.is_fresh(index);
                let expected = !taken.contains(&index)
                    && (taken.is_empty() || index + WINDOW > highest);
                prop_assert_eq!(fresh, expected);
                if fresh {
                    window.accept(index);
                    taken.insert(index);
                    highest = highest.max(index);
                }
            }
        }
    }
}
