//! "TCP (... reconnect, keep-alive)": dead connections are noticed and replaced, and no peer's trouble
//! is another's.

use std::time::Duration;

use wrtc_gateway::sip::{Command, EndedBy, Endpoint, EndpointConfig, Event, SessionId, Transport};

use super::streams::*;
use super::support::*;

fn register(id: &str) -> String {
    request("OPTIONS", "x", id, Transport::Tcp, "127.0.0.1:9".parse().unwrap())
}

#[tokio::test]
async fn a_server_that_restarts_is_connected_to_again() {
    let (listener, server) = listener().await;
    let endpoint = open(|_| {});
    let mut events = endpoint.connection_events();
    let mut ua = driven(&endpoint, "1001", server);
    let session = SessionId(1);
    let call = |session| Command::Invite {
        session,
        to: "1002".into(),
        sdp: Some(OFFER.into()),
        headers: vec![],
    };
    ua.command(call(session));
    let mut peer = accept(&listener).await;
    assert!(peer.read().await.unwrap().starts_with("INVITE "));
    drop(peer);
    // What was under way fails at once, not after 32 s.
    let Event::Ended { end, .. } = next(&mut ua).await else { panic!("Ended") };
    assert_eq!((end.by, end.code), (EndedBy::Network, 503));
    down(&mut events, server).await;

    // Gone for a while: refused, and told in a sentence.
    drop(listener);
    ua.command(call(SessionId(2)));
    let Event::Ended { end, .. } = next(&mut ua).await else { panic!("Ended") };
    assert_eq!(end.code, 503);
    let fault = endpoint.peer_fault(server).unwrap();
    assert!(fault.contains("refused"), "{fault}");
    assert_eq!(endpoint.stats().connects_failed, 1);

    // And back, on the same port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(server.addr).unwrap();
    let listener = socket.listen(8).unwrap();
    ua.command(call(SessionId(3)));
    let mut peer = accept(&listener).await;
    assert!(peer.read().await.unwrap().starts_with("INVITE "));
    assert_eq!(endpoint.peer_fault(server), None);
    let stats = endpoint.stats();
    assert_eq!((stats.connected, stats.connections_lost, stats.connections_out), (2, 1, 1));
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_given_up_and_blocks_nobody() {
    let (stuck, there) = listener().await;
    let (sound, here) = listener().await;
    let endpoint = open(|config| config.limits.queue = 256 * 1024);
    let mut a = driven(&endpoint, "a", there);
    let mut b = driven(&endpoint, "b", here);
    let big = format!("{OFFER}{}", "a=x\r\n".repeat(8000));
    let mut number = 0;
    let mut call = |ua: &mut wrtc_gateway::sip::Driven| {
        number += 1;
        let (session, to) = (SessionId(number), "1".into());
        ua.command(Command::Invite { session, to, sdp: Some(big.clone()), headers: vec![] });
        ua.command(Command::End { session, code: 487, text: String::new() });
    };
    call(&mut a);
    let peer = accept(&stuck).await;
    // More than the system's buffers and the queue take together; each INVITE is 40 KB. Some failed.
    let mut rounds = 0;
    while endpoint.stats().stuck_peers == 0 {
        rounds += 1;
        assert!(rounds < 5000, "the queue has no end");
        let mut filler = driven(&endpoint, &format!("f{rounds}"), there);
        call(&mut filler);
        tokio::task::yield_now().await;
    }
    let fault = endpoint.peer_fault(there).unwrap();
    assert!(fault.contains("takes nothing"), "{fault}");
    b.command(Command::Register);
    let mut other = accept(&sound).await;
    let register = other.read().await.unwrap();
    other.write(&answer(&register, "200 OK", "Expires: 60\r\n")).await;
    assert!(matches!(next(&mut b).await, Event::Registered { .. }));
    // The transactions in that queue were told.
    until("they are gone", || endpoint.stats().client_transactions == 0).await;
    drop(peer);
}

/// RFC 5626 4.4.1. Death is concluded from silence only where the peer answered before.
#[tokio::test]
async fn keep_alives_are_sent_answered_and_missed() {
    let (listener, server) = listener().await;
    let endpoint = open(|config| {
        config.limits.ping = Duration::from_millis(60);
        config.limits.pong = Duration::from_millis(500);
    });
    let mut events = endpoint.connection_events();
    let mut ua = driven(&endpoint, "1001", server);
    ua.command(Command::Register);
    let mut peer = accept(&listener).await;
    let register = peer.read().await.unwrap();
    peer.write(&answer(&register, "200 OK", "Expires: 600\r\n")).await;
    assert!(matches!(next(&mut ua).await, Event::Registered { .. }));
    // This one never pongs yet: missed, and nothing follows from it.
    peer.expect(b"\r\n\r\n").await;
    until("two pings missed", || endpoint.stats().pings_missed >= 2).await;
    assert_eq!(endpoint.stats().connections_out, 1, "silence alone is no death");
    // Now it does, and then stops. The first of these were sent long ago.
    for _ in 0..40 {
        peer.expect(b"\r\n\r\n").await;
        peer.write("\r\n").await;
    }
    let reason = down(&mut events, server).await;
    assert!(reason.contains("keep-alive"), "{reason}");
    peer.closed().await;
}

#[tokio::test]
async fn a_ping_gets_its_pong_between_messages() {
    let endpoint = open(|_| {});
    let mut peer = connect(endpoint.local_addr()).await;
    peer.write("\r\n\r\n").await;
    peer.expect(b"\r\n").await;
    peer.write(&register("a")).await;
    assert!(peer.read().await.unwrap().starts_with("SIP/2.0 200"));
    peer.write("\r\n\r\n").await;
    peer.expect(b"\r\n").await;
}

#[tokio::test]
async fn idle_connections_are_closed_but_not_those_to_a_server() {
    let (kept, server) = listener().await;
    let (closed, other) = listener().await;
    let endpoint = open(|config| config.limits.idle = Duration::from_millis(100));
    endpoint.set_servers([(server, "pbx.example".to_owned())]);
    let mut events = endpoint.connection_events();
    let mut a = driven(&endpoint, "a", server);
    let mut b = driven(&endpoint, "b", other);
    a.command(Command::Register);
    b.command(Command::Register);
    let mut to_server = accept(&kept).await;
    let mut to_other = accept(&closed).await;
    to_server.read().await.unwrap();
    to_other.read().await.unwrap();
    let reason = down(&mut events, other).await;
    assert!(reason.contains("nothing was said"), "{reason}");
    to_other.closed().await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(endpoint.stats().connections_out, 1, "the server's stays");
    assert_eq!(endpoint.peer_fault(other), None, "no trouble of anybody's");
}

#[tokio::test]
async fn connections_from_one_address_are_capped() {
    let endpoint = open(|config| config.limits.incoming_per_address = 2);
    let mut first = connect(endpoint.local_addr()).await;
    let mut second = connect(endpoint.local_addr()).await;
    for (peer, id) in [(&mut first, "a"), (&mut second, "b")] {
        peer.write(&register(id)).await;
        assert!(peer.read().await.unwrap().starts_with("SIP/2.0 200"));
    }
    connect(endpoint.local_addr()).await.closed().await;
    assert_eq!(endpoint.stats().refused_connections, 1);
    drop(first);
    until("a place is free", || endpoint.stats().connections_in == 1).await;
    let mut third = connect(endpoint.local_addr()).await;
    third.write(&register("c")).await;
    assert!(third.read().await.unwrap().starts_with("SIP/2.0 200"));
}

#[tokio::test]
async fn a_taken_port_is_told_by_its_key() {
    let (_taken, hop) = listener().await;
    let config = EndpointConfig::new(hop.addr, "test");
    let Err(error) = Endpoint::open(config) else { panic!("TCP is taken there") };
    let told = error.to_string();
    assert!(told.starts_with(&format!("sip.listen = {}: ", hop.addr)), "{told}");
}

#[tokio::test]
async fn all_sockets_close_with_the_last_handle() {
    let (listener, server) = listener().await;
    let endpoint = open(|_| {});
    let here = endpoint.local_addr();
    let mut ua = driven(&endpoint, "a", server);
    ua.command(Command::Register);
    let mut peer = accept(&listener).await;
    let mut incoming = connect(here).await;
    incoming.write(&register("a")).await;
    assert!(incoming.read().await.is_some());
    drop((ua, endpoint));
    assert!(peer.read().await.unwrap().starts_with("REGISTER "), "what was sent is sent");
    peer.closed().await;
    incoming.closed().await;
    until("the port is free", || Endpoint::open(EndpointConfig::new(here, "t")).is_ok()).await;
}
