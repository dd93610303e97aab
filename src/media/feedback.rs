//! What a receiver of video asks its sender for: packets again (generic NACK), a whole picture (PLI, FIR).
//! RFC 4585 6.2 and 6.3, RFC 5104 4.3.1.

use super::types;

const RECEIVER_REPORT: u8 = 201;
const TRANSPORT: u8 = 205;
const PAYLOAD: u8 = 206;

const NACK: u8 = 1;
const PLI: u8 = 1;
const FIR: u8 = 4;

/// Packets looked at in one compound.
const MAX_PACKETS: usize = 16;

/// Entries of a NACK that are passed on; each is up to 17 packets. Who has lost more wants a whole picture.
const MAX_NACKS: usize = 32;

/// Bytes of a message of ours at most.
pub const MESSAGE: usize = 8 + 12 + 4 * MAX_NACKS;

/// Missing packets: the first, and a bit for each of the sixteen after it.
pub type Missing = (u16, u16);

/// What one datagram asks about a stream of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub picture: bool,
    missing: [Missing; MAX_NACKS],
    count: usize,
}

impl Asked {
    pub fn missing(&self) -> &[Missing] {
        self.missing.get(..self.count).unwrap_or_default()
    }

    /// For what is counted of it.
    pub fn counted(&self) -> types::Asked {
        let packets = self.missing().iter().map(|(_, mask)| packets(*mask)).sum();
        types::Asked { packets, pictures: self.picture.into() }
    }
}

/// How many packets an entry with that mask asks for.
pub fn packets(mask: u16) -> u64 {
    1 + u64::from(mask.count_ones())
}

/// Reads a compound packet as far as it can be read. `ours`: the stream that it has to be about.
pub fn read(ours: u32, mut data: &[u8]) -> Asked {
    let mut asked = Asked { picture: false, missing: [(0, 0); MAX_NACKS], count: 0 };
    for _ in 0..MAX_PACKETS {
        let Some((flags, kind, packet, rest)) = split(data) else { break };
        match (kind, flags & 0x1F) {
            (TRANSPORT, NACK) if word(packet, 8) == Some(ours) => {
                for entry in packet.get(12..).unwrap_or_default().chunks_exact(4) {
                    if let (&[p0, p1, m0, m1], Some(place)) =
                        (entry, asked.missing.get_mut(asked.count))
                    {
                        *place = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([m0, m1]));
                        asked.count += 1;
                    }
                }
            }
            (PAYLOAD, PLI) if word(packet, 8) == Some(ours) => asked.picture = true,
            // The media source of a FIR is in its entries (RFC 5104 4.3.1.1).
            (PAYLOAD, FIR) => {
                let mut entries = packet.get(12..).unwrap_or_default().chunks_exact(8);
                asked.picture |= entries.any(|entry| word(entry, 0) == Some(ours));
            }
            _ => {}
        }
        data = rest;
    }
    asked
}

fn split(data: &[u8]) -> Option<(u8, u8, &[u8], &[u8])> {
    let [flags, kind, l0, l1] = *data.first_chunk::<4>()?;
    if flags >> 6 != 2 {
        return None;
    }
    let len = 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
    let (packet, rest) = data.split_at_checked(len)?;
    Some((flags, kind, packet, rest))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
}

/// A message of ours as it is put together. It begins with an empty receiver report, since a compound has
/// to begin with a report (RFC 3550 6.1).
struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    fn new(buffer: &'a mut [u8], sender: u32) -> Option<Self> {
        let mut writer = Writer { buffer, len: 0 };
        writer.put(&[0x80, RECEIVER_REPORT, 0, 1])?;
        writer.put(&sender.to_be_bytes())?;
        Some(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.buffer.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn head(&mut self, format: u8, kind: u8, words: u8, sender: u32, media: u32) -> Option<()> {
        self.put(&[0x80 | format, kind, 0, words])?;
        self.put(&sender.to_be_bytes())?;
        self.put(&media.to_be_bytes())
    }
}

/// Asks for a whole picture of `media`; the length of the message.
pub fn write_pli(buffer: &mut [u8], sender: u32, media: u32) -> Option<usize> {
    let mut writer = Writer::new(buffer, sender)?;
    writer.head(PLI, PAYLOAD, 2, sender, media)?;
    Some(writer.len)
}

/// The same for those who know no PLI. `number` is one more for each new request (RFC 5104 4.3.1.1).
pub fn write_fir(buffer: &mut [u8], sender: u32, media: u32, number: u8) -> Option<usize> {
    let mut writer = Writer::new(buffer, sender)?;
    writer.head(FIR, PAYLOAD, 4, sender, 0)?;
    writer.put(&media.to_be_bytes())?;
    writer.put(&[number, 0, 0, 0])?;
    Some(writer.len)
}

/// Asks for packets of `media` again; `None` when there are none.
pub fn write_nack(
    buffer: &mut [u8],
    sender: u32,
    media: u32,
    missing: impl Iterator<Item = Missing> + Clone,
) -> Option<usize> {
    let count = u8::try_from(missing.clone().take(MAX_NACKS).count()).ok().filter(|n| *n > 0)?;
    let mut writer = Writer::new(buffer, sender)?;
    writer.head(NACK, TRANSPORT, 2 + count, sender, media)?;
    for (first, mask) in missing.take(MAX_NACKS) {
        writer.put(&first.to_be_bytes())?;
        writer.put(&mask.to_be_bytes())?;
    }
    Some(writer.len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_read_as_they_were_written() {
        let mut buffer = [0; MESSAGE];
        let len = write_pli(&mut buffer, 1, 7).unwrap();
        assert!(read(7, &buffer[..len]).picture);
        assert!(!read(8, &buffer[..len]).picture, "another stream");
        let len = write_fir(&mut buffer, 1, 7, 3).unwrap();
        assert!(read(7, &buffer[..len]).picture);
        assert!(!read(0, &buffer[..len]).picture);
        let missing = [(65_535, 0b101), (9, 0)];
        let len = write_nack(&mut buffer, 1, 7, missing.into_iter()).unwrap();
        let asked = read(7, &buffer[..len]);
        assert_eq!((asked.missing(), asked.picture), (&missing[..], false));
        assert!(read(8, &buffer[..len]).missing().is_empty());
        assert_eq!(write_nack(&mut buffer, 1, 7, std::iter::empty()), None);
        let many = (0..100).map(|n| (n, 0));
        let len = write_nack(&mut buffer, 1, 7, many).unwrap();
        assert_eq!((len, read(7, &buffer[..len]).missing().len()), (MESSAGE, MAX_NACKS));
    }

    proptest! {
        #[test]
        fn noise_never_panics(ours: u32, data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(ours, &data);
        }

        #[test]
        fn what_looks_like_feedback_never_panics(
            format in 0..32u8, kind in 204..208u8, data in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let words = (data.len() / 4) as u8;
            let packet = [&[0x80 | format, kind, 0, words][..], &data].concat();
            let _ = read(0, &packet);
        }
    }
}
