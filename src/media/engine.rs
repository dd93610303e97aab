//! The handles through which the rest of the process uses the media plane.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::mpsc::Sender;

use crate::panics::{self, spared};
use crate::sdp::{Candidate, IceCredentials};

use super::call::{Call, Order};
use super::dtls::Identity;
use super::ice::{credentials, random_text};
use super::ports::PortPool;
use super::rtcp::Clock;
use super::socket::{Waker, bind, raise_descriptor_limit};
use super::tcp::{self, Acceptor};
use super::types::{
    BrowserLocal, BrowserRemote, CallStats, EngineStats, Flow, HeldLeg, MediaConfig, MediaEvent,
    MediaId, OpenError, SipRemote, StartError, Tuning, VideoLocal, VideoRemote,
};
use super::worker::{Command, Handshakes, Opening, Orders, VideoSockets, Worker, weight};

/// Workers are threads of their own: more than a machine has cores makes no sense, more than this
/// is a slip of the pen.
const MAX_WORKERS: usize = 256;

/// Socket buffers of a browser-side port in bytes: 20 ms of some 5000 calls.
const BUFFER: usize = 4 << 20;

/// RTP ports somebody else may hold before the range counts as exhausted.
const MAX_TRIES: usize = 64;

/// The running media plane. A cheap handle; when the last one, and the last [`Bridge`], is gone,
/// the workers stop.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    identity: Arc<Identity>,
    clock: Clock,
    rtp_address: IpAddr,
    ports: Arc<Mutex<PortPool>>,
    workers: Vec<WorkerHandle>,
    /// What accepts media over TCP, and where.
    tcp: Option<(Arc<Acceptor>, SocketAddr)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next_id: AtomicU64,
    tuning: ArcSwap<Tuning>,
}

