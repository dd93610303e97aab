//! Batches on their way to the collector: OTLP/HTTP, a connection for each, because there are few.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::encode;
use super::spans::Span;
use crate::config::Collector;

/// Connection, request and answer together.
const LIMIT: Duration = Duration::from_secs(10);

/// Pauses before the second and the third try of a batch, for a collector that says it is busy or is
/// just being restarted.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("it cannot be reached: {0}")]
    Connect(std::io::Error),
    #[error("its name is none that a certificate could have")]
    Name,
    #[error("the connection broke: {0}")]
    Http(#[from] hyper::Error),
    #[error("it did not answer within {} s", LIMIT.as_secs())]
    Slow,
    #[error("it answered {0}")]
    Refused(StatusCode),
}

impl ExportError {
    /// The answers that OTLP names for it (OTLP/HTTP, retryable response codes), and no answer.
    fn may_pass(&self) -> bool {
        match self {
            ExportError::Refused(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            ExportError::Name => false,
            _ => true,
        }
    }
}

pub(super) struct Exporter {
    collector: Collector,
    tls: Option<TlsConnector>,
    instance: String,
}

impl Exporter {
    pub fn new(collector: Collector) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let instance = format!("{}:{}", host.trim(), std::process::id());
        Self { tls: collector.tls.then(system_tls).flatten(), collector, instance }
    }

    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    pub async fn export(&self, spans: &[Span]) -> Result<(), ExportError> {
        let body = encode::request(spans, &self.instance);
        let mut pauses = PAUSES.iter();
        loop {
            let tried = tokio::time::timeout(LIMIT, self.post(body.clone())).await;
            let error = match tried.unwrap_or(Err(ExportError::Slow)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match pauses.next().filter(|_| error.may_pass()) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(error),
            }
        }
    }

    async fn post(&self, body: String) -> Result<(), ExportError> {
        let address = (self.collector.host.as_str(), self.collector.port);
        let stream = TcpStream::connect(address).await.map_err(ExportError::Connect)?;
        match &self.tls {
            None if self.collector.tls => Err(ExportError::Name),
            None => self.over(stream, body).await,
            Some(tls) => {
                let name = ServerName::try_from(self.collector.host.clone());
                let name = name.map_err(|_| ExportError::Name)?;
                let stream = tls.connect(name, stream).await.map_err(ExportError::Connect)?;
                self.over(stream, body).await
            }
        }
    }

    async fn over<S>(&self, stream: S, body: String) -> Result<(), ExportError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let (mut client, connection) = hyper::client::conn::http1::handshake(io).await?;
        let request = Request::post(self.collector.path.as_str())
            .header(HOST, self.collector.authority())
            .header(USER_AGENT, concat!("wrtc-gateway/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body));
        // The path and the host were checked with the configuration.
        let Ok(request) = request else { return Err(ExportError::Name) };
        tokio::pin!(connection);
        let answer = client.send_request(request);
        tokio::pin!(answer);
        let answer = tokio::select! {
            answer = &mut answer => answer?,
            ended = &mut connection => {
                ended?;
                answer.await?
            }
        };
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(ExportError::Refused(status)),
        }
    }
}

/// Authorities of the system, or those that `SSL_CERT_FILE` names.
fn system_tls() -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.ok()?.with_root_certificates(roots).with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}
