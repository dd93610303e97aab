//! A file that is damaged is put aside and a new one begun; one that is somebody else's is left alone.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use wrtc_gateway::journal::store::{Search, Store, StoreError};
use wrtc_gateway::journal::{History, Keeper};

use crate::made::{Dir, config, eventually, finished, ids, keep, now_ms, open, record};

fn filled(file: &Path) {
    let store = open(file);
    keep(&store, (0..200).map(|id| finished(record(&format!("c{id}"), now_ms()))));
}

/// A slip in the configuration is not to cost anybody a file.
#[test]
fn a_file_that_never_was_a_database_is_left_alone() {
    let dir = Dir::new();
    for theirs in ["root:x:0:0:root:/root:/bin/sh\n".repeat(100), "short".to_owned()] {
        std::fs::write(dir.file(), &theirs).unwrap();
        let error = Store::open(&config(Some(&dir.file()))).err().unwrap();
        assert!(matches!(&error, StoreError::Foreign { path } if *path == dir.file()), "{error}");
        assert_eq!(std::fs::read_to_string(dir.file()).unwrap(), theirs);
        assert!(!dir.0.join("calls.db.damaged").exists());
    }
}

/// What a file system leaves of a first page that was not written before the power went.
#[test]
fn a_file_that_lost_its_head_is_put_aside() {
    let dir = Dir::new();
    filled(&dir.file());
    let mut file = std::fs::OpenOptions::new().write(true).open(dir.file()).unwrap();
    file.write_all(&[0; 4096]).unwrap();
    drop(file);
    let store = open(&dir.file());
    keep(&store, [finished(record("c1", now_ms()))]);
    assert!(store.find("c1").unwrap().is_some());
    assert!(dir.0.join("calls.db.damaged").exists());
}

#[test]
fn an_empty_file_is_a_new_one() {
    let dir = Dir::new();
    std::fs::write(dir.file(), "").unwrap();
    let store = open(&dir.file());
    keep(&store, [finished(record("c1", now_ms()))]);
    assert!(!dir.0.join("calls.db.damaged").exists());
}

/// Most of a file overwritten while the gateway was off: sooner or later it is noticed, and calls go on
/// being kept.
#[test]
fn damage_within_a_file_is_noticed_and_calls_are_kept_again() {
    let dir = Dir::new();
    filled(&dir.file());
    let length = std::fs::metadata(dir.file()).unwrap().len();
    let mut file = std::fs::OpenOptions::new().write(true).open(dir.file()).unwrap();
    // The first page, with its schema, is whole.
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; (length - 4096) as usize]).unwrap();
    drop(file);

    let store = open(&dir.file());
    store.keep(std::sync::Arc::new(finished(record("new", now_ms()))));
    eventually("it is kept", || {
        store.find("new").is_ok_and(|found| found.is_some()) && store.stats().kept == 1
    });
    assert!(dir.0.join("calls.db.damaged").exists());
    assert_eq!(ids(&store, &Search::default()), ["new"]);
    assert_eq!(store.stats().dropped, 0);
}

#[test]
fn another_program_s_database_is_left_alone() {
    let dir = Dir::new();
    let other = rusqlite::Connection::open(dir.file()).unwrap();
    other.execute_batch("CREATE TABLE theirs (id INTEGER); INSERT INTO theirs VALUES (7)").unwrap();
    let error = Store::open(&config(Some(&dir.file()))).err().unwrap();
    assert!(matches!(&error, StoreError::Foreign { path } if *path == dir.file()), "{error}");
    let theirs: i64 = other.query_row("SELECT id FROM theirs", [], |row| row.get(0)).unwrap();
    assert_eq!(theirs, 7);
}

#[test]
fn a_newer_gateway_s_file_is_refused_and_says_what_to_do() {
    let dir = Dir::new();
    filled(&dir.file());
    let newer = rusqlite::Connection::open(dir.file()).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let error = Store::open(&config(Some(&dir.file()))).err().unwrap();
    assert!(matches!(&error, StoreError::Newer { version: 99, .. }), "{error}");
    assert!(error.to_string().contains("calls.db"), "{error}");
}

#[test]
fn a_directory_that_is_not_there_is_told_with_the_key() {
    let dir = Dir::new();
    let error = Store::open(&config(Some(&dir.0.join("no/calls.db")))).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("journal.store") && text.contains("no/calls.db"), "{text}");
}
