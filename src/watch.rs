//! Files that are read again when they change under a running gateway.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

/// A token that was taken out of its file should not be good for long, and a `stat` costs microseconds.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a look sees of a file; `None` where there is nothing to be seen.
type Stamp = Option<(SystemTime, u64, u64, (i64, i64))>;

/// When the files were last written, as far as they can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    paths: Vec<PathBuf>,
    /// `None`: nobody knows as of when they were read.
    seen: Option<Vec<Stamp>>,
}

impl Watch {
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let seen = Some(stamps(&paths));
        Self { paths, seen }
    }

    /// Of files that were read some time ago, with a configuration that names them: the first look finds
    /// them changed, for they may have been since.
    pub fn unread(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let seen = paths.is_empty().then(Vec::new);
        Self { paths, seen }
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether one was written or replaced since the last look. Certificate and key are written one after
    /// the other: a look between the two finds them not to fit, and the next one finds the second change.
    pub fn has_changed(&mut self) -> bool {
        let now = Some(stamps(&self.paths));
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

/// With the inode: who puts a new file in the old one's place may keep its date. And with the time of the last change of
/// owner or mode: what could not be read may be readable then.
fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        Some((
            found.modified().ok()?,
            found.len(),
            found.ino(),
            (found.ctime(), found.ctime_nsec()),
        ))
    };
    paths.iter().map(stamp).collect()
}

/// Calls `read` on a thread that may block, after each change of one of the files, until `stop`.
pub async fn keep_current(
    paths: Vec<PathBuf>,
    stop: CancellationToken,
    read: impl FnMut() + Send + 'static,
) {
    let mut state = (Watch::new(paths), read);
    if state.0.is_empty() {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let look = tokio::task::spawn_blocking(move || {
            if state.0.has_changed() {
                (state.1)();
            }
            state
        });
        match look.await {
            Ok(looked) => state = looked,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_change_is_seen_once() {
        let path = std::env::temp_dir().join(format!("wrtc-watch-{:016x}", rand::random::<u64>()));
        std::fs::write(&path, "old").unwrap();
        let mut watch = Watch::new([path.clone()]);
        assert!(!watch.has_changed());
        let later = SystemTime::now() + Duration::from_secs(5);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(watch.has_changed());
        assert!(!watch.has_changed());
        let other = path.with_extension("new");
        std::fs::write(&other, "new").unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(later).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert!(watch.has_changed(), "another file of the same date and length");
        // The kernel's clock for files has ticks of some milliseconds.
        let end = std::time::Instant::now() + Duration::from_secs(10);
        for mode in [0o640, 0o600].into_iter().cycle() {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            if watch.has_changed() {
                break;
            }
            assert!(std::time::Instant::now() < end, "it may be readable now");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(watch.has_changed(), "gone is a change, too");
        assert!(Watch::new([]).is_empty() && !Watch::unread([]).has_changed());
        let mut watch = Watch::unread([path]);
        assert!(watch.has_changed() && !watch.has_changed());
    }
}
