//! The one who writes: batches, and what happens when they fail. No thread of its own here, no clock.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use tracing::{info, warn};

use super::calendar::{Calendar, Change};
use super::open::{self, Fault};
use super::reserve::Reserve;
use super::retention::{Limits, Pages, Retention};
use super::rows::{Encoded, Inserts, signed};
use super::{Place, Shared, StoreError, locked};
use crate::journal::{About, FinishedCall, What};
use crate::words::counted;

/// Calls that wait for the disk to have room again, and what they may take of memory: five hundred
/// agents' calls of some minutes.
const MAX_WAITING: usize = 5000;
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// What is written together. A disk that has room for a part of what waits takes that.
const PIECE: usize = 500;
const PIECE_BYTES: usize = 1_000_000;

/// What a piece takes in the log, at most, as a multiple of itself; and what a step of deleting takes.
const OVERHEAD: u64 = 2;
const DELETING: u64 = 128 * 1024;

/// As many as SQLite has for a file.
const MOST_PAGES: u64 = 0xffff_fffe;

/// Between two words on calls that go before their time, in milliseconds.
const TELL_EARLY: u64 = 86_400_000;

/// Between two notes of what is known of the time, in milliseconds.
const NOTE_CLOCK: u64 = 10 * 60 * 1000;

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Whether timelines keep their messages' bodies.
    bodies: bool,
    /// The file's; `None` while it cannot be opened.
    connection: Option<Connection>,
    /// Device and number of the file that is open, where there is one.
    opened: Option<(u64, u64)>,
    retention: Retention,
    reserve: Reserve,
    calendar: Calendar,
    /// What is the matter with the clock, and what was told of it.
    clock: (Option<String>, Option<String>),
    /// What the database has of [`Calendar::known`].
    known: u64,
    /// Encoded, not yet written. The oldest is let go first.
    waiting: VecDeque<Encoded>,
    waiting_bytes: usize,
    /// Taken out of those to be written: lost if that never comes to an end.
    under_way: usize,
    /// [`MAX_WAITING_BYTES`].
    most_bytes: usize,
    /// The last try failed.
    failing: bool,
    /// An alert is up.
    alerted: bool,
    /// What of `Shared::dropped` has been told.
    told: u64,
    /// When it was told that calls go before their time, in Unix milliseconds.
    early: Option<u64>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: Option<Connection>,
        limits: Limits,
        bodies: bool,
    ) -> Self {
        let opened = shared.identity();
        let file = match &shared.place {
            Place::File(path) => Some(path.as_path()),
            Place::Memory(_) => None,
        };
        Self {
            reserve: Reserve::beside(file),
            shared,
            bodies,
            connection,
            opened,
            retention: Retention::new(limits),
            calendar: Calendar::new(limits.keep),
            clock: (None, None),
            known: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            under_way: 0,
            most_bytes: MAX_WAITING_BYTES,
            failing: false,
            alerted: false,
            told: 0,
            early: None,
        }
    }

    pub(super) fn take(&mut self, call: &FinishedCall) {
        match Encoded::new(call, self.bodies) {
            Ok(row) => {
                self.waiting_bytes += row.size();
                self.waiting.push_back(row);
            }
            Err(error) => {
                self.shared.drop_one();
                warn!(call = %call.record.call, %error, "a finished call cannot be written down");
            }
        }
        while self.waiting.len() > MAX_WAITING || self.waiting_bytes > self.most_bytes {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= oldest.size();
            self.shared.drop_one();
        }
    }

    /// Whatever it did last has panicked: that and the connection are let go, what waits is kept.
    pub(super) fn stumbled(self) -> Self {
        let Self {
            shared, bodies, waiting, waiting_bytes, clock, alerted, told, most_bytes, ..
        } = self;
        shared.dropped.fetch_add(self.under_way as u64, Relaxed);
        let limits = self.retention.limits();
        let new = Self::new(shared, None, limits, bodies);
        let mut new =
            Self { waiting, waiting_bytes, clock, alerted, told, most_bytes, failing: true, ..new };
        new.shared.failing.store(true, Relaxed);
        new.alert(true, "its writer stumbled over a fault of the program; see the log".to_owned());
        new
    }

    /// Whether the last try to write has failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Whether old calls have to make room now, and not with the next look.
    pub(super) fn is_large(&self) -> bool {
        self.retention.is_large(self.shared.bytes.load(Relaxed))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes what waits, in pieces, each all or nothing. What fails goes on waiting.
    pub(super) fn flush(&mut self) {
        if self.waiting.is_empty() && !self.failing {
            return;
        }
        loop {
            let piece = self.piece();
            self.under_way = piece.len();
            let most = self.most_bytes_after(&piece);
            let written = self.with_connection(|connection| {
                bound(connection, most)?;
                write(connection, &piece)
            });
            self.under_way = 0;
            let Some(refused) = written else {
                for row in piece.into_iter().rev() {
                    self.waiting_bytes += row.size();
                    self.waiting.push_front(row);
                }
                return;
            };
            for _ in 0..refused {
                self.shared.drop_one();
            }
            let written = (piece.len() - refused) as u64;
            self.shared.kept.fetch_add(written, Relaxed);
            self.shared.rows.fetch_add(written, Relaxed);
            if self.waiting.is_empty() {
                return self.recovered();
            }
        }
    }

    /// What the file may have to hold when these are written: as much as there is room for beside their way through
    /// the log. More than that could be written into the log and never out of it, and a log that is not free again
    /// has no room for deleting, which alone would make some. `None` without a file.
    fn most_bytes_after(&self, piece: &[Encoded]) -> Option<u64> {
        let Place::File(path) = &self.shared.place else { return None };
        let bytes: usize = piece.iter().map(Encoded::size).sum();
        let log = OVERHEAD * bytes as u64 + DELETING;
        let file = std::fs::metadata(path).map_or(0, |file| file.len());
        let room = self.reserve.room().unwrap_or(u64::MAX);
        Some(file.saturating_add(room).saturating_sub(log))
    }

    /// The first of those that wait. One at least, however large.
    fn piece(&mut self) -> Vec<Encoded> {
        let (mut piece, mut bytes) = (Vec::new(), 0);
        while let Some(row) = self.waiting.front() {
            if piece.len() >= PIECE || !piece.is_empty() && bytes + row.size() > PIECE_BYTES {
                break;
            }
            let Some(row) = self.waiting.pop_front() else { break };
            bytes += row.size();
            piece.push(row);
        }
        self.waiting_bytes -= bytes;
        piece
    }

    /// The time by which calls are too old, in Unix milliseconds; `wall` is what the clock says. `None`
    /// while the database cannot say what was known of it.
    pub(super) fn date(&mut self, now: Instant, wall: u64) -> Option<u64> {
        if self.calendar.is_new() {
            let known = self.with_connection(|connection| known(connection))?;
            self.calendar.begin(known, now, wall);
        }
        let (date, change) = self.calendar.look(now, wall);
        match change {
            Some(Change::Doubted(step)) => {
                let text = format!(
                    "the system's clock went {step} against the time that has passed; finished calls do not grow \
                     older by that until it has stood so for a day"
                );
                warn!("{text}");
                self.clock.0 = Some(text);
            }
            Some(Change::Believed) => {
                info!("the system's clock is believed again");
                self.clock.0 = None;
            }
            None => {}
        }
        let (fault, told) = &self.clock;
        if fault != told && self.note(What::Clock { fault: fault.clone() }) {
            self.clock.1 = fault.clone();
        }
        let known = self.calendar.known(now).unwrap_or(date);
        if known.abs_diff(self.known) > NOTE_CLOCK
            && self.with_connection(|connection| note_known(connection, known)).is_some()
        {
            self.known = known;
        }
        Some(date)
    }

    /// A step of what deletes old calls, `now` in Unix milliseconds. Whether there is more to do.
    pub(super) fn maintain(&mut self, now: u64) -> bool {
        self.look_for_the_file();
        let full = self.failing;
        let mut retention = self.retention.clone();
        let mut step = |connection: &mut Connection| match full {
            true => retention.step_on_full_disk(connection, now),
            false => retention.step(connection, now),
        };
        let mut more = self.attempt(&mut step);
        // Where nothing has to go, nothing was written.
        if more.as_ref().is_err_and(|error| error.fault() == Fault::Full) && self.reserve.release()
        {
            more = self.attempt(&mut step);
        }
        let more = self.settled(more, &mut step);
        self.retention = retention;
        if more == Some(false) && !full {
            self.reserve.keep();
        }
        if more == Some(false) {
            // One that came twice is one, and what was deleted is gone.
            if let Some(rows) = self.with_connection(|connection| count(connection)) {
                self.shared.rows.store(rows, Relaxed);
            }
            if let Some(oldest) = self.with_connection(|connection| oldest(connection)) {
                self.shared.oldest.store(oldest.unwrap_or_default(), Relaxed);
            }
            self.tell_early(now);
        }
        more.unwrap_or_default()
    }

    /// Says that room, and not age, decides how long calls stay.
    fn tell_early(&mut self, now: u64) {
        let lately = self.early.is_some_and(|at| now.abs_diff(at) < TELL_EARLY);
        if !self.retention.take_early() || lately {
            return;
        }
        self.early = Some(now);
        // In memory there is no promise of days.
        if let Place::File(_) = self.shared.place {
            let oldest = self.shared.oldest.load(Relaxed);
            let hours = now.saturating_sub(oldest) / 3_600_000;
            warn!(
                oldest_hours = hours,
                keep_days = self.retention.limits().keep.as_secs() / 86_400,
                "finished calls go before journal.keep_days, for want of room: raise journal.max_megabytes"
            );
        }
    }

    /// An open file that somebody has removed takes calls, and nobody finds them there.
    fn look_for_the_file(&mut self) {
        let there = self.shared.identity();
        if self.connection.is_some() && there != self.opened {
            warn!(
                "the file of finished calls is not there any more, or another one; opening it anew"
            );
            self.connection = None;
        }
        self.opened = there;
    }

    /// Says that calls were lost, or that none are any more. From time to time.
    pub(super) fn tell(&mut self) {
        let dropped = self.shared.dropped.load(Relaxed);
        let lost = dropped - self.told;
        self.told = dropped;
        if lost > 0 {
            warn!(lost, "finished calls were not kept");
            let were = if lost == 1 { "was" } else { "were" };
            self.alert(true, format!("{} {were} not kept", counted(lost, "finished call")));
        } else if !self.failing {
            self.alert(false, "finished calls are kept again".to_owned());
        }
    }

    /// Something with the database. `None`: it failed, which is told.
    fn with_connection<T>(&mut self, work: impl Work<T>) -> Option<T> {
        let mut work = work;
        let result = self.attempt(&mut work);
        self.settled(result, &mut work)
    }

    /// What came of it, tried again on a new file where this one is damaged.
    fn settled<T>(
        &mut self,
        mut result: Result<T, StoreError>,
        work: &mut impl Work<T>,
    ) -> Option<T> {
        if let Err(error) = &result
            && error.fault() == Fault::Damaged
            && let Place::File(_) = self.shared.place
        {
            // Opening it again finds the damage where it is in the schema; it is put aside anyway.
            warn!(%error, "the store of finished calls is damaged");
            result = self.begin_anew().and_then(|()| self.attempt(work));
        }
        match result {
            // That something can be read is no sign that something can be written.
            Ok(value) => Some(value),
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn attempt<T>(&mut self, work: &mut impl Work<T>) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        match &shared.place {
            Place::Memory(connection) => {
                let mut connection = locked(connection);
                let value = work(&mut connection)?;
                shared.measure(&connection);
                Ok(value)
            }
            Place::File(path) => {
                let connection = match &mut self.connection {
                    Some(connection) => connection,
                    none => {
                        let opened = match open_telling(path) {
                            // Its log and the log's index want room before anything can go.
                            Err(error)
                                if error.fault() == Fault::Full && self.reserve.release() =>
                            {
                                open_telling(path)?
                            }
                            opened => opened?,
                        };
                        let opened = none.insert(opened);
                        self.opened = shared.identity();
                        opened
                    }
                };
                let value = work(connection)?;
                shared.measure(connection);
                Ok(value)
            }
        }
    }

    fn begin_anew(&mut self) -> Result<(), StoreError> {
        let Place::File(path) = &self.shared.place else { return Ok(()) };
        self.connection = None;
        let aside = open::put_aside(path)?;
        tell_of_damage(path, &aside);
        self.connection = Some(open_telling(path)?);
        self.opened = self.shared.identity();
        Ok(())
    }

    fn failed(&mut self, error: &StoreError) {
        // A file that was taken away or replaced under us is looked for anew.
        if error.fault() == Fault::Denied {
            self.connection = None;
        }
        if !std::mem::replace(&mut self.failing, true) {
            warn!(%error, waiting = self.waiting.len(), "finished calls cannot be kept; trying again");
        }
        self.shared.faults.fetch_add(1, Relaxed);
        self.alert(true, format!("finished calls cannot be kept: {error}"));
        self.shared.failing.store(true, Relaxed);
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.failing, false) {
            info!("finished calls are kept again");
            self.alert(false, "finished calls are kept again".to_owned());
        }
        self.shared.failing.store(false, Relaxed);
    }

    fn alert(&mut self, raised: bool, text: String) {
        if self.alerted != raised && self.note(What::Store { fault: raised.then_some(text) }) {
            self.alerted = raised;
        }
    }

    /// Whether there is somebody to tell: not before the gateway has started.
    fn note(&self, what: What) -> bool {
        let journal = self.shared.journal.get();
        if let Some(journal) = journal {
            journal.note(About::default(), what);
        }
        journal.is_some()
    }
}

