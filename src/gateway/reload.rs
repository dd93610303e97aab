//! Reading the configuration again: the same sources, checked whole before anything changes.
//!
//! What has ports, threads or registrations of its own stays as it is until a restart, and is told to
//! whoever asked. The rest is taken up by those who look it up when they need it: calls and sessions
//! keep what they began with, the next ones have the new.

use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;
use tracing::{info, warn};

use crate::agent::{ReloadError, Reloaded};
use crate::call::CallConfig;
use crate::config::{
    Agents, Commit, Config, Guard, Http, Limits, Log, Media, Reading, Reload, Sip, Sources,
};
use crate::journal::{About, What};

use super::{Gateway, call_config, start};

/// Keys that take effect without a restart. `blend` says the same in another way; a test compares.
pub const LIVE: &[&str] = &[
    "http.allowed_origins",
    "http.allowed_hosts",
    "http.frame_ancestors",
    "http.tls_cert",
    "http.tls_key",
    "http.hsts_seconds",
    "http.trusted_proxies",
    "http.forwarded_header",
    "http.sign_ins_per_second",
    "http.free_tries",
    "http.lockout_seconds",
    "http.max_connections_per_address",
    "http.operator_tokens",
    "http.operator_tokens_file",
    "connector.tokens",
    "connector.tokens_file",
    "connector.bare_paths",
    "sip.servers",
    "sip.tls_ca",
    "sip.tls_pins",
    "sip.tls_cert",
    "sip.tls_key",
    "sip.networks",
    "sip.register_rate",
    "sip.register_expires",
    "sip.session_expires",
    "sip.min_session_expires",
    "sip.reliable",
    "sip.headers",
    "sip.attached_prefix",
    "sip.dtmf",
    "media.codecs",
    "media.opus_complexity",
    "media.video",
    "media.tones",
    "media.hold_music",
    "media.silence_alarm_seconds",
    "media.srtp",
    "agents.lease_seconds",
    "agents.max_calls",
    "operations.no_rtp_seconds",
    "agents.secrets_file",
    "agents.secrets_command",
    "agents.secrets_command_seconds",
    "agents.secrets_for",
    "agents.token_key_file",
    "agents.sign_in",
    "agents.guests",
    "gateway.drain_seconds",
    "log.level",
];

/// The configuration in use: `new` where that can be, `old` where a restart is needed.
fn blend(old: &Config, new: &Config) -> Config {
    Config {
        http: Http {
            listen: old.http.listen,
            base_path: old.http.base_path.clone(),
            guard: Guard {
                self_signed: old.http.guard.self_signed,
                limits: Limits {
                    connections: old.http.guard.limits.connections,
                    ..new.http.guard.limits
                },
                ..new.http.guard.clone()
            },
            ..new.http.clone()
        },
        sip: Sip {
            listen: old.sip.listen,
            tls_listen: old.sip.tls_listen,
            domain: old.sip.domain.clone(),
            advertise: old.sip.advertise,
            ping: old.sip.ping,
            user_agent: old.sip.user_agent.clone(),
            ..new.sip.clone()
        },
        media: Media {
            codecs: new.media.codecs.clone(),
            opus_complexity: new.media.opus_complexity,
            video: new.media.video.clone(),
            tones: new.media.tones,
            hold_music: new.media.hold_music.clone(),
            silence_alarm: new.media.silence_alarm,
            srtp: new.media.srtp,
            ..old.media.clone()
        },
        agents: Agents { ..new.agents.clone() },
        operations: new.operations.clone(),
        lifecycle: new.lifecycle.clone(),
        log: Log { level: new.log.level.clone(), ..old.log.clone() },
        ..old.clone()
    }
}

/// What the agents' tasks look up.
pub(super) struct Settings {
    pub config: Config,
    /// For calls that begin.
    pub call: CallConfig,
}

impl Settings {
    pub fn new(config: Config) -> ArcSwap<Self> {
        ArcSwap::from_pointee(Self { call: call_config(&config), config })
    }
}

