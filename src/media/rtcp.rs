//! RTCP: the reports we send and the few things we read (RFC 3550 6). NACK, PLI and the like are
//! swallowed: there is nothing to repeat in a voice call.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::reception::Report;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;

/// Seconds between 1900 and 1970.
const NTP_EPOCH: u64 = 2_208_988_800;

/// Packets looked at in one compound: an honest one has two or three.
const MAX_PACKETS: usize = 16;

/// A round trip longer than this is a broken report.
const MAX_RTT: Duration = Duration::from_secs(10);

/// Turns instants into NTP timestamps, without reading the wall clock again.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Instant,
    unix: Duration,
}

impl Clock {
    pub fn new(base: Instant, wall: SystemTime) -> Self {
        Clock { base, unix: wall.duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// Seconds since 1900 in the upper half, their fraction in the lower.
    pub fn ntp(&self, now: Instant) -> u64 {
        let unix = self.unix + now.saturating_duration_since(self.base);
        let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
        (unix.as_secs() + NTP_EPOCH) << 32 | fraction
    }
}

fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// What a sender report says of our own stream.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// Is this a stream's last report?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    No,
    Yes,
}

/// A compound of a sender or receiver report, our CNAME, and a BYE with the last one.
pub fn write(
    ntp: u64,
    ssrc: u32,
    cname: &str,
    sent: Option<Sent>,
    report: Option<(Report, Echo)>,
    last: Last,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    let blocks = u8::from(report.is_some());
    let words = if sent.is_some() { 6 } else { 1 } + 6 * u16::from(blocks);
    out.push(0x80 | blocks);
    out.push(if sent.is_some() { SENDER_REPORT } else { RECEIVER_REPORT });
    out.extend(words.to_be_bytes());
    out.extend(ssrc.to_be_bytes());
    if let Some(sent) = sent {
        out.extend(ntp.to_be_bytes());
        out.extend(sent.timestamp.to_be_bytes());
        out.extend(sent.packets.to_be_bytes());
        out.extend(sent.octets.to_be_bytes());
    }
    if let Some((report, echo)) = report {
        out.extend(report.ssrc.to_be_bytes());
        out.push(report.fraction_lost);
        out.extend(&report.lost.to_be_bytes()[1..]);
        out.extend(report.highest.to_be_bytes());
        out.extend(report.jitter.to_be_bytes());
        out.extend(echo.last.to_be_bytes());
        out.extend(echo.delay.to_be_bytes());
    }
    let cname = cname.as_bytes().get(..cname.len().min(255)).unwrap_or_default();
    // Item type, length, text and at least one null, filled up to a word.
    let chunk = (2 + cname.len() + 1).next_multiple_of(4);
    out.extend([0x81, SOURCE_DESCRIPTION]);
    out.extend((1 + chunk as u16 / 4).to_be_bytes());
    out.extend(ssrc.to_be_bytes());
    out.extend([1, cname.len() as u8]);
    out.extend(cname);
    out.resize(out.len() + chunk - 2 - cname.len(), 0);
    if last == Last::Yes {
        out.extend([0x81, BYE, 0, 1]);
        out.extend(ssrc.to_be_bytes());
    }
    out
}

/// The last sender report of the other side, for it to measure its round trip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Echo {
    /// Middle of its NTP timestamp; 0 when there was none.
    pub last: u32,
    /// Since it came, in 1/65536 s.
    pub delay: u32,
}

/// A sender report, as far as it is echoed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    pub ssrc: u32,
    /// The middle of its NTP timestamp.
    pub time: u32,
}

/// What a compound packet told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    pub sender_report: Option<SenderReport>,
    /// What it says of our stream.
    pub block: Option<Block>,
    pub rtt: Option<Duration>,
}

/// What a receiver says of a stream of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Block {
    /// Packets lost in all.
    pub lost: u64,
    /// Of those since its last report, in 1/256.
    pub fraction_lost: u8,
    /// The highest sequence number, with the number of its wraps above.
    pub highest: u32,
    /// In RTP units of the stream.
    pub jitter: u32,
}

/// The two streams that a compound packet may be about.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub ours: u32,
    /// As long as it is not known, any is taken for it.
    pub theirs: Option<u32>,
}

/// Reads a compound packet, or one without a report before it (RFC 5506); `None` when it is malformed from
/// the start. Behind what can be read anything may stand: what is cut off, what we do not know.
pub fn read(ntp: u64, ends: Ends, data: &[u8]) -> Option<Heard> {
    let mut heard = Heard::default();
    let mut rest = read_one(ntp, ends, data, &mut heard)?;
    for _ in 1..MAX_PACKETS {
        let Some(after) = read_one(ntp, ends, rest, &mut heard) else { break };
        rest = after;
    }
    Some(heard)
}

