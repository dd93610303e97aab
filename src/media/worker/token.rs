//! What a readiness report is about.

/// One of the worker's own sockets, or one of a seat's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The waker: orders have come.
    Control,
    /// The browser-side port.
    Browser,
    /// The RTP socket of a seat.
    Rtp(usize),
    /// The RTCP socket of a seat.
    Rtcp(usize),
    /// The RTP socket of a seat's video.
    Video(usize),
    /// Its RTCP socket.
    VideoRtcp(usize),
    /// A connection of a browser's, by its place in the table.
    Tcp(usize),
}

/// Bits that tell the kind; the index is above them.
const KIND: u32 = 3;

impl From<Token> for u64 {
    fn from(token: Token) -> u64 {
        let (kind, index) = match token {
            Token::Control => (0, 0),
            Token::Browser => (1, 0),
            Token::Rtp(seat) => (2, seat),
            Token::Rtcp(seat) => (3, seat),
            Token::Tcp(place) => (4, place),
            Token::Video(seat) => (5, seat),
            Token::VideoRtcp(seat) => (6, seat),
        };
        (index as u64) << KIND | kind
    }
}

impl Token {
    /// `None` for what no [`Token`] was made into.
    pub fn of(number: u64) -> Option<Token> {
        let index = (number >> KIND) as usize;
        match number & ((1 << KIND) - 1) {
            0 => Some(Token::Control),
            1 => Some(Token::Browser),
            2 => Some(Token::Rtp(index)),
            3 => Some(Token::Rtcp(index)),
            4 => Some(Token::Tcp(index)),
            5 => Some(Token::Video(index)),
            6 => Some(Token::VideoRtcp(index)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        for token in [
            Token::Control,
            Token::Browser,
            Token::Rtp(0),
            Token::Rtcp(usize::MAX >> 3),
            Token::Tcp(9),
            Token::Video(3),
            Token::VideoRtcp(4),
        ] {
            assert_eq!(Token::of(token.into()), Some(token));
        }
        assert_eq!(Token::of(7), None);
    }
}
