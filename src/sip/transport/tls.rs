//! Whom TLS trusts and what it shows. rustls on ring, chosen here and not by the process.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};

use crate::tls::verify::{Shown, Trust, Verifier};

/// Where TLS takes its material from. The default trusts the system's authorities and shows nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the authorities a server's certificate may come from; None: the system's.
    pub ca: Option<PathBuf>,
    /// SHA-256 of certificates (of their DER) that are taken whoever signed them, whatever their name
    /// and date.
    pub pins: Vec<[u8; 32]>,
    /// Shown by our TLS port, and to a server that asks for a client certificate.
    pub own: Option<OwnCertificate>,
}

/// PEM files: the certificate with what leads to its authority, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why TLS cannot work with these files. Each names the key of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("sip.tls_ca = {}: {reason}", path.display())]
    Authorities { path: PathBuf, reason: String },
    #[error("sip.tls_cert = {}: {reason}", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error("sip.tls_key = {}: {reason}", path.display())]
    Key { path: PathBuf, reason: String },
    #[error("sip.tls_listen wants a certificate: set sip.tls_cert and sip.tls_key")]
    NothingToShow,
}

/// The files, read.
pub(crate) struct Tls {
    pub(crate) client: Arc<ClientConfig>,
    /// None without a certificate of our own.
    pub(crate) server: Option<Arc<ServerConfig>>,
}

impl Tls {
    pub(crate) fn load(files: &TlsFiles) -> Result<Tls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = PinOrAuthority {
            pins: files.pins.iter().copied().collect(),
            by_authority: by_authority(&provider, authorities(files.ca.as_deref())?),
        };
        let verifier = Arc::new(Verifier::new(trust, Arc::clone(&provider)));
        let own = files.own.as_ref().map(read_own).transpose()?;
        // ring has suites for both versions: this builder cannot fail with it.
        let versions = |error: Error| TlsError::Key {
            path: files.own.as_ref().map(|own| own.key.clone()).unwrap_or_default(),
            reason: error.to_string(),
        };
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(versions)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let Some((chain, key, files)) = own else {
            return Ok(Tls { client: Arc::new(client.with_no_client_auth()), server: None });
        };
        let mismatch = |error: Error| TlsError::Key {
            path: files.key.clone(),
            reason: format!("it does not go with sip.tls_cert: {error}"),
        };
        let client = client.with_client_auth_cert(chain.clone(), key.clone_key());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(versions)?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Ok(Tls {
            client: Arc::new(client.map_err(mismatch)?),
            server: Some(Arc::new(server.map_err(mismatch)?)),
        })
    }
}

fn authorities(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "the system's certificate store");
        }
        roots.add_parsable_certificates(found.certs);
        return Ok(roots);
    };
    let fault = |reason: String| TlsError::Authorities { path: path.to_owned(), reason };
    for certificate in read_certificates(path).map_err(fault)? {
        roots.add(certificate).map_err(|error| fault(error.to_string()))?;
    }
    Ok(roots)
}

/// None where there is no authority at all: only pins count then.
fn by_authority(
    provider: &Arc<CryptoProvider>,
    roots: RootCertStore,
) -> Option<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().ok()
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(certificates)
}

type Own<'a> = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, &'a OwnCertificate);

fn read_own(files: &OwnCertificate) -> Result<Own<'_>, TlsError> {
    let chain = read_certificates(&files.cert)
        .map_err(|reason| TlsError::Certificate { path: files.cert.clone(), reason })?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::Key { path: files.key.clone(), reason: error.to_string() })?;
    Ok((chain, key, files))
}

/// A pin, or an authority with the right name.
#[derive(Debug)]
struct PinOrAuthority {
    pins: HashSet<[u8; 32]>,
    by_authority: Option<Arc<WebPkiServerVerifier>>,
}

impl Trust for PinOrAuthority {
    fn check(&self, shown: &Shown<'_>) -> Result<(), Error> {
        let pin: [u8; 32] = Sha256::digest(shown.certificate.as_ref()).into();
        if self.pins.contains(&pin) {
            return Ok(());
        }
        let Some(authority) = &self.by_authority else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let Shown { certificate, intermediates, name, ocsp, now } = *shown;
        authority.verify_server_cert(certificate, intermediates, name, ocsp, now).map(drop)
    }
}
