//! One-time tokens: who gets one, and that it signs in once.

use reqwest::Client;
use serde_json::{Value, json};

use crate::support::{Gateway, PASSWORD};
use crate::wrote;

const OPERATOR: &str = "token of the operator";
/// `printf %s "token of the operator" | sha256sum`
const CONFIGURED: &str =
    "http.operator_tokens=0969a26e38d3babd0585d3aab24b4d3dbeb4a48b247ce18c50c3000f382fd213";

async fn ask(gateway: &Gateway, operator: &str, body: Value) -> (u16, Value) {
    wrote::secret("an operator's token", operator);
    let request = Client::new().post(gateway.url("/api/tokens")).bearer_auth(operator);
    let response = request.body(body.to_string()).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn token(gateway: &Gateway, dn: &str) -> String {
    let (status, told) =
        ask(gateway, OPERATOR, json!({"dn": dn, "password": PASSWORD, "ttl_seconds": 60})).await;
    assert_eq!(status, 200, "{told}");
    assert!(told["expires"].as_str().unwrap().ends_with('Z'));
    wrote::handed_out(&told.to_string());
    told["token"].as_str().unwrap().to_owned()
}

async fn jsapi(gateway: &Gateway, body: String) -> (u16, String) {
    let response = Client::new().post(gateway.url("/sign_in")).body(body).send().await.unwrap();
    let (status, told) = (response.status().as_u16(), response.text().await.unwrap());
    wrote::handed_out(&told);
    (status, told)
}

async fn rest(gateway: &Gateway, body: Value) -> (u16, String) {
    let url = gateway.url("/api/webrtc/sign_in");
    let response = Client::new().post(url).json(&body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_token_signs_in_once_in_either_dialect() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let given = token(&gateway, "5001").await;
    assert!(given.starts_with("once-") && !given.contains(PASSWORD), "{given}");
    let (status, body) = jsapi(&gateway, format!("5001:{given}")).await;
    assert!(status == 200 && body.starts_with("SSID="), "{status} {body}");
    let (status, body) = jsapi(&gateway, format!("5001:{given}")).await;
    assert_eq!(status, 401);
    assert_eq!(body, "this one-time token was used, has run out, or is for another DN");

    let given = token(&gateway, "5002").await;
    let asked = json!({"id": "a", "dn": "5002", "token": given});
    assert_eq!(rest(&gateway, asked.clone()).await, (200, "OK".to_owned()));
    let (status, body) = rest(&gateway, asked).await;
    assert!(status == 401 && body.contains(r#""code":"token_unknown""#), "{status} {body}");
    let sign_ins = gateway.backend.sign_ins.lock().unwrap();
    assert_eq!(sign_ins.len(), 2, "what is refused goes no further");
    for sign_in in sign_ins.iter() {
        assert_eq!(sign_in.password.as_ref().unwrap().expose(), PASSWORD);
    }
}

#[tokio::test]
async fn a_token_is_for_its_dn_and_looks_like_one() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let given = token(&gateway, "5001").await;
    assert_eq!(jsapi(&gateway, format!("5002:{given}")).await.0, 401);
    for odd in [PASSWORD, "once-", ""] {
        let (status, body) = rest(&gateway, json!({"id": "a", "dn": "5001", "token": odd})).await;
        assert!(status == 400 && body.contains("malformed_parameter"), "{status} {body}");
    }
    assert_eq!(jsapi(&gateway, format!("5001:{given}")).await.0, 200, "the others took nothing");
}

#[tokio::test]
async fn a_sip_server_that_is_away_does_not_use_it_up() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let given = token(&gateway, "5030").await;
    for _ in 0..2 {
        assert_eq!(jsapi(&gateway, format!("5030:{given}")).await.0, 503);
    }
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    // The first pause is of a second, which a slow machine may sleep through; each that follows is twice as long.
    let mut tries = 0;
    while jsapi(&gateway, format!("5001:once-{tries:076}")).await.0 == 401 {
        tries += 1;
        assert!(tries < 20, "guessed as fast as can be");
    }
    assert!(tries >= 5, "{tries}");

    let mut tries = 0;
    while ask(&gateway, &format!("guess {tries}"), json!({"dn": "5003"})).await.0 == 401 {
        tries += 1;
        assert!(tries < 20, "guessed as fast as can be");
    }
    assert!(tries >= 5, "{tries}");
    token(&gateway, "5003").await;
}

#[tokio::test]
async fn operators_only_and_what_they_may_ask() {
    let gateway = Gateway::start(&[CONFIGURED]).await;
    let response = Client::new().post(gateway.url("/api/tokens")).body("{}").send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let nobody = Gateway::start(&[]).await;
    assert_eq!(ask(&nobody, OPERATOR, json!({"dn": "5001"})).await.0, 401);
    for body in [
        json!({}),
        json!([]),
        json!({"dn": ""}),
        json!({"dn": "5001;x"}),
        json!({"dn": "5001", "ttl_seconds": 0}),
        json!({"dn": "5001", "ttl_seconds": 3601}),
        json!({"dn": "5001", "ttl_seconds": "60"}),
        json!({"dn": "5001", "password": "p".repeat(257)}),
        json!({"dn": "5001", "pasword": "secret of the DN"}),
    ] {
        let (status, told) = ask(&gateway, OPERATOR, body).await;
        assert_eq!((status, told["code"].as_str()), (400, Some("bad_request")), "{told}");
        assert!(!told.to_string().contains("secret of the DN"));
    }
    // 5000 has no password.
    let (status, told) = ask(&gateway, OPERATOR, json!({"dn": "5000"})).await;
    assert_eq!(status, 200);
    let given = told["token"].as_str().unwrap();
    assert_eq!(jsapi(&gateway, format!("5000:{given}")).await.0, 200);
    let response = Client::new().get(gateway.url("/api/tokens")).send().await.unwrap();
    assert_eq!(response.status(), 405);
}

#[tokio::test]
async fn who_may_only_look_gets_no_tokens() {
    let reads = CONFIGURED.replace("tokens=", "tokens=read:wall:");
    let gateway = Gateway::start(&[&reads]).await;
    let (status, told) = ask(&gateway, OPERATOR, json!({"dn": "5001"})).await;
    assert_eq!((status, told["code"].as_str()), (403, Some("role_forbidden")), "{told}");
    assert!(told["error"].as_str().unwrap().contains("wall may read"), "{told}");
}

#[test]
fn a_token_in_the_hashs_place_is_a_fault_that_does_not_tell_it() {
    let sets = ["sip.servers=127.0.0.1", "http.operator_tokens=my-own-token"].map(str::to_owned);
    let fault = wrtc_gateway::config::Config::load(None, [], &sets).unwrap_err().to_string();
    assert!(fault.contains("http.operator_tokens") && fault.contains("sha256sum"), "{fault}");
    assert!(!fault.contains("my-own-token"), "{fault}");
}
