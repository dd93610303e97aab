//! What runs so that the journal hears of SIP, keeps calls and lets them go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use crate::journal::hep::{Hep, HepStats};
use crate::journal::{self, Collector, Losses, Timelines, Traces};
use crate::panics::keep_running;

use super::start::DISK_LIMIT;
use super::{Gateway, network};

/// Any port: only the address that we have toward a peer is asked for.
const ANY_PORT: u16 = 5060;

pub(super) struct Journaling {
    pub timelines: Arc<Timelines>,
    pub traces: Arc<Traces>,
    collector: Option<Arc<Collector>>,
    hep: Option<Arc<Hep>>,
    /// Reads what the endpoint's hook has taken, until that is gone.
    reading: Mutex<Option<JoinHandle<()>>>,
    /// SIP messages that came too fast for it.
    lost: Arc<AtomicU64>,
}

impl Gateway {
    /// From here on SIP is noted too, and finished calls are handed on.
    pub(super) fn keep_journal(
        &self,
        timelines: Arc<Timelines>,
        collector: Option<Arc<Collector>>,
        hep: Option<Arc<Hep>>,
    ) {
        let shared = &self.shared;
        let (traces, lost) = (Arc::<Traces>::default(), Arc::<AtomicU64>::default());
        let local = |peer| network::local_ip_toward(SocketAddr::new(peer, ANY_PORT)).ok();
        let (hook, reading) =
            journal::tap(shared.journal.clone(), Arc::clone(&traces), Arc::clone(&lost), local);
        shared.endpoint.set_trace(Some(hook));
        let reading = Mutex::new(Some(tokio::spawn(reading)));
        let (calls, stop) = (Arc::clone(&timelines), shared.shutdown.clone());
        let run = move || Arc::clone(&calls).run(stop.clone());
        shared.tasks.spawn(keep_running("the timelines", run));
        let journaling = Journaling { timelines, traces, collector, hep, reading, lost };
        // Once, by whoever starts the gateway.
        let _ = shared.journaling.set(journaling);
    }

    /// The last calls, the answers to their good-byes with them, go to whoever keeps them.
    pub(super) async fn close_journal(&self) {
        let Some(journaling) = self.shared.journaling.get() else { return };
        self.shared.endpoint.set_trace(None);
        let reading = journaling.reading.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reading) = reading {
            let _ = reading.await;
        }
        journaling.timelines.flush();
        if let Some(collector) = journaling.collector.clone() {
            let finishing = tokio::task::spawn_blocking(move || collector.finish());
            let _ = tokio::time::timeout(DISK_LIMIT, finishing).await;
        }
    }

    /// What the journal's observers have missed.
    pub fn journal_losses(&self) -> Losses {
        let Some(journaling) = self.shared.journaling.get() else { return Losses::default() };
        Losses {
            sip: journaling.lost.load(Ordering::Relaxed),
            timelines: journaling.timelines.refused(),
            records: journaling.collector.as_ref().map_or(0, |collector| collector.lost()),
        }
    }

    /// `None` without `journal.hep`.
    pub(super) fn hep_stats(&self) -> Option<HepStats> {
        Some(self.shared.journaling.get()?.hep.as_ref()?.stats())
    }
}
