//! A browser's media: ICE (controlling), DTLS, SRTP.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
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
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, Setter, TransactionId,
};
use rtc_stun::xoraddr::XorMappedAddress;
use sha2::{Digest, Sha256};
use wrtc_gateway::media::{BrowserLocal, BrowserRemote};
use wrtc_gateway::sdp::{Candidate, Fingerprint, IceCredentials, PayloadMap, Setup, Transport};

use super::phone::{Heard, packet};
use super::sound::Tone;
use super::{LOOPBACK, PATIENCE};

pub const CM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
pub const GCM: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;

pub struct Browser {
    pub socket: UdpSocket,
    /// Instead of the socket, once there is one.
    pub tcp: Option<TcpStream>,
    /// Bytes of a frame that is not whole.
    received: Vec<u8>,
    /// The gateway has closed the connection.
    pub hung_up: bool,
    pub ice: IceCredentials,
    /// Offered, in this order.
    pub profiles: Vec<SrtpProtectionProfile>,
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    pub gateway: Option<SocketAddr>,
    dtls: Option<Endpoint>,
    /// Set once the handshake is done: what seals and what opens.
    pub srtp: Option<(Context, Context)>,
    pub handshake_failed: bool,
    pub chosen: Option<SrtpProtectionProfile>,
    /// Datagrams of SRTP that came, opened or not.
    pub media_datagrams: usize,
    pub stun_answers: usize,
    pub stun_errors: Vec<u16>,
    pub heard: Vec<Heard>,
    pub rtcp: Vec<Vec<u8>>,
    pub tone: Tone,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload_type: u8,
    pub muted: bool,
}

impl Browser {
    pub fn new() -> Browser {
        let provider = default_provider().unwrap();
        let certificate =
            Certificate::generate_self_signed(vec!["browser".to_owned()], provider.crypto())
                .unwrap();
        let text = |len: usize| {
            let bytes: Vec<u8> = (0..len).map(|_| rand::random_range(b'a'..=b'z')).collect();
            String::from_utf8(bytes).unwrap()
        };
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        Browser {
            socket,
            tcp: None,
            received: Vec::new(),
            hung_up: false,
            ice: IceCredentials { ufrag: text(4), pwd: text(24) },
            profiles: vec![CM, GCM],
            provider,
            certificate,
            gateway: None,
            dtls: None,
            srtp: None,
            handshake_failed: false,
            chosen: None,
            media_datagrams: 0,
            stun_answers: 0,
            stun_errors: Vec::new(),
            heard: Vec::new(),
            rtcp: Vec::new(),
            tone: Tone::new(440),
            sequence: 65_530,
            timestamp: 0xFFFF_FF00,
            ssrc: 0xB0B0_B0B0,
            payload_type: 0,
            muted: false,
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Sha256::digest(&self.certificate.certificate[0]).into())
    }

    pub fn remote(&self, payloads: PayloadMap) -> BrowserRemote {
        BrowserRemote {
            ice: Some(self.ice.clone()),
            fingerprint: Some(self.fingerprint()),
            setup: Setup::Passive,
            payloads,
        }
    }

    /// A connectivity check that nominates.
    pub fn check(&self, local: &IceCredentials) -> Vec<u8> {
        self.check_of(local, true)
    }

