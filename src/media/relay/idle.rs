//! A stream toward a far end that the browser is not with: music or silence, and nothing else.

use std::time::{Duration, Instant};

use super::{MAX_LAG, PACKET, Relay, write};
use crate::media::codec::silence;
use crate::media::music::Music;
use crate::media::stream::{Stream, first_sequence, units};
use crate::sdp::{Codec, Format, PayloadMap};

/// Bytes of a frame, in any codec.
pub(super) const MAX_PAYLOAD: usize = 1000;

/// An outgoing stream toward SIP, and how far the hold music has come in it.
pub struct Outlet {
    pub stream: Stream,
    pub position: usize,
}

impl Outlet {
    pub fn new() -> Self {
        let stream = Stream::following(rand::random(), first_sequence(), rand::random());
        Outlet { stream, position: 0 }
    }
}

/// What an outlet sends by itself.
#[derive(Clone, Copy)]
pub struct Idle {
    format: Format,
    ptime: Duration,
    /// The next frame.
    at: Instant,
}

impl Idle {
    /// From where the stream stands; `None` where no codec is agreed.
    pub fn new(now: Instant, payloads: &PayloadMap, outlet: &mut Outlet) -> Option<Self> {
        let ptime = payloads.wishes.ptime;
        let at = now + outlet.stream.lead(now).min(ptime);
        Some(Idle { format: payloads.preferred()?, ptime, at })
    }

    pub fn poll_timeout(&self) -> Instant {
        self.at
    }

    /// A packet that is due. To be asked until `None`.
    pub fn poll<'b>(
        &mut self,
        now: Instant,
        outlet: &mut Outlet,
        music: Option<&Music>,
        buffer: &'b mut [u8; PACKET],
    ) -> Option<&'b [u8]> {
        let at = self.at;
        if at > now {
            return None;
        }
        let Format { codec, payload } = self.format;
        let time = codec.frame_within(self.ptime);
        self.at = after(at, time, now);
        let mut frame = [0; MAX_PAYLOAD];
        let len = fill(codec, time, music, &mut outlet.position, &mut frame);
        let clock = codec.clock_rate();
        let place = outlet.stream.insert(at, units(time, clock), clock);
        write(place, payload, frame.get(..len)?, None, buffer)
    }
}

impl Relay {
    /// The hold music, where there is one.
    pub fn music(&self) -> Option<&Music> {
        self.sounds.music.as_deref()
    }

    /// Sends by another stream from now on, to another far end: what was begun in the old one is not
    /// finished there.
    pub fn exchange(&mut self, outlet: Outlet) -> Outlet {
        self.drop_coders();
        self.keypad.clear();
        self.browser_event = None;
        Outlet {
            stream: std::mem::replace(&mut self.to_sip, outlet.stream),
            position: std::mem::replace(&mut self.music_position, outlet.position),
        }
    }
}

/// When the frame after that one is due.
pub(super) fn after(at: Instant, time: Duration, now: Instant) -> Instant {
    let next = at + time;
    if now.saturating_duration_since(next) > MAX_LAG { now } else { next }
}

/// Writes a frame of music, or else of silence, and returns the bytes written.
pub(super) fn fill(
    codec: Codec,
    time: Duration,
    music: Option<&Music>,
    position: &mut usize,
    frame: &mut [u8],
) -> usize {
    let played = music.map_or(0, |music| music.play(codec, time, position, frame));
    if played > 0 { played } else { silence(codec, time, frame) }
}