/// Work for a connection, once more if need be.
trait Work<T>: FnMut(&mut Connection) -> Result<T, rusqlite::Error> {}
impl<T, F: FnMut(&mut Connection) -> Result<T, rusqlite::Error>> Work<T> for F {}

/// Opens the file; says so where an old one was damaged.
pub(super) fn open_telling(path: &Path) -> Result<Connection, StoreError> {
    let (connection, aside) = open::file(path)?;
    if let Some(aside) = aside {
        tell_of_damage(path, &aside);
    }
    Ok(connection)
}

fn tell_of_damage(path: &Path, aside: &Path) {
    warn!(
        file = %path.display(),
        aside = %aside.display(),
        "the store of finished calls was damaged; it is put aside and a new one begun"
    );
}

/// When somebody last knew the time: this store, or before it did so the latest call.
fn known(connection: &Connection) -> Result<Option<u64>, rusqlite::Error> {
    let sql = "SELECT coalesce((SELECT known FROM clock), (SELECT max(ended) FROM calls))";
    let known: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(known.and_then(|known| u64::try_from(known).ok()))
}

fn note_known(connection: &Connection, known: u64) -> Result<(), rusqlite::Error> {
    let sql = "INSERT OR REPLACE INTO clock (id, known) VALUES (0, ?1)";
    connection.execute(sql, [signed(known)]).map(drop)
}

