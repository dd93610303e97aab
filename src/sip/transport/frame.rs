//! Messages out of a stream (RFC 3261 18.3): Content-Length says where each ends. Pure.
//!
//! What cannot be framed ends the connection: nobody knows where the next message would begin.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::sip::wire::{MAX_HEAD, MAX_HEADERS, content_length, count_lines};

/// Longest message, as by UDP.
pub const MAX_MESSAGE: usize = 65_536;

/// What a stream brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One whole message.
    Message(Bytes),
    /// A blank line between messages: half a ping, or a pong (RFC 5626 4.4.1).
    Blank,
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error("what came is not SIP")]
    NotSip,
    #[error("more than 32 KiB or 256 lines of headers")]
    HeadTooBig,
    #[error("a message without Content-Length")]
    NoLength,
    #[error("a message with a Content-Length that cannot be understood")]
    BadLength,
    #[error("a message of more than 64 KiB")]
    TooBig,
}

/// Cuts what comes into messages, however it comes. Holds less than one message and what was pushed
/// last.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of headers.
    scanned: usize,
    /// Length of the message at the front, once its headers are whole.
    length: Option<usize>,
    first_line_seen: bool,
}

impl Framer {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// True within a message.
    pub fn is_within(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Bytes that wait for the rest of their message.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next message or blank line; None until more has come.
    ///
    /// # Errors
    /// The stream is of no use any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameFault> {
        if self.length.is_none() {
            match self.buffer.as_ref() {
                [b'\r', b'\n', ..] if self.scanned == 0 => {
                    self.buffer.advance(2);
                    return Ok(Some(Frame::Blank));
                }
                [] | [b'\r'] => return Ok(None),
                [first, ..] if !first.is_ascii_graphic() => return Err(FrameFault::NotSip),
                _ => {}
            }
            let Some(end) = self.head_end()? else { return Ok(None) };
            let head = self.buffer.get(..end).unwrap_or_default();
            if count_lines(head) > MAX_HEADERS {
                return Err(FrameFault::HeadTooBig);
            }
            let body = match content_length(head) {
                Ok(Some(length)) => length,
                Ok(None) => return Err(FrameFault::NoLength),
                Err(_) => return Err(FrameFault::BadLength),
            };
            let whole = body.checked_add(end + 4).filter(|length| *length <= MAX_MESSAGE);
            self.length = Some(whole.ok_or(FrameFault::TooBig)?);
        }
        match self.length {
            Some(length) if self.buffer.len() >= length => {
                let message = self.buffer.split_to(length).freeze();
                (self.scanned, self.length, self.first_line_seen) = (0, None, false);
                Ok(Some(Frame::Message(message)))
            }
            _ => Ok(None),
        }
    }

    /// Where the headers end. What was looked at before is not looked at again.
    fn head_end(&mut self) -> Result<Option<usize>, FrameFault> {
        self.check_first_line()?;
        let fresh = self.buffer.get(self.scanned..).unwrap_or_default();
        let found = fresh.windows(4).position(|four| four == b"\r\n\r\n");
        match found.map(|at| at + self.scanned) {
            Some(end) if end > MAX_HEAD => Err(FrameFault::HeadTooBig),
            Some(end) => Ok(Some(end)),
            None if self.buffer.len() > MAX_HEAD + 4 => Err(FrameFault::HeadTooBig),
            None => {
                self.scanned = self.buffer.len().saturating_sub(3);
                Ok(None)
            }
        }
    }

    /// A web browser or a scanner is told off by its first line, not by 32 KiB of it.
    fn check_first_line(&mut self) -> Result<(), FrameFault> {
        if self.first_line_seen {
            return Ok(());
        }
        let fresh = self.buffer.get(self.scanned..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else { return Ok(()) };
        self.first_line_seen = true;
        let line = self.buffer.get(..self.scanned + end).unwrap_or_default();
        let sip = line.windows(4).any(|four| four.eq_ignore_ascii_case(b"SIP/"));
        if sip { Ok(()) } else { Err(FrameFault::NotSip) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(framer: &mut Framer) -> Vec<Frame> {
        std::iter::from_fn(|| framer.next_frame().unwrap()).collect()
    }

    #[test]
    fn glued_and_cut_messages_come_out_whole() {
        let one = b"OPTIONS sip:a SIP/2.0\r\nl: 4\r\n\r\n\r\n\r\n".as_slice();
        let two = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".as_slice();
        let all = [b"\r\n", one, b"\r\n\r\n", two, one].concat();
        let want = [
            Frame::Blank,
            Frame::Message(Bytes::from_static(one)),
            Frame::Blank,
            Frame::Blank,
            Frame::Message(Bytes::from_static(two)),
            Frame::Message(Bytes::from_static(one)),
        ];
        for size in [1, 2, 3, 7, all.len()] {
            let mut framer = Framer::default();
            let mut got = vec![];
            for piece in all.chunks(size) {
                framer.push(piece);
                got.extend(frames(&mut framer));
            }
            assert_eq!(got, want, "in pieces of {size}");
            assert!(!framer.is_within());
        }
    }

    #[test]
    fn what_cannot_be_framed_is_named() {
        let fault = |text: &str| {
            let mut framer = Framer::default();
            framer.push(text.as_bytes());
            framer.next_frame().unwrap_err()
        };
        assert_eq!(fault("GET / HTTP/1.1\r\n"), FrameFault::NotSip);
        assert_eq!(fault("\u{16}\u{3}\u{1}"), FrameFault::NotSip);
        assert_eq!(fault("BYE sip:a SIP/2.0\r\nX: y\r\n\r\n"), FrameFault::NoLength);
        assert_eq!(fault("BYE sip:a SIP/2.0\r\nl: -1\r\n\r\n"), FrameFault::BadLength);
        assert_eq!(fault("BYE sip:a SIP/2.0\r\nl: 65536\r\n\r\n"), FrameFault::TooBig);
        let many = format!("BYE sip:a SIP/2.0\r\n{}", "X: y\r\n".repeat(8000));
        assert_eq!(fault(&many), FrameFault::HeadTooBig);
    }
}
