//! The one who writes: batches, and what happens when they fail. No thread of its own here, no clock.

use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode};
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
            let written = self.with_connection(|connection| write(connection, &piece));
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
        }
        more.unwrap_or_default()
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

fn count(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection
        .query_row("SELECT count(*) FROM calls", [], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
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
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::journal::{Entry, Journal, Observer, Timeline, TimelineEvent};

    /// The faults of the store that were told: what it was, or that it is over.
    #[derive(Default)]
    struct Told(Mutex<Vec<Option<String>>>);

    impl Observer for Told {
        fn observe(&self, entry: &Entry) {
            if let What::Store { fault } = &entry.what {
                self.0.lock().unwrap().push(fault.clone());
            }
        }
    }

    /// What was said of the clock.
    #[derive(Default)]
    struct Clocks(Mutex<Vec<Option<String>>>);

    impl Observer for Clocks {
        fn observe(&self, entry: &Entry) {
            if let What::Clock { fault } = &entry.what {
                self.0.lock().unwrap().push(fault.clone());
            }
        }
    }

    /// No limits.
    const NEVER: Limits = Limits { keep: std::time::Duration::MAX, max_bytes: u64::MAX };

    fn writer() -> (Writer, Arc<Shared>, Arc<Told>) {
        let shared = Arc::new(Shared::new(Place::Memory(Mutex::new(open::memory().unwrap()))));
        let told = Arc::new(Told::default());
        let _ = shared.journal.set(Journal::new(vec![told.clone()]));
        (Writer::new(Arc::clone(&shared), None, NEVER, true), shared, told)
    }

    fn call(id: usize, body: usize) -> FinishedCall {
        let record = crate::journal::CallRecord {
            call: format!("c{id}"),
            ended: id as u64,
            ..Default::default()
        };
        // Digits at random: nothing that a deflate could make smaller.
        let body: String = (0..body).map(|_| rand::random_range('0'..='9')).collect();
        let event = TimelineEvent {
            at: 1,
            kind: crate::journal::Kind::Sip,
            direction: None,
            from: None,
            to: None,
            title: "INVITE".into(),
            detail: Default::default(),
            body: Some(body.into()),
        };
        FinishedCall { record, timeline: Timeline { events: vec![event], ..Timeline::default() } }
    }

    /// How many pages the database may have, as a full disk would have it.
    fn pages(shared: &Shared, most: i64) {
        let Place::Memory(connection) = &shared.place else { return };
        let connection = locked(connection);
        connection.pragma_update_and_check(None, "max_page_count", most, |_| Ok(())).unwrap();
    }

    fn rows(shared: &Shared) -> i64 {
        let Place::Memory(connection) = &shared.place else { return 0 };
        locked(connection).query_row("SELECT count(*) FROM calls", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_full_disk_loses_nothing_that_fits_into_memory() {
        let (mut writer, shared, told) = writer();
        writer.take(&call(0, 10));
        writer.flush();
        assert_eq!((rows(&shared), told.0.lock().unwrap().len()), (1, 0));

        pages(&shared, 1);
        for id in 1..=100 {
            writer.take(&call(id, 1000));
            writer.flush();
        }
        assert!(writer.is_failing() && shared.failing.load(Relaxed));
        assert!(shared.faults.load(Relaxed) > 50, "each try is counted");
        assert!(rows(&shared) < 50, "there was room");
        let faults = told.0.lock().unwrap().clone();
        assert_eq!(faults.len(), 1, "once, not at each try: {faults:?}");
        assert!(faults[0].as_ref().unwrap().contains("full"), "{faults:?}");

        pages(&shared, 1_000_000);
        writer.flush();
        assert!(!writer.is_failing() && !shared.failing.load(Relaxed));
        assert_eq!((rows(&shared), shared.rows.load(Relaxed)), (101, 101));
        assert_eq!(told.0.lock().unwrap().last(), Some(&None));
        assert_eq!((shared.kept.load(Relaxed), shared.dropped.load(Relaxed)), (101, 0));
    }

    /// The store is opened before there is anybody to tell.
    #[test]
    fn a_disk_that_was_full_at_the_start_is_told_too() {
        let shared = Arc::new(Shared::new(Place::Memory(Mutex::new(open::memory().unwrap()))));
        let mut writer = Writer::new(Arc::clone(&shared), None, NEVER, true);
        pages(&shared, 1);
        writer.take(&call(1, 100_000));
        writer.flush();
        let told = Arc::new(Told::default());
        let _ = shared.journal.set(Journal::new(vec![told.clone()]));
        for _ in 0..2 {
            writer.flush();
            assert_eq!(told.0.lock().unwrap().len(), 1);
        }
        pages(&shared, 1_000_000);
        writer.flush();
        assert_eq!(told.0.lock().unwrap().last(), Some(&None));
    }

    #[test]
    fn the_oldest_go_when_memory_is_full_too_and_are_counted() {
        let (mut writer, shared, told) = writer();
        pages(&shared, 1);
        for id in 0..MAX_WAITING + 10 {
            writer.take(&call(id, 0));
        }
        writer.flush();
        assert_eq!(shared.dropped.load(Relaxed), 10);
        pages(&shared, 1_000_000);
        writer.flush();
        assert_eq!(rows(&shared), MAX_WAITING as i64);
        let Place::Memory(connection) = &shared.place else { return };
        let oldest: i64 = locked(connection)
            .query_row("SELECT min(ended) FROM calls", [], |row| row.get(0))
            .unwrap();
        assert_eq!(oldest, 10);

        writer.tell();
        assert_eq!(
            told.0.lock().unwrap().last(),
            Some(&Some("10 finished calls were not kept".to_owned()))
        );
        writer.tell();
        assert_eq!(told.0.lock().unwrap().last(), Some(&None));
    }

    #[test]
    fn a_clock_that_is_set_forward_deletes_nothing_and_is_told() {
        const DAY: u64 = 86_400_000;
        const NOW: u64 = 1_800_000_000_000;
        let limits = Limits { keep: std::time::Duration::from_secs(30 * 86_400), ..NEVER };
        let shared = Arc::new(Shared::new(Place::Memory(Mutex::new(open::memory().unwrap()))));
        let clock = Arc::new(Clocks::default());
        let _ = shared.journal.set(Journal::new(vec![clock.clone()]));
        let mut writer = Writer::new(Arc::clone(&shared), None, limits, true);
        let (start, mut wall) = (Instant::now(), NOW);
        let look = |writer: &mut Writer, after: u64, wall: u64| {
            let date = writer.date(start + std::time::Duration::from_millis(after), wall).unwrap();
            while writer.maintain(date) {}
        };
        look(&mut writer, 0, wall);
        for age in [40, 20, 1, 0] {
            let mut call = call(age as usize, 10);
            call.record.ended = NOW - age * DAY;
            writer.take(&call);
        }
        writer.flush();
        look(&mut writer, 60_000, wall + 60_000);
        assert_eq!(rows(&shared), 3, "one is too old");
        wall += 400 * DAY;
        look(&mut writer, 120_000, wall + 120_000);
        assert_eq!(rows(&shared), 3, "none is too old for all that is known");
        let told = clock.0.lock().unwrap().clone();
        assert!(told[0].as_ref().unwrap().contains("forward by 400 d 0 h"), "{told:?}");
        // A process that starts now knows no more than this one.
        writer.calendar = Calendar::new(limits.keep);
        look(&mut writer, 180_000, wall + 180_000);
        assert_eq!(rows(&shared), 3);
        assert!(writer.calendar.known(start).unwrap() < wall, "it was noted");
        look(&mut writer, 240_000, NOW + 240_000);
        assert_eq!(clock.0.lock().unwrap().last(), Some(&None), "it is back");

        look(&mut writer, 300_000, wall + 300_000);
        look(&mut writer, 360_000 + DAY, wall + 360_000 + DAY);
        assert_eq!(rows(&shared), 0, "a day later that is what time it is");
    }

    /// The limits are what makes room again.
    #[test]
    fn old_calls_go_from_a_full_disk_too() {
        let limits = Limits { keep: std::time::Duration::from_secs(1), max_bytes: u64::MAX };
        let shared = Arc::new(Shared::new(Place::Memory(Mutex::new(open::memory().unwrap()))));
        let mut writer = Writer::new(Arc::clone(&shared), None, limits, true);
        for id in 1000..1100 {
            writer.take(&call(id, 10_000));
        }
        writer.flush();
        let (before, now) = (rows(&shared), 1_000_000);
        let bytes = shared.bytes.load(Relaxed);
        pages(&shared, 1);
        for id in 1..=10 {
            writer.take(&call(id, 10_000));
        }
        writer.flush();
        assert!(writer.is_failing() && rows(&shared) == before, "there was room");
        assert!(writer.maintain(now) && writer.is_failing(), "that it can delete is no recovery");
        writer.flush();
        assert!(!writer.is_failing(), "what went has made room");
        assert_eq!((shared.kept.load(Relaxed), shared.dropped.load(Relaxed)), (110, 0));
        assert!(shared.bytes.load(Relaxed) <= bytes, "the file has not grown");
    }

    #[test]
    fn large_calls_wait_within_a_bound() {
        let (mut writer, shared, _) = writer();
        writer.most_bytes = 20_000;
        for id in 0..30 {
            writer.take(&call(id, 2000));
            assert!(writer.waiting_bytes <= writer.most_bytes);
        }
        assert!(shared.dropped.load(Relaxed) > 0);
        let sum: usize = writer.waiting.iter().map(Encoded::size).sum();
        assert_eq!(writer.waiting_bytes, sum);
    }

    #[test]
    fn a_call_that_comes_twice_is_there_once() {
        let (mut writer, shared, _) = writer();
        for _ in 0..2 {
            writer.take(&call(1, 10));
            writer.flush();
        }
        assert_eq!(rows(&shared), 1);
        assert_eq!(shared.dropped.load(Relaxed), 0);
        writer.maintain(1);
        assert_eq!(shared.rows.load(Relaxed), 1);
    }

    /// Each step waits a while for whoever else wants the disk: one page at a time would take a day.
    #[test]
    fn what_is_deleted_is_given_back_in_a_few_steps() {
        let limits = Limits { keep: std::time::Duration::ZERO, max_bytes: u64::MAX };
        let shared = Arc::new(Shared::new(Place::Memory(Mutex::new(open::memory().unwrap()))));
        let mut writer = Writer::new(Arc::clone(&shared), None, limits, true);
        for id in 0..400 {
            writer.take(&call(id, 10_000));
        }
        writer.flush();
        let before = shared.bytes.load(Relaxed);
        assert!(before > 2_000_000, "{before}");
        let now = 1_000_000;
        let steps = (0..50).take_while(|_| writer.maintain(now)).count();
        assert!(steps < 10, "{steps} steps");
        let after = shared.bytes.load(Relaxed);
        assert!(after < before / 2 && rows(&shared) == 0, "{after} of {before}");
    }

    #[test]
    fn a_file_that_was_removed_is_made_anew() {
        let name = format!("wrtc-writer-{:016x}.db", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        let connection = open_telling(&path).unwrap();
        let shared = Arc::new(Shared::new(Place::File(path.clone())));
        let mut writer = Writer::new(Arc::clone(&shared), Some(connection), NEVER, true);
        for id in 0..2 {
            writer.take(&call(id, 10));
            writer.flush();
            if id == 0 {
                std::fs::remove_file(&path).unwrap();
                writer.maintain(1);
            }
        }
        let there = open::for_reading(&path).unwrap();
        let calls: Vec<String> = {
            let mut calls = there.prepare("SELECT call FROM calls").unwrap();
            calls.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        drop((there, writer));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(calls, ["c1"]);
        assert_eq!(shared.kept.load(Relaxed), 2);
    }
}
