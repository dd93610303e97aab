//! No password, token, SSID or key that the tests used is in anything that a gateway of theirs has written.
//!
//! `bash tests/run.sh` keeps what the gateways of each step write in `target/wrote/STEP`, and runs this last.

mod keep;
mod look;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use look::Secrets;

/// Slips that are told; the rest is counted.
const TOLD: usize = 40;

/// What one step has left.
#[derive(Debug, Default)]
struct Step {
    files: Vec<PathBuf>,
    bytes: u64,
    secrets: usize,
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files_below(&path, found)?,
            false => found.push(path),
        }
    }
    Ok(())
}

/// Steps by their names, and the secrets of them all: what one has used must not be in what another's gateway says either.
fn read(root: &Path) -> io::Result<(BTreeMap<String, Step>, Secrets)> {
    let (mut steps, mut secrets) = (BTreeMap::new(), Secrets::default());
    for folder in std::fs::read_dir(root)? {
        let folder = folder?;
        let (mut step, mut files) = (Step::default(), Vec::new());
        files_below(&folder.path(), &mut files)?;
        for path in files {
            if path.extension().is_some_and(|extension| extension == keep::SECRETS) {
                let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
                for (kind, secret) in text.lines().filter_map(|line| line.split_once('\t')) {
                    step.secrets += 1;
                    secrets.add(kind, secret);
                }
            } else {
                step.bytes += path.metadata()?.len();
                step.files.push(path);
            }
        }
        steps.insert(folder.file_name().to_string_lossy().into_owned(), step);
    }
    Ok((steps, secrets))
}

/// What is wrong, and what was looked through.
fn look_through(root: &Path) -> io::Result<(Vec<String>, String)> {
    let (steps, secrets) = read(root)?;
    let mut faults = Vec::new();
    if steps.is_empty() {
        faults.push("no step has left anything".to_owned());
    }
    for (name, step) in &steps {
        if step.bytes == 0 || step.secrets == 0 {
            let Step { bytes, secrets, .. } = step;
            faults.push(format!(
                "{name} has left {bytes} bytes and {secrets} secrets: nothing would be found"
            ));
        }
    }
    let (files, bytes) = steps
        .values()
        .fold((0, 0), |(files, bytes), step| (files + step.files.len(), bytes + step.bytes));
    let summary = format!(
        "secrets: {files} files, {bytes} bytes of {}; looked for {} secrets ({:?}); too short to be looked for: {:?}",
        steps.keys().cloned().collect::<Vec<_>>().join(", "),
        secrets.count(),
        secrets.looked_for,
        secrets.too_short,
    );
    let looker = secrets.looker().map_err(io::Error::other)?;
    for path in steps.values().flat_map(|step| &step.files) {
        let place = path.strip_prefix(root).unwrap_or(path).display();
        for found in looker.look(&std::fs::read(path)?) {
            faults.push(format!("{place}:{}: {}: {}", found.line, found.kind, found.around));
        }
    }
    Ok((faults, summary))
}

#[test]
#[ignore = "looks through what other tests have left: bash tests/run.sh secrets"]
fn nothing_that_was_written_has_a_secret() {
    let root = std::env::var_os(keep::FOLDER).expect("bash tests/run.sh secrets says where it is");
    let (faults, summary) = look_through(Path::new(&root)).unwrap();
    println!("{summary}");
    let told = &faults[..faults.len().min(TOLD)];
    assert!(faults.is_empty(), "{} slips:\n{}", faults.len(), told.join("\n"));
}

/// A folder that goes with the value.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("wrtc-wrote-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn faults(&self) -> Vec<String> {
        look_through(&self.0).unwrap().0
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_slip_is_told_with_its_place_and_kind() {
    let root = Root::new();
    root.file("rust/1.secrets", "an SSID\t0123456789abcdef\n");
    root.file("rust/deeper/a_test.log", "one\ntwo 0123456789abcdef!\n");
    root.file("e2e/2.secrets", "a token\tnever-said-anywhere\n");
    root.file("e2e/demo.stdout", "fine\nsaid 0123456789abcdef as well\n");
    let mut faults = root.faults();
    faults.sort();
    assert_eq!(
        faults,
        [
            "e2e/demo.stdout:2: an SSID: said [an SSID] as well",
            "rust/deeper/a_test.log:2: an SSID: two [an SSID]!"
        ]
    );
    root.file("rust/deeper/a_test.log", "one\ntwo\n");
    root.file("e2e/demo.stdout", "fine\n");
    assert_eq!(root.faults(), Vec::<String>::new());
}

/// A step whose gateways were not heard, or whose secrets nobody knows, would always pass.
#[test]
fn a_step_that_has_left_nothing_does_not_pass() {
    let root = Root::new();
    assert_eq!(root.faults().len(), 1);
    std::fs::create_dir(root.0.join("e2e")).unwrap();
    assert!(root.faults()[0].starts_with("e2e has left 0 bytes"), "{:?}", root.faults());
    root.file("e2e/demo.stdout", "fine\n");
    assert_eq!(root.faults().len(), 1, "but no secrets");
    root.file("e2e/1.secrets", "a token\tnever-said-anywhere\n");
    assert_eq!(root.faults().len(), 0);
}
