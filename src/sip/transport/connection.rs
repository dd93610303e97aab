//! One connection, from its beginning to its end: a task.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rand::RngExt as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::Limits;
use super::fault::ConnectionFault;
use super::frame::{Frame, Framer};
use super::keepalive::{Due, KeepAlive};
use super::streams::Seat;
use crate::due::sleep_until;
use crate::sip::dispatch::Shared;
use crate::sip::hop::Hop;

const PING: Bytes = Bytes::from_static(b"\r\n\r\n");
const PONG: Bytes = Bytes::from_static(b"\r\n");

/// Read at a time.
const CHUNK: usize = 16 * 1024;

/// Messages written at a time.
const BATCH: usize = 64;

/// The system's own probes find peers that vanished without a word and do not pong.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// How a connection of ours is made.
pub(crate) struct Dial {
    /// The address of ours that the peer is to see.
    pub(crate) bind: Option<IpAddr>,
    /// The host of the server's URI, or its address.
    pub(crate) name: String,
    pub(crate) security: Security<Arc<ClientConfig>>,
}

/// Whether a connection is to be encrypted, and with what.
pub(crate) enum Security<T> {
    Plain,
    Tls(T),
    /// It should be, and there is nothing to do it with.
    Missing,
}

/// Makes a connection and serves it.
pub(crate) async fn dial(shared: Weak<Shared>, mut seat: Seat, dial: Dial, limits: Limits) {
    let kill = seat.kill.clone();
    let made = tokio::select! {
        () = kill.cancelled() => return,
        made = connect(seat.hop.addr, &dial, &limits) => made,
    };
    let fault = match made {
        Err(fault) => fault,
        Ok(Connected::Plain(stream)) => talk(&shared, &mut seat, stream, &dial.name, &limits).await,
        Ok(Connected::Tls(stream)) => talk(&shared, &mut seat, *stream, &dial.name, &limits).await,
    };
    if let Some(shared) = shared.upgrade() {
        shared.connection_ended(&seat, &fault);
    }
}

