//! ChannelData, and where one message ends and the next begins on a stream (RFC 8656 12.4, 12.5).

/// Longest message taken from a stream. What is relayed is one datagram of a media socket at a time,
/// 2048 bytes at most, and its frame.
pub(super) const MAX_FRAME: usize = 2560;

/// RFC 8656 12: the numbers that a channel may have.
pub(super) const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;

/// The bytes of a message, told apart by their first two bits (RFC 8656 12).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Stun(&'a [u8]),
    Channel { number: u16, data: &'a [u8] },
}

/// A datagram, or a message that [`next`] has found.
pub(super) fn parse(data: &[u8]) -> Option<Frame<'_>> {
    let (&first, &second) = (data.first()?, data.get(1)?);
    match first >> 6 {
        0 => Some(Frame::Stun(data)),
        1 => {
            let number = u16::from_be_bytes([first, second]);
            let length = u16::from_be_bytes([*data.get(2)?, *data.get(3)?]);
            // Behind it there may be padding, over UDP too.
            let data = data.get(4..4 + usize::from(length))?;
            Some(Frame::Channel { number, data })
        }
        _ => None,
    }
}

/// The stream is not TURN, or its messages are too long: it cannot be followed any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

/// The length of the first message in `data`, padding included; `None` while more has to come.
pub(super) fn next(data: &[u8]) -> Result<Option<usize>, Lost> {
    let Some(&[first, _, high, low]) = data.first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = match first >> 6 {
        0 if length % 4 == 0 => 20 + length,
        1 => 4 + length.next_multiple_of(4),
        _ => return Err(Lost),
    };
    if whole > MAX_FRAME {
        return Err(Lost);
    }
    Ok((data.len() >= whole).then_some(whole))
}

/// `padded` for streams (RFC 8656 12.5).
pub(super) fn channel_data(number: u16, data: &[u8], padded: bool) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4 + data.len() + 3);
    frame.extend_from_slice(&number.to_be_bytes());
    // A datagram is shorter than 64 KiB.
    frame.extend_from_slice(&(data.len() as u16).to_be_bytes());
    frame.extend_from_slice(data);
    if padded {
        frame.resize(frame.len().next_multiple_of(4), 0);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_data_comes_back() {
        for (padded, length) in [(false, 9), (true, 12)] {
            let bytes = channel_data(0x4001, b"hello", padded);
            assert_eq!(bytes.len(), length);
            assert_eq!(parse(&bytes), Some(Frame::Channel { number: 0x4001, data: b"hello" }));
        }
    }

    #[test]
    fn messages_are_cut_from_a_stream_wherever_it_is_broken() {
        let frame = channel_data(0x4abc, b"12345", true);
        for cut in 0..frame.len() {
            assert_eq!(next(&frame[..cut]), Ok(None), "{cut}");
        }
        let two = [frame.as_slice(), b"\x00\x01\x00\x04"].concat();
        assert_eq!(next(&two), Ok(Some(12)));
        assert_eq!(next(&two[12..]), Ok(None));
        assert_eq!(next(b"GET / HTTP/1.1"), Err(Lost));
        assert_eq!(next(b"\x16\x03\x01\x02\x00"), Err(Lost), "TLS on the plain port");
        assert_eq!(next(b"\x40\x00\xff\xff"), Err(Lost));
        assert_eq!(next(b"\x00\x01\x00\x05"), Err(Lost));
    }

    #[test]
    fn a_channel_that_says_more_than_it_has_is_nothing() {
        assert_eq!(parse(b"\x40\x00\x00\x05abcd"), None);
        assert_eq!(parse(b"\x40\x00"), None);
        assert_eq!(parse(b"\x80\x00\x00\x00"), None, "RTP");
        assert_eq!(parse(b""), None);
        let padded = b"\x40\x00\x00\x01a\0\0\0";
        assert_eq!(parse(padded), Some(Frame::Channel { number: 0x4000, data: b"a" }));
    }
}
