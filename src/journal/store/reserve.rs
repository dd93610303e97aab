//! Room that is kept beside the database for the day when the disk is full: deleting old calls takes some itself,
//! for SQLite writes what it changes into its log first.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;
use nix::sys::statvfs::statvfs;
use tracing::{info, warn};

/// What the file may have to grow by before its log is free again (`LOG_PAGES` of it and a piece), and steps of
/// deleting.
pub(super) const BYTES: u64 = 3_000_000;

/// It is made where there is so many times as much: it is not to be what fills the disk.
const PLENTY: u64 = 8;

/// A file that stands for the room it takes.
pub(super) struct Reserve {
    path: Option<PathBuf>,
}

impl Reserve {
    /// Beside this file; `None` for a store without one.
    pub(super) fn beside(file: Option<&Path>) -> Self {
        let path = file.map(|file| {
            let mut name = OsString::from(file);
            name.push("-reserve");
            PathBuf::from(name)
        });
        Self { path }
    }

    /// Bytes that the database and its log may take, this room and the disk's; `None` where that is not known.
    pub(super) fn room(&self) -> Option<u64> {
        let path = self.path.as_deref()?;
        let kept = std::fs::metadata(path).map_or(0, |file| file.len());
        Some(free(path)?.saturating_add(kept))
    }

    /// Makes it, if it is not there and there is plenty of room.
    pub(super) fn keep(&self) {
        let Some(path) = self.path.as_deref().filter(|path| !path.exists()) else { return };
        if free(path).is_none_or(|free| free < PLENTY * BYTES) {
            return;
        }
        if let Err(error) = make(path) {
            warn!(%error, "no room can be kept for deleting calls from a full disk");
            let _ = std::fs::remove_file(path);
        }
    }

    /// Gives the room away. Whether there was some.
    pub(super) fn release(&self) -> bool {
        let released = self.path.as_deref().is_some_and(|path| std::fs::remove_file(path).is_ok());
        if released {
            info!("the disk is full: old calls are deleted with what room was kept for that");
        }
        released
    }
}

/// Bytes that the disk of this file has left.
fn free(path: &Path) -> Option<u64> {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let disk = statvfs(directory.unwrap_or(Path::new("."))).ok()?;
    Some(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

fn make(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    posix_fallocate(&file, 0, BYTES.cast_signed())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_once_and_given_away_once() {
        let name = format!("wrtc-reserve-{:016x}", rand::random::<u64>());
        let file = std::env::temp_dir().join(name);
        let reserve = Reserve::beside(Some(&file));
        assert!(!reserve.release());
        for _ in 0..2 {
            reserve.keep();
        }
        let path = reserve.path.clone().unwrap();
        assert_eq!(path.metadata().unwrap().len(), BYTES);
        // Really taken, and not only written down as its length.
        assert!(std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap()) * 512 >= BYTES);
        assert!(reserve.release() && !reserve.release() && !path.exists());
        let nowhere = Reserve::beside(None);
        nowhere.keep();
        assert!(!nowhere.release());
    }
}
