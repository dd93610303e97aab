//! Starting and stopping: every port is opened here, in an order in which each fault has its key.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{self, Config, Network};
use crate::http::{BindError, Control, MetricsServer, Scrape, Server, Surroundings};
use crate::journal::hep::{Hep, HepError};
use crate::journal::store::{Store, StoreError};
use crate::journal::watch::Watch;
use crate::journal::{CollectError, Collector, Journal, Observer, Timelines};
use crate::media::{self, Engine, MediaConfig, Music, MusicError, Sounds, Tuning};
use crate::panics::vital;
use crate::sdp::SrtpPolicy;
use crate::sip::resolve::SystemDns;
use crate::sip::transport::tls::{OwnCertificate, TlsFiles};
use crate::sip::{Endpoint, EndpointConfig, OpenError, Transport};
use crate::telemetry::logs::LogLevel;
use crate::telemetry::metrics::{Exporter, Metrics};
use crate::telemetry::traces::Tracer;

use super::names::Names;
use super::standing::Standing;
use super::turn::{self, TurnError};
use super::{Gateway, Told, network};

/// How long an RTP port rests: packets of an ended call are still on their way to it.
const PORT_REST: Duration = Duration::from_secs(5);

/// How long hanging polls have to end before the sessions do. Requests that wait for the SIP server are
/// cut short by the end of their sessions.
const POLLS_END: Duration = Duration::from_millis(500);

/// How long a disk, or who reads our standard output, may hold up the end.
pub(super) const DISK_LIMIT: Duration = Duration::from_secs(5);

/// How long the names of the SIP servers may take at the start; later they are looked up meanwhile.
const NAMES_RESOLVE: Duration = Duration::from_secs(5);

