//! The JSON encoding of OTLP's `ExportTraceServiceRequest` (OTLP 1.x): ids in hexadecimal digits, 64-bit
//! numbers as text, enumerations as numbers.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::spans::{Span, Value};

/// `instance`: which of several gateways.
pub(super) fn request(spans: &[Span], instance: &str) -> String {
    let resource = [
        ("service.name", Value::Text("wrtc-gateway".to_owned())),
        ("service.version", Value::Text(env!("CARGO_PKG_VERSION").to_owned())),
        ("service.instance.id", Value::Text(instance.to_owned())),
    ];
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let scope = json!({ "name": "wrtc-gateway", "version": env!("CARGO_PKG_VERSION") });
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(&resource) },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] })
    .to_string()
}

fn span(span: &Span) -> Json {
    let mut json = json!({
        "traceId": hex(&span.trace),
        "spanId": hex(&span.id),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": nanos(span.start),
        "endTimeUnixNano": nanos(span.end),
        "attributes": attributes(&span.attributes),
        "status": match &span.error {
            // STATUS_CODE_ERROR.
            Some(message) => json!({ "code": 2, "message": message }),
            None => json!({}),
        },
    });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = hex(&parent).into();
    }
    json
}

fn attributes(all: &[(&'static str, Value)]) -> Vec<Json> {
    all.iter()
        .map(|(key, value)| {
            let value = match value {
                Value::Text(text) => json!({ "stringValue": text }),
                Value::Number(number) => json!({ "intValue": number.to_string() }),
                Value::Score(score) => json!({ "doubleValue": score }),
            };
            json!({ "key": key, "value": value })
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
