//! An ICE-lite responder (RFC 8445 2.5): it answers checks and never makes any.

use std::time::{Duration, Instant};

use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::crypto::RTCCrypto;
use rtc_stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter};
use rtc_stun::xoraddr::XorMappedAddress;

use crate::sdp::IceCredentials;

use super::path::Path;

/// Without a check for this long the browser no longer consents to our packets (RFC 7675 5.1).
const CONSENT: Duration = Duration::from_secs(30);

/// Addresses a browser may check from at a time: interfaces times NAT bindings of a laptop.
const MAX_ADDRESSES: usize = 8;

/// The longest request we look at: a check has some 100 bytes.
const MAX_REQUEST: usize = 1280;

/// A binding request that is whole; its integrity is not verified yet.
pub struct Check {
    message: Message,
    ufrag: String,
    nominated: bool,
    /// The browser takes us for the controlling side.
    controlled: bool,
}

/// Why a STUN datagram was not a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCheck {
    /// A response or an indication: nothing that asks for an answer.
    OtherMessage,
    Malformed,
}

impl Check {
    /// Reads a binding request with user name, integrity and a right fingerprint (RFC 8445 7.1).
    pub fn parse(data: &[u8]) -> Result<Check, NoCheck> {
        if data.len() > MAX_REQUEST {
            return Err(NoCheck::Malformed);
        }
        let mut message = Message::new();
        message.unmarshal_binary(data).map_err(|_| NoCheck::Malformed)?;
        if message.raw.len() != message.length as usize + rtc_stun::message::MESSAGE_HEADER_SIZE {
            return Err(NoCheck::Malformed);
        }
        if message.typ != BINDING_REQUEST {
            return Err(NoCheck::OtherMessage);
        }
        FINGERPRINT.check(&message).map_err(|_| NoCheck::Malformed)?;
        if !message.contains(ATTR_MESSAGE_INTEGRITY) {
            return Err(NoCheck::Malformed);
        }
        let name = message.get(ATTR_USERNAME).map_err(|_| NoCheck::Malformed)?;
        let name = std::str::from_utf8(&name).map_err(|_| NoCheck::Malformed)?;
        let (ufrag, _) = name.split_once(':').ok_or(NoCheck::Malformed)?;
        Ok(Check {
            ufrag: ufrag.to_owned(),
            nominated: message.contains(ATTR_USE_CANDIDATE),
            controlled: message.contains(ATTR_ICE_CONTROLLED),
            message,
        })
    }

    /// Our own ufrag, as the browser has it: finds the call.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }
}

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

