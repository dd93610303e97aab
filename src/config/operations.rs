//! The section `[operations]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::load::Loader;
use super::parse;
use super::types::Operations;

/// It is looked once a second; after a minute nobody is on the telephone any more.
const NO_RTP: RangeInclusive<u64> = 1..=60;

impl Loader {
    pub(super) fn operations(&mut self) -> Operations {
        Operations {
            no_rtp: self
                .take("operations.no_rtp_seconds", |raw| parse::seconds(raw, NO_RTP))
                .unwrap_or(Duration::from_secs(3)),
        }
    }
}
