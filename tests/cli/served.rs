//! `wrtc-gateway serve` as a process, in front of a SIP server of the test's own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::wrote::{self, Written};

#[path = "ports.rs"]
mod ports;

#[allow(unused_imports)]
pub use ports::free_port;

/// Generous: nothing here is about speed.
pub const LIMIT: Duration = Duration::from_secs(60);

pub struct Served {
    child: Child,
    pub base: String,
    _written: Written,
}

impl Served {
    /// Waits until it serves.
    pub fn start(settings: &[String]) -> Self {
        let sets = settings.iter().flat_map(|set| ["--set", set.as_str()]);
        Self::run(&sets.collect::<Vec<_>>())
    }

    pub fn run(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wrtc-gateway"));
        command.arg("serve").args(arguments).env_clear();
        Self::of(command)
    }

    /// Of any command that becomes the gateway.
    pub fn of(mut command: Command) -> Self {
        let mut written = Written::by(&command);
        if wrote::is_kept() {
            command.stderr(Stdio::piped());
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        written.errors_of(&mut child);
        let mut line = String::new();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        printed.read_line(&mut line).unwrap();
        let base = line.trim().strip_prefix("serving at ").unwrap_or_else(|| panic!("{line:?}"));
        let base = base.trim_end_matches('/').to_owned();
        written.follow("stdout", printed);
        Self { child, base, _written: written }
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid()]).status().unwrap().success());
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On loopback, with any ports but those of `more`.
pub fn settings(sip_server: std::net::SocketAddr, more: &[&str]) -> Vec<String> {
    let server = format!("sip.servers=sip:{sip_server}");
    let base = [
        "http.listen=127.0.0.1:0",
        &server,
        "sip.domain=demo.invalid",
        "sip.listen=127.0.0.1:0",
        "media.listen=127.0.0.1:0",
        "media.rtp_address=127.0.0.1",
        wrote::log_level(),
    ];
    base.iter().chain(more).map(|set| (*set).to_owned()).collect()
}
