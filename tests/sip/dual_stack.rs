//! One endpoint on `[::]` serves both families, and a v4 peer is the v4 address it is.

use tokio::net::UdpSocket;
use tokio::time::timeout;
use wrtc_gateway::sip::{Command, Hop, Transport};

use super::streams::*;

#[tokio::test]
async fn v4_peers_of_a_v6_socket_are_known_by_their_v4_address() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    }
    let endpoint = open(|config| config.listen = "[::]:0".parse().unwrap());
    endpoint.set_peers(Some(vec!["127.0.0.1".parse().unwrap()]));
    let port = endpoint.local_addr().port();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = udp.local_addr().unwrap();
    let options = request("OPTIONS", "x", "u", Transport::Udp, here);
    udp.send_to(options.as_bytes(), ("127.0.0.1", port)).await.unwrap();
    let mut buffer = [0; 4096];
    let length = timeout(PATIENCE, udp.recv(&mut buffer)).await.expect("an answer").unwrap();
    let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(!answer.contains("::ffff"), "{answer}");

    let mut peer = connect(([127, 0, 0, 1], port).into()).await;
    peer.write(&request("OPTIONS", "x", "t", Transport::Tcp, here)).await;
    assert!(peer.read().await.unwrap().starts_with("SIP/2.0 200"));

    // And out: a v4 server, from the same socket.
    driven(&endpoint, "1001", Hop::udp(here)).command(Command::Register);
    let length = timeout(PATIENCE, udp.recv(&mut buffer)).await.expect("a request").unwrap();
    assert!(buffer[..length].starts_with(b"REGISTER "));
    assert_eq!(endpoint.stats().strangers, 0);
}
