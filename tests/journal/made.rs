//! Finished calls made by hand, and a place for their files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wrtc_gateway::config::CallStore;
use wrtc_gateway::journal::store::{Search, Store};
use wrtc_gateway::journal::{
    CallRecord, Details, FinishedCall, Keeper, Kind, LegRecord, Party, StreamRecord, Timeline,
    TimelineEvent, Way,
};

/// A directory that goes with the value.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Dir {
        let name = format!("wrtc-store-{}-{:016x}", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Dir(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("calls.db")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn config(file: Option<&Path>) -> CallStore {
    CallStore {
        file: file.map(Path::to_owned),
        keep: Duration::from_secs(30 * 86_400),
        max_bytes: 1_000_000_000,
        bodies: true,
    }
}

pub fn open(file: &Path) -> Store {
    Store::open(&config(Some(file))).unwrap()
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Began at this time, lasted a minute.
pub fn record(call: &str, started: u64) -> CallRecord {
    let stream = StreamRecord {
        packets: 3000,
        bytes: 516_000,
        mos: Some(4.2),
        mos_worst: Some(3.9),
        ..StreamRecord::default()
    };
    let leg = LegRecord { rtt_ms: Some(12.5), rx: stream, tx: stream };
    CallRecord {
        call: call.to_owned(),
        sip_call_ids: vec![format!("{call}@192.0.2.1")],
        call_uuid: Some(format!("UUID-{call}")),
        user: "5001".to_owned(),
        agent_id: Some(format!("agent-{call}")),
        peer: "600".to_owned(),
        dialect: "jsapi".to_owned(),
        started,
        answered: Some(started + 1000),
        ended: started + 60_000,
        setup_ms: Some(1000),
        talked_ms: Some(59_000),
        ended_by: "peer".to_owned(),
        code: 200,
        reason: "Normal".to_owned(),
        codec: Some("PCMU".to_owned()),
        browser: leg,
        sip: leg,
        ..CallRecord::default()
    }
}

pub fn sip(
    at: u64,
    way: Way,
    local: &str,
    peer: &str,
    transport: &'static str,
    text: &str,
) -> TimelineEvent {
    let (from, to) = match way {
        Way::In => (Party::Sip, Party::Gateway),
        Way::Out => (Party::Gateway, Party::Sip),
    };
    TimelineEvent {
        at,
        kind: Kind::Sip,
        direction: Some(way),
        from: Some(from),
        to: Some(to),
        title: text.lines().next().unwrap_or_default().into(),
        detail: Details::default()
            .with("transport", transport)
            .with("local", local)
            .with("peer", peer),
        body: Some(text.into()),
    }
}

/// An INVITE that goes out, with its answers, a BYE that comes in: what a plain call has.
pub fn dialog(
    call: &str,
    at: u64,
    local: &str,
    peer: &str,
    transport: &'static str,
) -> Vec<TimelineEvent> {
    let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 20000 RTP/AVP 0 101\r\n\
               a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";
    let headers = |to_tag: &str, cseq: &str| {
        format!(
            "Via: SIP/2.0/{} {local};branch=z9hG4bK{call};rport\r\nFrom: <sip:5001@example.com>;tag=a1\r\n\
             To: <sip:600@example.com>{to_tag}\r\nCall-ID: {call}@192.0.2.1\r\nCSeq: {cseq}\r\n",
            transport.to_ascii_uppercase()
        )
    };
    let with_sdp = |head: String| {
        format!("{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
    };
    let out = |at, text: String| sip(at, Way::Out, local, peer, transport, &text);
    let come = |at, text: String| sip(at, Way::In, local, peer, transport, &text);
    let invite = format!(
        "INVITE sip:600@example.com SIP/2.0\r\n{}Max-Forwards: 70\r\nContact: <sip:5001@{local}>\r\n",
        headers("", "1 INVITE")
    );
    let ok = format!(
        "SIP/2.0 200 OK\r\n{}Contact: <sip:600@{peer}>\r\n",
        headers(";tag=b2", "1 INVITE")
    );
    vec![
        out(at, with_sdp(invite)),
        come(
            at + 5,
            format!("SIP/2.0 100 Trying\r\n{}Content-Length: 0\r\n\r\n", headers("", "1 INVITE")),
        ),
        come(at + 1000, with_sdp(ok)),
        out(
            at + 1003,
            format!(
                "ACK sip:600@{peer} SIP/2.0\r\n{}Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                headers(";tag=b2", "1 ACK")
            ),
        ),
        come(
            at + 60_000,
            format!(
                "BYE sip:5001@{local} SIP/2.0\r\n{}Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                headers(";tag=b2", "2 BYE")
            ),
        ),
        out(
            at + 60_002,
            format!("SIP/2.0 200 OK\r\n{}Content-Length: 0\r\n\r\n", headers(";tag=b2", "2 BYE")),
        ),
    ]
}

pub fn finished(record: CallRecord) -> FinishedCall {
    let events = dialog(&record.call, record.started, "192.0.2.1:5062", "192.0.2.9:5060", "udp");
    FinishedCall { record, timeline: Timeline { events, ..Timeline::default() } }
}

/// Keeps them, and waits until they are on the disk.
pub fn keep(store: &Store, calls: impl IntoIterator<Item = FinishedCall>) {
    let done = || {
        let stats = store.stats();
        stats.kept + stats.dropped
    };
    let mut handed = done();
    for call in calls {
        store.keep(Arc::new(call));
        handed += 1;
        // Never more at a time than the queue has room for.
        if handed % 500 == 0 {
            eventually("they are kept", || done() == handed);
        }
    }
    eventually("they are kept", || done() == handed);
    assert_eq!(store.stats().dropped, 0);
}

/// Of threads that no clock of the test moves.
#[allow(clippy::disallowed_methods)]
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    // A debug build of the store works through some hundred calls in some seconds of a core, which is not its own.
    let limit = std::time::Instant::now() + Duration::from_secs(150);
    while !check() {
        assert!(std::time::Instant::now() < limit, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Our ids of what is found, as it is found.
pub fn ids(store: &Store, search: &Search) -> Vec<String> {
    let page = store.search(search, 1000).unwrap();
    page.records.iter().map(|record| of_json(record).call).collect()
}

pub fn of_json(record: &str) -> CallRecord {
    serde_json::from_str(record).unwrap()
}
