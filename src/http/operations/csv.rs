//! Call records as CSV (RFC 4180), for spreadsheets.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::http::reply::rfc3339;

/// What stands in a line, in order: names of the record's members, with `_` between a leg's, its stream's
/// and the member's. Stable: columns are added at the end.
const COLUMNS: &[&str] = &[
    "call",
    "started",
    "answered",
    "ended",
    "user",
    "peer",
    "peer_name",
    "incoming",
    "ended_by",
    "code",
    "reason",
    "setup_ms",
    "talked_ms",
    "codec",
    "sip_encrypted",
    "digits",
    "holds",
    "transfer",
    "diverted_from",
    "sip_reason",
    "silent",
    "concealed",
    "agent_id",
    "dialect",
    "call_uuid",
    "sip_call_ids",
    "browser_rtt_ms",
    "browser_rx_packets",
    "browser_rx_lost",
    "browser_rx_jitter_ms",
    "browser_rx_mos",
    "browser_rx_mos_worst",
    "browser_tx_packets",
    "browser_tx_lost",
    "browser_tx_jitter_ms",
    "browser_tx_mos",
    "browser_tx_mos_worst",
    "sip_rtt_ms",
    "sip_rx_packets",
    "sip_rx_lost",
    "sip_rx_jitter_ms",
    "sip_rx_mos",
    "sip_rx_mos_worst",
    "sip_tx_packets",
    "sip_tx_lost",
    "sip_tx_jitter_ms",
    "sip_tx_mos",
    "sip_tx_mos_worst",
    "video_browser_rx_packets",
    "video_browser_rx_lost",
    "video_browser_tx_packets",
    "video_browser_tx_lost",
    "video_sip_rx_packets",
    "video_sip_rx_lost",
    "video_sip_tx_packets",
    "video_sip_tx_lost",
];

/// The first line.
pub fn head() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

/// A record's line, from its JSON; empty cells for what it does not have. Times are RFC 3339.
pub fn line(record: &Value) -> String {
    let cells: Vec<String> = COLUMNS.iter().map(|column| cell(&text(record, column))).collect();
    format!("{}\r\n", cells.join(","))
}

fn text(record: &Value, column: &str) -> String {
    match member(record, column) {
        Some(Value::Null) | None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(texts)) => {
            texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Some(value) => match (column, value.as_u64()) {
            ("started" | "answered" | "ended", Some(at)) => {
                UNIX_EPOCH.checked_add(Duration::from_millis(at)).map(rfc3339).unwrap_or_default()
            }
            _ => value.to_string(),
        },
    }
}

/// `sip_rx_mos` is in `sip`, there in `rx`; `sip_encrypted` is not.
fn member<'a>(record: &'a Value, column: &str) -> Option<&'a Value> {
    let within = || {
        let (part, rest) = column.split_once('_')?;
        member(record.get(part)?, rest)
    };
    record.get(column).or_else(within)
}

/// Quoted where need be. What a spreadsheet would take for a formula gets an apostrophe: a caller's name
/// is anybody's to choose. Numbers as `+4930123` and `-1` are none.
fn cell(text: &str) -> String {
    let number = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let formula =
        text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) && !number;
    let safe = if formula { format!("'{text}") } else { text.to_owned() };
    if safe.contains([',', '"', '\r', '\n', ';', '\t']) || safe.trim() != safe {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::VideoFigures;
    use crate::journal::{CallRecord, LegRecord, StreamRecord};

    #[test]
    fn no_cell_is_a_formula() {
        for (text, cell_of_it) in [
            ("600", "600"),
            ("+4930123", "+4930123"),
            ("-1.5", "-1.5"),
            ("=1+1", "'=1+1"),
            ("+1-cmd|' /C calc'!A0", "'+1-cmd|' /C calc'!A0"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-", "'-"),
            ("\t=1", "\"'\t=1\""),
            ("＝1", "'＝1"),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
            ("Smith, \"Joe\"", "\"Smith, \"\"Joe\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            (" padded", "\" padded\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), cell_of_it, "{text:?}");
        }
    }

    #[test]
    fn every_column_is_a_member_of_the_record() {
        let stream =
            StreamRecord { mos: Some(4.0), mos_worst: Some(3.0), ..StreamRecord::default() };
        let leg = LegRecord { rtt_ms: Some(1.0), rx: stream, tx: stream };
        let video = Some(VideoFigures::default());
        let record = CallRecord { browser: leg, sip: leg, video, ..CallRecord::default() };
        let record = serde_json::to_value(record).unwrap();
        for column in COLUMNS {
            assert!(member(&record, column).is_some(), "{column}");
        }
        assert_eq!(head().split(',').count(), line(&record).split(',').count());
    }

    #[test]
    fn a_line() {
        let record = serde_json::json!({
            "call": "c1", "started": 951_782_400_000_u64, "answered": null, "peer_name": "=cmd",
            "sip_call_ids": ["a@b", "c@d"], "sip": { "rx": { "mos": 4.25 } }, "sip_encrypted": true,
        });
        let line = line(&record);
        let line: Vec<&str> = line.trim_end().split(',').collect();
        let at = |column: &str| COLUMNS.iter().position(|known| *known == column).unwrap();
        for (column, text) in [
            ("call", "c1"),
            ("started", "2000-02-29T00:00:00.000Z"),
            ("answered", ""),
            ("peer_name", "'=cmd"),
            ("sip_call_ids", "a@b c@d"),
            ("sip_rx_mos", "4.25"),
            ("sip_encrypted", "true"),
            ("browser_rx_mos", ""),
        ] {
            assert_eq!(line[at(column)], text, "{column}");
        }
    }
}
