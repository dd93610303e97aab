//! Certificates: whether they are what somebody who connects will take.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::report::Report;
use crate::config::{Config, TlsFiles};
use crate::tls::{CertificateFacts, covers, names};
use crate::words::counted;

const AREA: &str = "certificates";

/// Renewal by ACME happens a month before the end: with less left it has failed for a while.
const SOON: Duration = Duration::from_secs(14 * 86_400);

pub(super) fn examine(config: &Config, now: SystemTime, report: &mut Report) {
    // One for trials is made at the start, where its files are named and not there yet.
    let trial = config.http.guard.self_signed;
    let http = config.http.tls.as_ref().filter(|files| !trial || files.cert.exists());
    if trial && http.is_none() {
        report.note(AREA, "http.tls: a self-signed certificate is made at the start, for trials");
    }
    let pairs = [
        ("http", http, &[][..]),
        ("sip", config.sip.tls.own.as_ref(), &[][..]),
        ("turn", config.turn.tls_listen.and(config.turn.tls.as_ref()), &config.turn.advertise[..]),
    ];
    for (section, files, names) in pairs {
        if let Some(files) = files {
            examine_one(section, files, names, now, report);
        }
    }
}

fn examine_one(
    section: &str,
    files: &TlsFiles,
    wanted: &[String],
    now: SystemTime,
    report: &mut Report,
) {
    let key = format!("{section}.tls_cert {}", files.cert.display());
    let chain = match read_chain(&files.cert) {
        Ok(chain) => chain,
        Err(why) => {
            let remedy = "give a PEM file with the certificate and what leads to its authority";
            return report.fail(AREA, format!("{key}: {why}"), remedy);
        }
    };
    let Some((first, rest)) = chain.split_first() else {
        return report.fail(AREA, format!("{key}: it is empty"), "put the certificate in it");
    };
    if let Err(why) = fits(&chain, &files.key) {
        return report.fail(
            AREA,
            format!("{section}.tls_key {}: {why}", files.key.display()),
            "give the key that this certificate was made for",
        );
    }
    let Ok((_, parsed)) = X509Certificate::from_der(first) else {
        return report.fail(AREA, format!("{key}: it is no X.509"), "renew it");
    };
    let names = names(&parsed);
    life(&key, &parsed, now, report);
    for name in wanted.iter().filter(|name| !covers(&names, name)) {
        report.warn(
            AREA,
            format!("{key}: it does not have {name}, which browsers are told"),
            "renew it with that name, or correct turn.advertise",
        );
    }
    if section == "turn" && wanted.is_empty() {
        told(&key, first, report);
    }
    let listed = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
    let own = parsed.issuer() == parsed.subject();
    match trust(first, rest, &names, now) {
        _ if names.is_empty() => report.fail(
            AREA,
            format!("{key}: it has no subjectAltName, without which no browser takes it"),
            "renew it with the host name that agents use",
        ),
        Ok(()) => report.ok(AREA, format!("{key}: for {listed}, and its chain is complete")),
        Err(_) if own => report.warn(
            AREA,
            format!("{key}: for {listed}, signed by itself"),
            "fit for trials: each browser has to be told to trust it",
        ),
        // Told above.
        Err(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => {}
        Err(why) => report.warn(
            AREA,
            format!("{key}: for {listed}; this host does not trust it: {why}"),
            "put the intermediate certificates behind it in the file; a company's own authority has to be \
             known to the browsers",
        ),
    }
}

/// Without `turn.advertise`.
fn told(key: &str, certificate: &CertificateDer<'_>, report: &mut Report) {
    let Ok(facts) = CertificateFacts::of(certificate) else { return };
    match facts.host() {
        Some(host) => {
            report.note(AREA, format!("{key}: browsers are told {host}, for want of turn.advertise"));
        }
        None => report.warn(
            AREA,
            format!("{key}: it has no host name, and browsers are told an address"),
            "give turn.advertise a name that the certificate has; browsers refuse what is not in it",
        ),
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| error.to_string())
}

fn fits(chain: &[CertificateDer<'static>], key: &Path) -> Result<(), String> {
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain.to_vec(), key))
        .map(|_| ())
        .map_err(|error| error.to_string())
}

