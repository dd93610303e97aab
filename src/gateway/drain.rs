//! Draining: what is talked goes on, nothing new begins, and then there is nothing left to lose.
//!
//! An agent drains with his last call. Who is in none leaves at once: his page signs in at another
//! gateway, and here nobody could call him. Who is in one keeps all that he may do, a consultation
//! that the SIP server begins with an INVITE of its own among it, and leaves when the line is free.
//! Nobody is unregistered: the binding is the next gateway's, or this one's when it is back.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// For how long a client that is turned away is asked to wait. Short, because the drain may be over
/// with any call's end; long enough that a thousand pages cost nothing.
pub(super) const COME_BACK: Duration = Duration::from_secs(5);

/// How often it is looked whether the last call is over.
const LOOK: Duration = Duration::from_millis(100);

/// How far the gateway's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Serving,
    /// No sign-in is taken, and no call for who is in none.
    Draining {
        /// Those that are waited for.
        calls: usize,
        /// Then it ends whether they are over or not.
        until: Instant,
    },
    /// Sessions and calls are being ended.
    Stopping,
}

/// When it has to be over, once it has begun.
pub(super) struct Drain {
    until: watch::Sender<Option<Instant>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { until: watch::Sender::new(None) }
    }
}

impl Drain {
    /// False when it had begun already; its limit stays then.
    pub fn begin(&self, until: Instant) -> bool {
        self.until.send_if_modified(|known| {
            let first = known.is_none();
            *known = Some(known.unwrap_or(until));
            first
        })
    }

    pub fn until(&self) -> Option<Instant> {
        *self.until.borrow()
    }

    /// Returns once it has begun.
    pub async fn begun(&self) -> Instant {
        let mut until = self.until.subscribe();
        match until.wait_for(Option::is_some).await.map(|until| *until) {
            Ok(Some(until)) => until,
            // The sender is this very value.
            _ => std::future::pending().await,
        }
    }

    /// Returns when it is over: no call is left, or its time is.
    pub async fn over(&self, calls: impl Fn() -> usize) {
        let until = self.begun().await;
        while calls() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    }
}
