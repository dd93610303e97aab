//! Operators' tokens in a file, changed while the gateway serves.

use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use wrtc_gateway::config::{OperatorToken, Role};

use crate::support::{File, Gateway};

async fn ask(gateway: &Gateway, operator: &str) -> (u16, Value) {
    crate::wrote::secret("an operator's token", operator);
    let request = Client::new().post(gateway.url("/api/tokens")).bearer_auth(operator);
    let response = request.body(json!({"dn": "5000"}).to_string()).send().await.unwrap();
    let (status, told) = (response.status().as_u16(), response.text().await.unwrap());
    crate::wrote::handed_out(&told);
    (status, serde_json::from_str(&told).unwrap())
}

async fn until(gateway: &Gateway, operator: &str, wanted: u16) {
    for _ in 0..600 {
        if ask(gateway, operator).await.0 == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never {wanted}");
}

#[tokio::test]
async fn rotated_without_a_restart() {
    let (old, old_line) = OperatorToken::make(Role::Act, Some("alice"));
    let (new, new_line) = OperatorToken::make(Role::Act, Some("alice"));
    let (looks, looks_line) = OperatorToken::make(Role::Read, Some("wall"));
    let file = File::new(&format!("# who may\n{old_line}\n{looks_line} # in the hall\n"));
    let gateway = Gateway::start(&[&file.set("http.operator_tokens_file")]).await;
    assert_eq!(ask(&gateway, old.expose()).await.0, 200);
    assert_eq!(ask(&gateway, looks.expose()).await.0, 403);
    assert_eq!(ask(&gateway, new.expose()).await.0, 401);

    file.write(&format!("{old_line}\n{new_line}\n"));
    until(&gateway, new.expose(), 200).await;
    assert_eq!(ask(&gateway, old.expose()).await.0, 200, "both for a while");
    file.write("nonsense\n");
    file.write(&format!("{new_line}\n"));
    until(&gateway, old.expose(), 401).await;
    assert_eq!(ask(&gateway, new.expose()).await.0, 200);
}

#[tokio::test]
async fn an_empty_file_lets_nobody_in() {
    let file = File::new("");
    let gateway = Gateway::start(&[&file.set("http.operator_tokens_file")]).await;
    assert_eq!(ask(&gateway, "anything").await.0, 401);
}
