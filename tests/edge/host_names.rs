//! A stranger's name that was bent to the gateway's address gains nothing.

use crate::support::{Gateway, exchange};

async fn ask(gateway: &Gateway, path: &str, headers: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
    let (status, _, body) = exchange(gateway.address, &request).await.unwrap();
    (status, body)
}

const REBOUND: &str = "Host: evil.example\r\nOrigin: http://evil.example\r\n";

#[tokio::test]
async fn on_loopback_none_but_ours_by_default() {
    let gateway = Gateway::start(&[]).await;
    for path in ["/sign_in?5000", "/api/webrtc/sign_in?id=a&dn=5000&password=", "/wait?id=x"] {
        let (status, body) = ask(&gateway, path, REBOUND).await;
        assert!(status == 403 && body.contains("http.allowed_hosts"), "{path}: {status} {body}");
    }
    assert!(gateway.backend.sign_ins.lock().unwrap().is_empty());
    assert_eq!(ask(&gateway, "/", REBOUND).await.0, 200, "files are everybody's");
    for headers in [
        "Host: localhost:8086\r\n",
        "Host: 192.0.2.1\r\n",
        // A browser that came to a TLS proxy in front.
        "Host: gw.example\r\nSec-Fetch-Site: same-origin\r\n",
        "Host: gw.example\r\nOrigin: https://gw.example\r\n",
    ] {
        assert_eq!(ask(&gateway, "/sign_in?5000", headers).await.0, 200, "{headers}");
    }
}

#[tokio::test]
async fn a_list_holds_everywhere() {
    let sets = ["http.allowed_hosts=gw.example", "http.listen=0.0.0.0:0"];
    let mut gateway = Gateway::start(&sets).await;
    gateway.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(ask(&gateway, "/sign_in?5000", "Host: gw.example:8086\r\n").await.0, 200);
    assert_eq!(ask(&gateway, "/sign_in?5000", "Host: 127.0.0.1\r\n").await.0, 200);
    assert_eq!(ask(&gateway, "/sign_in?5000", REBOUND).await.0, 403);
    let claims = "Host: evil.example\r\nSec-Fetch-Site: same-origin\r\n";
    assert_eq!(ask(&gateway, "/sign_in?5000", claims).await.0, 403);
}
