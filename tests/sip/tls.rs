//! "TLS (verified; client certificate optional)", with certificates made here.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use wrtc_gateway::sip::transport::tls::{OwnCertificate, TlsError, TlsFiles};
use wrtc_gateway::sip::{
    Command, Driven, Endpoint, EndpointConfig, Event, Hop, OpenError, SessionId, Transport,
};

use super::streams::*;
use super::support::*;

/// Files of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("wrtc-tls-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

struct Certified {
    cert: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        let name = format!("authority {:016x}", rand::random::<u64>());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn certify(&self, name: &str) -> Certified {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let made = params.signed_by(&key, &self.0).unwrap();
        Certified { cert: made.pem(), key: key.serialize_pem(), der: made.der().clone() }
    }
}

impl Certified {
    fn files(&self, folder: &Folder, name: &str) -> OwnCertificate {
        OwnCertificate {
            cert: folder.write(&format!("{name}.crt"), &self.cert),
            key: folder.write(&format!("{name}.key"), &self.key),
        }
    }
}

/// A SIP server with a certificate, that may want one of its clients.
struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    hop: Hop,
}

impl Server {
    async fn new(certified: &Certified, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).unwrap();
        let config = builder.with_single_cert(vec![certified.der.clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hop = Hop::new(Transport::Tls, listener.local_addr().unwrap());
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), hop }
    }

    async fn accept(&self) -> std::io::Result<Wire<TlsStream<TcpStream>>> {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection")?;
        Ok(Wire::new(self.acceptor.accept(stream).await?))
    }
}

fn endpoint(files: TlsFiles) -> Endpoint {
    open(|config| config.tls = Some(files))
}

/// Registers, and expects it to be granted over TLS.
async fn registers(ua: &mut Driven, server: &Server) -> Wire<TlsStream<TcpStream>> {
    ua.command(Command::Register);
    let mut peer = server.accept().await.expect("a handshake");
    let register = peer.read().await.unwrap();
    assert!(value(&register, "Via").starts_with("SIP/2.0/TLS "), "{register}");
    assert!(value(&register, "Contact").contains(";transport=tls>"), "{register}");
    peer.write(&answer(&register, "200 OK", "Expires: 600\r\n")).await;
    assert!(matches!(next(ua).await, Event::Registered { .. }));
    peer
}

/// Registers, and expects no connection; why.
async fn fails(endpoint: &Endpoint, server: &Server) -> String {
    let mut ua = driven(endpoint, "1001", server.hop);
    ua.command(Command::Register);
    let (event, _) = tokio::join!(next(&mut ua), server.accept());
    assert!(matches!(event, Event::RegistrationFailed { code: 503, .. }), "{event:?}");
    endpoint.peer_fault(server.hop).expect("a reason")
}

#[tokio::test]
async fn a_server_is_taken_by_authority_and_name() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = Some(folder.write("ca.pem", &authority.0.pem()));
    let server = Server::new(&authority.certify("pbx.example"), None).await;
    let endpoint = endpoint(TlsFiles { ca, ..TlsFiles::default() });
    // Its address is not in the certificate, and nobody has said its name.
    let why = fails(&endpoint, &server).await;
    assert!(why.contains("the certificate of 127.0.0.1 is not trusted: it is for"), "{why}");
    assert!(why.contains("pbx.example") && why.contains("sip.tls_pins"), "{why}");
    // Another name than the certificate's.
    endpoint.set_servers([(server.hop, "sip.example".to_owned())]);
    let why = fails(&endpoint, &server).await;
    assert!(why.contains("the certificate of sip.example is not trusted"), "{why}");
    assert_eq!(endpoint.stats().tls_failed, 2);

    endpoint.set_servers([(server.hop, "pbx.example".to_owned())]);
    let mut ua = driven(&endpoint, "1002", server.hop);
    let _peer = registers(&mut ua, &server).await;
    assert_eq!(endpoint.peer_fault(server.hop), None);
}

#[tokio::test]
async fn without_a_name_the_address_counts() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = Some(folder.write("ca.pem", &authority.0.pem()));
    let server = Server::new(&authority.certify("127.0.0.1"), None).await;
    let endpoint = endpoint(TlsFiles { ca, ..TlsFiles::default() });
    let _peer = registers(&mut driven(&endpoint, "1001", server.hop), &server).await;
}

