//! How fast and how dear signalling is: a gateway in a process of its own, a contact centre and its
//! agents' browsers (HTTP only, no media) in this one, all on loopback.
//!
//!     cargo build --release --bins --examples
//!     target/release/examples/signalling_load [--agents 10000] [--gateway target/release/wrtc-gateway]
//!
//! Sign-ins go over the JSAPI's `/sign_in`, 32 at a time, each with its REGISTER. Calls are answered by
//! NOTIFY talk, get the offerless re-INVITE, last 2 s and end with BYE; they are `inactive`, so that no
//! RTP is sent and CPU time is that of signalling. CPU is the gateway's alone, from /proc/PID/stat, less
//! what it takes while as many agents wait and nobody calls. Linux only.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use wrtc_gateway::lab::centre::{Body, Caller, Centre, Step, scenario};
use wrtc_gateway::lab::{Hold, Paper, PhoneConfig};

type Fault = Box<dyn Error + Send + Sync>;

/// Agents that take calls; the others only wait.
const DESKS: usize = 200;
/// Sign-ins under way at a time.
const AT_A_TIME: usize = 32;
const TALK_AFTER: Duration = Duration::from_millis(300);
const TALK: Duration = Duration::from_secs(2);
/// The kernel's clock ticks of /proc/PID/stat, in all Linux builds that matter.
const TICKS_A_SECOND: f64 = 100.0;

struct Gateway {
    child: Child,
    base: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    fn start(binary: &PathBuf, sip_server: &str) -> Result<Self, Fault> {
        let server = format!("sip.servers=sip:{sip_server}");
        let settings = [
            server.as_str(),
            "sip.domain=load.invalid",
            "sip.listen=127.0.0.1:0",
            "sip.register_rate=1000",
            "http.listen=127.0.0.1:0",
            "media.listen=127.0.0.1:0",
            "media.rtp_address=127.0.0.1",
            "agents.lease_seconds=3600",
            "log.level=warn",
        ];
        let mut command = Command::new(binary);
        command.arg("serve");
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut child = command.env_clear().stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let base = line.split_whitespace().last().ok_or("the gateway did not start")?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { child, base })
    }

    /// Seconds of CPU so far, user and system.
    fn cpu(&self) -> Result<f64, Fault> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit_once(')').ok_or("stat")?.1.split_whitespace().collect();
        let tick = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).ok_or("stat");
        Ok((tick(11)? + tick(12)?) / TICKS_A_SECOND)
    }

    /// Resident memory, KiB.
    fn memory(&self) -> Result<f64, Fault> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

/// Signs in and gives the SSID.
async fn sign_in(http: &reqwest::Client, base: &str, dn: usize) -> Result<String, Fault> {
    let answer = http.get(format!("{base}/sign_in?{dn}")).send().await?.error_for_status()?;
    let text = answer.text().await?;
    let id = text.lines().next().and_then(|line| line.split('=').nth(1)).ok_or("no SSID")?;
    Ok(id.to_owned())
}

/// An agent's browser: polls, and answers an OFFER when the server says talk.
async fn browser(base: String, ssid: String) -> Result<(), Fault> {
    let http = reqwest::Client::new();
    let mut offer: Option<(String, Value)> = None;
    loop {
        let answer = http.get(format!("{base}/wait?id={ssid}")).send().await?;
        if !answer.status().is_success() {
            return Err(format!("wait: {}", answer.status()).into());
        }
        let peer = answer.headers().get("Pragma").and_then(|p| p.to_str().ok());
        let peer = peer.unwrap_or_default().to_owned();
        let body = answer.text().await?;
        if body.starts_with("SDP") {
            let json: Value = serde_json::from_str(body.get(4..).unwrap_or_default())?;
            if json["messageType"] == "OFFER" {
                offer = Some((peer, json));
            }
        } else if body == "EVENT-TALK"
            && let Some((peer, offer)) = offer.take()
        {
            let message = json!({
                "messageType": "ANSWER",
                "sdp": answer_to(offer["sdp"].as_str().unwrap_or_default()),
                "offererSessionId": offer["offererSessionId"],
                "answererSessionId": 4711,
                "seq": offer["seq"],
            });
            let url = format!("{base}/message?from={ssid}&to={peer}");
            http.post(url).body(format!("RSMP {message}")).send().await?.error_for_status()?;
        }
    }
}

/// As a browser would, with the formats of the offer.
fn answer_to(offer: &str) -> String {
    let audio = offer.lines().find(|line| line.starts_with("m=audio ")).unwrap_or_default();
    let formats = audio.splitn(4, ' ').nth(3).unwrap_or("0");
    let fingerprint = vec!["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=setup:active\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:126 telephone-event/8000\r\n"
    )
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    ring: Duration,
    talk: Duration,
    answer: Duration,
}

