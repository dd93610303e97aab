//! Sign-ins, sign-outs and calls that meet while the SIP server has not answered yet.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::browser::LIMIT;
use crate::support::gateway::Demo;
use crate::support::wire::Wire;

/// The SIP server as a test plays it: hears what it is asked, answers when the test wants it.
struct Registrar {
    socket: tokio::net::UdpSocket,
    /// Requests, and what each was answered.
    granted: Mutex<HashMap<String, String>>,
}

impl Registrar {
    async fn start() -> Self {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        Self { socket, granted: Mutex::default() }
    }

    /// The next REGISTER that was not granted yet: what it asks for, and what to answer with.
    async fn heard(&self) -> (bool, String, SocketAddr) {
        let (text, answer, from) = self.next().await;
        (text.contains("\r\nExpires: 0\r\n"), answer, from)
    }

    async fn grant(&self) -> bool {
        let (text, answer, from) = self.next().await;
        self.socket.send_to(answer.as_bytes(), from).await.expect("sent");
        let leaves = text.contains("\r\nExpires: 0\r\n");
        self.granted.lock().expect("granted").insert(text, answer);
        leaves
    }

    /// One whose answer was late has been sent again, and gets the same.
    async fn next(&self) -> (String, String, SocketAddr) {
        let mut buffer = [0; 4096];
        loop {
            let (n, from) = tokio::time::timeout(LIMIT, self.socket.recv_from(&mut buffer))
                .await
                .expect("a REGISTER")
                .expect("a datagram");
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            assert!(text.starts_with("REGISTER "), "{text}");
            let granted = self.granted.lock().expect("granted").get(&text).cloned();
            let Some(answer) = granted else {
                let answer = confirmation(&text);
                return (text, answer, from);
            };
            self.socket.send_to(answer.as_bytes(), from).await.expect("sent");
        }
    }
}

fn confirmation(request: &str) -> String {
    let names = ["Via:", "From:", "To:", "Call-ID:", "CSeq:", "Contact:"];
    let kept = request.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    let kept: Vec<&str> = kept.collect();
    format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", kept.join("\r\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_waits_for_the_sign_out_before_it() {
    let registrar = Registrar::start().await;
    let demo = Demo::alone(registrar.socket.local_addr().expect("bound")).await;
    let wire = Wire::new(&demo.base);
    let (first, _) = tokio::join!(wire.sign_in_get("5001"), registrar.grant());
    let ssid = first.ssid();
    // The page goes and comes back at once, before the SIP server has confirmed that it went.
    let out = tokio::spawn({
        let wire = wire.clone();
        async move { wire.sign_out(&ssid).await }
    });
    let (leaves, confirmed, from) = registrar.heard().await;
    assert!(leaves);
    let back = tokio::spawn({
        let wire = wire.clone();
        async move { wire.sign_in_get("5001").await }
    });
    let soon = tokio::time::Instant::now() + Duration::from_millis(300);
    while let Ok((leaves, ..)) = tokio::time::timeout_at(soon, registrar.heard()).await {
        assert!(leaves, "a REGISTER that a repeated sign-out would undo");
    }
    registrar.socket.send_to(confirmed.as_bytes(), from).await.expect("sent");
    assert_eq!(out.await.expect("signed out").status, 200);
    // Repetitions of the one that was confirmed may have been under way.
    while registrar.grant().await {}
    assert_eq!(back.await.expect("signed in").status, 200);
    demo.until_agents(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_leaves_the_registration_to_a_sign_in_that_waits() {
    let registrar = Registrar::start().await;
    let demo = Demo::alone(registrar.socket.local_addr().expect("bound")).await;
    let wire = Wire::new(&demo.base);
    let (first, _) = tokio::join!(wire.sign_in_get("5001"), registrar.grant());
    let newer = tokio::spawn({
        let wire = wire.clone();
        async move { wire.sign_in_get("5001").await }
    });
    let (leaves, granted, from) = registrar.heard().await;
    assert!(!leaves);
    assert_eq!(wire.sign_out(&first.ssid()).await.status, 200);
    registrar.socket.send_to(granted.as_bytes(), from).await.expect("sent");
    assert_eq!(newer.await.expect("signed in").status, 200);
    let quiet = tokio::time::timeout(Duration::from_millis(700), async {
        while !registrar.grant().await {}
    });
    assert!(quiet.await.is_err(), "the DN was taken out of service");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_under_way_does_not_hold_up_the_end() {
    let registrar = Registrar::start().await;
    let demo = Demo::alone(registrar.socket.local_addr().expect("bound")).await;
    let wire = Wire::new(&demo.base);
    let pending = tokio::spawn(async move { wire.sign_in_get("5001").await });
    let (_, granted, from) = registrar.heard().await;
    let stopped = tokio::spawn(demo.stop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    registrar.socket.send_to(granted.as_bytes(), from).await.expect("sent");
    tokio::time::timeout(LIMIT, stopped).await.expect("it ends").expect("and well");
    pending.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_during_the_sign_out_is_refused_at_once() {
    let registrar = Registrar::start().await;
    let demo = Demo::alone(registrar.socket.local_addr().expect("bound")).await;
    let wire = Wire::new(&demo.base);
    let (first, _) = tokio::join!(wire.sign_in_get("5001"), registrar.grant());
    let ssid = first.ssid();
    let out = tokio::spawn(async move { wire.sign_out(&ssid).await });
    let (leaves, confirmed, from) = registrar.heard().await;
    assert!(leaves);
    let invite = format!(
        "INVITE sip:5001@{0} SIP/2.0\r\nVia: SIP/2.0/UDP {1};branch=z9hG4bKlate\r\n\
         From: <sip:7123@{1}>;tag=f\r\nTo: <sip:5001@{0}>\r\nCall-ID: late\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:7123@{1}>\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        demo.sip,
        registrar.socket.local_addr().expect("bound"),
    );
    registrar.socket.send_to(invite.as_bytes(), from).await.expect("sent");
    // And not with the sign-out, which is not confirmed yet.
    let soon = tokio::time::Instant::now() + LIMIT;
    let mut buffer = [0; 4096];
    loop {
        let answer = tokio::time::timeout_at(soon, registrar.socket.recv_from(&mut buffer)).await;
        let (n, _) = answer.expect("a final answer").expect("a datagram");
        if buffer[..n].starts_with(b"SIP/2.0 480") {
            break;
        }
    }
    registrar.socket.send_to(confirmed.as_bytes(), from).await.expect("sent");
    assert_eq!(out.await.expect("signed out").status, 200);
}
