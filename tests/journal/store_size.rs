//! What a call takes on the disk: docs/performance.md has the figure.

use std::fmt::Write;

use wrtc_gateway::journal::{
    Details, FinishedCall, Kind, LegQuality, Party, QualityPoint, StreamQuality, TimelineEvent, Way,
};

use crate::made::{Dir, finished, keep, now_ms, open, record};

fn random(length: usize) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    (0..length).map(|_| char::from(letters[rand::random_range(0..letters.len())])).collect()
}

/// As long as Chromium's, and as little of it the same from call to call.
fn browser_sdp() -> String {
    let mut sdp = format!(
        "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\n\
         a=msid-semantic: WMS {}\r\nm=audio 50000 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n",
        rand::random::<u64>() >> 1,
        random(36)
    );
    for _ in 0..4 {
        let _ = write!(
            sdp,
            "a=candidate:{} 1 udp 2122260223 192.168.{}.{} {} typ host generation 0 network-id 1\r\n",
            rand::random::<u32>(),
            rand::random::<u8>(),
            rand::random::<u8>(),
            rand::random::<u16>()
        );
    }
    let _ = write!(
        sdp,
        "a=ice-ufrag:{}\r\na=ice-options:trickle\r\na=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
         a=rtcp-rsize\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:9 G722/8000\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
         a=rtpmap:126 telephone-event/8000\r\na=ssrc:{} cname:{}\r\n",
        random(4),
        rand::random::<u32>(),
        random(16)
    );
    sdp
}

/// A minute, with what a plain call's timeline has.
fn minute(id: usize) -> FinishedCall {
    let started = now_ms() + id as u64;
    let mut record = record(&format!("{}-{id}", random(8)), started);
    record.call_uuid = Some(random(32));
    record.peer = format!("+4930{}", rand::random_range(1_000_000..10_000_000));
    let mut call = finished(record);
    let event = |kind, way, title: &str, body: Option<String>| TimelineEvent {
        at: started + rand::random_range(0..60_000),
        kind,
        direction: way,
        from: Some(Party::Browser),
        to: Some(Party::Gateway),
        title: title.into(),
        detail: Details::default().with("waited_ms", rand::random_range(0.0..30.0)),
        body: body.map(Into::into),
    };
    for (title, way) in [("OFFER", Way::In), ("ANSWER", Way::Out)] {
        call.timeline.events.push(event(Kind::Http, Some(way), title, Some(browser_sdp())));
    }
    for title in ["OK", "OK", "SHUTDOWN"] {
        let body =
            format!("{{\"messageType\":\"{title}\",\"answererSessionId\":\"{}\"}}", random(8));
        call.timeline.events.push(event(Kind::Http, Some(Way::In), title, Some(body)));
    }
    for (kind, title) in [
        (Kind::State, "calling"),
        (Kind::State, "ringing"),
        (Kind::State, "established"),
        (Kind::Ice, "192.168.1.7:50000"),
        (Kind::Dtls, "SRTP_AES128_CM_HMAC_SHA1_80"),
        (Kind::Rtp, "from the browser"),
        (Kind::Rtp, "from 192.0.2.9:20000"),
        (Kind::End, "peer 200 Normal"),
    ] {
        call.timeline.events.push(event(kind, None, title, None));
    }
    let stream = || StreamQuality {
        mos: Some(rand::random_range(3.9..4.4)),
        loss_percent: rand::random_range(0.0..1.0),
        jitter_ms: rand::random_range(0.0..20.0),
        packets: 250,
    };
    let leg =
        || LegQuality { rtt_ms: Some(rand::random_range(5.0..40.0)), rx: stream(), tx: stream() };
    for at in 0..12 {
        let point = QualityPoint { at: started + at * 5000, browser: leg(), sip: leg() };
        call.timeline.quality.push(point);
    }
    call
}

#[test]
fn a_call_of_a_minute_takes_a_few_kilobytes() {
    const CALLS: usize = 500;
    let dir = Dir::new();
    let store = open(&dir.file());
    let calls: Vec<FinishedCall> = (0..CALLS).map(minute).collect();
    let plain: usize = calls.iter().map(|call| serde_json::to_vec(call).unwrap().len()).sum();
    keep(&store, calls);
    store.close();
    let bytes = std::fs::metadata(dir.file()).unwrap().len() as usize;
    println!("{} bytes a call on the disk, {} as JSON", bytes / CALLS, plain / CALLS);
    assert!(bytes / CALLS < 10_000, "{} bytes a call", bytes / CALLS);
    assert!(bytes < plain, "it is no smaller than it was");
}