async fn one_call(centre: Centre, dn: usize) -> Result<Taken, String> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 40_000));
    let far = Arc::new(Paper::new(PhoneConfig::default(), address));
    far.set_hold(Hold::Inactive);
    let steps = [
        scenario::ring(),
        vec![Step::Wait(TALK_AFTER)],
        scenario::talk(),
        vec![Step::Wait(TALK)],
        vec![Step::Bye(None), Step::status(200, "BYE")],
    ]
    .concat();
    debug_assert!(matches!(steps.first(), Some(Step::Invite(Body::Offer))));
    let call = centre
        .place(&dn.to_string(), "load", Caller::new("7001"), far, steps)
        .map_err(|error| error.to_string())?;
    // Looking on costs this process more than the calls do: once, when it should be over.
    tokio::time::sleep(TALK_AFTER + TALK).await;
    for _ in 0..400 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let seen = centre.look(call, |player| {
            (player.is_done(), player.failure().map(ToString::to_string), player.times())
        });
        let (done, failure, times) = seen.ok_or("forgotten before it was looked at")?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if done {
            let taken = || {
                Some(Taken {
                    ring: times.rang?.duration_since(times.invited?),
                    talk: times.talk_ok?.duration_since(times.talk?),
                    answer: times.answered?.duration_since(times.talk?),
                })
            };
            return taken().ok_or_else(|| "not answered".to_owned());
        }
    }
    Err("no end of it".to_owned())
}

fn percentile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

fn row(name: &str, value: &str) {
    println!("| {name:<58} | {value:>24} |");
}

async fn load(
    centre: &Centre,
    gateway: &Gateway,
    idle_cpu: f64,
    name: &str,
    calls: usize,
    pause: Duration,
) -> Result<(), Fault> {
    let (started, before) = (Instant::now(), gateway.cpu()?);
    let mut tasks = JoinSet::new();
    let mut ticks = tokio::time::interval(pause);
    for number in 0..calls {
        ticks.tick().await;
        tasks.spawn(one_call(centre.clone(), 10_000 + number % DESKS));
    }
    let (mut taken, mut failed) = (Vec::new(), Vec::new());
    while let Some(result) = tasks.join_next().await {
        match result? {
            Ok(one) => taken.push(one),
            Err(why) => failed.push(why),
        }
    }
    let cpu = gateway.cpu()? - before - idle_cpu * started.elapsed().as_secs_f64();
    for (what, of) in [
        ("INVITE to 180", (|t: &Taken| t.ring) as fn(&Taken) -> Duration),
        ("NOTIFY talk to its 200", |t| t.talk),
        ("NOTIFY talk to the 200 of the INVITE", |t| t.answer),
    ] {
        let mut times: Vec<Duration> = taken.iter().map(of).collect();
        let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
        row(&format!("{name}: {what}, p50 / p99"), &format!("{p50:.2} / {p99:.2} ms"));
    }
    row(
        &format!("{name}: CPU of the gateway per call"),
        &format!("{:.2} ms", cpu * 1000.0 / taken.len().max(1) as f64),
    );
    row(&format!("{name}: calls, of these failed"), &format!("{calls}, {}", failed.len()));
    if let Some(why) = failed.first() {
        eprintln!("{name}: {why}");
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let mut agents = 10_000usize;
    let own = std::env::current_exe()?;
    let mut binary = own.parent().and_then(|p| p.parent()).ok_or("no place")?.join("wrtc-gateway");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or("an option wants a value")?;
        match argument.as_str() {
            "--agents" => agents = value.parse::<usize>()?.max(DESKS),
            "--gateway" => binary = value.into(),
            other => return Err(format!("{other} is no option").into()),
        }
    }
    let centre = Centre::start(([127, 0, 0, 1], 0).into()).await?;
    let gateway = Gateway::start(&binary, &centre.addr().to_string())?;
    tokio::time::sleep(Duration::from_millis(500)).await;

    println!("| {:<58} | {:>24} |", "measured", "value");
    println!("|{:-<60}|{:->26}|", "", ":");
    let empty = gateway.memory()?;
    let http = reqwest::Client::builder().pool_max_idle_per_host(AT_A_TIME).build()?;
    let (next, started) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let cpu = gateway.cpu()?;
    let mut tasks = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (http, base, next) = (http.clone(), gateway.base.clone(), next.clone());
        tasks.spawn(async move {
            let mut own = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= agents {
                    return Ok::<_, Fault>(own);
                }
                own.push((number, sign_in(&http, &base, 10_000 + number).await?));
            }
        });
    }
    let mut ssids = Vec::new();
    while let Some(result) = tasks.join_next().await {
        ssids.extend(result??);
    }
    let took = started.elapsed().as_secs_f64();
    row(
        &format!("{agents} sign-ins, each with its REGISTER"),
        &format!("{:.0} a second", agents as f64 / took),
    );
    row(
        "CPU of the gateway per sign-in",
        &format!("{:.2} ms", (gateway.cpu()? - cpu) * 1000.0 / agents as f64),
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let full = gateway.memory()?;
    row("memory of the gateway, empty", &format!("{:.1} MiB", empty / 1024.0));
    row("memory per registered idle agent", &format!("{:.2} KiB", (full - empty) / agents as f64));

    ssids.sort_unstable();
    for (_, ssid) in ssids.iter().take(DESKS) {
        let (base, ssid) = (gateway.base.clone(), ssid.clone());
        tokio::spawn(async move {
            if let Err(error) = browser(base, ssid).await {
                eprintln!("a browser gave up: {error}");
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, started) = (gateway.cpu()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = (gateway.cpu()? - before) / started.elapsed().as_secs_f64();
    row(
        &format!("CPU of the gateway with {agents} idle agents"),
        &format!("{:.2} % of a core", idle * 100.0),
    );

    load(&centre, &gateway, idle, "200 a minute", 200, Duration::from_millis(300)).await?;
    load(&centre, &gateway, idle, "20 a second", 600, Duration::from_millis(50)).await?;
    let after = gateway.memory()?;
    row("memory after 800 calls", &format!("{:.1} MiB", after / 1024.0));
    Ok(())
}
