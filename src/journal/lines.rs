//! The lines of one call's timeline, and the bounds that keep a flood from filling the memory.

use std::time::{Duration, SystemTime};

use super::event::{Details, TimelineEvent};
use super::record::unix_ms;

/// Events of a call: a plain one has a fifth of it.
pub const MAX_EVENTS: usize = 160;

/// So many of the beginning stay whatever comes: how a call was set up explains most of what follows.
const HEAD: usize = 80;

/// Bytes of titles, details and bodies. An ordinary call with a browser's SDP of 3 KB has 22 KB
/// (`cargo nextest run --test journal figures --no-capture`).
pub const MAX_BYTES: usize = 96 * 1024;

/// Bytes of one body; the largest SDP of a browser is some 6 KB.
pub const MAX_BODY: usize = 8 * 1024;

/// What is told late was so within this; see [`crate::sip::Traced`].
const OUT_OF_ORDER: Duration = Duration::from_secs(5);

/// Sorted by time, which is finer than what is shown of it: an OFFER stands before its INVITE.
#[derive(Debug, Default)]
pub(super) struct Lines {
    events: Vec<(SystemTime, TimelineEvent)>,
    bytes: usize,
    left_out: u32,
}

impl Lines {
    pub fn push(&mut self, at: SystemTime, mut event: TimelineEvent) {
        event.at = unix_ms(at);
        cut(&mut event);
        if self.events.len() >= MAX_EVENTS {
            let (_, gone) = self.events.remove(HEAD);
            self.bytes -= gone.size();
            self.left_out += 1;
        }
        // A clock that was set back takes nothing to another place.
        let later = |known: SystemTime| known.duration_since(at).is_ok_and(|by| by <= OUT_OF_ORDER);
        let after = self.events.iter().rev().take_while(|(known, _)| *known > at && later(*known));
        let place = self.events.len() - after.count();
        self.bytes += event.size();
        self.events.insert(place, (at, event));
        self.fit();
    }

    /// Takes bodies out of the middle until there is room: those of the beginning go last.
    fn fit(&mut self) {
        while self.bytes > MAX_BYTES {
            let with_body = |(_, event): &&mut (SystemTime, TimelineEvent)| event.body.is_some();
            let middle = HEAD.min(self.events.len());
            let (head, tail) = self.events.split_at_mut(middle);
            let found =
                tail.iter_mut().find(with_body).or_else(|| head.iter_mut().rev().find(with_body));
            let Some((_, event)) = found else { return };
            let before = event.size();
            event.body = None;
            event.detail.set("body_left_out", true);
            self.bytes -= before.saturating_sub(event.size());
        }
    }

    /// The first that fits and is not yet marked, to be changed.
    pub fn find(&mut self, fits: impl Fn(&TimelineEvent) -> bool) -> Option<&mut Details> {
        let found = self.events.iter_mut().map(|(_, event)| event).find(|event| fits(event));
        found.map(|event| &mut event.detail)
    }

    pub fn last(&mut self) -> Option<&mut TimelineEvent> {
        self.events.last_mut().map(|(_, event)| event)
    }

    pub fn left_out(&self) -> u32 {
        self.left_out
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn to_vec(&self) -> Vec<TimelineEvent> {
        self.events.iter().map(|(_, event)| event.clone()).collect()
    }

    pub fn into_vec(self) -> Vec<TimelineEvent> {
        self.events.into_iter().map(|(_, event)| event).collect()
    }
}

/// A body, and a title, of a reasonable length.
pub(super) fn cut(event: &mut TimelineEvent) {
    const MAX_TITLE: usize = 256;
    const MAX_DETAIL: usize = 512;
    if event.title.len() > MAX_TITLE {
        event.title = event.title.chars().take(MAX_TITLE / 4).collect();
    }
    event.detail.cut(MAX_DETAIL);
    let Some(body) = event.body.as_deref().filter(|body| body.len() > MAX_BODY) else { return };
    let mut end = MAX_BODY;
    while !body.is_char_boundary(end) {
        end -= 1;
    }
    let bytes = body.len() as u64;
    event.body = body.get(..end).map(Box::from);
    event.detail.set("body_bytes", bytes);
}
