//! One call's SIP as a pcapng file (draft-ietf-opsawg-pcapng), for Wireshark and its kin.
//!
//! Each message is one UDP packet in IP, with the addresses and the time that it had. What went over a
//! connection is shown as UDP too, with a remark: the segments are not known any more, the message is.

use std::net::{IpAddr, SocketAddr};

use super::{Kind, TimelineEvent, Way};

/// Raw IP, version 4 or 6 by its first nibble (LINKTYPE_RAW).
const LINK: u16 = 101;

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;

/// What fits a UDP packet in IPv4; a SIP message is no larger, or it was cut before.
const MOST: usize = 65_507;

const ABOUT: &str = "SIP of one call, credentials and keys taken out. Checksums, identifications and \
                     hop counts are made up; addresses, ports and times are those of the messages.";

/// The file, or `None` where no SIP message with its text is among the events.
pub fn write(events: &[TimelineEvent]) -> Option<Vec<u8>> {
    let mut file = head();
    let empty = file.len();
    for event in events.iter().filter(|event| event.kind == Kind::Sip) {
        // Without its text it would be a packet that never was.
        let Some(text) = &event.body else { continue };
        let address = |name| event.detail.text(name)?.parse::<SocketAddr>().ok();
        let Some((local, peer)) = address("local").zip(address("peer")) else { continue };
        let inbound = event.direction == Some(Way::In);
        let (from, to) = if inbound { (peer, local) } else { (local, peer) };
        let remark = match event.detail.text("transport") {
            Some("udp") | None => None,
            Some(transport) => Some(format!("it went over {}", transport.to_ascii_uppercase())),
        };
        let packet = ip(from, to, text.as_bytes());
        packet_block(&mut file, event.at, inbound, &packet, remark.as_deref());
    }
    (file.len() > empty).then_some(file)
}

fn head() -> Vec<u8> {
    let mut file = Vec::new();
    // Section header: byte order, version 1.0, a length that is not told.
    let mut section = Vec::new();
    section.extend(0x1a2b_3c4d_u32.to_le_bytes());
    section.extend([1, 0, 0, 0]);
    section.extend(u64::MAX.to_le_bytes());
    option(&mut section, 1, ABOUT.as_bytes());
    option(&mut section, 4, concat!("wrtc-gateway ", env!("CARGO_PKG_VERSION")).as_bytes());
    option(&mut section, 0, &[]);
    block(&mut file, 0x0a0d_0d0a, &section);
    // One interface, nothing cut off; times are in microseconds unless it says otherwise.
    let mut interface = Vec::new();
    interface.extend(LINK.to_le_bytes());
    interface.extend([0; 2]);
    interface.extend(0_u32.to_le_bytes());
    block(&mut file, 1, &interface);
    file
}

fn packet_block(
    file: &mut Vec<u8>,
    at_ms: u64,
    inbound: bool,
    packet: &[u8],
    remark: Option<&str>,
) {
    let micros = at_ms.saturating_mul(1000);
    let length = packet.len() as u32;
    let mut body = Vec::with_capacity(packet.len() + 64);
    body.extend(0_u32.to_le_bytes());
    body.extend(((micros >> 32) as u32).to_le_bytes());
    body.extend((micros as u32).to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(packet);
    pad(&mut body);
    if let Some(remark) = remark {
        option(&mut body, 1, remark.as_bytes());
    }
    option(&mut body, 2, &(if inbound { 1_u32 } else { 2 }).to_le_bytes());
    option(&mut body, 0, &[]);
    block(file, 6, &body);
}

fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = (body.len() + 12) as u32;
    file.extend(kind.to_le_bytes());
    file.extend(length.to_le_bytes());
    file.extend(body);
    file.extend(length.to_le_bytes());
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// IP and UDP around the text (RFC 791, RFC 8200, RFC 768).
fn ip(from: SocketAddr, to: SocketAddr, text: &[u8]) -> Vec<u8> {
    let text = text.get(..MOST).unwrap_or(text);
    let length = (UDP_HEADER + text.len()) as u16;
    let mut udp = Vec::with_capacity(UDP_HEADER + text.len());
    udp.extend(from.port().to_be_bytes());
    udp.extend(to.port().to_be_bytes());
    udp.extend(length.to_be_bytes());
    udp.extend([0; 2]);
    udp.extend(text);
    let mut packet = Vec::with_capacity(40 + udp.len());
    let pseudo = match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x45, 0]);
            packet.extend((20 + length).to_be_bytes());
            // No identification, do not fragment, 64 hops.
            packet.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = checksum(&[&packet]).to_be_bytes();
            packet.splice(10..12, sum);
            [&from.octets()[..], &to.octets()].concat()
        }
        (from, to) => {
            let v6 = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(length.to_be_bytes());
            packet.extend([UDP, 64]);
            packet.extend(v6(from));
            packet.extend(v6(to));
            [v6(from), v6(to)].concat()
        }
    };
    let sum = checksum(&[&pseudo, &[0, UDP], &length.to_be_bytes(), &udp]);
    // A sum of zero would mean that there is none.
    let sum = if sum == 0 { u16::MAX } else { sum };
    udp.splice(6..8, sum.to_be_bytes());
    packet.extend(udp);
    packet
}

/// RFC 1071, over parts of an even length, but for the last.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        let high = pair.first().copied().unwrap_or_default();
        let low = pair.get(1).copied().unwrap_or_default();
        sum += u32::from(u16::from_be_bytes([high, low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
