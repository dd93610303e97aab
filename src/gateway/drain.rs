//! Draining: what is talked goes on, nothing new begins, and then there is nothing left to lose.
//!
//! An agent drains with his last call. Who is in none leaves at once: his page signs in at another
//! gateway, and here nobody could call him. Who is in one keeps all that he may do, a consultation
//! that the SIP server begins with an INVITE of its own among it, and leaves when the line is free.
//! Nobody is unregistered: the binding is the next gateway's, or this one's when it is back.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::agent::SignInError;

/// For how long a client that is turned away is asked to wait. Short, because the drain may be over
/// with any call's end; long enough that a thousand pages cost nothing.
const COME_BACK: Duration = Duration::from_secs(5);

/// What a sign-in is told meanwhile.
pub(super) fn come_back() -> SignInError {
    SignInError::Draining { retry_after_seconds: COME_BACK.as_secs() }
}

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

/// Whether it has begun, and when it has to be over.
#[derive(Default)]
pub(super) struct Drain {
    until: OnceLock<Instant>,
    begun: CancellationToken,
}

impl Drain {
    /// False when it had begun already; its limit stays then.
    pub fn begin(&self, until: Instant) -> bool {
        let first = self.until.set(until).is_ok();
        self.begun.cancel();
        first
    }

    pub fn until(&self) -> Option<Instant> {
        self.until.get().copied()
    }

    /// Returns once it has begun.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Returns when it is over: no call is left, or its time is.
    pub async fn over(&self, calls: impl Fn() -> usize) {
        self.begun().await;
        while calls() > 0 && self.until().is_some_and(|until| Instant::now() < until) {
            tokio::time::sleep(LOOK).await;
        }
    }
}
