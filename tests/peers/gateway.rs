//! The gateway in front of a peer, in this process, on free loopback ports.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use wrtc_gateway::demo;
use wrtc_gateway::gateway::{self, Running};
use wrtc_gateway::sip::servers::ServerStatus;

use crate::process::LIMIT;
use crate::support::browser::TestBrowser;
use crate::support::jsapi::Jsapi;
use crate::support::secrecy;
use crate::support::wire::{Answer, Wire};

pub struct Gateway {
    running: Running,
    /// Behind the gateway.
    _log: secrecy::Watch,
    pub base: String,
    /// Where it listens for SIP.
    pub sip: SocketAddr,
}

impl Gateway {
    /// `server` as `sip.servers` has it; further settings as `--set` takes them.
    pub async fn start(server: &str, settings: &[&str]) -> Self {
        let mut sets = vec![
            "http.listen=127.0.0.1:0".to_owned(),
            format!("sip.servers={server}"),
            "sip.domain=peers.invalid".to_owned(),
            "media.codecs=PCMU,PCMA".to_owned(),
        ];
        sets.extend(settings.iter().map(|set| (*set).to_owned()));
        crate::wrote::settings(settings.iter().copied());
        let mut log = secrecy::Watch::begin();
        let config = demo::config(None, [], &sets).expect("a valid configuration");
        let running = gateway::start(config).await.expect("the gateway starts");
        log.reads(&running.gateway);
        Self { base: running.base_url(), sip: running.gateway.sip_addr(), running, _log: log }
    }

    /// A client of a DN, signed in with the password that the peers have for it.
    pub async fn phone(&self, dn: &str) -> Jsapi {
        Jsapi::sign_in(&self.base, dn, &password(dn)).await
    }

    pub async fn sign_in(&self, dn: &str, password: &str) -> Answer {
        Wire::new(&self.base).sign_in_post(dn, password).await
    }

    /// A client of the raw-SDP dialect, signed in.
    pub async fn rest(&self, dn: &str) -> Rest {
        let wire = Wire::new(&self.base);
        let query = format!("id=page{dn}&dn={dn}&password={}", password(dn));
        let answer = wire.get(&format!("/api/webrtc/sign_in?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Rest { wire, id: format!("page{dn}"), browser: TestBrowser::new().await }
    }

    pub async fn health(&self) -> Value {
        let answer = Wire::new(&self.base).get("/api/health").await;
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// Waits until the SIP servers are as wanted, and so many DNs are registered.
    #[track_caller]
    pub fn until_servers<'a>(
        &'a self,
        wanted: impl Fn(&[ServerStatus]) -> bool + 'a,
        registered: Option<u64>,
    ) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            // Three missed pings, or three good ones and the time for the way back.
            let end = Instant::now() + 3 * LIMIT;
            loop {
                let (servers, health) = (self.running.gateway.servers(), self.health().await);
                let there = registered.is_none_or(|count| health["registered_agents"] == count);
                if wanted(&servers) && there {
                    return;
                }
                assert!(Instant::now() < end, "{caller}: {servers:?} {health}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    pub fn sip_stats(&self) -> wrtc_gateway::sip::EndpointStats {
        self.running.gateway.sip_stats()
    }

    /// Waits until no call is left.
    #[track_caller]
    pub fn idle(&self) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + LIMIT;
            while self.health().await["active_calls"] != 0 {
                assert!(Instant::now() < end, "{caller}: calls are left: {}", self.health().await);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    }
}

pub fn password(dn: &str) -> String {
    let password = format!("pw-Ht5k-{dn}");
    secrecy::forbid("a DN's password", &password);
    password
}

/// What `fetch` makes of the gateway: SDP and one-line commands.
pub struct Rest {
    wire: Wire,
    id: String,
    pub browser: TestBrowser,
}

impl Rest {
    /// Posts to the active call.
    #[track_caller]
    pub fn says<'a>(&'a self, body: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answer =
                self.wire.post(&format!("/api/webrtc/message?from={}", self.id), body).await;
            assert_eq!(answer.status, 200, "{caller}: {body}: {}", answer.body);
        }
    }

    /// A call up to sound.
    pub async fn connect(&self, to: &str) {
        let offer = self.browser.offer().await.whole();
        let path = format!("/api/webrtc/message?from={}&to={to}", self.id);
        let answer = self.wire.post(&path, offer).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let sdp = self.until(|text| text.starts_with("v=0")).await;
        self.browser.set_answer(&sdp, &[]).await;
        self.browser.connected().await;
    }

    /// The next message that is as wanted.
    #[track_caller]
    pub fn until<'a>(
        &'a self,
        wanted: impl Fn(&str) -> bool + 'a,
    ) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let (end, mut others) = (Instant::now() + LIMIT, Vec::new());
            let path = format!("/api/webrtc/message?id={}&wait=5&events=1", self.id);
            while Instant::now() < end {
                let answer = self.wire.get(&path).await;
                if wanted(&answer.body) {
                    return answer.body;
                }
                others.push(answer.body);
            }
            panic!("{caller}: only {others:?} came");
        }
    }
}
