//! "SIP over UDP (fragments, over-MTU to TCP)" (RFC 3261 18.1.1).

use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;
use wrtc_gateway::sip::{Command, Driven, Event, Hop, SessionId};

use super::streams::*;
use super::support::*;

/// An offer that makes an INVITE of some 5 KB.
fn large() -> Option<String> {
    Some(format!("{OFFER}{}", "a=x-padding\r\n".repeat(350)))
}

fn call(ua: &mut Driven, number: u64, sdp: Option<String>) -> SessionId {
    let session = SessionId(number);
    ua.command(Command::Invite { session, to: "1002".into(), sdp, headers: vec![] });
    session
}

async fn datagram(socket: &UdpSocket) -> (String, std::net::SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let got = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.expect("a datagram").unwrap();
    (String::from_utf8_lossy(&buffer[..got.0]).into_owned(), got.1)
}

#[tokio::test]
async fn a_large_request_goes_by_tcp_with_its_cancel_and_its_ack() {
    let (listener, tcp) = listener().await;
    let udp = UdpSocket::bind(tcp.addr).await.unwrap();
    let endpoint = open(|_| {});
    let mut ua = driven(&endpoint, "1001", Hop::udp(tcp.addr));
    let session = call(&mut ua, 1, large());
    let mut peer = accept(&listener).await;
    let invite = peer.read().await.unwrap();
    assert!(invite.starts_with("INVITE ") && invite.len() > 1300);
    let via = value(&invite, "Via").to_owned();
    assert!(via.starts_with(&format!("SIP/2.0/TCP {};", endpoint.local_addr())), "{via}");
    assert!(!value(&invite, "Contact").contains("transport"), "only this one goes by TCP");
    peer.write(&answer(&invite, "180 Ringing", "")).await;
    assert!(matches!(next(&mut ua).await, Event::Progressed { .. }));
    ua.command(Command::End { session, code: 487, text: String::new() });
    let cancel = peer.read().await.unwrap();
    assert!(cancel.starts_with("CANCEL ") && value(&cancel, "Via") == via, "{cancel}");
    peer.write(&answer(&cancel, "200 OK", "")).await;
    peer.write(&answer(&invite, "487 Request Terminated", "")).await;
    let ack = peer.read().await.unwrap();
    assert!(ack.starts_with("ACK ") && value(&ack, "Via") == via, "{ack}");

    // A small one stays where it belongs.
    call(&mut ua, 2, Some(OFFER.into()));
    let (small, _) = datagram(&udp).await;
    assert!(small.starts_with("INVITE ") && value(&small, "Via").starts_with("SIP/2.0/UDP "));
    let stats = endpoint.stats();
    assert_eq!((stats.over_mtu_tcp, stats.over_mtu_udp), (1, 0));
}

#[tokio::test]
async fn where_tcp_is_refused_it_goes_by_udp_in_fragments() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = Hop::udp(udp.local_addr().unwrap());
    let endpoint = open(|_| {});
    let mut ua = driven(&endpoint, "1001", server);
    call(&mut ua, 1, large());
    let (invite, from) = datagram(&udp).await;
    assert!(invite.starts_with("INVITE ") && invite.len() > 1500, "{}", invite.len());
    assert!(value(&invite, "Via").starts_with("SIP/2.0/UDP "), "{invite}");
    // An answer larger than any frame of a network, too.
    let padding = format!("X-Padding: {}\r\n", "y".repeat(20_000));
    let ringing = answer(&invite, "180 Ringing", &padding);
    udp.send_to(ringing.as_bytes(), from).await.unwrap();
    assert!(matches!(next(&mut ua).await, Event::Progressed { code: 180, .. }));
    let refused = endpoint.stats();
    assert_eq!((refused.over_mtu_tcp, refused.connects_failed), (1, 1));

    // For a while nothing more is tried there.
    call(&mut ua, 2, large());
    loop {
        let (text, _) = datagram(&udp).await;
        if text.starts_with("INVITE ") && value(&text, "Call-ID") != value(&invite, "Call-ID") {
            break;
        }
    }
    let stats = endpoint.stats();
    assert_eq!((stats.over_mtu_tcp, stats.over_mtu_udp, stats.connects_failed), (1, 1, 1));
}

/// It costs a call two seconds once, and not each call 32.
#[tokio::test]
async fn where_tcp_is_taken_and_goes_nowhere_it_goes_by_udp() {
    let (listener, tcp) = listener().await;
    let udp = UdpSocket::bind(tcp.addr).await.unwrap();
    let endpoint = open(|_| {});
    let mut ua = driven(&endpoint, "1001", Hop::udp(tcp.addr));
    call(&mut ua, 1, large());
    let _silent = accept(&listener).await;
    let (invite, from) = datagram(&udp).await;
    assert!(invite.starts_with("INVITE ") && value(&invite, "Via").starts_with("SIP/2.0/UDP "));
    udp.send_to(answer(&invite, "180 Ringing", "").as_bytes(), from).await.unwrap();
    assert!(matches!(next(&mut ua).await, Event::Progressed { code: 180, .. }));
    let stats = endpoint.stats();
    assert_eq!((stats.over_mtu_tcp, stats.over_mtu_udp), (1, 1));
    call(&mut ua, 2, large());
    loop {
        let (text, _) = datagram(&udp).await;
        if text.starts_with("INVITE ") && value(&text, "Call-ID") != value(&invite, "Call-ID") {
            break;
        }
    }
    assert_eq!(endpoint.stats().over_mtu_tcp, 1, "not tried there again for a while");
}

#[tokio::test]
async fn a_refusal_is_forgotten_after_a_while() {
    let (first, tcp) = listener().await;
    drop(first);
    let udp = UdpSocket::bind(tcp.addr).await.unwrap();
    let endpoint = open(|config| config.limits.refusal = Duration::from_millis(50));
    let mut ua = driven(&endpoint, "1001", Hop::udp(tcp.addr));
    call(&mut ua, 1, large());
    assert!(datagram(&udp).await.0.starts_with("INVITE "));
    let listener = tokio::net::TcpListener::bind(tcp.addr).await.unwrap();
    tokio::time::sleep(Duration::from_millis(80)).await;
    call(&mut ua, 2, large());
    let mut peer = accept(&listener).await;
    assert!(peer.read().await.unwrap().starts_with("INVITE "));
}

/// Answers go back the way the request came, whatever their size.
#[tokio::test]
async fn a_large_answer_stays_on_udp() {
    let endpoint = open(|_| {});
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = udp.local_addr().unwrap();
    let mut ua = driven(&endpoint, "1001", Hop::udp(here));
    let invite = request("INVITE", "1001", "c1", wrtc_gateway::sip::Transport::Udp, here);
    udp.send_to(invite.as_bytes(), endpoint.local_addr()).await.unwrap();
    let Event::Invited { session, .. } = next(&mut ua).await else { panic!("Invited") };
    ua.command(Command::Accept { session, sdp: large().unwrap() });
    loop {
        let (text, _) = datagram(&udp).await;
        if text.starts_with("SIP/2.0 200") {
            assert!(text.len() > 1500);
            break;
        }
    }
    assert_eq!(endpoint.stats().connections_out, 0);
}
