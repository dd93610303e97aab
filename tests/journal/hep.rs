//! SIP as it happens at a HEP collector, read by a decoder that shares nothing with the encoder.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::UdpSocket;
use wrtc_gateway::config;
use wrtc_gateway::journal::hep::{Hep, HepError, HepStats};
use wrtc_gateway::journal::{About, Entry, Observer, What};

use crate::made::Dir;

/// Chunks by their type.
type Chunks = BTreeMap<u16, Vec<u8>>;

fn decode(packet: &[u8]) -> Chunks {
    let u16_at = |at: usize| u16::from_be_bytes(packet[at..at + 2].try_into().unwrap());
    assert_eq!(&packet[..4], b"HEP3");
    assert_eq!(usize::from(u16_at(4)), packet.len());
    let mut chunks = Chunks::new();
    let mut at = 6;
    while at < packet.len() {
        assert_eq!(u16_at(at), 0, "the generic vendor");
        let length = usize::from(u16_at(at + 4));
        let twice = chunks.insert(u16_at(at + 2), packet[at + 6..at + length].to_vec());
        assert_eq!(twice, None);
        at += length;
    }
    assert_eq!(at, packet.len());
    chunks
}

fn entry(inbound: bool, transport: &'static str, local: &str, peer: &str, text: &str) -> Entry {
    Entry {
        at: UNIX_EPOCH + Duration::from_micros(1_790_000_000_123_456),
        about: About::default(),
        what: What::Sip {
            inbound,
            transport,
            local: local.parse().unwrap(),
            peer: peer.parse().unwrap(),
            call_id: "c1@192.0.2.1".to_owned(),
            text: text.into(),
        },
    }
}

async fn collector() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn to(address: SocketAddr) -> config::Hep {
    let host = address.ip().to_string();
    config::Hep { host, port: address.port(), capture_id: 2001, password_file: None }
}

async fn receive(socket: &UdpSocket) -> Chunks {
    let mut packet = vec![0; 65_536];
    let limit = Duration::from_secs(60);
    let length = tokio::time::timeout(limit, socket.recv(&mut packet)).await.unwrap().unwrap();
    decode(&packet[..length])
}

/// Shows it until the collector is found: what comes before is lost, and counted.
async fn show(hep: &Hep, entry: &Entry, socket: &UdpSocket) -> Chunks {
    for _ in 0..6000 {
        hep.observe(entry);
        if let Ok(chunks) = tokio::time::timeout(Duration::from_millis(10), receive(socket)).await {
            return chunks;
        }
    }
    panic!("nothing came");
}

/// Leaves nothing of what `show` repeated.
async fn drain(hep: &Hep, socket: &UdpSocket) {
    let mut packet = [0; 2048];
    while tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut packet)).await.is_ok() {
    }
    assert!(hep.stats().sent > 0);
}

#[tokio::test]
async fn a_message_with_everything_that_is_known_of_it() {
    let (socket, address) = collector().await;
    let hep = Hep::start(&to(address)).unwrap();
    let text = "OPTIONS sip:a SIP/2.0\r\n\r\n";
    let sent = entry(false, "udp", "192.0.2.1:5062", "198.51.100.9:5060", text);
    let wanted: Chunks = [
        (1, vec![2]),
        (2, vec![17]),
        (3, vec![192, 0, 2, 1]),
        (4, vec![198, 51, 100, 9]),
        (7, 5062_u16.to_be_bytes().to_vec()),
        (8, 5060_u16.to_be_bytes().to_vec()),
        (9, 1_790_000_000_u32.to_be_bytes().to_vec()),
        (10, 123_456_u32.to_be_bytes().to_vec()),
        (11, vec![1]),
        (12, 2001_u32.to_be_bytes().to_vec()),
        (15, text.as_bytes().to_vec()),
        (17, b"c1@192.0.2.1".to_vec()),
    ]
    .into();
    assert_eq!(show(&hep, &sent, &socket).await, wanted);
}

#[tokio::test]
async fn the_other_way_the_other_family_a_connection() {
    let (socket, address) = collector().await;
    let hep = Hep::start(&to(address)).unwrap();
    let came = entry(true, "tls", "[2001:db8::1]:5063", "[2001:db8::2]:40000", "x");
    let chunks = show(&hep, &came, &socket).await;
    let octets = |ip: &str| ip.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    assert_eq!(chunks[&1], [10]);
    assert_eq!(chunks[&2], [6]);
    assert_eq!(chunks[&5], octets("2001:db8::2"));
    assert_eq!(chunks[&6], octets("2001:db8::1"));
    assert_eq!(chunks[&7], 40000_u16.to_be_bytes());
    assert_eq!(chunks[&8], 5063_u16.to_be_bytes());
    assert!(!chunks.contains_key(&3) && !chunks.contains_key(&4));
}

#[tokio::test]
async fn the_password_goes_with_it_and_nothing_but_sip_goes() {
    let dir = Dir::new();
    let file = dir.0.join("password");
    std::fs::write(&file, "s3cret-of-homer \nsomething else\n").unwrap();
    let (socket, address) = collector().await;
    let hep = Hep::start(&config::Hep { password_file: Some(file), ..to(address) }).unwrap();
    let sent = entry(false, "udp", "192.0.2.1:5062", "192.0.2.9:5060", "one");
    assert_eq!(show(&hep, &sent, &socket).await[&14], b"s3cret-of-homer");
    drain(&hep, &socket).await;
    let before = hep.stats();
    hep.observe(&Entry {
        at: SystemTime::now(),
        about: About::default(),
        what: What::CallState("ringing"),
    });
    hep.observe(&entry(false, "udp", "192.0.2.1:5062", "192.0.2.9:5060", "two"));
    assert_eq!(receive(&socket).await[&15], b"two");
    assert_eq!(hep.stats(), HepStats { sent: before.sent + 1, ..before });
}

#[test]
fn a_password_that_is_not_there_is_told_with_its_key() {
    let dir = Dir::new();
    let hep = |name: &str| config::Hep {
        password_file: Some(dir.0.join(name)),
        ..to("127.0.0.1:9060".parse().unwrap())
    };
    std::fs::write(dir.0.join("empty"), "\nlater").unwrap();
    assert!(matches!(Hep::start(&hep("empty")), Err(HepError::Password { .. })));
    let error = Hep::start(&hep("none")).err().unwrap();
    assert!(error.to_string().contains("journal.hep_password_file"), "{error}");
}

/// A message as large as SIP allows still fits a datagram.
#[tokio::test]
async fn a_huge_message_is_cut() {
    let (socket, address) = collector().await;
    let hep = Hep::start(&to(address)).unwrap();
    let text: Arc<str> = "x".repeat(65_535).into();
    let sent = entry(false, "tcp", "192.0.2.1:5062", "192.0.2.9:5060", &text);
    assert_eq!(show(&hep, &sent, &socket).await[&15].len(), 64_000);
}

/// Nobody listens, nobody is found, and more comes than fits: whoever observes never waits.
#[tokio::test]
async fn what_finds_no_collector_is_counted() {
    let nowhere = config::Hep {
        host: "no-such-collector.invalid".to_owned(),
        port: 9060,
        capture_id: 1,
        password_file: None,
    };
    let hep = Hep::start(&nowhere).unwrap();
    let sent = entry(false, "udp", "192.0.2.1:5062", "192.0.2.9:5060", "x");
    for _ in 0..10_000 {
        hep.observe(&sent);
    }
    let stats = hep.stats();
    assert!(stats.lost >= 5000 && stats.sent == 0, "{stats:?}");
}