enum Connected {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn connect(
    to: SocketAddr,
    dial: &Dial,
    limits: &Limits,
) -> Result<Connected, ConnectionFault> {
    let config = match &dial.security {
        Security::Plain => None,
        Security::Tls(config) => Some(Arc::clone(config)),
        Security::Missing => return Err(ConnectionFault::NoTls),
    };
    let open = async {
        let socket = match to {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(ip) = dial.bind.filter(|ip| ip.is_ipv4() == to.is_ipv4()) {
            socket.bind(SocketAddr::new(ip, 0))?;
        }
        socket.connect(to).await
    };
    let stream = timeout(limits.connect, open)
        .await
        .map_err(|_| ConnectionFault::ConnectTimeout(limits.connect))?
        .map_err(ConnectionFault::Connect)?;
    set_options(&stream, limits);
    let Some(config) = config else { return Ok(Connected::Plain(stream)) };
    let name = ServerName::try_from(dial.name.clone())
        .map_err(|_| ConnectionFault::Tls(format!("{} is no name for TLS", dial.name)))?;
    let shaken = timeout(limits.handshake, TlsConnector::from(config).connect(name, stream))
        .await
        .map_err(|_| ConnectionFault::HandshakeTimeout(limits.handshake))?
        .map_err(|error| ConnectionFault::from_handshake(&dial.name, error))?;
    Ok(Connected::Tls(Box::new(shaken)))
}

/// Serves a connection that came in.
pub(crate) async fn serve(
    shared: Weak<Shared>,
    mut seat: Seat,
    stream: TcpStream,
    security: Security<Arc<ServerConfig>>,
    limits: Limits,
) {
    set_options(&stream, &limits);
    let name = seat.hop.addr.ip().to_string();
    let fault = match security {
        Security::Plain => talk(&shared, &mut seat, stream, &name, &limits).await,
        Security::Missing => ConnectionFault::NoTls,
        Security::Tls(config) => {
            let shaken = timeout(limits.handshake, TlsAcceptor::from(config).accept(stream)).await;
            match shaken {
                Ok(Ok(stream)) => talk(&shared, &mut seat, stream, &name, &limits).await,
                Ok(Err(error)) => ConnectionFault::from_handshake(&name, error),
                Err(_) => ConnectionFault::HandshakeTimeout(limits.handshake),
            }
        }
    };
    if let Some(shared) = shared.upgrade() {
        shared.connection_ended(&seat, &fault);
    }
}

/// Failing to set these is no reason to do without the peer.
fn set_options(stream: &TcpStream, limits: &Limits) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    let _ = socket.set_tcp_keepalive(&probes.with_retries(PROBES));
    let _ = socket.set_tcp_user_timeout(Some(limits.write));
}

/// Reads and writes until one of the two ends. They do not wait for each other: two peers that both
/// write and do not read would stand still for ever.
async fn talk<S>(
    shared: &Weak<Shared>,
    seat: &mut Seat,
    stream: S,
    name: &str,
    limits: &Limits,
) -> ConnectionFault
where
    S: AsyncRead + AsyncWrite,
{
    // Without an endpoint there is still what it left to be sent.
    let has_ponged = shared.upgrade().is_some_and(|shared| shared.connection_up(seat));
    let (reader, writer) = tokio::io::split(stream);
    let kill = seat.kill.clone();
    let (hop, incoming) = (seat.hop, seat.incoming);
    let mut input = Input {
        shared,
        hop,
        incoming,
        queue: seat.own_queue.clone(),
        waiting: Arc::clone(&seat.waiting),
        name,
        limits,
        keep: KeepAlive::new((!incoming).then(|| Instant::now() + pause(limits)), has_ponged),
    };
    tokio::select! {
        () = kill.cancelled() => ConnectionFault::QueueFull,
        fault = input.read(reader) => fault,
        fault = write(seat, writer, name, limits) => fault,
    }
}

/// Until the next keep-alive.
fn pause(limits: &Limits) -> Duration {
    limits.ping.mul_f64(rand::rng().random_range(5.0 / 6.0..=1.0))
}

struct Input<'a> {
    shared: &'a Weak<Shared>,
    hop: Hop,
    incoming: bool,
    /// For keep-alives.
    queue: mpsc::WeakSender<Bytes>,
    waiting: Arc<AtomicUsize>,
    name: &'a str,
    limits: &'a Limits,
    keep: KeepAlive,
}

