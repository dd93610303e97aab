//! What Prometheus scrapes: counters and histograms made of the journal's entries and of HTTP requests,
//! and what stands at the moment of the scrape. `docs/metrics.md` lists them all.
//!
//! Values of labels are `&'static str`, or names out of the configuration: no label grows with agents,
//! calls or addresses.

mod counted;
mod exposition;
mod process;
mod snapshot;

use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::journal::{Entry, Observer};
use counted::Counted;
pub use exposition::Format;
use snapshot::Standing;
pub use snapshot::{ServerSnapshot, Snapshot, Source, TraceCounts};

/// What is counted as it happens. An [`Observer`]; handles are the same counters.
#[derive(Clone, Default)]
pub struct Metrics {
    counted: Arc<Counted>,
}

impl Metrics {
    /// An HTTP request was answered. `route` is a template of the table of routes.
    pub fn http_request(&self, route: &'static str, status: u16) {
        self.counted.http_request(route, status);
    }

    /// So many HTTP connections more.
    pub fn http_connections(&self, more: i64) {
        self.counted.http_connections.inc_by(more);
    }

    /// An HTTP connection was cut or turned away, or came to nothing.
    pub fn http_connection_fault(&self, fault: &'static str) {
        self.counted.http_connection_fault(fault);
    }
}

impl Observer for Metrics {
    fn observe(&self, entry: &Entry) {
        self.counted.observe(&entry.what);
    }
}

/// The whole of it, for a scrape.
pub struct Exporter {
    registry: Registry,
}

impl Exporter {
    pub fn new(metrics: &Metrics, source: Arc<dyn Source>) -> Self {
        let mut registry = Registry::default();
        metrics.counted.register(&mut registry);
        registry.register_collector(Box::new(Standing(source)));
        registry.register_collector(Box::new(process::Process));
        Self { registry }
    }

    /// Reads some files of `/proc`: not for a task that others wait for.
    pub fn render(&self, format: Format) -> String {
        let mut text = String::with_capacity(32 * 1024);
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        match format {
            Format::OpenMetrics => text,
            Format::Prometheus => exposition::to_prometheus(&text),
        }
    }
}
