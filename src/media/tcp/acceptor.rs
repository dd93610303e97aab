//! Accepts connections and finds the worker of each.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::connection::Connection;
use crate::media::ice::{Check, worker_of};
use crate::media::socket::{Epoll, Waker};
use crate::media::worker::{Command, Orders};

/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 1024;

/// Connections that have not named their call yet. A browser does at once; where more wait, the oldest
/// goes, so that whoever wants to keep others out has to be faster than their round trip.
const MAX_WAITING: usize = 1024;

/// Those of one address: a site's agents may share one, and each waits for one round trip only.
const MAX_WAITING_EACH: usize = 64;

/// How long they may wait: a browser opens connections early and checks them by and by.
const FIRST_CHECK: Duration = Duration::from_secs(30);

/// Connections accepted before those that wait have their turn.
const MAX_ACCEPTS: usize = 64;

/// A pause where the host has no more descriptors: accepting would fail in a loop.
const EXHAUSTED: Duration = Duration::from_millis(200);

const CONTROL: u64 = 0;
const LISTENER: u64 = 1;
const WAITING: u64 = 2;

/// Opens the port.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.ip().is_unspecified() && address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What the thread and the handles share.
pub struct Acceptor {
    waker: Waker,
    stopped: AtomicBool,
    /// Connections let go of before they had named a call of ours.
    pub refused: AtomicU64,
}

