//! Certificates renewed under a running gateway: the files of `sip.tls_*` are read again when they change.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::certificates::Certificates;
use crate::sip::Endpoint;
use crate::sip::transport::tls::{TlsError, TlsFiles};
use crate::watch::{LOOK_EVERY, Watch};

/// Looks at the files until the gateway stops. Connections that stand are not touched.
/// Other files may be named meanwhile.
pub(super) async fn keep_current(
    endpoint: Endpoint,
    certificates: Arc<Certificates>,
    mut named: watch::Receiver<TlsFiles>,
    stop: CancellationToken,
) {
    let mut files = named.borrow_and_update().clone();
    let mut watch = Watch::new(paths(&files));
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY), if !watch.is_empty() => {}
            // Whoever named them has read them; but the look before this one may have ended later and put
            // the old ones into use.
            Ok(()) = named.changed() => {
                files = named.borrow_and_update().clone();
                watch = Watch::unread(paths(&files));
                if watch.is_empty() {
                    certificates.handle_sip(&files, &Ok::<(), TlsError>(()));
                }
                continue;
            }
            () = stop.cancelled() => return,
        }
        let (endpoint, files) = (endpoint.clone(), files.clone());
        let certificates = Arc::clone(&certificates);
        let look = tokio::task::spawn_blocking(move || {
            if watch.has_changed() {
                let read = endpoint.reload_tls(&files);
                certificates.handle_sip(&files, &read);
                match read {
                    Ok(()) => info!("read the SIP side's certificates again"),
                    Err(error) => warn!("{error}; what was read before stays in use"),
                }
            }
            watch
        });
        match look.await {
            Ok(looked) => watch = looked,
            Err(_) => return,
        }
    }
}

fn paths(files: &TlsFiles) -> Vec<PathBuf> {
    let own = files.own.iter().flat_map(|own| [own.cert.clone(), own.key.clone()]);
    files.ca.iter().cloned().chain(own).collect()
}
