//! Ten seconds without a network, on either side of the gateway: the call is still there after it.

use std::time::Duration;

use serde_json::Value;
use wrtc_gateway::lab::{Lab, LabConfig, LegEvent, PhoneConfig};
use wrtc_gateway::secret::Secret;

use crate::gateway::{Gateway, PASSWORD, both_hear, called, knows};
use crate::net::Net;
use crate::support::browser::TestBrowser;
use crate::support::far::{Far, call_from};
use crate::support::jsapi::Jsapi;

/// What is survived; the waiting is the fault.
const CUT: Duration = Duration::from_secs(10);

struct Scene {
    // In the order in which they go: the gateway before its network.
    phone: Jsapi,
    far: Far,
    gateway: Gateway,
    lab: Lab,
    net: Net,
}

impl Scene {
    async fn new() -> Self {
        let net = Net::new();
        let config =
            LabConfig { listen: (net.sip.here, 0).into(), ..LabConfig::new(Secret::new(PASSWORD)) };
        let lab = Lab::start(config).await.unwrap();
        let settings = net.settings(lab.sip_addr(), &["sip.ping_seconds=1"]);
        let gateway = Gateway::of(net.gateway(), &settings);
        let mut phone = gateway.phone("5001").await;
        phone.browser = TestBrowser::at(net.web.here).await;
        let mut call = call_from("7123");
        call.phone = PhoneConfig { address: net.sip.here, ..call.phone };
        let far = called(&lab.control(), &mut phone, "5001", call).await;
        Self { phone, far, gateway, lab, net }
    }

    /// The same call, with sound; the DN where it was; the page told of everything.
    async fn goes_on(mut self) {
        both_hear(&self.phone, &self.far).await;
        while let Some(event) = self.far.within(Duration::from_millis(200)).await {
            assert!(!matches!(event, LegEvent::Ended(_)), "{event:?}");
        }
        assert_eq!(self.gateway.registered().await, 1);
        assert!(knows(&self.lab, "5001"));
        self.gateway.until_alert("no_rtp", false).await;
        self.gateway.until_alert("sip_server", false).await;
        // Over the poll, which has lived through it.
        self.far.hang_up().await;
        self.phone.expect("BYE").await;
        assert!(self.far.ended().await.code < 300);
        let mut legs = self.lab.control().take_number("7200").await.unwrap();
        self.phone.browser = TestBrowser::at(self.net.web.here).await;
        self.phone.roap = crate::support::roap::Session::new();
        self.phone.call("7200").await;
        let far = crate::support::gateway::dialled(&mut legs).await;
        far.leg.accept().await.expect("200");
        self.phone.answered().await;
        far.play(crate::support::far::tone(440.0));
        self.phone.browser.play(1000.0).await;
        both_hear(&self.phone, &far).await;
        self.phone.hang_up().await;
    }
}

fn lost(stats: &Value, side: &str) -> u64 {
    stats[side]["rx"]["lost"].as_u64().unwrap_or_else(|| panic!("{stats}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "root and iproute2: tests/run.sh faults"]
async fn ten_seconds_without_the_browsers_network() {
    let mut scene = Scene::new().await;
    assert_eq!(lost(&scene.phone.stats().await, "audio"), 0);
    scene.net.web.cut();
    tokio::time::sleep(CUT).await;
    assert!(knows(&scene.lab, "5001"), "it was unregistered");
    assert!(scene.far.leg.phone().heard_afresh().received.loss < 0.01, "the telephone missed some");
    scene.net.web.mend();
    both_hear(&scene.phone, &scene.far).await;
    // Our browser stops to speak when its checks have failed for some seconds.
    let stats = scene.phone.stats().await;
    assert!(lost(&stats, "audio") >= 100, "a cut of 10 s is no loss: {stats}");
    let over = |told: &Value| told.to_string().contains("over: 5001 is not heard");
    scene.gateway.until("/api/history", over).await;
    scene.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "root and iproute2: tests/run.sh faults"]
async fn ten_seconds_without_the_sip_sides_network() {
    let mut scene = Scene::new().await;
    let before = scene.phone.stats().await;
    assert_eq!(lost(&before, "sip"), 0);
    scene.net.sip.cut();
    let cut = tokio::time::Instant::now();
    scene.gateway.until_alert("no_rtp", true).await;
    scene.gateway.until_alert("sip_server", true).await;
    assert_eq!(scene.gateway.json("/api/health").await["active_calls"], 1);
    tokio::time::sleep_until(cut + CUT).await;
    scene.net.sip.mend();
    both_hear(&scene.phone, &scene.far).await;
    let stats = scene.phone.stats().await;
    assert!(lost(&stats, "sip") >= 400, "a cut of 10 s at 50 packets a second: {stats}");
    // What stood in for the far end went on where it had been.
    scene.phone.browser.heard().assert_one_unbroken_stream();
    scene.goes_on().await;
}
