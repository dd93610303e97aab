//! The pacer that all user agents share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use crate::panics::keep_running;
use crate::sip::pacer::{Pacer, TurnId, Urgency};

struct State {
    pacer: Pacer,
    waiting: HashMap<TurnId, oneshot::Sender<()>>,
}

struct Shared {
    state: Mutex<State>,
}

/// Turns for REGISTERs. A handle: clones are the same one.
#[derive(Clone)]
pub struct Pacing {
    shared: Arc<Shared>,
    wake: Arc<Wake>,
}

/// Rings when somebody waits, and a last time when the last handle is gone.
struct Wake(Arc<Notify>);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A turn that is waited for, or has come and is held until the answer is here. Dropping it tells the
/// pacer that it is over.
pub struct Turn {
    id: TurnId,
    pacing: Pacing,
    granted: Option<oneshot::Receiver<()>>,
}

impl Pacing {
    /// At most `rate` a second. Wants a tokio runtime around it.
    pub fn new(rate: u32) -> Self {
        let state = State { pacer: Pacer::new(rate, Instant::now()), waiting: HashMap::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let notify = Arc::new(Notify::new());
        let (all, wake) = (Arc::downgrade(&shared), Arc::clone(&notify));
        let run = move || run(all.clone(), Arc::clone(&wake));
        tokio::spawn(keep_running("the turns of REGISTERs", run));
        Self { shared, wake: Arc::new(Wake(notify)) }
    }

    /// Asks for a turn; see [`Pacer::ask`].
    pub fn ask(&self, urgency: Urgency, reliable: bool) -> Turn {
        let (sender, granted) = oneshot::channel();
        let mut state = self.shared.lock();
        let id = state.pacer.ask(urgency, reliable);
        state.waiting.insert(id, sender);
        let wait = state.hand_out(Instant::now());
        drop(state);
        if wait.is_some() {
            self.wake.0.notify_one();
        }
        Turn { id, pacing: self.clone(), granted: Some(granted) }
    }

    /// See [`Pacer::set_rate`].
    pub fn set_rate(&self, rate: u32) {
        self.shared.lock().pacer.set_rate(rate);
        self.wake.0.notify_one();
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.shared.lock().pacer.waiting()
    }
}

impl Turn {
    /// Waits until it may go; at once if it has come already. Cancel-safe.
    pub async fn come(&mut self) {
        if let Some(granted) = &mut self.granted {
            // The sender is dropped by nobody before it was used.
            let _ = granted.await;
            self.granted = None;
        }
    }

    pub fn has_come(&self) -> bool {
        self.granted.is_none()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.pacing.shared.lock();
        state.waiting.remove(&self.id);
        state.pacer.release(self.id, Instant::now());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives turns to whom it may; until when the rest waits.
    fn hand_out(&mut self, now: Instant) -> Option<Instant> {
        while let Some(id) = self.pacer.poll_turn(now) {
            // One that has just gone away gives its turn back by itself.
            if let Some(waiting) = self.waiting.remove(&id) {
                let _ = waiting.send(());
            }
        }
        self.pacer.poll_timeout(now)
    }
}

async fn run(shared: std::sync::Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let until = match shared.upgrade() {
            Some(shared) => shared.lock().hand_out(Instant::now()),
            None => return,
        };
        match until {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => wake.notified().await,
        }
    }
}