/// What a reload needs to know of the past.
pub(super) struct Reloader {
    sources: Sources,
    /// At the start: what a restart would change is told against it.
    started: Reading,
    last: Reading,
}

impl Gateway {
    /// From now on the configuration can be read again from these. `reading` is what the gateway was
    /// started with.
    pub async fn set_sources(&self, sources: Sources, reading: Reading) {
        let reloader = Reloader { sources, started: reading.clone(), last: reading };
        *self.shared.reloader.lock().await = Some(reloader);
    }

    /// Another part that takes new configurations.
    pub(super) fn add_part(&self, part: Arc<dyn Reload>) {
        self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }

    /// Reads the sources again and takes up what can be without a restart. Calls, polls and registrations
    /// go on.
    ///
    /// # Errors
    /// All that is wrong with the new configuration; the old one stays in use then.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        // Whoever asked may go away; half a reload would be noted nowhere.
        let gateway = self.clone();
        let reloading = tokio::spawn(async move { gateway.reload_now().await });
        reloading.await.unwrap_or_else(|_| Err(stumbled()))
    }

    async fn reload_now(&self) -> Result<Reloaded, ReloadError> {
        // One at a time.
        let mut reloader = self.shared.reloader.lock().await;
        let Some(reloader) = &mut *reloader else { return Err(ReloadError::NoSources) };
        let (gateway, sources) = (self.clone(), reloader.sources.clone());
        let work = tokio::task::spawn_blocking(move || {
            let read = sources.read().map_err(|errors| {
                ReloadError::Faults(errors.0.iter().map(ToString::to_string).collect())
            })?;
            gateway.take(&read.config)?;
            Ok(read)
        });
        let read = match work.await {
            Ok(read) => read,
            Err(_) => Err(stumbled()),
        };
        let read = read.inspect_err(|fault| {
            warn!("the configuration stays as it was:\n{fault}");
        })?;
        let is_live = |key: &&str| LIVE.contains(key);
        let changed = read.changed_since(&reloader.last).into_iter().filter(is_live).collect();
        let restart = read.changed_since(&reloader.started);
        let restart = restart.into_iter().filter(|key| !is_live(key)).collect();
        reloader.last = read;
        let reloaded = Reloaded { changed, restart };
        info!(changed = ?reloaded.changed, "read the configuration again");
        if !reloaded.restart.is_empty() {
            warn!(keys = ?reloaded.restart, "these have new values that want a restart");
        }
        let changed = reloaded.changed.iter().map(|key| (*key).to_owned()).collect();
        self.shared.journal.note(About::default(), What::Reloaded { changed });
        Ok(reloaded)
    }

    /// All parts are ready before the first one changes.
    fn take(&self, new: &Config) -> Result<(), ReloadError> {
        let new = blend(&self.shared.settings.load().config, new);
        let parts = self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let prepared = parts.iter().map(|part| part.prepare(&new));
        let (ready, faults): (Vec<_>, Vec<_>) =
            prepared.chain([self.prepare(&new)]).partition(Result::is_ok);
        let mut faults: Vec<String> = faults.into_iter().filter_map(Result::err).collect();
        if faults.is_empty()
            // Whole by itself, and the last that can fail.
            && let Err(error) = self.shared.endpoint.reload_tls(&start::tls_files(&new.sip.tls))
        {
            faults.push(error.to_string());
        }
        if !faults.is_empty() {
            return Err(ReloadError::Faults(faults));
        }
        ready.into_iter().flatten().for_each(|commit: Commit| commit());
        Ok(())
    }
}

fn stumbled() -> ReloadError {
    ReloadError::Faults(vec!["reading it stumbled; see the log".into()])
}