/// Reads one packet of a compound; what stands behind it.
fn read_one<'a>(ntp: u64, ends: Ends, data: &'a [u8], heard: &mut Heard) -> Option<&'a [u8]> {
    let [flags, kind, l0, l1] = *data.first_chunk::<4>()?;
    if flags >> 6 != 2 {
        return None;
    }
    let (packet, rest) =
        data.split_at_checked(4 + 4 * usize::from(u16::from_be_bytes([l0, l1])))?;
    let blocks = match kind {
        SENDER_REPORT => {
            let blocks = packet.get(28..)?;
            let ssrc = word(packet, 4)?;
            let time = word(packet, 8)? << 16 | word(packet, 12)? >> 16;
            if ends.theirs.is_none_or(|theirs| theirs == ssrc) {
                heard.sender_report = Some(SenderReport { ssrc, time });
            }
            blocks
        }
        RECEIVER_REPORT => packet.get(8..)?,
        _ => return Some(rest),
    };
    for block in blocks.chunks_exact(24).take(usize::from(flags & 0x1F)) {
        if word(block, 0)? == ends.ours {
            // A 24-bit signed number: duplicates make it negative.
            let lost = (word(block, 4)? << 8) as i32 >> 8;
            heard.block = Some(Block {
                lost: u64::try_from(lost).unwrap_or(0),
                fraction_lost: *block.get(4)?,
                highest: word(block, 8)?,
                jitter: word(block, 12)?,
            });
            heard.rtt = round_trip(ntp, word(block, 16)?, word(block, 20)?);
        }
    }
    Some(rest)
}

/// RFC 3550 6.4.1: now, minus when our report left, minus how long it lay there.
fn round_trip(ntp: u64, last: u32, delay: u32) -> Option<Duration> {
    if last == 0 {
        return None;
    }
    let units = middle(ntp).wrapping_sub(last).wrapping_sub(delay) as i32;
    // Clock rounding makes a loopback's trip a hair below zero.
    let units = u64::try_from(if (-65..0).contains(&units) { 0 } else { units }).ok()?;
    let rtt = Duration::from_nanos(units * 1_000_000_000 / 65_536);
    (rtt <= MAX_RTT).then_some(rtt)
}

