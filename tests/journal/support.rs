//! Entries made by hand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wrtc_gateway::journal::{
    About, CallRecord, Entry, FinishedCall, Keeper, Observer, Timelines, What,
};

pub const DN: &str = "5001";
pub const CALL: &str = "c-1";

/// So many milliseconds after something.
pub fn at(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_790_000_000) + Duration::from_millis(ms)
}

pub fn of_call(ms: u64, what: What) -> Entry {
    Entry { at: at(ms), about: About::call(DN, CALL), what }
}

pub fn started() -> What {
    What::CallStarted {
        agent_id: None,
        peer: "7123".into(),
        incoming: true,
        call_uuid: Some("UUID1".into()),
    }
}

pub fn ended() -> What {
    let record = CallRecord {
        call: CALL.into(),
        user: DN.into(),
        call_uuid: Some("UUID1".into()),
        sip_call_ids: vec!["leg@h".into()],
        ended_by: "peer".into(),
        code: 200,
        reason: "hung up".into(),
        sip_reason: Some("Q.850;cause=16;text=\"Normal\"".into()),
        ..CallRecord::default()
    };
    What::CallEnded(Box::new(record))
}

pub fn leg(call_id: &str) -> What {
    What::SipLeg { call_id: call_id.into() }
}

pub fn sip(inbound: bool, start: &str, call_id: &str, method: &str) -> What {
    let text = format!(
        "{start}\r\nFrom: <sip:7123@h>;tag=a\r\nTo: <sip:5001@h>\r\nCall-ID: {call_id}\r\n\
         CSeq: 1 {method}\r\n\r\n"
    );
    let address: SocketAddr = "192.0.2.1:5060".parse().expect("an address");
    What::Sip {
        inbound,
        transport: "udp",
        local: address,
        peer: address,
        call_id: call_id.into(),
        text: text.into(),
    }
}

pub fn http(inbound: bool, kind: &'static str, waited: Option<Duration>, body: &str) -> What {
    What::Http { inbound, kind, waited, body: body.into(), fault: None }
}

pub fn tell(timelines: &Timelines, entries: impl IntoIterator<Item = Entry>) {
    entries.into_iter().for_each(|entry| timelines.observe(&entry));
}

pub fn titles(timelines: &Timelines, key: &str) -> Vec<String> {
    let view = timelines.find(key).expect("a call");
    view.timeline.events.iter().map(|event| event.title.to_string()).collect()
}

/// Takes what is handed on.
#[derive(Default)]
pub struct Shelf(pub Mutex<Vec<Arc<FinishedCall>>>);

impl Keeper for Shelf {
    fn keep(&self, call: Arc<FinishedCall>) {
        self.0.lock().expect("the shelf").push(call);
    }
}
