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
use crate::panics::keep_looking_on;
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
        let counters = &tracer.counters;
        let mut gathering = Gathering {
            noted,
            batches,
            counters: Arc::clone(counters),
            stopping: tracer.stopping.clone(),
            batch: Vec::new(),
        };
        tracer.tasks.spawn(async move {
            let run = async |gathering: &mut Gathering| gathering.run().await;
            keep_looking_on("the making of traces", &mut gathering, run).await;
        });
        let mut sending = Sending {
            batches: waiting,
            exporter: Exporter::new(collector),
            counters: Arc::clone(counters),
            under_way: 0,
            failing: false,
        };
        tracer.tasks.spawn(async move {
            let run = async |sending: &mut Sending| sending.run().await;
            keep_looking_on("the sending of traces", &mut sending, run).await;
        });
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

/// Makes spans of entries and batches of spans.
struct Gathering {
    noted: Receiver<Noted>,
    batches: Sender<Vec<Span>>,
    counters: Arc<Counters>,
    stopping: CancellationToken,
    batch: Vec<Span>,
}

impl Gathering {
    /// Ends when it is told to and nothing is left.
    async fn run(&mut self) {
        let Self { noted, batches, counters, stopping, batch } = self;
        let mut calls = Calls::default();
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
                    #[cfg(test)]
                    assert!(call.as_deref() != Some(tests::STUMBLE), "as the test has told it to");
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
            hand_on(batches, std::mem::take(batch), counters);
        }
        hand_on(batches, std::mem::take(batch), counters);
    }
}

fn hand_on(batches: &Sender<Vec<Span>>, batch: Vec<Span>, counters: &Counters) {
    if batch.is_empty() {
        return;
    }
    if let Err(error) = batches.try_send(batch) {
        counters.lose(error.into_inner().len());
    }
}

/// Sends the batches to the collector.
struct Sending {
    batches: Receiver<Vec<Span>>,
    exporter: Exporter,
    counters: Arc<Counters>,
    /// Spans of the batch that is being sent.
    under_way: usize,
    failing: bool,
}

impl Sending {
    async fn run(&mut self) {
        let Self { batches, exporter, counters, under_way, failing } = self;
        // It stumbled over them.
        counters.lose(std::mem::take(under_way));
        while let Some(batch) = batches.recv().await {
            *under_way = batch.len();
            let exported = exporter.export(&batch).await;
            *under_way = 0;
            match exported {
                Ok(()) => {
                    counters.exported.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    if std::mem::take(failing) {
                        tracing::info!(collector = %exporter.collector(), "traces are taken again");
                    }
                }
                Err(error) => {
                    counters.lose(batch.len());
                    // Once, and not with every batch.
                    if !std::mem::replace(failing, true) {
                        tracing::warn!(collector = %exporter.collector(), %error, "traces are lost");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::About;

    /// The id of a call that ends whoever makes its trace.
    pub(super) const STUMBLE: &str = "stumble";

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_makes_traces_begins_anew() {
        let (entries, noted) = mpsc::channel(8);
        let (batches, mut made) = mpsc::channel(8);
        let counters = Arc::<Counters>::default();
        let stopping = CancellationToken::new();
        let batch = Vec::new();
        let mut gathering = Gathering { noted, batches, counters, stopping, batch };
        let run = async |gathering: &mut Gathering| gathering.run().await;
        tokio::spawn(async move { keep_looking_on("a test", &mut gathering, run).await });
        let (start, end) = (Seen::Started, Seen::Ended(Box::default()));
        let now = SystemTime::now();
        for (call, seen) in [(STUMBLE, start.clone()), ("c1", start), ("c1", end)] {
            let about = About::call("5001", call);
            entries.send((now, about.call, seen)).await.unwrap();
        }
        drop(entries);
        let spans = tokio::time::timeout(LIMIT, made.recv()).await.expect("a batch").unwrap();
        assert!(!spans.is_empty());
    }

    #[tokio::test]
    async fn what_was_on_its_way_in_a_panic_is_counted() {
        let counters = Arc::<Counters>::default();
        let (batches, waiting) = mpsc::channel(8);
        drop(batches);
        let collector =
            Collector { tls: false, host: "127.0.0.1".into(), port: 9, path: "/".into() };
        let exporter = Exporter::new(collector);
        let mut sending = Sending {
            batches: waiting,
            exporter,
            counters: Arc::clone(&counters),
            under_way: 7,
            failing: false,
        };
        sending.run().await;
        assert_eq!(counters.dropped.load(Ordering::Relaxed), 7);
    }
}
