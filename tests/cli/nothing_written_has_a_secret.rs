//! What the gateway writes and shows while it does its work, at the most talkative log level: no password,
//! token, SSID or key of all that were used.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use wrtc_gateway::config::{OperatorToken, Role};
use wrtc_gateway::lab::{Lab, LabConfig};
use wrtc_gateway::secret::Secret;

use crate::{look, wrote};

/// Far longer than anything takes.
const LIMIT: Duration = Duration::from_secs(60);

/// What operators and collectors read. Those that are not there are passed over.
const SHOWN: &[&str] = &[
    "/metrics",
    "/livez",
    "/readyz",
    "/api/health",
    "/api/registrations",
    "/api/agents",
    "/api/stats",
    "/api/servers",
    "/api/series",
    "/api/calls",
    "/api/calls?format=csv",
    "/api/calls/active",
];

/// Those that were used, here and for the look through all that was written by all tests.
#[derive(Default)]
struct Used(look::Secrets);

impl Used {
    fn add(&mut self, kind: &'static str, secret: impl Into<String>) -> String {
        let secret = secret.into();
        assert!(secret.len() >= look::SHORTEST, "{kind} is too short to be looked for");
        self.0.add(kind, &secret);
        wrote::secret(kind, &secret);
        secret
    }

    fn look(&self, place: &str, written: &[u8]) -> Vec<String> {
        wrote::bytes(&place.replace(['/', ' ', '?'], "_"), written);
        let found = self.0.looker().unwrap().look(written);
        found.iter().map(|found| format!("{place}:{}: {}", found.line, found.around)).collect()
    }
}

struct Gateway {
    child: Child,
    url: String,
    stdout: tokio::task::JoinHandle<Vec<u8>>,
    stderr: tokio::task::JoinHandle<Vec<u8>>,
    client: Client,
}

