//! Who is signed in where (RFC 3261 10.3). Pure: requests and the time go in.
//!
//! One contact per DN, the last wins, as a SIP server for desk telephones has it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rsipstack::sip::{Header, HeadersExt, Request};

use super::Registration;
use crate::sip::Hop;
use crate::sip::message::{self, hop_of};

/// What is granted when REGISTER asks for no time (RFC 3261 10.2.1.1).
const DEFAULT_EXPIRES: Duration = Duration::from_secs(3600);

/// What a REGISTER wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// User part of To.
    pub dn: String,
    contact: Contact,
    /// Of the Contact, or else of the request.
    expires: Option<Duration>,
    user_agent: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Contact {
    /// None: only asks who is signed in.
    Query,
    /// `*`: out with all there is.
    All,
    Uri(String),
}

/// Why a REGISTER cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRegister {
    #[error("no usable To")]
    To,
    #[error("no usable Contact")]
    Contact,
    #[error("no usable Expires")]
    Expires,
}

impl Wish {
    pub fn read(request: &Request) -> Result<Self, BadRegister> {
        let to = request.to_header().map_err(|_| BadRegister::To)?;
        let dn = user_of(to.value()).ok_or(BadRegister::To)?.to_owned();
        let (mut contact, mut contact_expires, mut expires) = (Contact::Query, None, None);
        let mut user_agent = None;
        for header in request.headers.iter() {
            match header {
                // Of several contacts the first counts: one per DN.
                Header::Contact(value) if contact == Contact::Query => {
                    let value = value.value().trim();
                    if value == "*" {
                        contact = Contact::All;
                        continue;
                    }
                    contact = Contact::Uri(uri_of(value).ok_or(BadRegister::Contact)?.to_owned());
                    contact_expires = contact_parameter(value, "expires")
                        .map(|e| e.parse().map_err(|_| BadRegister::Expires))
                        .transpose()?;
                }
                Header::Expires(value) => {
                    let value = value.value().trim();
                    expires = Some(value.parse::<u32>().map_err(|_| BadRegister::Expires)?);
                }
                Header::UserAgent(value) => user_agent = Some(value.value().to_owned()),
                _ => {}
            }
        }
        let expires: Option<u32> = contact_expires.or(expires);
        if contact == Contact::All && expires != Some(0) {
            return Err(BadRegister::Contact);
        }
        let expires = expires.map(|seconds| Duration::from_secs(u64::from(seconds)));
        Ok(Self { dn, contact, expires, user_agent })
    }
}

#[derive(Debug)]
struct Binding {
    registration: Registration,
    until: Instant,
}

#[derive(Debug)]
pub struct Registrar {
    max_expires: Duration,
    /// Bounded by the number of DNs: only theirs are kept.
    bindings: BTreeMap<String, Binding>,
}

impl Registrar {
    pub fn new(max_expires: Duration) -> Self {
        Self { max_expires, bindings: BTreeMap::new() }
    }

    /// Where a DN is.
    pub fn find(&self, dn: &str, now: Instant) -> Option<&Registration> {
        self.bindings.get(dn).filter(|b| b.until > now).map(|b| &b.registration)
    }

    pub fn all(&self) -> Vec<Registration> {
        self.bindings.values().map(|b| b.registration.clone()).collect()
    }

    /// Brings what [`Registrar::all`] gave before a REGISTER of this DN up to date; true when it has
    /// changed. Thousands of DNs that come together would else copy all of them for each.
    pub fn show(&self, dn: &str, all: &mut Vec<Registration>) -> bool {
        let new = self.bindings.get(dn).map(|binding| &binding.registration);
        match (all.binary_search_by(|known| known.dn.as_str().cmp(dn)), new) {
            (Ok(at), Some(new)) => match all.get_mut(at) {
                Some(known) if known != new => *known = new.clone(),
                _ => return false,
            },
            (Ok(at), None) => drop(all.remove(at)),
            (Err(at), Some(new)) => all.insert(at, new.clone()),
            (Err(_), None) => return false,
        }
        true
    }

    /// Does what a REGISTER wants, which has been found to be that DN's. Gives the values of the
    /// Contact header of the 200; none when the DN is signed out now.
    pub fn handle_register(&mut self, wish: Wish, from: Hop, now: Instant) -> Option<String> {
        match wish.contact {
            Contact::Query => {}
            Contact::All => {
                self.bindings.remove(&wish.dn);
            }
            Contact::Uri(contact) => {
                let expires = wish.expires.unwrap_or(DEFAULT_EXPIRES).min(self.max_expires);
                if expires.is_zero() {
                    // Of a DN that signed in elsewhere meanwhile the old place has no say.
                    if self.find(&wish.dn, now).is_some_and(|old| old.contact == contact) {
                        self.bindings.remove(&wish.dn);
                    }
                } else {
                    let registration = Registration {
                        dn: wish.dn.clone(),
                        hop: message::parse_uri(&contact)
                            .and_then(|uri| hop_of(&uri))
                            .unwrap_or(from),
                        contact,
                        expires,
                        user_agent: wish.user_agent,
                    };
                    let binding = Binding { registration, until: now + expires };
                    self.bindings.insert(wish.dn.clone(), binding);
                }
            }
        }
        let binding = self.bindings.get(&wish.dn).filter(|b| b.until > now)?;
        let left = (binding.until - now).as_secs_f64().ceil();
        Some(format!("<{}>;expires={left}", binding.registration.contact))
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bindings.values().map(|b| b.until).min()
    }

