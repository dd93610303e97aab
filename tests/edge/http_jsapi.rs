//! grtc-wire.md from outside, without a call behind it.

use std::time::{Duration, Instant};

use crate::support::{
    Gateway, PASSWORD, envelope, eventually, exchange, get, hangs, header, read_response,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wrtc_gateway::agent::{EndReason, Identity, MessageError, PostError};
use wrtc_gateway::wire::{FromBrowser, RoapIds, ToBrowser};

fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: g\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A poll that hangs, seen from the gateway.
async fn hang(gateway: &Gateway, ssid: &str, session: &wrtc_gateway::agent::Session) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(get(&format!("/wait?id={ssid}")).as_bytes()).await.unwrap();
    eventually("the poll hangs", || hangs(session)).await;
    stream
}

#[tokio::test]
async fn sign_in_by_get_and_post() {
    let gateway = Gateway::start(&[]).await;
    let (status, head, body) = exchange(gateway.address, &get("/sign_in?5000")).await.unwrap();
    assert_eq!(status, 200);
    assert!(header(&head, "content-type").unwrap().starts_with("text/plain"));
    // As the client does it.
    let ssid = body.split('\n').next().unwrap().split('=').nth(1).unwrap();
    let safe = |c: char| c.is_ascii_alphanumeric() || "._-~".contains(c);
    assert!(ssid.len() >= 22 && ssid.chars().all(safe), "{ssid}");
    assert!(gateway.backend.sessions.by_ssid(ssid).is_some());

    // `:` `&` `%` `+` `=` and a space, all raw.
    let (status, _, _) =
        exchange(gateway.address, &post("/sign_in", &format!("5001:{PASSWORD}"))).await.unwrap();
    assert_eq!(status, 200);
    let sign_in = gateway.backend.sign_ins.lock().unwrap().pop().unwrap();
    assert_eq!(sign_in.identity, Identity::Dn("5001".into()));
    assert_eq!(sign_in.password.unwrap().expose(), PASSWORD);

    let guest = format!("anon{}", "4".repeat(32));
    let (status, _, _) =
        exchange(gateway.address, &get(&format!("/sign_in?{guest}"))).await.unwrap();
    assert_eq!(status, 200);
    let sign_in = gateway.backend.sign_ins.lock().unwrap().pop().unwrap();
    assert_eq!(sign_in.identity, Identity::Anonymous(guest));
}

#[tokio::test]
async fn sign_in_refusals() {
    let gateway = Gateway::start(&[]).await;
    for (request, expected) in [
        (get("/sign_in"), 400),
        (get("/sign_in?"), 400),
        (get("/sign_in?id=5001"), 400),
        (get("/sign_in?a%0Ab"), 400),
        (post("/sign_in", ""), 400),
        (post("/sign_in", ":x"), 400),
        (post("/sign_in", "5001:wrong"), 401),
        (get("/sign_in?5001"), 401),
        (post("/sign_in", "4030:x"), 403),
        (post("/sign_in", "4040:x"), 404),
        (post("/sign_in", "5030:x"), 503),
        (post("/sign_in", "5040:x"), 503),
    ] {
        let (status, head, body) = exchange(gateway.address, &request).await.unwrap();
        assert_eq!(status, expected, "{request}");
        assert!(!body.trim().is_empty(), "says why: {request}");
        assert!(header(&head, "content-type").unwrap().starts_with("text/plain"));
    }
}

#[tokio::test]
async fn sign_in_twice_ends_the_older_session() {
    let gateway = Gateway::start(&[]).await;
    let (old_ssid, old) = gateway.jsapi_sign_in("5001").await;
    let mut hanging = hang(&gateway, &old_ssid, &old).await;
    let (new_ssid, new) = gateway.jsapi_sign_in("5001").await;
    let (status, _, body) = read_response(&mut hanging).await.unwrap();
    assert_eq!((status, body.as_str()), (404, EndReason::Replaced.sentence()));
    for request in [
        get(&format!("/wait?id={old_ssid}")),
        post(&format!("/message?from={old_ssid}&to=null"), "BYE"),
    ] {
        assert_eq!(exchange(gateway.address, &request).await.unwrap().0, 404);
    }
    // The old page's belated sign-out is answered and harms nothing.
    let sign_out = get(&format!("/sign_out?id={old_ssid}"));
    assert_eq!(exchange(gateway.address, &sign_out).await.unwrap().0, 200);
    let mut hanging = hang(&gateway, &new_ssid, &new).await;
    new.post(envelope("1003", ToBrowser::Talk)).unwrap();
    assert_eq!(read_response(&mut hanging).await.unwrap().2, "EVENT-TALK");
}