/// When the first of all ended, in Unix milliseconds.
fn oldest(connection: &Connection) -> Result<Option<u64>, rusqlite::Error> {
    let sql = "SELECT ended FROM calls ORDER BY id LIMIT 1";
    let ended = connection.query_row(sql, [], |row| row.get::<_, i64>(0)).optional()?;
    Ok(ended.and_then(|ended| u64::try_from(ended).ok()))
}

fn count(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection
        .query_row("SELECT count(*) FROM calls", [], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

/// From now on the file has no more than so many bytes: what would have is refused as on a full disk.
fn bound(connection: &Connection, bytes: Option<u64>) -> Result<(), rusqlite::Error> {
    let Some(bytes) = bytes else { return Ok(()) };
    let most = Pages::of(connection)?.most(bytes).min(MOST_PAGES);
    connection.query_row(&format!("PRAGMA max_page_count = {most}"), [], |_| Ok(()))
}

/// How many of them the database did not want, by themselves: the others are written.
fn write(connection: &mut Connection, rows: &[Encoded]) -> Result<usize, rusqlite::Error> {
    let transaction = connection.transaction()?;
    if rows.is_empty() {
        // Is there room again? An empty transaction would not ask the disk.
        let version: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    let mut refused = 0;
    let mut inserts = Inserts::new(&transaction)?;
    for row in rows {
        transaction.execute_batch("SAVEPOINT one")?;
        match inserts.insert(row) {
            Ok(()) => transaction.execute_batch("RELEASE one")?,
            Err(error) if is_the_rows_own(&error) => {
                warn!(%error, "a finished call cannot be kept");
                refused += 1;
                transaction.execute_batch("ROLLBACK TO one; RELEASE one")?;
            }
            Err(error) => return Err(error),
        }
    }
    drop(inserts);
    transaction.commit()?;
    Ok(refused)
}

/// Another try would fail as well, and hold up the others.
fn is_the_rows_own(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
    )
}

impl Shared {
    fn identity(&self) -> Option<(u64, u64)> {
        let Place::File(path) = &self.place else { return None };
        let file = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    fn measure(&self, connection: &Connection) {
        if let Ok(pages) = Pages::of(connection) {
            self.bytes.store(pages.bytes(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