impl Acceptor {
    pub fn new() -> io::Result<Arc<Acceptor>> {
        let waker = Waker::new()?;
        let (stopped, refused) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Arc::new(Acceptor { waker, stopped, refused }))
    }

    /// Ends [`Acceptor::run`].
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Accepts until [`Acceptor::stop`].
    ///
    /// # Errors
    /// The host gives no epoll.
    pub fn run(&self, listener: TcpListener, workers: Vec<Arc<Orders>>) -> io::Result<()> {
        let mut epoll = Epoll::new()?;
        epoll.add(&self.waker, CONTROL)?;
        epoll.add(&listener, LISTENER)?;
        let mut lobby = Lobby::default();
        let mut ready = Vec::new();
        while !self.stopped.load(Ordering::Acquire) {
            ready.clear();
            let timeout =
                lobby.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
            epoll.wait(timeout, &mut ready)?;
            let now = Instant::now();
            for token in &ready {
                match *token {
                    CONTROL => self.waker.clear(),
                    LISTENER => self.accept(now, &listener, &epoll, &mut lobby),
                    token => self.read(token - WAITING, &epoll, &mut lobby, &workers),
                }
            }
            let gone = lobby.handle_timeout(now);
            self.refused.fetch_add(gone, Ordering::Relaxed);
        }
        Ok(())
    }

    fn accept(&self, now: Instant, listener: &TcpListener, epoll: &Epoll, lobby: &mut Lobby) {
        for _ in 0..MAX_ACCEPTS {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let taken = Connection::new(stream, peer).and_then(|connection| {
                        // Told of before it is there; only this thread looks.
                        epoll.add(&connection, lobby.next_number() + WAITING)?;
                        Ok(lobby.enter(now, connection))
                    });
                    self.refused.fetch_add(taken.unwrap_or(1), Ordering::Relaxed);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        tracing::warn!(%error, "cannot accept media over TCP just now");
                        return self.waker.sleep(EXHAUSTED);
                    }
                },
            }
        }
    }

    /// Hands the connection over when its first frame is whole, and a check.
    fn read(&self, number: u64, epoll: &Epoll, lobby: &mut Lobby, workers: &[Arc<Orders>]) {
        let Some(mut connection) = lobby.take(number) else { return };
        let first = connection.receive().map(|_| connection.reader().peek());
        let worker = match first {
            Ok(Ok(None)) => return lobby.put_back(number, connection),
            Ok(Ok(Some(frame))) => {
                let check = Check::parse(frame).ok();
                check.and_then(|check| workers.get(worker_of(check.ufrag())?))
            }
            Err(_) | Ok(Err(_)) => None,
        };
        let adopted = worker.is_some_and(|worker| {
            // It stays open, and would go on being told of here.
            epoll.remove(&connection).is_ok() && worker.send(Command::Adopt(Box::new(connection)))
        });
        if !adopted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What counts as one address: of IPv6 a subnet, which is what a single host has.
fn site(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

/// Connections that have not named their call yet. Numbers go up with the time they entered.
#[derive(Default)]
struct Lobby {
    waiting: HashMap<u64, Connection>,
    /// In the order in which they came; those that have left are skipped.
    order: VecDeque<(u64, Instant)>,
    by_address: HashMap<IpAddr, usize>,
    entered: u64,
}

impl Lobby {
    fn next_number(&self) -> u64 {
        self.entered
    }

    /// Lets one in; how many had to leave for it, itself counted if it may not.
    fn enter(&mut self, now: Instant, connection: Connection) -> u64 {
        let number = self.entered;
        self.entered += 1;
        let each = self.by_address.entry(site(connection.peer())).or_default();
        if *each >= MAX_WAITING_EACH {
            return 1;
        }
        *each += 1;
        let until = now + FIRST_CHECK;
        self.waiting.insert(number, connection);
        if self.order.len() >= 2 * MAX_WAITING {
            self.order.retain(|(number, _)| self.waiting.contains_key(number));
        }
        self.order.push_back((number, until));
        let full = self.waiting.len() > MAX_WAITING;
        u64::from(full && self.drop_oldest())
    }

    fn take(&mut self, number: u64) -> Option<Connection> {
        let connection = self.waiting.remove(&number)?;
        let site = site(connection.peer());
        if let Some(each) = self.by_address.get_mut(&site) {
            *each -= 1;
            if *each == 0 {
                self.by_address.remove(&site);
            }
        }
        Some(connection)
    }

    fn put_back(&mut self, number: u64, connection: Connection) {
        *self.by_address.entry(site(connection.peer())).or_default() += 1;
        self.waiting.insert(number, connection);
    }

    fn drop_oldest(&mut self) -> bool {
        while let Some((number, _)) = self.order.pop_front() {
            if self.take(number).is_some() {
                return true;
            }
        }
        false
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.order.front().map(|(_, until)| *until)
    }

    /// How many have waited too long, and are closed.
    fn handle_timeout(&mut self, now: Instant) -> u64 {
        let mut gone = 0;
        while self.poll_timeout().is_some_and(|until| until <= now) {
            if let Some((number, _)) = self.order.pop_front() {
                gone += u64::from(self.take(number).is_some());
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    struct Street {
        listener: TcpListener,
        far: Vec<TcpStream>,
    }

    impl Street {
        fn next(&mut self) -> Connection {
            self.far.push(TcpStream::connect(self.listener.local_addr().unwrap()).unwrap());
            let (stream, peer) = self.listener.accept().unwrap();
            Connection::new(stream, peer).unwrap()
        }
    }

    #[test]
    fn those_who_wait_are_bounded_by_address_and_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut street = Street { listener, far: Vec::new() };
        let (start, mut lobby) = (Instant::now(), Lobby::default());
        for n in 0..MAX_WAITING_EACH as u64 {
            assert_eq!(lobby.enter(start + Duration::from_millis(n), street.next()), 0);
        }
        assert_eq!(lobby.enter(start, street.next()), 1);
        // Who is being served comes back to the same place.
        let first = lobby.take(0).unwrap();
        lobby.put_back(0, first);
        assert!(lobby.take(1).is_some());
        assert_eq!(lobby.enter(start, street.next()), 0, "there is room again");
        assert_eq!(lobby.poll_timeout(), Some(start + FIRST_CHECK));
        assert_eq!(lobby.handle_timeout(start + FIRST_CHECK), 1);
        let all = start + FIRST_CHECK + Duration::from_secs(1);
        assert_eq!(lobby.handle_timeout(all), MAX_WAITING_EACH as u64 - 1);
        assert!(lobby.waiting.is_empty() && lobby.by_address.is_empty() && lobby.order.is_empty());
    }
}