impl Input<'_> {
    async fn read(&mut self, reader: impl AsyncRead) -> ConnectionFault {
        let mut reader = pin!(reader);
        let mut framer = Framer::default();
        let mut buffer = vec![0; CHUNK];
        let mut active = Instant::now();
        // When the message that is coming in began.
        let mut began: Option<Instant> = None;
        loop {
            let deadlines =
                [Some(active + self.limits.idle), began.map(|at| at + self.limits.message)];
            let deadline = deadlines.into_iter().flatten().chain(self.keep.poll_timeout()).min();
            tokio::select! {
                read = reader.read(&mut buffer) => {
                    let bytes = match read {
                        Ok(0) => return ConnectionFault::Closed,
                        Ok(length) => buffer.get(..length).unwrap_or_default(),
                        Err(error) => return ConnectionFault::from_io(self.name, error),
                    };
                    let now = Instant::now();
                    framer.push(bytes);
                    match self.take(&mut framer, now) {
                        // Who keeps a connection to us alive wants it.
                        Ok(messages) => {
                            if messages > 0 || self.incoming {
                                active = now;
                            }
                            if messages > 0 {
                                began = None;
                            }
                        }
                        Err(fault) => return fault,
                    }
                    match framer.is_within() {
                        true => _ = began.get_or_insert(now),
                        false => began = None,
                    }
                }
                () = sleep_until(deadline) => {
                    let now = Instant::now();
                    if began.is_some_and(|at| at + self.limits.message <= now) {
                        return ConnectionFault::Dawdling(self.limits.message);
                    }
                    if active + self.limits.idle <= now {
                        let Some(shared) = self.shared.upgrade() else {
                            return ConnectionFault::Stopped;
                        };
                        if !shared.connection_stays(self.hop, self.incoming) {
                            return ConnectionFault::Idle(self.limits.idle);
                        }
                        active = now;
                    }
                    if let Err(fault) = self.keep_alive(now) {
                        return fault;
                    }
                }
            }
        }
    }

    /// Hands on what is whole; how many messages that were.
    fn take(&mut self, framer: &mut Framer, now: Instant) -> Result<usize, ConnectionFault> {
        let (mut messages, mut pong) = (0, false);
        let had_ponged = self.keep.has_ponged();
        while let Some(frame) = framer.next_frame()? {
            match frame {
                Frame::Blank => pong |= self.keep.handle_blank(),
                Frame::Message(message) => {
                    messages += 1;
                    self.keep.handle_message();
                    let shared = self.shared.upgrade().ok_or(ConnectionFault::Stopped)?;
                    shared.stream_message(&message, self.hop, now)?;
                }
            }
        }
        self.keep.handle_pause();
        if self.keep.has_ponged()
            && !had_ponged
            && let Some(shared) = self.shared.upgrade()
        {
            shared.connection_ponged(self.hop);
        }
        // One for however many came at once.
        if pong {
            self.send(PONG);
        }
        Ok(messages)
    }

    fn keep_alive(&mut self, now: Instant) -> Result<(), ConnectionFault> {
        while let Some(due) = self.keep.handle_timeout(now, pause(self.limits), self.limits.pong) {
            match due {
                Due::Ping => self.send(PING),
                Due::Missed { dead } => {
                    if let Some(shared) = self.shared.upgrade() {
                        shared.ping_missed();
                    }
                    if dead {
                        return Err(ConnectionFault::NoPong);
                    }
                }
            }
        }
        Ok(())
    }

    /// One that finds the queue full is not needed: the queue keeps the connection busy.
    fn send(&self, bytes: Bytes) {
        let length = bytes.len();
        if let Some(queue) = self.queue.upgrade() {
            self.waiting.fetch_add(length, Ordering::Relaxed);
            if queue.try_send(bytes).is_err() {
                self.waiting.fetch_sub(length, Ordering::Relaxed);
            }
        }
    }
}

async fn write(
    seat: &mut Seat,
    writer: impl AsyncWrite,
    name: &str,
    limits: &Limits,
) -> ConnectionFault {
    let mut writer = pin!(writer);
    let mut batch = Vec::with_capacity(BATCH);
    let mut bytes = BytesMut::new();
    while seat.queue.recv_many(&mut batch, BATCH).await > 0 {
        for message in batch.drain(..) {
            bytes.extend_from_slice(&message);
        }
        let mut rest: &[u8] = &bytes;
        while !rest.is_empty() {
            match timeout(limits.write, writer.write(rest)).await {
                Ok(Ok(0)) => return ConnectionFault::Closed,
                Ok(Ok(length)) => rest = rest.get(length..).unwrap_or_default(),
                Ok(Err(error)) => return ConnectionFault::from_io(name, error),
                Err(_) => return ConnectionFault::Stuck(limits.write),
            }
        }
        match timeout(limits.write, writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return ConnectionFault::from_io(name, error),
            Err(_) => return ConnectionFault::Stuck(limits.write),
        }
        seat.waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        bytes.clear();
        // A burst's buffer is not kept for the quiet after it.
        if bytes.capacity() > CHUNK * 4 {
            bytes = BytesMut::new();
        }
    }
    // Nobody can send over it any more.
    let _ = timeout(limits.write, writer.shutdown()).await;
    ConnectionFault::Stopped
}
