//! The section `[turn]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::load::Loader;
use super::parse::{self, Raw, Wrong, wrong};
use super::types::{Http, TlsFiles, Turn, TurnSecret};
use crate::secret::Secret;

/// A week at most: what is stolen should not be of use for ever.
const CREDENTIAL_LIFE: RangeInclusive<u64> = 60..=604_800;

/// Each has a socket; a port range of this host has no more for them.
const ALLOCATIONS: RangeInclusive<u64> = 1..=20_000;

/// Others would guess a shorter one from a single set of credentials.
const MIN_SECRET: usize = 16;

impl Loader {
    pub(super) fn turn(&mut self, http: &Http) -> Turn {
        let cert = self.take("turn.tls_cert", parse::path);
        let key = self.take("turn.tls_key", parse::path);
        self.both_or_neither("turn.tls_cert", "turn.tls_key");
        let own = cert.zip(key).map(|(cert, key)| TlsFiles { cert, key });
        let allocations = |raw: &Raw| parse::count(raw, ALLOCATIONS, "");
        let usize = |count| usize::try_from(count).ok();
        let max_allocations =
            self.take("turn.max_allocations", allocations).and_then(usize).unwrap_or(2000);
        let turn = Turn {
            listen: self.take("turn.listen", parse::socket_address),
            tls_listen: self.take("turn.tls_listen", parse::socket_address),
            tls: own.or_else(|| http.tls.clone()),
            advertise: self.take("turn.advertise", hosts).unwrap_or_default(),
            realm: self.take("turn.realm", realm).unwrap_or_else(|| "wrtc-gateway".to_owned()),
            secret: self.turn_secret(),
            credential_life: self
                .take("turn.credential_seconds", |raw| parse::seconds(raw, CREDENTIAL_LIFE))
                .unwrap_or(Duration::from_secs(86_400)),
            max_allocations,
            // All agents of a site come from one address, often enough, and only they have credentials.
            max_allocations_per_address: self
                .take("turn.max_allocations_per_address", allocations)
                .and_then(usize)
                .unwrap_or(max_allocations),
            external: self.take("turn.external", uris).unwrap_or_default(),
        };
        self.check_turn(&turn);
        turn
    }

    fn turn_secret(&mut self) -> TurnSecret {
        let given = self.take("turn.secret", secret);
        let file = self.take("turn.secret_file", parse::path);
        if self.is_given("turn.secret") && self.is_given("turn.secret_file") {
            self.clash("turn.secret_file", "turn.secret is given as well", "leave one of them out");
        }
        match (given, file) {
            (_, Some(file)) => TurnSecret::File(file),
            (Some(secret), None) => TurnSecret::Given(secret),
            (None, None) => TurnSecret::Random,
        }
    }

    fn check_turn(&mut self, turn: &Turn) {
        if turn.tls_listen.is_some() && turn.tls.is_none() {
            let remedy = "give turn.tls_cert and turn.tls_key or those of [http], or leave \
                          turn.tls_listen out";
            self.clash("turn.tls_listen", "TLS cannot be served without a certificate", remedy);
        }
        let foreign = turn.external.iter().any(|uri| uri.starts_with("turn"));
        let shared = self.is_given("turn.secret") || self.is_given("turn.secret_file");
        if foreign && !shared {
            let remedy = "give turn.secret or turn.secret_file, the same as that server's";
            self.clash("turn.external", "a TURN server in it has to know our secret", remedy);
        }
    }
}

fn hosts(raw: &Raw) -> Result<Vec<String>, Wrong> {
    let mut hosts = Vec::new();
    for entry in raw.list()? {
        let host = parse::host(&entry).ok_or_else(|| {
            wrong(
                format!("`{entry}` is neither a host name nor an address"),
                "write it as turn.example or 192.0.2.1, without a port",
            )
        })?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

/// It stands between colons in what is hashed, and between quotes in some clients.
fn realm(raw: &Raw) -> Result<String, Wrong> {
    let text = raw.text()?;
    let usable = |c: char| c.is_ascii_alphanumeric() || "-._ ".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(usable) {
        let remedy = "use 1 to 64 letters, digits, spaces and - . _, as in example.com";
        return Err(wrong("it is not a realm", remedy));
    }
    Ok(text.to_owned())
}

fn secret(raw: &Raw) -> Result<Secret, Wrong> {
    let text = raw.text()?;
    if !is_secret(text) {
        return Err(wrong(
            format!("it has less than {MIN_SECRET} characters, or some that are not printable"),
            "take one from `openssl rand -hex 32`",
        ));
    }
    Ok(Secret::new(text))
}

/// Long enough, and nothing in it that a shell or an editor has left there.
pub fn is_secret(text: &str) -> bool {
    text.len() >= MIN_SECRET && text.chars().all(|c| c.is_ascii_graphic())
}

fn uris(raw: &Raw) -> Result<Vec<String>, Wrong> {
    raw.list()?
        .iter()
        .map(|entry| {
            uri(entry).ok_or_else(|| {
                wrong(
                    format!("`{entry}` is no address of a STUN or TURN server"),
                    "write it as turn:turn.example:3478?transport=udp, \
                     turns:turn.example:443?transport=tcp or stun:stun.example",
                )
            })
        })
        .collect()
}

/// RFC 7064 3.1, RFC 7065 3.1.
fn uri(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    let (authority, query) = match rest.split_once('?') {
        Some((authority, query)) => (authority, Some(query.to_ascii_lowercase())),
        None => (rest, None),
    };
    let known = matches!(
        (scheme.as_str(), query.as_deref()),
        ("stun" | "stuns" | "turn" | "turns", None)
            | ("turn", Some("transport=udp" | "transport=tcp"))
            | ("turns", Some("transport=tcp"))
    );
    let (host, port) = parse::split_port(authority).filter(|_| known)?;
    let host = parse::host(host)?;
    let mut uri = match host.contains(':') {
        true => format!("{scheme}:[{host}]"),
        false => format!("{scheme}:{host}"),
    };
    if let Some(port) = port {
        uri.push_str(&format!(":{port}"));
    }
    if let Some(query) = query {
        uri.push('?');
        uri.push_str(&query);
    }
    Some(uri)
}
