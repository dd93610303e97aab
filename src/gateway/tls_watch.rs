//! Certificates renewed under a running gateway: the files of `sip.tls_*` are read again when they change.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::sip::Endpoint;
use crate::sip::transport::tls::TlsFiles;
use crate::watch;

/// Looks at the files until the gateway stops. Connections that stand are not touched.
pub(super) async fn keep_current(endpoint: Endpoint, files: TlsFiles, stop: CancellationToken) {
    let own = files.own.iter().flat_map(|own| [own.cert.clone(), own.key.clone()]);
    let paths: Vec<PathBuf> = files.ca.iter().cloned().chain(own).collect();
    let read = move || match endpoint.reload_tls(&files) {
        Ok(()) => info!("read the SIP side's certificates again"),
        Err(error) => warn!("{error}; what was read before stays in use"),
    };
    watch::keep_current(paths, stop, read).await;
}
