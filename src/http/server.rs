//! Binding, accepting, draining.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::app::{self, App, Surroundings};
use super::conn::Conn;
use super::connections::Connections;
use super::control::Control;
use super::io::{SharedTcp, Tracked, TrackedBody};
use super::policy::Policy;
use crate::agent::Backend;
use crate::config;
use crate::tls::{self, CertificateError, Part, Served};

/// Connections that the kernel completes while we are busy.
const BACKLOG: i32 = 1024;

/// An address that goes on knocking is told of once in a while.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A client has this long to complete a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A connection may be idle, or dawdle over a request's head, for this long. Longer than browsers
/// leave a connection unused between two polls, shorter than the patience of most proxies' pools.
const HEAD_LIMIT: Duration = Duration::from_secs(75);

/// Request line and headers together. Browsers stay under 8 KiB but for cookies of other
/// applications on the same host.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 100;

/// Data that a peer does not acknowledge for so long means that it is gone.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(20);

/// A hanging poll's connection is probed after this much silence, then every 5 s.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How long requests in progress may take after the shutdown was asked for.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A bound HTTP(S) server that does not accept yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    app: Arc<App>,
    control: Control,
    /// An agent's browser holds two or three; each costs some 20 KB here.
    max_connections: usize,
    /// Ends hanging polls.
    draining: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "http.listen = {address}: {source}; choose another port, as in --set http.listen=127.0.0.1:8087"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error("metrics.listen = {address}: {source}; choose another port, or leave the key out")]
    Metrics { address: SocketAddr, source: io::Error },
    #[error("http.{key} = {}: {reason}", path.display())]
    Tls { key: &'static str, path: PathBuf, reason: String },
}

impl Server {
    /// Opens the port and reads the certificate. Must run inside a tokio runtime; with TLS, after
    /// rustls' default provider was installed.
    ///
    /// # Errors
    /// The port is taken or may not be opened; certificate or key cannot be read or do not match.
    pub fn bind(config: &config::Http, backend: Arc<dyn Backend>) -> Result<Server, BindError> {
        Self::bind_with(config, backend, Surroundings::default())
    }

    /// The same with more to serve.
    ///
    /// # Errors
    /// Those of [`Server::bind`].
    pub fn bind_with(
        config: &config::Http,
        backend: Arc<dyn Backend>,
        surroundings: Surroundings,
    ) -> Result<Server, BindError> {
        let served = served(config)?;
        let (listener, address) = listen(config.listen)
            .map_err(|source| BindError::Listen { address: config.listen, source })?;
        let draining = CancellationToken::new();
        let facts = served.as_ref().map(Served::facts);
        let policy = Policy::new(config, address, facts.as_ref());
        let (router, app) = app::router(config, backend, surroundings, draining.clone(), policy);
        let tls = served.as_ref().map(|served| TlsAcceptor::from(served.config()));
        let control = Control::new(Arc::clone(&app), address, served, config);
        let max_connections = config.guard.limits.connections;
        Ok(Server { listener, address, tls, router, app, control, max_connections, draining })
    }

    /// What of it takes a new configuration.
    pub fn reload(&self) -> Arc<dyn config::Reload> {
        Arc::new(self.control())
    }

    /// The address with the port really bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What can be changed while it serves.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until `shutdown`; then accepts no more, lets requests in progress end (hanging polls
    /// end at once) for at most 5 s, and returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let Server { listener, tls, router, app, control, max_connections, draining, .. } = self;
        let slots = Arc::new(Semaphore::new(max_connections));
        let connections = Arc::new(Connections::default());
        let mut complained: Option<Instant> = None;
        let tasks = TaskTracker::new();
        let kill = CancellationToken::new();
        tasks.spawn(control.watch(shutdown.clone()));
        loop {
            // The slot first: at the cap, new connections wait in the kernel's backlog.
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = async {
                    let slot = Arc::clone(&slots).acquire_owned().await;
                    (slot, listener.accept().await)
                } => accepted,
            };
            let (slot, (stream, remote)) = match accepted {
                (Ok(slot), Ok(accepted)) => (slot, accepted),
                (_, Err(error)) => {
                    // Out of descriptors, most likely: trying at once would only burn CPU.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                (Err(_closed), _) => break,
            };
            let Some(place) = connections.enter(remote.ip(), &app.policy.load().guard) else {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    tracing::warn!(
                        remote = %remote.ip(),
                        "turned connections away; see http.max_connections_per_address"
                    );
                }
                continue;
            };
            let (tls, router) = (tls.clone(), router.clone());
            let (drain, kill) = (draining.clone(), kill.clone());
            tasks.spawn(async move {
                let _held = (slot, place);
                tokio::select! {
                    () = kill.cancelled() => {}
                    () = connection(stream, remote, tls, router, drain) => {}
                }
            });
        }
        drop(listener);
        draining.cancel();
        tasks.close();
        if tokio::time::timeout(DRAIN_LIMIT, tasks.wait()).await.is_err() {
            kill.cancel();
            tasks.wait().await;
        }
    }
}

pub(super) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME-WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means every address, IPv4 ones too.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl From<CertificateError> for BindError {
    fn from(error: CertificateError) -> Self {
        let key = match error.part {
            Part::Certificate => "tls_cert",
            Part::Key => "tls_key",
        };
        BindError::Tls { key, path: error.path, reason: error.reason }
    }
}

fn served(config: &config::Http) -> Result<Option<Served>, CertificateError> {
    // See conn.rs for why there is no h2.
    const PROTOCOLS: &[&[u8]] = &[b"http/1.1"];
    match &config.tls {
        files if config.guard.self_signed => {
            let names = tls::trial_names([config.listen.ip()], &config.guard.allowed_hosts);
            Served::self_signed(names, files.as_ref(), PROTOCOLS).map(Some)
        }
        Some(files) => Served::read(files, PROTOCOLS).map(Some),
        None => Ok(None),
    }
}

pub(super) async fn connection(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    drain: CancellationToken,
) {
    // Failing to set these is no reason to turn a client away.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(&stream);
    let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(5));
    let _ = socket.set_tcp_keepalive(&probes.with_retries(3));
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));

    let stream = Arc::new(stream);
    let conn = Conn::new(Arc::clone(&stream), remote);
    let stream = SharedTcp(stream);
    match tls {
        None => http(stream, conn, router, drain).await,
        Some(acceptor) => {
            match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                // Boxed: it would take its room in every connection's task, without TLS as well.
                Ok(Ok(stream)) => Box::pin(http(stream, conn, router, drain)).await,
                Ok(Err(error)) => tracing::debug!(%remote, %error, "TLS handshake failed"),
                Err(_elapsed) => tracing::debug!(%remote, "TLS handshake took too long"),
            }
        }
    }
}

async fn http<S>(stream: S, conn: Arc<Conn>, router: Router, drain: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let remote = conn.remote();
    let io = TokioIo::new(Tracked::new(stream, Arc::clone(&conn)));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let conn = Arc::clone(&conn);
        conn.handle_request();
        request.extensions_mut().insert(Arc::clone(&conn));
        let answer = router.call(request);
        async move {
            let response: Response = answer.await?;
            Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, conn)))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .serve_connection(io, service);
    tokio::pin!(serving);
    let outcome = tokio::select! {
        outcome = &mut serving => outcome,
        () = drain.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        // A client that hangs up its poll is everyday life.
        tracing::trace!(%remote, %error, "connection ended");
    }
}
