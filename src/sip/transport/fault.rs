//! Why a connection ended or never came to be, in words that say what helps.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as TlsFault};

use super::frame::FrameFault;

/// The end of a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionFault {
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("no connection within {} s", .0.as_secs_f32())]
    ConnectTimeout(Duration),
    /// The endpoint was opened without TLS.
    #[error("no TLS: the endpoint has none configured")]
    NoTls,
    #[error("{0}")]
    Tls(String),
    #[error("the TLS handshake took longer than {} s", .0.as_secs_f32())]
    HandshakeTimeout(Duration),
    #[error("the peer closed it")]
    Closed,
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}; it cannot be read on")]
    Frame(#[from] FrameFault),
    #[error("a message that was not complete after {} s", .0.as_secs_f32())]
    Dawdling(Duration),
    #[error("the peer takes nothing: its queue is full")]
    QueueFull,
    #[error("the peer took nothing for {} s", .0.as_secs_f32())]
    Stuck(Duration),
    #[error("no answer to a keep-alive")]
    NoPong,
    #[error("nothing was said for {} s", .0.as_secs_f32())]
    Idle(Duration),
    #[error("its address is not among the servers' nor in sip.networks")]
    Stranger,
    #[error("the endpoint is closed")]
    Stopped,
}

impl ConnectionFault {
    /// What a connection did wrong by itself, as opposed to ends that are everyday life.
    pub(crate) fn is_framing(&self) -> bool {
        matches!(self, ConnectionFault::Frame(_) | ConnectionFault::Dawdling(_))
    }

    /// Worth showing: somebody has to do something.
    pub(crate) fn is_trouble(&self) -> bool {
        use ConnectionFault::{Closed, Idle, Stopped};
        !matches!(self, Closed | Idle(_) | Stopped)
    }

    pub(crate) fn is_tls(&self) -> bool {
        use ConnectionFault::{HandshakeTimeout, NoTls, Tls};
        matches!(self, NoTls | Tls(_) | HandshakeTimeout(_))
    }

    /// What an established connection says when it breaks. A server that does not like our certificate
    /// says so only after the handshake, in TLS 1.3.
    pub(crate) fn from_io(name: &str, error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFault>()) {
            Some(fault) => ConnectionFault::Tls(sentence(name, fault)),
            None if error.kind() == io::ErrorKind::UnexpectedEof => ConnectionFault::Closed,
            None => ConnectionFault::Io(error),
        }
    }

    /// What went wrong in a handshake with the server of that name.
    pub(crate) fn from_handshake(name: &str, error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFault>()) {
            Some(fault) => ConnectionFault::Tls(sentence(name, fault)),
            None => ConnectionFault::Tls(format!("no TLS with {name}: {error}")),
        }
    }
}

/// What is wrong, and which key of the configuration helps.
fn sentence(name: &str, fault: &TlsFault) -> String {
    let untrusted = |why: &str| {
        format!("the certificate of {name} is not trusted: {why}; set sip.tls_ca or sip.tls_pins")
    };
    match fault {
        TlsFault::InvalidCertificate(CertificateError::UnknownIssuer) => {
            untrusted("unknown issuer")
        }
        TlsFault::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        }) if !presented.is_empty() => untrusted(&format!("it is for {}", presented.join(", "))),
        TlsFault::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => untrusted("it is for another name"),
        TlsFault::InvalidCertificate(CertificateError::BadSignature) => {
            untrusted("its signature is not by the key of its issuer")
        }
        TlsFault::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => untrusted("it has expired"),
        TlsFault::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => untrusted("it is not valid yet"),
        // rustls' word for a self-signed certificate that says of itself that it is an authority.
        TlsFault::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            untrusted("it is an authority's own, good for a pin only")
        }
        TlsFault::InvalidCertificate(other) => untrusted(&other.to_string()),
        TlsFault::AlertReceived(alert) if about_certificate(*alert) => {
            let own = "sip.tls_cert and sip.tls_key";
            format!("{name} does not take our certificate ({alert:?}); set {own}")
        }
        other => format!("no TLS with {name}: {other}"),
    }
}

fn about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
    )
}