fn respond(parts: &[&dyn Setter], key: &[u8], crypto: &dyn RTCCrypto) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.write_header();
    for part in parts {
        part.add_to(&mut message).ok()?;
    }
    MessageIntegrity::new_raw_integrity_with_provider(key, crypto).add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use proptest::prelude::*;
    use rtc_stun::crypto::default_provider;

    /// The sample request of RFC 5769 2.1.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\
        \xfa\x87\xdf\xae\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\
        \xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    fn local() -> IceCredentials {
        IceCredentials { ufrag: "evtj".into(), pwd: "VOkJxbRl1RmTxUk/WvJxBt".into() }
    }

    fn other() -> IceCredentials {
        IceCredentials { ufrag: "next".into(), pwd: "abcdefghijklmnopqrstuvwx".into() }
    }

    fn from(port: u16) -> Path {
        Path::Udp(SocketAddr::from(([192, 0, 2, 1], port)))
    }

    fn request(credentials: &IceCredentials, nominate: bool) -> Vec<u8> {
        let provider = default_provider().unwrap();
        let name = format!("{}:them", credentials.ufrag);
        let mut message = Message::new();
        message.write_header();
        BINDING_REQUEST.add_to(&mut message).unwrap();
        message.add(ATTR_USERNAME, name.as_bytes());
        if nominate {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        let key = credentials.pwd.as_bytes();
        MessageIntegrity::new_raw_integrity_with_provider(key, provider.crypto())
            .add_to(&mut message)
            .unwrap();
        FINGERPRINT.add_to(&mut message).unwrap();
        message.raw
    }

    fn check(ice: &mut Ice, now: Instant, port: u16, data: &[u8]) -> Outcome {
        let provider = default_provider().unwrap();
        let mut check = Check::parse(data).unwrap();
        ice.handle_check(now, from(port), &mut check, provider.crypto())
    }

    fn connected(outcome: Outcome) -> bool {
        match outcome {
            Outcome::Answer { connected, .. } => connected,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_sample_of_rfc_5769_is_read_and_verified() {
        assert_eq!(Check::parse(SAMPLE).unwrap().ufrag(), "evtj");
        let now = Instant::now();
        // It says ICE-CONTROLLED, which is for the gateway alone: 487, authenticated.
        let Outcome::Refuse(answer) = check(&mut Ice::new(local()), now, 1, SAMPLE) else {
            panic!("not refused");
        };
        let mut message = Message::new();
        message.unmarshal_binary(&answer).unwrap();
        assert_eq!(message.typ, BINDING_ERROR);
        let provider = default_provider().unwrap();
        let key = local().pwd;
        MessageIntegrity::check(&mut message, key.as_bytes(), provider.crypto()).unwrap();
        let wrong = IceCredentials { pwd: other().pwd, ..local() };
        assert_eq!(check(&mut Ice::new(wrong), now, 1, SAMPLE), Outcome::BadIntegrity);
    }

    #[test]
    fn a_nomination_connects_once_and_the_last_one_counts() {
        let now = Instant::now();
        let mut ice = Ice::new(local());
        assert!(!connected(check(&mut ice, now, 1, &request(&local(), false))));
        assert_eq!(ice.selected(), None);
        assert_eq!(ice.destination(Some(from(1))), Some(from(1)));
        assert_eq!(ice.destination(Some(from(2))), None);
        assert!(ice.is_valid(from(1)) && !ice.is_valid(from(2)));
        assert!(connected(check(&mut ice, now, 1, &request(&local(), true))));
        assert!(!connected(check(&mut ice, now, 2, &request(&local(), true))));
        assert_eq!(ice.selected(), Some(from(2)));
        assert_eq!(ice.destination(Some(from(1))), Some(from(2)));
    }

    #[test]
    fn a_restart_keeps_the_old_credentials_until_the_new_are_used() {
        let now = Instant::now();
        let mut ice = Ice::new(local());
        ice.set_remote(Some(other()));
        assert!(connected(check(&mut ice, now, 1, &request(&local(), true))));
        assert_eq!(ice.offer(other()), None);
        assert!(!connected(check(&mut ice, now, 1, &request(&local(), true))));
        assert!(connected(check(&mut ice, now, 3, &request(&other(), true))));
        assert_eq!(ice.selected(), Some(from(3)));
        assert_eq!(check(&mut ice, now, 1, &request(&local(), true)), Outcome::BadIntegrity);
        assert_eq!(ice.ufrags().collect::<Vec<_>>(), ["next"]);
    }

    #[test]
    fn consent_runs_out_and_comes_back() {
        let start = Instant::now();
        let mut ice = Ice::new(local());
        assert_eq!(ice.poll_timeout(), None);
        check(&mut ice, start, 1, &request(&local(), true));
        let later = start + Duration::from_secs(20);
        check(&mut ice, later, 1, &request(&local(), false));
        assert!(!ice.handle_timeout(start + CONSENT));
        assert!(ice.handle_timeout(later + CONSENT));
        assert!(!ice.handle_timeout(later + CONSENT), "it is said once");
        assert_eq!(ice.selected(), None);
        assert_eq!(ice.destination(Some(from(1))), None);
        assert!(connected(check(&mut ice, later + CONSENT, 1, &request(&local(), false))));
        assert_eq!(ice.selected(), Some(from(1)));
    }

    #[test]
    fn a_description_without_ice_is_never_answered() {
        let now = Instant::now();
        let mut ice = Ice::new(local());
        ice.set_remote(None);
        assert_eq!(check(&mut ice, now, 1, &request(&local(), true)), Outcome::Silent);
    }

    #[test]
    fn addresses_are_bounded() {
        let now = Instant::now();
        let mut ice = Ice::new(local());
        for port in 1..100u16 {
            let at = now + Duration::from_millis(u64::from(port));
            let Outcome::Answer { evicted, .. } =
                check(&mut ice, at, port, &request(&local(), false))
            else {
                panic!("not answered");
            };
            let oldest = port.checked_sub(MAX_ADDRESSES as u16).filter(|p| *p > 0);
            assert_eq!(evicted, oldest.map(from));
        }
        assert_eq!(ice.paths().count(), MAX_ADDRESSES);
    }

    #[test]
    fn random_credentials_are_long_enough() {
        let (a, b) = (credentials(), credentials());
        assert_ne!(a, b);
        assert!(a.ufrag.len() >= 4 && a.pwd.len() >= 22);
    }

    proptest! {
        #[test]
        fn noise_never_panics(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            at in 0..108usize, byte: u8, cut in 0..108usize,
        ) {
            let _ = Check::parse(&noise);
            let mut data = SAMPLE.to_vec();
            data[at] = byte;
            data.truncate(108 - cut);
            let changed = data != SAMPLE;
            if let Ok(mut check) = Check::parse(&data) {
                let provider = default_provider().unwrap();
                let mut ice = Ice::new(local());
                let outcome =
                    ice.handle_check(Instant::now(), from(1), &mut check, provider.crypto());
                prop_assert!(!changed || outcome == Outcome::BadIntegrity);
            }
        }
    }
}
