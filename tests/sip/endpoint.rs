//! Endpoints over loopback UDP.

use std::net::SocketAddr;
use std::time::Duration;

use rsipstack::sip::Request;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use wrtc_gateway::sip::port::{ClientTx, Incoming, Transmit};
use wrtc_gateway::sip::{
    Claim, Command, Direction, Driven, EndedBy, Endpoint, Event, Hop, SessionId,
};

use super::support::*;

/// Generous: the machine that runs this may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

fn endpoint() -> Endpoint {
    Endpoint::bind(addr("127.0.0.1:0").addr, "test").unwrap()
}

fn driven(endpoint: &Endpoint, user: &str, server: SocketAddr) -> Driven {
    let here = endpoint.local_addr().to_string();
    let config = config(user, &here, &server.to_string());
    Driven::new(endpoint, Claim::User(user.into()), config)
}

async fn next(ua: &mut Driven) -> Event {
    timeout(PATIENCE, ua.next_event()).await.expect("an event")
}

#[tokio::test]
async fn two_user_agents_talk_and_hang_up() {
    let (left, right) = (endpoint(), endpoint());
    let mut a = driven(&left, "1001", right.local_addr());
    let mut b = driven(&right, "1002", left.local_addr());
    let session = SessionId(1);
    a.command(Command::Invite {
        session,
        to: "1002".into(),
        sdp: Some(OFFER.into()),
        headers: vec![("X-Genesys-CallUUID".into(), "U1".into())],
    });
    let callee = tokio::spawn(async move {
        let Event::Invited { session, invite } = next(&mut b).await else { panic!("Invited") };
        assert_eq!((invite.from.as_str(), invite.to.as_str()), ("1001", "1002"));
        assert_eq!(invite.sdp.as_deref(), Some(OFFER));
        assert_eq!(invite.call_uuid.as_deref(), Some("U1"));
        b.command(Command::Progress { session, code: 180, sdp: None });
        b.command(Command::Accept { session, sdp: ANSWER.into() });
        assert_eq!(next(&mut b).await, Event::Acked { session, sdp: None });
        let Event::Ended { end, .. } = next(&mut b).await else { panic!("Ended") };
        assert_eq!((end.by, end.code), (EndedBy::Peer, 200));
        assert_eq!(end.reason_header.as_deref(), Some("SIP;cause=200;text=\"done\""));
        b
    });
    loop {
        match next(&mut a).await {
            Event::Progressed { code, .. } => assert_eq!(code, 180),
            Event::Answered { sdp, .. } => {
                assert_eq!(sdp.as_deref(), Some(ANSWER));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    a.command(Command::End { session, code: 200, text: "done".into() });
    assert!(matches!(next(&mut a).await, Event::Ended { .. }));
    timeout(PATIENCE, a.wind_down()).await.expect("the BYE is answered");
    callee.await.unwrap();
}

async fn exchange(socket: &UdpSocket, to: SocketAddr, text: &str) -> String {
    socket.send_to(text.as_bytes(), to).await.unwrap();
    receive(socket).await
}

async fn receive(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_535];
    let (length, _) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn raw(socket: &UdpSocket, method: &str, user: &str, id: &str, to_tag: &str) -> String {
    let here = socket.local_addr().unwrap();
    format!(
        "{method} sip:{user}@h SIP/2.0\r\nl: 0\r\nv: SIP/2.0/UDP {here};branch=z9hG4bK{id};rport\r\n\
         f: sip:x@h;tag=1\r\nt: <sip:{user}@h>{to_tag}\r\ni: {id}\r\nCSeq: 1 {method}\r\n\
         m: <sip:x@{here}>\r\n\r\n"
    )
}

#[tokio::test]
async fn what_nobody_claims_is_answered() {
    let endpoint = endpoint();
    let to = endpoint.local_addr();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for (method, to_tag, code) in [
        ("OPTIONS", "", "200"),
        ("INVITE", "", "480"),
        ("BYE", ";tag=2", "481"),
        ("CANCEL", "", "481"),
        ("REGISTER", "", "405"),
        ("DANCE", "", "405"),
    ] {
        let id = format!("{method}-1");
        let answer = exchange(&socket, to, &raw(&socket, method, "nobody", &id, to_tag)).await;
        assert!(answer.starts_with(&format!("SIP/2.0 {code} ")), "{method}: {answer}");
        if method == "INVITE" {
            let ack = raw(&socket, "ACK", "nobody", &id, ";tag=2");
            socket.send_to(ack.as_bytes(), to).await.unwrap();
        }
    }
}

#[tokio::test]
async fn garbage_and_strangers_are_counted_and_disturb_nobody() {
    let endpoint = endpoint();
    let to = endpoint.local_addr();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for garbage in [&b"\0\xff\xfe"[..], b"GET / HTTP/1.1\r\n\r\n", b"SIP/2.0\r\n\r\n", b"\r\n\r\n"]
    {
        socket.send_to(garbage, to).await.unwrap();
    }
    let answer = exchange(&socket, to, &raw(&socket, "OPTIONS", "x", "o1", "")).await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let stats = endpoint.stats();
    assert_eq!((stats.malformed, stats.received), (3, 5));

    endpoint.set_peers(Some(vec![addr("192.0.2.1:1").addr.ip()]));
    socket.send_to(raw(&socket, "OPTIONS", "x", "o2", "").as_bytes(), to).await.unwrap();
    timeout(PATIENCE, async {
        while endpoint.stats().strangers == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the stranger is counted");
    endpoint.set_peers(None);
    let answer = exchange(&socket, to, &raw(&socket, "OPTIONS", "x", "o3", "")).await;
    assert!(answer.contains("Call-ID: o3"), "the stranger's was not answered: {answer}");
}

#[tokio::test]
async fn a_retransmitted_invite_arrives_once_and_gets_the_last_answer_again() {
    let endpoint = endpoint();
    let to = endpoint.local_addr();
    let mut ua = driven(&endpoint, "1001", to);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let invite = raw(&socket, "INVITE", "1001", "i1", "");
    socket.send_to(invite.as_bytes(), to).await.unwrap();
    let Event::Invited { session, .. } = next(&mut ua).await else { panic!("Invited") };
    ua.command(Command::Progress { session, code: 180, sdp: None });
    assert!(receive(&socket).await.starts_with("SIP/2.0 100"));
    let ringing = receive(&socket).await;
    assert!(ringing.starts_with("SIP/2.0 180"), "{ringing}");
    assert_eq!(exchange(&socket, to, &invite).await, ringing);
    // CANCEL takes the INVITE's way.
    socket.send_to(raw(&socket, "CANCEL", "1001", "i1", "").as_bytes(), to).await.unwrap();
    let event = next(&mut ua).await;
    assert!(matches!(event, Event::Ended { .. }), "no second Invited: {event:?}");
    let answers = [receive(&socket).await, receive(&socket).await];
    assert!(answers.iter().any(|a| a.starts_with("SIP/2.0 200") && a.contains("1 CANCEL")));
    assert!(answers.iter().any(|a| a.starts_with("SIP/2.0 487") && a.contains("1 INVITE")));
}

#[tokio::test]
async fn a_full_inbox_loses_the_datagram_not_the_call() {
    let endpoint = endpoint();
    let to = endpoint.local_addr();
    let (sender, mut inbox) = tokio::sync::mpsc::channel(1);
    let _port = endpoint.attach(Claim::Everything, sender);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let second = raw(&socket, "INVITE", "b", "b", "");
    for request in [&raw(&socket, "INVITE", "a", "a", ""), &second] {
        socket.send_to(request.as_bytes(), to).await.unwrap();
    }
    timeout(PATIENCE, async {
        while endpoint.stats().inbox_full == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the second finds the inbox full");
    inbox.recv().await.unwrap();
    socket.send_to(second.as_bytes(), to).await.unwrap();
    let again = timeout(PATIENCE, inbox.recv()).await.unwrap().map(|incoming| *incoming);
    assert!(matches!(
        again,
        Some(wrtc_gateway::sip::port::Incoming::Request { request, .. })
            if header(&request, "Call-ID").as_deref() == Some("b")
    ));
}

#[tokio::test]
async fn the_trace_shows_messages_without_credentials() {
    let endpoint = endpoint();
    let to = endpoint.local_addr();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = seen.clone();
    endpoint.set_trace(Some(Box::new(move |traced| {
        sink.lock().unwrap().push((traced.direction, traced.text()));
    })));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let text = raw(&socket, "OPTIONS", "x", "t1", "")
        .replace("CSeq", "Authorization: Digest response=\"hush\"\r\nCSeq");
    exchange(&socket, to, &text).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].1.starts_with("OPTIONS") && !seen[0].1.contains("hush"), "{}", seen[0].1);
    assert!(seen[1].1.starts_with("SIP/2.0 200"));
    assert_eq!((seen[0].0, seen[1].0), (Direction::In, Direction::Out));
}

#[tokio::test]
async fn a_leg_takes_over_the_invite_somebody_else_received() {
    // As the lab's server does: it takes every INVITE and hands each to a leg of its own.
    let (left, right) = (endpoint(), endpoint());
    let mut a = driven(&left, "1001", right.local_addr());
    let (sender, mut inbox) = tokio::sync::mpsc::channel(8);
    let _server = right.attach(Claim::Everything, sender);
    let session = SessionId(1);
    let sdp = Some(OFFER.into());
    a.command(Command::Invite { session, to: "600".into(), sdp, headers: vec![] });
    let first = timeout(PATIENCE, inbox.recv()).await.unwrap().unwrap();
    let here = right.local_addr().to_string();
    let config = config("600", &here, &left.local_addr().to_string());
    let mut leg = Driven::new(&right, Claim::Nothing, config);
    leg.incoming(*first);
    let Event::Invited { session: theirs, .. } = next(&mut leg).await else { panic!("Invited") };
    leg.command(Command::Progress { session: theirs, code: 180, sdp: None });
    assert!(matches!(next(&mut a).await, Event::Progressed { code: 180, .. }));
    // CANCEL finds the leg.
    a.command(Command::End { session, code: 487, text: String::new() });
    let Event::Ended { end, .. } = next(&mut leg).await else { panic!("Ended") };
    assert_eq!((end.by, end.code), (EndedBy::Peer, 487));
    timeout(PATIENCE, a.wind_down()).await.expect("487 ends it");
    assert!(inbox.try_recv().is_err(), "the server saw the INVITE alone");
}

/// A flood of requests does not cost a user agent the answer it waits for.
#[tokio::test]
async fn a_full_inbox_has_room_for_final_answers() {
    let endpoint = Endpoint::bind(addr("127.0.0.1:0").addr, "test").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let here = socket.local_addr().unwrap();
    let (inbox, mut received) = tokio::sync::mpsc::channel(8);
    let port = endpoint.attach(Claim::User("1001".into()), inbox);
    let register = "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKr;rport\r\n\
        From: <sip:1001@h>;tag=1\r\nTo: <sip:1001@h>\r\nCall-ID: r\r\nCSeq: 1 REGISTER\r\n\r\n";
    let request = Request::try_from(register).unwrap();
    port.transmit(Transmit::Request { tx: ClientTx(1), request, to: Hop::udp(here) });
    for n in 0..20 {
        let options = format!(
            "OPTIONS sip:1001@h SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{n}\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:1001@h>\r\nCall-ID: {n}\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        );
        socket.send_to(options.as_bytes(), endpoint.local_addr()).await.unwrap();
    }
    let granted = register.split_once("\r\n").unwrap().1;
    let granted = format!("SIP/2.0 200 OK\r\n{granted}");
    socket.send_to(granted.as_bytes(), endpoint.local_addr()).await.unwrap();
    let answered = async {
        while endpoint.stats().received < 21 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while let Some(incoming) = received.recv().await {
            if matches!(*incoming, Incoming::Response { tx: ClientTx(1), .. }) {
                break;
            }
        }
    };

    timeout(PATIENCE, answered).await.expect("the answer");
    assert!(endpoint.stats().inbox_full >= 12, "{:?}", endpoint.stats());
}