#[tokio::test]
async fn wait_delivers_with_the_peer_in_pragma() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    let ids = RoapIds { offerer: 7, answerer: None, seq: 1 };
    // What the dialect has no word for is not delivered.
    session.post(envelope("1003", ToBrowser::Ringing)).unwrap();
    session.post(envelope("1003", ToBrowser::Ok { ids })).unwrap();
    session.post(envelope("", ToBrowser::Hold)).unwrap();
    let poll = get(&format!("/wait?id={ssid}"));
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(poll.as_bytes()).await.unwrap();
    let (status, head, body) = read_response(&mut stream).await.unwrap();
    assert_eq!((status, header(&head, "pragma")), (200, Some("1003")));
    assert!(body.starts_with("SDP {"), "{body}");
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    stream.write_all(poll.as_bytes()).await.unwrap();
    let (_, head, body) = read_response(&mut stream).await.unwrap();
    assert_eq!((body.as_str(), header(&head, "pragma")), ("EVENT-HOLD", None));
}

#[tokio::test]
async fn second_poll_takes_over() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    let mut first = hang(&gateway, &ssid, &session).await;
    let mut second = TcpStream::connect(gateway.address).await.unwrap();
    second.write_all(get(&format!("/wait?id={ssid}")).as_bytes()).await.unwrap();
    let (status, _, body) = read_response(&mut first).await.unwrap();
    assert_eq!((status, body.as_str()), (200, ""));
    session.post(envelope("1003", ToBrowser::Talk)).unwrap();
    assert_eq!(read_response(&mut second).await.unwrap().2, "EVENT-TALK");
}

#[tokio::test]
async fn poll_hung_up_while_a_message_is_written() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    for n in 0..50 {
        let hanging = hang(&gateway, &ssid, &session).await;
        session.post(envelope("1003", ToBrowser::InfoPeer(format!("n={n}")))).unwrap();
        if n % 2 == 0 {
            // The response is in the client's kernel by the time that it hangs up.
            hanging.readable().await.unwrap();
        }
        drop(hanging);
        let (status, _, body) =
            exchange(gateway.address, &get(&format!("/wait?id={ssid}"))).await.unwrap();
        assert_eq!((status, body), (200, format!("INFO-PEER n={n}")));
    }
    eventually("all is confirmed", || session.backlog() == 0).await;
}

/// The client goes on on another connection and leaves the first one open, as browsers' pools do.
#[tokio::test]
async fn message_read_on_a_connection_that_stays_open_does_not_come_again() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    let poll = get(&format!("/wait?id={ssid}"));
    let mut connections = Vec::new();
    for n in 0..5 {
        session.post(envelope("1003", ToBrowser::InfoPeer(format!("n={n}")))).unwrap();
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(poll.as_bytes()).await.unwrap();
        assert_eq!(read_response(&mut stream).await.unwrap().2, format!("INFO-PEER n={n}"));
        connections.push(stream);
    }
    // Any request on the same connection says that the response was read.
    let stream = connections.last_mut().unwrap();
    assert_eq!(session.backlog(), 1);
    stream.write_all(get("/api/health").as_bytes()).await.unwrap();
    assert_eq!(read_response(stream).await.unwrap().0, 200);
    assert_eq!(session.backlog(), 0);
}

#[tokio::test]
async fn head_does_not_eat_a_message() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    session.post(envelope("1003", ToBrowser::Talk)).unwrap();
    for path in [format!("/wait?id={ssid}"), format!("/sign_out?id={ssid}"), "/sign_in?5000".into()]
    {
        let client = reqwest::Client::new();
        let response = client.head(gateway.url(&path)).send().await.unwrap();
        assert_eq!(response.status(), 405, "{path}");
        assert!(response.headers()["allow"].to_str().unwrap().contains("GET"));
    }
    let (_, _, body) = exchange(gateway.address, &get(&format!("/wait?id={ssid}"))).await.unwrap();
    assert_eq!(body, "EVENT-TALK");
}

#[tokio::test]
async fn messages_reach_the_backend_as_they_are() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, _session) = gateway.jsapi_sign_in("5001").await;
    let ok = RoapIds { offerer: 1, answerer: None, seq: 1 };
    let roap_ok = r#"RSMP {"messageType":"OK","offererSessionId":1,"seq":1}"#;
    // The retried POST is passed on: the call knows that it is the same.
    for (to, body) in [
        ("1003", roap_ok),
        ("1003", roap_ok),
        ("null", "BYE"),
        ("undefined", "BYE"),
        (ssid.as_str(), "GET-STATS"),
        ("+49%2D1", "INFO-MAP a=b&c=%20d"),
    ] {
        let request = post(&format!("/message?from={ssid}&to={to}"), body);
        assert_eq!(exchange(gateway.address, &request).await.unwrap().0, 200, "{body}");
    }
    let received: Vec<_> =
        gateway.backend.received().into_iter().map(|r| (r.to, r.message)).collect();
    assert_eq!(
        received,
        [
            (Some("1003".into()), FromBrowser::Ok { ids: ok }),
            (Some("1003".into()), FromBrowser::Ok { ids: ok }),
            (None, FromBrowser::Bye),
            (None, FromBrowser::Bye),
            (None, FromBrowser::GetStats),
            (Some("+49-1".into()), FromBrowser::InfoMap("a=b&c=%20d".into())),
        ]
    );
}

