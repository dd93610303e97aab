//! The timelines of live calls, and where finished ones go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::book::{Book, CallView, DnEvent};
use super::finished::{History, HistoryError, Keeper};
use super::{Entry, Observer};

/// How often finished calls are handed on.
const SWEEP: Duration = Duration::from_secs(1);

/// Observes, answers questions, hands finished calls on. One lock: what is written
/// under it is signalling, and none of it comes from the media plane's threads.
#[derive(Default)]
pub struct Timelines {
    book: Mutex<Book>,
    keepers: Vec<Arc<dyn Keeper>>,
    history: Option<Arc<dyn History>>,
}

impl Timelines {
    /// `keepers` take finished calls; `history` knows those that are no longer in memory.
    pub fn new(keepers: Vec<Arc<dyn Keeper>>, history: Option<Arc<dyn History>>) -> Self {
        Self { book: Mutex::default(), keepers, history }
    }

    /// Hands finished calls on until `stop`. What is left then goes with [`Timelines::flush`].
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.sweep(Instant::now()),
                () = stop.cancelled() => return,
            }
        }
    }

    /// Hands on the calls that have been over for [`super::LINGER`].
    pub fn sweep(&self, now: Instant) {
        let finished = self.lock().sweep(now, false);
        self.hand_on(finished);
    }

    /// Hands on every call that is over.
    pub fn flush(&self) {
        let finished = self.lock().sweep(Instant::now(), true);
        self.hand_on(finished);
    }

    fn hand_on(&self, finished: Vec<Arc<super::FinishedCall>>) {
        for call in finished {
            for keeper in &self.keepers {
                keeper.keep(Arc::clone(&call));
            }
        }
    }

    /// A call in memory: by our own id, a SIP Call-ID, the CallUUID, or the DN, then the latest.
    pub fn find(&self, key: &str) -> Option<CallView> {
        self.lock().find(key)
    }

    /// The same for one that is over and forgotten here. Reads a disk, maybe.
    ///
    /// # Errors
    /// What is kept could not be read.
    pub fn find_kept(&self, key: &str) -> Result<Option<CallView>, HistoryError> {
        let Some(history) = &self.history else { return Ok(None) };
        Ok(history.find(key)?.map(CallView::from))
    }

    /// The last that happened to a DN beside its calls, the oldest first.
    pub fn of_dn(&self, dn: &str) -> Vec<DnEvent> {
        self.lock().of_dn(dn)
    }

    /// Calls and DNs that there was no room for.
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Calls in memory, bytes of their lines, DNs.
    pub fn sizes(&self) -> (usize, usize, usize) {
        self.lock().sizes()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Timelines {
    fn observe(&self, entry: &Entry) {
        self.lock().handle(entry, Instant::now());
    }
}
