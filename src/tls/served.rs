//! The certificate that a port of ours shows: read, made for a trial, renewed under a running gateway.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::config::TlsFiles;
use crate::words::counted;

/// Whoever renews certificates does so a month before their end, or every day in their last week.
pub const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// Browsers refuse certificates of a longer life, whoever signed them.
const TRIAL_LIFE: Duration = Duration::from_secs(397 * 86_400);

/// A browser whose clock is a bit behind takes it all the same.
const BACKDATED: Duration = Duration::from_secs(86_400);

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Certificate,
    Key,
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct CertificateError {
    pub part: Part,
    pub path: PathBuf,
    pub reason: String,
}

/// What is to be known of the certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    pub expires: SystemTime,
    /// Nobody vouches for it: browsers ask before they go on.
    pub self_signed: bool,
    /// SHA-256 of its DER.
    pub fingerprint: [u8; 32],
    /// Host names and addresses that it is for (subjectAltName), in its order.
    pub names: Vec<String>,
}

impl CertificateFacts {
    /// # Errors
    /// A sentence: it is not X.509.
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| "it is not an X.509 certificate")?;
        let seconds = certificate.validity().not_after.timestamp().try_into().unwrap_or(0);
        Ok(Self {
            expires: UNIX_EPOCH + Duration::from_secs(seconds),
            self_signed: certificate.issuer().as_raw() == certificate.subject().as_raw(),
            fingerprint: Sha256::digest(der).into(),
            names: names(&certificate),
        })
    }

    /// The first host name that an agent's browser may be told of.
    pub fn host(&self) -> Option<&str> {
        let is_host = |name: &&String| {
            !name.starts_with('*') && *name != "localhost" && name.parse::<IpAddr>().is_err()
        };
        self.names.iter().find(is_host).map(String::as_str)
    }

    /// `AB:CD:...`, as browsers and openssl show it.
    pub fn fingerprint_text(&self) -> String {
        self.fingerprint.map(|byte| format!("{byte:02X}")).join(":")
    }

    /// Whole days until it runs out; `None` when it has.
    pub fn days_left(&self, now: SystemTime) -> Option<u64> {
        days_left(self.expires, now)
    }

    /// What a person should be told of its end, if anything yet.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        warning(self.expires, now)
    }
}

/// Of subjectAltName: host names and addresses.
pub fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => Some(IpAddr::from(v4).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|v6| IpAddr::from(v6).to_string()),
        },
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

/// Whether a certificate of these names is one of `wanted`.
pub fn covers(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| {
        name.eq_ignore_ascii_case(wanted)
            || name.strip_prefix("*.").is_some_and(|domain| {
                wanted.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain))
            })
    })
}

fn days_left(expires: SystemTime, now: SystemTime) -> Option<u64> {
    expires.duration_since(now).ok().map(|left| left.as_secs() / 86_400)
}

fn warning(expires: SystemTime, now: SystemTime) -> Option<String> {
    match days_left(expires, now) {
        None => Some("the certificate has run out".to_owned()),
        Some(days) if days < WARN_BEFORE.as_secs() / 86_400 => {
            Some(format!("the certificate runs out in {}", counted(days, "day")))
        }
        Some(_) => None,
    }
}

/// How the certificate of one of our ports stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateState {
    /// `http`, `sip` or `turn`.
    pub port: &'static str,
    /// Of the one in use; `None` where there is none.
    pub expires: Option<SystemTime>,
    /// Why the files could not be read when they changed last. What was read before is in use.
    pub fault: Option<String>,
}

impl CertificateState {
    /// What a person should be told of its end, if anything yet.
    pub fn warning(&self, now: SystemTime) -> Option<String> {
        warning(self.expires?, now)
    }
}

/// Looks at what a [`Served`] shows, wherever that is by now.
#[derive(Debug, Clone)]
pub struct CertificateView(Arc<Resolver>);

impl CertificateView {
    pub fn state(&self, port: &'static str) -> CertificateState {
        CertificateState {
            port,
            expires: Some(self.0.shown.load().facts.expires),
            fault: self.0.fault.load().as_deref().cloned(),
        }
    }
}

/// What a TLS listener is made with. Handshakes from a renewal on see the new certificate, connections
/// that stand go on.
pub struct Served {
    resolver: Arc<Resolver>,
    config: Arc<ServerConfig>,
    /// Where it is from; `None` when it is made in memory.
    files: ArcSwapOption<TlsFiles>,
}

struct Shown {
    key: Arc<CertifiedKey>,
    facts: CertificateFacts,
}

struct Resolver {
    shown: ArcSwap<Shown>,
    /// Of the last try to read the files.
    fault: ArcSwapOption<String>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("facts", &self.shown.load().facts).finish()
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.load().key))
    }
}