    pub fn check_of(&self, local: &IceCredentials, nominates: bool) -> Vec<u8> {
        let mut message = Message::new();
        message.write_header();
        BINDING_REQUEST.add_to(&mut message).unwrap();
        TransactionId::new().add_to(&mut message).unwrap();
        message.add(ATTR_USERNAME, format!("{}:{}", local.ufrag, self.ice.ufrag).as_bytes());
        message.add(ATTR_PRIORITY, &1_845_501_695u32.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &7u64.to_be_bytes());
        if nominates {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        let crypto = self.provider.crypto();
        MessageIntegrity::new_raw_integrity_with_provider(local.pwd.as_bytes(), crypto)
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    /// Checks until an answer that validates came; true when one did within `patience`.
    pub fn ping(&mut self, local: &BrowserLocal, patience: Duration) -> bool {
        let wanted = if self.tcp.is_some() { Transport::TcpPassive } else { Transport::Udp };
        let candidate = local.candidates.iter().find(|c| c.transport == wanted);
        self.gateway = Some(candidate.expect("a candidate of that transport").address);
        let deadline = Instant::now() + patience;
        let before = self.stun_answers;
        while Instant::now() < deadline {
            let check = self.check(&local.ice);
            self.transmit(&check);
            let until = Instant::now() + Duration::from_millis(50);
            while Instant::now() < until {
                if let Some(data) = self.receive(Duration::from_millis(10)) {
                    if data[0] < 4 {
                        self.verify(&data, &local.ice);
                    } else {
                        self.handle(data);
                    }
                }
                if self.stun_answers > before {
                    return true;
                }
            }
        }
        false
    }

    fn verify(&mut self, data: &[u8], local: &IceCredentials) {
        let mut message = Message::new();
        message.unmarshal_binary(data).unwrap();
        FINGERPRINT.check(&message).unwrap();
        if message.typ == BINDING_ERROR {
            let mut error = ErrorCodeAttribute::default();
            error.get_from(&message).unwrap();
            self.stun_errors.push(error.code.0);
            return;
        }
        assert_eq!(message.typ, BINDING_SUCCESS);
        let crypto = self.provider.crypto();
        MessageIntegrity::check(&mut message, local.pwd.as_bytes(), crypto).unwrap();
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&message).unwrap();
        let ours = match &self.tcp {
            Some(tcp) => tcp.local_addr().unwrap(),
            None => self.socket.local_addr().unwrap(),
        };
        assert_eq!(SocketAddr::new(mapped.ip, mapped.port), ours);
        self.stun_answers += 1;
    }

    /// ICE, then the handshake, until done or failed.
    pub fn connect(&mut self, local: &BrowserLocal) {
        assert!(self.ping(local, PATIENCE), "no answer to the checks");
        self.start_handshake();
        let deadline = Instant::now() + PATIENCE;
        while self.srtp.is_none() && !self.handshake_failed {
            assert!(Instant::now() < deadline, "the handshake never ended");
            self.serve(Duration::from_millis(5));
        }
        if let Some(endpoint) = &self.dtls
            && let Some(state) = endpoint.get_connection_state(self.gateway.unwrap())
            && let Some(certificate) = state.peer_certificates.first()
        {
            let seen: [u8; 32] = Sha256::digest(certificate).into();
            assert_eq!(seen, local.fingerprint.0, "the gateway's own fingerprint");
        }
    }

    pub fn start_handshake(&mut self) {
        let config = self.handshake().build(true, self.gateway).unwrap();
        let local = self.socket.local_addr().unwrap();
        let mut endpoint = Endpoint::new(local, TransportProtocol::UDP, None);
        endpoint.connect(Instant::now(), self.gateway.unwrap(), Arc::new(config), None).unwrap();
        self.dtls = Some(endpoint);
        self.pump();
    }

    /// Takes the handshake that the gateway starts.
    pub fn accept_handshake(&mut self) {
        let config = self.handshake().build(false, None).unwrap();
        let local = self.socket.local_addr().unwrap();
        let server = Some(Arc::new(config));
        self.dtls = Some(Endpoint::new(local, TransportProtocol::UDP, server));
    }

    fn handshake(&self) -> ConfigBuilder {
        ConfigBuilder::default()
            .with_crypto_provider(self.provider.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(self.profiles.clone())
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_flight_interval(Duration::from_millis(200))
    }

    pub fn send_rtcp(&mut self, data: &[u8]) {
        if let Some((seal, _)) = &mut self.srtp {
            let sealed = seal.encrypt_rtcp(data).unwrap();
            self.transmit(&sealed);
        }
    }

    /// Sends the next 20 ms of the tone.
    pub fn speak(&mut self) {
        let frame = self.tone.frame();
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        if !self.muted {
            self.send(self.payload_type, &frame);
        }
    }

    pub fn send(&mut self, kind: u8, payload: &[u8]) {
        let data = packet(kind, self.sequence, self.timestamp, self.ssrc, payload);
        if let Some((seal, _)) = &mut self.srtp {
            let sealed = seal.encrypt_rtp(&data).unwrap();
            self.transmit(&sealed);
        }
    }

    /// Handles what comes within `time`.
    pub fn serve(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.receive(left.max(Duration::from_micros(100))) {
                Some(data) if data[0] >= 4 => self.handle(data),
                Some(_) => self.stun_answers += 1,
                None => {}
            }
            self.pump();
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Handles what is there already.
    pub fn drain(&mut self) {
        while let Some(data) = self.receive(Duration::ZERO) {
            self.handle(data);
        }
    }

    /// From now on everything goes by a connection to the gateway's TCP candidate.
    pub fn connect_tcp(&mut self, local: &BrowserLocal) {
        let passive = |c: &&Candidate| c.transport == Transport::TcpPassive;
        let gateway = local.candidates.iter().find(passive).expect("a TCP candidate").address;
        self.tcp = Some(TcpStream::connect(gateway).unwrap());
        self.received.clear();
        self.gateway = Some(gateway);
    }

    /// From now on everything goes by another socket: another network, or another NAT binding.
    pub fn move_to(&mut self, socket: UdpSocket) {
        self.socket = socket;
        self.tcp = None;
    }

    pub fn transmit(&self, data: &[u8]) {
        Self::transmit_by(&self.socket, &self.tcp, self.gateway.unwrap(), data);
    }

    fn transmit_by(socket: &UdpSocket, tcp: &Option<TcpStream>, to: SocketAddr, data: &[u8]) {
        match tcp {
            // RFC 4571: the length, then the packet.
            Some(tcp) => {
                let mut tcp: &TcpStream = tcp;
                let frame = [&(data.len() as u16).to_be_bytes()[..], data].concat();
                tcp.set_nonblocking(false).unwrap();
                // A gateway that has hung up is seen by what does not come.
                let _ = tcp.write_all(&frame);
            }
            None => drop(socket.send_to(data, to).unwrap()),
        }
    }

    fn receive(&mut self, time: Duration) -> Option<Vec<u8>> {
        if self.tcp.is_some() {
            return self.receive_frame(time);
        }
        self.socket.set_nonblocking(time.is_zero()).unwrap();
        if !time.is_zero() {
            self.socket.set_read_timeout(Some(time)).unwrap();
        }
        let mut buffer = [0; 2048];
        let (len, _) = self.socket.recv_from(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    }

    fn receive_frame(&mut self, time: Duration) -> Option<Vec<u8>> {
        loop {
            if let [high, low, rest @ ..] = self.received.as_slice() {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                if rest.len() >= len {
                    let frame = rest[..len].to_vec();
                    self.received.drain(..2 + len);
                    return Some(frame);
                }
            }
            let tcp = self.tcp.as_mut()?;
            tcp.set_nonblocking(time.is_zero()).unwrap();
            if !time.is_zero() {
                tcp.set_read_timeout(Some(time)).unwrap();
            }
            let mut buffer = [0; 2048];
            match tcp.read(&mut buffer) {
                Ok(0) => {
                    self.hung_up = true;
                    // As a socket without anything to read.
                    std::thread::park_timeout(time);
                    return None;
                }
                Ok(len) => self.received.extend(&buffer[..len]),
                Err(error) => {
                    let waits = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                    self.hung_up |= !waits.contains(&error.kind());
                    return None;
                }
            }
        }
    }

    fn handle(&mut self, data: Vec<u8>) {
        if data[0] >= 128 {
            self.media_datagrams += 1;
            let Some((_, open)) = &mut self.srtp else { return };
            if (192..=223).contains(&data[1]) {
                self.rtcp.push(open.decrypt_rtcp(&data).expect("SRTCP").to_vec());
            } else {
                let plain = open.decrypt_rtp(&data).expect("SRTP");
                self.heard.push(Heard::parse(&plain));
            }
            return;
        }
        let (Some(endpoint), Some(gateway)) = (&mut self.dtls, self.gateway) else { return };
        match endpoint.read(Instant::now(), gateway, None, BytesMut::from(data.as_slice())) {
            Ok(events) => {
                if events.iter().any(|e| matches!(e, EndpointEvent::HandshakeComplete)) {
                    self.keyed();
                }
            }
            Err(_) if self.srtp.is_none() => self.handshake_failed = true,
            Err(_) => self.srtp = None,
        }
        self.pump();
    }

    fn keyed(&mut self) {
        let state =
            self.dtls.as_ref().unwrap().get_connection_state(self.gateway.unwrap()).unwrap();
        let chosen = state.srtp_protection_profile();
        let profile = if chosen == GCM {
            ProtectionProfile::AeadAes128Gcm
        } else {
            ProtectionProfile::Aes128CmHmacSha1_80
        };
        let (key, salt) = (profile.key_len(), profile.salt_len());
        let material =
            state.export_keying_material("EXTRACTOR-dtls_srtp", &[], 2 * (key + salt)).unwrap();
        let material: &[u8] = material.as_ref();
        let context = |n: usize| {
            let salts = 2 * key;
            Context::new(
                &material[n * key..(n + 1) * key],
                &material[salts + n * salt..salts + (n + 1) * salt],
                profile,
                None,
                None,
                self.provider.crypto(),
            )
            .unwrap()
        };
        let is_client = state.is_client();
        self.srtp = Some((context(usize::from(!is_client)), context(usize::from(is_client))));
        self.chosen = Some(chosen);
    }

    fn pump(&mut self) {
        let (Some(endpoint), Some(gateway)) = (&mut self.dtls, self.gateway) else { return };
        if endpoint.get_connection_state(gateway).is_some()
            && endpoint.handle_timeout(gateway, Instant::now()).is_err()
            && self.srtp.is_none()
        {
            self.handshake_failed = true;
        }
        while let Some(transmit) = endpoint.poll_transmit() {
            Self::transmit_by(&self.socket, &self.tcp, gateway, &transmit.message);
        }
    }
}
