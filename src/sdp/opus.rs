//! What a receiver of Opus wishes (RFC 7587 6.1).

use std::fmt;
use std::ops::RangeInclusive;

/// Bits a second of `maxaveragebitrate`. Others say nothing.
const BITS: RangeInclusive<u32> = 6_000..=510_000;

/// Hz of `maxplaybackrate`.
const RATES: RangeInclusive<u32> = 8_000..=48_000;

/// The parameters of `a=fmtp` that are the receiver's: where Opus is passed on they are told to who sends it,
/// where it is made here they are followed, as far as can be. Ours is one channel without pauses: `stereo`
/// and `usedtx` ask for nothing that it has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpusWishes {
    /// `useinbandfec`: it makes use of redundancy for lost packets.
    pub fec: bool,
    /// `usedtx`: it would rather have nothing sent while nobody speaks.
    pub dtx: bool,
    pub stereo: bool,
    /// A constant bit rate.
    pub cbr: bool,
    /// `maxaveragebitrate`, in bits a second: 6000 to 510000.
    pub max_bits: Option<u32>,
    /// `maxplaybackrate`, in Hz: 8000 to 48000. What is above half of it is not heard.
    pub max_rate: Option<u32>,
}

impl Default for OpusWishes {
    /// Our own.
    fn default() -> Self {
        OpusWishes { fec: true, ..OpusWishes::NONE }
    }
}

impl OpusWishes {
    /// Of a description that says nothing of it.
    pub const NONE: OpusWishes = OpusWishes {
        fec: false,
        dtx: false,
        stereo: false,
        cbr: false,
        max_bits: None,
        max_rate: None,
    };

    /// Of the parameters of `a=fmtp`. What is not known or cannot be says nothing.
    pub fn parse(parameters: &str) -> Self {
        let mut wishes = OpusWishes::NONE;
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let value = value.trim();
            let number = |range: &RangeInclusive<u32>| {
                value.parse().ok().filter(|number| range.contains(number))
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "useinbandfec" => wishes.fec = value == "1",
                "usedtx" => wishes.dtx = value == "1",
                "stereo" => wishes.stereo = value == "1",
                "cbr" => wishes.cbr = value == "1",
                "maxaveragebitrate" => wishes.max_bits = number(&BITS),
                "maxplaybackrate" => wishes.max_rate = number(&RATES),
                _ => {}
            }
        }
        wishes
    }
}

impl fmt::Display for OpusWishes {
    /// As `a=fmtp` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("minptime=10")?;
        let flags = [
            ("useinbandfec", self.fec),
            ("usedtx", self.dtx),
            ("stereo", self.stereo),
            ("cbr", self.cbr),
        ];
        for (name, _) in flags.iter().filter(|(_, set)| *set) {
            write!(f, ";{name}=1")?;
        }
        for (name, value) in
            [("maxaveragebitrate", self.max_bits), ("maxplaybackrate", self.max_rate)]
        {
            if let Some(value) = value {
                write!(f, ";{name}={value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = "minptime=10;useinbandfec=1;usedtx=1;stereo=1;cbr=1;maxaveragebitrate=20000;maxplaybackrate=16000";
        let wishes = OpusWishes::parse(text);
        assert_eq!((wishes.max_bits, wishes.max_rate), (Some(20_000), Some(16_000)));
        assert_eq!(wishes.to_string(), text);
        let ours = "minptime=10;useinbandfec=1";
        assert_eq!(OpusWishes::default().to_string(), ours);
        assert_eq!(OpusWishes::parse(ours), OpusWishes::default());
    }

    #[test]
    fn what_cannot_be_says_nothing() {
        for text in [
            "",
            "useinbandfec",
            "useinbandfec=0; usedtx=2",
            "maxaveragebitrate=5999;maxplaybackrate=48001",
            "maxaveragebitrate=-1;x=y;;=;maxplaybackrate=99999999999",
        ] {
            assert_eq!(OpusWishes::parse(text), OpusWishes::NONE, "{text}");
        }
        assert!(OpusWishes::parse(" UseInbandFEC = 1 ; x=2").fec);
    }
}
