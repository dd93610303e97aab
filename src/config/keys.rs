//! The keys there are, and which of them an unknown one was probably meant to be.

/// Every key, `section.name`. Stable: keys are added, none is renamed.
pub const KEYS: &[&str] = &[
    "http.listen",
    "http.base_path",
    "http.allowed_origins",
    "http.allowed_hosts",
    "http.frame_ancestors",
    "http.tls",
    "http.tls_cert",
    "http.tls_key",
    "http.hsts_seconds",
    "http.trusted_proxies",
    "http.forwarded_header",
    "http.sign_ins_per_second",
    "http.free_tries",
    "http.lockout_seconds",
    "http.max_connections",
    "http.max_connections_per_address",
    "http.operator_tokens",
    "http.operator_tokens_file",
    "connector.tokens",
    "connector.tokens_file",
    "connector.bare_paths",
    "sip.servers",
    "sip.domain",
    "sip.listen",
    "sip.tls_listen",
    "sip.tls_ca",
    "sip.tls_pins",
    "sip.tls_cert",
    "sip.tls_key",
    "sip.advertise",
    "sip.networks",
    "sip.ping_seconds",
    "sip.register_expires",
    "sip.register_rate",
    "sip.session_expires",
    "sip.min_session_expires",
    "sip.reliable",
    "sip.headers",
    "sip.attached_prefix",
    "sip.dtmf",
    "sip.user_agent",
    "media.listen",
    "media.tcp_listen",
    "media.advertise",
    "media.rtp_address",
    "media.rtp_ports",
    "media.workers",
    "media.codecs",
    "media.opus_complexity",
    "media.video",
    "media.tones",
    "media.hold_music",
    "media.silence_alarm_seconds",
    "media.srtp",
    "turn.listen",
    "turn.tls_listen",
    "turn.tls_cert",
    "turn.tls_key",
    "turn.advertise",
    "turn.realm",
    "turn.secret",
    "turn.secret_file",
    "turn.credential_seconds",
    "turn.max_allocations",
    "turn.max_allocations_per_address",
    "turn.external",
    "agents.lease_seconds",
    "agents.max_calls",
    "agents.secrets_file",
    "agents.secrets_command",
    "agents.secrets_command_seconds",
    "agents.secrets_for",
    "agents.token_key_file",
    "agents.sign_in",
    "agents.guests",
    "operations.no_rtp_seconds",
    "gateway.drain_seconds",
    "journal.store",
    "journal.keep_days",
    "journal.max_megabytes",
    "journal.keep_bodies",
    "journal.call_records",
    "journal.hep",
    "journal.hep_capture_id",
    "journal.hep_password_file",
    "log.level",
    "log.format",
    "log.file",
    "log.rotate_mb",
    "log.rotate_daily",
    "log.keep",
    "metrics.listen",
    "metrics.open",
    "tracing.otlp",
];

/// Whether its value must not be shown, not even in a fault.
pub(super) fn is_secret(key: &str) -> bool {
    key == "turn.secret"
}

/// `WRTC_HTTP__LISTEN` for `http.listen`.
pub fn environment_name(key: &str) -> String {
    format!("WRTC_{}", key.replace('.', "__").to_ascii_uppercase())
}

pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.split('.').next() == Some(name))
}

/// The known key with the fewest edits.
pub(super) fn nearest(unknown: &str) -> &'static str {
    let unknown = unknown.to_ascii_lowercase();
    // `listen` alone is nearer to `http.listen` than its missing section lets it look.
    let cost = |key: &&&str| {
        let name = key.split('.').next_back().unwrap_or_default();
        let given = unknown.split('.').next_back().unwrap_or_default();
        // A part of the name is the name, nearly: `lease`, `origins`.
        let apart = if name.contains(given) { 1 } else { distance(name, given) };
        (2 * apart + distance(key, &unknown), key.len())
    };
    KEYS.iter().min_by_key(cost).copied().unwrap_or("http.listen")
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The line (from 1) on which a key of a TOML document stands.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let mut section = String::new();
    let mut holder = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            section = plain(header.split(']').next().unwrap_or_default());
            if section == key {
                return Some(number + 1);
            }
            continue;
        }
        let Some((name, _)) = line.split_once('=') else { continue };
        let name = plain(name);
        let full = if section.is_empty() { name } else { format!("{section}.{name}") };
        if full == key {
            return Some(number + 1);
        }
        // `http = { listen = ... }`
        if holder.is_none() && key.starts_with(&format!("{full}.")) {
            holder = Some(number + 1);
        }
    }
    holder
}

/// Without the quotes and spaces that TOML allows in keys.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !c.is_whitespace() && *c != '"' && *c != '\'').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_key() {
        for (unknown, meant) in [
            ("http.lisen", "http.listen"),
            ("sip.server", "sip.servers"),
            ("media.codec", "media.codecs"),
            ("workers", "media.workers"),
            ("http.allow_origins", "http.allowed_origins"),
            ("http.origins", "http.allowed_origins"),
            ("agents.lease", "agents.lease_seconds"),
        ] {
            assert_eq!(nearest(unknown), meant, "{unknown}");
        }
    }

    #[test]
    fn lines() {
        let text =
            "# gateway\n[http]\nlisten = \"a\"\n\n[ sip ]\n\"servers\" = [\n]\nmedia.x = 1\n";
        assert_eq!(line_of(text, "http.listen"), Some(3));
        assert_eq!(line_of(text, "sip.servers"), Some(6));
        assert_eq!(line_of(text, "sip"), Some(5));
        assert_eq!(line_of(text, "http.nothing"), None);
        assert_eq!(line_of("http = { listen = 1 }\n", "http.listen"), Some(1));
    }
}
