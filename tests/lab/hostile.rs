//! What no telephone says.

use std::time::Duration;

use tokio::net::UdpSocket;

use crate::support::*;

fn message(n: usize, method: &str, uri: &str, from: &str, to: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKx{n}\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: c{n}\r\nCSeq: 1 {method}\r\n\
         {more}Content-Length: 0\r\n\r\n"
    )
}

/// The first answer that is no 100.
async fn ask(socket: &UdpSocket, message: &str) -> String {
    socket.send(message.as_bytes()).await.unwrap();
    let mut buffer = [0; 4096];
    loop {
        let length = soon(message, socket.recv(&mut buffer)).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if !answer.starts_with("SIP/2.0 100") {
            return answer.split(' ').nth(1).unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn each_fault_has_its_answer_and_the_lab_goes_on() {
    let lab = lab().await;
    let dn = "<sip:5001@lab>";
    let me = "<sip:5001@lab>;tag=1";
    let guest = "sip:x@lab;tag=1";
    let faults = [
        ("REGISTER", "sip:lab", me, "<sip:5001@lab>;junk=\"", "", "401"),
        ("REGISTER", "sip:lab", me, "sip:lab", "", "400"),
        ("REGISTER", "sip:lab", me, "<tel:5001>", "", "400"),
        ("REGISTER", "sip:lab", me, dn, "Contact: *\r\n", "400"),
        ("REGISTER", "sip:lab", me, dn, "Expires: -1\r\n", "400"),
        ("REGISTER", "sip:lab", me, "<sip:9999@lab>", "", "404"),
        ("REGISTER", "sip:lab", me, dn, "Authorization: Digest \"\r\n", "401"),
        ("INVITE", "sip:lab", guest, "<sip:lab>", "", "404"),
        ("INVITE", "sip:600@lab", me, "<sip:600@lab>", "", "407"),
        ("INVITE", "sip:600@lab", me, "<sip:600@lab>;tag=2", "", "481"),
        ("BYE", "sip:600@lab", me, "<sip:600@lab>;tag=2", "", "481"),
        ("NOTIFY", "sip:600@lab", me, "<sip:600@lab>;tag=2", "", "481"),
        ("SUBSCRIBE", "sip:600@lab", me, "<sip:600@lab>", "", "405"),
        ("MESSAGE", "sip:600@lab", me, "<sip:600@lab>", "", "405"),
        ("OPTIONS", "sip:lab", me, "<sip:lab>", "", "200"),
    ];
    for (n, (method, uri, from, to, more, code)) in faults.into_iter().enumerate() {
        // A socket each: a repeated answer to one is none to the next.
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(lab.sip_addr()).await.unwrap();
        let message = message(n, method, uri, from, to, more);
        assert_eq!(ask(&socket, &message).await, code, "{message}");
    }
    // These have none.
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(lab.sip_addr()).await.unwrap();
    for junk in [&b"\0\0\0\0"[..], b"INVITE", b"SIP/2.0 200 OK\r\n\r\n", &[0xFF; 1400], b"\r\n\r\n"]
    {
        socket.send(junk).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut telephone = Telephone::signed_in(&lab, "5001").await;
    telephone.call("600").await;
    telephone.hears(10).await;
}

#[tokio::test]
async fn an_invite_with_a_useless_offer_is_refused() {
    let lab = lab().await;
    let mut guest = Telephone::guest(&lab).await;
    for (n, offer) in
        ["hello", "v=0\r\nm=audio 9 RTP/SAVP 0\r\n", "v=0\r\nm=audio 9 RTP/AVP 18\r\n"]
            .into_iter()
            .enumerate()
    {
        guest.send(wrtc_gateway::sip::Command::Invite {
            session: wrtc_gateway::sip::SessionId(100 + n as u64),
            to: "600".to_owned(),
            sdp: Some(offer.to_owned()),
            headers: Vec::new(),
        });
        assert_eq!(guest.ended().await.code, 488, "{offer}");
    }
}
