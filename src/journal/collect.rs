//! One line of JSON for each finished call, for whoever collects them: to a file or to standard output.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tracing::{info, warn};

use super::{CallRecord, Entry, Observer, What};
use crate::panics::spared;

/// Records that wait for the disk: all of a gateway's agents hang up at once.
const QUEUE: usize = 2048;

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Stdout,
    File(PathBuf),
}

impl Target {
    pub fn file(&self) -> Option<&Path> {
        match self {
            Target::Stdout => None,
            Target::File(path) => Some(path),
        }
    }
}

/// Why the lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error("journal.call_records = \"{}\": {error}; its directory has to be there and writable", path.display())]
    Open { path: PathBuf, error: io::Error },
    #[error("the thread that writes call records cannot be started: {0}")]
    Thread(io::Error),
}

/// Writes them, on a thread of its own.
pub struct Collector {
    sender: Mutex<Option<SyncSender<Box<CallRecord>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<AtomicU64>,
}

impl Collector {
    /// Opens the file, which is appended to.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn start(target: Target) -> Result<Self, CollectError> {
        let output = match target {
            Target::Stdout => Output::Stdout,
            Target::File(path) => match open(&path) {
                Ok(_) => Output::File { path, file: None, told: false },
                Err(error) => return Err(CollectError::Open { path, error }),
            },
        };
        let (sender, receiver) = sync_channel(QUEUE);
        let lost = Arc::<AtomicU64>::default();
        let unwritten = Arc::clone(&lost);
        let thread = std::thread::Builder::new()
            .name("call-records".to_owned())
            .spawn(move || write(output, &receiver, &unwritten))
            .map_err(CollectError::Thread)?;
        Ok(Self { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), lost })
    }

    /// Returns when everything is written. What comes later is lost.
    pub fn finish(&self) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Records that the disk was too slow for, or had no room for.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Observer for Collector {
    fn observe(&self, entry: &Entry) {
        let What::CallEnded(record) = &entry.what else { return };
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if sender.as_ref().is_none_or(|sender| sender.try_send(record.clone()).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

enum Output {
    Stdout,
    File {
        path: PathBuf,
        file: Option<File>,
        /// That it cannot be written, so that a full disk is one line of the log.
        told: bool,
    },
}

fn write(mut output: Output, records: &Receiver<Box<CallRecord>>, lost: &AtomicU64) {
    while let Ok(record) = records.recv() {
        let write = || {
            // Texts and numbers: nothing that JSON cannot say.
            let mut line = serde_json::to_vec(&*record).unwrap_or_default();
            line.push(b'\n');
            output.write(&line)
        };
        // One that panics is one line less.
        if !matches!(spared(write), Ok(Ok(()))) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Output {
    /// A fault is told in the log, once.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let (path, file, told) = match self {
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                return stdout.write_all(line).and_then(|()| stdout.flush());
            }
            Output::File { path, file, told } => (path, file, told),
        };
        // Rotated: the name stands for another file by now, or for none.
        if file.as_ref().is_some_and(|file| !is_at(file, path)) {
            *file = None;
        }
        let written = match file {
            Some(file) => file.write_all(line),
            None => open_whole(path).and_then(|opened| file.insert(opened).write_all(line)),
        };
        match &written {
            Ok(()) if std::mem::take(told) => {
                info!(file = %path.display(), "call records can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                // What became of the line is seen when it is opened again.
                *file = None;
                if !std::mem::replace(told, true) {
                    warn!(file = %path.display(), %error, "call records cannot be written");
                }
            }
        }
        written
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Who spoke with whom is nobody else's business.
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// A full disk may have taken a part of the last line: the next one is not to be lost with it.
fn open_whole(path: &Path) -> io::Result<File> {
    let mut file = open(path)?;
    if is_torn(&file, path) {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether it ends within a line. Of what cannot be read it is not known.
fn is_torn(file: &File, path: &Path) -> bool {
    let last = || {
        let about = file.metadata().ok().filter(|about| about.is_file())?;
        let mut last = [0];
        File::open(path).ok()?.read_exact_at(&mut last, about.len().checked_sub(1)?).ok()?;
        Some(last)
    };
    last().is_some_and(|last| last != *b"\n")
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = || {
        let (open, named) = (file.metadata().ok()?, path.metadata().ok()?);
        Some((open.dev(), open.ino()) == (named.dev(), named.ino()))
    };
    same().unwrap_or(false)
}
