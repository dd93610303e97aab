//! What is wrong on the SIP port and on the media port is counted and dropped. After each, a second
//! call that has nothing to do with it still has sound, unbroken from its first packet.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::far::tone;
use crate::support::gateway::{Demo, dialled};
use crate::support::sdp;
use crate::support::tone::{Law, Sine};
use crate::support::witness::Witness;
use tokio::net::UdpSocket;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sip_garbage_on_the_sip_port() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let request = |method: &str, headers: &str| {
        format!(
            "{method} sip:5020@{sip} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{n}\r\n\
             From: <sip:x@127.0.0.1>;tag=1\r\nTo: <sip:5020@127.0.0.1>\r\nCall-ID: g{n}\r\n\
             CSeq: 1 {method}\r\nMax-Forwards: 70\r\n{headers}\r\n",
            sip = demo.sip,
            port = socket.local_addr().expect("bound").port(),
            n = rand::random::<u64>(),
        )
    };
    let mut datagrams: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        b"\r\n\r\n".to_vec(),
        b"INVITE".to_vec(),
        b"INVITE sip:5020@x SIP/2.0\r\n\r\n".to_vec(),
        b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
        b"SIP/2.0 999999 OK\r\nVia: x\r\n\r\n".to_vec(),
        vec![0xff; 60_000],
        request("INVITE", "Content-Length: -1\r\n").into_bytes(),
        request("INVITE", "Content-Length: 99999\r\nContent-Type: application/sdp\r\n")
            .into_bytes(),
        request("INVITE", &"X-Fill: y\r\n".repeat(4000)).into_bytes(),
        request("BYE", "Content-Length: 0\r\n").into_bytes(),
        request("CANCEL", "Content-Length: 0\r\n").into_bytes(),
        request("ACK", "Content-Length: 0\r\n").into_bytes(),
        request("NOTIFY", "Event: talk\r\nContent-Length: 0\r\n").into_bytes(),
        request("OPTIONS", "Content-Length: 0\r\n").replace("sip:5020", "sip:%00").into_bytes(),
        request("INVITE", "").replace("CSeq: 1", "CSeq: 99999999999999999999").into_bytes(),
        request("INVITE", "").replace("Call-ID", "Contact: <sip:\u{0}>\r\nCall-ID").into_bytes(),
        request("INVITE", "Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nhello")
            .into_bytes(),
    ];
    // A whole message, cut and flipped at random.
    let whole = request("INVITE", "Content-Length: 0\r\n").into_bytes();
    for _ in 0..300 {
        let mut mangled = whole[..rand::random::<u32>() as usize % whole.len()].to_vec();
        for _ in 0..5 {
            if !mangled.is_empty() {
                let at = rand::random::<u32>() as usize % mangled.len();
                mangled[at] = rand::random();
            }
        }
        datagrams.push(mangled);
    }
    for datagram in &datagrams {
        let _ = socket.send_to(datagram, demo.sip).await;
    }
    witness.undisturbed().await;
    // SIP itself still works, in and out.
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.browser.play(440.0).await;
    phone.call("7000").await;
    let far = dialled(&mut legs).await;
    far.leg.accept().await.expect("200");
    phone.answered().await;
    far.hears(440.0, 0.4).await;
    // The two, and one that waits where an INVITE came through the mangling whole.
    let calls = demo.health().await["active_calls"].as_u64();
    assert!(matches!(calls, Some(2..=3)), "{calls:?}");
}

