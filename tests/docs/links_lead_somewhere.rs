//! Links between the documents, and into them, lead to a file and a heading that are there.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::files::{documents, prose, root};

/// `(text)[target]`, without pictures' and code's.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("](") {
        let rest = &text[at + 2..];
        if let Some(end) = rest.find(')') {
            found.push(rest[..end].to_owned());
        }
    }
    found
}

/// As the renderers of Markdown name a heading: lower case, words by hyphens, no punctuation.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_matches(['#', ' ']).to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Without `.` and `..`; None where it leaves the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !plain.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Some(plain)
}

#[test]
fn all_of_them() {
    let documents = documents();
    let headings: HashMap<&Path, Vec<String>> = documents
        .iter()
        .map(|(path, text)| {
            let text = prose(text);
            let headings = text.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
            (path.as_path(), headings)
        })
        .collect();
    let (mut looked_at, mut dead) = (0, Vec::new());
    for (path, text) in &documents {
        for link in links(&prose(text)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            looked_at += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => Some(path.clone()),
                file => plain(&path.parent().unwrap().join(file)),
            };
            let alive = target.is_some_and(|target| {
                root().join(&target).exists()
                    && (heading.is_empty()
                        || headings
                            .get(target.as_path())
                            .is_some_and(|known| known.iter().any(|known| known == heading)))
            });
            if !alive {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(looked_at > 30, "only {looked_at} links were looked at");
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// What no link leads to nobody finds.
#[test]
fn every_document_for_operators_is_in_the_index() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    let linked = links(&index);
    for (path, _) in documents() {
        let Ok(name) = path.strip_prefix("docs") else { continue };
        let name = name.to_str().unwrap();
        assert!(name == "README.md" || linked.iter().any(|link| link == name), "{name}");
    }
}

#[test]
fn anchors() {
    assert_eq!(anchor("### `sip.ping_seconds`"), "sipping_seconds");
    assert_eq!(anchor("## [http]"), "http");
    assert_eq!(anchor("## Who is told what?"), "who-is-told-what");
}
