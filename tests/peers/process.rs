//! Programs that run beside a test: started with their own folder and free ports, ended with the test.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

#[path = "../cli/ports.rs"]
mod ports;

pub use ports::{free_block, free_port};

/// Longer than anything takes on a busy two-core machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A folder of a test's own, under the target folder. It stays, for who looks at a failure.
pub fn folder(name: &str) -> PathBuf {
    let unique = format!("{name}-{:08x}", rand::random::<u32>());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers").join(unique);
    std::fs::create_dir_all(&folder).expect("a folder under target");
    folder
}

pub struct Process {
    child: Child,
    name: String,
    pub folder: PathBuf,
}

impl Process {
    /// Output goes to `log` in the folder. The program ends with this process, however that ends.
    pub fn start(name: &str, folder: &Path, arguments: &[&str]) -> Self {
        let log = File::create(folder.join("log")).expect("a log file");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", name])
            .args(arguments)
            .env("TERM", "xterm")
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a second handle"))
            .stdout(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, name: name.to_owned(), folder: folder.to_owned() }
    }

    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.folder.join("log")).unwrap_or_default();
        // The end tells why.
        let tail = &bytes[bytes.len().saturating_sub(4000)..];
        String::from_utf8_lossy(tail).into_owned()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the program to end by itself.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < end, "{} goes on: {}", self.name, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    // Nothing can be awaited here, and the port has to be free for who comes next.
    #[allow(clippy::disallowed_methods)]
    fn drop(&mut self) {
        // TERM, so that a parent ends its children.
        if self.is_running() {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        }
        let end = Instant::now() + Duration::from_secs(5);
        while self.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Whatever is left of its process group: a child that it had just begun when it was ended.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}
