//! The log: its level, which changes while the gateway runs, and the way of its lines.

mod file;
mod writer;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

use crate::config::{Commit, Config, Log, LogFormat, Reload, check_log_level};
use file::Rotating;
use writer::{Sink, Writer};

/// Browsers' ClientHellos carry extensions that rtc-dtls warns of one by one. A SIP trace is switched on
/// for a DN, and then meant whatever the level of the rest.
const ALWAYS: &str = "rtc_dtls=error,sip_trace=trace";

/// What operators did is written whatever the level: nobody switches the trail off before they act.
const AUDIT: &str = "wrtc_gateway::audit=info";

/// The longest for which a level may be asked for, in seconds: a day.
pub const MAX_SECONDS: u64 = 86_400;

/// Why the log did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log.level = {level:?}: {source}")]
    Level { level: String, source: ParseError },
    #[error("log.file = \"{}\": {source}; check the directory and its permissions", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the log's thread did not start: {0}")]
    Thread(io::Error),
}

/// Why the level stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// The caller's.
    #[error("{0}")]
    Bad(String),
    #[error("the log's filter cannot be changed: {0}")]
    Gone(String),
}

/// What the log does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    pub level: String,
    /// What it goes back to.
    pub configured: String,
    /// When it does, if somebody asked for another for a time only.
    pub until: Option<SystemTime>,
    /// Lines that there was no room for or that could not be written.
    pub dropped: u64,
}

/// The one log of the process.
pub struct Logs {
    writer: Writer,
    filter: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
    level: Mutex<Level>,
}

struct Level {
    configured: String,
    current: String,
    until: Option<SystemTime>,
    /// Counts changes, so that the end of one does not undo a later one.
    change: u64,
}

/// A change of level for a time; see [`Logs::revert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change(u64);

static LOGS: OnceLock<Logs> = OnceLock::new();

/// Starts logging to standard error or a file, once per process; later calls do nothing.
///
/// # Errors
/// A `log.level` that is no filter directive, a `log.file` that cannot be written.
pub fn start(log: &Log) -> Result<(), LogError> {
    if LOGS.get().is_some() {
        return Ok(());
    }
    let filter = filter(&log.level)
        .map_err(|source| LogError::Level { level: log.level.clone(), source })?;
    let sink = match &log.file {
        None => Sink::Stderr,
        Some(file) => {
            let opened = Rotating::open(file.clone());
            let fault = |source| LogError::File { path: file.path.clone(), source };
            Sink::File(Box::new(opened.map_err(fault)?))
        }
    };
    let colours = matches!(sink, Sink::Stderr) && io::stderr().is_terminal();
    let writer = Writer::start(sink).map_err(LogError::Thread)?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(writer.clone()).with_ansi(colours);
    let lines = match log.format {
        LogFormat::Text => lines.with_target(true).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        // Somebody else's subscriber, in a test: as good.
        return Ok(());
    }
    let level =
        Level { configured: log.level.clone(), current: log.level.clone(), until: None, change: 0 };
    let filter = Box::new(move |filter| handle.reload(filter));
    let _ = LOGS.set(Logs { writer, filter, level: Mutex::new(level) });
    Ok(())
}

/// The process's log; `None` before [`start`].
pub fn logs() -> Option<&'static Logs> {
    LOGS.get()
}

fn filter(level: &str) -> Result<EnvFilter, ParseError> {
    // Of two directives for the same target the later one counts.
    EnvFilter::builder().parse(format!("{ALWAYS},{level},{AUDIT}"))
}

impl Logs {
    pub fn status(&self) -> LogStatus {
        let level = self.lock();
        LogStatus {
            level: level.current.clone(),
            configured: level.configured.clone(),
            until: level.until,
            dropped: self.writer.dropped(),
        }
    }

    /// Takes effect at once. With a time, whoever asks for it calls [`Logs::revert`] when that is over.
    ///
    /// # Errors
    /// It is no filter; everything stays.
    pub fn set(&self, level: &str, time: Option<Duration>) -> Result<Change, LevelError> {
        let mut now = self.lock();
        self.apply(level)?;
        level.clone_into(&mut now.current);
        now.until = time.map(|time| SystemTime::now() + time);
        now.change += 1;
        Ok(Change(now.change))
    }

    /// Back to what is configured, unless another change has been made meanwhile.
    pub fn revert(&self, change: Change) {
        let mut now = self.lock();
        if now.change == change.0 && self.apply(&now.configured).is_ok() {
            now.current = now.configured.clone();
            now.until = None;
            tracing::info!(level = %now.current, "the log's level is as configured again");
        }
    }

    /// For a reload of the configuration: `log.level` is another one. Does away with what was asked for
    /// in between.
    ///
    /// # Errors
    /// It is no filter; everything stays.
    pub fn configure(&self, level: &str) -> Result<(), LevelError> {
        let mut now = self.lock();
        self.apply(level)?;
        level.clone_into(&mut now.configured);
        level.clone_into(&mut now.current);
        now.until = None;
        now.change += 1;
        Ok(())
    }

    /// Opens `log.file` anew: for logrotate, on SIGHUP.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Before the process ends: waits until what was logged is written, `limit` at most.
    pub fn flush(&self, limit: Duration) {
        self.writer.flush(limit);
    }

    /// Lines that there was no room for or that could not be written.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    fn apply(&self, level: &str) -> Result<(), LevelError> {
        check_log_level(level).map_err(LevelError::Bad)?;
        let filter = filter(level).map_err(|error| LevelError::Bad(error.to_string()))?;
        (self.filter)(filter).map_err(|error| LevelError::Gone(error.to_string()))
    }

    fn lock(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `log.level` of a configuration that is read again. Where it is the same as before, a level that an
/// operator has asked for stays.
pub struct LogLevel;

impl Reload for LogLevel {
    fn prepare(&self, new: &Config) -> Result<Commit, String> {
        let level = new.log.level.clone();
        let differs = |logs: &&Logs| logs.status().configured != level;
        let Some(logs) = logs().filter(differs) else { return Ok(Box::new(|| {})) };
        check_log_level(&level).map_err(|fault| format!("log.level: {fault}"))?;
        Ok(Box::new(move || {
            if let Err(error) = logs.configure(&level) {
                tracing::error!(%error, "the log's level stays");
            }
        }))
    }
}
