//! `GET /metrics`: who may scrape, in which format, and how requests are counted. `PUT /api/log`.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use wrtc_gateway::agent::Backend;
use wrtc_gateway::config::Config;
use wrtc_gateway::http::{MetricsServer, Scrape, Server, Surroundings};
use wrtc_gateway::telemetry::logs;
use wrtc_gateway::telemetry::metrics::{Exporter, Metrics, Snapshot, Source};

use crate::support::{FakeBackend, exchange, header};

struct Nothing;

impl Source for Nothing {
    fn snapshot(&self) -> Snapshot {
        Snapshot { agents_registered: 7, ..Snapshot::default() }
    }
}

struct Gateway {
    address: std::net::SocketAddr,
    scrape: Scrape,
    stop: CancellationToken,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// As the configuration has an operator's token.
fn sha256(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn start(sets: &[&str]) -> Gateway {
    let mut all = vec!["http.listen=127.0.0.1:0".to_owned(), "sip.servers=127.0.0.1".to_owned()];
    all.extend(sets.iter().map(|&set| set.to_owned()));
    let config = Config::load(None, [], &all).unwrap();
    let metrics = Metrics::default();
    let exporter = Arc::new(Exporter::new(&metrics, Arc::new(Nothing)));
    let scrape = Scrape { exporter, metrics, open: config.metrics.open };
    let backend: Arc<dyn Backend> = Arc::new(FakeBackend::default());
    let surroundings = Surroundings { scrape: Some(scrape.clone()) };
    let server = Server::bind_with(&config.http, backend, surroundings).unwrap();
    let address = server.local_addr();
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    Gateway { address, scrape, stop }
}

impl Gateway {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        exchange(self.address, &request).await.unwrap()
    }
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|one| one == line)
}

