//! Where a configuration comes from, kept so that it can be read again.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::fault::ConfigErrors;
use super::keys::KEYS;
use super::types::Config;

/// Keys whose value is the path of a file that is read: another content is another value.
const FILES: [&str; 5] = ["_file", "_cert", "_key", "_ca", "hold_music"];

/// The file, the environment and the settings of a command line.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// As it was when the process started: nothing changes it later.
    pub environment: Vec<(String, String)>,
    pub sets: Vec<String>,
}

/// What the sources said at one moment.
#[derive(Clone)]
pub struct Reading {
    pub config: Config,
    /// By key, of those that were given: a hash of the value, so that no secret is kept here.
    prints: BTreeMap<String, [u8; 32]>,
}

impl Sources {
    /// Reads them, each time anew.
    ///
    /// # Errors
    /// Every fault of every source.
    pub fn read(&self) -> Result<Reading, ConfigErrors> {
        let env = self.environment.iter().cloned();
        Config::read(&[], self.file.as_deref(), env, &self.sets)
    }
}

impl Reading {
    pub(super) fn new<'a>(
        config: Config,
        values: impl Iterator<Item = (&'a String, String)>,
    ) -> Self {
        let prints = values.map(|(key, value)| (key.clone(), print(key, &value))).collect();
        Self { config, prints }
    }

    /// Keys that have another value, or a file of another content, in the order of [`KEYS`].
    pub fn changed_since(&self, before: &Reading) -> Vec<&'static str> {
        let differs = |key: &&&str| self.prints.get(**key) != before.prints.get(**key);
        KEYS.iter().filter(differs).copied().collect()
    }
}

fn print(key: &str, value: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(value);
    if FILES.iter().any(|end| key.ends_with(end))
        && let Ok(found) = std::fs::metadata(value)
    {
        for number in [found.mtime(), found.mtime_nsec(), found.size().cast_signed()] {
            hasher.update(number.to_be_bytes());
        }
        hasher.update(found.ino().to_be_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &std::path::Path, sets: &[&str]) -> Reading {
        let sets = sets.iter().map(|set| (*set).to_owned()).collect();
        Sources { file: Some(path.to_owned()), environment: Vec::new(), sets }.read().unwrap()
    }

    #[test]
    fn what_has_changed_is_told_by_key() {
        let name = format!("wrtc-sources-{:016x}", rand::random::<u64>());
        let (path, tokens) =
            (std::env::temp_dir().join(&name), std::env::temp_dir().join(name + ".t"));
        let toml = format!(
            "[sip]\nservers = [\"sip:a.example\"]\n[connector]\ntokens_file = {tokens:?}\n"
        );
        std::fs::write(&path, &toml).unwrap();
        std::fs::write(&tokens, "0123456789abcdef=5001\n").unwrap();
        let first = read(&path, &[]);
        assert!(read(&path, &[]).changed_since(&first).is_empty());
        let second = read(&path, &["log.level=debug"]);
        assert_eq!(second.changed_since(&first), ["log.level"]);
        assert_eq!(first.changed_since(&second), ["log.level"], "gone is a change, too");
        std::fs::write(&tokens, "0123456789abcdef=5001\nfedcba9876543210=5002\n").unwrap();
        assert_eq!(read(&path, &[]).changed_since(&first), ["connector.tokens_file"]);
        std::fs::write(&path, toml.replace("a.example", "b.example")).unwrap();
        let changed = read(&path, &[]).changed_since(&first);
        assert_eq!(changed, ["connector.tokens_file", "sip.servers"]);
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(tokens).unwrap();
    }
}
