//! What all event streams share: one task looks at the gateway while somebody looks on.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, MissedTickBehavior};

use super::feed::{self, View};
use crate::agent::Backend;
use crate::panics::caught;

/// Streams at a time: wall screens and those who are on duty. Each may lag by [`LAG`] events, which all of
/// them share, and has a task and a connection.
const MAX_STREAMS: usize = 64;

/// Events that a slow reader may be behind. Then it gets a new snapshot instead: some seconds' worth.
const LAG: usize = 128;

/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(250);

/// How often the lists are made.
const LISTS: Duration = Duration::from_secs(1);

/// Items of history that are told one by one between two looks. Of a flood only the latest are.
const ITEMS: usize = 50;

/// In the snapshot.
const HISTORY: usize = 200;

pub(in crate::http) struct Hub {
    places: Arc<Semaphore>,
    state: Mutex<State>,
}

struct State {
    events: broadcast::Sender<Bytes>,
    /// What those who look on have been told. `None`: nobody does, and no task runs.
    told: Option<Arc<View>>,
}

impl Default for State {
    fn default() -> Self {
        State { events: broadcast::Sender::new(LAG), told: None }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Hub { places: Arc::new(Semaphore::new(MAX_STREAMS)), state: Mutex::default() }
    }
}

impl Hub {
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Events from now on, and the snapshot that they build on.
    pub fn join(hub: &Arc<Hub>, backend: &Arc<dyn Backend>) -> (broadcast::Receiver<Bytes>, Bytes) {
        let (events, told) = {
            let mut state = hub.lock();
            let told = match &state.told {
                Some(told) => Arc::clone(told),
                None => {
                    let view = Arc::new(View::of(backend.operations()));
                    state.told = Some(Arc::clone(&view));
                    // Here, so that nothing gets lost until the task runs.
                    let last = backend.operations().history(0, 1).last().map_or(0, |item| item.id);
                    let (hub, backend) = (Arc::clone(hub), Arc::clone(backend));
                    tokio::spawn(async move {
                        if caught(pin!(publish(&hub, &backend, last))).await.is_err() {
                            // With the sender the streams end; their readers come again.
                            *hub.lock() = State::default();
                        }
                    });
                    view
                }
            };
            (state.events.subscribe(), told)
        };
        // After the subscription: an item that comes between is told twice and not never.
        let history = backend.operations().history(0, HISTORY);
        (events, feed::snapshot(&told, &history))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while somebody looks on. `last` is the item of history that needs not be told any more.
async fn publish(hub: &Hub, backend: &Arc<dyn Backend>, mut last: u64) {
    let events = hub.lock().events.clone();
    let operations = backend.operations();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lists_due = Instant::now() + LISTS;
    loop {
        let now = looks.tick().await;
        for item in operations.history(last, ITEMS) {
            last = item.id;
            let _ = events.send(feed::event("history", &item));
        }
        let new = (now >= lists_due).then(|| Arc::new(View::of(operations)));
        let mut state = hub.lock();
        if events.receiver_count() == 0 {
            state.told = None;
            return;
        }
        let Some(new) = new else { continue };
        lists_due = now + LISTS;
        // Under the lock: who joins builds on what was told, not on what is about to be.
        if let Some(told) = &state.told {
            for event in feed::changes(told, &new) {
                let _ = events.send(event);
            }
        }
        state.told = Some(new);
    }
}
