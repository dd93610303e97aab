//! A certificate that is renewed while connections stand, and one made for a trial.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use wrtc_gateway::config::TlsFiles;
use wrtc_gateway::tls::Served;

use crate::support::{File, Gateway, get, header, read_response};

struct Made {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
}

/// By an authority, so that it is not self-signed.
fn issue() -> Made {
    issue_for(Duration::from_secs(90 * 86_400))
}

fn issue_for(life: Duration) -> Made {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "the authority");
    let authority =
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let (params, key) = gateways(life);
    Made { certificate: params.signed_by(&key, &authority).unwrap(), key }
}

fn gateways(life: Duration) -> (rcgen::CertificateParams, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "the gateway");
    params.not_after = (SystemTime::now() + life).into();
    (params, rcgen::KeyPair::generate().unwrap())
}

/// Trusts whatever it is shown, and tells what that was.
async fn connect(gateway: &Gateway) -> TlsStream<TcpStream> {
    let config = rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything))
        .with_no_client_auth();
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap()
}

fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

async fn ask(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    stream.write_all(get(path).as_bytes()).await.unwrap();
    let (status, head, _) = read_response(stream).await.unwrap();
    assert_eq!(status, 200);
    head
}

#[tokio::test]
async fn renewed_under_connections_that_stand() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (first, second) = (issue(), issue());
    let cert = File::new(&first.certificate.pem());
    let key = File::new(&first.key.serialize_pem());
    let gateway = Gateway::start(&[&cert.set("http.tls_cert"), &key.set("http.tls_key")]).await;
    let mut old = connect(&gateway).await;
    assert_eq!(&shown(&old), first.certificate.der());
    let head = ask(&mut old, "/api/health").await;
    assert_eq!(header(&head, "strict-transport-security"), Some("max-age=2592000"));

    // In between the two do not belong together: nothing happens.
    cert.write(&second.certificate.pem());
    key.write(&second.key.serialize_pem());
    let mut seen = false;
    for _ in 0..600 {
        seen = &shown(&connect(&gateway).await) == second.certificate.der();
        if seen {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(seen, "never renewed");
    ask(&mut old, "/api/health").await;
    let facts = gateway.control.certificate().unwrap();
    assert!(!facts.self_signed && facts.expires > std::time::SystemTime::now());
}

/// Whatever `self-signed` would like to put in its place.
#[tokio::test]
async fn what_an_authority_signed_is_never_replaced() {
    let folder = std::env::temp_dir().join(format!("wrtc-tls-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&folder).unwrap();
    let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    let write = |made: &Made| {
        std::fs::write(&files.cert, made.certificate.pem()).unwrap();
        std::fs::write(&files.key, made.key.serialize_pem()).unwrap();
    };
    let read = || (std::fs::read(&files.cert).unwrap(), std::fs::read(&files.key).unwrap());
    let soon = Duration::from_secs(3 * 86_400);
    write(&issue_for(soon));
    let before = read();
    let kept = Served::self_signed(vec!["localhost".to_owned()], Some(&files), &[]).unwrap();
    assert!(!kept.facts().self_signed);
    assert!(before == read(), "it is as it was");
    // One of our own kind is renewed, and what was there is still to be had.
    let (params, key) = gateways(soon);
    write(&Made { certificate: params.self_signed(&key).unwrap(), key });
    let before = read();
    let new = Served::self_signed(vec!["localhost".to_owned()], Some(&files), &[]).unwrap();
    assert!(new.facts().self_signed && before != read());
    let old = |path: &std::path::Path| std::fs::read(format!("{}.old", path.display())).unwrap();
    assert!(before == (old(&files.cert), old(&files.key)));
    let _ = std::fs::remove_dir_all(folder);
}

#[tokio::test]
async fn one_for_a_trial() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let gateway = Gateway::start(&["http.tls=self-signed"]).await;
    assert_eq!(gateway.scheme, "https");
    let facts = gateway.control.certificate().unwrap();
    assert!(facts.self_signed);
    let mut stream = connect(&gateway).await;
    let head = ask(&mut stream, "/api/health").await;
    assert_eq!(header(&head, "strict-transport-security"), None, "nobody vouches for it");
    // A client that is told to trust it finds its name in it.
    let mut roots = rustls::RootCertStore::empty();
    roots.add(shown(&stream)).unwrap();
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    for name in ["localhost", "127.0.0.1"] {
        let tcp = TcpStream::connect(gateway.address).await.unwrap();
        connector.connect(name.try_into().unwrap(), tcp).await.unwrap();
    }
}

#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
