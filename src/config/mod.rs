//! Configuration: one TOML file, the environment, `--set`; validated whole before a port is opened.

mod fault;
mod types;

pub use fault::{ConfigErrors, Fault, Origin};
pub use types::*;

use std::path::Path;

impl Config {
    /// Reads defaults, then the file, then the environment (`WRTC_HTTP__LISTEN`), then `--set
    /// http.listen=...`; the later wins. Opens nothing but the file.
    ///
    /// # Errors
    /// Every fault of every source, not only the first.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Config, ConfigErrors> {
        let _ = (file, env.into_iter(), sets);
        todo!("first commit: signatures")
    }
}
