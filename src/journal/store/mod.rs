//! Finished calls, for a configured time: an SQLite file, written by a thread of its own and read by
//! whoever asks. Without a file the same in memory, smaller.
//!
//! A call is kept when its batch is on the disk, a fraction of a second after it was handed over. When
//! the disk has no room calls wait in memory, then the oldest are let go and counted; nothing but the
//! store notices. A clock that is set deletes nothing (`calendar`).
//!
//! SQLite and not files that are appended to: it finds a call by any of six keys without reading the rest,
//! gives single old calls' room back, and its log makes a batch whole or absent after a power cut. All three
//! would be ours to write otherwise.

mod calendar;
mod open;
mod reserve;
mod retention;
mod rows;
mod search;
mod thread;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rusqlite::Connection;
use tracing::warn;

use self::open::Fault;
use self::retention::Limits;
use self::thread::Message;
use self::writer::{Writer, open_telling};
use super::{FinishedCall, History, HistoryError, Journal, Keeper};
use crate::config::CallStore;

pub use search::{Cursor, NotACursor, Page, Search};

/// Calls that may wait for the thread: all of a gateway's agents hang up at once.
const QUEUE: usize = 2048;

/// What calls may take where there is no file: a few thousand.
const MEMORY: u64 = 32_000_000;

/// Why the store cannot be had, or cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("journal.store = \"{}\": {error}; its directory has to be there and writable", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("journal.store = \"{}\": it is not a database of this gateway's; name a file of its own", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "journal.store = \"{}\": it has version {version}, and this gateway knows {known}; \
         a newer one has written it, start that again or name another file",
        path.display()
    )]
    Newer { path: PathBuf, version: usize, known: usize },
    #[error("SQLite: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error("a stored call cannot be read: {0}")]
    Row(String),
    #[error("the thread of the store cannot be started: {0}")]
    Thread(io::Error),
}

impl StoreError {
    fn fault(&self) -> Fault {
        match self {
            StoreError::Sql(error) => open::fault(error),
            StoreError::File { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
                Fault::Full
            }
            StoreError::Row(_) => Fault::Passing,
            _ => Fault::Denied,
        }
    }

    /// The search went through more calls than it had time for.
    pub fn is_too_broad(&self) -> bool {
        self.fault() == Fault::TooLong
    }

    /// Names the file.
    fn at(self, file: &std::path::Path) -> Self {
        let path = file.to_owned();
        match self {
            StoreError::Foreign { .. } => StoreError::Foreign { path },
            StoreError::Newer { version, known, .. } => StoreError::Newer { path, version, known },
            other => other,
        }
    }
}

/// How the store is. Counters are since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreStats {
    pub kept: u64,
    /// Calls that were let go because they could not be written, or not soon enough.
    pub dropped: u64,
    /// Tries to write or to clean up that failed.
    pub faults: u64,
    /// The last try to write failed.
    pub failing: bool,
    /// Calls that are in it: counted from time to time, and those written since.
    pub rows: u64,
    /// Of the database, without its log.
    pub bytes: u64,
    /// When the oldest call in it ended, in Unix milliseconds, looked up from time to time; `None` without.
    pub oldest: Option<u64>,
}

/// Where the calls are.
enum Place {
    File(PathBuf),
    Memory(Mutex<Connection>),
}

struct Shared {
    place: Place,
    kept: AtomicU64,
    dropped: AtomicU64,
    faults: AtomicU64,
    failing: AtomicBool,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Unix milliseconds; 0 for none.
    oldest: AtomicU64,
    /// Who is told of alerts.
    journal: OnceLock<Journal>,
}

impl Shared {
    fn new(place: Place) -> Self {
        Self {
            place,
            kept: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            journal: OnceLock::new(),
        }
    }
}