#[tokio::test]
async fn messages_that_are_refused() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, _session) = gateway.jsapi_sign_in("5001").await;
    let path = format!("/message?from={ssid}&to=1003");
    for body in ["", "HELLO", "RSMP", "RSMP {\"messageType\":", "RSMP {\"messageType\":\"OFFER\"}"]
    {
        let (status, _, why) = exchange(gateway.address, &post(&path, body)).await.unwrap();
        assert_eq!(status, 400, "{body}");
        assert!(!why.is_empty());
    }
    for (error, expected) in [
        (MessageError::BadRequest("x".into()), 400),
        (MessageError::NotSignedIn, 404),
        (MessageError::WrongState("x".into()), 409),
        (MessageError::UnusableSdp("x".into()), 422),
        (MessageError::Unavailable("x".into()), 503),
    ] {
        *gateway.backend.refuse.lock().unwrap() = Some(error);
        assert_eq!(exchange(gateway.address, &post(&path, "BYE")).await.unwrap().0, expected);
    }
    for unknown in ["/message?from=nobody&to=1", "/message?to=1", "/message"] {
        assert_eq!(exchange(gateway.address, &post(unknown, "BYE")).await.unwrap().0, 404);
    }
    assert_eq!(exchange(gateway.address, &get("/wait?id=nobody")).await.unwrap().0, 404);
    assert_eq!(exchange(gateway.address, &get(&path)).await.unwrap().0, 405);
    assert!(gateway.backend.received().is_empty());
}

#[tokio::test]
async fn sign_out_ends_the_hanging_poll() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    let mut hanging = hang(&gateway, &ssid, &session).await;
    let sign_out = get(&format!("/sign_out?id={ssid}"));
    assert_eq!(exchange(gateway.address, &sign_out).await.unwrap().0, 200);
    let (status, _, body) = read_response(&mut hanging).await.unwrap();
    assert_eq!((status, body.as_str()), (200, ""));
    assert_eq!(session.end_reason(), Some(EndReason::SignedOut));
    // Unknown sessions too.
    assert_eq!(exchange(gateway.address, &sign_out).await.unwrap().0, 200);
    assert_eq!(exchange(gateway.address, &get("/sign_out")).await.unwrap().0, 200);
}

#[tokio::test]
async fn mailbox_that_runs_over_ends_the_session() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    let bye = || ToBrowser::Bye { code: 200, reason: "OK".to_owned() };
    for _ in 0..wrtc_gateway::agent::mailbox::CAPACITY {
        session.post(envelope("1003", bye())).unwrap();
    }
    assert_eq!(session.post(envelope("", bye())), Err(PostError::MailboxFull));
    assert_eq!(session.end_reason(), Some(EndReason::MailboxFull));
    assert_eq!(session.post(envelope("", bye())), Err(PostError::Ended));
    let poll = get(&format!("/wait?id={ssid}"));
    assert_eq!(exchange(gateway.address, &poll).await.unwrap().0, 404);
}

#[tokio::test]
async fn presence_follows_the_poll() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    let later = Duration::from_secs(3600);
    assert!(session.is_present(Instant::now()), "it has just signed in");
    assert!(!session.is_present(Instant::now() + later), "and does not poll yet");
    let hanging = hang(&gateway, &ssid, &session).await;
    assert!(session.is_present(Instant::now() + later));
    drop(hanging);
    eventually("the hang-up is noticed", || !session.is_present(Instant::now() + later)).await;
    assert!(session.is_present(Instant::now()), "it may be on its way back");
}

#[tokio::test]
async fn shutdown_ends_polls_and_returns() {
    let gateway = Gateway::start(&[]).await;
    let (ssid, session) = gateway.jsapi_sign_in("5001").await;
    let mut hanging = hang(&gateway, &ssid, &session).await;
    let address = gateway.address;
    gateway.stop().await;
    let (status, _, body) = read_response(&mut hanging).await.unwrap();
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(TcpStream::connect(address).await.is_err(), "the port is free");
}
