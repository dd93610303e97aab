//! One line of JSON for each finished call.

use std::fs;
use std::path::PathBuf;

use wrtc_gateway::journal::{CallRecord, Collector, Observer, Target};

use super::support::*;

/// A directory of the test's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wrtc-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(path: &PathBuf) -> Vec<CallRecord> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

fn wait_for(path: &PathBuf, count: usize) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while lines(path).len() < count {
        assert!(std::time::Instant::now() < end, "{count} lines are not in {}", path.display());
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn each_finished_call_is_a_line_and_nothing_else_is() {
    let directory = Directory::new("lines");
    let path = directory.0.join("calls.jsonl");
    let collector = Collector::start(Target::File(path.clone())).unwrap();
    collector.observe(&of_call(0, started()));
    collector.observe(&of_call(1, ended()));
    collector.observe(&of_call(2, ended()));
    collector.finish();
    let records = lines(&path);
    assert_eq!(records.len(), 2);
    assert_eq!((records[0].call.as_str(), records[0].code), (CALL, 200));
    assert_eq!(collector.lost(), 0);
    collector.observe(&of_call(3, ended()));
    assert_eq!(collector.lost(), 1, "after the end it is counted");
}

#[test]
fn a_rotated_file_is_left_and_a_new_one_begun() {
    let directory = Directory::new("rotated");
    let (path, old) = (directory.0.join("calls.jsonl"), directory.0.join("calls.jsonl.1"));
    let collector = Collector::start(Target::File(path.clone())).unwrap();
    collector.observe(&of_call(1, ended()));
    wait_for(&path, 1);
    fs::rename(&path, &old).unwrap();
    collector.observe(&of_call(2, ended()));
    wait_for(&path, 1);
    fs::remove_file(&path).unwrap();
    collector.observe(&of_call(3, ended()));
    collector.finish();
    assert_eq!((lines(&old).len(), lines(&path).len()), (1, 1));
}

#[test]
fn what_the_disk_does_not_take_is_counted() {
    let collector = Collector::start(Target::File("/dev/full".into())).unwrap();
    for id in 0..3 {
        collector.observe(&of_call(id, ended()));
    }
    collector.finish();
    assert_eq!(collector.lost(), 3);
}

#[test]
fn a_file_that_cannot_be_opened_is_told_by_its_key() {
    let directory = Directory::new("missing");
    let path = directory.0.join("no").join("calls.jsonl");
    let error = Collector::start(Target::File(path)).err().expect("there is no such directory");
    assert!(error.to_string().starts_with("journal.call_records = "), "{error}");
}
