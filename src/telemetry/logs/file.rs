//! A log file that is set aside when it is big or its day is over.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::LogFile;

/// A day in seconds.
const DAY: u64 = 86_400;

/// Lines name agents and whom they talk to: not for everybody on the machine.
const MODE: u32 = 0o640;

pub(super) struct Rotating {
    config: LogFile,
    /// `None` while it cannot be opened: each line tries anew.
    file: Option<File>,
    size: u64,
    day: u64,
    /// The last line went out in part, the disk being full: the next one begins with a line's end.
    torn: bool,
}

impl Rotating {
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open(config: LogFile) -> io::Result<Self> {
        let mut rotating = Self { config, file: None, size: 0, day: 0, torn: false };
        rotating.reopen()?;
        Ok(rotating)
    }

    /// For logrotate, which has renamed the file, and after a fault.
    ///
    /// # Errors
    /// The file cannot be opened for writing. The next line tries again.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        let file =
            OpenOptions::new().create(true).append(true).mode(MODE).open(&self.config.path)?;
        let about = file.metadata()?;
        self.size = about.len();
        // An empty file is today's, whenever it was made.
        let written = about.modified().ok().filter(|_| self.size > 0);
        self.day = day(written.unwrap_or_else(SystemTime::now));
        self.file = Some(file);
        Ok(())
    }

    /// A whole line, its end included.
    ///
    /// # Errors
    /// The disk is full, or the file's place is gone.
    pub fn write(&mut self, line: &[u8], now: SystemTime) -> io::Result<()> {
        let more = self.size.saturating_add(line.len() as u64);
        let full = self.config.rotate_at.is_some_and(|most| more > most);
        // A clock that is set back starts no new file. Set back by years, its days count from there.
        if day(now).saturating_add(1) < self.day {
            self.day = day(now);
        }
        let over = self.config.daily && day(now) > self.day;
        if self.size > 0 && (full || over) {
            self.rotate();
            self.day = day(now);
        }
        if self.file.is_none() {
            self.reopen()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.torn {
            file.write_all(b"\n")?;
            self.torn = false;
        }
        match file.write_all(line) {
            Ok(()) => {
                self.size = self.size.saturating_add(line.len() as u64);
                Ok(())
            }
            Err(error) => {
                self.torn = true;
                Err(error)
            }
        }
    }

    /// `.1` is the latest; with `keep` of them the oldest is written over.
    fn rotate(&mut self) {
        for number in (1..self.config.keep).rev() {
            // Those that are not there yet.
            let _ = fs::rename(self.older(number), self.older(number + 1));
        }
        match fs::rename(&self.config.path, self.older(1)) {
            Ok(()) => self.file = None,
            // Tried again when as much more has been written, not with every line.
            Err(_) => self.size = 0,
        }
    }

    fn older(&self, number: usize) -> PathBuf {
        let mut name = OsString::from(&self.config.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

/// Days since 1970, UTC.
fn day(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY)
}
