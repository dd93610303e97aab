//! The task that watches the SIP servers: names are resolved, servers pinged, the current one told to
//! every agent, and its addresses to the endpoint, which takes SIP from nobody else.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Sip, SipServer};
use crate::due::sleep_until;
use crate::journal::{About, Journal, What};
use crate::sip::port::Incoming;
use crate::sip::servers::{
    Change, Current, Link, News, Pacing, Pinger, ServerStatus, Servers, Target,
};
use crate::sip::{Claim, ConnectionEvent, Endpoint, Hop, Place, Port, Transport};

use super::names::{Names, Unresolved};
use super::network;

/// How long the names of a new list may take before it is used as far as it is known.
const NAMES_RESOLVE: Duration = Duration::from_secs(5);
/// Answers to pings that wait; a handful is under way at a time.
const INBOX: usize = 64;
/// News of agents that wait. When all DNs fail together, a few of them tell enough.
const NEWS: usize = 256;
/// How long SIP is taken from an address that the names no longer resolve to, from when it was last heard
/// within a dialog: calls that were set up through it go on, and each refreshes its session sooner.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Such addresses at most, for names whose addresses change all the time. The oldest goes first.
const MAX_PEERS: usize = 256;

/// What the gateway keeps of it.
pub(super) struct Watched {
    pub link: Link,
    pub known: Arc<ArcSwap<Known>>,
}

/// What is known of the servers, for operators.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub servers: Vec<ServerStatus>,
    pub unresolved: Vec<Unresolved>,
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
    known: Arc<ArcSwap<Known>>,
    connections: broadcast::Receiver<ConnectionEvent>,
    /// See [`Current::epoch`].
    epoch: u64,
    /// Another list, once it was changed.
    list: watch::Receiver<Vec<SipServer>>,
    /// The name each had, and when it was resolved or used in a call last.
    peers: HashMap<Hop, (String, Instant)>,
    journal: Journal,
}

