//! What is shipped for Prometheus and Grafana asks for nothing that the gateway does not export.

use std::collections::BTreeSet;

use serde_json::Value;
use wrtc_gateway::telemetry::metrics::Format;

use crate::support::{families, full_scrape};

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/deploy/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Names of metrics and of recorded series in an expression, or in a whole file of rules.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .filter(|word| ["wrtc_", "wrtc:", "process_"].iter().any(|start| word.starts_with(start)))
        .map(|word| word.trim_end_matches(':').to_owned())
        .collect()
}

/// Everything that can be asked for: samples that are exported, and series that are recorded.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for (name, family) in families(&full_scrape(Format::Prometheus)) {
        if family.kind == "histogram" {
            known.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
        } else {
            known.insert(name);
        }
    }
    let recorded = read("prometheus/recording.yml");
    known.extend(
        recorded.lines().filter_map(|line| Some(line.split_once("- record: ")?.1.to_owned())),
    );
    known
}

#[test]
fn rules_ask_for_what_there_is() {
    let known = known();
    for file in ["recording.yml", "alerts.yml", "tests.yml"] {
        let asked = names(&read(&format!("prometheus/{file}")));
        assert!(asked.len() > 5, "{file}: {asked:?}");
        let unknown: Vec<&String> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn every_alert_has_a_test_and_says_what_it_is_about() {
    let (alerts, tests) = (read("prometheus/alerts.yml"), read("prometheus/tests.yml"));
    let mut count = 0;
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        assert!(tests.contains(name), "{name} has no test");
        for part in ["expr:", "severity:", "summary:", "description:"] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let known = known();
    let board: Value = serde_json::from_str(&read("grafana/wrtc-gateway.json")).unwrap();
    let (mut ids, mut asked) = (BTreeSet::new(), BTreeSet::new());
    let mut places: Vec<(u64, u64, u64, u64)> = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title} has another one's id");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        assert!(x + w <= 24, "{title} stands over the edge");
        let apart = |p: &(u64, u64, u64, u64)| {
            x + w <= p.0 || p.0 + p.2 <= x || y + h <= p.1 || p.1 + p.3 <= y
        };
        assert!(places.iter().all(apart), "{title} stands on another panel");
        places.push((x, y, w, h));
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 5), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} asks for nothing");
        for target in targets {
            let expression = target["expr"].as_str().unwrap();
            assert!(
                expression.contains("instance=~\"$instance\""),
                "{title}: of the chosen gateways"
            );
            let these = names(expression);
            assert!(!these.is_empty(), "{title}: {expression}");
            asked.extend(these);
        }
    }
    let unknown: Vec<&String> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(asked.len() > 30, "{asked:?}");
    for variable in board["templating"]["list"].as_array().unwrap().iter().skip(1) {
        let asked = names(variable["definition"].as_str().unwrap());
        assert!(asked.iter().all(|name| known.contains(name)), "{asked:?}");
    }
}

/// A word that no sign-in ends with would never be counted.
#[test]
fn outcomes_that_rules_name_are_there() {
    let scrape = full_scrape(Format::Prometheus);
    let rules = read("prometheus/alerts.yml") + &read("prometheus/recording.yml");
    let mut named = 0;
    for words in rules.split("wrtc_sign_ins_total{outcome=~\"").skip(1) {
        for word in words.split('"').next().unwrap().split('|') {
            let series = format!("wrtc_sign_ins_total{{outcome=\"{word}\"}} ");
            assert!(scrape.contains(&series), "{word}");
            named += 1;
        }
    }
    assert!(named >= 10, "{named}");
}
