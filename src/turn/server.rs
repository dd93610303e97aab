//! The listening sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::quota::{Place, Places, holder};
use super::session::{Core, Limits, Now};
use super::stats::{Bound, TurnStats, count};
use super::{Authority, Peers, stream, udp};

/// Connections at a time, and those of one source: as many as it may have relays, between this and half of all, for
/// whoever connects has proven nothing. A browser has one for each network and address while it looks for a way, and
/// one in a call.
const CONNECTIONS: usize = 8192;
const PER_SOURCE: usize = 2048;

/// Connections that the kernel completes while we are busy.
const BACKLOG: i32 = 512;

/// Bytes that wait in the UDP socket: half a second of 500 calls.
const BUFFER: usize = 4 << 20;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// As for the HTTP side's: a peer that is gone is noticed within half a minute.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(20);
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Ports that may be free for UDP and taken for TCP before we give up.
const PORT_TRIES: usize = 16;

pub struct TurnConfig {
    /// UDP and TCP.
    pub listen: Option<SocketAddr>,
    pub tls: Option<(SocketAddr, Arc<ServerConfig>)>,
    pub authority: Authority,
    pub peers: Peers,
    pub limits: Limits,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("turn.{key} = {address}: {source}; choose another port")]
    Listen { key: &'static str, address: SocketAddr, source: io::Error },
    #[error("TURN has no cryptography to check passwords with")]
    Crypto,
}

/// A TURN server that is bound and does not serve yet.
pub struct Server {
    core: Arc<Core>,
    plain: Option<(UdpSocket, TcpListener)>,
    tls: Option<(TcpListener, TlsAcceptor)>,
    /// Connections of one source.
    per_source: usize,
}

/// Both clocks.
pub(super) fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { at: Instant::now(), unix }
}

impl Server {
    /// Opens the ports, within a tokio runtime.
    ///
    /// # Errors
    /// A port is taken or may not be opened.
    pub fn bind(config: TurnConfig) -> Result<Server, BindError> {
        let TurnConfig { listen, tls, authority, peers, limits } = config;
        let core = Core::new(authority, peers, limits, now().at).ok_or(BindError::Crypto)?;
        let per_source = limits.per_address.clamp(PER_SOURCE, CONNECTIONS / 2);
        let fault = |key, address| move |source| BindError::Listen { key, address, source };
        let plain = match listen {
            Some(at) => Some(bind_both(at).map_err(fault("listen", at))?),
            None => None,
        };
        let tls = match tls {
            Some((at, config)) => {
                let listener = listen_tcp(at).map_err(fault("tls_listen", at))?;
                Some((listener, TlsAcceptor::from(config)))
            }
            None => None,
        };
        Ok(Server { core, plain, tls, per_source })
    }

    /// Where UDP and TCP are.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.plain.as_ref().and_then(|(udp, _)| udp.local_addr().ok())
    }

    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// For the counters.
    pub fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core)
    }

    pub fn stats(&self) -> TurnStats {
        self.core.stats()
    }

    /// Serves until `stop`. Relays end with it.
    pub async fn run(self, stop: CancellationToken) {
        let Server { core, plain, tls, per_source } = self;
        let tasks = TaskTracker::new();
        let places = Places::new(CONNECTIONS, per_source);
        let accepting = |listener, tls| {
            let shared = Shared {
                core: Arc::clone(&core),
                places: Arc::clone(&places),
                tls,
                tasks: tasks.clone(),
                stop: stop.clone(),
            };
            tasks.spawn(accept(listener, shared));
        };
        if let Some((udp, tcp)) = plain {
            tasks.spawn(udp::run(udp, Arc::clone(&core), stop.clone()));
            accepting(tcp, None);
        }
        if let Some((listener, acceptor)) = tls {
            accepting(listener, Some(acceptor));
        }
        tasks.close();
        tasks.wait().await;
    }
}

/// The same port for both; for port 0, one that is free for both.
fn bind_both(at: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if at.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let udp = bind_udp(at)?;
        tries -= 1;
        match listen_tcp(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse || tries == 0 => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
}

fn bind_udp(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    prepare(&socket, at)?;
    // As much as the system allows.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    UdpSocket::from_std(socket.into())
}

fn listen_tcp(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME-WAIT.
    socket.set_reuse_address(true)?;
    prepare(&socket, at)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn prepare(socket: &Socket, at: SocketAddr) -> io::Result<()> {
    if at.is_ipv6() {
        // `[::]` means every address, IPv4 ones too.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())
}

/// What an accepting task has.
struct Shared {
    core: Arc<Core>,
    places: Arc<Places<IpAddr>>,
    tls: Option<TlsAcceptor>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

async fn accept(listener: TcpListener, shared: Shared) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: trying at once would only burn CPU.
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // One too many is closed at once: a browser then tries another way, and does not wait.
        let Ok(place) = shared.places.take(holder(from.ip())) else {
            shared.core.ran_out(Bound::Connections, from.ip().to_canonical(), Instant::now());
            continue;
        };
        count(&shared.core.counters.connections);
        let (core, tls, stop) = (Arc::clone(&shared.core), shared.tls.clone(), shared.stop.clone());
        shared.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(stream, from, tls, core, place) => {}
            }
        });
    }
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    core: Arc<Core>,
    _place: Place<IpAddr>,
) {
    // Failing to set these is no reason to turn a client away.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(&stream);
    let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(5));
    let _ = socket.set_tcp_keepalive(&probes.with_retries(3));
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    let Some(acceptor) = tls else { return stream::serve(stream, from, core).await };
    match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream::serve(stream, from, core).await,
        Ok(Err(error)) => tracing::debug!(%from, %error, "TURN's TLS handshake failed"),
        Err(_elapsed) => tracing::debug!(%from, "TURN's TLS handshake took too long"),
    }
}
