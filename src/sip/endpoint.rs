//! The tokio side: sockets and connections, their transactions, and who gets which message.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::dispatch::Shared;
use super::hop::{Hop, Transport};
use super::port::{Inbox, Transmit};
pub use super::routes::Claim;
use super::stats::{Counters, EndpointStats};
use super::trace::Trace;
use super::transaction::Owner;
use super::transport::Limits;
use super::transport::listener;
use super::transport::tls::{Tls, TlsError, TlsFiles};
use crate::due::sleep_until;
use crate::panics::{keep_running, vital};

/// Largest datagram there is.
const DATAGRAM: usize = 65_535;

/// Some four thousand messages.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Connection events that wait for whoever listens; a late one misses the oldest.
const EVENTS: usize = 256;

/// Whether SIP is taken from an address. A v4 address is one, on a v6 socket too.
pub type AddressFilter = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// A connection came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionEvent {
    Up {
        hop: Hop,
        incoming: bool,
    },
    /// `reason` is a sentence for a log. What was under way over it has failed already.
    Down {
        hop: Hop,
        incoming: bool,
        reason: String,
    },
}

/// What an endpoint listens on and how it behaves.
pub struct EndpointConfig {
    /// UDP, and TCP if `tcp`; port 0 is one that is free for both.
    pub listen: SocketAddr,
    /// Take connections at `listen`, and send requests that are too large for UDP by TCP (RFC 3261
    /// 18.1.1). Peers whose [`Hop`] says TCP are connected to in any case.
    pub tcp: bool,
    pub tls_listen: Option<SocketAddr>,
    /// None: no TLS, either way.
    pub tls: Option<TlsFiles>,
    /// For the Server header of the endpoint's own answers.
    pub user_agent: String,
    /// Port of `listen` as peers see it; None: the one bound. Used in Via where a request leaves by
    /// another transport than its user agent thought.
    pub advertise_port: Option<u16>,
    /// Addresses that SIP is taken from besides those of [`Endpoint::set_peers`].
    pub also_from: Option<AddressFilter>,
    pub limits: Limits,
}

impl EndpointConfig {
    /// UDP and TCP, no TLS, default limits.
    pub fn new(listen: SocketAddr, user_agent: impl Into<String>) -> Self {
        Self {
            listen,
            tcp: true,
            tls_listen: None,
            tls: None,
            user_agent: user_agent.into(),
            advertise_port: None,
            also_from: None,
            limits: Limits::default(),
        }
    }
}

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("sip.listen = {address}: {source}; choose another port, or 0 for any free one")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("sip.tls_listen = {address}: {source}; choose another port, or 0 for any free one")]
    TlsListen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A SIP endpoint. A handle: clones share its sockets and connections, which close with the last handle
/// and the last port.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
    _running: Arc<DropGuard>,
}

/// One user agent's way in and out. Dropping it detaches: its transactions run to their end, their
/// answers go nowhere.
pub struct Port {
    endpoint: Endpoint,
    owner: Owner,
}

impl Endpoint {
    /// Opens an endpoint that listens on UDP only and knows no TLS: for tests and the lab.
    ///
    /// # Errors
    /// What the socket says: the address is in use, or is not of this host.
    pub fn bind(listen: SocketAddr, user_agent: &str) -> io::Result<Endpoint> {
        let config = EndpointConfig { tcp: false, ..EndpointConfig::new(listen, user_agent) };
        Self::open(config).map_err(|error| match error {
            OpenError::Listen { source, .. } | OpenError::TlsListen { source, .. } => source,
            OpenError::Tls(error) => io::Error::new(io::ErrorKind::InvalidInput, error),
        })
    }

