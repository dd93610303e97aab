//! What a real call leaves in the metrics and at a collector of traces.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::support::browser::LIMIT;
use crate::support::far::{call_from, tone};
use crate::support::gateway::Demo;
use crate::support::wire::Wire;

/// One request of a collector's client; says 200.
async fn posted(collector: &TcpListener) -> Value {
    let (mut stream, _) = collector.accept().await.unwrap();
    let mut seen = Vec::new();
    let mut part = [0; 16_384];
    loop {
        let n = stream.read(&mut part).await.unwrap();
        assert!(n > 0, "a request that breaks off");
        seen.extend_from_slice(&part[..n]);
        let Some(head) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        if let Ok(body) = serde_json::from_slice(&seen[head + 4..]) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
            crate::wrote::bytes("otlp", &seen);
            return body;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_counted_and_traced() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let otlp = format!("tracing.otlp=http://{}", collector.local_addr().unwrap());
    let demo = Demo::with_settings(&[&otlp]).await;
    let mut phone = demo.phone("5001").await;
    phone.browser.play(440.0).await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    far.play(tone(1000.0));
    phone.browser.connected().await;
    phone.browser.hears(1000.0, 0.5).await;
    far.hang_up().await;
    phone.expect("BYE").await;
    demo.idle().await;

    let answer = Wire::new(&demo.base).get("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    for line in [
        "wrtc_sign_ins_total{outcome=\"ok\"} 1",
        "wrtc_registrations_total 1",
        "wrtc_agents_registered 1",
        "wrtc_calls_started_total{direction=\"incoming\"} 1",
        "wrtc_calls_ended_total{direction=\"incoming\",ended_by=\"peer\",class=\"2xx\"} 1",
        "wrtc_calls_active 0",
        "wrtc_talk_to_200_seconds_count 1",
        "wrtc_call_setup_seconds_count{direction=\"incoming\"} 1",
        "wrtc_call_duration_seconds_count{direction=\"incoming\"} 1",
        "wrtc_media_events_total{event=\"ice_connected\"} 1",
        "wrtc_media_events_total{event=\"dtls_connected\"} 1",
        "wrtc_http_requests_total{route=\"/sign_in\",class=\"2xx\"} 1",
    ] {
        assert!(answer.body.lines().any(|one| one == line), "{line} in\n{}", answer.body);
    }
    let delivered = answer.body.lines().find_map(|line| {
        line.strip_prefix("wrtc_poll_delivery_seconds_count ")?.parse::<u32>().ok()
    });
    assert!(delivered >= Some(2), "an OFFER and a BYE: {delivered:?}");

    let posted = posted(&collector).await;
    let spans = posted["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap();
    let mut names: Vec<&str> = spans.iter().map(|span| span["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["DTLS", "ICE", "SIP INVITE", "call", "setup"], "{spans:#?}");
    for span in spans {
        assert_eq!(span["traceId"], spans[0]["traceId"]);
        assert_eq!(span["status"], Value::Object(Default::default()), "{span}");
    }
}

/// A call that nobody answered: in the store, at the collector of HEP, and not on a disk without room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_and_what_is_lost_is_counted() {
    let homer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let hep = format!("journal.hep=udp:{}", homer.local_addr().unwrap());
    let demo = Demo::with_settings(&[&hep, "journal.call_records=/dev/full"]).await;
    let _phone = demo.phone("5001").await;
    let mut far = demo.calls("5001", call_from("7123")).await;
    far.rings().await;
    far.hang_up().await;
    far.ended().await;

    let wire = Wire::new(&demo.base);
    let end = Instant::now() + LIMIT;
    loop {
        let text = wire.get("/metrics").await.body;
        let value = |series: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
        };
        let counts = [
            value("wrtc_store_calls_total{outcome=\"kept\"}"),
            value("wrtc_store_rows"),
            value("wrtc_journal_losses_total{what=\"call_record\"}"),
        ];
        let sent = value("wrtc_hep_messages_total{outcome=\"sent\"}");
        let bytes = value("wrtc_store_bytes");
        // REGISTER and INVITE with what belongs to them.
        if counts == [Some(1); 3] && sent >= Some(6) && bytes > Some(0) {
            assert_eq!(value("wrtc_store_calls_total{outcome=\"dropped\"}"), Some(0));
            assert_eq!(value("wrtc_journal_losses_total{what=\"sip\"}"), Some(0));
            assert_eq!(value("wrtc_journal_losses_total{what=\"timeline\"}"), Some(0));
            let mut shown = [0; 65_536];
            while let Ok(read) = homer.try_recv(&mut shown) {
                crate::wrote::bytes("hep", &shown[..read]);
            }
            break;
        }
        assert!(Instant::now() < end, "{counts:?} {sent:?} {bytes:?} in\n{text}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Who is never asked is not known to be away, and no alert is to say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_pinged_counts_as_up() {
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = deaf.local_addr().unwrap();
    let pinged = format!("sip.servers=sip:{server}");
    for (demo, up) in [(Demo::alone(server).await, 1), (Demo::with_servers(&[&pinged]).await, 0)] {
        let text = Wire::new(&demo.base).get("/metrics").await.body;
        let line = format!("wrtc_sip_server_up{{server=\"sip:{server}\"}} {up}");
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
}
