//! The level of each module, changed while it runs.

use std::time::Duration;

use wrtc_gateway::config::{Config, Reload as _};
use wrtc_gateway::telemetry::logs::{self, LevelError, LogLevel};

fn level(level: &str) -> Config {
    let sets = ["sip.servers=127.0.0.1".to_owned(), format!("log.level={level}")];
    Config::load(None, [], &sets).unwrap()
}

fn loud(target: &str) -> bool {
    match target {
        "sip" => tracing::enabled!(target: "wrtc_gateway::sip::ua", tracing::Level::DEBUG),
        "media" => tracing::enabled!(target: "wrtc_gateway::media", tracing::Level::DEBUG),
        "info" => tracing::enabled!(target: "wrtc_gateway::media", tracing::Level::INFO),
        "audit" => tracing::enabled!(target: "wrtc_gateway::audit", tracing::Level::INFO),
        "trace" => tracing::enabled!(target: "sip_trace", tracing::Level::INFO),
        other => panic!("{other}"),
    }
}

#[test]
fn one_module_is_turned_up_and_down_again() {
    logs::start(&level("info").log).unwrap();
    let log = logs::logs().unwrap();
    assert!(loud("info") && !loud("sip"));
    log.set("info,wrtc_gateway::sip=debug", None).unwrap();
    assert!(loud("sip") && !loud("media"));
    let status = log.status();
    assert_eq!(
        (status.level.as_str(), status.configured.as_str()),
        ("info,wrtc_gateway::sip=debug", "info")
    );
    assert_eq!(status.until, None);

    for bad in ["inf", "info,wrtc_gateway=loud", "", "info,[{=debug"] {
        assert!(matches!(log.set(bad, None), Err(LevelError::Bad(_))), "{bad}");
    }
    assert!(loud("sip"), "a wrong one changes nothing");
    log.set("info", None).unwrap();
    assert!(!loud("sip"));
}

#[test]
fn what_was_for_a_time_only_ends_and_ends_nothing_else() {
    logs::start(&level("warn").log).unwrap();
    let log = logs::logs().unwrap();
    let minute = Some(Duration::from_secs(60));
    let first = log.set("debug", minute).unwrap();
    assert!(log.status().until.is_some());
    let second = log.set("wrtc_gateway::sip=debug", minute).unwrap();
    log.revert(first);
    assert!(loud("sip"), "the end of the first is not that of the second");
    log.revert(second);
    assert!(!loud("sip") && !loud("info"));
    assert_eq!((log.status().level.as_str(), log.status().until), ("warn", None));

    // A reload of the configuration does away with it.
    let third = log.set("debug", minute).unwrap();
    log.configure("info").unwrap();
    log.revert(third);
    assert!(loud("info") && !loud("sip"));
    assert_eq!(log.status().configured, "info");
}

/// SIGHUP with the same `log.level` leaves an operator's wish alone; with another one it counts.
#[test]
fn a_reload_takes_another_level_up() {
    logs::start(&level("info").log).unwrap();
    let log = logs::logs().unwrap();
    log.set("info,wrtc_gateway::sip=debug", None).unwrap();
    LogLevel.prepare(&level("info")).unwrap()();
    assert!(loud("sip"));
    let commit = LogLevel.prepare(&level("warn")).unwrap();
    assert!(loud("sip"), "only prepared");
    commit();
    assert!(!loud("sip") && !loud("info"));
    assert_eq!(log.status().configured, "warn");
}

/// A SIP trace is asked for by DN, and then meant whatever the level of the rest.
#[test]
fn the_sip_trace_passes_at_any_level() {
    logs::start(&level("error").log).unwrap();
    assert!(loud("trace") && !loud("info"));
    let log = logs::logs().unwrap();
    log.set("off", None).unwrap();
    assert!(loud("trace"));
    log.set("error,sip_trace=off", None).unwrap();
    assert!(!loud("trace"), "unless it is named");
}

/// Whoever turns the log down leaves a trail of that, and of what he does next.
#[test]
fn what_operators_did_passes_at_any_level() {
    logs::start(&level("error").log).unwrap();
    let log = logs::logs().unwrap();
    for quiet in ["error", "off", "info,wrtc_gateway=off", "off,wrtc_gateway::audit=off"] {
        log.set(quiet, None).unwrap();
        assert!(loud("audit") && !loud("media"), "{quiet}");
    }
}
