//! `agents.sign_in` and `agents.guests`: who is let to the SIP server, and who never gets there.

use reqwest::Client;
use serde_json::{Value, json};
use wrtc_gateway::config::{Config, OperatorToken, Reload as _, Role};

use crate::support::{File, Gateway, PASSWORD};
use crate::wrote;

/// The fake's SIP server asks for no password of this one: it trusts our address.
const TRUSTED: &str = "5000";
const SECRET: &str = "hush-hush-of-5000";

struct Site {
    gateway: Gateway,
    operator: String,
}

impl Site {
    async fn start(sets: &[&str]) -> Self {
        let (token, line) = OperatorToken::make(Role::Act, None);
        wrote::secret("an operator's token", token.expose());
        wrote::secret("a DN's secret", SECRET);
        let operators = format!("http.operator_tokens={line}");
        let mut all = vec![operators.as_str()];
        all.extend(sets);
        Self { gateway: Gateway::start(&all).await, operator: token.expose().to_owned() }
    }

    async fn sign_in(&self, body: &str) -> (u16, String) {
        let request = Client::new().post(self.gateway.url("/sign_in")).body(body.to_owned());
        let response = request.send().await.unwrap();
        let (status, told) = (response.status().as_u16(), response.text().await.unwrap());
        wrote::handed_out(&told);
        (status, told)
    }

    async fn rest(&self, password: &str) -> (u16, Value) {
        let body = json!({"id": "agent", "dn": TRUSTED, "password": password});
        let request = Client::new().post(self.gateway.url("/api/webrtc/sign_in")).json(&body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or_default())
    }

    async fn with_token(&self, dn: &str) -> u16 {
        let request = Client::new().post(self.gateway.url("/api/tokens"));
        let body = json!({"dn": dn}).to_string();
        let request = request.bearer_auth(&self.operator).body(body);
        let told: Value = request.send().await.unwrap().json().await.unwrap();
        wrote::handed_out(&told.to_string());
        self.sign_in(&format!("{dn}:{}", told["token"].as_str().unwrap())).await.0
    }

    /// How many of them the SIP server heard of.
    fn asked(&self) -> usize {
        self.gateway.backend.sign_ins.lock().unwrap().len()
    }
}

#[tokio::test]
async fn whom_the_sip_server_lets_register_unless_told_otherwise() {
    let site = Site::start(&[]).await;
    for body in ["5000", "5000:", "5000:whatever"] {
        assert_eq!(site.sign_in(body).await.0, 200, "{body}");
    }
}

#[tokio::test]
async fn who_has_the_secret_that_the_gateway_has() {
    let file = File::new(&format!("{TRUSTED} = {SECRET}\n5001 = {PASSWORD}\n"));
    let site = Site::start(&[&file.set("agents.secrets_file"), "agents.sign_in=secret"]).await;
    for password in ["", "wrong", PASSWORD] {
        let (status, told) = site.sign_in(&format!("{TRUSTED}:{password}")).await;
        assert_eq!((status, told.as_str()), (401, "the DN or the password is wrong"));
    }
    assert_eq!(site.sign_in(TRUSTED).await.0, 401, "no password at all");
    assert_eq!(site.sign_in("5002:wrong").await.0, 401, "a DN without a secret");
    assert_eq!(site.asked(), 0, "the SIP server hears of none");
    assert_eq!(site.sign_in(&format!("{TRUSTED}:{SECRET}")).await.0, 200);
    let (status, told) = site.rest("wrong").await;
    assert_eq!((status, told["code"].as_str()), (401, Some("credentials_refused")));
    assert_eq!(site.rest(SECRET).await.0, 200);
    assert_eq!(site.sign_in(&format!("5001:{PASSWORD}")).await.0, 200);
    assert_eq!(site.with_token(TRUSTED).await, 200, "a token is as good");
    assert_eq!(site.asked(), 4);
}

