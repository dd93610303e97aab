//! The server as one client sees it, without sockets: datagrams and `Instant`s in, [`Output`]s out.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rtc_stun::attributes::*;
use rtc_stun::crypto::RTCCryptoProvider;
use rtc_stun::message::{
    METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH,
    METHOD_SEND,
};

use super::allocation::{Allocation, NoChannel};
use super::auth::{Nonces, Proven, Refusal};
use super::frame::{self, CHANNELS, Frame};
use super::message::{ATTR_ADDITIONAL_ADDRESS_FAMILY, Answer, Code, Stun, data_indication};
use super::peers::Peers;
use super::quota::{Challenges, Full, Place, Places, holder};
use super::stats::{Bound, Counters, TurnStats, count};
use super::{Authority, credentials::Key};

/// RFC 8656 3.2 and 7.2.
const LIFETIME: Duration = Duration::from_secs(600);
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// Allocations of one user: three ways to the server, times the networks of a laptop and the addresses
/// the server has, twice over while a peer connection is replaced.
const PER_USER: usize = 64;

/// Between two lines of the log that say what has run out: each client asks several times a call.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// UDP in REQUESTED-TRANSPORT.
const PROTOCOL_UDP: u8 = 17;

const FAMILY_V4: u8 = 1;
const FAMILY_V6: u8 = 2;

/// Attributes of authentication, known in every request.
const COMMON: [AttrType; 6] = [
    ATTR_USERNAME,
    ATTR_REALM,
    ATTR_NONCE,
    ATTR_MESSAGE_INTEGRITY_SHA256,
    ATTR_PASSWORD_ALGORITHM,
    ATTR_USER_HASH,
];

/// How many relays there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub allocations: usize,
    /// Of one source address, behind which there may be a whole site; of IPv6, one /64.
    pub per_address: usize,
}

/// What all clients' sessions share.
pub struct Core {
    pub(super) authority: Authority,
    pub(super) nonces: Nonces,
    pub(super) challenges: Challenges,
    pub(super) crypto: Arc<dyn RTCCryptoProvider>,
    pub(super) counters: Counters,
    peers: Peers,
    users: Arc<Places<String>>,
    sources: Arc<Places<IpAddr>>,
    complained: Mutex<Option<Instant>>,
}

impl Core {
    /// `None`: `rtc-stun` was built without cryptography.
    pub fn new(
        authority: Authority,
        peers: Peers,
        limits: Limits,
        now: Instant,
    ) -> Option<Arc<Core>> {
        Some(Arc::new(Core {
            authority,
            peers,
            nonces: Nonces::new(now),
            challenges: Challenges::new(now),
            crypto: rtc_stun::crypto::default_provider().ok()?,
            counters: Counters::default(),
            users: Places::new(limits.allocations, PER_USER),
            sources: Places::new(limits.allocations, limits.per_address),
            complained: Mutex::default(),
        }))
    }

    /// Counts it, and says so now and then.
    pub(super) fn ran_out(&self, of: Bound, client: IpAddr, now: Instant) {
        self.counters.ran_out(of);
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| now.saturating_duration_since(at) >= COMPLAIN_EVERY) {
            *complained = Some(now);
            tracing::warn!(%client, "a TURN client was turned away: {}", of.remedy());
        }
    }

    pub fn stats(&self) -> TurnStats {
        self.counters.read()
    }
}

/// Both clocks: lifetimes run on the one, credentials on the other.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub at: Instant,
    /// Unix time.
    pub unix: u64,
}

/// How the client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Datagram,
    /// TCP or TLS: ChannelData is padded, and the source is where it says.
    Stream,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    ToClient(Vec<u8>),
    /// Bind the first relay socket and tell by [`Session::handle_bound`].
    Bind {
        ip: IpAddr,
        even: bool,
    },
    /// Connect relay socket `leg` to this media socket. The first is there; another one is bound to the
    /// same address, at any port.
    Connect {
        leg: usize,
        to: SocketAddr,
    },
    ToPeer {
        leg: usize,
        data: Vec<u8>,
    },
    /// Close all relay sockets.
    Close,
}

