//! `/livez` and `/readyz`, for orchestrators.

use reqwest::Client;
use serde_json::{Value, json};
use wrtc_gateway::agent::NotReady;

use crate::support::Gateway;

async fn get(gateway: &Gateway, path: &str) -> (u16, Value) {
    let response = Client::new().get(gateway.url(path)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn readiness_says_why_not_and_life_goes_on() {
    let gateway = Gateway::start(&[]).await;
    let fine = json!({"status": "ok", "reasons": []});
    assert_eq!(get(&gateway, "/readyz").await, (200, fine.clone()));
    gateway.backend.operations.change(|shown| {
        for code in ["draining", "no_sip_server"] {
            shown.not_ready.push(NotReady { code, text: format!("{code}, in words") });
        }
    });
    let reasons = json!([
        {"code": "draining", "text": "draining, in words"},
        {"code": "no_sip_server", "text": "no_sip_server, in words"},
    ]);
    let told = json!({"status": "not_ready", "reasons": reasons});
    assert_eq!(get(&gateway, "/readyz").await, (503, told));
    assert_eq!(get(&gateway, "/livez").await, (200, fine));
    let head = Client::new().head(gateway.url("/readyz")).send().await.unwrap();
    assert_eq!(head.status(), 503);
}

#[tokio::test]
async fn probes_stand_below_the_base_path_too() {
    let gateway = Gateway::start(&["http.base_path=/voice"]).await;
    assert_eq!(get(&gateway, "/voice/livez").await.0, 200);
    assert_eq!(get(&gateway, "/voice/readyz").await.0, 200);
}
