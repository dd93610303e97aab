//! Connectivity checks on the wire: STUN binding requests, and what they are answered with.

use rtc_stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_MESSAGE_INTEGRITY, ATTR_USE_CANDIDATE, ATTR_USERNAME,
};
use rtc_stun::crypto::RTCCrypto;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_REQUEST, Message, Setter};

/// The longest request we look at: a check has some 100 bytes.
const MAX_REQUEST: usize = 1280;

/// A binding request that is whole; its integrity is not verified yet.
pub struct Check {
    pub(super) message: Message,
    pub(super) ufrag: String,
    pub(super) nominated: bool,
    /// The browser takes us for the controlling side.
    pub(super) controlled: bool,
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

pub(super) fn respond(
    parts: &[&dyn Setter],
    key: &[u8],
    crypto: &dyn RTCCrypto,
) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.write_header();
    for part in parts {
        part.add_to(&mut message).ok()?;
    }
    MessageIntegrity::new_raw_integrity_with_provider(key, crypto).add_to(&mut message).ok()?;
    FINGERPRINT.add_to(&mut message).ok()?;
    Some(message.raw)
}