/// An Allocate that waits for its socket.
struct Pending {
    request: Stun,
    owner: Proven,
    lifetime: Duration,
    lacks_second: bool,
    places: (Place<String>, Place<IpAddr>),
}

/// One client: the server's end of a 5-tuple.
pub struct Session {
    core: Arc<Core>,
    transport: Transport,
    client: SocketAddr,
    allocation: Option<Allocation>,
    pending: Option<Pending>,
    output: VecDeque<Output>,
}

impl Session {
    pub fn new(core: Arc<Core>, transport: Transport, client: SocketAddr) -> Self {
        Session {
            core,
            transport,
            client,
            allocation: None,
            pending: None,
            output: VecDeque::new(),
        }
    }

    /// Whether it has an allocation; without one there is nothing to remember.
    pub fn is_open(&self) -> bool {
        self.allocation.is_some() || self.pending.is_some()
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.allocation.as_ref().map(|allocation| allocation.expires)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.release();
        }
    }

    /// One datagram of the client, or one message of its stream.
    pub fn handle_client(&mut self, data: &[u8], now: Now) {
        self.handle_timeout(now.at);
        match frame::parse(data) {
            Some(Frame::Channel { number, data }) => self.handle_channel(number, data, now.at),
            Some(Frame::Stun(data)) => match Stun::parse(data) {
                Some(stun) if stun.is_request() => self.handle_request(stun, now),
                Some(stun) if stun.is_indication() => self.handle_indication(&stun, now.at),
                Some(_) => {}
                None => count(&self.core.counters.malformed),
            },
            None => count(&self.core.counters.malformed),
        }
    }

    /// A packet that came to relay socket `leg`.
    pub fn handle_peer(&mut self, leg: usize, data: &[u8], now: Instant) {
        self.handle_timeout(now);
        let Some(allocation) = &mut self.allocation else { return };
        let Some(peer) = allocation.peer_at(leg) else { return };
        if !allocation.is_permitted(peer.ip(), now) || !allocation.may_receive(data.len(), now) {
            return count(&self.core.counters.dropped);
        }
        let padded = self.transport == Transport::Stream;
        let message = match allocation.channel_of(peer, now) {
            Some(number) => frame::channel_data(number, data, padded),
            None => data_indication(peer, data),
        };
        count(&self.core.counters.relayed);
        self.output.push_back(Output::ToClient(message));
    }

    fn handle_channel(&mut self, number: u16, data: &[u8], now: Instant) {
        let peer = self.allocation.as_ref().and_then(|held| held.peer_of(number, now));
        match peer {
            Some(peer) => self.relay(peer, data, now),
            None => count(&self.core.counters.dropped),
        }
    }

    fn handle_indication(&mut self, stun: &Stun, now: Instant) {
        // Indications are not signed; keep-alives (Binding) have come by arriving.
        if stun.method() != METHOD_SEND || self.allocation.is_none() {
            return;
        }
        let known = [ATTR_XOR_PEER_ADDRESS, ATTR_DATA, ATTR_DONT_FRAGMENT];
        let peer = stun.first(ATTR_XOR_PEER_ADDRESS).and_then(|value| stun.address(value));
        match (peer, stun.first(ATTR_DATA)) {
            (Some(peer), Some(data)) if stun.unknown(&known).is_empty() => {
                self.relay(peer, data, now);
            }
            _ => count(&self.core.counters.malformed),
        }
    }

    /// From the client to a peer.
    fn relay(&mut self, peer: SocketAddr, data: &[u8], now: Instant) {
        let core = &self.core;
        let Some(allocation) = &mut self.allocation else { return };
        let target = core.peers.resolve(peer).filter(|_| allocation.is_permitted(peer.ip(), now));
        let Some(to) = target.filter(|_| allocation.may_send(data.len(), now)) else {
            return count(&core.counters.dropped);
        };
        let Some((leg, new)) = allocation.leg(peer) else {
            return count(&core.counters.dropped);
        };
        if new {
            self.output.push_back(Output::Connect { leg, to });
        }
        count(&core.counters.relayed);
        self.output.push_back(Output::ToPeer { leg, data: data.to_vec() });
    }

    fn handle_request(&mut self, mut request: Stun, now: Now) {
        let core = Arc::clone(&self.core);
        let from = (self.transport, self.client);
        let method = request.method();
        if method == METHOD_BINDING {
            let unknown = request.unknown(&COMMON);
            let answer = match unknown.is_empty() {
                true => Answer::success(&request).mapped(self.client),
                false => Answer::error(&request, Code::UnknownAttribute).unknown(&unknown),
            };
            return self.refuse(core.unproven(answer, from, now));
        }
        let known: &[AttrType] = match method {
            METHOD_ALLOCATE => &[
                ATTR_REQUESTED_TRANSPORT,
                ATTR_LIFETIME,
                // What is relayed stays on this host, where nothing is fragmented.
                ATTR_DONT_FRAGMENT,
                ATTR_EVEN_PORT,
                ATTR_RESERVATION_TOKEN,
                ATTR_REQUESTED_ADDRESS_FAMILY,
            ],
            METHOD_REFRESH => &[ATTR_LIFETIME, ATTR_REQUESTED_ADDRESS_FAMILY],
            METHOD_CREATE_PERMISSION => &[ATTR_XOR_PEER_ADDRESS],
            METHOD_CHANNEL_BIND => &[ATTR_XOR_PEER_ADDRESS, ATTR_CHANNEL_NUMBER],
            // RFC 6062's among them: no TCP is relayed.
            _ => return count(&core.counters.malformed),
        };
        let held =
            self.allocation.as_ref().map(|held| (held.owner.username.as_str(), &held.owner.key));
        let user = match core.authenticate(&mut request, from, held, now) {
            Ok(user) => user,
            Err(refusal) => return self.refuse(refusal),
        };
        let key = user.key.clone();
        let unknown = request.unknown(&[&COMMON, known].concat());
        if !unknown.is_empty() {
            let answer = Answer::error(&request, Code::UnknownAttribute).unknown(&unknown);
            return self.answer(answer, &key);
        }
        if method == METHOD_ALLOCATE {
            return self.allocate(request, user, now.at);
        }
        let answer = match &mut self.allocation {
            None => Err(Code::AllocationMismatch),
            Some(held) if held.owner.username != user.username => Err(Code::WrongCredentials),
            Some(held) => match method {
                METHOD_REFRESH => refresh(held, &request, now.at),
                METHOD_CREATE_PERMISSION => permit(held, &core.peers, &request, now.at),
                _ => bind(held, &core.peers, &request, now.at),
            },
        };
        let answer = answer.unwrap_or_else(|code| {
            if code == Code::Forbidden {
                count(&core.counters.forbidden);
            }
            Answer::error(&request, code)
        });
        self.answer(answer, &key);
        if self.allocation.as_ref().is_some_and(|held| held.lifetime.is_zero()) {
            self.release();
        }
    }

    fn allocate(&mut self, request: Stun, owner: Proven, now: Instant) {
        if let Some(held) = &self.allocation {
            let answer = match held.opened_by == request.id() {
                // Our answer was lost, or was slower than the client's patience.
                true => opened(&request, held.relayed, self.client, held.lifetime),
                false => Answer::error(&request, Code::AllocationMismatch),
            };
            return self.answer(answer, &owner.key);
        }
        let key = owner.key.clone();
        match self.admit(request, owner, now) {
            Ok((pending, ip, even)) => {
                self.pending = Some(pending);
                self.output.push_back(Output::Bind { ip, even });
            }
            Err((request, code)) => {
                if matches!(code, Code::QuotaReached | Code::InsufficientCapacity) {
                    count(&self.core.counters.refused);
                }
                self.answer(Answer::error(&request, code), &key);
            }
        }
    }

    /// RFC 8656 7.2, the checks in its order.
    fn admit(
        &self,
        request: Stun,
        owner: Proven,
        now: Instant,
    ) -> Result<(Pending, IpAddr, bool), (Stun, Code)> {
        let core = &self.core;
        let check = || {
            match request.word(ATTR_REQUESTED_TRANSPORT) {
                None => return Err(Code::BadRequest),
                Some([PROTOCOL_UDP, ..]) => {}
                Some(_) => return Err(Code::UnsupportedTransport),
            }
            let reserved = request.has(ATTR_RESERVATION_TOKEN);
            let first = family(&request, ATTR_REQUESTED_ADDRESS_FAMILY)?;
            let second = family(&request, ATTR_ADDITIONAL_ADDRESS_FAMILY)?;
            let even = match request.first(ATTR_EVEN_PORT) {
                None => None,
                Some(&[bits]) => Some(bits & 0x80 != 0),
                Some(_) => return Err(Code::BadRequest),
            };
            if reserved && (even.is_some() || first.is_some() || second.is_some()) {
                return Err(Code::BadRequest);
            }
            if second.is_some() && (first.is_some() || even == Some(true)) {
                return Err(Code::BadRequest);
            }
            if second.is_some_and(|family| family != FAMILY_V6) {
                return Err(Code::BadRequest);
            }
            // No port is reserved for anybody: browsers need no pairs.
            if reserved || even == Some(true) {
                return Err(Code::InsufficientCapacity);
            }
            let v6 = match first {
                None | Some(FAMILY_V4) => false,
                Some(FAMILY_V6) => true,
                Some(_) => return Err(Code::FamilyNotSupported),
            };
            let ip = core.peers.relay_ip(v6).ok_or(Code::FamilyNotSupported)?;
            let lifetime = lifetime(&request)?.clamp(LIFETIME, MAX_LIFETIME);
            let full = |full, own| {
                let (bound, code) = match full {
                    Full::Holder => (own, Code::QuotaReached),
                    Full::Everybody => (Bound::All, Code::InsufficientCapacity),
                };
                core.ran_out(bound, self.client.ip(), now);
                code
            };
            let user = core.users.take(owner.name.clone());
            let user = user.map_err(|why| full(why, Bound::User))?;
            let source = core.sources.take(holder(self.client.ip()));
            let source = source.map_err(|why| full(why, Bound::Address))?;
            Ok(((user, source), lifetime, second.is_some(), ip, even.is_some()))
        };
        match check() {
            Ok((places, lifetime, lacks_second, ip, even)) => {
                Ok((Pending { request, owner, lifetime, lacks_second, places }, ip, even))
            }
            Err(code) => Err((request, code)),
        }
    }

    /// The relay socket is there, at this address; or there is none to be had.
    pub fn handle_bound(&mut self, at: Option<SocketAddr>, now: Instant) {
        let Some(pending) = self.pending.take() else { return };
        let Pending { request, owner, lifetime, lacks_second, places } = pending;
        let key = owner.key.clone();
        let Some(relayed) = at else {
            count(&self.core.counters.refused);
            self.core.ran_out(Bound::Sockets, self.client.ip(), now);
            return self.answer(Answer::error(&request, Code::InsufficientCapacity), &key);
        };
        let mut answer = opened(&request, relayed, self.client, lifetime);
        if lacks_second {
            answer = answer.no_second_family(FAMILY_V6);
        }
        self.answer(answer, &key);
        let id = request.id();
        self.allocation = Some(Allocation::new(owner, id, relayed, lifetime, places, now));
        count(&self.core.counters.opened);
        count(&self.core.counters.allocations);
    }

    fn release(&mut self) {
        if self.allocation.take().is_some() {
            self.core.counters.allocations.fetch_sub(1, Ordering::Relaxed);
            self.output.push_back(Output::Close);
        }
    }

    fn answer(&mut self, answer: Answer, key: &Key) {
        let bytes = answer.finish(Some(key), self.core.crypto.crypto());
        self.output.push_back(Output::ToClient(bytes));
    }

    fn refuse(&mut self, refusal: Refusal) {
        if let Refusal::Answer(bytes) = refusal {
            self.output.push_back(Output::ToClient(bytes));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.release();
    }
}

