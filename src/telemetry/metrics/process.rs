//! The process as Linux sees it, under the names that all exporters have for it.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::snapshot::Families;

/// Of `/proc/self/stat`; Linux shows user space a hundred a second on every architecture we build for.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
        let stat = Stat::of(&read("self/stat"));
        let status = read("self/status");
        let limits = read("self/limits");
        let mut into = Families { encoder };
        let seconds = Some(&Unit::Seconds);

        let help = "User and system CPU time of the process";
        let cpu = into.family("process_cpu", help, seconds, MetricType::Counter)?;
        ConstCounter::new(stat.cpu_seconds).encode(cpu)?;
        let help = "When the process started, in Unix time";
        let start = into.family("process_start_time", help, seconds, MetricType::Gauge)?;
        let booted = field(&read("stat"), "btime").unwrap_or_default();
        ConstGauge::new(booted as f64 + stat.started_after).encode(start)?;
        let help = "Memory that is in RAM";
        let bytes = Some(&Unit::Bytes);
        let memory = into.family("process_resident_memory", help, bytes, MetricType::Gauge)?;
        ConstGauge::new(field(&status, "VmRSS:").unwrap_or_default() * 1024).encode(memory)?;
        into.gauge("process_threads", "Threads", field(&status, "Threads:").unwrap_or_default())?;
        let open = fs::read_dir("/proc/self/fd").map_or(0, |list| list.count() as u64);
        // The one that the list is read by is in it.
        into.gauge("process_open_fds", "Open file descriptors", open.saturating_sub(1))?;
        let most = field(&limits, "Max open files").unwrap_or_default();
        into.gauge("process_max_fds", "File descriptors that may be open", most)
    }
}

/// The number that stands behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[derive(Debug, Default, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    /// Seconds since the machine was booted.
    started_after: f64,
}

impl Stat {
    fn of(text: &str) -> Self {
        // The name of the command is in parentheses and may have spaces and more of them.
        let fields: Vec<&str> =
            text.rsplit_once(')').map_or(text, |(_, rest)| rest).split_whitespace().collect();
        // proc_pid_stat(5), counted from the third on.
        let ticks = |number: usize| -> f64 {
            fields.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        Self { cpu_seconds: (ticks(14) + ticks(15)) / TICKS, started_after: ticks(22) / TICKS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says() {
        let stat =
            "4242 (a ) b) S 1 4242 4242 0 -1 4194560 1000 0 2 0 1234 66 0 0 20 0 9 0 5000 1 2";
        assert_eq!(Stat::of(stat), Stat { cpu_seconds: 13.0, started_after: 50.0 });
        assert_eq!(Stat::of(""), Stat::default());
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t  812 kB\n", "VmRSS:"), Some(812));
        assert_eq!(
            field(
                "Max open files            1024                 4096    files\n",
                "Max open files"
            ),
            Some(1024)
        );
        assert_eq!(field("Max open files  unlimited", "Max open files"), None);
    }

    #[test]
    fn this_process_is_alive() {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap();
        assert!(field(&read("status"), "VmRSS:").unwrap() > 100);
        assert!(field(&read("status"), "Threads:").unwrap() >= 1);
        assert!(Stat::of(&read("stat")).started_after > 0.0);
    }
}
