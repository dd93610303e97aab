//! The command line: `serve`, `demo`, `check`, `doctor`, `token`, `healthcheck`.

mod cli;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use wrtc_gateway::config::{Config, ConfigErrors, OperatorToken, Role, Sources, is_operator_name};
use wrtc_gateway::gateway::{Life, Running, files};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::telemetry::logs::Logs;
use wrtc_gateway::{demo, doctor, gateway, panics, telemetry};

/// How long threads of the runtime may go on after the end.
const THREADS_LIMIT: Duration = Duration::from_secs(2);

/// How long the last lines of the log may take.
const LOG_LIMIT: Duration = Duration::from_secs(2);

/// A WebRTC gateway for Genesys SIP Server, Asterisk and their kin.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// So that plain `wrtc-gateway --config gw.toml` serves.
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve agents (the default).
    Serve(#[command(flatten)] Source),
    /// A gateway with a SIP server of its own, on this machine only: open the page and call 600.
    Demo {
        #[command(flatten)]
        source: Source,
        /// The password of all DNs; a random one unless given. An empty one is none: anybody may sign in.
        #[arg(long)]
        password: Option<String>,
        /// Print each finished call as a line of JSON on standard output instead of a sentence.
        #[arg(long)]
        json: bool,
        /// A contact centre that plays the flows of a Genesys SIP Server, with a console at this loopback
        /// address (any free port unless given): queue a call, talk, hold, transfer.
        #[arg(
            long,
            value_name = "ADDRESS",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = "127.0.0.1:0"
        )]
        contact_centre: Option<SocketAddr>,
    },
    /// Make an operator's token: prints it, once, and the line for the configuration, which has its hash.
    Token {
        /// read looks at everything, act hangs up, signs out, reloads and gives one-time tokens.
        #[arg(long, default_value = "read", value_parser = ["read", "act"])]
        role: String,
        /// Who it is for: the log has it beside what was done.
        #[arg(long)]
        name: String,
    },
    /// Check a configuration: tells every fault, opens nothing.
    Check {
        #[command(flatten)]
        source: Source,
        /// It is another machine's: files that it names are not looked for here.
        #[arg(long)]
        elsewhere: bool,
    },
    /// Ask the gateway of this configuration, on this host, whether it is alive: for containers.
    Healthcheck {
        #[command(flatten)]
        source: Source,
        /// Ask whether it takes new agents (/readyz) instead.
        #[arg(long)]
        ready: bool,
    },
    /// Look at what keeps calls from working: ports, addresses, certificates, DNS, the SIP servers, the host. Prints what
    /// the firewall has to let in. Disturbs no gateway that runs.
    ///
    /// Exit codes: 0 all is well, 1 there are warnings, 2 something fails.
    Doctor {
        #[command(flatten)]
        source: Source,
        /// Print JSON for programs.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args, Clone, Default)]
struct Source {
    /// The TOML file.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, as in --set http.listen=0.0.0.0:8086. May be given again and again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl Source {
    fn sources(&self) -> Sources {
        Sources {
            file: self.config.clone(),
            environment: environment().collect(),
            sets: self.sets.clone(),
        }
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        self.sources().read().map(|reading| reading.config)
    }
}

/// The environment as far as it is text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.source)) {
        Command::Check { source, elsewhere } => check(&source, elsewhere),
        Command::Token { role, name } => token(&role, &name),
        Command::Healthcheck { source, ready } => healthcheck(&source, ready),
        Command::Serve(source) => serve(&source),
        Command::Doctor { source, json } => run_doctor(&source, json),
        Command::Demo { source, password, json, contact_centre } => {
            run_demo(&source, password.map(Secret::new), json, contact_centre)
        }
    }
}

fn token(role: &str, name: &str) -> ExitCode {
    if !is_operator_name(name) {
        return fail(&format!(
            "--name {name}: use 1 to 32 letters, digits and - _ . @, and no role"
        ));
    }
    let role = if role == "read" { Role::Read } else { Role::Act };
    let (token, line) = OperatorToken::make(role, Some(name));
    println!("token  {}", token.expose());
    println!("line   {line}");
    ExitCode::SUCCESS
}

fn check(source: &Source, elsewhere: bool) -> ExitCode {
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => return fail(&errors),
    };
    if !elsewhere {
        for missing in files::missing_folders(&config) {
            eprintln!("{missing}; it is to be there when the gateway starts");
        }
        for warning in files::warnings(&config) {
            eprintln!("{warning}");
        }
        let faults = files::faults(&config);
        if !faults.is_empty() {
            return fail(&faults.join("\n"));
        }
    }
    let name = source.config.as_deref().map_or("the configuration".into(), Path::to_string_lossy);
    println!("{name} is fine");
    ExitCode::SUCCESS
}

