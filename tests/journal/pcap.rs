//! One call's SIP as a capture file: read back byte by byte here, and by tshark where there is one.

use std::net::SocketAddr;
use std::process::Command;

use wrtc_gateway::journal::{Kind, TimelineEvent, Way, pcap};

use crate::made::{Dir, dialog, sip};

/// A packet as a reader sees it.
#[derive(Debug, PartialEq)]
struct Packet {
    at_us: u64,
    inbound: bool,
    from: SocketAddr,
    to: SocketAddr,
    text: String,
    remark: Option<String>,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn net16(bytes: &[u8], at: usize) -> usize {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

/// Kinds and bodies of the blocks, their lengths checked on both ends.
fn blocks(mut file: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let length = word(file, 4) as usize;
        assert_eq!(length % 4, 0);
        assert_eq!(word(file, length - 4) as usize, length);
        blocks.push((word(file, 0), file[8..length - 4].to_vec()));
        file = &file[length..];
    }
    blocks
}

fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut found = Vec::new();
    loop {
        let code = u16::from_le_bytes(bytes[..2].try_into().unwrap());
        let length = u16::from_le_bytes(bytes[2..4].try_into().unwrap()) as usize;
        if code == 0 {
            assert_eq!((length, bytes.len()), (0, 4));
            return found;
        }
        found.push((code, bytes[4..4 + length].to_vec()));
        bytes = &bytes[4 + length.next_multiple_of(4)..];
    }
}