/// The store of finished calls.
pub struct Store {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Store {
    /// Opens the file, or makes it; puts a damaged one aside. A disk without room is no reason not to
    /// start.
    ///
    /// # Errors
    /// The file cannot be had, is another program's, or was written by a newer gateway.
    pub fn open(config: &CallStore) -> Result<Self, StoreError> {
        let (place, connection, max_bytes) = match &config.file {
            None => {
                (Place::Memory(Mutex::new(open::memory()?)), None, config.max_bytes.min(MEMORY))
            }
            Some(path) => {
                let connection = match open_telling(path) {
                    Ok(connection) => Some(connection),
                    Err(error) if matches!(error.fault(), Fault::Passing | Fault::Full) => {
                        warn!(%error, "the store of finished calls cannot be opened; trying again");
                        None
                    }
                    Err(error) => return Err(error),
                };
                (Place::File(path.clone()), connection, config.max_bytes)
            }
        };
        let shared = Arc::new(Shared::new(place));
        let limits = Limits { keep: config.keep, max_bytes };
        let writer = Writer::new(Arc::clone(&shared), connection, limits, config.bodies);
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = thread::start(writer, receiver).map_err(StoreError::Thread)?;
        Ok(Self { shared, sender, thread: Mutex::new(Some(thread)) })
    }

    /// Alerts go there, from then on.
    pub fn report_to(&self, journal: Journal) {
        let _ = self.shared.journal.set(journal);
    }

    pub fn stats(&self) -> StoreStats {
        StoreStats {
            kept: self.shared.kept.load(Relaxed),
            dropped: self.shared.dropped.load(Relaxed),
            faults: self.shared.faults.load(Relaxed),
            failing: self.shared.failing.load(Relaxed),
            rows: self.shared.rows.load(Relaxed),
            bytes: self.shared.bytes.load(Relaxed),
            oldest: Some(self.shared.oldest.load(Relaxed)).filter(|oldest| *oldest > 0),
        }
    }

    /// The latest calls that are as asked, `limit` at most. Reads a disk, and may take some seconds.
    ///
    /// # Errors
    /// It took too long ([`StoreError::is_too_broad`]), or the file cannot be read.
    pub fn search(&self, search: &Search, limit: usize) -> Result<Page, StoreError> {
        self.read(|connection| search.run(connection, limit))
    }

    fn read<T>(
        &self,
        ask: impl Fn(&mut Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &self.shared.place {
            Place::Memory(connection) => ask(&mut locked(connection)),
            Place::File(path) => ask(&mut open::for_reading(path)?),
        }
    }

    /// Writes what waits, and ends the thread. Waits for the disk.
    pub fn close(&self) {
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread {
            // It is read: the thread ends by this message alone.
            let _ = self.sender.send(Message::Close);
            let _ = thread.join();
        }
    }
}

impl Keeper for Store {
    fn keep(&self, call: Arc<FinishedCall>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.sender.try_send(Message::Call(call))
        {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl History for Store {
    /// By our own id, else by a SIP Call-ID, by Genesys' CallUUID, or by the DN: its latest call.
    fn find(&self, call: &str) -> Result<Option<FinishedCall>, HistoryError> {
        self.read(|connection| rows::find(connection, call))
            .map_err(|error| HistoryError(error.to_string()))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Nothing is left half done behind these locks.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::CallRecord;

    #[allow(clippy::disallowed_methods)]
    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !holds() {
            assert!(std::time::Instant::now() < end, "never: {what}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    #[test]
    fn its_thread_begins_anew_after_a_panic() {
        let config = CallStore {
            file: None,
            keep: std::time::Duration::from_secs(86_400),
            max_bytes: MEMORY,
            bodies: true,
        };
        let store = Store::open(&config).unwrap();
        let keep = |call: &str| {
            let record = CallRecord { call: call.into(), ..CallRecord::default() };
            store.keep(Arc::new(FinishedCall { record, timeline: Default::default() }));
        };
        for round in 1..=3 {
            store.sender.send(Message::Stumble).unwrap();
            keep(&format!("c{round}"));
            eventually("it keeps calls again", || store.stats().kept == round);
            eventually("it is well", || !store.stats().failing);
        }
        assert_eq!(store.stats().dropped, 0);
        // The thread is there to be closed.
        store.sender.send(Message::Stumble).unwrap();
        store.close();
    }
}
