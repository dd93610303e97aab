//! DTMF in INFO bodies: `application/dtmf-relay` as Cisco wrote it down, and `application/dtmf`.
//! Neither has an RFC; what peers send differs in case, spaces and line ends.

use std::time::Duration;

pub const RELAY: &str = "application/dtmf-relay";
pub const PLAIN: &str = "application/dtmf";

/// Where a body names none.
const USUAL: Duration = Duration::from_millis(160);
/// Shorter is not heard everywhere (ITU-T Q.24), longer is a mistake.
const SHORTEST: Duration = Duration::from_millis(40);
const LONGEST: Duration = Duration::from_secs(8);
/// Two lines of some twenty bytes are all there ever is.
const MAX_BODY: usize = 256;

/// One key: `0` to `9`, `*`, `#`, `A` to `D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tone {
    pub digit: char,
    /// From 40 ms to 8 s.
    pub duration: Duration,
}

impl Tone {
    /// None for what is no key. The duration is brought into its range.
    pub fn new(digit: char, duration: Duration) -> Option<Self> {
        let digit = digit.to_ascii_uppercase();
        "0123456789*#ABCD"
            .contains(digit)
            .then(|| Self { digit, duration: duration.clamp(SHORTEST, LONGEST) })
    }
}

/// Reads an INFO body; None when it is no DTMF, or a key that has no tone (16, the hook flash).
pub fn parse(content_type: &str, body: &[u8]) -> Option<Tone> {
    let kind = content_type.split(';').next()?.trim();
    if !(kind.eq_ignore_ascii_case(RELAY) || kind.eq_ignore_ascii_case(PLAIN))
        || body.len() > MAX_BODY
    {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let (mut signal, mut duration) = (None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once('=') {
            Some((key, value)) if key.trim().eq_ignore_ascii_case("signal") => {
                signal = signal.or_else(|| key_of(value.trim()));
            }
            Some((key, value)) if key.trim().eq_ignore_ascii_case("duration") => {
                duration = value.trim().parse().ok().map(Duration::from_millis);
            }
            // A bare key, as `application/dtmf` has it and some send under the other name.
            None => signal = signal.or_else(|| key_of(line)),
            Some(_) => {}
        }
    }
    Tone::new(signal?, duration.unwrap_or(USUAL))
}

/// A key as itself, or as its RFC 4733 event number.
fn key_of(text: &str) -> Option<char> {
    match text {
        "10" => Some('*'),
        "11" => Some('#'),
        "12" => Some('A'),
        "13" => Some('B'),
        "14" => Some('C'),
        "15" => Some('D'),
        _ => {
            let mut chars = text.chars();
            chars.next().filter(|_| chars.next().is_none())
        }
    }
}

/// Content-Type and body of a key, as `application/dtmf-relay`.
pub fn write(tone: Tone) -> (&'static str, Vec<u8>) {
    let body = format!("Signal={}\r\nDuration={}\r\n", tone.digit, tone.duration.as_millis());
    (RELAY, body.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(digit: char, ms: u64) -> Option<Tone> {
        Some(Tone { digit, duration: Duration::from_millis(ms) })
    }

    #[test]
    fn bodies_in_their_shapes() {
        assert_eq!(parse(RELAY, b"Signal= 5\r\nDuration= 160\r\n"), tone('5', 160));
        assert_eq!(parse(RELAY, b"signal=*\nDURATION=250"), tone('*', 250));
        assert_eq!(
            parse("Application/DTMF-Relay;q=1", b"Duration=100\r\nSignal=11"),
            tone('#', 100)
        );
        assert_eq!(parse(RELAY, b"Signal=10\r\n"), tone('*', 160));
        assert_eq!(parse(PLAIN, b"7"), tone('7', 160));
        assert_eq!(parse(PLAIN, b" d \r\n"), tone('D', 160));
        assert_eq!(parse(PLAIN, b"Signal=3\r\nDuration=80\r\n"), tone('3', 80));
    }

    #[test]
    fn what_is_no_key_is_none() {
        for (kind, body) in [
            (RELAY, &b"Signal=16\r\n"[..]),
            (RELAY, b"Signal=55"),
            (RELAY, b"Signal="),
            (RELAY, b""),
            (RELAY, b"Signal=\xff"),
            (PLAIN, b"x"),
            ("text/plain", b"Signal=5"),
            ("", b"5"),
            (RELAY, &[b'5'; MAX_BODY + 1]),
        ] {
            assert_eq!(parse(kind, body), None, "{kind} {body:?}");
        }
    }

    #[test]
    fn durations_stay_in_range() {
        assert_eq!(parse(RELAY, b"Signal=1\r\nDuration=1"), tone('1', 40));
        assert_eq!(parse(RELAY, b"Signal=1\r\nDuration=99999999999"), tone('1', 8000));
        assert_eq!(parse(RELAY, b"Signal=1\r\nDuration=long"), tone('1', 160));
    }

    #[test]
    fn what_is_written_can_be_read() {
        for digit in "0123456789*#ABCD".chars() {
            let tone = Tone::new(digit, Duration::from_millis(200)).unwrap();
            let (kind, body) = write(tone);
            assert_eq!(parse(kind, &body), Some(tone));
        }
    }
}
