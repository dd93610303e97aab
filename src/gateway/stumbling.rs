//! A panic in an agent's task ends his session and his calls, and leaves nothing of them behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Gateway, MAX_AGENTS, Request, Running, start};
use crate::agent::{Backend as _, Dialect, EndReason, Identity, Operations as _, Session, SignIn};
use crate::config::Config;
use crate::lab::{Lab, LabConfig};
use crate::secret::Secret;
use crate::wire::{FromBrowser, RoapIds};

const LIMIT: Duration = Duration::from_secs(60);

const PASSWORD: &str = "demo-secret";

/// As Chromium writes it, as far as anybody looks at it.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-mux\r\na=sendrecv\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=rtpmap:0 PCMU/8000\r\n";

async fn gateway(lab: &Lab) -> Running {
    let server = format!("sip.servers=sip:{}", lab.sip_addr());
    let sets = [
        &server,
        "http.listen=127.0.0.1:0",
        "sip.domain=demo.invalid",
        "sip.listen=127.0.0.1:0",
        "media.listen=127.0.0.1:0",
        "media.rtp_address=127.0.0.1",
    ];
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    start(Config::load(None, [], &sets).unwrap()).await.unwrap()
}

async fn sign_in(gateway: &Gateway) -> Arc<Session> {
    let sign_in = SignIn {
        dialect: Dialect::Jsapi,
        client_id: None,
        identity: Identity::Dn("5001".to_owned()),
        password: Some(Secret::new(PASSWORD)),
        remote: [127, 0, 0, 1].into(),
    };
    gateway.sign_in(sign_in).await.unwrap()
}

/// With the lab's echo.
async fn call(gateway: &Gateway, session: &Arc<Session>) {
    let offer = FromBrowser::Offer {
        ids: Some(RoapIds { offerer: 7, answerer: None, seq: 1 }),
        tiebreaker: Some(9),
        sdp: OFFER.to_owned(),
        candidates: Vec::new(),
        attached: Vec::new(),
    };
    gateway.message(session, Some("600".to_owned()), offer).await.unwrap();
    let live = &gateway.shared.live;
    until("the call is up", || live.iter().any(|call| call.state == "established")).await;
    assert_eq!(gateway.calls(), 1);
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_session_stays_behind() {
    let lab = Lab::start(LabConfig::new(Secret::new(PASSWORD))).await.unwrap();
    let running = gateway(&lab).await;
    let gateway = &running.gateway;
    let shared = &gateway.shared;
    let mut reports = lab.reports();
    for (n, again) in [(1, false), (2, true)] {
        let session = sign_in(gateway).await;
        call(gateway, &session).await;
        let agent = shared.agents.get(session.ssid().expose()).unwrap().clone();
        agent.send(Request::Stumble { again }).await.unwrap();

        tokio::time::timeout(LIMIT, session.ended().cancelled()).await.expect("it is over");
        assert_eq!(session.end_reason(), Some(EndReason::Stumbled));
        until("his place is free", || shared.agent_places.available_permits() == MAX_AGENTS).await;
        assert!(shared.sessions.is_empty() && shared.agents.is_empty(), "again: {again}");
        assert!(shared.registrations.is_empty() && shared.live.is_empty(), "again: {again}");
        assert_eq!((gateway.calls(), shared.registered.load(Ordering::Relaxed)), (0, 0));
        let totals = gateway.totals();
        assert_eq!((totals.calls_started, totals.calls_ended), (n, n), "it has its record");
        // The far end does not talk to nobody.
        let report = tokio::time::timeout(LIMIT, reports.recv()).await.expect("a BYE").unwrap();
        assert_eq!(report.number, "600");
    }
    // Not a word of the old ones hinders a new one.
    let session = sign_in(gateway).await;
    call(gateway, &session).await;
    running.stop().await;
}
