//! How often it is looked how a line sounds.

use std::time::{Duration, Instant};

/// How often it is looked whether the browser is heard. The media plane tells of the SIP side's first
/// packet by itself; to ask after the browser's costs the packets nothing.
const FIRST_SOUND: Duration = Duration::from_millis(250);

/// As often as the media plane scores a stream: a point of a call's quality tells of as long.
const QUALITY_PAUSE: Duration = Duration::from_secs(5);

/// When it is looked how a line sounds, and when that is noted.
pub(super) struct Cadence {
    look_due: Instant,
    quality_due: Instant,
    /// The browser has been heard.
    heard: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noted {
    FirstSound,
    Quality,
}

impl Cadence {
    pub fn new(now: Instant) -> Self {
        Self { look_due: now + FIRST_SOUND, quality_due: now, heard: false }
    }

    /// When to look next.
    pub fn due(&self) -> Instant {
        self.look_due
    }

    /// A look at what the browser has sent so far: what there is to note. Until it is heard the looks
    /// follow each other quickly, and what is noted of the quality does not.
    pub fn look(&mut self, from_browser: u64, now: Instant) -> Option<Noted> {
        let first = from_browser > 0 && !self.heard;
        self.heard = from_browser > 0;
        self.look_due = now + if self.heard { QUALITY_PAUSE } else { FIRST_SOUND };
        if first {
            return Some(Noted::FirstSound);
        }
        let due = now >= self.quality_due;
        if due {
            self.quality_due = now + QUALITY_PAUSE;
        }
        due.then_some(Noted::Quality)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a minute of looks brings, of a browser that is heard from then on.
    fn minute(heard_after: Duration) -> Vec<(Duration, Noted)> {
        let start = Instant::now();
        let mut cadence = Cadence::new(start);
        let mut noted = Vec::new();
        loop {
            let after = cadence.due() - start;
            if after > Duration::from_secs(60) {
                return noted;
            }
            let packets = u64::from(after >= heard_after);
            noted.extend(cadence.look(packets, cadence.due()).map(|what| (after, what)));
        }
    }

    #[test]
    fn quality_is_noted_as_often_whether_or_not_the_browser_is_heard() {
        let after = |ms| Duration::from_millis(ms);
        let (never, at_once) = (minute(Duration::MAX), minute(Duration::ZERO));
        assert_eq!(never.first(), Some(&(after(250), Noted::Quality)));
        assert_eq!(at_once.first(), Some(&(after(250), Noted::FirstSound)));
        for noted in [&never[1..], &at_once[1..]] {
            assert!((11..=12).contains(&noted.len()), "{noted:?}");
            assert!(noted.iter().all(|(_, what)| *what == Noted::Quality));
            assert!(noted.windows(2).all(|two| two[1].0 - two[0].0 == QUALITY_PAUSE), "{noted:?}");
        }
    }

    #[test]
    fn the_first_sound_is_noted_soon_and_once() {
        let noted = minute(Duration::from_secs(12));
        let sounds: Vec<_> =
            noted.iter().filter(|(_, what)| *what == Noted::FirstSound).map(|(at, _)| at).collect();
        assert_eq!(sounds, [&Duration::from_secs(12)]);
    }
}
