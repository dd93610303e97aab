//! Looks for secrets in what was written.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, BuildError};

/// Shorter ones stand in other text by chance.
pub const SHORTEST: usize = 8;

/// Of a line, what is told of it around a secret.
const AROUND: usize = 100;

/// Secrets as they were used, each with its kind.
#[derive(Default)]
pub struct Secrets {
    known: HashSet<String>,
    /// As they may stand in a text.
    forms: Vec<(String, String)>,
    /// By kind.
    pub looked_for: BTreeMap<String, usize>,
    pub too_short: BTreeMap<String, usize>,
}

impl Secrets {
    pub fn add(&mut self, kind: &str, secret: &str) {
        if !self.known.insert(secret.to_owned()) {
            return;
        }
        let counts = match secret.len() < SHORTEST {
            true => &mut self.too_short,
            false => &mut self.looked_for,
        };
        *counts.entry(kind.to_owned()).or_default() += 1;
        if secret.len() >= SHORTEST {
            let mut forms = vec![
                secret.to_owned(),
                percent(secret),
                percent(secret).replace("%20", "+"),
                serde_json::Value::from(secret).to_string().trim_matches('"').to_owned(),
            ];
            forms.dedup();
            self.forms.extend(forms.into_iter().map(|form| (kind.to_owned(), form)));
        }
    }

    pub fn count(&self) -> usize {
        self.looked_for.values().sum()
    }

    pub fn looker(&self) -> Result<Looker, BuildError> {
        let (kinds, forms): (Vec<_>, Vec<_>) = self.forms.iter().cloned().unzip();
        Ok(Looker {
            machine: AhoCorasick::new(&forms)?,
            kinds,
            marks: AhoCorasick::new(MARKS.map(|(_, mark)| mark))?,
        })
    }
}

/// As it stands in a query or a form.
fn percent(secret: &str) -> String {
    secret.bytes().fold(String::new(), |mut text, byte| {
        let _ = match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => write!(text, "{}", char::from(byte)),
            false => write!(text, "%{byte:02X}"),
        };
        text
    })
}

/// What only the two ends know is known by its looks: a digest can be attacked at leisure, a key opens the
/// call. What takes their place has no digits of theirs.
const MARKS: [(&str, &str); 5] = [
    ("a digest", "response=\""),
    // In JSON.
    ("a digest", "response=\\\""),
    ("an SRTP key", "inline:"),
    ("an ICE password", "ice-pwd:"),
    ("a private key", "PRIVATE KEY-----"),
];
const LENGTH_OF_A_KEY: usize = 20;

pub struct Looker {
    machine: AhoCorasick,
    kinds: Vec<String>,
    marks: AhoCorasick,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub line: usize,
    pub kind: String,
    /// The line around it, without the secret.
    pub around: String,
}

impl Looker {
    pub fn look(&self, written: &[u8]) -> Vec<Found> {
        let named = self.machine.find_iter(written);
        let named =
            named.map(|found| (found.range(), self.kinds[found.pattern().as_usize()].as_str()));
        let marked = self.marks.find_iter(written).filter_map(|mark| {
            let rest = written[mark.end()..].iter();
            // The first line of a key stands below.
            let rest = rest.skip_while(|byte| b"\r\n\\n".contains(byte));
            let length =
                rest.take_while(|b| b.is_ascii_alphanumeric() || b"+/".contains(b)).count();
            let is_one = length >= LENGTH_OF_A_KEY;
            is_one.then(|| (mark.start()..mark.end() + length, MARKS[mark.pattern().as_usize()].0))
        });
        let tell = |(range, kind): (std::ops::Range<usize>, &str)| {
            let line = 1 + written[..range.start].iter().filter(|byte| **byte == b'\n').count();
            let (before, after) = (&written[..range.start], &written[range.end..]);
            let before = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let after = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let before = String::from_utf8_lossy(&before[before.len().saturating_sub(AROUND)..]);
            let after = String::from_utf8_lossy(&after[..after.len().min(AROUND)]);
            Found { line, kind: kind.to_owned(), around: format!("{before}[{kind}]{after}") }
        };
        named.chain(marked).map(tell).collect()
    }
}

#[test]
fn what_is_looked_for_is_found() {
    let mut secrets = Secrets::default();
    secrets.add("a password", "p:a&s s\"word");
    secrets.add("a short one", "1234567");
    assert_eq!((secrets.count(), secrets.too_short.len()), (1, 1));
    let looker = secrets.looker().unwrap();
    let digest = format!("response=\"{}\"", "0a".repeat(16));
    let key = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}", "Ab+/".repeat(10));
    let ice = format!("a=ice-pwd:{}", "x".repeat(22));
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n", "Ab+/".repeat(10));
    for slip in [
        "said p:a&s s\"word to all",
        "?password=p%3Aa%26s%20s%22word&",
        "password=p%3Aa%26s+s%22word",
        r#"{"password":"p:a&s s\"word"}"#,
        &digest,
        &key,
        &ice,
        &pem,
    ] {
        let found = looker.look(format!("a line\nINFO {slip}\nanother").as_bytes());
        assert_eq!(found.len(), 1, "{slip}");
        assert_eq!(found[0].line, 2, "{slip}");
        assert!(found[0].around.contains(&found[0].kind), "{slip}");
        for part in ["p:a&s", "%3Aa%26s", "another"] {
            assert!(!found[0].around.contains(part), "{slip}");
        }
    }
    for fine in
        ["nothing", "response=\"...\"", "1234567", "inline:...", "-----BEGIN PRIVATE KEY-----"]
    {
        assert_eq!(looker.look(fine.as_bytes()), [], "{fine}");
    }
}
