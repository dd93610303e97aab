//! Many calls on one worker, for figures: what a call costs in CPU, and that nothing is lost.
//!
//! `WRTC_CALLS=200 cargo test --release --test media -- --ignored --nocapture`

use std::time::{Duration, Instant};

use crate::support::phone::assert_gapless;
use crate::support::{Call, config};
use wrtc_gateway::media::{Engine, MediaConfig};

/// CPU time that the media threads of this process have used, in seconds.
fn media_cpu() -> f64 {
    let mut nanos = 0.0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        if std::fs::read_to_string(task.join("comm")).unwrap().starts_with("media-") {
            let spent = std::fs::read_to_string(task.join("schedstat")).unwrap();
            nanos += spent.split_whitespace().next().unwrap().parse::<f64>().unwrap();
        }
    }
    nanos / 1e9
}

#[test]
#[ignore = "a measurement: wants a quiet machine and a release build"]
fn what_a_call_costs() {
    let count: usize = std::env::var("WRTC_CALLS").map_or(200, |n| n.parse().unwrap());
    let engine = Engine::start(MediaConfig { rtp_ports: 20_000..=29_999, ..config() }).unwrap();
    let setup = Instant::now();
    let mut calls: Vec<Call> = (0..count)
        .map(|_| {
            let mut call = Call::on(engine.clone());
            call.describe();
            call.connect();
            call.phone.gateway = Some(call.bridge.rtp_local());
            call
        })
        .collect();
    let (setup, setup_cpu) = (setup.elapsed(), media_cpu());
    println!(
        "{count} calls: connected in {:.1} ms each, {:.2} ms CPU of the worker each",
        setup.as_secs_f64() * 1000.0 / count as f64,
        setup_cpu * 1000.0 / count as f64,
    );

    const SECONDS: u32 = 10;
    let (start, frame) = (Instant::now(), Duration::from_millis(20));
    for n in 1..=50 * SECONDS {
        for call in &mut calls {
            call.browser.speak();
            call.phone.speak();
            call.browser.drain();
            call.phone.serve();
        }
        if let Some(left) = (start + frame * n).checked_duration_since(Instant::now()) {
            calls[0].browser.serve(left);
        }
    }
    let (took, used) = (start.elapsed().as_secs_f64(), media_cpu() - setup_cpu);
    println!(
        "talking {took:.1} s used {used:.2} s CPU: {:.4} % of a core a call",
        100.0 * used / took / count as f64,
    );
    for call in &mut calls {
        call.browser.serve(frame);
        assert_eq!(call.browser.heard.len(), 50 * SECONDS as usize);
        assert_gapless(&call.browser.heard, "browser");
        let stats = call.bridge.stats();
        assert_eq!((stats.from_browser.lost, stats.from_sip.lost), (0, 0));
    }
}
