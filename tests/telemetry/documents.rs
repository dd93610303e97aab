//! `docs/metrics.md` tells of every metric and of none besides.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wrtc_gateway::telemetry::metrics::Format;

use crate::support::{Family, families, full_scrape};

const BEGIN: &str = "<!-- metrics, written by tests/telemetry/documents.rs -->\n";
const END: &str = "<!-- end of the metrics -->\n";

fn table(families: &BTreeMap<String, Family>) -> String {
    let mut table = "| name | kind | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for (name, family) in families {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(table, "| `{name}` | {} | {} | {} |", family.kind, labels.join(", "), family.help)
            .unwrap();
    }
    table
}

#[test]
fn every_metric_is_documented_and_every_documented_one_is_there() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (written, tail) = rest.split_once(END).unwrap();
    let exported = table(&families(&full_scrape(Format::Prometheus)));
    if std::env::var_os("WRTC_WRITE_METRICS").is_some() {
        std::fs::write(path, format!("{head}{BEGIN}{exported}{END}{tail}")).unwrap();
        return;
    }
    assert!(
        written == exported,
        "docs/metrics.md is stale: WRTC_WRITE_METRICS=1 cargo nextest run --test telemetry documents\n{exported}"
    );
}

/// Names as Prometheus' own guide has them: a prefix, a base unit, `_total` for counters alone.
#[test]
fn names_follow_the_rules() {
    for (name, family) in families(&full_scrape(Format::Prometheus)) {
        assert!(name.starts_with("wrtc_") || name.starts_with("process_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            family.kind == "counter",
            "{name} is a {}",
            family.kind
        );
        assert!(!name.contains("milli") && !name.contains("_ms"), "{name}");
        assert!(family.help.len() > 5 && family.help.ends_with('.'), "{name}: {}", family.help);
    }
}