impl Served {
    /// `protocols` are those of ALPN; none for none.
    ///
    /// # Errors
    /// A file cannot be read, or the two do not belong together.
    pub fn read(files: &TlsFiles, protocols: &[&[u8]]) -> Result<Self, CertificateError> {
        Self::new(read(files)?, Some(files.clone()), protocols)
    }

    /// One that nobody vouches for, of these names and addresses. With `files` it is kept there, so that
    /// browsers that were told to trust it still do after a restart.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn self_signed(
        names: Vec<String>,
        files: Option<&TlsFiles>,
        protocols: &[&[u8]],
    ) -> Result<Self, CertificateError> {
        if let Some(files) = files.filter(|files| files.cert.exists()) {
            let shown = read(files)?;
            // One that somebody signed is not ours to replace, however old it is.
            if !shown.facts.self_signed || shown.facts.warning(SystemTime::now()).is_none() {
                return Self::new(shown, Some(files.clone()), protocols);
            }
        }
        let path = files.map_or_else(PathBuf::new, |files| files.cert.clone());
        let fault = |reason: String| CertificateError {
            part: Part::Certificate,
            path: path.clone(),
            reason,
        };
        let (certificate, key) = make(names).map_err(|error| fault(error.to_string()))?;
        if let Some(files) = files {
            put_aside(&files.key, Part::Key)?;
            put_aside(&files.cert, Part::Certificate)?;
            keep(&files.key, &key.serialize_pem(), Part::Key)?;
            keep(&files.cert, &certificate.pem(), Part::Certificate)?;
        }
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| fault(e.to_owned()))?;
        let shown = show(vec![certificate.der().clone()], key).map_err(|(_, why)| fault(why))?;
        Self::new(shown, files.cloned(), protocols)
    }

    fn new(
        shown: Shown,
        files: Option<TlsFiles>,
        protocols: &[&[u8]],
    ) -> Result<Self, CertificateError> {
        let resolver = Arc::new(Resolver {
            shown: ArcSwap::from_pointee(shown),
            fault: ArcSwapOption::empty(),
        });
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificateError {
                part: Part::Certificate,
                path: files.as_ref().map_or_else(PathBuf::new, |files| files.cert.clone()),
                reason: error.to_string(),
            })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let files = ArcSwapOption::from_pointee(files);
        Ok(Self { resolver, config: Arc::new(config), files })
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    pub fn facts(&self) -> CertificateFacts {
        self.resolver.shown.load().facts.clone()
    }

    /// To look on from elsewhere.
    pub fn view(&self) -> CertificateView {
        CertificateView(Arc::clone(&self.resolver))
    }

    /// The files that it was read from.
    pub fn paths(&self) -> Vec<PathBuf> {
        let files = self.files.load();
        files.iter().flat_map(|files| [files.cert.clone(), files.key.clone()]).collect()
    }

    /// Reads the files again. One that is made in memory stays as it is.
    ///
    /// # Errors
    /// As [`Self::read`]; what was in use stays in use.
    pub fn reload(&self) -> Result<(), CertificateError> {
        match self.files.load_full() {
            Some(files) => {
                let fresh = Fresh::read(&files).inspect_err(|error| {
                    self.resolver.fault.store(Some(Arc::new(error.to_string())));
                })?;
                self.show(fresh);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// From now on this one, whose files are watched from then on.
    pub fn show(&self, fresh: Fresh) {
        self.resolver.shown.store(Arc::new(fresh.shown));
        self.resolver.fault.store(None);
        self.files.store(Some(Arc::new(fresh.files)));
    }
}

/// Files that were read and can be shown.
pub struct Fresh {
    shown: Shown,
    files: TlsFiles,
}

impl Fresh {
    /// # Errors
    /// A file cannot be read, or the two do not belong together.
    pub fn read(files: &TlsFiles) -> Result<Self, CertificateError> {
        Ok(Self { shown: read(files)?, files: files.clone() })
    }
}

/// Chosen here and not by the process.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Whether they could be served, and what of them is to be known.
///
/// # Errors
/// A file cannot be read, or the two do not belong together.
pub fn look_at(files: &TlsFiles) -> Result<CertificateFacts, CertificateError> {
    read(files).map(|shown| shown.facts)
}

fn read(files: &TlsFiles) -> Result<Shown, CertificateError> {
    let fault = |part, path: &Path, reason: String| CertificateError {
        part,
        path: path.to_owned(),
        reason,
    };
    let chain = super::read_certificates(&files.cert)
        .map_err(|reason| fault(Part::Certificate, &files.cert, reason))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| fault(Part::Key, &files.key, error.to_string()))?;
    show(chain, key).map_err(|(part, reason)| match part {
        Part::Certificate => fault(part, &files.cert, reason),
        Part::Key => fault(part, &files.key, reason),
    })
}

fn show(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Shown, (Part, String)> {
    let leaf = chain.first().map(|leaf| leaf.as_ref()).unwrap_or_default();
    let facts = CertificateFacts::of(leaf).map_err(|reason| (Part::Certificate, reason))?;
    let key = CertifiedKey::from_der(chain, key, &provider())
        .map_err(|error| (Part::Key, format!("it does not go with the certificate: {error}")))?;
    Ok(Shown { key: Arc::new(key), facts })
}

fn make(names: Vec<String>) -> Result<(rcgen::Certificate, rcgen::KeyPair), rcgen::Error> {
    let mut params = rcgen::CertificateParams::new(names)?;
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + TRIAL_LIFE - BACKDATED).into();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "wrtc-gateway, self-signed");
    let key = rcgen::KeyPair::generate()?;
    Ok((params.self_signed(&key)?, key))
}

