//! What is asked of the gateway as a process.

use std::time::Duration;

/// How a drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Draining {
    /// Those that are waited for.
    pub calls: usize,
    /// Until it ends in any case.
    pub left: Duration,
}

/// What came of reading the configuration again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Keys with a new value that is in use.
    pub changed: Vec<&'static str>,
    /// Keys whose value differs from the one in use, which stays until a restart.
    pub restart: Vec<&'static str>,
}

/// Why it stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// 409
    #[error("this gateway has no configuration that could be read again")]
    NoSources,
    /// 422: a line for each.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
}
