//! Secrets of DNs that the gateway looks up, so that no page has to have them.

use std::process::Stdio;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::conn::Asker;
use crate::config::{self, MAX_DN_SECRET, SecretsFor};
use crate::secret::Secret;

/// Commands at a time. A shift that comes in together waits in line; the machine is not to be stormed.
const AT_A_TIME: usize = 8;

/// What is read of a command's output: the longest secret, in four bytes a character, and its line's end.
const MAX_OUTPUT: u64 = 4 * MAX_DN_SECRET as u64 + 2;

/// What is ours is no business of the command's.
const OUR_ENVIRONMENT: &str = "WRTC_";

/// Why there is none though there ought to be. Names no secret, and nothing that the command has said.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookUpError {
    #[error("agents.secrets_command cannot be run: {0}")]
    Run(std::io::Error),
    #[error("agents.secrets_command ended with {0}")]
    Failed(std::process::ExitStatus),
    #[error("agents.secrets_command took longer than agents.secrets_command_seconds")]
    Slow,
    #[error("too many DNs wait for their turn with agents.secrets_command")]
    Crowded,
    #[error("agents.secrets_command wrote what is no secret of at most {MAX_DN_SECRET} characters")]
    Output,
}

/// How long a DN waits for its turn; a sign-in itself may take as long.
const QUEUE_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct DnSecrets {
    current: ArcSwap<config::DnSecrets>,
    running: Semaphore,
    /// [`QUEUE_LIMIT`].
    queue_limit: Duration,
}

impl DnSecrets {
    pub(super) fn new(config: &config::DnSecrets) -> Self {
        Self {
            current: ArcSwap::from_pointee(config.clone()),
            running: Semaphore::new(AT_A_TIME),
            queue_limit: QUEUE_LIMIT,
        }
    }

    pub(super) fn replace(&self, config: &config::DnSecrets) {
        self.current.store(config.clone().into());
    }

    /// Whether who asks may sign in with them without a one-time token.
    pub(super) fn are_for(&self, asker: Asker) -> bool {
        self.current.load().given_to == SecretsFor::Origins && asker.known_page
    }

    /// Whether there is something new in it.
    pub(super) fn read_again(&self) -> bool {
        let current = self.current.load_full();
        match current.read_again() {
            Ok(known) if known == current.known => false,
            Ok(known) => {
                tracing::info!(secrets = known.len(), "read agents.secrets_file again");
                self.current.store(config::DnSecrets { known, ..(*current).clone() }.into());
                true
            }
            Err(error) => {
                tracing::warn!("agents.secrets_file: {error}; what was read before stays");
                false
            }
        }
    }

    /// Says what is unwise about the file.
    pub(super) fn warn(&self) {
        if self.current.load().is_world_readable() {
            tracing::warn!(
                "agents.secrets_file can be read by everybody on this machine; chmod 640"
            );
        }
    }

    /// The secret of a DN: of the file, else of the command; `None` where neither has one.
    ///
    /// # Errors
    /// The command has failed: that the DN has no secret is not known.
    pub(super) async fn look_up(&self, dn: &str) -> Result<Option<Secret>, LookUpError> {
        let config = self.current.load_full();
        if let Some(known) = config.known.get(dn) {
            return Ok(Some(known.clone()));
        }
        let Some((program, arguments)) = config.command.split_first() else { return Ok(None) };
        // Some command would take it for an option.
        if dn.starts_with('-') {
            return Ok(None);
        }
        // A whole shift comes back at once after a restart: its turn is not the command's time.
        let place = tokio::time::timeout(self.queue_limit, self.running.acquire()).await;
        let Ok(_place) = place.map_err(|_| LookUpError::Crowded)? else { return Ok(None) };
        let run = run(program, arguments, dn);
        tokio::time::timeout(config.command_limit, run).await.unwrap_or(Err(LookUpError::Slow))
    }
}

/// Its first line. Killed when nobody waits for it any more.
async fn run(program: &str, arguments: &[String], dn: &str) -> Result<Option<Secret>, LookUpError> {
    let mut command = Command::new(program);
    command.args(arguments).arg(dn);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(OUR_ENVIRONMENT) {
            command.env_remove(name);
        }
    }
    // What it complains of could have the secret in it.
    let (stdin, stderr) = (Stdio::null(), Stdio::null());
    let command = command.stdin(stdin).stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true);
    let mut child = command.spawn().map_err(LookUpError::Run)?;
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_OUTPUT).read_to_end(&mut output).await.map_err(LookUpError::Run)?;
    }
    let status = child.wait().await.map_err(LookUpError::Run)?;
    if !status.success() {
        return Err(LookUpError::Failed(status));
    }
    let output = String::from_utf8(output).map_err(|_| LookUpError::Output)?;
    let line = output.lines().next().unwrap_or_default();
    if line.chars().count() > MAX_DN_SECRET || line.chars().any(char::is_control) {
        return Err(LookUpError::Output);
    }
    Ok((!line.is_empty()).then(|| Secret::new(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its turn is not the command's time, and it does not wait for ever for it.
    #[tokio::test]
    async fn who_waits_too_long_for_a_turn_is_told() {
        let config = config::DnSecrets {
            command: vec!["/bin/echo".to_owned()],
            command_limit: Duration::ZERO,
            ..config::DnSecrets::default()
        };
        let secrets =
            DnSecrets { queue_limit: Duration::from_millis(20), ..DnSecrets::new(&config) };
        let places = u32::try_from(AT_A_TIME).unwrap();
        let taken = secrets.running.acquire_many(places).await.unwrap();
        let told = tokio::time::timeout(QUEUE_LIMIT, secrets.look_up("5001")).await;
        assert!(matches!(told, Ok(Err(LookUpError::Crowded))), "{told:?}");
        drop(taken);
        let told = secrets.look_up("5001").await;
        assert!(matches!(told, Err(LookUpError::Slow)), "its turn has come: {told:?}");
    }
}
