//! What an endpoint answers for nobody in particular.

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use wrtc_gateway::sip::Endpoint;

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
