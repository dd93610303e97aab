//! Sleeping until what is due, which may be nothing.

use std::time::Instant;

/// Until `at`; for ever where nothing is due. Cancel-safe.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
