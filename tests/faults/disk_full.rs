//! The disk with the store, the call records and the log has no room left: calls go on, it is told, and when
//! there is room again everything is as it was.

use std::path::Path;

use serde_json::Value;
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::disk::Disk;
use crate::gateway::{Gateway, PASSWORD, set};
use crate::support::jsapi::Jsapi;

async fn calls(phone: &mut Jsapi, times: usize) {
    for _ in 0..times {
        phone.fresh().await;
        phone.browser.play(440.0).await;
        phone.connect("601").await;
        phone.browser.hears(1000.0, 0.3).await;
        phone.hang_up().await;
    }
}

/// Ids of the calls in lines of JSON; how many lines are none.
fn records(path: &Path) -> (Vec<String>, usize) {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(serde_json::from_str::<Value>);
    let (whole, torn): (Vec<_>, Vec<_>) = lines.partition(Result::is_ok);
    let id = |line: Result<Value, _>| line.unwrap()["call"].as_str().unwrap().to_owned();
    (whole.into_iter().map(id).collect(), torn.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "root, for a small disk: tests/run.sh faults"]
async fn calls_go_on_without_a_disk_and_nothing_stays_wrong() {
    let disk = Disk::new(2);
    let lab = Lab::start(LabConfig::new(Secret::new(PASSWORD))).await.unwrap();
    let paths = [
        set("journal.store", &disk.file("calls.db")),
        set("journal.call_records", &disk.file("calls.jsonl")),
        set("log.file", &disk.file("gw.log")),
        "log.format=json".to_owned(),
        // A record in the log for each call, so that it meets the end of the disk too.
        "log.level=debug".to_owned(),
    ];
    let mut gateway =
        Gateway::start(lab.sip_addr(), &paths.each_ref().map(std::string::String::as_str));
    let mut phone = gateway.phone("5001").await;
    let kept =
        |count: usize| move |told: &Value| told["calls"].as_array().map(Vec::len) == Some(count);
    calls(&mut phone, 2).await;
    gateway.until("/api/calls?q=5001", kept(2)).await;

    disk.fill();
    calls(&mut phone, 6).await;
    let alerts = gateway.until_alert("store", true).await.to_string();
    assert!(alerts.contains("full"), "{alerts}");
    let found = gateway.json("/api/calls?q=5001").await;
    assert_eq!(found["calls"].as_array().map(Vec::len), Some(2), "what is there is found: {found}");
    // Who asks it for new agents sends them: they can be served.
    assert_eq!(gateway.status("/readyz").await, 200);
    let mut other = gateway.phone("5002").await;
    calls(&mut other, 1).await;
    assert!(gateway.served.runs());
    let (before, _) = records(&disk.file("calls.jsonl"));

    disk.empty();
    gateway.until_alert("store", false).await;
    gateway.until("/api/calls?q=5001", kept(8)).await;
    gateway.until("/api/calls?q=5002", kept(1)).await;
    calls(&mut phone, 2).await;
    gateway.until("/api/calls?q=5001", kept(10)).await;
    gateway.served.signal("-TERM");
    drop((phone, other));
    assert!(gateway.served.ended().await.success());

    let (after, torn) = records(&disk.file("calls.jsonl"));
    assert!(before.len() < 8, "there was room for all: {before:?}");
    assert_eq!(after.len(), before.len() + 2, "a line after the torn one is lost with it");
    assert!(torn <= 1, "{torn} lines are torn");
    let log = std::fs::read_to_string(disk.file("gw.log")).unwrap();
    let torn = log.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).count();
    // Each failed line ends with its own line's end, and none takes its successor with it.
    assert!(log.lines().last().is_some_and(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert!(torn <= 1 || log.lines().filter(|line| line.is_empty()).count() >= torn - 1, "{log}");
}
