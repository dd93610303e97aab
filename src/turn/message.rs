//! STUN messages as TURN has them (RFC 8489, RFC 8656 18), on `rtc-stun`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rtc_stun::attributes::*;
use rtc_stun::crypto::RTCCrypto;
use rtc_stun::error_code::{ErrorCode, ErrorCodeAttribute};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE,
    MESSAGE_HEADER_SIZE, METHOD_DATA, Message, MessageClass, MessageType, Method, Setter,
    TransactionId,
};
use rtc_stun::xoraddr::XorMappedAddress;

use super::credentials::Key;

/// RFC 8656 18.12, 18.13: what `rtc-stun` has no name for.
pub(super) const ATTR_ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);
const ATTR_ADDRESS_ERROR_CODE: AttrType = AttrType(0x8001);

/// Attributes in a message: an Allocate of a browser has eight.
const MAX_ATTRIBUTES: usize = 32;

/// Longest user name looked at; ours have some thirty characters, RFC 8489 14.3 allows 508.
const MAX_USERNAME: usize = 128;

/// A message that was read. What stands behind its MESSAGE-INTEGRITY was signed by nobody and is not
/// seen (RFC 8489 14.5).
pub(super) struct Stun {
    message: Message,
    /// Attributes before MESSAGE-INTEGRITY.
    covered: usize,
    signed: bool,
    fingerprint: bool,
}

impl Stun {
    /// `None` for what is no whole STUN message, or has a wrong fingerprint.
    pub fn parse(data: &[u8]) -> Option<Stun> {
        // Without this look `rtc-stun` would make a vector of each of 16 000 empty attributes first.
        if count_attributes(data)? > MAX_ATTRIBUTES {
            return None;
        }
        let mut message = Message::new();
        message.unmarshal_binary(data).ok()?;
        let fingerprint = message.contains(ATTR_FINGERPRINT);
        if fingerprint {
            FINGERPRINT.check(&message).ok()?;
        }
        let attributes = &message.attributes.0;
        let signature = attributes.iter().position(|a| a.typ == ATTR_MESSAGE_INTEGRITY);
        let covered = signature.unwrap_or(attributes.len());
        Some(Stun { covered, signed: signature.is_some(), fingerprint, message })
    }

    pub fn method(&self) -> Method {
        self.message.typ.method
    }

    pub fn is_request(&self) -> bool {
        self.message.typ.class == CLASS_REQUEST
    }

    pub fn is_indication(&self) -> bool {
        self.message.typ.class == CLASS_INDICATION
    }

    pub fn id(&self) -> TransactionId {
        self.message.transaction_id
    }

    pub fn is_signed(&self) -> bool {
        self.signed
    }

    fn attributes(&self) -> impl Iterator<Item = &RawAttribute> {
        self.message.attributes.0.iter().take(self.covered)
    }

    pub fn all(&self, typ: AttrType) -> impl Iterator<Item = &[u8]> {
        self.attributes().filter(move |a| a.typ == typ).map(|a| a.value.as_slice())
    }

    pub fn first(&self, typ: AttrType) -> Option<&[u8]> {
        self.all(typ).next()
    }

    pub fn has(&self, typ: AttrType) -> bool {
        self.first(typ).is_some()
    }

    pub fn text(&self, typ: AttrType) -> Option<&str> {
        std::str::from_utf8(self.first(typ)?).ok().filter(|text| text.len() <= MAX_USERNAME)
    }

    /// The value of an attribute that has one of four bytes.
    pub fn word(&self, typ: AttrType) -> Option<[u8; 4]> {
        self.first(typ)?.try_into().ok()
    }

