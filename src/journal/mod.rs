//! What happened, and who is told: timelines of calls, what stays of them, watchers.
//!
//! Whatever does something worth knowing makes an [`Entry`] of it and hands it to the [`Journal`]. That
//! is cheap and never waits: an observer that is slow or keeps things does so on a thread of its own.

mod book;
mod collect;
mod describe;
mod dns;
mod entry;
mod event;
mod finished;
pub mod hep;
mod lines;
pub mod pcap;
mod record;
mod sip;
mod sound;
pub mod store;
mod timelines;
mod trace;
pub mod watch;

use std::sync::Arc;
use std::time::SystemTime;

pub use book::{CallView, DnEvent, LINGER};
pub use collect::{CollectError, Collector, Target};
pub use entry::{About, Entry, What};
pub use event::{
    Details, Kind, LegQuality, Party, QualityPoint, Scalar, StreamQuality, Timeline, TimelineEvent,
    Way,
};
pub use finished::{FinishedCall, History, HistoryError, Keeper};
pub use record::{CallRecord, LegRecord, StreamRecord, unix_ms, video_figures};
pub use sip::{Glance, tap};
pub use timelines::Timelines;
pub use trace::{LONGEST as LONGEST_TRACE, TooMany as TooManyTraces, Traces};

/// Is told of every entry, in the caller's task: no waiting, no system calls, nothing that grows.
pub trait Observer: Send + Sync + 'static {
    fn observe(&self, entry: &Entry);
}

/// What observers have missed, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// SIP messages that came faster than they were read.
    pub sip: u64,
    /// Calls and DNs whose timelines there was no room for.
    pub timelines: u64,
    /// Lines of `journal.call_records` that were not written.
    pub records: u64,
}

/// A handle; clones are the same journal.
#[derive(Clone, Default)]
pub struct Journal {
    observers: Arc<[Arc<dyn Observer>]>,
}

impl Journal {
    pub fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self { observers: observers.into() }
    }

    pub fn note(&self, about: About, what: What) {
        self.note_at(SystemTime::now(), about, what);
    }

    /// For what is told a moment after it happened.
    pub fn note_at(&self, at: SystemTime, about: About, what: What) {
        self.tell(&Entry { at, about, what });
    }

    fn tell(&self, entry: &Entry) {
        for observer in self.observers.iter() {
            observer.observe(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<Entry>>);

    impl Observer for Seen {
        fn observe(&self, entry: &Entry) {
            self.0.lock().unwrap().push(entry.clone());
        }
    }

    #[test]
    fn every_observer_is_told() {
        let (one, two) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
        let journal = Journal::new(vec![one.clone(), two.clone()]);
        journal.note(About::call("5001", "c1"), What::CallState("ringing"));
        for seen in [one, two] {
            let entries = seen.0.lock().unwrap();
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].about, About::call("5001", "c1"));
            assert!(matches!(entries[0].what, What::CallState("ringing")));
        }
    }
}
