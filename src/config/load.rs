//! Gathering the sources, checking the whole.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use figment::{Profile, Provider};

use super::fault::{ConfigErrors, Fault, Origin};
use super::keys::{self, KEYS};
use super::parse::{self, Raw, Wrong};
use super::sources::Reading;
use super::tokens;
use super::types::*;
use crate::media::{OPUS_COMPLEXITY, TonePlan};
use crate::sdp::{Codec, SrtpPolicy};

const ENVIRONMENT: &str = "WRTC_";

/// Kubernetes puts `WRTC_GATEWAY_SERVICE_HOST`, `WRTC_GATEWAY_PORT_8086_TCP` and their kin into the
/// environment of every pod that sees a service called `wrtc-gateway`. They are not ours: those of our section
/// `[gateway]` go on with a second underscore, which no service's name makes.
const SERVICE_LINKS: &str = "WRTC_GATEWAY_";

/// A JSAPI client is silent for 3 s after an error; a page in the background for up to a minute.
const LEASE: std::ops::RangeInclusive<u64> = 10..=3600;

/// As many sessions as a user agent has (`sip::UserAgent::MAX_SESSIONS`).
const CALLS: std::ops::RangeInclusive<u64> = 1..=8;

/// A server that is looked at less often than every 5 minutes might as well not be.
const PING: std::ops::RangeInclusive<u64> = 1..=300;

const REGISTER_RATE: std::ops::RangeInclusive<u64> = 1..=10_000;

/// RFC 4028 allows nothing below 90 s.
const SESSION_EXPIRES: std::ops::RangeInclusive<u64> = 90..=86_400;

/// Below some seconds every pause for breath of an announcement would be an alarm.
const SILENCE_ALARM: std::ops::RangeInclusive<u64> = 5..=3600;

const DEFAULT_TONES: &str = "us";

const MAX_WORKERS: u64 = 64;
const AUTOMATIC_WORKERS: usize = 4;

impl Config {
    /// Reads defaults, then the file, then the environment (`WRTC_HTTP__LISTEN`; lists with
    /// commas), then `--set http.listen=...`; the later wins. Opens nothing but the file.
    ///
    /// # Errors
    /// Every fault of every source, not only the first.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Config, ConfigErrors> {
        Self::load_over(&[], file, env, sets)
    }

    /// The same with other defaults, `key=value` each: what `demo` differs in from `serve`.
    ///
    /// # Errors
    /// Every fault of every source, not only the first.
    pub fn load_over(
        defaults: &[String],
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Config, ConfigErrors> {
        Self::read(defaults, file, env, sets).map(|reading| reading.config)
    }

    pub(super) fn read(
        defaults: &[String],
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
    ) -> Result<Reading, ConfigErrors> {
        let mut loader = Loader::default();
        loader.read_pairs(defaults, &Origin::Default);
        let whole = file.is_none_or(|path| loader.read_file(path));
        loader.read_environment(env);
        loader.read_pairs(sets, &Origin::Set);
        // What else is wrong nobody knows: keys would seem to be missing.
        let config = if whole { loader.build() } else { None };
        match config {
            Some(config) if loader.faults.is_empty() => {
                let values = loader.values.iter().map(|(key, (_, raw))| (key, raw.shown()));
                Ok(Reading::new(config, values))
            }
            _ => Err(ConfigErrors(loader.faults)),
        }
    }
}

#[derive(Default)]
pub(super) struct Loader {
    values: BTreeMap<String, (Origin, Raw)>,
    faults: Vec<Fault>,
}

impl Loader {
    fn fault(&mut self, key: &str, value: Option<String>, origin: Origin, wrong: Wrong) {
        self.faults.push(Fault {
            key: key.to_owned(),
            value: value.filter(|_| !keys::is_secret(key)),
            origin,
            reason: wrong.reason,
            remedy: wrong.remedy,
        });
    }

    fn unknown(&mut self, key: &str, meant: String, origin: Origin) {
        let wrong = parse::wrong("there is no such key", format!("did you mean {meant}?"));
        self.fault(key, None, origin, wrong);
    }

    fn put(&mut self, key: &str, origin: Origin, raw: Raw) {
        self.values.insert(key.to_owned(), (origin, raw));
    }

