//! Who did what stands in the log (target `wrtc_gateway::audit`) and goes into the history.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use reqwest::{Client, Method};
use tracing_subscriber::fmt::MakeWriter;
use wrtc_gateway::config::{Config, OperatorToken, Role};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::telemetry::logs;

use crate::support::Gateway;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Lines {
    /// Of the audit, from the operator's name on.
    fn audit(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let audit = text.lines().filter(|line| line.contains("wrtc_gateway::audit"));
        audit.map(|line| line[line.find("operator=").unwrap()..].to_owned()).collect()
    }
}

/// A gateway, and the token of `desk`, who may act.
async fn gateway() -> (Gateway, Secret) {
    let (token, line) = OperatorToken::make(Role::Act, Some("desk"));
    crate::wrote::secret("an operator's token", token.expose());
    (Gateway::start(&[&format!("http.operator_tokens={line}")]).await, token)
}

async fn order(gateway: &Gateway, token: &Secret, method: Method, path: &str, body: &str) -> u16 {
    let request = Client::new().request(method, gateway.url(path)).bearer_auth(token.expose());
    request.body(body.to_owned()).send().await.unwrap().status().as_u16()
}

fn orders(gateway: &Gateway) -> Vec<String> {
    gateway.backend.operations.change(|shown| shown.orders.clone())
}

#[tokio::test]
async fn who_switches_a_trace() {
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).finish();
    let _log = tracing::subscriber::set_default(log);
    let (gateway, token) = gateway().await;
    let trace = async |body| order(&gateway, &token, Method::PUT, "/api/trace/5001", body).await;
    assert_eq!(trace(r#"{"on":true,"seconds":60}"#).await, 200);
    assert_eq!(trace(r#"{"on":true,"seconds":0}"#).await, 400);
    assert_eq!(trace(r#"{"on":false}"#).await, 200);
    let audit = |did| format!("operator=desk remote=127.0.0.1 did=\"{did}\" whom=\"5001\"");
    assert_eq!(lines.audit(), [audit("trace_on"), audit("trace_off")]);
    let told = |on| format!("Trace {{ dn: \"5001\", on: {on} }} desk");
    assert_eq!(orders(&gateway), [told(true), told(false)]);
}

#[tokio::test]
async fn who_reloads_and_drains() {
    let (gateway, token) = gateway().await;
    for (path, status) in [("/api/reload", 409), ("/api/drain", 202)] {
        assert_eq!(order(&gateway, &token, Method::POST, path, "").await, status, "{path}");
    }
    assert_eq!(orders(&gateway), ["Reload desk", "Drain desk"]);
}

/// A process has one log: under nextest this one is the test's own.
#[tokio::test]
async fn who_changes_the_log() {
    let config = Config::load(None, [], &["sip.servers=127.0.0.1".to_owned()]).unwrap();
    logs::start(&config.log).unwrap();
    let (gateway, token) = gateway().await;
    let log = async |body| order(&gateway, &token, Method::PUT, "/api/log", body).await;
    assert_eq!(log(r#"{"level":"loud"}"#).await, 400);
    assert_eq!(log(r#"{"level":"debug","seconds":60}"#).await, 200);
    assert_eq!(orders(&gateway), ["Log { level: \"debug\", seconds: Some(60) } desk"]);
}