    /// Opens the sockets and starts the tasks that read them. Wants a tokio runtime around it.
    ///
    /// # Errors
    /// A port is taken or not of this host; a TLS file cannot be read or does not fit. Each names the
    /// key of the configuration.
    pub fn open(config: EndpointConfig) -> Result<Endpoint, OpenError> {
        let tls = config.tls.as_ref().map(Tls::load).transpose()?;
        let shows = tls.as_ref().is_some_and(|tls| tls.server.is_some());
        if config.tls_listen.is_some() && !shows {
            return Err(TlsError::NothingToShow.into());
        }
        let address = config.listen;
        let fault = |source| OpenError::Listen { address, source };
        let (socket, tcp) = listener::bind(address, config.tcp).map_err(fault)?;
        let tls_listener = match config.tls_listen {
            None => None,
            Some(address) => {
                let fault = |source| OpenError::TlsListen { address, source };
                let listener = listener::bind_tcp(address).map_err(fault)?;
                let local = listener.local_addr().map_err(fault)?;
                Some((listener, local))
            }
        };
        socket.set_nonblocking(true).map_err(fault)?;
        // A burst (every DN refreshes after an outage) is better kept than sent again. What the system
        // grants of it is enough.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
        let sender = socket.try_clone().map_err(fault)?;
        let socket = UdpSocket::from_std(socket).map_err(fault)?;
        let local = socket.local_addr().map_err(fault)?;
        let shared = Arc::new_cyclic(|me| Shared {
            local,
            tls_local: tls_listener.as_ref().map(|(_, local)| *local),
            advertise_port: config.advertise_port.unwrap_or(local.port()),
            tcp: config.tcp,
            socket,
            sender,
            user_agent: config.user_agent,
            limits: config.limits,
            state: Mutex::default(),
            timers: Notify::new(),
            tls: ArcSwapOption::from(tls.map(Arc::new)),
            peers: ArcSwapOption::empty(),
            also_from: config.also_from,
            trace: ArcSwapOption::empty(),
            events: broadcast::channel(EVENTS).0,
            counters: Counters::default(),
            runtime: Handle::current(),
            me: me.clone(),
        });
        let stop = CancellationToken::new();
        let (all, stopped) = (Arc::clone(&shared), stop.clone());
        let run = move || run(Arc::clone(&all), stopped.clone());
        tokio::spawn(keep_running("what takes SIP", run));
        let tcp = tcp.map(|listener| (listener, Transport::Tcp));
        let tls = tls_listener.map(|(listener, _)| (listener, Transport::Tls));
        for (listener, transport) in tcp.into_iter().chain(tls) {
            let shared = Arc::downgrade(&shared);
            let accept = listener::accept(shared, listener, transport, stop.clone());
            tokio::spawn(vital("a listener for SIP", accept));
        }
        Ok(Endpoint { shared, _running: Arc::new(stop.drop_guard()) })
    }

