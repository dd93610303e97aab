//! Calls as OpenTelemetry traces, at a small collector.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use wrtc_gateway::config::Config;
use wrtc_gateway::journal::{About, CallRecord, Entry, Observer, What};
use wrtc_gateway::media::{DtlsFailure, MediaEvent};
use wrtc_gateway::telemetry::traces::Tracer;

use crate::support::record;

/// An OTLP/HTTP collector: hands on what is posted, after as many refusals as it is told.
struct Collector {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<(String, Value)>,
    asked: Arc<AtomicUsize>,
}

impl Collector {
    async fn start(refusals: usize, refusal: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = Vec::new();
                let (head, length) = loop {
                    let mut part = [0; 4096];
                    let n = stream.read(&mut part).await.unwrap();
                    assert!(n > 0, "a request that breaks off");
                    seen.extend_from_slice(&part[..n]);
                    let Some(at) = seen.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                    let head = String::from_utf8(seen.drain(..at + 4).collect()).unwrap();
                    let length = head.to_ascii_lowercase();
                    let length = length.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
                    break (head, length);
                };
                while seen.len() < length {
                    let mut part = [0; 4096];
                    let n = stream.read(&mut part).await.unwrap();
                    seen.extend_from_slice(&part[..n]);
                }
                let answer = match count.fetch_add(1, Ordering::SeqCst) < refusals {
                    true => refusal,
                    false => {
                        let _ = sender.send((head, serde_json::from_slice(&seen).unwrap()));
                        "200 OK"
                    }
                };
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\n{{}}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Collector { address, requests, asked }
    }

    fn tracer(&self) -> Tracer {
        tracer(self.address)
    }

    async fn next(&mut self) -> (String, Vec<Value>) {
        let (head, body) = tokio::time::timeout(Duration::from_secs(60), self.requests.recv())
            .await
            .unwrap()
            .unwrap();
        let resource = &body["resourceSpans"][0];
        assert_eq!(attribute(&resource["resource"], "service.name"), Some("wrtc-gateway".into()));
        (head, resource["scopeSpans"][0]["spans"].as_array().unwrap().clone())
    }
}

fn tracer(collector: SocketAddr) -> Tracer {
    let sets = ["sip.servers=127.0.0.1".to_owned(), format!("tracing.otlp=http://{collector}")];
    Tracer::start(Config::load(None, [], &sets).unwrap().tracing.otlp.unwrap())
}

