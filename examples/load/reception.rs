//! What an end has heard, for its reports: reception blocks of RFC 3550 6.4.1, losses and all.

#[derive(Default)]
pub struct Reception {
    source: Option<Source>,
}

struct Source {
    ssrc: u32,
    first: u32,
    /// With the times that 16 bits went round.
    highest: u32,
    received: u32,
    /// Expected and received until the last block.
    told: (u32, u32),
}

impl Reception {
    /// An RTP packet, opened.
    pub fn heard(&mut self, packet: &[u8]) {
        let Some(&[_, _, high, low, _, _, _, _, a, b, c, d]) = packet.first_chunk() else { return };
        let (sequence, ssrc) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]));
        let source = match &mut self.source {
            Some(source) if source.ssrc == ssrc => source,
            other => other.insert(Source {
                ssrc,
                first: sequence.into(),
                highest: sequence.into(),
                received: 0,
                told: (0, 0),
            }),
        };
        let ahead = sequence.wrapping_sub(source.highest as u16);
        if ahead < 0x8000 {
            source.highest = source.highest.wrapping_add(ahead.into());
        }
        source.received += 1;
    }

    /// Since the last one; none before anything was heard.
    pub fn block(&mut self) -> Option<[u8; 24]> {
        let source = self.source.as_mut()?;
        let expected = source.highest - source.first + 1;
        let (wanted, came) = (expected - source.told.0, source.received - source.told.1);
        source.told = (expected, source.received);
        let lost = wanted.saturating_sub(came);
        let fraction = (lost * 256).checked_div(wanted).unwrap_or(0).min(255) as u8;
        let in_all = expected.saturating_sub(source.received).min(0x7F_FFFF);
        let mut block = [0; 24];
        block[..4].copy_from_slice(&source.ssrc.to_be_bytes());
        block[4..8].copy_from_slice(&(u32::from(fraction) << 24 | in_all).to_be_bytes());
        block[8..12].copy_from_slice(&source.highest.to_be_bytes());
        Some(block)
    }
}