fn life(key: &str, certificate: &X509Certificate<'_>, now: SystemTime, report: &mut Report) {
    let seconds = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed())
    };
    let validity = certificate.validity();
    let left = validity.not_after.timestamp() - seconds(now);
    if validity.not_before.timestamp() > seconds(now) {
        let from = validity.not_before;
        report.fail(AREA, format!("{key}: it is valid from {from} only"), "mend this host's clock");
    } else if left < 0 {
        report.fail(
            AREA,
            format!("{key}: it expired on {}", validity.not_after),
            "renew it: the files are read again with SIGHUP",
        );
    } else if left < SOON.as_secs().cast_signed() {
        report.warn(
            AREA,
            format!("{key}: it expires in {}", days(left)),
            "see why it was not renewed",
        );
    } else {
        report.ok(AREA, format!("{key}: it is valid for {} more", days(left)));
    }
}

fn days(seconds: i64) -> String {
    counted(seconds.unsigned_abs() / 86_400, "day")
}

/// As a browser with this host's authorities sees it.
fn trust(
    first: &CertificateDer<'_>,
    rest: &[CertificateDer<'_>],
    names: &[String],
    now: SystemTime,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|_| unknown())?;
    let name = names.iter().find(|name| !name.starts_with("*.")).cloned();
    let name = name.or_else(|| names.first().map(|wild| wild.replacen('*', "any", 1)));
    let name = name.and_then(|name| ServerName::try_from(name).ok()).ok_or_else(unknown)?;
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    verifier
        .verify_server_cert(first, rest, &name, &[], UnixTime::since_unix_epoch(since))
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Mark;

    struct Files(TlsFiles);

    impl Files {
        fn new(names: &[&str], other_key: bool) -> Self {
            let key = rcgen::KeyPair::generate().unwrap();
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
            let key = if other_key { rcgen::KeyPair::generate().unwrap() } else { key };
            let base = std::env::temp_dir();
            let id: u64 = rand::random();
            let files = TlsFiles {
                cert: base.join(format!("wrtc-doctor-{id:016x}.pem")),
                key: base.join(format!("wrtc-doctor-{id:016x}.key")),
            };
            std::fs::write(&files.cert, made.pem()).unwrap();
            std::fs::write(&files.key, key.serialize_pem()).unwrap();
            Self(files)
        }

        fn examined(&self, wanted: &[&str], now: SystemTime) -> Vec<(Mark, String)> {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            let mut report = Report::default();
            examine_one("turn", &self.0, &wanted, now, &mut report);
            report.findings.into_iter().map(|finding| (finding.mark, finding.text)).collect()
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0.cert);
            let _ = std::fs::remove_file(&self.0.key);
        }
    }

    #[test]
    fn names_life_and_key_are_looked_at() {
        let now = SystemTime::now();
        let files = Files::new(&["gw.example", "*.agents.example", "192.0.2.7"], false);
        let found = files.examined(&["gw.example", "a.agents.example", "192.0.2.7"], now);
        assert_eq!(found.iter().map(|(mark, _)| *mark).collect::<Vec<_>>(), [Mark::Ok, Mark::Warn]);
        assert!(found[1].1.contains("signed by itself"), "{found:?}");
        let found = files.examined(&["other.example"], now);
        assert!(
            found.iter().any(|(mark, text)| *mark == Mark::Warn && text.contains("other.example"))
        );
        let found = Files::new(&["*.example"], false).examined(&[], now);
        assert!(found.iter().any(|(mark, text)| *mark == Mark::Warn && text.contains("no host")));
        let found = files.examined(&[], now);
        assert!(found.iter().any(|(_, text)| text.contains("told gw.example, for want of")));
        // rcgen's certificates are valid from 1975 to 4096.
        let late = now + Duration::from_secs(3000 * 365 * 86_400);
        let found = files.examined(&[], late);
        assert!(found.iter().any(|(mark, text)| *mark == Mark::Fail && text.contains("expired")));
        let found = Files::new(&["gw.example"], true).examined(&[], now);
        assert_eq!(found[0].0, Mark::Fail, "{found:?}");
        assert!(found[0].1.contains("turn.tls_key"), "{found:?}");
    }
}
