//! `GET /api/ice` of a whole gateway, and that what it hands out opens a relay.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::net::UdpSocket;
use wrtc_gateway::demo::{self, Demo};

use rtc_stun::attributes::*;
use rtc_stun::message::*;

use crate::streams::LIMIT;
use crate::support::*;
use crate::wrote;

async fn start(sets: &[&str]) -> Demo {
    let sets: Vec<String> =
        ["http.listen=127.0.0.1:0"].iter().chain(sets).map(|&set| set.to_owned()).collect();
    wrote::log();
    wrote::settings(sets.iter().map(String::as_str));
    let demo = demo::start(demo::config(None, [], &sets).unwrap(), None).await.unwrap();
    wrote::secret("a DN's password", demo.password().expose());
    demo
}

async fn sign_in(demo: &Demo) {
    let query = [("id", "me"), ("dn", "5001"), ("password", demo.password().expose())];
    let url = format!("{}/api/webrtc/sign_in", demo.base_url());
    let answer = reqwest::Client::new().get(url).query(&query).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

async fn ice(demo: &Demo, query: &str) -> (u16, Value) {
    let answer = reqwest::get(format!("{}/api/ice{query}", demo.base_url())).await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let (status, told) = (answer.status().as_u16(), answer.text().await.unwrap());
    wrote::handed_out(&told);
    (status, serde_json::from_str(&told).unwrap())
}

#[tokio::test]
async fn strangers_get_none() {
    let demo = start(&["turn.listen=127.0.0.1:0"]).await;
    for (query, status, code) in [
        ("", 400, "missing_parameter"),
        ("?id=", 400, "missing_parameter"),
        ("?id=me", 404, "not_signed_in"),
    ] {
        let (got, body) = ice(&demo, query).await;
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{query}");
        assert!(!body.to_string().contains("turn:"));
    }
    sign_in(&demo).await;
    assert_eq!(ice(&demo, "?id=me").await.0, 200);
    reqwest::get(format!("{}/api/webrtc/sign_out?id=me", demo.base_url())).await.unwrap();
    assert_eq!(ice(&demo, "?id=me").await.0, 404);
    let foreign = reqwest::Client::new()
        .get(format!("{}/api/ice?id=me", demo.base_url()))
        .header("Origin", "https://elsewhere.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let post = reqwest::Client::new().post(format!("{}/api/ice?id=me", demo.base_url()));
    assert_eq!(post.send().await.unwrap().status(), 405);
    demo.stop().await;
}

#[tokio::test]
async fn without_turn_it_is_empty() {
    let demo = start(&[]).await;
    sign_in(&demo).await;
    let (status, body) = ice(&demo, "?id=me").await;
    assert_eq!((status, body), (200, serde_json::json!({ "iceServers": [], "ttl": 0 })));
    demo.stop().await;
}

#[tokio::test]
async fn an_ssid_names_a_session_too() {
    let demo = start(&["turn.listen=127.0.0.1:0"]).await;
    let answer = reqwest::Client::new()
        .post(format!("{}/sign_in", demo.base_url()))
        .body(format!("5002:{}", demo.password().expose()));
    let text = answer.send().await.unwrap().text().await.unwrap();
    let ssid = text.trim().split('=').nth(1).unwrap();
    assert_eq!(ice(&demo, &format!("?id={ssid}")).await.0, 200);
    demo.stop().await;
}

#[tokio::test]
async fn what_is_handed_out_opens_a_relay_to_the_media() {
    let demo = start(&["turn.listen=127.0.0.1:0", "turn.credential_seconds=600"]).await;
    sign_in(&demo).await;
    let (_, body) = ice(&demo, "?id=me").await;
    assert_eq!(body["ttl"], 600);
    let server = &body["iceServers"][0];
    let urls: Vec<&str> =
        server["urls"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let at = urls[0].strip_prefix("turn:").unwrap().strip_suffix("?transport=udp").unwrap();
    assert_eq!(urls[1], format!("turn:{at}?transport=tcp"));
    let at: SocketAddr = at.parse().unwrap();

    // The messages are the bench's, the sockets real.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut bench = Bench::new();
    bench.username = server["username"].as_str().unwrap().to_owned();
    bench.password = server["credential"].as_str().unwrap().to_owned();
    bench.realm = "wrtc-gateway".to_owned();
    let ask = async |request: Message| {
        socket.send_to(&request.raw, at).await.unwrap();
        let mut buffer = vec![0; 1500];
        let (length, _) =
            tokio::time::timeout(LIMIT, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        let mut message = Message::new();
        message.unmarshal_binary(&buffer[..length]).unwrap();
        Reply { message }
    };
    let refusal = ask(message(METHOD_ALLOCATE, CLASS_REQUEST, &[udp()])).await;
    assert_eq!(refusal.code(), 401);
    bench.nonce = refusal.text(ATTR_NONCE);
    let opened = ask(bench.signed(METHOD_ALLOCATE, &[udp()])).await;
    assert_eq!(opened.code(), 0);
    assert_eq!(opened.address(ATTR_XORMAPPED_ADDRESS).port(), socket.local_addr().unwrap().port());
    let permitted = |at: &str| bench.signed(METHOD_CREATE_PERMISSION, &[peer(at)]);
    assert_eq!(ask(permitted("127.0.0.1:1")).await.code(), 0);
    assert_eq!(ask(permitted("192.0.2.1:1")).await.code(), 403);
    assert_eq!(demo.gateway().turn_stats().unwrap().allocations, 1);
    demo.stop().await;
}
