//! Reads `use_srtp` out of a ClientHello before the handshake starts (RFC 5764 4.1.1).
//!
//! As a server rtc-dtls follows the client's order of SRTP profiles; to prefer AES-GCM whatever
//! that order is, the offer has to be known when the association is set up. A ClientHello may come
//! in several records and datagrams (post-quantum key shares make it long).

/// Handshake bytes kept of a ClientHello: several times the longest seen.
const MAX_HELLO: usize = 8 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: u16 = 14;

/// True for a datagram with a handshake message that is encrypted, as only the last one of a browser's
/// handshake is.
pub fn repeats_a_finish(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Some((record, after)) = split_record(rest) {
        if matches!(record, [HANDSHAKE, _, _, e0, e1, ..] if (*e0, *e1) != (0, 0)) {
            return true;
        }
        rest = after;
    }
    false
}

/// What a datagram made of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// The ClientHello is not whole yet.
    More,
    /// It is whole: the profiles it offers, in its order; none without `use_srtp`.
    Offered(Vec<u16>),
    /// No ClientHello.
    NotOne,
}

/// Puts a ClientHello together from its fragments.
#[derive(Debug, Default)]
pub struct HelloReader {
    body: Vec<u8>,
    /// How much of `body`, from the front, has come: fragments out of order come again in order
    /// with the client's retransmission.
    have: usize,
    total: Option<usize>,
}

impl HelloReader {
    pub fn read(&mut self, datagram: &[u8]) -> Progress {
        let mut rest = datagram;
        let mut progress = Progress::NotOne;
        while let Some((record, after)) = split_record(rest) {
            rest = after;
            if record.first() != Some(&HANDSHAKE) {
                continue;
            }
            match self.fragment(record.get(13..).unwrap_or_default()) {
                Progress::NotOne => {}
                Progress::More => progress = Progress::More,
                done => return done,
            }
        }
        progress
    }

    fn fragment(&mut self, fragment: &[u8]) -> Progress {
        let Some((header, data)) = fragment.split_first_chunk::<12>() else {
            return Progress::NotOne;
        };
        let [kind, l0, l1, l2, _, _, o0, o1, o2, f0, f1, f2] = *header;
        let number = |a, b, c| usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let (total, offset, len) = (number(l0, l1, l2), number(o0, o1, o2), number(f0, f1, f2));
        let Some(data) = data.get(..len) else { return Progress::NotOne };
        if kind != CLIENT_HELLO || total > MAX_HELLO || offset + len > total {
            return Progress::NotOne;
        }
        if self.total != Some(total) {
            *self = HelloReader { body: vec![0; total], have: 0, total: Some(total) };
        }
        if offset <= self.have
            && let Some(place) = self.body.get_mut(offset..offset + len)
        {
            place.copy_from_slice(data);
            self.have = self.have.max(offset + len);
        }
        if self.have < total {
            return Progress::More;
        }
        profiles(&self.body).map_or(Progress::NotOne, Progress::Offered)
    }
}

/// True when a datagram is nothing but whole DTLS records (RFC 6347 4.1).
pub fn is_framed(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while !rest.is_empty() {
        match split_record(rest) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    !datagram.is_empty()
}

fn split_record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let [kind @ 20..=25, 0xFE, _, _, _, _, _, _, _, _, _, l0, l1] = *data.first_chunk::<13>()?
    else {
        return None;
    };
    let _ = kind;
    data.split_at_checked(13 + usize::from(u16::from_be_bytes([l0, l1])))
}

