//! Another implementation's client (rtc-turn) over UDP, TCP and TLS, through real sockets to a media
//! socket that echoes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rtc_shared::{TransportContext, TransportMessage, TransportProtocol};
use rtc_turn::client::{Client, ClientConfig, Event};
use sansio::Protocol;
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;

use crate::streams::{Io, LIMIT, Running, connect_tls, read_frame, tcp};
use crate::support::*;

/// The bytes between the client and the server.
enum Link {
    Udp(UdpSocket),
    Stream(Box<dyn Io>),
}

struct Bench {
    client: Client,
    link: Link,
    local: SocketAddr,
    server: SocketAddr,
    protocol: TransportProtocol,
}

impl Bench {
    fn new(link: Link, server: SocketAddr) -> Self {
        let (local, protocol) = match &link {
            Link::Udp(socket) => (socket.local_addr().unwrap(), TransportProtocol::UDP),
            Link::Stream(_) => (addr("127.0.0.1:9"), TransportProtocol::TCP),
        };
        let issued = authority().issue("5001", UNIX * 2);
        let config = ClientConfig {
            turn_serv_addr: server.to_string(),
            local_addr: local,
            transport_protocol: protocol,
            username: issued.username,
            password: issued.credential.expose().to_owned(),
            realm: "not asked yet".to_owned(),
            ..ClientConfig::default()
        };
        let provider = rtc_stun::crypto::default_provider().unwrap();
        Bench { client: Client::new(config, provider).unwrap(), link, local, server, protocol }
    }

    /// Moves bytes until the client has something to tell.
    async fn event(&mut self) -> Event {
        let next = async {
            loop {
                while let Some(transmit) = self.client.poll_write() {
                    match &mut self.link {
                        Link::Udp(socket) => {
                            socket.send_to(&transmit.message, self.server).await.unwrap();
                        }
                        Link::Stream(stream) => stream.write_all(&transmit.message).await.unwrap(),
                    }
                }
                if let Some(event) = self.client.poll_event() {
                    return event;
                }
                let message = match &mut self.link {
                    Link::Udp(socket) => {
                        let mut buffer = vec![0; 2048];
                        let length = socket.recv(&mut buffer).await.unwrap();
                        buffer.truncate(length);
                        buffer
                    }
                    Link::Stream(stream) => read_frame(stream).await.unwrap(),
                };
                let transport = TransportContext {
                    local_addr: self.local,
                    peer_addr: self.server,
                    transport_protocol: self.protocol,
                    ecn: None,
                };
                let message = BytesMut::from(message.as_slice());
                let now = Instant::now();
                self.client.handle_read(TransportMessage { now, transport, message }).unwrap();
            }
        };
        tokio::time::timeout(LIMIT, next).await.expect("news of the client")
    }

    async fn use_it(mut self, running: &Running) {
        self.client.allocate(Instant::now()).unwrap();
        let relayed = match self.event().await {
            Event::AllocateResponse(_, relayed) => relayed,
            other => panic!("{other:?}"),
        };
        assert!(relayed.ip().is_loopback());
        let media = running.media;
        let mut relay = self.client.relay(relayed).unwrap();
        relay.create_permission(Instant::now(), media).unwrap();
        assert!(matches!(self.event().await, Event::CreatePermissionResponse(..)));
        // The first goes as an indication, and binds a channel for the others.
        let mut by_channel = 0;
        for n in 0..20u8 {
            let sent = [n; 160];
            self.client.relay(relayed).unwrap().send_to(Instant::now(), &sent, media).unwrap();
            match self.event().await {
                Event::DataIndicationOrChannelData(channel, from, data) => {
                    assert_eq!((from, data.as_ref()), (media, sent.as_slice()));
                    by_channel += usize::from(channel.is_some());
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(by_channel >= 18, "{by_channel}");
        assert_eq!(running.stats().allocations, 1);
        let foreign = addr("127.0.0.1:9");
        self.client.relay(relayed).unwrap().create_permission(Instant::now(), foreign).unwrap();
        assert!(
            matches!(self.event().await, Event::CreatePermissionResponse(..)),
            "of the address, whose other ports are not reached"
        );
        let foreign = addr("192.0.2.1:9");
        self.client.relay(relayed).unwrap().create_permission(Instant::now(), foreign).unwrap();
        assert!(matches!(self.event().await, Event::CreatePermissionError(..)));
        self.client.relay(relayed).unwrap().close(Instant::now()).unwrap();
        let released = async {
            while running.stats().allocations > 0 {
                while let Some(transmit) = self.client.poll_write() {
                    match &mut self.link {
                        Link::Udp(socket) => {
                            socket.send_to(&transmit.message, self.server).await.unwrap();
                        }
                        Link::Stream(stream) => stream.write_all(&transmit.message).await.unwrap(),
                    }
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, released).await.expect("a release");
    }
}

#[tokio::test]
async fn over_udp() {
    let running = Running::start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    Bench::new(Link::Udp(socket), running.plain).use_it(&running).await;
}

#[tokio::test]
async fn over_tcp() {
    let running = Running::start().await;
    let stream = tcp(running.plain).await;
    Bench::new(Link::Stream(Box::new(stream)), running.plain).use_it(&running).await;
}

#[tokio::test]
async fn over_tls() {
    let running = Running::start().await;
    let stream = connect_tls(&running).await;
    Bench::new(Link::Stream(Box::new(stream)), running.tls).use_it(&running).await;
}

/// Many at a time, each with its own echo, none with another's.
#[tokio::test]
async fn clients_do_not_meet() {
    let running = Arc::new(Running::start().await);
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..12u8 {
        let running = Arc::clone(&running);
        clients.spawn(async move {
            let link = match n % 2 {
                0 => Link::Udp(UdpSocket::bind("127.0.0.1:0").await.unwrap()),
                _ => Link::Stream(Box::new(tcp(running.plain).await)),
            };
            let mut bench = Bench::new(link, running.plain);
            bench.client.allocate(Instant::now()).unwrap();
            let Event::AllocateResponse(_, relayed) = bench.event().await else { panic!() };
            let media = running.media;
            bench.client.relay(relayed).unwrap().create_permission(Instant::now(), media).unwrap();
            assert!(matches!(bench.event().await, Event::CreatePermissionResponse(..)));
            for round in 0..30u8 {
                let sent = [n, round];
                bench.client.relay(relayed).unwrap().send_to(Instant::now(), &sent, media).unwrap();
                let Event::DataIndicationOrChannelData(_, _, data) = bench.event().await else {
                    panic!()
                };
                assert_eq!(data.as_ref(), sent);
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
}
