//! The section `[gateway]`: starting and stopping.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::load::Loader;
use super::parse;
use super::types::Lifecycle;

/// An hour at most: who waits longer for a call waits for one that nobody ends.
const DRAIN: RangeInclusive<u64> = 0..=3600;

impl Loader {
    pub(super) fn lifecycle(&mut self) -> Lifecycle {
        let drain = self.take("gateway.drain_seconds", |raw| parse::seconds(raw, DRAIN));
        Lifecycle { drain: drain.unwrap_or(Duration::from_secs(120)) }
    }
}
