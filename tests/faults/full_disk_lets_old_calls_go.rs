//! Finished calls that are too old go from a full disk too, and make room for new ones.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use wrtc_gateway::config::CallStore;
use wrtc_gateway::journal::store::{Search, Store};
use wrtc_gateway::journal::{FinishedCall, Keeper as _};

use crate::disk::Disk;
use crate::made::{config, eventually, finished, ids, keep, now_ms, record};

const DAY: u64 = 86_400_000;

const OLD: usize = 1000;
const NEW: usize = 600;

/// Digits at random, made once: it is within a call that they must not repeat.
static DIGITS: LazyLock<String> =
    LazyLock::new(|| (0..40_000).map(|_| rand::random_range('0'..='9')).collect());

/// With digits that cannot be made smaller than two fifths.
fn large(id: usize, started: u64) -> FinishedCall {
    let mut call = finished(record(&format!("c{id}"), started));
    let at = rand::random_range(0..20_000);
    call.timeline.events[0].body = Some(DIGITS[at..at + 20_000].into());
    call
}

fn week(disk: &Disk) -> CallStore {
    let keep = Duration::from_secs(7 * 86_400);
    CallStore { keep, ..config(Some(&disk.file("calls.db"))) }
}

fn is_full(disk: &Disk) -> bool {
    let mut filler = OpenOptions::new().append(true).open(disk.file("filler")).unwrap();
    filler.write_all(&[b'x'; 4096]).is_err()
}

#[test]
#[ignore = "root, for a small disk: tests/run.sh faults"]
fn while_the_gateway_runs() {
    let disk = Disk::new(64);
    let store = Store::open(&week(&disk)).unwrap();
    // After its first look, so that the next one is a minute away.
    eventually("room is kept", || disk.file("calls.db-reserve").exists());
    let now = now_ms();
    keep(&store, (0..OLD).map(|id| large(id, now - 10 * DAY)));
    disk.fill();
    assert!(is_full(&disk));
    for id in OLD..OLD + NEW {
        store.keep(Arc::new(large(id, now)));
    }
    eventually("the new ones are kept", || store.stats().kept == (OLD + NEW) as u64);
    let stats = store.stats();
    assert!(stats.faults > 0, "it never was full: {stats:?}");
    assert_eq!(stats.dropped, 0);
    eventually("the old ones are gone", || ids(&store, &Search::default()).len() == NEW);
    eventually("it is well", || !store.stats().failing);
    store.close();
}

/// As an operator does with a full disk.
#[test]
#[ignore = "root, for a small disk: tests/run.sh faults"]
fn after_a_restart() {
    let disk = Disk::new(64);
    let store = Store::open(&CallStore { keep: Duration::MAX, ..week(&disk) }).unwrap();
    eventually("room is kept", || disk.file("calls.db-reserve").exists());
    let now = now_ms();
    keep(&store, (0..OLD).map(|id| large(id, now - 10 * DAY)));
    store.close();
    disk.fill();
    assert!(is_full(&disk));
    let store = Store::open(&week(&disk)).unwrap();
    let all = Search::default();
    let is_empty = || store.search(&all, 1).is_ok_and(|page| page.records.is_empty());
    eventually("the old ones go", is_empty);
    for id in OLD..OLD + 100 {
        store.keep(Arc::new(large(id, now)));
    }
    eventually("the new ones are kept", || store.stats().kept == 100);
    let mut left = ids(&store, &Search::default());
    left.retain(|id| id[1..].parse::<usize>().unwrap() < OLD);
    assert_eq!(left, Vec::<String>::new());
    store.close();
}
