//! An ICE-lite responder (RFC 8445 2.5): it answers checks and never makes any.

mod check;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rtc_stun::crypto::RTCCrypto;
use rtc_stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_SUCCESS};
use rtc_stun::xoraddr::XorMappedAddress;

use crate::sdp::IceCredentials;

use super::path::Path;

use check::respond;
pub use check::{Check, NoCheck};

/// Without a check for this long the browser no longer consents to our packets (RFC 7675 5.1).
const CONSENT: Duration = Duration::from_secs(30);

/// Addresses a browser may check from at a time: interfaces times NAT bindings of a laptop.
const MAX_ADDRESSES: usize = 8;

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
        /// An address that had to make room for this one.
        evicted: Option<Path>,
    },
    /// To be answered with these bytes, and that is all.
    Refuse(Vec<u8>),
    /// The password is another one: no answer, which would only confirm that we exist.
    BadIntegrity,
    /// Nothing is answered: the browser's description has no ICE.
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
    /// Addresses whose checks were right, with the time of the last.
    valid: Vec<(Path, Instant)>,
    selected: Option<Path>,
    /// Consent ran out; a check from the selected address gives it back.
    expired: bool,
    /// The browser was told that these credentials are connected.
    announced: bool,
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
        self.selected.filter(|_| !self.expired)
    }

    /// The same, with an path to use as long as nothing was nominated, if it is valid: a browser
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
        let promoted = self.next.as_ref().is_some_and(|next| next.ufrag == check.ufrag);
        let credentials = match &self.next {
            Some(next) if promoted => next,
            _ => &self.local,
        };
        if credentials.ufrag != check.ufrag {
            return Outcome::BadIntegrity;
        }
        let key = credentials.pwd.as_bytes();
        if MessageIntegrity::check(&mut check.message, key, crypto).is_err() {
            return Outcome::BadIntegrity;
        }
        let id = check.message.transaction_id;
        if check.controlled {
            // We are lite and so never controlling: 487 makes the browser change its mind.
            let conflict =
                ErrorCodeAttribute { code: ErrorCode(487), reason: b"Role Conflict".to_vec() };
            return match respond(&[&BINDING_ERROR, &id, &conflict], key, crypto) {
                Some(response) => Outcome::Refuse(response),
                None => Outcome::Silent,
            };
        }
        let peer = from.peer();
        let mapped = XorMappedAddress { ip: peer.ip(), port: peer.port() };
        let Some(response) = respond(&[&BINDING_SUCCESS, &id, &mapped], key, crypto) else {
            return Outcome::Silent;
        };
        if promoted && let Some(next) = self.next.take() {
            self.local = next;
            self.announced = false;
        }
        let evicted = self.touch(now, from);
        let mut connected = false;
        if check.nominated || self.selected == Some(from) {
            self.selected = Some(from);
            self.expired = false;
            connected = !std::mem::replace(&mut self.announced, true);
        }
        Outcome::Answer { response, connected, promoted, evicted }
    }

    /// When consent may run out.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.selected()?;
        self.valid.iter().map(|(_, at)| *at + CONSENT).max()
    }

    /// True when consent has just run out; nothing is sent any more until the next check.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return false;
        }
        self.expired = true;
        self.announced = false;
        true
    }

    fn touch(&mut self, now: Instant, from: Path) -> Option<Path> {
        if let Some((_, at)) = self.valid.iter_mut().find(|(addr, _)| *addr == from) {
            *at = now;
            return None;
        }
        let mut evicted = None;
        if self.valid.len() >= MAX_ADDRESSES
            && let Some(oldest) =
                self.valid.iter().enumerate().min_by_key(|(_, (_, at))| *at).map(|(i, _)| i)
        {
            evicted = Some(self.valid.swap_remove(oldest).0);
        }
        self.valid.push((from, now));
        evicted
    }
}

/// Random credentials: 8 characters of ufrag, 24 of password (RFC 8839 5.4 wants 24 and 128 bits,
/// ours have 47 and 142).
pub fn credentials() -> IceCredentials {
    IceCredentials { ufrag: random_text(8), pwd: random_text(24) }
}

/// Letters and digits: `ice-char`s that need no escaping anywhere.
pub fn random_text(len: usize) -> String {
    const CHARS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..len).map(|_| char::from(CHARS[rand::random_range(0..CHARS.len())])).collect()
}
