//! Binding, accepting, draining.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::agent::Backend;
use crate::config::Http;

/// A bound HTTP(S) server that does not accept yet.
pub struct Server {}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("http.listen = {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("http.{key} = {}: {reason}", path.display())]
    Tls { key: &'static str, path: PathBuf, reason: String },
}

impl Server {
    /// Opens the port and reads the certificate. Must run inside a tokio runtime.
    pub fn bind(_config: &Http, _backend: Arc<dyn Backend>) -> Result<Server, BindError> {
        todo!()
    }
    /// The address with the port really bound.
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        todo!()
    }
    /// Serves until `shutdown`; then accepts no more, lets requests in progress end (hanging polls
    /// end at once) for at most 5 s, and returns.
    pub async fn run(self, _shutdown: CancellationToken) {
        todo!()
    }
}