#[tokio::test]
async fn in_the_format_that_is_asked_for() {
    let gateway = start(&[]);
    let (status, head, text) = gateway.ask("GET", "/metrics", "", "").await;
    assert_eq!(status, 200);
    assert_eq!(header(&head, "content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    assert!(has(&text, "wrtc_agents_registered 7"), "{text}");
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5\r\n";
    let (_, head, text) = gateway.ask("GET", "/metrics", accept, "").await;
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(header(&head, "content-type"), Some(open));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn for_operators_where_there_are_any() {
    let token = "let me in";
    let hash = sha256(token);
    let gateway = start(&[&format!("http.operator_tokens={hash}")]);
    let (status, head, _) = gateway.ask("GET", "/metrics", "", "").await;
    assert_eq!(status, 401);
    assert_eq!(header(&head, "www-authenticate"), Some("Bearer"));
    let wrong = "Authorization: Bearer let me out\r\n";
    assert_eq!(gateway.ask("GET", "/metrics", wrong, "").await.0, 401);
    let right = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(gateway.ask("GET", "/metrics", &right, "").await.0, 200);

    let open = start(&[&format!("http.operator_tokens={hash}"), "metrics.open=true"]);
    assert_eq!(open.ask("GET", "/metrics", "", "").await.0, 200);
}

#[tokio::test]
async fn without_tokens_for_this_machine_and_not_through_a_proxy() {
    let gateway = start(&[]);
    assert_eq!(gateway.ask("GET", "/metrics", "", "").await.0, 200);
    let proxied = "X-Forwarded-For: 192.0.2.7\r\n";
    assert_eq!(gateway.ask("GET", "/metrics", proxied, "").await.0, 403);
    let page = "Origin: https://evil.example\r\n";
    assert_eq!(gateway.ask("GET", "/metrics", page, "").await.0, 403);
}

#[tokio::test]
async fn requests_by_the_template_of_their_route() {
    let gateway = start(&["http.base_path=/webrtc"]);
    let ask = async |path: &str| gateway.ask("GET", path, "", "").await.0;
    assert_eq!(ask("/webrtc/api/health").await, 200);
    assert_eq!(ask("/webrtc/api/health?x=1").await, 200);
    assert_eq!(ask("/webrtc/wait?sessid=nobody").await, 404);
    for n in 0..20 {
        assert_eq!(ask(&format!("/webrtc/api/made/up/{n}")).await, 404);
        assert_eq!(ask(&format!("/webrtc/{n}.php")).await, 404);
        ask(&format!("/webrtc/connector/a-token-that-somebody-guesses-{n}/Ping")).await;
    }
    assert_eq!(ask("/elsewhere").await, 404);
    assert_eq!(ask("/webrtc/").await, 200);
    let text = gateway.ask("GET", "/webrtc/metrics", "", "").await.2;
    let count = |route: &str, class: &str, n: u32| {
        let line = format!("wrtc_http_requests_total{{route=\"{route}\",class=\"{class}\"}} {n}");
        assert!(has(&text, &line), "{line} in {}", requests(&text));
    };
    count("/api/health", "2xx", 2);
    count("/wait", "4xx", 1);
    count("other", "4xx", 41);
    count("/connector", "4xx", 20);
    count("file", "2xx", 1);
    assert_eq!(requests(&text).lines().count(), 5, "{}", requests(&text));
}

fn requests(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().filter(|line| line.starts_with("wrtc_http_requests_total")).collect();
    lines.join("\n")
}

#[tokio::test]
async fn at_an_address_of_its_own_with_nothing_else() {
    let gateway = start(&[&format!("http.operator_tokens={}", sha256("let me in"))]);
    let server =
        MetricsServer::bind("127.0.0.1:0".parse().unwrap(), gateway.scrape.clone()).unwrap();
    let address = server.local_addr();
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    let ask = async |line: &str| {
        exchange(address, &format!("{line} HTTP/1.1\r\nHost: gw\r\n\r\n")).await.unwrap()
    };
    let (status, _, text) = ask("GET /metrics").await;
    assert_eq!(status, 200);
    assert!(has(&text, "wrtc_agents_registered 7"));
    for nothing in ["GET /", "GET /api/health", "GET /api/log", "GET /sign_in?dn=5001"] {
        assert_eq!(ask(nothing).await.0, 404, "{nothing}");
    }
    assert_eq!(ask("POST /metrics").await.0, 405);
    stop.cancel();
    task.await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is free again");
    assert_eq!(
        gateway.ask("GET", "/metrics", "", "").await.0,
        401,
        "at http.listen a token is needed"
    );
}

#[tokio::test]
async fn a_taken_port_is_a_fault_that_names_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = start(&[]);
    let bound = MetricsServer::bind(taken.local_addr().unwrap(), gateway.scrape.clone());
    let Err(fault) = bound else { panic!("it was bound twice") };
    assert!(fault.to_string().starts_with("metrics.listen = "), "{fault}");
    let same =
        ["sip.servers=127.0.0.1", "http.listen=127.0.0.1:9000", "metrics.listen=0.0.0.0:9000"];
    let errors = Config::load(None, [], &same.map(str::to_owned)).unwrap_err().to_string();
    assert!(errors.contains("metrics.listen"), "{errors}");
}

#[tokio::test]
async fn the_log_level_by_an_operator() {
    let config = Config::load(None, [], &["sip.servers=127.0.0.1".to_owned()]).unwrap();
    let gateway = start(&[]);
    let (status, _, body) = gateway.ask("GET", "/api/log", "", "").await;
    assert_eq!(status, 503, "without a log: {body}");
    logs::start(&config.log).unwrap();

    let put = async |body: &str| {
        let (status, _, body) = gateway.ask("PUT", "/api/log", "", body).await;
        (status, serde_json::from_str::<serde_json::Value>(&body).unwrap())
    };
    let debug = || tracing::enabled!(target: "wrtc_gateway::sip", tracing::Level::DEBUG);
    assert!(!debug());
    let (status, reply) = put(r#"{"level":"info,wrtc_gateway::sip=debug"}"#).await;
    assert_eq!((status, &reply["until"]), (200, &serde_json::Value::Null), "{reply}");
    assert!(debug());
    let (_, _, body) = gateway.ask("GET", "/api/log", "", "").await;
    assert!(
        body.contains(r#""level":"info,wrtc_gateway::sip=debug","configured":"info""#),
        "{body}"
    );

    for bad in [
        "",
        "{}",
        r#"{"level":"loud"}"#,
        r#"{"level":"info","seconds":0}"#,
        r#"{"level":"info","seconds":90000}"#,
        r#"{"level":"info","x":1}"#,
    ] {
        let (status, reply) = put(bad).await;
        assert_eq!(status, 400, "{bad}: {reply}");
    }
    assert!(debug(), "a wrong one changes nothing");

    let (status, reply) = put(r#"{"level":"trace","seconds":1}"#).await;
    assert_eq!(status, 200);
    assert!(reply["until"].as_u64().is_some(), "{reply}");
    for _ in 0..600 {
        if !debug() {
            let (_, _, body) = gateway.ask("GET", "/api/log", "", "").await;
            assert!(
                body.contains(r#""level":"info""#) && body.contains(r#""until":null"#),
                "{body}"
            );
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it never went back");
}

#[tokio::test]
async fn the_log_is_for_operators_that_may_act() {
    let (reads, acts) = (sha256("one that reads"), sha256("one that acts"));
    let gateway = start(&[&format!("http.operator_tokens=read:{reads},act:{acts}")]);
    let put = async |token: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n");
        gateway.ask("PUT", "/api/log", &headers, r#"{"level":"info"}"#).await.0
    };
    assert_eq!(put("nobody's").await, 401);
    assert_eq!(put("one that reads").await, 403);
    assert_eq!(put("one that acts").await, 503, "there is no log in this process");
    let (_, head, _) = gateway.ask("OPTIONS", "/api/log", "", "").await;
    assert_eq!(header(&head, "allow"), Some("GET, PUT, OPTIONS"));
}
