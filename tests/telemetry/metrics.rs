//! What becomes of the journal's entries.

use std::collections::BTreeSet;
use std::time::Duration;

use wrtc_gateway::agent::{Dialect, EndReason};
use wrtc_gateway::journal::hep::HepStats;
use wrtc_gateway::journal::store::StoreStats;
use wrtc_gateway::journal::{Losses, What};
use wrtc_gateway::media::{DtlsFailure, EngineStats, MediaEvent};
use wrtc_gateway::telemetry::metrics::{Format, Metrics, ServerSnapshot, Snapshot};

use crate::support::*;

fn scrape(metrics: &Metrics) -> String {
    exporter(metrics, Snapshot::default()).render(Format::Prometheus)
}

#[test]
fn sign_ins_and_registrations() {
    let metrics = Metrics::default();
    let remote = "192.0.2.9".parse().unwrap();
    note(&metrics, What::SignedIn { dialect: Dialect::Jsapi, remote });
    for _ in 0..2 {
        let (fault, detail) = ("credentials_refused", "403".to_owned());
        note(&metrics, What::SignInRefused { remote, fault, detail });
    }
    note(&metrics, What::Registered { server: "udp:192.0.2.1:5060".into() });
    let text = "Service Unavailable".to_owned();
    note(&metrics, What::RegistrationFailed { code: 503, text, will_retry: true });
    note(&metrics, What::SessionEnded { why: EndReason::LeaseExpired });

    let text = scrape(&metrics);
    assert_eq!(value(&text, "wrtc_sign_ins_total", &[("outcome", "ok")]), 1.0);
    assert_eq!(value(&text, "wrtc_sign_ins_total", &[("outcome", "credentials_refused")]), 2.0);
    assert_eq!(value(&text, "wrtc_sign_ins_total", &[("outcome", "sip_timeout")]), 0.0);
    assert_eq!(value(&text, "wrtc_registrations_total", &[]), 1.0);
    assert_eq!(value(&text, "wrtc_registration_failures_total", &[("class", "5xx")]), 1.0);
    assert_eq!(value(&text, "wrtc_registration_failures_total", &[("class", "4xx")]), 0.0);
    assert_eq!(value(&text, "wrtc_sessions_ended_total", &[("reason", "lease_expired")]), 1.0);
}

#[test]
fn a_call_from_its_beginning_to_its_end() {
    let metrics = Metrics::default();
    let peer = "+4930123456".to_owned();
    note(&metrics, What::CallStarted { agent_id: None, peer, incoming: true, call_uuid: None });
    note(&metrics, What::Answered { took: Duration::from_micros(400) });
    let offer = |waited| What::Http {
        inbound: false,
        kind: "OFFER",
        waited,
        body: String::new(),
        fault: None,
    };
    note(&metrics, offer(Some(Duration::from_millis(20))));
    note(&metrics, offer(None));
    note(&metrics, What::Media(MediaEvent::DtlsFailed { reason: DtlsFailure::Timeout }));
    note(
        &metrics,
        What::Media(MediaEvent::Silent { from_sip: true, time: Duration::from_secs(30) }),
    );
    note(&metrics, What::CallEnded(Box::new(record())));

    let text = scrape(&metrics);
    let incoming = ("direction", "incoming");
    assert_eq!(value(&text, "wrtc_calls_started_total", &[incoming]), 1.0);
    let ended = [incoming, ("ended_by", "peer"), ("class", "2xx")];
    assert_eq!(value(&text, "wrtc_calls_ended_total", &ended), 1.0);
    let bucket = |name: &str, labels: &[(&str, &str)], le: &str| {
        value(&text, &format!("{name}_bucket"), &[labels, &[("le", le)]].concat())
    };
    assert_eq!(bucket("wrtc_call_setup_seconds", &[incoming], "3.0"), 0.0);
    assert_eq!(bucket("wrtc_call_setup_seconds", &[incoming], "5.0"), 1.0);
    assert_eq!(value(&text, "wrtc_call_duration_seconds_sum", &[incoming]), 60.0);
    assert_eq!(bucket("wrtc_talk_to_200_seconds", &[], "0.00025"), 0.0);
    assert_eq!(bucket("wrtc_talk_to_200_seconds", &[], "0.0005"), 1.0);
    assert_eq!(bucket("wrtc_poll_delivery_seconds", &[], "0.01"), 0.0);
    assert_eq!(value(&text, "wrtc_poll_delivery_seconds_count", &[]), 1.0);
    let heard = [("leg", "browser"), ("direction", "rx")];
    let reported = [("leg", "sip"), ("direction", "tx")];
    assert_eq!(value(&text, "wrtc_call_mos_sum", &heard), 4.1);
    assert_eq!(bucket("wrtc_call_mos", &reported, "2.0"), 1.0);
    assert_eq!(value(&text, "wrtc_call_loss_ratio_sum", &reported), 0.3);
    assert_eq!(value(&text, "wrtc_call_loss_ratio_sum", &heard), 0.01);
    for (name, figures) in [
        ("wrtc_call_video_packets_total", [1000.0, 500.0, 900.0, 450.0]),
        ("wrtc_call_video_lost_total", [7.0, 0.0, 0.0, 0.0]),
        ("wrtc_call_video_nacks_total", [5.0, 1.0, 5.0, 1.0]),
        ("wrtc_call_video_pictures_total", [2.0, 0.0, 2.0, 0.0]),
    ] {
        let streams = [("browser", "rx"), ("browser", "tx"), ("sip", "rx"), ("sip", "tx")];
        for ((leg, direction), figure) in streams.into_iter().zip(figures) {
            let labels = [("leg", leg), ("direction", direction)];
            assert_eq!(value(&text, name, &labels), figure, "{name} {labels:?}");
        }
    }
    assert_eq!(value(&text, "wrtc_media_events_total", &[("event", "dtls_failed")]), 1.0);
    assert_eq!(value(&text, "wrtc_media_events_total", &[("event", "silent_sip")]), 1.0);
}