    /// Forgets those whose time is over; tells whether there were any.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        let before = self.bindings.len();
        self.bindings.retain(|_, binding| binding.until > now);
        self.bindings.len() != before
    }
}

/// The URI in a name-addr or addr-spec, without header parameters.
pub fn uri_of(value: &str) -> Option<&str> {
    let uri = match value.split_once('<') {
        Some((_, rest)) => rest.split_once('>')?.0,
        // Parameters behind a bare addr-spec are the header's (RFC 3261 20.10).
        None => value.split(';').next()?,
    };
    let uri = uri.trim();
    (uri.len() > 4 && uri.get(..4)?.eq_ignore_ascii_case("sip:")).then_some(uri)
}

/// The user part of the URI in a name-addr or addr-spec.
pub fn user_of(value: &str) -> Option<&str> {
    let user = uri_of(value)?.get(4..)?.rsplit_once('@')?.0;
    let user = user.split([':', ';']).next()?;
    (!user.is_empty()).then_some(user)
}

fn contact_parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let parameters = match value.split_once('>') {
        Some((_, rest)) => rest,
        None => value.split_once(';').map_or("", |(_, rest)| rest),
    };
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(dn: &str, headers: &str) -> Result<Wish, BadRegister> {
        let text = format!(
            "REGISTER sip:lab SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1\r\n\
             From: <sip:{dn}@lab>;tag=1\r\nTo: <sip:{dn}@lab>\r\nCall-ID: 1\r\n\
             CSeq: 1 REGISTER\r\n{headers}Content-Length: 0\r\n\r\n"
        );
        Wish::read(&Request::try_from(text.as_str()).unwrap())
    }

    fn from() -> Hop {
        Hop::udp("127.0.0.1:7000".parse().unwrap())
    }

    fn do_register(registrar: &mut Registrar, headers: &str, now: Instant) -> Option<String> {
        registrar.handle_register(wish("5001", headers).unwrap(), from(), now)
    }

    #[test]
    fn the_last_contact_wins_and_the_first_cannot_take_it_away() {
        let (mut registrar, now) = (Registrar::new(Duration::from_secs(600)), Instant::now());
        let first = "Contact: <sip:5001@127.0.0.1:7001>\r\n";
        let second = "Contact: sip:5001@127.0.0.1:7002;expires=60\r\nExpires: 30\r\n";
        assert_eq!(
            do_register(&mut registrar, first, now).as_deref(),
            Some("<sip:5001@127.0.0.1:7001>;expires=600")
        );
        assert_eq!(
            do_register(&mut registrar, second, now).as_deref(),
            Some("<sip:5001@127.0.0.1:7002>;expires=60")
        );
        do_register(&mut registrar, &format!("{first}Expires: 0\r\n"), now);
        let found = registrar.find("5001", now).unwrap();
        assert_eq!(found.hop, Hop::udp("127.0.0.1:7002".parse().unwrap()));
        assert_eq!(do_register(&mut registrar, "Contact: *\r\nExpires: 0\r\n", now), None);
        assert_eq!(registrar.all(), []);
    }

    #[test]
    fn a_registration_ends_by_itself() {
        let (mut registrar, now) = (Registrar::new(Duration::from_secs(600)), Instant::now());
        do_register(&mut registrar, "Contact: <sip:5001@phone.example>;Expires=60\r\n", now);
        // A name is not looked up: the answer goes where the request came from.
        assert_eq!(registrar.find("5001", now).unwrap().hop, from());
        let end = registrar.poll_timeout().unwrap();
        assert_eq!(end, now + Duration::from_secs(60));
        assert!(registrar.find("5001", end).is_none());
        assert!(registrar.handle_timeout(end) && registrar.all().is_empty());
    }

    #[test]
    fn what_is_shown_is_what_there_is() {
        let (mut registrar, now) = (Registrar::new(Duration::from_secs(600)), Instant::now());
        let mut shown = Vec::new();
        for (dn, headers, changes) in [
            ("5002", "Contact: <sip:5002@127.0.0.1:7001>\r\n", true),
            ("5001", "Contact: <sip:5001@127.0.0.1:7001>\r\n", true),
            ("5003", "Contact: <sip:5003@127.0.0.1:7001>\r\n", true),
            ("5001", "Contact: <sip:5001@127.0.0.1:7001>\r\n", false),
            ("5001", "Contact: <sip:5001@127.0.0.1:7002>\r\n", true),
            ("5002", "Contact: *\r\nExpires: 0\r\n", true),
            ("5002", "Contact: *\r\nExpires: 0\r\n", false),
        ] {
            registrar.handle_register(wish(dn, headers).unwrap(), from(), now);
            assert_eq!(registrar.show(dn, &mut shown), changes, "{dn} {headers}");
            assert_eq!(shown, registrar.all());
        }
        assert_eq!(shown.len(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(wish("5001", "Contact: *\r\n"), Err(BadRegister::Contact));
        assert_eq!(wish("5001", "Contact: <sip:a\r\n"), Err(BadRegister::Contact));
        assert_eq!(wish("5001", "Contact: é\r\n"), Err(BadRegister::Contact));
        assert_eq!(wish("5001", "Expires: x\r\n"), Err(BadRegister::Expires));
        assert_eq!(wish("", ""), Err(BadRegister::To));
    }

    #[test]
    fn users_are_read() {
        assert_eq!(user_of("\"A\" <sip:5001:x@host;lr>;tag=1"), Some("5001"));
        assert_eq!(user_of("SIP:5001;phone-context=x@host;tag=1"), None);
        assert_eq!(user_of("<sip:host>"), None);
    }
}