    /// The value of an XOR-…-ADDRESS.
    pub fn address(&self, value: &[u8]) -> Option<SocketAddr> {
        const COOKIE: u32 = rtc_stun::message::MAGIC_COOKIE;
        let (head, ip) = value.split_at_checked(4)?;
        let port = u16::from_be_bytes([*head.get(2)?, *head.get(3)?]) ^ (COOKIE >> 16) as u16;
        let ip: IpAddr = match *head.get(1)? {
            1 => Ipv4Addr::from_bits(u32::from_be_bytes(ip.try_into().ok()?) ^ COOKIE).into(),
            2 => {
                let mut mask = [0; 16];
                mask[..4].copy_from_slice(&COOKIE.to_be_bytes());
                mask[4..].copy_from_slice(&self.id().0);
                let ip: [u8; 16] = ip.try_into().ok()?;
                Ipv6Addr::from_bits(u128::from_be_bytes(ip) ^ u128::from_be_bytes(mask)).into()
            }
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    /// Attributes that must be understood and are not among `known` (RFC 8489 14).
    pub fn unknown(&self, known: &[AttrType]) -> Vec<u16> {
        self.attributes()
            .map(|a| a.typ)
            .filter(|typ| typ.0 < 0x8000 && !known.contains(typ))
            .map(|typ| typ.0)
            .collect()
    }

    /// Whether MESSAGE-INTEGRITY was made with this key.
    pub fn verify(&mut self, key: &Key, crypto: &dyn RTCCrypto) -> bool {
        self.signed && MessageIntegrity::check(&mut self.message, &key.0, crypto).is_ok()
    }
}

/// Attributes of a message that is as long as it says.
fn count_attributes(data: &[u8]) -> Option<usize> {
    let (header, mut rest) = data.split_at_checked(MESSAGE_HEADER_SIZE)?;
    let length = u16::from_be_bytes([*header.get(2)?, *header.get(3)?]);
    if usize::from(length) != rest.len() {
        return None;
    }
    let mut count = 0;
    while !rest.is_empty() {
        let length = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
        rest = rest.get(4 + usize::from(length).next_multiple_of(4)..)?;
        count += 1;
    }
    Some(count)
}

/// Error codes (RFC 8489 14.8, RFC 8656 19).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BadRequest,
    Unauthenticated,
    Forbidden,
    UnknownAttribute,
    AllocationMismatch,
    StaleNonce,
    FamilyNotSupported,
    WrongCredentials,
    UnsupportedTransport,
    PeerFamilyMismatch,
    QuotaReached,
    InsufficientCapacity,
}

impl Code {
    fn number(self) -> u16 {
        match self {
            Code::BadRequest => 400,
            Code::Unauthenticated => 401,
            Code::Forbidden => 403,
            Code::UnknownAttribute => 420,
            Code::AllocationMismatch => 437,
            Code::StaleNonce => 438,
            Code::FamilyNotSupported => 440,
            Code::WrongCredentials => 441,
            Code::UnsupportedTransport => 442,
            Code::PeerFamilyMismatch => 443,
            Code::QuotaReached => 486,
            Code::InsufficientCapacity => 508,
        }
    }

    /// Short: an answer to a forged source should not be much longer than what caused it.
    fn reason(self) -> &'static str {
        match self {
            Code::BadRequest => "Bad Request",
            Code::Unauthenticated => "Unauthenticated",
            Code::Forbidden => "Forbidden",
            Code::UnknownAttribute => "Unknown Attribute",
            Code::AllocationMismatch => "Allocation Mismatch",
            Code::StaleNonce => "Stale Nonce",
            Code::FamilyNotSupported => "Address Family not Supported",
            Code::WrongCredentials => "Wrong Credentials",
            Code::UnsupportedTransport => "Unsupported Transport",
            Code::PeerFamilyMismatch => "Peer Address Family Mismatch",
            Code::QuotaReached => "Allocation Quota Reached",
            Code::InsufficientCapacity => "Insufficient Capacity",
        }
    }
}

/// An answer that is being written.
pub(super) struct Answer {
    message: Message,
    fingerprint: bool,
}

impl Answer {
    fn new(request: &Stun, class: MessageClass) -> Self {
        let mut message = Message::new();
        message.typ = MessageType::new(request.method(), class);
        message.transaction_id = request.id();
        message.write_header();
        Answer { message, fingerprint: request.fingerprint }
    }

    pub fn success(request: &Stun) -> Self {
        Self::new(request, CLASS_SUCCESS_RESPONSE)
    }

    pub fn error(request: &Stun, code: Code) -> Self {
        let reason = code.reason().as_bytes().to_vec();
        let code = ErrorCodeAttribute { code: ErrorCode(code.number()), reason };
        Self::new(request, CLASS_ERROR_RESPONSE).with(&code)
    }

    /// What is added here fits by construction: a few short attributes.
    fn with(mut self, part: &dyn Setter) -> Self {
        let _ = part.add_to(&mut self.message);
        self
    }

    fn raw(mut self, typ: AttrType, value: &[u8]) -> Self {
        self.message.add(typ, value);
        self
    }

    fn address(mut self, typ: AttrType, addr: SocketAddr) -> Self {
        let addr = XorMappedAddress { ip: addr.ip().to_canonical(), port: addr.port() };
        let _ = addr.add_to_as(&mut self.message, typ);
        self
    }

    pub fn mapped(self, addr: SocketAddr) -> Self {
        self.address(ATTR_XORMAPPED_ADDRESS, addr)
    }

    pub fn relayed(self, addr: SocketAddr) -> Self {
        self.address(ATTR_XOR_RELAYED_ADDRESS, addr)
    }

    pub fn lifetime(self, lifetime: Duration) -> Self {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        self.raw(ATTR_LIFETIME, &seconds.to_be_bytes())
    }

    pub fn challenge(self, realm: &str, nonce: &str) -> Self {
        self.raw(ATTR_REALM, realm.as_bytes()).raw(ATTR_NONCE, nonce.as_bytes())
    }

