//! The gateway as a process, with a log of its own and an operator who may act.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wrtc_gateway::lab::{CallOut, Control, Lab};

use crate::served::{Served, settings};
use crate::support::far::{Far, call_from};
use crate::support::jsapi::Jsapi;
use crate::wrote;

const OPERATOR: &str = "operator-of-faults-Jw82";
pub use crate::wrote::PASSWORD;

/// Generous: nothing here is about speed, and some things the gateway looks at once a minute only.
pub const LIMIT: Duration = Duration::from_secs(150);

pub struct Gateway {
    pub served: Served,
    pub base: String,
    client: reqwest::Client,
}

/// A directory that goes with the value.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("wrtc-faults-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `key=path`, as `--set` takes it.
pub fn set(key: &str, path: &Path) -> String {
    format!("{key}={}", path.display())
}

impl Gateway {
    /// In front of this SIP server, with further settings as `--set` takes them.
    pub fn start(server: std::net::SocketAddr, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"));
        command.env_clear();
        Self::of(command, &settings(server, more))
    }

    /// Of a command that becomes `wrtc-gateway`.
    pub fn of(mut command: Command, settings: &[String]) -> Self {
        let hash: String =
            Sha256::digest(OPERATOR).iter().map(|byte| format!("{byte:02x}")).collect();
        command.arg("serve").args(["--set", &format!("http.operator_tokens={hash}")]);
        for set in settings {
            command.args(["--set", set]);
        }
        wrote::secret("an operator's token", OPERATOR);
        let served = Served::of(command);
        Self { base: served.base.clone(), served, client: reqwest::Client::new() }
    }

    pub async fn phone(&self, dn: &str) -> Jsapi {
        Jsapi::sign_in(&self.base, dn, PASSWORD).await
    }

    /// What an operator is told there.
    pub async fn json(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(OPERATOR);
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let told = answer.text().await.unwrap();
        wrote::shown(path, &told);
        serde_json::from_str(&told).unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.base)).bearer_auth(OPERATOR);
        let answer = request.body(body.to_string()).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let told = answer.text().await.unwrap();
        wrote::shown(path, &told);
        serde_json::from_str(&told).unwrap()
    }

    pub async fn status(&self, path: &str) -> u16 {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await;
        answer.unwrap().status().as_u16()
    }

    /// Asks until it is told what is wanted.
    #[track_caller]
    pub fn until<'a>(
        &'a self,
        path: &'a str,
        wanted: impl Fn(&Value) -> bool + 'a,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + LIMIT;
            loop {
                let told = self.json(path).await;
                if wanted(&told) {
                    return told;
                }
                assert!(Instant::now() < end, "{caller}: {path} has {told}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Waits until an alert of this kind is up, or none is.
    #[track_caller]
    pub fn until_alert<'a>(
        &'a self,
        kind: &'a str,
        up: bool,
    ) -> impl Future<Output = Value> + use<'a> {
        self.until("/api/alerts", move |alerts| {
            let all = alerts["alerts"].as_array().unwrap();
            all.iter().any(|alert| alert["kind"] == kind) == up
        })
    }

    pub async fn registered(&self) -> u64 {
        self.json("/api/health").await["registered_agents"].as_u64().unwrap()
    }
}

/// The SIP server calls the page; sound is up when this returns.
pub async fn called(control: &Control, phone: &mut Jsapi, dn: &str, call: CallOut) -> Far {
    let mut far = Far::call(control, dn, call).await;
    let offer = phone.expect_roap("OFFER").await;
    phone.accept(&offer).await;
    far.answered().await;
    phone.browser.connected().await;
    far.play(crate::support::far::tone(440.0));
    phone.browser.play(1000.0).await;
    both_hear(phone, &far).await;
    far
}

pub async fn called_from(control: &Control, phone: &mut Jsapi, dn: &str) -> Far {
    called(control, phone, dn, call_from("7123")).await
}

/// Waits until each hears the other's tone, from now on.
#[track_caller]
pub fn both_hear<'a>(phone: &'a Jsapi, far: &'a Far) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        phone.browser.forget();
        far.leg.phone().listen_afresh();
        let end = Instant::now() + LIMIT;
        loop {
            let (browser, telephone) = (phone.browser.heard(), far.leg.phone().heard_afresh());
            let there = telephone.tone_near(1000.0, 30.0).seconds;
            let here = browser.tone_seconds(440.0);
            if here >= 1.0 && there >= 1.0 {
                return;
            }
            assert!(
                Instant::now() < end,
                "{caller}: the browser heard {here} s ({}), the telephone {there} s: {telephone}",
                phone.browser.state(),
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether the SIP server knows a telephone of this DN.
pub fn knows(lab: &Lab, dn: &str) -> bool {
    lab.registrations().borrow().iter().any(|registration| registration.dn == dn)
}

#[track_caller]
pub fn until_known<'a>(lab: &'a Lab, dn: &'a str) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let mut registrations = lab.registrations();
        let known = registrations.wait_for(|all| all.iter().any(|known| known.dn == dn));
        let known = tokio::time::timeout(LIMIT, known).await;
        assert!(known.is_ok_and(|known| known.is_ok()), "{caller}: {dn} did not come back");
    }
}