impl Gateway {
    async fn start(sets: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"));
        command.arg("serve").env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
        for set in sets {
            command.args(["--set", set]);
        }
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut errors = child.stderr.take().unwrap();
        let stderr = tokio::spawn(async move {
            let mut all = Vec::new();
            errors.read_to_end(&mut all).await.unwrap();
            all
        });
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        tokio::time::timeout(LIMIT, printed.read_line(&mut first)).await.unwrap().unwrap();
        let Some(url) = first.trim().strip_prefix("serving at ") else {
            let told = stderr.await.unwrap();
            panic!("{first}{}", String::from_utf8_lossy(&told));
        };
        let url = url.trim_end_matches('/').to_owned();
        let stdout = tokio::spawn(async move {
            let mut all = first.into_bytes();
            printed.read_to_end(&mut all).await.unwrap();
            all
        });
        Self { child, url, stdout, stderr, client: Client::new() }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn post(&self, path: &str, token: Option<&str>, body: String) -> (u16, String) {
        let mut request = self.client.post(format!("{}{path}", self.url)).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Ends it in good order and gives what it has printed.
    async fn stop(mut self) -> (Vec<u8>, Vec<u8>) {
        let pid = self.child.id().unwrap().to_string();
        for _ in 0..2 {
            // The second one does not wait for anybody.
            Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        }
        let ended = tokio::time::timeout(LIMIT, self.child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{ended}");
        (self.stdout.await.unwrap(), self.stderr.await.unwrap())
    }
}

fn random(before: &str) -> String {
    format!("{before}{:016x}", rand::random::<u64>())
}

/// Whole, as far as negotiation goes, with keys of the browser's.
fn offer(ice_pwd: &str) -> String {
    let fingerprint = ["AB"; 32].join(":");
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0 8\r\n\
         c=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-mux\r\na=ice-ufrag:abcd\r\na=ice-pwd:{ice_pwd}\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nowhere() {
    let folder = std::env::temp_dir().join(random("wrtc-secrets-"));
    std::fs::create_dir(&folder).unwrap();
    let mut secrets = Used::default();
    let password = secrets.add("the SIP password", random("p:a&s%s+w "));
    let turn = secrets.add("the TURN secret", random("turn-secret-"));
    let connector = secrets.add("the connector's token", random("connector-"));
    let token_key = secrets.add("the key of one-time tokens", random("one-time-tokens-"));
    let (acts, acts_line) = OperatorToken::make(Role::Act, Some("alice"));
    let (reads, reads_line) = OperatorToken::make(Role::Read, Some("wall"));
    let acts = secrets.add("the operator's token", acts.expose());
    let reads = secrets.add("the reader's token", reads.expose());
    let file = |name: &str, text: String| -> String {
        let path: PathBuf = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let lab = Lab::start(LabConfig::new(Secret::new(password.clone()))).await.unwrap();
    let gateway = Gateway::start(&[
        "http.listen=127.0.0.1:0".to_owned(),
        format!("http.operator_tokens={acts_line}"),
        format!("http.operator_tokens_file={}", file("operators", reads_line)),
        format!("connector.tokens={connector}=5001"),
        format!("sip.servers=sip:{}", lab.sip_addr()),
        "sip.domain=secrets.invalid".to_owned(),
        "sip.listen=127.0.0.1:0".to_owned(),
        "media.listen=127.0.0.1:0".to_owned(),
        "media.rtp_address=127.0.0.1".to_owned(),
        "media.srtp=preferred".to_owned(),
        "turn.listen=127.0.0.1:0".to_owned(),
        format!("turn.secret_file={}", file("turn", turn)),
        format!("agents.secrets_file={}", file("dns", format!("5003 = {password}\n"))),
        format!("agents.token_key_file={}", file("token-key", token_key)),
        format!("journal.store={}", folder.join("calls.db").display()),
        format!("journal.call_records={}", folder.join("records").display()),
        format!("log.file={}", folder.join("log").display()),
        "log.level=trace".to_owned(),
    ])
    .await;

    // Every way in.
    let (status, told) = gateway.post("/sign_in", None, format!("5001:{password}")).await;
    assert_eq!(status, 200, "{told}");
    let ssid = secrets.add("an SSID", told.lines().next().unwrap().split('=').nth(1).unwrap());
    let wrong = secrets.add("a mistyped password", random("mistyped-"));
    let (status, _) = gateway.post("/sign_in", None, format!("5004:{wrong}")).await;
    assert_eq!(status, 401);
    let url = format!("{}/api/webrtc/sign_in", gateway.url);
    let query = [("id", "agent123"), ("dn", "5002"), ("password", password.as_str())];
    let response = gateway.client.get(&url).query(&query).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let body = json!({"dn": "5003"}).to_string();
    let (status, told) = gateway.post("/api/tokens", Some(&acts), body.clone()).await;
    assert_eq!(status, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let once = secrets.add("a one-time token", told["token"].as_str().unwrap());
    let body_of_token = json!({"id": "agent124", "dn": "5003", "token": once}).to_string();
    for wanted in [200, 401] {
        let (status, told) = gateway.post("/api/webrtc/sign_in", None, body_of_token.clone()).await;
        assert_eq!(status, wanted, "{told}");
    }
    let guess = secrets.add("a guess at an operator's token", random("guess-"));
    assert_eq!(gateway.post("/api/tokens", Some(&guess), body.clone()).await.0, 401);
    assert_eq!(gateway.post("/api/tokens", Some(&reads), body).await.0, 403);

    // What a page gets for itself.
    let path = format!("/api/connector/token?id={ssid}");
    let (status, told) = gateway.post(&path, None, String::new()).await;
    assert_eq!(status, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let issued = secrets.add("a connector's token of a session", told["token"].as_str().unwrap());
    for token in [&connector, &issued] {
        assert_eq!(gateway.get(&format!("/connector/{token}/Ping")).await.0, 200);
    }
    assert_eq!(gateway.get(&format!("/connector/{guess}/Ping")).await.0, 404);
    let (status, told) = gateway.get(&format!("/api/ice?id={ssid}")).await;
    assert_eq!(status, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let credential = told.to_string();
    let credential = credential.split("\"credential\":\"").nth(1).unwrap();
    secrets.add("a TURN credential", credential.split('"').next().unwrap());

    // A call with keys on both sides.
    let ice_pwd = secrets.add("the browser's ICE password", random("browser0"));
    let path = "/api/webrtc/message?from=agent123&to=1003";
    let (status, told) = gateway.post(path, None, offer(&ice_pwd)).await;
    assert_eq!(status, 200, "{told}");
    let since = Instant::now();
    let answer = loop {
        assert!(since.elapsed() < LIMIT, "no answer");
        let (status, body) = gateway.get("/api/webrtc/message?id=agent123").await;
        if status == 200 && body.starts_with("v=0") {
            break body;
        }
    };
    let ours = answer.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).unwrap();
    secrets.add("our ICE password", ours);
    let shown = |secrets: &Used, path: &str, body: &str| secrets.look(path, body.as_bytes());
    let mut found = Vec::new();
    let look = async |path: &str| {
        let request = gateway.client.get(format!("{}{path}", gateway.url)).bearer_auth(&acts);
        let response = request.send().await.unwrap();
        let status = response.status();
        (status.as_u16(), response.text().await.unwrap())
    };
    let mut seen = 0;
    for path in SHOWN {
        let (status, body) = look(path).await;
        seen += usize::from(status == 200);
        found.extend(shown(&secrets, path, &body));
    }
    assert!(seen >= 8, "{seen} of them answered");
    let (status, told) =
        gateway.post("/api/webrtc/message?from=agent123", None, "BYE".to_owned()).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(gateway.get(&format!("/wait?id={ssid}x")).await.0, 404);
    // What stays of it, once the call has been put away.
    let since = Instant::now();
    let id = loop {
        assert!(since.elapsed() < LIMIT, "the call is not in the store");
        let (_, body) = look("/api/calls?agent_id=agent123").await;
        let calls: Value = serde_json::from_str(&body).unwrap();
        if let Some(id) = calls["calls"][0]["call"].as_str() {
            found.extend(shown(&secrets, "/api/calls", &body));
            break id.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    for (path, has) in [
        (format!("/api/calls/{id}?bodies=1"), "a=fingerprint:sha-256"),
        ("/api/calls/agent123?bodies=1".to_owned(), "INVITE sip:1003@"),
        (format!("/api/calls/{id}/pcap"), "INVITE sip:1003@"),
        ("/api/calls?format=csv".to_owned(), "agent123"),
        ("/api/history".to_owned(), "5004"),
    ] {
        let (status, body) = look(&path).await;
        assert!(status == 200 && body.contains(has), "{path}: {status}: no {has} in it");
        found.extend(shown(&secrets, &path, &body));
    }
    for path in [format!("/sign_out?id={ssid}"), "/api/webrtc/sign_out?id=agent123".to_owned()] {
        assert_eq!(gateway.get(&path).await.0, 200);
    }
    let (stdout, stderr) = gateway.stop().await;
    found.extend(secrets.look("standard output", &stdout));
    found.extend(secrets.look("standard error", &stderr));
    let mut written = stderr.len();
    let mut log = stderr;
    let ours = ["operators", "turn", "dns", "token-key"];
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !ours.contains(&name.as_str()) {
            let bytes = std::fs::read(&path).unwrap();
            written += bytes.len();
            found.extend(secrets.look(&name, &bytes));
            log.extend(bytes);
        }
    }
    assert!(written > 20_000, "{written} bytes at level trace");
    // Who looks in the wrong place finds nothing either.
    let log = String::from_utf8_lossy(&log);
    for word in ["TRACE", "5001", "/connector/.../Ping", "audit", "alice"] {
        assert!(log.contains(word), "{word} is not in the log");
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let _ = std::fs::remove_dir_all(folder);
}