fn attribute(holder: &Value, key: &str) -> Option<Value> {
    let all = holder["attributes"].as_array()?;
    let value = &all.iter().find(|one| one["key"] == key)?["value"];
    Some(value.as_object()?.values().next()?.clone())
}

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let found: Vec<&Value> = spans.iter().filter(|span| span["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

const START: SystemTime = SystemTime::UNIX_EPOCH;

/// Milliseconds after the record's beginning.
fn note(tracer: &Tracer, ms: u64, call: Option<&str>, what: What) {
    let at = START + Duration::from_millis(record().started + ms);
    let about = call.map_or_else(About::default, |call| About::call("5001", call));
    tracer.observe(&Entry { at, about, what });
}

fn sip(inbound: bool, line: &str, cseq: &str) -> What {
    What::Sip {
        inbound,
        transport: "udp",
        local: "192.0.2.1:5062".parse().unwrap(),
        peer: "192.0.2.2:5060".parse().unwrap(),
        call_id: "abc@pbx".into(),
        text: format!("{line}\r\nCall-ID: abc@pbx\r\nCSeq: {cseq}\r\n\r\n").into(),
    }
}

fn http(kind: &'static str) -> What {
    What::Http { inbound: true, kind, waited: None, body: "v=0".into(), fault: None }
}

fn begin(tracer: &Tracer) {
    note(tracer, 0, None, sip(true, "INVITE sip:5001@gw SIP/2.0", "1 INVITE"));
    let peer = "+4930123456".to_owned();
    note(
        tracer,
        1,
        Some("c1"),
        What::CallStarted { agent_id: None, peer, incoming: true, call_uuid: None },
    );
    note(tracer, 1, Some("c1"), What::SipLeg { call_id: "abc@pbx".into() });
    note(tracer, 2, None, sip(false, "SIP/2.0 180 Ringing", "1 INVITE"));
    note(tracer, 3900, Some("c1"), http("ANSWER"));
}

fn time(span: &Value, which: &str) -> u64 {
    let nanos: u64 = span[which].as_str().unwrap().parse().unwrap();
    nanos / 1_000_000 - record().started
}

#[tokio::test]
async fn a_call_is_a_trace() {
    let mut collector = Collector::start(0, "").await;
    let tracer = collector.tracer();
    begin(&tracer);
    note(&tracer, 4000, None, sip(false, "SIP/2.0 200 OK", "1 INVITE"));
    let remote = "192.0.2.50:4711".parse().unwrap();
    note(&tracer, 3950, Some("c1"), What::Media(MediaEvent::IceConnected { remote }));
    let profile = "AEAD_AES_128_GCM";
    note(&tracer, 4050, Some("c1"), What::Media(MediaEvent::DtlsConnected { profile }));
    note(&tracer, 64_000, Some("c1"), What::CallEnded(Box::new(record())));

    let (head, spans) = collector.next().await;
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json\r\n"), "{head}");
    assert_eq!(spans.len(), 5, "{spans:#?}");
    let call = named(&spans, "call");
    let setup = named(&spans, "setup");
    for span in &spans {
        assert_eq!(span["traceId"], call["traceId"]);
        assert!(span["status"].get("code").is_none(), "{span}");
    }
    assert_eq!(call["traceId"].as_str().unwrap().len(), 32);
    assert_eq!(call["spanId"].as_str().unwrap().len(), 16);
    assert!(call.get("parentSpanId").is_none());
    assert_eq!(setup["parentSpanId"], call["spanId"]);
    for name in ["ICE", "DTLS", "SIP INVITE"] {
        assert_eq!(named(&spans, name)["parentSpanId"], setup["spanId"], "{name}");
    }
    let times = |name| {
        let span = named(&spans, name);
        (time(span, "startTimeUnixNano"), time(span, "endTimeUnixNano"))
    };
    assert_eq!(times("call"), (1, 64_000));
    assert_eq!(times("setup"), (1, 4000));
    assert_eq!(times("ICE"), (3900, 3950));
    assert_eq!(times("DTLS"), (3950, 4050));
    assert_eq!(times("SIP INVITE"), (0, 4000));
    for (key, value) in [
        ("wrtc.call_id", "c1"),
        ("wrtc.dn", "5001"),
        ("sip.call_id", "abc@pbx"),
        ("genesys.call_uuid", "00AQ8"),
        ("wrtc.ended_by", "peer"),
        ("wrtc.end_reason", "BYE"),
    ] {
        assert_eq!(attribute(call, key), Some(value.into()), "{key}");
    }
    assert_eq!(attribute(call, "sip.status_code"), Some("200".into()));
    assert_eq!(attribute(named(&spans, "SIP INVITE"), "sip.status_code"), Some("200".into()));
    assert!(!format!("{spans:?}").contains("4930123456"), "whom it was with is nobody's business");
    tracer.stop().await;
    assert_eq!(tracer.counts().exported, 5);
}

#[tokio::test]
async fn what_went_wrong_is_marked() {
    let mut collector = Collector::start(0, "").await;
    let tracer = collector.tracer();
    begin(&tracer);
    note(&tracer, 4000, None, sip(false, "SIP/2.0 488 Not Acceptable Here", "1 INVITE"));
    let remote = "192.0.2.50:4711".parse().unwrap();
    note(&tracer, 3950, Some("c1"), What::Media(MediaEvent::IceConnected { remote }));
    let reason = DtlsFailure::FingerprintMismatch;
    note(&tracer, 3990, Some("c1"), What::Media(MediaEvent::DtlsFailed { reason }));
    let failed = CallRecord {
        answered: None,
        setup_ms: None,
        code: 488,
        reason: "no codec".into(),
        ended_by: "gateway".into(),
        ..record()
    };
    note(&tracer, 4000, Some("c1"), What::CallEnded(Box::new(failed)));
    // At the end of the gateway nothing is waited for.
    tracer.stop().await;
    let (_, spans) = collector.next().await;
    for (name, message) in [
        ("call", "488 no codec"),
        ("setup", "488 no codec"),
        ("SIP INVITE", "488"),
        ("DTLS", "FingerprintMismatch"),
    ] {
        let status = &named(&spans, name)["status"];
        assert_eq!((status["code"].as_u64(), status["message"].as_str()), (Some(2), Some(message)));
    }
    assert!(named(&spans, "ICE")["status"].get("code").is_none());
}

#[tokio::test]
async fn a_call_that_was_answered_and_never_heard_shows_it() {
    let mut collector = Collector::start(0, "").await;
    let tracer = collector.tracer();
    begin(&tracer);
    note(&tracer, 64_000, Some("c1"), What::CallEnded(Box::new(record())));
    tracer.stop().await;
    let (_, spans) = collector.next().await;
    let ice = named(&spans, "ICE");
    assert_eq!(ice["status"]["code"], 2, "{ice}");
    assert_eq!(time(ice, "endTimeUnixNano"), 64_000);
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again() {
    let mut collector = Collector::start(1, "503 Service Unavailable").await;
    let tracer = collector.tracer();
    note(&tracer, 64_000, Some("c1"), What::CallEnded(Box::new(record())));
    let (_, spans) = collector.next().await;
    assert_eq!(spans.len(), 2);
    assert_eq!(collector.asked.load(Ordering::SeqCst), 2);
    tracer.stop().await;
    assert_eq!((tracer.counts().exported, tracer.counts().dropped), (2, 0));
}

#[tokio::test]
async fn what_a_collector_refuses_is_counted_and_not_sent_again() {
    let collector = Collector::start(100, "400 Bad Request").await;
    let tracer = collector.tracer();
    note(&tracer, 64_000, Some("c1"), What::CallEnded(Box::new(record())));
    tracer.stop().await;
    assert_eq!((tracer.counts().exported, tracer.counts().dropped), (0, 2));
    assert_eq!(collector.asked.load(Ordering::SeqCst), 1);
}

/// Nobody who notes something waits for a collector that is not there.
#[tokio::test]
async fn more_than_there_is_room_for_is_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let tracer = tracer(address);
    // No task runs meanwhile: the queue fills.
    for _ in 0..20_000 {
        note(&tracer, 0, Some("c1"), http("OFFER"));
    }
    assert_eq!(tracer.counts().dropped, 20_000 - 8192);
}
