//! A SIP server that takes its time, says nothing or says 503, to REGISTER and to INVITE. What a transaction
//! does then, `tests/sip` has to the millisecond; here it is what the agent has of it.

use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::between::{Between, Fate, Way};
use crate::gateway::{Gateway, LIMIT, PASSWORD, called_from, knows, until_known};
use crate::support::jsapi::Jsapi;
use crate::support::wire::Wire;

struct Scene {
    gateway: Gateway,
    between: Between,
    lab: Lab,
}

impl Scene {
    /// A registration is granted for so long.
    async fn new(granted: Duration) -> Self {
        let config = LabConfig { max_expires: granted, ..LabConfig::new(Secret::new(PASSWORD)) };
        let lab = Lab::start(config).await.unwrap();
        let between = Between::new(lab.sip_addr()).await;
        let gateway = Gateway::start(between.addr, &["sip.ping_seconds=1"]);
        Self { gateway, between, lab }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn is(method: &str, way: Way, datagram: &[u8]) -> bool {
    way == Way::ToServer && datagram.starts_with(format!("{method} ").as_bytes())
}

/// `1 INVITE` of an answer.
fn answers(method: &str, way: Way, datagram: &[u8]) -> bool {
    let text = String::from_utf8_lossy(datagram);
    way == Way::ToClient
        && crate::support::trunk::header(&text, "CSeq").is_some_and(|cseq| cseq.ends_with(method))
}

/// Calls 601, and hears what it plays.
async fn calls(phone: &mut Jsapi) {
    phone.fresh().await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
    phone.hang_up().await;
}

/// The page is told that a call has come to nothing.
async fn told_of_the_end(phone: &mut Jsapi) {
    let end = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < end, "the call has no end");
        if let Some(message) = phone.within(Duration::from_secs(5)).await {
            assert_eq!(message.body, "BYE");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_take_seconds_cost_seconds() {
    let scene = Scene::new(HOUR).await;
    let slow = |method: &'static str| {
        scene.between.rule(move |way, datagram| match answers(method, way, datagram) {
            true => Fate::Late(Duration::from_millis(rand::rng().random_range(3000..8000))),
            false => Fate::Pass,
        });
    };
    slow("REGISTER");
    // A challenge and a 200.
    let mut phone = scene.gateway.phone("5001").await;
    assert!(knows(&scene.lab, "5001"));
    assert_eq!(scene.gateway.registered().await, 1);
    slow("INVITE");
    calls(&mut phone).await;
    phone.fresh().await;
    called_from(&scene.lab.control(), &mut phone, "5001").await;
    let alerts = scene.gateway.json("/api/alerts").await;
    assert_eq!(alerts["alerts"].as_array().map(Vec::len), Some(0), "{alerts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_the_call_that_it_is_about_and_nothing_else() {
    let scene = Scene::new(HOUR).await;
    let mut phone = scene.gateway.phone("5001").await;
    let mut other = scene.gateway.phone("5002").await;
    scene.between.rule(|way, datagram| match is("INVITE", way, datagram) {
        true => Fate::Lost,
        false => Fate::Pass,
    });
    phone.call("601").await;
    told_of_the_end(&mut phone).await;
    assert_eq!(scene.gateway.registered().await, 2);
    let servers = scene.gateway.json("/api/servers").await;
    assert_eq!(servers["servers"][0]["up"], true, "it answers pings: {servers}");
    scene.between.rule(|_, _| Fate::Pass);
    calls(&mut phone).await;
    calls(&mut other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_503_to_an_invite_is_one_call_less() {
    let scene = Scene::new(HOUR).await;
    let mut phone = scene.gateway.phone("5001").await;
    for headers in ["", "Retry-After: 30\r\n"] {
        let asked: Arc<Mutex<HashSet<String>>> = Arc::default();
        let asking = Arc::clone(&asked);
        scene.between.rule(move |way, datagram| match is("INVITE", way, datagram) {
            true => {
                // One whose answer is late is sent again as it was, and is the same.
                asking.lock().unwrap().insert(String::from_utf8_lossy(datagram).into_owned());
                Fate::Refused("503 Out of lines", headers)
            }
            false => Fate::Pass,
        });
        phone.fresh().await;
        phone.call("601").await;
        told_of_the_end(&mut phone).await;
        let finished = scene
            .gateway
            .until("/api/calls?q=5001", |told| {
                told["calls"][0]["code"] == 503 && told["calls"][0]["reason"] == "Out of lines"
            })
            .await;
        assert_eq!(asked.lock().unwrap().len(), 1, "the person may try again, not we: {finished}");
        assert_eq!(scene.gateway.registered().await, 1);
        // The pause that was asked for was about this call; nobody else is kept waiting.
        scene.between.rule(|_, _| Fate::Pass);
        calls(&mut phone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_503_to_a_register_is_told_and_tried_again() {
    let scene = Scene::new(Duration::from_secs(10)).await;
    let refuse = |headers: &'static str| {
        let asked = Arc::new(AtomicUsize::new(0));
        let asking = Arc::clone(&asked);
        scene.between.rule(move |way, datagram| match is("REGISTER", way, datagram) {
            true => {
                asking.fetch_add(1, Relaxed);
                Fate::Refused("503 Starting", headers)
            }
            false => Fate::Pass,
        });
        asked
    };
    refuse("Retry-After: 2\r\n");
    let wire = Wire::new(&scene.gateway.base);
    let path = format!("/api/webrtc/sign_in?id=a&dn=5002&password={PASSWORD}");
    let answer = wire.get(&path).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.body.contains("Starting"), "{}", answer.body);

    scene.between.rule(|_, _| Fate::Pass);
    let mut phone = scene.gateway.phone("5001").await;
    for headers in ["Retry-After: 2\r\n", ""] {
        // Of a refresh, with the session there.
        let asked = refuse(headers);
        scene.gateway.until("/api/health", |health| health["registered_agents"] == 0).await;
        let agents =
            scene.gateway.until("/api/agents", |told| told.to_string().contains("Starting")).await;
        assert!(asked.load(Relaxed) < 30, "tried with sense: {agents}");
        scene.between.rule(|_, _| Fate::Pass);
        until_known(&scene.lab, "5001").await;
        scene.gateway.until("/api/health", |health| health["registered_agents"] == 1).await;
        called_from(&scene.lab.control(), &mut phone, "5001").await.hang_up().await;
        phone.expect("BYE").await;
        phone.fresh().await;
    }
}
