//! The DTLS association of one peer connection (RFC 5763, RFC 5764), over rtc-dtls.
//!
//! rtc-dtls follows the client's order of SRTP profiles and compares no fingerprint: both happen
//! here, the latter before the handshake ends, so that a stranger never sees a key in use.

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_dtls::cipher_suite::CipherSuiteId;
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::crypto_provider::RTCCryptoProvider;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error;
use sha2::{Digest, Sha256};

use crate::sdp::{Fingerprint, Setup};

use super::hello::{HelloReader, Progress, is_framed, repeats_a_finish};
use super::srtp::{Profile, SrtpKeys};
use super::types::DtlsFailure;

/// Until the first repetition of a flight: RFC 6347 4.2.4.1 wants 1 s by default and allows less
/// where the delay is known to be small, as it is for voice. Twice as long after each, up to 2 s.
const FLIGHT: Duration = Duration::from_millis(500);
const MAX_DOUBLINGS: u32 = 2;

/// A handshake that has not ended by now never will: the browser's consent has run out too.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// rtc-dtls repeats a flight seven times at a fixed interval and then gives the association up, and
/// it forgets its timer when anything comes that does not complete a flight: a hello repeated by
/// the browser is enough. So its own repetitions are spread over the whole time, and a lost flight
/// is made good by ours, which have the same record numbers: what did arrive is dropped as known.
const SPREAD: Duration = Duration::from_secs(4);

/// Handshakes tried for one description: a browser tries once, strangers may not try for ever.
const MAX_TRIES: u8 = 4;

/// Datagrams of a ClientHello kept until it is whole, or until the browser is known.
const MAX_EARLY: usize = 6;

/// Bytes an association takes in all until it is connected. rtc-dtls keeps every fragment of a message
/// that is not whole, and puts them together by recursion, as deep as there are fragments: thousands
/// of them would overflow the stack. A browser's handshake has some 3 KB, and comes some eight times
/// at worst.
const MAX_INPUT: usize = 32 * 1024;

/// How often our last flight is sent again to one who repeats his: a browser does so some six times.
const MAX_REPEATS: u8 = 8;

/// rtc-dtls tells associations apart by address. Ours has only one, which outlives changes of the
/// browser's address, so it is always known by this one.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 9));

/// The certificate of this process and what else all associations share.
pub struct Identity {
    certificate: Certificate,
    fingerprint: Fingerprint,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Identity {
    /// Makes a self-signed ECDSA P-256 certificate.
    pub fn generate() -> Result<Identity, Error> {
        let provider = rtc_dtls::crypto_provider::default_provider()
            .map_err(|e| Error::Crypto(e.to_string()))?;
        // No host name in it: browsers compare fingerprints only.
        let certificate =
            Certificate::generate_self_signed(vec!["wrtc".to_owned()], provider.crypto())?;
        let der = certificate.certificate.first().map(|c| c.as_ref()).unwrap_or_default();
        let fingerprint = fingerprint_of(der);
        Ok(Identity { certificate, fingerprint, provider })
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub fn provider(&self) -> &Arc<dyn RTCCryptoProvider> {
        &self.provider
    }
}

fn fingerprint_of(der: &[u8]) -> Fingerprint {
    Fingerprint(Sha256::digest(der).into())
}

/// What an association has to say.
pub enum Event {
    Connected { profile: Profile, keys: SrtpKeys },
    Failed(DtlsFailure),
}

/// Who the browser is, from its description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    fingerprint: Fingerprint,
    /// We start the handshake.
    active: bool,
}

enum State {
    /// Waiting for a ClientHello, or, when active, for an address to send ours to.
    Idle,
    Handshaking {
        endpoint: Box<Endpoint>,
        mismatch: Arc<AtomicBool>,
        until: Instant,
        flight: Flight,
    },
    /// Our last flight, for a browser that repeats its own because it did not get it. Nothing else of
    /// the association is needed any more, and nothing else is kept.
    Connected { last: Vec<BytesMut>, repeats_left: u8 },
    /// No further handshake is accepted.
    Refused,
}

/// What was sent last and has to be sent again until the other side goes on.
#[derive(Default)]
struct Flight {
    datagrams: Vec<BytesMut>,
    repeat_at: Option<Instant>,
    repeated: u32,
}

impl Flight {
    fn arm(&mut self, now: Instant) {
        self.repeat_at = Some(now + FLIGHT * (1 << self.repeated.min(MAX_DOUBLINGS)));
    }
}

/// One association.
pub struct Dtls {
    identity: Arc<Identity>,
    expected: Option<Expected>,
    state: State,
    hello: HelloReader,
    early: Vec<Vec<u8>>,
    tries: u8,
    transmits: std::collections::VecDeque<BytesMut>,
    malformed: u64,
    /// Bytes the association may still take.
    input_left: usize,
}

impl Dtls {
    pub fn new(identity: Arc<Identity>) -> Self {
        Dtls {
            identity,
            expected: None,
            state: State::Idle,
            hello: HelloReader::default(),
            early: Vec::new(),
            tries: 0,
            transmits: Default::default(),
            malformed: 0,
            input_left: MAX_INPUT,
        }
    }