/// What was there is kept once more, as `.old`: a key that is gone cannot be made again.
fn put_aside(path: &Path, part: Part) -> Result<(), CertificateError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".old");
    match std::fs::rename(path, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let reason = format!("it cannot be put aside: {error}");
            Err(CertificateError { part, path: path.to_owned(), reason })
        }
        _ => Ok(()),
    }
}

/// A new file that its owner alone can read.
fn keep(path: &Path, pem: &str, part: Part) -> Result<(), CertificateError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let write = || -> io::Result<()> {
        let new = path.with_extension("new");
        let _ = std::fs::remove_file(&new);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().map_err(|error| {
        let reason = format!("it cannot be written: {error}");
        CertificateError { part, path: path.to_owned(), reason }
    })
}

/// By what a browser may call this machine: its name, `localhost`, and the addresses.
pub fn trial_names(addresses: impl IntoIterator<Item = IpAddr>, more: &[String]) -> Vec<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let addresses = addresses.into_iter().filter(|ip| !ip.is_unspecified());
    let found = addresses.map(|ip| ip.to_string()).chain([host.trim().to_ascii_lowercase()]);
    for name in found.chain(more.iter().cloned()) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> TlsFiles {
        let folder = std::env::temp_dir().join(format!("wrtc-tls-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&folder).unwrap();
        TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }

    #[test]
    fn one_for_a_trial_is_kept_where_it_is_told_to() {
        use std::os::unix::fs::PermissionsExt as _;
        let files = folder();
        let names = trial_names([IpAddr::from([192, 0, 2, 1])], &["gw.example".to_owned()]);
        assert!(
            names.contains(&"192.0.2.1".to_owned()) && names.contains(&"gw.example".to_owned())
        );
        let first = Served::self_signed(names.clone(), Some(&files), &[]).unwrap().facts();
        let again = Served::self_signed(names.clone(), Some(&files), &[]).unwrap().facts();
        assert_eq!(first, again);
        assert!(first.self_signed);
        assert_eq!(first.warning(SystemTime::now()), None);
        let mode = std::fs::metadata(&files.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(look_at(&files).unwrap(), first);
        let other = Served::self_signed(names, None, &[]).unwrap();
        assert_ne!(other.facts().fingerprint, first.fingerprint);
        assert!(other.paths().is_empty() && other.reload().is_ok());
    }

    #[test]
    fn its_end_is_warned_of_two_weeks_before() {
        let facts = Served::self_signed(vec!["a".to_owned()], None, &[]).unwrap().facts();
        let before = |days: u64| facts.expires - Duration::from_secs(days * 86_400);
        assert_eq!(facts.warning(before(15)), None);
        assert_eq!(facts.warning(before(13)).unwrap(), "the certificate runs out in 13 days");
        let over = facts.expires + Duration::from_secs(1);
        assert_eq!(facts.warning(over).unwrap(), "the certificate has run out");
        assert_eq!(facts.fingerprint_text().len(), 95);
    }

    #[test]
    fn a_renewal_that_does_not_fit_changes_nothing() {
        let (one, other) = (folder(), folder());
        let served = Served::self_signed(vec!["a".to_owned()], Some(&one), &[]).unwrap();
        let first = served.facts();
        Served::self_signed(vec!["a".to_owned()], Some(&other), &[]).unwrap();
        std::fs::copy(&other.cert, &one.cert).unwrap();
        let fault = served.reload().unwrap_err();
        assert_eq!((fault.part, served.facts()), (Part::Key, first.clone()));
        let state = served.view().state("turn");
        assert_eq!((state.expires, state.fault), (Some(first.expires), Some(fault.to_string())));
        std::fs::copy(&other.key, &one.key).unwrap();
        served.reload().unwrap();
        assert_ne!(served.facts(), first);
        assert_eq!(served.view().state("turn").fault, None);
    }
}
