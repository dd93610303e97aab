//! Figures for people (Markdown) and for programs (JSON), and whether they are worth anything.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Fault;
use crate::media::Figures;
use crate::soak::Soak;
use crate::stage::{Plan, Row, Window};
use crate::times::Times;

/// Above these a figure says more about us, or about somebody else, than about what was measured.
const MAX_GENERATOR: f64 = 0.85;
const MAX_LATE_MS: f64 = 1.0;
const MAX_OTHERS: f64 = 0.1;
const MAX_STOLEN: f64 = 0.02;
/// Of what should have been sent.
const MIN_SENT: f64 = 0.995;

const FULL: (&str, &str) = ("<!-- figures of examples/load -->", "<!-- end of the figures -->");
const SHORT: (&str, &str) =
    ("<!-- short figures of examples/load -->", "<!-- end of the short figures -->");
const SOAK: (&str, &str) = ("<!-- figures of a soak -->", "<!-- end of the soak -->");

pub struct Report<'a> {
    pub plan: &'a Plan,
    pub machine: Value,
    pub version: String,
    pub rows: Vec<Row>,
    pub soak: Option<Soak>,
}

impl Report<'_> {
    /// What keeps the figures from being clean.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for row in &self.rows {
            let windows = [("gateway", &row.window), ("relay", &row.shared), ("pairs", &row.pairs)];
            for (name, window) in windows {
                for fault in self.faults_of(row.calls, window) {
                    faults.push(format!("{} calls, {name}: {fault}", row.calls));
                }
            }
            if let Some(first) = row.failed.first() {
                faults.push(format!("{} calls: {} failed: {first}", row.calls, row.failed.len()));
            }
        }
        if let Some(soak) = &self.soak
            && let Some(first) = soak.failed.first()
        {
            faults.push(format!("short calls: {} failed: {first}", soak.failed.len()));
        }
        faults
    }

    fn faults_of(&self, calls: usize, window: &Window) -> Vec<String> {
        let mut faults = Vec::new();
        let mut bound = |is: f64, most: f64, what: String| {
            if is > most {
                faults.push(what);
            }
        };
        let late = window.figures.lateness.percentile(0.99).unwrap_or_default();
        let wanted = (2 * calls * 50) as f64 * self.plan.seconds as f64;
        let sent = window.figures.sent.iter().sum::<u64>() as f64 / wanted.max(1.0);
        let Window { generator, others, stolen, .. } = window;
        let generator_text = format!("the generator's thread used {generator:.2} of a core");
        bound(*generator, MAX_GENERATOR, generator_text);
        bound(late, MAX_LATE_MS, format!("the generator was {late:.1} ms late (p99)"));
        bound(MIN_SENT, sent, format!("only {:.1} % of the packets were sent", sent * 100.0));
        bound(*others, MAX_OTHERS, format!("other processes used {others:.2} of a core"));
        bound(*stolen, MAX_STOLEN, format!("the hypervisor took {stolen:.2} of a core"));
        let deaf = window.figures.deaf as f64;
        bound(deaf, 0.0, format!("{deaf} ends heard nothing"));
        faults
    }

    pub fn json(&self) -> Value {
        json!({
            "machine": self.machine,
            "gateway": self.version,
            "codec": self.plan.codec.name(),
            "srtp": self.plan.profile.name(),
            "seconds": self.plan.seconds,
            "pinned": self.plan.cores.is_some(),
            "settings": self.plan.settings,
            "unclean": self.faults(),
            "calls": self.rows.iter().map(row_json).collect::<Vec<_>>(),
            "short_calls": self.soak.as_ref().map(Soak::json),
        })
    }

    /// What was measured where, in a paragraph.
    fn preface(&self) -> String {
        let Plan { codec, profile, seconds, cores, settings, .. } = self.plan;
        let text = |key: &str| self.machine[key].as_str().unwrap_or("unknown").to_owned();
        let mut preface = format!(
            "{} on {} cores of {}{}, Linux {}. {} 20 ms both ways, {} toward the browser, one media \
             worker; each window {seconds} s, everything over loopback{}.",
            self.version,
            self.machine["cores"],
            text("cpu"),
            if self.machine["virtual"] == true { " (virtual)" } else { "" },
            text("kernel"),
            codec.name(),
            profile.name(),
            if cores.is_some() { ", gateway and generator each on a core of its own" } else { "" },
        );
        if !settings.is_empty() {
            let _ = write!(preface, " Settings: {}.", settings.join(", "));
        }
        preface
    }

    pub fn markdown(&self) -> String {
        let mut out = self.preface();
        out.push_str("\n\n");
        for fault in self.faults() {
            let _ = writeln!(out, "**Not a clean figure**: {fault}.");
        }
        if !self.rows.is_empty() {
            cpu_table(&mut out, &self.rows);
            latency_table(&mut out, &self.rows);
            set_up_table(&mut out, &self.rows);
            memory_table(&mut out, &self.rows);
        }
        if let Some(soak) = &self.soak {
            soak.table(&mut out);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn short(&self) -> String {
        let mut out = self.preface();
        out.push_str(
            "\n\n| calls | CPU, ms a call-second | of a bare relay | added latency, p50 / p99 ms | lost | \
             set up until sound, p50 / p99 ms | memory, KB a call |\n\
             |--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let lost = lost(&row.window, &[0, 1]);
            let added = |share| number(row.added(share), 2);
            let _ = writeln!(
                out,
                "| {} | {:.2} | {:.2} times | {} / {} | {lost} | {} | {:.0} |",
                row.calls,
                row.window.cpu,
                row.ratio(),
                added(0.5),
                added(0.99),
                two(&row.media, 0),
                row.memory_of_a_call(),
            );
        }
        out
    }

    /// Puts the tables between the markers of a file.
    pub fn write_into(&self, path: &Path) -> Result<(), Fault> {
        let text = fs::read_to_string(path)?;
        let full = replaced(&text, FULL, &self.markdown());
        let short = replaced(full.as_deref().unwrap_or(&text), SHORT, &self.short());
        let new = short.or(full).ok_or_else(|| format!("no markers in {}", path.display()))?;
        Ok(fs::write(path, new)?)
    }
}

/// The same with what a soak found.
pub fn write_soak(path: &Path, table: &str) -> Result<(), Fault> {
    let text = fs::read_to_string(path)?;
    let new = replaced(&text, SOAK, table);
    Ok(fs::write(path, new.ok_or_else(|| format!("no markers in {}", path.display()))?)?)
}

fn replaced(text: &str, (from, to): (&str, &str), by: &str) -> Option<String> {
    let (before, rest) = text.split_once(from)?;
    let (_, after) = rest.split_once(to)?;
    Some(format!("{before}{from}\n{}\n{to}{after}", by.trim_end()))
}

impl Row {
    /// CPU of the whole gateway against that of the bare relay with the same sockets.
    fn ratio(&self) -> f64 {
        self.window.cpu / self.shared.cpu
    }

    /// Milliseconds at this percentile, over those of the bare relay; the worse of both ways.
    fn added(&self, share: f64) -> Option<f64> {
        let of = |way: usize| {
            let latency = |window: &Window| window.figures.latency[way].percentile(share);
            Some(latency(&self.window)? - latency(&self.shared)?)
        };
        Some(of(0)?.max(of(1)?))
    }

    fn memory_of_a_call(&self) -> f64 {
        (self.memory[2] - self.memory[1]) / self.calls as f64
    }

    fn memory_of_an_agent(&self) -> f64 {
        (self.memory[1] - self.memory[0]) / self.calls as f64
    }
}

/// Of frames that are coded anew nobody can tell which did not come.
fn lost(window: &Window, ways: &[usize]) -> String {
    let Figures { sent, heard, latency, .. } = &window.figures;
    if latency.iter().all(|times| times.count() == 0) {
        return "-".to_owned();
    }
    ways.iter().map(|way| sent[*way] as i64 - heard[*way] as i64).sum::<i64>().to_string()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// Median and 99th percentile.
fn two(times: &Times, digits: usize) -> String {
    [0.5, 0.99].map(|share| number(times.percentile(share), digits)).join(" / ")
}

fn three(times: &Times) -> String {
    [0.5, 0.99, 0.999].map(|share| number(times.percentile(share), 2)).join(" / ")
}

fn cpu_table(out: &mut String, rows: &[Row]) {
    out.push_str(
        "CPU in milliseconds a call-second, the whole process; the relays carry the same packets.\n\n\
         | calls | gateway | of it the media thread | relay, sockets as the gateway's | gateway to relay \
         | relay, two sockets a call | gateway to relay | calls a core |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for Row { calls, window, shared, pairs, .. } in rows {
        let _ = writeln!(
            out,
            "| {calls} | {:.3} | {:.3} | {:.3} | {:.2} | {:.3} | {:.2} | {:.0} |",
            window.cpu,
            window.media_cpu,
            shared.cpu,
            window.cpu / shared.cpu,
            pairs.cpu,
            window.cpu / pairs.cpu,
            1000.0 / window.cpu,
        );
    }
}

fn latency_table(out: &mut String, rows: &[Row]) {
    out.push_str(
        "\nLatency from one end's send to the other end's socket in milliseconds, p50 / p99 / p99.9, and \
         packets lost.\n\n\
         | calls | browser to SIP | SIP to browser | through the relay | p99 added | lost to SIP | lost to \
         browser | sent each way |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let [to_sip, to_browser] = &row.window.figures.latency;
        let mut floor = row.shared.figures.latency[0].clone();
        floor.merge(&row.shared.figures.latency[1]);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.calls,
            three(to_sip),
            three(to_browser),
            three(&floor),
            number(row.added(0.99), 2),
            lost(&row.window, &[0]),
            lost(&row.window, &[1]),
            row.window.figures.sent[0],
        );
    }
}

fn set_up_table(out: &mut String, rows: &[Row]) {
    out.push_str(
        "\nSetting up, 50 calls a second, half of them from each side: milliseconds from the POST or the \
         INVITE, p50 / p99.\n\n\
         | calls | until the browser has keys | until both hear each other | failed |\n\
         |--:|--:|--:|--:|\n",
    );
    for Row { calls, keyed, media, failed, .. } in rows {
        let _ =
            writeln!(out, "| {calls} | {} | {} | {} |", two(keyed, 1), two(media, 1), failed.len());
    }
}

fn memory_table(out: &mut String, rows: &[Row]) {
    out.push_str(
        "\nResident memory of the gateway.\n\n\
         | calls | empty, MB | all signed in, MB | all talking, MB | calls over, MB | KB an idle agent | KB a \
         call | UDP sockets: signed in, talking, over |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let [empty, idle, talking, over] = row.memory.map(|kib| kib / 1024.0);
        let [a, b, c] = row.descriptors.map(|descriptors| descriptors.udp);
        let _ = writeln!(
            out,
            "| {} | {empty:.1} | {idle:.1} | {talking:.1} | {over:.1} | {:.1} | {:.1} | {a}, {b}, {c} |",
            row.calls,
            row.memory_of_an_agent(),
            row.memory_of_a_call(),
        );
    }
}

fn row_json(row: &Row) -> Value {
    json!({
        "calls": row.calls,
        "gateway": window_json(&row.window),
        "relay_shared": window_json(&row.shared),
        "relay_pairs": window_json(&row.pairs),
        "ratio": row.ratio(),
        "added_p50_ms": row.added(0.5),
        "added_p99_ms": row.added(0.99),
        "added_p999_ms": row.added(0.999),
        "keyed_ms": times_json(&row.keyed),
        "sound_ms": times_json(&row.media),
        "failed": row.failed,
        "rss_kib": row.memory,
        "kib_a_call": row.memory_of_a_call(),
        "kib_an_agent": row.memory_of_an_agent(),
        "descriptors": row.descriptors,
    })
}

fn window_json(window: &Window) -> Value {
    let figures = &window.figures;
    json!({
        "cpu_ms_per_call_second": window.cpu,
        "media_thread_cpu_ms_per_call_second": window.media_cpu,
        "sent": figures.sent,
        "heard": figures.heard,
        "refused": figures.refused,
        "deaf_ends": figures.deaf,
        "latency_to_sip_ms": times_json(&figures.latency[0]),
        "latency_to_browser_ms": times_json(&figures.latency[1]),
        "generator_late_ms": times_json(&figures.lateness),
        "generator_cores": window.generator,
        "other_cores": window.others,
        "stolen_cores": window.stolen,
    })
}

pub fn times_json(times: &Times) -> Value {
    json!({
        "count": times.count(),
        "p50": times.percentile(0.5),
        "p99": times.percentile(0.99),
        "p99.9": times.percentile(0.999),
    })
}
