//! An ICE-lite responder (RFC 8445 2.5): it answers checks and never makes any.

mod check;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rtc_stun::crypto::RTCCrypto;

use crate::sdp::IceCredentials;

use super::path::Path;

use check::Fault;
pub use check::{Check, NoCheck};

/// Without a check for this long the browser no longer consents to our packets (RFC 7675 5.1).
const CONSENT: Duration = Duration::from_secs(30);

/// Paths a browser may check at a time: interfaces times NAT bindings of a laptop.
const MAX_PATHS: usize = 8;

/// A browser that nominates every pair that answers (aggressively, as Firefox does) has nominated
/// the slower ones, TCP among them, by then.
const SETTLING: Duration = Duration::from_secs(1);

/// What came of a check.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To be answered with these bytes.
    Answer {
        response: Vec<u8>,
        /// This credentials' first nomination.
        connected: bool,
        /// The check was the first with new credentials of ours: the old ones are void.
        promoted: bool,
    },
    /// To be answered with these bytes, and that is all.
    Refuse(Vec<u8>),
    /// The password is another one. The answer gives nothing away: whoever knows the ufrag has seen
    /// our description.
    BadIntegrity(Option<Vec<u8>>),
    /// Nothing is answered: the browser's description has no ICE, or none of our ufrags is meant.
    Silent,
}

/// What is known of the browser's ICE.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Remote {
    /// No description yet. Checks may come before it (RFC 8445 7.3.1.4) and are answered.
    Unknown,
    /// A description without ICE.
    Absent,
    Known(IceCredentials),
}

/// The ICE side of one peer connection.
pub struct Ice {
    local: IceCredentials,
    /// Credentials that were offered for a restart and not used yet.
    next: Option<IceCredentials>,
    remote: Remote,
    /// Paths whose checks were right, with the time of the last.
    valid: Vec<(Path, Instant)>,
    selected: Option<Selected>,
    /// Consent ran out; a check by the selected path gives it back.
    expired: bool,
    /// The browser was told that these credentials are connected.
    announced: bool,
    /// Paths that are no longer valid, until somebody asks.
    forgotten: Vec<Path>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Selected {
    path: Path,
    since: Instant,
}

impl Selected {
    /// The last nomination counts, since that is how a browser tells that it has moved. But where it
    /// nominates all there is, TCP comes last and is not what it means.
    fn yields_to(self, path: Path, now: Instant) -> bool {
        let settling = now.saturating_duration_since(self.since) < SETTLING;
        self.path != path && !(settling && path.is_tcp() && !self.path.is_tcp())
    }
}

impl Ice {
    pub fn new(local: IceCredentials) -> Self {
        Ice {
            local,
            next: None,
            remote: Remote::Unknown,
            valid: Vec::new(),
            selected: None,
            expired: false,
            announced: false,
            forgotten: Vec::new(),
        }
    }

    /// The browser's credentials; true when they are new ones after old ones: an ICE restart.
    pub fn set_remote(&mut self, remote: Option<IceCredentials>) -> bool {
        let remote = remote.map_or(Remote::Absent, Remote::Known);
        let restarted = matches!((&self.remote, &remote),
            (Remote::Known(old), Remote::Known(new)) if old.ufrag != new.ufrag);
        if restarted {
            // The next nomination is announced; media keeps going where it went (RFC 8445 9).
            self.announced = false;
        }
        self.remote = remote;
        restarted
    }

    /// Credentials for a restart, besides those in use. Returns those that are void with it.
    pub fn offer(&mut self, credentials: IceCredentials) -> Option<IceCredentials> {
        self.next.replace(credentials)
    }