    /// Whether it could be read at all.
    fn read_file(&mut self, path: &Path) -> bool {
        let whole = Origin::File { path: path.to_owned(), line: None };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let reason = format!("it cannot be read: {error}");
                let wrong = parse::wrong(reason, "check the path and its permissions");
                self.fault("", None, whole, wrong);
                return false;
            }
        };
        let mut sections = match Toml::string(&text).data() {
            Ok(mut profiles) => profiles.remove(&Profile::Default).unwrap_or_default(),
            Err(error) => {
                let reason = format!("it is not TOML: {}", without_source(&error.to_string()));
                let wrong = parse::wrong(reason, "put it right at the line named");
                self.fault("", None, whole, wrong);
                return false;
            }
        };
        let origin =
            |key: &str| Origin::File { path: path.to_owned(), line: keys::line_of(&text, key) };
        for (section, value) in std::mem::take(&mut sections) {
            let entries: Dict = match value {
                Value::Dict(_, entries) if keys::is_section(&section) => entries,
                _ => {
                    let meant = keys::nearest(&section).to_owned();
                    self.unknown(&section, meant, origin(&section));
                    continue;
                }
            };
            for (name, value) in entries {
                let key = format!("{section}.{name}");
                if KEYS.contains(&key.as_str()) {
                    self.put(&key, origin(&key), Raw::Toml(value));
                } else {
                    self.unknown(&key, keys::nearest(&key).to_owned(), origin(&key));
                }
            }
        }
        true
    }

    fn read_environment(&mut self, env: impl IntoIterator<Item = (String, String)>) {
        let mut ours: Vec<(String, String)> = env
            .into_iter()
            .filter(|(name, _)| {
                let foreign =
                    name.strip_prefix(SERVICE_LINKS).is_some_and(|rest| !rest.starts_with('_'));
                name.starts_with(ENVIRONMENT) && !foreign
            })
            .collect();
        ours.sort();
        for (name, value) in ours {
            let origin = Origin::Environment(name.clone());
            match KEYS.iter().find(|key| keys::environment_name(key) == name) {
                Some(key) => self.put(key, origin, Raw::Text(value)),
                None => {
                    let tail = name.trim_start_matches(ENVIRONMENT);
                    let key = match tail.split_once("__") {
                        Some((section, key)) => format!("{section}.{key}"),
                        None => tail.replacen('_', ".", 1),
                    };
                    let meant = keys::environment_name(keys::nearest(&key));
                    self.unknown(&name, meant, origin);
                }
            }
        }
    }

    fn read_pairs(&mut self, pairs: &[String], origin: &Origin) {
        for set in pairs {
            match set.split_once('=') {
                Some((key, value)) if KEYS.contains(&key.trim()) => {
                    self.put(key.trim(), origin.clone(), Raw::Text(value.to_owned()));
                }
                Some((key, _)) => {
                    let key = key.trim();
                    self.unknown(key, keys::nearest(key).to_owned(), origin.clone());
                }
                None => {
                    let wrong = parse::wrong("it has no `=`", "write it as --set http.listen=...");
                    self.fault(set, None, origin.clone(), wrong);
                }
            }
        }
    }

    /// The value of a key, if it was given and is right.
    pub(super) fn take<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Raw) -> Result<T, Wrong>,
    ) -> Option<T> {
        let (origin, raw) = self.values.get(key).cloned()?;
        match parse(&raw) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.fault(key, Some(raw.shown()), origin, wrong);
                None
            }
        }
    }

    /// The same for a value that no log line may have.
    pub(super) fn take_secret<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Raw) -> Result<T, Wrong>,
    ) -> Option<T> {
        let (origin, raw) = self.values.get(key).cloned()?;
        parse(&raw).map_err(|wrong| self.fault(key, None, origin, wrong)).ok()
    }

    /// A fault that shows only when several keys are seen together; told of the one named.
    pub(super) fn clash(
        &mut self,
        key: &str,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (origin, value) = match self.values.get(key) {
            Some((origin, raw)) => (origin.clone(), Some(raw.shown())),
            None => (Origin::Default, None),
        };
        self.fault(key, value, origin, parse::wrong(reason, remedy));
    }

    pub(super) fn is_given(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    fn build(&mut self) -> Option<Config> {
        let http = self.http();
        let sip = self.sip();
        let media = self.media();
        let turn = self.turn(&http);
        let agents = Agents {
            lease: self
                .take("agents.lease_seconds", |raw| parse::seconds(raw, LEASE))
                .unwrap_or(Duration::from_secs(60)),
            max_calls: self
                .take("agents.max_calls", |raw| parse::count(raw, CALLS, ""))
                .and_then(|calls| usize::try_from(calls).ok())
                .unwrap_or(2),
        };
        let (log, metrics, tracing) = (self.log(), self.metrics(), self.tracing());
        let journal = self.journal();
        let operations = self.operations();
        let lifecycle = self.lifecycle();
        let sip = sip?;
        self.check_candidates(&media);
        self.check_video(&media);
        let config = Config {
            http,
            sip,
            media,
            turn,
            agents,
            journal,
            operations,
            lifecycle,
            log,
            metrics,
            tracing,
        };
        self.check_ports(&config);
        Some(config)
    }

    fn http(&mut self) -> Http {
        let cert = self.take("http.tls_cert", parse::path);
        let key = self.take("http.tls_key", parse::path);
        self.both_or_neither("http.tls_cert", "http.tls_key");
        let allowed_origins = self
            .take("http.allowed_origins", parse::origins)
            .unwrap_or_else(|| Origins::List(vec![OriginRule::Loopback]));
        let secrets = self.dn_secrets(&allowed_origins);
        let (token_keys, operators) = (self.token_keys(), self.operators());
        Http {
            listen: self
                .take("http.listen", parse::socket_address)
                .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8086))),
            base_path: self.take("http.base_path", parse::base_path).unwrap_or_default(),
            sign_ins: self.sign_ins(&secrets, &operators, &token_keys),
            secrets,
            token_keys,
            allowed_origins,
            tls: cert.zip(key).map(|(cert, key)| TlsFiles { cert, key }),
            operators,
            guard: self.guard(),
            connector: self.connector(),
        }
    }

    fn connector(&mut self) -> Connector {
        let mut tokens = self.take_secret("connector.tokens", tokens::list).unwrap_or_default();
        let more = self.take("connector.tokens_file", tokens::file).unwrap_or_default();
        if more.iter().any(|(token, _)| tokens.iter().any(|(known, _)| known == token)) {
            let reason = "it has a token that connector.tokens has too";
            self.clash("connector.tokens_file", reason, "leave one of them out");
        }
        tokens.extend(more);
        let words = [("auto", BarePaths::Auto), ("on", BarePaths::On), ("off", BarePaths::Off)];
        let bare = self.take("connector.bare_paths", |raw| parse::word(raw, &words));
        Connector { tokens, bare_paths: bare.unwrap_or_default() }
    }

    fn sip(&mut self) -> Option<Sip> {
        let servers = self.take("sip.servers", parse::sip_servers);
        if !self.values.contains_key("sip.servers") {
            self.clash(
                "sip.servers",
                "it is missing, and the gateway needs a SIP server",
                "name at least one, as in servers = [\"sip:sip.example:5060\"]",
            );
        }
        let domain = self.take("sip.domain", parse::domain);
        let listen = self.take("sip.listen", parse::socket_address);
        let advertise = self.take("sip.advertise", parse::advertise);
        let register_expires =
            self.take("sip.register_expires", |raw| parse::seconds(raw, 60..=86_400));
        let user_agent = self.take("sip.user_agent", parse::header_line);
        let tls_listen = self.take("sip.tls_listen", parse::socket_address);
        let tls = self.sip_tls();
        if tls_listen.is_some() && tls.own.is_none() {
            let remedy = "give sip.tls_cert and sip.tls_key, or leave sip.tls_listen out";
            self.clash("sip.tls_listen", "TLS cannot be served without a certificate", remedy);
        }
        let networks = self.take("sip.networks", parse::networks).unwrap_or_default();
        let ping = self
            .take("sip.ping_seconds", |raw| parse::seconds_or_none(raw, PING))
            .unwrap_or(Some(Duration::from_secs(10)));
        let register_rate = self
            .take("sip.register_rate", |raw| parse::count(raw, REGISTER_RATE, " a second"))
            .and_then(|rate| u32::try_from(rate).ok())
            // 500 agents who come back at once, each of them challenged, are 1000: 2.5 s.
            .unwrap_or(400);
        let session_expires = self
            .take("sip.session_expires", |raw| parse::seconds_or_none(raw, SESSION_EXPIRES))
            .unwrap_or(Some(Duration::from_secs(1800)));
        let min_session_expires = self
            .take("sip.min_session_expires", |raw| parse::seconds(raw, SESSION_EXPIRES))
            .unwrap_or(Duration::from_secs(90));
        if session_expires.is_some_and(|expires| expires < min_session_expires) {
            let reason = "it is shorter than sip.min_session_expires";
            self.clash("sip.session_expires", reason, "raise the one or lower the other");
        }
        let reliable = [
            ("off", ReliableProvisional::Off),
            ("required", ReliableProvisional::Required),
            ("supported", ReliableProvisional::Supported),
        ];
        let reliable = self
            .take("sip.reliable", |raw| parse::word(raw, &reliable))
            .unwrap_or(ReliableProvisional::Required);
        let dtmf = [("auto", DtmfBy::Auto), ("rtp", DtmfBy::Rtp), ("info", DtmfBy::Info)];
        let dtmf = self.take("sip.dtmf", |raw| parse::word(raw, &dtmf)).unwrap_or(DtmfBy::Auto);
        let headers = self.take("sip.headers", parse::headers).unwrap_or_default();
        let attached_prefix = self
            .take("sip.attached_prefix", parse::header_prefix)
            .unwrap_or_else(|| "X-Attached-".to_owned());
        let servers = servers?;
        let first = servers.first()?.host.clone();
        Some(Sip {
            domain: domain.unwrap_or(first),
            servers,
            // 5060 is the SIP server's where both run on one host. A fixed port all the same, for
            // firewalls and so that a contact outlives a restart.
            listen: listen.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5062))),
            tls_listen,
            tls,
            networks,
            ping,
            register_rate,
            session_expires,
            min_session_expires,
            reliable,
            headers,
            attached_prefix,
            dtmf,
            advertise,
            register_expires: register_expires.unwrap_or(Duration::from_secs(300)),
            user_agent: user_agent
                .unwrap_or_else(|| concat!("wrtc-gateway/", env!("CARGO_PKG_VERSION")).to_owned()),
        })
    }

    fn sip_tls(&mut self) -> SipTls {
        let ca = self.take("sip.tls_ca", parse::path);
        let pins = self.take("sip.tls_pins", parse::pins).unwrap_or_default();
        let cert = self.take("sip.tls_cert", parse::path);
        let key = self.take("sip.tls_key", parse::path);
        self.both_or_neither("sip.tls_cert", "sip.tls_key");
        SipTls { ca, pins, own: cert.zip(key).map(|(cert, key)| TlsFiles { cert, key }) }
    }

    pub(super) fn both_or_neither(&mut self, one: &str, other: &str) {
        for (given, missing) in [(one, other), (other, one)] {
            if self.values.contains_key(given) && !self.values.contains_key(missing) {
                self.clash(given, format!("{missing} is missing"), "give both, or neither");
            }
        }
    }

    fn media(&mut self) -> Media {
        let workers = self
            .take("media.workers", |raw| parse::count(raw, 0..=MAX_WORKERS, "; 0 is automatic"))
            .and_then(|workers| usize::try_from(workers).ok())
            .unwrap_or(0);
        let srtp = [
            ("off", SrtpPolicy::Off),
            ("preferred", SrtpPolicy::Preferred),
            ("required", SrtpPolicy::Required),
        ];
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Media {
            // Below the ports that Linux gives to clients (32768 on), above the RTP range.
            listen: self
                .take("media.listen", parse::socket_address)
                .unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 30_000))),
            tcp_listen: self.take("media.tcp_listen", parse::socket_address),
            advertise: self.take("media.advertise", parse::addresses).unwrap_or_default(),
            rtp_address: self.take("media.rtp_address", parse::address),
            rtp_ports: self.take("media.rtp_ports", parse::port_range).unwrap_or(20_000..=29_999),
            workers: if workers == 0 { cores.min(AUTOMATIC_WORKERS) } else { workers },
            codecs: self.take("media.codecs", parse::codecs).unwrap_or_else(|| Codec::ALL.to_vec()),
            opus_complexity: self
                .take("media.opus_complexity", |raw| parse::count(raw, 0..=10, ""))
                .and_then(|complexity| u8::try_from(complexity).ok())
                .unwrap_or(OPUS_COMPLEXITY),
            video: self.take("media.video", parse::video).unwrap_or_default(),
            tones: self
                .take("media.tones", parse::tones)
                .unwrap_or_else(|| TonePlan::of(DEFAULT_TONES)),
            hold_music: self.take("media.hold_music", parse::sound_file),
            silence_alarm: self
                .take("media.silence_alarm_seconds", |raw| {
                    parse::seconds_or_none(raw, SILENCE_ALARM)
                })
                .unwrap_or(Some(Duration::from_secs(30))),
            srtp: self.take("media.srtp", |raw| parse::word(raw, &srtp)).unwrap_or_default(),
        }
    }

    /// Encrypted audio with plain video beside it is nobody's wish.
    fn check_video(&mut self, media: &Media) {
        if !media.video.is_empty() && media.srtp != SrtpPolicy::Off {
            let reason = "video goes to SIP as plain RTP, and media.srtp is not \"off\"".to_owned();
            let remedy = "leave one of the two out";
            self.clash("media.video", reason, remedy);
        }
    }

    /// Candidates that no browser could reach.
    fn check_candidates(&mut self, media: &Media) {
        let listen = media.listen.ip();
        let reached = |ip: &IpAddr| {
            ip.is_ipv4() == listen.is_ipv4() || listen == IpAddr::from(Ipv6Addr::UNSPECIFIED)
        };
        if let Some(ip) = media.advertise.iter().find(|ip| !reached(ip)) {
            let reason = format!("{ip} is of another family than media.listen = {}", media.listen);
            let remedy = "listen on both families, as in media.listen = \"[::]:30000\"";
            self.clash("media.advertise", reason, remedy);
        }
    }
}

/// A parser shows the line that it stumbled over, and a secret may stand in it.
fn without_source(error: &str) -> String {
    let quoted = |line: &&str| {
        let line = line.trim_start();
        !line.is_empty()
            && !line.starts_with('|')
            && !line.starts_with(|c: char| c.is_ascii_digit())
    };
    error.lines().filter(quoted).collect::<Vec<_>>().join(": ")
}
