//! One connection, and what it knows of the messages written to it.
//!
//! The JSAPI has no acknowledgement, so TCP's own are the evidence. A message is *carried* by the
//! connection from the moment its response is made until one of these is known:
//!
//! * the client's next request on the same connection: it has read the response. Arrived;
//! * the client closed and everything had been acknowledged: FIN without RST means that nothing was
//!   left unread. Arrived;
//! * reset, error, or an end before the last byte was handed to the kernel. A client that closes
//!   with the response unread, or before it comes, makes its kernel reset the connection. Lost:
//!   first in line again;
//! * another connection asks for messages: the mailbox asks this one through [`Evidence`].
//!
//! This works because HTTP/1.1 has one response in the air at a time. HTTP/2 would need a stream's
//! worth of it, and has no such thing as a stream's acknowledgement; it is not offered.
//!
//! What it cannot see: a proxy that takes the response and loses it, and a client that shuts its
//! sending half down in good order before it throws unread data away. The raw-SDP dialect has
//! `ack=` for such.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::seats::{Doing, Seat};
use super::tcp_state::{self, Peer, TcpLook};
use crate::agent::{Delivery, Evidence, Verdict};

/// Messages of one connection whose fate is open. More than one only when requests of several
/// sessions are pipelined, which no browser does.
const MAX_CARRIED: usize = 16;

/// How long the end of a connection may stay undecided: the peer's kernel neither acknowledges nor
/// resets. Then the message is sent again.
const SETTLE_LIMIT: Duration = Duration::from_secs(3);

/// A connection that we end ourselves, everything being acknowledged: how long a reset may still
/// come.
const SETTLE_QUIET: Duration = Duration::from_millis(100);

const SETTLE_STEP: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No response with a message is being written.
    Idle,
    /// A message was given to the connection, its response is not with hyper yet.
    Given,
    /// hyper has the bytes.
    Taken,
}

pub(super) struct Conn {
    socket: Arc<TcpStream>,
    remote: SocketAddr,
    seat: Option<Seat>,
    /// Of the request at hand.
    asker: Mutex<Asker>,
    state: Mutex<State>,
}

/// Who has sent a request. One connection of a proxy's has many, one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub client: IpAddr,
    /// A page of our own, or of an origin that may use the API; a program can say so too.
    pub known_page: bool,
}

struct State {
    carried: Vec<Delivery>,
    phase: Phase,
    /// Bytes came in after the last response with a message was flushed.
    heard_since: bool,
    /// hyper has let go of the connection.
    over: bool,
}

impl Conn {
    /// The seat is given up with the descriptor.
    pub(super) fn new(socket: Arc<TcpStream>, remote: SocketAddr, seat: Option<Seat>) -> Arc<Conn> {
        Arc::new(Conn {
            socket,
            remote,
            seat,
            asker: Mutex::new(Asker { client: remote.ip(), known_page: false }),
            state: Mutex::new(State {
                carried: Vec::new(),
                phase: Phase::Idle,
                heard_since: false,
                over: false,
            }),
        })
    }

