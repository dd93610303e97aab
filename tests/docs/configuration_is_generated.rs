//! `docs/configuration.md` is written from `examples/gw.toml` and from what the code says of a wrong
//! value. `WRTC_WRITE_DOCS=1 cargo nextest run --test docs` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wrtc_gateway::config::{Config, KEYS, Origin, environment_name};
use wrtc_gateway::gateway::LIVE_KEYS;

use crate::files::root;

/// What stands in the example of a key.
#[derive(Debug, Default, Clone)]
struct Shown {
    /// The comment above it, or above the key beside which it stands.
    comment: String,
    value: String,
    /// Behind a `#`: it has no default, or one that the host decides.
    commented_out: bool,
}

/// The comment above each section's header, and every key of the example.
fn read_example(text: &str) -> (BTreeMap<String, String>, BTreeMap<String, Shown>) {
    let (mut sections, mut keys) = (BTreeMap::new(), BTreeMap::new());
    let (mut section, mut comment, mut fresh) = (String::new(), String::new(), true);
    for line in text.lines() {
        let bare = line.strip_prefix("# ").or_else(|| line.strip_prefix('#')).unwrap_or(line);
        if let Some((name, value)) = bare.split_once(" = ").filter(|(name, _)| is_name(name)) {
            let commented_out = bare != line;
            let value = value.to_owned();
            let shown = Shown { comment: comment.clone(), value, commented_out };
            keys.insert(format!("{section}.{name}"), shown);
            fresh = true;
        } else if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'))
        {
            section = header.to_owned();
            // What stands above the last key is that key's.
            let above = std::mem::take(&mut comment);
            sections.insert(section.clone(), if fresh { String::new() } else { above });
            fresh = true;
        } else if bare != line || line == "#" {
            if fresh {
                comment.clear();
            }
            fresh = false;
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(bare.trim());
        } else if line.is_empty() {
            fresh = true;
        } else {
            panic!("neither key nor comment nor header: {line}");
        }
    }
    (sections, keys)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// What the gateway itself says to who has the value wrong.
fn form(key: &str) -> Option<String> {
    // A number beyond every bound tells the bounds; to what is a text it may be fine.
    let wrong = ["99999999999999999", "\u{1}\u{1}", ""];
    wrong.into_iter().find_map(|value| {
        let sets = ["sip.servers=sip:a.example".to_owned(), format!("{key}={value}")];
        let errors = Config::load(None, [], &sets).err()?;
        let ours = |fault: &&wrtc_gateway::config::Fault| {
            fault.key == key && fault.origin == Origin::Set && !fault.reason.contains(" missing")
        };
        errors.0.iter().find(ours).map(|fault| fault.remedy.clone())
    })
}

fn document() -> String {
    let example = std::fs::read_to_string(root().join("examples/gw.toml")).unwrap();
    let (sections, shown) = read_example(&example);
    let mut text = String::from(
        "<!-- Written by `WRTC_WRITE_DOCS=1 cargo nextest run --test docs` from examples/gw.toml and the code. -->\n\n\
         # Configuration\n\n\
         Every key there is. One file of [TOML](https://toml.io) (`--config gw.toml`), the environment and `--set key=value` hold the same\n\
         keys; of several the latter wins. In the environment and behind `--set` a list is written with commas. Everything\n\
         is checked before the first port is opened: `wrtc-gateway check --config gw.toml` tells all that is wrong, with the line, the\n\
         reason and the remedy, and opens no port: of each key by itself first, then of keys that do not go together, then of the files that they\n\
         name. `wrtc-gateway doctor` looks at the host and the network besides. [examples/gw.toml](../examples/gw.toml) has the same keys to begin a file with.\n\n\
         Unknown keys are faults, in the file as in the environment: a key that is misspelt is never one that is silently left out.\n\
         Variables that begin with `WRTC_` are taken to be meant for the gateway, but for those that Kubernetes makes of a service's name.\n\n\
         A reload (SIGHUP, `POST /api/reload`) reads the same sources again, checks them as a whole, and takes the keys of which that is\n\
         said below; calls and sessions go on with what they began with. It says which changed keys want a restart.\n\n",
    );
    let mut last = "";
    for key in KEYS {
        let (section, _) = key.split_once('.').unwrap();
        if section != last {
            last = section;
            let _ = write!(text, "## [{section}]\n\n");
            if let Some(about) = sections.get(section).filter(|about| !about.is_empty()) {
                let _ = write!(text, "{about}\n\n");
            }
        }
        let shown = shown.get(*key).unwrap_or_else(|| panic!("{key} is not in examples/gw.toml"));
        let _ = write!(text, "### `{key}`\n\n");
        if !shown.comment.is_empty() {
            let _ = write!(text, "{}\n\n", shown.comment);
        }
        let label = match *key {
            "sip.servers" => "has to be given, as in",
            _ if shown.commented_out => "unset unless given, as in",
            _ => "default",
        };
        let _ = writeln!(text, "* {label} `{}`", shown.value);
        if let Some(form) = form(key) {
            let _ = writeln!(text, "* {form}");
        }
        let _ = writeln!(text, "* `{}`", environment_name(key));
        let live = if LIVE_KEYS.contains(key) { "a reload takes it" } else { "wants a restart" };
        let _ = write!(text, "* {live}\n\n");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[test]
fn it_is_up_to_date() {
    let path = root().join("docs/configuration.md");
    let text = document();
    if std::env::var_os("WRTC_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let first = written.lines().zip(text.lines()).find(|(is, should)| is != should);
    assert!(
        written == text,
        "docs/configuration.md is stale, first at {first:?}: WRTC_WRITE_DOCS=1 cargo nextest run --test docs"
    );
}
