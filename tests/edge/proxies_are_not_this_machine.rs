//! With `http.trusted_proxies` whoever connects from loopback is the proxy, and asks for anybody.

use wrtc_gateway::config::{OperatorToken, Role};

use crate::support::{Gateway, exchange};

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

/// An operator's, and WWE's without a token.
const PATHS: [&str; 2] = ["/api/agents", "/Ping"];

#[tokio::test]
async fn where_a_proxy_is_in_front_nobody_is_this_machine() {
    let alone = Gateway::start(&[]).await;
    for path in PATHS {
        assert_eq!(exchange(alone.address, &get(path, "")).await.unwrap().0, 200, "{path}");
    }
    // One on this machine, one that is elsewhere.
    for proxies in ["127.0.0.1", "192.0.2.0/24"] {
        let behind = Gateway::start(&[&format!("http.trusted_proxies={proxies}")]).await;
        for (path, word) in PATHS.into_iter().zip(["loopback_only", "a token is needed"]) {
            let (status, _, body) = exchange(behind.address, &get(path, "")).await.unwrap();
            assert_eq!(status, 403, "{path} behind {proxies}: {body}");
            assert!(body.contains(word), "{body}");
        }
    }
}

#[tokio::test]
async fn a_token_is_as_good_as_before() {
    let (token, line) = OperatorToken::make(Role::Read, None);
    let sets = ["http.trusted_proxies=127.0.0.1", &format!("http.operator_tokens={line}")];
    let behind = Gateway::start(&sets).await;
    let bearer = format!("Authorization: Bearer {}\r\n", token.expose());
    assert_eq!(exchange(behind.address, &get(PATHS[0], &bearer)).await.unwrap().0, 200);
}
