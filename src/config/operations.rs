//! The section `[operations]`.

use super::load::Loader;
use super::types::Operations;

impl Loader {
    pub(super) fn operations(&mut self) -> Operations {
        Operations {}
    }
}
