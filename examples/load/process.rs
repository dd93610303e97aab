//! Processes seen from outside: CPU time, memory, descriptors; and what machine this is.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{Fault, net};

/// A process that ends with this value.
pub struct Process {
    pub child: Child,
    /// What it prints.
    pub output: BufReader<std::process::ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn start(command: &mut Command, core: Option<usize>) -> Result<Self, Fault> {
        let mut child = command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(core) = core {
            net::pin(child.id(), core)?;
        }
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { child, output })
    }

    pub fn line(&mut self) -> Result<String, Fault> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("the process ended before it said anything".into());
        }
        Ok(line.trim().to_owned())
    }

    pub fn cpu(&self) -> Result<Cpu, Fault> {
        Cpu::of(self.child.id())
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> Result<f64, Fault> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Open descriptors, and how many of these are UDP sockets.
    pub fn descriptors(&self) -> Result<Descriptors, Fault> {
        let mut inodes = HashSet::new();
        for table in ["udp", "udp6"] {
            let text = fs::read_to_string(format!("/proc/{}/net/{table}", self.child.id()))?;
            let inode = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
            inodes.extend(text.lines().skip(1).filter_map(inode));
        }
        let mut found = Descriptors::default();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.child.id()))? {
            // One that was closed meanwhile counts for nothing.
            let Ok(target) = fs::read_link(entry?.path()) else { continue };
            found.all += 1;
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            found.udp += usize::from(inode.is_some_and(|inode| inodes.contains(inode)));
        }
        Ok(found)
    }
}

#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Descriptors {
    pub all: usize,
    pub udp: usize,
}

/// CPU time of a process so far, in nanoseconds by thread.
#[derive(Clone, Default)]
pub struct Cpu(BTreeMap<u64, (String, u64)>);

impl Cpu {
    /// From `schedstat`, which counts nanoseconds where `stat` counts hundredths of a second.
    pub fn of(process: u32) -> Result<Self, Fault> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let path = task?.path();
            let read = |name: &str| fs::read_to_string(path.join(name));
            // One that ended meanwhile counts for nothing.
            let (Ok(name), Ok(stat)) = (read("comm"), read("schedstat")) else { continue };
            let spent = stat.split(' ').next().ok_or("schedstat")?.parse()?;
            let id = path.file_name().and_then(|n| n.to_str()).ok_or("task")?.parse()?;
            threads.insert(id, (name.trim().to_owned(), spent));
        }
        Ok(Self(threads))
    }

    /// Seconds since `before` of the threads whose name starts so.
    pub fn since(&self, before: &Cpu, name: &str) -> f64 {
        let spent = |(id, (own, now)): (&u64, &(String, u64))| {
            let then = before.0.get(id).map_or(0, |(_, then)| *then);
            if own.starts_with(name) { now.saturating_sub(then) } else { 0 }
        };
        self.0.iter().map(spent).sum::<u64>() as f64 / 1e9
    }
}

/// Seconds of CPU that the whole machine has spent on anything but idling, and those stolen from it.
pub fn machine_cpu() -> Result<(f64, f64), Fault> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields: Vec<f64> = stat
        .lines()
        .next()
        .ok_or("stat")?
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let at = |n: usize| fields.get(n).copied().unwrap_or_default() / 100.0;
    // user, nice, system, irq, softirq; idle and iowait are not work.
    Ok((at(0) + at(1) + at(2) + at(5) + at(6), at(7)))
}

/// What this machine is.
pub fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    json!({
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model,
        "virtual": cpu.contains(" hypervisor "),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}
