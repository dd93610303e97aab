//! SIP over TCP: calls, and how connections are shared.

use tokio::time::timeout;
use wrtc_gateway::sip::{Command, Direction, EndedBy, Event, Hop, SessionId, Transport};

use super::streams::*;
use super::support::*;

/// "SIP over UDP, TCP and TLS": a call both ways over TCP, with Vias and Contacts that say so, over one
/// connection each way.
#[tokio::test]
async fn two_user_agents_talk_over_tcp() {
    let (left, right) = (open(|_| {}), open(|_| {}));
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = seen.clone();
    left.set_trace(Some(Box::new(move |traced| {
        sink.lock().unwrap().push((traced.direction, traced.peer, traced.text()));
    })));
    let mut a = driven(&left, "1001", Hop::new(Transport::Tcp, right.local_addr()));
    let mut b = driven(&right, "1002", Hop::new(Transport::Tcp, left.local_addr()));
    let session = SessionId(1);
    let sdp = Some(OFFER.into());
    a.command(Command::Invite { session, to: "1002".into(), sdp, headers: vec![] });
    let Event::Invited { session: theirs, .. } = next(&mut b).await else { panic!("Invited") };
    b.command(Command::Progress { session: theirs, code: 180, sdp: None });
    b.command(Command::Accept { session: theirs, sdp: ANSWER.into() });
    assert!(matches!(next(&mut a).await, Event::Progressed { code: 180, .. }));
    assert!(matches!(next(&mut a).await, Event::Answered { .. }));
    assert!(matches!(next(&mut b).await, Event::Acked { .. }));
    // The called one hangs up: its BYE goes to the Contact, over a connection of its own.
    b.command(Command::End { session: theirs, code: 200, text: String::new() });
    let Event::Ended { end, .. } = next(&mut a).await else { panic!("Ended") };
    assert_eq!(end.by, EndedBy::Peer);
    timeout(PATIENCE, b.wind_down()).await.expect("the BYE is answered");

    let (left, right) = (left.stats(), right.stats());
    assert_eq!((left.connected, left.accepted), (1, 1));
    assert_eq!((right.connected, right.accepted), (1, 1));
    assert_eq!((left.malformed, left.send_errors, right.stray_responses), (0, 0, 0));
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|(_, peer, _)| peer.transport == Transport::Tcp), "no datagram");
    for (direction, _, text) in seen.iter() {
        if text.starts_with("INVITE") {
            assert_eq!(*direction, Direction::Out);
            assert!(value(text, "Via").starts_with("SIP/2.0/TCP "), "{text}");
            assert!(value(text, "Contact").ends_with(";transport=tcp>"), "{text}");
        }
    }
}

#[tokio::test]
async fn all_dns_share_one_connection() {
    const DNS: usize = 300;
    let (listener, server) = listener().await;
    let endpoint = open(|_| {});
    let registrar = tokio::spawn(async move {
        let mut peer = accept(&listener).await;
        for _ in 0..DNS {
            let register = peer.read().await.unwrap();
            assert!(register.starts_with("REGISTER "), "{register}");
            peer.write(&answer(&register, "200 OK", "Expires: 600\r\n")).await;
        }
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept())
                .await
                .is_err(),
            "a second connection"
        );
        peer
    });
    let mut uas: Vec<_> = (0..DNS).map(|n| driven(&endpoint, &format!("{n}"), server)).collect();
    for ua in &mut uas {
        ua.command(Command::Register);
    }
    for ua in &mut uas {
        assert!(matches!(next(ua).await, Event::Registered { .. }));
    }
    let _peer = registrar.await.unwrap();
    let stats = endpoint.stats();
    assert_eq!((stats.connected, stats.connections_out), (1, 1));
}

/// A peer whose Contact is the very end of the connection it made gets our requests over it.
#[tokio::test]
async fn an_incoming_connection_carries_requests_to_that_address() {
    let endpoint = open(|_| {});
    let mut ua = driven(&endpoint, "1001", addr(PEER));
    let mut peer = connect(endpoint.local_addr()).await;
    let here = peer.stream.local_addr().unwrap();
    peer.write(&request("INVITE", "1001", "c1", Transport::Tcp, here)).await;
    let Event::Invited { session, .. } = next(&mut ua).await else { panic!("Invited") };
    assert!(peer.read().await.unwrap().starts_with("SIP/2.0 100"));
    ua.command(Command::Accept { session, sdp: OFFER.into() });
    let ok = peer.read().await.unwrap();
    assert!(ok.starts_with("SIP/2.0 200"), "{ok}");
    let ack = request("ACK", "1001", "c1a", Transport::Tcp, here)
        .replace("Call-ID: c1a", "Call-ID: c1")
        .replace("To: <sip:1001@h>", &format!("To: {}", value(&ok, "To")));
    peer.write(&ack).await;
    assert!(matches!(next(&mut ua).await, Event::Acked { .. }));
    ua.command(Command::End { session, code: 200, text: String::new() });
    let bye = peer.read().await.unwrap();
    assert!(bye.starts_with("BYE "), "{bye}");
    assert!(value(&bye, "Via").starts_with("SIP/2.0/TCP "), "it says how it came: {bye}");
    peer.write(&answer(&bye, "200 OK", "")).await;
    assert!(matches!(next(&mut ua).await, Event::Ended { .. }));
    timeout(PATIENCE, ua.wind_down()).await.expect("the BYE is answered");
    assert_eq!(endpoint.stats().connected, 0, "no connection of ours was needed");
}

/// RFC 3261 18.2.2: where the connection of a request is gone, its answer goes to what Via says.
#[tokio::test]
async fn an_answer_whose_connection_is_gone_goes_to_the_via() {
    let (listener, hop) = listener().await;
    let endpoint = open(|_| {});
    let mut events = endpoint.connection_events();
    let mut ua = driven(&endpoint, "1001", addr(PEER));
    let mut peer = connect(endpoint.local_addr()).await;
    let here = Hop::new(Transport::Tcp, peer.stream.local_addr().unwrap());
    peer.write(&request("INVITE", "1001", "c1", Transport::Tcp, hop.addr)).await;
    let Event::Invited { session, .. } = next(&mut ua).await else { panic!("Invited") };
    drop(peer);
    down(&mut events, here).await;
    ua.command(Command::Progress { session, code: 180, sdp: None });
    let mut peer = accept(&listener).await;
    let ringing = peer.read().await.unwrap();
    assert!(ringing.starts_with("SIP/2.0 180"), "{ringing}");
}
