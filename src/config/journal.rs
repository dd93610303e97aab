//! The section `[journal]`.

use super::load::Loader;
use super::types::Journal;

impl Loader {
    pub(super) fn journal(&mut self) -> Journal {
        Journal {}
    }
}
