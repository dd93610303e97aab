//! Instructions per packet, counted by valgrind: the same on every run, whatever else the machine does.
//!
//!     bash tests/run.sh bench                          compares with benches/instructions.toml
//!     RECORD=1 bash tests/run.sh bench                 writes it
//!
//! The counts are those of one compiler: with another one nothing is compared, and a line says so.

#[path = "../../common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};

use serde::Deserialize;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.toml");

/// More than this above what was recorded fails.
const TOLERANCE: f64 = 0.05;
/// Steps of a few instructions: these are no growth.
const SLACK: f64 = 3.0;

/// All packets are made before; what is counted is the difference between handling few and many.
const MADE: usize = 4000;
const FEW: usize = 500;
const MANY: usize = 3500;

#[derive(Debug, PartialEq, Deserialize)]
struct Recorded {
    rustc: String,
    /// What valgrind shows of the processor, as far as our cryptography looks at it.
    features: String,
    instructions: BTreeMap<String, f64>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match named.as_slice() {
        ["--features"] => {
            println!("{}", features());
            return ExitCode::SUCCESS;
        }
        ["--handle", probe, packets] => handle(probe, packets),
        all if all.contains(&"--record") => count().and_then(|counted| record(&counted)),
        _ => compare(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// What is counted.
fn handle(name: &str, packets: &str) -> Result<(), String> {
    let probe = common::all().into_iter().find(|probe| probe.name == name);
    let mut run = probe.ok_or("no such probe")?.prepare(MADE);
    let packets = packets.parse().map_err(|_| "not a number")?;
    match (0..packets).all(|n| run(n) > 0) {
        true => Ok(()),
        false => Err(format!("{name}: a packet was dropped")),
    }
}

fn features() -> String {
    #[cfg(target_arch = "x86_64")]
    let seen = [
        ("aes", std::arch::is_x86_feature_detected!("aes")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("pclmulqdq", std::arch::is_x86_feature_detected!("pclmulqdq")),
        ("sha", std::arch::is_x86_feature_detected!("sha")),
        ("vaes", std::arch::is_x86_feature_detected!("vaes")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let seen: [(&str, bool); 0] = [];
    let present = seen.into_iter().filter(|(_, present)| *present).map(|(name, _)| name);
    [std::env::consts::ARCH].into_iter().chain(present).collect::<Vec<_>>().join(" ")
}

/// This program again, under valgrind: what it prints, and how many instructions it took.
fn counted(arguments: &[&str]) -> Result<(String, u64), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(own)
        .args(arguments)
        .output()
        .map_err(|error| format!("valgrind: {error}; Debian has it as a package of that name"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let count = told
        .lines()
        .find_map(|line| line.split_once("refs:").filter(|(label, _)| label.contains(" I ")))
        .and_then(|(_, count)| count.trim().replace(',', "").parse().ok());
    match count {
        Some(count) if output.status.success() => {
            Ok((String::from_utf8_lossy(&output.stdout).trim().to_owned(), count))
        }
        _ => Err(format!("{arguments:?} under valgrind: {}\n{told}", output.status)),
    }
}

fn compiler() -> Result<String, String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("-V").output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn count() -> Result<Recorded, String> {
    let (features, _) = counted(&["--features"])?;
    let mut instructions = BTreeMap::new();
    for probe in common::all() {
        let (_, few) = counted(&["--handle", &probe.name, &FEW.to_string()])?;
        let (_, many) = counted(&["--handle", &probe.name, &MANY.to_string()])?;
        let each = many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
        // A tenth of an instruction is what random numbers of the call's making may change.
        instructions.insert(probe.name, each.round());
    }
    Ok(Recorded { rustc: compiler()?, features, instructions })
}

fn record(counted: &Recorded) -> Result<(), String> {
    let mut text =
        "# Instructions per packet. Written by `RECORD=1 bash tests/run.sh bench`; commit it with the change\n\
         # that is worth them.\n"
            .to_owned();
    let Recorded { rustc, features, instructions } = counted;
    let _ = write!(text, "rustc = {rustc:?}\nfeatures = {features:?}\n\n[instructions]\n");
    for (name, each) in instructions {
        println!("{name:<50} {each:>8}");
        let _ = writeln!(text, "{name:?} = {each:.1}");
    }
    std::fs::write(FILE, text).map_err(|error| format!("{FILE}: {error}"))
}

fn compare() -> Result<(), String> {
    let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
    let recorded: Recorded = toml::from_str(&text).map_err(|error| format!("{FILE}: {error}"))?;
    let (features, _) = counted(&["--features"])?;
    for (what, then, now) in
        [("compiler", &recorded.rustc, &compiler()?), ("processor", &recorded.features, &features)]
    {
        if then != now {
            println!("SKIPPED: the counts are those of another {what}: {then}; this one is {now}");
            return Ok(());
        }
    }
    let mut grown = Vec::new();
    for (name, now) in count()?.instructions {
        let Some(then) = recorded.instructions.get(&name) else {
            grown.push(format!("{name} is not recorded"));
            continue;
        };
        let change = (now / then - 1.0) * 100.0;
        println!("{name:<50} {now:>8} instructions, {change:+.1} %");
        if now > then * (1.0 + TOLERANCE) + SLACK {
            grown.push(format!("{name}: {now} instructions a packet, {then} recorded"));
        } else if now < then * (1.0 - TOLERANCE) - SLACK {
            println!("{name}: better than recorded; --record it, so that it stays");
        }
    }
    if grown.is_empty() { Ok(()) } else { Err(grown.join("\n")) }
}
