//! Lines on their way to a file or to standard error. Who logs never waits for a disk: a thread writes,
//! and what it has no room for is dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use tracing_subscriber::fmt::MakeWriter;

use super::file::Rotating;

/// Lines that wait: some seconds of a busy gateway at `debug`.
const LINES: usize = 16_384;

/// Bytes that wait. A line with a traced SIP message has some 2 KB, 64 KB at most.
const BYTES: usize = 16 << 20;

/// Where the lines end up.
pub(super) enum Sink {
    Stderr,
    File(Box<Rotating>),
}

impl Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stderr => io::stderr().write_all(line),
            Sink::File(file) => file.write(line, SystemTime::now()),
        }
    }
}

enum Job {
    Line(Vec<u8>),
    Reopen,
    Flush(SyncSender<()>),
}

/// A handle; clones write to the same place.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(sink: Sink) -> io::Result<Self> {
        let (jobs, received) = sync_channel(LINES);
        let writer = Self { jobs, waiting: Arc::default(), dropped: Arc::default() };
        let (waiting, dropped) = (Arc::clone(&writer.waiting), Arc::clone(&writer.dropped));
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || work(sink, &received, &waiting, &dropped))?;
        Ok(writer)
    }

    /// Lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The file is opened anew, once what waits is written.
    pub fn reopen(&self) {
        self.insist(Job::Reopen, Duration::from_secs(1));
    }

    /// Returns when everything that was logged before is written, or `limit` is over.
    pub fn flush(&self, limit: Duration) {
        let (done, written) = sync_channel(1);
        if self.insist(Job::Flush(done), limit) {
            let _ = written.recv_timeout(limit);
        }
    }

    /// Only where the process starts, ends or opens its log anew: it may wait for a disk.
    #[allow(clippy::disallowed_methods)]
    fn insist(&self, mut job: Job, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            match self.jobs.try_send(job) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < until => job = back,
                Err(_) => return false,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn drop_line(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The subscriber writes an event at once and whole.
impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waiting = self.waiting.fetch_add(line.len(), Ordering::Relaxed);
        let fits = waiting + line.len() <= BYTES;
        if !fits || self.jobs.try_send(Job::Line(line.to_vec())).is_err() {
            self.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.drop_line();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn work(mut sink: Sink, jobs: &Receiver<Job>, waiting: &AtomicUsize, dropped: &AtomicU64) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Line(line) => {
                // A log that cannot be written ends nothing.
                if sink.write(&line).is_err() {
                    dropped.fetch_add(1, Ordering::Relaxed);
                }
                waiting.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Job::Reopen => {
                if let Sink::File(file) = &mut sink {
                    // The next line tries again.
                    let _ = file.reopen();
                }
            }
            Job::Flush(done) => {
                let _ = done.try_send(());
            }
        }
    }
}
