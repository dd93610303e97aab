//! The configuration is read again: what is wrong changes nothing, what is right drops nothing.

use std::path::PathBuf;
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};
use wrtc_gateway::agent::Operations;
use wrtc_gateway::config::Sources;
use wrtc_gateway::gateway::{self, Running};
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::support::browser::LIMIT;
use crate::support::gateway::PASSWORD;
use crate::support::jsapi::Jsapi;
use crate::support::wire::{Answer, Wire};

/// A gateway with a configuration file.
struct Filed {
    running: Running,
    path: PathBuf,
    wire: Wire,
}

impl Filed {
    async fn start(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wrtc-reload-{:016x}", rand::random::<u64>()));
        std::fs::write(&path, text).unwrap();
        let sets = [
            "http.listen=127.0.0.1:0",
            "sip.listen=127.0.0.1:0",
            "sip.domain=demo.invalid",
            "media.listen=127.0.0.1:0",
            "media.rtp_address=127.0.0.1",
        ];
        let sets = sets.map(str::to_owned).to_vec();
        let sources = Sources { file: Some(path.clone()), environment: Vec::new(), sets };
        let reading = sources.read().expect("a valid configuration");
        let running = gateway::start(reading.config.clone()).await.expect("the gateway starts");
        running.gateway.set_sources(sources, reading).await;
        let wire = Wire::new(&running.base_url());
        Self { running, path, wire }
    }

    async fn reload(&self, text: &str) -> (u16, Value) {
        std::fs::write(&self.path, text).unwrap();
        let answer = self.wire.request(Method::POST, "/api/reload", None).await;
        let told = serde_json::from_str(&answer.body).expect("JSON");
        (answer.status.as_u16(), told)
    }

    /// As a page of that origin asks.
    async fn asked_from(&self, origin: &str) -> u16 {
        let client = reqwest::Client::new();
        let request =
            client.get(format!("{}/wait?id=none", self.wire.base)).header("Origin", origin);
        request.send().await.expect("an answer").status().as_u16()
    }
}

impl Drop for Filed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn lab() -> Lab {
    Lab::start(LabConfig::new(Secret::new(PASSWORD))).await.expect("the SIP server starts")
}

fn servers(lab: &Lab) -> String {
    format!("[sip]\nservers = [\"sip:{}\"]\n", lab.sip_addr())
}

async fn until_registered(lab: &Lab, dn: &str) {
    let mut known = lab.registrations();
    let there = known.wait_for(|all| all.iter().any(|registration| registration.dn == dn));
    tokio::time::timeout(LIMIT, there).await.expect("the DN registers").expect("the lab runs");
}

