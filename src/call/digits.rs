//! Digits toward SIP: as RFC 4733 events of the media plane, or as INFO.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::agent::MessageError;
use crate::sip::{self, dtmf_info};
use crate::wire::ToBrowser;

use super::{DigitsBy, Line, MediaCommand, wrong_state};

/// Digits in one command; more is no dialling.
const MAX_DIGITS: usize = 64;

/// Digits that may wait to go out as INFO: a command's, and as many of the browser's own.
const QUEUE: usize = 2 * MAX_DIGITS;

/// A digit that is sent for somebody: long enough for every detector.
const TONE: Duration = Duration::from_millis(160);

/// From one INFO to the next: the tone it stands for and a gap, so that the far end plays one at a time
/// and none overtakes another.
const STEP: Duration = Duration::from_millis(250);

/// A comma.
const PAUSE: Duration = Duration::from_secs(2);

/// Digits that wait to go out as INFO.
#[derive(Debug, Default)]
pub(super) struct Keys {
    queue: VecDeque<(char, Duration)>,
    next: Option<Instant>,
}

impl Keys {
    fn push(&mut self, digit: char, duration: Duration) {
        if self.queue.len() < QUEUE {
            self.queue.push_back((digit, duration));
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next.filter(|_| !self.queue.is_empty())
    }

    fn due(&mut self, now: Instant) -> Option<(char, Duration)> {
        while self.next.is_none_or(|next| next <= now) {
            let (digit, duration) = self.queue.pop_front()?;
            self.next = Some(now + if digit == ',' { PAUSE } else { STEP.max(duration) });
            if digit != ',' {
                return Some((digit, duration));
            }
        }
        None
    }
}

impl Line {
    pub(super) fn dtmf(
        &mut self,
        i: usize,
        digits: &str,
        now: Instant,
    ) -> Result<(), MessageError> {
        let digits = digits.trim().to_ascii_uppercase();
        let usable = |c: char| c.is_ascii_digit() || matches!(c, '*' | '#' | 'A'..='D' | ',');
        if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.chars().all(usable) {
            let text = "DTMF takes 1 to 64 of the signs 0-9 * # A-D and the comma for a pause";
            return Err(MessageError::BadRequest(text.into()));
        }
        let leg = &mut self.legs[i];
        if !leg.is_up() && !leg.is_established() {
            return Err(wrong_state("there is no established call"));
        }
        let count = u32::try_from(digits.chars().filter(|c| *c != ',').count()).unwrap_or(0);
        if leg.sip.takes_digits() {
            if self.active != Some(leg.sip.session) {
                return Err(wrong_state("this call is on hold"));
            }
            leg.digits = leg.digits.saturating_add(count);
            self.tell_media(MediaCommand::SendDigits(digits));
        } else if self.config.digits == DigitsBy::Rtp {
            return Err(wrong_state("the far end takes no digits: it has no telephone-event"));
        } else {
            leg.digits = leg.digits.saturating_add(count);
            digits.chars().for_each(|digit| leg.keys.push(digit, TONE));
            self.press_due(i, now);
        }
        Ok(())
    }

    /// A digit that the media plane has heard (RFC 4733). The browser's goes out as INFO where the SIP side
    /// takes no events; the far end's is told, for browsers do not show them.
    pub fn handle_digit(&mut self, digit: char, duration: Duration, from_sip: bool, now: Instant) {
        let Some(i) = self.active_index() else { return };
        if from_sip {
            return self.say(i, ToBrowser::Digit(digit));
        }
        let leg = &mut self.legs[i];
        if !leg.is_up() || leg.held {
            return;
        }
        leg.digits = leg.digits.saturating_add(1);
        if !leg.sip.takes_digits() && self.config.digits != DigitsBy::Rtp {
            leg.keys.push(digit, duration);
            self.press_due(i, now);
        }
    }

    pub(super) fn press_due(&mut self, i: usize, now: Instant) {
        while let Some((digit, duration)) = self.legs[i].keys.due(now) {
            let Some(tone) = dtmf_info::Tone::new(digit, duration) else { continue };
            let (content_type, body) = dtmf_info::write(tone);
            let session = self.legs[i].sip.session;
            self.tell_sip(sip::Command::Info {
                session,
                content_type: content_type.to_owned(),
                body,
            });
        }
    }
}
