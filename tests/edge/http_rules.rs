//! What holds for every path: origins, limits, files, base path, TLS.

use std::sync::Arc;

use crate::support::{
    Gateway, PASSWORD, envelope, eventually, exchange, get, hangs, header, read_response,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wrtc_gateway::wire::ToBrowser;

async fn ask(gateway: &Gateway, method: &str, path: &str, headers: &str) -> (u16, String, String) {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: gw\r\n{headers}\r\n");
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    read_response(&mut stream).await.unwrap()
}

const WWE: &str = "Origin: https://wwe.example\r\n";
const EVIL: &str = "Origin: https://evil.example\r\n";

#[tokio::test]
async fn allowed_origin_is_echoed_with_credentials() {
    let gateway = Gateway::start(&["http.allowed_origins=https://wwe.example"]).await;
    for (method, path) in [
        ("GET", "/sign_in?5000"),
        ("GET", "/wait?id=unknown"),
        ("GET", "/api/webrtc/message?id=unknown"),
        ("GET", "/api/health"),
    ] {
        let (_, head, _) = ask(&gateway, method, path, WWE).await;
        let origin = header(&head, "access-control-allow-origin");
        assert_eq!(origin, Some("https://wwe.example"), "{path}");
        assert_eq!(header(&head, "access-control-allow-credentials"), Some("true"));
        assert_eq!(header(&head, "vary"), Some("Origin"));
        let exposed = header(&head, "access-control-expose-headers").unwrap();
        assert!(exposed.contains("X-Wrtc-Seq") && exposed.contains("X-Genesys-CallUUID"));
    }
}

#[tokio::test]
async fn preflights() {
    let gateway = Gateway::start(&["http.allowed_origins=https://wwe.example"]).await;
    let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type,x-a\r\n\
                 Access-Control-Request-Private-Network: true\r\n";
    for path in
        ["/message?from=x&to=y", "/sign_in", "/wait?id=x", "/api/webrtc/message?from=x", "/"]
    {
        let (status, head, _) = ask(&gateway, "OPTIONS", path, &format!("{WWE}{asked}")).await;
        assert_eq!(status, 204);
        for (name, value) in [
            ("access-control-allow-origin", "https://wwe.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-headers", "content-type,x-a"),
            ("access-control-allow-private-network", "true"),
        ] {
            assert_eq!(header(&head, name), Some(value), "{path} {name}");
        }
        assert!(header(&head, "access-control-allow-methods").unwrap().contains("POST"));
        let (_, head, _) = ask(&gateway, "OPTIONS", path, &format!("{EVIL}{asked}")).await;
        assert!(!head.to_ascii_lowercase().contains("access-control"), "{head}");
    }
    // Private network only when asked.
    let (_, head, _) = ask(&gateway, "OPTIONS", "/wait", WWE).await;
    assert_eq!(header(&head, "access-control-allow-private-network"), None);
}

#[tokio::test]
async fn foreign_pages_do_nothing() {
    let gateway = Gateway::start(&["http.allowed_origins=https://wwe.example"]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    session.post(envelope("1003", ToBrowser::Talk)).unwrap();
    let image = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";
    for headers in [EVIL, "Origin: null\r\n", "Origin: https://wwe.example.evil.example\r\n", image]
    {
        for path in [
            "/sign_in?5000".to_owned(),
            format!("/wait?id={ssid}"),
            format!("/sign_out?id={ssid}"),
            "/api/webrtc/sign_in?id=a&dn=5000&password=".to_owned(),
            "/api/webrtc/sign_out?id=a".to_owned(),
            "/api/webrtc/message?id=a".to_owned(),
        ] {
            let (status, head, body) = ask(&gateway, "GET", &path, headers).await;
            assert_eq!(status, 403, "{path}");
            assert!(header(&head, "access-control-allow-origin").is_none());
            assert!(body.contains("allowed_origins"));
        }
        assert_eq!(ask(&gateway, "GET", "/api/health", headers).await.0, 200);
    }
    assert_eq!((gateway.backend.sessions.len(), session.backlog()), (1, 1));
}

#[tokio::test]
async fn own_and_loopback_pages_may_by_default() {
    let gateway = Gateway::start(&[]).await;
    for origin in ["http://gw", "https://gw", "http://localhost:5173", "http://127.0.0.1:1"] {
        let (status, head, _) =
            ask(&gateway, "GET", "/sign_in?5000", &format!("Origin: {origin}\r\n")).await;
        assert_eq!((status, header(&head, "access-control-allow-origin")), (200, Some(origin)));
    }
    assert_eq!(ask(&gateway, "GET", "/sign_in?5000", WWE).await.0, 403);
    let gateway = Gateway::start(&["http.allowed_origins=*"]).await;
    let (status, head, _) = ask(&gateway, "GET", "/sign_in?5000", "Origin: null\r\n").await;
    assert_eq!((status, header(&head, "access-control-allow-origin")), (200, Some("null")));
}

#[tokio::test]
async fn oversized_requests() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, _session) = gateway.jsapi_sign_in("5001").await;
    for (path, size) in [
        (format!("/message?from={ssid}&to=1003"), 64 * 1024 + 1),
        (format!("/message?from={ssid}&to=1003"), 500_000),
        ("/sign_in".to_owned(), 70_000),
        ("/api/webrtc/sign_in".to_owned(), 70_000),
    ] {
        let body = "x".repeat(size);
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: g\r\nContent-Length: {size}\r\n\r\n{body}");
        let (status, _, why) = exchange(gateway.address, &request).await.unwrap();
        assert_eq!(status, 413, "{path} {size}");
        assert!(why.contains("64 KiB"), "{why}");
    }
    // The limit itself is fine, as far as HTTP is concerned.
    let body = format!("INFO-PEER {}", "x".repeat(64 * 1024 - 10));
    let request = format!(
        "POST /message?from={ssid}&to=1 HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(exchange(gateway.address, &request).await.unwrap().0, 200);
    let long = "x".repeat(60_000);
    for request in [
        get(&format!("/wait?id={long}")),
        format!("GET /wait?id=x HTTP/1.1\r\nHost: g\r\nCookie: {long}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: g\r\n{}\r\n", "A: b\r\n".repeat(200)),
    ] {
        // Refused by status, or by closing before all of it was read.
        if let Ok((status, ..)) = exchange(gateway.address, &request).await {
            assert!((400..500).contains(&status), "{status}");
        }
    }
    assert_eq!(exchange(gateway.address, &get("/api/health")).await.unwrap().0, 200);
}

#[tokio::test]
async fn garbage_is_answered_or_closed_and_nothing_else_is_disturbed() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    let mut hanging = TcpStream::connect(gateway.address).await.unwrap();
    hanging.write_all(get(&format!("/wait?id={ssid}")).as_bytes()).await.unwrap();
    eventually("the poll hangs", || hangs(&session)).await;
    for seed in 0..200u64 {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let bytes: Vec<u8> =
            (0..300).map(|i| (seed.wrapping_mul(6364136223846793005 + i) >> 33) as u8).collect();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.write_all(b"\r\n\r\n").await;
        let _ = stream.shutdown().await;
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink).await;
    }
    let not_text =
        [&b"POST /sign_in HTTP/1.1\r\nHost: g\r\nContent-Length: 3\r\n\r\n"[..], &[255, 254, 58]]
            .concat();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(&not_text).await.unwrap();
    assert_eq!(read_response(&mut stream).await.unwrap().0, 400);
    session.post(envelope("1", ToBrowser::Talk)).unwrap();
    assert_eq!(read_response(&mut hanging).await.unwrap().2, "EVENT-TALK");
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down_and_nobody_else_is() {
    let gateway = Gateway::start(&[]).await;
    let sign_in = |dn: &str, password: &str| {
        let body = format!("{dn}:{password}");
        format!("POST /sign_in HTTP/1.1\r\nHost: g\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for _ in 0..5 {
        assert_eq!(exchange(gateway.address, &sign_in("5001", "x")).await.unwrap().0, 401);
    }
    let tries = gateway.backend.sign_ins.lock().unwrap().len();
    let (status, head, _) = exchange(gateway.address, &sign_in("5001", "x")).await.unwrap();
    assert_eq!(status, 429);
    assert!(header(&head, "retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(gateway.backend.sign_ins.lock().unwrap().len(), tries, "not even tried");
    let rest = get("/api/webrtc/sign_in?id=a&dn=5001&password=x");
    let (status, head, body) = exchange(gateway.address, &rest).await.unwrap();
    assert_eq!((status, header(&head, "retry-after").is_some()), (429, true));
    assert!(body.contains("too_many_tries"));
    // A page that signs in correctly, again and again.
    for _ in 0..100 {
        assert_eq!(exchange(gateway.address, &sign_in("5002", PASSWORD)).await.unwrap().0, 200);
    }
}

#[tokio::test]
async fn files() {
    let gateway = Gateway::start(&["http.allowed_origins=https://wwe.example"]).await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/grtc.js", "text/javascript; charset=utf-8"),
        ("/grtc.mjs", "text/javascript; charset=utf-8"),
    ] {
        // For pages elsewhere too: the library is loaded from here.
        for headers in ["", WWE, EVIL] {
            let (status, head, body) = ask(&gateway, "GET", path, headers).await;
            assert_eq!((status, header(&head, "content-type")), (200, Some(kind)), "{path}");
            assert!(!body.is_empty());
            let etag = header(&head, "etag").unwrap().to_owned();
            let fresh = format!("{headers}If-None-Match: \"x\", W/{etag}\r\n");
            let (status, head, body) = ask(&gateway, "GET", path, &fresh).await;
            assert_eq!((status, body.as_str()), (304, ""));
            assert_eq!(header(&head, "etag"), Some(etag.as_str()));
        }
        let (_, head, _) = ask(&gateway, "GET", path, "").await;
        let policy = header(&head, "content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'self' https://wwe.example"), "{policy}");
        assert!(policy.contains("script-src 'self'"), "{policy}");
        assert_eq!(header(&head, "cache-control"), Some("no-cache"));
        assert_eq!(ask(&gateway, "POST", path, "Content-Length: 0\r\n").await.0, 405);
        let head = reqwest::Client::new().head(gateway.url(path)).send().await.unwrap();
        assert_eq!(
            (head.status().as_u16(), head.headers()["content-type"].as_bytes()),
            (200, kind.as_bytes())
        );
    }
    for path in ["/nothing.js", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "/.gitkeep", "//etc/passwd"]
    {
        let (status, head, _) = ask(&gateway, "GET", path, "").await;
        assert_eq!(
            (status, header(&head, "x-content-type-options")),
            (404, Some("nosniff")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn base_path() {
    let gateway = Gateway::start(&["http.base_path=/webrtc/gw"]).await;
    let under = |path: &str| format!("/webrtc/gw{path}");
    let (status, _, body) = ask(&gateway, "GET", &under("/sign_in?5000"), "").await;
    assert_eq!(status, 200);
    let ssid = body.trim().split('=').nth(1).unwrap().to_owned();
    gateway.backend.by_ssid_or_panic(&ssid).post(envelope("1", ToBrowser::Talk)).unwrap();
    let (_, _, body) = ask(&gateway, "GET", &under(&format!("/wait?id={ssid}")), "").await;
    assert_eq!(body, "EVENT-TALK");
    assert_eq!(ask(&gateway, "GET", &under("/api/health"), "").await.0, 200);
    assert_eq!(ask(&gateway, "GET", &under("/sign_in?5000"), EVIL).await.0, 403);
    let (status, _, body) = ask(&gateway, "GET", &under("/api/webrtc/sign_in?"), EVIL).await;
    assert!(status == 403 && body.starts_with('{'));
    assert_eq!(ask(&gateway, "GET", "/sign_in?5000", "").await.0, 404);
    assert_eq!(ask(&gateway, "GET", "/webrtc/gwx/sign_in?5000", "").await.0, 404);
    for path in ["/", "/webrtc/gw"] {
        let (status, head, _) = ask(&gateway, "GET", path, "").await;
        assert_eq!((status, header(&head, "location")), (302, Some("/webrtc/gw/")), "{path}");
    }
    let (status, _, page) = ask(&gateway, "GET", "/webrtc/gw/", "").await;
    assert!(status == 200 && page.contains("<html"), "where they lead is the page");
}

/// The delivery rules again, inside TLS.
#[tokio::test]
async fn tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("wrtc-tls-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&folder).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let gateway = Gateway::start(&[
        &format!("http.tls_cert={}", cert.display()),
        &format!("http.tls_key={}", key.display()),
    ])
    .await;
    assert_eq!(gateway.scheme, "https");

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connect = async || {
        let tcp = TcpStream::connect(gateway.address).await.unwrap();
        connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap()
    };

    let mut stream = connect().await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(get("/sign_in?5000").as_bytes()).await.unwrap();
    let ssid =
        read_response(&mut stream).await.unwrap().2.trim().split('=').nth(1).unwrap().to_owned();
    let session = gateway.backend.by_ssid_or_panic(&ssid);
    let poll = get(&format!("/wait?id={ssid}"));
    for n in 0..40 {
        session.post(envelope("1003", ToBrowser::InfoPeer(format!("n={n}")))).unwrap();
        let mut cut = connect().await;
        cut.write_all(poll.as_bytes()).await.unwrap();
        match n % 3 {
            // Unread: comes again. (A record that the client's TLS has taken from the kernel counts
            // as read, whatever its application does with it.)
            0 => drop(cut),
            1 => {
                cut.get_ref().0.readable().await.unwrap();
                drop(cut);
            }
            // Read, and closed in good order: does not.
            _ => {
                assert_eq!(read_response(&mut cut).await.unwrap().2, format!("INFO-PEER n={n}"));
                let _ = cut.shutdown().await;
                drop(cut);
                eventually("it is confirmed", || session.backlog() == 0).await;
                continue;
            }
        }
        stream.write_all(poll.as_bytes()).await.unwrap();
        let body = read_response(&mut stream).await.unwrap().2;
        assert_eq!(body, format!("INFO-PEER n={n}"));
    }
    drop(gateway);
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn unusable_certificates_are_told() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = wrtc_gateway::config::Config::load(
        None,
        [],
        &[
            "sip.servers=a".into(),
            "http.listen=127.0.0.1:0".into(),
            "http.tls_cert=/nonexistent/c.pem".into(),
            "http.tls_key=/nonexistent/k.pem".into(),
        ],
    )
    .unwrap();
    let backend = Arc::new(crate::support::FakeBackend::default());
    let error = wrtc_gateway::http::Server::bind(&config.http, backend).err().unwrap();
    assert!(error.to_string().starts_with("http.tls_cert = /nonexistent/c.pem"), "{error}");
}
