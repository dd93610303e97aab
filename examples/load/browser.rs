//! A browser's way to its keys: ICE checks, then DTLS as the client, over the socket its media will use.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clap::ValueEnum;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::{RTCCryptoProvider, default_provider};
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;
use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
use sha2::{Digest, Sha256};

use crate::sdp::{OwnIce, Remote};
use crate::{Fault, net};

/// Checks and flights are repeated after this long.
const REPEAT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);

/// The SRTP profile that the browsers offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// AEAD_AES_128_GCM, as the gateway prefers.
    Gcm,
    /// AES_CM_128_HMAC_SHA1_80.
    Cm,
}

impl Profile {
    pub fn name(self) -> &'static str {
        match self {
            Profile::Gcm => "AEAD_AES_128_GCM",
            Profile::Cm => "AES_CM_128_HMAC_SHA1_80",
        }
    }

    fn dtls(self) -> SrtpProtectionProfile {
        match self {
            Profile::Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            Profile::Cm => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        }
    }

    fn srtp(self) -> ProtectionProfile {
        match self {
            Profile::Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::Cm => ProtectionProfile::Aes128CmHmacSha1_80,
        }
    }
}

/// The certificate that all our browsers have: making one is none of the gateway's cost.
pub struct Identity {
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    fingerprint: String,
    profile: Profile,
}

impl Identity {
    pub fn generate(profile: Profile) -> Result<Self, Fault> {
        let provider = default_provider()?;
        let names = vec!["browser".to_owned()];
        let certificate = Certificate::generate_self_signed(names, provider.crypto())?;
        let der = certificate.certificate.first().ok_or("no certificate")?;
        let fingerprint = fingerprint(der);
        Ok(Self { provider, certificate, fingerprint, profile })
    }
}

fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

pub struct Browser {
    identity: Arc<Identity>,
    socket: UdpSocket,
    ufrag: String,
    pwd: String,
}

/// A browser that may speak.
pub struct Keyed {
    pub socket: UdpSocket,
    pub seal: Context,
    pub open: Context,
    /// To be sent now and then: the browser's consent (RFC 7675).
    pub check: Vec<u8>,
}

impl Browser {
    pub fn new(identity: Arc<Identity>) -> Result<Self, Fault> {
        let text =
            |len: usize| (0..len).map(|_| char::from(rand::random_range(b'a'..=b'z'))).collect();
        Ok(Self { identity, socket: net::socket()?, ufrag: text(8), pwd: text(24) })
    }

    pub fn own(&self) -> Result<OwnIce<'_>, Fault> {
        Ok(OwnIce {
            ufrag: &self.ufrag,
            pwd: &self.pwd,
            fingerprint: &self.identity.fingerprint,
            port: net::port(&self.socket)?,
        })
    }

    /// A connectivity check that nominates.
    fn check(&self, remote: &Remote) -> Result<Vec<u8>, Fault> {
        let mut message = Message::new();
        message.write_header();
        BINDING_REQUEST.add_to(&mut message)?;
        TransactionId::new().add_to(&mut message)?;
        message.add(ATTR_USERNAME, format!("{}:{}", remote.ufrag, self.ufrag).as_bytes());
        message.add(ATTR_PRIORITY, &1_845_501_695u32.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &7u64.to_be_bytes());
        message.add(ATTR_USE_CANDIDATE, &[]);
        let crypto = self.identity.provider.crypto();
        MessageIntegrity::new_raw_integrity_with_provider(remote.pwd.as_bytes(), crypto)
            .add_to(&mut message)?;
        FINGERPRINT.add_to(&mut message)?;
        Ok(message.raw)
    }

    /// Until there are keys.
    pub async fn connect(self, remote: &Remote) -> Result<Keyed, Fault> {
        let connecting = async {
            self.socket.connect(remote.address)?;
            let socket = tokio::net::UdpSocket::from_std(self.socket.try_clone()?)?;
            let check = self.check(remote)?;
            self.reach(&socket, &check).await?;
            let (seal, open) = self.handshake(&socket, remote).await?;
            Ok::<_, Fault>((check, seal, open))
        };
        let connected = tokio::time::timeout(PATIENCE, connecting).await;
        let (check, seal, open) = connected.map_err(|_| "the browser did not connect")??;
        Ok(Keyed { socket: self.socket, seal, open, check })
    }

    async fn reach(&self, socket: &tokio::net::UdpSocket, check: &[u8]) -> Result<(), Fault> {
        let mut buffer = [0; 2048];
        loop {
            socket.send(check).await?;
            // A success response to a Binding request (RFC 8489 5).
            let answer = tokio::time::timeout(REPEAT, socket.recv(&mut buffer)).await;
            if let Ok(len) = answer
                && buffer[..len?].starts_with(&[1, 1])
            {
                return Ok(());
            }
        }
    }

    async fn handshake(
        &self,
        socket: &tokio::net::UdpSocket,
        remote: &Remote,
    ) -> Result<(Context, Context), Fault> {
        let Identity { provider, certificate, profile, .. } = &*self.identity;
        let peer = remote.address;
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![certificate.clone()])
            .with_srtp_protection_profiles(vec![profile.dtls()])
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_flight_interval(Duration::from_millis(500))
            .build(true, Some(peer))?;
        let mut endpoint = Endpoint::new(socket.local_addr()?, TransportProtocol::UDP, None);
        endpoint.connect(Instant::now(), peer, Arc::new(config), None)?;
        let mut buffer = [0; 4096];
        let mut done = false;
        loop {
            while let Some(transmit) = endpoint.poll_transmit() {
                socket.send(&transmit.message).await?;
            }
            if done {
                break;
            }
            match tokio::time::timeout(REPEAT, socket.recv(&mut buffer)).await {
                Ok(len) => {
                    let data = &buffer[..len?];
                    if matches!(data.first(), Some(20..=63)) {
                        let events =
                            endpoint.read(Instant::now(), peer, None, BytesMut::from(data))?;
                        done = events.iter().any(|e| matches!(e, EndpointEvent::HandshakeComplete));
                    }
                }
                Err(_) => endpoint.handle_timeout(peer, Instant::now())?,
            }
        }
        let state = endpoint.get_connection_state(peer).ok_or("no association")?;
        let theirs = state.peer_certificates.first().ok_or("no certificate of the gateway's")?;
        if fingerprint(theirs) != remote.fingerprint.to_ascii_uppercase() {
            return Err("the gateway has another certificate than its SDP says".into());
        }
        if state.srtp_protection_profile() != profile.dtls() {
            return Err("another SRTP profile than the offered one".into());
        }
        let profile = profile.srtp();
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let material =
            state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt))?;
        let (keys, salts) = material.as_ref().split_at(2 * key);
        let context = |server: usize| {
            let (key, salt) = (&keys[server * key..][..key], &salts[server * salt..][..salt]);
            Context::new(key, salt, profile, None, None, provider.crypto())
        };
        Ok((context(0)?, context(1)?))
    }
}
