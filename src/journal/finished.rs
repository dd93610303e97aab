//! A call that is over, and who takes it from there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::Timeline;
use super::record::CallRecord;

/// A call that is over, with all that is known of it. Comes a few seconds after the end, so that the
/// good-byes of both sides are in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinishedCall {
    #[serde(rename = "call")]
    pub record: CallRecord,
    #[serde(flatten)]
    pub timeline: Timeline,
}

/// Takes finished calls: the store. Called from a task, so it must not wait: what is slow goes through a
/// bounded channel to a thread of its own, and what finds that full is counted and let go.
pub trait Keeper: Send + Sync + 'static {
    fn keep(&self, call: Arc<FinishedCall>);
}

/// Finished calls that are no longer in memory.
pub trait History: Send + Sync + 'static {
    /// By our own id of the call. May read a disk: not for a task of the runtime, but for one of its
    /// blocking threads.
    ///
    /// # Errors
    /// What is kept could not be read.
    fn find(&self, call: &str) -> Result<Option<FinishedCall>, HistoryError>;
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("the store of finished calls cannot be read: {0}")]
pub struct HistoryError(pub String);
