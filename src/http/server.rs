//! Binding, accepting, draining.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, COMPLAIN_EVERY, Door, listen};
use super::app::{self, App, Surroundings};
use super::connections::Connections;
use super::control::Control;
use super::policy::Policy;
use super::seats::Seats;
use crate::agent::Backend;
use crate::config;
use crate::tls::{self, CertificateError, Part, Served};

/// How long requests in progress may take after the shutdown was asked for.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A bound HTTP(S) server that does not accept yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    routers: app::Routers,
    app: Arc<App>,
    control: Control,
    /// An agent's browser holds two or three; each costs some 20 KB here.
    max_connections: usize,
    /// Ends hanging polls.
    draining: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "http.listen = {address}: {source}; choose another port, as in --set http.listen=127.0.0.1:8087"
    )]
    Listen { address: SocketAddr, source: io::Error },
    #[error("metrics.listen = {address}: {source}; choose another port, or leave the key out")]
    Metrics { address: SocketAddr, source: io::Error },
    #[error("http.{key} = {}: {reason}", path.display())]
    Tls { key: &'static str, path: PathBuf, reason: String },
}

impl Server {
    /// Opens the port and reads the certificate. Must run inside a tokio runtime; with TLS, after
    /// rustls' default provider was installed.
    ///
    /// # Errors
    /// The port is taken or may not be opened; certificate or key cannot be read or do not match.
    pub fn bind(config: &config::Http, backend: Arc<dyn Backend>) -> Result<Server, BindError> {
        Self::bind_with(config, backend, Surroundings::default())
    }

    /// The same with more to serve.
    ///
    /// # Errors
    /// Those of [`Server::bind`].
    pub fn bind_with(
        config: &config::Http,
        backend: Arc<dyn Backend>,
        surroundings: Surroundings,
    ) -> Result<Server, BindError> {
        let served = served(config)?;
        let (listener, address) = listen(config.listen)
            .map_err(|source| BindError::Listen { address: config.listen, source })?;
        let draining = CancellationToken::new();
        let facts = served.as_ref().map(Served::facts);
        let policy = Policy::new(config, address, facts.as_ref());
        let (routers, app) = app::routers(config, backend, surroundings, draining.clone(), policy);
        let tls = served.as_ref().map(|served| TlsAcceptor::from(served.config()));
        let control = Control::new(Arc::clone(&app), address, served, config);
        let max_connections = config.guard.limits.connections;
        Ok(Server { listener, address, tls, routers, app, control, max_connections, draining })
    }

    /// What of it takes a new configuration.
    pub fn reload(&self) -> Arc<dyn config::Reload> {
        Arc::new(self.control())
    }

    /// The address with the port really bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What can be changed while it serves.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until `shutdown`; then accepts no more, lets requests in progress end (hanging polls
    /// end at once) for at most 5 s, and returns.
    pub async fn run(self, shutdown: CancellationToken) {
        let Server { listener, tls, routers, app, control, max_connections, draining, .. } = self;
        let metrics = app.surroundings.scrape.as_ref().map(|scrape| scrape.metrics.clone());
        let app::Routers { all, crowded } = routers;
        let seats = Seats::new(max_connections, metrics);
        let door = Door { tls, router: all, crowded, seats, drain: draining.clone() };
        let connections = Arc::new(Connections::default());
        let mut complained: Option<Instant> = None;
        let tasks = TaskTracker::new();
        let kill = CancellationToken::new();
        tasks.spawn(control.watch(shutdown.clone()));
        let admit = |remote: IpAddr| {
            let place = connections.enter(remote, &app.policy.load().guard);
            if place.is_none() && complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                complained = Some(Instant::now());
                tracing::warn!(
                    %remote,
                    "turned connections away; see http.max_connections_per_address"
                );
            }
            place
        };
        accept::serve(&listener, &door, admit, &tasks, &kill, &shutdown).await;
        drop(listener);
        draining.cancel();
        tasks.close();
        if tokio::time::timeout(DRAIN_LIMIT, tasks.wait()).await.is_err() {
            kill.cancel();
            tasks.wait().await;
        }
    }
}

impl From<CertificateError> for BindError {
    fn from(error: CertificateError) -> Self {
        let key = match error.part {
            Part::Certificate => "tls_cert",
            Part::Key => "tls_key",
        };
        BindError::Tls { key, path: error.path, reason: error.reason }
    }
}

/// What is wrong with the certificate's files, if they are to be there.
pub(crate) fn certificate_fault(config: &config::Http) -> Option<BindError> {
    let files = config.tls.as_ref()?;
    if config.guard.self_signed && !files.cert.exists() {
        return None;
    }
    tls::look_at(files).err().map(BindError::from)
}

fn served(config: &config::Http) -> Result<Option<Served>, CertificateError> {
    // See conn.rs for why there is no h2.
    const PROTOCOLS: &[&[u8]] = &[b"http/1.1"];
    match &config.tls {
        files if config.guard.self_signed => {
            let names = tls::trial_names([config.listen.ip()], &config.guard.allowed_hosts);
            Served::self_signed(names, files.as_ref(), PROTOCOLS).map(Some)
        }
        Some(files) => Served::read(files, PROTOCOLS).map(Some),
        None => Ok(None),
    }
}