const PAGE: &str = "https://wwe.example";
const UNKNOWN_SESSION: u16 = 404;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_new_is_told_by_key_and_a_call_goes_on() {
    let lab = lab().await;
    let filed = Filed::start(&servers(&lab)).await;
    assert_eq!(filed.asked_from(PAGE).await, 403);
    let mut agent = Jsapi::sign_in(&filed.wire.base, "5001", PASSWORD).await;
    agent.connect("601").await;
    let text = format!(
        "{}[http]\nallowed_origins = [\"{PAGE}\"]\nbase_path = \"/later\"\n[agents]\nmax_calls = 1\n",
        servers(&lab)
    );
    let (status, told) = filed.reload(&text).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["changed"], json!(["http.allowed_origins", "agents.max_calls"]));
    assert_eq!(told["restart"], json!(["http.base_path"]));
    assert_eq!(filed.asked_from(PAGE).await, UNKNOWN_SESSION, "the page may now");
    agent.browser.hears(1000.0, 0.3).await;
    let far = lab.control().call("5001", wrtc_gateway::lab::CallOut::new("7001")).await;
    let end = crate::support::far::Far::new(far.expect("a call")).ended().await;
    assert_eq!(end.code, 486, "agents.max_calls is 1 now");
    agent.hang_up().await;
    // Nothing new since; what wants a restart still does.
    let (_, told) = filed.reload(&text).await;
    assert_eq!((&told["changed"], &told["restart"]), (&json!([]), &json!(["http.base_path"])));
    // Taken back before it was ever in use.
    let (_, told) = filed.reload(&servers(&lab)).await;
    assert_eq!(told["changed"], json!(["http.allowed_origins", "agents.max_calls"]));
    assert_eq!(told["restart"], json!([]));
    assert_eq!(filed.asked_from(PAGE).await, 403);
    agent.sign_out().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_anywhere_changes_nothing() {
    let lab = lab().await;
    let filed = Filed::start(&servers(&lab)).await;
    let good = format!("{}[http]\nallowed_origins = [\"{PAGE}\"]\n", servers(&lab));
    for (bad, words) in [
        (
            "[agents]\nmax_calls = 99\n[media]\ncodecs = [\"G729\"]\n",
            ["agents.max_calls", "media.codecs"],
        ),
        (
            "[media]\nhold_music = \"/nowhere/hold.wav\"\n",
            ["media.hold_music", "/nowhere/hold.wav"],
        ),
        ("[sip2]\n", ["sip2", "no such key"]),
    ] {
        let (status, told) = filed.reload(&format!("{good}{bad}")).await;
        assert_eq!((status, &told["code"]), (422, &json!("bad_configuration")), "{told}");
        // As every fault has it.
        assert!(told["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{told}");
        let faults = told["faults"].to_string();
        for word in words {
            assert!(faults.contains(word), "{word} in {faults}");
        }
        assert_eq!(filed.asked_from(PAGE).await, 403, "not even what was right in it");
    }
    let bad_tls =
        format!("{good}tls_ca = 7\n").replace("[http]", "tls_ca = \"/nowhere/ca.pem\"\n[http]");
    let (status, told) = filed.reload(&bad_tls.replace("tls_ca = 7\n", "")).await;
    assert_eq!(status, 422, "{told}");
    assert!(told["faults"].to_string().contains("/nowhere/ca.pem"), "{told}");
    assert_eq!(filed.asked_from(PAGE).await, 403);
    let (status, _) = filed.reload(&good).await;
    assert_eq!((status, filed.asked_from(PAGE).await), (200, UNKNOWN_SESSION));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_move_to_another_server_and_nobody_signs_in_again() {
    let (one, two) = (lab().await, lab().await);
    let filed = Filed::start(&servers(&one)).await;
    let mut agent = Jsapi::sign_in(&filed.wire.base, "5001", PASSWORD).await;
    until_registered(&one, "5001").await;
    let (status, told) = filed.reload(&servers(&two)).await;
    assert_eq!((status, &told["changed"]), (200, &json!(["sip.servers"])), "{told}");
    until_registered(&two, "5001").await;
    // The session and its poll are those of before.
    agent.connect("601").await;
    agent.browser.hears(1000.0, 0.3).await;
    let end = Instant::now() + LIMIT;
    while two.control().leg("5001").await.is_err() {
        assert!(Instant::now() < end, "the call went elsewhere");
    }
    agent.hang_up().await;
    agent.sign_out().await;
    filed.running.gateway.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_the_connector_come_and_go() {
    let lab = lab().await;
    let filed = Filed::start(&servers(&lab)).await;
    let (old, new) = ("0123456789abcdef", "fedcba9876543210");
    let ask = async |token: &str| -> Answer {
        filed.wire.get(&format!("/connector/{token}/GetDNSIP")).await
    };
    assert_eq!(ask(old).await.status, 404);
    for token in [old, new] {
        let text = format!("{}[connector]\ntokens = [\"{token}=5001\"]\n", servers(&lab));
        let (status, told) = filed.reload(&text).await;
        assert_eq!((status, &told["changed"]), (200, &json!(["connector.tokens"])), "{told}");
        assert!(!told.to_string().contains(token), "no secret in the answer");
        assert_ne!(ask(token).await.status, 404);
    }
    assert_eq!(ask(old).await.status, 404);
}

/// An operator's client that loses its connection, say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asked_may_go_away() {
    let lab = lab().await;
    let filed = Filed::start(&servers(&lab)).await;
    let text = format!("{}[agents]\nmax_calls = 1\n", servers(&lab));
    std::fs::write(&filed.path, text).unwrap();
    let gateway = filed.running.gateway.clone();
    // Begun, and dropped before it is done.
    let begun = tokio::time::timeout(std::time::Duration::ZERO, gateway.reload());
    assert!(begun.await.is_err());
    let end = Instant::now() + LIMIT;
    let noted = || {
        let history = Operations::history(&gateway, 0, 1000);
        history.iter().any(|item| item.kind == "reloaded" && item.text.contains("agents.max_calls"))
    };
    while !noted() {
        assert!(Instant::now() < end, "the reload was given up half way");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let again = gateway.reload().await.unwrap();
    assert_eq!(again.changed, [""; 0], "it was remembered, too");
}
