//! A panic stands in the log, with its place and without anybody's data, and is counted.

use std::time::Duration;

use wrtc_gateway::config::Config;
use wrtc_gateway::panics;
use wrtc_gateway::telemetry::logs;

#[test]
fn goes_to_the_log_and_is_counted() {
    let file = std::env::temp_dir().join(format!("wrtc-panics-{:016x}", rand::random::<u64>()));
    let sets = ["sip.servers=127.0.0.1".to_owned(), format!("log.file={}", file.display())];
    logs::start(&Config::load(None, [], &sets).unwrap().log).unwrap();
    panics::install(|| wrtc_gateway::telemetry::logs::logs().is_some());
    panics::install(|| wrtc_gateway::telemetry::logs::logs().is_some());
    let before = panics::count();
    let text = String::from("5001:pässword");
    let thread = std::thread::Builder::new().name("stumbler".to_owned());
    let thread = thread.spawn(move || text[..7].len()).unwrap();
    assert!(thread.join().is_err());
    assert_eq!(panics::count(), before + 1);
    logs::logs().unwrap().flush(Duration::from_secs(30));
    let log = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let line = log.lines().find(|line| line.contains("panicked")).expect("a line of the log");
    for part in ["ERROR", "stumbler", "tests/telemetry/panics.rs:", "char boundary"] {
        assert!(line.contains(part), "{line}");
    }
    assert!(!log.contains("ssword"), "{line}");
}
