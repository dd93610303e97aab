//! Certificates: the one that a port of ours shows, and whose of another's is taken.

#[cfg(not(packets_only))]
mod served;
pub mod verify;

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

#[cfg(not(packets_only))]
pub use served::*;

/// The certificate in a PEM file, with what leads to its authority; or authorities.
///
/// # Errors
/// A sentence: it cannot be read, or holds none.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(certificates)
}