    /// The ufrags that lead here.
    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.local).chain(&self.next).map(|c| c.ufrag.as_str())
    }

    /// Where packets for the browser go: where it nominated.
    pub fn selected(&self) -> Option<Path> {
        self.selected.map(|selected| selected.path).filter(|_| !self.expired)
    }

    /// The same, with a path to use as long as nothing was nominated, if it is valid: a browser
    /// may be done with its handshake before it nominates.
    pub fn destination(&self, before: Option<Path>) -> Option<Path> {
        match self.selected {
            None => before.filter(|addr| self.is_valid(*addr)),
            Some(_) => self.selected(),
        }
    }

    pub fn is_valid(&self, from: Path) -> bool {
        self.valid.iter().any(|(addr, _)| *addr == from)
    }

    pub fn paths(&self) -> impl Iterator<Item = Path> {
        self.valid.iter().map(|(addr, _)| *addr)
    }

    pub fn handle_check(
        &mut self,
        now: Instant,
        from: Path,
        check: &mut Check,
        crypto: &dyn RTCCrypto,
    ) -> Outcome {
        if self.remote == Remote::Absent {
            return Outcome::Silent;
        }
        let promoted = self.next.as_ref().is_some_and(|next| next.ufrag == check.ufrag());
        let credentials = match &self.next {
            Some(next) if promoted => next,
            _ => &self.local,
        };
        if credentials.ufrag != check.ufrag() {
            return Outcome::Silent;
        }
        let password = &credentials.pwd;
        if let Err(fault) = check.verify(password, crypto) {
            let refusal = check.refusal(fault, password, crypto);
            return match (fault, refusal) {
                (Fault::Unauthenticated, refusal) => Outcome::BadIntegrity(refusal),
                (_, Some(refusal)) => Outcome::Refuse(refusal),
                (_, None) => Outcome::Silent,
            };
        }
        let Some(response) = check.success(from, password, crypto) else {
            return Outcome::Silent;
        };
        if promoted && let Some(next) = self.next.take() {
            self.local = next;
            self.announced = false;
        }
        self.touch(now, from);
        let connected = self.take_nomination(now, from, check.nominated);
        Outcome::Answer { response, connected, promoted }
    }

    /// When a path may be forgotten.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.valid.iter().map(|(_, at)| *at + CONSENT).min()
    }

    /// Forgets the paths by which no check has come for too long: somebody else may have that address
    /// by now. True when consent has just run out; nothing is sent any more until the next check.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let forgotten = &mut self.forgotten;
        self.valid.retain(|(path, at)| {
            let stays = *at + CONSENT > now;
            if !stays {
                forgotten.push(*path);
            }
            stays
        });
        let Some(selected) = self.selected.filter(|s| !self.expired && !self.is_valid(s.path))
        else {
            return false;
        };
        // A browser that goes on checking elsewhere is there, if it has not said so.
        match self.valid.iter().max_by_key(|(_, at)| *at) {
            Some((path, _)) => {
                self.selected = Some(Selected { path: *path, ..selected });
                false
            }
            None => {
                self.expired = true;
                self.announced = false;
                true
            }
        }
    }

    /// A path that is no longer valid, each once.
    pub fn poll_forgotten(&mut self) -> Option<Path> {
        self.forgotten.pop()
    }

    /// The connection is gone. Where it was the only path, consent runs out in its own time: the
    /// browser may connect again.
    pub fn handle_closed(&mut self, path: Path) {
        let others = self.valid.iter().filter(|(known, _)| *known != path);
        let Some((freshest, _)) = others.max_by_key(|(_, at)| *at).copied() else { return };
        self.valid.retain(|(known, _)| *known != path);
        if let Some(selected) = &mut self.selected
            && selected.path == path
        {
            selected.path = freshest;
        }
    }

    fn touch(&mut self, now: Instant, from: Path) {
        if let Some((_, at)) = self.valid.iter_mut().find(|(path, _)| *path == from) {
            *at = now;
            return;
        }
        if self.valid.len() >= MAX_PATHS {
            let selected = self.selected.map(|selected| selected.path);
            let others = self.valid.iter().enumerate().filter(|(_, (p, _))| Some(*p) != selected);
            if let Some(oldest) = others.min_by_key(|(_, (_, at))| *at).map(|(i, _)| i) {
                self.forgotten.push(self.valid.swap_remove(oldest).0);
            }
        }
        // It may have come back before anybody asked.
        self.forgotten.retain(|path| *path != from);
        self.valid.push((from, now));
    }

    /// True for the first nomination with these credentials.
    fn take_nomination(&mut self, now: Instant, from: Path, nominated: bool) -> bool {
        let moved =
            nominated && self.selected.is_none_or(|s| self.expired || s.yields_to(from, now));
        if moved {
            self.selected = Some(Selected { path: from, since: now });
        }
        if self.selected.is_none_or(|selected| selected.path != from) {
            return false;
        }
        self.expired = false;
        !std::mem::replace(&mut self.announced, true)
    }
}

/// Random credentials, 8 characters of ufrag and 24 of password (RFC 8839 5.4 wants 24 and 128 bits,
/// ours have 47 and 142), behind two of the ufrag that name the worker: who has only a check, and no
/// call yet, finds its owner without a table of all calls.
pub fn credentials(worker: usize) -> IceCredentials {
    let (high, low) = (worker / CHARS.len(), worker % CHARS.len());
    let mut ufrag: String =
        [high, low].iter().filter_map(|i| CHARS.get(*i)).map(|c| char::from(*c)).collect();
    ufrag.push_str(&random_text(8));
    IceCredentials { ufrag, pwd: random_text(24) }
}

/// The worker that a ufrag of ours names.
pub fn worker_of(ufrag: &str) -> Option<usize> {
    let [high, low] = *ufrag.as_bytes().first_chunk()?;
    let digit = |wanted: u8| CHARS.iter().position(|c| *c == wanted);
    Some(digit(high)? * CHARS.len() + digit(low)?)
}

/// Letters and digits: `ice-char`s that need no escaping anywhere.
const CHARS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// So many of them.
pub fn random_text(len: usize) -> String {
    (0..len).map(|_| char::from(CHARS[rand::random_range(0..CHARS.len())])).collect()
}