/// Ones' complement sum with its own checksum in it: all ones.
fn sums_up(bytes: &[u8]) -> bool {
    let mut sum: u64 = 0;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

fn packet(body: &[u8]) -> Packet {
    assert_eq!(word(body, 0), 0, "the first interface");
    let at_us = u64::from(word(body, 4)) << 32 | u64::from(word(body, 8));
    let length = word(body, 12) as usize;
    assert_eq!(word(body, 16) as usize, length, "nothing is cut off");
    let data = &body[20..20 + length];
    let (addresses, udp) = match data[0] >> 4 {
        4 => {
            assert_eq!(data[0], 0x45);
            assert_eq!(net16(data, 2), length);
            assert_eq!(data[9], 17);
            assert!(sums_up(&data[..20]), "the IP checksum");
            (&data[12..20], &data[20..])
        }
        6 => {
            assert_eq!(net16(data, 4) + 40, length);
            assert_eq!(data[6], 17);
            (&data[8..40], &data[40..])
        }
        version => panic!("IP version {version}"),
    };
    assert_eq!(net16(udp, 4), udp.len());
    let mut pseudo = addresses.to_vec();
    pseudo.extend([0, 17]);
    pseudo.extend(&udp[4..6]);
    pseudo.extend(udp);
    assert!(sums_up(&pseudo), "the UDP checksum");
    let ip = |half: &[u8]| match half.len() {
        4 => <[u8; 4]>::try_from(half).unwrap().into(),
        _ => <[u8; 16]>::try_from(half).unwrap().into(),
    };
    let (from, to) = addresses.split_at(addresses.len() / 2);
    let options = options(&body[20 + length.next_multiple_of(4)..]);
    let of = |code| options.iter().find(|(known, _)| *known == code).map(|(_, value)| value);
    Packet {
        at_us,
        inbound: of(2).unwrap() == &[1, 0, 0, 0],
        from: SocketAddr::new(ip(from), net16(udp, 0) as u16),
        to: SocketAddr::new(ip(to), net16(udp, 2) as u16),
        text: String::from_utf8(udp[8..].to_vec()).unwrap(),
        remark: of(1).map(|remark| String::from_utf8(remark.clone()).unwrap()),
    }
}

fn packets(file: &[u8]) -> Vec<Packet> {
    let blocks = blocks(file);
    let (kind, section) = &blocks[0];
    assert_eq!((*kind, word(section, 0)), (0x0a0d_0d0a, 0x1a2b_3c4d));
    assert_eq!(section[4..8], [1, 0, 0, 0], "version 1.0");
    options(&section[16..]);
    let (kind, interface) = &blocks[1];
    assert_eq!((*kind, interface[0], interface[1]), (1, 101, 0), "raw IP");
    let packet = |(kind, body): &(u32, Vec<u8>)| {
        assert_eq!(*kind, 6);
        packet(body)
    };
    blocks[2..].iter().map(packet).collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const AT: u64 = 1_790_000_000_123;

#[test]
fn every_message_is_a_packet_with_its_addresses_and_its_time() {
    let events = dialog("c1", AT, "192.0.2.1:5062", "198.51.100.9:5060", "udp");
    let packets = packets(&pcap::write(&events).unwrap());
    assert_eq!(packets.len(), events.len());
    for (packet, event) in packets.iter().zip(&events) {
        let inbound = event.direction == Some(Way::In);
        let (local, peer) =
            ("192.0.2.1:5062".parse().unwrap(), "198.51.100.9:5060".parse().unwrap());
        let (from, to) = if inbound { (peer, local) } else { (local, peer) };
        let wanted = Packet {
            at_us: event.at * 1000,
            inbound,
            from,
            to,
            text: event.body.as_deref().unwrap().to_owned(),
            remark: None,
        };
        assert_eq!(*packet, wanted);
    }
}

#[test]
fn both_families_and_what_went_over_a_connection() {
    let events = [
        sip(
            AT,
            Way::Out,
            "[2001:db8::1]:5062",
            "[2001:db8::2]:5060",
            "udp",
            "OPTIONS sip:a SIP/2.0\r\n\r\n",
        ),
        // A socket of both families.
        sip(AT, Way::In, "[::ffff:192.0.2.1]:5062", "192.0.2.9:40000", "tls", "odd"),
        sip(AT, Way::In, "[2001:db8::1]:5062", "192.0.2.9:5060", "tcp", ""),
    ];
    let packets = packets(&pcap::write(&events).unwrap());
    assert_eq!(packets[0].from, address("[2001:db8::1]:5062"));
    assert_eq!(packets[0].remark, None);
    assert_eq!(packets[1].from, address("192.0.2.9:40000"));
    assert_eq!(packets[1].to, address("192.0.2.1:5062"));
    assert_eq!(packets[1].remark.as_deref(), Some("it went over TLS"));
    assert_eq!(packets[2].from, address("[::ffff:192.0.2.9]:5060"));
    assert_eq!(packets[2].remark.as_deref(), Some("it went over TCP"));
}

#[test]
fn what_has_no_text_is_no_packet() {
    let message = sip(AT, Way::Out, "192.0.2.1:5062", "192.0.2.9:5060", "udp", "x");
    let without = TimelineEvent { body: None, ..message.clone() };
    let other = TimelineEvent { kind: Kind::Http, ..message.clone() };
    let nowhere = sip(AT, Way::Out, "here", "there", "udp", "x");
    assert_eq!(pcap::write(&[without.clone(), other.clone(), nowhere.clone()]), None);
    let file = pcap::write(&[without, other, message, nowhere]).unwrap();
    assert_eq!(packets(&file).len(), 1);
}

#[test]
fn a_message_is_no_larger_than_a_packet_can_be() {
    let huge = "x".repeat(100_000);
    for (local, peer) in [("192.0.2.1:1", "192.0.2.9:2"), ("[2001:db8::1]:1", "[2001:db8::2]:2")] {
        let file = pcap::write(&[sip(AT, Way::Out, local, peer, "tcp", &huge)]).unwrap();
        assert_eq!(packets(&file)[0].text.len(), 65_507);
    }
}

fn tshark(file: &std::path::Path, more: &[&str]) -> String {
    // Not the SIP port on either side: Wireshark has to find out by itself.
    let output = Command::new("tshark").arg("-r").arg(file).args(more).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "wants tshark"]
fn wireshark_reads_it() {
    let dir = Dir::new();
    let file = dir.0.join("call.pcapng");
    let mut events = dialog("c1", AT, "192.0.2.1:40000", "198.51.100.9:40001", "udp");
    events.extend(dialog("c2", AT, "[2001:db8::1]:5062", "[2001:db8::2]:5060", "tls"));
    std::fs::write(&file, pcap::write(&events).unwrap()).unwrap();
    let checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"];
    let bad = [
        &checks[..],
        &["-Y", "ip.checksum.status == 0 || udp.checksum.status == 0 || _ws.malformed"],
    ];
    assert_eq!(tshark(&file, &bad.concat()), "");
    let fields = ["-T", "fields", "-E", "separator=|"];
    let fields = [
        &fields[..],
        &["-e", "frame.time_epoch", "-e", "ip.src", "-e", "ipv6.src", "-e", "udp.dstport"],
    ];
    let fields = [
        &fields.concat()[..],
        &["-e", "sip.Method", "-e", "sip.Status-Code", "-e", "frame.comment"],
    ];
    let seen = tshark(&file, &fields.concat());
    let seen: Vec<&str> = seen.lines().collect();
    assert_eq!(seen.len(), 12, "{seen:#?}");
    for (line, wanted) in [
        (0, "1790000000.123000000|192.0.2.1||40001|INVITE||"),
        (2, "1790000001.123000000|198.51.100.9||40000||200|"),
        (4, "1790000060.123000000|198.51.100.9||40000|BYE||"),
        (6, "1790000000.123000000||2001:db8::1|5060|INVITE||it went over TLS"),
        (11, "1790000060.125000000||2001:db8::1|5060||200|it went over TLS"),
    ] {
        assert_eq!(seen[line], wanted);
    }
    // The calls are put together: two, both answered and over.
    let calls = tshark(&file, &["-q", "-z", "sip,stat"]);
    assert!(calls.contains("INVITE") && calls.contains("BYE"), "{calls}");
}
