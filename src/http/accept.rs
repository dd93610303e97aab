//! A connection from its accept to its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::conn::Conn;
use super::io::{SharedTcp, Tracked, TrackedBody};

/// Connections that the kernel completes while we are busy.
const BACKLOG: i32 = 1024;

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
