//! Sockets bound, connections taken.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Weak;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::super::hop::Transport;
use crate::sip::dispatch::Shared;

/// Connections that the system completes while we are busy.
const BACKLOG: i32 = 256;

/// Tries to find a free port that is free for UDP and TCP both.
const TRIES: usize = 16;

/// After an accept that failed: out of descriptors, most likely, and trying at once would only burn CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A UDP socket and, if wanted, a TCP listener on the same address; port 0 is one that is free for both.
pub(crate) fn bind(
    listen: SocketAddr,
    with_tcp: bool,
) -> io::Result<(UdpSocket, Option<TcpListener>)> {
    for _ in 1..TRIES {
        let udp = UdpSocket::bind(listen)?;
        if !with_tcp {
            return Ok((udp, None));
        }
        match bind_tcp(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, Some(tcp))),
            Err(error) if listen.port() != 0 => return Err(error),
            Err(_) => {}
        }
    }
    let udp = UdpSocket::bind(listen)?;
    let tcp = bind_tcp(udp.local_addr()?)?;
    Ok((udp, Some(tcp)))
}

pub(crate) fn bind_tcp(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the old connections' TIME-WAIT.
    socket.set_reuse_address(true)?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Takes connections until the endpoint is gone.
pub(crate) async fn accept(
    shared: Weak<Shared>,
    listener: TcpListener,
    transport: Transport,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Some(shared) = shared.upgrade() else { return };
        match accepted {
            Ok((stream, from)) => shared.accepted(stream, transport, from),
            Err(error) => {
                tracing::warn!(%error, transport = transport.param(), "SIP accept failed");
                drop(shared);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
