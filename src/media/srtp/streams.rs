//! The streams that one side sends, each with its window.

use super::Refused;
use super::replay::Window;

/// Streams a browser may send at a time in one association: one or two are usual, a few more after
/// renegotiations.
const MAX_SSRCS: usize = 8;

/// Streams of a SIP side that are remembered: a media server takes a new SSRC for each announcement. Of
/// more than that, the first is forgotten.
const MAX_SIP_SSRCS: usize = 32;

/// Calls of [`Streams::age`], one in 5 s, after which a stream has fallen silent and makes room for another:
/// reports of a living one come at least every 7.5 s (RFC 3550 6.2).
pub const QUIET: u8 = 3;

/// Windows of streams that have made room, so that nothing old is taken again: 12 KB at most. Who has the keys
/// brings a new one at most whenever one has fallen silent; none is forgotten for it, for what was recorded of
/// that could be played again.
pub const MAX_PAST: usize = 256;

/// What becomes of one stream more than there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// It is refused until another one has fallen silent.
    AwaitQuiet,
    ForgetFirst,
}

struct Known {
    ssrc: u32,
    window: Window,
    /// Times it has aged since it was heard.
    quiet: u8,
}

/// The windows of the streams that one side sends.
pub struct Streams {
    known: Vec<Known>,
    past: Vec<(u32, Window)>,
    full: Full,
}

impl Streams {
    pub fn new(full: Full) -> Self {
        Streams { known: Vec::new(), past: Vec::new(), full }
    }

    pub fn age(&mut self) {
        for known in &mut self.known {
            known.quiet = known.quiet.saturating_add(1);
        }
    }

    /// A stream's window; a fresh one for a stream not known yet, as long as there is room for it.
    pub fn window_of(&self, ssrc: u32) -> Result<Window, Refused> {
        match self.known.iter().find(|known| known.ssrc == ssrc) {
            Some(known) => Ok(known.window),
            None => self.window_of_another(ssrc),
        }
    }

    #[cold]
    fn window_of_another(&self, ssrc: u32) -> Result<Window, Refused> {
        let full = self.full == Full::AwaitQuiet && self.known.len() >= MAX_SSRCS;
        if full && self.longest_quiet().is_none() {
            return Err(Refused::TooManyStreams);
        }
        let before = self.past.iter().find(|(past, _)| *past == ssrc);
        if full && before.is_none() && self.past.len() >= MAX_PAST {
            return Err(Refused::TooManyStreams);
        }
        Ok(before.map(|(_, window)| *window).unwrap_or_default())
    }

    /// The place of the stream that has fallen silent first.
    fn longest_quiet(&self) -> Option<usize> {
        let quiet = self.known.iter().enumerate().filter(|(_, known)| known.quiet >= QUIET);
        // Of equals the first: it is the oldest.
        quiet.min_by_key(|(_, known)| u8::MAX - known.quiet).map(|(at, _)| at)
    }

    /// After authentication only: a forged packet neither makes a stream nor moves a window.
    pub fn keep(&mut self, ssrc: u32, window: Window) {
        match self.known.iter_mut().find(|known| known.ssrc == ssrc) {
            Some(known) => (known.window, known.quiet) = (window, 0),
            None => self.begin(ssrc, window),
        }
    }

    #[cold]
    fn begin(&mut self, ssrc: u32, window: Window) {
        self.past.retain(|(past, _)| *past != ssrc);
        match self.full {
            Full::AwaitQuiet if self.known.len() >= MAX_SSRCS => {
                let Some(at) = self.longest_quiet() else { return };
                let left = self.known.remove(at);
                self.past.push((left.ssrc, left.window));
            }
            Full::ForgetFirst if self.known.len() >= MAX_SIP_SSRCS => _ = self.known.remove(0),
            Full::AwaitQuiet | Full::ForgetFirst => {}
        }
        self.known.push(Known { ssrc, window, quiet: 0 });
    }

    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize) {
        (self.known.len(), self.past.len())
    }
}
