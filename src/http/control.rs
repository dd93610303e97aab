//! What of a running HTTP server can be changed: by new settings, and by files that have changed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::app::App;
use super::policy::Policy;
use super::server::BindError;
use crate::config;
use crate::tls::{self, CertificateFacts, Served};
use crate::watch::{LOOK_EVERY, Watch};

/// How often the end of a certificate is warned of.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// A handle; clones are of the same server.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    app: Arc<App>,
    listen: SocketAddr,
    served: Option<Served>,
    config: Mutex<config::Http>,
    /// As they looked when they were read.
    seen: Mutex<Seen>,
}

/// How the files that are read again look.
#[derive(Clone)]
struct Seen {
    certificate: Watch,
    operators: Watch,
    secrets: Watch,
}

impl Seen {
    fn look(config: &config::Http, served: Option<&Served>) -> Self {
        Self {
            certificate: Watch::new(served.map(Served::paths).unwrap_or_default()),
            operators: Watch::new(config.operators.file.clone()),
            secrets: Watch::new(config.secrets.file.clone()),
        }
    }
}

impl Control {
    pub(super) fn new(
        app: Arc<App>,
        listen: SocketAddr,
        served: Option<Served>,
        config: &config::Http,
    ) -> Self {
        let seen = Mutex::new(Seen::look(config, served.as_ref()));
        let config = Mutex::new(config.clone());
        let control = Self { inner: Arc::new(Inner { app, listen, served, config, seen }) };
        control.inner.app.secrets.warn();
        control
    }

    /// The certificate that is served; `None` for plain HTTP.
    pub fn certificate(&self) -> Option<CertificateFacts> {
        self.inner.served.as_ref().map(Served::facts)
    }

    /// Takes over what can change while it serves: the certificate (and reads its files again), origins,
    /// hosts, frames, HSTS, proxies, limits, operators and secrets of DNs. The address, the base path,
    /// whether there is TLS at all, `max_connections` and the connector's tokens stay as they are.
    /// Connections that stand are not touched.
    ///
    /// # Errors
    /// The certificate's files cannot be used: nothing has changed then.
    pub fn reload(&self, config: &config::Http) -> Result<(), BindError> {
        let inner = &self.inner;
        if let (Some(served), Some(files)) = (&inner.served, &config.tls) {
            served.reload_from(files)?;
        }
        let app = &inner.app;
        app.throttle.set_limits(config.guard.limits);
        app.operators.replace(&config.operators.tokens, config.operators.file.is_some());
        app.secrets.replace(&config.secrets);
        app.secrets.warn();
        *inner.config.lock().unwrap_or_else(PoisonError::into_inner) = config.clone();
        self.apply_policy();
        Ok(())
    }

    /// Whether [`Self::reload`] would take these.
    ///
    /// # Errors
    /// The same.
    pub fn check(&self, config: &config::Http) -> Result<(), BindError> {
        match (&self.inner.served, &config.tls) {
            (Some(_), Some(files)) => Ok(tls::look_at(files).map(|_| ())?),
            _ => Ok(()),
        }
    }

    fn config(&self) -> config::Http {
        self.inner.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn apply_policy(&self) {
        let facts = self.certificate();
        let policy = Policy::new(&self.config(), self.inner.listen, facts.as_ref());
        self.inner.app.policy.store(Arc::new(policy));
    }

    /// Reads what has changed since the last look. For a thread that may block.
    fn read_what_changed(&self) {
        let now = Seen::look(&self.config(), self.inner.served.as_ref());
        let mut seen = self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *seen, now.clone());
        drop(seen);
        if let Some(served) =
            self.inner.served.as_ref().filter(|_| before.certificate != now.certificate)
        {
            match served.reload() {
                Ok(()) => {
                    info!("read the certificate again");
                    self.apply_policy();
                }
                Err(error) => {
                    warn!("{}; what was read before stays in use", BindError::from(error))
                }
            }
        }
        if before.operators != now.operators {
            let operators = self.config().operators;
            match operators.read_again() {
                Ok(tokens) => {
                    info!(operators = tokens.len(), "read http.operator_tokens_file again");
                    self.inner.app.operators.replace(&tokens, operators.file.is_some());
                }
                Err(why) => {
                    warn!("http.operator_tokens_file: {why}; what was read before stays");
                }
            }
        }
        if before.secrets != now.secrets {
            self.inner.app.secrets.read_again();
            self.inner.app.secrets.warn();
        }
    }

    /// Looks after the files, and at the certificate's end, until `stop`.
    pub(super) async fn watch(self, stop: CancellationToken) {
        let mut warned: Option<Instant> = None;
        loop {
            let facts = self.certificate();
            if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY)
                && let Some(why) = facts.and_then(|facts| facts.warning(SystemTime::now()))
            {
                warn!("http.tls_cert: {why}");
                warned = Some(Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let control = self.clone();
            if tokio::task::spawn_blocking(move || control.read_what_changed()).await.is_err() {
                return;
            }
        }
    }
}
