//! Secrets of DNs that the gateway has: who signs in with them.

use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use wrtc_gateway::config::{Config, OperatorToken, Role};

use crate::support::{File, Gateway, PASSWORD, eventually};
use crate::wrote;

struct Bench {
    gateway: Gateway,
    operator: String,
}

impl Bench {
    async fn start(sets: &[&str]) -> Self {
        let (token, line) = OperatorToken::make(Role::Act, None);
        let operators = format!("http.operator_tokens={line}");
        let mut all = vec![operators.as_str()];
        all.extend(sets);
        Self { gateway: Gateway::start(&all).await, operator: token.expose().to_owned() }
    }

    async fn one_time_token(&self, dn: &str) -> String {
        let request = Client::new().post(self.gateway.url("/api/tokens"));
        let request = request.bearer_auth(&self.operator).body(json!({"dn": dn}).to_string());
        let told: Value = request.send().await.unwrap().json().await.unwrap();
        wrote::secret("an operator's token", &self.operator);
        wrote::handed_out(&told.to_string());
        told["token"].as_str().unwrap().to_owned()
    }

    /// Of a page of this origin, or of a program.
    async fn sign_in(&self, body: String, origin: Option<&str>) -> (u16, String) {
        let mut request = Client::new().post(self.gateway.url("/sign_in")).body(body);
        if let Some(origin) = origin {
            request = request.header("Origin", origin);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn with_token(&self, dn: &str) -> (u16, String) {
        let token = self.one_time_token(dn).await;
        self.sign_in(format!("{dn}:{token}"), None).await
    }
}

const PAGE: Option<&str> = Some("http://localhost:3000");

#[tokio::test]
async fn with_a_one_time_token_and_not_without() {
    let file = File::new(&format!("# ours\n5001 = {PASSWORD}\n5002=other\n"));
    let bench = Bench::start(&[&file.set("agents.secrets_file")]).await;
    assert_eq!(bench.with_token("5001").await.0, 200);
    assert_eq!(bench.with_token("5002").await.0, 401, "the SIP server has another one");
    assert_eq!(bench.with_token("5003").await.0, 401, "nobody has one");
    for origin in [None, PAGE] {
        for body in ["5001:", "5001"] {
            assert_eq!(bench.sign_in(body.to_owned(), origin).await.0, 401, "{body} {origin:?}");
        }
    }
    assert_eq!(bench.sign_in(format!("5001:{PASSWORD}"), None).await.0, 200, "one's own");
}

#[tokio::test]
async fn pages_of_known_origins_where_they_may() {
    let file = File::new(&format!("5001 = {PASSWORD}\n"));
    let bench =
        Bench::start(&[&file.set("agents.secrets_file"), "agents.secrets_for=origins"]).await;
    assert_eq!(bench.sign_in("5001:".to_owned(), PAGE).await.0, 200);
    assert_eq!(bench.sign_in("5001:".to_owned(), None).await.0, 401, "no page");
    assert_eq!(bench.sign_in("5001:".to_owned(), Some("https://evil.example")).await.0, 403);
    let told = bench.sign_in("5001:wrong".to_owned(), PAGE).await;
    assert_eq!(told.0, 401, "what the client sends goes first");
    let rest = Client::new().post(bench.gateway.url("/api/webrtc/sign_in"));
    let rest =
        rest.header("Origin", "http://localhost:3000").json(&json!({"id": "a", "dn": "5001"}));
    assert_eq!(rest.send().await.unwrap().status(), 200);

    let sets = ["sip.servers=a", "http.allowed_origins=*", "agents.secrets_for=origins"];
    let mut sets: Vec<String> = sets.map(str::to_owned).into();
    sets.push(file.set("agents.secrets_file"));
    let fault = Config::load(None, [], &sets).unwrap_err().to_string();
    assert!(fault.contains("agents.secrets_for") && fault.contains("any page"), "{fault}");
}

#[tokio::test]
async fn of_a_command() {
    let script =
        "if [ \"$1\" = 5001 ]; then printf 'a:b&c%%d+e=f g\\nmore\\n'; fi; [ \"$1\" != 5009 ]";
    let command = format!("agents.secrets_command=/bin/sh,-c,{script},sh");
    let bench = Bench::start(&[&command]).await;
    assert_eq!(bench.with_token("5001").await.0, 200);
    assert_eq!(bench.with_token("5000").await.0, 200, "it needs none, and there is none");
    let (status, told) = bench.with_token("5009").await;
    assert!(status == 503 && told.contains("could not be looked up"), "{status} {told}");
    // Nothing of a DN is the shell's to read, nor the command's to take for an option.
    let (status, _) = bench.with_token("$(id)").await;
    assert_eq!(status, 401);
    assert_eq!(bench.with_token("-c").await.0, 401);
}

#[tokio::test]
async fn a_command_that_hangs_is_given_up_and_the_token_is_not() {
    let bench = Bench::start(&[
        "agents.secrets_command=/bin/sh,-c,sleep 600",
        "agents.secrets_command_seconds=1",
    ])
    .await;
    let token = bench.one_time_token("5001").await;
    for _ in 0..2 {
        let (status, told) = bench.sign_in(format!("5001:{token}"), None).await;
        assert_eq!(status, 503, "{told}");
    }
}

/// A page that is loaded anew while the command still works comes back with the same token.
#[tokio::test]
async fn a_client_that_hangs_up_meanwhile_keeps_its_token() {
    let pid = File::new("");
    let script = format!(
        "if [ -s {pid} ]; then printf 'a:b&c%%d+e=f g\\n'; else echo $$ > {pid}; exec sleep 600; fi",
        pid = pid.path.display()
    );
    let bench = Bench::start(&[
        &format!("agents.secrets_command=/bin/sh,-c,{script}"),
        "agents.secrets_command_seconds=30",
    ])
    .await;
    let token = bench.one_time_token("5001").await;
    let body = format!("5001:{token}");
    let asked = bench.sign_in(body.clone(), None);
    let command = async {
        loop {
            let text = std::fs::read_to_string(&pid.path).unwrap();
            if let Some(line) = text.strip_suffix('\n') {
                return line.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // The request is dropped, and its connection with it, as soon as the command runs.
    let command = tokio::select! {
        told = asked => panic!("{told:?}"),
        command = command => command,
    };
    eventually("the command is given up", || !is_alive(&command)).await;
    assert_eq!(bench.sign_in(body, None).await.0, 200);
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn a_changed_file_counts_without_a_restart() {
    let file = File::new("5001 = old\n");
    let bench = Bench::start(&[&file.set("agents.secrets_file")]).await;
    file.write(&format!("5001 = {PASSWORD}\n"));
    for _ in 0..600 {
        if bench.with_token("5001").await.0 == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("never");
}

#[test]
fn faults_of_the_file_do_not_tell_it() {
    for (text, wanted) in [
        ("5001 hush-hush\n", "line 1 has no `=`"),
        ("5001 = hush-hush\n\n5001 = hush-hush\n", "line 3"),
        ("= hush-hush\n", "no DN"),
        ("5001 =\n", "empty"),
    ] {
        let file = File::new(text);
        let sets = ["sip.servers=a".to_owned(), file.set("agents.secrets_file")];
        let fault = Config::load(None, [], &sets).unwrap_err().to_string();
        assert!(fault.contains(wanted) && !fault.contains("hush"), "{fault}");
    }
    let sets = ["sip.servers=a", "agents.secrets_command=dn-secret"].map(str::to_owned);
    let fault = Config::load(None, [], &sets).unwrap_err().to_string();
    assert!(fault.contains("absolute path"), "{fault}");
    let file = File::new("5001 = hush-hush\n");
    let sets = ["sip.servers=a".to_owned(), file.set("agents.secrets_file")];
    let shown = format!("{:?}", Config::load(None, [], &sets).unwrap());
    assert!(shown.contains("5001") && !shown.contains("hush"), "{shown}");
}
