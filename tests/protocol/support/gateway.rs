//! The gateway with the embedded SIP server, in this process, on free loopback ports.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;
use wrtc_gateway::config::Config;
use wrtc_gateway::demo;
use wrtc_gateway::gateway::{self, Running};
use wrtc_gateway::lab::centre::Centre;
use wrtc_gateway::lab::{CallOut, Control, Lab, LabConfig, Leg};
use wrtc_gateway::secret::Secret;

use super::browser::LIMIT;
use super::far::Far;
use super::jsapi::Jsapi;
use super::secrecy;
use super::wire::Wire;

/// The demo's password unless a test gives another.
pub use crate::wrote::PASSWORD;

pub struct Demo {
    pub base: String,
    pub password: String,
    /// Where the gateway listens for SIP.
    pub sip: SocketAddr,
    inner: Inner,
    /// Behind the gateway: it goes last.
    _log: secrecy::Watch,
}

enum Inner {
    Demo(wrtc_gateway::demo::Demo),
    /// A SIP server that is a test's own.
    Own {
        running: Running,
        lab: Option<Lab>,
    },
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

    /// The embedded SIP server, which outlives the gateway.
    pub async fn over_lab(settings: &[&str]) -> Self {
        let lab = Lab::start(LabConfig::new(Secret::new(PASSWORD))).await;
        let lab = lab.expect("the SIP server starts");
        let server = format!("sip.servers=sip:{}", lab.sip_addr());
        Self::in_front(&[&[server.as_str()], settings].concat(), Some(lab)).await
    }

    /// Returns when a drain that somebody has begun is over.
    pub async fn drained(&self) {
        match &self.inner {
            Inner::Own { running, .. } => running.drained().await,
            Inner::Demo(_) => panic!("a demo does not drain"),
        }
    }

    /// A gateway in front of another SIP server than the embedded one, which gets no pings.
    pub async fn alone(sip_server: SocketAddr) -> Self {
        let server = format!("sip.servers=sip:{sip_server}");
        Self::in_front(&[&server, "sip.ping_seconds=0"], None).await
    }

    /// A gateway without an embedded SIP server, its `sip.servers` among the settings.
    pub async fn with_servers(settings: &[&str]) -> Self {
        Self::in_front(settings, None).await
    }

    /// The embedded SIP server, but with other ways.
    pub async fn with_lab(change: impl FnOnce(&mut LabConfig)) -> Self {
        let mut lab = LabConfig::new(Secret::new(PASSWORD));
        change(&mut lab);
        let lab = Lab::start(lab).await.expect("the SIP server starts");
        Self::in_front_of(lab.sip_addr(), Some(lab)).await
    }

    async fn in_front_of(sip_server: SocketAddr, lab: Option<Lab>) -> Self {
        let server = format!("sip.servers=sip:{sip_server}");
        Self::in_front(&[&server], lab).await
    }

    async fn in_front(settings: &[&str], lab: Option<Lab>) -> Self {
        let mut log = watch(PASSWORD);
        let running = gateway::start(config(settings)).await.expect("the gateway starts");
        log.reads(&running.gateway);
        Self {
            base: running.base_url(),
            password: PASSWORD.to_owned(),
            sip: running.gateway.sip_addr(),
            inner: Inner::Own { running, lab },
            _log: log,
        }
    }

    /// Stops a gateway that [`Demo::alone`] or [`Demo::with_lab`] has started; its SIP server stays.
    pub async fn stop(self) -> Option<Lab> {
        match self.inner {
            Inner::Own { running, lab } => {
                running.stop().await;
                lab
            }
            Inner::Demo(_) => panic!("a demo ends by being dropped"),
        }
    }

    /// A gateway in front of an embedded SIP server that runs already.
    pub async fn again(lab: Lab) -> Self {
        Self::in_front_of(lab.sip_addr(), Some(lab)).await
    }

    async fn launch(password: &str, settings: &[&str]) -> Self {
        let mut log = watch(password);
        let demo = demo::start(config(settings), Some(Secret::new(password)))
            .await
            .expect("the demo starts");
        log.reads(demo.gateway());
        Self {
            base: demo.base_url(),
            password: password.to_owned(),
            sip: demo.gateway().sip_addr(),
            inner: Inner::Demo(demo),
            _log: log,
        }
    }

    pub fn gateway(&self) -> &wrtc_gateway::gateway::Gateway {
        match &self.inner {
            Inner::Demo(demo) => demo.gateway(),
            Inner::Own { running, .. } => &running.gateway,
        }
    }

    fn lab(&self) -> &Lab {
        match &self.inner {
            Inner::Demo(demo) => demo.lab(),
            Inner::Own { lab, .. } => {
                lab.as_ref().expect("this gateway has no embedded SIP server")
            }
        }
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

    /// Waits until the media plane has let go of every call.
    pub async fn until_no_media(&self) {
        let gateway = self.gateway();
        let end = Instant::now() + LIMIT;
        while gateway.media_stats().calls > 0 {
            assert!(Instant::now() < end, "media are left: {:?}", gateway.media_stats());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until so many DNs are registered.
    pub async fn until_agents(&self, count: u64) {
        let end = Instant::now() + LIMIT;
        loop {
            let health = self.health().await;
            if health["registered_agents"] == count {
                return;
            }
            assert!(Instant::now() < end, "{count} agents are not what is left: {health}");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until the gateway says so of the one agent that there is.
    #[track_caller]
    pub fn until_it_is<'a>(&'a self, state: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + LIMIT;
            loop {
                let told = Wire::new(&self.base).get("/api/agents").await.body;
                let told: Value = serde_json::from_str(&told).expect("JSON");
                if told["agents"][0]["state"] == state {
                    return;
                }
                assert!(Instant::now() < end, "{caller}: not {state}: {told}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
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

    /// A scripted contact centre beside the embedded SIP server, for the DNs that are signed in there.
    pub async fn centre(&self) -> Centre {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let centre = Centre::start(any).await.expect("the centre starts");
        centre.follow(self.lab().registrations());
        centre
    }

    pub fn control(&self) -> Control {
        self.lab().control()
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
        self.lab().registrations().borrow().iter().any(|registration| registration.dn == dn)
    }

    pub async fn until_unregistered(&self, dn: &str) {
        let end = Instant::now() + LIMIT;
        while self.is_registered(dn) {
            assert!(Instant::now() < end, "{dn} is still registered");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

fn watch(password: &str) -> secrecy::Watch {
    secrecy::forbid("the password", password);
    secrecy::Watch::begin()
}

/// On free ports, and nothing from this machine's environment.
fn config(settings: &[&str]) -> Config {
    let mut sets = vec!["http.listen=127.0.0.1:0".to_owned()];
    sets.extend(settings.iter().map(|set| (*set).to_owned()));
    crate::wrote::settings(settings.iter().copied());
    demo::config(None, [], &sets).expect("a valid configuration")
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
