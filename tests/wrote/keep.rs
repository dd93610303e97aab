//! Keeps what gateways of the tests have written, and the secrets that they were used with, for
//! `bash tests/run.sh secrets`, which looks for the ones in the other.
//!
//! It goes into the folder that `GATEWAYS_WROTE` names, each step of tests/run.sh its own: `NAME.secrets` has
//! a kind, a tab and a secret a line, whatever else is there was written by a gateway. Without the variable nothing is
//! kept.
#![allow(dead_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

pub const FOLDER: &str = "GATEWAYS_WROTE";
pub const SECRETS: &str = "secrets";

/// Of every DN, where a test has no reason for another: no word of any language.
pub const PASSWORD: &str = "pw-Vt7q-Xk93-Wz";

/// What a gateway in a test's own process is let tell. Packets are not logged by the gateway; by the browser in the same
/// process they are.
pub const FILTER: &str = "wrtc_gateway=trace,rsipstack=trace,hyper=trace,rustls=trace,info";

/// Bytes of one file: a test that floods must not fill the disk.
const MOST: usize = 16 * 1024 * 1024;

/// Settings that hold secrets, and those that name files which do.
const HOLD: &[&str] = &["turn.secret", "connector.tokens"];
const NAME: &[&str] = &[
    "turn.secret_file",
    "connector.tokens_file",
    "agents.secrets_file",
    "agents.token_key_file",
    "journal.hep_password_file",
    "http.tls_key",
    "sip.tls_key",
    "turn.tls_key",
];
/// Settings that name files which the gateway writes.
const WRITTEN: &[&str] = &["log.file", "journal.call_records", "journal.store"];

fn folder() -> Option<&'static Path> {
    static WHERE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let named = WHERE.get_or_init(|| {
        let folder = PathBuf::from(std::env::var_os(FOLDER)?);
        std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        Some(folder)
    });
    named.as_deref()
}

/// Whether somebody looks through it afterwards.
pub fn is_kept() -> bool {
    folder().is_some()
}

/// The log's level of a gateway that is a process: all there is where it is looked through, else what a person wants to see
/// of a test that has failed.
pub fn log_level() -> &'static str {
    if is_kept() { "log.level=wrtc_gateway=trace,hyper=trace,info" } else { "log.level=warn" }
}

/// A file of this process's own, by the name of its test.
fn create(name: &str) -> Option<File> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let test = std::thread::current().name().unwrap_or("thread").replace("::", ".");
    let path = folder()?.join(format!("{test}-{pid}-{number}.{name}"));
    Some(File::create(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// A file that does not grow without end: what it has no room for is dropped.
struct Kept {
    file: Option<File>,
    left: usize,
}

impl Kept {
    fn create(name: &str) -> Self {
        Self { file: create(name), left: MOST }
    }

    fn take(&mut self, written: &[u8]) {
        let written = &written[..written.len().min(self.left)];
        self.left -= written.len();
        if let Some(file) = &mut self.file {
            file.write_all(written).expect("room on the disk");
        }
    }
}

/// One of the kind for all of a process.
struct Shared(Mutex<Option<Kept>>);

impl Shared {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn take(&self, name: &str, written: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| Kept::create(name)).take(written);
    }
}

/// Something that a gateway has written or told.
pub fn bytes(name: &str, written: &[u8]) {
    if is_kept() && !written.is_empty() {
        Kept::create(name).take(written);
    }
}

/// No gateway may write or show this from now on. What is too short to be told from other text is counted by who looks.
pub fn secret(kind: &str, value: &str) {
    static BOOK: Mutex<Option<File>> = Mutex::new(None);
    let Some(folder) = folder() else { return };
    let mut book = BOOK.lock().unwrap_or_else(PoisonError::into_inner);
    if book.is_none() {
        let path = folder.join(format!("{}.{SECRETS}", std::process::id()));
        let mut opened = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
        writeln!(opened, "a DN's password\t{PASSWORD}").expect("room on the disk");
        *book = Some(opened);
    }
    let Some(book) = book.as_mut() else { return };
    for line in value.lines().filter(|line| !line.is_empty()) {
        book.write_all(format!("{kind}\t{line}\n").as_bytes()).expect("room on the disk");
    }
}

/// The secrets of a configuration, as `--set` has it.
pub fn settings<'a>(settings: impl IntoIterator<Item = &'a str>) {
    if !is_kept() {
        return;
    }
    for set in settings {
        let Some((key, value)) = set.split_once('=') else { continue };
        let pairs = |text: &str| {
            for token in text.split([',', '\n']) {
                secret(key, token.split('=').next().unwrap_or_default().trim());
            }
        };
        match key {
            "connector.tokens" => pairs(value),
            key if HOLD.contains(&key) => secret(key, value),
            key if NAME.contains(&key) => {
                let Ok(text) = std::fs::read_to_string(value) else { continue };
                match key {
                    "connector.tokens_file" => pairs(&text),
                    "agents.secrets_file" => {
                        for (_, value) in text.lines().filter_map(|line| line.split_once('=')) {
                            secret(key, value.trim());
                        }
                    }
                    key if key.ends_with("tls_key") => text
                        .lines()
                        .filter(|line| !line.starts_with("--"))
                        .for_each(|line| secret(key, line)),
                    _ => secret(key, text.trim()),
                }
            }
            _ => {}
        }
    }
}

