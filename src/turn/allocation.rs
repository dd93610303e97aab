//! One relay: who may be reached through it, by which channels, until when.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc_stun::message::TransactionId;

use super::auth::Proven;
use super::quota::{Bucket, Place, Rate};

/// RFC 8656 9 and 12.
const PERMISSION_LIFE: Duration = Duration::from_secs(300);
const CHANNEL_LIFE: Duration = Duration::from_secs(600);

/// Peers of an allocation. There is one for each address the gateway advertises, times one port.
const MAX_PEERS: usize = 16;

/// Either way. A call with HD video has some 250 KB a second, one with sound alone 12.
const RATE: Rate = Rate { per_second: 500_000.0, burst: 250_000.0 };

pub(super) struct Allocation {
    pub owner: Proven,
    /// The Allocate request's: when it comes again it is answered again.
    pub opened_by: TransactionId,
    pub relayed: SocketAddr,
    pub lifetime: Duration,
    pub expires: Instant,
    permissions: Vec<(IpAddr, Instant)>,
    channels: Vec<Channel>,
    /// Whom each relay socket is connected to, by the name that the client has for it. The names of one
    /// media socket are told apart by the relay socket that its packets come to.
    legs: Vec<SocketAddr>,
    up: Bucket,
    down: Bucket,
    _places: (Place<String>, Place<IpAddr>),
}

struct Channel {
    number: u16,
    peer: SocketAddr,
    expires: Instant,
}

/// Why a channel was not bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoChannel {
    /// The number or the peer is bound otherwise.
    Taken,
    Full,
}

impl Allocation {
    pub fn new(
        owner: Proven,
        opened_by: TransactionId,
        relayed: SocketAddr,
        lifetime: Duration,
        places: (Place<String>, Place<IpAddr>),
        now: Instant,
    ) -> Self {
        Allocation {
            owner,
            opened_by,
            relayed,
            lifetime,
            expires: now + lifetime,
            permissions: Vec::new(),
            channels: Vec::new(),
            legs: Vec::new(),
            up: Bucket::full(RATE, now),
            down: Bucket::full(RATE, now),
            _places: places,
        }
    }

    pub fn refresh(&mut self, lifetime: Duration, now: Instant) {
        self.lifetime = lifetime;
        self.expires = now + lifetime;
    }

    /// False when there is no room for all of them; then none is taken.
    pub fn permit(&mut self, peers: &[IpAddr], now: Instant) -> bool {
        self.permissions.retain(|(_, until)| *until > now);
        let mut next = self.permissions.clone();
        for peer in peers {
            next.retain(|(ip, _)| ip != peer);
            next.push((*peer, now + PERMISSION_LIFE));
        }
        let fits = next.len() <= MAX_PEERS;
        if fits {
            self.permissions = next;
        }
        fits
    }

    pub fn is_permitted(&self, peer: IpAddr, now: Instant) -> bool {
        self.permissions.iter().any(|(ip, until)| *ip == peer && *until > now)
    }

    /// Binds, or binds for longer. A binding that has run out is kept for as long again, so that what is
    /// under way in it does not come to somebody else (RFC 8656 12).
    pub fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Result<(), NoChannel> {
        self.channels.retain(|channel| channel.expires + PERMISSION_LIFE > now);
        let same = |channel: &&mut Channel| channel.number == number || channel.peer == peer;
        if let Some(channel) = self.channels.iter_mut().find(same) {
            if (channel.number, channel.peer) != (number, peer) {
                return Err(NoChannel::Taken);
            }
            channel.expires = now + CHANNEL_LIFE;
            return Ok(());
        }
        if self.channels.len() >= MAX_PEERS {
            return Err(NoChannel::Full);
        }
        self.channels.push(Channel { number, peer, expires: now + CHANNEL_LIFE });
        Ok(())
    }

    pub fn peer_of(&self, number: u16, now: Instant) -> Option<SocketAddr> {
        let bound = |channel: &&Channel| channel.number == number && channel.expires > now;
        self.channels.iter().find(bound).map(|channel| channel.peer)
    }

    pub fn channel_of(&self, peer: SocketAddr, now: Instant) -> Option<u16> {
        let bound = |channel: &&Channel| channel.peer == peer && channel.expires > now;
        self.channels.iter().find(bound).map(|channel| channel.number)
    }

    /// The relay socket for a peer, and whether it has to be connected first. `None`: there are too many.
    pub fn leg(&mut self, peer: SocketAddr) -> Option<(usize, bool)> {
        if let Some(leg) = self.legs.iter().position(|known| *known == peer) {
            return Some((leg, false));
        }
        (self.legs.len() < MAX_PEERS).then(|| {
            self.legs.push(peer);
            (self.legs.len() - 1, true)
        })
    }

    pub fn peer_at(&self, leg: usize) -> Option<SocketAddr> {
        self.legs.get(leg).copied()
    }

    pub fn may_send(&mut self, bytes: usize, now: Instant) -> bool {
        self.up.take(bytes as f64, RATE, now)
    }

    pub fn may_receive(&mut self, bytes: usize, now: Instant) -> bool {
        self.down.take(bytes as f64, RATE, now)
    }
}
