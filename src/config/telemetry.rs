//! The sections `[log]`, `[metrics]` and `[tracing]`.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use figment::value::Value;

use super::load::Loader;
use super::parse::{self, Raw, Wrong, wrong};

/// A file beyond this is no file that anybody opens.
const ROTATE_MB: RangeInclusive<u64> = 0..=10_000;

/// Files beside the current one. Each rotation renames them all.
const KEEP: RangeInclusive<u64> = 1..=365;

/// Characters of a filter. Each line that is logged may be compared with each of its directives.
const MAX_LEVEL: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a `tracing-subscriber` filter directive list.
    pub level: String,
    pub format: LogFormat,
    /// Standard error without one.
    pub file: Option<LogFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where the log goes, and when another file is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    /// Bytes; `None`: however long it gets.
    pub rotate_at: Option<u64>,
    /// Also with each day (UTC).
    pub daily: bool,
    /// How many older ones stay, `.1` the latest.
    pub keep: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics {
    /// `/metrics` alone, for whoever reaches the address.
    pub listen: Option<SocketAddr>,
    /// At `http.listen` it asks nobody for a token.
    pub open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tracing {
    /// The collector that each call's trace goes to.
    pub otlp: Option<Collector>,
}

/// An OTLP/HTTP collector, as in `https://collector.example:4318`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    pub tls: bool,
    /// A name or an address; a v6 one without brackets.
    pub host: String,
    pub port: u16,
    /// Of the traces' endpoint: what was given, and `/v1/traces`.
    pub path: String,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl Collector {
    /// As in a `Host` header.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Loader {
    pub(super) fn log(&mut self) -> Log {
        let path = self.take("log.file", parse::path);
        let rotate_mb =
            self.take("log.rotate_mb", |raw| parse::count(raw, ROTATE_MB, " MB; 0: never"));
        let daily = self.take("log.rotate_daily", flag).unwrap_or(false);
        let keep = self.take("log.keep", |raw| parse::count(raw, KEEP, " files"));
        for key in ["log.rotate_mb", "log.rotate_daily", "log.keep"] {
            if self.is_given(key) && !self.is_given("log.file") {
                self.clash(key, "log.file is missing", "give it, or leave this one out");
            }
        }
        Log {
            level: self.take("log.level", log_level).unwrap_or_else(|| "info".to_owned()),
            format: self.take("log.format", log_format).unwrap_or(LogFormat::Text),
            file: path.map(|path| LogFile {
                path,
                rotate_at: Some(rotate_mb.unwrap_or(100) * 1_000_000).filter(|bytes| *bytes > 0),
                daily,
                keep: keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(7),
            }),
        }
    }

    pub(super) fn metrics(&mut self) -> Metrics {
        let listen = self.take("metrics.listen", parse::socket_address);
        Metrics { listen, open: self.take("metrics.open", flag).unwrap_or(false) }
    }

    pub(super) fn tracing(&mut self) -> Tracing {
        Tracing { otlp: self.take("tracing.otlp", collector) }
    }
}

fn flag(raw: &Raw) -> Result<bool, Wrong> {
    match raw {
        Raw::Toml(Value::Bool(_, flag)) => Ok(*flag),
        other => match other.text() {
            Ok("true") => Ok(true),
            Ok("false") => Ok(false),
            _ => Err(wrong("it is neither true nor false", "write true or false")),
        },
    }
}

fn collector(raw: &Raw) -> Result<Collector, Wrong> {
    let text = raw.text()?;
    let remedy = "write it as http://collector.example:4318 or https://collector.example";
    let bad = || wrong("it is no address of a collector", remedy);
    let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err(bad()),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // With a user's name, a query or a fragment it would be something else than it looks like.
    if authority.contains('@') || path.contains(['?', '#']) || !path.is_ascii() {
        return Err(bad());
    }
    let (host, port) = parse::split_port(authority).ok_or_else(bad)?;
    let path = path.trim_end_matches('/');
    if !path.chars().all(|c| c.is_ascii_graphic()) {
        return Err(bad());
    }
    Ok(Collector {
        tls,
        host: parse::host(host).ok_or_else(bad)?,
        port: port.unwrap_or(if tls { 443 } else { 4318 }),
        path: match path.ends_with("/v1/traces") {
            true => path.to_owned(),
            false => format!("{path}/v1/traces"),
        },
    })
}

/// Is this a log filter, as `log.level` and `PUT /api/log` take it?
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn check_log_level(text: &str) -> Result<(), String> {
    check_level(text).map_err(|wrong| format!("{}; {}", wrong.reason, wrong.remedy))
}

fn log_level(raw: &Raw) -> Result<String, Wrong> {
    let text = raw.text()?;
    check_level(text)?;
    Ok(text.to_owned())
}

fn check_level(text: &str) -> Result<(), Wrong> {
    let remedy = "choose error, warn, info, debug or trace, or write directives such as \
                  info,wrtc_gateway::sip=debug";
    let known = |level: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(level.trim()))
    };
    // EnvFilter takes any bare word for a module's name: `inf` would silence everything else.
    let directive = |one: &str| match one.rsplit_once('=') {
        Some((_, level)) => known(level),
        None => known(one),
    };
    if text.len() > MAX_LEVEL || !text.split(',').all(directive) {
        return Err(wrong("it is not a log level", remedy));
    }
    tracing_subscriber::EnvFilter::try_new(text)
        .map(drop)
        .map_err(|error| wrong(format!("it is not a log filter: {error}"), remedy))
}

fn log_format(raw: &Raw) -> Result<LogFormat, Wrong> {
    match raw.text()? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(wrong("there is no such format", "choose text or json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors() {
        let read = |text: &str| collector(&Raw::Text(text.to_owned())).map(|c| c.to_string());
        for (given, meant) in [
            ("http://otel:4318", "http://otel:4318/v1/traces"),
            ("http://otel", "http://otel:4318/v1/traces"),
            ("https://otel.example/", "https://otel.example:443/v1/traces"),
            ("https://otel.example/tenant/v1/traces", "https://otel.example:443/tenant/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(read(given).unwrap(), meant);
        }
        for wrong in [
            "otel:4318",
            "grpc://otel",
            "http://",
            "http://a b",
            "http://u:p@otel",
            "http://otel/?a=b",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn levels() {
        for good in ["info", "warn,wrtc_gateway::sip=debug", "sip_trace=trace,info"] {
            assert!(check_log_level(good).is_ok(), "{good}");
        }
        for bad in ["inf", "", "info,", "wrtc_gateway=loud", &"info,".repeat(300)] {
            assert!(check_log_level(bad).is_err(), "{bad}");
        }
    }
}
