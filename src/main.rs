//! The command line: `serve`, `demo`, `check`, `token`, `healthcheck`.

mod cli;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use wrtc_gateway::config::{Config, ConfigErrors, OperatorToken, Role, is_operator_name};
use wrtc_gateway::secret::Secret;
use wrtc_gateway::{demo, gateway, telemetry};

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
        #[arg(long, default_value = "act", value_parser = ["read", "act"])]
        role: String,
        /// Who it is for: the log has it beside what was done.
        #[arg(long)]
        name: Option<String>,
    },
    /// Check a configuration: tells every fault, opens nothing.
    Check(#[command(flatten)] Source),
    /// Ask the gateway of this configuration, on this host, whether it is alive: for containers.
    Healthcheck {
        #[command(flatten)]
        source: Source,
        /// Ask whether it takes new agents (/readyz) instead.
        #[arg(long)]
        ready: bool,
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
    fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(self.config.as_deref(), environment(), &self.sets)
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
        Command::Check(source) => check(&source),
        Command::Token { role, name } => token(&role, name.as_deref()),
        Command::Healthcheck { source, ready } => healthcheck(&source, ready),
        Command::Serve(source) => serve(&source),
        Command::Demo { source, password, json, contact_centre } => {
            run_demo(&source, password.map(Secret::new), json, contact_centre)
        }
    }
}

fn token(role: &str, name: Option<&str>) -> ExitCode {
    if let Some(name) = name.filter(|name| !is_operator_name(name)) {
        return fail(&format!(
            "--name {name}: use 1 to 32 letters, digits and - _ . @, and no role"
        ));
    }
    let role = if role == "read" { Role::Read } else { Role::Act };
    let (token, line) = OperatorToken::make(role, name);
    println!("token  {}", token.expose());
    println!("line   {line}");
    ExitCode::SUCCESS
}

fn check(source: &Source) -> ExitCode {
    match source.load() {
        Ok(_) => {
            let name =
                source.config.as_deref().map_or("the configuration".into(), Path::to_string_lossy);
            println!("{name} is fine");
            ExitCode::SUCCESS
        }
        Err(errors) => fail(&errors),
    }
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

fn serve(source: &Source) -> ExitCode {
    let config = match source.load() {
        Ok(config) => config,
        Err(errors) => return fail(&errors),
    };
    in_runtime(&config, async |config| {
        let running = gateway::start(config).await?;
        println!("serving at {}/", running.base_url());
        if let Some(certificate) = running.http_control.certificate().filter(|it| it.self_signed) {
            println!("certificate, self-signed, SHA-256 {}", certificate.fingerprint_text());
        }
        stop_signal().await;
        running.stop().await;
        Ok(())
    })
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
        let mut running = demo::start(config, password).await?;
        if let Some(listen) = contact_centre {
            running.open_centre(listen).await?;
        }
        print!("{}", running.greeting());
        running.listen_to_keyboard();
        running.report_calls(json);
        stop_signal().await;
        running.stop().await;
        Ok(())
    })
}

/// Logging, TLS provider, tokio: what both servers need before the first port is opened.
fn in_runtime<F>(config: &Config, run: F) -> ExitCode
where
    F: AsyncFnOnce(Config) -> Result<(), Box<dyn std::error::Error>>,
{
    if let Err(error) = telemetry::start_logging(&config.log) {
        return fail(&format!("log.level = {:?}: {error}", config.log.level));
    }
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return fail(&"a TLS provider is installed already");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    match runtime.block_on(run(config.clone())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// Ctrl-C or SIGTERM.
async fn stop_signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
