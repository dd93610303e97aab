//! How long a payload is, and what silence is, without decoding anything.

use std::time::Duration;

use crate::media::stream::units;
use crate::sdp::Codec;

/// The most that an Opus packet may hold, in units of its clock: 120 ms (RFC 6716 3.1).
const OPUS_LONGEST: u32 = 5760;

/// CELT, full band, mono; 10 and 20 ms in one frame (RFC 6716 3.1), and the frame itself: the flag of
/// silence is the first bit that the range coder reads.
const OPUS_10_MS: u8 = 30 << 3;
const OPUS_20_MS: u8 = 31 << 3;
const OPUS_SILENCE: [u8; 2] = [0xFF, 0xFE];

/// The length of a payload in units of the codec's RTP clock; 0 for what is no payload of it.
pub fn samples(codec: Codec, payload: &[u8]) -> u32 {
    match codec {
        // A byte a sample, or a byte for two of G.722's, whose clock counts half of them.
        Codec::Pcmu | Codec::Pcma | Codec::G722 => payload.len() as u32,
        Codec::Opus => opus_samples(payload),
    }
}

/// RFC 6716 3.1 and 3.2.
fn opus_samples(payload: &[u8]) -> u32 {
    let Some(toc) = payload.first() else { return 0 };
    let frame = match toc >> 3 {
        silk @ 0..=11 => [480, 960, 1920, 2880][usize::from(silk & 3)],
        hybrid @ 12..=15 => [480, 960][usize::from(hybrid & 1)],
        celt => [120, 240, 480, 960][usize::from(celt & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => payload.get(1).map_or(0, |count| u32::from(count & 0x3F)),
    };
    let samples = frame * frames;
    if samples > OPUS_LONGEST { 0 } else { samples }
}

/// Writes silence of that length into `out` and returns the bytes written: 0 where it does not fit or
/// is not a whole number of the codec's frames.
pub fn silence(codec: Codec, time: Duration, out: &mut [u8]) -> usize {
    if let Some(byte) = codec.silence_byte() {
        let len = units(time, codec.clock_rate()) as usize;
        let Some(frame) = out.get_mut(..len) else { return 0 };
        frame.fill(byte);
        return len;
    }
    let [a, b] = OPUS_SILENCE;
    let millis = time.as_millis();
    let (head, count): ([u8; 2], usize) = match millis {
        10 => ([OPUS_10_MS, 0], 1),
        20 => ([OPUS_20_MS, 0], 1),
        // Several frames of one length: their number in a byte of its own (RFC 6716 3.2.5).
        40..=120 if millis.is_multiple_of(20) => {
            let count = (millis / 20) as u8;
            ([OPUS_20_MS | 3, count], usize::from(count))
        }
        _ => return 0,
    };
    let head = if count == 1 { &head[..1] } else { &head[..] };
    let len = head.len() + 2 * count;
    let Some((first, rest)) =
        out.get_mut(..len).and_then(|frame| frame.split_at_mut_checked(head.len()))
    else {
        return 0;
    };
    first.copy_from_slice(head);
    for frame in rest.chunks_exact_mut(2) {
        frame.copy_from_slice(&[a, b]);
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn silence_is_as_long_as_it_was_asked_for() {
        for codec in Codec::ALL {
            for millis in [10, 20, 40, 60, 100] {
                let mut out = [0; 1000];
                let time = Duration::from_millis(millis);
                let len = silence(codec, time, &mut out);
                assert_eq!(samples(codec, &out[..len]), units(time, codec.clock_rate()));
                assert_eq!(silence(codec, time, &mut out[..len - 1]), 0, "no room");
            }
        }
        assert_eq!(silence(Codec::Opus, Duration::from_millis(30), &mut [0; 100]), 0);
    }

    #[test]
    fn opus_lengths_by_the_table_of_rfc_6716() {
        let toc = |config: u8, code: u8| config << 3 | code;
        // SILK 60 ms, hybrid 10 ms, CELT 2.5 ms.
        assert_eq!(samples(Codec::Opus, &[toc(3, 0)]), 2880);
        assert_eq!(samples(Codec::Opus, &[toc(12, 0), 1, 2]), 480);
        assert_eq!(samples(Codec::Opus, &[toc(16, 0), 1, 2]), 120);
        assert_eq!(samples(Codec::Opus, &[toc(31, 1), 1, 2]), 1920);
        assert_eq!(samples(Codec::Opus, &[toc(31, 3), 0x80 | 3, 1]), 2880);
        assert_eq!(samples(Codec::Opus, &[toc(3, 3), 3]), 0, "180 ms is none");
        assert_eq!(samples(Codec::Opus, &[]), 0);
    }

    proptest! {
        #[test]
        fn no_payload_is_longer_than_there_is(payload in prop::collection::vec(any::<u8>(), 0..10)) {
            prop_assert!(samples(Codec::Opus, &payload) <= OPUS_LONGEST);
        }
    }
}
