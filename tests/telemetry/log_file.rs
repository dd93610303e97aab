//! `log.file`: set aside when it is big, opened anew when somebody has moved it, in text or JSON. A
//! process has one log: each test wants a process of its own, as nextest gives it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wrtc_gateway::config::Config;
use wrtc_gateway::telemetry::logs::{self, Logs};

const LIMIT: Duration = Duration::from_secs(30);

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("wrtc-log-{}-{name}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Place(place)
    }

    fn log(&self) -> PathBuf {
        self.0.join("gw.log")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(file: &Path, sets: &[&str]) -> Config {
    let mut all = vec!["sip.servers=127.0.0.1".to_owned(), format!("log.file={}", file.display())];
    all.extend(sets.iter().map(|&set| set.to_owned()));
    Config::load(None, [], &all).unwrap()
}

fn start(place: &Place, sets: &[&str]) -> &'static Logs {
    logs::start(&config(&place.log(), sets).log).unwrap();
    logs::logs().unwrap()
}

#[test]
fn text_with_target_and_fields() {
    let place = Place::new("text");
    let log = start(&place, &[]);
    tracing::info!(user = "5001", "registered");
    tracing::debug!("not at this level");
    log.flush(LIMIT);
    let text = place.read("gw.log");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(" INFO ") && text.contains("registered user=\"5001\""), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours in a file: {text}");
    let mode = fs::metadata(place.log()).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "others may not read it: {mode:o}");
    assert_eq!(log.dropped(), 0);
}

#[test]
fn json_is_one_object_a_line() {
    let place = Place::new("json");
    let log = start(&place, &["log.format=json"]);
    tracing::warn!(target: "wrtc_gateway::sip", code = 503, text = "a \"quoted\"\nline", "refused");
    log.flush(LIMIT);
    let text = place.read("gw.log");
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["target"], "wrtc_gateway::sip");
    assert_eq!(line["code"], 503);
    assert_eq!(line["text"], "a \"quoted\"\nline");
    assert_eq!(line["message"], "refused");
}

#[test]
fn a_big_one_is_set_aside_and_so_many_stay() {
    let place = Place::new("rotate");
    // Of a run before: that it is long already counts.
    fs::write(place.log(), "x".repeat(999_900) + "\n").unwrap();
    let log = start(&place, &["log.rotate_mb=1", "log.keep=2"]);
    let long = "y".repeat(50_000);
    for n in 0..70 {
        tracing::info!(n, %long, "line");
        log.flush(LIMIT);
    }
    assert_eq!(place.names(), ["gw.log", "gw.log.1", "gw.log.2"]);
    for name in place.names() {
        let text = place.read(&name);
        assert!(text.len() <= 1_000_000, "{name} has {}", text.len());
        assert!(
            text.ends_with('\n') && !text.contains("xxxx"),
            "whole lines, and the old ones are gone"
        );
    }
    let numbers = |name: &str| -> Vec<u32> {
        let number = |line: &str| line.split("n=").nth(1)?.split(' ').next()?.parse().ok();
        place.read(name).lines().filter_map(number).collect()
    };
    let all = [numbers("gw.log.2"), numbers("gw.log.1"), numbers("gw.log")].concat();
    let last = *all.last().unwrap();
    assert_eq!(last, 69);
    assert_eq!(all, (all[0]..=last).collect::<Vec<_>>(), "none is missing, the latest last");
    assert_eq!(log.dropped(), 0);
}

#[test]
fn one_of_yesterday_is_set_aside() {
    let place = Place::new("daily");
    fs::write(place.log(), "yesterday\n").unwrap();
    let file = fs::File::options().write(true).open(place.log()).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    drop(file);
    let log = start(&place, &["log.rotate_daily=true"]);
    tracing::info!("today");
    log.flush(LIMIT);
    assert_eq!(place.read("gw.log.1"), "yesterday\n");
    assert!(place.read("gw.log").contains("today"));
}

/// As logrotate does it: the file gets another name, then the process is told.
#[test]
fn it_is_opened_anew_when_somebody_has_moved_it() {
    let place = Place::new("reopen");
    let log = start(&place, &[]);
    tracing::info!("before");
    log.flush(LIMIT);
    fs::rename(place.log(), place.0.join("aside")).unwrap();
    tracing::info!("still the old one");
    log.reopen();
    tracing::info!("after");
    log.flush(LIMIT);
    let aside = place.read("aside");
    assert!(aside.contains("before") && aside.contains("still the old one"), "{aside}");
    let text = place.read("gw.log");
    assert!(text.contains("after") && !text.contains("before"), "{text}");
}

/// A disk that is full holds nobody up, and what is lost is counted.
#[test]
fn lines_that_cannot_be_written_are_counted() {
    logs::start(&config(Path::new("/dev/full"), &["log.rotate_mb=0"]).log).unwrap();
    let log = logs::logs().unwrap();
    for n in 0..10 {
        tracing::info!(n, "line");
    }
    log.flush(LIMIT);
    assert_eq!(log.dropped(), 10);
}

/// A pipe that nobody reads is the slowest of disks.
#[test]
fn who_logs_does_not_wait_for_a_writer_that_stands_still() {
    let place = Place::new("slow");
    let pipe = place.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // Held open and not read.
    let reader = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    logs::start(&config(&pipe, &["log.rotate_mb=0"]).log).unwrap();
    let log = logs::logs().unwrap();
    let long = "z".repeat(1000);
    for _ in 0..50_000 {
        tracing::info!(%long, "line");
    }
    assert!(log.dropped() > 10_000, "{}", log.dropped());
    drop(reader);
}

#[test]
fn a_file_that_cannot_be_opened_is_a_fault_that_names_its_key() {
    let config = config(Path::new("/nonexistent/gw.log"), &[]);
    let fault = logs::start(&config.log).unwrap_err().to_string();
    assert!(fault.starts_with("log.file = \"/nonexistent/gw.log\": "), "{fault}");
    assert!(logs::logs().is_none());
}
