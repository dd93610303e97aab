//! The section `[journal]`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::load::Loader;
use super::parse::{self, Raw, Wrong, wrong};
use super::types::{CallStore, Hep, Journal};
use crate::journal::Target;

/// Ten years: what has to stay longer belongs into an archive.
const KEEP_DAYS: RangeInclusive<u64> = 1..=3650;

/// Below, a few calls with their messages would push each other out; a terabyte is nobody's.
const MEGABYTES: RangeInclusive<u64> = 10..=1_000_000;

/// What Homer listens on.
const HEP_PORT: u16 = 9060;

/// The number that Homer's own agents take for themselves unless told otherwise.
const CAPTURE_ID: u32 = 2001;

const DAY: u64 = 86_400;

impl Loader {
    pub(super) fn journal(&mut self) -> Journal {
        let call_records = self.take("journal.call_records", call_records).flatten();
        Journal { store: self.call_store(), hep: self.hep(), call_records }
    }

    fn call_store(&mut self) -> CallStore {
        let days = self
            .take("journal.keep_days", |raw| parse::count(raw, KEEP_DAYS, " days"))
            .unwrap_or(30);
        let megabytes = self
            .take("journal.max_megabytes", |raw| parse::count(raw, MEGABYTES, " MB"))
            .unwrap_or(1024);
        let switch = [("on", true), ("off", false)];
        CallStore {
            file: self.take("journal.store", file).flatten(),
            keep: Duration::from_secs(days * DAY),
            max_bytes: megabytes * 1_000_000,
            bodies: self
                .take("journal.keep_bodies", |raw| parse::word(raw, &switch))
                .unwrap_or(true),
        }
    }

    fn hep(&mut self) -> Option<Hep> {
        let target = self.take("journal.hep", hep_target);
        let capture_id = self
            .take("journal.hep_capture_id", |raw| parse::count(raw, 0..=u32::MAX.into(), ""))
            .and_then(|id| u32::try_from(id).ok())
            .unwrap_or(CAPTURE_ID);
        let password_file = self.take("journal.hep_password_file", parse::path);
        let (host, port) = target.flatten()?;
        Some(Hep { host, port, capture_id, password_file })
    }
}

/// Empty for none: the calls stay in memory.
fn file(raw: &Raw) -> Result<Option<PathBuf>, Wrong> {
    let path = PathBuf::from(raw.text()?);
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    if path.file_name().is_none() || path.is_dir() {
        return Err(wrong(
            "it is a directory",
            "name a file in it, as in /var/lib/wrtc-gateway/calls.db",
        ));
    }
    Ok(Some(path))
}

/// `-` for standard output, empty for nowhere.
fn call_records(raw: &Raw) -> Result<Option<Target>, Wrong> {
    match raw.text()? {
        "-" => Ok(Some(Target::Stdout)),
        _ => Ok(file(raw)?.map(Target::File)),
    }
}

fn hep_target(raw: &Raw) -> Result<Option<(String, u16)>, Wrong> {
    let text = raw.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    let target = text.strip_prefix("udp:").and_then(|authority| {
        let (host, port) = parse::split_port(authority)?;
        Some((parse::host(host)?, port.unwrap_or(HEP_PORT)))
    });
    target.map(Some).ok_or_else(|| {
        wrong("it is no address of a HEP collector", "write it as udp:homer.example:9060")
    })
}