fn opened(request: &Stun, relayed: SocketAddr, client: SocketAddr, lifetime: Duration) -> Answer {
    Answer::success(request).relayed(relayed).lifetime(lifetime).mapped(client)
}

/// The first byte of an address family attribute.
fn family(request: &Stun, typ: AttrType) -> Result<Option<u8>, Code> {
    match (request.has(typ), request.word(typ)) {
        (false, _) => Ok(None),
        (true, Some([family, ..])) => Ok(Some(family)),
        (true, None) => Err(Code::BadRequest),
    }
}

fn lifetime(request: &Stun) -> Result<Duration, Code> {
    match (request.has(ATTR_LIFETIME), request.word(ATTR_LIFETIME)) {
        (false, _) => Ok(LIFETIME),
        (true, Some(seconds)) => Ok(Duration::from_secs(u32::from_be_bytes(seconds).into())),
        (true, None) => Err(Code::BadRequest),
    }
}

/// RFC 8656 8.2. A lifetime of 0 remains so: the allocation is released when it was answered.
fn refresh(held: &mut Allocation, request: &Stun, now: Instant) -> Result<Answer, Code> {
    let asked = family(request, ATTR_REQUESTED_ADDRESS_FAMILY)?;
    let own = if held.relayed.is_ipv6() { FAMILY_V6 } else { FAMILY_V4 };
    if asked.is_some_and(|asked| asked != own) {
        return Err(Code::PeerFamilyMismatch);
    }
    let mut lifetime = lifetime(request)?;
    if !lifetime.is_zero() {
        lifetime = lifetime.clamp(LIFETIME, MAX_LIFETIME);
    }
    held.refresh(lifetime, now);
    Ok(Answer::success(request).lifetime(lifetime))
}

