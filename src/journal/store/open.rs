//! Opening the database: its settings, its schema, and what is done with a file that is damaged.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::StoreError;

/// "wrtc", so that `file` and we know the database again.
const APPLICATION_ID: i32 = 0x7772_7463;

/// How long another process with the file open, a backup say, may keep us waiting.
const BUSY: Duration = Duration::from_secs(5);

/// What the write-ahead log is cut back to.
pub(super) const LOG_BYTES: u32 = 4_000_000;

/// Pages of the log after which they are written to the file, 1 MB: so much at most the file may have to grow by when
/// the disk is full.
const LOG_PAGES: u32 = 250;

/// Each is run once, in order; `user_version` counts those that were. Never changed, only added to.
const MIGRATIONS: &[&str] = &[
    // What is searched is apart from what is only shown: a scan reads a tenth of the pages.
    "CREATE TABLE calls (
         id INTEGER PRIMARY KEY,
         call TEXT NOT NULL UNIQUE,
         user TEXT NOT NULL,
         peer TEXT NOT NULL,
         peer_name TEXT,
         diverted_from TEXT,
         call_uuid TEXT,
         started INTEGER NOT NULL,
         ended INTEGER NOT NULL,
         ended_by TEXT NOT NULL,
         reason TEXT NOT NULL,
         mos REAL
     ) STRICT;
     CREATE INDEX calls_started ON calls (started);
     CREATE INDEX calls_user ON calls (user, started);
     CREATE INDEX calls_peer ON calls (peer, started);
     CREATE INDEX calls_uuid ON calls (call_uuid) WHERE call_uuid IS NOT NULL;
     CREATE INDEX calls_ended ON calls (ended);
     CREATE TABLE details (
         id INTEGER PRIMARY KEY,
         record TEXT NOT NULL,
         timeline BLOB NOT NULL
     ) STRICT;
     CREATE TABLE sip_ids (
         sip_call_id TEXT NOT NULL,
         id INTEGER NOT NULL,
         PRIMARY KEY (sip_call_id, id)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX sip_ids_id ON sip_ids (id);",
    "ALTER TABLE calls ADD COLUMN agent_id TEXT;
     CREATE INDEX calls_agent_id ON calls (agent_id, started) WHERE agent_id IS NOT NULL;",
    // When somebody last knew the time, in Unix milliseconds.
    "CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 0), known INTEGER NOT NULL) STRICT;",
];

/// What an error of SQLite's asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file is not what it was: a new one has to be begun.
    Damaged,
    /// No room.
    Full,
    /// It may pass: a failing disk, another process.
    Passing,
    /// Nobody but the operator can help: permissions, a directory that is not there.
    Denied,
    /// It took longer than it may.
    TooLong,
}

pub(super) fn fault(error: &rusqlite::Error) -> Fault {
    // The index of the log is a file too, and is made with its room.
    if error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE) {
        return Fault::Full;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Fault::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged,
        Some(ErrorCode::OperationInterrupted) => Fault::TooLong,
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            Fault::Denied
        }
        _ => Fault::Passing,
    }
}

/// Opens the file, or makes it. One that is damaged is put aside and a new one is begun; that is told by
/// the path of the old one.
///
/// # Errors
/// It can neither be opened nor made, or it is somebody else's.
pub(super) fn file(path: &Path) -> Result<(Connection, Option<PathBuf>), StoreError> {
    match open_file(path) {
        Err(StoreError::Sql(error)) if fault(&error) == Fault::Damaged => {
            if !was_a_database(path) {
                return Err(StoreError::Foreign { path: path.to_owned() });
            }
            let aside = put_aside(path)?;
            Ok((open_file(path)?, Some(aside)))
        }
        other => Ok((other?, None)),
    }
}

/// By its first bytes, which are zeros where a power cut took them. A file of another kind is somebody
/// else's, named by mistake: it is not touched.
fn was_a_database(path: &Path) -> bool {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let mut head = [0; MAGIC.len()];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && (head == *MAGIC || head == [0; MAGIC.len()])
}

fn open_file(path: &Path) -> Result<Connection, StoreError> {
    let denied = |error| StoreError::File { path: path.to_owned(), error };
    // Who spoke with whom is for nobody else's eyes; SQLite gives its other files the same mode.
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).map_err(denied)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // Every batch is on the disk when it counts as kept: there are a few a second at most.
    prepare(&mut connection, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(|error| error.at(path))?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    Ok(connection)
}

/// A database that is nowhere but here.
pub(super) fn memory() -> Result<Connection, StoreError> {
    let mut connection = Connection::open_in_memory()?;
    prepare(&mut connection, "")?;
    Ok(connection)
}

/// For questions, beside the one that writes.
pub(super) fn for_reading(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, settings: &str) -> Result<(), StoreError> {
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let owner: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if owner != APPLICATION_ID && (owner != 0 || version != 0 || tables != 0) {
        return Err(StoreError::Foreign { path: PathBuf::new() });
    }
    // Before the first table, or it has no effect: only so does the file shrink in small steps.
    connection.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
    )?;
    connection.execute_batch(settings)?;
    migrate(connection, MIGRATIONS)?;
    Ok(())
}

/// Runs what has not been run, all or nothing.
fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), StoreError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = version as usize;
    if version > steps.len() {
        return Err(StoreError::Newer { path: PathBuf::new(), version, known: steps.len() });
    }
    if version == steps.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in steps.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", steps.len() as u32)?;
    transaction.commit()?;
    Ok(())
}

/// Renames the database and its log; one that lay there from an earlier time is replaced, so that bad
/// memory fills no disk.
pub(super) fn put_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let with = |path: &Path, suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(path, ".damaged");
    fs::rename(path, &aside).map_err(|error| StoreError::File { path: path.to_owned(), error })?;
    // `sqlite3 calls.db.damaged .recover` wants the log beside it.
    if fs::rename(with(path, "-wal"), with(&aside, "-wal")).is_err() {
        let _ = fs::remove_file(with(&aside, "-wal"));
    }
    let _ = fs::remove_file(with(path, "-shm"));
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_an_older_version_is_brought_up_to_date() {
        let mut connection = memory().unwrap();
        connection
            .execute(
                "INSERT INTO calls (call, user, peer, started, ended, ended_by, reason)
                 VALUES ('c', '5001', '600', 1, 2, 'peer', 'Normal')",
                [],
            )
            .unwrap();
        let mut steps = MIGRATIONS.to_vec();
        steps.push("ALTER TABLE calls ADD COLUMN queue TEXT NOT NULL DEFAULT 'none'");
        migrate(&mut connection, &steps).unwrap();
        // Run twice, it would fail: the column is there.
        migrate(&mut connection, &steps).unwrap();
        let found: (String, String) = connection
            .query_row("SELECT call, queue FROM calls", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(found, ("c".to_owned(), "none".to_owned()));
        let newer = migrate(&mut connection, MIGRATIONS).unwrap_err();
        let (steps, known) = (steps.len(), MIGRATIONS.len());
        assert!(
            matches!(newer, StoreError::Newer { version, known: k, .. } if (version, k) == (steps, known)),
            "{newer}"
        );
    }

    #[test]
    fn a_step_that_fails_leaves_the_database_as_it_was() {
        let mut connection = memory().unwrap();
        let mut steps = MIGRATIONS.to_vec();
        steps.extend(["CREATE TABLE more (id INTEGER)", "CREATE TABLE calls (id INTEGER)"]);
        assert!(migrate(&mut connection, &steps).is_err());
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'more'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(tables, 0);
        migrate(&mut connection, MIGRATIONS).unwrap();
    }
}
