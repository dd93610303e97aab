//! Who may operate the gateway: keys of `[http]`.

use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::load::Loader;
use super::parse::{self, Raw, Wrong, fingerprint, wrong};
use crate::secret::Secret;

/// More are a list that nobody looks after.
const MAX_OPERATORS: usize = 1000;

/// A name stands in log lines and timelines.
const MAX_NAME: usize = 32;

/// Digits of the hash that stand for a name where none was given.
const NAMELESS_DIGITS: usize = 8;

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Role {
    /// Look at everything, change nothing.
    Read,
    /// Hang up, sign out, reload, give one-time tokens.
    #[default]
    Act,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Read => "read",
            Role::Act => "act",
        })
    }
}

/// One token's hash, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    pub role: Role,
    /// Who did what, in the log.
    pub name: String,
}

/// Who may ask the operations API, and who gives one-time tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operators {
    /// Of the list and of the file as it was when the configuration was read. No hash twice.
    pub tokens: Vec<OperatorToken>,
    /// Of the list alone: what stays when the file changes.
    pub listed: Vec<OperatorToken>,
    /// Read again when it changes.
    pub file: Option<PathBuf>,
}

impl Operators {
    /// Reads the file again.
    ///
    /// # Errors
    /// A sentence: it cannot be read, or a line of it is wrong.
    pub fn read_again(&self) -> Result<Vec<OperatorToken>, String> {
        let Some(file) = &self.file else { return Ok(self.listed.clone()) };
        let read = read_file(file).and_then(|more| together(&self.listed, more));
        read.map_err(|wrong| format!("{}; {}", wrong.reason, wrong.remedy))
    }
}

impl Loader {
    pub(super) fn operators(&mut self) -> Operators {
        let listed = self.take_secret("http.operator_tokens", list).unwrap_or_default();
        let mut tokens = listed.clone();
        let file = self.take("http.operator_tokens_file", parse::path);
        if let Some(file) = &file {
            match read_file(file).and_then(|more| together(&listed, more)) {
                Ok(all) => tokens = all,
                Err(wrong) => {
                    self.clash("http.operator_tokens_file", wrong.reason, wrong.remedy);
                }
            }
        }
        Operators { tokens, listed, file }
    }
}

/// An entry may be the token itself by mistake: it is not told.
fn list(raw: &Raw) -> Result<Vec<OperatorToken>, Wrong> {
    checked(raw.list()?.iter().map(|entry| ("entry", entry.as_str())).collect())
}

fn read_file(path: &Path) -> Result<Vec<OperatorToken>, Wrong> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let reason = format!("it cannot be read: {error}");
        wrong(reason, "check the path and its permissions, or leave the key out")
    })?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    checked(lines.filter(|line| !line.is_empty()).map(|line| ("line", line)).collect())
}

fn checked(entries: Vec<(&'static str, &str)>) -> Result<Vec<OperatorToken>, Wrong> {
    if entries.len() > MAX_OPERATORS {
        let reason = format!("there are {} in it", entries.len());
        return Err(wrong(reason, format!("keep {MAX_OPERATORS} at most")));
    }
    let mut tokens = Vec::new();
    for (at, (word, entry)) in entries.into_iter().enumerate() {
        let token = OperatorToken::parse(entry).ok_or_else(|| {
            let reason =
                format!("{word} {} is not [role:][name:] and 64 hexadecimal digits", at + 1);
            wrong(
                reason,
                "write what `wrtc-gateway token` prints; the role is read or act, the hash that of \
                 `printf %s TOKEN | sha256sum`",
            )
        })?;
        tokens = together(&tokens, vec![token])?;
    }
    Ok(tokens)
}

fn together(some: &[OperatorToken], more: Vec<OperatorToken>) -> Result<Vec<OperatorToken>, Wrong> {
    let mut all = some.to_vec();
    for token in more {
        if all.iter().any(|known| known.hash == token.hash) {
            let reason = format!("the token of {} is there twice", token.name);
            return Err(wrong(reason, "keep one of the two: they could have different roles"));
        }
        all.push(token);
    }
    Ok(all)
}

impl OperatorToken {
    /// `hash`, `read:hash`, `read:wallboard:hash`, `alice:hash`.
    pub fn parse(entry: &str) -> Option<Self> {
        let (role, rest) = match (entry.strip_prefix("read:"), entry.strip_prefix("act:")) {
            (Some(rest), _) => (Role::Read, rest),
            (None, Some(rest)) => (Role::Act, rest),
            (None, None) => (Role::Act, entry),
        };
        if let Some(hash) = fingerprint(rest) {
            let digits: String = hex(&hash).chars().take(NAMELESS_DIGITS).collect();
            return Some(Self { hash, role, name: format!("operator-{digits}") });
        }
        let (name, hash) = rest.split_once(':')?;
        let hash = fingerprint(hash)?;
        is_name(name).then(|| Self { hash, role, name: name.to_owned() })
    }

    /// A new token, and its line for the configuration.
    pub fn make(role: Role, name: Option<&str>) -> (Secret, String) {
        let random: [u8; 16] = rand::random();
        let token = Secret::new(hex(&random));
        let hash = hex(&Sha256::digest(token.expose().as_bytes()));
        let line = match name {
            Some(name) => format!("{role}:{name}:{hash}"),
            None => format!("{role}:{hash}"),
        };
        (token, line)
    }
}

/// Letters, digits and - _ . @ as in an address, and no role.
pub fn is_name(name: &str) -> bool {
    let usable = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    (1..=MAX_NAME).contains(&name.len())
        && name.chars().all(usable)
        && !["read", "act"].contains(&name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_an_entry() {
        let hash = "0969a26e38d3babd0585d3aab24b4d3dbeb4a48b247ce18c50c3000f382fd213";
        for (entry, wanted) in [
            (hash.to_owned(), Some((Role::Act, "operator-0969a26e"))),
            (format!("read:{hash}"), Some((Role::Read, "operator-0969a26e"))),
            (format!("act:alice:{hash}"), Some((Role::Act, "alice"))),
            (format!("wall-1:{hash}"), Some((Role::Act, "wall-1"))),
            (format!("write:alice:{hash}"), None),
            (format!("read:read:{hash}"), None),
            (format!("read:a b:{hash}"), None),
            ("read:".to_owned(), None),
            (hash[1..].to_owned(), None),
        ] {
            let parsed = OperatorToken::parse(&entry);
            let found = parsed.as_ref().map(|token| (token.role, token.name.as_str()));
            assert_eq!(found, wanted, "{entry}");
        }
    }

    #[test]
    fn what_is_made_is_understood() {
        let (token, line) = OperatorToken::make(Role::Read, Some("wall"));
        let parsed = OperatorToken::parse(&line).unwrap();
        assert_eq!((parsed.role, parsed.name.as_str()), (Role::Read, "wall"));
        let hash: [u8; 32] = Sha256::digest(token.expose().as_bytes()).into();
        assert_eq!(parsed.hash, hash);
        assert!(!line.contains(token.expose()));
    }
}
