//! The gateway with the embedded SIP server, in this process, on free loopback ports.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use wrtc_gateway::lab::{CallOut, Control, Lab, Leg};

use super::browser::LIMIT;
use super::far::Far;
use super::jsapi::Jsapi;
use super::wire::Wire;

/// The demo's password unless a test gives another.
pub const PASSWORD: &str = "demo-secret";

pub struct Demo {
    pub base: String,
    pub password: String,
    pub lab: Lab,
    /// Where the gateway listens for SIP.
    pub sip: std::net::SocketAddr,
}

impl Demo {
    pub async fn start() -> Self {
        Self::launch(PASSWORD, &[]).await
    }

    pub async fn with_password(password: &str) -> Self {
        Self::launch(password, &[]).await
    }

    /// `section.key=value`, as `--set` takes them.
    pub async fn with_settings(settings: &[&str]) -> Self {
        Self::launch(PASSWORD, settings).await
    }

    async fn launch(_password: &str, _settings: &[&str]) -> Self {
        todo!()
    }

    /// A signed-in JSAPI client.
    pub async fn phone(&self, dn: &str) -> Jsapi {
        Jsapi::sign_in(&self.base, dn, &self.password).await
    }

    pub async fn health(&self) -> Value {
        let answer = Wire::new(&self.base).get("/api/health").await;
        assert_eq!(answer.status, 200);
        serde_json::from_str(&answer.body).expect("JSON")
    }

    /// Waits until the gateway has no call left.
    #[track_caller]
    pub fn idle(&self) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + LIMIT;
            loop {
                let health = self.health().await;
                if health["active_calls"] == 0 {
                    return;
                }
                assert!(Instant::now() < end, "{caller}: calls are left: {health}");
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    }

    pub fn control(&self) -> Control {
        self.lab.control()
    }

    /// The SIP server calls a DN.
    pub async fn calls(&self, dn: &str, call: CallOut) -> Far {
        Far::call(&self.control(), dn, call).await
    }

    /// The SIP server's end of the newest call of this DN or guest.
    pub async fn far(&self, dn: &str) -> Far {
        Far::new(self.control().leg(dn).await.expect("a call of the DN's"))
    }

    /// Calls to this number are the test's to answer.
    pub async fn take(&self, number: &str) -> mpsc::Receiver<Leg> {
        self.control().take_number(number).await.expect("the lab runs")
    }

    pub fn is_registered(&self, dn: &str) -> bool {
        self.lab.registrations().borrow().iter().any(|registration| registration.dn == dn)
    }

    pub async fn until_unregistered(&self, dn: &str) {
        let end = Instant::now() + LIMIT;
        while self.is_registered(dn) {
            assert!(Instant::now() < end, "{dn} is still registered");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// The next call to a number that was taken.
#[track_caller]
pub fn dialled(legs: &mut mpsc::Receiver<Leg>) -> impl Future<Output = Far> + '_ {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LIMIT, legs.recv()).await {
            Ok(Some(leg)) => Far::new(leg),
            _ => panic!("{caller}: no INVITE reached the SIP server"),
        }
    }
}
