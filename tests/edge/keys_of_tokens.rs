//! `agents.token_key_file`: one-time tokens that several gateways know, and one that was restarted.

use reqwest::Client;
use serde_json::{Value, json};
use wrtc_gateway::config::{Config, OperatorToken, Role};

use crate::support::{File, Gateway, PASSWORD};
use crate::wrote;

const KEY: &str = "7d1f6f0c2b8e4a539c0f41b2a6d3e875";
const OTHER: &str = "e20c5d9b7a184f36b1d8c07f5a92e64d";

struct Site {
    operators: String,
    operator: String,
    key: String,
}

impl Site {
    fn new(key: &File) -> Self {
        let (operator, line) = OperatorToken::make(Role::Act, None);
        wrote::secret("an operator's token", operator.expose());
        Self {
            operators: format!("http.operator_tokens={line}"),
            operator: operator.expose().to_owned(),
            key: key.set("agents.token_key_file"),
        }
    }

    async fn gateway(&self) -> Gateway {
        Gateway::start(&[&self.operators, &self.key, "http.free_tries=100"]).await
    }

    async fn token(&self, gateway: &Gateway) -> String {
        let request = Client::new().post(gateway.url("/api/tokens")).bearer_auth(&self.operator);
        let body = json!({"dn": "5001", "password": PASSWORD, "ttl_seconds": 3600}).to_string();
        let told: Value = request.body(body).send().await.unwrap().json().await.unwrap();
        wrote::handed_out(&told.to_string());
        told["token"].as_str().unwrap().to_owned()
    }
}

async fn sign_in(gateway: &Gateway, token: &str) -> u16 {
    let body = format!("5001:{token}");
    let response = Client::new().post(gateway.url("/sign_in")).body(body).send().await.unwrap();
    let status = response.status().as_u16();
    wrote::handed_out(&response.text().await.unwrap());
    status
}

#[tokio::test]
async fn good_once_at_each_gateway_and_once_more_after_a_restart() {
    let key = File::new(&format!("# of the site\n{KEY}\n"));
    let site = Site::new(&key);
    let (one, other) = (site.gateway().await, site.gateway().await);
    let token = site.token(&one).await;
    for gateway in [&one, &other] {
        assert_eq!(sign_in(gateway, &token).await, 200, "with the DN's password, which is in it");
        assert_eq!(sign_in(gateway, &token).await, 401);
    }
    one.stop().await;
    let restarted = site.gateway().await;
    assert_eq!(sign_in(&restarted, &token).await, 200);
    assert_eq!(sign_in(&restarted, &token).await, 401);
    let stranger = Gateway::start(&[&site.operators]).await;
    assert_eq!(sign_in(&stranger, &site.token(&other).await).await, 401);
    assert_eq!(sign_in(&other, &site.token(&stranger).await).await, 401);
}

#[tokio::test]
async fn a_changed_file_counts_without_a_restart() {
    let key = File::new(&format!("{KEY}\n"));
    let site = Site::new(&key);
    let gateway = site.gateway().await;
    let old = site.token(&gateway).await;
    key.write(&format!("{OTHER}\n{KEY}\n"));
    let signed_anew = File::new(&format!("{OTHER}\n"));
    let next = Site { key: signed_anew.set("agents.token_key_file"), ..Site::new(&key) };
    let next = Site { operators: site.operators.clone(), operator: site.operator.clone(), ..next };
    let elsewhere = next.gateway().await;
    for _ in 0..600 {
        if sign_in(&elsewhere, &site.token(&gateway).await).await == 200 {
            assert_eq!(sign_in(&gateway, &old).await, 200, "of the key before");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    panic!("never");
}

#[test]
fn faults_of_the_file_name_key_and_remedy_and_do_not_tell_it() {
    let many = format!("{KEY}\n").repeat(9);
    for (text, wanted) in [
        ("", "there is no key in it"),
        ("# nothing\n", "there is no key in it"),
        ("# ours\nhush-hush\n", "line 2 does not have 32"),
        ("hush-hush 0123456789abcdef0123456789abcdef\n", "line 1 does not have 32"),
        (&many, "there are 9 keys"),
    ] {
        let file = File::new(text);
        let sets = ["sip.servers=a".to_owned(), file.set("agents.token_key_file")];
        let fault = Config::load(None, [], &sets).unwrap_err().to_string();
        let remedy = fault.contains("openssl rand -hex 32") || fault.contains("keep 8");
        assert!(fault.contains("agents.token_key_file") && remedy, "{fault}");
        assert!(fault.contains(wanted) && !fault.contains("hush"), "{fault}");
    }
    let file = File::new(&format!("{KEY}\n"));
    let sets = ["sip.servers=a".to_owned(), file.set("agents.token_key_file")];
    let shown = format!("{:?}", Config::load(None, [], &sets).unwrap());
    assert!(!shown.contains(KEY), "{shown}");
}
