//! What the gateway takes: CPU, memory, latency, loss, and how long a call needs to come about; beside
//! it a bare relay of the same packets, in the same run, on the same machine.
//!
//!     cargo run --release --example load -- --markdown
//!
//! The gateway runs as a process of its own and is seen from outside. This process is N browsers (HTTP
//! polling, ICE, DTLS, SRTP) and N telephones behind a small SIP server, all on loopback. Linux only.
//! docs/performance.md says what the figures mean.

mod browser;
mod calls;
mod endurance;
mod media;
mod net;
mod process;
mod reception;
mod relay;
mod report;
mod sdp;
mod sip;
mod soak;
mod stage;
mod times;
mod voice;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::Parser;

type Fault = Box<dyn Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Options {
    /// Numbers of calls at a time, one after another.
    #[arg(long, value_delimiter = ',', default_value = "10,200,500,1000")]
    calls: Vec<usize>,
    /// How long each is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, default_value = "pcmu")]
    codec: sdp::Codec,
    /// The SRTP profile that the browsers offer.
    #[arg(long, default_value = "gcm")]
    srtp: browser::Profile,
    /// The process measured stays on the first core, this one on the last.
    #[arg(long)]
    pin: bool,
    /// The gateway's binary; the one beside this example unless given.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// A setting for the gateway, as in media.workers=2. May be given again and again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Then so many short calls, one after another.
    #[arg(long, default_value_t = 0)]
    short_calls: usize,
    /// Instead of all that: so many minutes of agents who come and go and calls of all lengths. Fails when the
    /// gateway needs more in the end than at the beginning.
    #[arg(long, value_name = "MINUTES", conflicts_with = "short_calls")]
    soak: Option<u64>,
    /// Prints tables instead of a summary in JSON.
    #[arg(long)]
    markdown: bool,
    /// Writes all figures to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Puts the tables between the markers of a file, if the figures are clean. May be given again.
    #[arg(long, value_name = "FILE")]
    into: Vec<PathBuf>,
    /// Be the relay.
    #[arg(long, hide = true)]
    relay: Option<relay::Sockets>,
}

fn main() -> Result<(), Fault> {
    let options = Options::parse();
    if let Some(sockets) = options.relay {
        return relay::run(sockets);
    }
    net::raise_descriptor_limit()?;
    let cores = std::thread::available_parallelism()?.get();
    let pinned = (options.pin && cores > 1).then_some((0, cores - 1));
    let plan = stage::Plan {
        gateway: match &options.gateway {
            Some(gateway) => gateway.clone(),
            None => built()?,
        },
        seconds: options.seconds.max(1),
        codec: options.codec,
        profile: options.srtp,
        cores: pinned,
        settings: match options.soak {
            Some(_) => {
                [endurance::SETTINGS.map(str::to_owned).as_slice(), &options.settings].concat()
            }
            None => options.settings.clone(),
        },
    };
    if let Some((_, own)) = pinned {
        net::pin(0, own)?;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(minutes) = options.soak {
        return runtime.block_on(soak(&options, &plan, minutes));
    }
    let report = runtime.block_on(measure(&options, &plan))?;
    if options.markdown {
        print!("{}", report.markdown());
    } else {
        println!("{:#}", report.json());
    }
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", report.json()))?;
    }
    let faults = report.faults();
    if faults.is_empty() {
        return options.into.iter().try_for_each(|path| report.write_into(path));
    }
    for fault in &faults {
        eprintln!("not a clean figure: {fault}");
    }
    Err("these figures are not to be quoted".into())
}

async fn soak(options: &Options, plan: &stage::Plan, minutes: u64) -> Result<(), Fault> {
    let soak = endurance::run(plan, minutes).await?;
    let (machine, version) = (process::machine(), version(&plan.gateway)?);
    let json = serde_json::json!({ "machine": machine, "gateway": version, "soak": soak.json() });
    let text = format!("{version}. {}", soak.markdown());
    if options.markdown {
        print!("{text}")
    } else {
        println!("{json:#}")
    }
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{json:#}\n"))?;
    }
    let faults = soak.faults();
    if faults.is_empty() {
        return options.into.iter().try_for_each(|path| report::write_soak(path, &text));
    }
    for fault in &faults {
        eprintln!("not passed: {fault}");
    }
    Err("the gateway needs more in the end than at the beginning".into())
}

/// The gateway of the same profile as this example: `cargo run` builds an example and no binary.
fn built() -> Result<PathBuf, Fault> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("no place")?;
    if let Ok(cargo) = std::env::var("CARGO") {
        let mut build = Command::new(cargo);
        build.args(["build", "--locked", "--bin", "wrtc-gateway"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        if !build.status()?.success() {
            return Err("the gateway does not build".into());
        }
    }
    Ok(folder.join("wrtc-gateway"))
}

/// What it says it is, and of which commit as far as the source is at hand.
fn version(gateway: &Path) -> Result<String, Fault> {
    let text = |output: Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let version = text(Command::new(gateway).arg("--version").output()?);
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--exclude=*"]).stderr(Stdio::null());
    let commit = git.output().map(text).unwrap_or_default();
    Ok(if commit.is_empty() { version } else { format!("{version} ({commit})") })
}

async fn measure<'a>(
    options: &Options,
    plan: &'a stage::Plan,
) -> Result<report::Report<'a>, Fault> {
    let mut report = report::Report {
        plan,
        machine: process::machine(),
        version: version(&plan.gateway)?,
        rows: Vec::new(),
        soak: None,
    };
    for calls in &options.calls {
        eprintln!("{calls} calls");
        report.rows.push(plan.stage(*calls).await?);
    }
    if options.short_calls > 0 {
        eprintln!("{} short calls", options.short_calls);
        report.soak = Some(soak::run(plan, options.short_calls).await?);
    }
    Ok(report)
}