/// The profiles of a ClientHello body; `None` when it is malformed.
fn profiles(body: &[u8]) -> Option<Vec<u16>> {
    let rest = body.get(2 + 32..)?; // version, random
    let rest = skip_vector(rest, 1)?; // session id
    let rest = skip_vector(rest, 1)?; // cookie
    let rest = skip_vector(rest, 2)?; // cipher suites
    let rest = skip_vector(rest, 1)?; // compression methods
    if rest.is_empty() {
        return Some(Vec::new());
    }
    let (mut extensions, _) = take_vector(rest, 2)?;
    while !extensions.is_empty() {
        let ([k0, k1], after) = extensions.split_first_chunk::<2>()?;
        let (data, after) = take_vector(after, 2)?;
        if u16::from_be_bytes([*k0, *k1]) == USE_SRTP {
            let (list, _) = take_vector(data, 2)?;
            return Some(list.chunks_exact(2).map(|p| u16::from_be_bytes([p[0], p[1]])).collect());
        }
        extensions = after;
    }
    Some(Vec::new())
}

fn skip_vector(data: &[u8], width: usize) -> Option<&[u8]> {
    take_vector(data, width).map(|(_, rest)| rest)
}

/// A vector with its length in `width` bytes before it (RFC 5246 4.3), and what follows.
fn take_vector(data: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (len, rest) = data.split_at_checked(width)?;
    let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(profiles: &[u16]) -> Vec<u8> {
        let mut body = vec![0xFE, 0xFD];
        body.extend([7; 32]);
        body.extend([0, 0]); // no session id, no cookie
        body.extend([0, 2, 0xC0, 0x2B, 1, 0]);
        let list: Vec<u8> = profiles.iter().flat_map(|p| p.to_be_bytes()).collect();
        let mut extension = vec![0, 23, 0, 0, 0, 14];
        extension.extend((list.len() as u16 + 3).to_be_bytes());
        extension.extend((list.len() as u16).to_be_bytes());
        extension.extend(&list);
        extension.push(0);
        body.extend((extension.len() as u16).to_be_bytes());
        body.extend(extension);
        body
    }

    fn record(body: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut data = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0];
        data.extend((12 + to as u16 - from as u16).to_be_bytes());
        data.push(1);
        data.extend(&(body.len() as u32).to_be_bytes()[1..]);
        data.extend([0, 0]);
        data.extend(&(from as u32).to_be_bytes()[1..]);
        data.extend(&((to - from) as u32).to_be_bytes()[1..]);
        data.extend(&body[from..to]);
        data
    }

    #[test]
    fn whole_and_in_fragments() {
        let body = body(&[1, 7, 8]);
        let whole = record(&body, 0, body.len());
        assert!(is_framed(&whole));
        let offered = Progress::Offered(vec![1, 7, 8]);
        assert_eq!(HelloReader::default().read(&whole), offered);

        let (a, b) = (record(&body, 0, 40), record(&body, 40, body.len()));
        let mut reader = HelloReader::default();
        assert_eq!(reader.read(&a), Progress::More);
        assert_eq!(reader.read(&b), offered);
        let mut reader = HelloReader::default();
        assert_eq!(reader.read(&b), Progress::More);
        assert_eq!(reader.read(&a), Progress::More);
        assert_eq!(reader.read(&b), offered);
        assert_eq!(HelloReader::default().read(&[a, b].concat()), offered);
    }

    #[test]
    fn other_messages_are_none() {
        let body = body(&[]);
        let mut data = record(&body, 0, body.len());
        assert_eq!(HelloReader::default().read(&data), Progress::Offered(vec![]));
        data[13] = 2;
        assert_eq!(HelloReader::default().read(&data), Progress::NotOne);
        data.pop();
        assert!(!is_framed(&data));
        assert!(!is_framed(&[]));
    }

    proptest! {
        #[test]
        fn noise_never_panics(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            at in 0..200usize, byte: u8, cut in 0..200usize,
        ) {
            let _ = HelloReader::default().read(&noise);
            let mut data = record(&body(&[1, 7]), 0, body(&[1, 7]).len());
            let at = at % data.len();
            data[at] = byte;
            data.truncate(data.len() - cut % data.len());
            let _ = HelloReader::default().read(&data);
            let _ = is_framed(&data);
        }
    }
}
