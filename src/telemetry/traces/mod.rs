//! One OpenTelemetry trace per call, made of the journal's entries and sent to a collector.
//!
//! OTLP over HTTP in its JSON encoding, written here: what a call needs of it is one kind of message, and
//! the opentelemetry crates with their HTTP client are more code than the rest of this room.

mod encode;
mod export;
mod spans;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Collector;
use crate::journal::{Entry, Observer};
use export::Exporter;
use spans::{Calls, Seen, Span};

pub use super::metrics::TraceCounts;

/// Entries that wait to become spans: some seconds of a thousand calls that begin.
const ENTRIES: usize = 8192;

/// Batches that wait for the collector, of some hundred spans each.
const BATCHES: usize = 32;

/// Spans that are sent together at most, and how long the first of them waits for others.
const BATCH: usize = 512;
const GATHER: Duration = Duration::from_secs(2);

/// How long the last ones may take when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Counters {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    fn lose(&self, many: usize) {
        self.dropped.fetch_add(many as u64, Ordering::Relaxed);
    }
}

type Noted = (SystemTime, Option<Arc<str>>, Seen);

/// Tells the collector of every call that ends. An [`Observer`]; handles are the same.
#[derive(Clone)]
pub struct Tracer {
    entries: Sender<Noted>,
    counters: Arc<Counters>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Tracer {
    /// Wants a tokio runtime around it. A collector that cannot be reached is tried with every batch, and
    /// what it does not get is counted.
    pub fn start(collector: Collector) -> Self {
        let (entries, noted) = mpsc::channel(ENTRIES);
        let (batches, waiting) = mpsc::channel(BATCHES);
        let tracer = Self {
            entries,
            counters: Arc::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let counters = Arc::clone(&tracer.counters);
        tracer.tasks.spawn(gather(noted, batches, counters, tracer.stopping.clone()));
        tracer.tasks.spawn(send(waiting, Exporter::new(collector), Arc::clone(&tracer.counters)));
        tracer.tasks.close();
        tracer
    }

    pub fn counts(&self) -> TraceCounts {
        TraceCounts {
            exported: self.counters.exported.load(Ordering::Relaxed),
            dropped: self.counters.dropped.load(Ordering::Relaxed),
        }
    }

    /// Sends what there is, for 3 s at most, and nothing more.
    pub async fn stop(&self) {
        self.stopping.cancel();
        let _ = tokio::time::timeout(FAREWELL, self.tasks.wait()).await;
    }
}

impl Observer for Tracer {
    fn observe(&self, entry: &Entry) {
        let Some(seen) = Seen::of(&entry.what) else { return };
        if self.entries.try_send((entry.at, entry.about.call.clone(), seen)).is_err() {
            self.counters.lose(1);
        }
    }
}

/// Makes spans of entries and batches of spans. Ends when it is told to and nothing is left.
async fn gather(
    mut noted: Receiver<Noted>,
    batches: Sender<Vec<Span>>,
    counters: Arc<Counters>,
    stopping: CancellationToken,
) {
    let mut calls = Calls::default();
    let mut batch: Vec<Span> = Vec::new();
    let mut due = None;
    loop {
        let ready = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            entry = noted.recv() => {
                let Some((at, call, seen)) = entry else { break };
                batch.extend(calls.handle(at, call, seen));
                counters.lose(calls.take_dropped());
                if !batch.is_empty() && due.is_none() {
                    due = Some(tokio::time::Instant::now() + GATHER);
                }
                if batch.len() < BATCH {
                    continue;
                }
            }
            () = stopping.cancelled() => break,
            () = ready => {}
        }
        due = None;
        hand_on(&batches, std::mem::take(&mut batch), &counters);
    }
    hand_on(&batches, batch, &counters);
}

fn hand_on(batches: &Sender<Vec<Span>>, batch: Vec<Span>, counters: &Counters) {
    if batch.is_empty() {
        return;
    }
    if let Err(error) = batches.try_send(batch) {
        counters.lose(error.into_inner().len());
    }
}

async fn send(mut batches: Receiver<Vec<Span>>, exporter: Exporter, counters: Arc<Counters>) {
    let mut failing = false;
    while let Some(batch) = batches.recv().await {
        match exporter.export(&batch).await {
            Ok(()) => {
                counters.exported.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if std::mem::take(&mut failing) {
                    tracing::info!(collector = %exporter.collector(), "traces are taken again");
                }
            }
            Err(error) => {
                counters.lose(batch.len());
                // Once, and not with every batch.
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(collector = %exporter.collector(), %error, "traces are lost");
                }
            }
        }
    }
}