/// The gateway's media address in an answer.
fn candidate_of(sdp: &str, beside: &[String]) -> SocketAddr {
    let candidates = sdp::attributes(sdp, "candidate");
    let line = candidates.first().map_or_else(
        || beside[0].trim_start_matches("a=").trim_start_matches("candidate:").to_owned(),
        |line| (*line).to_owned(),
    );
    let fields: Vec<_> = line.split(' ').collect();
    format!("{}:{}", fields[4], fields[5]).parse().expect("an address")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stun_with_a_wrong_password() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    phone.call("601").await;
    let answer = phone.expect_roap("ANSWER").await;
    let good = answer.sdp.clone().expect("sdp");
    let wrong = sdp::with_attribute(&good, "ice-pwd", "NobodysPasswordForThis22");
    phone.browser.set_answer(&wrong, &answer.candidates).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let heard = phone.browser.heard();
    assert_eq!(heard.received(), 0, "media for one who does not know the password");
    witness.undisturbed().await;

    // Any other datagram on the media port, the witness's address included.
    let media = candidate_of(&good, &answer.candidates);
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    for n in 0..500 {
        let mut datagram = vec![0u8; n * 3];
        datagram.iter_mut().for_each(|byte| *byte = rand::random());
        if let Some(first) = datagram.first_mut() {
            // STUN, DTLS, RTP and none of them in turn.
            *first = [0, 1, 22, 20, 128, 144, 255, 64][n % 8];
        }
        let _ = socket.send_to(&datagram, media).await;
    }
    witness.undisturbed().await;

    // With the right one it connects.
    phone.hang_up().await;
    witness.alone(&demo).await;
    phone.fresh().await;
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dtls_with_another_fingerprint() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    let mut local = phone.browser.offer().await;
    let other = vec!["AB"; 32].join(":");
    local.sdp = sdp::with_attribute(&local.sdp, "fingerprint", &format!("sha-256 {other}"));
    phone.peer = "7000".to_owned();
    phone.browser.play(440.0).await;
    phone.offer(&local).await;
    let far = dialled(&mut legs).await;
    far.leg.accept().await.expect("200");
    far.play(tone(1000.0));
    phone.answered().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let heard = phone.browser.heard();
    assert_eq!(heard.decrypted, 0, "sound for somebody else's certificate: {heard:?}");
    let at_far = far.leg.phone().heard();
    assert_eq!(at_far.tone_near(440.0, 30.0).seconds, 0.0, "and from it: {at_far}");
    witness.undisturbed().await;
    if demo.health().await["active_calls"] == 2 {
        phone.hang_up().await;
    }
    witness.alone(&demo).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_without_ice_or_fingerprint_is_signalled_and_gets_no_media() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    phone.peer = "601".to_owned();
    let whole = phone.browser.offer().await;
    let mut bare = whole.clone();
    bare.sdp = sdp::edit(&whole.sdp, |line| {
        let secret = ["a=ice-", "a=fingerprint", "a=setup"].iter().any(|p| line.starts_with(p));
        (!secret).then(|| line.to_owned())
    });
    bare.candidates.clear();
    phone.offer(&bare).await;
    let answer = phone.expect_roap("ANSWER").await;
    let sdp = answer.sdp.as_deref().expect("sdp");
    assert!(sdp::audio_line(sdp).is_some_and(|(port, ..)| port != 0));
    // Its browser tries all the same.
    if sdp::attribute(sdp, "ice-pwd").is_some() {
        phone.browser.set_answer(sdp, &answer.candidates).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(phone.browser.heard().received(), 0);
    }
    phone.posted("BYE").await;
    demo.idle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn srtp_that_fails_authentication() {
    let demo = Demo::start().await;
    let mut witness = Witness::start(&demo).await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.browser.play(440.0).await;
    phone.call("7000").await;
    let far = dialled(&mut legs).await;
    far.leg.accept().await.expect("200");
    far.play(tone(1000.0));
    phone.answered().await;
    phone.browser.connected().await;
    far.hears(440.0, 0.4).await;

    let (packet, to) = phone.browser.last_srtp().await.expect("it speaks");
    let foreign = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    for n in 0..100u8 {
        // Its tag, its payload, its number, another source, cut short; and the packet itself again.
        let mut forged = packet.clone();
        match n % 6 {
            0 => *forged.last_mut().expect("bytes") ^= 1,
            1 => forged[20] ^= 0x80,
            2 => forged[3] = forged[3].wrapping_add(n),
            3 => forged[11] ^= n,
            4 => forged.truncate(12 + usize::from(n) % 8),
            _ => {}
        }
        phone.browser.send_raw(forged.clone(), to).await;
        let _ = foreign.send_to(&forged, to).await;
        // SRTCP that is none.
        let mut rtcp = vec![0x80, 201, 0, 1];
        rtcp.extend_from_slice(&forged[..forged.len().min(30)]);
        phone.browser.send_raw(rtcp, to).await;
    }
    let heard = far.hears(440.0, 1.0).await;
    assert_eq!(heard.unknown_payload, 0, "{heard}");
    let all = far.leg.phone().heard();
    assert_eq!((all.received.sources, all.received.duplicates), (1, 0), "{all}");
    phone.browser.hears(1000.0, 0.4).await.assert_one_unbroken_stream();
    witness.undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_of_a_stranger_rings_nowhere() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    // Another host than the SIP server's; all of 127/8 is loopback.
    let stranger = UdpSocket::bind("127.0.0.2:0").await.expect("a port");
    let port = stranger.local_addr().expect("bound").port();
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\n"
    );
    for n in 0..5 {
        let invite = format!(
            "INVITE sip:5001@{sip} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2:{port};branch=z9hG4bK{n}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:9@127.0.0.2>;tag=1\r\nTo: <sip:5001@127.0.0.2>\r\n\
             Call-ID: stranger{n}\r\nCSeq: 1 INVITE\r\nContact: <sip:9@127.0.0.2:{port}>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}",
            sip = demo.sip,
            length = sdp.len(),
        );
        stranger.send_to(invite.as_bytes(), demo.sip).await.expect("sent");
    }
    if let Some(message) = phone.within(Duration::from_secs(1)).await {
        panic!("a call from nowhere: {}", message.body);
    }
    assert_eq!(demo.health().await["active_calls"], 0);
    phone.connect("601").await;
    phone.browser.hears(1000.0, 0.3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtp_of_a_stranger_is_not_heard() {
    let demo = Demo::start().await;
    let mut phone = demo.phone("5001").await;
    let mut legs = demo.take("7000").await;
    phone.browser.play(440.0).await;
    phone.call("7000").await;
    let far = dialled(&mut legs).await;
    let offer = far.leg.invite().and_then(|invite| invite.sdp.clone()).expect("sdp");
    let (rtp_port, ..) = sdp::audio_line(&offer).expect("audio");
    far.leg.accept().await.expect("200");
    far.play(tone(1000.0));
    phone.answered().await;
    phone.browser.connected().await;
    // The far end has been learned by now.
    phone.browser.hears(1000.0, 1.0).await;
    phone.browser.forget();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let mut sine = Sine::new(600.0);
    for n in 0..100u16 {
        let mut packet = vec![0x80, 0];
        packet.extend((30_000 + n).to_be_bytes());
        packet.extend((u32::from(n) * 160).to_be_bytes());
        packet.extend(0xBAD_5EED_u32.to_be_bytes());
        packet.extend(sine.frame(Law::Mu));
        let _ = stranger.send_to(&packet, ("127.0.0.1", rtp_port)).await;
        // Garbage and cut packets among it.
        let _ = stranger.send_to(&packet[..usize::from(n) % 14], ("127.0.0.1", rtp_port)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let heard = phone.browser.hears(1000.0, 0.6).await;
    assert_eq!(heard.tone_seconds(600.0), 0.0);
    heard.assert_one_unbroken_stream();
    far.hears(440.0, 0.4).await;
}