fn healthcheck(source: &Source, ready: bool) -> ExitCode {
    use cli::healthcheck::{Probe, ask};
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => return fail(&errors),
    };
    let probe = if ready { Probe::Ready } else { Probe::Live };
    match ask(&config.http, probe, Duration::from_secs(3)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(unwell) => fail(&unwell),
    }
}

fn run_doctor(source: &Source, json: bool) -> ExitCode {
    const FAILS: u8 = 2;
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(FAILS);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::from(FAILS);
        }
    };
    let report = runtime.block_on(doctor::examine(&config));
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text(colour));
    }
    ExitCode::from(report.exit_code())
}

fn serve(source: &Source) -> ExitCode {
    let sources = source.sources();
    let reading = match sources.read() {
        Ok(reading) => reading,
        Err(errors) => return fail(&errors),
    };
    in_runtime(&reading.config.clone(), async |config| {
        let mut signals = Signals::new()?;
        let running = gateway::start(config).await?;
        running.gateway.wait_for_agents();
        running.gateway.set_sources(sources, reading).await;
        println!("serving at {}/", running.base_url());
        if let Some(certificate) = running.http_control.certificate().filter(|it| it.self_signed) {
            println!("certificate, self-signed, SHA-256 {}", certificate.fingerprint_text());
        }
        until_told(&running, &mut signals).await;
        let calls = running.gateway.calls();
        if calls > 0 {
            tracing::warn!(calls, "stopping; these are cut off");
        } else {
            tracing::info!("stopping");
        }
        tokio::select! {
            () = running.stop() => tracing::info!("stopped"),
            () = signals.impatience() => tracing::warn!("stopped before every good-bye was said"),
        }
        Ok(())
    })
}

/// SIGTERM, SIGHUP, Ctrl-C.
struct Signals {
    terminate: Signal,
    hangup: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Any of them: a demo has nothing to finish and nothing to read again.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Somebody has no time for good-byes: SIGTERM or Ctrl-C. A SIGHUP of logrotate's is none of that.
    async fn impatience(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => reopen_log(),
            }
        }
    }
}

/// As logrotate asks for it, whatever else goes on.
fn reopen_log() {
    tokio::task::spawn_blocking(|| telemetry::logs::logs().map(Logs::reopen));
}

/// SIGTERM lets calls finish, a second one does not, and neither does Ctrl-C: whoever sits before the
/// terminal has meant it. SIGHUP reads the configuration again.
async fn until_told(running: &Running, signals: &mut Signals) {
    let mut terminated = false;
    loop {
        tokio::select! {
            () = running.drained() => return,
            _ = signals.interrupt.recv() => return,
            // The first one cuts nobody off, whoever has begun to drain before it.
            _ = signals.terminate.recv() => match running.gateway.life() {
                Life::Serving | Life::Draining { .. } if !std::mem::replace(&mut terminated, true) => {
                    running.gateway.drain();
                }
                Life::Serving | Life::Draining { .. } | Life::Stopping => return,
            },
            // What came of it is in the log.
            _ = signals.hangup.recv() => {
                // The log first, whatever is wrong with the configuration: logrotate waits for it.
                reopen_log();
                let gateway = running.gateway.clone();
                tokio::spawn(async move { gateway.reload().await });
            }
        }
    }
}

fn run_demo(
    source: &Source,
    password: Option<Secret>,
    json: bool,
    contact_centre: Option<SocketAddr>,
) -> ExitCode {
    let config = match demo::config(source.config.as_deref(), environment(), &source.sets) {
        Ok(config) => config,
        Err(errors) => return fail(&errors),
    };
    in_runtime(&config, async |config| {
        let mut signals = Signals::new()?;
        let mut running = demo::start(config, password).await?;
        if let Some(listen) = contact_centre {
            running.open_centre(listen).await?;
        }
        print!("{}", running.greeting());
        running.listen_to_keyboard();
        running.report_calls(json);
        tokio::select! {
            () = signals.stop() => {}
            () = running.drained() => {}
        }
        running.stop().await;
        Ok(())
    })
}

/// Logging, TLS provider, tokio: what both servers need before the first port is opened.
fn in_runtime<F>(config: &Config, run: F) -> ExitCode
where
    F: AsyncFnOnce(Config) -> Result<(), Box<dyn std::error::Error>>,
{
    if let Err(error) = telemetry::logs::start(&config.log) {
        return fail(&error);
    }
    panics::install(|| telemetry::logs::logs().is_some());
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail(&"a TLS provider is installed already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    let code = match runtime.block_on(run(config.clone())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    };
    // What still waits for a disk is not waited for.
    runtime.shutdown_timeout(THREADS_LIMIT);
    if let Some(logs) = telemetry::logs::logs() {
        logs.flush(LOG_LIMIT);
    }
    code
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