/// RFC 8656 10.2.
fn permit(
    held: &mut Allocation,
    peers: &Peers,
    request: &Stun,
    now: Instant,
) -> Result<Answer, Code> {
    let mut ips = Vec::new();
    for value in request.all(ATTR_XOR_PEER_ADDRESS) {
        let peer = request.address(value).ok_or(Code::BadRequest)?;
        if peer.is_ipv6() != held.relayed.is_ipv6() {
            return Err(Code::PeerFamilyMismatch);
        }
        if !peers.knows(peer.ip()) {
            return Err(Code::Forbidden);
        }
        ips.push(peer.ip());
    }
    if ips.is_empty() {
        return Err(Code::BadRequest);
    }
    match held.permit(&ips, now) {
        true => Ok(Answer::success(request)),
        false => Err(Code::InsufficientCapacity),
    }
}

/// RFC 8656 12.2.
fn bind(
    held: &mut Allocation,
    peers: &Peers,
    request: &Stun,
    now: Instant,
) -> Result<Answer, Code> {
    let number = request.word(ATTR_CHANNEL_NUMBER).map(|[a, b, ..]| u16::from_be_bytes([a, b]));
    let peer = request.first(ATTR_XOR_PEER_ADDRESS).and_then(|value| request.address(value));
    let (Some(number), Some(peer)) = (number.filter(|n| CHANNELS.contains(n)), peer) else {
        return Err(Code::BadRequest);
    };
    if peer.is_ipv6() != held.relayed.is_ipv6() {
        return Err(Code::PeerFamilyMismatch);
    }
    if peers.resolve(peer).is_none() {
        return Err(Code::Forbidden);
    }
    held.bind(number, peer, now).map_err(|why| match why {
        NoChannel::Taken => Code::BadRequest,
        NoChannel::Full => Code::InsufficientCapacity,
    })?;
    match held.permit(&[peer.ip()], now) {
        true => Ok(Answer::success(request)),
        false => Err(Code::InsufficientCapacity),
    }
}