    /// The browser's fingerprint; `None` means that no handshake is accepted. The association
    /// survives a description with the same one. What came before is to be handed in again:
    /// [`Dtls::take_early`].
    pub fn set_remote(&mut self, fingerprint: Option<Fingerprint>, setup: Setup) {
        let Some(fingerprint) = fingerprint else {
            self.expected = None;
            self.state = State::Refused;
            self.early.clear();
            return;
        };
        let expected = Expected { fingerprint, active: setup == Setup::Active };
        if self.expects(fingerprint) {
            return;
        }
        *self = Dtls {
            expected: Some(expected),
            malformed: self.malformed,
            early: std::mem::take(&mut self.early),
            ..Dtls::new(self.identity.clone())
        };
    }

    pub fn expects(&self, fingerprint: Fingerprint) -> bool {
        self.expected.is_some_and(|e| e.fingerprint == fingerprint)
    }

    /// Datagrams that came before the description.
    pub fn take_early(&mut self) -> Vec<Vec<u8>> {
        if self.expected.is_some() { std::mem::take(&mut self.early) } else { Vec::new() }
    }

    /// A datagram will be kept, dropped or answered from what is there: no key is computed for it.
    pub fn is_cheap(&self) -> bool {
        match self.state {
            State::Idle => self.expected.is_none_or(|e| e.active),
            State::Handshaking { .. } => false,
            State::Connected { .. } | State::Refused => true,
        }
    }

    /// It is for us to start, and we have not.
    pub fn wants_start(&self) -> bool {
        matches!(self.state, State::Idle) && self.expected.is_some_and(|e| e.active)
    }

    /// Accepts no handshake any more.
    pub fn refuse(&mut self) {
        self.state = State::Refused;
    }

    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The browser's address is known: the active side starts.
    pub fn handle_reachable(&mut self, now: Instant) {
        if !self.wants_start() {
            return;
        }
        let mismatch = Arc::new(AtomicBool::new(false));
        let Some(config) = self.config(true, &Profile::PREFERRED, &mismatch) else { return };
        let mut endpoint = Box::new(Endpoint::new(PEER, TransportProtocol::UDP, None));
        if endpoint.connect(now, PEER, config, None).is_ok() {
            self.tries += 1;
            let (until, flight) = (now + HANDSHAKE, Flight::default());
            self.state = State::Handshaking { endpoint, mismatch, until, flight };
            self.collect(now);
        }
    }

