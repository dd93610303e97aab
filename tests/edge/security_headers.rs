//! What every answer tells a browser of how to treat it.

use crate::support::{Gateway, exchange, get, header};

async fn head(gateway: &Gateway, path: &str) -> String {
    exchange(gateway.address, &get(path)).await.unwrap().1
}

#[tokio::test]
async fn on_pages_answers_and_faults() {
    let gateway = Gateway::start(&[]).await;
    for path in
        ["/", "/grtc.js", "/nothing", "/api/health", "/api/nothing", "/wait?id=x", "/sign_in?5000"]
    {
        let head = head(&gateway, path).await;
        let told = |name| header(&head, name).unwrap_or_default();
        assert_eq!(told("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(told("referrer-policy"), "no-referrer", "{path}");
        assert!(told("permissions-policy").contains("microphone=(self)"), "{path}");
        assert!(told("content-security-policy").contains("default-src '"), "{path}");
        assert_eq!(header(&head, "strict-transport-security"), None, "plain HTTP");
        let is_file = path == "/" || path == "/grtc.js";
        let wanted = if is_file { "cross-origin" } else { "same-origin" };
        assert_eq!(told("cross-origin-resource-policy"), wanted, "{path}");
        let nothing = "default-src 'none'; frame-ancestors 'none'";
        assert_eq!(told("content-security-policy").starts_with(nothing), !is_file, "{path}");
    }
}

#[tokio::test]
async fn who_may_frame_is_told_apart_from_who_may_ask() {
    let sets =
        ["http.allowed_origins=https://api.example", "http.frame_ancestors=https://wwe.example"];
    let gateway = Gateway::start(&sets).await;
    let head = head(&gateway, "/gadget").await;
    let policy = header(&head, "content-security-policy").unwrap();
    assert!(policy.ends_with("frame-ancestors 'self' https://wwe.example"), "{policy}");
}
