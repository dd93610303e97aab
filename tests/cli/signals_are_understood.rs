//! SIGTERM lets calls finish, a second one and Ctrl-C do not, SIGHUP reads the configuration again.

use std::path::PathBuf;

use tokio::io::AsyncWriteExt as _;
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::served::{LIMIT, Served, settings};
use crate::wrote::{self, PASSWORD};

/// As Chromium writes it, as far as anybody looks at it.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-mux\r\na=sendrecv\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=rtpmap:0 PCMU/8000\r\n";

pub async fn lab() -> Lab {
    Lab::start(LabConfig::new(Secret::new(PASSWORD))).await.unwrap()
}

pub async fn post(url: String, body: String) -> (u16, String) {
    let answer = reqwest::Client::new().post(url).body(body).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.unwrap_or_default())
}

/// Signs in and calls; gives the SSID.
pub async fn in_a_call(served: &Served, dn: &str) -> String {
    let (status, text) = post(format!("{}/sign_in", served.base), format!("{dn}:{PASSWORD}")).await;
    assert_eq!(status, 200, "{text}");
    wrote::handed_out(&text);
    let ssid = text.trim().split('=').nth(1).unwrap().to_owned();
    let offer = serde_json::json!({
        "messageType": "OFFER", "sdp": OFFER, "offererSessionId": 7, "seq": 1, "tiebreaker": 9,
    });
    let url = format!("{}/message?from={ssid}&to=600", served.base);
    assert_eq!(post(url, format!("RSMP {offer}")).await.0, 200);
    let answer = reqwest::get(format!("{}/wait?id={ssid}", served.base)).await.unwrap();
    let body = answer.text().await.unwrap();
    assert!(body.contains("ANSWER"), "{body}");
    ssid
}

async fn stops_taking_sign_ins(served: &Served) {
    let end = std::time::Instant::now() + LIMIT;
    loop {
        let (status, text) =
            post(format!("{}/sign_in", served.base), format!("5002:{PASSWORD}")).await;
        if status == 503 {
            assert!(text.contains("stopping"), "{text}");
            break;
        }
        assert!(std::time::Instant::now() < end, "sign-ins are still taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_waits_for_the_last_call() {
    let lab = lab().await;
    let mut served = Served::start(&settings(lab.sip_addr(), &[]));
    let ssid = in_a_call(&served, "5001").await;
    served.signal("-TERM");
    // Draining is over with the call only; meanwhile nobody new comes in.
    stops_taking_sign_ins(&served).await;
    assert!(served.runs());
    let url = format!("{}/message?from={ssid}&to=600", served.base);
    assert_eq!(post(url, "BYE".to_owned()).await.0, 200);
    assert!(served.ended().await.success());
    let known = lab.registrations().borrow().clone();
    assert!(known.iter().any(|registration| registration.dn == "5001"), "{known:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_and_ctrl_c_end_at_once() {
    let lab = lab().await;
    for signals in [&["-TERM", "-TERM"][..], &["-TERM", "-INT"], &["-INT"]] {
        // Longer than the test waits: a drain would be noticed.
        let mut served = Served::start(&settings(lab.sip_addr(), &["gateway.drain_seconds=3600"]));
        in_a_call(&served, "5001").await;
        for (n, signal) in signals.iter().enumerate() {
            if n > 0 {
                // Two that come together are one.
                stops_taking_sign_ins(&served).await;
            }
            assert!(served.runs());
            served.signal(signal);
        }
        assert!(served.ended().await.success(), "{signals:?}");
    }
}

/// Drained by an operator, and then stopped by systemd: the first SIGTERM still cuts nobody off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_sigterm_of_a_drain_by_the_api_leaves_calls_alone() {
    let lab = lab().await;
    let mut served = Served::start(&settings(lab.sip_addr(), &["gateway.drain_seconds=3600"]));
    let ssid = in_a_call(&served, "5001").await;
    let answer = post(format!("{}/api/drain", served.base), String::new()).await;
    assert_eq!(answer.0, 202, "{}", answer.1);
    served.signal("-TERM");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(served.runs());
    let url = format!("{}/message?from={ssid}&to=600", served.base);
    assert_eq!(post(url, "BYE".to_owned()).await.0, 200);
    assert!(served.ended().await.success());
}

/// Logrotate comes when it likes: here while a request that never gets whole holds the stop up, before the
/// call has had its BYE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_does_not_cut_the_stop_short() {
    let lab = lab().await;
    let records = File::new("");
    let target = format!("journal.call_records={}", records.0.display());
    let mut served = Served::start(&settings(lab.sip_addr(), &[&target]));
    in_a_call(&served, "5001").await;
    let address = served.base.trim_start_matches("http://").to_owned();
    let mut half = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = b"POST /sign_in HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\n\r\n5002";
    half.write_all(head).await.unwrap();
    served.signal("-INT");
    let end = std::time::Instant::now() + LIMIT;
    while tokio::net::TcpStream::connect(&address).await.is_ok() {
        assert!(std::time::Instant::now() < end, "it does not stop");
    }
    served.signal("-HUP");
    assert!(served.ended().await.success());
    let written = std::fs::read_to_string(&records.0).unwrap();
    assert_eq!(written.lines().count(), 1, "{written:?}");
}

struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("wrtc-hup-{:016x}.toml", rand::random::<u64>()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_the_file_again() {
    let lab = lab().await;
    let file = File::new("[http]\nallowed_origins = []\n");
    let sets = settings(lab.sip_addr(), &[]);
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set.as_str()]).collect();
    let served = Served::run(&[&["--config", file.0.to_str().unwrap()], &sets[..]].concat());
    let asked = async || {
        let client = reqwest::Client::new();
        let request = client.get(format!("{}/wait?id=none", served.base));
        request.header("Origin", "https://wwe.example").send().await.unwrap().status().as_u16()
    };
    assert_eq!(asked().await, 403);
    std::fs::write(&file.0, "[http]\nallowed_origins = [\"https://wwe.example\"]\n").unwrap();
    served.signal("-HUP");
    let end = std::time::Instant::now() + LIMIT;
    while asked().await == 403 {
        assert!(std::time::Instant::now() < end, "the page may still not");
    }
    assert_eq!(asked().await, 404, "there is no such session, and that is all that is wrong");
}
