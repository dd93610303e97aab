//! G.711: the two companding laws, and from one to the other by table (ITU-T G.711).

use crate::sdp::Codec;

static TO_ALAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = alaw_from_linear(linear_from_ulaw(i as u8));
        i += 1;
    }
    table
};

static TO_ULAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = ulaw_from_linear(linear_from_alaw(i as u8));
        i += 1;
    }
    table
};

/// The table that turns `from` into `to`, where both are G.711 and differ.
pub fn transcoding(from: Codec, to: Codec) -> Option<&'static [u8; 256]> {
    match (from, to) {
        (Codec::Pcmu, Codec::Pcma) => Some(&TO_ALAW),
        (Codec::Pcma, Codec::Pcmu) => Some(&TO_ULAW),
        _ => None,
    }
}

/// A sample of full 16-bit scale.
pub const fn linear_from_ulaw(byte: u8) -> i16 {
    let bits = !byte;
    let magnitude = ((((bits & 0x0F) as i32) << 3) + 0x84) << ((bits & 0x70) >> 4);
    (if bits & 0x80 != 0 { 0x84 - magnitude } else { magnitude - 0x84 }) as i16
}

pub const fn ulaw_from_linear(sample: i16) -> u8 {
    let negative = sample < 0;
    let magnitude = (sample as i32).abs();
    let magnitude = (if magnitude > 32_635 { 32_635 } else { magnitude }) + 0x84;
    let exponent = magnitude.ilog2() - 7;
    let mantissa = ((magnitude >> (exponent + 3)) & 0x0F) as u8;
    !(((negative as u8) << 7) | ((exponent as u8) << 4) | mantissa)
}

/// A sample of full 16-bit scale.
pub const fn linear_from_alaw(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let low = ((bits & 0x0F) as i32) << 4;
    let magnitude = match (bits & 0x70) >> 4 {
        0 => low + 0x08,
        exponent => (low + 0x108) << (exponent - 1),
    };
    (if bits & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

pub const fn alaw_from_linear(sample: i16) -> u8 {
    let (magnitude, mask) =
        if sample >= 0 { (sample as i32, 0xD5) } else { (-(sample as i32) - 1, 0x55) };
    let bits = if magnitude < 256 {
        magnitude >> 4
    } else {
        let exponent = magnitude.ilog2() as i32 - 7;
        (exponent << 4) | ((magnitude >> (exponent + 3)) & 0x0F)
    };
    bits as u8 ^ mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Extremes and silence, as the tables of ITU-T G.711 have them (16-bit scale).
        assert_eq!(linear_from_ulaw(0x00), -32_124);
        assert_eq!(linear_from_ulaw(0x80), 32_124);
        assert_eq!(linear_from_ulaw(0xFF), 0);
        assert_eq!(linear_from_alaw(0x2A), -32_256);
        assert_eq!(linear_from_alaw(0xAA), 32_256);
        assert_eq!(linear_from_alaw(0xD5), 8);
    }

    #[test]
    fn every_byte_survives_its_own_law() {
        for byte in 0..=255 {
            assert_eq!(alaw_from_linear(linear_from_alaw(byte)), byte);
            // mu-law has two zeros.
            let expected = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(ulaw_from_linear(linear_from_ulaw(byte)), expected);
        }
    }

    #[test]
    fn transcoding_stays_within_a_step() {
        let to_alaw = transcoding(Codec::Pcmu, Codec::Pcma).unwrap();
        let to_ulaw = transcoding(Codec::Pcma, Codec::Pcmu).unwrap();
        assert_eq!(to_alaw[0xFF], 0xD5, "silence stays silence");
        for byte in 0..=255u8 {
            let step = |value: i16| 16.max(i32::from(value).abs() / 16);
            let linear = linear_from_ulaw(byte);
            let other = linear_from_alaw(to_alaw[usize::from(byte)]);
            assert!((i32::from(linear) - i32::from(other)).abs() <= step(linear), "{byte}");
            let linear = linear_from_alaw(byte);
            let other = linear_from_ulaw(to_ulaw[usize::from(byte)]);
            assert!((i32::from(linear) - i32::from(other)).abs() <= step(linear), "{byte}");
        }
        assert!(transcoding(Codec::Pcmu, Codec::Pcmu).is_none());
        assert!(transcoding(Codec::G722, Codec::Pcmu).is_none());
    }
}
