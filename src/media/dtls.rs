//! The DTLS association of one peer connection (RFC 5763, RFC 5764), over rtc-dtls.
//!
//! rtc-dtls follows the client's order of SRTP profiles and compares no fingerprint: both happen
//! here, the latter before the handshake ends, so that a stranger never sees a key in use.

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

use super::hello::{HelloReader, Progress, is_framed};
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

/// Bytes an association takes in all before it is connected, and after. rtc-dtls keeps every fragment
/// of a message that is not whole, and puts them together by recursion, as deep as there are
/// fragments: thousands of them would overflow the stack. A browser's handshake has some 3 KB, and
/// comes some eight times at worst.
const MAX_INPUT: usize = 32 * 1024;
const MAX_INPUT_CONNECTED: usize = 16 * 1024;

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
    /// Kept to answer repeated flights.
    Connected { endpoint: Box<Endpoint> },
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
    /// survives a description with the same one.
    pub fn set_remote(
        &mut self,
        now: Instant,
        fingerprint: Option<Fingerprint>,
        setup: Setup,
    ) -> Option<Event> {
        let Some(fingerprint) = fingerprint else {
            self.expected = None;
            self.state = State::Refused;
            self.early.clear();
            return None;
        };
        let expected = Expected { fingerprint, active: setup == Setup::Active };
        if self.expected.is_some_and(|e| e.fingerprint == fingerprint) {
            return None;
        }
        let early = std::mem::take(&mut self.early);
        *self = Dtls {
            expected: Some(expected),
            malformed: self.malformed,
            ..Dtls::new(self.identity.clone())
        };
        early.into_iter().find_map(|datagram| self.handle_datagram(now, &datagram))
    }

    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The browser's address is known: the active side starts.
    pub fn handle_reachable(&mut self, now: Instant) {
        if !matches!(self.state, State::Idle) || !self.expected.is_some_and(|e| e.active) {
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
        if !matches!(self.state, State::Idle) {
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
            State::Connected { endpoint } => {
                // Repeated flights are answered; there is no application data in DTLS-SRTP, and
                // a close_notify does not end a call: signalling does.
                if endpoint.get_connection_state(PEER).is_some()
                    && endpoint.read(now, PEER, None, BytesMut::from(data)).is_err()
                {
                    self.malformed += 1;
                }
                self.collect(now);
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
                if let State::Handshaking { endpoint, .. } =
                    std::mem::replace(&mut self.state, State::Refused)
                {
                    self.input_left = MAX_INPUT_CONNECTED;
                    self.state = State::Connected { endpoint };
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
        let (endpoint, mut flight) = match &mut self.state {
            State::Handshaking { endpoint, flight, .. } => (endpoint, Some(flight)),
            State::Connected { endpoint } => (endpoint, None),
            State::Idle | State::Refused => return,
        };
        let mut fresh = true;
        while let Some(transmit) = endpoint.poll_transmit() {
            if let Some(flight) = &mut flight {
                if std::mem::take(&mut fresh) {
                    **flight = Flight::default();
                    flight.arm(now);
                }
                flight.datagrams.push(transmit.message.clone());
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static IDENTITIES: LazyLock<[Arc<Identity>; 2]> =
        LazyLock::new(|| [(); 2].map(|()| Arc::new(Identity::generate().unwrap())));

    /// An active and a passive end that expect each other.
    fn ends(now: Instant) -> [Dtls; 2] {
        let [a, b] = &*IDENTITIES;
        let mut ends = [Dtls::new(a.clone()), Dtls::new(b.clone())];
        assert!(ends[0].set_remote(now, Some(b.fingerprint()), Setup::Active).is_none());
        assert!(ends[1].set_remote(now, Some(a.fingerprint()), Setup::Passive).is_none());
        ends[0].handle_reachable(now);
        ends
    }

    /// Carries datagrams to and fro, each through `through`, until nothing moves.
    fn run(
        now: Instant,
        ends: &mut [Dtls; 2],
        mut through: impl FnMut(usize, &[u8]) -> Vec<Vec<u8>>,
    ) -> [Vec<Event>; 2] {
        let mut events = [Vec::new(), Vec::new()];
        for turn in 0..40usize {
            let (from, to) = (turn % 2, 1 - turn % 2);
            while let Some(datagram) = ends[from].poll_transmit() {
                for datagram in through(from, &datagram) {
                    events[to].extend(ends[to].handle_datagram(now, &datagram));
                }
            }
        }
        events
    }

    fn connected(events: &[Event]) -> bool {
        matches!(events, [Event::Connected { profile: Profile::AeadAes128Gcm, .. }])
    }

    #[test]
    fn two_ends_connect_and_survive_the_same_description() {
        let now = Instant::now();
        let mut ends = ends(now);
        let events = run(now, &mut ends, |_, data| vec![data.to_vec()]);
        assert!(connected(&events[0]) && connected(&events[1]));
        assert_eq!(ends[1].poll_timeout(), None);
        let fingerprint = IDENTITIES[0].fingerprint();
        ends[1].set_remote(now, Some(fingerprint), Setup::Passive);
        assert!(matches!(ends[1].state, State::Connected { .. }));
        ends[1].set_remote(now, Some(Fingerprint([1; 32])), Setup::Passive);
        assert!(matches!(ends[1].state, State::Idle));
    }

    #[test]
    fn a_lost_flight_is_sent_again() {
        let now = Instant::now();
        let mut ends = ends(now);
        // The server's certificate flight is lost as a whole.
        let mut lost = 0;
        run(now, &mut ends, |from, data| {
            let drop = from == 1 && data.len() > 200 && lost < 10;
            lost += usize::from(drop);
            if drop { vec![] } else { vec![data.to_vec()] }
        });
        assert!(lost > 0 && !matches!(ends[1].state, State::Connected { .. }));
        let later = now + FLIGHT;
        assert!(ends.iter_mut().all(|end| end.handle_timeout(later).is_none()));
        let events = run(later, &mut ends, |_, data| vec![data.to_vec()]);
        assert!(connected(&events[0]) && connected(&events[1]));
    }

    /// Browsers repeat theirs after 50 ms, long before we would: that must not keep us from it.
    #[test]
    fn a_lost_flight_is_sent_again_though_the_client_repeats_its_own_first() {
        let now = Instant::now();
        let mut ends = ends(now);
        let certificate = |from, data: &[u8]| from == 1 && data.len() > 200;
        run(
            now,
            &mut ends,
            |from, data| {
                if certificate(from, data) { vec![] } else { vec![data.to_vec()] }
            },
        );
        // The client's repeated hello comes just before our own time is up, its answer is lost too.
        let early = now + FLIGHT - Duration::from_millis(1);
        let [client, server] = &mut ends;
        let mut hello = None;
        assert!(client.handle_timeout(now + FLIGHT).is_none());
        while let Some(datagram) = client.poll_transmit() {
            hello = Some(datagram);
        }
        assert!(server.handle_datagram(early, &hello.unwrap()).is_none());
        while server.poll_transmit().is_some() {}
        let mut at = early;
        let mut sent = Vec::new();
        while sent.is_empty() && at < early + 3 * FLIGHT {
            at = server.poll_timeout().unwrap();
            assert!(server.handle_timeout(at).is_none());
            sent.extend(std::iter::from_fn(|| server.poll_transmit()));
        }
        assert!(!sent.is_empty(), "the flight never comes again");
        for datagram in sent {
            assert!(client.handle_datagram(at, &datagram).is_none());
        }
        let events = run(at, &mut ends, |_, data| vec![data.to_vec()]);
        assert!(connected(&events[0]) && connected(&events[1]));
    }

    /// A browser goes on for a minute, and its hello is never one to begin anew with.
    #[test]
    fn a_handshake_outlives_an_outage_of_ten_seconds() {
        let start = Instant::now();
        let mut ends = ends(start);
        run(start, &mut ends, |from, data| {
            if from == 1 && data.len() > 200 { vec![] } else { vec![data.to_vec()] }
        });
        let [_, server] = &mut ends;
        let mut now = start;
        while now < start + Duration::from_secs(10) {
            now = server.poll_timeout().unwrap();
            assert!(server.handle_timeout(now).is_none(), "given up after {:?}", now - start);
            if now < start + Duration::from_secs(10) {
                while server.poll_transmit().is_some() {}
            }
        }
        let events = run(now, &mut ends, |_, data| vec![data.to_vec()]);
        assert!(connected(&events[0]) && connected(&events[1]));
    }

    #[test]
    fn silence_ends_in_a_timeout() {
        let start = Instant::now();
        let [mut client, mut server] = ends(start);
        let hello = client.poll_transmit().unwrap();
        assert!(server.handle_datagram(start, &hello).is_none());
        for end in [client, server].iter_mut() {
            let mut failed = None;
            while let (None, Some(at)) = (&failed, end.poll_timeout()) {
                assert!(at <= start + HANDSHAKE);
                failed = end.handle_timeout(at);
            }
            assert!(matches!(failed, Some(Event::Failed(DtlsFailure::Timeout))));
        }
    }

    #[test]
    fn another_certificate_fails_on_either_side() {
        let now = Instant::now();
        for (wrong, setup) in [(0, Setup::Active), (1, Setup::Passive)] {
            let mut ends = ends(now);
            ends[wrong].set_remote(now, Some(Fingerprint([9; 32])), setup);
            ends[wrong].handle_reachable(now);
            let events = run(now, &mut ends, |_, data| vec![data.to_vec()]);
            let mismatch = DtlsFailure::FingerprintMismatch;
            assert!(events[wrong].iter().any(|e| matches!(e, Event::Failed(r) if *r == mismatch)));
            assert!(!matches!(ends[wrong].state, State::Connected { .. }));
        }
    }

    /// A message in fragments of one byte each, which never ends, before and after the handshake.
    #[test]
    fn fragments_without_end_are_not_kept() {
        let now = Instant::now();
        let mut ends = ends(now);
        let flood = |server: &mut Dtls| {
            let refused = server.malformed();
            for n in 0..20_000u32 {
                let [_, o0, o1, o2] = (n + 1).to_be_bytes();
                let [_, _, s0, s1] = (n + 1000).to_be_bytes();
                let mut data = vec![22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, s0, s1, 0, 13];
                data.extend([11, 0xFF, 0xFF, 0xFF, 0, 2, o0, o1, o2, 0, 0, 1, 0]);
                assert!(server.handle_datagram(now, &data).is_none());
            }
            server.malformed() - refused
        };
        let hello = ends[0].poll_transmit().unwrap();
        assert!(ends[1].handle_datagram(now, &hello).is_none());
        assert!(flood(&mut ends[1]) > 18_000);
        let mut ends = self::ends(now);
        let events = run(now, &mut ends, |_, data| vec![data.to_vec()]);
        assert!(connected(&events[1]));
        assert!(flood(&mut ends[1]) > 18_000);
        assert!(matches!(ends[1].state, State::Connected { .. }));
    }

    #[test]
    fn tries_are_bounded() {
        let now = Instant::now();
        let mut server = Dtls::new(IDENTITIES[1].clone());
        server.set_remote(now, Some(Fingerprint([9; 32])), Setup::Passive);
        let mut failures = 0;
        for _ in 0..10 {
            let mut client = Dtls::new(IDENTITIES[0].clone());
            client.set_remote(now, Some(IDENTITIES[1].fingerprint()), Setup::Active);
            client.handle_reachable(now);
            let mut both = [client, server];
            failures += run(now, &mut both, |_, data| vec![data.to_vec()])[1].len();
            [_, server] = both;
        }
        assert_eq!(failures, usize::from(MAX_TRIES));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Datagrams bent, cut, doubled and swapped at any point: no panic, and no end that
        /// believes itself connected without the other's certificate.
        #[test]
        fn bent_handshakes_never_panic(
            bends in prop::collection::vec((0..24usize, any::<u16>(), any::<u8>(), 0..4u8), 1..12),
        ) {
            let now = Instant::now();
            let mut ends = ends(now);
            let mut count = 0;
            run(now, &mut ends, |_, data| {
                let mut all = vec![data.to_vec()];
                for (_, at, byte, how) in bends.iter().filter(|bend| bend.0 == count) {
                    let mut bent = data.to_vec();
                    let at = usize::from(*at) % bent.len();
                    match how {
                        0 => bent[at] = *byte,
                        1 => bent.truncate(at),
                        2 => bent.extend_from_slice(data),
                        // Keeps the framing right, so that it gets further.
                        _ => {
                            let body = &mut bent[13.min(data.len() - 1)..];
                            let by = at % body.len();
                            body.rotate_left(by);
                        }
                    }
                    all.insert(0, bent);
                }
                count += 1;
                all
            });
        }
    }
}
