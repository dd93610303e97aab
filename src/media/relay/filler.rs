//! What the browser hears while the far end says nothing: a tone, silence, a digit that came by INFO.

use std::time::{Duration, Instant};

use super::{MAX_LAG, PACKET, Relay, write};
use crate::media::codec::{Encoder, silence};
use crate::media::dtmf;
use crate::media::stream::{Place, units};
use crate::media::tones::Player;
use crate::media::types::Signal;
use crate::sdp::{Codec, Format};

/// The frames that browsers themselves send.
const FRAME: Duration = Duration::from_millis(20);
/// Samples a second that tones are made of.
const RATE: u32 = 8000;
const SAMPLES: usize = (RATE / 50) as usize;

/// Bytes of a frame, in any codec.
const MAX_PAYLOAD: usize = 400;

/// A far end whose stream stops is covered for after this long: no jitter is as long, and a browser
/// has concealed what it could.
const COVER_AFTER: Duration = Duration::from_secs(1);

/// What stands in for the far end.
#[derive(Default)]
pub(super) enum Filler {
    /// It speaks itself, or may not.
    #[default]
    Off,
    Tone {
        voice: Box<Voice>,
        at: Instant,
    },
    /// The last of a tone.
    Fading {
        voice: Box<Voice>,
    },
    /// It sends comfort noise, or nothing at all.
    Silence {
        at: Instant,
        /// How long the first frame has waited.
        waited: Duration,
    },
}

/// A tone in the codec that the browser takes.
pub(super) struct Voice {
    player: Player,
    coder: Option<(Codec, Encoder)>,
}

impl Voice {
    /// Writes samples in the codec and returns the bytes written.
    fn encode(&mut self, codec: Codec, samples: &[i16], frame: &mut [u8]) -> usize {
        let coder = self.coder.take().filter(|(of, _)| *of == codec);
        let (_, coder) =
            self.coder.insert(coder.unwrap_or_else(|| (codec, Encoder::new(codec, RATE))));
        coder.encode(samples, frame)
    }
}

impl Filler {
    fn due(&self) -> Option<Instant> {
        match self {
            Filler::Off | Filler::Fading { .. } => None,
            Filler::Tone { at, .. } | Filler::Silence { at, .. } => Some(*at),
        }
    }

    /// What was not heard meanwhile is not made up for.
    fn postpone(&mut self, until: Instant) {
        if let Filler::Tone { at, .. } | Filler::Silence { at, .. } = self {
            *at = until.max(*at);
        }
    }
}

impl Relay {
    pub(super) fn browser_timeout(&self) -> Option<Instant> {
        let keypad = self.browser_keypad.poll_timeout();
        let filler = self.filler.due().filter(|_| !self.browser_keypad.is_sounding());
        keypad.into_iter().chain(filler).min()
    }

    /// A packet of our own for the browser that is due. To be asked until `None`.
    pub fn poll_browser<'b>(
        &mut self,
        now: Instant,
        buffer: &'b mut [u8; PACKET],
    ) -> Option<&'b [u8]> {
        let audio = self.browser_clock();
        if let Some((payload_type, clock)) = self.browser.event_beside(audio)
            && let Some(due) = self.browser_keypad.poll(now)
        {
            let place = if due.first {
                let place = self.to_browser.insert(now, 0, audio);
                self.browser_keypad_timestamp = place.timestamp;
                Place { marker: true, ..place }
            } else {
                self.to_browser.repeat(now, self.browser_keypad_timestamp)
            };
            return write(
                place,
                payload_type,
                &due.event.at(dtmf::CLOCK, clock).payload(),
                None,
                buffer,
            );
        }
        if self.browser_keypad.is_sounding() {
            self.filler.postpone(now + FRAME);
            return None;
        }
        if let Some(len) = self.poll_coder_to_browser(now, buffer).map(<[u8]>::len) {
            return buffer.get(..len);
        }
        let spoke = self.to_browser.is_following() || self.coder_to_browser.is_at_work();
        if self.flow.to_browser && spoke && !self.was_heard(now) {
            self.cover(now);
        }
        let Format { codec, payload } = self.browser.preferred()?;
        let mut frame = [0; MAX_PAYLOAD];
        let (mut time, mut waited) = (FRAME, Duration::ZERO);
        let (at, len) = match &mut self.filler {
            Filler::Off => return None,
            Filler::Tone { voice, at } if *at <= now => {
                let mut samples = [0; SAMPLES];
                voice.player.fill(&mut samples);
                (advance(at, now), voice.encode(codec, &samples, &mut frame))
            }
            Filler::Silence { at, waited: first } if *at <= now => {
                waited = std::mem::take(first);
                (advance(at, now), silence(codec, FRAME, &mut frame))
            }
            Filler::Tone { .. } | Filler::Silence { .. } => return None,
            Filler::Fading { .. } => {
                let Filler::Fading { mut voice } = std::mem::take(&mut self.filler) else {
                    return None;
                };
                // Enough for the ramp; the far end waits for it.
                time = FRAME / 2;
                let mut samples = [0; SAMPLES / 2];
                if !voice.player.finish(&mut samples) {
                    return None;
                }
                (now, voice.encode(codec, &samples, &mut frame))
            }
        };
        let frame = frame.get(..len).filter(|frame| !frame.is_empty())?;
        let clock = codec.clock_rate();
        let place = self.to_browser.insert_after(at, waited, units(time, clock), clock);
        write(place, payload, frame, None, buffer)
    }

    /// Sounds a digit for the browser, where it knows telephone-event.
    pub fn play_digit(&mut self, now: Instant, digit: char) {
        if self.browser.has_events() {
            self.browser_keypad.press(now, digit.encode_utf8(&mut [0; 4]));
        }
    }

    /// True while something stands in for the far end, which has to make way when that speaks.
    pub fn is_filling(&self) -> bool {
        !matches!(self.filler, Filler::Off)
    }

    /// The far end speaks: what stood in for it makes way.
    pub fn make_way(&mut self) {
        self.filler = match std::mem::take(&mut self.filler) {
            Filler::Tone { voice, .. } | Filler::Fading { voice } => Filler::Fading { voice },
            Filler::Off | Filler::Silence { .. } => Filler::Off,
        };
    }

    fn was_heard(&self, now: Instant) -> bool {
        self.heard.is_some_and(|at| now.saturating_duration_since(at) < COVER_AFTER)
    }

    pub(super) fn set_tone(&mut self, now: Instant, tone: Option<Signal>) {
        match tone.zip(self.sounds.tones) {
            // The network has its own to say.
            Some(_) if self.flow.to_browser && self.was_heard(now) => {}
            Some((signal, plan)) => {
                let player = Player::new(plan, signal, RATE);
                let voice = Box::new(Voice { player, coder: None });
                self.filler = Filler::Tone { voice, at: now };
            }
            None => self.make_way(),
        }
    }

    /// Silence from now on, until the far end speaks. Each exchange of the two may bring the stream
    /// ahead of the clock by a part of a frame; here it waits for the clock again.
    pub(super) fn cover(&mut self, now: Instant) {
        if matches!(self.filler, Filler::Off) {
            let waited = self.to_browser.lead(now).min(FRAME);
            self.filler = Filler::Silence { at: now + waited, waited };
        }
    }
}

/// When the frame was due, which is when the next one will be.
fn advance(at: &mut Instant, now: Instant) -> Instant {
    let due = *at;
    let next = due + FRAME;
    *at = if now.saturating_duration_since(next) > MAX_LAG { now } else { next };
    due
}