    /// Where UDP, and TCP if wanted, is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    /// Where TLS is listened on.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.shared.tls_local
    }

    /// A port for one user agent. A claim that another port made before is taken over.
    /// Messages that find `inbox` full are dropped and counted; SIP sends them again.
    pub fn attach(&self, claim: Claim, inbox: Inbox) -> Port {
        let mut state = self.shared.lock();
        let owner = state.routes.attach(claim.clone(), inbox);
        self.shared.claimed(&mut state, &claim, owner);
        drop(state);
        Port { endpoint: self.clone(), owner }
    }

    /// Until then an INVITE for a user whom nobody has claimed waits for somebody who does, and is
    /// refused after that; None refuses at once, as at the start.
    pub fn wait_for_users(&self, until: Option<Instant>) {
        let mut state = self.shared.lock();
        state.returning.wait(until);
        self.shared.give_up_waiting(&mut state, Instant::now());
        self.shared.flush(&mut state);
        drop(state);
        self.shared.timers.notify_one();
    }

    /// Takes messages and connections from these addresses only, and from those of
    /// [`EndpointConfig::also_from`]; None from everybody.
    pub fn set_peers(&self, peers: Option<Vec<IpAddr>>) {
        let canonical = |ip: IpAddr| ip.to_canonical();
        let peers: Option<HashSet<IpAddr>> =
            peers.map(|peers| peers.into_iter().map(canonical).collect());
        let listed = |ip: &IpAddr| peers.as_ref().is_some_and(|peers| peers.contains(ip));
        self.shared.lock().in_dialog.retain(|ip, _| listed(ip));
        self.shared.peers.store(peers.map(Arc::new));
    }

    /// When a peer of [`Endpoint::set_peers`] was last heard within a dialog.
    pub fn last_in_dialog(&self, peer: IpAddr) -> Option<Instant> {
        self.shared.lock().in_dialog.get(&peer.to_canonical()).copied()
    }

    /// The servers of the configuration as they are resolved now, each with the host of its URI: that is
    /// the name its certificate has to have. A hop that is not here is verified by its address.
    /// Connections of ours to these are kept however little is said.
    pub fn set_servers(&self, servers: impl IntoIterator<Item = (Hop, String)>) {
        let mut names = HashMap::new();
        for (hop, name) in servers {
            // The first of two names for one address is the preferred server's.
            names.entry(hop).or_insert(name);
        }
        self.shared.lock().streams.set_servers(names);
    }

    /// Reads the files again: new connections use what is in them, those that stand go on. A fault
    /// leaves everything as it was.
    ///
    /// # Errors
    /// A file cannot be read or does not fit.
    pub fn reload_tls(&self, files: &TlsFiles) -> Result<(), TlsError> {
        let tls = Tls::load(files)?;
        if self.shared.tls_local.is_some() && tls.server.is_none() {
            return Err(TlsError::NothingToShow);
        }
        self.shared.tls.store(Some(Arc::new(tls)));
        Ok(())
    }

    /// Why `hop` could not be talked to the last time, in a sentence for a log or a dashboard; None when
    /// it could, or was never tried. UDP has none.
    pub fn peer_fault(&self, hop: Hop) -> Option<String> {
        self.shared.lock().streams.fault(hop).map(str::to_owned)
    }

    /// Connections coming and going from now on. A server that reaches its telephones over the
    /// connections they made wants them to register again after `Down`.
    pub fn connection_events(&self) -> broadcast::Receiver<ConnectionEvent> {
        self.shared.events.subscribe()
    }

    /// Shows every message to `trace`; None for none, as at the start.
    pub fn set_trace(&self, trace: Option<Trace>) {
        self.shared.trace.store(trace.map(Arc::new));
    }

    pub fn stats(&self) -> EndpointStats {
        let state = self.shared.lock();
        let (client_transactions, server_transactions) = state.transactions.counts();
        let (connections_in, connections_out) = state.streams.counts();
        EndpointStats {
            ports: state.routes.ports(),
            client_transactions,
            server_transactions,
            connections_in,
            connections_out,
            ..self.shared.counters.read()
        }
    }
}

#[cfg(fuzzing)]
impl Endpoint {
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Port {
    /// Sends, without waiting. What the UDP socket does not take at once is lost like any datagram, and
    /// comes again by retransmission; what a connection cannot take ends the connection.
    pub fn transmit(&self, transmit: Transmit) {
        self.endpoint.shared.transmit(self.owner, transmit);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.endpoint.shared.lock().routes.detach(self.owner);
    }
}

/// Reads the socket and runs the timers until the last handle is gone.
async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let due = {
            let state = shared.lock();
            let timers = [state.transactions.poll_timeout(), state.returning.poll_timeout()];
            timers.into_iter().flatten().min()
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(due) => {
                let mut state = shared.lock();
                let now = Instant::now();
                state.transactions.handle_timeout(now);
                shared.give_up_waiting(&mut state, now);
                shared.flush(&mut state);
            }
            received = shared.socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    shared.datagram(datagram, from, Instant::now());
                }
                // An ICMP error of some earlier datagram: whose it was is not told here, and its
                // transaction runs into its timer.
                Err(error) => tracing::debug!(%error, "SIP socket"),
            },
            () = shared.timers.notified() => {}
        }
    }
}
