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
    let oldest: i64 =
        locked(connection).query_row("SELECT min(ended) FROM calls", [], |row| row.get(0)).unwrap();
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

#[test]
fn calls_that_go_for_want_of_room_are_told_of_once_a_day() {
    let (mut writer, shared, _) = writer();
    let max_bytes = super::super::retention::LOG + 300_000;
    writer.retention = Retention::new(Limits { max_bytes, ..NEVER });
    let mut next = 1;
    let mut fill = |writer: &mut Writer, now: u64| {
        for _ in 0..100 {
            writer.take(&call(next, 10_000));
            next += 1;
        }
        writer.flush();
        while writer.maintain(now) {}
    };
    writer.take(&call(1_000_000, 10));
    writer.flush();
    assert!(!writer.maintain(1000) && writer.early.is_none());
    assert_eq!(shared.oldest.load(Relaxed), 1_000_000);
    fill(&mut writer, 1000);
    assert_eq!(writer.early, Some(1000));
    let oldest = shared.oldest.load(Relaxed);
    assert!((1..100).contains(&oldest), "{oldest}");
    assert!(rows(&shared) < 100);
    fill(&mut writer, 2000);
    assert_eq!(writer.early, Some(1000), "that day it has been told");
    fill(&mut writer, 1000 + TELL_EARLY);
    assert_eq!(writer.early, Some(1000 + TELL_EARLY));
}
