//! The threads that do the costly work of DTLS handshakes for all workers.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::orders::{Command, Orders};
use crate::media::handshake::{Done, Job};
use crate::media::socket::step_back;
use crate::media::types::MediaId;

/// Jobs that wait: some seconds of work for one thread. A call has at most two in all, and the browser
/// of one that is refused repeats itself later.
const WAITING: usize = 4096;

struct Work {
    call: MediaId,
    job: Job,
    /// Whose call it is.
    worker: Arc<Orders>,
}

/// The way to the threads. They end when the last of these is gone.
#[derive(Clone)]
pub struct Handshakes {
    queue: SyncSender<Work>,
}

impl Handshakes {
    pub fn start(threads: usize) -> io::Result<(Handshakes, Vec<JoinHandle<()>>)> {
        let (queue, work) = sync_channel(WAITING);
        let work = Arc::new(Mutex::new(work));
        let threads = (0..threads)
            .map(|n| {
                let work = work.clone();
                std::thread::Builder::new().name(format!("handshake-{n}")).spawn(move || run(&work))
            })
            .collect::<io::Result<_>>()?;
        Ok((Handshakes { queue }, threads))
    }

    /// Never waits: the job comes back when the queue is full.
    pub fn send(&self, call: MediaId, job: Job, worker: &Arc<Orders>) -> Result<(), Job> {
        let work = Work { call, job, worker: worker.clone() };
        self.queue.try_send(work).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(work)
            | std::sync::mpsc::TrySendError::Disconnected(work) => work.job,
        })
    }
}

fn run(queue: &Mutex<Receiver<Work>>) {
    // Whatever a burst of them takes, media goes first.
    step_back();
    loop {
        // One thread waits in the channel, the others for the lock.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Work { call, job, worker }) = next else { return };
        let number = job.number();
        // As a worker does: a panic in the library ends one call's handshake and nobody else's.
        let done =
            catch_unwind(AssertUnwindSafe(|| job.run(Instant::now()))).unwrap_or_else(|_| {
                tracing::error!(call = call.0, "a DTLS handshake panicked and is given up");
                Done::lost(number)
            });
        worker.send(Command::Handshaken { id: call, done: Box::new(done) });
    }
}
