//! Tokens of the connector, from the list and from a file.

use std::ops::RangeInclusive;

use super::parse::{Raw, Wrong, path, wrong};
use crate::secret::Secret;

/// Shortest and longest token of a connector. 16 characters at random are 96 bits.
const TOKEN: RangeInclusive<usize> = 16..=128;

/// `token=dn`, each. What is wrong is told without the token.
pub(super) fn list(raw: &Raw) -> Result<Vec<(Secret, String)>, Wrong> {
    checked(raw.list()?.iter().map(|entry| ("entry", entry.as_str())))
}

/// The same, one in each line of a file; `#` begins a comment.
pub(super) fn file(raw: &Raw) -> Result<Vec<(Secret, String)>, Wrong> {
    let path = path(raw)?;
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let reason = format!("it cannot be read: {error}");
        wrong(reason, "check the path and its permissions, or leave the key out")
    })?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    checked(lines.filter(|line| !line.is_empty()).map(|line| ("line", line)))
}

fn checked<'a>(
    entries: impl Iterator<Item = (&'static str, &'a str)>,
) -> Result<Vec<(Secret, String)>, Wrong> {
    let mut tokens: Vec<(Secret, String)> = Vec::new();
    for (at, (word, entry)) in entries.enumerate() {
        let at = at + 1;
        let bad = |reason: String, remedy: &str| Err(wrong(reason, remedy));
        let Some((token, dn)) = entry.split_once('=') else {
            let remedy = "write each as token=dn, the token made by `openssl rand -hex 16`";
            return bad(format!("{word} {at} has no `=`"), remedy);
        };
        let (token, dn) = (token.trim(), dn.trim());
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        if !TOKEN.contains(&token.len()) || !token.chars().all(usable) {
            let reason =
                format!("the token of {word} {at} does not have 16 to 128 of A-Z a-z 0-9 - _ . ~");
            return bad(reason, "make one by `openssl rand -hex 16`");
        }
        let usable = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()+$".contains(c);
        if dn.is_empty() || dn.len() > 64 || !dn.chars().all(usable) {
            let reason = format!("behind the `=` of {word} {at} there is no DN");
            return bad(reason, "write each as token=dn");
        }
        let token = Secret::new(token);
        if tokens.iter().any(|(known, _)| *known == token) {
            return bad(format!("the token of {word} {at} is there twice"), "give each DN its own");
        }
        tokens.push((token, dn.to_owned()));
    }
    Ok(tokens)
}
