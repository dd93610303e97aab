//! Connectivity checks on the wire: STUN binding requests, and what they are answered with.

use rtc_stun::attributes::{
    ATTR_FINGERPRINT, ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY,
    ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType, RawAttribute,
};
use rtc_stun::crypto::RTCCrypto;
use rtc_stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, MESSAGE_HEADER_SIZE, Message, Setter,
};
use rtc_stun::uattrs::UnknownAttributes;
use rtc_stun::xoraddr::XorMappedAddress;

use crate::media::path::Path;

/// The longest request we look at: a check has some 100 bytes.
const MAX_REQUEST: usize = 1280;

/// What a request has to have understood (RFC 8489 14): these, and all from here on up.
const KNOWN: [AttrType; 4] =
    [ATTR_USERNAME, ATTR_MESSAGE_INTEGRITY, ATTR_PRIORITY, ATTR_USE_CANDIDATE];
const OPTIONAL: u16 = 0x8000;

/// Unknown attributes told of in a refusal: its bytes stay fewer than those of the request.
const MAX_UNKNOWN: usize = 8;

/// Length of the HMAC-SHA1 in MESSAGE-INTEGRITY.
const INTEGRITY: u16 = 20;

/// A binding request that is whole; its integrity is not verified yet.
pub struct Check {
    message: Message,
    ufrag: String,
    pub(super) nominated: bool,
    /// The browser takes us for the controlling side.
    pub(super) controlled: bool,
    /// It has MESSAGE-INTEGRITY.
    signed: bool,
    /// Attributes that must be understood and are not.
    unknown: Vec<AttrType>,
}

/// Why a STUN datagram was not a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCheck {
    /// A response or an indication: nothing that asks for an answer.
    OtherMessage,
    Malformed,
}

/// What is wrong with a check, as RFC 8489 numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No MESSAGE-INTEGRITY.
    BadRequest,
    /// Another password.
    Unauthenticated,
    UnknownAttribute,
    /// Both sides would be the controlled one (RFC 8445 7.3.1.1).
    RoleConflict,
}

impl Fault {
    fn code(self) -> (u16, &'static str) {
        match self {
            Fault::BadRequest => (400, "Bad Request"),
            Fault::Unauthenticated => (401, "Unauthenticated"),
            Fault::UnknownAttribute => (420, "Unknown Attribute"),
            Fault::RoleConflict => (487, "Role Conflict"),
        }
    }

    /// Whoever cannot sign cannot verify either (RFC 8489 9.1.3.1).
    fn is_answered_signed(self) -> bool {
        matches!(self, Fault::UnknownAttribute | Fault::RoleConflict)
    }
}

impl Check {
    /// Reads a binding request with a user name and a right fingerprint (RFC 8445 7.1).
    pub fn parse(data: &[u8]) -> Result<Check, NoCheck> {
        if data.len() > MAX_REQUEST {
            return Err(NoCheck::Malformed);
        }
        let mut message = Message::new();
        message.unmarshal_binary(data).map_err(|_| NoCheck::Malformed)?;
        if message.raw.len() != message.length as usize + MESSAGE_HEADER_SIZE {
            return Err(NoCheck::Malformed);
        }
        if message.typ != BINDING_REQUEST {
            return Err(NoCheck::OtherMessage);
        }
        let last = message.attributes.0.last().ok_or(NoCheck::Malformed)?;
        if last.typ != ATTR_FINGERPRINT || FINGERPRINT.check(&message).is_err() {
            return Err(NoCheck::Malformed);
        }
        // What stands behind the integrity is nobody's word (RFC 8489 14.5).
        let all = &message.attributes.0;
        let integrity = all.iter().position(|a| a.typ == ATTR_MESSAGE_INTEGRITY);
        if integrity.is_some_and(|at| all.get(at).is_none_or(|a| a.length != INTEGRITY)) {
            return Err(NoCheck::Malformed);
        }
        let covered = all.get(..integrity.unwrap_or(all.len())).unwrap_or_default();
        let find = |wanted: AttrType| covered.iter().find(|a: &&RawAttribute| a.typ == wanted);
        let name = find(ATTR_USERNAME).ok_or(NoCheck::Malformed)?;
        let name = std::str::from_utf8(&name.value).map_err(|_| NoCheck::Malformed)?;
        let (ufrag, _) = name.split_once(':').ok_or(NoCheck::Malformed)?;
        let unknown = covered
            .iter()
            .map(|a| a.typ)
            .filter(|typ| typ.value() < OPTIONAL && !KNOWN.contains(typ))
            .take(MAX_UNKNOWN)
            .collect();
        Ok(Check {
            ufrag: ufrag.to_owned(),
            nominated: find(ATTR_USE_CANDIDATE).is_some(),
            controlled: find(ATTR_ICE_CONTROLLED).is_some(),
            signed: integrity.is_some(),
            unknown,
            message,
        })
    }

    /// Our own ufrag, as the browser has it: finds the call.
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// The order of RFC 8489 9.1.3 and 6.3.1: who it is, what it says, then what it asks for.
    pub(super) fn verify(&mut self, password: &str, crypto: &dyn RTCCrypto) -> Result<(), Fault> {
        if !self.signed {
            return Err(Fault::BadRequest);
        }
        MessageIntegrity::check(&mut self.message, password.as_bytes(), crypto)
            .map_err(|_| Fault::Unauthenticated)?;
        if !self.unknown.is_empty() {
            return Err(Fault::UnknownAttribute);
        }
        // A lite agent cannot take the controlling role. This is as if our tie-breaker were smaller
        // than any: 487 makes the browser change its mind.
        if self.controlled { Err(Fault::RoleConflict) } else { Ok(()) }
    }

    /// `None` only where the crypto provider fails.
    pub(super) fn success(
        &self,
        from: Path,
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> Option<Vec<u8>> {
        let peer = from.peer();
        let mapped = XorMappedAddress { ip: peer.ip(), port: peer.port() };
        self.respond(&[&BINDING_SUCCESS, &mapped], Some((password, crypto)))
    }

    pub(super) fn refusal(
        &self,
        fault: Fault,
        password: &str,
        crypto: &dyn RTCCrypto,
    ) -> Option<Vec<u8>> {
        let (code, reason) = fault.code();
        let code = ErrorCodeAttribute { code: ErrorCode(code), reason: reason.as_bytes().to_vec() };
        let key = fault.is_answered_signed().then_some((password, crypto));
        let unknown = UnknownAttributes(self.unknown.clone());
        match fault {
            Fault::UnknownAttribute => self.respond(&[&BINDING_ERROR, &code, &unknown], key),
            _ => self.respond(&[&BINDING_ERROR, &code], key),
        }
    }

    fn respond(
        &self,
        parts: &[&dyn Setter],
        key: Option<(&str, &dyn RTCCrypto)>,
    ) -> Option<Vec<u8>> {
        let mut message = Message::new();
        message.write_header();
        self.message.transaction_id.add_to(&mut message).ok()?;
        for part in parts {
            part.add_to(&mut message).ok()?;
        }
        if let Some((password, crypto)) = key {
            MessageIntegrity::new_raw_integrity_with_provider(password.as_bytes(), crypto)
                .add_to(&mut message)
                .ok()?;
        }
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }
}
