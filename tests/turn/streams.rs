//! Real sockets: TCP and TLS as they may be broken, and the server that the other tests talk to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtc_stun::message::*;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;
use wrtc_gateway::turn::{Core, Limits, Peers, Server, TurnConfig, TurnStats};

use crate::support::*;

/// Far longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(30);

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A server on loopback, and a media socket that sends back what it gets.
pub struct Running {
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    pub media: SocketAddr,
    core: Arc<Core>,
    certificate: rustls::pki_types::CertificateDer<'static>,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    pub async fn start() -> Running {
        let any = addr("127.0.0.1:0");
        let echo = UdpSocket::bind(any).await.unwrap();
        let media = echo.local_addr().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["turn.example".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let server = Server::bind(TurnConfig {
            listen: Some(any),
            tls: Some((any, Arc::new(tls))),
            authority: authority(),
            peers: Peers::new(&[media], &[], |_| true),
            limits: Limits { allocations: 100, per_address: 100 },
        })
        .unwrap();
        let stop = CancellationToken::new();
        let running = Running {
            plain: server.local_addr().unwrap(),
            tls: server.tls_addr().unwrap(),
            media,
            core: server.core(),
            certificate,
            stop: stop.clone(),
        };
        tokio::spawn(server.run(stop.clone()));
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let mut buffer = [0; 2048];
            loop {
                let (length, from) = echo.recv_from(&mut buffer).await.unwrap();
                echo.send_to(&buffer[..length], from).await.unwrap();
            }
        }));
        running
    }

    pub fn stats(&self) -> TurnStats {
        self.core.stats()
    }
}

pub async fn tcp(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub async fn connect_tls(running: &Running) -> impl Io + use<> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(running.certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("turn.example").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(name, tcp(running.tls).await).await.unwrap()
}

/// One message of a stream, with its padding; `None` at its end.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).await.ok()?;
    let length = usize::from(u16::from_be_bytes([frame[2], frame[3]]));
    let rest = if frame[0] < 0x40 { 16 + length } else { length.next_multiple_of(4) };
    frame.resize(4 + rest, 0);
    stream.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

async fn ends(mut stream: impl AsyncRead + Unpin) {
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("an end");
}

fn binding() -> Vec<u8> {
    message(METHOD_BINDING, CLASS_REQUEST, &[]).raw
}

#[tokio::test]
async fn messages_may_come_in_any_pieces() {
    let running = Running::start().await;
    let mut stream = tcp(running.plain).await;
    let bytes = [binding(), binding(), binding()].concat();
    for piece in bytes.chunks(7) {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
    }
    for _ in 0..3 {
        let frame = tokio::time::timeout(LIMIT, read_frame(&mut stream)).await.unwrap().unwrap();
        assert_eq!(frame[..2], [1, 1]);
    }
}

#[tokio::test]
async fn what_is_not_turn_is_hung_up_on() {
    let running = Running::start().await;
    for junk in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        &[0xff; 100],
        b"\x40\x00\xff\xff",
        b"\x16\x03\x01\x02\x00",
    ] {
        let mut stream = tcp(running.plain).await;
        stream.write_all(junk).await.unwrap();
        ends(stream).await;
    }
    assert_eq!(running.stats().malformed, 4);
    let mut stream = tcp(running.tls).await;
    stream.write_all(&binding()).await.unwrap();
    ends(stream).await;
}

/// One that reads nothing costs others nothing, and is not waited for.
#[tokio::test]
async fn a_client_that_does_not_read_loses_messages_and_no_more() {
    let running = Running::start().await;
    let mut deaf = tcp(running.plain).await;
    let asked = async {
        let many = binding().repeat(1000);
        while running.stats().dropped == 0 {
            if tokio::time::timeout(Duration::from_millis(200), deaf.write_all(&many)).await.is_ok()
            {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(LIMIT, asked).await.expect("a full queue");
    let mut other = tcp(running.plain).await;
    other.write_all(&binding()).await.unwrap();
    tokio::time::timeout(LIMIT, read_frame(&mut other)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_ends_connections() {
    let running = Running::start().await;
    let stream = tcp(running.plain).await;
    running.stop.cancel();
    ends(stream).await;
}
