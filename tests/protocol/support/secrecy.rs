//! Nothing that the gateway logs has a secret of the test in it, not at the most talkative level either.
//!
//! A test is a process, so that what is logged in it is what its gateway has logged (and the lab beside
//! it). Whoever makes or gets a secret says so by [`forbid`]; the end of the gateway looks.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;

/// Packets are not logged by the gateway; by the browser in the same process they are.
const FILTER: &str = "wrtc_gateway=trace,rsipstack=trace,hyper=trace,rustls=trace,info";

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
    fn look(&mut self) {
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
    let mut capture = capture();
    let known = capture.secrets.iter().any(|(_, known)| known == secret);
    if secret.len() >= SHORTEST && !known {
        capture.secrets.push((what, secret.to_owned()));
    }
}

/// So much was logged until now: a capture that has none would find nothing.
pub fn logged() -> usize {
    capture().log.len()
}

/// Looks when it goes.
pub struct Watch(());

impl Watch {
    pub fn begin() -> Self {
        let filter = EnvFilter::new(FILTER);
        // A second gateway of the same test finds it there.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .with_writer(|| Into)
            .try_init();
        Watch(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
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
            capture.log.clear();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
