//! The system's clock is set, by an hour or by years, forward and back, while agents are in calls: nothing
//! but the times that are written down knows of it. By libfaketime, which the gateway takes for its clock.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::gateway::{Dir, Gateway, PASSWORD, both_hear, called_from, knows, set};
use crate::served::settings;
use crate::support::jsapi::Jsapi;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

fn library() -> PathBuf {
    let name = "faketime/libfaketimeMT.so.1";
    let at = |directory: std::fs::DirEntry| directory.path().join(name);
    let mut libraries = std::fs::read_dir("/usr/lib").unwrap().flatten().map(at);
    libraries.find(|path| path.exists()).expect("Debian's package faketime is not installed")
}

/// What the gateway's clock is off by.
struct Clock(PathBuf);

impl Clock {
    fn set(&self, seconds: i64) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}

struct Scene {
    gateway: Gateway,
    lab: Lab,
    clock: Clock,
    dir: Dir,
}

impl Scene {
    async fn new(off: i64) -> Self {
        let dir = Dir::new();
        let lab = Lab::start(LabConfig::new(Secret::new(PASSWORD))).await.unwrap();
        let clock = Clock(dir.file("clock"));
        clock.set(off);
        let gateway = gateway(&dir, &clock, &lab);
        Self { gateway, lab, clock, dir }
    }
}

fn gateway(dir: &Dir, clock: &Clock, lab: &Lab) -> Gateway {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"));
    command.env_clear().env("LD_PRELOAD", library()).env("FAKETIME_TIMESTAMP_FILE", &clock.0);
    command.env("FAKETIME_CACHE_DURATION", "1").env("NO_FAKE_STAT", "1");
    // As a kernel has it: what is set is one of its clocks.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    let store = set("journal.store", &dir.file("calls.db"));
    Gateway::of(command, &settings(lab.sip_addr(), &[&store, "journal.keep_days=30"]))
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Waits until the gateway says that it is this time, give or take a minute.
async fn until_it_is(gateway: &Gateway, time: i64) {
    let minutes = |told: &Value| {
        let last = told["points"].as_array().and_then(|points| points.last().cloned());
        last.and_then(|point| point["at"].as_i64()).map(|at| at / 60_000)
    };
    gateway
        .until("/api/series", |told| minutes(told).is_some_and(|at| (at - time / 60).abs() <= 3))
        .await;
}

/// A finished call that can be found.
async fn finished(scene: &Scene, phone: &mut Jsapi, count: usize) {
    phone.fresh().await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
    phone.hang_up().await;
    there(&scene.gateway, count).await;
}

async fn there(gateway: &Gateway, count: usize) {
    let all = |told: &Value| told["calls"].as_array().map(Vec::len) == Some(count);
    gateway.until("/api/calls?q=5001", all).await;
}

/// Minutes without a hole, each once, as many as have passed.
async fn series_are_sane(gateway: &Gateway) {
    let told = gateway.json("/api/series").await;
    let points = told["points"].as_array().unwrap();
    let at: Vec<i64> = points.iter().map(|point| point["at"].as_i64().unwrap()).collect();
    assert!(at.len() < 30 && at.windows(2).all(|two| two[1] - two[0] == 60_000), "{at:?}");
    let history = gateway.json("/api/history").await;
    let items = history["history"].as_array().unwrap();
    let ids: Vec<u64> = items.iter().map(|item| item["id"].as_u64().unwrap()).collect();
    assert!(ids.len() < 60 && ids.windows(2).all(|two| two[1] == two[0] + 1), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "Debian's faketime: tests/run.sh faults"]
async fn a_clock_that_is_set_harms_no_call_no_agent_and_no_record() {
    let scene = Scene::new(0).await;
    let mut phone = scene.gateway.phone("5001").await;
    finished(&scene, &mut phone, 1).await;
    let mut speaker = scene.gateway.phone("5002").await;
    let mut far = called_from(&scene.lab.control(), &mut speaker, "5002").await;
    let mut calls = 1;
    for off in [HOUR, 0, 73 * YEAR, -40 * YEAR, 0] {
        let once = json!({"dn": "5003", "password": PASSWORD, "ttl_seconds": 600});
        let once = scene.gateway.post("/api/tokens", once).await;
        scene.clock.set(off);
        until_it_is(&scene.gateway, now() + off).await;
        both_hear(&speaker, &far).await;
        assert!(knows(&scene.lab, "5001") && knows(&scene.lab, "5002"));
        let registered = scene.gateway.registered().await;
        assert!(registered >= 2, "{registered}");
        // Polls, and a sign-in with what was given out before.
        assert!(speaker.stats().await["audio"]["rx"]["packets"].as_u64().unwrap() > 0);
        let once = Jsapi::sign_in(&scene.gateway.base, "5003", once["token"].as_str().unwrap());
        once.await.sign_out().await;
        calls += 1;
        finished(&scene, &mut phone, calls).await;
        series_are_sane(&scene.gateway).await;
    }
    far.hang_up().await;
    speaker.expect("BYE").await;
    assert!(far.ended().await.code < 300);
    let talked = |told: &Value| told["calls"][0]["talked_ms"].as_u64();
    let told = scene.gateway.until("/api/calls?q=5002", |told| talked(told).is_some()).await;
    assert!(talked(&told).unwrap() < 3_600_000, "talked through the years: {told}");
}

/// The worst of it: what was kept is forty times too old at one blow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "Debian's faketime: tests/run.sh faults"]
async fn a_clock_that_jumps_over_the_years_deletes_no_call() {
    let mut scene = Scene::new(0).await;
    let mut phone = scene.gateway.phone("5001").await;
    finished(&scene, &mut phone, 1).await;
    scene.clock.set(73 * YEAR);
    let alerts = scene.gateway.until_alert("clock", true).await.to_string();
    assert!(alerts.contains("forward by 26645 d"), "{alerts}");
    there(&scene.gateway, 1).await;
    phone.sign_out().await;
    // Nor does a start in 2099.
    scene.gateway.served.signal("-TERM");
    assert!(scene.gateway.served.ended().await.success());
    scene.gateway = gateway(&scene.dir, &scene.clock, &scene.lab);
    scene.gateway.until_alert("clock", true).await;
    there(&scene.gateway, 1).await;
    scene.clock.set(0);
    scene.gateway.until_alert("clock", false).await;
    there(&scene.gateway, 1).await;
}

/// A machine without a battery knows the time when somebody has told it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "Debian's faketime: tests/run.sh faults"]
async fn a_gateway_that_starts_in_1970_keeps_what_it_is_told_then() {
    let scene = Scene::new(HOUR - now()).await;
    until_it_is(&scene.gateway, HOUR).await;
    let mut phone = scene.gateway.phone("5001").await;
    finished(&scene, &mut phone, 1).await;
    scene.clock.set(0);
    scene.gateway.until_alert("clock", true).await;
    assert!(knows(&scene.lab, "5001"));
    finished(&scene, &mut phone, 2).await;
    series_are_sane(&scene.gateway).await;
    let started = scene.gateway.json("/api/series").await["points"][0]["at"].as_i64().unwrap();
    assert!((started / 1000 - now()).abs() < 1800, "it started {started}, half a minute ago");
}
