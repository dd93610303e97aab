//! A finished call comes back as it went in, from the same file, after an end of any kind.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use wrtc_gateway::journal::store::{Search, Store};
use wrtc_gateway::journal::{History, Keeper};

use crate::made::{Dir, config, finished, ids, keep, now_ms, open, record};

#[test]
fn the_whole_call_comes_back() {
    let dir = Dir::new();
    let call = finished(record("c1", now_ms()));
    let store = open(&dir.file());
    keep(&store, [call.clone()]);
    assert_eq!(store.find("c1").unwrap(), Some(call.clone()));
    assert_eq!(store.find("nobody").unwrap(), None);
    store.close();
    // By another process, later.
    let store = open(&dir.file());
    assert_eq!(store.find("c1").unwrap(), Some(call));
    assert_eq!(store.stats().kept, 0);
}

#[test]
fn other_ids_of_a_call_find_it_too() {
    let store = Store::open(&config(None)).unwrap();
    let mut both = record("c1", now_ms());
    both.sip_call_ids.push("second@leg".to_owned());
    keep(&store, [finished(both), finished(record("c2", now_ms() + 1000))]);
    for id in ["c1", "c1@192.0.2.1", "second@leg", "UUID-c1"] {
        assert_eq!(store.find(id).unwrap().unwrap().record.call, "c1", "{id}");
    }
    let of_dn = store.find("5001").unwrap().unwrap();
    assert_eq!(of_dn.record.call, "c2", "its latest");
}

#[test]
fn bodies_are_left_out_where_they_shall_not_be_kept() {
    let store =
        Store::open(&wrtc_gateway::config::CallStore { bodies: false, ..config(None) }).unwrap();
    let call = finished(record("c1", now_ms()));
    keep(&store, [call.clone()]);
    let found = store.find("c1").unwrap().unwrap();
    assert_eq!(found.timeline.events.len(), call.timeline.events.len());
    assert!(found.timeline.events.iter().all(|event| event.body.is_none()));
    assert_eq!(found.timeline.events[0].title, call.timeline.events[0].title);
}

#[test]
fn nobody_else_may_read_the_file() {
    let dir = Dir::new();
    let store = open(&dir.file());
    keep(&store, [finished(record("c1", now_ms()))]);
    let mut seen = 0;
    for entry in std::fs::read_dir(&dir.0).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        seen += 1;
    }
    assert!(seen >= 2, "the database and its log");
}

/// What a process leaves behind that is killed, or whose machine stops: the files as they are.
#[test]
fn what_was_kept_outlives_a_crash() {
    let dir = Dir::new();
    let store = open(&dir.file());
    keep(&store, (0..100).map(|id| finished(record(&format!("c{id}"), now_ms()))));
    let after = Dir::new();
    for name in ["calls.db", "calls.db-wal"] {
        std::fs::copy(dir.0.join(name), after.0.join(name)).unwrap();
    }
    let found = open(&after.file());
    assert_eq!(ids(&found, &Search::default()).len(), 100);
    assert_eq!(found.find("c99").unwrap().unwrap().timeline.events.len(), 6);
}

/// A log that ends in the middle of a batch: that batch is gone, those before are not.
#[test]
fn a_batch_that_was_cut_off_costs_no_other() {
    let dir = Dir::new();
    let store = open(&dir.file());
    keep(&store, [finished(record("first", now_ms()))]);
    keep(&store, (0..50).map(|id| finished(record(&format!("c{id}"), now_ms()))));
    let after = Dir::new();
    std::fs::copy(dir.file(), after.file()).unwrap();
    let mut log = std::fs::read(dir.0.join("calls.db-wal")).unwrap();
    log.truncate(log.len() - 5000);
    std::fs::write(after.0.join("calls.db-wal"), log).unwrap();
    let found = open(&after.file());
    assert!(found.find("first").unwrap().is_some());
    assert!(ids(&found, &Search::default()).len() < 51);
    keep(&found, [finished(record("next", now_ms()))]);
    assert!(found.find("next").unwrap().is_some());
}

#[test]
fn closing_writes_what_has_just_come() {
    let dir = Dir::new();
    let store = open(&dir.file());
    for id in 0..50 {
        store.keep(Arc::new(finished(record(&format!("c{id}"), now_ms()))));
    }
    store.close();
    assert_eq!(ids(&open(&dir.file()), &Search::default()).len(), 50);
}

#[test]
fn a_call_after_the_end_is_counted() {
    let store = Store::open(&config(None)).unwrap();
    store.close();
    store.keep(Arc::new(finished(record("late", now_ms()))));
    assert_eq!(store.stats().dropped, 1);
}
