//! What we make ourselves for SIP: digits, silence, music.

use std::time::{Duration, Instant};

use super::idle::{MAX_PAYLOAD, after, fill};
use super::{COVER_AFTER, PACKET, Relay, write};
use crate::media::dtmf::CLOCK;
use crate::media::stream::{Place, units};
use crate::sdp::Format;

impl Relay {
    pub fn poll_timeout(&self) -> Option<Instant> {
        let keypad = self.keypad.poll_timeout();
        let silence = self.silence_at.filter(|_| !self.keypad.is_sounding());
        let own = keypad.into_iter().chain(silence).chain(self.browser_timeout());
        own.chain(self.coder_timeout()).min()
    }

    /// A packet of our own for SIP that is due: a digit's, transcoded audio, or silence. To be asked until `None`.
    pub fn poll_sip<'b>(&mut self, now: Instant, buffer: &'b mut [u8; PACKET]) -> Option<&'b [u8]> {
        if let Some((payload_type, clock)) = self.keypad_event()
            && let Some(due) = self.keypad.poll(now)
        {
            let place = if due.first {
                let place = self.to_sip.insert(now, 0, self.sip_clock());
                self.keypad_timestamp = place.timestamp;
                Place { marker: true, ..place }
            } else {
                self.to_sip.repeat(now, self.keypad_timestamp)
            };
            return write(place, payload_type, &due.event.at(CLOCK, clock).payload(), None, buffer);
        }
        if let Some(len) = self.poll_coder_to_sip(now, buffer).map(<[u8]>::len) {
            return buffer.get(..len);
        }
        if self.keypad.is_sounding() {
            // Nothing is made up for when the digit is over.
            self.silence_at = self.silence_at.map(|at| at.max(now + self.sip.wishes.ptime));
            return None;
        }
        let at = self.silence_at.filter(|at| *at <= now)?;
        let Format { codec, payload } = self.sip.preferred()?;
        let ptime = codec.frame_within(self.sip.wishes.ptime);
        self.silence_at = Some(after(at, ptime, now));
        let mut frame = [0; MAX_PAYLOAD];
        let music = self.sounds.music.as_deref().filter(|_| self.flow.music);
        let len = fill(codec, ptime, music, &mut self.music_position, &mut frame);
        let clock = codec.clock_rate();
        let place = self.to_sip.insert(at, units(ptime, clock), clock);
        write(place, payload, frame.get(..len)?, None, buffer)
    }

    /// The SIP side takes something from us.
    pub(super) fn may_send(&self) -> bool {
        self.flow.to_sip || self.flow.keep_alive
    }

    pub(super) fn arm_silence(&mut self, now: Instant) {
        if !self.flow.keep_alive || self.sip.preferred().is_none() {
            self.silence_at = None;
        } else if self.silence_at.is_none() {
            let pause = if self.flow.to_sip { COVER_AFTER } else { Duration::ZERO };
            self.silence_at = Some(now + pause);
        }
    }
}
