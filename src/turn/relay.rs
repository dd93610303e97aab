//! A client's relay sockets: each connected to one media socket, and heard of nobody else.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::session::{Core, Output, Session};
use super::stats::count;

/// As long as what the media plane takes.
const DATAGRAM: usize = 2048;

/// Tries to find a port that is even.
const EVEN_TRIES: usize = 32;

/// What came to a relay socket.
pub(super) struct Packet {
    pub client: SocketAddr,
    /// Of which of the client's allocations: an address may have one after the other.
    pub serial: u64,
    pub leg: usize,
    pub data: Vec<u8>,
}

pub(super) struct Relays {
    client: SocketAddr,
    core: Arc<Core>,
    packets: mpsc::Sender<Packet>,
    serial: u64,
    /// Bound and not connected yet.
    first: Option<(Socket, IpAddr)>,
    ip: Option<IpAddr>,
    legs: Vec<Option<Leg>>,
}

struct Leg {
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Relays {
    pub fn new(client: SocketAddr, core: Arc<Core>, packets: mpsc::Sender<Packet>) -> Self {
        Relays { client, core, packets, serial: 0, first: None, ip: None, legs: Vec::new() }
    }

    /// Does what the session wants done; what is for the client goes to `to_client`.
    pub fn carry_out(
        &mut self,
        session: &mut Session,
        now: Instant,
        mut to_client: impl FnMut(Vec<u8>),
    ) {
        while let Some(output) = session.poll_output() {
            match output {
                Output::ToClient(bytes) => to_client(bytes),
                Output::Bind { ip, even } => {
                    let bound = self.bind(ip, even);
                    if let Err(error) = &bound {
                        tracing::warn!(%ip, %error, "no relay socket");
                    }
                    session.handle_bound(bound.ok(), now);
                }
                Output::Connect { leg, to } => match self.connect(leg, to) {
                    Ok(leg) => self.legs.push(Some(leg)),
                    Err(error) => {
                        tracing::warn!(%to, %error, "no relay socket to the media port");
                        self.legs.push(None);
                    }
                },
                Output::ToPeer { leg, data } => self.send(leg, &data),
                Output::Close => self.close(),
            }
        }
    }

    fn bind(&mut self, ip: IpAddr, even: bool) -> io::Result<SocketAddr> {
        self.close();
        let (socket, at) = bind(ip, even)?;
        self.first = Some((socket, ip));
        self.ip = Some(ip);
        Ok(at)
    }

    fn connect(&mut self, leg: usize, to: SocketAddr) -> io::Result<Leg> {
        let socket = match (self.first.take(), self.ip) {
            (Some((socket, _)), _) => socket,
            (None, Some(ip)) => bind(ip, false)?.0,
            (None, None) => return Err(io::ErrorKind::NotConnected.into()),
        };
        socket.connect(&to.into())?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let reader = tokio::spawn(read(
            Arc::clone(&socket),
            to,
            Arc::clone(&self.core),
            self.packets.clone(),
            (self.client, self.serial, leg),
        ));
        Ok(Leg { socket, reader: reader.abort_handle() })
    }

    fn send(&self, leg: usize, data: &[u8]) {
        let Some(Some(leg)) = self.legs.get(leg) else { return count(&self.core.counters.dropped) };
        // Past tokio, which would not know yet that a new socket can be written to. What the kernel does
        // not take is lost, as on any network.
        if SockRef::from(&*leg.socket).send(data).is_err() {
            count(&self.core.counters.dropped);
        }
    }

    /// What is still on its way from a socket that was closed has another serial, whoever has the
    /// client's address next.
    fn close(&mut self) {
        self.serial = rand::random();
        self.first = None;
        self.ip = None;
        self.legs.clear();
    }

    pub fn is_current(&self, packet: &Packet) -> bool {
        packet.serial == self.serial
    }
}

fn bind(ip: IpAddr, even: bool) -> io::Result<(Socket, SocketAddr)> {
    let any = SocketAddr::new(ip, 0);
    for _ in 0..EVEN_TRIES {
        let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&any.into())?;
        let at = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
        if !even || at.port() % 2 == 0 {
            return Ok((socket, at));
        }
    }
    Err(io::ErrorKind::AddrNotAvailable.into())
}

async fn read(
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    core: Arc<Core>,
    packets: mpsc::Sender<Packet>,
    (client, serial, leg): (SocketAddr, u64, usize),
) {
    let mut buffer = [0; DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            // Others may have been heard before it was connected.
            Ok((length, from)) if from == peer => {
                let data = buffer.get(..length).unwrap_or_default().to_vec();
                // The reader of a full queue is too slow for sound: what waits there is late already.
                if packets.try_send(Packet { client, serial, leg, data }).is_err() {
                    count(&core.counters.dropped);
                }
            }
            Ok(_) => count(&core.counters.dropped),
            // The media port was closed for a moment.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return,
        }
    }
}
