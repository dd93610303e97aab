//! What is too old goes, and what is too much; the file shrinks.

use std::sync::LazyLock;
use std::time::Duration;

use wrtc_gateway::config::CallStore;
use wrtc_gateway::journal::FinishedCall;
use wrtc_gateway::journal::store::{Search, Store};

use crate::made::{Dir, config, eventually, finished, ids, keep, now_ms, open, record};

const DAY: u64 = 86_400_000;

/// Digits at random, made once: it is within a call that they must not repeat.
static DIGITS: LazyLock<String> =
    LazyLock::new(|| (0..40_000).map(|_| rand::random_range('0'..='9')).collect());

/// With 20 kB of digits that cannot be made smaller than two fifths.
fn large(id: u64, started: u64) -> FinishedCall {
    let mut call = finished(record(&format!("c{id}"), started));
    let at = rand::random_range(0..20_000);
    call.timeline.events[0].body = Some(DIGITS[at..at + 20_000].into());
    call
}

#[test]
fn old_calls_go_and_the_file_shrinks() {
    let dir = Dir::new();
    let now = now_ms();
    let store = open(&dir.file());
    keep(&store, (0..400).map(|id| large(id, now - 10 * DAY)));
    keep(&store, (600..610).map(|id| large(id, now - DAY)));
    store.close();
    let before = std::fs::metadata(dir.file()).unwrap().len();
    assert!(before > 3_000_000, "{before}");

    let week = CallStore { keep: Duration::from_secs(7 * 86_400), ..config(Some(&dir.file())) };
    let store = Store::open(&week).unwrap();
    eventually("the old ones are gone", || ids(&store, &Search::default()).len() == 10);
    eventually("the file is smaller", || std::fs::metadata(dir.file()).unwrap().len() < before / 2);
    store.close();
    assert_eq!(ids(&open(&dir.file()), &Search::default()).len(), 10);
}

/// Calls stand in the order in which they ended, whatever the clock said then.
#[test]
fn a_wrong_date_keeps_no_call_longer_and_none_shorter() {
    let dir = Dir::new();
    let now = now_ms();
    let store = open(&dir.file());
    for (call, started) in [
        ("old", now - 10 * DAY),
        ("old, from 2099", now + 70 * 365 * DAY),
        ("young", now - DAY),
        ("young, from 1970", 60_000),
        ("young, from 2099", now + 70 * 365 * DAY),
        ("new", now - DAY / 2),
    ] {
        keep(&store, [finished(record(call, started))]);
    }
    store.close();
    let week = CallStore { keep: Duration::from_secs(7 * 86_400), ..config(Some(&dir.file())) };
    let store = Store::open(&week).unwrap();
    eventually("the old ones are gone", || ids(&store, &Search::default()).len() == 4);
    // A look is over in one go, so that none is left to go.
    let mut left = ids(&store, &Search::default());
    left.sort();
    assert_eq!(left, ["new", "young", "young, from 1970", "young, from 2099"]);
}

#[test]
fn the_oldest_go_before_the_file_is_too_large() {
    let dir = Dir::new();
    let most = 10_000_000;
    let small = CallStore { max_bytes: most, ..config(Some(&dir.file())) };
    let store = Store::open(&small).unwrap();
    let now = now_ms() - DAY;
    let bytes = || {
        let size = |name: &str| std::fs::metadata(dir.0.join(name)).map_or(0, |file| file.len());
        size("calls.db") + size("calls.db-wal")
    };
    // Twice what there is room for.
    for part in 0..6 {
        keep(&store, (0..200).map(|id| large(part * 200 + id, now + part * 200 + id)));
        eventually("there is room again", || bytes() <= most);
    }
    let left = ids(&store, &Search::default());
    assert!(left.len() > 100, "{}", left.len());
    let latest: Vec<String> = (0..1200).rev().take(left.len()).map(|id| format!("c{id}")).collect();
    assert_eq!(left, latest, "the latest stay");
    assert_eq!(store.stats().dropped, 0);
}
