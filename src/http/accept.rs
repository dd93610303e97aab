//! A connection from its accept to its end.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conn::Conn;
use super::io::{SharedTcp, Tracked, TrackedBody, TrackedUpload};
use super::seats::{Doing, Entered, Seat, Seats};

/// Connections that the kernel completes while we are busy.
const BACKLOG: i32 = 1024;

/// What goes on is told of once in a while.
pub(super) const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A client has this long to complete a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A connection may be idle for this long. Longer than browsers leave one unused between two polls,
/// shorter than the patience of most proxies' pools.
const IDLE_LIMIT: Duration = Duration::from_secs(75);

/// Who has a spare place has one question.
const SPARE_LIMIT: Duration = Duration::from_secs(5);

/// How often dawdlers are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Connections that go for want of descriptors, at a time: what is accepted in the pause after it.
const MAKE_ROOM: usize = 16;

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

/// What everybody who connects is given.
#[derive(Clone)]
pub(super) struct Door {
    pub tls: Option<TlsAcceptor>,
    pub router: Router,
    /// For those who find every place taken: tells how the gateway is, and nothing else.
    pub crowded: Router,
    pub seats: Arc<Seats>,
    /// Ends hanging polls.
    pub drain: CancellationToken,
}

/// Accepts until `shutdown`; every connection is a task of `tasks`, which `kill` ends at once.
/// `admit` may turn one away by its address.
pub(super) async fn serve<P: Send + 'static>(
    listener: &TcpListener,
    door: &Door,
    mut admit: impl FnMut(IpAddr) -> Option<P>,
    tasks: &TaskTracker,
    kill: &CancellationToken,
    shutdown: &CancellationToken,
) {
    let mut complained: Option<Instant> = None;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = looks.tick() => {
                door.seats.handle_time(Instant::now());
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: trying at once would only burn CPU.
                door.seats.count("accept_failed");
                let made_room = (0..MAKE_ROOM).filter(|_| door.seats.make_room()).count();
                if complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, made_room, "accept failed");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = admit(remote.ip()) else {
            door.seats.count("address_limit");
            continue;
        };
        let Entered { seat, spare, ousted } = door.seats.enter(Instant::now());
        let (door, kill) = (door.clone(), kill.clone());
        tasks.spawn(async move {
            let _place = place;
            let seats = Arc::clone(&door.seats);
            let ousted = async {
                match ousted.await {
                    Ok(why) => why,
                    // The place is given up with the connection, which is the other branch's business.
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                () = kill.cancelled() => {}
                why = ousted => {
                    seats.count(why.name());
                    tracing::debug!(%remote, why = why.name(), "connection cut");
                }
                () = connection(stream, remote, seat, spare, door) => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, remote: SocketAddr, seat: Seat, spare: bool, door: Door) {
    let Door { tls, router, crowded, seats, drain } = door;
    // Failing to set these is no reason to turn a client away.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(&stream);
    let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(5));
    let _ = socket.set_tcp_keepalive(&probes.with_retries(3));
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));

    let stream = Arc::new(stream);
    let conn = Conn::new(Arc::clone(&stream), remote, Some(seat));
    let stream = SharedTcp(stream);
    if spare {
        seats.count("no_place");
        let serving = async {
            match tls {
                None => http(stream, conn, crowded, drain, &seats).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        Box::pin(http(stream, conn, crowded, drain, &seats)).await;
                    }
                }
            }
        };
        let _ = tokio::time::timeout(SPARE_LIMIT, Box::pin(serving)).await;
        return;
    }
    match tls {
        None => http(stream, conn, router, drain, &seats).await,
        Some(acceptor) => {
            match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                // Boxed: it would take its room in every connection's task, without TLS as well.
                Ok(Ok(stream)) => Box::pin(http(stream, conn, router, drain, &seats)).await,
                Ok(Err(error)) => {
                    seats.count("tls_failed");
                    tracing::debug!(%remote, %error, "TLS handshake failed");
                }
                Err(_elapsed) => {
                    seats.count("tls_slow");
                    tracing::debug!(%remote, "TLS handshake took too long");
                }
            }
        }
    }
}

async fn http<S>(
    stream: S,
    conn: Arc<Conn>,
    router: Router,
    drain: CancellationToken,
    seats: &Seats,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let remote = conn.remote();
    let io = TokioIo::new(Tracked::new(stream, Arc::clone(&conn)));
    let router = TowerToHyperService::new(router);
    let asked = Arc::clone(&conn);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let conn = Arc::clone(&asked);
        conn.handle_request(!request.body().is_end_stream());
        request.extensions_mut().insert(Arc::clone(&conn));
        let answer = router.call(request.map(|body| TrackedUpload::new(body, Arc::clone(&conn))));
        async move {
            let response: Response = answer.await?;
            Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, conn)))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_LIMIT)
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
        if let Some(fault) = fault(&error, &conn) {
            seats.count(fault);
        }
        tracing::trace!(%remote, %error, "connection ended");
    }
}

/// What of the ends of connections is worth counting.
fn fault(error: &hyper::Error, conn: &Conn) -> Option<&'static str> {
    if error.is_parse() {
        return Some("malformed");
    }
    let io = error.source()?.downcast_ref::<io::Error>()?;
    // The kernel gives up: what was sent is not acknowledged, or not taken off its hands.
    let gone = io.kind() == io::ErrorKind::TimedOut;
    gone.then_some(if conn.doing() == Some(Doing::Taking) { "slow_reader" } else { "gone" })
}
