//! What one-time tokens are signed with: `agents.token_key_file`.

use std::path::{Path, PathBuf};

use super::load::Loader;
use super::parse::{self, Wrong, wrong};
use super::secrets::is_world_readable;
use crate::secret::Secret;

/// Bytes of a key. HMAC-SHA256 is as hard to forge as the shorter of key and hash (RFC 2104 3).
const LENGTH: std::ops::RangeInclusive<usize> = 32..=1024;

/// The one in use, the one before, the next one; more are a list that nobody looks after.
const MAX_KEYS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenKeys {
    pub file: Option<PathBuf>,
    /// As the file was when the configuration was read: one is signed with the first, the others are good
    /// too. None: a random key of each process.
    pub keys: Vec<Secret>,
}

impl TokenKeys {
    /// Reads the file again.
    ///
    /// # Errors
    /// A sentence without a key: it cannot be read, or what is in it is no key.
    pub fn read_again(&self) -> Result<Vec<Secret>, String> {
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        read_file(file).map_err(|wrong| format!("{}; {}", wrong.reason, wrong.remedy))
    }

    /// Says what is unwise about the file.
    pub fn warn(&self) {
        if self.file.as_deref().is_some_and(is_world_readable) {
            tracing::warn!(
                "agents.token_key_file can be read by everybody on this machine; chmod 640"
            );
        }
    }
}

impl Loader {
    pub(super) fn token_keys(&mut self) -> TokenKeys {
        let file = self.take("agents.token_key_file", parse::path);
        let mut keys = Vec::new();
        if let Some(file) = &file {
            match read_file(file) {
                Ok(read) => keys = read,
                Err(wrong) => self.clash("agents.token_key_file", wrong.reason, wrong.remedy),
            }
        }
        TokenKeys { file, keys }
    }
}

/// A key a line; a line that begins with `#` is a comment.
fn read_file(path: &Path) -> Result<Vec<Secret>, Wrong> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let reason = format!("it cannot be read: {error}");
        wrong(reason, "check the path and its permissions, or leave the key out")
    })?;
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut keys: Vec<Secret> = Vec::new();
    for (at, line) in lines {
        if !LENGTH.contains(&line.len()) || !line.chars().all(|c| c.is_ascii_graphic()) {
            let reason = format!("line {} does not have 32 to 1024 printable characters", at + 1);
            return Err(wrong(reason, REMEDY));
        }
        keys.push(Secret::new(line));
    }
    match keys.len() {
        0 => Err(wrong("there is no key in it", REMEDY)),
        1..=MAX_KEYS => Ok(keys),
        more => Err(wrong(format!("there are {more} keys in it"), format!("keep {MAX_KEYS}"))),
    }
}

const REMEDY: &str = "put a line from `openssl rand -hex 32` into it, the same at each gateway";