    pub(super) fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Who has sent the request at hand: HTTP/1.1 has one at a time, see above.
    pub(super) fn asker(&self) -> Asker {
        *self.asker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_asker(&self, asker: Asker) {
        *self.asker.lock().unwrap_or_else(PoisonError::into_inner) = asker;
    }

    /// The address of the client, be there a proxy before it or not.
    pub(super) fn client(&self) -> IpAddr {
        self.asker().client
    }

    /// The response that is about to be returned has this message in it.
    pub(super) fn carry(self: &Arc<Self>, delivery: Delivery) {
        let dropped = {
            let mut state = self.lock();
            if state.over {
                Some(delivery)
            } else {
                // Before anybody is told to ask here: a client that has closed already has
                // acknowledged everything, and that says nothing of what is yet to be written.
                state.phase = Phase::Given;
                delivery.carried_by(Arc::clone(self) as Arc<dyn Evidence>);
                state.carried.push(delivery);
                (state.carried.len() > MAX_CARRIED).then(|| state.carried.remove(0))
            }
        };
        drop(dropped);
    }

    /// What the connection does with its place; none has a server without a bound.
    pub(super) fn doing(&self) -> Option<Doing> {
        self.seat.as_ref().map(Seat::doing)
    }

    fn change(&self, to: impl FnOnce(Doing) -> Option<Doing>) {
        if let Some(seat) = &self.seat {
            seat.change(Instant::now(), to);
        }
    }

    /// A request was read, but for its body where it has one. Whoever asks anew after the last response
    /// has read it.
    pub(super) fn handle_request(&self, has_body: bool) {
        self.change(|_| Some(if has_body { Doing::Sending } else { Doing::Served }));
        let arrived = {
            let mut state = self.lock();
            // Bytes that came in before the response was out are a pipelined request: no evidence.
            if state.phase == Phase::Idle && state.heard_since {
                std::mem::take(&mut state.carried)
            } else {
                Vec::new()
            }
        };
        arrived.into_iter().for_each(Delivery::arrived);
    }

    /// The request's body is here, or nobody wants it.
    pub(super) fn handle_body_read(&self) {
        self.change(|doing| (doing == Doing::Sending).then_some(Doing::Served));
    }

    /// hyper has taken the last of a response's body.
    pub(super) fn handle_body_taken(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Given {
            state.phase = Phase::Taken;
        }
    }

    /// A response was dropped, written or not.
    pub(super) fn handle_body_dropped(&self) {
        self.change(|_| Some(Doing::Taking));
        let mut state = self.lock();
        if state.phase == Phase::Given {
            // Back in line first: whoever asks meanwhile must not hear TCP's word about nothing.
            drop(state.carried.pop());
            state.phase = Phase::Idle;
        }
    }

    /// Everything that hyper had buffered is with the kernel.
    pub(super) fn handle_flushed(&self) {
        self.change(|doing| (doing == Doing::Taking).then_some(Doing::Resting));
        let mut state = self.lock();
        if state.phase == Phase::Taken {
            state.phase = Phase::Idle;
            state.heard_since = false;
        }
    }

    pub(super) fn handle_heard(&self) {
        self.change(|doing| {
            matches!(doing, Doing::Arriving | Doing::Resting).then_some(Doing::Heading)
        });
        self.lock().heard_since = true;
    }

    /// The client closed its side (or a TLS client said that it will).
    pub(super) fn handle_eof(&self) {
        // Now, before anything else is written that might be answered by a reset.
        self.try_settle();
    }

    /// May a shutdown (FIN, TLS close_notify) be written? Not while a message's fate is open: a
    /// client that is gone would answer it with a reset, which would look like the message's.
    pub(super) fn may_shut_down(&self) -> bool {
        self.try_settle();
        self.lock().carried.is_empty()
    }

    /// hyper lets go of the connection, for whatever reason. The socket stays open until it is known
    /// what became of the message on it.
    pub(super) fn handle_end(self: &Arc<Self>) {
        self.lock().over = true;
        self.change(|_| Some(Doing::Resting));
        if self.try_settle() {
            return;
        }
        let conn = Arc::clone(self);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move { conn.settle().await });
            }
            Err(_) => conn.give_back(),
        }
    }

    /// Decides what can be decided at once. True when nothing is left.
    fn try_settle(&self) -> bool {
        let (verdict, carried) = {
            let mut state = self.lock();
            if state.carried.is_empty() {
                return true;
            }
            let verdict = self.judge(&state);
            match verdict {
                Verdict::Arrived | Verdict::Lost => (verdict, std::mem::take(&mut state.carried)),
                Verdict::Acknowledged | Verdict::Unsure => return false,
            }
        };
        match verdict {
            Verdict::Arrived => carried.into_iter().for_each(Delivery::arrived),
            _ => {
                // Half a response may be under way.
                self.abort();
                put_back(carried);
            }
        }
        true
    }

    async fn settle(&self) {
        let start = Instant::now();
        while !self.try_settle() {
            tokio::time::sleep(SETTLE_STEP).await;
            let waited = start.elapsed();
            let verdict = self.judge(&self.lock());
            if verdict == Verdict::Acknowledged && waited >= SETTLE_QUIET {
                let carried = std::mem::take(&mut self.lock().carried);
                carried.into_iter().for_each(Delivery::arrived);
            } else if waited >= SETTLE_LIMIT {
                self.give_back();
            }
        }
    }

    fn give_back(&self) {
        self.abort();
        let carried = std::mem::take(&mut self.lock().carried);
        put_back(carried);
    }

    fn judge(&self, state: &State) -> Verdict {
        let Ok(TcpLook { peer, unacknowledged }) = tcp_state::look(self.socket.as_fd()) else {
            return Verdict::Lost;
        };
        if state.phase != Phase::Idle {
            // Not all of it is with the kernel; if nobody is left to write the rest, it never will.
            return if state.over || peer == Peer::Gone { Verdict::Lost } else { Verdict::Unsure };
        }
        match (peer, unacknowledged) {
            (Peer::Gone, _) => Verdict::Lost,
            (Peer::Closed, 0) => Verdict::Arrived,
            (Peer::Open, 0) => Verdict::Acknowledged,
            (Peer::Closed | Peer::Open, _) => Verdict::Unsure,
        }
    }

    /// Makes the kernel forget what it has not sent and reset the connection when it is closed.
    fn abort(&self) {
        let socket = socket2::SockRef::from(&*self.socket);
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last one first, so that the first one ends up first in line.
fn put_back(carried: Vec<Delivery>) {
    carried.into_iter().rev().for_each(Delivery::lost);
}

impl Evidence for Conn {
    fn verdict(&self) -> Verdict {
        self.judge(&self.lock())
    }

    fn abandon(&self) {
        self.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Dialect, Identity, Poll, Polled, Session, SignIn};
    use crate::wire::{Envelope, ToBrowser};
    use tokio::io::AsyncReadExt;

    struct Bench {
        conn: Arc<Conn>,
        client: TcpStream,
        session: Arc<Session>,
    }

    /// A connection and a session with one message.
    async fn bench() -> Bench {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, remote) = listener.accept().await.unwrap();
        let session = Session::new(&SignIn {
            dialect: Dialect::Jsapi,
            client_id: None,
            identity: Identity::Dn("5001".to_owned()),
            password: None,
            remote: remote.ip(),
        });
        let message = ToBrowser::Talk;
        let (peer, call) = (String::new(), String::new());
        session
            .post(Envelope {
                peer,
                peer_name: None,
                call,
                call_uuid: None,
                diverted_from: None,
                private: false,
                message,
            })
            .unwrap();
        Bench { conn: Conn::new(Arc::new(server), remote, None), client, session }
    }

    impl Bench {
        async fn carry(&self) {
            let deadline = Instant::now() + Duration::from_secs(60);
            match self.session.poll(Poll { ack: None, deadline, wants: |_| true }).await {
                Polled::Message(delivery) => self.conn.carry(delivery),
                other => panic!("{other:?}"),
            }
        }

        /// What hyper does with a response.
        fn write(&self) {
            self.conn.handle_body_taken();
            self.conn.socket.try_write(b"response").unwrap();
            self.conn.handle_flushed();
            self.conn.handle_body_dropped();
        }

        async fn until(&self, verdict: Verdict) {
            while self.conn.verdict() != verdict {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_written_has_not_arrived_though_all_is_acknowledged() {
        let bench = bench().await;
        bench.carry().await;
        assert_eq!(bench.conn.verdict(), Verdict::Unsure);
        let Bench { conn, client, session } = bench;
        drop(client);
        conn.socket.readable().await.unwrap();
        assert_eq!(conn.verdict(), Verdict::Unsure);
        conn.handle_eof();
        assert_eq!((conn.verdict(), session.backlog()), (Verdict::Unsure, 1));
        conn.handle_end();
        assert_eq!((conn.verdict(), session.backlog()), (Verdict::Lost, 1));
        assert!(conn.lock().carried.is_empty(), "it is back in line");
    }

    #[tokio::test]
    async fn next_request_is_a_receipt_and_a_pipelined_one_is_not() {
        let bench = bench().await;
        bench.conn.handle_heard();
        bench.conn.handle_request(false);
        bench.carry().await;
        bench.conn.handle_heard();
        bench.write();
        bench.conn.handle_request(false);
        assert_eq!(bench.session.backlog(), 1, "it was sent before the response");
        bench.conn.handle_heard();
        bench.conn.handle_request(false);
        assert_eq!(bench.session.backlog(), 0);
    }

    #[tokio::test]
    async fn closing_after_reading_is_a_receipt_and_before_is_none() {
        for read in [true, false] {
            let mut bench = bench().await;
            bench.carry().await;
            bench.write();
            bench.until(Verdict::Acknowledged).await;
            let mut part = vec![0; if read { 8 } else { 7 }];
            bench.client.read_exact(&mut part).await.unwrap();
            let Bench { conn, client, session } = bench;
            drop(client);
            let wanted = if read { Verdict::Arrived } else { Verdict::Lost };
            while conn.verdict() != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            conn.handle_eof();
            assert_eq!(session.backlog(), usize::from(!read));
        }
    }

    #[tokio::test]
    async fn response_that_was_dropped_unwritten_goes_back() {
        let bench = bench().await;
        bench.carry().await;
        bench.conn.handle_body_dropped();
        assert_eq!((bench.session.backlog(), bench.conn.lock().carried.len()), (1, 0));
        bench.carry().await;
    }
}
