//! Certificates renewed under a running gateway: the files of `sip.tls_*` are read again when they change.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::sip::Endpoint;
use crate::sip::transport::tls::TlsFiles;

/// Renewed certificates overlap by days; a minute is soon, and three `stat`s cost nothing.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// When the files were last written, as far as they can be seen.
struct Watch {
    paths: Vec<PathBuf>,
    seen: Vec<Option<SystemTime>>,
}

impl Watch {
    fn new(files: &TlsFiles) -> Self {
        let own = files.own.iter().flat_map(|own| [own.cert.clone(), own.key.clone()]);
        let paths: Vec<PathBuf> = files.ca.iter().cloned().chain(own).collect();
        let seen = stamps(&paths);
        Self { paths, seen }
    }

    /// Whether one was written since the last look. Certificate and key are written one after the other:
    /// a look between the two finds them not to fit, and the next one finds the second change.
    fn has_changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<SystemTime>> {
    let stamp = |path: &PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    paths.iter().map(stamp).collect()
}

/// Looks at the files until the gateway stops. Connections that stand are not touched.
/// Other files may be named meanwhile.
pub(super) async fn keep_current(
    endpoint: Endpoint,
    mut named: watch::Receiver<TlsFiles>,
    stop: CancellationToken,
) {
    let mut files = named.borrow_and_update().clone();
    let mut watch = Watch::new(&files);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY), if !watch.paths.is_empty() => {}
            // Whoever named them has read them.
            Ok(()) = named.changed() => {
                files = named.borrow_and_update().clone();
                watch = Watch::new(&files);
                continue;
            }
            () = stop.cancelled() => return,
        }
        let (endpoint, files) = (endpoint.clone(), files.clone());
        let look = tokio::task::spawn_blocking(move || {
            if watch.has_changed() {
                match endpoint.reload_tls(&files) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let path = std::env::temp_dir().join(format!("wrtc-watch-{:016x}", rand::random::<u64>()));
        std::fs::write(&path, "old").unwrap();
        let files = TlsFiles { ca: Some(path.clone()), ..TlsFiles::default() };
        let mut watch = Watch::new(&files);
        assert!(!watch.has_changed());
        let later = SystemTime::now() + Duration::from_secs(5);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(watch.has_changed());
        assert!(!watch.has_changed());
        std::fs::remove_file(&path).unwrap();
        assert!(watch.has_changed(), "gone is a change, too");
        assert!(Watch::new(&TlsFiles::default()).paths.is_empty());
    }
}
