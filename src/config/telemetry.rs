//! The sections `[log]`, `[metrics]` and `[tracing]`.

use super::load::Loader;
use super::parse;
use super::types::{Log, LogFormat};

impl Loader {
    pub(super) fn log(&mut self) -> Log {
        Log {
            level: self.take("log.level", parse::log_level).unwrap_or_else(|| "info".to_owned()),
            format: self.take("log.format", parse::log_format).unwrap_or(LogFormat::Text),
        }
    }
}
