//! A gateway as a process with the embedded SIP server beside it, and pages by the thousand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wrtc_gateway::lab::{CallOut, Challenge, Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::served::{Served, settings};
use crate::support::jsapi::Jsapi;
use crate::support::wire::read_answer;

pub use crate::wrote::PASSWORD;

/// Generous: a crowd on two loaded cores.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The first of the crowd's DNs; the few that have a browser begin at 5001.
pub const FIRST: u32 = 20_001;

/// Sign-ins under way at a time, as a crowd that comes to work has them.
const AT_A_TIME: usize = 64;

pub struct Town {
    pub lab: Lab,
    pub gateway: Served,
    pub address: SocketAddr,
}

impl Town {
    pub async fn start(more: &[&str]) -> Self {
        Self::with_lab(Challenge::Md5, more).await
    }

    /// More DNs than the lab has nonces: it knows them by their address.
    pub async fn without_passwords(more: &[&str]) -> Self {
        Self::with_lab(Challenge::None, more).await
    }

    async fn with_lab(challenge: Challenge, more: &[&str]) -> Self {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
        let lab = LabConfig {
            first_dn: 5001,
            last_dn: FIRST + 20_000,
            challenge,
            challenge_calls: challenge != Challenge::None,
            ..LabConfig::new(Secret::new(PASSWORD))
        };
        let lab = Lab::start(lab).await.unwrap();
        // What a crowd does is too much to be told of each.
        let base = ["sip.register_rate=2000", "http.sign_ins_per_second=2000", "log.level=warn"];
        let gateway = Served::start(&settings(lab.sip_addr(), &[&base, more].concat()));
        let address = gateway.base.strip_prefix("http://").unwrap().parse().unwrap();
        Self { lab, gateway, address }
    }

    /// A page with a browser.
    pub async fn phone(&self, dn: &str) -> Jsapi {
        Jsapi::sign_in(&self.gateway.base, dn, PASSWORD).await
    }

    /// Pages for so many DNs from [`FIRST`] on, each with a poll that hangs.
    pub async fn pages(&self, count: u32) -> Vec<Page> {
        let gate = Arc::new(Semaphore::new(AT_A_TIME));
        let mut coming = JoinSet::new();
        for dn in FIRST..FIRST + count {
            let (gate, address) = (Arc::clone(&gate), self.address);
            coming.spawn(async move {
                let _turn = gate.acquire_owned().await.unwrap();
                let mut page = Page::sign_in(address, dn).await;
                page.poll().await;
                page
            });
        }
        coming.join_all().await
    }

    /// Calls the page's DN and hangs up again; the page is told both, and polls on.
    #[track_caller]
    pub fn rings<'a>(&'a self, page: &'a mut Page) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let (control, dn) = (self.lab.control(), page.dn.to_string());
            let leg = control.call(&dn, CallOut::new("7001")).await.expect("the lab calls");
            let (status, body) = page.polled().await;
            assert!(status == 200 && body.starts_with("SDP"), "{caller}: {dn}: {status} {body}");
            page.poll().await;
            leg.hang_up(200, "Bye").await.expect("the lab hangs up");
            let (status, body) = page.polled().await;
            assert!(status == 200 && body == "BYE", "{caller}: {dn}: {status} {body}");
            page.poll().await;
        }
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) =
            ask(self.address, &get(path)).await.unwrap_or_else(|| panic!("no answer to {path}"));
        (status, body)
    }

    pub async fn metrics(&self) -> Metrics {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        Metrics::read(&text)
    }

    /// Waits for a look at the metrics that is as wanted.
    #[track_caller]
    pub fn until<'a>(
        &'a self,
        what: &'a str,
        wanted: impl Fn(&Metrics) -> bool + 'a,
    ) -> impl Future<Output = Metrics> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let end = Instant::now() + LIMIT;
            loop {
                let metrics = self.metrics().await;
                if wanted(&metrics) {
                    return metrics;
                }
                assert!(Instant::now() < end, "{caller}: never {what}: {metrics:?}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Samples by name and labels.
pub struct Metrics(HashMap<String, f64>);

impl Metrics {
    fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    #[track_caller]
    pub fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// HTTP connections that came to nothing.
    #[track_caller]
    pub fn connection_fault(&self, fault: &str) -> f64 {
        self.get(&format!("wrtc_http_connection_faults_total{{fault=\"{fault}\"}}"))
    }

    pub fn megabytes(&self) -> f64 {
        self.get("process_resident_memory_bytes") / 1e6
    }
}

/// What has no histogram.
impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = self.0.iter().filter(|(name, value)| {
            **value != 0.0 && !name.contains("_bucket") && !name.contains("_sum")
        });
        f.debug_map().entries(told).finish()
    }
}

/// A page without a browser: an SSID, and a connection that polls.
pub struct Page {
    pub dn: u32,
    pub ssid: String,
    pub stream: TcpStream,
}

impl Page {
    /// As our own page does, it comes back when it is told to come later.
    pub async fn sign_in(address: SocketAddr, dn: u32) -> Self {
        let end = Instant::now() + LIMIT;
        let request = post("/sign_in", &format!("{dn}:{PASSWORD}"));
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let (status, head, body) = read_answer(&mut stream).await.expect("an answer");
            if status == 200 {
                crate::wrote::handed_out(&body);
                let ssid = body.trim().split('=').nth(1).expect("NAME=SSID").to_owned();
                return Self { dn, ssid, stream };
            }
            assert!(matches!(status, 429 | 503), "{head}\n{body}");
            assert!(Instant::now() < end, "{dn} never came in: {status} {body}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Asks for a message, and does not wait for it.
    pub async fn poll(&mut self) {
        let request = get(&format!("/wait?id={}", self.ssid));
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// Whether the gateway has closed the connection.
    pub fn is_cut(&self) -> bool {
        match self.stream.try_read(&mut [0; 1]) {
            Ok(read) => read == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// What the poll has brought: 0 for the end of the connection.
    pub async fn polled(&mut self) -> (u16, String) {
        let answer = tokio::time::timeout(LIMIT, read_answer(&mut self.stream)).await;
        let (status, _, body) =
            answer.unwrap_or_else(|_| panic!("the poll of {} hangs", self.dn)).unwrap_or_default();
        (status, body)
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

pub fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One request on a connection of its own; `None` where the connection ends first.
pub async fn ask(address: SocketAddr, request: &str) -> Option<(u16, String, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        read_answer(&mut stream).await
    };
    tokio::time::timeout(LIMIT, asked).await.expect("an answer in time")
}

/// Waits until the other end closes or resets; how long that took.
pub async fn closed(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    let mut buffer = [0; 4096];
    let ended = async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} };
    tokio::time::timeout(LIMIT, ended).await.expect("the connection is cut");
    start.elapsed()
}

/// How many; `name` in the environment says otherwise, and the system may have room for fewer.
pub fn count(name: &str, default: u32) -> u32 {
    let wanted = std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(default);
    let (_, descriptors) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let room = u32::try_from(descriptors.saturating_sub(600)).unwrap_or(u32::MAX);
    if room < wanted {
        println!("{room} instead of {wanted}: this process may open {descriptors} files");
    }
    wanted.min(room)
}