/// A call that nobody answered has no setup time, no duration and no score.
#[test]
fn a_call_without_an_answer() {
    let metrics = Metrics::default();
    let silent = Default::default();
    let unanswered = wrtc_gateway::journal::CallRecord {
        incoming: false,
        answered: None,
        setup_ms: None,
        talked_ms: None,
        ended_by: "network".into(),
        code: 503,
        browser: silent,
        sip: silent,
        ..record()
    };
    note(&metrics, What::CallEnded(Box::new(unanswered)));
    let text = scrape(&metrics);
    let outgoing = ("direction", "outgoing");
    let ended = [outgoing, ("ended_by", "network"), ("class", "5xx")];
    assert_eq!(value(&text, "wrtc_calls_ended_total", &ended), 1.0);
    assert_eq!(value(&text, "wrtc_call_setup_seconds_count", &[outgoing]), 0.0);
    assert_eq!(value(&text, "wrtc_call_duration_seconds_count", &[outgoing]), 0.0);
    let heard = [("leg", "browser"), ("direction", "rx")];
    assert_eq!(value(&text, "wrtc_call_mos_count", &heard), 0.0);
}

#[test]
fn what_stands() {
    let down = |name: &str| wrtc_gateway::telemetry::metrics::ServerSnapshot {
        up: false,
        current: false,
        rtt: Some(Duration::from_millis(90)),
        ..server(name)
    };
    let snapshot = Snapshot {
        agents_registered: 480,
        calls_active: 120,
        registers_waiting: 3,
        media: EngineStats { free_ports: 4880, malformed: 7, ..EngineStats::default() },
        // One name for two addresses, of which one answers.
        servers: vec![
            down("sip:pair.example"),
            server("sip:pair.example"),
            down("sip:other.example"),
            ServerSnapshot {
                name: "sip:nowhere.example".into(),
                unresolved: true,
                ..ServerSnapshot::default()
            },
        ],
        journal: Losses { sip: 5, timelines: 6, records: 7 },
        store: StoreStats {
            kept: 80,
            dropped: 1,
            faults: 2,
            failing: false,
            rows: 79,
            bytes: 40_960,
            oldest: Some(1_800_000_000_500),
        },
        hep: Some(HepStats { sent: 9, lost: 8 }),
        log_lines_dropped: 2,
        panics: 1,
        ..Snapshot::default()
    };
    let text = exporter(&Metrics::default(), snapshot).render(Format::Prometheus);
    assert_eq!(value(&text, "wrtc_agents_registered", &[]), 480.0);
    assert_eq!(value(&text, "wrtc_calls_active", &[]), 120.0);
    assert_eq!(value(&text, "wrtc_registers_waiting", &[]), 3.0);
    assert_eq!(value(&text, "wrtc_rtp_ports_free", &[]), 4880.0);
    let oldest = "wrtc_store_oldest_call_timestamp_seconds";
    assert_eq!(value(&text, oldest, &[]), 1_800_000_000.0);
    assert_eq!(value(&text, "wrtc_media_faults_total", &[("fault", "malformed")]), 7.0);
    let pair = ("server", "sip:pair.example");
    assert_eq!(value(&text, "wrtc_sip_server_up", &[pair]), 1.0);
    assert_eq!(value(&text, "wrtc_sip_server_rtt_seconds", &[pair]), 0.004);
    assert_eq!(value(&text, "wrtc_sip_server_pings_total", &[pair]), 20.0);
    assert_eq!(value(&text, "wrtc_sip_server_up", &[("server", "sip:other.example")]), 0.0);
    let nowhere = ("server", "sip:nowhere.example");
    for (metric, found, lost) in
        [("wrtc_sip_server_up", 1.0, 0.0), ("wrtc_sip_server_resolved", 1.0, 0.0)]
    {
        assert_eq!(
            (value(&text, metric, &[pair]), value(&text, metric, &[nowhere])),
            (found, lost)
        );
    }
    assert_eq!(value(&text, "wrtc_log_lines_dropped_total", &[]), 2.0);
    for (what, lost) in [("sip", 5.0), ("timeline", 6.0), ("call_record", 7.0)] {
        assert_eq!(value(&text, "wrtc_journal_losses_total", &[("what", what)]), lost);
    }
    for (outcome, count) in [("kept", 80.0), ("dropped", 1.0)] {
        assert_eq!(value(&text, "wrtc_store_calls_total", &[("outcome", outcome)]), count);
    }
    for (outcome, count) in [("sent", 9.0), ("lost", 8.0)] {
        assert_eq!(value(&text, "wrtc_hep_messages_total", &[("outcome", outcome)]), count);
    }
    assert_eq!(value(&text, "wrtc_store_rows", &[]), 79.0);
    assert_eq!(value(&text, "wrtc_store_bytes", &[]), 40_960.0);
    assert_eq!(value(&text, "wrtc_store_faults_total", &[]), 2.0);
    assert_eq!(value(&text, "wrtc_panics_total", &[]), 1.0);
    assert!(value(&text, "process_resident_memory_bytes", &[]) > 1e6);
    assert!(value(&text, "process_open_fds", &[]) >= 3.0);
    assert!(value(&text, "process_max_fds", &[]) >= 100.0);
    assert!(value(&text, "process_threads", &[]) >= 1.0);
    let started = value(&text, "process_start_time_seconds", &[]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((started - now).abs() < 3600.0, "{started}, and it is {now}");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(value(&text, "wrtc_build_info", &version), 1.0);
}

/// Who is in a call with whom must not make series.
#[test]
fn no_label_grows_with_agents() {
    let metrics = Metrics::default();
    let series = |metrics: &Metrics| -> BTreeSet<String> {
        let text = scrape(metrics);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let life = |n: usize| {
        let remote = std::net::IpAddr::from(std::net::Ipv4Addr::from(n as u32));
        note(&metrics, What::SignedIn { dialect: Dialect::Rest, remote });
        let peer = format!("+49{n}");
        note(
            &metrics,
            What::CallStarted {
                agent_id: None,
                peer: peer.clone(),
                incoming: false,
                call_uuid: None,
            },
        );
        let mut record = record();
        (record.user, record.peer, record.call) = (n.to_string(), peer, format!("c{n}"));
        record.reason = format!("reason {n}");
        record.ended_by = format!("nobody {n}");
        note(&metrics, What::CallEnded(Box::new(record)));
        note(&metrics, What::Registered { server: format!("udp:192.0.2.{n}:5060") });
    };
    life(0);
    let before = series(&metrics);
    for n in 1..100 {
        life(n);
    }
    assert_eq!(series(&metrics), before);
}

#[test]
fn both_formats_say_the_same() {
    let (old, new) = (full_scrape(Format::Prometheus), full_scrape(Format::OpenMetrics));
    assert!(new.ends_with("# EOF\n") && !old.contains("# EOF"));
    assert!(new.contains("# TYPE wrtc_sign_ins counter\n"));
    assert!(old.contains("# TYPE wrtc_sign_ins_total counter\n"));
    assert!(new.contains("# UNIT wrtc_call_setup_seconds seconds\n"));
    // In no order within a family.
    let samples = |text: &str| -> BTreeSet<String> {
        let stable = |line: &&str| !line.starts_with('#') && !line.starts_with("process_");
        text.lines().filter(stable).map(str::to_owned).collect()
    };
    assert!(samples(&old) == samples(&new), "{old}\n{new}");
}
