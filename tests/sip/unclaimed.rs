//! What an endpoint answers for nobody in particular.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wrtc_gateway::sip::port::Incoming;
use wrtc_gateway::sip::{Claim, Endpoint};

use super::support::*;

/// Unknown methods and events: 405, 489, with Allow / Allow-Events. OPTIONS: 200. Without a registered DN,
/// too: SIP servers ask so whether we are there.
#[tokio::test]
async fn methods_are_answered_when_no_dn_is_signed_in() {
    let endpoint = Endpoint::bind(addr("127.0.0.1:0").addr, "test").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = socket.local_addr().unwrap();
    for (method, code) in [
        ("OPTIONS", 200),
        ("SUBSCRIBE", 489),
        ("MESSAGE", 405),
        ("PUBLISH", 405),
        ("REFER", 404),
        ("NOTIFY", 481),
        ("DANCE", 405),
    ] {
        let request = format!(
            "{method} sip:1001@{} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{method}\r\n\
             From: <sip:x@h>;tag=1\r\nTo: <sip:1001@h>\r\nCall-ID: {method}\r\nCSeq: 1 {method}\r\n\
             Max-Forwards: 70\r\nContact: <sip:x@{here}>\r\nContent-Length: 0\r\n\r\n",
            endpoint.local_addr()
        );
        socket.send_to(request.as_bytes(), endpoint.local_addr()).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let receive = timeout(Duration::from_secs(20), socket.recv_from(&mut buffer));
        let (length, _) = receive.await.expect("an answer").unwrap();
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(answer.starts_with(&format!("SIP/2.0 {code} ")), "{method}: {answer}");
        let says = |name: &str| answer.contains(&format!("\r\n{name}: "));
        assert_eq!(says("Allow"), matches!(code, 200 | 405), "{answer}");
        assert_eq!(says("Allow-Events"), matches!(code, 200 | 405 | 489), "{answer}");
        assert_eq!(says("Supported") && says("Accept"), code == 200, "{answer}");
    }
}

const LONG: Duration = Duration::from_secs(20);

struct Caller {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Caller {
    async fn new(endpoint: &Endpoint) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Self { socket, to: endpoint.local_addr() }
    }

    async fn send(&self, method: &str, call: &str) {
        let here = self.socket.local_addr().unwrap();
        let request = format!(
            "{method} sip:1001@{} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{call}\r\n\
             From: <sip:x@h>;tag=1\r\nTo: <sip:1001@h>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\
             Max-Forwards: 70\r\nContact: <sip:x@{here}>\r\nContent-Length: 0\r\n\r\n",
            self.to
        );
        self.socket.send_to(request.as_bytes(), self.to).await.unwrap();
    }

    /// The next answer, as text.
    async fn answer(&self) -> String {
        let mut buffer = vec![0; 65_535];
        let (length, _) =
            timeout(LONG, self.socket.recv_from(&mut buffer)).await.expect("an answer").unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Waits for an answer with this code to this method.
    async fn expect(&self, code: u16, method: &str) -> String {
        loop {
            let answer = self.answer().await;
            if answer.starts_with(&format!("SIP/2.0 {code} "))
                && answer.contains(&format!("CSeq: 1 {method}\r\n"))
            {
                return answer;
            }
            assert!(
                !answer.contains("CSeq: 1 INVITE") || answer.starts_with("SIP/2.0 1"),
                "{answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_call_for_nobody_may_be_tried_again_a_little_later() {
    let endpoint = Endpoint::bind(addr("127.0.0.1:0").addr, "test").unwrap();
    let caller = Caller::new(&endpoint).await;
    caller.send("INVITE", "one").await;
    let answer = caller.expect(480, "INVITE").await;
    assert!(answer.contains("\r\nRetry-After: 10\r\n"), "{answer}");
}

#[tokio::test]
async fn after_a_start_a_call_waits_for_whoever_claims_its_dn() {
    let endpoint = Endpoint::bind(addr("127.0.0.1:0").addr, "test").unwrap();
    endpoint.wait_for_users(Some(Instant::now() + LONG));
    let caller = Caller::new(&endpoint).await;
    caller.send("INVITE", "one").await;
    caller.expect(100, "INVITE").await;
    // One that comes again is the same one.
    caller.send("INVITE", "one").await;
    let (sender, mut inbox) = mpsc::channel(8);
    let _other = endpoint.attach(Claim::User("1002".into()), sender.clone());
    assert!(inbox.try_recv().is_err(), "it is for another DN");
    let _port = endpoint.attach(Claim::User("1001".into()), sender);
    match *timeout(LONG, inbox.recv()).await.expect("the call").unwrap() {
        Incoming::Request { ref request, .. } => assert_eq!(request.method.to_string(), "INVITE"),
        ref other => panic!("{other:?}"),
    }
    assert!(inbox.try_recv().is_err(), "once");
    // From here on it is his, its CANCEL too.
    caller.send("CANCEL", "one").await;
    match *timeout(LONG, inbox.recv()).await.expect("the CANCEL").unwrap() {
        Incoming::Request { ref request, .. } => assert_eq!(request.method.to_string(), "CANCEL"),
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_hangs_up_meanwhile_and_who_waits_in_vain_are_answered() {
    let endpoint = Endpoint::bind(addr("127.0.0.1:0").addr, "test").unwrap();
    endpoint.wait_for_users(Some(Instant::now() + LONG));
    let caller = Caller::new(&endpoint).await;
    caller.send("INVITE", "one").await;
    caller.expect(100, "INVITE").await;
    caller.send("CANCEL", "one").await;
    caller.expect(200, "CANCEL").await;
    let other = Caller::new(&endpoint).await;
    other.send("INVITE", "two").await;
    other.expect(100, "INVITE").await;
    // As if the time were over.
    endpoint.wait_for_users(None);
    let answer = other.expect(480, "INVITE").await;
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
}
