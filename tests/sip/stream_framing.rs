//! "TCP (framing...)": messages come out of a stream whole, however they come; what cannot be read ends
//! the connection, and nothing else.

use std::time::Duration;

use proptest::prelude::*;
use wrtc_gateway::sip::transport::frame::{Frame, Framer, MAX_MESSAGE};
use wrtc_gateway::sip::{Hop, Transport};

use super::streams::*;

fn options(id: &str) -> String {
    request("OPTIONS", "x", id, Transport::Tcp, "127.0.0.1:9".parse().unwrap())
}

#[tokio::test]
async fn fragmented_and_glued_messages_are_answered_in_order() {
    let endpoint = open(|_| {});
    let mut peer = connect(endpoint.local_addr()).await;
    peer.stream.set_nodelay(true).unwrap();
    for byte in format!("\r\n{}", options("slow")).chunks_of_one() {
        peer.write(&byte).await;
    }
    let glued = format!("{}\r\n{}{}", options("g1"), options("g2"), options("g3"));
    peer.write(&glued).await;
    for id in ["slow", "g1", "g2", "g3"] {
        let answer = peer.read().await.unwrap();
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        assert_eq!(value(&answer, "Call-ID"), id);
    }
    assert_eq!(endpoint.stats().stream_faults, 0);
}

/// One message that cannot be read does not cost all other DNs their connection.
#[tokio::test]
async fn an_unreadable_message_is_counted_and_the_stream_goes_on() {
    let endpoint = open(|_| {});
    let mut peer = connect(endpoint.local_addr()).await;
    let ack = options("ack").replace("OPTIONS", "ACK").replace("From:", "X:");
    peer.write(&format!("SIP/2.0 banana\r\nContent-Length: 0\r\n\r\n{ack}")).await;
    peer.write(&options("next")).await;
    assert_eq!(value(&peer.read().await.unwrap(), "Call-ID"), "next");
    let stats = endpoint.stats();
    assert_eq!((stats.malformed, stats.stream_faults, stats.connections_in), (2, 0, 1));
}

trait Pieces {
    fn chunks_of_one(&self) -> Vec<String>;
}

impl Pieces for String {
    fn chunks_of_one(&self) -> Vec<String> {
        self.chars().map(String::from).collect()
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_is_closed_and_counted() {
    let endpoint = open(|config| config.limits.message = Duration::from_millis(100));
    let mut events = endpoint.connection_events();
    let no_length = options("a").replace("Content-Length: 0\r\n", "");
    let two_lengths = options("a").replace("Content-Length: 0", "l: 0\r\nContent-Length: 5");
    let long = options("a").replace("Content-Length: 0", "Content-Length: 70000");
    let head = format!("OPTIONS sip:x SIP/2.0\r\n{}", "X: y\r\n".repeat(10_000));
    let cases = [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not SIP"),
        (no_length.as_str(), "without Content-Length"),
        (two_lengths.as_str(), "cannot be understood"),
        (long.as_str(), "64 KiB"),
        (head.as_str(), "32 KiB"),
        ("OPTIONS sip:x SIP/2.0\r\n", "not complete"),
    ];
    for (n, (text, reason)) in cases.iter().enumerate() {
        let mut peer = connect(endpoint.local_addr()).await;
        let hop = Hop::new(Transport::Tcp, peer.stream.local_addr().unwrap());
        let mut other = connect(endpoint.local_addr()).await;
        // The endpoint may close before all of it is taken.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.stream, text.as_bytes()).await;
        let told = down(&mut events, hop).await;
        assert!(told.contains(reason), "{told}");
        peer.closed().await;
        other.write(&options(&format!("o{n}"))).await;
        assert!(other.read().await.unwrap().starts_with("SIP/2.0 200"), "nobody else suffers");
        until("the fault counted", || endpoint.stats().stream_faults == n as u64 + 1).await;
    }
}

proptest! {
    /// However a sequence of messages is cut, the same come out.
    #[test]
    fn cuts_do_not_matter(
        bodies in prop::collection::vec("[ -~\r\n]{0,40}", 1..6),
        blanks in 0usize..3,
        cuts in prop::collection::vec(1usize..50, 1..40),
    ) {
        let messages: Vec<String> = bodies
            .iter()
            .map(|body| format!("INFO sip:x SIP/2.0\r\nX: y\r\nl: {}\r\n\r\n{body}", body.len()))
            .collect();
        let all = messages.join(&"\r\n".repeat(blanks));
        let (mut framer, mut got, mut seen) = (Framer::default(), vec![], 0);
        let mut rest = all.as_bytes();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            rest = more;
            framer.push(piece);
            while let Some(frame) = framer.next_frame().unwrap() {
                match frame {
                    Frame::Message(bytes) => got.push(String::from_utf8(bytes.to_vec()).unwrap()),
                    Frame::Blank => seen += 1,
                }
            }
        }
        prop_assert_eq!(&got, &messages);
        prop_assert_eq!(seen, blanks * (messages.len() - 1));
    }

    /// Hostile streams: no panic, and never more held than one message and one piece.
    #[test]
    fn garbage_neither_panics_nor_grows(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                Just(b"\r\n\r\n".to_vec()),
                Just(b"INVITE sip:x SIP/2.0\r\n".to_vec()),
                Just(b"Content-Length: 60000\r\n".to_vec()),
                Just(b"l: 99999999999999999999\r\n".to_vec()),
                Just(vec![b'x'; 9000]),
                Just(b"X:\r\n \r\n".repeat(60)),
            ],
            0..60,
        ),
    ) {
        let mut framer = Framer::default();
        'pieces: for piece in &pieces {
            framer.push(piece);
            loop {
                match framer.next_frame() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'pieces,
                }
            }
            prop_assert!(framer.held() <= MAX_MESSAGE, "{}", framer.held());
        }
    }
}