impl Watcher {
    /// Knows from the start what `names` knows.
    pub fn new(
        sip: &Sip,
        endpoint: &Endpoint,
        names: Names,
        list: watch::Receiver<Vec<SipServer>>,
        journal: Journal,
    ) -> (Self, Watched) {
        let (sender, inbox) = mpsc::channel(INBOX);
        let (news_sender, news) = mpsc::channel(NEWS);
        let (current, receiver) = watch::channel(Err(Arc::from("no SIP server is known yet")));
        let pacing = Pacing::new(sip.register_rate);
        let link = Link { current: receiver, news: news_sender, pacing };
        let known = Arc::new(ArcSwap::default());
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
            known: Arc::clone(&known),
            connections: endpoint.connection_events(),
            epoch: 0,
            list,
            peers: HashMap::new(),
            journal,
        };
        watcher.renamed();
        watcher.publish();
        (watcher, Watched { link, known })
    }

    pub async fn run(&mut self, shutdown: CancellationToken) {
        loop {
            let now = Instant::now();
            while let Some(hop) = self.servers.poll_ping(now) {
                self.ping(hop, now);
            }
            self.publish();
            let due = self.servers.poll_timeout();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.names.next() => self.renamed(),
                Ok(()) = self.list.changed() => self.relisted().await,
                () = sleep_until(due) => self.servers.handle_timeout(Instant::now()),
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

    /// Registrations move to the first of the new list when it is known where that is, and not before: a
    /// moment without any server would fail each call that begins in it.
    async fn relisted(&mut self) {
        let servers = self.list.borrow_and_update().clone();
        self.names.set(&servers);
        self.names.settle(NAMES_RESOLVE).await;
        self.renamed();
    }

    /// SIP is heard from these hosts, and from nobody who was never named: an open SIP port is scanned,
    /// and each scan would ring a telephone.
    fn take_from(&mut self, targets: &[Target], now: Instant) {
        for (hop, (_, seen)) in &mut self.peers {
            let heard = self.endpoint.last_in_dialog(hop.addr.ip());
            *seen = heard.map_or(*seen, |heard| heard.max(*seen));
        }
        // Backwards, so that of two names for one address the preferred server's stays.
        for target in targets.iter().rev() {
            self.peers.insert(target.hop, (target.host.clone(), now));
        }
        self.peers.retain(|_, (_, seen)| now.saturating_duration_since(*seen) < REMEMBERED);
        while self.peers.len() > MAX_PEERS {
            let oldest = self.peers.iter().min_by_key(|(_, (_, seen))| *seen).map(|(hop, _)| *hop);
            let Some(oldest) = oldest else { break };
            self.peers.remove(&oldest);
        }
        self.endpoint.set_peers(Some(self.peers.keys().map(|hop| hop.addr.ip()).collect()));
        // With those of before: by TLS their calls go on only under the name they were verified by.
        let names = self.peers.iter().map(|(hop, (name, _))| (*hop, name.clone()));
        self.endpoint.set_servers(names);
    }

    /// Tells what has changed.
    fn publish(&mut self) {
        while let Some(change) = self.servers.poll_change() {
            match change {
                Change::Up { name, hop } => {
                    info!(server = name, %hop, "the SIP server is up");
                    self.note(name, true, None);
                }
                Change::Down { name, hop, reason } => {
                    warn!(server = name, %hop, reason, "the SIP server is down");
                    self.names.hurry();
                    self.note(name, false, Some(reason));
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
        let (servers, unresolved) = (self.servers.status(), self.names.unresolved());
        self.known.store(Arc::new(Known { servers, unresolved }));
    }

    fn note(&self, name: String, up: bool, reason: Option<String>) {
        let rtt = self.servers.status().into_iter().find(|server| server.name == name);
        let rtt = rtt.and_then(|server| server.rtt);
        self.journal.note(About::default(), What::Server { name, up, reason, rtt });
    }

    fn chosen(&self) -> Result<Current, Arc<str>> {
        let Some(server) = self.servers.current() else {
            let fault = self.names.fault();
            return Err(fault.unwrap_or_else(|| "its name is being looked up".to_owned()).into());
        };
        let down = self.servers.reachable().err().map(Arc::from);
        let others = self.others();
        if let Ok(current) = &*self.current.borrow()
            && current.server == server
        {
            return Ok(Current { others, down, epoch: self.epoch, ..current.clone() });
        }
        let advertise = self.advertised(server).map_err(|fault| Arc::from(fault.to_string()))?;
        Ok(Current { server, advertise, others, down, epoch: self.epoch })
    }

    /// Our address toward one is looked up when it comes to be among them: the kernel is asked for it, and
    /// this is asked for with each ping.
    fn others(&self) -> Arc<[Place]> {
        let known = self.current.borrow();
        let known = known.as_ref().map(|current| Arc::clone(&current.others)).unwrap_or_default();
        if self.servers.others().eq(known.iter().map(|place| place.server)) {
            return known;
        }
        let place = |server| {
            let same = known.iter().find(|place| place.server == server).copied();
            let looked_up = || Some(Place { server, advertise: self.advertised(server).ok()? });
            same.or_else(looked_up)
        };
        self.servers.others().filter_map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use rsipstack::sip::Request;

    use super::*;
    use crate::sip::port::{ClientTx, Transmit};
    use crate::sip::resolve::SystemDns;

    fn at(address: &str) -> Vec<Target> {
        let hop = Hop::udp(address.parse().unwrap());
        vec![Target { hop, name: address.to_owned(), host: address.to_owned(), tier: 0 }]
    }

    /// Messages are accepted from configured peers only, and those follow the names.
    #[tokio::test]
    async fn sip_is_taken_from_where_the_names_point_and_for_a_while_from_where_they_did() {
        let sets = ["sip.servers=sip:192.0.2.1".to_owned()];
        let sip = crate::demo::config(None, [], &sets).unwrap().sip;
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), "test").unwrap();
        let here = endpoint.local_addr();
        let mut names = Names::new(&sip.servers, Arc::new(SystemDns::new()), here);
        names.settle(Duration::from_secs(10)).await;
        let (_lists, list) = watch::channel(Vec::new());
        let (mut watcher, watched) = Watcher::new(&sip, &endpoint, names, list, Journal::default());
        let current = watched.link.current.borrow().clone().unwrap();
        assert_eq!(
            (current.server.to_string(), current.advertise),
            ("udp:192.0.2.1:5060".into(), here)
        );

        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let from = socket.local_addr().unwrap();
        let mut count = 0;
        let mut ask = async |taken: bool| {
            count += 1;
            let before = endpoint.stats();
            let text = format!(
                "OPTIONS sip:{here} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{count}\r\n\
                 From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: {count}\r\nCSeq: 1 OPTIONS\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            socket.send_to(text.as_bytes(), here).await.unwrap();
            while endpoint.stats().received == before.received {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(endpoint.stats().strangers == before.strangers, taken, "question {count}");
        };
        let now = Instant::now();
        ask(false).await;
        watcher.take_from(&at("127.0.0.1:5060"), now);
        ask(true).await;
        watcher.take_from(&at("192.0.2.1:5060"), now + REMEMBERED / 2);
        ask(true).await;
        watcher.take_from(&at("192.0.2.1:5060"), now + REMEMBERED);
        ask(false).await;

        // A call that goes on through it keeps it, for as long as it is heard.
        watcher.take_from(&at("127.0.0.1:5060"), now);
        let (inbox, mut received) = mpsc::channel(4);
        let port = endpoint.attach(Claim::Nothing, inbox);
        let head = "Via: SIP/2.0/UDP h;branch=z9hG4bKi\r\nCall-ID: long\r\nCSeq: 1 INVITE\r\n";
        let invite = format!(
            "INVITE sip:a@b SIP/2.0\r\n{head}From: <sip:c@d>;tag=ours\r\nTo: <sip:a@b>\r\n\r\n"
        );
        let request = Request::try_from(invite.as_str()).unwrap();
        port.transmit(Transmit::Request { tx: ClientTx(1), request, to: Hop::udp(from) });
        let update = format!(
            "UPDATE sip:{here} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKu\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=ours\r\nCall-ID: long\r\nCSeq: 1 UPDATE\r\n\
             Content-Length: 0\r\n\r\n"
        );
        socket.send_to(update.as_bytes(), here).await.unwrap();
        assert!(matches!(*received.recv().await.unwrap(), Incoming::Request { .. }));
        watcher.take_from(&at("192.0.2.1:5060"), now + REMEMBERED);
        ask(true).await;
        watcher.take_from(&at("192.0.2.1:5060"), now + 2 * REMEMBERED);
        ask(false).await;
    }
}
