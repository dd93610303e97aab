//! The files that a configuration names, read as a start reads them: for who asks whether it would start.

use std::path::Path;

use super::{start, turn};
use crate::config::Config;
use crate::journal;
use crate::sip::transport::tls::Tls;

/// What could not be read, each with its key: all of them, while [`start::start`] ends with the first.
pub fn faults(config: &Config) -> Vec<String> {
    let Config { http, sip, media, journal, .. } = config;
    let read = [
        crate::http::certificate_fault(http).map(|fault| fault.to_string()),
        Tls::load(&start::tls_files(&sip.tls)).err().map(|fault| fault.to_string()),
        start::tuning(media).err().map(|fault| fault.to_string()),
        journal
            .hep
            .as_ref()
            .and_then(|hep| journal::hep::fault(hep).map(|fault| fault.to_string())),
    ];
    let turn = turn::file_faults(&config.turn).into_iter().map(|fault| fault.to_string());
    read.into_iter().flatten().chain(turn).collect()
}

/// What would start, and does not do what it seems to.
pub fn warnings(config: &Config) -> Vec<String> {
    turn::warning(&config.turn).into_iter().collect()
}

/// Directories that something is to be written to, and that are not there. Whoever starts the gateway may
/// make them just before, as systemd does.
pub fn missing_folders(config: &Config) -> Vec<String> {
    let Config { journal, log, .. } = config;
    let files = [
        ("journal.store", journal.store.file.as_deref()),
        ("journal.call_records", journal.call_records.as_ref().and_then(|target| target.file())),
        ("log.file", log.file.as_ref().map(|file| file.path.as_path())),
    ];
    files.into_iter().filter_map(|(key, file)| no_folder(key, file?)).collect()
}

fn no_folder(key: &str, file: &Path) -> Option<String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    (!folder.is_dir()).then(|| {
        format!("{key} = \"{}\": there is no directory {}", file.display(), folder.display())
    })
}
