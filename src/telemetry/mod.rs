//! Logs. Metrics, call records and the SIP trace get their place here too.

pub mod metrics;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// Starts logging to standard error, once per process; later calls do nothing.
///
/// # Errors
/// A `log.level` that is no filter directive.
pub fn start_logging(log: &Log) -> Result<(), ParseError> {
    // Browsers' ClientHellos carry extensions that rtc-dtls warns of one by one.
    let quiet = format!("rtc_dtls=error,{}", log.level);
    let filter: EnvFilter = EnvFilter::builder().parse(quiet)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second call happens in tests only, where the first one's choice is as good.
    let _ = match log.format {
        LogFormat::Text => builder.with_target(true).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
