//! What the tests of connections share: endpoints, and a peer that is a bare socket.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use wrtc_gateway::sip::{
    Claim, ConnectionEvent, Driven, Endpoint, EndpointConfig, Event, Hop, Transport, UaConfig,
};

use super::support::*;

/// Generous: the machine that runs this may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// On loopback, UDP and TCP on one port.
pub fn open(change: impl FnOnce(&mut EndpointConfig)) -> Endpoint {
    let mut config = EndpointConfig::new(addr("127.0.0.1:0").addr, "test");
    change(&mut config);
    Endpoint::open(config).unwrap()
}

/// A user agent whose server is `server`.
pub fn driven(endpoint: &Endpoint, user: &str, server: Hop) -> Driven {
    let here = match server.transport {
        Transport::Tls => endpoint.tls_addr().unwrap_or(endpoint.local_addr()),
        _ => endpoint.local_addr(),
    };
    let config = UaConfig { server, ..config(user, &here.to_string(), PEER) };
    Driven::new(endpoint, Claim::User(user.into()), config)
}

pub async fn next(ua: &mut Driven) -> Event {
    timeout(PATIENCE, ua.next_event()).await.expect("an event")
}

/// Waits for something to become true.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited for: {what}"));
}

/// Waits for the end of a connection to `hop`; its reason.
pub async fn down(
    events: &mut tokio::sync::broadcast::Receiver<ConnectionEvent>,
    hop: Hop,
) -> String {
    let wait = async {
        loop {
            match events.recv().await.expect("an event") {
                ConnectionEvent::Down { hop: which, reason, .. } if which == hop => return reason,
                _ => {}
            }
        }
    };
    timeout(PATIENCE, wait).await.expect("the connection ends")
}

/// A peer that listens, and does nothing by itself.
pub async fn listener() -> (TcpListener, Hop) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hop = Hop::new(Transport::Tcp, listener.local_addr().unwrap());
    (listener, hop)
}

pub async fn accept(listener: &TcpListener) -> Wire<TcpStream> {
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.expect("a connection").unwrap();
    Wire::new(stream)
}

pub async fn connect(to: SocketAddr) -> Wire<TcpStream> {
    Wire::new(TcpStream::connect(to).await.unwrap())
}

/// One end of a connection, as text.
pub struct Wire<S> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next message; None when the connection ends before it is whole.
    pub async fn read(&mut self) -> Option<String> {
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length:")?.trim().parse().ok())
                    .unwrap_or(0);
                if body.len() >= length {
                    let whole = head.len() + 4 + length;
                    return Some(
                        String::from_utf8_lossy(&self.buffer.drain(..whole).collect::<Vec<_>>())
                            .into_owned(),
                    );
                }
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    /// Exactly these bytes come next.
    pub async fn expect(&mut self, bytes: &[u8]) {
        while self.buffer.len() < bytes.len() {
            assert!(self.fill().await > 0, "the connection ended");
        }
        let got: Vec<u8> = self.buffer.drain(..bytes.len()).collect();
        assert_eq!(got, bytes);
    }

    /// Waits until the other side has closed; what came before does not matter.
    pub async fn closed(&mut self) {
        while self.fill().await > 0 {}
    }

    async fn fill(&mut self) -> usize {
        let mut chunk = [0; 4096];
        // A reset is an end, too.
        let read = timeout(PATIENCE, self.stream.read(&mut chunk)).await.expect("bytes, or an end");
        let length = read.unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..length]);
        length
    }
}

/// The value of a header of a message as text.
pub fn value<'a>(message: &'a str, name: &str) -> &'a str {
    message
        .lines()
        .find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
        .unwrap_or_else(|| panic!("{name} in {message}"))
}

/// An answer to a request as text.
pub fn answer(request: &str, status: &str, extra: &str) -> String {
    let to = value(request, "To");
    let tag = if to.contains(";tag=") || status.starts_with("100") { "" } else { ";tag=peer" };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         {extra}Content-Length: 0\r\n\r\n",
        value(request, "Via"),
        value(request, "From"),
        value(request, "Call-ID"),
        value(request, "CSeq"),
    )
}

/// A request from outside of any dialog, with `sent_by` in its Via and its Contact.
pub fn request(
    method: &str,
    user: &str,
    id: &str,
    transport: Transport,
    sent_by: SocketAddr,
) -> String {
    let (via, param) = (transport.via(), transport.param());
    format!(
        "{method} sip:{user}@h SIP/2.0\r\nVia: SIP/2.0/{via} {sent_by};branch=z9hG4bK{id}\r\n\
         From: <sip:x@h>;tag=1\r\nTo: <sip:{user}@h>\r\nCall-ID: {id}\r\nCSeq: 1 {method}\r\n\
         Max-Forwards: 70\r\nContact: <sip:x@{sent_by};transport={param}>\r\nContent-Length: 0\r\n\r\n"
    )
}