    pub fn unknown(self, types: &[u16]) -> Self {
        let types: Vec<u8> = types.iter().flat_map(|typ| typ.to_be_bytes()).collect();
        self.raw(ATTR_UNKNOWN_ATTRIBUTES, &types)
    }

    /// The second family that was asked for is not to be had (RFC 8656 18.13).
    pub fn no_second_family(self, family: u8) -> Self {
        let code = Code::FamilyNotSupported;
        let number = code.number();
        let mut value = vec![family, 0, (number / 100) as u8, (number % 100) as u8];
        value.extend_from_slice(code.reason().as_bytes());
        self.raw(ATTR_ADDRESS_ERROR_CODE, &value)
    }

    /// The bytes, signed where there is a key.
    pub fn finish(mut self, key: Option<&Key>, crypto: &dyn RTCCrypto) -> Vec<u8> {
        if let Some(key) = key {
            let signature =
                MessageIntegrity::new_raw_integrity_with_provider(key.0.as_slice(), crypto);
            self = self.with(&signature);
        }
        if self.fingerprint {
            self = self.with(&FINGERPRINT);
        }
        self.message.raw
    }
}

/// A Data indication (RFC 8656 11.3).
pub(super) fn data_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut message = Message::new();
    message.typ = MessageType::new(METHOD_DATA, CLASS_INDICATION);
    message.transaction_id = TransactionId::new();
    message.write_header();
    let addr = XorMappedAddress { ip: peer.ip(), port: peer.port() };
    let _ = addr.add_to_as(&mut message, ATTR_XOR_PEER_ADDRESS);
    message.add(ATTR_DATA, data);
    message.raw
}

/// The request with long-term authentication of RFC 5769 2.4.
#[cfg(test)]
pub(super) const LONG_TERM: &[u8] = b"\x00\x01\x00\x60\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\
    \x29\xda\x41\x2e\x00\x06\x00\x12\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\
    \x82\xb9\x00\x00\x00\x15\x00\x1cf//499k954d6OL34oL9FSTvy64sA\x00\x14\x00\x0bexample.org\x00\x00\
    \x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2\x8c\xa8\x96\x66";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 5769 2.2 and 2.3: the responses of the samples.
    const V4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\x00\x08\x00\x14\
        \x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\x80\x28\x00\x04\
        \xc0\x7d\x4c\x96";
    const V6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\
        \xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\
        \x82\x92\xc2\x75\xbf\xe3\xed\x41\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

    #[test]
    fn the_addresses_of_rfc_5769() {
        for (sample, address) in
            [(V4, "192.0.2.1:32853"), (V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
        {
            let stun = Stun::parse(sample).unwrap();
            let value = stun.first(ATTR_XORMAPPED_ADDRESS).unwrap();
            assert_eq!(stun.address(value), Some(address.parse().unwrap()));
        }
    }

    #[test]
    fn what_stands_behind_the_signature_is_not_seen() {
        let mut data = LONG_TERM.to_vec();
        data.extend_from_slice(b"\x00\x0d\x00\x04\x00\x00\x00\x00");
        data[3] += 8;
        let stun = Stun::parse(&data).unwrap();
        assert!(stun.has(ATTR_NONCE) && !stun.has(ATTR_LIFETIME));
    }

    #[test]
    fn broken_messages_are_none() {
        assert!(Stun::parse(&[]).is_none());
        assert!(Stun::parse(&LONG_TERM[..LONG_TERM.len() - 1]).is_none());
        assert!(Stun::parse(&[LONG_TERM, b"x"].concat()).is_none(), "something behind it");
        let mut wrong = V4.to_vec();
        *wrong.last_mut().unwrap() ^= 1;
        assert!(Stun::parse(&wrong).is_none(), "fingerprint");
        let mut many = LONG_TERM[..20].to_vec();
        many.extend(std::iter::repeat_n([0x80, 0x99, 0, 0], 33).flatten());
        many[3] = 33 * 4;
        assert!(Stun::parse(&many).is_none(), "too many attributes");
    }

    proptest! {
        #[test]
        fn nothing_panics(data: Vec<u8>, tail: Vec<u8>, at in 0..116usize, byte: u8) {
            let _ = Stun::parse(&data);
            let mut changed = LONG_TERM.to_vec();
            if let Some(place) = changed.get_mut(at) { *place = byte; }
            changed.extend_from_slice(&tail);
            for data in [changed.as_slice(), &changed[..LONG_TERM.len()]] {
                let Some(mut stun) = Stun::parse(data) else { continue };
                let provider = rtc_stun::crypto::default_provider().unwrap();
                let _ = stun.verify(&Key([0; 16]), provider.crypto());
                for attribute in stun.attributes() {
                    let _ = stun.address(&attribute.value);
                }
            }
        }
    }
}
