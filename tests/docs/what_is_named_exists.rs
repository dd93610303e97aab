//! Keys, environment names, routes and commands of which the documents speak are the code's.

use std::collections::BTreeSet;
use std::process::Command;

use wrtc_gateway::config::{KEYS, environment_name};

use crate::files::{code, for_operators, root};

/// The sections there are, for telling a key from a file's name.
fn sections() -> BTreeSet<&'static str> {
    KEYS.iter().filter_map(|key| key.split('.').next()).collect()
}

/// Words of a line of code, without what surrounds them.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let apart = |c: char| !(c.is_ascii_alphanumeric() || "_./-{}".contains(c));
    line.split(apart).map(|word| word.trim_end_matches(['.', ',']))
}

/// A key as `section.name` or, within a block that has `[section]` above it, as `name = `.
#[test]
fn keys() {
    let sections = sections();
    let (mut seen, mut unknown) = (0, Vec::new());
    for (path, text) in for_operators() {
        let mut section = None;
        for line in code(&text) {
            if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = sections.get(header).copied();
            } else if let Some((name, _)) = line.split_once(" = ") {
                let name = name.trim_start_matches(['#', ' ']);
                if let Some(section) = section {
                    seen += 1;
                    let key = format!("{section}.{name}");
                    if !KEYS.contains(&key.as_str()) {
                        unknown.push(format!("{}: {key}", path.display()));
                    }
                }
            } else if line.is_empty() || line.contains(' ') {
                section = None;
            }
            for word in words(&line) {
                let Some((first, name)) = word.split_once('.') else { continue };
                // A module of the code (`gateway.rs`), a file, an address.
                let name_like = !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                    && !["rs", "md", "toml", "json", "yaml", "example", "key", "pem", "service"]
                        .contains(&name);
                if sections.contains(first) && name_like {
                    seen += 1;
                    if !KEYS.contains(&word) {
                        unknown.push(format!("{}: {word}", path.display()));
                    }
                }
            }
        }
    }
    assert!(seen > 2 * KEYS.len(), "only {seen} keys were seen");
    assert!(unknown.is_empty(), "no such keys:\n{}", unknown.join("\n"));
}

/// In the documents, and in the files with which the gateway is started.
#[test]
fn environment() {
    let known: BTreeSet<String> = KEYS.iter().map(|key| environment_name(key)).collect();
    let mut texts = for_operators();
    for name in ["deploy/container/Containerfile", "deploy/compose/compose.yaml"] {
        texts.push((name.into(), std::fs::read_to_string(root().join(name)).unwrap()));
    }
    let mut unknown = Vec::new();
    for (path, text) in texts {
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            // One underscore is the tests' own (`WRTC_WRITE_DOCS`), and this one is any of them.
            let ours = word.starts_with("WRTC_") && word.contains("__");
            if ours && word != "WRTC_SECTION__KEY" && !known.contains(word) {
                unknown.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "no such variables:\n{}", unknown.join("\n"));
}

/// `/api/...` and what stands beside it, as in the document of the API; `{...}` and `:id` are the same.
#[test]
fn routes() {
    let spec = std::fs::read_to_string(root().join("api-spec/openapi.json")).unwrap();
    let spec: serde_json::Value = serde_json::from_str(&spec).unwrap();
    let known: Vec<Vec<&str>> =
        spec["paths"].as_object().unwrap().keys().map(|path| path.split('/').collect()).collect();
    let (mut seen, mut unknown) = (0, Vec::new());
    for (path, text) in for_operators() {
        for line in code(&text) {
            for word in words(&line) {
                let Some(at) = word.find("/api/") else { continue };
                let route = word[at..].trim_end_matches(['/', '-']);
                if route.matches('/').count() < 2 {
                    continue;
                }
                seen += 1;
                let parts: Vec<&str> = route.split('/').collect();
                // `/api/webrtc` means all of them.
                let is = |known: &Vec<&str>| {
                    known.len() >= parts.len()
                        && (known.len() == parts.len() || route == "/api/webrtc")
                        && known.iter().zip(&parts).all(|(known, part)| {
                            known == part || known.starts_with('{') || part.starts_with('{')
                        })
                };
                if !known.iter().any(is) {
                    unknown.push(format!("{}: {route}", path.display()));
                }
            }
        }
    }
    assert!(seen > 10, "only {seen} routes were seen");
    assert!(unknown.is_empty(), "no such routes:\n{}", unknown.join("\n"));
}

/// `wrtc-gateway WORD ... --flag`, as `--help` has them.
#[test]
fn commands() {
    let help = |arguments: &[&str]| {
        let gateway = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway")).args(arguments).output();
        String::from_utf8(gateway.unwrap().stdout).unwrap()
    };
    let all = help(&["--help"]);
    let known: Vec<&str> = all
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .map_while(|line| line.trim().split(' ').next().filter(|word| !word.is_empty()))
        .collect();
    assert!(known.contains(&"serve"), "{all}");
    let (mut seen, mut unknown) = (0, Vec::new());
    for (path, text) in for_operators() {
        for line in code(&text) {
            let Some((_, after)) = line.split_once("wrtc-gateway ") else { continue };
            let mut words = after.split([' ', '=']);
            let Some(first) = words.next() else { continue };
            // A unit, a package, a user of that name.
            let is_command = first.chars().all(|c| c.is_ascii_lowercase());
            let ours = line.starts_with("wrtc-gateway") || line.contains("/wrtc-gateway ");
            if first.is_empty() || !is_command || !ours {
                continue;
            }
            seen += 1;
            if !known.contains(&first) {
                unknown.push(format!("{}: {line}", path.display()));
                continue;
            }
            let flags = help(&[first, "--help"]);
            for flag in words.filter(|word| word.starts_with("--")) {
                if !flags.contains(flag) {
                    unknown.push(format!("{}: {flag} in {line}", path.display()));
                }
            }
        }
    }
    assert!(seen > 10, "only {seen} commands were seen");
    assert!(unknown.is_empty(), "no such commands:\n{}", unknown.join("\n"));
}