    /// A datagram from an address that ICE has validated.
    pub fn handle_datagram(&mut self, now: Instant, data: &[u8]) -> Option<Event> {
        if !is_framed(data) {
            self.malformed += 1;
            return None;
        }
        if matches!(self.state, State::Handshaking { .. }) {
            // What comes too early to know is bounded by `MAX_EARLY`.
            let Some(left) = self.input_left.checked_sub(data.len()) else {
                self.malformed += 1;
                return None;
            };
            self.input_left = left;
        }
        match &mut self.state {
            State::Refused => None,
            State::Idle => self.first_flight(now, data),
            State::Handshaking { endpoint, .. } => {
                let result = endpoint.read(now, PEER, None, BytesMut::from(data));
                self.advance(now, result)
            }
            State::Connected { last, repeats_left } => {
                // There is no application data in DTLS-SRTP, and a close_notify does not end a call:
                // signalling does.
                if repeats_a_finish(data) && *repeats_left > 0 {
                    *repeats_left -= 1;
                    self.transmits.extend(last.iter().cloned());
                }
                None
            }
        }
    }

    pub fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.transmits.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let State::Handshaking { endpoint, until, flight, .. } = &self.state else { return None };
        endpoint.poll_timeout(&PEER).into_iter().chain(flight.repeat_at).chain([*until]).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Option<Event> {
        let State::Handshaking { endpoint, until, .. } = &mut self.state else { return None };
        let exhausted = endpoint.handle_timeout(PEER, now).is_err();
        if exhausted || now >= *until {
            return Some(self.fail(now, DtlsFailure::Timeout));
        }
        self.collect(now);
        if let State::Handshaking { flight, .. } = &mut self.state
            && flight.repeat_at.is_some_and(|at| at <= now)
        {
            self.transmits.extend(flight.datagrams.iter().cloned());
            flight.repeated += 1;
            flight.arm(now);
        }
        None
    }

    fn first_flight(&mut self, now: Instant, data: &[u8]) -> Option<Event> {
        if self.early.len() >= MAX_EARLY {
            self.early.clear();
            self.hello = HelloReader::default();
        }
        let expected = match self.expected {
            Some(expected) if !expected.active => expected,
            Some(_) => return None,
            None => {
                // The answer is on its way; the browser's first flight need not come twice.
                self.early.push(data.to_vec());
                return None;
            }
        };
        let offered = match self.hello.read(data) {
            Progress::NotOne => return None,
            Progress::More => {
                self.early.push(data.to_vec());
                return None;
            }
            Progress::Offered(offered) => offered,
        };
        let chosen = Profile::PREFERRED.into_iter().find(|p| offered.contains(&p.number()));
        let Some(profile) = chosen else {
            return Some(self.fail(now, DtlsFailure::NoSrtpProfile));
        };
        let mismatch = Arc::new(AtomicBool::new(false));
        let config = self.config(expected.active, &[profile], &mismatch)?;
        let endpoint = Box::new(Endpoint::new(PEER, TransportProtocol::UDP, Some(config)));
        self.tries += 1;
        let until = now + HANDSHAKE;
        self.input_left = MAX_INPUT;
        self.state = State::Handshaking { endpoint, mismatch, until, flight: Flight::default() };
        self.hello = HelloReader::default();
        let mut flight = std::mem::take(&mut self.early);
        flight.push(data.to_vec());
        for datagram in flight {
            if let State::Handshaking { endpoint, .. } = &mut self.state {
                let result = endpoint.read(now, PEER, None, BytesMut::from(datagram.as_slice()));
                if let Some(event) = self.advance(now, result) {
                    return Some(event);
                }
            }
        }
        None
    }

    fn advance(
        &mut self,
        now: Instant,
        result: Result<Vec<EndpointEvent>, Error>,
    ) -> Option<Event> {
        self.collect(now);
        let State::Handshaking { mismatch, .. } = &self.state else { return None };
        let wrong = mismatch.load(Ordering::Relaxed);
        match result {
            _ if wrong => Some(self.fail(now, DtlsFailure::FingerprintMismatch)),
            Err(_) => Some(self.fail(now, DtlsFailure::Handshake)),
            Ok(events) => {
                if events.iter().any(|e| matches!(e, EndpointEvent::PeerClosed)) {
                    return Some(self.fail(now, DtlsFailure::Handshake));
                }
                events
                    .iter()
                    .any(|e| matches!(e, EndpointEvent::HandshakeComplete))
                    .then(|| self.connected(now))
            }
        }
    }

