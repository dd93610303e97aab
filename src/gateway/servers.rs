//! The task that watches the SIP servers: names are resolved, servers pinged, the current one told to
//! every agent, and its addresses to the endpoint, which takes SIP from nobody else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Sip;
use crate::sip::port::Incoming;
use crate::sip::servers::{
    Change, Current, Link, News, Pacing, Pinger, ServerStatus, Servers, Target,
};
use crate::sip::{Claim, ConnectionEvent, Endpoint, Hop, Port, Transport};

use super::names::Names;
use super::network;

/// Answers to pings that wait; a handful is under way at a time.
const INBOX: usize = 64;
/// News of agents that wait. When all DNs fail together, a few of them tell enough.
const NEWS: usize = 256;
/// How long SIP is taken from an address that the names no longer resolve to: calls that were set up
/// through it go on.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Such addresses at most, for names whose addresses change all the time. The oldest goes first.
const MAX_PEERS: usize = 256;

/// What the gateway keeps of it.
pub(super) struct Watched {
    pub link: Link,
    pub status: Arc<ArcSwap<Vec<ServerStatus>>>,
}

/// The task's own.
pub(super) struct Watcher {
    sip: Sip,
    endpoint: Endpoint,
    names: Names,
    servers: Servers,
    pinger: Pinger,
    port: Port,
    inbox: mpsc::Receiver<Box<Incoming>>,
    news: mpsc::Receiver<(Hop, News)>,
    current: watch::Sender<Result<Current, Arc<str>>>,
    status: Arc<ArcSwap<Vec<ServerStatus>>>,
    connections: broadcast::Receiver<ConnectionEvent>,
    /// See [`Current::epoch`].
    epoch: u64,
    /// When each was resolved last.
    peers: BTreeMap<IpAddr, Instant>,
}

impl Watcher {
    /// Knows from the start what `names` knows.
    pub fn new(sip: &Sip, endpoint: &Endpoint, names: Names) -> (Self, Watched) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (news_sender, news) = mpsc::channel(NEWS);
        let (current, receiver) = watch::channel(Err(Arc::from("no SIP server is known yet")));
        let pacing = Pacing::new(sip.register_rate);
        let link = Link { current: receiver, news: news_sender, pacing };
        let status = Arc::new(ArcSwap::default());
        let mut watcher = Self {
            sip: sip.clone(),
            endpoint: endpoint.clone(),
            names,
            servers: Servers::new(sip.ping, rand::random()),
            pinger: Pinger::new(sip.user_agent.clone(), rand::random()),
            port: endpoint.attach(Claim::Nothing, sender),
            inbox,
            news,
            current,
            status: Arc::clone(&status),
            connections: endpoint.connection_events(),
            epoch: 0,
            peers: BTreeMap::new(),
        };
        watcher.renamed();
        watcher.publish();
        (watcher, Watched { link, status })
    }

    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let now = Instant::now();
            while let Some(hop) = self.servers.poll_ping(now) {
                self.ping(hop, now);
            }
            self.publish();
            let due = self.servers.poll_timeout();
            let sleep = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.names.next() => self.renamed(),
                () = sleep => self.servers.handle_timeout(Instant::now()),
                Some(incoming) = self.inbox.recv() => {
                    let now = Instant::now();
                    if let Some(pong) = self.pinger.handle_incoming(&incoming, now) {
                        self.explain(pong.hop);
                        self.servers.handle_ping(pong.hop, pong.outcome, now);
                    }
                }
                event = self.connections.recv() => {
                    // Those that were missed may have been it.
                    let lost = matches!(event, Err(RecvError::Lagged(_)))
                        || matches!(event, Ok(ConnectionEvent::Down { hop, incoming: false, .. })
                            if Some(hop) == self.servers.current());
                    self.epoch += u64::from(lost);
                }
                Some((hop, news)) = self.news.recv() => {
                    self.explain(hop);
                    self.servers.handle_news(hop, news, Instant::now());
                }
            }
        }
    }

    fn explain(&mut self, hop: Hop) {
        if let Some(why) = self.endpoint.peer_fault(hop) {
            self.servers.explain(hop, why);
        }
    }

    /// What Via and Contact say of us toward a server.
    fn advertised(&self, hop: Hop) -> Result<SocketAddr, network::NetworkError> {
        let local = self.endpoint.local_addr();
        let mut address = network::advertised(self.sip.advertise, local, hop.addr)?;
        if let (Transport::Tls, Some(tls)) = (hop.transport, self.endpoint.tls_addr()) {
            address.set_port(tls.port());
        }
        Ok(address)
    }

    fn ping(&mut self, hop: Hop, now: Instant) {
        // Without a way there the ping is missed, and its server down for that.
        let Ok(advertise) = self.advertised(hop) else { return };
        if let Some(transmit) = self.pinger.ping(hop, advertise, now) {
            self.port.transmit(transmit);
        }
    }

    /// The names stand for other addresses, or for the same as before.
    fn renamed(&mut self) {
        let now = Instant::now();
        let targets = self.names.targets();
        self.take_from(&targets, now);
        self.servers.set_targets(targets, now);
    }

    /// SIP is heard from these hosts, and from nobody who was never named: an open SIP port is scanned,
    /// and each scan would ring a telephone.
    fn take_from(&mut self, targets: &[Target], now: Instant) {
        self.peers.extend(targets.iter().map(|target| (target.hop.addr.ip(), now)));
        self.peers.retain(|_, seen| now.saturating_duration_since(*seen) < REMEMBERED);
        while self.peers.len() > MAX_PEERS {
            let oldest = self.peers.iter().min_by_key(|(_, seen)| **seen).map(|(ip, _)| *ip);
            let Some(oldest) = oldest else { break };
            self.peers.remove(&oldest);
        }
        self.endpoint.set_peers(Some(self.peers.keys().copied().collect()));
        self.endpoint.set_servers(targets.iter().map(|target| (target.hop, target.host.clone())));
    }

    /// Tells what has changed.
    fn publish(&mut self) {
        while let Some(change) = self.servers.poll_change() {
            match change {
                Change::Up { name, hop } => info!(server = name, %hop, "the SIP server is up"),
                Change::Down { name, hop, reason } => {
                    warn!(server = name, %hop, reason, "the SIP server is down");
                    self.names.hurry();
                }
                Change::Current { name, hop } => {
                    info!(server = name, %hop, "this SIP server is used from now on");
                }
            }
        }
        let new = self.chosen();
        self.current.send_if_modified(|current| {
            let changed = *current != new;
            *current = new;
            changed
        });
        self.status.store(Arc::new(self.servers.status()));
    }

    fn chosen(&self) -> Result<Current, Arc<str>> {
        let Some(server) = self.servers.current() else {
            let fault = self.names.fault();
            return Err(fault.unwrap_or_else(|| "its name is being looked up".to_owned()).into());
        };
        let down = self.servers.reachable().err().map(Arc::from);
        if let Ok(current) = &*self.current.borrow()
            && current.server == server
        {
            return Ok(Current { down, epoch: self.epoch, ..current.clone() });
        }
        let advertise = self.advertised(server).map_err(|fault| Arc::from(fault.to_string()))?;
        Ok(Current { server, advertise, down, epoch: self.epoch })
    }
}