#[tokio::test]
async fn the_wrong_authority_is_refused_and_a_reload_helps() {
    let (folder, right, wrong) = (Folder::new(), Authority::new(), Authority::new());
    let server = Server::new(&right.certify("127.0.0.1"), None).await;
    let ca = folder.write("ca.pem", &wrong.0.pem());
    let files = TlsFiles { ca: Some(ca.clone()), ..TlsFiles::default() };
    let endpoint = endpoint(files.clone());
    let why = fails(&endpoint, &server).await;
    assert_eq!(
        why,
        "the certificate of 127.0.0.1 is not trusted: unknown issuer; set sip.tls_ca or sip.tls_pins"
    );

    std::fs::write(&ca, right.0.pem()).unwrap();
    endpoint.reload_tls(&files).unwrap();
    let mut ua = driven(&endpoint, "1002", server.hop);
    let mut peer = registers(&mut ua, &server).await;

    // A fault leaves what is there in place, and the connection stands.
    std::fs::write(&ca, "nothing").unwrap();
    let error = endpoint.reload_tls(&files).unwrap_err();
    assert!(matches!(error, TlsError::Authorities { .. }), "{error}");
    assert!(error.to_string().starts_with("sip.tls_ca = "), "{error}");
    ua.command(Command::Unregister);
    assert!(peer.read().await.unwrap().starts_with("REGISTER "), "over the same connection");
    assert_eq!(endpoint.stats().connected, 1);
    drop(peer);
    until("the connection is gone", || endpoint.stats().connections_out == 0).await;
    let mut ua = driven(&endpoint, "1003", server.hop);
    let _peer = registers(&mut ua, &server).await;
}

#[tokio::test]
async fn a_pinned_certificate_is_taken_whoever_signed_it() {
    let (folder, unknown, other) = (Folder::new(), Authority::new(), Authority::new());
    let certified = unknown.certify("somewhere.example");
    let server = Server::new(&certified, None).await;
    let ca = Some(folder.write("ca.pem", &other.0.pem()));
    let pin: [u8; 32] = Sha256::digest(&certified.der).into();
    let endpoint = endpoint(TlsFiles { ca, pins: vec![pin], own: None });
    let _peer = registers(&mut driven(&endpoint, "1001", server.hop), &server).await;

    // The pin is for that certificate, not for that authority.
    let another = Server::new(&unknown.certify("somewhere.example"), None).await;
    let why = fails(&endpoint, &another).await;
    assert!(why.contains("unknown issuer"), "{why}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let server = Server::new(&authority.certify("127.0.0.1"), Some(&authority)).await;
    let ca = Some(folder.write("ca.pem", &authority.0.pem()));
    let without = endpoint(TlsFiles { ca: ca.clone(), ..TlsFiles::default() });
    let why = fails(&without, &server).await;
    assert!(why.contains("does not take our certificate"), "{why}");
    assert!(why.contains("sip.tls_cert and sip.tls_key"), "{why}");

    let ours = authority.certify("gateway.example");
    let own = Some(ours.files(&folder, "own"));
    let with = endpoint(TlsFiles { ca, pins: vec![], own });
    let peer = registers(&mut driven(&with, "1001", server.hop), &server).await;
    let shown = peer.stream.get_ref().1.peer_certificates().unwrap();
    assert_eq!(shown[0], ours.der);
}

#[tokio::test]
async fn two_endpoints_talk_over_tls_both_ways() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = Some(folder.write("ca.pem", &authority.0.pem()));
    let own = Some(authority.certify("127.0.0.1").files(&folder, "own"));
    let files = TlsFiles { ca, pins: vec![], own };
    let listening = |config: &mut EndpointConfig| {
        config.tls = Some(files.clone());
        config.tls_listen = Some(addr("127.0.0.1:0").addr);
    };
    let (left, right) = (open(listening), open(listening));
    let hop = |endpoint: &Endpoint| Hop::new(Transport::Tls, endpoint.tls_addr().unwrap());
    let mut a = driven(&left, "1001", hop(&right));
    let mut b = driven(&right, "1002", hop(&left));
    let session = SessionId(1);
    let sdp = Some(OFFER.into());
    a.command(Command::Invite { session, to: "1002".into(), sdp, headers: vec![] });
    let Event::Invited { session: theirs, .. } = next(&mut b).await else { panic!("Invited") };
    b.command(Command::Accept { session: theirs, sdp: ANSWER.into() });
    assert!(matches!(next(&mut a).await, Event::Answered { .. }));
    assert!(matches!(next(&mut b).await, Event::Acked { .. }));
    b.command(Command::End { session: theirs, code: 200, text: String::new() });
    assert!(matches!(next(&mut a).await, Event::Ended { .. }));
    assert_eq!((left.stats().accepted, right.stats().accepted), (1, 1));
    assert_eq!((left.stats().tls_failed, right.stats().tls_failed), (0, 0));
}