/// The secrets that an answer of the gateway's has handed out.
pub fn handed_out(body: &str) {
    if !is_kept() {
        return;
    }
    if let Some(ssid) = body.strip_prefix("SSID=") {
        secret("an SSID", ssid.lines().next().unwrap_or_default());
    }
    for (kind, before) in [("a token", "\"token\":\""), ("a TURN credential", "\"credential\":\"")]
    {
        for piece in body.split(before).skip(1) {
            secret(kind, piece.split('"').next().unwrap_or_default());
        }
    }
    description(body);
}

/// The keys of a description, alone or inside of JSON.
pub fn description(text: &str) {
    for (kind, before) in [("an ICE password", "a=ice-pwd:"), ("an SRTP key", " inline:")] {
        for piece in text.split(before).skip(1) {
            let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '+' && c != '/');
            secret(kind, &piece[..end.unwrap_or(piece.len())]);
        }
    }
}

/// What a gateway showed at a path: that of operators is kept, of all others it is known what it hands out.
pub fn shown(path: &str, body: &str) {
    static ANSWERS: Shared = Shared::new();
    let hands_out = ["/api/webrtc/", "/api/tokens", "/api/connector/", "/api/ice"];
    let is_for_operators = path.starts_with("/api/") || path == "/metrics";
    if !is_for_operators || hands_out.iter().any(|prefix| path.starts_with(prefix)) {
        handed_out(body);
    } else if is_kept() && path != "/api/health" {
        ANSWERS.take("answers", format!("{path}: {body}\n").as_bytes());
    }
}

/// The log of a gateway in this process, for tests that do not take it themselves.
pub fn log() {
    static LOG: Shared = Shared::new();
    struct Into;
    impl Write for Into {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            LOG.take("log", line);
            Ok(line.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    if !is_kept() {
        return;
    }
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Into);
    let filter = tracing_subscriber::EnvFilter::new(FILTER);
    // By the name of the test, and not of whichever thread has something to say first.
    LOG.take("log", b"");
    // A second gateway of the same test finds it there.
    let _ = subscriber.with_env_filter(filter).try_init();
}

/// What a gateway that is a process writes, until it has ended: goes after the process.
#[derive(Default)]
pub struct Written {
    threads: Vec<JoinHandle<()>>,
    files: Vec<PathBuf>,
}

impl Written {
    /// By its command line, which may hold secrets too.
    pub fn by(command: &Command) -> Self {
        let sets: Vec<&str> = command.get_args().filter_map(|word| word.to_str()).collect();
        settings(sets.iter().copied());
        for token in sets.windows(2).filter(|two| two[0] == "--password") {
            secret("a DN's password", token[1]);
        }
        let files = sets.iter().filter_map(|set| set.split_once('='));
        let files = files.filter(|(key, _)| is_kept() && WRITTEN.contains(key));
        Self { threads: Vec::new(), files: files.map(|(_, path)| path.into()).collect() }
    }

    /// Takes its standard error, if that is a pipe.
    pub fn errors_of(&mut self, child: &mut Child) {
        if let Some(stderr) = child.stderr.take() {
            self.follow("stderr", stderr);
        }
    }

    /// Reads to the end; the other end never waits.
    pub fn follow(&mut self, name: &str, mut from: impl Read + Send + 'static) {
        let mut kept = Kept::create(name);
        let copy = move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                kept.take(&buffer[..read]);
            }
        };
        self.threads.push(std::thread::spawn(copy));
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // What was set aside stands beside it: `log.1`, `calls.db-wal`.
        for path in self.files.drain(..) {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let name = name.to_string_lossy().into_owned();
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let is_one = entry.file_name().to_string_lossy().starts_with(&name);
                // A pipe would be waited for.
                if is_one && entry.path().is_file() {
                    let read = std::fs::read(entry.path()).unwrap_or_default();
                    bytes(&entry.file_name().to_string_lossy(), &read);
                }
            }
        }
    }
}
