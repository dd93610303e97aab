//! "Messages are accepted from configured peers only": addresses and networks, over every transport.

use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpSocket, UdpSocket};
use wrtc_gateway::sip::Transport;

use super::streams::*;
use super::support::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn options(id: &str, from: SocketAddr) -> String {
    request("OPTIONS", "x", id, Transport::Tcp, from)
}

async fn connect_from(from: &str, to: SocketAddr) -> Wire<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(ip(from), 0)).unwrap();
    Wire::new(socket.connect(to).await.unwrap())
}

#[tokio::test]
async fn strangers_get_no_word_over_any_transport() {
    let endpoint = open(|config| {
        config.also_from = Some(Box::new(|from| from == ip("127.0.0.77")));
    });
    let to = endpoint.local_addr();
    endpoint.set_peers(Some(vec![ip("::ffff:127.0.0.1"), ip("192.0.2.1")]));
    // Of the list, and of the networks.
    for from in ["127.0.0.1", "127.0.0.77"] {
        let mut peer = connect_from(from, to).await;
        let here = peer.stream.local_addr().unwrap();
        peer.write(&options(from, here)).await;
        assert!(peer.read().await.unwrap().starts_with("SIP/2.0 200"), "{from}");
        let udp = UdpSocket::bind((from, 0)).await.unwrap();
        let request = options(from, udp.local_addr().unwrap()).replace("z9hG4bK", "z9hG4bKu");
        udp.send_to(request.as_bytes(), to).await.unwrap();
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, udp.recv(&mut buffer)).await.unwrap().unwrap();
        assert!(buffer[..read].starts_with(b"SIP/2.0 200"), "{from}");
    }
    // Of neither: closed before a byte was read, and no answer.
    let mut peer = connect_from("127.0.0.2", to).await;
    peer.closed().await;
    until("the connection counted", || endpoint.stats().strangers == 1).await;
    let udp = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let request = options("s", udp.local_addr().unwrap());
    udp.send_to(request.as_bytes(), to).await.unwrap();
    until("the datagram counted", || endpoint.stats().strangers == 2).await;
    assert_eq!(endpoint.stats().accepted, 2);
    assert!(udp.try_recv(&mut [0; 16]).is_err(), "no answer");
}

#[tokio::test]
async fn a_peer_that_is_taken_off_the_list_is_cut_off() {
    let endpoint = open(|_| {});
    endpoint.set_peers(Some(vec![ip("127.0.0.1")]));
    let mut peer = connect(endpoint.local_addr()).await;
    let here = peer.stream.local_addr().unwrap();
    peer.write(&options("a", here)).await;
    assert!(peer.read().await.unwrap().starts_with("SIP/2.0 200"));
    endpoint.set_peers(Some(vec![ip("192.0.2.1")]));
    peer.write(&options("b", here)).await;
    assert_eq!(peer.read().await, None, "cut off without an answer");
    assert_eq!(endpoint.stats().strangers, 1);
    endpoint.set_peers(None);
    let mut peer = connect(endpoint.local_addr()).await;
    peer.write(&options("c", addr(PEER).addr)).await;
    assert!(peer.read().await.unwrap().starts_with("SIP/2.0 200"), "None is everybody");
}
