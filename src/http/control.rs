//! What of a running HTTP server can be changed: by new settings, and by files that have changed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::app::App;
use super::policy::Policy;
use super::server::BindError;
use crate::config::{self, Commit, Config, Reload};
use crate::tls::{CertificateFacts, CertificateView, Fresh, Served};
use crate::watch::{LOOK_EVERY, Watch};

/// A handle; clones are of the same server.
#[derive(Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

struct Inner {
    app: Arc<App>,
    listen: SocketAddr,
    served: Option<Served>,
    /// Held while something is read or taken over, however long that takes: who has looked at the files of
    /// a configuration must not put them into use after the next one.
    read: Mutex<Read>,
}

/// The configuration in use, and how the files that it names looked when they were read.
struct Read {
    config: config::Http,
    certificate: Watch,
    operators: Watch,
    secrets: Watch,
    token_keys: Watch,
}

/// All but the address, the base path, whether there is TLS at all, and `max_connections`. Connections that
/// stand are not touched.
impl Reload for Control {
    fn prepare(&self, new: &Config) -> Result<Commit, String> {
        let fresh = match (&self.inner.served, &new.http.tls) {
            (Some(_), Some(files)) => {
                let fresh = Fresh::read(files);
                Some(fresh.map_err(|error| BindError::from(error).to_string())?)
            }
            (None, Some(_)) => {
                return Err(
                    "http.tls_cert: HTTP is served without TLS; that takes a restart".into()
                );
            }
            // What the gateway has made itself has no files.
            (Some(_), None) if !new.http.guard.self_signed => {
                return Err(
                    "http.tls_cert: HTTP is served with TLS; without takes a restart".into()
                );
            }
            (Some(_), None) | (None, None) => None,
        };
        let (control, http) = (self.clone(), new.http.clone());
        Ok(Box::new(move || control.take(&http, fresh)))
    }
}

impl Read {
    /// The files were read with it, some time before.
    fn new(config: &config::Http, served: Option<&Served>) -> Self {
        Self {
            config: config.clone(),
            certificate: Watch::unread(served.map(Served::paths).unwrap_or_default()),
            operators: Watch::unread(config.operators.file.clone()),
            secrets: Watch::unread(config.secrets.file.clone()),
            token_keys: Watch::unread(config.token_keys.file.clone()),
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
        let read = Mutex::new(Read::new(config, served.as_ref()));
        let control = Self { inner: Arc::new(Inner { app, listen, served, read }) };
        control.inner.app.secrets.warn();
        config.token_keys.warn();
        control
    }

    /// The certificate that is served; `None` for plain HTTP.
    pub fn certificate(&self) -> Option<CertificateFacts> {
        self.inner.served.as_ref().map(Served::facts)
    }

    /// To look at it from elsewhere.
    pub fn certificate_view(&self) -> Option<CertificateView> {
        self.inner.served.as_ref().map(Served::view)
    }

    pub(super) fn app(&self) -> Arc<App> {
        Arc::clone(&self.inner.app)
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.inner.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_policy(&self, config: &config::Http) {
        let facts = self.certificate();
        let policy = Policy::new(config, self.inner.listen, facts.as_ref());
        self.inner.app.policy.store(Arc::new(policy));
    }

    fn take(&self, config: &config::Http, fresh: Option<Fresh>) {
        let inner = &self.inner;
        let mut read = self.read();
        if let (Some(served), Some(fresh)) = (&inner.served, fresh) {
            served.show(fresh);
        }
        let app = &inner.app;
        app.connectors.configure(&config.connector);
        app.throttle.set_limits(config.guard.limits);
        app.operators.replace(&config.operators.tokens, config.operators.file.is_some());
        app.secrets.replace(&config.secrets);
        app.secrets.warn();
        app.tokens.set_keys(&config.token_keys.keys);
        config.token_keys.warn();
        app.sign_ins.store(Arc::new(config.sign_ins));
        *read = Read::new(config, inner.served.as_ref());
        self.apply_policy(config);
    }

    /// Reads what has changed since the last look. For a thread that may block.
    fn read_what_changed(&self) {
        let mut read = self.read();
        let Read { config, certificate, operators, secrets, token_keys } = &mut *read;
        if certificate.has_changed()
            && let Some(served) = &self.inner.served
        {
            let before = served.facts();
            match served.reload() {
                Ok(()) if served.facts() == before => {}
                Ok(()) => {
                    info!("read the certificate again");
                    self.apply_policy(config);
                }
                Err(error) => {
                    warn!("{}; what was read before stays in use", BindError::from(error))
                }
            }
        }
        if operators.has_changed() {
            match config.operators.read_again() {
                Ok(tokens) => {
                    let wanted = config.operators.file.is_some();
                    if self.inner.app.operators.replace(&tokens, wanted) {
                        info!(operators = tokens.len(), "read http.operator_tokens_file again");
                    }
                }
                Err(why) => {
                    warn!("http.operator_tokens_file: {why}; what was read before stays");
                }
            }
        }
        if secrets.has_changed() && self.inner.app.secrets.read_again() {
            self.inner.app.secrets.warn();
        }
        if token_keys.has_changed() {
            match config.token_keys.read_again() {
                Ok(keys) => {
                    if self.inner.app.tokens.set_keys(&keys) {
                        info!(keys = keys.len(), "read agents.token_key_file again");
                        config.token_keys.warn();
                    }
                }
                Err(why) => warn!("agents.token_key_file: {why}; what was read before stays"),
            }
        }
    }

    /// Looks after the files until `stop`.
    pub(super) async fn watch(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let control = self.clone();
            // A panic of it has been told of, and the next look is as good as this one.
            let _ = tokio::task::spawn_blocking(move || control.read_what_changed()).await;
        }
    }
}