#[tokio::test]
async fn guesses_at_the_gateways_secret_are_slowed_down() {
    let file = File::new(&format!("{TRUSTED} = {SECRET}\n"));
    let site = Site::start(&[&file.set("agents.secrets_file"), "agents.sign_in=secret"]).await;
    for n in 0..5 {
        assert_eq!(site.sign_in(&format!("{TRUSTED}:guess {n}")).await.0, 401);
    }
    // The first pause is of a second, which a slow machine may sleep through; each that follows is twice as long.
    let mut told = 401;
    for n in 5..20 {
        if told == 401 {
            told = site.sign_in(&format!("{TRUSTED}:guess {n}")).await.0;
        }
    }
    assert_eq!(told, 429);
}

/// A command that fails says nothing about who asks.
#[tokio::test]
async fn a_look_up_that_fails_is_nobodys_guess() {
    let command = "agents.secrets_command=/bin/false";
    let site = Site::start(&[command, "agents.sign_in=secret"]).await;
    for _ in 0..7 {
        assert_eq!(site.sign_in(&format!("{TRUSTED}:{SECRET}")).await.0, 503);
    }
    assert_eq!(site.asked(), 0);
}

#[tokio::test]
async fn who_has_a_token_and_no_password() {
    let site = Site::start(&["agents.sign_in=token"]).await;
    for body in [TRUSTED, "5000:", "5000:whatever", &format!("5001:{PASSWORD}")] {
        let (status, told) = site.sign_in(body).await;
        assert!(status == 401 && told.contains("one-time tokens only"), "{body}: {status} {told}");
    }
    let (status, told) = site.rest("whatever").await;
    assert_eq!((status, told["code"].as_str()), (401, Some("token_wanted")));
    assert_eq!(site.asked(), 0);
    assert_eq!(site.with_token(TRUSTED).await, 200);
}

#[tokio::test]
async fn guests_where_they_may() {
    let guest = format!("anon{:032}", 7);
    let site = Site::start(&[]).await;
    assert_eq!(site.sign_in(&guest).await.0, 200);
    let site = Site::start(&["agents.guests=off"]).await;
    let (status, told) = site.sign_in(&guest).await;
    assert!(status == 403 && told.contains("agents.guests"), "{status} {told}");
    assert_eq!(site.asked(), 0);
    assert_eq!(site.sign_in(TRUSTED).await.0, 200, "a DN is none");
}

#[tokio::test]
async fn a_reload_takes_both() {
    let site = Site::start(&[]).await;
    let (_, line) = OperatorToken::make(Role::Act, None);
    let sets = [
        "sip.servers=127.0.0.1".to_owned(),
        "agents.sign_in=token".to_owned(),
        "agents.guests=off".to_owned(),
        format!("http.operator_tokens={line}"),
    ];
    assert_eq!(site.sign_in(TRUSTED).await.0, 200);
    site.gateway.control.prepare(&Config::load(None, [], &sets).unwrap()).unwrap()();
    assert_eq!(site.sign_in(TRUSTED).await.0, 401);
    assert_eq!(site.sign_in(&format!("anon{:032}", 7)).await.0, 403);
}

#[test]
fn what_would_let_nobody_or_anybody_in_is_a_fault() {
    let file = File::new("5001 = hush-hush\n");
    let secrets = file.set("agents.secrets_file");
    for (sets, wanted) in [
        (vec!["agents.sign_in=secret"], "agents.secrets_file or agents.secrets_command"),
        (vec!["agents.sign_in=token"], "http.operator_tokens_file, or agents.token_key_file"),
        (
            vec!["agents.sign_in=secret", "agents.secrets_for=origins", &secrets],
            "agents.secrets_for = \"tokens\"",
        ),
        (vec!["agents.sign_in=nobody"], "choose sip, secret, token"),
        (vec!["agents.guests=maybe"], "choose on, off"),
    ] {
        let mut all = vec!["sip.servers=a".to_owned()];
        all.extend(sets.iter().map(|&set| set.to_owned()));
        let fault = Config::load(None, [], &all).unwrap_err().to_string();
        assert!(fault.contains(wanted), "{fault}");
    }
}