/// An address of TEST-NET-1 (RFC 5737): somewhere out there.
const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Http(#[from] BindError),
    #[error(transparent)]
    Sip(#[from] OpenError),
    #[error(transparent)]
    Media(#[from] media::StartError),
    #[error(transparent)]
    Turn(#[from] TurnError),
    #[error(transparent)]
    CallRecords(#[from] CollectError),
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Hep(#[from] HepError),
    #[error("media.hold_music = \"{}\": {error}", file.display())]
    HoldMusic { file: PathBuf, error: MusicError },
}

/// A gateway that serves.
pub struct Running {
    pub gateway: Gateway,
    /// What of the HTTP server can be changed.
    pub http_control: Control,
    http_addr: SocketAddr,
    scheme: &'static str,
    base_path: String,
    metrics_addr: Option<SocketAddr>,
    tracer: Option<Tracer>,
    stop_http: CancellationToken,
    http: JoinHandle<()>,
}

/// SRTP keys stand in the SDP (RFC 4568 8.3): whoever can read the SIP can listen.
fn warn_of_readable_keys(config: &Config, names: &Names) {
    let readable =
        names.targets().iter().map(|target| target.hop).find(|hop| hop.transport != Transport::Tls);
    if config.media.srtp != SrtpPolicy::Off
        && let Some(hop) = readable
    {
        let transport = hop.transport.via();
        warn!(transport, "SRTP keys go to the SIP server unprotected; transport=tls protects them");
    }
}

/// Opens the ports and serves.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let mut names = Names::new(&config.sip.servers, Arc::new(SystemDns::new()), config.sip.listen);
    names.settle(NAMES_RESOLVE).await;
    let server = names.targets().first().map(|target| target.hop.addr);
    warn_of_readable_keys(&config, &names);
    let rtp_address = match config.media.rtp_address {
        Some(address) => address,
        // A server whose name does not resolve now may do so later; the default route is the best guess.
        None => network::local_ip_toward(server.unwrap_or(OUTSIDE))?,
    };
    let listen = config.media.listen;
    let advertise = if config.media.advertise.is_empty() && listen.ip().is_unspecified() {
        network::candidate_addresses(listen.ip(), server, config.http.listen.ip())
    } else {
        config.media.advertise.clone()
    };
    let Tuning { sounds, silence_alarm, opus_complexity } = tuning(&config.media)?;
    let engine = Engine::start(MediaConfig {
        listen,
        tcp_listen: config.media.tcp_listen,
        advertise: advertise.clone(),
        rtp_address,
        rtp_ports: config.media.rtp_ports.clone(),
        workers: config.media.workers,
        port_rest: PORT_REST,
        sounds,
        silence_alarm,
        opus_complexity,
    })?;
    let named = if advertise.is_empty() { vec![listen.ip()] } else { advertise };
    let (turn, mut ice) = turn::open(&config.turn, &engine.browser_ports(), &named)?;
    let turn_certificate = ice.take_certificate();
    let turn_addrs = turn.as_ref().map(|turn| (turn.local_addr(), turn.tls_addr()));
    let networks = Arc::new(ArcSwap::from_pointee(config.sip.networks.clone()));
    let endpoint = Endpoint::open(endpoint_config(&config.sip, Arc::clone(&networks)))?;
    let http = config.http.clone();
    let watch = Watch::new(config.operations.no_rtp);
    let store = Arc::new(Store::open(&config.journal.store)?);
    let timelines = Arc::new(Timelines::new(vec![store.clone()], Some(store.clone())));
    let collector =
        config.journal.call_records.clone().map(Collector::start).transpose()?.map(Arc::new);
    let metrics = Metrics::default();
    let tracer = config.tracing.otlp.clone().map(Tracer::start);
    let mut observers: Vec<Arc<dyn Observer>> = vec![watch.clone(), timelines.clone()];
    observers.extend(collector.iter().map(|collector| Arc::clone(collector) as Arc<dyn Observer>));
    observers.push(Arc::new(metrics.clone()));
    observers.extend(tracer.iter().map(|tracer| Arc::new(tracer.clone()) as Arc<dyn Observer>));
    let hep = config.journal.hep.as_ref().map(Hep::start).transpose()?.map(Arc::new);
    observers.extend(hep.iter().map(|hep| Arc::clone(hep) as Arc<dyn Observer>));
    let journal = Journal::new(observers);
    store.report_to(journal.clone());
    let told = Told { journal, watch };
    let config::Metrics { listen: metrics_listen, open } = config.metrics;
    let gateway = Gateway::new(config, told, endpoint, engine.clone(), ice, names, networks);
    let _ = gateway.shared.store.set(store);
    gateway.keep_journal(timelines, collector, hep);
    let exporter = Exporter::new(
        &metrics,
        Arc::new(Standing { gateway: gateway.clone(), tracer: tracer.clone() }),
    );
    let scrape = Scrape { exporter: Arc::new(exporter), metrics, open };
    let metrics_server =
        metrics_listen.map(|address| MetricsServer::bind(address, scrape.clone())).transpose()?;
    let surroundings = Surroundings { scrape: Some(scrape) };
    let server = Server::bind_with(&http, Arc::new(gateway.clone()), surroundings)?;
    let metrics_server = metrics_server.map(|at_its_own| at_its_own.with_probes(&server.control()));
    gateway.add_part(server.reload());
    gateway.add_part(Arc::new(LogLevel));
    let (http_addr, scheme) = (server.local_addr(), server.scheme());
    let http_control = server.control();
    if let Some(view) = http_control.certificate_view() {
        let _ = gateway.shared.certificates.http.set(view);
    }
    info!(
        http = %http_addr,
        sip = %gateway.sip_addr(),
        media = ?engine.browser_ports(),
        media_tcp = ?engine.tcp_port(),
        rtp = %rtp_address,
        "serving"
    );
    if let (Some(turn), Some((plain, tls))) = (turn, turn_addrs) {
        info!(?plain, ?tls, "TURN");
        // With the calls, and after them.
        let run = turn.run(gateway.shared.shutdown.clone());
        gateway.shared.tasks.spawn(vital("the TURN server", run));
        if let Some(served) = turn_certificate {
            let _ = gateway.shared.certificates.turn.set(served.view());
            let stop = gateway.shared.shutdown.clone();
            gateway.shared.tasks.spawn(turn::keep_current(served, stop));
        }
    }
    let stop_http = CancellationToken::new();
    let metrics_addr = metrics_server.as_ref().map(MetricsServer::local_addr);
    if let Some(server) = metrics_server {
        info!(metrics = ?metrics_addr, "serving");
        tokio::spawn(server.run(stop_http.clone()));
    }
    let task = tokio::spawn(server.run(stop_http.clone()));
    let base_path = http.base_path;
    Ok(Running {
        http_control,
        gateway,
        http_addr,
        scheme,
        base_path,
        metrics_addr,
        tracer,
        stop_http,
        http: task,
    })
}

/// Reads the hold music.
pub(super) fn tuning(media: &config::Media) -> Result<Tuning, StartError> {
    let music = match &media.hold_music {
        None => None,
        Some(file) => match Music::read(file, &media.codecs) {
            Ok(music) => Some(Arc::new(music)),
            Err(error) => return Err(StartError::HoldMusic { file: file.clone(), error }),
        },
    };
    Ok(Tuning {
        sounds: Sounds { tones: media.tones, music },
        silence_alarm: media.silence_alarm,
        opus_complexity: media.opus_complexity,
    })
}

/// What the SIP endpoint is told of the configuration.
fn endpoint_config(sip: &config::Sip, networks: Arc<ArcSwap<Vec<Network>>>) -> EndpointConfig {
    EndpointConfig {
        tls_listen: sip.tls_listen,
        tls: Some(tls_files(&sip.tls)),
        advertise_port: sip.advertise.and_then(|advertise| advertise.port),
        also_from: Some(Box::new(move |ip| {
            networks.load().iter().any(|network| network.contains(ip))
        })),
        ..EndpointConfig::new(sip.listen, sip.user_agent.clone())
    }
}

pub(crate) fn tls_files(tls: &config::SipTls) -> TlsFiles {
    TlsFiles {
        ca: tls.ca.clone(),
        pins: tls.pins.clone(),
        own: tls
            .own
            .as_ref()
            .map(|own| OwnCertificate { cert: own.cert.clone(), key: own.key.clone() }),
    }
}

impl Running {
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Of `metrics.listen`, with the port really bound.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// Where the API and the page are, without a trailing slash.
    pub fn base_url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.http_addr, self.base_path)
    }

    /// Returns when a drain that somebody has begun is over: no call is left, or its time is.
    pub async fn drained(&self) {
        self.gateway.shared.drain.over(|| self.gateway.calls()).await;
    }

    /// Ends the HTTP server, then sessions and calls. In this order, because a client that finds nobody
    /// tries again until the gateway is back, and one that a stopping gateway tells of no such session
    /// gives its own up.
    pub async fn stop(mut self) {
        self.stop_http.cancel();
        let _ = tokio::time::timeout(POLLS_END, &mut self.http).await;
        self.gateway.shut_down().await;
        if !self.http.is_finished() {
            let _ = self.http.await;
        }
        // The last calls, too. It waits for a disk.
        if let Some(store) = self.gateway.shared.store.get().cloned() {
            let closing = tokio::task::spawn_blocking(move || store.close());
            let _ = tokio::time::timeout(DISK_LIMIT, closing).await;
        }
        if let Some(tracer) = &self.tracer {
            tracer.stop().await;
        }
    }
}
