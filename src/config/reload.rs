//! How a part of the gateway takes a new configuration while it runs.

use super::types::Config;

/// Puts into use what was prepared. It cannot fail.
pub type Commit = Box<dyn FnOnce() + Send>;

/// In two steps, so that a fault in one part leaves all of them as they were.
pub trait Reload: Send + Sync {
    /// Reads and checks what the new configuration names, and changes nothing.
    ///
    /// # Errors
    /// A sentence that names the key and says what to do.
    fn prepare(&self, new: &Config) -> Result<Commit, String>;
}