    fn connected(&mut self, now: Instant) -> Event {
        match self.export() {
            Ok((profile, keys)) => {
                if let State::Handshaking { flight, .. } =
                    std::mem::replace(&mut self.state, State::Refused)
                {
                    self.state =
                        State::Connected { last: flight.datagrams, repeats_left: MAX_REPEATS };
                }
                Event::Connected { profile, keys }
            }
            Err(reason) => self.fail(now, reason),
        }
    }

    fn export(&self) -> Result<(Profile, SrtpKeys), DtlsFailure> {
        let (State::Handshaking { endpoint, .. }, Some(expected)) = (&self.state, self.expected)
        else {
            return Err(DtlsFailure::Handshake);
        };
        let state = endpoint.get_connection_state(PEER).ok_or(DtlsFailure::Handshake)?;
        let certificate = state.peer_certificates.first();
        if certificate.map(|der| fingerprint_of(der)) != Some(expected.fingerprint) {
            return Err(DtlsFailure::FingerprintMismatch);
        }
        let agreed = state.srtp_protection_profile();
        let profile = Profile::PREFERRED
            .into_iter()
            .find(|profile| profile.dtls() == agreed)
            .ok_or(DtlsFailure::NoSrtpProfile)?;
        let material = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.material_len())
            .map_err(|_| DtlsFailure::Handshake)?;
        SrtpKeys::split(profile, material.as_ref(), state.is_client())
            .map(|keys| (profile, keys))
            .ok_or(DtlsFailure::Handshake)
    }

    /// Ends this handshake. The browser may try again a few times, a stranger not for ever.
    fn fail(&mut self, now: Instant, reason: DtlsFailure) -> Event {
        self.collect(now);
        self.hello = HelloReader::default();
        self.early.clear();
        let active = self.expected.is_some_and(|e| e.active);
        self.state = if self.tries < MAX_TRIES && !active { State::Idle } else { State::Refused };
        Event::Failed(reason)
    }

    fn collect(&mut self, now: Instant) {
        let State::Handshaking { endpoint, flight, .. } = &mut self.state else { return };
        let mut fresh = true;
        while let Some(transmit) = endpoint.poll_transmit() {
            if std::mem::take(&mut fresh) {
                *flight = Flight::default();
                flight.arm(now);
            }
            flight.datagrams.push(transmit.message.clone());
            self.transmits.push_back(transmit.message);
        }
    }

    fn config(
        &self,
        client: bool,
        profiles: &[Profile],
        mismatch: &Arc<AtomicBool>,
    ) -> Option<Arc<HandshakeConfig>> {
        let expected = self.expected?.fingerprint;
        let mismatch = mismatch.clone();
        let verify = move |chain: &[Vec<u8>], _: &[_]| {
            if chain.first().map(|der| fingerprint_of(der)) == Some(expected) {
                Ok(())
            } else {
                mismatch.store(true, Ordering::Relaxed);
                Err(Error::ErrInvalidCertificate)
            }
        };
        ConfigBuilder::default()
            .with_crypto_provider(self.identity.provider.clone())
            .with_certificates(vec![self.identity.certificate.clone()])
            .with_cipher_suites(vec![
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
                CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_256_Cbc_Sha,
            ])
            .with_srtp_protection_profiles(profiles.iter().map(|p| p.dtls()).collect())
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // There is no chain to verify: the fingerprint is the identity (RFC 8122).
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_flight_interval(SPREAD)
            .build(client, Some(PEER))
            .ok()
            .map(Arc::new)
    }
}
