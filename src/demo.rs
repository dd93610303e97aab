//! `wrtc-gateway demo`: the gateway with the embedded SIP server, on loopback, no file needed.

use std::fmt::Write;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::config::{Config, ConfigErrors};
use crate::gateway::{self, Gateway, StartError};
use crate::lab::centre::{Centre, Console, keyboard};
use crate::lab::{Challenge, Lab, LabConfig};
use crate::secret::Secret;

/// What `demo` differs in from `serve`: everything on loopback, any free SIP port. Later settings win.
const SETTINGS: [&str; 6] = [
    "sip.servers=sip:127.0.0.1",
    "sip.domain=demo.invalid",
    "sip.listen=127.0.0.1:0",
    "media.listen=127.0.0.1:0",
    "media.rtp_address=127.0.0.1",
    "log.level=warn",
];

/// How long the last reports may take to be printed.
const LAST_REPORTS: Duration = Duration::from_secs(1);

const FIRST_DN: u32 = 5001;
const LAST_DN: u32 = 5020;

/// The demo's configuration: its own settings, then file, environment and `--set`.
pub fn config(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    sets: &[String],
) -> Result<Config, ConfigErrors> {
    let defaults = SETTINGS.map(str::to_owned);
    Config::load_over(&defaults, file, environment, sets)
}

/// A running demo.
pub struct Demo {
    running: gateway::Running,
    lab: Lab,
    password: Secret,
    printing: Option<JoinHandle<()>>,
    centre: Option<(Centre, Console)>,
}

/// Why the demo did not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the embedded SIP server has no port on 127.0.0.1: {0}")]
    Lab(#[from] std::io::Error),
    #[error("the contact centre has no port: {0}")]
    Centre(std::io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Starts the SIP server, then the gateway in front of it. An empty password is none: the SIP server
/// asks for nothing then.
pub async fn start(mut config: Config, password: Option<Secret>) -> Result<Demo, DemoError> {
    let password = password.unwrap_or_else(random_password);
    let mut asked = LabConfig::new(password.clone());
    if password.expose().is_empty() {
        asked.challenge = Challenge::None;
    }
    let lab = Lab::start(LabConfig { first_dn: FIRST_DN, last_dn: LAST_DN, ..asked }).await?;
    for server in &mut config.sip.servers {
        server.host = lab.sip_addr().ip().to_string();
        server.port = Some(lab.sip_addr().port());
    }
    let running = gateway::start(config).await?;
    Ok(Demo { running, lab, password, printing: None, centre: None })
}

impl Demo {
    pub fn base_url(&self) -> String {
        self.running.base_url()
    }

    pub fn password(&self) -> &Secret {
        &self.password
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn gateway(&self) -> &Gateway {
        &self.running.gateway
    }

    /// Returns when a drain that an operator has begun is over.
    pub async fn drained(&self) {
        self.running.drained().await;
    }

    /// Puts a contact centre beside the SIP server, and a console for it at `listen` (loopback).
    pub async fn open_centre(&mut self, listen: SocketAddr) -> Result<&Centre, DemoError> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let centre = Centre::start(any).await.map_err(DemoError::Centre)?;
        centre.follow(self.lab.registrations());
        let console = Console::start(listen, centre.clone()).await.map_err(DemoError::Centre)?;
        Ok(&self.centre.insert((centre, console)).0)
    }

    /// Takes commands for the contact centre from a terminal; a pipe is left alone.
    pub fn listen_to_keyboard(&self) {
        let Some((centre, _)) = &self.centre else { return };
        if !std::io::stdin().is_terminal() {
            return;
        }
        let centre = centre.clone();
        let (lines, mut typed) = tokio::sync::mpsc::channel::<String>(8);
        // A read of the terminal cannot be given up: it has a thread that ends with the process.
        std::thread::spawn(move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Some(line) = typed.recv().await {
                if let Some(answer) = keyboard::command(&centre, &line).await {
                    println!("{answer}");
                }
            }
        });
    }

    /// What a person needs to know to try it.
    pub fn greeting(&self) -> String {
        let url = self.base_url();
        let password = self.password.expose();
        let said =
            if password.is_empty() { "no password" } else { &format!("password {password}") };
        let mut text = String::new();
        let _ = writeln!(text, "open      {url}/");
        let _ = writeln!(text, "watch     {url}/dashboard");
        let certificate = self.running.http_control.certificate().filter(|it| it.self_signed);
        let insecure = if certificate.is_some() { "-k " } else { "" };
        if let Some(certificate) = certificate {
            let _ = writeln!(text, "trust     SHA-256 {}", certificate.fingerprint_text());
        }
        let _ = writeln!(text, "sign in   DN {FIRST_DN} to {LAST_DN}, {said}");
        let _ = writeln!(
            text,
            "call      600 echo, 601 a 1 kHz tone, 602 rings for ever, 603 busy, 604 calls back, \
             1003 answers by itself, or a DN signed in on another page"
        );
        let _ = writeln!(
            text,
            "try       curl {insecure}\"{url}/api/webrtc/sign_in?id=agent123&dn={FIRST_DN}&password={}\"",
            percent_encoded(password)
        );
        let _ = writeln!(
            text,
            "SIP       a phone of your own registers at {} over UDP, same DNs, same password",
            self.lab.sip_addr()
        );
        if let Some((_, console)) = &self.centre {
            let _ = writeln!(
                text,
                "centre    {} queues calls, sends talk, hold and transfer, shows the messages; \
                 or type here: c queues a call, t talk, ? help",
                console.url()
            );
        }
        let _ = writeln!(text, "stop      Ctrl-C");
        text
    }

    /// Prints a line for each call that ends: what the SIP side heard of it.
    pub fn report_calls(&mut self, json: bool) {
        let mut reports = self.lab.reports();
        self.printing = Some(tokio::spawn(async move {
            loop {
                match reports.recv().await {
                    Ok(report) if json => match serde_json::to_string(&report) {
                        Ok(line) => println!("{line}"),
                        Err(error) => eprintln!("a report could not be written: {error}"),
                    },
                    Ok(report) => println!("{report}"),
                    Err(RecvError::Lagged(missed)) => eprintln!("{missed} reports were missed"),
                    Err(RecvError::Closed) => return,
                }
            }
        }));
    }

    pub async fn stop(self) {
        self.running.stop().await;
        self.lab.stop().await;
        // The calls that the stop ended are reported too; nothing comes after the lab's end.
        if let Some(printing) = self.printing {
            let _ = tokio::time::timeout(LAST_REPORTS, printing).await;
        }
    }
}

/// Ten characters without look-alikes: good enough for a demo on loopback.
fn random_password() -> Secret {
    const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    let text = (0..10).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    Secret::new(text.collect::<String>())
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
