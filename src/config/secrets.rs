//! Secrets of DNs that the gateway has and pages do not: keys of `[agents]`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::Loader;
use super::parse::{self, Raw, Wrong, wrong};
use super::types::Origins;
use crate::secret::Secret;

/// As long as a browser's user waits without trying again.
const COMMAND_LIMIT: std::ops::RangeInclusive<u64> = 1..=30;

/// A password is longer nowhere.
pub const MAX_SECRET: usize = 256;

/// Who signs in with a secret that the gateway has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretsFor {
    /// Who has a one-time token for the DN.
    #[default]
    Tokens,
    /// Pages of our own and of `http.allowed_origins` as well: whoever reaches the port can say to be one.
    Origins,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnSecrets {
    pub file: Option<PathBuf>,
    /// As the file was when the configuration was read.
    pub known: BTreeMap<String, Secret>,
    /// Program and arguments; the DN comes behind them. Empty: none.
    pub command: Vec<String>,
    pub command_limit: Duration,
    pub given_to: SecretsFor,
}

impl DnSecrets {
    /// Reads the file again.
    ///
    /// # Errors
    /// A sentence without a secret: it cannot be read, or a line of it is wrong.
    pub fn read_again(&self) -> Result<BTreeMap<String, Secret>, String> {
        let Some(file) = &self.file else { return Ok(BTreeMap::new()) };
        read_file(file).map_err(|wrong| format!("{}; {}", wrong.reason, wrong.remedy))
    }

    /// Whether others than the file's owner and group can read it.
    pub fn is_world_readable(&self) -> bool {
        self.file.as_deref().is_some_and(is_world_readable)
    }
}

/// Whether others than its owner and group can read it.
pub(super) fn is_world_readable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

impl Loader {
    pub(super) fn dn_secrets(&mut self, origins: &Origins) -> DnSecrets {
        let words = [("tokens", SecretsFor::Tokens), ("origins", SecretsFor::Origins)];
        let given_to =
            self.take("agents.secrets_for", |raw| parse::word(raw, &words)).unwrap_or_default();
        let file = self.take("agents.secrets_file", parse::path);
        let mut known = BTreeMap::new();
        if let Some(file) = &file {
            match read_file(file) {
                Ok(read) => known = read,
                Err(wrong) => self.clash("agents.secrets_file", wrong.reason, wrong.remedy),
            }
        }
        let command = self.take("agents.secrets_command", command).unwrap_or_default();
        let has_secrets = file.is_some() || !command.is_empty();
        if has_secrets && given_to == SecretsFor::Origins && *origins == Origins::Any {
            let reason = "http.allowed_origins is \"*\", so that any page could sign in as any DN";
            self.clash(
                "agents.secrets_for",
                reason,
                "name the origins, or give them to tokens only",
            );
        }
        DnSecrets {
            file,
            known,
            command,
            command_limit: self
                .take("agents.secrets_command_seconds", |raw| parse::seconds(raw, COMMAND_LIMIT))
                .unwrap_or(Duration::from_secs(5)),
            given_to,
        }
    }
}

fn command(raw: &Raw) -> Result<Vec<String>, Wrong> {
    let words = raw.list()?;
    match words.first() {
        Some(program) if !Path::new(program).is_absolute() => Err(wrong(
            format!("`{program}` is not an absolute path"),
            "write it as [\"/usr/local/bin/dn-secret\", \"--first-argument\"]; no shell looks for it",
        )),
        _ => Ok(words),
    }
}

/// `dn = secret`, one a line; a line that begins with `#` is a comment. What is wrong is told without the
/// secret.
fn read_file(path: &Path) -> Result<BTreeMap<String, Secret>, Wrong> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let reason = format!("it cannot be read: {error}");
        wrong(reason, "check the path and its permissions, or leave the key out")
    })?;
    let mut known = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = at + 1;
        let remedy = "write each line as dn = secret";
        let Some((dn, secret)) = line.split_once('=') else {
            return Err(wrong(format!("line {at} has no `=`"), remedy));
        };
        let (dn, secret) = (dn.trim(), secret.trim());
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()+$".contains(c);
        if dn.is_empty() || !dn.chars().all(usable) {
            return Err(wrong(format!("before the `=` of line {at} there is no DN"), remedy));
        }
        if secret.is_empty() || secret.chars().count() > MAX_SECRET {
            let reason = format!("the secret of line {at} is empty or longer than {MAX_SECRET}");
            return Err(wrong(reason, remedy));
        }
        if known.insert(dn.to_owned(), Secret::new(secret)).is_some() {
            return Err(wrong(
                format!("the DN of line {at} is there twice"),
                "keep one of the two",
            ));
        }
    }
    Ok(known)
}
