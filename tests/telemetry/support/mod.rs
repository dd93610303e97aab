//! A journal's entries and a gateway's state, made by hand.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wrtc_gateway::agent::{VideoFigures, VideoLeg, VideoStream};
use wrtc_gateway::journal::store::StoreStats;
use wrtc_gateway::journal::{About, CallRecord, Entry, LegRecord, Observer, StreamRecord, What};
use wrtc_gateway::telemetry::metrics::{
    Exporter, Format, Metrics, ServerSnapshot, Snapshot, Source,
};
use wrtc_gateway::tls::CertificateState;

/// A gateway that stands as it is told.
pub struct Still(pub Snapshot);

impl Source for Still {
    fn snapshot(&self) -> Snapshot {
        self.0.clone()
    }
}

pub fn server(name: &str) -> ServerSnapshot {
    ServerSnapshot {
        name: name.to_owned(),
        unresolved: false,
        up: true,
        current: true,
        rtt: Some(Duration::from_millis(4)),
        pings: 10,
        pings_missed: 1,
    }
}

pub fn exporter(metrics: &Metrics, snapshot: Snapshot) -> Exporter {
    Exporter::new(metrics, Arc::new(Still(snapshot)))
}

/// Everything that a gateway exports, with at least one sample each.
pub fn full_scrape(format: Format) -> String {
    let metrics = Metrics::default();
    metrics.http_request("/sign_in", 200);
    metrics.http_request("other", 404);
    note(&metrics, What::CallEnded(Box::new(record())));
    let expires = Some(SystemTime::now());
    let snapshot = Snapshot {
        servers: vec![server("sip:a.example")],
        certificates: vec![CertificateState { port: "http", expires, fault: None }],
        store: StoreStats { oldest: Some(1_000_000), ..StoreStats::default() },
        ..Snapshot::default()
    };
    exporter(&metrics, snapshot).render(format)
}

pub fn note(observer: &impl Observer, what: What) {
    observer.observe(&Entry { at: SystemTime::now(), about: About::call("5001", "c1"), what });
}

pub fn record() -> CallRecord {
    let stream = |lost, mos| StreamRecord {
        packets: 1000 - lost,
        lost,
        mos: Some(mos),
        ..StreamRecord::default()
    };
    CallRecord {
        call: "c1".into(),
        sip_call_ids: vec!["abc@pbx".into()],
        call_uuid: Some("00AQ8".into()),
        user: "5001".into(),
        agent_id: None,
        peer: "+4930123456".into(),
        peer_name: None,
        diverted_from: None,
        incoming: true,
        dialect: "jsapi".into(),
        started: 1_000_000,
        answered: Some(1_004_000),
        ended: 1_064_000,
        setup_ms: Some(4000),
        talked_ms: Some(60_000),
        ended_by: "peer".into(),
        code: 200,
        reason: "BYE".into(),
        sip_reason: None,
        transfer: None,
        digits: 0,
        holds: 0,
        codec: Some("PCMU".into()),
        sip_encrypted: false,
        silent: None,
        browser: LegRecord { rtt_ms: Some(20.0), rx: stream(10, 4.1), tx: stream(0, 4.4) },
        sip: LegRecord { rtt_ms: None, rx: stream(0, 4.4), tx: stream(300, 1.9) },
        concealed: 0,
        video: Some(VideoFigures { browser: video(1000, 7), sip: video(900, 0) }),
    }
}

/// What came of that leg, and half as much that it was sent.
fn video(packets: u64, lost: u64) -> VideoLeg {
    let rx = VideoStream { packets, bytes: packets * 1000, lost, nacks: 5, pictures: 2 };
    VideoLeg { rx, tx: VideoStream { packets: packets / 2, nacks: 1, ..VideoStream::default() } }
}

/// A family as the older text format tells it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub labels: BTreeSet<String>,
}

/// By name.
pub fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            let known = families.insert(name.to_owned(), Family::default());
            assert!(known.is_none(), "{name} is there twice");
            families.get_mut(name).unwrap().help = help.to_owned();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let (name, labels) = sample(line);
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|name| families.get(*name).is_some_and(|f| f.kind == "histogram"))
                .unwrap_or(&name)
                .to_owned();
            let family =
                families.get_mut(&family).unwrap_or_else(|| panic!("a type before {line}"));
            family.labels.extend(labels.into_keys().filter(|label| label != "le"));
        }
    }
    families
}

/// Name and labels of a sample.
fn sample(line: &str) -> (String, BTreeMap<String, String>) {
    let (series, _) = line.rsplit_once(' ').unwrap();
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new());
    };
    let labels = labels.trim_end_matches('}').split("\",").map(|pair| {
        let (label, value) = pair.split_once("=\"").unwrap();
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), labels.collect())
}

/// The value of the one series that has these labels.
pub fn value(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted: BTreeMap<String, String> =
        labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
    let found: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && sample(line) == (name.to_owned(), wanted.clone()))
        .collect();
    assert_eq!(found.len(), 1, "{name} {labels:?} in\n{text}");
    found[0].rsplit_once(' ').unwrap().1.parse().unwrap()
}
