//! Nothing that the gateway logs has a secret of the test in it, not at the most talkative level either.
//!
//! A test is a process, so that what is logged in it is what its gateway has logged (and the lab beside
//! it). Whoever makes or gets a secret says so by [`forbid`]; the end of the gateway looks.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;
use wrtc_gateway::agent::Backend as _;
use wrtc_gateway::gateway::Gateway;
use wrtc_gateway::journal::Timelines;
use wrtc_gateway::journal::store::{Search, Store};

use crate::wrote;

/// What is kept of the log before it is looked through.
const KEPT: usize = 16 * 1024 * 1024;

/// Shorter ones stand in other words by chance.
const SHORTEST: usize = 6;

struct Capture {
    log: Vec<u8>,
    secrets: Vec<(&'static str, String)>,
    found: Vec<String>,
}

static CAPTURE: Mutex<Capture> =
    Mutex::new(Capture { log: Vec::new(), secrets: Vec::new(), found: Vec::new() });

fn capture() -> MutexGuard<'static, Capture> {
    CAPTURE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Capture {
    /// What has a secret in it fails this test, and is not left for others to find again.
    fn look(&mut self) {
        let found = self.found.len();
        self.look_for_each();
        if self.found.len() == found {
            wrote::bytes("log", &self.log);
        }
        self.log.clear();
    }

    fn look_for_each(&mut self) {
        let text = String::from_utf8_lossy(&self.log);
        for (what, secret) in &self.secrets {
            let Some(at) = text.find(secret.as_str()) else { continue };
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let until = text[at..].find('\n').map_or(text.len(), |end| at + end);
            self.found.push(format!("{what} in: {}", &text[line..until]));
        }
    }
}

/// From now on this must be in no line of the log.
pub fn forbid(what: &'static str, secret: &str) {
    wrote::secret(what, secret);
    let mut capture = capture();
    let known = capture.secrets.iter().any(|(_, known)| known == secret);
    if secret.len() >= SHORTEST && !known {
        capture.secrets.push((what, secret.to_owned()));
    }
}

/// So much was logged since the last look: a capture that has none would find nothing.
pub fn logged() -> usize {
    capture().log.len()
}

/// What was logged since the last look.
pub fn log() -> String {
    String::from_utf8_lossy(&capture().log).into_owned()
}

/// Looks when it goes.
#[derive(Default)]
pub struct Watch {
    /// What the gateway remembers is left with its log.
    remembered: Option<(Arc<Timelines>, Option<Arc<Store>>)>,
}

impl Watch {
    pub fn begin() -> Self {
        let filter = EnvFilter::new(wrote::FILTER);
        // A second gateway of the same test finds it there.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(|| Into)
            .try_init();
        Watch::default()
    }

    pub fn reads(&mut self, gateway: &Gateway) {
        let timelines = gateway.timelines().filter(|_| wrote::is_kept());
        self.remembered = timelines.map(|timelines| (timelines, gateway.store()));
    }

    /// Records and timelines of all calls, bodies too.
    fn leave(&self) {
        let Some((timelines, Some(store))) = &self.remembered else { return };
        timelines.flush();
        let Ok(page) = store.search(&Search::default(), 1000) else { return };
        let mut all = String::new();
        for record in page.records {
            let known: serde_json::Value = serde_json::from_str(&record).expect("JSON");
            let id = known["call"].as_str().expect("an id");
            let live = timelines.find(id);
            let view = live.or_else(|| timelines.find_kept(id).ok().flatten());
            let told = view.map(|view| serde_json::to_string_pretty(&view.timeline).expect("JSON"));
            all.push_str(&format!("{record}\n{}\n", told.unwrap_or_default()));
        }
        wrote::bytes("calls", all.as_bytes());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.leave();
        let mut capture = capture();
        capture.look();
        let found = std::mem::take(&mut capture.found);
        drop(capture);
        if !std::thread::panicking() {
            assert!(found.is_empty(), "secrets were logged:\n{}", found.join("\n"));
        }
    }
}

struct Into;

impl Write for Into {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut capture = capture();
        capture.log.extend_from_slice(line);
        if capture.log.len() > KEPT {
            capture.look();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