#[tokio::test]
async fn faults_of_the_files_name_their_keys() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let (one, two) = (authority.certify("a"), authority.certify("b"));
    let told = |files: TlsFiles, tls_listen: bool| {
        let mut config = EndpointConfig::new(addr("127.0.0.1:0").addr, "test");
        config.tls = Some(files);
        config.tls_listen = tls_listen.then(|| addr("127.0.0.1:0").addr);
        match Endpoint::open(config) {
            Err(OpenError::Tls(error)) => error.to_string(),
            other => panic!("a fault: {:?}", other.map(|_| ())),
        }
    };
    let missing = folder.0.join("missing.pem");
    let ca = TlsFiles { ca: Some(missing.clone()), ..TlsFiles::default() };
    assert!(told(ca, false).starts_with("sip.tls_ca = "));
    let own = |cert: PathBuf, key: PathBuf| TlsFiles {
        own: Some(OwnCertificate { cert, key }),
        ..TlsFiles::default()
    };
    let (one, two) = (one.files(&folder, "one"), two.files(&folder, "two"));
    assert!(told(own(missing.clone(), one.key.clone()), false).starts_with("sip.tls_cert = "));
    assert!(told(own(one.cert.clone(), missing), false).starts_with("sip.tls_key = "));
    let mismatch = told(own(one.cert, two.key), false);
    assert!(mismatch.contains("does not go with sip.tls_cert"), "{mismatch}");
    assert!(told(TlsFiles::default(), true).contains("set sip.tls_cert and sip.tls_key"));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let (old, new) = (authority.certify("127.0.0.1"), authority.certify("127.0.0.1"));
    let own = Some(old.files(&folder, "own"));
    let files = TlsFiles { own, ..TlsFiles::default() };
    let listening = open(|config| {
        config.tls = Some(files.clone());
        config.tls_listen = Some(addr("127.0.0.1:0").addr);
    });
    let hop = Hop::new(Transport::Tls, listening.tls_addr().unwrap());
    // Takes the new one only.
    let ca = Some(folder.write("none.pem", &Authority::new().0.pem()));
    let pins = vec![Sha256::digest(&new.der).into()];
    let strict = endpoint(TlsFiles { ca, pins, own: None });
    let options = async |user: &str| {
        let mut ua = driven(&strict, user, hop);
        ua.command(Command::Register);
        next(&mut ua).await
    };
    assert!(matches!(options("a").await, Event::RegistrationFailed { code: 503, .. }));
    new.files(&folder, "own");
    listening.reload_tls(&files).unwrap();
    // Nobody is a registrar there: an answer is what shows that it was reached.
    assert!(matches!(options("b").await, Event::RegistrationFailed { code: 405, .. }));
    // Its certificate is not to be lost by a reload.
    assert!(matches!(listening.reload_tls(&TlsFiles::default()), Err(TlsError::NothingToShow)));
}

/// "Messages are accepted from configured peers only": a stranger is turned away before TLS.
#[tokio::test]
async fn a_stranger_does_not_get_to_see_the_certificate() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let own = Some(authority.certify("127.0.0.1").files(&folder, "own"));
    let listening = open(|config| {
        config.tls = Some(TlsFiles { own, ..TlsFiles::default() });
        config.tls_listen = Some(addr("127.0.0.1:0").addr);
    });
    listening.set_peers(Some(vec!["192.0.2.1".parse().unwrap()]));
    let mut peer = connect(listening.tls_addr().unwrap()).await;
    peer.closed().await;
    let stats = listening.stats();
    assert_eq!((stats.strangers, stats.accepted, stats.tls_failed), (1, 0, 0));
}
