//! RTP packets, read in place (RFC 3550 5.1).

/// The fixed header, without CSRCs and extension: all that we ever write.
pub const HEADER: usize = 12;

/// A packet as it lies in its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Without extension and padding.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// `None` for what is no RTP of version 2 or does not hold what its header says.
    pub fn parse(data: &'a [u8]) -> Option<Packet<'a>> {
        let (fixed, rest) = data.split_first_chunk::<HEADER>()?;
        let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if flags >> 6 != 2 {
            return None;
        }
        let mut payload = rest.get(usize::from(flags & 0x0F) * 4..)?;
        if flags & 0x10 != 0 {
            let ([_, _, l0, l1], after) = payload.split_first_chunk::<4>()?;
            payload = after.get(usize::from(u16::from_be_bytes([*l0, *l1])) * 4..)?;
        }
        if flags & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            if padding == 0 {
                return None;
            }
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        Some(Packet {
            payload_type: kind & 0x7F,
            marker: kind & 0x80 != 0,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
            payload,
        })
    }

    /// Writes the packet with a plain header; `None` when `buffer` is too short.
    pub fn write<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let len = HEADER + self.payload.len();
        let out = buffer.get_mut(..len)?;
        let (header, payload) = out.split_first_chunk_mut::<HEADER>()?;
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        let kind = self.payload_type & 0x7F | u8::from(self.marker) << 7;
        *header = [0x80, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3];
        payload.copy_from_slice(self.payload);
        Some(out)
    }
}

/// What a datagram on a multiplexed port is (RFC 7983, RFC 5761).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    Unknown,
}

impl Class {
    pub fn of(data: &[u8]) -> Class {
        match data {
            [0..=3, ..] => Class::Stun,
            [20..=63, ..] => Class::Dtls,
            [128..=191, 192..=223, ..] => Class::Rtcp,
            [128..=191, ..] => Class::Rtp,
            _ => Class::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_past_csrcs_extension_and_padding() {
        let mut data = vec![0xB1, 0x80 | 8, 0x12, 0x34, 0, 0, 1, 0, 0xDE, 0xAD, 0xBE, 0xEF];
        data.extend([1, 2, 3, 4]); // one CSRC
        data.extend([0xBE, 0xDE, 0, 1, 0x10, 0xFF, 0, 0]); // one word of extension
        data.extend([0xAA, 0xBB, 0xCC]);
        data.extend([0, 0, 3]); // padding
        let packet = Packet::parse(&data).unwrap();
        assert_eq!(packet.payload, [0xAA, 0xBB, 0xCC]);
        assert_eq!((packet.payload_type, packet.marker), (8, true));
        assert_eq!((packet.sequence, packet.timestamp, packet.ssrc), (0x1234, 256, 0xDEAD_BEEF));
        for cut in 0..data.len() {
            let _ = Packet::parse(&data[..cut]);
        }
    }

    #[test]
    fn refuses_what_lies_about_its_length() {
        let mut data = [0u8; 20];
        data[0] = 0x8F;
        assert_eq!(Packet::parse(&data), None, "15 CSRCs in 8 bytes");
        data[0] = 0x90;
        data[15] = 9;
        assert_eq!(Packet::parse(&data), None, "an extension of 9 words in 4 bytes");
        data[0] = 0xA0;
        data[19] = 9;
        assert_eq!(Packet::parse(&data), None, "more padding than payload");
        data[19] = 0;
        assert_eq!(Packet::parse(&data), None, "no padding at all");
        data[0] = 0x40;
        assert_eq!(Packet::parse(&data), None, "version 1");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            payload_type in 0..128u8, marker: bool, sequence: u16, timestamp: u32, ssrc: u32,
            payload in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let packet =
                Packet { payload_type, marker, sequence, timestamp, ssrc, payload: &payload };
            let mut buffer = [0; 400];
            prop_assert_eq!(Packet::parse(packet.write(&mut buffer).unwrap()), Some(packet));
        }

        #[test]
        fn noise_never_panics(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Packet::parse(&data);
            let _ = Class::of(&data);
        }
    }
}