impl Reload for Gateway {
    fn prepare(&self, new: &Config) -> Result<Commit, String> {
        let tuning = start::tuning(&new.media).map_err(|error| error.to_string())?;
        let (shared, config) = (Arc::clone(&self.shared), new.clone());
        Ok(Box::new(move || {
            shared.engine.set_tuning(tuning);
            shared.watch.set_silence(config.operations.no_rtp);
            shared.link.pacing.set_rate(config.sip.register_rate);
            shared.networks.store(Arc::new(config.sip.networks.clone()));
            shared.server_list.send_if_modified(|known| {
                let changed = *known != config.sip.servers;
                known.clone_from(&config.sip.servers);
                changed
            });
            shared.tls_files.send_replace(start::tls_files(&config.sip.tls));
            let call = call_config(&config);
            shared.settings.store(Arc::new(Settings { config, call }));
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    /// A value of each that is not the default.
    const OTHERS: &[(&str, &str)] = &[
        ("http.listen", "127.0.0.1:1"),
        ("http.base_path", "/other"),
        ("http.allowed_origins", "https://a.example"),
        ("http.allowed_hosts", "a.example"),
        ("http.frame_ancestors", "https://a.example"),
        ("http.tls", "self-signed"),
        ("http.hsts_seconds", "7"),
        ("http.trusted_proxies", "192.0.2.1"),
        ("http.forwarded_header", "forwarded"),
        ("http.sign_ins_per_second", "7"),
        ("http.free_tries", "7"),
        ("http.lockout_seconds", "7"),
        ("http.max_connections", "77"),
        ("http.max_connections_per_address", "77"),
        ("http.operator_tokens_file", "/dev/null"),
        ("agents.secrets_file", "/dev/null"),
        ("agents.secrets_command", "/bin/dn-secret"),
        ("agents.secrets_command_seconds", "7"),
        ("agents.secrets_for", "origins"),
        ("agents.guests", "off"),
        ("connector.tokens", "0123456789abcdef=5001"),
        ("connector.bare_paths", "off"),
        ("sip.servers", "sip:b.example"),
        ("sip.domain", "c.example"),
        ("sip.listen", "127.0.0.1:5099"),
        ("sip.tls_ca", "/ca.pem"),
        ("sip.advertise", "192.0.2.1"),
        ("sip.networks", "192.0.2.0/24"),
        ("sip.ping_seconds", "7"),
        ("sip.register_rate", "7"),
        ("sip.register_expires", "77"),
        ("sip.session_expires", "777"),
        ("sip.min_session_expires", "95"),
        ("sip.reliable", "off"),
        ("sip.headers", "X-A: b"),
        ("sip.attached_prefix", "X-B-"),
        ("sip.dtmf", "info"),
        ("sip.user_agent", "other"),
        ("media.listen", "127.0.0.1:30000"),
        ("media.rtp_address", "127.0.0.1"),
        ("media.rtp_ports", "20000-20099"),
        ("media.workers", "7"),
        ("media.codecs", "PCMA"),
        ("media.opus_complexity", "7"),
        ("media.video", "VP8"),
        ("media.tones", "de"),
        ("media.hold_music", "/music.wav"),
        ("media.silence_alarm_seconds", "7"),
        ("media.srtp", "preferred"),
        ("turn.realm", "other"),
        ("agents.lease_seconds", "77"),
        ("agents.max_calls", "7"),
        ("log.level", "debug"),
        ("log.format", "json"),
        ("log.file", "/other.log"),
        ("metrics.listen", "127.0.0.1:2"),
        ("metrics.open", "true"),
        ("tracing.otlp", "http://c.example"),
        ("operations.no_rtp_seconds", "7"),
        ("gateway.drain_seconds", "7"),
    ];

    fn read(set: Option<(&str, &str)>) -> Config {
        let base = ["sip.servers=sip:a.example".to_owned(), "sip.domain=a.example".to_owned()];
        let set = set.map(|(key, value)| format!("{key}={value}"));
        Config::load(None, [], &base.into_iter().chain(set).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_is_called_live_is_taken_over_and_nothing_else() {
        let old = read(None);
        for (key, value) in OTHERS {
            let new = read(Some((key, value)));
            assert_ne!(old, new, "{key}: that is its default");
            let live = LIVE.contains(key);
            assert_eq!(blend(&old, &new), if live { new } else { old.clone() }, "{key}");
        }
        assert!(LIVE.iter().all(|key| KEYS.contains(key)));
    }
}
