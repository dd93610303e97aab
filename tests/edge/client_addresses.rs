//! Behind a trusted proxy it is the client's address that counts.

use crate::support::{Gateway, exchange};

async fn guess(gateway: &Gateway, dn: &str, forwarded: &str) -> u16 {
    let body = format!("{dn}:wrong");
    let request = format!(
        "POST /sign_in HTTP/1.1\r\nHost: g\r\nX-Forwarded-For: {forwarded}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(gateway.address, &request).await.unwrap().0
}

#[tokio::test]
async fn guessing_is_counted_by_client() {
    let gateway = Gateway::start(&["http.trusted_proxies=127.0.0.1,10.0.0.0/8"]).await;
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(guess(&gateway, "5001", "203.0.113.1, 192.0.2.7, 10.1.1.1").await);
    }
    assert_eq!(told, [401, 401, 401, 401, 401, 429]);
    assert_eq!(guess(&gateway, "5001", "192.0.2.8").await, 401, "another client of the same proxy");
    // What stands before it is the client's own invention.
    assert_eq!(guess(&gateway, "5001", "198.51.100.99, 192.0.2.7").await, 429);
    let seen = gateway.backend.sign_ins.lock().unwrap().last().unwrap().remote;
    assert_eq!(seen.to_string(), "192.0.2.8");
}

#[tokio::test]
async fn who_is_no_proxy_is_not_believed() {
    let gateway = Gateway::start(&[]).await;
    let mut told = Vec::new();
    for n in 0..6 {
        told.push(guess(&gateway, "5001", &format!("192.0.2.{n}")).await);
    }
    assert_eq!(told, [401, 401, 401, 401, 401, 429]);
}
