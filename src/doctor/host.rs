//! What the host gives: descriptors, buffers, cores, space, time.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use super::report::Report;
use crate::config::Config;
use crate::journal::Target;
use crate::words::{counted, counted_len};

const AREA: &str = "host";

/// What the gateway asks for at each media port and at the SIP port.
const BUFFER: u64 = 4 << 20;

/// Of an agent: a poll, a request beside it, and one that its browser leaves open.
const FILES_OF_AN_AGENT: u64 = 3;
/// Of a call: RTP and RTCP.
const FILES_OF_A_CALL: u64 = 2;

/// Below it a day of logs may be too much.
const SPACE: u64 = 1 << 30;

pub(super) fn examine(config: &Config, report: &mut Report) {
    files(report);
    buffers(report);
    cores(config, report);
    space(config, report);
    clock(report);
}

/// The gateway raises its own limit as far as it may.
fn files(report: &mut Report) {
    let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let agents = most.saturating_sub(100) / (FILES_OF_AN_AGENT + FILES_OF_A_CALL);
    let text = format!(
        "{most} open files are allowed: room for {}, all in a call",
        counted(agents, "agent")
    );
    if most < 4096 {
        report.warn(
            AREA,
            text,
            "raise LimitNOFILE= of the service (65536 is usual), or ulimit -Hn",
        );
    } else {
        report.ok(AREA, text);
    }
}

fn buffers(report: &mut Report) {
    for (name, what) in [("rmem_max", "received"), ("wmem_max", "sent")] {
        let path = format!("/proc/sys/net/core/{name}");
        let Some(most) = number(&path) else { continue };
        let text = format!("net.core.{name} = {most}");
        if most < BUFFER {
            report.warn(
                AREA,
                format!("{text}: bursts of media may be lost before they are {what}"),
                format!("sysctl -w net.core.{name}={BUFFER}, and the same in /etc/sysctl.d"),
            );
        } else {
            report.ok(AREA, text);
        }
    }
    if let Some(most) = number("/proc/sys/net/netfilter/nf_conntrack_max")
        && most < 65_536
    {
        report.warn(
            AREA,
            format!(
                "net.netfilter.nf_conntrack_max = {most}: each stream of a call takes an entry"
            ),
            "raise it, or take the media ports out of connection tracking",
        );
    }
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn cores(config: &Config, report: &mut Report) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = config.media.workers;
    let text = format!("{}, {}", counted_len(cores, "core"), counted_len(workers, "media worker"));
    if workers > cores {
        report.warn(AREA, text, "more workers than cores only take turns: lower media.workers");
    } else {
        report.ok(AREA, text);
    }
}

/// Where something is written to.
fn written(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut written = Vec::new();
    if let Some(file) = &config.journal.store.file {
        written.push(("journal.store", file.as_path()));
    }
    if let Some(Target::File(file)) = &config.journal.call_records {
        written.push(("journal.call_records", file.as_path()));
    }
    if let Some(log) = &config.log.file {
        written.push(("log.file", log.path.as_path()));
    }
    written
}

fn space(config: &Config, report: &mut Report) {
    for (key, path) in written(config) {
        // The file may not be there yet; its directory has to be.
        let directory = path.parent().filter(|parent| *parent != Path::new(""));
        let Ok(found) = statvfs(directory.unwrap_or(Path::new("."))) else {
            let text = format!("{key} {}: its directory cannot be read", path.display());
            report.fail(AREA, text, "make it, and give it to the user that the gateway runs as");
            continue;
        };
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        let text = format!("{key} {}: {} MB free", path.display(), free >> 20);
        if free < SPACE {
            report.warn(
                AREA,
                text,
                "make room: calls go on with a full disk, their records do not",
            );
        } else {
            report.ok(AREA, text);
        }
    }
}

/// That somebody keeps it right; whether it is right, the SIP servers' answers tell.
fn clock(report: &mut Report) {
    let kept =
        ["/run/systemd/timesync/synchronized", "/run/chrony", "/run/chronyd.pid", "/run/ntpd.pid"];
    match kept.iter().find(|path| Path::new(path).exists()) {
        Some(path) => report.ok(AREA, format!("the clock is kept by a time service ({path})")),
        None => report.note(
            AREA,
            "no time service is seen here: timelines of this gateway and the SIP server may differ",
        ),
    }
}
