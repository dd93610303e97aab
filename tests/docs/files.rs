//! The documents, as the tests read them.

use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whatever a person reads of this repository, by its path from the root.
pub fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let at_the_root = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    for path in at_the_root.filter(|path| is_document(path)) {
        found.push(path);
    }
    for folder in ["docs", "deploy", "api-spec", "examples", "tests", "web"] {
        gather(&root().join(folder), &mut found);
    }
    found.sort();
    assert!(found.len() > 10, "{found:?}");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

/// Those that people who run the gateway are told from.
pub fn for_operators() -> Vec<(PathBuf, String)> {
    let mut documents = documents();
    documents.retain(|(path, _)| {
        ["docs", "deploy"].iter().any(|folder| path.starts_with(folder))
            || path == Path::new("README.md")
    });
    documents
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

fn gather(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !["node_modules", "test-results", "target"].contains(&name) {
            gather(&path, found);
        } else if is_document(&path) {
            found.push(path);
        }
    }
}

/// The text without what stands between fences, whose content is no prose.
pub fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// Each line of a block of code, and what stands between backquotes, after an empty one: no section of a
/// block reaches that far.
pub fn code(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut code = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            code.push(line.trim().to_owned());
        } else {
            code.push(String::new());
            code.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    code
}