struct WorkerHandle {
    orders: Arc<Orders>,
    address: SocketAddr,
    candidates: Vec<Candidate>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some((acceptor, _)) = &self.tcp {
            acceptor.stop();
        }
        for worker in &self.workers {
            worker.orders.send(Command::Stop);
        }
        // They stop within a tick; then their ports are free.
        let threads =
            std::mem::take(self.threads.get_mut().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Engine {
    /// Binds every worker's port, makes the DTLS certificate and starts the threads.
    ///
    /// # Errors
    /// All faults of configuration and host, before anything is left running.
    pub fn start(config: MediaConfig) -> Result<Engine, StartError> {
        let workers = config.workers;
        if !(1..=MAX_WORKERS).contains(&workers) {
            return Err(StartError::Workers { workers, max: MAX_WORKERS });
        }
        let mut pool = PortPool::new(&config.rtp_ports, config.port_rest)
            .starting_at(rand::random::<u32>() as usize);
        if pool.available(Instant::now()) == 0 {
            return Err(StartError::NoPorts);
        }
        if config.advertise.is_empty() && config.listen.ip().is_unspecified() {
            return Err(StartError::NothingToAdvertise(config.listen));
        }
        if let Err(error) = raise_descriptor_limit() {
            tracing::warn!(%error, "the limit of open descriptors stays as it is");
        }
        let identity = Identity::generate().map_err(|e| StartError::Certificate(e.to_string()))?;
        let ports = Arc::new(Mutex::new(pool));
        let tcp = config.tcp_listen.map(open_tcp).transpose()?;
        let (handshakes, handshake_threads) =
            Handshakes::start(workers.div_ceil(2)).map_err(StartError::Worker)?;
        let mut handles = Vec::with_capacity(workers);
        let mut ready = Vec::with_capacity(workers);
        for n in 0..workers {
            let socket = bind_browser_port(config.listen, n)?;
            let address = socket.local_addr().map_err(StartError::Worker)?;
            let own = [address.ip()];
            let advertised = match config.advertise.as_slice() {
                [] => &own,
                list => list,
            };
            let udp = at_port(advertised.iter(), address.port());
            let reached = tcp.as_ref().map(|tcp| {
                let served = advertised.iter().filter(|ip| serves(tcp.address.ip(), **ip));
                at_port(served, tcp.address.port())
            });
            let candidates = Candidate::hosts(&udp, &reached.unwrap_or_default());
            let waker = Waker::new().map_err(StartError::Worker)?;
            let (orders, commands) = Orders::new(waker);
            let worker =
                Worker::new(socket, orders.clone(), commands, ports.clone(), handshakes.clone())
                    .map_err(StartError::Worker)?;
            handles.push(WorkerHandle { orders, address, candidates });
            ready.push(worker);
        }
        // The workers alone hold the way to the handshake threads, which end with them.
        drop(handshakes);
        // From here on dropping it stops what has been started.
        let shared = Arc::new(Shared {
            identity: Arc::new(identity),
            clock: Clock::new(Instant::now(), SystemTime::now()),
            rtp_address: config.rtp_address,
            ports,
            workers: handles,
            tcp: tcp.as_ref().map(|tcp| (tcp.acceptor.clone(), tcp.address)),
            threads: Mutex::new(Vec::new()),
            next_id: AtomicU64::new(1),
            tuning: ArcSwap::from_pointee(Tuning {
                sounds: config.sounds,
                silence_alarm: config.silence_alarm,
                opus_complexity: config.opus_complexity,
            }),
        });
        if let Some(TcpPort { acceptor, listener, .. }) = tcp {
            let workers = shared.workers.iter().map(|worker| worker.orders.clone()).collect();
            shared.spawn("media-tcp".to_owned(), move || {
                let run = spared(|| acceptor.run(listener, workers));
                if let Ok(Err(error)) = &run {
                    tracing::error!(%error, "media over TCP is taken no more");
                }
                if !matches!(run, Ok(Ok(()))) {
                    panics::lose("media over TCP");
                }
            })?;
        }
        for (n, worker) in ready.into_iter().enumerate() {
            let orders = shared.workers[n].orders.clone();
            shared.spawn(format!("media-{n}"), move || {
                if spared(|| worker.run()) == Ok(true) {
                    return;
                }
                // Its calls are silent from here on, and no new one may come to it.
                orders.counters.lost.store(true, Ordering::Relaxed);
                panics::lose("a media worker");
            })?;
        }
        shared.threads.lock().unwrap_or_else(PoisonError::into_inner).extend(handshake_threads);
        Ok(Engine { shared })
    }

    /// For calls that begin from now on; those that stand keep what they have.
    pub fn set_tuning(&self, tuning: Tuning) {
        self.shared.tuning.store(Arc::new(tuning));
    }

    /// Opens the media of one call on the least loaded worker. Returns at once. Events come as they
    /// happen, at most some hundred a call in ten seconds.
    ///
    /// # Errors
    /// No port is free in the range, the host gives no more sockets, or the workers have stopped.
    pub fn open(&self, events: Sender<(MediaId, MediaEvent)>) -> Result<Bridge, OpenError> {
        let shared = &self.shared;
        let now = Instant::now();
        let worker = shared
            .workers
            .iter()
            .enumerate()
            .filter(|(_, worker)| !worker.orders.counters.lost.load(Ordering::Relaxed))
            .min_by_key(|(_, worker)| {
                let counters = &worker.orders.counters;
                let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                weight(read(&counters.calls), read(&counters.busy))
            })
            .map(|(n, _)| n)
            .ok_or(OpenError::Stopped)?;
        let (port, rtp, rtcp) = shared.take_ports(now)?;
        let id = MediaId(shared.next_id.fetch_add(1, Ordering::Relaxed));
        let handle = &shared.workers[worker];
        let local = BrowserLocal {
            ice: credentials(worker),
            fingerprint: shared.identity.fingerprint(),
            candidates: handle.candidates.clone(),
            ssrc: rand::random(),
            cname: random_text(16),
        };
        let published = Arc::new(Mutex::new(CallStats::default()));
        let tuning = shared.tuning.load();
        let call = Call::new(
            now,
            shared.clock,
            shared.identity.clone(),
            local.ice.clone(),
            local.ssrc,
            local.cname.clone(),
        )
        .with(tuning.sounds.clone(), tuning.silence_alarm)
        .with_opus_complexity(tuning.opus_complexity);
        let opening = Opening {
            call,
            ufrag: local.ice.ufrag.clone(),
            rtp,
            rtcp,
            port,
            events,
            published: published.clone(),
        };
        handle.orders.counters.calls.fetch_add(1, Ordering::Relaxed);
        if !handle.orders.send(Command::Open { id, call: Box::new(opening) }) {
            handle.orders.counters.calls.fetch_sub(1, Ordering::Relaxed);
            shared.ports().release(now, port);
            return Err(OpenError::Stopped);
        }
        Ok(Bridge {
            shared: shared.clone(),
            worker,
            id,
            rtp: SocketAddr::new(shared.rtp_address, port),
            local: Mutex::new(local),
            published,
        })
    }

    pub fn stats(&self) -> EngineStats {
        let mut stats = EngineStats {
            free_ports: self.shared.ports().available(Instant::now()) as u64,
            ..EngineStats::default()
        };
        for worker in &self.shared.workers {
            let counters = &worker.orders.counters;
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            stats.calls += read(&counters.calls);
            stats.unknown_datagrams += read(&counters.unknown_datagrams);
            stats.stun_bad_integrity += read(&counters.stun_bad_integrity);
            stats.malformed += read(&counters.malformed);
            stats.fingerprint_mismatches += read(&counters.fingerprint_mismatches);
            stats.tcp_connections += read(&counters.tcp_connections);
            stats.tcp_refused += read(&counters.tcp_refused);
            stats.tcp_dropped += read(&counters.tcp_dropped);
            stats.refused_handshakes += read(&counters.refused_handshakes);
            stats.sip_unreachable += read(&counters.unreachable);
        }
        if let Some((acceptor, _)) = &self.shared.tcp {
            stats.tcp_refused += acceptor.refused.load(Ordering::Relaxed);
        }
        stats
    }

    /// Where media over TCP is taken.
    pub fn tcp_port(&self) -> Option<SocketAddr> {
        self.shared.tcp.as_ref().map(|(_, address)| *address)
    }

    /// The bound browser-side ports, one per worker.
    pub fn browser_ports(&self) -> Vec<SocketAddr> {
        self.shared.workers.iter().map(|worker| worker.address).collect()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({:?})", self.browser_ports())
    }
}

impl Shared {
    fn spawn(&self, name: String, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread =
            std::thread::Builder::new().name(name).spawn(run).map_err(StartError::Worker)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    fn ports(&self) -> std::sync::MutexGuard<'_, PortPool> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A port pair that can really be bound: some other process may hold one of ours.
    fn take_ports(&self, now: Instant) -> Result<(u16, UdpSocket, UdpSocket), OpenError> {
        for _ in 0..MAX_TRIES {
            let port = self.ports().take(now).ok_or(OpenError::NoPort)?;
            let address = |port| SocketAddr::new(self.rtp_address, port);
            let pair =
                bind(address(port), None).and_then(|rtp| Ok((rtp, bind(address(port + 1), None)?)));
            match pair {
                Ok((rtp, rtcp)) => return Ok((port, rtp, rtcp)),
                Err(error) => {
                    self.ports().release(now, port);
                    if error.kind() != std::io::ErrorKind::AddrInUse {
                        return Err(OpenError::Sockets(error.kind()));
                    }
                    tracing::debug!(port, "an RTP port of ours is in use by somebody else");
                }
            }
        }
        Err(OpenError::NoPort)
    }
}

/// The port for media over TCP, not served yet.
struct TcpPort {
    acceptor: Arc<Acceptor>,
    listener: TcpListener,
    address: SocketAddr,
}

fn open_tcp(address: SocketAddr) -> Result<TcpPort, StartError> {
    let open = || {
        let listener = tcp::listen(address)?;
        let address = listener.local_addr()?;
        Ok(TcpPort { acceptor: Acceptor::new()?, listener, address })
    };
    open().map_err(|source| StartError::Listen { address, source })
}

/// Whether a socket bound to `local` is reached at `ip`, with a NAT in front of it if need be.
fn serves(local: IpAddr, ip: IpAddr) -> bool {
    local.is_ipv4() == ip.is_ipv4() || local == IpAddr::from(Ipv6Addr::UNSPECIFIED)
}

fn at_port<'a>(addresses: impl Iterator<Item = &'a IpAddr>, port: u16) -> Vec<SocketAddr> {
    addresses.map(|ip| SocketAddr::new(*ip, port)).collect()
}

fn bind_browser_port(listen: SocketAddr, n: usize) -> Result<UdpSocket, StartError> {
    let port = match listen.port() {
        0 => Some(0),
        first => u16::try_from(n).ok().and_then(|n| first.checked_add(n)),
    };
    let address = SocketAddr::new(listen.ip(), port.unwrap_or(0));
    if port.is_none() {
        let source = std::io::Error::other("the port number would exceed 65535");
        return Err(StartError::Bind { address: listen, source });
    }
    bind(address, Some(BUFFER)).map_err(|source| StartError::Bind { address, source })
}

/// One call's media. Dropping it closes the call and lets its ports rest.
pub struct Bridge {
    shared: Arc<Shared>,
    worker: usize,
    id: MediaId,
    rtp: SocketAddr,
    local: Mutex<BrowserLocal>,
    published: Arc<Mutex<CallStats>>,
}

impl Bridge {
    pub fn id(&self) -> MediaId {
        self.id
    }

    /// Our ICE credentials, fingerprint, candidates and SSRC, for the SDP toward the browser.
    pub fn browser_local(&self) -> BrowserLocal {
        self.local.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The RTP address for the SDP toward SIP; RTCP is on the next port.
    pub fn rtp_local(&self) -> SocketAddr {
        self.rtp
    }

    /// The browser's description. The same fingerprint and ufrag again change the payloads only; a
    /// new ufrag is an ICE restart; the DTLS association survives unless the fingerprint changes.
    pub fn set_browser(&self, remote: BrowserRemote) {
        self.order(Order::SetBrowser(Box::new(remote)), None);
    }

    /// New local credentials for an ICE restart. The old ones work until the new ones are used.
    pub fn restart_ice(&self) -> BrowserLocal {
        self.new_credentials(Order::RestartIce)
    }

    /// A whole new peer connection: the next [`Bridge::set_browser`] describes it. The old one
    /// keeps flowing until the new one is connected.
    pub fn renew_browser(&self) -> BrowserLocal {
        self.new_credentials(Order::RenewBrowser)
    }

    /// Target, codecs and payload types of the SIP side; opens a new learning window for
    /// symmetric RTP.
    pub fn set_sip(&self, remote: SipRemote) {
        self.order(Order::SetSip(Box::new(remote)), None);
    }

    /// Takes another pair of ports, for video. Once a call, before its descriptions are written.
    ///
    /// # Errors
    /// No port is free in the range, the host gives no more sockets, or the workers have stopped.
    pub fn open_video(&self) -> Result<VideoLocal, OpenError> {
        let now = Instant::now();
        let (port, rtp, rtcp) = self.shared.take_ports(now)?;
        let ssrc = rand::random();
        let video = Box::new(VideoSockets { rtp, rtcp, port, ssrc });
        let orders = &self.shared.workers[self.worker].orders;
        if !orders.send(Command::Video { id: self.id, video }) {
            self.shared.ports().release(now, port);
            return Err(OpenError::Stopped);
        }
        Ok(VideoLocal { rtp: SocketAddr::new(self.shared.rtp_address, port), ssrc })
    }

    /// What is passed on of a call's video; `None`: nothing. Without [`Bridge::open_video`] it does nothing.
    pub fn set_video(&self, remote: Option<VideoRemote>) {
        self.order(Order::SetVideo(remote.map(Box::new)), None);
    }

    /// The SIP side wants a whole picture, and has said so outside of RTCP (RFC 5168).
    pub fn ask_browser_for_picture(&self) {
        self.order(Order::AskBrowser, None);
    }

    pub fn set_flow(&self, flow: Flow) {
        self.order(Order::SetFlow(flow), None);
    }

    /// The calls of the line beside the one of [`Bridge::set_sip`], all of them and at most
    /// [`MAX_HELD`](super::MAX_HELD): each gets a stream of its own, music or silence. One whose target is
    /// that of `set_sip` takes the stream along that went there, and gives it back to the `set_sip` that
    /// names it next.
    pub fn set_held(&self, legs: Vec<HeldLeg>) {
        self.order(Order::SetHeld(legs), None);
    }

    /// Sends digits toward SIP as RFC 4733 events, 100 ms each and 50 ms apart, after those still
    /// waiting (at most 64); a comma is a pause of 2 s. What else is no digit, `*`, `#` or `A` to `D` is
    /// left out. Where the SIP side
    /// did not negotiate telephone-event nothing is sent, and `unknown_payload` counts it.
    /// While the flow lets nothing through to SIP, digits are dropped.
    pub fn send_digits(&self, digits: &str) {
        self.order(Order::SendDigits(digits.to_owned()), None);
    }

    /// Lets the browser hear a digit of the far end's that came outside of RTP (SIP INFO), 100 ms of it, as
    /// an RFC 4733 event; nothing where the browser did not negotiate telephone-event.
    pub fn play_digit(&self, digit: char) {
        self.order(Order::PlayDigit(digit), None);
    }

    /// A snapshot, at most some 100 ms old.
    pub fn stats(&self) -> CallStats {
        self.counters().read()
    }

    /// For those who look on from elsewhere. It outlives the call, and then tells how that ended.
    pub fn counters(&self) -> Counters {
        Counters(self.published.clone())
    }

    fn new_credentials(&self, order: impl FnOnce(IceCredentials) -> Order) -> BrowserLocal {
        let mut local = self.local.lock().unwrap_or_else(PoisonError::into_inner);
        local.ice = credentials(self.worker);
        self.order(order(local.ice.clone()), Some(local.ice.ufrag.clone()));
        local.clone()
    }

    fn order(&self, order: Order, ufrag: Option<String>) {
        let orders = &self.shared.workers[self.worker].orders;
        orders.send(Command::Order { id: self.id, order, ufrag });
    }
}

/// What is counted of a call, as its worker publishes it.
#[derive(Clone)]
pub struct Counters(Arc<Mutex<CallStats>>);

impl Counters {
    /// A snapshot, at most some 100 ms old.
    pub fn read(&self) -> CallStats {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bridge({}, {})", self.id.0, self.rtp)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.shared.workers[self.worker].orders.send(Command::Close(self.id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::Sounds;

    /// Its calls are lost. Those that come must not follow them: a worker without calls is the one with the
    /// least to do.
    #[test]
    fn a_worker_that_panics_gets_no_more_calls() {
        let engine = Engine::start(MediaConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tcp_listen: None,
            advertise: Vec::new(),
            rtp_address: IpAddr::from([127, 0, 0, 1]),
            rtp_ports: 20_000..=59_999,
            workers: 2,
            port_rest: Duration::ZERO,
            sounds: Sounds::default(),
            silence_alarm: None,
            opus_complexity: 5,
        })
        .unwrap();
        assert!(!panics::lost().contains(&"a media worker"));
        engine.shared.workers[0].orders.send(Command::Stumble);
        let end = Instant::now() + Duration::from_secs(30);
        while !panics::lost().contains(&"a media worker") {
            assert!(Instant::now() < end, "nobody tells of it");
            std::thread::sleep(Duration::from_millis(5));
        }
        let bridges: Vec<Bridge> = (0..4)
            .map(|_| {
                let (events, _) = tokio::sync::mpsc::channel(1);
                engine.open(events).unwrap()
            })
            .collect();
        assert!(bridges.iter().all(|bridge| bridge.worker == 1));
    }
}
