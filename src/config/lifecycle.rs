//! The section `[gateway]`: starting and stopping.

use super::load::Loader;
use super::types::Lifecycle;

impl Loader {
    pub(super) fn lifecycle(&mut self) -> Lifecycle {
        Lifecycle {}
    }
}
