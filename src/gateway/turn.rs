//! The embedded TURN server of this gateway, and what browsers are told of it and of others.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::agent::{IceLogin, IceServer, IceServers, Identity};
use crate::config::{self, TurnSecret};
use crate::secret::Secret;
use crate::tls::{self, CertificateError, CertificateFacts, Part, Served};
use crate::turn::{self, Authority, Core, Limits, Peers, Server, TurnConfig, TurnStats};
use crate::watch;

/// Why there is no TURN server. Each names the key of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    #[error(transparent)]
    Bind(#[from] turn::BindError),
    #[error("turn.{key} = {}: {reason}", path.display())]
    File { key: &'static str, path: PathBuf, reason: String },
}

fn fault(key: &'static str, path: &Path, reason: impl ToString) -> TurnError {
    TurnError::File { key, path: path.to_owned(), reason: reason.to_string() }
}

/// What `GET /api/ice` is answered from.
pub(super) struct Ice {
    authority: Authority,
    life: Duration,
    turn: Vec<String>,
    stun: Vec<String>,
    core: Option<Arc<Core>>,
    /// What its TLS port shows.
    served: Option<Served>,
}

/// Opens the ports. `media` are the browser-side sockets, `advertised` the addresses of their candidates.
pub(super) fn open(
    config: &config::Turn,
    media: &[SocketAddr],
    advertised: &[IpAddr],
) -> Result<(Option<Server>, Ice), TurnError> {
    let authority = match &config.secret {
        TurnSecret::Random => Authority::random(&config.realm),
        TurnSecret::Given(secret) => Authority::new(secret.clone(), &config.realm),
        TurnSecret::File(path) => Authority::new(read_secret(path)?, &config.realm),
    };
    let (stun, mut turn): (Vec<String>, Vec<String>) =
        config.external.iter().cloned().partition(|uri| uri.starts_with("stun"));
    let (mut server, mut served) = (None, None);
    if config.listen.is_some() || config.tls_listen.is_some() {
        let tls = match config.tls_listen.zip(config.tls.as_ref()) {
            Some((at, files)) => {
                let read = Served::read(files, &[])?;
                let config = read.config();
                served = Some(read);
                Some((at, config))
            }
            None => None,
        };
        let bound = Server::bind(TurnConfig {
            listen: config.listen,
            tls,
            authority: authority.clone(),
            peers: Peers::new(media, advertised, is_ours),
            limits: Limits {
                allocations: config.max_allocations,
                per_address: config.max_allocations_per_address,
            },
        })?;
        let hosts = |at: SocketAddr| match (config.advertise.is_empty(), at.ip().is_unspecified()) {
            (false, _) => config.advertise.clone(),
            (true, false) => vec![at.ip().to_string()],
            (true, true) => advertised.iter().map(IpAddr::to_string).collect(),
        };
        let tls_hosts = |at: SocketAddr| match served.as_ref().map(Served::facts) {
            Some(facts) if config.advertise.is_empty() => named(hosts(at), &facts),
            _ => hosts(at),
        };
        // In the order in which they cost: browsers try them all and like the first ones better.
        let mut own = Vec::new();
        for (scheme, transport, at) in [
            ("turn", "udp", bound.local_addr()),
            ("turn", "tcp", bound.local_addr()),
            ("turns", "tcp", bound.tls_addr()),
        ] {
            let Some(at) = at else { continue };
            let hosts = if scheme == "turns" { tls_hosts(at) } else { hosts(at) };
            own.extend(hosts.iter().map(|host| uri(scheme, host, at.port(), transport)));
        }
        own.append(&mut turn);
        turn = own;
        server = Some(bound);
    }
    let core = server.as_ref().map(Server::core);
    Ok((server, Ice { authority, life: config.credential_life, turn, stun, core, served }))
}

/// What browsers are told of the TLS port without `turn.advertise`: its addresses where the certificate
/// has them, else a name of the certificate's, for a browser refuses what is not in it.
fn named(addresses: Vec<String>, facts: &CertificateFacts) -> Vec<String> {
    if addresses.iter().all(|address| tls::covers(&facts.names, address)) {
        return addresses;
    }
    match facts.host() {
        Some(host) => {
            info!(
                host,
                "browsers are told the certificate's name of TURN over TLS; see turn.advertise"
            );
            vec![host.to_owned()]
        }
        None => {
            warn!(?addresses, "{UNNAMED}");
            addresses
        }
    }
}

const UNNAMED: &str = "turn.advertise is not given, and the certificate of turn.tls_listen has no host name: browsers \
                       refuse TURN over TLS at an address that is not in it; give turn.advertise a name that is";

/// What would start, and not be of use.
pub(super) fn warning(config: &config::Turn) -> Option<String> {
    let files =
        config.tls_listen.and(config.tls.as_ref()).filter(|_| config.advertise.is_empty())?;
    let facts = tls::look_at(files).ok()?;
    // Which addresses will be told is known at the start only: one that is in it may be right.
    let has_address = facts.names.iter().any(|name| name.parse::<IpAddr>().is_ok());
    (facts.host().is_none() && !has_address).then(|| UNNAMED.to_owned())
}

fn uri(scheme: &str, host: &str, port: u16, transport: &str) -> String {
    let mut uri = format!("{scheme}:");
    let _ = match host.contains(':') {
        true => write!(uri, "[{host}]"),
        false => write!(uri, "{host}"),
    };
    let _ = write!(uri, ":{port}?transport={transport}");
    uri
}

impl Ice {
    /// To be kept current by [`keep_current`].
    pub fn take_certificate(&mut self) -> Option<Served> {
        self.served.take()
    }

    pub fn servers(&self, user: &Identity) -> IceServers {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(IceServer { urls: self.stun.clone(), login: None });
        }
        if self.turn.is_empty() {
            return IceServers { servers, ttl: Duration::ZERO };
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = (now + self.life).as_secs();
        let kind = match user {
            Identity::Dn(_) => "dn",
            Identity::Anonymous(_) => "guest",
        };
        let issued = self.authority.issue(&format!("{kind} {}", user.user()), expires);
        let login = IceLogin { username: issued.username, credential: issued.credential, expires };
        servers.push(IceServer { urls: self.turn.clone(), login: Some(login) });
        IceServers { servers, ttl: self.life }
    }

    pub fn stats(&self) -> Option<TurnStats> {
        self.core.as_ref().map(|core| core.stats())
    }
}

/// Whether this host has the address.
fn is_ours(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// What [`open`] would say of the files.
pub(super) fn file_faults(config: &config::Turn) -> Vec<TurnError> {
    let secret = match &config.secret {
        TurnSecret::File(path) => read_secret(path).err(),
        TurnSecret::Random | TurnSecret::Given(_) => None,
    };
    let files = config.tls_listen.and(config.tls.as_ref());
    let certificate = files.and_then(|files| tls::look_at(files).err()).map(TurnError::from);
    secret.into_iter().chain(certificate).collect()
}

fn read_secret(path: &Path) -> Result<Secret, TurnError> {
    let text = std::fs::read_to_string(path).map_err(|error| fault("secret_file", path, error))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if !config::is_turn_secret(line) {
        let reason = "its first line is no secret of 16 printable characters or more; take one from \
                      `openssl rand -hex 32`";
        return Err(fault("secret_file", path, reason));
    }
    Ok(Secret::new(line))
}

impl From<CertificateError> for TurnError {
    fn from(error: CertificateError) -> Self {
        let key = match error.part {
            Part::Certificate => "tls_cert",
            Part::Key => "tls_key",
        };
        TurnError::File { key, path: error.path, reason: error.reason }
    }
}

/// Looks at the files until the gateway stops. Connections that stand are not touched.
pub(super) async fn keep_current(served: Served, stop: CancellationToken) {
    let paths = served.paths();
    let read = move || match served.reload() {
        Ok(()) => info!("read TURN's certificate again"),
        Err(error) => warn!("{}; what was read before stays in use", TurnError::from(error)),
    };
    watch::keep_current(paths, stop, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(sets: &[&str]) -> config::Turn {
        let sets: Vec<String> =
            ["sip.servers=a.example"].iter().chain(sets).map(|&set| set.to_owned()).collect();
        config::Config::load(None, [], &sets).unwrap().turn
    }

    fn urls(ice: &Ice) -> Vec<Vec<String>> {
        let user = Identity::Dn("5001".to_owned());
        ice.servers(&user).servers.into_iter().map(|server| server.urls).collect()
    }

    #[test]
    fn without_turn_the_list_is_empty() {
        let (server, ice) = open(&turn(&[]), &[], &[]).unwrap();
        assert!(server.is_none() && ice.stats().is_none());
        assert_eq!(ice.servers(&Identity::Dn("5001".to_owned())), IceServers::default());
    }

    #[tokio::test]
    async fn a_server_on_all_addresses_goes_by_those_of_the_media() {
        let public = IpAddr::from([203, 0, 113, 5]);
        let v6 = "2001:db8::5".parse().unwrap();
        let (server, ice) = open(&turn(&["turn.listen=0.0.0.0:0"]), &[], &[public, v6]).unwrap();
        let port = server.unwrap().local_addr().unwrap().port();
        let wanted = [
            format!("turn:203.0.113.5:{port}?transport=udp"),
            format!("turn:[2001:db8::5]:{port}?transport=udp"),
            format!("turn:203.0.113.5:{port}?transport=tcp"),
            format!("turn:[2001:db8::5]:{port}?transport=tcp"),
        ];
        assert_eq!(urls(&ice), [wanted]);
        let named = ["turn.listen=127.0.0.1:0", "turn.advertise=turn.example"];
        let (server, ice) = open(&turn(&named), &[], &[public]).unwrap();
        let port = server.unwrap().local_addr().unwrap().port();
        assert!(urls(&ice)[0].contains(&format!("turn:turn.example:{port}?transport=udp")));
    }

    #[test]
    fn a_browser_is_told_what_the_certificate_has() {
        let facts = |names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            Served::self_signed(names, None, &[]).unwrap().facts()
        };
        let told = |names: &[&str]| named(vec!["192.0.2.5".to_owned()], &facts(names));
        assert_eq!(told(&["*.example", "turn.example", "gw.example"]), ["turn.example"]);
        assert_eq!(told(&["localhost", "192.0.2.5", "gw.example"]), ["192.0.2.5"]);
        assert_eq!(told(&["*.example"]), ["192.0.2.5"], "and a warning");
    }

    #[tokio::test]
    async fn turn_over_tls_goes_by_the_certificate_unless_told_otherwise() {
        let base = std::env::temp_dir().join(format!("wrtc-turn-{:016x}", rand::random::<u64>()));
        let (cert, key) = (base.with_extension("pem"), base.with_extension("key"));
        let files = config::TlsFiles { cert: cert.clone(), key: key.clone() };
        let sets = [
            "turn.tls_listen=127.0.0.1:0".to_owned(),
            format!("turn.tls_cert={}", cert.display()),
            format!("turn.tls_key={}", key.display()),
        ];
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        Served::self_signed(vec!["*.example".to_owned()], Some(&files), &[]).unwrap();
        assert!(warning(&turn(&sets)).unwrap().contains("turn.advertise"));
        let given = [&sets[..], &["turn.advertise=a.example"]].concat();
        assert_eq!(warning(&turn(&given)), None);
        std::fs::remove_file(&cert).unwrap();
        Served::self_signed(vec!["turn.example".to_owned()], Some(&files), &[]).unwrap();
        assert_eq!(warning(&turn(&sets)), None);
        let (server, ice) = open(&turn(&sets), &[], &[]).unwrap();
        let port = server.unwrap().tls_addr().unwrap().port();
        assert_eq!(urls(&ice), [[format!("turns:turn.example:{port}?transport=tcp")]]);
        for file in [&cert, &key, &base.with_extension("pem.old"), &base.with_extension("key.old")]
        {
            let _ = std::fs::remove_file(file);
        }
    }

    #[test]
    fn other_servers_come_with_credentials_of_the_shared_secret() {
        let sets = ["turn.secret=0123456789abcdef", "turn.external=stun:s.example,turn:t.example"];
        let (_, ice) = open(&turn(&sets), &[], &[]).unwrap();
        let found = ice.servers(&Identity::Dn("5001".to_owned()));
        assert_eq!(found.ttl, Duration::from_secs(86_400));
        let [stun, turn] = found.servers.as_slice() else { panic!("{found:?}") };
        assert_eq!((stun.urls[0].as_str(), &stun.login), ("stun:s.example", &None));
        assert_eq!(turn.urls, ["turn:t.example"]);
        let login = turn.login.as_ref().unwrap();
        assert!(login.username.starts_with(&format!("{}:", login.expires)));
        assert!(!format!("{found:?}").contains(login.credential.expose()));
    }

    #[test]
    fn a_secret_file_is_read_and_its_faults_are_told() {
        let path = std::env::temp_dir().join(format!("wrtc-turn-{:016x}", rand::random::<u64>()));
        assert!(read_secret(&path).unwrap_err().to_string().starts_with("turn.secret_file = "));
        std::fs::write(&path, "hush\n").unwrap();
        let told = read_secret(&path).unwrap_err().to_string();
        assert!(told.contains("16 printable") && !told.contains("hush"), "{told}");
        std::fs::write(&path, "0123456789abcdef\nmore\n").unwrap();
        assert_eq!(read_secret(&path).unwrap().expose(), "0123456789abcdef");
        std::fs::remove_file(&path).unwrap();
    }
}
