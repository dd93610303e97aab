//! grtc-wire.md, "Cross-origin".

use crate::support::gateway::{Demo, PASSWORD};
use crate::support::wire::Wire;
use reqwest::Method;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_readable_across_origins() {
    let demo = Demo::with_settings(&["http.allowed_origins=https://wwe.example:8443"]).await;
    let wire = Wire::new(&demo.base);
    let ssid = wire.sign_in_post("5001", PASSWORD).await.ssid();
    let origin = "https://wwe.example:8443";
    let requests = [
        (Method::GET, "/sign_in?50 01".replace(' ', "%20"), None),
        (Method::POST, "/sign_in".to_owned(), Some("5002:wrong")),
        (Method::GET, "/wait?id=nobody".to_owned(), None),
        (Method::POST, format!("/message?from={ssid}&to=null"), Some("BYE")),
        (Method::POST, "/message?from=nobody&to=1003".to_owned(), Some("BYE")),
        (Method::GET, format!("/sign_out?id={ssid}"), None),
    ];
    for (method, path, body) in requests {
        let mut request = wire
            .client
            .request(method.clone(), format!("{}{path}", wire.base))
            .header("Origin", origin);
        if let Some(body) = body {
            request = request.body(body);
        }
        let answer = request.send().await.expect("an answer");
        let header = |name: &str| {
            answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        assert_eq!(header("access-control-allow-origin"), origin, "{method} {path}");
        assert_eq!(header("access-control-allow-credentials"), "true", "{method} {path}");
        assert!(header("vary").to_ascii_lowercase().contains("origin"), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preflights_are_answered_private_network_access_among_them() {
    let demo = Demo::with_settings(&["http.allowed_origins=https://wwe.example"]).await;
    let wire = Wire::new(&demo.base);
    let origin = "https://wwe.example";
    for path in ["/sign_in", "/wait?id=x", "/message?from=x&to=y", "/sign_out?id=x"] {
        let answer = wire
            .client
            .request(Method::OPTIONS, format!("{}{path}", wire.base))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type")
            .header("Access-Control-Request-Private-Network", "true")
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let header = |name: &str| {
            answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        assert_eq!(header("access-control-allow-origin"), origin, "{path}");
        assert_eq!(header("access-control-allow-credentials"), "true", "{path}");
        assert_eq!(header("access-control-allow-private-network"), "true", "{path}");
        assert!(header("access-control-allow-methods").contains("POST"), "{path}");
        let allowed = header("access-control-allow-headers").to_ascii_lowercase();
        // With credentials a star is no wildcard.
        assert!(allowed.contains("content-type"), "{path}: {allowed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_is_not_allowed_is_not_let_read() {
    let demo = Demo::with_settings(&["http.allowed_origins=https://good.example"]).await;
    let wire = Wire::new(&demo.base);
    for (origin, allowed) in [("https://good.example", true), ("https://evil.example", false)] {
        let answer = wire
            .client
            .get(format!("{}/wait?id=nobody", wire.base))
            .header("Origin", origin)
            .send()
            .await
            .expect("an answer");
        let echoed = answer.headers().get("access-control-allow-origin").is_some();
        assert_eq!(echoed, allowed, "{origin}");
    }
}
