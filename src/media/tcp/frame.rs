//! Datagrams in a byte stream: two bytes of length before each (RFC 4571 2).

/// The largest frame taken, as large as the largest datagram.
pub const MAX_FRAME: usize = 2048;

/// Bytes of the length.
const PREFIX: usize = 2;

/// A frame larger than [`MAX_FRAME`]: this is no media, and where the next one begins is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Bytes as they came, and how far they were read.
pub struct FrameReader {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl FrameReader {
    /// Takes the longest frame and what arrives with it.
    pub fn new() -> Self {
        FrameReader {
            buffer: vec![0; 2 * (PREFIX + MAX_FRAME)].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// Where the next bytes go. Never empty while all whole frames have been taken.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes have been put into [`FrameReader::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// The next whole frame, if there is one. Empty ones are left out.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    pub fn next_frame(&mut self) -> Result<Option<&mut [u8]>, TooLong> {
        loop {
            let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
            let Some(prefix) = waiting.first_chunk::<PREFIX>() else { return Ok(None) };
            let len = usize::from(u16::from_be_bytes(*prefix));
            if len > MAX_FRAME {
                return Err(TooLong);
            }
            if waiting.len() < PREFIX + len {
                return Ok(None);
            }
            let first = self.start + PREFIX;
            self.start = first + len;
            if len > 0 {
                return Ok(self.buffer.get_mut(first..first + len));
            }
        }
    }

    /// The next frame, which stays the next one.
    pub fn peek(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let before = self.start;
        let found = self.next_frame()?.map(|frame| frame.len());
        let end = std::mem::replace(&mut self.start, before);
        Ok(found.and_then(|len| self.buffer.get(end - len..end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(reader: &mut FrameReader, bytes: &[u8]) -> usize {
        let space = reader.space();
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        reader.filled(count);
        count
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        [&(frame.len() as u16).to_be_bytes()[..], frame].concat()
    }

    #[test]
    fn a_frame_too_long_ends_the_stream() {
        let mut reader = FrameReader::new();
        put(&mut reader, &[0x08, 0x00]);
        assert_eq!(reader.next_frame(), Ok(None));
        put(&mut reader, &[0x08, 0x01]);
        assert!(reader.peek().is_ok());
        let mut reader = FrameReader::new();
        put(&mut reader, &[0x08, 0x01]);
        assert_eq!(reader.next_frame(), Err(TooLong));
        // As the first two bytes of an HTTP request, or of TLS.
        for wrong in [b"GE", b"\x16\x03"] {
            let mut reader = FrameReader::new();
            put(&mut reader, wrong);
            assert_eq!(reader.peek(), Err(TooLong));
        }
    }

    #[test]
    fn a_frame_that_was_looked_at_is_still_there() {
        let mut reader = FrameReader::new();
        put(&mut reader, &[0, 0, 0, 2, 7, 8, 0, 1, 9]);
        assert_eq!(reader.peek().unwrap(), Some(&[7, 8][..]));
        assert_eq!(reader.next_frame().unwrap(), Some(&mut [7, 8][..]));
        assert_eq!(reader.next_frame().unwrap(), Some(&mut [9][..]));
        assert_eq!(reader.peek().unwrap(), None);
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=MAX_FRAME), 1..8),
            cuts in prop::collection::vec(1..5000usize, 1..40),
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
            let (mut reader, mut rest, mut out) = (FrameReader::new(), &stream[..], Vec::new());
            for cut in cuts.iter().cycle() {
                let count = put(&mut reader, &rest[..rest.len().min(*cut)]);
                prop_assert!(count > 0);
                rest = &rest[count..];
                while let Some(frame) = reader.next_frame().unwrap() {
                    out.push(frame.to_vec());
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, frames);
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..9000)) {
            let mut reader = FrameReader::new();
            let mut rest = &noise[..];
            while !rest.is_empty() {
                let count = put(&mut reader, rest);
                rest = &rest[count..];
                while let Ok(Some(frame)) = reader.next_frame() {
                    prop_assert!(frame.len() <= MAX_FRAME);
                }
                if reader.peek().is_err() {
                    break;
                }
            }
        }
    }
}