/// The report block of a stream with the echo of its sender's last report. One of another source, as of a
/// far end that was exchanged since, is none of its business: it would measure the difference of two clocks.
pub fn block(
    now: Instant,
    report: Option<Report>,
    last: Option<(SenderReport, Instant)>,
) -> Option<(Report, Echo)> {
    let report = report?;
    let echo = last.filter(|(last, _)| last.ssrc == report.ssrc).map(|(last, at)| {
        let delay = now.saturating_duration_since(at).as_nanos() * 65_536 / 1_000_000_000;
        Echo { last: last.time, delay: u32::try_from(delay).unwrap_or(u32::MAX) }
    });
    Some((report, echo.unwrap_or_default()))
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk::<4>().map(|w| u32::from_be_bytes(*w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const US: Ends = Ends { ours: 7, theirs: None };

    fn clock() -> (Instant, Clock) {
        let now = Instant::now();
        (now, Clock::new(now, UNIX_EPOCH + Duration::from_millis(1_500)))
    }

    #[test]
    fn ntp_counts_from_1900() {
        let (now, clock) = clock();
        assert_eq!(clock.ntp(now), (NTP_EPOCH + 1) << 32 | 1 << 31);
    }

    #[test]
    fn the_round_trip_of_rfc_3550() {
        // The example of RFC 3550 6.4.1, figure 2.
        let ntp = 0xB710_8000_u64 << 16;
        assert_eq!(round_trip(ntp, 0xB705_2000, 0x0005_4000), Some(Duration::from_millis(6_125)));
    }

    #[test]
    fn a_round_trip_that_cannot_be_is_none() {
        let now = 0xB710_8000_u64 << 16;
        let ago = |units: i64| (0xB710_8000 - units) as u32;
        assert_eq!(round_trip(0x0001_0000 << 16, 0, 0), None, "no report of ours has come");
        assert_eq!(round_trip(now, ago(0), 60), Some(Duration::ZERO), "a hair before it left");
        assert_eq!(round_trip(now, ago(0), 65_536), None);
        assert_eq!(round_trip(now, ago(10 * 65_536), 0), Some(MAX_RTT));
        assert_eq!(round_trip(now, ago(10 * 65_536 + 1), 0), None);
    }

    /// Repeated packets make the number of lost ones negative (RFC 3550 A.3).
    #[test]
    fn more_than_was_sent_is_no_loss() {
        let (now, clock) = clock();
        let report = Report { ssrc: 7, fraction_lost: 0, lost: -2, highest: 9, jitter: 0 };
        let block = Some((report, Echo::default()));
        let data = write(clock.ntp(now), 9, "x", None, block, Last::No);
        assert_eq!(read(clock.ntp(now), US, &data).unwrap().block.unwrap().lost, 0);
    }

    #[test]
    fn two_ends_measure_each_other() {
        let (start, clock) = clock();
        let sent = Sent { timestamp: 1, packets: 2, octets: 3 };
        let there = write(clock.ntp(start), 7, "them", Some(sent), None, Last::No);
        let them = Ends { ours: 9, theirs: Some(7) };
        let heard = read(clock.ntp(start), them, &there).unwrap();
        let arrived = start + Duration::from_millis(30);
        let left = start + Duration::from_millis(80);
        let report = Report { ssrc: 7, fraction_lost: 1, lost: 5, highest: 100, jitter: 3 };
        let block = block(left, Some(report), heard.sender_report.map(|last| (last, arrived)));
        let back = write(clock.ntp(left), 9, "cname", None, block, Last::Yes);
        assert_eq!(back.len() % 4, 0);
        let heard = read(clock.ntp(left + Duration::from_millis(30)), US, &back).unwrap();
        assert_eq!(heard.block, Some(Block { lost: 5, fraction_lost: 1, highest: 100, jitter: 3 }));
        let rtt = heard.rtt.unwrap().as_micros();
        assert!((59_900..60_100).contains(&rtt), "{rtt}");
        // rtc-rtcp, which is somebody else's, reads the same.
        let packets = rtc_rtcp::packet::unmarshal(&mut back.as_slice()).unwrap();
        assert_eq!(packets.len(), 3);
    }

    /// A browser with video reports of both its streams in one datagram, and a far end may be exchanged.
    #[test]
    fn a_report_is_echoed_to_nobody_but_its_source() {
        let (start, clock) = clock();
        let sent = Sent { timestamp: 1, packets: 2, octets: 3 };
        let of = |ssrc, at: Instant| write(clock.ntp(at), ssrc, "them", Some(sent), None, Last::No);
        let [earlier, later] = [1, 2].map(|n| start + Duration::from_secs(n));
        let both = [of(20, earlier), of(30, later)].concat();
        let report = |ssrc| Report { ssrc, fraction_lost: 0, lost: 0, highest: 1, jitter: 0 };
        for (theirs, sent) in [(20, earlier), (30, later)] {
            let ends = Ends { theirs: Some(theirs), ..US };
            let last = read(clock.ntp(later), ends, &both).unwrap().sender_report;
            assert_eq!(last, Some(SenderReport { ssrc: theirs, time: middle(clock.ntp(sent)) }));
            let last = last.map(|last| (last, later));
            let echo = |ssrc| block(later, Some(report(ssrc)), last).unwrap().1;
            assert_eq!(echo(theirs), Echo { last: middle(clock.ntp(sent)), delay: 0 });
            assert_eq!(echo(40), Echo::default(), "the far end that came after it");
        }
        let early = read(clock.ntp(later), US, &both).unwrap().sender_report;
        assert!(early.is_some(), "before the first packet of its stream");
        let stranger = Ends { theirs: Some(40), ..US };
        assert_eq!(read(clock.ntp(later), stranger, &both).unwrap().sender_report, None);
    }

    /// Browsers and video phones send feedback (RFC 4585, RFC 5104, REMB, TWCC), alone or behind a report.
    #[test]
    fn feedback_is_no_fault_and_hides_no_report() {
        let (now, clock) = clock();
        let feedback: [&[u8]; 4] = [
            // NACK, PLI, REMB, transport-wide congestion control.
            &[0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 7, 0, 9, 0, 1],
            &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 7],
            &[0x8F, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0, 1, 2, 3],
            &[0x8F, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 7, 0, 1, 0, 1, 0, 0, 0, 0],
        ];
        for packet in feedback {
            assert_eq!(read(clock.ntp(now), US, packet), Some(Heard::default()));
        }
        let report = Report { ssrc: 7, fraction_lost: 0, lost: 2, highest: 9, jitter: 1 };
        let echo = Echo::default();
        let mut whole = feedback.concat();
        whole.extend(write(clock.ntp(now), 9, "x", None, Some((report, echo)), Last::No));
        whole.extend([0x80, 210, 0]);
        let heard = read(clock.ntp(now), US, &whole).unwrap();
        assert_eq!(heard.block, Some(Block { lost: 2, fraction_lost: 0, highest: 9, jitter: 1 }));
        assert_eq!(read(clock.ntp(now), US, &[0x80, 201, 0, 9]), None);
    }

    proptest! {
        #[test]
        fn noise_never_panics(mut data in prop::collection::vec(any::<u8>(), 0..120), kind: u8) {
            if let [a, b, ..] = data.as_mut_slice() {
                *a = 0x80 | *a & 0x3F;
                *b = 200 + kind % 8;
            }
            let _ = read(1 << 40, US, &data);
        }
    }
}
